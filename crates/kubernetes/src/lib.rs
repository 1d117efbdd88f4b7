//! The Kubernetes adapter: how a cluster is reached, looked at, and written. Knows the model and the ports only; no
//! plan, no journal, no run.

pub mod argocd;
pub mod connect;
pub mod effects;
pub mod failure;
pub mod lock;
pub mod look;
mod transport;
