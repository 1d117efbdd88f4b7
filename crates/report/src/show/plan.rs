//! A plan for a terminal, in the order that every plan has: where, how much, the steps, what it does not change, what
//! will count as recovered, forecast against the budget. What must be read before saying yes comes last, beside the
//! question.

use super::finding::findings_lines;
use crate::line::{Line, LineKind, joined, part, parts};
use crate::word;
use astern_model::choice::{KnownGood, clock, human};
use astern_model::decision::Fired;
use astern_model::diff::Change;
use astern_model::finding::{Finding, Severity};
use astern_model::id::{PlanHash, StepId};
use astern_model::plan::{Intent, Plan, TargetChanges};
use astern_model::reversal::Reversal;
use astern_model::step::{Spec, Step, workload};
use std::collections::BTreeMap;

/// Changed places that are listed for one workload; the rest is counted. Markdown, HTML and JSON list all.
const PLACES: usize = 12;

/// The plan with the gate's findings as text.
pub fn plan_text(plan: &Plan, findings: &[Finding], hash: &PlanHash) -> String {
    joined(&plan_lines(plan, findings, hash))
}

/// [`plan_text`] as lines.
pub fn plan_lines(plan: &Plan, findings: &[Finding], hash: &PlanHash) -> Vec<Line> {
    parts([
        place(plan),
        counts(plan, findings),
        part(
            format!("Decision: {}", word::say(plan.decision.say)),
            decision(plan),
        ),
        part("Back to", back_to(plan)),
        part("Steps", steps(plan)),
        part("What changes", changes(plan)),
        part("It does not change", sentences(&plan.unchanged)),
        part(
            format!(
                "It counts as recovered when this holds for {}",
                human(plan.recovered_when.soak)
            ),
            sentences(&crate::tell::criteria(plan)),
        ),
        forecast(plan),
        part("Before you say yes", before_yes(plan, findings)),
        vec![
            Line::new(LineKind::Dim, format!("Plan {hash}")),
            Line::new(
                LineKind::Dim,
                format!(
                    "made {}, to be started before {}",
                    clock(plan.made_at),
                    clock(plan.expires_at)
                ),
            ),
        ],
    ])
}

/// The title, then cluster, context, namespace and user.
fn place(plan: &Plan) -> Vec<Line> {
    let cluster = &plan.cluster;
    let rows = [
        (
            "cluster",
            format!(
                "{}, {} at {}",
                word::identity(&cluster.identity),
                cluster.version,
                cluster.server
            ),
        ),
        ("context", cluster.context.clone()),
        ("namespace", plan.namespace.clone()),
        ("user", cluster.user.clone()),
    ];
    let rows = rows
        .iter()
        .map(|(name, value)| Line::new(LineKind::Text, format!("  {name:<11}{}", value)));
    std::iter::once(Line::new(LineKind::Title, title(plan)))
        .chain(rows)
        .collect()
}

pub(super) fn title(plan: &Plan) -> String {
    match &plan.intent {
        Intent::RollBack => format!("Roll back {}", plan.platform),
        Intent::Undo { run } => format!("Undo run {run} of {}", plan.platform),
    }
}

/// One line of counts, then whatever cannot be taken back, by name.
fn counts(plan: &Plan, findings: &[Finding]) -> Vec<Line> {
    let mut lines = vec![Line::new(LineKind::Head, count_line(plan, findings))];
    let losses = losses(plan);
    if losses.is_empty() {
        lines.push(Line::new(LineKind::Good, format!("✓ {NO_LOSS}")));
    }
    lines.extend(
        losses
            .into_iter()
            .map(|loss| Line::new(LineKind::Destroys, format!("! cannot be taken back: {loss}"))),
    );
    lines
}

pub(super) const NO_LOSS: &str = "every step can be taken back";

/// Each step that cannot be taken back, and what is then lost.
pub(super) fn losses(plan: &Plan) -> Vec<String> {
    let loss = |step: &Step| match &step.reversal {
        Reversal::PointOfNoReturn { lost } => Some(format!("{}: {lost}", step.spec.phrase())),
        Reversal::Exact | Reversal::Compensate { .. } | Reversal::Nothing => None,
    };
    plan.steps.iter().filter_map(loss).collect()
}

pub(super) fn count_line(plan: &Plan, findings: &[Finding]) -> String {
    let steps_like = |wanted: fn(&workload::Spec) -> bool| {
        let of = |step: &&Step| match &step.spec {
            Spec::Workload(spec) => wanted(spec),
        };
        plan.steps.iter().filter(of).count() as u64
    };
    let severe = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count() as u64
    };
    let warnings = severe(Severity::Warn) + plan.warnings.len() as u64;
    let optional = [
        (
            steps_like(|spec| matches!(spec, workload::Spec::WriteTemplate { .. })),
            "template",
            " written",
        ),
        (
            steps_like(|spec| matches!(spec, workload::Spec::SetPaused { .. })),
            "pause or resume",
            "",
        ),
        (
            steps_like(|spec| matches!(spec, workload::Spec::DeletePod { .. })),
            "pod",
            " deleted",
        ),
        (severe(Severity::Refuse), "refusal", ""),
        (warnings, "warning", ""),
    ];
    let mut counts = vec![
        word::plural(plan.targets().len() as u64, "workload"),
        format!(
            "{} in {}",
            word::plural(plan.steps.len() as u64, "step"),
            word::plural(plan.waves().len() as u64, "wave")
        ),
    ];
    let optional = optional.into_iter().filter(|(count, ..)| *count > 0);
    counts.extend(optional.map(|(count, noun, done)| match noun {
        "pause or resume" => format!("{count} × {noun}"),
        _ => format!("{}{done}", word::plural(count, noun)),
    }));
    counts.join(" · ")
}

fn decision(plan: &Plan) -> Vec<Line> {
    plan.decision.fired.iter().flat_map(fired).collect()
}

fn fired(fired: &Fired) -> Vec<Line> {
    let kind = word::kind(word::say_tone(fired.say));
    let row = format!("{}: {} (row {})", word::say(fired.say), fired.because, fired.row);
    let on = fired
        .on
        .iter()
        .map(|(target, phrase)| Line::new(LineKind::Text, format!("  {target}: {phrase}")));
    std::iter::once(Line::new(kind, row)).chain(on).collect()
}

/// For each workload: from which version to which, and why that is believed good.
fn back_to(plan: &Plan) -> Vec<Line> {
    let width = plan
        .choices
        .iter()
        .map(|choice| choice.target.to_string().len())
        .max()
        .unwrap_or_default();
    let mut lines = Vec::new();
    for choice in &plan.choices {
        let Some(KnownGood { revision, because }) = &choice.good else {
            continue;
        };
        let from = crate::tell::version_before(plan, &choice.target);
        let head = format!(
            "{:<width$}  {from} → {}, revision {} ({})",
            choice.target.to_string(),
            revision.version,
            revision.number,
            revision.name
        );
        lines.push(Line::new(LineKind::Text, &head));
        let (tone, why) = word::because(because);
        lines.push(Line::new(word::kind(tone), format!("  {why}")));
    }
    lines
}

fn steps(plan: &Plan) -> Vec<Line> {
    let numbers: BTreeMap<&StepId, usize> = plan.steps.iter().map(|step| &step.id).zip(1..).collect();
    let number = |step: &Step| numbers.get(&step.id).copied().unwrap_or_default();
    let width = plan.steps.len().to_string().len();
    let mut lines = Vec::new();
    for (place, wave) in plan.waves().into_iter().enumerate() {
        let beside = if wave.len() > 1 { ", side by side" } else { "" };
        lines.push(Line::new(LineKind::Head, format!("wave {}{beside}", place + 1)));
        for step in wave {
            lines.push(Line::new(
                LineKind::Step,
                format!("{:>width$}  {}", number(step), &step.spec.phrase()),
            ));
            let kind = match step.reversal {
                Reversal::PointOfNoReturn { .. } => LineKind::Destroys,
                Reversal::Exact | Reversal::Compensate { .. } | Reversal::Nothing => LineKind::Dim,
            };
            lines.push(Line::new(kind, format!("{:>width$}  {}", "", step_detail(step))));
        }
    }
    lines
}

/// `about 40s, from 3 earlier runs · at most 2m · can be taken back`.
pub(super) fn step_detail(step: &Step) -> String {
    let forecast = word::forecast(&step.forecast);
    format!(
        "{forecast} · at most {} · {}",
        human(step.deadline),
        word::reversal(&step.reversal)
    )
}

fn changes(plan: &Plan) -> Vec<Line> {
    plan.changes.iter().flat_map(target_changes).collect()
}

fn target_changes(of: &TargetChanges) -> Vec<Line> {
    let head = format!("{}: {} → {}", of.target, of.from_version, of.to_version);
    let mut lines = vec![Line::new(LineKind::Head, head)];
    if of.changes.is_empty() {
        lines.push(Line::new(LineKind::Dim, "  nothing in the template"));
    }
    lines.extend(of.changes.iter().take(PLACES).flat_map(change));
    if let Some(more) = of.changes.len().checked_sub(PLACES).filter(|more| *more > 0) {
        lines.push(Line::new(
            LineKind::Dim,
            format!("  … and {more} more; -o markdown and -o json list all"),
        ));
    }
    lines
}

pub(crate) fn change(change: &Change) -> Vec<Line> {
    let path = Line::new(LineKind::Text, format!("  {}", &change.path));
    let from = change
        .from
        .as_ref()
        .map(|from| Line::new(LineKind::Removed, format!("  - {}", word::shown(from))));
    let to = change
        .to
        .as_ref()
        .map(|to| Line::new(LineKind::Added, format!("  + {}", word::shown(to))));
    [Some(path), from, to].into_iter().flatten().collect()
}

fn forecast(plan: &Plan) -> Vec<Line> {
    let kind = if plan.forecast > plan.rto {
        LineKind::Bad
    } else {
        LineKind::Good
    };
    vec![
        Line::new(kind, forecast_sentence(plan)),
        Line::new(
            LineKind::Text,
            format!(
                "If a step fails once a workload is restored, {}",
                word::on_failure(plan.on_failure)
            ),
        ),
    ]
}

/// The forecast held against the budget.
pub(super) fn forecast_sentence(plan: &Plan) -> String {
    let (forecast, rto) = (human(plan.forecast), human(plan.rto));
    if plan.forecast > plan.rto {
        let over = human(plan.forecast - plan.rto);
        format!(
            "✗ over budget: about {forecast} until the last workload serves, {over} more than the RTO of {rto}"
        )
    } else {
        let spare = human(plan.rto - plan.forecast);
        format!(
            "✓ within budget: about {forecast} until the last workload serves; the RTO is {rto}, {spare} to spare"
        )
    }
}

fn before_yes(plan: &Plan, findings: &[Finding]) -> Vec<Line> {
    let warnings = plan
        .warnings
        .iter()
        .map(|text| Line::new(LineKind::Warn, format!("! {}", text)));
    let findings = if findings.is_empty() {
        Vec::new()
    } else {
        findings_lines(findings)
    };
    warnings.chain(findings).collect()
}

fn sentences(list: &[String]) -> Vec<Line> {
    list.iter()
        .map(|text| Line::new(LineKind::Text, format!("· {}", text)))
        .collect()
}
