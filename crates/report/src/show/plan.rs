//! A plan for a terminal, in the order that every plan has: where, how much, the steps, what it does not change, what
//! will count as recovered, forecast against the budget. What must be read before saying yes comes last, beside the
//! question.

use super::finding::findings_about;
use super::likewise::grouped;
use super::owners::stays_paused;
use crate::line::{Line, LineKind, joined, part, parts};
use crate::word;
use astern_model::choice::{KnownGood, clock, human};
use astern_model::decision::Fired;
use astern_model::diff::{Change, Shown};
use astern_model::finding::{Finding, Severity};
use astern_model::id::{PlanHash, StepId};
use astern_model::plan::{Intent, Plan, TargetChanges};
use astern_model::reversal::Reversal;
use astern_model::step::{Basis, Spec, Step, config, owner, workload};
use std::collections::BTreeMap;

/// Changed places that are listed for one workload; the rest is counted. Markdown, HTML and JSON list all.
const PLACES: usize = 12;
/// With more workloads than this, each one's changes are folded into a few lines: a plan is to be read at night.
const WHOLE_CHANGES: usize = 2;

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
        part(steps_head(plan), steps(plan)),
        part("What changes", changes(plan)),
        part("What changes in Helm releases", super::helm::release_lines(plan)),
        part(
            "What changes in ConfigMaps and Secrets",
            super::config::config_lines(&plan.config),
        ),
        part(STAYS_PAUSED, sentences(plan, &stays_paused(plan))),
        part("It does not change", sentences(plan, &plan.unchanged)),
        part(
            format!(
                "It counts as recovered when this holds for {}",
                human(plan.recovered_when.soak)
            ),
            sentences(plan, &crate::tell::criteria(plan)),
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

/// What a plan does, as its title says it.
pub fn title(plan: &Plan) -> String {
    match &plan.intent {
        Intent::RollBack => format!("Roll back {}", plan.platform),
        Intent::ResumeOwners => format!("Let the owners of {} go on", plan.platform),
        Intent::RepairRelease { release } => {
            format!("Mend the record of Helm release {release} of {}", plan.platform)
        }
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

pub(super) const STAYS_PAUSED: &str = "Stays paused after the run";
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
            Spec::Helm(_) | Spec::Config(_) | Spec::Owner(_) => false,
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
    let releases = plan
        .steps
        .iter()
        .filter(|step| step.spec.helm().is_some_and(|spec| !spec.workloads().is_empty()));
    let config = plan
        .steps
        .iter()
        .filter(|step| step.spec.config().is_some_and(config::Spec::brings_back));
    let owners_like = |wanted: fn(&owner::Spec) -> bool| {
        let of = plan.steps.iter().filter_map(|step| step.spec.owner());
        of.filter(|spec| wanted(spec)).count() as u64
    };
    let optional = [
        (
            owners_like(|spec| matches!(spec, owner::Spec::Pause { .. })),
            "owner",
            " paused",
        ),
        (
            owners_like(|spec| matches!(spec, owner::Spec::Resume { .. })),
            "owner",
            " let go on",
        ),
        (config.count() as u64, "ConfigMap or Secret", " put back"),
        (releases.count() as u64, "Helm release", " rolled back"),
        (
            steps_like(|spec| matches!(spec, workload::Spec::WriteTemplate { .. })),
            "template",
            " written",
        ),
        (
            steps_like(|spec| matches!(spec, workload::Spec::Restart { .. })),
            "workload",
            " restarted",
        ),
        (
            steps_like(|spec| matches!(spec, workload::Spec::Scale { to: 0, .. })),
            "workload",
            " stopped and started again",
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
        "ConfigMap or Secret" => format!("{count} × {noun}{done}"),
        _ => format!("{}{done}", word::plural(count, noun)),
    }));
    counts.join(" · ")
}

fn decision(plan: &Plan) -> Vec<Line> {
    plan.decision
        .fired
        .iter()
        .flat_map(|row| fired(plan, row))
        .collect()
}

fn fired(plan: &Plan, fired: &Fired) -> Vec<Line> {
    let kind = word::kind(word::say_tone(fired.say));
    let row = format!("{}: {} (row {})", word::say(fired.say), fired.because, fired.row);
    let on: Vec<String> = fired
        .on
        .iter()
        .map(|(target, phrase)| format!("{target}: {phrase}"))
        .collect();
    let on = likewise(plan, &on, LineKind::Text, "  ");
    std::iter::once(Line::new(kind, row)).chain(on).collect()
}

/// Sentences, each told once for all workloads that it holds of.
fn likewise(plan: &Plan, sentences: &[String], kind: LineKind, mark: &str) -> Vec<Line> {
    let targets = plan.targets();
    let margin = " ".repeat(mark.chars().count() + 2);
    grouped(sentences, &targets, String::clone)
        .iter()
        .flat_map(|told| {
            let others = told
                .others()
                .map(|others| Line::new(LineKind::Dim, format!("{margin}{others}")));
            std::iter::once(Line::new(kind, format!("{mark}{}", told.first))).chain(others)
        })
        .collect()
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
        let (tone, why) = word::because(because);
        let text = format!(
            "{:<width$}  {from} → {}  {why}",
            choice.target.to_string(),
            revision.version,
        );
        lines.push(Line::new(word::kind(tone), text));
    }
    lines
}

/// What all forecasts of waits rest on, where it is the same for all; a step of another kind tells its own.
fn steps_head(plan: &Plan) -> String {
    match common_basis(plan) {
        Some(basis) => format!("Steps, with forecasts from {}", word::basis(basis)),
        None => "Steps".to_owned(),
    }
}

fn common_basis(plan: &Plan) -> Option<&Basis> {
    let mut bases = plan
        .steps
        .iter()
        .map(|step| &step.forecast.basis)
        .filter(|basis| **basis != Basis::Request);
    let first = bases.next()?;
    bases.all(|basis| basis == first).then_some(first)
}

fn steps(plan: &Plan) -> Vec<Line> {
    let numbers: BTreeMap<&StepId, usize> = plan.steps.iter().map(|step| &step.id).zip(1..).collect();
    let number = |step: &Step| numbers.get(&step.id).copied().unwrap_or_default();
    let width = plan.steps.len().to_string().len();
    let longest = plan
        .steps
        .iter()
        .map(|step| step.spec.phrase().chars().count())
        .max()
        .unwrap_or_default();
    let common = common_basis(plan);
    let mut lines = Vec::new();
    for (place, wave) in plan.waves().into_iter().enumerate() {
        let beside = if wave.len() > 1 { ", side by side" } else { "" };
        lines.push(Line::new(LineKind::Head, format!("wave {}{beside}", place + 1)));
        for step in wave {
            let what = format!("{:>width$}  {:<longest$}", number(step), step.spec.phrase());
            let text = format!("{what}  {}", brief(step, common));
            lines.push(Line::new(LineKind::Step, text));
            if matches!(
                step.reversal,
                Reversal::PointOfNoReturn { .. } | Reversal::Compensate { .. }
            ) {
                let text = format!("{:>width$}  {}", "", word::reversal(&step.reversal));
                lines.push(Line::new(LineKind::Destroys, text));
            }
        }
    }
    lines
}

/// `about 40s, at most 2m`, and what that rests on where it is neither one request nor what the head says.
fn brief(step: &Step, common: Option<&Basis>) -> String {
    let basis = &step.forecast.basis;
    let rests = if *basis == Basis::Request || Some(basis) == common {
        String::new()
    } else {
        format!(" (from {})", word::basis(basis))
    };
    format!(
        "about {}, at most {}{rests}",
        human(step.forecast.expected),
        human(step.deadline)
    )
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
    if plan.changes.len() <= WHOLE_CHANGES {
        return plan.changes.iter().flat_map(target_changes).collect();
    }
    let mut lines: Vec<Line> = plan.changes.iter().flat_map(folded).collect();
    lines.push(Line::new(
        LineKind::Dim,
        "values of env are ‹masked›; -o markdown and -o json list every place by itself",
    ));
    lines
}

/// One workload's changes in a few lines: where they come from, the images, then the rest as it changes, goes and comes.
fn folded(of: &TargetChanges) -> Vec<Line> {
    let mut lines = vec![Line::new(
        LineKind::Head,
        format!("{}: {} → {}", of.target, of.from_version, of.to_version),
    )];
    lines.extend(source(of));
    if of.changes.is_empty() {
        lines.push(Line::new(LineKind::Dim, "  nothing in the template"));
    }
    let (images, rest): (Vec<&Change>, Vec<&Change>) = of
        .changes
        .iter()
        .partition(|change| change.path.ends_with(".image") || change.path.ends_with(".imageID"));
    let of_kind = |from: bool, to: bool| -> Vec<&Change> {
        rest.iter()
            .copied()
            .filter(|change| (change.from.is_some(), change.to.is_some()) == (from, to))
            .collect()
    };
    let groups = [
        (LineKind::Text, "", images),
        (LineKind::Text, "changes: ", of_kind(true, true)),
        (LineKind::Removed, "goes: ", of_kind(true, false)),
        (LineKind::Added, "comes: ", of_kind(false, true)),
    ];
    for (kind, word, changes) in groups {
        if !changes.is_empty() {
            lines.push(Line::new(kind, format!("  {word}{}", places(of, &changes))));
        }
    }
    lines
}

fn places(of: &TargetChanges, changes: &[&Change]) -> String {
    let container = format!("containers[{}].", of.target.name);
    let place = |change: &&Change| {
        let path = change.path.strip_prefix(&container).unwrap_or(&change.path);
        let path = path.strip_prefix("metadata.").unwrap_or(path);
        let value = |shown: Option<&Shown>| match shown {
            Some(Shown::Value(digest)) if change.path.ends_with(".imageID") => Some(word::digest(digest)),
            Some(Shown::Value(_)) => shown.map(word::shown),
            Some(Shown::Masked | Shown::Keyed(_)) | None => None,
        };
        match (value(change.from.as_ref()), value(change.to.as_ref())) {
            (Some(from), Some(to)) => format!("{path} {from} → {to}"),
            (Some(only), None) | (None, Some(only)) => format!("{path} {only}"),
            (None, None) => path.to_owned(),
        }
    };
    let mut shown: Vec<String> = changes.iter().take(PLACES).map(place).collect();
    if let Some(more) = changes.len().checked_sub(PLACES).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

fn target_changes(of: &TargetChanges) -> Vec<Line> {
    let head = format!("{}: {} → {}", of.target, of.from_version, of.to_version);
    let mut lines = vec![Line::new(LineKind::Head, head)];
    lines.extend(source(of));
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

/// From where the template comes, under its head.
pub(crate) fn source(of: &TargetChanges) -> Option<Line> {
    let source = word::provenance(of)?;
    Some(Line::new(LineKind::Warn, format!("  {source}")))
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
    let mut lines = likewise(plan, &plan.warnings, LineKind::Warn, "! ");
    lines.extend(findings_about(findings, &plan.targets()));
    lines
}

fn sentences(plan: &Plan, list: &[String]) -> Vec<Line> {
    likewise(plan, list, LineKind::Text, "· ")
}
