//! One record as one sentence.

use crate::report::{JournalLine, PLAN, Tone};
use crate::word;
use astern_model::choice::human;
use astern_model::failure::Failure;
use astern_model::id::{PlanHash, StepId};
use astern_model::plan::Plan;
use astern_model::record::{Event, Outcome, Record, Request};
use astern_model::step::{After, helm, owner, workload};
use astern_model::verdict::{CheckResult, Verdict};

/// The plan's own line, then one for each record.
pub(super) fn lines(plan: &Plan, hash: &PlanHash, records: &[Record]) -> Vec<JournalLine> {
    let opening = JournalLine {
        seq: PLAN,
        at: plan.made_at,
        epoch: None,
        what: format!("plan {hash} made for {}", plan.platform),
        tone: Tone::Quiet,
    };
    let line = |record: &Record| {
        let (tone, what) = sentence(plan, &record.event);
        JournalLine {
            seq: record.seq,
            at: record.at,
            epoch: record.epoch,
            what,
            tone,
        }
    };
    std::iter::once(opening).chain(records.iter().map(line)).collect()
}

fn sentence(plan: &Plan, event: &Event) -> (Tone, String) {
    let step = |id: &StepId| {
        plan.step(id)
            .map_or_else(|| format!("step {id}"), |step| step.spec.phrase())
    };
    match event {
        Event::Approved { approval, .. } => (
            Tone::Quiet,
            format!(
                "approved by {} ({}): {}",
                approval.by,
                word::how(approval.how),
                approval.reason
            ),
        ),
        Event::Taken { holder } => (
            Tone::Quiet,
            format!(
                "taken by {} on {} (process {})",
                holder.user, holder.host, holder.pid
            ),
        ),
        Event::Saved { evidence, missed } => (
            Tone::Quiet,
            format!("evidence: {} saved, {} missed", evidence.len(), missed.len()),
        ),
        Event::Intended {
            step: id,
            key,
            attempt,
            ..
        } => (
            Tone::Quiet,
            format!("about to {} (attempt {attempt}, key {key})", step(id)),
        ),
        Event::Applied { step: id, after } => (Tone::Good, format!("done: {}{}", step(id), seen(after))),
        Event::Failed { step: id, failure } => (Tone::Bad, went_wrong("failed", &step(id), failure)),
        Event::Unsettled { step: id, failure } => {
            (Tone::Warn, went_wrong("outcome not known", &step(id), failure))
        }
        Event::ReverseIntended {
            step: id, attempt, ..
        } => (
            Tone::Warn,
            format!("about to take back: {} (attempt {attempt})", step(id)),
        ),
        Event::Reversed { step: id, .. } => (Tone::Warn, format!("taken back: {}", step(id))),
        Event::ReverseFailed { step: id, failure } => {
            (Tone::Bad, went_wrong("could not take back", &step(id), failure))
        }
        Event::Requested { request, by } => {
            let what = match request {
                Request::Pause => "to pause",
                Request::Abort => "to take back what was done",
            };
            (Tone::Warn, format!("{by} asked {what}"))
        }
        Event::Held { why } => (Tone::Warn, format!("held: {why}")),
        Event::Resumed { by } => (Tone::Quiet, format!("resumed by {by}")),
        Event::Unwinding { why } => (Tone::Warn, format!("from here on steps are taken back: {why}")),
        Event::Restored => (Tone::Good, "the last workload serves".to_owned()),
        Event::Judged { verdict } => judged(verdict),
        Event::Finished { outcome } => finished(outcome),
    }
}

fn judged(verdict: &Verdict) -> (Tone, String) {
    if verdict.passes() {
        return (Tone::Good, "validated: every check passed".to_owned());
    }
    let open = verdict
        .items
        .iter()
        .filter(|item| item.result != CheckResult::Pass)
        .count();
    let all = word::plural(verdict.items.len() as u64, "check");
    (
        Tone::Bad,
        format!("validation did not pass: {open} of {all} did not"),
    )
}

fn went_wrong(how: &str, phrase: &str, failure: &Failure) -> String {
    format!("{how}: {phrase}: {}", failure.message)
}

fn seen(after: &After) -> String {
    match after {
        After::Workload(workload::After::Serving { ready, desired, .. }) => {
            format!(" ({ready} of {desired} ready)")
        }
        After::Workload(workload::After::Gone { took }) => format!(" (after {})", human(*took)),
        After::Workload(workload::After::Kept { .. }) => " (it serves by now, and was left)".to_owned(),
        After::Workload(workload::After::Written { .. } | workload::After::Deleted { .. }) => String::new(),
        After::Helm(helm::After::RolledBack { revision }) => format!(" (it is revision {revision} now)"),
        After::Owner(owner::After::Quiet { known_by }) => match known_by {
            Some(known_by) => format!(" ({known_by})"),
            None => " (its controller did not answer; the run went on)".to_owned(),
        },
        After::Helm(helm::After::Holds | helm::After::Written { .. })
        | After::Config(_)
        | After::Owner(owner::After::Written { .. }) => String::new(),
    }
}

fn finished(outcome: &Outcome) -> (Tone, String) {
    match outcome {
        Outcome::Restored => (Tone::Good, "finished: every step is done".to_owned()),
        Outcome::Unwound { why } => (Tone::Warn, format!("finished: everything was taken back ({why})")),
        Outcome::Stuck { step, why } => (Tone::Bad, format!("finished: stuck at {step} ({why})")),
        Outcome::Superseded { by } => (Tone::Warn, format!("finished: superseded by {by}")),
    }
}
