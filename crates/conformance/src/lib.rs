//! What every journal, vault and ledger must do, as suites that a test runs with any backend, fake or real. Owns the
//! promises and how they are told; knows no backend.

pub mod journal;
pub mod ledger;
pub mod report;
pub mod vault;

pub use report::{Broken, Report};

/// A way to damage what a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One byte of it becomes another.
    Alter,
    /// It is gone.
    Lose,
}

/// Whether a test could damage a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// It is damaged now.
    Done,
    /// It cannot be done from a test, and why not.
    NotPossible(String),
}
