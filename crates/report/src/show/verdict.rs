//! The verdict as a checklist. Unknown is shown as unknown and counts as not passed.

use crate::line::{Line, LineKind, joined};
use crate::table::Table;
use crate::visible::{code, prose};
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::verdict::{CheckResult, Item, Verdict};
use std::collections::BTreeSet;

/// With more checks than this, workloads that passed all of theirs are told in one row each; Markdown, HTML and JSON
/// list all.
const WHOLE_CHECKS: usize = 12;
/// The check that speaks for a workload which passed all.
pub(super) const SERVING: &str = "pods serving";

/// The word over all items, then a row for each.
pub fn verdict_text(verdict: &Verdict) -> String {
    joined(&verdict_lines(verdict))
}

/// [`verdict_text`] as lines.
pub fn verdict_lines(verdict: &Verdict) -> Vec<Line> {
    let kind = if verdict.passes() {
        LineKind::Good
    } else {
        LineKind::Bad
    };
    let mut lines = vec![
        Line::new(kind, summary(verdict)),
        Line::new(LineKind::Dim, window(verdict)),
        Line::blank(),
    ];
    let mut table = Table::new(&["RESULT", "KIND/NAME", "CHECK", "EVIDENCE"]);
    for row in rows(verdict) {
        let cells = [word::check(row.result), &row.target, &row.check, row.evidence];
        table.row(word::kind(word::check_tone(row.result)), cells);
    }
    lines.extend(table.lines());
    lines
}

struct Row<'a> {
    result: CheckResult,
    target: String,
    check: String,
    evidence: &'a str,
}

/// An item each. Of a long checklist, a workload that passed everything is one row: what failed must not drown in it.
fn rows(verdict: &Verdict) -> Vec<Row<'_>> {
    let whole = verdict.items.len() <= WHOLE_CHECKS;
    let mut rows = Vec::new();
    let mut told = BTreeSet::new();
    for item in &verdict.items {
        let own: Vec<&Item> = verdict
            .items
            .iter()
            .filter(|other| other.target == item.target)
            .collect();
        let passed = own.iter().all(|item| item.result == CheckResult::Pass);
        if whole || !passed {
            rows.push(Row {
                result: item.result,
                target: item.target.to_string(),
                check: item.check.clone(),
                evidence: &item.evidence,
            });
        } else if told.insert(&item.target) {
            rows.push(Row {
                result: CheckResult::Pass,
                target: item.target.to_string(),
                check: format!("all {}", word::plural(own.len() as u64, "check")),
                evidence: own
                    .iter()
                    .find(|item| item.check == SERVING)
                    .unwrap_or(&item)
                    .evidence
                    .as_str(),
            });
        }
    }
    rows
}

/// The same in Markdown.
pub fn verdict_markdown(verdict: &Verdict) -> String {
    let mut table = Table::new(&["Result", "Workload", "Check", "Evidence"]);
    for item in &verdict.items {
        let cells = vec![
            word::check(item.result).to_owned(),
            code(&item.target.to_string()),
            prose(&item.check),
            prose(&item.evidence),
        ];
        table.row(LineKind::Text, cells);
    }
    format!(
        "**{}** {}\n\n{}",
        summary(verdict),
        window(verdict),
        table.markdown()
    )
}

/// `✓ passed: 9 of 9 checks`; what did not pass is counted by how it came out.
pub(crate) fn summary(verdict: &Verdict) -> String {
    let count = |result| verdict.items.iter().filter(|item| item.result == result).count();
    let (pass, fail, unknown) = (
        count(CheckResult::Pass),
        count(CheckResult::Fail),
        count(CheckResult::Unknown),
    );
    let all = word::plural(verdict.items.len() as u64, "check");
    if verdict.passes() {
        return format!("✓ passed: {pass} of {all}");
    }
    let counted = [(fail, "failed"), (unknown, "unknown")];
    let counted: Vec<String> = counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, how)| format!("{count} {how}"))
        .collect();
    format!("✗ not passed: {} of {all} ({pass} passed)", counted.join(", "))
}

/// Over which window, and how long it held.
pub(crate) fn window(verdict: &Verdict) -> String {
    format!(
        "Held for {}, judged from {} to {}.",
        human(verdict.held_for),
        clock(verdict.from),
        clock(verdict.to)
    )
}
