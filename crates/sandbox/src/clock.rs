//! The clock port: what time it is and waiting until a time. The only place of this crate that looks at a real clock.

use futures::future::BoxFuture;
use jiff::Timestamp;
use std::time::Duration;

/// Time as the embedder has it.
pub trait Clock: Send + Sync + 'static {
    /// The time now. It may stand still; it should not go back.
    fn now(&self) -> Timestamp;

    /// Waits until a time has come.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let left = at.duration_since(Timestamp::now());
        Box::pin(tokio::time::sleep(Duration::try_from(left).unwrap_or_default()))
    }
}
