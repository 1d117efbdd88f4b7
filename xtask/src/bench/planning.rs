//! Planning thousands of workloads, by the pure crates alone: an example of `plan` builds them in memory.

use std::process::Command;

use serde_json::Value;

use super::sample::Sample;
use super::table::{Bar, Row};
use crate::failure::{Failure, Outcome};
use crate::{process, workspace};

pub(super) fn measure(runs: usize) -> Outcome<Vec<Row>> {
    process::run(
        Command::new("cargo")
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "astern-plan",
                "--example",
                "plan_many",
            ])
            .current_dir(workspace::root()),
    )?;
    let (mut took, mut grew) = (Sample::default(), Sample::default());
    for _ in 0..runs {
        let text = process::read(&mut Command::new(
            workspace::target().join("release/examples/plan_many"),
        ))?;
        let told: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("plan_many gave no JSON: {error}")))?;
        let number = |name: &str| told.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        took.add(number("seconds"));
        grew.add(number("mebibytes"));
    }
    Ok(vec![
        Row::count("planning 5,000 workloads", "s", &took, Bar::AtMost(2.0)),
        Row::count(
            "planning 5,000 workloads: memory beyond reading them",
            "MiB",
            &grew,
            Bar::AtMost(300.0),
        ),
    ])
}
