//! How a workload must stand now, by the plan and by what the run has done of it. Compares nothing.

use crate::context::{Context, Progress, spec};
use astern_model::id::{TemplateHash, Uid};
use astern_model::step::Step;
use astern_model::step::helm::Carried;
use astern_model::step::workload::Spec;
use astern_model::workload::Strategy;
use std::collections::BTreeSet;

/// What must be true of one workload. More than one value where an effect of the run may or may not be there.
pub(crate) struct Course<'a> {
    pub(crate) uid: &'a Uid,
    pub(crate) templates: BTreeSet<&'a TemplateHash>,
    /// None where no step pins it.
    pub(crate) strategy: Option<&'a Strategy>,
    /// Empty where no step pins it.
    pub(crate) paused: BTreeSet<bool>,
}

impl<'a> Course<'a> {
    /// The course of one workload's steps, in plan order; none when it has no steps.
    pub(crate) fn of(context: &Context<'a>, steps: &[&'a Step]) -> Option<Self> {
        let first = spec(steps.first()?);
        let mut course = match context.carried(first.target()) {
            Some((step, carried)) => Self::carried(context, step, carried),
            None => Self::before(steps)?,
        };
        for step in steps {
            let progress = context.progress(&step.id);
            if matches!(progress, Progress::Pending | Progress::Dropped) {
                continue;
            }
            let sure = progress == Progress::Done;
            match spec(step) {
                Spec::SetPaused { paused, .. } => set(&mut course.paused, *paused, sure),
                spec @ (Spec::WriteTemplate { .. } | Spec::Restart { .. }) => {
                    if let Some(written) = spec.writes() {
                        set(&mut course.templates, written, sure);
                    }
                }
                Spec::AwaitRollout { .. }
                | Spec::AwaitGone { .. }
                | Spec::Scale { .. }
                | Spec::DeletePod { .. } => {}
            }
        }
        Some(course)
    }

    /// Of a workload whose template its release writes.
    fn carried(context: &Context<'a>, step: &Step, carried: &'a Carried) -> Self {
        let mut course = Self {
            uid: &carried.pin.uid,
            templates: BTreeSet::from([&carried.pin.template]),
            strategy: Some(&carried.pin.strategy),
            paused: BTreeSet::from([carried.pin.paused]),
        };
        match context.progress(&step.id) {
            Progress::Pending | Progress::Dropped => {}
            Progress::Intended => set(&mut course.templates, &carried.to.template, false),
            Progress::Done => set(&mut course.templates, &carried.to.template, true),
        }
        course
    }

    /// Before any step: what the first pins say.
    fn before(steps: &[&'a Step]) -> Option<Self> {
        let first = spec(steps.first()?);
        let template = match first {
            Spec::WriteTemplate { pin, .. }
            | Spec::Restart { pin, .. }
            | Spec::SetPaused { pin, .. }
            | Spec::Scale { pin, .. } => &pin.template,
            Spec::AwaitRollout { template, .. }
            | Spec::AwaitGone { template, .. }
            | Spec::DeletePod { template, .. } => template,
        };
        let pin = steps.iter().find_map(|step| match spec(step) {
            Spec::WriteTemplate { pin, .. }
            | Spec::Restart { pin, .. }
            | Spec::SetPaused { pin, .. }
            | Spec::Scale { pin, .. } => Some(pin),
            Spec::AwaitRollout { .. } | Spec::AwaitGone { .. } | Spec::DeletePod { .. } => None,
        });
        Some(Self {
            uid: first.uid(),
            templates: BTreeSet::from([template]),
            strategy: pin.map(|pin| &pin.strategy),
            paused: pin.map(|pin| pin.paused).into_iter().collect(),
        })
    }
}

/// A sure effect leaves its own value alone; one that is not known leaves both.
fn set<T: Ord>(values: &mut BTreeSet<T>, value: T, sure: bool) {
    if sure {
        values.clear();
    }
    values.insert(value);
}
