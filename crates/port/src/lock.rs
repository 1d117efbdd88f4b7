//! The lock: one Lease in every namespace that a plan touches. It says who is alive; the journal says who may act.

use crate::Failure;
use astern_model::id::RunId;
use astern_model::record::Holder;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How many renewals a Lease is good for: two may be lost on the way.
pub const RENEWALS: i32 = 3;

/// Who holds a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// The holder.
    pub holder: Holder,
    /// The run that it carries out.
    pub run: RunId,
    /// Where the run's journal lies, as the journal tells it.
    pub journal: String,
    /// When it last said that it lives.
    pub renewed_at: Timestamp,
    /// How long that is good for.
    pub duration: SignedDuration,
}

/// What trying to take the lock gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taking {
    /// It is ours.
    Taken,
    /// Somebody else has it and has renewed it lately.
    Held(Holding),
}

/// A lock over namespaces.
///
/// Expiry is judged by the taker's own clock over a Lease that it has seen not to change for its whole duration,
/// never by comparing another machine's timestamps with ours alone.
#[async_trait]
pub trait Lock: Send + Sync {
    /// Takes the lock of every namespace, in sorted order, or none. A Lease of the same run whose holder does not
    /// renew it is taken over after one duration; one of another run is reported as held, alive or not.
    async fn take(
        &self,
        namespaces: &[String],
        run: &RunId,
        holder: &Holder,
        journal: &str,
    ) -> Result<Taking, Failure>;

    /// Says that we live. `Conflict` when the lock is not ours any more.
    async fn renew(&self, namespaces: &[String], run: &RunId, holder: &Holder) -> Result<(), Failure>;

    /// Gives it back; not having it any more is no error.
    async fn release(&self, namespaces: &[String], run: &RunId, holder: &Holder) -> Result<(), Failure>;

    /// Who holds this namespace, if anybody.
    async fn holding(&self, namespace: &str) -> Result<Option<Holding>, Failure>;

    /// Whoever renews this namespace's lock while we look, for a little longer than a renewal takes to come round. No
    /// clock but our own is asked: another machine's may be wrong, and a holder that was killed a moment ago leaves a
    /// fresh lock too.
    async fn living(&self, namespace: &str) -> Result<Option<Holding>, Failure>;

    /// How often a holder renews; a Lease is good for [`RENEWALS`] times this.
    fn renew_every(&self) -> SignedDuration;
}
