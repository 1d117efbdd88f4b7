//! A way to a real API server on which things go wrong, request by request: plain HTTP on loopback in front, the
//! cluster's own client behind. Knows Kubernetes' paths and nothing of astern; what it sees, a [`Witness`] judges.
//!
//! Faults are data ([`Fault`]): the n-th request of a class, and what becomes of it. They are those that a network, a load
//! balancer or an API server makes. What was sent goes on, whatever becomes of its sender, as it does in a network.
//! Reads are consistent, as Kubernetes promises for a get or a list without a resourceVersion; one that permits an older
//! state is answered with one.
//!
//! It lends its credentials to whoever reaches the port, so it is for clusters that are thrown away.

mod answer;
mod door;
mod fault;
mod request;
mod way;

pub use fault::{Class, Fault, How};
pub use request::Asked;
pub use way::{Unseen, Witness};

use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use way::Way;

/// A port in front of an API server. Dropping it closes the port and breaks its connections; what was sent goes on.
pub struct Proxy {
    door: door::Door,
    way: Arc<Way>,
}

impl Proxy {
    /// A port in front of the API server of `config`, with nothing wrong yet.
    ///
    /// # Errors
    /// When no client can be built from `config`, or there is no port.
    pub async fn before(config: kube::Config) -> io::Result<Self> {
        Self::open(Way::to(config).map_err(io::Error::other)?).await
    }

    /// Another port in front of the same API server, with faults and a witness of its own. What is changed through all of
    /// these ports is carried out one after the other.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn another(&self, faults: Vec<Fault>, witness: Arc<dyn Witness>) -> io::Result<Self> {
        Self::open(self.way.another(faults, witness)).await
    }

    async fn open(way: Way) -> io::Result<Self> {
        let way = Arc::new(way);
        let door = door::Door::open(way.clone()).await?;
        Ok(Self { door, way })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// A kubeconfig that leads to it.
    pub fn kubeconfig(&self) -> String {
        let name = "faultproxy";
        let server = format!("http://{}", self.address());
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": server}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "users": [{"name": name, "user": {}}],
            "current-context": name,
        });
        format!("{config:#}\n")
    }

    /// Lets this happen to the next request of a class.
    pub fn next(&self, class: Class, how: How) {
        self.way.next(class, how);
    }

    /// The faults that have struck, in their order.
    pub fn struck(&self) -> Vec<Fault> {
        self.way.struck()
    }

    /// Breaks every connection. New ones are taken.
    pub fn break_connections(&self) {
        self.way.reach.cut();
    }

    /// Breaks every connection, and refuses new ones from when this returns.
    pub async fn go_away(&self) {
        self.way.reach.go_away().await;
    }

    /// Takes connections again.
    pub async fn come_back(&self) {
        self.way.reach.come_back().await;
    }
}
