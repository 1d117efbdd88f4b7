//! What must be true of every write that the API server took, judged by what was stored before and after it and by the
//! journal as it then was. The rules are those of the simulation's oracle (docs/simulation.md, "What must be true"), on
//! a real API server; it believes nothing that astern says of itself.

use astern_engine::{Graph, Phase, Run, Status};
use astern_faultproxy::Asked;
use astern_journal::ClusterJournal;
use astern_model::id::{Direction, EffectKey, RunId, Seq, StepId};
use astern_model::plan::Plan;
use astern_model::record::{Event, Outcome, Record};
use astern_model::step::Spec as StepSpec;
use astern_model::step::workload::Spec;
use astern_model::target::Target;
use astern_model::template::Template;
use astern_port::journal::Journal;
use astern_wire::envelope;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

const EFFECT: &str = "astern.dev/effect";
const EPOCH: &str = "astern.dev/epoch";
const RUN: &str = "astern.dev/run";
const SETTLED: &str = "astern.dev/settled";
/// The annotations that a write may change.
const OURS: [&str; 6] = [
    EFFECT,
    EPOCH,
    RUN,
    SETTLED,
    "kubernetes.io/change-cause",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// The judge of one platform.
pub(super) struct Judge {
    journal: ClusterJournal,
    /// Held while the journal is read: an older look must not be taken for a newer one.
    looking: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Each write that the API server took, in a line.
    writes: Vec<String>,
    /// How often each effect arrived.
    arrived: BTreeMap<EffectKey, u32>,
    /// The epoch that the last write left on each workload.
    epochs: BTreeMap<String, Option<u64>>,
    /// The records of each run, as they were seen last.
    seen: BTreeMap<RunId, Vec<Vec<u8>>>,
    violations: Vec<String>,
}

/// A run, as its journal tells it now.
pub(super) struct Told {
    pub(super) id: RunId,
    pub(super) plan: Plan,
    pub(super) records: Vec<Record>,
    pub(super) run: Run,
}

/// A change of one object, as it was stored.
pub(super) struct Change<'a> {
    pub(super) path: &'a str,
    pub(super) before: &'a Value,
    pub(super) after: &'a Value,
}

impl Judge {
    pub(super) fn new(client: kube::Client, namespace: &str) -> Self {
        Self {
            journal: ClusterJournal::new(client, namespace.to_owned()),
            looking: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    pub(super) fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }

    /// The runs of the platform that their journals tell of, the newest first. There is one, unless a process was killed
    /// whose plan was still on its way when another began.
    pub(super) async fn runs(&self) -> Vec<Told> {
        let _looking = self.looking.lock().await;
        let ids = self.journal.runs().await.unwrap();
        let mut runs = Vec::new();
        for id in ids {
            runs.push(self.told(id).await);
        }
        runs
    }

    async fn told(&self, id: RunId) -> Told {
        let entries = self.journal.read(&id, Seq(0)).await.unwrap();
        let bytes: Vec<Vec<u8>> = entries.into_iter().map(|entry| entry.bytes).collect();
        let plan: Plan = envelope::open(&bytes[0]).unwrap();
        let records: Vec<Record> = bytes[1..]
            .iter()
            .map(|bytes| envelope::open(bytes).unwrap())
            .collect();
        let before = self
            .state()
            .seen
            .insert(id.clone(), bytes.clone())
            .unwrap_or_default();
        if !bytes.starts_with(&before) {
            self.violated(format!("a record of {id} that was there is not there any more"));
        }
        let mut run = Run::opened(&Graph::of(&plan));
        for record in &records {
            if record.seq.0 >= before.len() as u64
                && let Some(what) = self.unfenced(&plan, &run, record)
            {
                self.violated(what);
            }
            run = run.then(record).unwrap();
        }
        Told {
            id,
            plan,
            records,
            run,
        }
    }

    /// What is wrong with a record that settles what a predecessor left open: its late write could still arrive.
    fn unfenced(&self, plan: &Plan, run: &Run, record: &Record) -> Option<String> {
        let (Event::Applied { step, .. }
        | Event::Failed { step, .. }
        | Event::Reversed { step, .. }
        | Event::ReverseFailed { step, .. }) = &record.event
        else {
            return None;
        };
        let (Status::Intended(attempt)
        | Status::Unsettled(attempt, _)
        | Status::Reversing(attempt)
        | Status::ReverseUnsettled(attempt, _)) = run.status(step)
        else {
            return None;
        };
        let (epoch, spec) = (record.epoch?, plan.step(step)?.spec.workload()?);
        if attempt.epoch >= epoch || spec.only_reads() {
            return None;
        }
        let path = path_of(spec.target());
        let on = self.state().epochs.get(&path).copied().flatten();
        (on < Some(epoch.0)).then(|| {
            format!(
                "record {} settles {step}, which epoch {} left open, under epoch {epoch}, and {path} carries {on:?}",
                record.seq, attempt.epoch
            )
        })
    }

    /// The API server took a write of the process `pid` to anything but Secrets and Leases.
    pub(super) async fn written(&self, pid: Option<u32>, asked: &Asked, before: &Value, after: &Value) {
        let change = Change {
            path: asked.uri.path(),
            before,
            after,
        };
        let runs = self.runs().await;
        let writer = pid.and_then(|pid| runs.iter().find(|told| told.epoch_of(pid).is_some()));
        let told = writer.or(runs.first());
        let line = format!(
            "process {pid:?} {} {} at {}: {}, {}",
            asked.method,
            change.path,
            text(after, "/metadata/resourceVersion"),
            marks(before),
            marks(after)
        );
        let wrong = match told {
            None => vec!["it is written before any plan was".to_owned()],
            Some(told) => self.judge(told, pid, asked, &change),
        };
        let mut state = self.state();
        for what in wrong {
            state.violations.push(format!("{line}: {what}"));
        }
        if let (Some(told), false) = (told, change.path.contains("/pods/")) {
            let epoch = epoch_on(after, &told.id);
            state.epochs.insert(change.path.to_owned(), epoch);
        }
        state.writes.push(line);
    }

    fn judge(&self, told: &Told, pid: Option<u32>, asked: &Asked, change: &Change<'_>) -> Vec<String> {
        let Some(epoch) = pid.and_then(|pid| told.epoch_of(pid)) else {
            return vec!["its writer has not taken the run over".to_owned()];
        };
        let mut wrong = Vec::new();
        if let Some(newer) = epoch_on(change.before, &told.id).filter(|newer| *newer > epoch) {
            wrong.push(format!("epoch {epoch} writes over epoch {newer}"));
        }
        let pod = change.path.contains("/pods/");
        if asked.method != "DELETE" {
            wrong.extend(other_changes(change, !pod));
        }
        let effect = if pod {
            told.deletion(change).filter(|_| asked.method == "DELETE")
        } else {
            if !told.targets().any(|target| path_of(target) == change.path) {
                wrong.push("it is no target of the plan".to_owned());
                return wrong;
            }
            match told.written(change) {
                Ok(effect) => effect,
                Err(why) => {
                    wrong.push(why);
                    return wrong;
                }
            }
        };
        if pod && told.deletion(change).is_none() {
            wrong.push("no step is about this pod".to_owned());
        }
        let Some((step, direction)) = effect else {
            return wrong;
        };
        wrong.extend(told.not_open(&step, direction, epoch));
        wrong.extend(told.unmet(&step, direction, change));
        if !pod && epoch_on(change.after, &told.id) != Some(epoch) {
            wrong.push("it does not carry its writer's epoch".to_owned());
        }
        // Of a pod that is being deleted, another request changes nothing.
        if change.before.pointer("/metadata/deletionTimestamp").is_none() {
            let mut state = self.state();
            let times = state
                .arrived
                .entry(EffectKey::of(&told.id, &step, direction))
                .or_default();
            *times += 1;
            if *times > 1 {
                wrong.push(format!("the effect of {step} ({direction:?}) came a second time"));
            }
        }
        wrong
    }

    /// What is not as it must be once the run is over: restored, each step done once, and each effect there once.
    pub(super) fn conclude(&self, told: &Told) -> Vec<String> {
        let mut wrong = self.violations();
        if told.run.phase != Phase::Finished(Outcome::Restored) {
            wrong.push(format!("the run ended so: {:?}", told.run.phase));
        }
        let arrived = self.state().arrived.clone();
        for step in &told.plan.steps {
            let StepSpec::Workload(spec) = &step.spec else {
                wrong.push(format!("step {} is no workload's", step.id));
                continue;
            };
            let applied = told.records.iter().filter(
                |record| matches!(&record.event, Event::Applied { step: done, .. } if *done == step.id),
            );
            let (records, status) = (applied.count(), told.run.status(&step.id));
            if records != 1 || !matches!(status, Status::Done { .. }) {
                wrong.push(format!(
                    "{} is {}, with {records} records that it was done",
                    step.id,
                    status.name()
                ));
            }
            let times = arrived
                .get(&EffectKey::of(&told.id, &step.id, Direction::Forward))
                .copied()
                .unwrap_or_default();
            if times != u32::from(!spec.only_reads()) {
                wrong.push(format!("the effect of {} came {times} times", step.id));
            }
        }
        wrong
    }

    pub(super) fn violated(&self, what: String) {
        self.state().violations.push(what);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    pub(super) fn over(&self) -> bool {
        matches!(self.run.phase, Phase::Finished(_))
    }

    /// Whether any step was begun.
    pub(super) fn began(&self) -> bool {
        let begun = |record: &Record| matches!(record.event, Event::Intended { .. });
        self.records.iter().any(begun)
    }

    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.plan.targets().into_iter()
    }

    /// Under which epoch a process took the run over.
    fn epoch_of(&self, pid: u32) -> Option<u64> {
        let taken = self
            .records
            .iter()
            .rev()
            .find(|record| matches!(&record.event, Event::Taken { holder } if holder.pid == pid));
        taken.map(|record| record.seq.0)
    }

    /// The step that deletes the pod of a change.
    fn deletion(&self, change: &Change<'_>) -> Option<(StepId, Direction)> {
        let uid = text(change.before, "/metadata/uid");
        let step = self.plan.steps.iter().find(|step| {
            matches!(step.spec.workload(), Some(Spec::DeletePod { pod_uid, .. }) if pod_uid.as_str() == uid)
        })?;
        Some((step.id.clone(), Direction::Forward))
    }

    /// The step whose effect a write of a workload is; none when it only marks the workload.
    fn written(&self, change: &Change<'_>) -> Result<Option<(StepId, Direction)>, String> {
        let key = annotation(change.after, EFFECT);
        if change.before.get("spec") == change.after.get("spec") {
            let version = "/metadata/resourceVersion";
            if key != annotation(change.before, EFFECT) {
                return Err("it leaves the key of an effect that it has not".to_owned());
            }
            if text(change.before, version) == text(change.after, version) {
                return Err("it writes what is there already".to_owned());
            }
            return Ok(None);
        }
        for step in &self.plan.steps {
            for direction in [Direction::Forward, Direction::Back] {
                if EffectKey::of(&self.id, &step.id, direction).as_str() == key {
                    return Ok(Some((step.id.clone(), direction)));
                }
            }
        }
        Err(format!("its key `{key}` is no step's"))
    }

    /// Why an effect may not come now: no intent of it is open under the writer's epoch.
    fn not_open(&self, step: &StepId, direction: Direction, epoch: u64) -> Option<String> {
        let status = self.run.status(step);
        let open = match (status, direction) {
            // A write whose answer was lost may still be on its way.
            (Status::Intended(attempt) | Status::Unsettled(attempt, _), Direction::Forward)
            | (Status::Reversing(attempt) | Status::ReverseUnsettled(attempt, _), Direction::Back) => {
                Some(attempt.epoch.0)
            }
            _ => None,
        };
        (open != Some(epoch)).then(|| {
            format!(
                "{step} ({direction:?}) comes under epoch {epoch}, and in the journal it is {}",
                status.name()
            )
        })
    }

    /// What the plan pins, and was not so just before.
    fn unmet(&self, step: &StepId, direction: Direction, change: &Change<'_>) -> Vec<String> {
        let Some(StepSpec::Workload(spec)) = self.plan.step(step).map(|step| &step.spec) else {
            return Vec::new();
        };
        let mut wrong = Vec::new();
        let mut expect = |what: &str, found: String, wanted: String| {
            if found != wanted {
                wrong.push(format!("{what} was {found}, and had to be {wanted}"));
            }
        };
        let uid = text(change.before, "/metadata/uid").to_owned();
        match (spec, direction) {
            (Spec::WriteTemplate { pin, .. }, Direction::Forward) => {
                expect("its uid", uid, pin.uid.to_string());
                expect("its template", hash(change.before), pin.template.to_string());
                expect(
                    "its new template",
                    hash(change.after),
                    spec.writes().map(ToString::to_string).unwrap_or_default(),
                );
            }
            (Spec::SetPaused { pin, .. }, Direction::Forward) => {
                expect("its uid", uid, pin.uid.to_string());
                expect("its template", hash(change.before), pin.template.to_string());
            }
            _ => {}
        }
        wrong
    }
}

/// What changes beside template, pause and our annotations.
fn other_changes(change: &Change<'_>, workload: bool) -> Option<String> {
    let rest = |object: &Value| {
        let mut object = object.as_object().cloned().unwrap_or_default();
        object.retain(|part, _| part == "metadata" || part == "spec" && workload);
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|field, _| field != "template" && field != "paused");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| {
                !["resourceVersion", "generation", "managedFields"].contains(&field.as_str())
            });
            let annotations = metadata.entry("annotations").or_insert_with(|| Map::new().into());
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.retain(|name, _| !OURS.contains(&name.as_str()));
            }
        }
        object
    };
    let (before, after) = (rest(change.before), rest(change.after));
    (before != after).then(|| {
        format!(
            "it changes more than it may: {} became {}",
            Value::Object(before),
            Value::Object(after)
        )
    })
}

/// The API path of a workload.
fn path_of(target: &Target) -> String {
    format!(
        "/apis/apps/v1/namespaces/{}/{}/{}",
        target.namespace,
        target.kind.plural(),
        target.name
    )
}

fn hash(object: &Value) -> String {
    let template = object.pointer("/spec/template").cloned().unwrap_or_default();
    Template::clean(template).hash().to_string()
}

fn marks(object: &Value) -> String {
    let marks = [EFFECT, EPOCH, SETTLED].map(|name| annotation(object, name));
    format!("{} {}", marks.join("/"), &hash(object)[7..15])
}

fn epoch_on(object: &Value, run: &RunId) -> Option<u64> {
    (annotation(object, RUN) == run.as_str()).then(|| annotation(object, EPOCH).parse().ok())?
}

fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    let annotations = object.pointer("/metadata/annotations");
    annotations
        .and_then(|all| all.get(name)?.as_str())
        .unwrap_or_default()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
