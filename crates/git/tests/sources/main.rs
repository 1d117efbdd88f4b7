//! The revert of a run in real Git repositories, over every way that a test can serve one, and as a pull request.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

mod support;

mod hostile;
mod proposing;
mod pushing;
mod reading;
mod refusing;
