//! astern through its binary, on a real node with real containers. `cargo xtask test --lane real` runs it.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

mod support;

mod evidence;
mod failing;
mod story;
