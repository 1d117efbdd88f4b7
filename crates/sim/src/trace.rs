//! What happened in one simulated run: which faults struck, and a log for whoever replays it. Decides nothing.

use crate::fault::Fault;
use jiff::SignedDuration;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// The faults of a run, and what became of them.
pub(crate) struct Trace {
    began: Instant,
    faults: Vec<Fault>,
    met: Mutex<BTreeSet<usize>>,
    lines: Option<Mutex<Vec<String>>>,
}

impl Trace {
    /// Of a run that begins now. `told`: whether a log is kept, which costs time.
    pub(crate) fn new(faults: Vec<Fault>, told: bool) -> Self {
        Self {
            began: Instant::now(),
            faults,
            met: Mutex::default(),
            lines: told.then(Mutex::default),
        }
    }

    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// A fault struck.
    pub(crate) fn met(&self, place: usize) {
        self.met
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(place);
        self.say(|| format!("fault: {}", self.faults[place]));
    }

    /// The places of the faults that struck.
    pub(crate) fn all_met(&self) -> BTreeSet<usize> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a log is kept.
    pub(crate) fn is_told(&self) -> bool {
        self.lines.is_some()
    }

    /// One line of the log.
    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let at = SignedDuration::try_from(self.began.elapsed()).unwrap_or_default();
            let line = format!("{:>9.3}  {}", at.as_secs_f64(), line());
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    /// The log.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.lines.as_ref();
        lines.map_or_else(Vec::new, |lines| {
            lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }
}
