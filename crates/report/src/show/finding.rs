//! The gate's findings: refusals first, each with what can be done about it.

use super::likewise::grouped;
use crate::line::{Line, LineKind, joined};
use crate::visible::{code, prose};
use crate::word;
use astern_model::finding::{Finding, Severity};
use astern_model::target::Target;
use std::collections::BTreeSet;

/// One finding a paragraph; a sentence where there is none.
pub fn findings_text(findings: &[Finding]) -> String {
    joined(&findings_lines(findings))
}

/// [`findings_text`] as lines.
pub fn findings_lines(findings: &[Finding]) -> Vec<Line> {
    if findings.is_empty() {
        return vec![Line::new(LineKind::Good, format!("✓ {NOTHING}"))];
    }
    ordered(findings).into_iter().flat_map(lines).collect()
}

/// Findings in a plan: what the gate says of several of its workloads is told once. The same sentence
/// as elsewhere where it says nothing.
pub(super) fn findings_about(findings: &[Finding], targets: &BTreeSet<&Target>) -> Vec<Line> {
    if findings.is_empty() {
        return findings_lines(findings);
    }
    let ordered: Vec<&Finding> = ordered(findings);
    let text = |finding: &&Finding| {
        let about = finding
            .target
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        format!(
            "{} {} {about}: {} {}",
            word::severity(finding.severity),
            finding.code,
            finding.message,
            finding.hint
        )
    };
    grouped(&ordered, targets, text)
        .iter()
        .flat_map(|told| {
            let others = told
                .others()
                .map(|others| Line::new(LineKind::Dim, format!("    {others}")));
            lines(told.first).into_iter().chain(others)
        })
        .collect()
}

/// The findings as a Markdown list.
pub fn findings_markdown(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return format!("{NOTHING}\n");
    }
    ordered(findings).into_iter().map(item).collect()
}

const NOTHING: &str = "The gate found nothing to say.";

fn lines(finding: &Finding) -> Vec<Line> {
    let kind = match finding.severity {
        Severity::Refuse => LineKind::Bad,
        Severity::Warn => LineKind::Warn,
    };
    let about = finding
        .target
        .as_ref()
        .map(|target| format!("{target}: "))
        .unwrap_or_default();
    let severity = word::severity(finding.severity);
    let mut lines = vec![Line::new(
        kind,
        format!("{severity} {}  {about}{}", finding.code, finding.message),
    )];
    if !finding.hint.is_empty() {
        lines.push(Line::new(LineKind::Text, format!("    {}", &finding.hint)));
    }
    lines
}

fn item(finding: &Finding) -> String {
    let about = finding
        .target
        .as_ref()
        .map(|target| format!("{}: ", code(&target.to_string())))
        .unwrap_or_default();
    let hint = if finding.hint.is_empty() {
        String::new()
    } else {
        format!("  \n  {}", prose(&finding.hint))
    };
    let severity = word::severity(finding.severity);
    format!(
        "- **{severity}** {} {about}{}{hint}\n",
        code(&finding.code),
        prose(&finding.message)
    )
}

/// Refusals before warnings, otherwise as the gate gave them.
fn ordered(findings: &[Finding]) -> Vec<&Finding> {
    let mut ordered: Vec<&Finding> = findings.iter().collect();
    ordered.sort_by_key(|finding| finding.severity);
    ordered
}
