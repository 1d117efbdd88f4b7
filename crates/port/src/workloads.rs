//! Effects on workloads.

use crate::Failure;
use astern_model::id::{Epoch, RunId};
use astern_model::step::workload::{After, Before, Spec, Stamp};
use async_trait::async_trait;

/// What settling found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled<A> {
    /// The effect is there, and it is ours (its key is on the object).
    Applied(A),
    /// It is not there, and cannot arrive any more: a write whose answer was lost is refused from now on.
    NotApplied,
    /// It cannot be told yet.
    Unknown(Failure),
}

/// The workload layer.
///
/// # Flow
/// `prepare` reads what is there and checks the pins; the caller makes that durable with the intent; `apply` reads
/// again, checks the pins, that no epoch above the stamp's is on the object and no mark of another run that was not
/// there before, and writes under the resourceVersion it has just read. A crash in between is settled from the intent alone.
///
/// # Guarantees
/// - `apply` with a stamp whose key is already on the object, with the effect there, writes nothing and answers as
///   if it had just written.
/// - A template that admission changed on the way is written all the same: [`After`] says which it is, and `reverse`
///   takes that one back.
/// - A pin that does not hold is `Conflict`, and nothing was written; the message says which, from what to what.
/// - `reverse` restores what [`Before`] recorded and nothing else; an object that is gone is `Permanent`.
/// - A wait (`AwaitRollout`) watches; it ends with `Permanent` and evidence as soon as the rollout cannot succeed.
#[async_trait]
pub trait Workloads: Send + Sync {
    /// Reads what is there, keeps in the vault what the reversal needs, and checks the pins.
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure>;

    /// Carries the step out.
    async fn apply(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Result<After, Failure>;

    /// Finds out whether the effect with this key is there. Where it is not, moves the object on before it says so, so
    /// that a write which is still on its way meets another resourceVersion than the one that it carries.
    async fn settle(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Settled<After>;

    /// Takes back what the step left behind (`after`).
    async fn reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Result<After, Failure>;

    /// Finds out whether the reversal with this key is there.
    async fn settle_reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Settled<After>;

    /// Says what a wait still waits for, in lines for a person, when its deadline has passed. Bounded by itself, and
    /// empty where nothing can be told: it only adds to a failure that stands already.
    async fn explain(&self, spec: &Spec) -> Vec<String> {
        let _ = spec;
        Vec::new()
    }

    /// After a takeover: writes the new epoch on the step's object, so that the predecessor's write is refused.
    /// `Conflict` when the object carries an epoch of this run that is lower than `from`, or none where one was
    /// left, or marks of another run that [`Before`] does not know: somebody else wrote it.
    async fn fence(
        &self,
        spec: &Spec,
        before: &Before,
        run: &RunId,
        from: Epoch,
        to: Epoch,
    ) -> Result<(), Failure>;
}
