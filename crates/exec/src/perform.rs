//! One command, performed: the one `match` over the layers, and how an answer becomes an event.

use crate::book::Book;
use astern_model::defect::{Defect, planted};
use astern_model::id::{Direction, EffectKey, Epoch, RunId, StepId};
use astern_model::plan::Plan;
use astern_model::record::Event;
use astern_model::step::workload::{self, Stamp};
use astern_model::step::{After, Before, Layer, Spec};
use astern_model::step::{config, helm, owner};
use astern_port::provider::{Provider, Settled};
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use jiff::SignedDuration;
use std::sync::Arc;

/// The providers, one a layer.
#[derive(Clone)]
pub struct Providers {
    /// The workload layer.
    pub workloads: Arc<dyn Provider<workload::Spec>>,
    /// The Helm layer.
    pub releases: Arc<dyn Provider<helm::Spec>>,
    /// The config layer.
    pub contents: Arc<dyn Provider<config::Spec>>,
    /// The owners' layer.
    pub owners: Arc<dyn Provider<owner::Spec>>,
}

impl Providers {
    /// A step with its layer's provider: the one `match` over the layers.
    fn of<'a>(&'a self, spec: &'a Spec) -> Box<dyn Effect + 'a> {
        match spec {
            Spec::Workload(spec) => Box::new(Of(&*self.workloads, spec)),
            Spec::Helm(spec) => Box::new(Of(&*self.releases, spec)),
            Spec::Config(spec) => Box::new(Of(&*self.contents, spec)),
            Spec::Owner(spec) => Box::new(Of(&*self.owners, spec)),
        }
    }
}

/// One step's effect, in the journal's words. A record that belongs to another layer's step is in no journal that astern wrote.
#[async_trait]
trait Effect: Send + Sync {
    async fn prepare(&self) -> Result<Before, Failure>;
    async fn apply(&self, before: &Before, stamp: &Stamp) -> Result<After, Failure>;
    async fn settle(&self, before: &Before, stamp: &Stamp) -> Settled<After>;
    async fn reverse(&self, receipt: &Receipt, stamp: &Stamp) -> Result<After, Failure>;
    async fn settle_reverse(&self, receipt: &Receipt, stamp: &Stamp) -> Settled<After>;
    async fn fence(&self, before: &Before, run: &RunId, from: Epoch, to: Epoch) -> Result<(), Failure>;
    async fn explain(&self) -> Vec<String>;
}

/// A layer's provider and one of its steps.
struct Of<'a, L: Layer>(&'a dyn Provider<L>, &'a L);

impl<L: Layer> Of<'_, L> {
    fn before<'b>(&self, before: &'b Before) -> Result<&'b L::Before, Failure> {
        L::before(before).ok_or_else(|| self.another_layer())
    }

    fn receipt<'b>(&self, receipt: &'b Receipt) -> Result<(&'b L::Before, &'b L::After), Failure> {
        let after = L::after(&receipt.after).ok_or_else(|| self.another_layer())?;
        Ok((self.before(&receipt.before)?, after))
    }

    fn another_layer(&self) -> Failure {
        Failure::new(
            FailureClass::Permanent,
            self.1.phrase(),
            "the journal's record of this step belongs to another layer",
        )
    }
}

#[async_trait]
impl<L: Layer> Effect for Of<'_, L> {
    async fn prepare(&self) -> Result<Before, Failure> {
        self.0.prepare(self.1).await.map(L::found)
    }

    async fn apply(&self, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let before = self.before(before)?;
        self.0.apply(self.1, before, stamp).await.map(L::left)
    }

    async fn settle(&self, before: &Before, stamp: &Stamp) -> Settled<After> {
        match self.before(before) {
            Ok(before) => self.0.settle(self.1, before, stamp).await.map(L::left),
            Err(failure) => Settled::Unknown(failure),
        }
    }

    async fn reverse(&self, receipt: &Receipt, stamp: &Stamp) -> Result<After, Failure> {
        let (before, after) = self.receipt(receipt)?;
        self.0.reverse(self.1, before, after, stamp).await.map(L::left)
    }

    async fn settle_reverse(&self, receipt: &Receipt, stamp: &Stamp) -> Settled<After> {
        match self.receipt(receipt) {
            Ok((before, after)) => {
                let settled = self.0.settle_reverse(self.1, before, after, stamp).await;
                settled.map(L::left)
            }
            Err(failure) => Settled::Unknown(failure),
        }
    }

    async fn fence(&self, before: &Before, run: &RunId, from: Epoch, to: Epoch) -> Result<(), Failure> {
        let before = self.before(before)?;
        self.0.fence(self.1, before, run, from, to).await
    }

    async fn explain(&self) -> Vec<String> {
        self.0.explain(self.1).await
    }
}

/// What a step found and what it left behind: all that taking it back needs.
pub(crate) struct Receipt {
    pub(crate) before: Before,
    pub(crate) after: After,
}

/// Reads what is there before a step, and checks its pins.
pub(crate) async fn prepare(providers: &Providers, spec: &Spec) -> Result<Before, Failure> {
    providers.of(spec).prepare().await
}

/// Carries a step out.
pub(crate) async fn apply(
    providers: &Providers,
    spec: &Spec,
    before: &Before,
    stamp: &Stamp,
) -> Result<After, Failure> {
    providers.of(spec).apply(before, stamp).await
}

/// What a step that did not end in time still waits for.
pub(crate) async fn explain(providers: &Providers, spec: &Spec) -> Vec<String> {
    providers.of(spec).explain().await
}

/// Finds out whether a step's effect is there.
pub(crate) async fn settle(
    providers: &Providers,
    spec: &Spec,
    before: &Before,
    stamp: &Stamp,
) -> Settled<After> {
    if planted(Defect::SettleBlindly) {
        return Settled::NotApplied;
    }
    providers.of(spec).settle(before, stamp).await
}

/// Takes a step back.
pub(crate) async fn reverse(
    providers: &Providers,
    spec: &Spec,
    receipt: &Receipt,
    stamp: &Stamp,
) -> Result<After, Failure> {
    providers.of(spec).reverse(receipt, stamp).await
}

/// Finds out whether a step is taken back.
pub(crate) async fn settle_reverse(
    providers: &Providers,
    spec: &Spec,
    receipt: &Receipt,
    stamp: &Stamp,
) -> Settled<After> {
    providers.of(spec).settle_reverse(receipt, stamp).await
}

/// Marks the step's object with the new epoch after a takeover.
pub(crate) async fn fence(
    providers: &Providers,
    spec: &Spec,
    before: &Before,
    run: &RunId,
    from: Epoch,
    to: Epoch,
) -> Result<(), Failure> {
    providers.of(spec).fence(before, run, from, to).await
}

/// The stamp of a step's effect.
pub(crate) fn stamp(
    run: &RunId,
    step: &StepId,
    direction: Direction,
    epoch: Epoch,
    reason: &str,
    open_for: SignedDuration,
) -> Stamp {
    let direction = if planted(Defect::ReuseKey) {
        Direction::Forward
    } else {
        direction
    };
    Stamp {
        key: EffectKey::of(run, step, direction),
        epoch,
        run: run.clone(),
        reason: reason.to_owned(),
        open_for,
    }
}

/// The event after preparing: the intent, or why there is none. A read that was cut off changed nothing.
pub(crate) fn prepared(run: &RunId, step: StepId, attempt: u32, result: Result<Before, Failure>) -> Event {
    match result {
        Ok(before) => {
            let key = EffectKey::of(run, &step, Direction::Forward);
            Event::Intended {
                step,
                key,
                attempt,
                before,
            }
        }
        Err(failure) => Event::Failed {
            step,
            failure: without_effect(failure),
        },
    }
}

/// The event after an attempt.
pub(crate) fn applied(step: StepId, result: Result<After, Failure>) -> Event {
    match result {
        Ok(after) => Event::Applied { step, after },
        Err(failure) if failure.class == FailureClass::Unknown && planted(Defect::RetryUnknown) => {
            let failure = without_effect(failure);
            Event::Failed { step, failure }
        }
        Err(failure) if failure.class == FailureClass::Unknown => Event::Unsettled { step, failure },
        Err(failure) => Event::Failed { step, failure },
    }
}

/// The event after settling: not applied means that the attempt may be made again.
pub(crate) fn settled(step: StepId, result: Settled<After>) -> Event {
    match result {
        Settled::Applied(after) => Event::Applied { step, after },
        Settled::NotApplied => Event::Failed {
            step,
            failure: not_there("carry out"),
        },
        Settled::Unknown(failure) => Event::Unsettled { step, failure },
    }
}

/// The event after an attempt to take a step back.
pub(crate) fn reversed(step: StepId, result: Result<After, Failure>) -> Event {
    match result {
        Ok(after) => Event::Reversed { step, after },
        Err(failure) if failure.class == FailureClass::Unknown => Event::Unsettled { step, failure },
        Err(failure) => Event::ReverseFailed { step, failure },
    }
}

/// The event after settling a reversal.
pub(crate) fn settled_reverse(step: StepId, result: Settled<After>) -> Event {
    match result {
        Settled::Applied(after) => Event::Reversed { step, after },
        Settled::NotApplied => Event::ReverseFailed {
            step,
            failure: not_there("take back"),
        },
        Settled::Unknown(failure) => Event::Unsettled { step, failure },
    }
}

/// The epoch of the newest write on the step's object that the journal has a result of; 0 where it has none.
pub(crate) fn last_write(book: &Book, spec: &Spec) -> Epoch {
    let writes = |after: &After| {
        matches!(
            after,
            After::Workload(workload::After::Written { .. })
                | After::Config(config::After::Written { .. })
                | After::Owner(owner::After::Written { .. })
        )
    };
    let written = book.records.iter().rev().find_map(|record| match &record.event {
        Event::Applied { step, after } | Event::Reversed { step, after } if writes(after) => {
            let same = book
                .plan
                .step(step)
                .is_some_and(|step| same_object(&step.spec, spec));
            record.epoch.filter(|_| same)
        }
        _ => None,
    });
    written.unwrap_or(Epoch(0))
}

/// What the journal says that a step found and left behind; none of a step that was never known as done.
pub(crate) fn receipt(book: &Book, step: &StepId, before: Before) -> Option<Receipt> {
    let after = book.records.iter().rev().find_map(|record| match &record.event {
        Event::Applied { step: named, after } if named == step => Some(after.clone()),
        _ => None,
    })?;
    Some(Receipt { before, after })
}

fn same_object(one: &Spec, other: &Spec) -> bool {
    match (one, other) {
        (Spec::Workload(one), Spec::Workload(other)) => one.target() == other.target(),
        (Spec::Helm(one), Spec::Helm(other)) => one.release() == other.release(),
        (Spec::Config(one), Spec::Config(other)) => {
            (one.namespace(), one.object()) == (other.namespace(), other.object())
        }
        (Spec::Owner(one), Spec::Owner(other)) => one.owner() == other.owner(),
        (Spec::Workload(_) | Spec::Helm(_) | Spec::Config(_) | Spec::Owner(_), _) => false,
    }
}

/// The spec of a step; a plan that passed the gate has it.
pub(crate) fn spec(plan: &Plan, step: &StepId) -> Spec {
    plan.step(step)
        .unwrap_or_else(|| panic!("BUG: the engine named step {step}, which the plan does not have"))
        .spec
        .clone()
}

fn not_there(verb: &str) -> Failure {
    let class = FailureClass::Transient { retry_after_ms: None };
    Failure::new(
        class,
        format!("{verb} the step"),
        "the earlier attempt left nothing; it will be made again",
    )
}

fn without_effect(failure: Failure) -> Failure {
    if failure.class == FailureClass::Unknown {
        Failure {
            class: FailureClass::Transient { retry_after_ms: None },
            ..failure
        }
    } else {
        failure
    }
}
