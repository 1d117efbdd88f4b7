//! Why a driver stops before its run comes to rest. Owns the words; what is to be typed next is the command line's.

use crate::book::BookError;
use astern_engine::Phase;
use astern_model::id::{Epoch, RunId};
use astern_port::journal::AppendError;
use astern_port::lock::Holding;
use astern_port::{Failure, FailureClass};

/// Why the driver stopped before the run came to rest. No effect was begun without a durable intent.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Another run, or another holder of this one, is alive.
    #[error("run {} holds the lock of namespace {namespace}: {} on {} since {}; its journal: {}", holding.run, holding.holder.user, holding.holder.host, holding.renewed_at, holding.journal)]
    Busy {
        /// The namespace.
        namespace: String,
        /// Who.
        holding: Box<Holding>,
    },
    /// A run of this namespace is not over, though nobody carries it out now: nothing was begun.
    #[error("run {open} of namespace {namespace} is not over; nothing was begun")]
    RunOpen {
        /// The namespace.
        namespace: String,
        /// Which.
        open: RunId,
        /// How it stands.
        phase: Box<Phase>,
    },
    /// The lock could not be taken: nothing was begun.
    #[error("the run lock could not be taken; nothing was begun")]
    Lock(#[source] Failure),
    /// The lock was lost on the way.
    #[error("the run lock was lost; {run} stopped here")]
    LockLost {
        /// The run.
        run: RunId,
        /// How.
        #[source]
        source: Failure,
    },
    /// The plan could not be written down: there is no run.
    #[error("run {run} could not be written down, so it was not begun: nothing was changed")]
    NotBegun {
        /// The run that there would be.
        run: RunId,
        /// What the store said.
        #[source]
        source: Failure,
    },
    /// The run was taken over by another holder: this one has written nothing since.
    #[error("run {run} was taken over by another holder (epoch {by}); this one wrote nothing after that")]
    Superseded {
        /// The run.
        run: RunId,
        /// The newest epoch.
        by: Epoch,
    },
    /// The journal does not take records any more.
    #[error("the journal of {run} does not take records any more")]
    Journal {
        /// The run.
        run: RunId,
        /// What the store said.
        #[source]
        source: Failure,
    },
    /// The journal cannot be read or does not hold together.
    #[error(transparent)]
    Book(#[from] BookError),
}

impl ExecError {
    pub(super) fn not_begun(run: &RunId, error: AppendError) -> Self {
        match Self::from_append(run, error) {
            Self::Journal { run, source } => Self::NotBegun { run, source },
            other => other,
        }
    }

    pub(super) fn from_append(run: &RunId, error: AppendError) -> Self {
        match error {
            AppendError::Fenced { by } => Self::Superseded { run: run.clone(), by },
            AppendError::Conflict { head } => Self::Journal {
                run: run.clone(),
                source: Failure::new(
                    FailureClass::Conflict,
                    "append",
                    format!("somebody appended first, up to record {head}"),
                ),
            },
            AppendError::Store(source) => Self::Journal {
                run: run.clone(),
                source,
            },
        }
    }
}
