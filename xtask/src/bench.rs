//! `cargo xtask bench`: the figures that astern must reach, as ratios measured in one run. It measures and is no
//! test: a missed bar is said, and the exit code stays 0.

mod audit;
mod cold;
mod delay;
mod floor;
mod ground;
mod helm;
mod ledger;
mod many;
mod one;
mod planning;
mod recording;
mod sample;
mod sim;
mod table;
mod taken;

use std::process::Command;
use std::time::Instant;

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};
use crate::{process, workspace};
use ground::Ground;
use table::{Row, Table};

const HELP: &str = "\
The figures that astern must reach: ratios, measured in turns on clusters of the bench's own.

Usage: cargo xtask bench [--only NAME] [--runs N]

Options:
  --only NAME   One measure: cold, one, fifty, waves, default, planning, journal, sim,
                ledger, helm
  --runs N      Pairs of each measure, in turns [5]

Every ratio is the median of the pairs' own ratios, with the smallest and the largest behind it.
Exit code 0 also when a bar is missed; the last line says so.";

/// The least that shows a spread.
const RUNS: usize = 5;
const FAST: &str = "bench-fast";
const DEFAULT: &str = "bench-default";
/// `one` is the last on its cluster: it leaves five hundred kinds and a hanging node there.
const MEASURES: [&str; 10] = [
    "cold", "fifty", "waves", "journal", "ledger", "helm", "one", "planning", "sim", "default",
];

pub(crate) fn main(mut arguments: Arguments) -> Outcome {
    if arguments.help() {
        println!("{HELP}");
        return Ok(());
    }
    let only = arguments.value("--only")?;
    let runs = match arguments.value("--runs")? {
        None => RUNS,
        Some(text) => text
            .parse()
            .ok()
            .filter(|runs| *runs > 0)
            .ok_or_else(|| usage(format!("--runs is a number above 0, not `{text}`")))?,
    };
    arguments.end()?;
    if let Some(name) = only.as_deref().filter(|name| !MEASURES.contains(name)) {
        return Err(usage(format!("`{name}` is no measure")));
    }
    let wanted: Vec<&str> = MEASURES
        .into_iter()
        .filter(|name| only.as_deref().is_none_or(|only| only == *name))
        .collect();
    println!("{}", Table(all(&wanted, runs)?));
    Ok(())
}

fn usage(what: String) -> Failure {
    Failure::usage(what, "cargo xtask bench --help")
}

fn all(wanted: &[&str], runs: usize) -> Outcome<Vec<Row>> {
    process::run(
        Command::new("cargo")
            .args(["build", "--quiet", "--release", "--package", "astern"])
            .current_dir(workspace::root()),
    )?;
    let mut rows = Vec::new();
    let (mut fast, mut default) = (None, None);
    for name in wanted {
        eprintln!("measuring: {name}");
        let start = Instant::now();
        rows.extend(match *name {
            "cold" => cold::measure(up(&mut fast, FAST, true)?, runs)?,
            "fifty" => many::independent(up(&mut fast, FAST, true)?, runs)?,
            "waves" => many::in_waves(up(&mut fast, FAST, true)?, runs)?,
            "journal" => recording::measure(up(&mut fast, FAST, true)?, runs)?,
            "ledger" => ledger::measure(up(&mut fast, FAST, true)?, runs)?,
            "helm" => helm::measure(up(&mut fast, FAST, true)?, runs)?,
            "one" => one::measure(up(&mut fast, FAST, true)?, runs)?,
            "default" => {
                // Two control planes at once would share the processors.
                fast = None;
                many::at_default_limits(up(&mut default, DEFAULT, false)?)?
            }
            "sim" => sim::measure(runs)?,
            _ => planning::measure(runs)?,
        });
        eprintln!("measured {name} in {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(rows)
}

fn up<'a>(ground: &'a mut Option<Ground>, name: &str, fast: bool) -> Outcome<&'a Ground> {
    match ground {
        Some(ground) => Ok(ground),
        none => Ok(none.insert(Ground::up(name, fast)?)),
    }
}
