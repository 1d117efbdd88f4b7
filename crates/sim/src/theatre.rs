//! One simulated cluster with everybody in it: makes processes, and plays what is no process. Owns who is there; judges
//! nothing.

use crate::case::configured::{OBJECTS, Object};
use crate::case::{Case, NAMESPACE, configured};
use crate::fault::{ContentEdit, Edit, Fault};
use crate::journal::SimDisk;
use crate::life::{Life, sleep};
use crate::network::{Reach, Way};
use crate::oracle::{Oracle, Who, path_of};
use crate::trace::Trace;
use astern_app::World;
use astern_journal::{MemoryLedger, MemoryVault};
use astern_model::record::Holder;
use astern_model::target::Target;
use astern_port::clock::Clock;
use astern_rehearsal::{TokioClock, world};
use astern_sandbox::{Behaviours, Request, Service};
use async_trait::async_trait;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// The cluster and everybody's way to it.
pub(crate) struct Theatre {
    pub(crate) service: Service,
    pub(crate) clock: TokioClock,
    pub(crate) disk: SimDisk,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) trace: Arc<Trace>,
    pub(crate) workloads: Vec<Target>,
    bad: Behaviours,
    mended: Behaviours,
    vault: MemoryVault,
    /// None where nobody recorded a release: each process finds an empty one.
    ledger: Option<MemoryLedger>,
    reach: Arc<Reach>,
    began: Instant,
    seed: u64,
    lives: Mutex<Vec<Arc<Life>>>,
}

/// One process of astern: its life, its world and who it is.
pub(crate) struct Process {
    pub(crate) life: Arc<Life>,
    pub(crate) world: World,
    pub(crate) holder: Holder,
}

impl Theatre {
    /// A cluster that begins as the case has it. Must be made inside a runtime.
    pub(crate) async fn new(case: &Case, seed: u64, trace: Arc<Trace>) -> Arc<Self> {
        let clock = TokioClock::starting(crate::case::begin());
        let service = Service::new(case.cluster.clone(), Arc::new(clock));
        let disk = SimDisk::default();
        let oracle = Oracle::new(service.clone(), disk.clone(), trace.clone(), case);
        let vault = configured::vault();
        let ledger = match &case.recorded {
            Some(recorded) => Some(recorded.ledger(&vault).await),
            None => None,
        };
        Arc::new(Self {
            service,
            clock,
            disk,
            oracle,
            trace,
            workloads: case.workloads.clone(),
            bad: case.bad.clone(),
            mended: case.mended.clone(),
            vault,
            ledger,
            reach: Arc::default(),
            began: Instant::now(),
            seed,
            lives: Mutex::default(),
        })
    }

    /// A new process; its number is the next one.
    pub(crate) fn process(&self) -> Process {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let number = lives.len();
        let life = Life::new(number, self.began, self.trace.clone());
        lives.push(life.clone());
        let way = Way {
            service: self.service.clone(),
            reach: self.reach.clone(),
            life: life.clone(),
            trace: self.trace.clone(),
            oracle: self.oracle.clone(),
            seed: self.seed,
        };
        let clock = Arc::new(OwnClock {
            clock: self.clock,
            life: life.clone(),
        });
        let journal = self
            .disk
            .of_process(life.clone(), self.trace.clone(), self.oracle.clone());
        let mut world = world(
            kube::Client::new(way, NAMESPACE),
            clock,
            journal,
            Arc::new(self.vault.clone()),
        );
        if let Some(ledger) = &self.ledger {
            world.ledger = Arc::new(ledger.clone());
        }
        Process {
            world,
            holder: Holder {
                id: format!("process-{number}"),
                user: "anna".to_owned(),
                host: format!("host-{number}"),
                // The number again: the oracle knows whose takeover it was.
                pid: u32::try_from(number).unwrap_or(u32::MAX),
            },
            life,
        }
    }

    /// Whether any process stands still that may yet go on.
    pub(crate) fn anyone_asleep(&self) -> bool {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.iter().any(|life| !life.is_dead() && life.is_asleep())
    }

    /// What made the release bad is mended, as it seems, or is there again.
    pub(crate) fn mend(&self, mended: bool) {
        let behaviours = if mended { &self.mended } else { &self.bad };
        self.service.with(|cluster, _| cluster.behave(behaviours.clone()));
    }

    /// Plays one fault that is no process's own.
    pub(crate) async fn play(self: Arc<Self>, place: usize, fault: Fault) {
        match fault {
            Fault::Away { at, span, hangs } => {
                self.until(at).await;
                self.trace.met(place);
                self.reach.go_away(span, hangs);
            }
            Fault::Compacted { at } => {
                self.until(at).await;
                self.trace.met(place);
                self.service.with(|cluster, _| cluster.compact(cluster.version()));
            }
            Fault::Clock { process, at, by } => {
                self.until(at).await;
                let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(life) = lives.get(process) {
                    self.trace.met(place);
                    life.move_clock(by);
                }
            }
            Fault::Edit { at, workload, what } => {
                self.until(at).await;
                self.trace.met(place);
                self.edit(&self.workloads[workload % self.workloads.len()], what)
                    .await;
            }
            Fault::Owner {
                workload,
                every,
                times,
            } => self.own(place, workload, every, times).await,
            Fault::Content { at, object, what } => {
                self.until(at).await;
                self.trace.met(place);
                self.edit_content(&OBJECTS[object % OBJECTS.len()], what);
            }
            Fault::Writer { object, every, times } => {
                self.own_content(place, &OBJECTS[object % OBJECTS.len()], every, times)
                    .await;
            }
            _ => {}
        }
    }

    /// Waits until so long after the beginning.
    pub(crate) async fn until(&self, at: SignedDuration) {
        tokio::time::sleep_until(self.began + at.unsigned_abs()).await;
    }

    async fn own(&self, place: usize, workload: usize, every: SignedDuration, times: u32) {
        let target = &self.workloads[workload % self.workloads.len()];
        let path = path_of(target);
        let bad = self.oracle.stored(&path)["spec"]["template"].clone();
        let mut left = times;
        while left > 0 {
            sleep(every).await;
            let now = self.oracle.stored(&path);
            if now.is_null() {
                return;
            }
            if now["spec"]["template"] != bad {
                self.trace.met(place);
                let mut back = Value::clone(&now);
                back["spec"]["template"] = bad.clone();
                self.send(Method::PUT, &path, "application/json", &back);
                left -= 1;
            }
        }
    }

    async fn own_content(&self, place: usize, object: &Object, every: SignedDuration, times: u32) {
        let path = object.path();
        let bad = self.oracle.stored(&path)["data"].clone();
        let mut left = times;
        while left > 0 {
            sleep(every).await;
            let now = self.oracle.stored(&path);
            if now["data"] == bad {
                continue;
            }
            self.trace.met(place);
            left -= 1;
            if bad.is_null() {
                self.send(Method::DELETE, &path, "application/json", &json!({}));
            } else if now.is_null() {
                let anew = object.data[1].map(|data| object.holding(data));
                self.send(
                    Method::POST,
                    &object.collection(),
                    "application/json",
                    &anew.unwrap_or_default(),
                );
            } else {
                let mut back = Value::clone(&now);
                back["data"] = bad.clone();
                self.send(Method::PUT, &path, "application/json", &back);
            }
        }
    }

    fn edit_content(&self, object: &Object, what: ContentEdit) {
        let path = object.path();
        let third = ("EDITED", "Ynk=");
        let merge = |with: Value| self.send(Method::PATCH, &path, "application/merge-patch+json", &with);
        match what {
            ContentEdit::Annotate => merge(json!({"metadata": {"annotations": {"team": "shop"}}})),
            ContentEdit::Label => merge(json!({"metadata": {"labels": {"tier": "one"}}})),
            ContentEdit::Delete => self.send(Method::DELETE, &path, "application/json", &json!({})),
            ContentEdit::Edit if self.oracle.stored(&path).is_null() => {
                let anew = object.holding(third);
                self.send(Method::POST, &object.collection(), "application/json", &anew);
            }
            ContentEdit::Edit => merge(json!({"data": {third.0: third.1}})),
        }
    }

    async fn edit(&self, target: &Target, what: Edit) {
        let path = path_of(target);
        let merge = |with: Value| {
            self.send(
                Method::PATCH,
                &path,
                "application/strategic-merge-patch+json",
                &with,
            );
        };
        match what {
            Edit::Annotate => merge(json!({"metadata": {"annotations": {"team": "shop"}}})),
            Edit::Scale(replicas) => merge(json!({"spec": {"replicas": replicas}})),
            Edit::Image => merge(json!({"spec": {"template": {"spec": {"containers": [
                {"name": "app", "image": format!("{}:v3", target.name)},
            ]}}}})),
            Edit::Pause => {
                let paused = self.oracle.stored(&path)["spec"]["paused"] == true;
                merge(json!({"spec": {"paused": !paused}}));
            }
            Edit::Restart => merge(json!({"spec": {"template": {"metadata": {"annotations": {
                "kubectl.kubernetes.io/restartedAt": "2026-01-01T12:00:30Z",
            }}}}})),
            Edit::DeletePod => {
                let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
                let look = Request {
                    path: pods.clone(),
                    ..Request::default()
                };
                let seen = self.oracle.carry_out(Who::Somebody, &look);
                let list: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
                let of_it = |pod: &&Value| pod["metadata"]["labels"]["app"] == target.name.as_str();
                let first = list["items"].as_array().into_iter().flatten().find(of_it);
                if let Some(name) = first.and_then(|pod| pod["metadata"]["name"].as_str()) {
                    let path = format!("{pods}/{name}");
                    self.send(Method::DELETE, &path, "application/json", &json!({}));
                }
            }
            Edit::Quota(span) => {
                let quotas = format!("/api/v1/namespaces/{NAMESPACE}/resourcequotas");
                let quota = json!({
                    "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
                    "spec": {"hard": {"pods": "0"}},
                });
                self.send(Method::POST, &quotas, "application/json", &quota);
                sleep(span).await;
                let path = format!("{quotas}/full");
                self.send(Method::DELETE, &path, "application/json", &json!({}));
            }
            Edit::Delete => self.send(Method::DELETE, &path, "application/json", &json!({})),
        }
    }

    fn send(&self, method: Method, path: &str, content_type: &str, body: &Value) {
        let request = Request {
            method,
            path: path.to_owned(),
            content_type: content_type.to_owned(),
            body: body.to_string().into(),
            ..Request::default()
        };
        let answer = self.oracle.carry_out(Who::Somebody, &request);
        self.trace
            .say(|| format!("somebody: {} {path} -> {}", request.method, answer.code));
    }
}

/// A process's own clock: it may be wrong, and it wakes nobody who stands still.
struct OwnClock {
    clock: TokioClock,
    life: Arc<Life>,
}

#[async_trait]
impl Clock for OwnClock {
    fn now(&self) -> Timestamp {
        let now = self.clock.time();
        now.saturating_add(self.life.ahead()).unwrap_or(now)
    }

    async fn sleep(&self, span: SignedDuration) {
        sleep(span).await;
        self.life.awake().await;
    }
}
