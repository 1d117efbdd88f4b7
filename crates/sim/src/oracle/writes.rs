//! What must be true of each write of a process, by what was stored before and after it and by the sure records.

use super::known::Known;
use super::object::{
    CHANGE_CAUSE, EFFECT, EPOCH, LAST_APPLIED, RUN, TEMPLATE_GENERATION, annotation, epoch_on, hash, paused,
    text,
};
use super::{Change, Oracle, contents, path_of};
use astern_model::id::{Direction, EffectKey, RunId, StepId};
use astern_model::step::Spec as StepSpec;
use astern_model::step::workload::{After, Before, Spec};
use astern_model::step::{After as StepAfter, Before as StepBefore};
use http::Method;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The annotations that an effect may change on a workload.
pub(super) const OURS: [&str; 6] = [
    EFFECT,
    EPOCH,
    RUN,
    "astern.dev/settled",
    CHANGE_CAUSE,
    LAST_APPLIED,
];

impl Oracle {
    /// What is wrong with a write of a process.
    pub(super) fn judge(&self, process: usize, method: &Method, change: &Change<'_>) -> Vec<String> {
        let mut state = self.state();
        let state = &mut *state;
        let held = state.runs.iter().find_map(|(run, known)| {
            let epoch = known.holders.get(&process)?;
            Some((run.clone(), *epoch))
        });
        let Some((run, epoch)) = held else {
            return vec!["a process writes that has taken no run over".to_owned()];
        };
        let known = &state.runs[&run];
        let step = |spec: &dyn Fn(&Spec) -> bool| {
            known
                .plan
                .steps
                .iter()
                .find(|step| step.spec.workload().is_some_and(spec))
        };
        let mut wrong = Vec::new();
        if let Some(newer) = epoch_on(change.before, &run).filter(|newer| *newer > epoch) {
            wrong.push(format!("epoch {epoch} writes over epoch {newer}"));
        }
        if change.path.contains("/pods/") {
            let uid = text(change.before, "/metadata/uid");
            let deletes =
                step(&|spec| matches!(spec, Spec::DeletePod { pod_uid, .. } if pod_uid.as_str() == uid));
            let Some(step) = deletes else {
                wrong.push("no step is about this pod".to_owned());
                return wrong;
            };
            if method != Method::DELETE {
                wrong.extend(other_changes(change, false));
                return wrong;
            }
            wrong.extend(known.not_open(&step.id, Direction::Forward, epoch));
            wrong.extend(known.out_of_order(&step.id, Direction::Forward));
            let already = change.before.pointer("/metadata/deletionTimestamp").is_some();
            let key = EffectKey::of(&run, &step.id, Direction::Forward);
            let times = state.effects.entry(key).or_default();
            *times += u32::from(!already);
            if *times > 1 {
                wrong.push("a pod is deleted twice".to_owned());
            }
            return wrong;
        }
        if contents::is_content(change.path) {
            wrong.extend(state.judge_content(&run, epoch, change));
            return wrong;
        }
        if !known
            .plan
            .targets()
            .into_iter()
            .any(|target| path_of(target) == change.path)
        {
            wrong.push("it is no target of the plan".to_owned());
            return wrong;
        }
        wrong.extend(other_changes(change, true));
        let key = text(change.after, "/metadata/annotations/astern.dev~1effect");
        if change.before.pointer("/spec") == change.after.pointer("/spec") {
            if key != text(change.before, "/metadata/annotations/astern.dev~1effect") {
                wrong.push("it leaves the key of an effect that it has not".to_owned());
            }
            return wrong;
        }
        let found = known.plan.steps.iter().find_map(|step| {
            [Direction::Forward, Direction::Back]
                .into_iter()
                .find(|direction| EffectKey::of(&run, &step.id, *direction).as_str() == key)
                .map(|direction| (step, direction))
        });
        let Some((step, direction)) = found else {
            wrong.push(format!("its key `{key}` is no step's"));
            return wrong;
        };
        let StepSpec::Workload(spec) = &step.spec else {
            wrong.push(format!("step {} is no workload's", step.id));
            return wrong;
        };
        wrong.extend(known.not_open(&step.id, direction, epoch));
        wrong.extend(known.out_of_order(&step.id, direction));
        if epoch_on(change.after, &run) != Some(epoch) {
            wrong.push("it does not carry its writer's epoch".to_owned());
        }
        wrong.extend(known.unmet(&run, &step.id, spec, direction, change));
        let starts_pods = hash(change.before) != hash(change.after) || paused(change.before);
        if starts_pods && !paused(change.after) {
            wrong.extend(known.too_early(change.after, direction));
        }
        let times = state.effects.entry(EffectKey::from(key)).or_default();
        *times += 1;
        if *times > 1 {
            wrong.push(format!(
                "the effect of {} ({direction:?}) is there a second time",
                step.id
            ));
        }
        wrong
    }
}

impl Known {
    /// Why an effect may not arrive now: no intent of it is sure and open under the writer's epoch.
    pub(super) fn not_open(&self, step: &StepId, direction: Direction, epoch: u64) -> Option<String> {
        let open = self.steps.get(step).and_then(|progress| progress.open);
        if open == Some((direction, epoch)) {
            return None;
        }
        Some(format!(
            "{step} ({direction:?}) takes effect under epoch {epoch}, and the journal has {open:?} open"
        ))
    }

    /// The step that had to come first: what this one comes after, or, on the way back, what came after this one.
    pub(super) fn out_of_order(&self, id: &StepId, direction: Direction) -> Option<String> {
        let progress = |step: &StepId| self.steps.get(step).cloned().unwrap_or_default();
        let early = match direction {
            Direction::Forward => {
                let before = self
                    .plan
                    .step(id)
                    .map(|step| step.after.clone())
                    .unwrap_or_default();
                before
                    .into_iter()
                    .find(|step| progress(step).after.is_none() || progress(step).reversed)
            }
            // Content leads in both directions: who reads it comes after it then too.
            Direction::Back
                if self
                    .plan
                    .step(id)
                    .is_some_and(|step| step.spec.config().is_some()) =>
            {
                None
            }
            Direction::Back => {
                let mut later = BTreeSet::from([id.clone()]);
                for step in &self.plan.steps {
                    if step.after.iter().any(|before| later.contains(before)) {
                        later.insert(step.id.clone());
                    }
                }
                later.remove(id);
                later.into_iter().find(|step| {
                    let reads = self.plan.step(step).is_some_and(|step| step.spec.only_reads());
                    let progress = progress(step);
                    !reads && (progress.open.is_some() || progress.after.is_some() && !progress.reversed)
                })
            }
        };
        early.map(|step| format!("{id} ({direction:?}) takes effect, and {step} had to come first"))
    }

    /// What the plan pins, or the run left, and is not met by what was there just before an effect.
    fn unmet(
        &self,
        run: &RunId,
        step: &StepId,
        spec: &Spec,
        direction: Direction,
        change: &Change<'_>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut expect = |what: &str, found: String, wanted: String| {
            if found != wanted {
                wrong.push(format!("{what} was {found} just before, and had to be {wanted}"));
            }
        };
        let progress = self.steps.get(step).cloned().unwrap_or_default();
        let (was, is) = (hash(change.before), hash(change.after));
        expect(
            "its uid",
            text(change.before, "/metadata/uid").to_owned(),
            spec.uid().to_string(),
        );
        match (spec, direction) {
            (Spec::WriteTemplate { pin, .. } | Spec::Restart { pin, .. }, Direction::Forward) => {
                expect("its template", was.to_string(), pin.template.to_string());
                expect(
                    "its pause",
                    paused(change.before).to_string(),
                    pin.paused.to_string(),
                );
                let planned = spec.writes().map(ToString::to_string);
                expect("its new template", is.to_string(), planned.unwrap_or_default());
            }
            (Spec::WriteTemplate { .. } | Spec::Restart { .. }, Direction::Back) => {
                let left = match &progress.after {
                    Some(StepAfter::Workload(After::Written { template, .. })) => Some(template),
                    _ => spec.writes(),
                };
                let left = left.map(ToString::to_string);
                expect("its template", was.to_string(), left.unwrap_or_default());
                if let Some(StepBefore::Workload(Before::Template { hash, .. })) = &progress.before {
                    expect("its new template", is.to_string(), hash.to_string());
                }
            }
            (Spec::SetPaused { pin, .. }, Direction::Forward) => {
                expect("its template", was.to_string(), pin.template.to_string());
                expect(
                    "its pause",
                    paused(change.before).to_string(),
                    pin.paused.to_string(),
                );
                expect("its new template", is.to_string(), was.to_string());
            }
            (Spec::SetPaused { paused: set, .. }, Direction::Back) => {
                expect("its pause", paused(change.before).to_string(), set.to_string());
                expect("its new template", is.to_string(), was.to_string());
            }
            (
                Spec::AwaitRollout { .. }
                | Spec::AwaitGone { .. }
                | Spec::Scale { .. }
                | Spec::DeletePod { .. },
                _,
            ) => {
                wrong.push("such a step does not write the workload".to_owned());
            }
        }
        let other = annotation(change.before, RUN);
        if !other.is_empty() && other != run.as_str() {
            let recorded = match &progress.before {
                Some(StepBefore::Workload(before)) => before.annotation(EFFECT),
                _ => None,
            };
            if recorded.unwrap_or_default() != annotation(change.before, EFFECT) {
                wrong.push(format!("run {other} has written it since the intent"));
            }
        }
        wrong
    }
}

/// What changes beside template, pause and our annotations.
fn other_changes(change: &Change<'_>, workload: bool) -> Vec<String> {
    let mut sides = [change.before.clone(), change.after.clone()];
    for side in &mut sides {
        let Some(object) = side.as_object_mut() else {
            continue;
        };
        object.remove("status");
        if workload && let Some(Value::Object(spec)) = object.get_mut("spec") {
            spec.remove("template");
            spec.remove("paused");
        }
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            for moving in ["resourceVersion", "generation", "managedFields"] {
                metadata.remove(moving);
            }
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.retain(|name, _| !OURS.contains(&name.as_str()) && name != TEMPLATE_GENERATION);
            }
            if metadata
                .get("annotations")
                .is_some_and(|left| left.as_object().is_some_and(Map::is_empty))
            {
                metadata.remove("annotations");
            }
        }
    }
    let [before, after] = sides;
    if before == after {
        return Vec::new();
    }
    let fields = ["metadata", "spec"].into_iter().flat_map(|part| {
        let of = |side: &Value| {
            side.get(part)
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default()
        };
        let (before, after) = (of(&before), of(&after));
        let names: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
        names
            .into_iter()
            .filter(move |name| before.get(name) != after.get(name))
            .map(move |name| format!("{part}.{name}"))
    });
    vec![format!("it changes {}", fields.collect::<Vec<_>>().join(", "))]
}
