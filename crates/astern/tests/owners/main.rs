//! astern through its binary, beside the real Argo CD, Flux, Argo Rollouts and KEDA. `cargo xtask test --lane owners` runs it.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

#[path = "../kwok/manifest.rs"]
#[expect(dead_code, reason = "what tests of other lanes need of it too")]
mod manifest;
#[path = "../kwok/support.rs"]
#[expect(dead_code, reason = "what tests of other lanes need of it too")]
mod support;

#[expect(dead_code, reason = "what tests of other lanes need of it too")]
mod repository;

mod owner;

mod argo_cd_server;
mod following;
mod ground;
mod helm_release;
mod history;
mod keda;
mod pausing;
mod rollouts;
mod spoke;
mod story;
mod writeback;
