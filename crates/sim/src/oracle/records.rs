//! What must be true of each record that has become sure: that what it says has happened is so.

use super::object::{epoch_on, text};
use super::{Oracle, contents, path_of};
use astern_model::id::{Direction, EffectKey, RunId};
use astern_model::record::{Event, Record};
use astern_model::step::workload::{After, Spec};
use astern_model::step::{After as StepAfter, Spec as StepSpec, config};
use astern_model::target::{Target, WorkloadKind};
use serde_json::Value;

impl Oracle {
    /// What is not true of a record that has just become sure.
    pub(super) fn untrue(&self, run: &RunId, record: &Record) -> Vec<String> {
        let mut wrong = Vec::new();
        let (step, direction, done) = match &record.event {
            Event::Applied { step, .. } => (step, Direction::Forward, Some(true)),
            Event::Failed { step, .. } => (step, Direction::Forward, Some(false)),
            Event::Reversed { step, .. } => (step, Direction::Back, Some(true)),
            Event::ReverseFailed { step, .. } => (step, Direction::Back, Some(false)),
            Event::Unsettled { step, .. } => (step, Direction::Forward, None),
            _ => return wrong,
        };
        let (path, open, spec, strange) = {
            let state = self.state();
            let Some(known) = state.runs.get(run) else {
                return wrong;
            };
            let Some(found) = known.plan.step(step) else {
                return vec![format!("record {} names no step of the plan", record.seq)];
            };
            let path = match &found.spec {
                StepSpec::Workload(spec) => path_of(spec.target()),
                StepSpec::Config(spec) => contents::path_of(spec),
                StepSpec::Helm(_) | StepSpec::Owner(_) => {
                    return vec![format!(
                        "record {} names a step that no simulated plan has",
                        record.seq
                    )];
                }
            };
            let open = known.steps.get(step).and_then(|progress| progress.open);
            let strange = state.strange.contains(&path);
            (path, open, found.spec.clone(), strange)
        };
        if let Some(spec) = spec.workload().filter(|spec| spec.only_reads()) {
            if done == Some(true) && !strange {
                wrong.extend(
                    self.not_serving(spec.target())
                        .map(|why| format!("record {}: {why}", record.seq)),
                );
            }
            return wrong;
        }
        let epoch = record.epoch.map_or(0, |epoch| epoch.0);
        // What is not there when it is looked at has nothing to fence, and may be made before the record of that look is sure.
        let creates = matches!(spec, StepSpec::Config(config::Spec::Create { .. }));
        let not_known_yet = done.is_none() && creates;
        if let Some((_, older)) = open.filter(|(_, older)| *older < epoch && !not_known_yet) {
            let object = self.stored(&path);
            let fenced = epoch_on(&object, run).is_some_and(|on| on >= epoch);
            let uid = match &spec {
                StepSpec::Workload(spec) => Some(spec.uid().as_str()),
                StepSpec::Config(config::Spec::Restore { pin, .. }) => Some(pin.uid.as_str()),
                // No case of the simulation has an ExternalSecret.
                StepSpec::Config(
                    config::Spec::Repin { source, .. } | config::Spec::AwaitDrawn { source, .. },
                ) => Some(source.uid.as_str()),
                // Where a creation left nothing, there is nothing to fence.
                StepSpec::Config(config::Spec::Create { .. }) | StepSpec::Helm(_) | StepSpec::Owner(_) => {
                    None
                }
            };
            let same = match uid {
                Some(uid) => text(&object, "/metadata/uid") == uid,
                None => !object.is_null(),
            };
            if !fenced && same && !strange {
                wrong.push(format!(
                    "record {}: epoch {epoch} settles {step}, which epoch {older} left open, and has not fenced {path}",
                    record.seq
                ));
            }
        }
        let nothing_to_do = matches!(
            &record.event,
            Event::Applied {
                after: StepAfter::Workload(After::Kept { .. } | After::Deleted { .. }),
                ..
            }
        ) || (direction == Direction::Back
            && matches!(spec.workload(), Some(Spec::DeletePod { .. })));
        // What a run made and somebody has deleted since.
        let nothing_to_do = nothing_to_do
            || direction == Direction::Back
                && strange
                && matches!(spec.config(), Some(config::Spec::Create { .. }));
        let times = {
            let state = self.state();
            let key = EffectKey::of(run, step, direction);
            state.effects.get(&key).copied().unwrap_or_default()
        };
        match done {
            Some(true) if times == 0 && !nothing_to_do => wrong.push(format!(
                "record {}: {step} ({direction:?}) is said to be done, and no such write came",
                record.seq
            )),
            Some(false) if times > 0 && open.is_some() && !strange => wrong.push(format!(
                "record {}: {step} ({direction:?}) is said not to be there, and it is",
                record.seq
            )),
            _ => {}
        }
        wrong
    }

    /// Why a workload does not serve what it asks for, by its own status.
    fn not_serving(&self, target: &Target) -> Option<String> {
        let object = self.stored(&path_of(target));
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
        let (ready, wanted) = match target.kind {
            WorkloadKind::DaemonSet => ("/status/numberReady", number("/status/desiredNumberScheduled")),
            WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::Rollout => {
                ("/status/readyReplicas", number("/spec/replicas"))
            }
        };
        let ready = number(ready).unwrap_or(0);
        (ready < wanted.unwrap_or(0))
            .then(|| format!("{target} is said to serve, and {ready} of its pods are ready"))
    }
}

pub(super) fn told(run: &RunId, record: &Record) -> String {
    let what = serde_json::to_string(&record.event).unwrap_or_default();
    let end = what.char_indices().nth(260).map_or(what.len(), |(end, _)| end);
    format!("{run} record {}: {}", record.seq, &what[..end])
}
