//! Whether a rollback is right, with the rows of the matrix that said so; and the refusal, which is a planned answer.

use crate::choice::Choice;
use crate::policy::Say;
use crate::target::Target;
use serde::{Deserialize, Serialize};

/// The matrix's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The gravest answer among the rows that fired.
    pub say: Say,
    /// The rows that fired, in the matrix's order.
    pub fired: Vec<Fired>,
}

/// A row that fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fired {
    /// The row's id.
    pub row: String,
    /// What it says.
    pub say: Say,
    /// The row's sentence.
    pub because: String,
    /// For which workloads, each with the phrase that made it fire.
    pub on: Vec<(Target, String)>,
}

/// Why there is no plan. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The error code, which has a page: `AST0101`.
    pub code: String,
    /// One sentence.
    pub summary: String,
    /// What it rests on, a sentence each.
    pub details: Vec<String>,
    /// What there is to choose from, where that is the matter.
    pub choices: Vec<Choice>,
    /// The ways out, each something that a person can type or do.
    pub ways_out: Vec<String>,
}
