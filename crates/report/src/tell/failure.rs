//! What was wrong, since when, and the decision: from the plan's assessment, with the records' moments beside it.

use super::fold::Fold;
use crate::report::{Moment, PLAN};
use crate::story::{
    DecisionStory, FailureStory, FiredRow, Lane, Mark, Observation, Span, StepState, WorkloadLine,
};
use crate::word;
use astern_model::assessment::WorkloadAssessment;
use astern_model::choice::Because;
use astern_model::evidence::{Evidence, Fact, Known, Side, Trouble};
use astern_model::plan::Plan;
use astern_model::policy::When;
use astern_model::step::{Spec, workload};
use astern_model::target::Target;
use jiff::{SignedDuration, Timestamp};

/// What the picture shows when nothing tells since when the suspect is live.
const WITHOUT_A_BEGINNING: SignedDuration = SignedDuration::from_mins(10);

/// How much of the picture lies before the suspect came: an eighth, enough to see what was there before.
const SHARE_BEFORE: i32 = 8;

/// The failure as far as the plan tells it, up to the first change.
pub(super) fn failure(plan: &Plan, fold: &Fold<'_>) -> FailureStory {
    let marks = marks(plan, fold);
    let to = marks
        .last()
        .map_or(plan.made_at, |mark| mark.at)
        .max(plan.made_at);
    let targets = plan.targets();
    let since = targets
        .iter()
        .filter(|target| goes_back(plan, target))
        .filter_map(|target| plan.assessment.of(target)?.live_since)
        .min();
    let begin = since.unwrap_or_else(|| minus(to, WITHOUT_A_BEGINNING));
    let before = to.duration_since(begin) / SHARE_BEFORE;
    FailureStory {
        workloads: plan.assessment.workloads.iter().map(workload_line).collect(),
        from: minus(begin, before),
        to,
        lanes: targets
            .into_iter()
            .map(|target| lane(plan, fold, target))
            .collect(),
        marks,
    }
}

/// The decision with the observations about the workloads that rows fired for.
pub(super) fn decision(plan: &Plan) -> DecisionStory {
    let rows: Vec<FiredRow> = plan
        .decision
        .fired
        .iter()
        .map(|fired| FiredRow {
            row: fired.row.clone(),
            say: fired.say,
            because: fired.because.clone(),
            on: fired.on.clone(),
        })
        .collect();
    let fired_for = |target: &Target| rows.iter().flat_map(|row| &row.on).any(|(on, _)| on == target);
    let evidence = plan
        .assessment
        .workloads
        .iter()
        .filter(|entry| fired_for(&entry.target))
        .flat_map(|entry| &entry.evidence)
        .map(observation)
        .collect();
    DecisionStory {
        say: plan.decision.say,
        rows,
        evidence,
    }
}

/// The earliest observation that speaks against a suspect; none where nothing was seen to be wrong.
pub(super) fn first_evidence(plan: &Plan) -> Option<Timestamp> {
    let entries = plan.assessment.workloads.iter();
    entries
        .flat_map(|entry| {
            entry
                .evidence
                .iter()
                .filter(|evidence| speaks_against(entry, evidence))
        })
        .map(|evidence| evidence.observed_at)
        .min()
}

/// Whether the cause is one that a person would look into: not a pod that merely starts or ends.
pub(super) fn is_trouble(trouble: &Trouble) -> bool {
    !matches!(trouble, Trouble::Starting | Trouble::Terminating)
}

fn speaks_against(entry: &WorkloadAssessment, evidence: &Evidence) -> bool {
    let against = match &evidence.fact {
        Fact::Trouble { trouble, .. } => is_trouble(trouble),
        Fact::ProgressDeadlineExceeded { .. } | Fact::PodsNotCreated { .. } => true,
        Fact::Probe { passed, .. } => *passed == Known::Is(false),
        Fact::ErrorLines { .. } => entry.holds.contains(&When::ErrorLines),
        Fact::Serving { .. } => false,
    };
    evidence.side == Side::Live && against
}

fn workload_line(entry: &WorkloadAssessment) -> WorkloadLine {
    WorkloadLine {
        target: entry.target.clone(),
        version: entry.version.clone(),
        ready: entry.ready,
        former_ready: entry.former_ready,
        desired: entry.desired,
        state: entry.state,
        reason: entry.reason.clone(),
        since: entry.live_since,
    }
}

fn lane(plan: &Plan, fold: &Fold<'_>, target: &Target) -> Lane {
    let entry = plan.assessment.of(target);
    let live_since = entry
        .filter(|_| goes_back(plan, target))
        .and_then(|entry| entry.live_since);
    let good = plan
        .choices
        .iter()
        .find(|choice| &choice.target == target)
        .and_then(|choice| choice.good.as_ref());
    let mut spans = Vec::new();
    if let Some(good) = good {
        let from = match &good.because {
            Because::Observed { since, .. } => *since,
            Because::Presumed { newest_for, until }
            | Because::Deployed {
                newest_for, until, ..
            }
            | Because::Recalled {
                newest_for, until, ..
            } => Some(minus(*until, *newest_for)),
            Because::Released { .. } | Because::Restored { .. } | Because::Named { .. } => None,
        };
        spans.push(Span {
            version: good.revision.version.clone(),
            suspect: false,
            from,
            to: live_since,
        });
    }
    spans.push(Span {
        version: super::standing::version_before(plan, target),
        suspect: true,
        from: live_since,
        to: written_back(plan, fold, target),
    });
    Lane {
        target: target.clone(),
        spans,
    }
}

/// Whether another template is written. Of a workload that is restarted for what it reads, the version is not what went bad, so since
/// when it is live says nothing of the failure.
fn goes_back(plan: &Plan, target: &Target) -> bool {
    plan.steps.iter().any(|step| match &step.spec {
        Spec::Workload(workload::Spec::WriteTemplate { target: of, .. }) => of == target,
        Spec::Helm(spec) => spec.workloads().iter().any(|one| &one.target == target),
        Spec::Workload(_) | Spec::Config(_) | Spec::Owner(_) => false,
    })
}

/// When the target's template was written, unless that was taken back.
fn written_back(plan: &Plan, fold: &Fold<'_>, target: &Target) -> Option<Timestamp> {
    plan.steps.iter().find_map(|step| match &step.spec {
        Spec::Workload(
            workload::Spec::WriteTemplate { target: of, .. } | workload::Spec::Restart { target: of, .. },
        ) if of == target => {
            let doing = fold
                .step(&step.id)
                .filter(|doing| doing.state == Some(StepState::Done))?;
            doing.ended.map(|moment| moment.at)
        }
        Spec::Workload(_) => None,
        Spec::Helm(spec) if spec.workloads().iter().any(|one| &one.target == target) => {
            let doing = fold
                .step(&step.id)
                .filter(|doing| doing.state == Some(StepState::Done))?;
            doing.ended.map(|moment| moment.at)
        }
        Spec::Helm(_) | Spec::Config(_) | Spec::Owner(_) => None,
    })
}

fn marks(plan: &Plan, fold: &Fold<'_>) -> Vec<Mark> {
    let of = |moment: Moment, what: &str| Mark {
        seq: moment.seq,
        at: moment.at,
        what: what.to_owned(),
    };
    let planned = |at: Timestamp, what: &str| of(Moment { seq: PLAN, at }, what);
    let since = |entry: &WorkloadAssessment| {
        entry
            .live_since
            .filter(|_| goes_back(plan, &entry.target))
            .map(|at| (at, entry.version.clone()))
    };
    let arrival = plan.assessment.workloads.iter().filter_map(since).min();
    let approval = fold.approval.as_ref().map(|approval| Moment {
        seq: approval.seq,
        at: approval.at,
    });
    let mut marks: Vec<Mark> = [
        arrival.map(|(at, version)| planned(at, &format!("{version} went out"))),
        first_evidence(plan).map(|at| planned(at, "first evidence against it")),
        Some(planned(plan.made_at, "plan made")),
        approval.map(|moment| of(moment, "approved")),
        fold.saving.map(|moment| of(moment, "evidence saved")),
        fold.first_intent().map(|moment| of(moment, "first change")),
    ]
    .into_iter()
    .flatten()
    .collect();
    marks.sort_by_key(|mark| (mark.at, mark.seq));
    marks
}

fn observation(evidence: &Evidence) -> Observation {
    Observation {
        target: evidence.subject.clone(),
        side: evidence.side,
        source: evidence.source,
        what: word::fact(evidence),
        at: evidence.observed_at,
        window: evidence.window,
    }
}

fn minus(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.checked_sub(span).unwrap_or(at)
}
