//! The decision: the rows of the policy's matrix that fire over an assessment, and the gravest answer among them.
//! Owns the order of gravity; what a person or `--yes` may override is the planner's.

use crate::phrase;
use astern_model::assessment::{Assessment, WorkloadAssessment};
use astern_model::choice::Choice;
use astern_model::decision::{Decision, Fired};
use astern_model::policy::{Policy, Row, Say, When};
use astern_model::target::Target;
use std::collections::BTreeSet;

/// Decides about the workloads that `choices` names; with no choices, about every workload of the assessment. All rows
/// that hold fire. "Do not" is graver than "roll back", which is graver than "ask": missing evidence about one thing
/// does not stand in the way of what is plain about another. When no row fires the answer is "ask".
pub fn decide(assessment: &Assessment, choices: &[Choice], policy: &Policy) -> Decision {
    let about = choices.iter().map(|choice| &choice.target).collect();
    decide_about(assessment, &about, choices, policy)
}

/// The same about these workloads, whether something was chosen for them or not.
pub(crate) fn decide_about(
    assessment: &Assessment,
    about: &BTreeSet<&Target>,
    choices: &[Choice],
    policy: &Policy,
) -> Decision {
    let entries: Vec<&WorkloadAssessment> = assessment
        .workloads
        .iter()
        .filter(|entry| about.is_empty() || about.contains(&entry.target))
        .collect();
    let fired: Vec<Fired> = policy
        .matrix
        .iter()
        .filter_map(|row| fire(row, &entries, choices))
        .collect();
    let say = fired
        .iter()
        .map(|fired| fired.say)
        .max_by_key(|say| gravity(*say))
        .unwrap_or(Say::Ask);
    Decision { say, fired }
}

/// The workloads for which a row that says "roll back" holds.
pub(crate) fn suspects<'a>(assessment: &'a Assessment, policy: &Policy) -> BTreeSet<&'a Target> {
    let against: BTreeSet<When> = policy
        .matrix
        .iter()
        .filter(|row| row.then == Say::RollBack)
        .map(|row| row.when)
        .collect();
    let is_suspect = |entry: &&WorkloadAssessment| entry.holds.iter().any(|when| against.contains(when));
    assessment
        .workloads
        .iter()
        .filter(is_suspect)
        .map(|entry| &entry.target)
        .collect()
}

fn gravity(say: Say) -> u8 {
    match say {
        Say::Ask => 0,
        Say::RollBack => 1,
        Say::DoNot => 2,
    }
}

fn fire(row: &Row, entries: &[&WorkloadAssessment], choices: &[Choice]) -> Option<Fired> {
    let holding: Vec<&&WorkloadAssessment> = entries
        .iter()
        .filter(|entry| entry.holds.contains(&row.when))
        .collect();
    // "All healthy" is about all: one healthy workload beside a failing one is no reason to ask.
    let fires = !holding.is_empty() && (row.when != When::AllHealthy || holding.len() == entries.len());
    fires.then(|| Fired {
        row: row.id.clone(),
        say: row.then,
        because: row.because.clone(),
        on: holding
            .iter()
            .map(|entry| {
                let chosen = choices.iter().find(|choice| choice.target == entry.target);
                (entry.target.clone(), phrase::why(entry, chosen, row.when))
            })
            .collect(),
    })
}
