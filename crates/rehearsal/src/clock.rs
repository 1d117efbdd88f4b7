//! One clock for both sides: what astern reads, and what the sandbox lives by.

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::time::Instant;

/// Tokio's timer counts milliseconds: whoever wakes at a time must not find that it is not quite there.
const TICK: Duration = Duration::from_millis(1);

/// A date that goes by as tokio's time does: by itself, or in jumps where that is paused.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    from: Timestamp,
    started: Instant,
}

impl TokioClock {
    /// It is `from` now.
    pub fn starting(from: Timestamp) -> Self {
        Self {
            from,
            started: Instant::now(),
        }
    }

    /// The time now.
    pub fn time(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX);
        self.from.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }
}

#[async_trait]
impl astern_port::clock::Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.time()
    }

    async fn sleep(&self, span: SignedDuration) {
        if let Ok(span) = Duration::try_from(span) {
            tokio::time::sleep(span).await;
        }
    }
}

impl astern_sandbox::Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.time()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let left = Duration::try_from(at.duration_since(self.time())).unwrap_or_default();
        Box::pin(tokio::time::sleep(left + TICK))
    }
}
