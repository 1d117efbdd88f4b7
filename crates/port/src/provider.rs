//! What every layer of effects does, whatever it has its effects on.

use crate::Failure;
use astern_model::id::{Epoch, RunId};
use astern_model::step::Layer;
use astern_model::step::workload::Stamp;
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

impl<A> Settled<A> {
    /// The same, of another kind of effect.
    pub fn map<B>(self, of: impl FnOnce(A) -> B) -> Settled<B> {
        match self {
            Self::Applied(after) => Settled::Applied(of(after)),
            Self::NotApplied => Settled::NotApplied,
            Self::Unknown(failure) => Settled::Unknown(failure),
        }
    }
}

/// One layer, named by its spec: `Provider<workload::Spec>`, `Provider<config::Spec>`.
///
/// # Flow
/// `prepare` reads what is there and checks the pins; the caller makes that durable with the intent; `apply` reads
/// again, checks the pins, that no epoch above the stamp's is on the object and no mark of another run that was not
/// there before, and writes under the resourceVersion it has just read. A crash in between is settled from the intent alone.
///
/// # Guarantees
/// - `apply` with a stamp whose key is already on the object, with the effect there, writes nothing and answers as
///   if it had just written.
/// - A pin that does not hold is `Conflict`, and nothing was written; the message says which, from what to what.
/// - `reverse` restores what was there before, or deletes what the step has made, and nothing else.
/// - No value of a ConfigMap or Secret is in a failure.
/// - A wait watches, and ends as soon as what it waits for cannot come.
#[async_trait]
pub trait Provider<L: Layer>: Send + Sync {
    /// Reads what is there, keeps in the vault what the reversal needs, and checks the pins.
    async fn prepare(&self, spec: &L) -> Result<L::Before, Failure>;

    /// Carries the step out.
    async fn apply(&self, spec: &L, before: &L::Before, stamp: &Stamp) -> Result<L::After, Failure>;

    /// Finds out whether the effect with this key is there. Where it is not, moves the object on before it says so, so
    /// that a write which is still on its way meets another resourceVersion than the one that it carries. Where there is no
    /// object that could be moved on, that is unknown for as long as the request that makes it may still arrive.
    async fn settle(&self, spec: &L, before: &L::Before, stamp: &Stamp) -> Settled<L::After>;

    /// Takes back what the step left behind (`after`).
    async fn reverse(
        &self,
        spec: &L,
        before: &L::Before,
        after: &L::After,
        stamp: &Stamp,
    ) -> Result<L::After, Failure>;

    /// Finds out whether the reversal with this key is there.
    async fn settle_reverse(
        &self,
        spec: &L,
        before: &L::Before,
        after: &L::After,
        stamp: &Stamp,
    ) -> Settled<L::After>;

    /// After a takeover: writes the new epoch on the step's object, so that the predecessor's write is refused.
    /// `Conflict` when the object carries an epoch of this run that is lower than `from`, or none where one was
    /// left, or marks of another run that the step did not find before: somebody else wrote it.
    async fn fence(
        &self,
        spec: &L,
        before: &L::Before,
        run: &RunId,
        from: Epoch,
        to: Epoch,
    ) -> Result<(), Failure>;

    /// Says what a wait still waits for, in lines for a person, when its deadline has passed. Bounded by itself, and
    /// empty where nothing can be told: it only adds to a failure that stands already.
    async fn explain(&self, spec: &L) -> Vec<String> {
        let _ = spec;
        Vec::new()
    }
}
