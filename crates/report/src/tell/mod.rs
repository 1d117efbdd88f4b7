//! From plan and records to a [`Report`]. Decides what is said; how it looks is the renderings' business.

mod failure;
mod fold;
mod follow_up;
mod impact;
mod journal;
mod standing;

use crate::report::{
    Accepted, AcceptedKind, Checklist, Cited, CitedVerdict, Ending, EvidenceStory, Head, Moment, PLAN, Report,
};
use crate::story::{RollbackStory, StepLine, StepState};
use crate::word;
use astern_model::id::{PlanHash, RunId, StepId};
use astern_model::plan::{ConfigChanges, Intent, Plan};
use astern_model::record::Record;
use astern_model::step::{Spec, Step, workload};
use fold::Fold;
pub(crate) use impact::FROM_EVIDENCE;
pub(crate) use standing::version_before;
use std::collections::{BTreeMap, BTreeSet};

/// The report of a run, finished or not, from its plan and the records after it (in order). `journal_place` is what
/// the journal's store says of itself. Nothing else is consulted, and what they do not say is not said.
pub fn report(
    run: &RunId,
    plan: &Plan,
    plan_hash: &PlanHash,
    records: &[Record],
    journal_place: &str,
) -> Report {
    let fold = Fold::of(plan, records);
    let standings = standing::standings(plan, &fold);
    Report {
        run: run.clone(),
        journal: journal_place.to_owned(),
        title: title(plan, &fold.ending.what),
        head: head(plan, plan_hash, &fold),
        impact: impact::impact(plan, &fold),
        failure: failure::failure(plan, &fold),
        decision: failure::decision(plan),
        rollback: rollback(plan, &fold),
        choices: plan.choices.clone(),
        changes: plan.changes.clone(),
        config: plan.config.clone(),
        checklist: checklist(plan, &fold),
        follow_ups: follow_up::follow_ups(run, plan, &fold, &standings),
        standings,
        unchanged: plan.unchanged.clone(),
        accepted: accepted(plan, &fold),
        records: journal::lines(plan, plan_hash, records),
        evidence: EvidenceStory {
            tried: fold.saving.is_some(),
            saved: fold.saved,
            missed: fold.missed,
        },
        ending: fold.ending,
    }
}

fn title(plan: &Plan, ending: &Ending) -> String {
    let what = match &plan.intent {
        Intent::Undo { run } => format!("run {run}"),
        Intent::RollBack => suspects(plan),
        Intent::ResumeOwners => return owners_title(plan, ending),
        Intent::RepairRelease { release } => return repair_title(plan, release, ending),
    };
    let did = match (ending, &plan.intent) {
        (Ending::Restored, Intent::RollBack) => {
            return format!("{}: {what} taken back{}", plan.platform, back_to(plan));
        }
        (Ending::Restored, _) => "undone",
        (Ending::UnderWay, _) => "is being taken back",
        (Ending::Held { .. }, _) => "partly taken back, and held",
        (Ending::Unwinding { .. }, _) => "the attempt to take it back is being unwound",
        (Ending::Unwound { .. }, _) => "not taken back: the run was unwound",
        (Ending::Stuck { .. }, _) => "partly taken back, and stuck",
        (Ending::Superseded { .. }, _) => "the run was superseded",
    };
    format!("{}: {what} {did}", plan.platform)
}

/// Of a run that lets owners go on.
fn owners_title(plan: &Plan, ending: &Ending) -> String {
    let names: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|step| Some(step.spec.owner()?.owner().to_string()))
        .collect();
    let how = match ending {
        Ending::Restored => "go on",
        Ending::UnderWay => "are being let go on",
        Ending::Held { .. } => "are partly let go on, and the run is held",
        Ending::Unwinding { .. } => "were to go on, and are being paused again",
        Ending::Unwound { .. } => "stay paused: the run was unwound",
        Ending::Stuck { .. } => "are partly let go on, and the run is stuck",
        Ending::Superseded { .. } => "were to go on: the run was superseded",
    };
    format!("{}: {} {how}", plan.platform, word::list(&names))
}

/// Of a run that mends a release's record.
fn repair_title(plan: &Plan, release: &str, ending: &Ending) -> String {
    let how = match ending {
        Ending::Restored => "is mended",
        Ending::UnderWay => "is being mended",
        Ending::Held { .. } => "is not mended, and the run is held",
        Ending::Unwinding { .. } => "was to be mended, and its record is being put back",
        Ending::Unwound { .. } => "is as before: the run was unwound",
        Ending::Stuck { .. } => "is not mended, and the run is stuck",
        Ending::Superseded { .. } => "was to be mended: the run was superseded",
    };
    format!("{}: the record of Helm release {release} {how}", plan.platform)
}

/// ` to v1.2.3`, where all go to the same version.
fn back_to(plan: &Plan) -> String {
    if let Some(of) = of_config_alone(plan) {
        return format!(" to {}", of.to);
    }
    let versions: BTreeSet<&str> = plan
        .changes
        .iter()
        .map(|change| change.to_version.as_str())
        .collect();
    match versions.first() {
        Some(version) if versions.len() == 1 => format!(" to {version}"),
        _ => String::new(),
    }
}

/// `v1.2.4`, or how many workloads where their versions differ.
fn suspects(plan: &Plan) -> String {
    if of_config_alone(plan).is_some() {
        let objects: Vec<String> = plan.config.iter().map(|of| of.object.to_string()).collect();
        return format!("the content of {}", word::list(&objects));
    }
    let versions: BTreeSet<String> = plan
        .targets()
        .into_iter()
        .map(|target| version_before(plan, target))
        .collect();
    match versions.first() {
        Some(version) if versions.len() == 1 => version.clone(),
        _ => word::plural(plan.targets().len() as u64, "workload"),
    }
}

/// What changes in config, where no template goes back.
fn of_config_alone(plan: &Plan) -> Option<&ConfigChanges> {
    let goes_back = |step: &Step| match &step.spec {
        Spec::Workload(spec) => matches!(spec, workload::Spec::WriteTemplate { .. }),
        Spec::Helm(_) => true,
        Spec::Config(_) | Spec::Owner(_) => false,
    };
    plan.config.first().filter(|_| !plan.steps.iter().any(goes_back))
}

fn head(plan: &Plan, plan_hash: &PlanHash, fold: &Fold<'_>) -> Head {
    Head {
        platform: plan.platform.clone(),
        namespace: plan.namespace.clone(),
        cluster: plan.cluster.clone(),
        intent: plan.intent.clone(),
        plan: plan_hash.clone(),
        planned_at: plan.made_at,
        approval: fold.approval.as_ref().map(|approval| Cited {
            seq: approval.seq,
            at: approval.at,
            what: approval.what.clone(),
        }),
        holders: fold.holders.clone(),
    }
}

fn rollback(plan: &Plan, fold: &Fold<'_>) -> RollbackStory {
    let waves = plan.waves();
    let numbered = waves.iter().zip(1_u32..);
    let wave_of: BTreeMap<&StepId, u32> = numbered
        .flat_map(|(wave, number)| wave.iter().map(move |step| (&step.id, number)))
        .collect();
    let wave = |step: &Step| wave_of.get(&step.id).copied().unwrap_or_default();
    let steps: Vec<StepLine> = plan
        .steps
        .iter()
        .map(|step| step_line(step, wave(step), fold))
        .collect();
    let start = match &fold.approval {
        Some(approval) => Moment {
            seq: approval.seq,
            at: approval.at,
        },
        None => Moment {
            seq: PLAN,
            at: plan.made_at,
        },
    };
    let known = fold
        .steps
        .values()
        .filter_map(|step| step.last)
        .map(|moment| moment.at);
    let end = known
        .chain(fold.restored.map(|moment| moment.at))
        .max()
        .unwrap_or(start.at)
        .max(start.at);
    RollbackStory {
        start,
        end,
        restored: fold.restored,
        steps,
        forecast: plan.forecast,
        rto: plan.rto,
        on_failure: plan.on_failure,
    }
}

fn step_line(step: &Step, wave: u32, fold: &Fold<'_>) -> StepLine {
    let doing = fold.step(&step.id);
    StepLine {
        id: step.id.clone(),
        wave,
        what: step.spec.phrase(),
        target: step.spec.workload().map(|spec| spec.target().clone()),
        only_reads: step.spec.only_reads(),
        state: doing
            .and_then(|doing| doing.state)
            .unwrap_or(StepState::NotStarted),
        started: doing.and_then(|doing| doing.started),
        ended: doing.and_then(|doing| doing.ended),
        attempts: doing.map_or(0, |doing| doing.attempts),
        key: doing.and_then(|doing| doing.key.cloned()),
        forecast: step.forecast.clone(),
        reversal: step.reversal.clone(),
        failures: doing.map(|doing| doing.failures.clone()).unwrap_or_default(),
    }
}

/// The criteria as sentences, for plan and report alike.
pub(crate) fn criteria(plan: &Plan) -> Vec<String> {
    let wanted = &plan.recovered_when;
    let names: Vec<String> = wanted.targets.iter().map(ToString::to_string).collect();
    let serve = if names.len() == 1 { "serves" } else { "serve" };
    let mut criteria = Vec::new();
    if !names.is_empty() {
        criteria.push(format!(
            "{} {serve} with all pods asked for, without a restart",
            word::list(&names)
        ));
    }
    criteria.push(format!(
        "at most {} error lines a minute and pod",
        wanted.error_lines_per_minute
    ));
    if !wanted.images.is_empty() {
        let seen: Vec<String> = wanted
            .images
            .iter()
            .map(|(target, _)| target.to_string())
            .collect();
        criteria.push(format!(
            "{} with the image digests that {} pods ran when the plan was made",
            word::list(&seen),
            if seen.len() == 1 { "its good" } else { "their good" }
        ));
    }
    let owners: BTreeSet<String> = wanted.owners.iter().map(|(_, owner)| owner.to_string()).collect();
    if !owners.is_empty() {
        let owners: Vec<String> = owners.into_iter().collect();
        criteria.push(format!("nobody has switched {} on again", word::list(&owners)));
    }
    criteria.extend(
        wanted
            .probes
            .iter()
            .map(|(target, probe)| format!("{target}: {}", word::probe(probe))),
    );
    criteria
}

fn checklist(plan: &Plan, fold: &Fold<'_>) -> Checklist {
    Checklist {
        criteria: criteria(plan),
        soak: plan.recovered_when.soak,
        verdict: fold.verdict.as_ref().map(|judged| CitedVerdict {
            seq: judged.seq,
            verdict: judged.what.clone(),
        }),
    }
}

fn accepted(plan: &Plan, fold: &Fold<'_>) -> Vec<Accepted> {
    let of = |kind, what: &String, seq| Accepted {
        kind,
        what: what.clone(),
        seq,
    };
    let Some(approval) = &fold.approval else {
        return Vec::new();
    };
    let overrides = approval
        .what
        .overrides
        .iter()
        .map(|what| of(AcceptedKind::Override, what, approval.seq));
    let warnings = plan
        .warnings
        .iter()
        .map(|what| of(AcceptedKind::Warning, what, PLAN));
    let findings = approval
        .what
        .warnings
        .iter()
        .map(|what| of(AcceptedKind::Finding, what, approval.seq));
    overrides.chain(warnings).chain(findings).collect()
}
