//! What the planner does, told by tables and snapshots over small built inventories.
#![expect(
    clippy::unwrap_used,
    reason = "a test's own fixture that cannot be built should fail the test"
)]

mod assessing;
mod blaming;
mod carried;
mod choosing;
mod config;
mod deciding;
mod differing;
mod external;
mod following;
mod foretelling;
mod in_force;
mod judging;
mod planning;
mod properties;
mod proving;
mod readiness;
mod recalling;
mod reconstructing;
mod refusing;
mod releases;
mod resting;
mod stopping;
mod support;
mod undoing;
