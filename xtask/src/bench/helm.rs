//! `astern helm` among 1,200 records of releases, beside helm itself. An example of `astern-helm` writes the records.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::ground::Ground;
use super::sample::{Pairs, timed};
use super::table::{Bar, Row};
use crate::failure::Outcome;
use crate::{process, programs, workspace};

const NAMESPACE: &str = "bench-helm";
/// As many releases, with Helm's own limit of revisions each: 1,200 records.
const RELEASES: &str = "120";
const REVISIONS: &str = "10";
/// Between the 2 and the 800 KiB that people report.
const KIB: &str = "60";

pub(super) fn measure(ground: &Ground, runs: usize) -> Outcome<Vec<Row>> {
    process::run(
        Command::new("cargo")
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "astern-helm",
                "--example",
                "releases",
            ])
            .current_dir(workspace::root()),
    )?;
    ground.platform(NAMESPACE)?;
    process::read(
        Command::new(workspace::target().join("release/examples/releases"))
            .args([NAMESPACE, RELEASES, REVISIONS, KIB])
            .env("KUBECONFIG", &ground.kubeconfig),
    )?;
    let mut rows = Vec::new();
    for helm in std::env::split_paths(&programs::helms()?) {
        let version = helm
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let one = Pairs::take(
            runs,
            || timed(&mut ours(ground, &["release-060"])),
            || {
                timed(&mut theirs(
                    ground,
                    &helm,
                    &["history", "release-060", "-n", NAMESPACE],
                ))
            },
        )?;
        rows.push(Row::ratio(
            format!("history of one Helm release of 1,200 records, the newest revisions read whole, beside {version}"),
            "helm history",
            &one,
            Bar::AtMost(0.2),
        ));
        let all = Pairs::take(
            runs,
            || timed(&mut ours(ground, &[])),
            || timed(&mut theirs(ground, &helm, &["list", "-A", "--max", "0"])),
        )?;
        rows.push(Row::ratio(
            format!("all Helm releases of 1,200 records, beside {version}"),
            "helm list -A --max 0",
            &all,
            Bar::AtMost(0.1),
        ));
    }
    Ok(rows)
}

fn ours(ground: &Ground, words: &[&str]) -> Command {
    let mut command = ground.astern(NAMESPACE, &["helm"]);
    command.args(words);
    command
}

fn theirs(ground: &Ground, helm: &PathBuf, words: &[&str]) -> Command {
    let mut command = Command::new(helm);
    command
        .args(words)
        .env("KUBECONFIG", &ground.kubeconfig)
        .stdin(Stdio::null());
    command
}
