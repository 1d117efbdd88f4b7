//! The machine's clock, for tests against servers that live by it.

use astern_port::clock::Clock;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

/// The system's time.
pub(crate) struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, span: SignedDuration) {
        tokio::time::sleep(span.unsigned_abs()).await;
    }
}
