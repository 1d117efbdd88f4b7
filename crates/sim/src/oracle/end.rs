//! What must be true once everything rests.

use super::known::Known;
use super::object::{CHANGE_CAUSE, LAST_APPLIED, TEMPLATE_GENERATION, hash};
use super::writes::OURS;
use super::{Oracle, contents, path_of};
use astern_model::id::{RunId, Seq};
use astern_model::record::Outcome;
use astern_port::journal::Entry;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Annotations that count a workload's templates.
const COUNTED: [&str; 2] = [TEMPLATE_GENERATION, "deployment.kubernetes.io/revision"];
/// The annotations by which a workload is as before, whatever else of ours is on it.
const RESTORED: [&str; 2] = [CHANGE_CAUSE, LAST_APPLIED];

impl Oracle {
    /// What is wrong with what the runs left that ended before this one begins: it is looked at now, before this one
    /// changes it. A run that is not over then has no word about it, and the last one's is about what it found.
    pub(super) fn begins(&self, next: &RunId) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut state = self.state();
        let state = &mut *state;
        let Some(known) = state.runs.get(next).filter(|known| known.holders.is_empty()) else {
            return wrong;
        };
        let targets = known.targets();
        let before = state.runs.iter_mut().filter(|(_, known)| known.is_last());
        for (run, known) in before {
            known.followed = true;
            if known.outcome.is_none() {
                continue;
            }
            for path in known.targets() {
                if let Some(found) = state.found.get(&path).filter(|_| !state.strange.contains(&path)) {
                    let as_told =
                        known.not_as_told(run, &path, found, &self.stored(&path), self.then.get(&path));
                    wrong.extend(
                        as_told
                            .into_iter()
                            .map(|what| format!("as {next} begins, {what}")),
                    );
                }
            }
        }
        for path in targets {
            let now = self.stored(&path);
            state.found.insert(path, now);
        }
        wrong
    }

    /// What must be true once everything rests: acknowledged records are there; nothing but targets has changed; a run
    /// that says it was unwound left everything as it found it, and one that says it restored left what it planned; and
    /// each step is as the run says.
    pub(crate) fn conclude(&self) {
        self.catch_up();
        let mut wrong = Vec::new();
        let state = self.state();
        let mut there: BTreeMap<&RunId, Vec<Entry>> = BTreeMap::new();
        for (run, seq, bytes) in &state.acknowledged {
            let entries = there
                .entry(run)
                .or_insert_with(|| self.disk.disk().read(run, Seq(0)).unwrap_or_default());
            let entry = entries.iter().find(|entry| entry.seq.0 == *seq);
            if entry.is_none_or(|entry| entry.bytes != *bytes) {
                wrong.push(format!(
                    "record {seq} of {run} was acknowledged, and is not there"
                ));
            }
        }
        for (path, first) in &self.at_first {
            if state.strange.contains(path) {
                continue;
            }
            let now = self.stored(path);
            let on_it = |known: &&Known| known.targets().contains(path);
            if !state.runs.values().any(|known| on_it(&known)) {
                if asked(first) != asked(&now) {
                    wrong.push(format!("{path} is no target, and has changed"));
                }
                continue;
            }
            let last = state
                .runs
                .iter()
                .filter(|(_, known)| known.is_last() && on_it(known));
            for (run, known) in last {
                wrong.extend(known.not_as_told(run, path, &state.found[path], &now, self.then.get(path)));
            }
        }
        wrong.extend(state.runs.iter().filter_map(|(run, known)| known.not_stuck(run)));
        wrong.extend(self.told_secrets());
        drop(state);
        for what in wrong {
            self.violated(what);
        }
    }
}

impl Known {
    /// Why a run that says it is stuck is not: the step that it names has left nothing, by its own records.
    fn not_stuck(&self, run: &RunId) -> Option<String> {
        let Some(Outcome::Stuck { step, .. }) = &self.outcome else {
            return None;
        };
        let progress = self.steps.get(step).cloned().unwrap_or_default();
        let left = progress.open.is_some() || progress.after.is_some() && !progress.reversed;
        (!left).then(|| format!("{run} says that it is stuck at {step}, which left nothing"))
    }

    /// What the run says of an object that nobody else has touched, and is not so.
    pub(super) fn not_as_told(
        &self,
        run: &RunId,
        path: &str,
        first: &Value,
        now: &Value,
        then: Option<&Arc<Value>>,
    ) -> Vec<String> {
        if contents::is_content(path) {
            return self.content_not_as_told(run, path, first, now, then);
        }
        let mut wrong = Vec::new();
        let steps = self.plan.steps.iter().filter_map(|step| {
            let spec = step.spec.workload()?;
            (path_of(spec.target()) == path).then_some((&step.id, spec))
        });
        let changed = asked(first) != asked(now);
        if matches!(self.outcome, Some(Outcome::Unwound { .. })) && changed {
            wrong.push(format!(
                "{run} says that it was unwound, and {path} is not as before"
            ));
        }
        let mut stands = hash(first);
        for (id, spec) in steps {
            let Some(template) = spec.writes() else {
                continue;
            };
            let progress = self.steps.get(id).cloned().unwrap_or_default();
            if self.outcome == Some(Outcome::Restored) && progress.after.is_none() {
                wrong.push(format!("{run} says that it restored, and never did {id}"));
            }
            if progress.open.is_some() {
                // Nobody has found out.
                return wrong;
            }
            if progress.after.is_some() && !progress.reversed {
                stands = template.clone();
            }
        }
        if stands != hash(now) {
            wrong.push(format!(
                "{run} says that {path} has template {stands}, and it has {}",
                hash(now)
            ));
        }
        wrong
    }
}

/// What is asked of a workload, without what says who wrote it last.
fn asked(object: &Value) -> Value {
    let mut annotations: Map<String, Value> = object
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    annotations.retain(|name, _| {
        RESTORED.contains(&name.as_str())
            || !(OURS.contains(&name.as_str()) || COUNTED.contains(&name.as_str()))
    });
    serde_json::json!({
        "uid": object.pointer("/metadata/uid"),
        "labels": object.pointer("/metadata/labels"),
        "annotations": annotations,
        "spec": object.get("spec").or_else(|| object.get("data")),
    })
}
