//! Which owners a plan stops before it writes. Owns the walk up to those above an owner; what is refused is a rule's matter.

use crate::context::{Context, Progress, targets};
use astern_model::id::StepId;
use astern_model::owner::{OwnerName, OwnerSeen};
use astern_model::step::Step;
use astern_model::step::owner::Spec;
use astern_model::workload::{Owner, OwnerState};
use std::collections::BTreeSet;

/// Whether an owner, or somebody above it, is in the way of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold<'a> {
    /// The plan stops it, and whoever would switch it on again, before it writes.
    Held,
    /// It does not write by itself.
    Quiet,
    /// This one writes, or may, and is not stopped first.
    Free(&'a Owner),
}

/// How the plan deals with an owner before step `write`.
pub(crate) fn hold<'a>(context: &Context<'a>, owner: &'a Owner, write: &StepId) -> Hold<'a> {
    walk(context, owner, write, &mut BTreeSet::new())
}

fn walk<'a>(
    context: &Context<'a>,
    owner: &'a Owner,
    before: &StepId,
    seen: &mut BTreeSet<&'a OwnerName>,
) -> Hold<'a> {
    let met = owner.object.as_ref().is_some_and(|name| seen.contains(name));
    if met || context.allow.accept_revert.contains(&owner.name) {
        return Hold::Quiet;
    }
    if let Some((pause, awaited)) = owner
        .object
        .as_ref()
        .and_then(|name| stopped(context, name, before))
    {
        let above = owner.object.as_ref().filter(|name| seen.insert(name));
        let above = above.and_then(|name| context.inventory.owner(name));
        let free = above
            .into_iter()
            .flat_map(|object: &OwnerSeen| &object.parents)
            .map(|parent| walk(context, parent, &pause.id, seen))
            .find(|hold| matches!(hold, Hold::Free(_)));
        return match free {
            Some(free) => free,
            None if awaited => Hold::Held,
            None => Hold::Free(owner),
        };
    }
    match owner.state {
        OwnerState::Passive { .. } => Hold::Quiet,
        OwnerState::WritesBack { .. } | OwnerState::Unknown { .. } | OwnerState::Busy { .. } => {
            Hold::Free(owner)
        }
    }
}

/// The step that pauses an owner, and whether `before` starts only once its controller has seen that.
fn stopped<'a>(context: &Context<'a>, name: &OwnerName, before: &StepId) -> Option<(&'a Step, bool)> {
    let mut pause = None;
    let mut awaited = false;
    for (step, spec) in context.owners().filter(|(_, spec)| spec.owner() == name) {
        let counts = match context.progress(&step.id) {
            Progress::Dropped => false,
            Progress::Pending | Progress::Intended => context.order.follows(before, &step.id),
            // Somebody may have switched it on since.
            Progress::Done => context.order.follows(before, &step.id) && still_paused(context, spec),
        };
        match spec {
            Spec::Pause { .. } if counts => pause = Some(step),
            Spec::AwaitPaused { .. } if counts => awaited = true,
            Spec::Pause { .. } | Spec::AwaitPaused { .. } | Spec::Resume { .. } => {}
        }
    }
    pause.map(|pause| (pause, awaited))
}

/// Whether an owner that was paused stands so still; one that cannot be read is taken at the journal's word.
fn still_paused(context: &Context<'_>, spec: &Spec) -> bool {
    let seen = context.inventory.owner(spec.owner());
    seen.is_none_or(|seen| &seen.uid == spec.uid() && seen.is_paused())
}

/// Every owner of what the plan writes, and those above them: nobody else has a reason to be paused.
pub(crate) fn concerned<'a>(context: &Context<'a>) -> BTreeSet<&'a OwnerName> {
    let inventory = context.inventory;
    let written = context.plan.steps.iter().filter(|step| !step.spec.only_reads());
    let of_workloads = written
        .flat_map(targets)
        .filter_map(|target| inventory.workloads.get(target))
        .flat_map(|workload| &workload.owners);
    let of_config = context
        .config()
        .filter_map(|(_, spec)| inventory.config.live(spec.object()))
        .flat_map(|live| &live.owners);
    let mut open: Vec<&OwnerName> = of_workloads
        .chain(of_config)
        .filter_map(|owner| owner.object.as_ref())
        .collect();
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if found.insert(name) {
            let above = inventory
                .owner(name)
                .into_iter()
                .flat_map(|object| &object.parents);
            open.extend(above.filter_map(|owner| owner.object.as_ref()));
        }
    }
    found
}
