//! How long things take: from earlier rollouts where there were any, otherwise from the template's probes, the count
//! and the strategy. Owns the numbers that a plan's deadlines and forecast rest on; orders nothing.

use crate::delivery;
use crate::world::{View, number};
use astern_model::id::TemplateHash;
use astern_model::step::{Basis, Forecast};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::{CanaryStep, Promotion, Strategy};
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::BTreeMap;

/// A write is one read and one update, and admission alone may take 30 s for that. Longer than the connection waits for
/// an answer, so that the connection says what went wrong, and not a deadline that knows nothing.
pub const WRITE_DEADLINE: SignedDuration = SignedDuration::from_secs(45);
/// An operator draws a version within seconds, and its provider may be slow: longer than the step itself waits, so that it says what
/// for.
pub(crate) const DRAWN_DEADLINE: SignedDuration = SignedDuration::from_secs(120);
/// No rollout is waited for longer than this, whatever its probes promise: four application RTOs.
pub const ROLLOUT_DEADLINE_MAX: SignedDuration = SignedDuration::from_mins(60);
/// What a Deployment that says nothing allows itself, taken for the kinds that cannot say it.
/// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#progress-deadline-seconds>.
pub(crate) const PROGRESS_DEADLINE: SignedDuration = SignedDuration::from_secs(600);
/// A Deployment's controller says that its progress deadline passed, and why, a moment after it did: the wait ends
/// after that, so that the failure tells the reason.
const PROGRESS_SLACK: SignedDuration = SignedDuration::from_secs(10);
/// A rollout that takes three times its forecast is not merely slow.
const DEADLINE_FACTOR: i64 = 3;
/// A controller takes a new template in within a second or two; with its own stop of a pod this is ample.
const DELETE_SLACK_SECONDS: i64 = 60;
/// One request to the API server, with the journal's records around it.
const REQUEST_SECONDS: i64 = 1;
/// Scheduling, sandbox and start of a container whose image the node has.
const POD_START_SECONDS: i64 = 2;
/// What a pod that runs without saying when it is ready is allowed before not being ready counts against it.
const READY_GRACE_MIN_SECONDS: i64 = 30;
/// Kubernetes' defaults for probes and pods. Source: the API reference, `Probe` and `PodSpec`.
const PERIOD_SECONDS: i64 = 10;
const SUCCESS_THRESHOLD: i64 = 1;
const FAILURE_THRESHOLD: i64 = 3;
const TERMINATION_GRACE_SECONDS: i64 = 30;
/// Kubernetes' default for both, of a Deployment's rolling update.
const DEFAULT_SURGE: &str = "25%";

/// How long earlier rollouts of each workload took, from the journals that are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The durations of completed waits, in any order.
    pub rollouts: BTreeMap<Target, Vec<SignedDuration>>,
}

impl History {
    fn median(&self, target: &Target) -> Option<Forecast> {
        let mut took = self.rollouts.get(target)?.clone();
        took.sort();
        let expected = *took.get(took.len().checked_sub(1)? / 2)?;
        Some(Forecast {
            expected,
            basis: Basis::History {
                runs: number(took.len()),
            },
        })
    }
}

/// One request.
pub(crate) fn request() -> Forecast {
    Forecast {
        expected: SignedDuration::from_secs(REQUEST_SECONDS),
        basis: Basis::Request,
    }
}

/// The rollout of `template` over the pods that are not of it yet.
pub(crate) fn rollout(
    history: &History,
    view: &View<'_>,
    hash: &TemplateHash,
    template: &Template,
) -> Forecast {
    history.median(&view.workload.target).unwrap_or_else(|| Forecast {
        expected: SignedDuration::from_secs(rollout_seconds(view, hash, template)),
        basis: Basis::Probes,
    })
}

/// How long a rollout with this forecast may take.
pub(crate) fn rollout_deadline(view: &View<'_>, forecast: &Forecast) -> SignedDuration {
    let own = view.workload.progress_deadline;
    let patience = own.map_or(PROGRESS_DEADLINE, |own| own + PROGRESS_SLACK);
    let tripled = SignedDuration::from_secs(forecast.expected.as_secs().saturating_mul(DEADLINE_FACTOR));
    patience.max(tripled).min(ROLLOUT_DEADLINE_MAX)
}

/// The deletion of a running pod of `template`: it may use its whole grace period. Where the service has one less
/// without it, the pod before it must serve `anew` first.
pub(crate) fn deletion(template: &Template, anew: Option<&Template>) -> Forecast {
    let renewal = anew.map_or(0, ready_seconds);
    let expected = grace(template)
        .saturating_add(REQUEST_SECONDS)
        .saturating_add(renewal);
    let expected = SignedDuration::from_secs(expected);
    Forecast {
        expected,
        basis: Basis::Probes,
    }
}

/// How long the deletion of a pod of `template` may take, the controller's taking in of the template with it.
pub(crate) fn deletion_deadline(template: &Template) -> SignedDuration {
    SignedDuration::from_secs(grace(template).saturating_add(DELETE_SLACK_SECONDS)).min(ROLLOUT_DEADLINE_MAX)
}

/// The same where only deletions replace pods, with the wait for those before it. The effect bounds that wait by
/// itself, within this.
pub(crate) fn renewal_deadline(template: &Template) -> SignedDuration {
    (deletion_deadline(template) + PROGRESS_DEADLINE + PROGRESS_SLACK).min(ROLLOUT_DEADLINE_MAX)
}

/// How old a pod of `template` may be before not being ready counts against it: what its own probes allow.
pub(crate) fn ready_grace(template: &Template) -> SignedDuration {
    let allowed = longest_probes(template, |probe| {
        probe
            .delay
            .saturating_add(probe.period.saturating_mul(probe.failures))
    });
    SignedDuration::from_secs(allowed.max(READY_GRACE_MIN_SECONDS))
}

fn rollout_seconds(view: &View<'_>, hash: &TemplateHash, template: &Template) -> i64 {
    let of_target = view
        .pods
        .iter()
        .filter(|pod| pod.ready && !pod.terminating && pod.revision.as_ref() == Some(hash));
    let left = i64::from(view.workload.desired.saturating_sub(number(of_target.count())));
    let fresh = ready_seconds(template).saturating_add(view.workload.min_ready.as_secs());
    let ending = grace(&view.workload.template);
    let one_by_one = fresh.saturating_add(ending);
    if left == 0 {
        return if view.former_pods().next().is_some() || view.live_pods().next().is_some() {
            ending
        } else {
            0
        };
    }
    match (&view.workload.strategy, view.workload.target.kind) {
        (Strategy::Recreate, _) => one_by_one,
        (Strategy::OnDelete, _) => fresh,
        (Strategy::BlueGreen { promotion, .. }, _) => {
            let waits = match promotion {
                Promotion::ControllerAfter { waits } if !delivery::skips_steps(view.workload, hash) => {
                    waits.as_secs()
                }
                Promotion::Controller | Promotion::ControllerAfter { .. } | Promotion::Person => 0,
            };
            fresh.saturating_add(waits)
        }
        (
            Strategy::Canary {
                max_surge,
                max_unavailable,
                steps,
                ..
            },
            _,
        ) => {
            let rolling = in_batches(
                max_surge,
                max_unavailable,
                view.workload.desired,
                left,
                fresh,
                ending,
            );
            if delivery::skips_steps(view.workload, hash) {
                rolling
            } else {
                rolling.saturating_add(pauses(steps))
            }
        }
        (Strategy::RollingUpdate { .. }, WorkloadKind::StatefulSet) => one_by_one.saturating_mul(left),
        (
            Strategy::RollingUpdate {
                max_surge,
                max_unavailable,
                ..
            },
            WorkloadKind::DaemonSet,
        ) => {
            let surge = share(
                max_surge.as_deref().unwrap_or("0"),
                view.workload.desired,
                Round::Up,
            );
            let gone = share(
                max_unavailable.as_deref().unwrap_or("1"),
                view.workload.desired,
                Round::Up,
            );
            match surge {
                0 => one_by_one.saturating_mul(batches(left, gone)),
                _ => fresh.saturating_mul(batches(left, surge)).saturating_add(ending),
            }
        }
        (
            Strategy::RollingUpdate {
                max_surge,
                max_unavailable,
                ..
            },
            WorkloadKind::Deployment | WorkloadKind::Rollout,
        ) => in_batches(
            max_surge,
            max_unavailable,
            view.workload.desired,
            left,
            fresh,
            ending,
        ),
    }
}

/// As many at once as surge and unavailability together allow.
fn in_batches(
    max_surge: &Option<String>,
    max_unavailable: &Option<String>,
    desired: u32,
    left: i64,
    fresh: i64,
    ending: i64,
) -> i64 {
    let text = |limit: &Option<String>| limit.clone().unwrap_or_else(|| DEFAULT_SURGE.to_owned());
    let surge = share(&text(max_surge), desired, Round::Up);
    let gone = share(&text(max_unavailable), desired, Round::Down);
    fresh
        .saturating_mul(batches(left, surge.saturating_add(gone)))
        .saturating_add(ending)
}

/// How long the pauses of a canary last; those that a person ends are not foretold.
fn pauses(steps: &[CanaryStep]) -> i64 {
    let seconds = steps.iter().map(|step| match step {
        CanaryStep::Pause { lasts: Some(lasts) } => lasts.as_secs(),
        CanaryStep::Pause { lasts: None } | CanaryStep::SetWeight { .. } | CanaryStep::Other { .. } => 0,
    });
    seconds.fold(0, i64::saturating_add)
}

fn batches(left: i64, size: i64) -> i64 {
    let size = size.max(1);
    left.saturating_add(size - 1) / size
}

#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
}

/// A surge or unavailability as written, in pods: Kubernetes rounds a percentage of surge up, of unavailability down.
fn share(text: &str, of: u32, round: Round) -> i64 {
    let Some(percent) = text.strip_suffix('%') else {
        return text.parse().unwrap_or(0);
    };
    let hundredfold = i64::from(of).saturating_mul(percent.parse().unwrap_or(0));
    match round {
        Round::Up => hundredfold.saturating_add(99) / 100,
        Round::Down => hundredfold / 100,
    }
}

/// What a template promises of each of its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// From being placed to running, where the node has the image.
    pub starts_after: SignedDuration,
    /// From running to ready, by its probes; zero where it has none.
    pub ready_after: SignedDuration,
    /// The longest it may take to stop: its grace period.
    pub stops_within: SignedDuration,
}

/// What `template` promises of each of its pods: what forecasts rest on where nothing was measured.
pub fn promise(template: &Template) -> Promise {
    Promise {
        starts_after: SignedDuration::from_secs(POD_START_SECONDS),
        ready_after: SignedDuration::from_secs(probed_ready_seconds(template)),
        stops_within: SignedDuration::from_secs(grace(template)),
    }
}

fn ready_seconds(template: &Template) -> i64 {
    POD_START_SECONDS.saturating_add(probed_ready_seconds(template))
}

fn probed_ready_seconds(template: &Template) -> i64 {
    longest_probes(template, |probe| {
        probe
            .delay
            .saturating_add(probe.period.saturating_mul(probe.successes))
    })
}

/// The longest that any container needs for its startup and readiness probes together, each weighed by `cost`.
fn longest_probes(template: &Template, cost: impl Fn(&ProbeTimes) -> i64) -> i64 {
    let of = |container: &Value| -> i64 {
        ["startupProbe", "readinessProbe"]
            .into_iter()
            .filter_map(|name| container.get(name))
            .map(|probe| cost(&ProbeTimes::of(probe)))
            .fold(0, i64::saturating_add)
    };
    template
        .containers()
        .iter()
        .map(|container| of(container.json))
        .max()
        .unwrap_or(0)
}

struct ProbeTimes {
    delay: i64,
    period: i64,
    successes: i64,
    failures: i64,
}

impl ProbeTimes {
    fn of(probe: &Value) -> Self {
        let field =
            |name: &str, default: i64| probe.get(name).and_then(Value::as_i64).unwrap_or(default).max(0);
        Self {
            delay: field("initialDelaySeconds", 0),
            period: field("periodSeconds", PERIOD_SECONDS),
            successes: field("successThreshold", SUCCESS_THRESHOLD),
            failures: field("failureThreshold", FAILURE_THRESHOLD),
        }
    }
}

fn grace(template: &Template) -> i64 {
    let said = template
        .json()
        .get("spec")
        .and_then(|spec| spec.get("terminationGracePeriodSeconds"));
    said.and_then(Value::as_i64)
        .unwrap_or(TERMINATION_GRACE_SECONDS)
        .max(0)
}
