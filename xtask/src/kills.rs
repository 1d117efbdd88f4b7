//! `cargo xtask kills`: plays the test that kills astern again and again before a real API server, for longer than the
//! lane does; with `--record`, adds what was counted to the document. What is judged is the test's own affair.

use std::process::Command;

use serde_json::Value;

use crate::arguments::Arguments;
use crate::cluster::{self, NodeKind, Wanted};
use crate::failure::{Failure, Outcome, doing};
use crate::recorded::{Recorded, grouped};
use crate::{process, programs, workspace};

const HELP: &str = "\
Rollbacks by the real binary on a kwok cluster, behind a proxy on which requests go wrong; its processes are killed at drawn
moments, and whoever resumes must lose nothing and do nothing twice. docs/kills.md says what is judged.

Usage: cargo xtask kills [--kills N] [--platforms N] [--from SEED] [--record]

Options:
  --kills N      At least so many [100]
  --platforms N  So many rollbacks side by side [4]
  --from SEED    The first seed [1; with --record, where the last sitting ended]
  --record       Add the counts to docs/kills.md

A cluster that was up before stays up, and is used.
Exit code 0: all is as it must be; 1: a run is not, or could not be played; 2: wrong usage.";

const RECORDED: Recorded = Recorded {
    counts: "docs/kills.json",
    document: "docs/kills.md",
    begin: "<!-- recorded: cargo xtask kills --record -->\n",
    seeds: "runs",
    numbers: &["runs", "kills", "processes", "writes", "seconds"],
    tables: &[
        ("moments", "killed", "times"),
        ("faults", "fault that struck", "times"),
    ],
};

/// The test that plays it.
const TEST: &str = "kills::";

pub(crate) fn main(mut arguments: Arguments) -> Outcome {
    if arguments.help() {
        println!("{HELP}");
        return Ok(());
    }
    let record = arguments.flag("--record");
    let all = if record { Some(RECORDED.read()?) } else { None };
    let mut settings = Vec::new();
    for (option, variable) in [
        ("--kills", "ASTERN_KILLS"),
        ("--platforms", "ASTERN_PLATFORMS"),
        ("--from", "ASTERN_SEED"),
    ] {
        if let Some(text) = arguments.value(option)? {
            let number: u64 = text.parse().map_err(|_| {
                Failure::usage(
                    format!("{option} is a whole number, not `{text}`"),
                    "cargo xtask kills --help",
                )
            })?;
            settings.push((variable, number));
        }
    }
    arguments.end()?;
    if let Some(all) = &all
        && !settings.iter().any(|(variable, _)| *variable == "ASTERN_SEED")
    {
        settings.push(("ASTERN_SEED", all["until"].as_u64().unwrap_or(1)));
    }
    let sitting = play(&settings)?;
    let Some(all) = all else { return Ok(()) };
    let all = RECORDED.add(all, &sitting, |all| {
        format!(
            "{} kills of {} processes in {} runs; {} writes of workloads and pods, each judged.",
            grouped(&all["kills"]),
            grouped(&all["processes"]),
            grouped(&all["runs"]),
            grouped(&all["writes"])
        )
    })?;
    println!("{} kills recorded in {}", all["kills"], RECORDED.document);
    Ok(())
}

/// Plays it on a cluster, and gives what was counted.
fn play(settings: &[(&str, u64)]) -> Outcome<Value> {
    let ready = cluster::up(&Wanted {
        fast: true,
        ..Wanted::new(NodeKind::Kwok)
    })?;
    let tally = workspace::target().join("kills.json");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace::root())
        .envs(settings.iter().map(|(name, number)| (name, number.to_string())))
        .env("ASTERN_KILLS_TALLY", &tally)
        .env("ASTERN_TEST_KUBECONFIG", &ready.kubeconfig)
        .env("ASTERN_TEST_NODE", NodeKind::Kwok.to_string())
        .env("PATH", programs::path_with_kubectl()?)
        .args(["test", "--release", "--package", "astern", "--test", "kwok", "--"])
        .args([TEST, "--nocapture"]);
    let played = process::run(&mut command);
    if !ready.was_up {
        cluster::down(&NodeKind::Kwok.to_string())?;
    }
    played?;
    let told = std::fs::read_to_string(&tally).map_err(doing(format!("read {}", tally.display())))?;
    serde_json::from_str(&told).map_err(|error| Failure::new(format!("the test gave no counts: {error}")))
}
