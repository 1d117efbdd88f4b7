//! The phrase for which a row of the matrix fired, read back from the assessment's own evidence, so that the words
//! can never say more than what was recorded.

use crate::errors;
use crate::signals;
use astern_model::assessment::WorkloadAssessment;
use astern_model::choice::{Because, Choice};
use astern_model::evidence::{Evidence, Fact, Known, Side, Trouble};
use astern_model::policy::When;

/// Why `when` holds for this workload, for which `chosen` was chosen, as a phrase.
pub(crate) fn why(entry: &WorkloadAssessment, chosen: Option<&Choice>, when: When) -> String {
    let told = match when {
        When::PodsNotStarting => not_created(entry).or_else(|| {
            trouble(entry, Side::Live, |trouble| {
                matches!(
                    trouble,
                    Trouble::ImagePull { .. } | Trouble::CannotStart { .. } | Trouble::Unschedulable { .. }
                )
            })
        }),
        When::CrashLoop => trouble(entry, Side::Live, |trouble| {
            matches!(trouble, Trouble::CrashLoop { .. })
        }),
        When::NotReady => trouble(entry, Side::Live, |trouble| {
            matches!(trouble, Trouble::NotReady { .. } | Trouble::Starting)
        })
        .or_else(|| deadline(entry)),
        When::ErrorLines => error_lines(entry),
        When::ProbeFails => failed_probe(entry),
        When::FormerFailsAlike => alike(entry),
        When::FormerUnwell => chosen.and_then(unwell),
        When::EvidenceMissing => Some(missing(entry)),
        When::AllHealthy => Some(format!(
            "{} of {} ready, {}",
            entry.ready,
            entry.desired,
            entry.state.word()
        )),
    };
    told.unwrap_or_else(|| entry.reason.clone())
}

/// What is wrong with the pods of the version that was chosen.
fn unwell(chosen: &Choice) -> Option<String> {
    let good = chosen.good.as_ref()?;
    match &good.because {
        Because::Observed {
            unwell: Some(unwell), ..
        } => Some(format!("{}: {unwell}", good.revision.version)),
        Because::Observed { .. }
        | Because::Released { .. }
        | Because::Restored { .. }
        | Because::Presumed { .. }
        | Because::Deployed { .. }
        | Because::Recalled { .. }
        | Because::Named { .. } => None,
    }
}

fn facts(entry: &WorkloadAssessment, side: Side) -> impl Iterator<Item = &Fact> {
    entry
        .evidence
        .iter()
        .filter(move |evidence| evidence.side == side)
        .map(|evidence| &evidence.fact)
}

fn trouble(entry: &WorkloadAssessment, side: Side, wanted: impl Fn(&Trouble) -> bool) -> Option<String> {
    facts(entry, side).find_map(|fact| match fact {
        Fact::Trouble {
            trouble,
            pods,
            example,
        } if wanted(trouble) => Some(format!(
            "{} ({}, {example})",
            signals::phrase(trouble),
            crate::world::count(*pods, "pod")
        )),
        _ => None,
    })
}

fn not_created(entry: &WorkloadAssessment) -> Option<String> {
    facts(entry, Side::Live).find_map(|fact| match fact {
        Fact::PodsNotCreated { message } => Some(format!("new pods cannot be made: {message}")),
        _ => None,
    })
}

fn deadline(entry: &WorkloadAssessment) -> Option<String> {
    facts(entry, Side::Live).find_map(|fact| match fact {
        Fact::ProgressDeadlineExceeded { message } => Some(format!("progress deadline exceeded: {message}")),
        _ => None,
    })
}

fn rate(entry: &WorkloadAssessment, side: Side) -> Option<f64> {
    let rates = facts(entry, side).filter_map(|fact| match fact {
        Fact::ErrorLines {
            per_minute: Known::Is(rate),
            pods,
            ..
        } if *pods > 0 => Some(*rate),
        _ => None,
    });
    rates.reduce(f64::max)
}

fn error_lines(entry: &WorkloadAssessment) -> Option<String> {
    let text = errors::told(rate(entry, Side::Live)?, rate(entry, Side::Former));
    let example = facts(entry, Side::Live).find_map(|fact| match fact {
        Fact::ErrorLines {
            example: Some(example),
            ..
        } => Some(format!(", such as \"{}\"", example.trim())),
        _ => None,
    });
    Some(text + &example.unwrap_or_default())
}

fn failed_probe(entry: &WorkloadAssessment) -> Option<String> {
    facts(entry, Side::Live).find_map(|fact| match fact {
        Fact::Probe {
            name,
            passed: Known::Is(false),
            detail,
        } => Some(format!("probe {name} fails: {detail}")),
        _ => None,
    })
}

fn alike(entry: &WorkloadAssessment) -> Option<String> {
    same_trouble(entry).or_else(|| error_lines(entry))
}

/// A trouble that pods of an earlier version share with live ones.
pub(crate) fn same_trouble(entry: &WorkloadAssessment) -> Option<String> {
    let kinds: Vec<u8> = facts(entry, Side::Live)
        .filter_map(|fact| match fact {
            Fact::Trouble { trouble, .. } => Some(signals::rank(trouble)),
            _ => None,
        })
        .collect();
    let same = trouble(entry, Side::Former, |trouble| {
        kinds.contains(&signals::rank(trouble))
    });
    same.map(|text| format!("the earlier version: {text}"))
}

/// What could not be found out, as far as evidence says why; otherwise what no evidence speaks of.
fn missing(entry: &WorkloadAssessment) -> String {
    let unknown = |evidence: &Evidence| match &evidence.fact {
        Fact::ErrorLines {
            per_minute: Known::Unknown(why),
            ..
        } => Some(match evidence.side {
            Side::Live => format!("error lines: {why}"),
            Side::Former => format!("error lines of the earlier version: {why}"),
        }),
        Fact::Probe {
            name,
            passed: Known::Unknown(why),
            ..
        } => Some(format!("probe {name}: {why}")),
        Fact::Trouble {
            trouble: trouble @ Trouble::NodeLost { .. },
            ..
        } => Some(trouble.phrase()),
        _ => None,
    };
    let mut told: Vec<String> = entry.evidence.iter().filter_map(unknown).collect();
    if rate(entry, Side::Live).is_none() && !told.iter().any(|text| text.starts_with("error lines:")) {
        told.push("logs were not read".to_owned());
    }
    if told.is_empty() {
        "a probe was not asked, or what was read is too old".to_owned()
    } else {
        told.join("; ")
    }
}
