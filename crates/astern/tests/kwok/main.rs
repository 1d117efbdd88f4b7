//! astern through its binary, on a real control plane with kwok nodes. `cargo xtask test --lane kwok` runs it.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

mod blame;
mod canaries;
mod manifest;
#[path = "../owners/repository.rs"]
#[expect(dead_code, reason = "what tests of other lanes need of it too")]
mod repository;
mod support;

mod audit;
mod choosing;
mod config;
mod drift;
mod durability;
mod effects;
mod external;
mod following;
mod gate;
mod helm;
mod helm_content;
mod helm_pruned;
mod helm_repair;
mod hub;
mod input;
mod kills;
mod ledger;
mod logins;
mod obstacles;
mod operators;
mod owners;
mod proof;
mod reconstruct;
mod rehearsal;
mod secrets;
mod stopping;
mod watch;
mod writeback;
