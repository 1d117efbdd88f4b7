//! An in-memory Kubernetes API server with controllers, a scheduler and stand-ins for kubelets. Knows nothing of astern.
//!
//! [`Cluster`] is the whole of it as a synchronous state machine: the same options, times and requests give the same
//! answers, byte for byte. It is cheap to clone. [`Service`] puts it behind kube's client and [`http::serve`] behind a
//! loopback port, for kubectl.
//!
//! What is not supported is refused with a Status that says so: server-side apply (415), evictions, exec, attach,
//! port-forward, proxies of pods and nodes (405), custom resources with more than one served version, quotas with scopes. Jobs,
//! CronJobs, autoscalers, disruption budgets, Leases, Ingresses, network policies and RBAC objects are stored and
//! nothing acts on them. Fields that no built-in type has are kept. There is no `metadata.managedFields`.

mod access;
mod api;
mod behaviour;
mod clock;
mod cluster;
mod controllers;
mod events;
pub mod http;
mod kinds;
mod node;
mod object;
mod quantity;
mod random;
mod scenario;
mod selector;
mod service;
mod store;
mod time;

pub use access::{Access, Rule};
pub use api::{Answer, Request, Response, Stream};
pub use behaviour::{
    Behaviour, BehaviourRule, Behaviours, Crash, HttpAnswer, Image, Logs, Ready, Serves, When,
};
pub use clock::{Clock, SystemClock};
pub use cluster::{Cluster, NodeSpec, Options};
pub use scenario::{Files, Moment, Named, Patched, Scenario, ScenarioError};
pub use service::{Body, BoxError, Service};
