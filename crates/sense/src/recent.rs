//! The logs that were read a moment ago, so that saving them needs no second request. Holds little and not for long;
//! what it does not hold is read again.

use crate::words::said;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Older ones are read again: a container may have said more since.
const GOOD_FOR: Duration = Duration::from_secs(20);
/// In all; logs beyond it are not kept. Enough for some dozens of containers that crash early and say little.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// A log by its pod's uid, its container, and whether it is of the attempt before.
type Key = (String, String, bool);

/// Whole logs of containers that fail.
#[derive(Default)]
pub(crate) struct Recent(Mutex<BTreeMap<Key, (Instant, String)>>);

impl Recent {
    /// Keeps a log that holds all that the container has said.
    pub(crate) fn keep(&self, pod: &str, container: &str, previous: bool, text: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, _)| at.elapsed() < GOOD_FOR);
        let size: usize = kept.values().map(|(_, text)| text.len()).sum();
        if size + text.len() <= KEPT_BYTES {
            kept.insert(
                (pod.to_owned(), container.to_owned(), previous),
                (Instant::now(), text.to_owned()),
            );
        }
    }

    /// Its last line that is not empty, without the time before it.
    pub(crate) fn last_line(&self, pod: &str, container: &str, previous: bool) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, text) = kept.get(&(pod.to_owned(), container.to_owned(), previous))?;
        text.lines()
            .rev()
            .map(|line| said(line).trim())
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    }

    /// Takes it out, if it is there and young enough.
    pub(crate) fn take(&self, pod: &str, container: &str, previous: bool) -> Option<String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, text) = kept.remove(&(pod.to_owned(), container.to_owned(), previous))?;
        (at.elapsed() < GOOD_FOR).then_some(text)
    }
}
