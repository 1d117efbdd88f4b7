//! One Deployment: how soon the first write comes, and what is asked of the API server before and after it.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::audit::{Request, in_sequence};
use super::delay;
use super::ground::{Ground, Release, number};
use super::sample::{Pairs, Sample, timed};
use super::table::{Bar, Row};
use super::taken::{Taken, Way, by_astern, by_astern_with};
use crate::failure::{Failure, Outcome, doing};

/// Answers are held back so long when round trips are counted: far more than a request takes here, so that what is
/// sent together arrives together.
const DELAY: Duration = Duration::from_millis(300);
/// The fixture has one container, and it fails: two requests more.
const REQUESTS_BEFORE: f64 = 25.0 + 2.0;
const REQUESTS_AFTER: f64 = 6.0;
const CRDS: usize = 500;
/// The node whose kubelet takes connections and never answers.
const HANGING_NODE: &str = "kwok-hanging";
/// A log request that takes this long hangs; one that fails at once does not, and measures nothing.
const HANGS: Duration = Duration::from_secs(2);
/// kwok answers for every other node on 127.0.0.1, at the same port.
const HANGING_ADDRESS: &str = "127.0.0.2";

pub(super) fn measure(ground: &Ground, runs: usize) -> Outcome<Vec<Row>> {
    let release = Release::independent(ground, "bench-one", 1);
    let mut rows = Vec::new();
    let mut counted = Vec::new();
    for (way, name) in [(Way::Runner, "runner"), (Way::Foreground, "--foreground")] {
        let (pairs, taken) = first_writes(&release, way, runs)?;
        let what = format!("one Deployment: to the first write ({name})");
        rows.push(Row::ratio(
            what,
            "kubectl get deploy,pods",
            &pairs,
            Bar::AtMost(5.0),
        ));
        counted.extend(taken);
    }
    rows.extend(counts(&counted)?);
    rows.extend(round_trips(&release)?);
    rows.extend(beside_a_hanging_kubelet(ground, runs)?);
    rows.push(with_many_kinds(ground, &release, &counted)?);
    Ok(rows)
}

fn first_writes(release: &Release<'_>, way: Way, runs: usize) -> Outcome<(Pairs, Vec<Taken>)> {
    let mut pairs = Pairs::default();
    let mut all = Vec::new();
    for _ in 0..runs {
        release.go_wrong()?;
        let taken = by_astern(release, way, &[])?;
        let get = ["get", "deploy,pods", "-n", &release.namespace];
        pairs.add(
            taken.until_first_write()?,
            timed(&mut release.ground.kubectl(&get))?,
        );
        all.push(taken);
    }
    Ok((pairs, all))
}

fn counts(all: &[Taken]) -> Outcome<Vec<Row>> {
    let (mut before, mut with_records, mut after) = (Sample::default(), Sample::default(), Sample::default());
    for taken in all {
        let write = taken.first_write()?;
        before.add(count(&taken.requests[..write]));
        with_records.add(as_number(write));
        after.add(as_number(taken.effects()));
    }
    Ok(vec![
        Row::count(
            "one Deployment: requests before the first write, besides journal, vault, Lease",
            "requests",
            &before,
            Bar::AtMost(REQUESTS_BEFORE),
        ),
        Row::count(
            "one Deployment: the same with journal, vault and Lease",
            "requests",
            &with_records,
            Bar::Stated,
        ),
        Row::count(
            "one Deployment: requests after approval, besides watches, journal, vault, Lease",
            "requests",
            &after,
            Bar::AtMost(REQUESTS_AFTER),
        ),
    ])
}

/// What it takes beside what astern writes down.
fn count(requests: &[Request]) -> f64 {
    let asked = requests
        .iter()
        .filter(|request| !request.keeps_record() && !request.watches());
    as_number(asked.count())
}

#[expect(clippy::cast_precision_loss, reason = "no run makes 2^52 requests")]
pub(super) fn as_number(count: usize) -> f64 {
    count as f64
}

/// Round trips in sequence, counted where every answer is late.
fn round_trips(release: &Release<'_>) -> Outcome<Vec<Row>> {
    let kubeconfig = late_kubeconfig(release.ground)?;
    release.go_wrong()?;
    let taken = by_astern_with(release, &kubeconfig, Way::Foreground, &[])?;
    let before = &taken.requests[..taken.first_write()?];
    let delay = DELAY.as_secs_f64();
    let asked = before.iter().filter(|request| !request.keeps_record());
    let (besides, all) = (in_sequence(asked, delay), in_sequence(before.iter(), delay));
    let row = |what: &str, count, bar| Row::one(what, format!("{count} round trips"), as_number(count), bar);
    Ok(vec![
        row(
            "one Deployment: round trips in sequence before the first write, besides journal, vault, Lease",
            besides,
            Bar::AtMost(4.0),
        ),
        row(
            "one Deployment: the same with journal, vault and Lease",
            all,
            Bar::Stated,
        ),
    ])
}

/// A kubeconfig that reaches the same server over a slow wire.
fn late_kubeconfig(ground: &Ground) -> Outcome<PathBuf> {
    let from = &ground.astern_kubeconfig;
    let text = fs::read_to_string(from).map_err(doing(format!("read {}", from.display())))?;
    let server = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("server: https://"))
        .ok_or_else(|| Failure::new(format!("{} names no server", from.display())))?;
    let port = delay::start(server.to_owned(), DELAY)?;
    let late = ground.file("late.kubeconfig");
    fs::write(&late, text.replace(server, &format!("127.0.0.1:{port}")))
        .map_err(doing(format!("write {}", late.display())))?;
    Ok(late)
}

/// A listener where the API server looks for a kubelet, that never answers.
fn beside_a_hanging_kubelet(ground: &Ground, runs: usize) -> Outcome<Vec<Row>> {
    let what = "one Deployment: to the first write beside a kubelet that hangs";
    let skipped = |why: &str| {
        vec![Row::one(
            what,
            format!("not measured: {why}"),
            f64::NAN,
            Bar::Stated,
        )]
    };
    let listener = match TcpListener::bind((HANGING_ADDRESS, kubelet_port(ground)?)) {
        Ok(listener) => listener,
        Err(error) => return Ok(skipped(&format!("no port for it: {error}"))),
    };
    // Connections are kept open: one that ends would be an answer.
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    ground.apply(&hanging_node())?;
    let release = Release {
        node: Some(HANGING_NODE),
        ..Release::independent(ground, "bench-hanging", 1)
    };
    release.go_wrong()?;
    let start = Instant::now();
    let logs = [
        "logs",
        "deployment/service-00",
        "-n",
        &release.namespace,
        "--request-timeout=3s",
    ];
    drop(timed(&mut ground.kubectl(&logs)));
    if start.elapsed() < HANGS {
        return Ok(skipped("its kubelet answered"));
    }
    let (pairs, _) = first_writes(&release, Way::Runner, runs)?;
    Ok(vec![Row::ratio(
        what,
        "kubectl get deploy,pods",
        &pairs,
        Bar::AtMost(5.0),
    )])
}

/// The port on which every kwok node says that its kubelet listens.
fn kubelet_port(ground: &Ground) -> Outcome<u16> {
    let node = ground.json(&["get", "node", "kwok-1"])?;
    u16::try_from(number(&node, "/status/daemonEndpoints/kubeletEndpoint/Port"))
        .map_err(|error| Failure::new(format!("node kwok-1 tells no port: {error}")))
}

fn hanging_node() -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: {HANGING_NODE}\n  annotations: {{kwok.x-k8s.io/node: fake, \
         kwok.astern.dev/address: {HANGING_ADDRESS}}}\n  labels: {{type: kwok, kubernetes.io/hostname: {HANGING_NODE}}}\nspec:\n  \
         taints: [{{key: bench.astern.dev/hanging, effect: NoSchedule}}]\n"
    )
}

/// The same once the cluster has five hundred kinds more: discovery would grow, and astern asks for none.
fn with_many_kinds(ground: &Ground, release: &Release<'_>, before: &[Taken]) -> Outcome<Row> {
    let manifest = (0..CRDS).fold(String::new(), |mut text, number| {
        let _ = write!(
            text,
            "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: \
             kinds{number}.bench.astern.dev}}\nspec:\n  group: bench.astern.dev\n  scope: Namespaced\n  names: {{plural: \
             kinds{number}, kind: Kind{number}}}\n  versions: [{{name: v1, served: true, storage: true, schema: \
             {{openAPIV3Schema: {{type: object}}}}}}]\n"
        );
        text
    });
    ground.apply(&manifest)?;
    let (_, after) = first_writes(release, Way::Foreground, 1)?;
    let least = |all: &[Taken]| -> Outcome<f64> {
        let counts: Outcome<Vec<f64>> = all
            .iter()
            .map(|taken| Ok(count(&taken.requests[..taken.first_write()?])))
            .collect();
        Ok(counts?.into_iter().fold(f64::INFINITY, f64::min))
    };
    let (few, many) = (least(before)?, least(&after)?);
    Ok(Row::one(
        format!("one Deployment: more requests with {CRDS} CRDs than with none"),
        format!("{many} with, {few} without"),
        many - few,
        Bar::AtMost(0.0),
    ))
}
