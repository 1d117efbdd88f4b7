//! How fast whole runs are simulated, and how fast the sandbox beneath them takes writes; both on one processor.

use std::process::Command;

use serde_json::Value;

use super::sample::Sample;
use super::table::{Bar, Row};
use crate::failure::{Failure, Outcome};
use crate::{process, sim, workspace};

/// Enough of them that what happens to run long does not count much.
const SEEDS: &str = "1000";

pub(super) fn measure(runs: usize) -> Outcome<Vec<Row>> {
    let program = sim::build()?;
    let (mut run, mut write) = (Sample::default(), Sample::default());
    for _ in 0..runs {
        let text = process::read(Command::new(&program).args([
            "--services",
            "--jobs",
            "1",
            "--json",
            "--seeds",
            SEEDS,
        ]))?;
        let told: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("the simulation gave no counts: {error}")))?;
        let number = |name: &str| told.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        run.add(thousandths(number("processorSeconds") * 1000.0 / number("seeds")));
        write.add(thousandths(1_000_000.0 / writes_a_second()?));
    }
    Ok(vec![
        Row::count("a simulated run of four services", "ms", &run, Bar::AtMost(10.0)),
        Row::count(
            "a write to the sandbox, in process",
            "µs",
            &write,
            Bar::AtMost(50.0),
        ),
    ])
}

/// The first line of the sandbox's own measure: `52480 writes a second`.
fn writes_a_second() -> Outcome<f64> {
    let text = process::read(
        Command::new("cargo")
            .args([
                "run",
                "--quiet",
                "--release",
                "--package",
                "astern-sandbox",
                "--example",
                "load",
            ])
            .current_dir(workspace::root()),
    )?;
    let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
    first.ok_or_else(|| Failure::new("the sandbox's measure told no number of writes"))
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
