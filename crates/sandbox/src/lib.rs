//! An in-memory Kubernetes API server with controllers, a scheduler and stand-ins for kubelets. Knows nothing of astern.
//!
//! [`Cluster`] is the whole of it as a synchronous state machine: the same options, times and requests give the same
//! answers, byte for byte. It is cheap to clone. [`Service`] puts it behind kube's client and [`http::serve`] behind a
//! loopback port, for kubectl. Where a scenario says that Services get requests, [`Cluster::metrics`] tells how they were
//! answered, as Prometheus would.
//!
//! What is not supported is refused with a Status that says so: server-side apply (415), evictions, exec, attach,
//! port-forward, proxies of pods and nodes (405), bodies in protobuf but for a few kinds (415), custom resources with more than one served
//! version, quotas with scopes, bounds of LimitRanges, a surge of DaemonSets, claims that go with their StatefulSet (422).
//!
//! Stored, and nobody acts on them: CronJobs, autoscalers but those that [`Autoscaling`] says, disruption budgets, Leases,
//! Ingresses, network policies, RBAC objects. Kept as they come: fields that no built-in type has. Not there at all: webhooks.
//! The scheduler looks at resources, taints, selectors and affinity to nodes; not at affinity between pods or topology
//! spread, and it does not preempt. A taint keeps pods away and evicts none; a node that is deleted leaves its pods.

mod access;
mod api;
mod behaviour;
mod clock;
mod cluster;
mod controllers;
pub mod dump;
mod events;
pub mod http;
mod kinds;
mod managed;
mod metrics;
mod node;
mod object;
mod quantity;
mod random;
mod scenario;
mod selector;
mod service;
mod store;
mod time;
mod traffic;

pub use access::{Access, Rule};
pub use api::{Answer, Request, Response, Stream};
pub use behaviour::{
    Behaviour, BehaviourRule, Behaviours, Crash, HttpAnswer, Image, Logs, Ready, Serves, When,
};
pub use clock::{Clock, SystemClock};
pub use cluster::{Autoscaling, Cluster, IdleAutoscaler, NodeSpec, Options};
pub use scenario::{Files, Labelled, Moment, Named, Patched, Scenario, ScenarioError, Then};
pub use service::{Body, BoxError, Service};
pub use traffic::Traffic;
