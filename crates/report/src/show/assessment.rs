//! The assessment: one line a workload, columns as kubectl prints them.

use crate::line::{Line, joined};
use crate::table::Table;
use crate::visible::{code, prose};
use crate::word;
use astern_model::assessment::{Assessment, Health, WorkloadAssessment};
use astern_model::choice::human;

const COLUMNS: [&str; 8] = [
    "KIND/NAME",
    "VERSION",
    "DIGEST",
    "REVISION",
    "READY",
    "AGE",
    "STATE",
    "REASON",
];

/// What stands where the cluster does not tell.
const NOT_KNOWN: &str = "unknown";

/// A table with a row for each workload; a sentence where there is none.
pub fn assessment_text(assessment: &Assessment) -> String {
    joined(&assessment_lines(assessment))
}

/// [`assessment_text`] as lines, whose kinds follow from the workloads' states.
pub fn assessment_lines(assessment: &Assessment) -> Vec<Line> {
    if assessment.workloads.is_empty() {
        return vec![Line::new(crate::LineKind::Warn, NO_WORKLOADS)];
    }
    let mut table = Table::new(&COLUMNS);
    for entry in &assessment.workloads {
        table.row(line_kind(entry.state), cells(entry));
    }
    table.lines()
}

/// The same table in Markdown.
pub fn assessment_markdown(assessment: &Assessment) -> String {
    if assessment.workloads.is_empty() {
        return format!("{NO_WORKLOADS}\n");
    }
    let mut table = Table::new(&[
        "Workload", "Version", "Digest", "Revision", "Ready", "Age", "State", "Reason",
    ]);
    for entry in &assessment.workloads {
        let [name, version, digest, revision, ready, age, state, reason] = cells(entry);
        let cells = vec![
            code(&name),
            code(&version),
            code(&digest),
            revision,
            ready,
            age,
            prose(&state),
            prose(&reason),
        ];
        table.row(line_kind(entry.state), cells);
    }
    table.markdown()
}

const NO_WORKLOADS: &str = "There are no workloads in scope.";

fn cells(entry: &WorkloadAssessment) -> [String; 8] {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| NOT_KNOWN.to_owned());
    [
        entry.target.to_string(),
        entry.version.clone(),
        or_unknown(entry.digest.as_deref().map(word::digest)),
        or_unknown(entry.revision.map(|revision| revision.to_string())),
        format!("{}/{}", entry.ready, entry.desired),
        or_unknown(entry.age.map(human)),
        word::health(entry.state),
        reason(entry),
    ]
}

/// The reason, and who still serves beside the version that fails.
fn reason(entry: &WorkloadAssessment) -> String {
    if entry.former_ready == 0 {
        return entry.reason.clone();
    }
    let still = format!(
        "{} of an earlier version ready",
        word::plural(u64::from(entry.former_ready), "pod")
    );
    if entry.reason.is_empty() {
        still
    } else {
        format!("{}; {still}", entry.reason)
    }
}

fn line_kind(health: Health) -> crate::LineKind {
    word::kind(word::health_tone(health))
}
