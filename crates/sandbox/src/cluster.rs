//! The cluster as a state machine: requests and time in, answers out. Owns the parts and their order; has no clock, no
//! threads and no randomness but its seed.

use crate::access::Access;
use crate::api::write::{self, Options as WriteOptions};
use crate::api::{self, Answer, Request, Response, Stream, delete, status::Outcome};
use crate::behaviour::Behaviours;
use crate::controllers::autoscaler::{self, Memories};
use crate::controllers::{self, Controller, Queue, Task};
use crate::kinds::Kinds;
use crate::managed::{Managers, Part, Write};
use crate::metrics;
use crate::node::{self, Nodes};
use crate::object::{remove, set, text};
use crate::random::Random;
use crate::store::{Kept, Key, Store};
use crate::traffic::{Count, Manner, Requests, Traffic};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// What a cluster is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names and uids come from it.
    pub seed: u64,
    /// The version that the server says it has.
    pub version: String,
    /// The one user.
    pub user: String,
    /// What that user may do.
    pub access: Access,
    /// The nodes at the beginning.
    pub nodes: Vec<NodeSpec>,
    /// How containers behave.
    pub behaviours: Behaviours,
    /// The requests that Services get.
    pub traffic: Vec<Traffic>,
    /// Which autoscalers act, and by what.
    pub autoscaling: Autoscaling,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            version: "v1.34.0".to_owned(),
            user: "sandbox".to_owned(),
            access: Access::default(),
            nodes: (1..=3)
                .map(|number| NodeSpec::named(format!("node-{number}")))
                .collect(),
            behaviours: Behaviours::default(),
            traffic: Vec::new(),
            autoscaling: Autoscaling::Nowhere,
        }
    }
}

/// Which autoscalers act, and what they measure. The others are kept as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Autoscaling {
    /// None acts.
    #[default]
    Nowhere,
    /// All act, by the traffic; without any they find no metrics.
    ByTraffic,
    /// Those act that were loaded with what they had measured: the pods of their target bear as much together from then
    /// on, however many share it.
    ByLoad,
}

/// An autoscaler that is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleAutoscaler {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why it is not known what its target's pods bear.
    pub why: String,
}

/// A node at the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// CPUs for pods.
    pub cpu: String,
    /// Memory for pods.
    pub memory: String,
    /// So many pods at most.
    pub pods: u32,
}

impl NodeSpec {
    /// A node of a usual size.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            cpu: "8".to_owned(),
            memory: "32Gi".to_owned(),
            pods: 110,
        }
    }
}

/// The API server's own name among those who write.
const SERVER: &str = "kube-apiserver";

/// An in-memory cluster. A clone is a snapshot that goes its own way from then on.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) store: Store,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) random: Random,
    pub(crate) queue: Queue,
    pub(crate) nodes: Nodes,
    pub(crate) options: Arc<Options>,
    pub(crate) now: Timestamp,
    /// Who writes: the client of the request, or the component that acts.
    pub(crate) writer: Cow<'static, str>,
    /// The requests there were.
    pub(crate) requests: Requests,
    pub(crate) autoscalers: Memories,
    addresses: u32,
}

impl Cluster {
    /// A fresh cluster: its nodes and the namespaces that every cluster has.
    pub fn new(options: Options, now: Timestamp) -> Self {
        let mut cluster = Self {
            store: Store::default(),
            kinds: Arc::new(Kinds::built_in()),
            random: Random::new(options.seed),
            queue: Queue::default(),
            nodes: Nodes::default(),
            options: Arc::new(options),
            now,
            writer: SERVER.into(),
            requests: Requests::default(),
            autoscalers: Memories::default(),
            addresses: 0,
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            cluster.own("namespaces", json!({"metadata": {"name": name}}));
        }
        cluster.writer = Controller::Kubelet.program().into();
        for spec in cluster.options.clone().nodes.iter() {
            cluster.own("nodes", node::object(spec, now));
        }
        cluster.advance(now);
        cluster
    }

    /// The same, but from now on the user may do this.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        Arc::make_mut(&mut self.options).access = access;
        self
    }

    /// From now on containers behave so; those that run already, from the next thing that happens to them.
    pub fn behave(&mut self, behaviours: Behaviours) {
        Arc::make_mut(&mut self.options).behaviours = behaviours;
    }

    /// Takes objects over as they are, with their uids, status and all, as from another cluster. Controllers and kubelets
    /// go on from there. What is of no kind that is served is given back.
    pub fn load(&mut self, objects: impl IntoIterator<Item = Value>) -> Vec<Value> {
        let mut left = Vec::new();
        for mut object in objects {
            let kind = self
                .kinds
                .of(text(&object, "apiVersion"), text(&object, "kind"))
                .cloned();
            let Some(kind) = kind else {
                left.push(object);
                continue;
            };
            if text(&object, "metadata.uid").is_empty() {
                let uid = self.random.uid();
                set(&mut object, "metadata.uid", uid);
            }
            let namespace = if kind.namespaced {
                text(&object, "metadata.namespace")
            } else {
                ""
            };
            let key = Key::new(kind.stored(), namespace, text(&object, "metadata.name"));
            let managers = Managers::sent(&object).unwrap_or_default();
            remove(&mut object, "metadata.managedFields");
            self.place(&key, object, managers);
        }
        autoscaler::loaded(self);
        left
    }

    /// Answers a request at a time. Time never goes back: an earlier one than was seen counts as that one.
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Answer {
        self.now = self.now.max(now);
        api::handle(self, request)
    }

    /// Answers a request to Prometheus' HTTP API about the traffic: `/api/v1/query` and `/api/v1/query_range`.
    pub fn metrics(&mut self, now: Timestamp, request: &Request) -> Response {
        self.now = self.now.max(now);
        metrics::handle(self, request)
    }

    /// What a stream has to say at a time.
    pub fn poll(&mut self, now: Timestamp, stream: &mut Stream) -> Vec<u8> {
        self.now = self.now.max(now);
        stream.poll(self)
    }

    /// Lets controllers, scheduler and kubelets do all that is due up to a time, each thing at its own.
    pub fn advance(&mut self, now: Timestamp) {
        self.advance_by(now, usize::MAX);
    }

    /// The same in parts, for an embedder that answers requests in between: does at most so many things, and says
    /// whether all that is due is done.
    pub fn advance_by(&mut self, now: Timestamp, most: usize) -> bool {
        for _ in 0..most {
            if let Some(task) = self.queue.pop() {
                self.writer = task.controller.program().into();
                controllers::run(self, &task);
                continue;
            }
            match self.queue.next_timer() {
                Some(due) if due <= now => {
                    self.now = self.now.max(due);
                    self.queue.ring(self.now);
                }
                _ => {
                    self.now = self.now.max(now);
                    return true;
                }
            }
        }
        false
    }

    /// The autoscalers that do not act where they act by their load, and why.
    pub fn idle_autoscalers(&self) -> Vec<IdleAutoscaler> {
        let told = |(key, why): (Key, String)| IdleAutoscaler {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            why,
        };
        autoscaler::idle(self).into_iter().map(told).collect()
    }

    /// When something happens next without anybody writing; none when nothing does.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.queue.is_empty() {
            self.queue.next_timer()
        } else {
            Some(self.now)
        }
    }

    /// The object at an API path, as it is stored; none where no object is. For whoever stands beside the server: no
    /// request, and no time goes by.
    pub fn stored(&self, path: &str) -> Option<Arc<Value>> {
        api::stored(self, path)
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.store.version()
    }

    /// Forgets the history up to a version: older watches and pages then get 410.
    pub fn compact(&mut self, version: u64) {
        self.store.compact(version);
    }

    /// Stores an object with those who manage its fields, and tells whom it concerns.
    pub(crate) fn place(&mut self, key: &Key, object: Value, managers: Managers) -> Kept {
        let change = self.store.put(key, object, managers);
        controllers::noticed(self, &change);
        change.latter().unwrap_or_default()
    }

    /// Takes an object away and tells whom it concerns.
    pub(crate) fn erase(&mut self, key: &Key) {
        if let Some(change) = self.store.remove(key) {
            controllers::noticed(self, &change);
        }
    }

    /// Creates an object as the system's own components do: through the API, past nobody's rights.
    pub(crate) fn create(&mut self, resource: &str, namespace: &str, object: Value) -> Outcome<Arc<Value>> {
        let kind = self
            .kinds
            .named(resource)
            .cloned()
            .ok_or_else(api::status::Refusal::no_such_path)?;
        write::create(self, &kind, namespace, object, WriteOptions::default()).map(|made| made.object)
    }

    /// Deletes an object as the system's own components do.
    pub(crate) fn delete(&mut self, key: &Key, uid: &str) {
        if let Some(kind) = self.kinds.named(&key.resource).cloned() {
            // Somebody else was faster: then there is nothing to do.
            let _ = delete::delete(self, &kind, key, &delete::Options::of_uid(uid));
        }
    }

    /// Changes the stored object; nothing is written when the change leaves it as it is. What changes a status is taken
    /// for a write of the status.
    pub(crate) fn modify(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Arc<Value>> {
        self.modified(key, None, change)
    }

    /// The same through a part of the object.
    pub(crate) fn modify_through(
        &mut self,
        part: Part,
        key: &Key,
        change: impl FnOnce(&mut Value),
    ) -> Option<Arc<Value>> {
        self.modified(key, Some(part), change)
    }

    /// The same where nobody manages what is written then, as with bindings and deletions.
    pub(crate) fn modify_unmanaged(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut Value),
    ) -> Option<Arc<Value>> {
        let mut object = Value::clone(self.store.get(key)?);
        change(&mut object);
        let managers = self.store.managers(key);
        Some(self.place(key, object, managers).object)
    }

    fn modified(
        &mut self,
        key: &Key,
        part: Option<Part>,
        change: impl FnOnce(&mut Value),
    ) -> Option<Arc<Value>> {
        let old = self.store.get(key)?.clone();
        let mut object = Value::clone(&old);
        change(&mut object);
        if object == *old {
            return Some(old);
        }
        let part = part.unwrap_or_else(|| {
            if object.get("status") == old.get("status") {
                Part::Whole
            } else {
                Part::Status
            }
        });
        let managers = match self.kinds.named(&key.resource) {
            Some(kind) => self
                .store
                .managers(key)
                .written(kind, Some(&old), &object, &self.write(part)),
            None => Managers::default(),
        };
        Some(self.place(key, object, managers).object)
    }

    /// A write of now, by whoever acts.
    pub(crate) fn write(&self, part: Part) -> Write<'_> {
        Write {
            manager: &self.writer,
            part,
            at: self.now,
        }
    }

    /// Writes an object's status where it says something new.
    pub(crate) fn set_status(&mut self, key: &Key, status: Value) {
        let news = self
            .store
            .get(key)
            .is_some_and(|object| object.get("status") != Some(&status));
        if news {
            self.modify(key, |object| object["status"] = status);
        }
    }

    /// From now on a Service's requests go to these pods.
    pub(crate) fn spread(&mut self, service: &Key, rate: f64, ready: &[&Arc<Value>]) {
        if self.options.traffic.is_empty() {
            return;
        }
        let manner = |pod: &Value| Manner::of(&self.options.behaviours, &self.nodes.environment(pod), pod);
        self.requests.spread(self.now, service, rate, ready, &manner);
        autoscaler::soon(self, &service.namespace);
    }

    /// How many requests a pod gets a second.
    pub(crate) fn requests_of(&self, pod: &Value) -> f64 {
        let (namespace, name) = (text(pod, "metadata.namespace"), text(pod, "metadata.name"));
        self.requests
            .of_pod(namespace, name)
            .map(|count| count.rate(self.now))
            .sum()
    }

    /// How many cpus a pod uses.
    pub(crate) fn cpu_of(&self, pod: &Value) -> f64 {
        let (namespace, name) = (text(pod, "metadata.namespace"), text(pod, "metadata.name"));
        let each = |count: &Count| count.rate(self.now) * count.manner.cpu.as_secs_f64();
        self.requests.of_pod(namespace, name).map(each).sum()
    }

    /// Has a task done at a time.
    pub(crate) fn later(&mut self, at: Timestamp, task: Task) {
        self.queue.later(at, task);
    }

    /// The next free address, as a number.
    pub(crate) fn next_address(&mut self) -> u32 {
        self.addresses += 1;
        self.addresses
    }

    fn own(&mut self, resource: &str, object: Value) {
        let status = object.get("status").cloned();
        if let Ok(made) = self.create(resource, "", object)
            && let Some(status) = status
        {
            let key = Key::new(resource, "", text(&made, "metadata.name"));
            self.modify(&key, |object| object["status"] = status);
        }
    }
}
