//! Whether a rollout cannot succeed: which troubles end a wait, and how long each must stand before it does. Owns
//! these limits and the clockwork; the time is an argument, and what is seen is too.

use super::mask::may_quote;
use super::object::Object;
use super::rollout::{Belongs, Member};
use astern_model::choice::human;
use astern_model::evidence::Trouble;
use astern_model::id::Uid;
use astern_model::target::WorkloadKind;
use astern_model::workload::Strategy;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A registry that hiccups answers at the kubelet's second try, which comes after 10 s; this is past it.
pub(crate) const IMAGE_PATIENCE: SignedDuration = SignedDuration::from_secs(20);
/// A ConfigMap or Secret that is applied beside its workload may come a few seconds after the pod.
pub(crate) const CONFIG_PATIENCE: SignedDuration = SignedDuration::from_secs(15);
/// A quota frees itself as old pods go, which takes a moment; admission does not change its mind by itself.
pub(crate) const CREATION_PATIENCE: SignedDuration = SignedDuration::from_secs(15);
/// Old pods that end make room within their grace period, 30 s by default; this is twice that.
pub(crate) const SCHEDULING_PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// So many restarts since the pod was last ready: once may be a dependency that is not there yet, thrice is a loop.
pub(crate) const CRASHES: u32 = 3;

/// What a trouble is counted under, so that the same one is known again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Image(Uid, String),
    Config(Uid, String),
    Unschedulable(Uid),
    Creation,
    Crash(Uid, String),
    Deadline,
}

/// Something seen now that may end the wait.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    cause: Cause,
    patience: SignedDuration,
    /// What is the matter, as a sentence without its duration.
    pub(crate) message: String,
    /// The pod that shows it.
    pub(crate) pod: Option<Suspect>,
}

/// A pod whose events and log tell more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    /// Whether what is said of it may quote its container.
    pub(crate) quoted: bool,
    /// The container whose log tells more, if one ever ran.
    pub(crate) crashed: Option<String>,
    /// Whether it waits for a node, which an autoscaler may be bringing.
    pub(crate) unscheduled: bool,
    /// Whether an ordered StatefulSet waits for this pod of another version, so that deleting it is the way out.
    pub(crate) in_the_way: bool,
}

/// What follows from what was seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outlook {
    /// It cannot succeed.
    Hopeless { finding: Finding, stood: SignedDuration },
    /// Nothing is decided; the next trouble that may be, would be after this span.
    Open { again: Option<SignedDuration> },
}

/// Since when each trouble stands. The caller's clock counts from the start of its watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    since: BTreeMap<Cause, SignedDuration>,
    restarts_when_ready: BTreeMap<Uid, u32>,
    excused: BTreeSet<Uid>,
}

impl Standing {
    /// Takes in what is seen at `now` and says what follows.
    pub(crate) fn look(&mut self, seen: &Sight<'_>, now: SignedDuration) -> Outlook {
        for member in seen.members.iter().filter(|member| member.pod.ready) {
            self.restarts_when_ready
                .insert(member.pod.uid.clone(), member.pod.restarts);
        }
        let findings = self.findings(seen);
        self.since
            .retain(|cause, _| findings.iter().any(|finding| &finding.cause == cause));
        let mut again: Option<SignedDuration> = None;
        for finding in findings {
            let since = *self.since.entry(finding.cause.clone()).or_insert(now);
            let stood = now - since;
            if stood >= finding.patience {
                return Outlook::Hopeless { finding, stood };
            }
            let left = finding.patience - stood;
            again = Some(again.map_or(left, |earliest| earliest.min(left)));
        }
        Outlook::Open { again }
    }

    /// From now on nothing is held against a pod for not being scheduled: a node is being made for it.
    pub(crate) fn excuse(&mut self, pod: &Uid) {
        self.excused.insert(pod.clone());
    }

    fn findings(&self, seen: &Sight<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for member in seen.members.iter().filter(|member| member.stands()) {
            match member.belongs {
                Belongs::Target => findings.extend(self.of_pod(member, false)),
                Belongs::Other if is_ordered(seen.workload) => findings.extend(self.of_pod(member, true)),
                Belongs::Other | Belongs::Unresolved => {}
            }
        }
        findings.extend(creation(seen));
        findings.extend(deadline(seen));
        findings
    }

    fn of_pod(&self, member: &Member, in_the_way: bool) -> Option<Finding> {
        let pod = &member.pod;
        let trouble = pod.trouble.as_ref()?;
        let (cause, patience) = match trouble {
            Trouble::ImagePull { container, .. } => {
                (Cause::Image(pod.uid.clone(), container.clone()), IMAGE_PATIENCE)
            }
            Trouble::CannotStart { container, .. } => {
                (Cause::Config(pod.uid.clone(), container.clone()), CONFIG_PATIENCE)
            }
            Trouble::Unschedulable { .. } if self.excused.contains(&pod.uid) => return None,
            Trouble::Unschedulable { .. } => (Cause::Unschedulable(pod.uid.clone()), SCHEDULING_PATIENCE),
            Trouble::CrashLoop { container, .. } => {
                let before = self.restarts_when_ready.get(&pod.uid).copied().unwrap_or(0);
                let crashes = pod.restarts.saturating_sub(before);
                if crashes < CRASHES {
                    return None;
                }
                (
                    Cause::Crash(pod.uid.clone(), container.clone()),
                    SignedDuration::ZERO,
                )
            }
            Trouble::NotReady { .. }
            | Trouble::Starting
            | Trouble::Terminating
            | Trouble::NodeLost { .. } => {
                return None;
            }
        };
        let whose = if in_the_way {
            "of the version before stands in the way: "
        } else {
            ""
        };
        Some(Finding {
            cause,
            patience,
            message: format!("pod/{} {whose}{}", pod.name, sentence(trouble)),
            pod: Some(suspect(member, trouble, in_the_way)),
        })
    }
}

/// What is seen at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) workload: &'a Object,
    pub(crate) members: &'a [Member],
    /// The words of the newest `FailedCreate` event of a StatefulSet or DaemonSet since the wait began.
    pub(crate) not_created: Option<&'a str>,
}

/// The finding as a sentence that says how long it stood, where it had to.
pub(crate) fn told(finding: &Finding, stood: SignedDuration) -> String {
    if finding.patience.is_zero() {
        return finding.message.clone();
    }
    format!(
        "{} (for {})",
        finding.message,
        human(SignedDuration::from_secs(stood.as_secs()))
    )
}

fn sentence(trouble: &Trouble) -> String {
    match trouble {
        Trouble::ImagePull {
            container,
            image,
            message,
        } => {
            format!("cannot pull image {image} of container {container}: {message}")
        }
        Trouble::CannotStart {
            container,
            reason,
            message,
        } => {
            format!("cannot make container {container}: {reason}: {message}")
        }
        Trouble::Unschedulable { message } => format!("finds no node: {message}"),
        Trouble::CrashLoop {
            container,
            exit_code: Some(code),
            restarts,
            ..
        } => {
            format!(
                "crashes again and again: container {container} ended with exit code {code}, {restarts} restarts"
            )
        }
        other => other.phrase(),
    }
}

/// Whether one broken pod holds up all others. Source:
/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback>.
fn is_ordered(workload: &Object) -> bool {
    matches!(workload.strategy(), Strategy::RollingUpdate { ordered: true, .. })
}

/// Pods that the controller cannot make: quota, admission, a missing ServiceAccount.
fn creation(seen: &Sight<'_>) -> Option<Finding> {
    let words = match seen.workload.kind() {
        WorkloadKind::Deployment | WorkloadKind::Rollout if seen.workload.observed() => {
            let condition = condition(seen.workload, "ReplicaFailure")?;
            (condition.status == "True").then_some(condition.message)?
        }
        WorkloadKind::Deployment | WorkloadKind::Rollout => return None,
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => seen.not_created?,
    };
    let message = format!("pods cannot be created: {words}");
    Some(Finding {
        cause: Cause::Creation,
        patience: CREATION_PATIENCE,
        message,
        pod: None,
    })
}

/// The progress deadline, if it is this template's: a condition from before the template was written stays until the
/// controller sees progress.
fn deadline(seen: &Sight<'_>) -> Option<Finding> {
    let workload = seen.workload;
    let condition = condition(workload, "Progressing")?;
    let exceeded = condition.status == "False" && condition.reason == "ProgressDeadlineExceeded";
    let written = workload.template_manager()?.at?;
    if !(workload.observed() && exceeded && condition.updated_at? > written) {
        return None;
    }
    let (why, pod) = waiting(seen.members).map_or_else(
        || (condition.message.to_owned(), None),
        |(why, suspect)| (why, Some(suspect)),
    );
    Some(Finding {
        cause: Cause::Deadline,
        patience: SignedDuration::ZERO,
        message: format!("the rollout made no progress within its deadline: {why}"),
        pod,
    })
}

/// A pod of the template that does not serve, and why, as a sentence. A deadline is final: a node that comes for it
/// does not take that back.
pub(crate) fn waiting(members: &[Member]) -> Option<(String, Suspect)> {
    let (member, trouble) = members
        .iter()
        .filter(|member| member.stands() && member.belongs == Belongs::Target)
        .find_map(|member| Some((member, member.pod.trouble.as_ref()?)))?;
    let suspect = Suspect {
        unscheduled: false,
        ..suspect(member, trouble, false)
    };
    Some((format!("pod/{} {}", member.pod.name, sentence(trouble)), suspect))
}

fn suspect(member: &Member, trouble: &Trouble, in_the_way: bool) -> Suspect {
    let crashed = match trouble {
        Trouble::CrashLoop { container, .. } | Trouble::NotReady { container, .. } => {
            (!container.is_empty()).then(|| container.clone())
        }
        _ => None,
    };
    Suspect {
        name: member.pod.name.clone(),
        uid: member.pod.uid.clone(),
        quoted: may_quote(trouble),
        crashed,
        unscheduled: matches!(trouble, Trouble::Unschedulable { .. }),
        in_the_way,
    }
}

struct Condition<'a> {
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    updated_at: Option<Timestamp>,
}

fn condition<'a>(workload: &'a Object, kind: &str) -> Option<Condition<'a>> {
    let conditions = workload.at("/status/conditions")?.as_array()?;
    let text = |condition: &'a serde_json::Value, field: &str| {
        condition
            .get(field)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    let found = conditions
        .iter()
        .find(|condition| text(condition, "type") == kind)?;
    Some(Condition {
        status: text(found, "status"),
        reason: text(found, "reason"),
        message: text(found, "message"),
        updated_at: text(found, "lastUpdateTime").parse().ok(),
    })
}

#[cfg(test)]
mod tests;
