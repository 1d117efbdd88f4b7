//! What remains to be done: computed from what the run saw, chose and left open. Each line follows from a record.

use super::failure::is_trouble;
use super::fold::Fold;
use crate::report::{Cited, Ending, FollowUp, PLAN, Standing, Stands};
use crate::story::StepState;
use crate::word;
use astern_model::approval::Approval;
use astern_model::choice::{Because, clock};
use astern_model::diff::Shown;
use astern_model::evidence::{Fact, Side};
use astern_model::finding::Finding;
use astern_model::id::{RunId, Seq};
use astern_model::plan::{Intent, Plan};
use astern_model::reversal::Reversal;
use astern_model::step::{Step, config, owner, workload};
use astern_model::target::Target;
use astern_model::verdict::CheckResult;
use std::collections::{BTreeMap, BTreeSet};

/// The follow-ups, the most urgent first.
pub(super) fn follow_ups(run: &RunId, plan: &Plan, fold: &Fold<'_>, standings: &[Standing]) -> Vec<FollowUp> {
    let parts = [
        decide(run, fold),
        settle(standings),
        validate(fold, standings),
        stopped(plan, fold),
        paused(run, plan, fold),
        deploys(plan, standings),
        applies(plan, fold),
        believed(plan, standings),
        investigate(plan, fold),
        tag(plan, standings),
        accepted(plan, fold.approval.as_ref()),
        traces(plan, fold),
        missed(fold),
    ];
    parts.into_iter().flatten().collect()
}

fn follow_up(seq: Seq, what: String) -> FollowUp {
    FollowUp { what, seq }
}

fn decide(run: &RunId, fold: &Fold<'_>) -> Vec<FollowUp> {
    let seq = fold.ending.seq;
    let what = match &fold.ending.what {
        Ending::UnderWay | Ending::Restored | Ending::Unwound { .. } => return Vec::new(),
        Ending::Held { .. } => {
            format!("Decide: astern resume {run} goes on, astern abort {run} takes back what was done.")
        }
        Ending::Unwinding { .. } => format!("Follow it to its end: astern attach {run}."),
        Ending::Stuck { step, .. } => {
            format!(
                "Settle step {step} by hand; the run is over. astern undo {run} plans taking back what it left, astern rollback plans anew from what stands."
            )
        }
        Ending::Superseded { by } => {
            format!("Agree with {by} who goes on; this run writes nothing any more.")
        }
    };
    vec![follow_up(seq, what)]
}

fn settle(standings: &[Standing]) -> Vec<FollowUp> {
    standings
        .iter()
        .filter_map(|standing| match &standing.on {
            Stands::NotKnown { from, to } => Some(follow_up(
                standing.seq,
                format!("Find out whether {} stands on {from} or {to}: the write's outcome is not known.", standing.target),
            )),
            Stands::Asks { version } => Some(follow_up(
                standing.seq,
                format!("See whether {} serves {version}: its template asks for it, its pods were not seen to serve.", standing.target),
            )),
            Stands::Fails { version, why } => Some(follow_up(
                standing.seq,
                format!("Bring {} up: it was put back to {version} and does not serve ({why}).", standing.target),
            )),
            Stands::Serves { .. } | Stands::Untouched { .. } | Stands::TakenBack { .. } => None,
        })
        .collect()
}

fn validate(fold: &Fold<'_>, standings: &[Standing]) -> Vec<FollowUp> {
    let Some(judged) = &fold.verdict else {
        let changed = standings.iter().any(|standing| is_rolled_back(&standing.on));
        let what =
            "Validate: no verdict is in the journal, so nothing says that it is over (astern validate)."
                .to_owned();
        return if changed {
            vec![follow_up(fold.ending.seq, what)]
        } else {
            Vec::new()
        };
    };
    let open = judged
        .what
        .items
        .iter()
        .filter(|item| item.result != CheckResult::Pass);
    open.map(|item| {
        let how = if item.result == CheckResult::Fail {
            "did not pass"
        } else {
            "is not known"
        };
        follow_up(
            judged.seq,
            format!(
                "Look at {}: {} {how} ({}).",
                item.target, item.check, item.evidence
            ),
        )
    })
    .collect()
}

/// Workloads that a run has stopped and not started again.
fn stopped(plan: &Plan, fold: &Fold<'_>) -> Vec<FollowUp> {
    let done = |step: &Step| {
        fold.step(&step.id)
            .is_some_and(|doing| doing.state == Some(StepState::Done))
    };
    let started = |target: &Target| {
        plan.steps.iter().find_map(|step| match step.spec.workload()? {
            workload::Spec::Scale { target: of, to, .. } if of == target && *to > 0 => {
                Some((done(step), *to))
            }
            _ => None,
        })
    };
    let left = |step: &Step| {
        let Some(workload::Spec::Scale { target, to: 0, .. }) = step.spec.workload() else {
            return None;
        };
        let (is_started, count) = started(target)?;
        let seq = fold.step(&step.id)?.last?.seq;
        (done(step) && !is_started).then(|| {
            let what =
                format!("Start {target}: this run has scaled it to 0, and it asked for {count} before.");
            follow_up(seq, what)
        })
    };
    plan.steps.iter().filter_map(left).collect()
}

/// Owners that stay paused: until somebody lets them go on, nothing is deployed through them.
fn paused(run: &RunId, plan: &Plan, fold: &Fold<'_>) -> Vec<FollowUp> {
    let stays = |step: &Step| {
        let Some(owner::Spec::Pause { owner, guard, .. }) = step.spec.owner() else {
            return None;
        };
        let goes_on = |later: &Step| matches!(later.spec.owner(), Some(owner::Spec::Resume { owner: named, .. }) if named == owner);
        let mut went_on = plan.steps.iter().filter(|later| goes_on(later));
        let is_done = |step: &Step| {
            fold.step(&step.id)
                .is_some_and(|doing| doing.state == Some(StepState::Done))
        };
        if went_on.any(is_done) {
            return None;
        }
        let doing = fold
            .step(&step.id)
            .filter(|doing| doing.state == Some(StepState::Done))?;
        let since = doing.last?;
        let due = since.at.checked_add(*guard).unwrap_or(since.at);
        let what = format!(
            "Let {owner} go on: this run has paused it at {}, and it is due by {}. Put the good version into its source first \
             (astern writeback {run}); then astern owners resume {}.",
            clock(since.at),
            clock(due),
            owner.name
        );
        Some(follow_up(since.seq, what))
    };
    plan.steps.iter().filter_map(stays).collect()
}

/// The cluster was changed, its sources were not: the next deploy from them brings the suspect back.
fn deploys(plan: &Plan, standings: &[Standing]) -> Vec<FollowUp> {
    if plan.intent != Intent::RollBack {
        return Vec::new();
    }
    let mut by_version: BTreeMap<String, (Seq, Vec<String>)> = BTreeMap::new();
    let restarted = |target: &Target| {
        let changes = plan.changes.iter();
        changes
            .filter(|change| &change.target == target)
            .any(|change| change.from_version == change.to_version)
            && plan.choices.iter().all(|choice| &choice.target != target)
    };
    let rolled_back = standings
        .iter()
        .filter(|standing| is_rolled_back(&standing.on) && !restarted(&standing.target));
    for standing in rolled_back {
        let version = super::standing::version_before(plan, &standing.target);
        let entry = by_version
            .entry(version)
            .or_insert_with(|| (standing.seq, Vec::new()));
        entry.1.push(standing.target.to_string());
    }
    by_version
        .into_iter()
        .map(|(version, (seq, targets))| {
            let what = format!(
                "Change what deploys {} (pipeline, chart or Git) before it runs again: only the cluster was changed, \
                 and an unchanged source brings {version} back.",
                word::list(&targets)
            );
            follow_up(seq, what)
        })
        .collect()
}

/// The same of ConfigMaps and Secrets: what is applied next holds the content that was taken back.
fn applies(plan: &Plan, fold: &Fold<'_>) -> Vec<FollowUp> {
    if plan.intent != Intent::RollBack {
        return Vec::new();
    }
    let back = |step: &Step| {
        let spec = step.spec.config()?;
        let doing = fold
            .step(&step.id)
            .filter(|doing| doing.state == Some(StepState::Done))?;
        let what = match spec {
            config::Spec::Remove { .. } | config::Spec::AwaitDrawn { .. } => return None,
            config::Spec::Repin { source, versions, .. } => format!(
                "Have {source} name {} in its source too (Git, chart or pipeline) before that is applied again: only the cluster \
                 was changed.",
                versions.values().cloned().collect::<Vec<_>>().join(", ")
            ),
            config::Spec::Restore { .. } | config::Spec::Create { .. } => format!(
                "Put the content of {} back to {} in its source (Git, chart or pipeline) too, before that is applied again: only \
                 the cluster was changed.",
                spec.object(),
                spec.to().origin
            ),
        };
        Some(follow_up(doing.last.map_or(PLAN, |moment| moment.seq), what))
    };
    plan.steps.iter().filter_map(back).collect()
}

/// What was gone back to without having been seen to serve before.
fn believed(plan: &Plan, standings: &[Standing]) -> Vec<FollowUp> {
    let went_there = |target: &Target| {
        standings
            .iter()
            .any(|standing| &standing.target == target && is_rolled_back(&standing.on))
    };
    plan.choices
        .iter()
        .filter(|choice| went_there(&choice.target))
        .filter_map(|choice| Some((&choice.target, choice.good.as_ref()?)))
        .filter(|(_, good)| {
            !matches!(
                good.because,
                Because::Observed { unwell: None, .. } | Because::Released { .. }
            )
        })
        .map(|(target, good)| {
            let (version, why) = (&good.revision.version, good.because.sentence());
            follow_up(
                PLAN,
                format!("Confirm that {version} of {target} is good ({why})."),
            )
        })
        .collect()
}

fn investigate(plan: &Plan, fold: &Fold<'_>) -> Vec<FollowUp> {
    let mut seen = BTreeSet::new();
    let entries = plan.assessment.workloads.iter();
    entries
        .flat_map(|entry| entry.evidence.iter().map(move |evidence| (entry, evidence)))
        .filter(|(_, evidence)| evidence.side == Side::Live)
        .filter_map(|(entry, evidence)| match &evidence.fact {
            Fact::Trouble { trouble, .. } if is_trouble(trouble) => Some((entry, trouble.phrase())),
            _ => None,
        })
        .filter(|(entry, phrase)| seen.insert((entry.target.clone(), phrase.clone())))
        .map(|(entry, phrase)| {
            let pieces: Vec<&Cited<_>> = fold
                .saved
                .iter()
                .filter(|piece| piece.what.what.contains(&entry.target.name))
                .collect();
            let saved = match pieces.len() {
                0 => "nothing about it was saved".to_owned(),
                count => format!("{} about it saved", word::plural(count as u64, "piece")),
            };
            let seq = pieces.first().map_or(PLAN, |piece| piece.seq);
            follow_up(
                seq,
                format!(
                    "Find out why {} of {} came to this: {phrase} ({saved}).",
                    entry.version, entry.target
                ),
            )
        })
        .collect()
}

/// The tag belongs on the commit that was built into the image that ran, not on whatever HEAD is by now.
fn tag(plan: &Plan, standings: &[Standing]) -> Vec<FollowUp> {
    if plan.intent != Intent::RollBack {
        return Vec::new();
    }
    let rolled_back = |target: &Target| {
        standings
            .iter()
            .any(|standing| &standing.target == target && is_rolled_back(&standing.on))
    };
    let mut images: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for change in plan.changes.iter().filter(|change| rolled_back(&change.target)) {
        let entry = images.entry(&change.from_version).or_default();
        entry.extend(
            change
                .changes
                .iter()
                .filter(|place| place.path.ends_with(".image"))
                .filter_map(|place| match &place.from {
                    Some(Shown::Value(image)) => Some(image.clone()),
                    Some(Shown::Masked | Shown::Keyed(_)) | None => None,
                }),
        );
    }
    images
        .into_iter()
        .filter(|(_, images)| !images.is_empty())
        .map(|(version, images)| {
            let images: Vec<String> = images.into_iter().collect();
            let what = format!(
                "Tag the commit that {version} was built from as failed: the one behind {}, not today's HEAD.",
                word::list(&images)
            );
            follow_up(PLAN, what)
        })
        .collect()
}

fn accepted(plan: &Plan, approval: Option<&Cited<&Approval>>) -> Vec<FollowUp> {
    let shown = plan
        .warnings
        .iter()
        .map(|warning| follow_up(PLAN, format!("Settle what the plan warned of: {warning}")));
    let Some(approval) = approval else {
        return shown.collect();
    };
    let found = approval.what.found.iter();
    let told = found.map(|finding| follow_up(approval.seq, found_by_the_gate(finding)));
    // A journal of before the findings were kept has their codes alone.
    let is_told = |code: &&String| approval.what.found.iter().any(|finding| &finding.code == *code);
    let codes: Vec<String> = approval
        .what
        .warnings
        .iter()
        .filter(|code| !is_told(code))
        .cloned()
        .collect();
    let untold = (!codes.is_empty()).then(|| {
        follow_up(
            approval.seq,
            format!("Settle what the gate warned of: {}.", word::list(&codes)),
        )
    });
    shown.chain(told).chain(untold).collect()
}

/// What is the matter, and what the gate said to do about it.
fn found_by_the_gate(finding: &Finding) -> String {
    let about = finding.target.as_ref();
    let about = about.map(|target| format!("{target}: ")).unwrap_or_default();
    let hint = match finding.hint.as_str() {
        "" => String::new(),
        hint => format!(" It said what to do: {hint}."),
    };
    format!(
        "Settle what the gate warned of ({}): {about}{}.{hint}",
        finding.code, finding.message
    )
}

fn traces(plan: &Plan, fold: &Fold<'_>) -> Vec<FollowUp> {
    plan.steps
        .iter()
        .filter_map(|step| {
            let Reversal::Compensate { trace } = &step.reversal else {
                return None;
            };
            let doing = fold
                .step(&step.id)
                .filter(|doing| doing.state == Some(StepState::TakenBack))?;
            let seq = doing.last.map_or(PLAN, |moment| moment.seq);
            Some(follow_up(
                seq,
                format!(
                    "Clean up what taking back \"{}\" left: {trace}.",
                    step.spec.phrase()
                ),
            ))
        })
        .collect()
}

fn missed(fold: &Fold<'_>) -> Vec<FollowUp> {
    let line = |piece: &Cited<String>| {
        follow_up(
            piece.seq,
            format!(
                "Look elsewhere for evidence that was not had in time: {}.",
                piece.what
            ),
        )
    };
    fold.missed.iter().map(line).collect()
}

fn is_rolled_back(on: &Stands) -> bool {
    match on {
        Stands::Serves { .. } | Stands::Asks { .. } | Stands::Fails { .. } => true,
        Stands::Untouched { .. } | Stands::TakenBack { .. } | Stands::NotKnown { .. } => false,
    }
}
