//! The logs that were read a moment ago, so that saving them needs no second request. Holds little and not for long;
//! what it does not hold is read again.

use crate::fetch::NoLog;
use crate::words::said;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Older ones are read again: a container may have said more since.
const GOOD_FOR: Duration = Duration::from_secs(20);
/// In all; logs beyond it are not kept. Enough for some dozens of containers that crash early and say little.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// A log by its pod's uid, its container, and whether it is of the attempt before.
type Key = (String, String, bool);

/// What reading gave: the whole log, or why there is none.
type Had = Result<String, NoLog>;

/// Whole logs of containers that fail.
#[derive(Default)]
pub(crate) struct Recent {
    kept: Mutex<BTreeMap<Key, (Instant, Had)>>,
    /// Those that are being read now.
    read: Mutex<BTreeSet<Key>>,
    over: Notify,
}

/// A log that is being read; whoever saves it waits for that.
pub(crate) struct Reading<'a> {
    recent: &'a Recent,
    key: Key,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        locked(&self.recent.read).remove(&self.key);
        self.recent.over.notify_waiters();
    }
}

impl Reading<'_> {
    /// Keeps a log that holds all that the container has said, or why there is none.
    pub(crate) fn keep(self, log: Had) {
        let bytes = |log: &Had| log.as_ref().map_or(0, String::len);
        let mut kept = locked(&self.recent.kept);
        kept.retain(|_, (at, _)| at.elapsed() < GOOD_FOR);
        let size: usize = kept.values().map(|(_, log)| bytes(log)).sum();
        if size + bytes(&log) <= KEPT_BYTES {
            kept.insert(self.key.clone(), (Instant::now(), log));
        }
    }
}

impl Recent {
    /// Says that a log is being read.
    pub(crate) fn reading(&self, pod: &str, container: &str, previous: bool) -> Reading<'_> {
        let key = key(pod, container, previous);
        locked(&self.read).insert(key.clone());
        Reading { recent: self, key }
    }

    /// Its last line that is not empty, without the time before it.
    pub(crate) fn last_line(&self, pod: &str, container: &str, previous: bool) -> Option<String> {
        let kept = locked(&self.kept);
        let (_, log) = kept.get(&key(pod, container, previous))?;
        let text = log.as_ref().ok()?;
        text.lines()
            .rev()
            .map(|line| said(line).trim())
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    }

    /// What reading the log gave, if that is young enough, once nobody reads it any more.
    pub(crate) async fn get(&self, pod: &str, container: &str, previous: bool) -> Option<Had> {
        let key = key(pod, container, previous);
        loop {
            let over = self.over.notified();
            if !locked(&self.read).contains(&key) {
                break;
            }
            over.await;
        }
        let kept = locked(&self.kept);
        let (at, log) = kept.get(&key)?;
        (at.elapsed() < GOOD_FOR).then(|| log.clone())
    }
}

fn key(pod: &str, container: &str, previous: bool) -> Key {
    (pod.to_owned(), container.to_owned(), previous)
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const OF: (&str, &str, bool) = ("pod", "app", true);

    fn ask(recent: &Recent) -> impl Future<Output = Option<Had>> {
        recent.get(OF.0, OF.1, OF.2)
    }

    #[tokio::test]
    async fn whoever_saves_a_log_that_is_being_read_waits_and_has_what_that_gave() {
        for had in [Ok("it broke\n".to_owned()), Err(NoLog::NeverRan)] {
            let recent = Recent::default();
            let reading = recent.reading(OF.0, OF.1, OF.2);
            let mut asked = Box::pin(ask(&recent));
            assert_eq!((&mut asked).now_or_never(), None);
            reading.keep(had.clone());
            assert_eq!(asked.now_or_never(), Some(Some(had)));
        }
    }

    #[tokio::test]
    async fn a_reading_that_ended_without_the_whole_log_leaves_it_to_whoever_saves() {
        let recent = Recent::default();
        let reading = recent.reading(OF.0, OF.1, OF.2);
        let mut asked = Box::pin(ask(&recent));
        assert_eq!((&mut asked).now_or_never(), None);
        drop(reading);
        assert_eq!(asked.now_or_never(), Some(None));
    }
}
