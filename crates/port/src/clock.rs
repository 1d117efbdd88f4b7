//! Time as a port: real when it counts, virtual in simulation.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

/// Where `now` comes from.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns after `span`; at once when it is not positive.
    async fn sleep(&self, span: SignedDuration);
}
