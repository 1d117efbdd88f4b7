//! `cargo xtask sim`: builds the simulation and plays seeds with it; with `--record`, adds what was counted to the
//! document. What a run is, and what is wrong with one, is the simulation's own affair.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome, doing};
use crate::{process, workspace};

/// What was counted over all sittings.
const COUNTS: &str = "docs/simulation.json";
/// Where people read it; between the two marks it is written by this command.
const DOCUMENT: &str = "docs/simulation.md";
const BEGIN: &str = "<!-- recorded: cargo xtask sim --record -->\n";
const END: &str = "<!-- end -->\n";

pub(crate) fn main(mut arguments: Arguments) -> Outcome {
    let record = arguments.flag("--record");
    let mut words = arguments.rest();
    let program = build()?;
    if !record {
        return process::run(Command::new(program).args(words));
    }
    let mut all = counts()?;
    if !words.iter().any(|word| word == "--from") {
        // Each sitting goes on where the last one ended.
        let from = all["until"].as_u64().unwrap_or_default();
        words.extend(["--from".to_owned(), from.to_string()]);
    }
    words.push("--json".to_owned());
    let text = process::read(Command::new(program).args(&words))?;
    let sitting: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("the simulation gave no counts: {error}")))?;
    add(&mut all, &sitting);
    let told = serde_json::to_string_pretty(&all).unwrap_or_default();
    std::fs::write(workspace::root().join(COUNTS), told + "\n").map_err(doing(format!("write {COUNTS}")))?;
    write_document(&all)?;
    println!("{} runs recorded in {DOCUMENT}", all["seeds"]);
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

fn counts() -> Outcome<Value> {
    let path = workspace::root().join(COUNTS);
    if !path.exists() {
        return Ok(json!({}));
    }
    let text = std::fs::read_to_string(&path).map_err(doing(format!("read {COUNTS}")))?;
    serde_json::from_str(&text).map_err(|error| Failure::new(format!("{COUNTS} is no JSON: {error}")))
}

/// Adds one sitting's counts, number by number.
fn add(all: &mut Value, sitting: &Value) {
    let sum =
        |one: &Value, other: &Value| one.as_u64().unwrap_or_default() + other.as_u64().unwrap_or_default();
    for name in ["seeds", "virtualHours", "writes"] {
        all[name] = json!(sum(&all[name], &sitting[name]));
    }
    all["until"] = json!(sum(&sitting["from"], &sitting["seeds"]));
    for name in ["faults", "rests", "transitions"] {
        let mut counts: Map<String, Value> = all[name].as_object().cloned().unwrap_or_default();
        for (word, count) in sitting[name].as_object().into_iter().flatten() {
            let before = counts.get(word).cloned().unwrap_or_default();
            counts.insert(word.clone(), json!(sum(&before, count)));
        }
        all[name] = Value::Object(counts);
    }
}

fn write_document(all: &Value) -> Outcome {
    let path = workspace::root().join(DOCUMENT);
    let text = std::fs::read_to_string(&path).map_err(doing(format!("read {DOCUMENT}")))?;
    let marked = || Failure::new(format!("{DOCUMENT} has lost the marks around what is recorded"));
    let (head, rest) = text.split_once(BEGIN).ok_or_else(marked)?;
    let (_, tail) = rest.split_once(END).ok_or_else(marked)?;
    let written = format!("{head}{BEGIN}{}{END}{tail}", tables(all));
    std::fs::write(&path, written).map_err(doing(format!("write {DOCUMENT}")))
}

fn tables(all: &Value) -> String {
    let mut told = format!(
        "\n{} runs, {} hours of cluster life, {} writes that the API server took.\n",
        grouped(&all["seeds"]),
        grouped(&all["virtualHours"]),
        grouped(&all["writes"])
    );
    for (name, title) in [
        ("faults", "fault that struck"),
        ("rests", "how all runs of a seed ended"),
        ("transitions", "state of a step → what came after it"),
    ] {
        let _ = write!(
            told,
            "\n| {title} | {} |\n|---|---:|\n",
            if name == "faults" { "times" } else { "runs" }
        );
        let counts: BTreeMap<&String, &Value> = all[name].as_object().into_iter().flatten().collect();
        for (word, count) in counts {
            let _ = writeln!(told, "| {word} | {} |", grouped(count));
        }
    }
    told.push('\n');
    told
}

/// A number with its thousands apart.
fn grouped(number: &Value) -> String {
    let digits = number.as_u64().unwrap_or_default().to_string();
    let first = digits.len() % 3;
    let mut told = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !told.is_empty() {
            told.push(',');
        }
        told.push_str(&String::from_utf8_lossy(group));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::{add, grouped};
    use serde_json::json;

    #[test]
    fn sittings_are_added_up() {
        let mut all = json!({});
        add(&mut all, &json!({"seeds": 3, "from": 0, "faults": {"a": 1}}));
        add(
            &mut all,
            &json!({"seeds": 4, "from": 3, "faults": {"a": 2, "b": 5}}),
        );
        assert_eq!(all["seeds"], 7);
        assert_eq!(all["until"], 7);
        assert_eq!(all["faults"], json!({"a": 3, "b": 5}));
    }

    #[test]
    fn numbers_are_told_in_thousands() {
        for (number, told) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(&json!(number)), told);
        }
    }
}
