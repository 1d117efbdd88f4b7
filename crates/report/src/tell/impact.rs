//! What the incident cost, computed from plan and records alone. What they do not tell is unknown, with the reason.

use super::failure::first_evidence;
use super::fold::Fold;
use crate::report::{Figure, Moment, PLAN};
use crate::story::StepState;
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::evidence::{Fact, Known, Side};
use astern_model::id::Seq;
use astern_model::plan::Plan;
use astern_model::reversal::Reversal;
use jiff::Timestamp;

/// The figures, in the order in which a reader asks for them.
pub(super) fn impact(plan: &Plan, fold: &Fold<'_>) -> Vec<Figure> {
    let evidence = first_evidence(plan).map(|at| Moment { seq: PLAN, at });
    let live = live_since(plan).map(|at| Moment { seq: PLAN, at });
    let approved = fold.approval.as_ref().map(|approval| Moment {
        seq: approval.seq,
        at: approval.at,
    });
    let first = fold.first_intent();
    let restored = fold.restored;
    vec![
        between(
            "from the suspect's arrival to restored",
            live,
            NO_ARRIVAL,
            restored,
            NOT_RESTORED,
        ),
        between(FROM_EVIDENCE, evidence, NO_EVIDENCE, restored, NOT_RESTORED),
        between(
            "from approval to the first change",
            approved,
            NOT_APPROVED,
            first,
            NOTHING_CHANGED,
        ),
        against_rto(plan, approved, restored),
        ready_when_assessed(plan),
        error_lines(plan),
        lost(plan, fold),
        unknown(
            "requests that failed",
            "nothing that this run read counts requests",
        ),
        unknown("users affected", "nothing that this run read counts users"),
    ]
}

/// The figure that the page shows first.
pub(crate) const FROM_EVIDENCE: &str = "from the first evidence to restored";

const NO_ARRIVAL: &str = "the cluster does not tell since when the suspect is live";
const NO_EVIDENCE: &str = "the plan holds no evidence against the suspect: a person decided";
const NOT_RESTORED: &str = "the journal does not say that service was restored";
const NOT_APPROVED: &str = "the journal has no approval";
const NOTHING_CHANGED: &str = "the journal has no change";

fn between(what: &str, from: Option<Moment>, no_from: &str, to: Option<Moment>, no_to: &str) -> Figure {
    match (from, to) {
        (Some(from), Some(to)) => Figure {
            what: what.to_owned(),
            value: Known::Is(human(to.at.duration_since(from.at))),
            seqs: vec![from.seq, to.seq],
        },
        (None, _) => unknown(what, no_from),
        (Some(_), None) => unknown(what, no_to),
    }
}

fn against_rto(plan: &Plan, approved: Option<Moment>, restored: Option<Moment>) -> Figure {
    let mut figure = between(
        "from approval to restored",
        approved,
        NOT_APPROVED,
        restored,
        NOT_RESTORED,
    );
    if let (Some(approved), Some(restored)) = (approved, restored) {
        let took = restored.at.duration_since(approved.at);
        let spare = plan.rto - took;
        let held = if spare.is_negative() {
            format!("{} over the budget of {}", human(spare.abs()), human(plan.rto))
        } else {
            format!("within the budget of {}", human(plan.rto))
        };
        figure.value = Known::Is(format!(
            "{}, {held} (forecast {})",
            human(took),
            human(plan.forecast)
        ));
    }
    figure
}

fn live_since(plan: &Plan) -> Option<Timestamp> {
    plan.targets()
        .into_iter()
        .filter_map(|target| plan.assessment.of(target)?.live_since)
        .min()
}

fn ready_when_assessed(plan: &Plan) -> Figure {
    let each: Vec<String> = plan
        .targets()
        .into_iter()
        .filter_map(|target| plan.assessment.of(target))
        .map(|entry| format!("{} {} of {}", entry.target.name, entry.ready, entry.desired))
        .collect();
    let what = "pods ready when the plan was made";
    if each.is_empty() {
        return unknown(what, "the plan's assessment does not name the workloads");
    }
    Figure {
        what: what.to_owned(),
        value: Known::Is(format!("{} (at {})", word::list(&each), clock(plan.made_at))),
        seqs: vec![PLAN],
    }
}

fn error_lines(plan: &Plan) -> Figure {
    let rates: Vec<(f64, String)> = plan
        .assessment
        .workloads
        .iter()
        .flat_map(|entry| &entry.evidence)
        .filter(|evidence| evidence.side == Side::Live)
        .filter_map(|evidence| match &evidence.fact {
            Fact::ErrorLines {
                per_minute: Known::Is(rate),
                ..
            } => Some((*rate, evidence.subject.to_string())),
            _ => None,
        })
        .collect();
    let what = "error lines of the suspect, at most";
    match rates.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((rate, subject)) => Figure {
            what: what.to_owned(),
            value: Known::Is(format!("{rate:.1} a minute and pod ({subject})")),
            seqs: vec![PLAN],
        },
        None => unknown(what, "no logs of it could be read before the plan was made"),
    }
}

/// What steps that cannot be taken back destroyed. A step whose outcome is not known may have done so.
fn lost(plan: &Plan, fold: &Fold<'_>) -> Figure {
    let mut seqs: Vec<Seq> = Vec::new();
    let mut losses: Vec<String> = Vec::new();
    for step in &plan.steps {
        let Reversal::PointOfNoReturn { lost } = &step.reversal else {
            continue;
        };
        let Some(doing) = fold.step(&step.id) else {
            continue;
        };
        let may = match doing.state {
            Some(StepState::Done) => "",
            Some(StepState::UnderWay | StepState::Unsettled) => "perhaps: ",
            _ => continue,
        };
        seqs.extend(doing.last.map(|moment| moment.seq));
        losses.push(format!("{may}{lost}"));
    }
    let value = if losses.is_empty() {
        "nothing: no step ran that cannot be taken back".to_owned()
    } else {
        losses.join("; ")
    };
    Figure {
        what: "lost for good".to_owned(),
        value: Known::Is(value),
        seqs: if seqs.is_empty() { vec![PLAN] } else { seqs },
    }
}

fn unknown(what: &str, why: &str) -> Figure {
    Figure {
        what: what.to_owned(),
        value: Known::Unknown(why.to_owned()),
        seqs: Vec::new(),
    }
}
