//! `cargo xtask sim`: builds the simulation and plays seeds with it; with `--record`, adds what was counted to the
//! document. What a run is, and what is wrong with one, is the simulation's own affair.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};
use crate::recorded::{Recorded, grouped};
use crate::{process, workspace};

const RECORDED: Recorded = Recorded {
    counts: "docs/simulation.json",
    document: "docs/simulation.md",
    begin: "<!-- recorded: cargo xtask sim --record -->\n",
    seeds: "seeds",
    numbers: &["seeds", "virtualHours", "writes"],
    tables: &[
        ("faults", "fault that struck", "times"),
        ("rests", "how all runs of a seed ended", "runs"),
        ("transitions", "state of a step → what came after it", "runs"),
    ],
};

pub(crate) fn main(mut arguments: Arguments) -> Outcome {
    let record = arguments.flag("--record");
    let mut words = arguments.rest();
    let program = build()?;
    if !record {
        return process::run(Command::new(program).args(words));
    }
    let all = RECORDED.read()?;
    if !words.iter().any(|word| word == "--from") {
        // Each sitting goes on where the last one ended.
        let from = all["until"].as_u64().unwrap_or_default();
        words.extend(["--from".to_owned(), from.to_string()]);
    }
    words.push("--json".to_owned());
    let text = process::read(Command::new(program).args(&words))?;
    let sitting: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("the simulation gave no counts: {error}")))?;
    let all = RECORDED.add(all, &sitting, |all| {
        format!(
            "{} runs, {} hours of cluster life, {} writes that the API server took.",
            grouped(&all["seeds"]),
            grouped(&all["virtualHours"]),
            grouped(&all["writes"])
        )
    })?;
    println!("{} runs recorded in {}", all["seeds"], RECORDED.document);
    Ok(())
}

/// The program, with the defects that it can plant.
pub(crate) fn build() -> Outcome<PathBuf> {
    process::run(
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "astern-sim",
                "--features",
                "planted",
            ])
            .current_dir(workspace::root()),
    )?;
    Ok(workspace::target().join("release/astern-sim"))
}

#[cfg(test)]
mod tests {
    use super::RECORDED;
    use crate::workspace;

    #[test]
    fn the_document_tells_what_was_counted() {
        let all = RECORDED.read().unwrap();
        let document = std::fs::read_to_string(workspace::root().join(RECORDED.document)).unwrap();
        assert!(
            document.contains(&RECORDED.tables(&all)),
            "{}",
            RECORDED.tables(&all)
        );
    }
}
