//! What the API server saw, and what must be true of it. Judges every write by what was stored before and after it and
//! by the journal's sure records; believes nothing that astern says about itself.
//!
//! # What is checked
//! At each write of a process: it took a run over; the object is one of its plan's targets; nothing but template, pause
//! and known annotations changes; no newer epoch is on the object; and an effect has its intent, sure and open, of the
//! same epoch, leaves its own key, for the first time, and meets what the plan pins. At each record: what it says has
//! happened is so, and what a predecessor left open was fenced before. At each read: no older state than the newest
//! will do. At the end: see [`Oracle::conclude`].

mod contents;
mod end;
mod known;
mod object;
mod reads;
mod records;
mod writes;

use crate::case::Case;
use crate::journal::SimDisk;
use crate::trace::Trace;
use astern_model::id::{EffectKey, RunId, Seq};
use astern_model::plan::Plan;
use astern_model::record::{Event, Outcome, Record};
use astern_model::target::Target;
use astern_sandbox::{Answer, Cluster, Request, Response, Service};
use astern_wire::envelope;
use http::Method;
use known::Known;
use object::text;
use records::told;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// As another API server has it whose cache has stood still since the run began: it answers whoever does not mind.
    behind: Mutex<Cluster>,
    disk: SimDisk,
    trace: Arc<Trace>,
    /// The objects that are asked for, by path, before anything happened.
    at_first: BTreeMap<String, Arc<Value>>,
    /// The ConfigMaps and Secrets among them as they were while the release ran that a ledger holds.
    then: BTreeMap<String, Arc<Value>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The objects that are asked for, by path, as the run that is on found them; before any run, as they were at first.
    found: BTreeMap<String, Arc<Value>>,
    runs: BTreeMap<RunId, Known>,
    /// Each accepted write, in a line.
    writes: Vec<String>,
    acknowledged: Vec<(RunId, u64, Vec<u8>)>,
    effects: BTreeMap<EffectKey, u32>,
    /// Workloads, ConfigMaps and Secrets that somebody else has changed, and workloads whose pods they have.
    strange: BTreeSet<String>,
    interfered: bool,
    violations: Vec<String>,
}

/// A step's status, and an event that came after it.
pub(crate) type Transition = (&'static str, &'static str);

/// A change of one object, as the store has it.
struct Change<'a> {
    path: &'a str,
    before: &'a Value,
    after: &'a Value,
    /// The cluster's, once it was made.
    version: u64,
}

impl Oracle {
    pub(crate) fn new(service: Service, disk: SimDisk, trace: Arc<Trace>, case: &Case) -> Arc<Self> {
        let at_first = case.at_first.clone();
        let recorded = case.recorded.as_ref();
        let behind = service.with(|cluster, _| cluster.clone());
        let state = State {
            found: at_first.clone(),
            ..State::default()
        };
        Arc::new(Self {
            service,
            behind: Mutex::new(behind),
            disk,
            trace,
            at_first,
            then: recorded.map(|recorded| recorded.then.clone()).unwrap_or_default(),
            state: Mutex::new(state),
        })
    }

    /// The API server carries a request out.
    pub(crate) fn carry_out(&self, who: Who, request: &Request) -> Response {
        if let Some(older) = self.answered_by_another(who, request) {
            return older;
        }
        if !changes(request) {
            return self
                .service
                .with(|cluster, now| whole(cluster.handle(now, request)));
        }
        let path = object_path(request);
        let (before, response, after, version) = self.service.with(|cluster, now| {
            let before = stored(cluster, &path);
            let response = whole(cluster.handle(now, request));
            (before, response, stored(cluster, &path), cluster.version())
        });
        if response.code < 300 {
            let change = Change {
                path: &path,
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
                    let mut wrong = self.untrue(run, &record);
                    if matches!(record.event, Event::Taken { .. }) {
                        wrong.extend(self.begins(run));
                    }
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
        for run in runs.into_iter().rev() {
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
                state.strange.extend(concerned(change));
                Vec::new()
            }
            Who::Process(process) => self.judge(process, &request.method, change),
        };
        for what in wrong {
            self.violated(format!("{line}: {what}"));
        }
        self.state().writes.push(line);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// The path of the object that a request is about: a creation names it in its body.
fn object_path(request: &Request) -> Cow<'_, str> {
    if request.method != Method::POST || !contents::is_collection(&request.path) {
        return Cow::Borrowed(&request.path);
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    Cow::Owned(format!("{}/{}", request.path, text(&body, "/metadata/name")))
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

/// The paths of the objects that are asked for and that a change may concern; a pod tells its workload's name only.
fn concerned(change: &Change<'_>) -> Vec<String> {
    if contents::is_content(change.path) {
        return vec![change.path.to_owned()];
    }
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
