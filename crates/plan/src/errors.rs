//! The judgement of error lines and probes: the one place where a rate becomes well or bad, for the assessment before
//! a run and for the verdict after it. Counts nothing itself.

use crate::assess::EVIDENCE_FRESH_FOR;
use astern_model::evidence::{Evidence, Fact, Known, Side};
use jiff::Timestamp;

/// The rates that logs are held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// With old pods there: bad at this many times their rate …
    pub(crate) times_former: f64,
    /// … and at least this rate.
    pub(crate) at_least: f64,
    /// Without old pods: bad from this rate on.
    pub(crate) absolute: f64,
}

/// What the logs say. Rates are lines a minute and pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Errors {
    /// As few as allowed.
    Well { live: f64, pods: u32 },
    /// The live version logs far more than allowed.
    Bad { live: f64, former: Option<f64> },
    /// Both versions log more than allowed, and the live one not far more than the former.
    BothBad { live: f64, former: f64 },
    /// It could not be found out, and why.
    Unknown(String),
}

/// Judges the error lines among the evidence about one workload.
pub(crate) fn judge(evidence: &[&Evidence], limits: Limits, now: Timestamp) -> Errors {
    let live = match rate(evidence, Side::Live, now) {
        Ok((live, pods)) => (live, pods),
        Err(why) => return Errors::Unknown(why),
    };
    let (live, pods) = live;
    match rate(evidence, Side::Former, now) {
        Ok((former, _)) if live >= limits.at_least && live >= limits.times_former * former => Errors::Bad {
            live,
            former: Some(former),
        },
        Ok((former, _)) if live >= limits.absolute && former >= limits.absolute => {
            Errors::BothBad { live, former }
        }
        Ok(_) => Errors::Well { live, pods },
        Err(_) if live >= limits.absolute => Errors::Bad { live, former: None },
        Err(_) => Errors::Well { live, pods },
    }
}

/// Why nothing is known of the former version's logs although they were asked for, so that the live one's were held
/// against the absolute limit alone.
pub(crate) fn former_unread(evidence: &[&Evidence], now: Timestamp) -> Option<String> {
    let asked = evidence
        .iter()
        .any(|of| of.side == Side::Former && matches!(of.fact, Fact::ErrorLines { .. }));
    let why = rate(evidence, Side::Former, now).err().filter(|_| asked)?;
    Some(format!("of the earlier version: {why}"))
}

/// What is wrong with pods of earlier versions that log as many errors as no version may, as a phrase.
pub(crate) fn former(evidence: &[&Evidence], limits: Limits, now: Timestamp) -> Option<String> {
    let (rate, _) = rate(evidence, Side::Former, now).ok()?;
    (rate >= limits.absolute)
        .then(|| format!("pods of earlier versions log {rate:.1} error lines a minute and pod"))
}

/// The worst rate that was read on one side. Nothing read is not zero, and an old look is no look.
fn rate(evidence: &[&Evidence], side: Side, now: Timestamp) -> Result<(f64, u32), String> {
    let mut worst: Option<(f64, u32)> = None;
    let mut why = "logs were not read".to_owned();
    for evidence in evidence.iter().filter(|evidence| evidence.side == side) {
        let Fact::ErrorLines { per_minute, pods, .. } = &evidence.fact else {
            continue;
        };
        match per_minute {
            Known::Unknown(reason) => why = format!("error lines are unknown: {reason}"),
            Known::Is(_) if *pods == 0 => why = "no pod's logs could be read".to_owned(),
            Known::Is(_) if !is_fresh(evidence, now) => why = "logs were last read too long ago".to_owned(),
            Known::Is(rate) if rate.is_nan() => why = "the rate of error lines is no number".to_owned(),
            Known::Is(rate) => {
                let rate = worst.map_or(*rate, |(seen, _)| seen.max(*rate));
                worst = Some((rate, worst.map_or(0, |(_, seen)| seen).saturating_add(*pods)));
            }
        }
    }
    worst.ok_or(why)
}

/// How a probe came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// As expected.
    Passed(String),
    /// Not as expected: what it answered.
    Failed(String),
    /// It could not be found out, and why.
    Unknown(String),
}

/// The answer of one probe among the evidence about one workload.
pub(crate) fn probe(evidence: &[&Evidence], name: &str, now: Timestamp) -> Answered {
    let mut answer = Answered::Unknown("it was not asked".to_owned());
    for evidence in evidence {
        let Fact::Probe {
            name: of,
            passed,
            detail,
        } = &evidence.fact
        else {
            continue;
        };
        if of != name {
            continue;
        }
        match passed {
            Known::Is(_) if !is_fresh(evidence, now) => {
                answer = Answered::Unknown("it was asked too long ago".to_owned());
            }
            Known::Is(false) => return Answered::Failed(detail.clone()),
            Known::Is(true) => answer = Answered::Passed(detail.clone()),
            Known::Unknown(why) => answer = Answered::Unknown(why.clone()),
        }
    }
    answer
}

/// `4.5 error lines a minute and pod, the former version 0.2`.
pub(crate) fn told(live: f64, former: Option<f64>) -> String {
    match former {
        Some(former) => format!("{live:.1} error lines a minute and pod, the former version {former:.1}"),
        None => format!("{live:.1} error lines a minute and pod"),
    }
}

fn is_fresh(evidence: &Evidence, now: Timestamp) -> bool {
    now.duration_since(evidence.observed_at) <= EVIDENCE_FRESH_FOR
}
