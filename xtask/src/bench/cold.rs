//! Cold starts: the version, and one namespace's status, against kubectl.

use super::ground::{Ground, Release};
use super::sample::{Pairs, timed};
use super::table::{Bar, Row};
use crate::failure::Outcome;

/// As many as people have in a namespace that they watch.
const SERVICES: usize = 5;

pub(super) fn measure(ground: &Ground, runs: usize) -> Outcome<Vec<Row>> {
    let release = Release::independent(ground, "bench-cold", SERVICES);
    release.ship_good()?;
    let namespace = release.namespace.as_str();
    let version = Pairs::take(
        runs,
        || timed(&mut ground.astern(namespace, &["--version"])),
        || timed(&mut ground.kubectl(&["version", "--client"])),
    )?;
    let status = Pairs::take(
        runs,
        || timed(&mut ground.astern(namespace, &["status"])),
        || timed(&mut ground.kubectl(&["get", "deploy,pods", "-n", namespace])),
    )?;
    Ok(vec![
        Row::ratio(
            "cold start: --version",
            "kubectl version --client",
            &version,
            Bar::AtMost(0.3),
        ),
        Row::ratio(
            "cold start: status",
            "kubectl get deploy,pods",
            &status,
            Bar::AtMost(1.0),
        ),
    ])
}
