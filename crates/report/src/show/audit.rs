//! Whether the platform could be taken back tonight: the answer, each workload's way back, and what stands in it.

use super::finding::{findings_about, findings_markdown};
use crate::line::{Line, LineKind, part, parts};
use crate::table::Table;
use crate::visible::{code, prose};
use crate::word;
use astern_model::audit::{Audit, Readiness};
use astern_model::choice::clock;
use astern_model::finding::{Finding, Severity};
use astern_model::target::Target;
use std::collections::BTreeSet;

/// The audit (`astern audit`).
pub fn audit_lines(audit: &Audit) -> Vec<Line> {
    let targets: BTreeSet<&Target> = audit.workloads.iter().map(|one| &one.target).collect();
    let found = |severity| match of(audit, severity).as_slice() {
        [] => Vec::new(),
        findings => findings_about(findings, &targets),
    };
    let unread = audit.unread.iter();
    let kind = if audit.ready {
        LineKind::Good
    } else {
        LineKind::Bad
    };
    parts([
        vec![
            Line::new(kind, answer(audit)),
            Line::new(LineKind::Dim, seen(audit)),
        ],
        table(audit, str::to_owned, str::to_owned).lines(),
        part(STOPS, found(Severity::Refuse)),
        part(UNSURE, found(Severity::Warn)),
        part(
            UNREAD,
            unread
                .map(|unread| Line::new(LineKind::Warn, format!("? {unread}")))
                .collect(),
        ),
    ])
}

/// The same in Markdown.
pub fn audit_markdown(audit: &Audit) -> String {
    let mut text = format!("# {}\n\n{}\n\n", prose(&answer(audit)), prose(&seen(audit)));
    text.push_str(&table(audit, code, prose).markdown());
    for (head, severity) in [(STOPS, Severity::Refuse), (UNSURE, Severity::Warn)] {
        let findings = of(audit, severity);
        if !findings.is_empty() {
            text.push_str(&format!("\n## {head}\n\n{}", findings_markdown(&findings)));
        }
    }
    if !audit.unread.is_empty() {
        text.push_str(&format!("\n## {UNREAD}\n\n"));
        text.extend(audit.unread.iter().map(|unread| format!("- {}\n", prose(unread))));
    }
    text
}

const STOPS: &str = "What would stop a rollback";
const UNSURE: &str = "What makes one less sure";
const UNREAD: &str = "What is not known";

fn of(audit: &Audit, severity: Severity) -> Vec<Finding> {
    let findings = audit.findings.iter();
    findings
        .filter(|finding| finding.severity == severity)
        .cloned()
        .collect()
}

fn answer(audit: &Audit) -> String {
    if !audit.ready {
        return "✗ not ready: a rollback would be refused now".to_owned();
    }
    let ready = match audit.workloads.as_slice() {
        [_, ..] if audit.workloads.iter().all(has_nothing_yet) => {
            "✓ nothing to take back before the next release, which can be taken back to what runs now"
        }
        _ => "✓ ready: nothing would stop a rollback now",
    };
    match of(audit, Severity::Warn).len() {
        0 => ready.to_owned(),
        many => format!("{ready}; {} to read", word::plural(many as u64, "warning")),
    }
}

fn seen(audit: &Audit) -> String {
    format!(
        "{} in namespace {}, seen at {}; nothing was changed",
        audit.platform,
        audit.namespace,
        clock(audit.at)
    )
}

fn table(audit: &Audit, name: fn(&str) -> String, sentence: fn(&str) -> String) -> Table {
    let mut table = Table::new(&["READY", "WORKLOAD", "RUNS", "GOOD", "GOES BACK TO", "WHY"]);
    for one in &audit.workloads {
        let (kind, ready) = ready(audit, one);
        let (to, why) = match &one.goes_back_to {
            Some(good) => (
                name(&format!("{} ({})", good.revision.version, good.revision.label())),
                sentence(&good.because.sentence()),
            ),
            None => ("-".to_owned(), without(one)),
        };
        let cells = [
            ready.to_owned(),
            name(&one.target.to_string()),
            name(&one.version),
            one.good_revisions.to_string(),
            to,
            why,
        ];
        table.row(kind, cells);
    }
    table
}

/// Why there is nothing to go back to.
fn without(one: &Readiness) -> String {
    match &one.restored_by {
        _ if one.first_version => "it has had one version only".to_owned(),
        Some(run) => format!("run {run} went back to what it runs"),
        None => "no earlier revision is known to be good".to_owned(),
    }
}

/// Whether there is nothing to take back before its next release.
fn has_nothing_yet(one: &Readiness) -> bool {
    one.first_version || one.restored_by.is_some()
}

fn ready(audit: &Audit, one: &Readiness) -> (LineKind, &'static str) {
    match audit.gravest(&one.target) {
        Some(Severity::Refuse) => (LineKind::Bad, "✗ no"),
        _ if has_nothing_yet(one) => (LineKind::Dim, "· nothing yet"),
        Some(Severity::Warn) => (LineKind::Warn, "! yes, but"),
        None => (LineKind::Good, "✓ yes"),
    }
}
