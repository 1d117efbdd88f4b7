//! What the API server saw, and what must be true of it. Judges every write by what was stored before and after it and
//! by the journal's sure records; believes nothing that astern says about itself.
//!
//! # What is checked
//! At each write of a process: it took a run over; the object is one of its plan's targets; nothing but template, pause
//! and known annotations changes; no newer epoch is on the object; and an effect has its intent, sure and open, of the
//! same epoch, leaves its own key, for the first time, and meets what the plan pins. At each record: what it says has
//! happened is so, and what a predecessor left open was fenced before. At the end: see [`Oracle::conclude`].

use crate::journal::SimDisk;
use crate::trace::Trace;
use astern_engine::status::event_name;
use astern_engine::{Graph, Run};
use astern_model::id::{Direction, EffectKey, RunId, Seq, StepId, TemplateHash};
use astern_model::plan::Plan;
use astern_model::record::{Event, Outcome, Record};
use astern_model::step::workload::{After, Before, Spec};
use astern_model::step::{After as StepAfter, Before as StepBefore, Spec as StepSpec};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_sandbox::{Answer, Cluster, Request, Response, Service};
use astern_wire::envelope;
use http::Method;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const EFFECT: &str = "astern.dev/effect";
const EPOCH: &str = "astern.dev/epoch";
const RUN: &str = "astern.dev/run";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The annotations that an effect may change on a workload.
const OURS: [&str; 6] = [
    EFFECT,
    EPOCH,
    RUN,
    "astern.dev/settled",
    CHANGE_CAUSE,
    LAST_APPLIED,
];
/// The API server counts a DaemonSet's templates in it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
/// Annotations that count a workload's templates.
const COUNTED: [&str; 2] = [TEMPLATE_GENERATION, "deployment.kubernetes.io/revision"];
/// The annotations by which a workload is as before, whatever else of ours is on it.
const RESTORED: [&str; 2] = [CHANGE_CAUSE, LAST_APPLIED];

/// Who asks the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A process of astern.
    Process(usize),
    /// A person with kubectl, or a program that owns the workload.
    Somebody,
}

/// The judge of one simulated run.
pub(crate) struct Oracle {
    service: Service,
    disk: SimDisk,
    trace: Arc<Trace>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<RunId, Known>,
    /// Each accepted write, in a line.
    writes: Vec<String>,
    acknowledged: Vec<(RunId, u64, Vec<u8>)>,
    effects: BTreeMap<EffectKey, u32>,
    /// Workloads that somebody else has changed, and pods of theirs.
    strange: BTreeSet<String>,
    interfered: bool,
    violations: Vec<String>,
}

/// What the sure records of a run say.
struct Known {
    plan: Plan,
    /// The newest takeover, and each process's own.
    epoch: u64,
    holders: BTreeMap<usize, u64>,
    steps: BTreeMap<StepId, Progress>,
    outcome: Option<Outcome>,
    read: u64,
    /// What the records mean to astern itself: for the coverage of its transitions only.
    run: Run,
    transitions: BTreeSet<Transition>,
}

/// A step's status, and an event that came after it.
pub(crate) type Transition = (&'static str, &'static str);

#[derive(Clone, Default)]
struct Progress {
    open: Option<(Direction, u64)>,
    before: Option<Before>,
    after: Option<After>,
    reversed: bool,
}

/// A change of one object, as the store has it.
struct Change<'a> {
    path: &'a str,
    before: &'a Value,
    after: &'a Value,
    /// The cluster's, once it was made.
    version: u64,
}

impl Oracle {
    pub(crate) fn new(service: Service, disk: SimDisk, trace: Arc<Trace>) -> Arc<Self> {
        Arc::new(Self {
            service,
            disk,
            trace,
            state: Mutex::default(),
        })
    }

    /// The API server carries a request out.
    pub(crate) fn carry_out(&self, who: Who, request: &Request) -> Response {
        if !changes(request) {
            return self
                .service
                .with(|cluster, now| whole(cluster.handle(now, request)));
        }
        let (before, response, after, version) = self.service.with(|cluster, now| {
            let before = stored(cluster, &request.path);
            let response = whole(cluster.handle(now, request));
            (
                before,
                response,
                stored(cluster, &request.path),
                cluster.version(),
            )
        });
        if response.code < 300 {
            let change = Change {
                path: &request.path,
                before: &before,
                after: &after,
                version,
            };
            self.accepted(who, request, &change);
        }
        response
    }

    /// The object at a path, as it is stored; null when it is not there.
    pub(crate) fn stored(&self, path: &str) -> Arc<Value> {
        self.service.with(|cluster, _| stored(cluster, path))
    }

    /// The journal has become longer.
    pub(crate) fn recorded(&self, run: &RunId, disk: &SimDisk) {
        let from = self.state().runs.get(run).map_or(0, |known| known.read);
        let entries = {
            let disk = disk.disk();
            if disk.head(run) <= from {
                return;
            }
            disk.read(run, Seq(from)).unwrap_or_default()
        };
        for entry in entries {
            if entry.seq.0 == 0 {
                if let Ok(plan) = envelope::open::<Plan>(&entry.bytes) {
                    self.state().runs.insert(run.clone(), Known::new(plan));
                }
                continue;
            }
            match envelope::open::<Record>(&entry.bytes) {
                Ok(record) => {
                    self.trace.say(|| told(run, &record));
                    let wrong = self.untrue(run, &record);
                    let mut state = self.state();
                    for what in &wrong {
                        self.trace.say(|| format!("VIOLATION: {what}"));
                    }
                    state.violations.extend(wrong);
                    if let Some(known) = state.runs.get_mut(run) {
                        known.take_in(&record);
                    }
                }
                Err(error) => self.violated(format!("record {} of {run} is no record: {error}", entry.seq)),
            }
        }
    }

    /// A process was told that a batch is stored.
    pub(crate) fn acknowledged(&self, run: &RunId, at: Seq, batch: &[Vec<u8>]) {
        let records = (at.0..)
            .zip(batch)
            .map(|(seq, bytes)| (run.clone(), seq, bytes.clone()));
        self.state().acknowledged.extend(records);
    }

    pub(crate) fn violated(&self, what: String) {
        self.trace.say(|| format!("VIOLATION: {what}"));
        self.state().violations.push(what);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Every accepted write, in a line each.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }

    /// Whether anybody else has changed anything.
    pub(crate) fn somebody_interfered(&self) -> bool {
        self.state().interfered
    }

    /// All runs that the journal has, oldest first, and how those that are over ended.
    pub(crate) fn runs(&self) -> Vec<(RunId, Option<Outcome>)> {
        self.catch_up();
        let state = self.state();
        let told = state
            .runs
            .iter()
            .map(|(run, known)| (run.clone(), known.outcome.clone()));
        told.collect()
    }

    /// What came after which status, in all runs.
    pub(crate) fn transitions(&self) -> BTreeSet<Transition> {
        let state = self.state();
        state
            .runs
            .values()
            .flat_map(|known| known.transitions.clone())
            .collect()
    }

    fn catch_up(&self) {
        let runs = self.disk.disk().runs();
        for run in runs {
            self.recorded(&run, &self.disk);
        }
    }

    fn accepted(&self, who: Who, request: &Request, change: &Change<'_>) {
        let lease = request.path.contains("/leases");
        if !lease {
            self.catch_up();
        }
        let line = format!("{who:?} {} {} {}", request.method, request.path, change.version);
        self.trace.say(|| line.clone());
        let wrong = match who {
            _ if lease => Vec::new(),
            Who::Somebody => {
                let mut state = self.state();
                state.interfered = true;
                state.strange.extend(workloads_of(change));
                Vec::new()
            }
            Who::Process(process) => self.judge(process, &request.method, change),
        };
        for what in wrong {
            self.violated(format!("{line}: {what}"));
        }
        self.state().writes.push(line);
    }

    /// What is wrong with a write of a process.
    fn judge(&self, process: usize, method: &Method, change: &Change<'_>) -> Vec<String> {
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
            known.plan.steps.iter().find(|step| {
                let StepSpec::Workload(own) = &step.spec;
                spec(own)
            })
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
        let StepSpec::Workload(spec) = &step.spec;
        wrong.extend(known.not_open(&step.id, direction, epoch));
        wrong.extend(known.out_of_order(&step.id, direction));
        if epoch_on(change.after, &run) != Some(epoch) {
            wrong.push("it does not carry its writer's epoch".to_owned());
        }
        wrong.extend(known.unmet(&run, &step.id, spec, direction, change));
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

    /// What is not true of a record that has just become sure.
    fn untrue(&self, run: &RunId, record: &Record) -> Vec<String> {
        let mut wrong = Vec::new();
        let (step, direction, done) = match &record.event {
            Event::Applied { step, .. } => (step, Direction::Forward, Some(true)),
            Event::Failed { step, .. } => (step, Direction::Forward, Some(false)),
            Event::Reversed { step, .. } => (step, Direction::Back, Some(true)),
            Event::ReverseFailed { step, .. } => (step, Direction::Back, Some(false)),
            Event::Unsettled { step, .. } => (step, Direction::Forward, None),
            _ => return wrong,
        };
        let (target, open, spec, strange) = {
            let state = self.state();
            let Some(known) = state.runs.get(run) else {
                return wrong;
            };
            let Some(found) = known.plan.step(step) else {
                return vec![format!("record {} names no step of the plan", record.seq)];
            };
            let StepSpec::Workload(spec) = &found.spec;
            let open = known.steps.get(step).and_then(|progress| progress.open);
            let target = spec.target().clone();
            let strange = state.strange.contains(&path_of(&target));
            (target, open, spec.clone(), strange)
        };
        if spec.only_reads() {
            if done == Some(true) && !strange {
                wrong.extend(
                    self.not_serving(&target)
                        .map(|why| format!("record {}: {why}", record.seq)),
                );
            }
            return wrong;
        }
        let epoch = record.epoch.map_or(0, |epoch| epoch.0);
        if let Some((_, older)) = open.filter(|(_, older)| *older < epoch) {
            let object = self.stored(&path_of(&target));
            let fenced = epoch_on(&object, run).is_some_and(|on| on >= epoch);
            let same = text(&object, "/metadata/uid") == spec.uid().as_str();
            if !fenced && same && !strange {
                wrong.push(format!(
                    "record {}: epoch {epoch} settles {step}, which epoch {older} left open, and has not fenced {target}",
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
        ) || (direction == Direction::Back && matches!(spec, Spec::DeletePod { .. }));
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
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => {
                ("/status/readyReplicas", number("/spec/replicas"))
            }
        };
        let ready = number(ready).unwrap_or(0);
        (ready < wanted.unwrap_or(0))
            .then(|| format!("{target} is said to serve, and {ready} of its pods are ready"))
    }

    /// What must be true once everything rests: acknowledged records are there; nothing but targets has changed since
    /// `at_first`; a run that says it was unwound left everything as it was, and one that says it restored left what it
    /// planned; and each step is as the run says.
    pub(crate) fn conclude(&self, at_first: &BTreeMap<String, Arc<Value>>) {
        self.catch_up();
        let mut wrong = Vec::new();
        let state = self.state();
        for (run, seq, bytes) in &state.acknowledged {
            let entries = self.disk.disk().read(run, Seq(*seq)).unwrap_or_default();
            if entries.first().is_none_or(|entry| entry.bytes != *bytes) {
                wrong.push(format!(
                    "record {seq} of {run} was acknowledged, and is not there"
                ));
            }
        }
        let last: BTreeMap<&String, Arc<Value>> =
            at_first.keys().map(|path| (path, self.stored(path))).collect();
        let targets: BTreeSet<String> = state
            .runs
            .values()
            .flat_map(|known| known.plan.targets())
            .map(path_of)
            .collect();
        for (path, first) in at_first {
            if state.strange.contains(path) {
                continue;
            }
            let now = &last[path];
            if !targets.contains(path) {
                if asked(first) != asked(now) {
                    wrong.push(format!("{path} is no target, and has changed"));
                }
                continue;
            }
            let runs = state.runs.iter().filter(|(_, known)| {
                known
                    .plan
                    .targets()
                    .into_iter()
                    .any(|target| path_of(target) == *path)
            });
            let begun: Vec<_> = runs.filter(|(_, known)| !known.holders.is_empty()).collect();
            // With several runs on a workload, the last one's word is about what the others left.
            if let [(run, known)] = begun.as_slice() {
                wrong.extend(known.not_as_told(run, path, first, now));
            }
        }
        drop(state);
        for what in wrong {
            self.violated(what);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(plan: Plan) -> Self {
        Self {
            run: Run::opened(&Graph::of(&plan)),
            transitions: BTreeSet::new(),
            plan,
            epoch: 0,
            holders: BTreeMap::new(),
            steps: BTreeMap::new(),
            outcome: None,
            read: 1,
        }
    }

    fn take_in(&mut self, record: &Record) {
        self.read = record.seq.0 + 1;
        if let Some(step) = step_of(&record.event) {
            let status = self.run.status(step).name();
            self.transitions.insert((status, event_name(&record.event)));
        }
        if let Ok(run) = self.run.clone().then(record) {
            self.run = run;
        }
        let epoch = record.epoch.map_or(0, |epoch| epoch.0);
        match &record.event {
            Event::Taken { holder } => {
                self.epoch = record.seq.0;
                let number = holder.pid as usize;
                self.holders.insert(number, self.epoch);
            }
            Event::Intended { step, before, .. } => {
                let StepBefore::Workload(before) = before;
                let progress = self.steps.entry(step.clone()).or_default();
                progress.open = Some((Direction::Forward, epoch));
                progress.before = Some(before.clone());
            }
            Event::ReverseIntended { step, .. } => {
                self.steps.entry(step.clone()).or_default().open = Some((Direction::Back, epoch));
            }
            Event::Applied { step, after } => {
                let StepAfter::Workload(after) = after;
                let progress = self.steps.entry(step.clone()).or_default();
                progress.open = None;
                progress.after = Some(after.clone());
            }
            Event::Reversed { step, .. } => {
                let progress = self.steps.entry(step.clone()).or_default();
                progress.open = None;
                progress.reversed = true;
            }
            Event::Failed { step, .. } | Event::ReverseFailed { step, .. } => {
                self.steps.entry(step.clone()).or_default().open = None;
            }
            Event::Finished { outcome } => self.outcome = Some(outcome.clone()),
            _ => {}
        }
    }

    /// Why an effect may not arrive now: no intent of it is sure and open under the writer's epoch.
    fn not_open(&self, step: &StepId, direction: Direction, epoch: u64) -> Option<String> {
        let open = self.steps.get(step).and_then(|progress| progress.open);
        if open == Some((direction, epoch)) {
            return None;
        }
        Some(format!(
            "{step} ({direction:?}) takes effect under epoch {epoch}, and the journal has {open:?} open"
        ))
    }

    /// The step that had to come first: what this one comes after, or, on the way back, what came after this one.
    fn out_of_order(&self, id: &StepId, direction: Direction) -> Option<String> {
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
            Direction::Back => {
                let mut later = BTreeSet::from([id.clone()]);
                for step in &self.plan.steps {
                    if step.after.iter().any(|before| later.contains(before)) {
                        later.insert(step.id.clone());
                    }
                }
                later.remove(id);
                later.into_iter().find(|step| {
                    let reads = self.plan.step(step).is_some_and(|step| {
                        let StepSpec::Workload(spec) = &step.spec;
                        spec.only_reads()
                    });
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
            (Spec::WriteTemplate { pin, to, .. }, Direction::Forward) => {
                expect("its template", was.to_string(), pin.template.to_string());
                expect(
                    "its pause",
                    paused(change.before).to_string(),
                    pin.paused.to_string(),
                );
                expect("its new template", is.to_string(), to.template.to_string());
            }
            (Spec::WriteTemplate { to, .. }, Direction::Back) => {
                let left = match &progress.after {
                    Some(After::Written { template, .. }) => template.clone(),
                    _ => to.template.clone(),
                };
                expect("its template", was.to_string(), left.to_string());
                if let Some(Before::Template { hash, .. }) = &progress.before {
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
            (Spec::AwaitRollout { .. } | Spec::DeletePod { .. }, _) => {
                wrong.push("such a step does not write the workload".to_owned());
            }
        }
        let other = annotation(change.before, RUN);
        if !other.is_empty() && other != run.as_str() {
            let recorded = progress
                .before
                .as_ref()
                .and_then(|before| before.annotation(EFFECT));
            if recorded.unwrap_or_default() != annotation(change.before, EFFECT) {
                wrong.push(format!("run {other} has written it since the intent"));
            }
        }
        wrong
    }

    /// What the run says of a workload that nobody else has touched, and is not so.
    fn not_as_told(&self, run: &RunId, path: &str, first: &Value, now: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        let steps = self.plan.steps.iter().filter_map(|step| {
            let StepSpec::Workload(spec) = &step.spec;
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
            let Spec::WriteTemplate { to, .. } = spec else {
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
                stands = to.template.clone();
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

/// Whether a request may change anything that is stored.
fn changes(request: &Request) -> bool {
    request.method != Method::GET
        && !is_dry_run(request)
        && !request.path.contains("/authorization.k8s.io/")
        && !request.path.contains("/authentication.k8s.io/")
}

/// A deletion says so in its body.
pub(crate) fn is_dry_run(request: &Request) -> bool {
    let word = b"dryRun";
    request.query.contains("dryRun")
        || request.method == Method::DELETE && request.body.windows(word.len()).any(|part| part == word)
}

fn whole(answer: Answer) -> Response {
    match answer {
        Answer::Whole(response) => response,
        Answer::Stream(_) => unreachable!("BUG: a watch goes another way"),
    }
}

fn stored(cluster: &Cluster, path: &str) -> Arc<Value> {
    cluster.stored(path).unwrap_or_default()
}

/// The paths of the workloads that a change may concern; a pod tells its workload's name only.
fn workloads_of(change: &Change<'_>) -> Vec<String> {
    if let Some((head, _)) = change.path.split_once("/pods/") {
        let name = text(change.before, "/metadata/labels/app");
        let namespace = head.trim_start_matches("/api/v1/");
        let path = |plural| format!("/apis/apps/v1/{namespace}/{plural}/{name}");
        return ["deployments", "statefulsets", "daemonsets"].map(path).into();
    }
    let plain = change.path.trim_end_matches("/scale");
    plain
        .contains("/apis/apps/")
        .then(|| plain.to_owned())
        .into_iter()
        .collect()
}

/// The API path of a workload.
pub(crate) fn path_of(target: &Target) -> String {
    format!(
        "/apis/apps/v1/namespaces/{}/{}/{}",
        target.namespace,
        target.kind.plural(),
        target.name
    )
}

fn hash(object: &Value) -> TemplateHash {
    Template::clean(object.pointer("/spec/template").cloned().unwrap_or_default()).hash()
}

fn paused(object: &Value) -> bool {
    object
        .pointer("/spec/paused")
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    let annotations = object.pointer("/metadata/annotations");
    annotations
        .and_then(|all| all.get(name)?.as_str())
        .unwrap_or_default()
}

fn epoch_on(object: &Value, run: &RunId) -> Option<u64> {
    (annotation(object, RUN) == run.as_str()).then(|| annotation(object, EPOCH).parse().ok())?
}

fn step_of(event: &Event) -> Option<&StepId> {
    match event {
        Event::Intended { step, .. }
        | Event::Applied { step, .. }
        | Event::Failed { step, .. }
        | Event::Unsettled { step, .. }
        | Event::ReverseIntended { step, .. }
        | Event::Reversed { step, .. }
        | Event::ReverseFailed { step, .. } => Some(step),
        _ => None,
    }
}

fn told(run: &RunId, record: &Record) -> String {
    let what = serde_json::to_string(&record.event).unwrap_or_default();
    let end = what.char_indices().nth(260).map_or(what.len(), |(end, _)| end);
    format!("{run} record {}: {}", record.seq, &what[..end])
}
