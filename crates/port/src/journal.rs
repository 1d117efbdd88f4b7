//! The journal: append-only, one sequence of sealed records a run. It carries bytes and does not read them.

use crate::Failure;
use astern_model::id::{Epoch, RunId, Seq};
use async_trait::async_trait;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// One sealed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the run.
    pub seq: Seq,
    /// In whose name it was appended.
    pub author: Author,
    /// The sealed bytes, returned exactly as they were appended.
    pub bytes: Vec<u8>,
}

/// In whose name records are appended. The journal fences by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Author {
    /// The opening of a run: the plan and its approval, at sequence number 0.
    Opening,
    /// A takeover. The record's own sequence number becomes the epoch.
    Takeover,
    /// The holder of this epoch.
    Holder(Epoch),
    /// Anybody: pause, abort.
    Request,
}

/// Why an append was not made. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Somebody appended first. Read from the old head, fold, decide again.
    Conflict {
        /// The next free sequence number.
        head: Seq,
    },
    /// A newer takeover exists: this holder may not append, or write anything, ever again.
    Fenced {
        /// The newest epoch.
        by: Epoch,
    },
    /// The store did not take it: full, unreachable, corrupt. With class `Unknown` it may have taken it: read.
    Store(Failure),
}

impl std::fmt::Display for AppendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Conflict { head } => write!(
                f,
                "somebody appended to the journal first; its head is now {head}"
            ),
            Self::Fenced { by } => write!(f, "the run was taken over (epoch {by})"),
            Self::Store(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for AppendError {}

/// A journal of runs.
///
/// # Guarantees
/// - After `Ok` the whole batch is durable, in order, at `at`, `at + 1`, …
/// - A batch is stored whole or not at all.
/// - Of two appends at the same `at`, one gets [`AppendError::Conflict`].
/// - After a takeover at sequence number E, an append as `Holder(e)` with `e < E` gets [`AppendError::Fenced`].
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends a batch at `at`, which must be the run's head; a run comes into being with its first batch at 0.
    /// Returns the new head.
    async fn append(
        &self,
        run: &RunId,
        at: Seq,
        author: Author,
        batch: &[Vec<u8>],
    ) -> Result<Seq, AppendError>;

    /// The entries from `from` on, in order. Empty when there are none, also for an unknown run. A hole or a
    /// record that cannot be read is an error of class `Permanent` that names its sequence number.
    async fn read(&self, run: &RunId, from: Seq) -> Result<Vec<Entry>, Failure>;

    /// Returns when the run has an entry at `from`, or after `within`. Watches where the store can.
    async fn wait(&self, run: &RunId, from: Seq, within: SignedDuration) -> Result<(), Failure>;

    /// All runs, newest first (ids sort by time).
    async fn runs(&self) -> Result<Vec<RunId>, Failure>;

    /// Called once a run is finished: the store may compact it, and prune the oldest finished runs so that
    /// `keep` remain. The entries of a kept run read the same before and after.
    async fn settle(&self, run: &RunId, keep: usize) -> Result<(), Failure>;

    /// What a person is told: `Secrets in namespace vcci-scope3`, `/path/to/journal.db`.
    fn place(&self) -> String;
}
