//! Address ranges, and that nothing sent to them leaves the machine. Interfaces of containers are made by the node.

use std::process::Command;

use super::{NodeKind, Record};
use crate::failure::{Failure, Outcome};
use crate::{debian, process};

/// The addresses of one kind of cluster. All lie in 198.18.0.0/15, which RFC 2544 sets aside for measuring: no network
/// of an office, a container engine or a cloud uses it, so that closing it off cuts nobody's connection.
pub(crate) struct Network {
    /// Everything below, for the route that keeps it on the machine.
    pub(crate) whole: &'static str,
    pub(crate) pods: &'static str,
    pub(crate) services: &'static str,
    /// The first address of the services: the API server, seen from a pod.
    pub(crate) api_service: &'static str,
    /// Where the API server listens.
    pub(crate) api_address: &'static str,
}

const KWOK: Network = Network {
    whole: "198.19.0.0/16",
    pods: "198.19.0.0/18",
    services: "198.19.128.0/17",
    api_service: "198.19.128.1",
    api_address: "127.0.0.1",
};

const REAL: Network = Network {
    whole: "198.18.0.0/16",
    pods: "198.18.0.0/17",
    services: "198.18.128.0/17",
    api_service: "198.18.128.1",
    api_address: "198.18.0.1",
};

impl Network {
    pub(crate) fn of(kind: NodeKind) -> Self {
        match kind {
            NodeKind::Kwok => KWOK,
            NodeKind::Real => REAL,
        }
    }
}

/// A route into nothing for the cluster's ranges: a request to a pod that kwok only claims, or to a Service that no
/// proxy serves, would otherwise leave by the default route.
pub(crate) fn keep_on_machine(record: &mut Record, network: &Network, metric: u16) -> Outcome {
    if !is_root() {
        eprintln!(
            "not root: requests to pod addresses in {} may leave this machine",
            network.whole
        );
        return Ok(());
    }
    debian::ensure(&[debian::IPROUTE])?;
    // The port of the API server as metric makes the route this cluster's own; another cluster's beside it stays.
    let metric = metric.to_string();
    record.will_undo(&[
        "ip",
        "route",
        "del",
        "blackhole",
        network.whole,
        "metric",
        &metric,
    ])?;
    ip(&["route", "add", "blackhole", network.whole, "metric", &metric])
}

/// Takes back every recorded change, the last one first; one that is gone already is no failure.
pub(crate) fn undo(record: &Record) {
    for words in record.undo.iter().rev() {
        if let Some((program, arguments)) = words.split_first() {
            drop(process::read(Command::new(program).args(arguments)));
        }
    }
}

pub(crate) fn ip(words: &[&str]) -> Outcome {
    process::read(Command::new("ip").args(words)).map(drop)
}

pub(crate) fn is_root() -> bool {
    process::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// For commands that change interfaces and mounts.
pub(crate) fn require_root(what: &str) -> Outcome {
    if is_root() {
        return Ok(());
    }
    Err(Failure::new(format!("{what} needs root"))
        .next("the same command with sudo, or --node kwok, which does not"))
}
