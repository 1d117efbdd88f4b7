//! A release taken back, by astern and by the runbook's loop, with the times that count. Owns what is run and what is
//! read of it; compares nothing.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::audit::{self, Request};
use super::ground::{Release, USER};
use super::sample::timed;
use crate::failure::{Failure, Outcome, doing};

/// What astern says once every workload serves; from here on it validates.
const RESTORED: &str = "the last workload serves; validating";
/// Done and validated, or done and not validated: kwok's pods write no logs, so error lines may be unknown.
const DONE: [i32; 2] = [0, 5];

/// What carrying out means: where the run goes on, and where it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As a person types it: a runner of its own session, watched.
    Runner,
    /// In the same process.
    Foreground,
}

/// One rollback by astern.
pub(super) struct Taken {
    /// When it was started, in seconds since 1970.
    pub(super) started: f64,
    /// From then until a person reads that the last workload serves.
    pub(super) restored: Duration,
    /// What it asked the API server until then.
    pub(super) requests: Vec<Request>,
}

impl Taken {
    /// The place of the first write to a Deployment among the requests.
    pub(super) fn first_write(&self) -> Outcome<usize> {
        self.requests
            .iter()
            .position(Request::writes_deployment)
            .ok_or_else(|| Failure::new("the audit log has no write of a Deployment"))
    }

    /// From start to the first write of a Deployment, as the API server saw it.
    pub(super) fn until_first_write(&self) -> Outcome<Duration> {
        let write = &self.requests[self.first_write()?];
        Ok(Duration::from_secs_f64((write.at - self.started).max(0.0)))
    }

    /// What carrying out asked, from the lock on, which is taken first thing after the approval.
    pub(super) fn after_approval(&self) -> impl Iterator<Item = &Request> {
        let locks = |request: &Request| {
            request.resource == "leases" && matches!(request.verb.as_str(), "create" | "update")
        };
        let begins = self.requests.iter().position(locks).unwrap_or_default();
        self.requests[begins..].iter()
    }

    /// How many of these were effects on workloads.
    pub(super) fn effects(&self) -> usize {
        let effects = self
            .after_approval()
            .filter(|request| !request.keeps_record() && !request.watches() && !request.looks());
        effects.count()
    }
}

/// Takes a release back with astern.
pub(super) fn by_astern(release: &Release<'_>, way: Way, more: &[&str]) -> Outcome<Taken> {
    by_astern_with(release, &release.ground.astern_kubeconfig, way, more)
}

pub(super) fn by_astern_with(
    release: &Release<'_>,
    kubeconfig: &Path,
    way: Way,
    more: &[&str],
) -> Outcome<Taken> {
    let mut words = vec!["rollback", "--yes", "--reason", "bench"];
    if way == Way::Foreground {
        words.push("--foreground");
    }
    words.extend(more);
    let mut command = release.ground.astern_with(kubeconfig, &release.namespace, &words);
    let started = audit::now();
    let clock = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(doing("start astern"))?;
    // Both pipes are read at once, or the one that nobody reads fills up and blocks.
    let out = child.stdout.take();
    let rest = thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut out) = out {
            drop(out.read_to_string(&mut text));
        }
        text
    });
    let mut said = String::new();
    let mut restored = None;
    for line in child
        .stderr
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines)
    {
        let line = line.map_err(doing("read what astern says"))?;
        if line.contains(RESTORED) {
            restored.get_or_insert_with(|| clock.elapsed());
        }
        said.push_str(&line);
        said.push('\n');
    }
    let status = child.wait().map_err(doing("wait for astern"))?;
    let out = rest.join().unwrap_or_default();
    let failed = || Failure::new(format!("astern rollback ended with {status}\n{out}{said}"));
    let restored = restored.ok_or_else(failed)?;
    if !status.code().is_some_and(|code| DONE.contains(&code)) {
        return Err(failed());
    }
    let until = started + restored.as_secs_f64();
    let mut requests = audit::requests(&release.ground.audit_log, USER, started)?;
    requests.retain(|request| request.at <= until);
    Ok(Taken {
        started,
        restored,
        requests,
    })
}

/// Takes a release back as the runbook does: one service after the other, `rollout undo`, then `rollout status`.
pub(super) fn by_loop(release: &Release<'_>) -> Outcome<Duration> {
    let start = Instant::now();
    for name in release.names() {
        let target = format!("deployment/{name}");
        timed(
            &mut release
                .ground
                .kubectl(&["rollout", "undo", &target, "-n", &release.namespace]),
        )?;
        timed(
            &mut release
                .ground
                .kubectl(&["rollout", "status", &target, "-n", &release.namespace]),
        )?;
    }
    Ok(start.elapsed())
}
