//! Where a process can die.

use std::sync::Mutex;
use tokio::sync::Notify;

/// Counts the places where a process can die, and stops it at one.
#[derive(Default)]
pub(crate) struct Points {
    inner: Mutex<Counting>,
    /// Told when the chosen point is reached.
    pub(crate) reached: Notify,
    /// Lets whoever is stopped there go on.
    pub(crate) release: Notify,
}

#[derive(Default)]
struct Counting {
    passed: u32,
    stop_at: Option<u32>,
    stop_named: Option<String>,
    name: String,
}

impl Points {
    /// From now on, count from 1 and stop whoever reaches `stop_at`.
    pub(crate) fn arm(&self, stop_at: Option<u32>) {
        *self.inner.lock().unwrap() = Counting {
            stop_at,
            ..Counting::default()
        };
    }

    /// From now on, stop whoever reaches the place of this name.
    pub(crate) fn arm_named(&self, name: &str) {
        *self.inner.lock().unwrap() = Counting {
            stop_named: Some(name.to_owned()),
            ..Counting::default()
        };
    }

    /// The place where somebody was stopped, if anybody was.
    pub(crate) fn stopped(&self) -> Option<String> {
        let inner = self.inner.lock().unwrap();
        inner
            .stop_at
            .filter(|at| inner.passed >= *at)
            .map(|_| inner.name.clone())
    }

    pub(crate) async fn pass(&self, name: &str) {
        let stop = {
            let mut inner = self.inner.lock().unwrap();
            inner.passed += 1;
            let stop = inner.stop_at == Some(inner.passed) || inner.stop_named.as_deref() == Some(name);
            if stop {
                inner.name = name.to_owned();
            }
            stop
        };
        if stop {
            self.reached.notify_one();
            self.release.notified().await;
        }
    }
}
