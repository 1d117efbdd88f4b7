//! The words and icons for the model's nouns. An icon never stands without its word, so that nothing depends on
//! colour, font or sight.

use crate::line::LineKind;
use crate::report::Tone;
use crate::story::StepState;
use crate::visible::{clipped, visible};
use astern_model::approval::How;
use astern_model::assessment::Health;
use astern_model::choice::{Because, human};
use astern_model::diff::Shown;
use astern_model::evidence::{Evidence, Fact, Known, Side, Source, Trouble};
use astern_model::failure::{Failure, FailureClass};
use astern_model::finding::Severity;
use astern_model::plan::TargetChanges;
use astern_model::platform::{Probe, ProbeTarget};
use astern_model::policy::{OnFailure, Say};
use astern_model::reversal::Reversal;
use astern_model::step::{Basis, Forecast};
use astern_model::target::ClusterIdentity;
use astern_model::verdict::CheckResult;
use astern_model::workload::RevisionKind;
use jiff::Timestamp;

/// A changed value longer than this is cut in text; the HTML page and the JSON have it whole.
pub(crate) const VALUE_CHARS: usize = 72;

pub(crate) fn check(result: CheckResult) -> &'static str {
    match result {
        CheckResult::Pass => "✓ pass",
        CheckResult::Fail => "✗ fail",
        CheckResult::Unknown => "? unknown",
    }
}

pub(crate) fn check_tone(result: CheckResult) -> Tone {
    match result {
        CheckResult::Pass => Tone::Good,
        CheckResult::Fail => Tone::Bad,
        CheckResult::Unknown => Tone::Warn,
    }
}

pub(crate) fn health(health: Health) -> String {
    let icon = match health {
        Health::Healthy => "✓",
        Health::Progressing => "↻",
        Health::Degraded => "!",
        Health::Failing => "✗",
        Health::Unknown => "?",
    };
    format!("{icon} {}", health.word())
}

pub(crate) fn health_tone(health: Health) -> Tone {
    match health {
        Health::Healthy => Tone::Good,
        Health::Progressing | Health::Degraded | Health::Unknown => Tone::Warn,
        Health::Failing => Tone::Bad,
    }
}

pub(crate) fn say(say: Say) -> &'static str {
    match say {
        Say::RollBack => "↩ roll back",
        Say::Ask => "? ask a person",
        Say::DoNot => "✗ do not roll back",
    }
}

pub(crate) fn say_tone(say: Say) -> Tone {
    match say {
        Say::RollBack => Tone::Good,
        Say::Ask => Tone::Warn,
        Say::DoNot => Tone::Bad,
    }
}

pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Refuse => "✗ refused",
        Severity::Warn => "! warning",
    }
}

pub(crate) fn state(state: StepState) -> &'static str {
    match state {
        StepState::NotStarted => "· not started",
        StepState::UnderWay => "▸ under way",
        StepState::Done => "✓ done",
        StepState::Failed => "✗ failed",
        StepState::Unsettled => "? not known",
        StepState::BeingTakenBack => "◂ being taken back",
        StepState::TakenBack => "↩ taken back",
        StepState::NotTakenBack => "✗ could not be taken back",
    }
}

pub(crate) fn state_tone(state: StepState) -> Tone {
    match state {
        StepState::Done => Tone::Good,
        StepState::NotStarted => Tone::Quiet,
        StepState::UnderWay | StepState::Unsettled | StepState::BeingTakenBack | StepState::TakenBack => {
            Tone::Warn
        }
        StepState::Failed | StepState::NotTakenBack => Tone::Bad,
    }
}

/// How far a choice is believed, in a word. Only what was seen to serve, and is well, is called good.
pub(crate) fn believed(because: &Because) -> (Tone, &'static str) {
    match because {
        Because::Observed { unwell: None, .. } => (Tone::Good, "✓ good"),
        Because::Observed { .. } => (Tone::Warn, "? serves, not well"),
        Because::Released { .. } => (Tone::Good, "✓ good release"),
        Because::Restored { .. } => (Tone::Good, "✓ restored before"),
        Because::Presumed { .. } | Because::Deployed { .. } | Because::Recalled { .. } => {
            (Tone::Warn, "? presumed good")
        }
        Because::Named { .. } => (Tone::Warn, "? named"),
    }
}

/// The same as a sentence with its icon: the model's sentence begins with the word already.
pub(crate) fn because(because: &Because) -> (Tone, String) {
    let (tone, _) = believed(because);
    let icon = if tone == Tone::Good { "✓" } else { "?" };
    (tone, format!("{icon} {}", because.sentence()))
}

/// From where a template comes that the cluster does not remember.
pub(crate) fn provenance(of: &TargetChanges) -> Option<String> {
    let provenance = of.provenance.as_ref()?;
    let keeper = RevisionKind::of(of.target.kind).singular();
    Some(format!(
        "from {}; the cluster remembers no {keeper} of it",
        provenance.phrase()
    ))
}

/// The kind of a line that is coloured by a tone.
pub(crate) fn kind(tone: Tone) -> LineKind {
    match tone {
        Tone::Good => LineKind::Good,
        Tone::Warn => LineKind::Warn,
        Tone::Bad => LineKind::Bad,
        Tone::Quiet => LineKind::Dim,
    }
}

pub(crate) fn reversal(reversal: &Reversal) -> String {
    match reversal {
        Reversal::Exact => "can be taken back".to_owned(),
        Reversal::Compensate { trace } => format!("can be taken back, leaves {}", visible(trace)),
        Reversal::PointOfNoReturn { lost } => format!("CANNOT BE TAKEN BACK: {}", visible(lost)),
        Reversal::Nothing => "only reads".to_owned(),
    }
}

/// `about 40s, from 3 earlier runs`.
pub(crate) fn forecast(forecast: &Forecast) -> String {
    format!(
        "about {}, from {}",
        human(forecast.expected),
        basis(&forecast.basis)
    )
}

pub(crate) fn basis(basis: &Basis) -> String {
    match basis {
        Basis::History { runs: 1 } => "1 earlier run".to_owned(),
        Basis::History { runs } => format!("{runs} earlier runs"),
        Basis::Probes => "probes and counts".to_owned(),
        Basis::Request => "one request".to_owned(),
    }
}

pub(crate) fn how(how: How) -> &'static str {
    match how {
        How::Person => "a person read the plan and said yes",
        How::Yes => "--yes",
    }
}

pub(crate) fn on_failure(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::Hold => "the run holds: what was restored stays, and a person decides (resume or abort)",
        OnFailure::Unwind => "the run unwinds: what was done is taken back, in reverse order",
    }
}

/// What went wrong, one sentence without a full stop. An outcome that is not known is never called failed.
pub(crate) fn failure(failure: &Failure) -> String {
    match failure.class {
        FailureClass::Unknown => format!(
            "not known whether this was done: {} ({})",
            failure.operation, failure.message
        ),
        FailureClass::Transient { .. }
        | FailureClass::Conflict
        | FailureClass::Refused
        | FailureClass::Permanent => failure.to_string(),
    }
}

/// `8c1f… (namespace kube-system)`.
pub(crate) fn identity(identity: &ClusterIdentity) -> String {
    match identity {
        ClusterIdentity::KubeSystem(uid) => format!("{uid} (uid of namespace kube-system)"),
        ClusterIdentity::RootCa(uid) => format!("{uid} (uid of ConfigMap kube-root-ca.crt)"),
    }
}

pub(crate) fn source(source: Source) -> &'static str {
    match source {
        Source::Rollout => "rollout status",
        Source::Pods => "pod status",
        Source::Events => "events",
        Source::Logs => "logs",
        Source::Probe => "probe",
    }
}

pub(crate) fn side(side: Side) -> &'static str {
    match side {
        Side::Live => "the suspect",
        Side::Former => "the version before",
    }
}

/// What was observed, one sentence without a full stop.
pub(crate) fn fact(evidence: &Evidence) -> String {
    match &evidence.fact {
        Fact::Serving { ready, pods, desired } => format!("{ready} ready, {pods} there, {desired} asked for"),
        Fact::Trouble {
            trouble,
            pods,
            example,
        } => {
            let last = match trouble {
                Trouble::CrashLoop {
                    last_line: Some(line),
                    ..
                } => format!("; last line: {line}"),
                _ => String::new(),
            };
            format!(
                "{}: {} (pod/{example}){last}",
                plural(u64::from(*pods), "pod"),
                trouble.phrase()
            )
        }
        Fact::ErrorLines {
            per_minute: Known::Is(rate),
            pods,
            lines,
            ..
        } => format!(
            "{rate:.1} error lines a minute and pod ({} in {})",
            plural(*lines, "line"),
            plural(u64::from(*pods), "pod")
        ),
        Fact::ErrorLines {
            per_minute: Known::Unknown(why),
            ..
        } => format!("error lines are not known: {why}"),
        Fact::ProgressDeadlineExceeded { message } => format!("no progress within the deadline: {message}"),
        Fact::PodsNotCreated { message } => format!("pods cannot be made: {message}"),
        Fact::Probe {
            name,
            passed: Known::Is(true),
            detail,
        } => format!("probe {name} passed: {detail}"),
        Fact::Probe {
            name,
            passed: Known::Is(false),
            detail,
        } => format!("probe {name} failed: {detail}"),
        Fact::Probe {
            name,
            passed: Known::Unknown(why),
            ..
        } => format!("probe {name} is not known: {why}"),
    }
}

/// `probe health: service/api-gateway:8080/health answers 200`. Never a bearer token: the model has none.
pub(crate) fn probe(probe: &Probe) -> String {
    let place = match &probe.to {
        ProbeTarget::Service { service, port, path } => format!("service/{service}:{port}{path}"),
        ProbeTarget::Url(url) => url.clone(),
    };
    let json = probe
        .json
        .as_ref()
        .map(|json| format!(", {} is {}", json.path, json.equals))
        .unwrap_or_default();
    let header = probe
        .header
        .as_ref()
        .map(|header| format!(", {} is {}", header.name, header.equals))
        .unwrap_or_default();
    format!(
        "probe {}: {place} answers {}{json}{header}",
        probe.name, probe.status
    )
}

/// A value of a change, cut to [`VALUE_CHARS`].
pub(crate) fn shown(shown: &Shown) -> String {
    match shown {
        Shown::Value(value) => clipped(value, VALUE_CHARS),
        Shown::Masked | Shown::Keyed(_) => masked(shown),
    }
}

/// What stands for a value that may be secret; with its mark where it has one.
pub(crate) fn masked(shown: &Shown) -> String {
    match shown {
        Shown::Keyed(mark) => format!("‹masked {}›", visible(mark)),
        Shown::Masked | Shown::Value(_) => "‹masked›".to_owned(),
    }
}

/// The first twelve digits of `sha256:…`, as container tools print them.
pub(crate) fn digest(digest: &str) -> String {
    visible(digest.strip_prefix("sha256:").unwrap_or(digest))
        .chars()
        .take(12)
        .collect()
}

/// `1 step`, `3 steps`.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// Bytes as people read them.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{}.{} KiB", count / 1024, count % 1024 * 10 / 1024),
        _ => format!("{}.{} MiB", count / 1_048_576, count % 1_048_576 * 10 / 1_048_576),
    }
}

/// The time of day in UTC; with its date where that is not `origin`'s.
pub(crate) fn moment(at: Timestamp, origin: Timestamp) -> String {
    let format = if at.strftime("%F").to_string() == origin.strftime("%F").to_string() {
        "%T"
    } else {
        "%F %T"
    };
    at.strftime(format).to_string()
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}
