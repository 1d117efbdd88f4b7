//! Many Deployments: astern against the runbook's loop, and against a bare program that does no more than it must.

use std::time::Duration;

use super::floor::Proxy;
use super::ground::{Ground, Release};
use super::one::as_number;
use super::sample::{Pairs, Sample};
use super::table::{Bar, Row};
use super::taken::{Way, by_astern, by_loop};
use crate::failure::Outcome;

const SERVICES: usize = 50;
const WAVE_SERVICES: usize = 20;
const WAVES: usize = 4;
/// A loop over twenty services of five seconds takes two minutes, and its time is nearly all waiting: two pairs show
/// what five would.
const WAVE_RUNS: usize = 2;
/// At the default limits a rollout of fifty takes a minute, and no bar hangs on it.
const DEFAULT_RUNS: usize = 1;

/// Fifty that do not depend on one another, with raised client limits.
pub(super) fn independent(ground: &Ground, runs: usize) -> Outcome<Vec<Row>> {
    let (of_loop, of_floor, requests) = fifty(ground, runs)?;
    Ok(vec![
        Row::ratio(
            "50 Deployments: restored",
            "the loop of undo and status",
            &of_loop,
            Bar::AtMost(0.5),
        ),
        Row::ratio(
            "50 Deployments: restored",
            "a bare parallel patch and wait",
            &of_floor,
            Bar::AtMost(1.15),
        ),
        Row::count(
            "50 Deployments: requests for each after approval, besides watches, journal, vault, Lease",
            "requests",
            &requests,
            Bar::AtMost(6.0),
        ),
    ])
}

/// The same at the default client limits of the controllers.
pub(super) fn at_default_limits(ground: &Ground) -> Outcome<Vec<Row>> {
    let (of_loop, of_floor, _) = fifty(ground, DEFAULT_RUNS)?;
    Ok(vec![
        Row::ratio(
            "50 Deployments, default limits: restored",
            "the loop of undo and status",
            &of_loop,
            Bar::Stated,
        ),
        Row::ratio(
            "50 Deployments, default limits: restored",
            "a bare parallel patch and wait",
            &of_floor,
            Bar::Stated,
        ),
    ])
}

fn fifty(ground: &Ground, runs: usize) -> Outcome<(Pairs, Pairs, Sample)> {
    let release = Release::independent(ground, "bench-fifty", SERVICES);
    let proxy = Proxy::start(&release)?;
    let (mut of_loop, mut of_floor) = (Pairs::default(), Pairs::default());
    let mut requests = Sample::default();
    for _ in 0..runs {
        let ours = broken(&release, || by_astern(&release, Way::Runner, &[]))?;
        let looped = broken(&release, || by_loop(&release))?;
        let floor = broken(&release, || proxy.take_back(&release))?;
        of_loop.add(ours.restored, looped);
        of_floor.add(ours.restored, floor);
        requests.add(as_number(ours.effects()) / as_number(SERVICES));
        progress(&format!(
            "50: {:.2?}, loop {looped:.2?}, floor {floor:.2?}",
            ours.restored
        ));
    }
    Ok((of_loop, of_floor, requests))
}

/// Twenty in four waves, each pod ready five seconds after it started.
pub(super) fn in_waves(ground: &Ground, runs: usize) -> Outcome<Vec<Row>> {
    let release = Release {
        waves: WAVES,
        ready_after: Some("5s"),
        ..Release::independent(ground, "bench-waves", WAVE_SERVICES)
    };
    let mut pairs = Pairs::default();
    for _ in 0..runs.min(WAVE_RUNS) {
        let ours = broken(&release, || by_astern(&release, Way::Runner, &[]))?.restored;
        let looped: Duration = broken(&release, || by_loop(&release))?;
        pairs.add(ours, looped);
        progress(&format!("waves: {ours:.2?}, loop {looped:.2?}"));
    }
    Ok(vec![Row::ratio(
        "20 services in 4 waves, ready after 5 s: restored",
        "the loop of undo and status",
        &pairs,
        Bar::AtMost(0.25),
    )])
}

pub(super) fn broken<T>(release: &Release<'_>, take_back: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    release.go_wrong()?;
    take_back()
}

#[expect(clippy::print_stderr, reason = "a bench of minutes tells how far it is")]
fn progress(line: &str) {
    eprintln!("  {line}");
}
