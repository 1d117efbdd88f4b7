//! Counts over many runs, and how they are told.

use crate::{Played, Rest, seed};
use astern_model::record::Outcome;
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counts over many runs.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Runs.
    pub seeds: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How they came to rest.
    pub rests: BTreeMap<String, u64>,
    /// Statuses and the events after them, with how many runs had them.
    pub transitions: BTreeMap<(&'static str, &'static str), u64>,
    /// Virtual time.
    pub took: SignedDuration,
    /// Writes.
    pub writes: u64,
}

impl Tally {
    /// Adds one run.
    pub fn add(&mut self, played: &Played) {
        let faults = seed::drawn(played.seed).faults;
        self.seeds += 1;
        for place in &played.met {
            if let Some(fault) = faults.get(*place) {
                *self.faults.entry(fault.word()).or_default() += 1;
            }
        }
        let rest = match &played.rest {
            Rest::Over(outcomes) => outcomes.iter().map(outcome).collect::<Vec<_>>().join(", "),
            Rest::Refused(_) => "refused".to_owned(),
            Rest::Held(_) => "held".to_owned(),
            Rest::Never(_) => "never".to_owned(),
        };
        *self.rests.entry(rest).or_default() += 1;
        for pair in &played.transitions {
            *self.transitions.entry(*pair).or_default() += 1;
        }
        self.took += played.took;
        self.writes += played.writes as u64;
    }

    /// Adds what another one counted.
    pub fn join(&mut self, other: Self) {
        self.seeds += other.seeds;
        for (word, count) in other.faults {
            *self.faults.entry(word).or_default() += count;
        }
        for (word, count) in other.rests {
            *self.rests.entry(word).or_default() += count;
        }
        for (pair, count) in other.transitions {
            *self.transitions.entry(pair).or_default() += count;
        }
        self.took += other.took;
        self.writes += other.writes;
    }

    /// The same for a program, with how long processors worked on it.
    pub fn json(&self, from: u64, worked: Duration) -> Value {
        let counts = |counts: Vec<(String, u64)>| -> Map<String, Value> {
            counts
                .into_iter()
                .map(|(word, count)| (word, json!(count)))
                .collect()
        };
        json!({
            "from": from,
            "seeds": self.seeds,
            "processorSeconds": worked.as_secs_f64(),
            "virtualHours": self.took.as_hours(),
            "writes": self.writes,
            "faults": counts(self.faults.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()),
            "rests": counts(self.rests.iter().map(|(word, count)| (word.clone(), *count)).collect()),
            "transitions": counts(self.transitions.iter().map(|((status, event), count)| (format!("{status} → {event}"), *count)).collect()),
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults that struck:")?;
        for (word, count) in &self.faults {
            writeln!(f, "  {count:>9}  {word}")?;
        }
        writeln!(f, "how it came to rest:")?;
        for (word, count) in &self.rests {
            writeln!(f, "  {count:>9}  {word}")?;
        }
        writeln!(f, "what came after which state of a step, in how many runs:")?;
        for ((status, event), count) in &self.transitions {
            writeln!(f, "  {count:>9}  {status} → {event}")?;
        }
        write!(
            f,
            "{} hours of cluster life, {} writes",
            self.took.as_hours(),
            self.writes
        )
    }
}

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Restored => "restored",
        Outcome::Unwound { .. } => "unwound",
        Outcome::Stuck { .. } => "stuck",
        Outcome::Superseded { .. } => "superseded",
    }
}
