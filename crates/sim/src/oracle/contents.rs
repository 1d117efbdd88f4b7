//! What must be true of ConfigMaps and Secrets: of each write to one, of the workloads that read it, and of what is left in the
//! end. Owns the oracle's own reading of them.

use super::known::{Known, Progress};
use super::object::{EFFECT, EPOCH, LAST_APPLIED, RUN, annotation, epoch_on, text};
use super::{Change, Oracle, State};
use crate::case::configured::{self, SECRETS};
use astern_kubernetes::effects::ON_ITS_WAY;
use astern_model::id::{ContentHash, Direction, EffectKey, RunId};
use astern_model::record::Outcome;
use astern_model::step::config::{After, Before, Spec};
use astern_model::step::{After as StepAfter, Before as StepBefore, Step};
use astern_model::template::canonical;
use astern_port::vault::Vault as _;
use futures::FutureExt as _;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::time::Instant;

/// What an object is read for.
const CONTENT: [&str; 3] = ["data", "binaryData", "type"];
/// The annotations that a write of content may change.
const OURS: [&str; 5] = [EFFECT, EPOCH, RUN, "astern.dev/settled", LAST_APPLIED];

pub(super) fn is_content(path: &str) -> bool {
    path.contains("/configmaps/") || path.contains("/secrets/")
}

pub(super) fn is_collection(path: &str) -> bool {
    path.ends_with("/configmaps") || path.ends_with("/secrets")
}

pub(super) fn path_of(spec: &Spec) -> String {
    let object = spec.object();
    let (namespace, plural) = (spec.namespace(), object.kind.plural());
    format!("/api/v1/namespaces/{namespace}/{plural}/{}", object.name)
}

/// What an object holds; null where there is none.
fn content(object: &Value) -> Value {
    if object.is_null() {
        return Value::Null;
    }
    let mut content = Map::new();
    for field in CONTENT {
        let held = object
            .get(field)
            .filter(|held| *held != &Value::Object(Map::new()));
        content.extend(held.map(|held| (field.to_owned(), held.clone())));
    }
    Value::Object(content)
}

/// The same as plans and records name it: keyed by the vault.
fn hash(object: &Value) -> ContentHash {
    let text = canonical(&content(object));
    let hash = configured::vault().hash(text.as_bytes()).now_or_never();
    ContentHash(hash.and_then(Result::ok).unwrap_or_default())
}

/// What the API server counts of an object.
const COUNTED: [&str; 2] = ["resourceVersion", "managedFields"];
/// What it gives to one that was deleted and made once more.
const GIVEN: [&str; 2] = ["uid", "creationTimestamp"];

/// Everything else of an object but what the API server counts and astern may write.
fn rest(object: &Value) -> Value {
    without(object, &COUNTED)
}

/// The same of one that may have been made once more.
fn rest_of_another(object: &Value) -> Value {
    without(object, &[COUNTED, GIVEN].concat())
}

fn without(object: &Value, left_out: &[&str]) -> Value {
    let mut rest = object.clone();
    let Some(fields) = rest.as_object_mut() else {
        return rest;
    };
    fields.retain(|field, _| !CONTENT.contains(&field.as_str()));
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        for field in left_out {
            metadata.remove(*field);
        }
        let mut left = Map::new();
        if let Some(Value::Object(annotations)) = metadata.remove("annotations") {
            left = annotations;
            left.retain(|name, _| !OURS.contains(&name.as_str()));
        }
        metadata.insert("annotations".to_owned(), Value::Object(left));
    }
    rest
}

impl State {
    /// What is wrong with a write of a process to a ConfigMap or Secret, while it holds `run` under `epoch`.
    pub(super) fn judge_content(&mut self, run: &RunId, epoch: u64, change: &Change<'_>) -> Vec<String> {
        let known = &self.runs[run];
        let about = known.about(change.path);
        if about.is_empty() {
            return vec!["it is no target of the plan".to_owned()];
        }
        let mut wrong = Vec::new();
        if !change.before.is_null() && !change.after.is_null() && rest(change.before) != rest(change.after) {
            wrong.push("it changes more than the content".to_owned());
        }
        let key = annotation(change.after, EFFECT);
        if content(change.before) == content(change.after) {
            if key != annotation(change.before, EFFECT) {
                wrong.push("it leaves the key of an effect that it has not".to_owned());
            }
            return wrong;
        }
        let gone = change.after.is_null();
        let effects = about.into_iter().flat_map(|(step, spec)| {
            [Direction::Forward, Direction::Back]
                .map(|way| (step, spec, way, EffectKey::of(run, &step.id, way)))
        });
        let mut possible = effects.filter(|(step, spec, way, of)| match gone {
            // A deletion leaves no key: it is that of the step which has begun one.
            true => deletes(spec, *way) && known.not_open(&step.id, *way, epoch).is_none(),
            false => of.as_str() == key,
        });
        let Some((step, spec, direction, key)) = possible.next() else {
            wrong.push(format!("its key `{key}` is that of no step which has begun it"));
            return wrong;
        };
        let progress = known.steps.get(&step.id).cloned().unwrap_or_default();
        let not_open = known.not_open(&step.id, direction, epoch);
        let late = |since: Instant| since.elapsed() > ON_ITS_WAY.unsigned_abs();
        if change.before.is_null() && not_open.is_some() && progress.since.is_some_and(late) {
            // Its sender stood still for minutes, and nothing can refuse a creation: a limit that is known.
            self.interfered = true;
            self.strange.insert(change.path.to_owned());
            return wrong;
        }
        wrong.extend(not_open);
        wrong.extend(known.out_of_order(&step.id, direction));
        if !gone && epoch_on(change.after, run) != Some(epoch) {
            wrong.push("it does not carry its writer's epoch".to_owned());
        }
        wrong.extend(unmet(spec, direction, &progress, change));
        let times = self.effects.entry(key).or_default();
        *times += 1;
        // What somebody has deleted since is made once more.
        let anew = change.before.is_null() && self.strange.contains(change.path);
        if *times > 1 && !anew {
            wrong.push(format!(
                "the effect of {} ({direction:?}) is there a second time",
                step.id
            ));
        }
        wrong
    }
}

/// What the plan pins, or the run left, and is not met by what was there just before an effect, or by what it leaves.
fn unmet(spec: &Spec, direction: Direction, progress: &Progress, change: &Change<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, found: String, wanted: String| {
        if found != wanted {
            wrong.push(format!("{what} is {found}, and has to be {wanted}"));
        }
    };
    let held = |object: &Value| match object.is_null() {
        true => "nothing".to_owned(),
        false => hash(object).to_string(),
    };
    let uid = text(change.before, "/metadata/uid").to_owned();
    let left = match &progress.after {
        Some(StepAfter::Config(After::Written { uid, content })) => Some((uid, content)),
        _ => None,
    };
    let planned = spec.to().content.to_string();
    match (spec, direction) {
        (Spec::Restore { pin, .. }, Direction::Forward) => {
            expect("its uid before", uid, pin.uid.to_string());
            expect("what it held", held(change.before), pin.content.to_string());
            expect("what it holds", held(change.after), planned);
        }
        (Spec::Remove { pin, .. }, Direction::Forward) => {
            expect("its uid before", uid, pin.uid.to_string());
            expect("what it held", held(change.before), pin.content.to_string());
        }
        (Spec::Remove { pin, .. }, Direction::Back) => {
            expect("what it held", held(change.before), "nothing".to_owned());
            expect("what it holds", held(change.after), pin.content.to_string());
        }
        (Spec::Create { .. }, Direction::Forward) => {
            expect("what it held", held(change.before), "nothing".to_owned());
            expect("what it holds", held(change.after), planned);
        }
        // No case of the simulation has an ExternalSecret.
        (Spec::Repin { .. } | Spec::AwaitDrawn { .. }, _) => {
            wrong.push("an ExternalSecret was changed, and there is none".to_owned());
        }
        (_, Direction::Back) => {
            if let Some((left, _)) = left {
                expect("its uid before", uid, left.to_string());
            }
            let left = left.map_or(planned, |(_, content)| content.to_string());
            expect("what it held", held(change.before), left);
            let then = match &progress.before {
                Some(StepBefore::Config(Before::Content { content, .. })) => content.to_string(),
                _ => "nothing".to_owned(),
            };
            expect("what it holds", held(change.after), then);
        }
    }
    wrong
}

/// Whether a step's effect leaves nothing of its object.
fn deletes(spec: &Spec, direction: Direction) -> bool {
    match spec {
        Spec::Remove { .. } => direction == Direction::Forward,
        Spec::Create { .. } => direction == Direction::Back,
        Spec::Restore { .. } | Spec::Repin { .. } | Spec::AwaitDrawn { .. } => false,
    }
}

impl Known {
    /// The steps on one object, in plan order.
    fn about(&self, path: &str) -> Vec<(&Step, &Spec)> {
        let steps = self.plan.steps.iter();
        steps
            .filter_map(|step| Some((step, step.spec.config()?)))
            .filter(|(_, spec)| path_of(spec) == path)
            .collect()
    }

    /// The objects that a workload reads as it is after a write, and that do not hold yet what its pods are to start with:
    /// whoever puts content back, in whichever direction, does so before.
    pub(super) fn too_early(&self, after: &Value, direction: Direction) -> Vec<String> {
        let is_read = |spec: &Spec| reads(after, spec.object().kind.singular(), &spec.object().name);
        let early = self.plan.steps.iter().filter(|step| {
            let progress = self.steps.get(&step.id).cloned().unwrap_or_default();
            let there = progress.after.is_some() && !progress.reversed;
            let waits = match direction {
                Direction::Forward => !there,
                Direction::Back => there,
            };
            step.spec.config().is_some_and(is_read) && (waits || progress.open.is_some())
        });
        early
            .map(|step| {
                format!(
                    "pods start that read what {} ({direction:?}) has still to write",
                    step.id
                )
            })
            .collect()
    }

    /// What the run says of a ConfigMap or Secret that nobody else has touched, and is not so. `then`: what it was in the
    /// release that a ledger holds.
    pub(super) fn content_not_as_told(
        &self,
        run: &RunId,
        path: &str,
        first: &Value,
        now: &Value,
        then: Option<&Arc<Value>>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let about = self.about(path);
        let Some((step, spec)) = about.last() else {
            return wrong;
        };
        let progress = self.steps.get(&step.id).cloned().unwrap_or_default();
        let removed = about.iter().find(|(_, spec)| matches!(spec, Spec::Remove { .. }));
        let same = match removed {
            Some(_) => rest_of_another(first) == rest_of_another(now),
            None => rest(first) == rest(now),
        };
        if matches!(self.outcome, Some(Outcome::Unwound { .. })) && !(same && content(first) == content(now))
        {
            wrong.push(format!(
                "{run} says that it was unwound, and {path} is not as before"
            ));
        }
        let restored = self.outcome == Some(Outcome::Restored);
        if restored && progress.after.is_none() {
            wrong.push(format!("{run} says that it restored, and never did {}", step.id));
        }
        let removal = removed.and_then(|(step, _)| self.steps.get(&step.id));
        if progress.open.is_some() || removal.is_some_and(|removal| removal.open.is_some()) {
            // Nobody has found out.
            return wrong;
        }
        let stands = progress.after.is_some() && !progress.reversed;
        let gone = removal.is_some_and(|removal| removal.after.is_some() && !removal.reversed);
        let (how, holds) = if stands {
            let holds = spec.to().content == hash(now) && !now.is_null();
            ("holds what it wrote", holds)
        } else if gone {
            ("is gone", now.is_null())
        } else {
            ("holds what it found", content(first) == content(now))
        };
        if !holds {
            wrong.push(format!("{run} says that {path} {how}, and it does not"));
        }
        let of_ledger = spec.to().origin.starts_with("release");
        if stands && of_ledger && then.is_some_and(|then| content(then) != content(now)) {
            wrong.push(format!(
                "{run} put {path} back, and it is not as the release had it"
            ));
        }
        wrong
    }
}

impl Oracle {
    /// Values of Secrets that are in the journal.
    pub(super) fn told_secrets(&self) -> Vec<String> {
        if self.then.is_empty() {
            return Vec::new();
        }
        let disk = self.disk.disk();
        let sure = String::from_utf8_lossy(disk.sure());
        let told = SECRETS.iter().filter(|value| sure.contains(**value));
        told.map(|value| format!("the journal holds the Secret's value {value}"))
            .collect()
    }
}

/// Whether containers of a workload's template take their variables from an object.
fn reads(workload: &Value, kind: &str, name: &str) -> bool {
    let reference = if kind == "secret" {
        "secretRef"
    } else {
        "configMapRef"
    };
    let containers = workload
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    let from = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("envFrom")?.as_array());
    from.flatten().any(|from| {
        from.get(reference)
            .is_some_and(|from| text(from, "/name") == name)
    })
}
