//! The ledger: what an entry of fifty services costs, and drift of a thousand objects against `kubectl diff`.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ground::Ground;
use super::sample::{Pairs, Sample};
use super::table::{Bar, Row};
use crate::failure::{Failure, Outcome, doing};
use crate::process;

/// Services of the platform whose entry is measured.
const PLATFORM: usize = 50;
/// Services whose drift is measured; each is two objects.
const MANY: usize = 500;
/// Services of them that have drifted.
const DRIFTED: usize = 10;
const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn measure(ground: &Ground, runs: usize) -> Outcome<Vec<Row>> {
    let mut rows = entry(ground, runs)?;
    rows.push(drift(ground, runs)?);
    Ok(rows)
}

/// Records the same platform again and again; the first time also its content is kept.
fn entry(ground: &Ground, runs: usize) -> Outcome<Vec<Row>> {
    let namespace = "bench-ledger";
    lay_out(ground, namespace, PLATFORM)?;
    let (mut took, mut size) = (Sample::default(), Sample::default());
    for run in 0..runs {
        let version = format!("v{run}");
        let started = Instant::now();
        record(ground, namespace, &version)?;
        took.add(started.elapsed().as_secs_f64());
        size.add(kept(ground, namespace)? / MIB);
        process::run(
            ground
                .kubectl(&["delete", "secrets", "--all", "-n", namespace])
                .stdout(Stdio::null()),
        )?;
    }
    let seconds = took.spread().1;
    let mib = size.spread().1;
    Ok(vec![
        Row::one(
            format!("a release of {PLATFORM} services recorded, its content kept for the first time"),
            format!("{seconds:.2} s"),
            seconds,
            Bar::AtMost(1.0),
        ),
        Row::one(
            format!("the entry of {PLATFORM} services, with all that it keeps"),
            format!("{mib:.2} MiB"),
            mib,
            Bar::AtMost(1.0),
        ),
    ])
}

/// The bytes of all Secrets there, as the API server gives them.
fn kept(ground: &Ground, namespace: &str) -> Outcome<f64> {
    let list = ground.json(&["get", "secrets", "-n", namespace])?;
    let items = list.get("items").and_then(Value::as_array);
    let bytes: usize = items
        .into_iter()
        .flatten()
        .map(|item| item.to_string().len())
        .sum();
    Ok(bytes as f64)
}

fn drift(ground: &Ground, runs: usize) -> Outcome<Row> {
    let namespace = "bench-drift";
    let manifest = lay_out(ground, namespace, MANY)?;
    let file = ground.file("drift.yaml");
    fs::write(&file, manifest).map_err(doing(format!("write {}", file.display())))?;
    record(ground, namespace, "v1")?;
    for number in 0..DRIFTED {
        let (deployment, map) = (format!("deployment/{}", name(number)), name(number));
        process::run(
            ground
                .kubectl(&["set", "image", "-n", namespace, &deployment, "app=app:v2"])
                .stdout(Stdio::null()),
        )?;
        process::run(
            ground
                .kubectl(&[
                    "patch",
                    "configmap",
                    "-n",
                    namespace,
                    &map,
                    "-p",
                    r#"{"data": {"mode": "other"}}"#,
                ])
                .stdout(Stdio::null()),
        )?;
    }
    let file = file.display().to_string();
    let ours = || ground.astern(namespace, &["drift", "-o", "json"]);
    let theirs = || ground.kubectl(&["diff", "-f", &file]);
    same_verdicts(&mut ours(), &mut theirs())?;
    let pairs = Pairs::take(
        runs,
        || ended_with(7, &mut ours()),
        || ended_with(1, &mut theirs()),
    )?;
    Ok(Row::ratio(
        format!("drift of {} objects, {} of them drifted", MANY * 2, DRIFTED * 2),
        "kubectl diff",
        &pairs,
        Bar::AtMost(0.2),
    ))
}

/// Both say of the same objects that they differ, and these are those that were changed.
fn same_verdicts(ours: &mut Command, theirs: &mut Command) -> Outcome {
    let output = |command: &mut Command| {
        let output = command.output().map_err(doing("start it"))?;
        Ok::<String, Failure>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let drift: Value = serde_json::from_str(&output(ours)?)
        .map_err(|error| Failure::new(format!("astern drift gave no JSON: {error}")))?;
    let named = |object: &Value| {
        let of = |field: &str| object.get("object")?.get(field)?.as_str();
        Some(format!("{}/{}", of("kind")?.to_ascii_lowercase(), of("name")?))
    };
    let objects = drift.get("objects").and_then(Value::as_array);
    let found: BTreeSet<String> = objects.into_iter().flatten().filter_map(named).collect();
    let diff = output(theirs)?;
    let differ: BTreeSet<String> = diff.lines().filter_map(compared_file).collect();
    let changed: BTreeSet<String> = (0..DRIFTED)
        .flat_map(|number| ["deployment", "configmap"].map(|kind| format!("{kind}/{}", name(number))))
        .collect();
    if found == changed && differ == changed {
        return Ok(());
    }
    let besides = |names: &BTreeSet<String>| {
        let odd: Vec<&str> = names.symmetric_difference(&changed).map(String::as_str).collect();
        odd.join(", ")
    };
    Err(Failure::new(format!(
        "not the same have drifted; astern drift is wrong on [{}], kubectl diff on [{}]",
        besides(&found),
        besides(&differ)
    )))
}

/// The object of a line `diff -u -N LIVE/apps.v1.Deployment.NAMESPACE.NAME MERGED/…` of `kubectl diff`. The core group has no name
/// there: `v1.ConfigMap.NAMESPACE.NAME`.
fn compared_file(line: &str) -> Option<String> {
    let file = line.strip_prefix("diff ")?.rsplit('/').next()?;
    let mut parts = file.rsplitn(4, '.');
    let (name, _namespace, kind) = (parts.next()?, parts.next()?, parts.next()?);
    Some(format!("{}/{name}", kind.to_ascii_lowercase()))
}

fn ended_with(code: i32, command: &mut Command) -> Outcome<Duration> {
    let line = process::command_line(command);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status().map_err(doing("start it"))?;
    let took = started.elapsed();
    if status.code() == Some(code) {
        return Ok(took);
    }
    Err(Failure::new(format!("it ended with {status}, and had to with {code}")).command(line))
}

fn record(ground: &Ground, namespace: &str, version: &str) -> Outcome {
    let words = [
        "releases",
        "record",
        "--version",
        version,
        "--good",
        "--reason",
        "it serves",
    ];
    process::run(
        ground
            .astern(namespace, &words)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
}

/// A namespace with so many services, each a Deployment without pods that reads a ConfigMap of its own; its manifest.
fn lay_out(ground: &Ground, namespace: &str, services: usize) -> Outcome<String> {
    ground.platform(namespace)?;
    let manifest: String = (0..services)
        .map(|number| {
            let name = name(number);
            let metadata = format!("metadata: {{name: {name}, namespace: {namespace}}}");
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\n{metadata}\ndata: {{mode: calm, limits: \"cpu 1, memory 2\"}}\n\
                 ---\napiVersion: apps/v1\nkind: Deployment\n{metadata}\nspec:\n  replicas: 0\n  \
                 selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
                 spec:\n      containers: [{{name: app, image: \"app:v1\", envFrom: [{{configMapRef: {{name: {name}}}}}]}}]\n"
            )
        })
        .collect();
    ground.apply(&manifest)?;
    Ok(manifest)
}

fn name(number: usize) -> String {
    format!("service-{number:03}")
}
