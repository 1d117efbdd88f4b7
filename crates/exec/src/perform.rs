//! One command, performed: the one `match` over the layers, and how an answer becomes an event.

use crate::book::Book;
use astern_model::defect::{Defect, planted};
use astern_model::id::{Direction, EffectKey, Epoch, RunId, StepId};
use astern_model::plan::Plan;
use astern_model::record::Event;
use astern_model::step::workload::{self, Stamp};
use astern_model::step::{After, Before, Spec};
use astern_model::step::{config, owner};
use astern_port::config::Contents;
use astern_port::owners::Owners;
use astern_port::releases::Releases;
use astern_port::workloads::{Settled, Workloads};
use astern_port::{Failure, FailureClass};
use jiff::Timestamp;
use std::sync::Arc;

/// The providers, one a layer.
#[derive(Clone)]
pub struct Providers {
    /// The workload layer.
    pub workloads: Arc<dyn Workloads>,
    /// The Helm layer.
    pub releases: Arc<dyn Releases>,
    /// The config layer.
    pub contents: Arc<dyn Contents>,
    /// The owners' layer.
    pub owners: Arc<dyn Owners>,
}

/// Reads what is there before a step, and checks its pins.
pub(crate) async fn prepare(providers: &Providers, spec: &Spec) -> Result<Before, Failure> {
    match spec {
        Spec::Workload(spec) => providers.workloads.prepare(spec).await.map(Before::Workload),
        Spec::Helm(spec) => providers.releases.prepare(spec).await.map(Before::Helm),
        Spec::Config(spec) => providers.contents.prepare(spec).await.map(Before::Config),
        Spec::Owner(spec) => providers.owners.prepare(spec).await.map(Before::Owner),
    }
}

/// Carries a step out.
pub(crate) async fn apply(
    providers: &Providers,
    spec: &Spec,
    before: &Before,
    stamp: &Stamp,
) -> Result<After, Failure> {
    match (spec, before) {
        (Spec::Workload(spec), Before::Workload(before)) => providers
            .workloads
            .apply(spec, before, stamp)
            .await
            .map(After::Workload),
        (Spec::Helm(spec), Before::Helm(before)) => providers
            .releases
            .apply(spec, before, stamp)
            .await
            .map(After::Helm),
        (Spec::Config(spec), Before::Config(before)) => providers
            .contents
            .apply(spec, before, stamp)
            .await
            .map(After::Config),
        (Spec::Owner(spec), Before::Owner(before)) => providers
            .owners
            .apply(spec, before, stamp)
            .await
            .map(After::Owner),
        _ => Err(another_layer(spec)),
    }
}

/// What a step that did not end in time still waits for.
pub(crate) async fn explain(providers: &Providers, spec: &Spec) -> Vec<String> {
    match spec {
        Spec::Workload(spec) => providers.workloads.explain(spec).await,
        Spec::Helm(_) | Spec::Config(_) | Spec::Owner(_) => Vec::new(),
    }
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
    match (spec, before) {
        (Spec::Workload(spec), Before::Workload(before)) => map(
            providers.workloads.settle(spec, before, stamp).await,
            After::Workload,
        ),
        (Spec::Helm(spec), Before::Helm(before)) => {
            map(providers.releases.settle(spec, before, stamp).await, After::Helm)
        }
        (Spec::Config(spec), Before::Config(before)) => map(
            providers.contents.settle(spec, before, stamp).await,
            After::Config,
        ),
        (Spec::Owner(spec), Before::Owner(before)) => {
            map(providers.owners.settle(spec, before, stamp).await, After::Owner)
        }
        _ => Settled::Unknown(another_layer(spec)),
    }
}

/// What a step found and what it left behind: all that taking it back needs.
pub(crate) struct Receipt {
    pub(crate) before: Before,
    pub(crate) after: After,
}

/// Takes a step back.
pub(crate) async fn reverse(
    providers: &Providers,
    spec: &Spec,
    Receipt { before, after }: &Receipt,
    stamp: &Stamp,
) -> Result<After, Failure> {
    match (spec, before, after) {
        (Spec::Workload(spec), Before::Workload(before), After::Workload(after)) => providers
            .workloads
            .reverse(spec, before, after, stamp)
            .await
            .map(After::Workload),
        (Spec::Helm(spec), Before::Helm(before), After::Helm(after)) => providers
            .releases
            .reverse(spec, before, after, stamp)
            .await
            .map(After::Helm),
        (Spec::Config(spec), Before::Config(before), After::Config(after)) => providers
            .contents
            .reverse(spec, before, after, stamp)
            .await
            .map(After::Config),
        (Spec::Owner(spec), Before::Owner(before), After::Owner(after)) => providers
            .owners
            .reverse(spec, before, after, stamp)
            .await
            .map(After::Owner),
        _ => Err(another_layer(spec)),
    }
}

/// Finds out whether a step is taken back.
pub(crate) async fn settle_reverse(
    providers: &Providers,
    spec: &Spec,
    Receipt { before, after }: &Receipt,
    stamp: &Stamp,
) -> Settled<After> {
    match (spec, before, after) {
        (Spec::Workload(spec), Before::Workload(before), After::Workload(after)) => map(
            providers
                .workloads
                .settle_reverse(spec, before, after, stamp)
                .await,
            After::Workload,
        ),
        (Spec::Helm(spec), Before::Helm(before), After::Helm(after)) => map(
            providers
                .releases
                .settle_reverse(spec, before, after, stamp)
                .await,
            After::Helm,
        ),
        (Spec::Config(spec), Before::Config(before), After::Config(after)) => map(
            providers
                .contents
                .settle_reverse(spec, before, after, stamp)
                .await,
            After::Config,
        ),
        (Spec::Owner(spec), Before::Owner(before), After::Owner(after)) => map(
            providers.owners.settle_reverse(spec, before, after, stamp).await,
            After::Owner,
        ),
        _ => Settled::Unknown(another_layer(spec)),
    }
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
    match (spec, before) {
        (Spec::Workload(spec), Before::Workload(before)) => {
            providers.workloads.fence(spec, before, run, from, to).await
        }
        // A helm that outlived its caller knows no epoch: it is waited for by its record.
        (Spec::Helm(_), Before::Helm(_)) => Ok(()),
        (Spec::Config(spec), Before::Config(before)) => {
            providers.contents.fence(spec, before, run, from, to).await
        }
        (Spec::Owner(spec), Before::Owner(before)) => {
            providers.owners.fence(spec, before, run, from, to).await
        }
        _ => Err(another_layer(spec)),
    }
}

/// A journal whose records belong to another layer's step is not one that astern wrote.
fn another_layer(spec: &Spec) -> Failure {
    Failure::new(
        FailureClass::Permanent,
        spec.phrase(),
        "the journal's record of this step belongs to another layer",
    )
}

fn map<A, B>(settled: Settled<A>, wrap: impl FnOnce(A) -> B) -> Settled<B> {
    match settled {
        Settled::Applied(after) => Settled::Applied(wrap(after)),
        Settled::NotApplied => Settled::NotApplied,
        Settled::Unknown(failure) => Settled::Unknown(failure),
    }
}

/// The stamp of a step's effect.
pub(crate) fn stamp(
    run: &RunId,
    step: &StepId,
    direction: Direction,
    epoch: Epoch,
    reason: &str,
    open_since: Timestamp,
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
        open_since,
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
