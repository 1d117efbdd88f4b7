//! What pods, conditions and evidence say about one workload, put together: troubles by kind, what the controller
//! reports, what the logs and probes say, and what is missing. Owns the reading; the conclusion is `assess`'s.

use crate::assess::{RESTART_EVERY, RESTARTS_OFTEN};
use crate::errors::{self, Answered, Errors, Limits};
use crate::forecast::{PROGRESS_DEADLINE, ready_grace};
use crate::steps;
use crate::world::{View, World, count, number};
use astern_model::choice::human;
use astern_model::evidence::{Evidence, Fact, Side, Source, Trouble};
use astern_model::policy::{Policy, When};
use astern_model::workload::Pod;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Pods of one side that do not serve for the same cause.
#[derive(Clone, Debug)]
pub(crate) struct Troubled {
    pub(crate) trouble: Trouble,
    pub(crate) pods: u32,
    pub(crate) example: String,
}

/// Everything that speaks about one workload.
pub(crate) struct Signals {
    /// Ready pods of the live version.
    pub(crate) ready_live: u32,
    /// Pods of the live version.
    pub(crate) pods_live: u32,
    /// Ready pods of earlier versions.
    pub(crate) ready_former: u32,
    /// Pods of earlier versions.
    pub(crate) pods_former: u32,
    /// Causes that speak against the live version, gravest first.
    pub(crate) troubles: Vec<Troubled>,
    /// Live pods that do not serve yet, and need not.
    pub(crate) waiting: Vec<Troubled>,
    /// Live pods on nodes that do not answer.
    pub(crate) lost: Vec<Troubled>,
    /// Causes for which pods of earlier versions do not serve, with the pods' revision.
    pub(crate) former: Vec<(Pod, Trouble)>,
    /// Why new pods cannot be made.
    pub(crate) not_created: Option<String>,
    /// A broken pod of an earlier version for which the rollout of the live one waits for ever.
    pub(crate) blocked: Option<String>,
    /// The condition that the rollout made no progress.
    pub(crate) deadline: Option<String>,
    /// A live pod that serves between crashes: its name and restarts.
    pub(crate) restarting: Option<(String, u32)>,
    /// What the logs say.
    pub(crate) errors: Errors,
    /// Probes that fail: name and answer.
    pub(crate) probes_failed: Vec<(String, String)>,
    /// What could not be found out, a phrase each.
    pub(crate) missing: Vec<String>,
    /// The workload has pods, and none could be read.
    pub(crate) pods_unread: bool,
}

impl Signals {
    /// Reads one workload.
    pub(crate) fn of(view: &View<'_>, world: &World<'_>) -> Self {
        let at = world.taken_at();
        let policy = &world.platform.policy;
        let pods_unread = view.pods.is_empty() && view.workload.status.replicas > 0;
        let (troubles, waiting, lost) = live_troubles(view, at);
        let errors = errors::judge(&view.evidence, limits(policy), at);
        let (probes_failed, probes_unknown) = probes(view, world);
        let mut signals = Self {
            ready_live: number(view.live_pods().filter(|pod| pod.ready).count()),
            pods_live: number(view.live_pods().count()),
            ready_former: number(view.former_pods().filter(|pod| pod.ready).count()),
            pods_former: number(view.former_pods().count()),
            troubles,
            waiting,
            lost,
            blocked: None,
            former: former_troubles(view, at),
            not_created: not_created(view),
            deadline: deadline(view),
            restarting: restarting(view.live_pods(), at),
            errors,
            probes_failed,
            missing: probes_unknown,
            pods_unread,
        };
        if pods_unread {
            // Status cannot tell versions apart, but "updated" pods are those of the live one.
            signals.ready_live = view.workload.status.ready.min(view.workload.status.updated);
        }
        if signals.ready_live >= view.workload.desired {
            // An event about a pod that could not be made outlives the cause by an hour.
            signals.not_created = None;
            if signals.pods_former == 0 {
                signals.deadline = None;
            }
        }
        signals.blocked = signals.blocking(view);
        signals.note_missing(view, policy, at);
        signals
    }

    fn blocking(&self, view: &View<'_>) -> Option<String> {
        let (pod, trouble) = self
            .former
            .iter()
            .filter(|_| steps::waits_for_each(view))
            .find(|(_, trouble)| trouble.cannot_pass())?;
        Some(format!(
            "the rollout waits for {} of {}, which cannot recover: {}; it goes on once that pod is deleted",
            pod.name,
            view.version_of(pod),
            phrase(trouble)
        ))
    }

    fn note_missing(&mut self, view: &View<'_>, policy: &Policy, at: Timestamp) {
        let judged = |when: When| policy.matrix.iter().any(|row| row.when == when);
        if judged(When::ErrorLines) {
            match &self.errors {
                Errors::Unknown(why) => self.missing.push(why.clone()),
                _ => self.missing.extend(errors::former_unread(&view.evidence, at)),
            }
        }
        if self.pods_unread {
            self.missing.push("its pods could not be read".to_owned());
        }
        self.missing
            .extend(self.lost.iter().map(|lost| told(lost, self.pods_live)));
    }

    /// Whether pods of `chosen` fail now for a cause for which live ones fail, and do not mostly serve.
    pub(crate) fn former_fails_alike(
        &self,
        view: &View<'_>,
        chosen: &astern_model::id::TemplateHash,
    ) -> bool {
        let of_chosen = || {
            view.former_pods()
                .filter(|pod| pod.revision.as_ref() == Some(chosen))
        };
        if of_chosen().next().is_none() {
            return false;
        }
        let serving = of_chosen().filter(|pod| pod.ready).count();
        let alike = self.alike(chosen).count();
        (alike > 0 && alike >= serving) || matches!(self.errors, Errors::BothBad { .. })
    }

    /// Pods of `chosen` with a trouble of a kind that live pods have.
    pub(crate) fn alike<'s>(
        &'s self,
        chosen: &'s astern_model::id::TemplateHash,
    ) -> impl Iterator<Item = &'s (Pod, Trouble)> {
        self.former.iter().filter(move |(pod, trouble)| {
            pod.revision.as_ref() == Some(chosen)
                && self
                    .troubles
                    .iter()
                    .any(|live| rank(&live.trouble) == rank(trouble))
        })
    }
}

/// `CrashLoopBackOff, exit 1, 4 restarts: "no DATABASE_URL" (2 of 3 pods, api-x)`.
pub(crate) fn told(troubled: &Troubled, of: u32) -> String {
    let share = format!(
        "{} of {}, {}",
        troubled.pods,
        count(of.max(troubled.pods), "pod"),
        troubled.example
    );
    format!("{} ({share})", phrase(&troubled.trouble))
}

/// The trouble's own phrase with what a tired person asks next: the last log line, the kubelet's words.
pub(crate) fn phrase(trouble: &Trouble) -> String {
    match trouble {
        Trouble::CrashLoop {
            last_line: Some(line),
            ..
        } => format!("{}: \"{}\"", trouble.phrase(), line.trim()),
        Trouble::ImagePull { message, .. } if !message.is_empty() => {
            format!("{}: {message}", trouble.phrase())
        }
        _ => trouble.phrase(),
    }
}

/// The order of gravity: what cannot pass first. Two troubles of one rank are of one kind.
pub(crate) fn rank(trouble: &Trouble) -> u8 {
    match trouble {
        Trouble::CannotStart { .. } => 0,
        Trouble::ImagePull { .. } => 1,
        Trouble::CrashLoop { .. } => 2,
        Trouble::Unschedulable { .. } => 3,
        Trouble::NotReady { .. } => 4,
        Trouble::Starting => 5,
        Trouble::NodeLost { .. } => 6,
        Trouble::Terminating => 7,
    }
}

/// The log limits of a policy.
pub(crate) fn limits(policy: &Policy) -> Limits {
    Limits {
        times_former: policy.logs.times_former,
        at_least: policy.logs.at_least_per_minute,
        absolute: policy.logs.absolute_per_minute,
    }
}

type Grouped = (Vec<Troubled>, Vec<Troubled>, Vec<Troubled>);

/// Troubles of live pods: those that count, those that are merely young, those on lost nodes.
fn live_troubles(view: &View<'_>, at: Timestamp) -> Grouped {
    let (mut counts, mut waiting, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for pod in view.live_pods() {
        let Some(trouble) = pod.trouble.as_ref().filter(|_| !pod.ready) else {
            continue;
        };
        let bin = match trouble {
            Trouble::NodeLost { .. } => &mut lost,
            Trouble::Terminating => continue,
            _ if counts_against(view, pod, trouble, at) => &mut counts,
            _ => &mut waiting,
        };
        bin.push((pod.name.clone(), trouble.clone()));
    }
    let mut counts = group(counts);
    add_from_evidence(view, Side::Live, &mut counts);
    (counts, group(waiting), group(lost))
}

/// A node frees itself as old pods go, and the kubelet asks a registry that hiccups again after 10 s.
const MAY_PASS_FOR: SignedDuration = SignedDuration::from_secs(15);

/// Being young is no trouble: a pod may take as long as its own probes allow.
fn counts_against(view: &View<'_>, pod: &Pod, trouble: &Trouble, at: Timestamp) -> bool {
    let age = at.duration_since(pod.created_at);
    match trouble {
        Trouble::Unschedulable { .. } => age > MAY_PASS_FOR,
        // A kubelet that backs off has asked more than once, and one that may not ask will not.
        Trouble::ImagePull { message, .. } => {
            let is_certain = message.starts_with("Back-off") || message.contains("pull policy of Never");
            is_certain || age > MAY_PASS_FOR
        }
        Trouble::NotReady { .. } => age > ready_grace(&view.workload.template),
        Trouble::Starting => age > view.workload.progress_deadline.unwrap_or(PROGRESS_DEADLINE),
        _ => trouble.cannot_pass(),
    }
}

fn former_troubles(view: &View<'_>, at: Timestamp) -> Vec<(Pod, Trouble)> {
    let troubled = |pod: &&Pod| {
        pod.trouble
            .clone()
            .filter(|_| !pod.ready)
            .map(|trouble| ((*pod).clone(), trouble))
    };
    view.former_pods()
        .filter_map(|pod| troubled(&pod))
        .filter(|(pod, trouble)| counts_against(view, pod, trouble, at))
        .collect()
}

fn group(pods: Vec<(String, Trouble)>) -> Vec<Troubled> {
    let mut groups: BTreeMap<u8, Troubled> = BTreeMap::new();
    for (name, trouble) in pods {
        let group = groups.entry(rank(&trouble)).or_insert_with(|| Troubled {
            trouble: trouble.clone(),
            pods: 0,
            example: name.clone(),
        });
        group.pods = group.pods.saturating_add(1);
        if tells_more(&trouble, &group.trouble) {
            group.trouble = trouble;
            group.example = name;
        }
    }
    groups.into_values().collect()
}

/// Of two pods with the same kind of trouble the one with a log line, or else more restarts, speaks for all.
fn tells_more(a: &Trouble, b: &Trouble) -> bool {
    let key = |trouble: &Trouble| match trouble {
        Trouble::CrashLoop {
            restarts, last_line, ..
        } => (last_line.is_some(), *restarts),
        Trouble::NotReady { message, .. } => (message.is_some(), 0),
        _ => (false, 0),
    };
    key(a) > key(b)
}

/// Evidence may know a log line that pod status does not, or a trouble of pods that could not be read.
fn add_from_evidence(view: &View<'_>, side: Side, groups: &mut Vec<Troubled>) {
    for evidence in view.evidence.iter().filter(|evidence| evidence.side == side) {
        let Fact::Trouble {
            trouble,
            pods,
            example,
        } = &evidence.fact
        else {
            continue;
        };
        match groups
            .iter_mut()
            .find(|group| rank(&group.trouble) == rank(trouble))
        {
            Some(group) if tells_more(trouble, &group.trouble) => {
                group.trouble = trouble.clone();
                group.example.clone_from(example);
            }
            Some(_) => {}
            None if trouble.cannot_pass() && view.pods.is_empty() => {
                groups.push(Troubled {
                    trouble: trouble.clone(),
                    pods: *pods,
                    example: example.clone(),
                });
            }
            None => {}
        }
    }
    groups.sort_by_key(|group| rank(&group.trouble));
}

fn not_created(view: &View<'_>) -> Option<String> {
    let told = view.evidence.iter().find_map(|evidence| match &evidence.fact {
        Fact::PodsNotCreated { message } if evidence.side == Side::Live => Some(message.clone()),
        _ => None,
    });
    told.or_else(|| {
        let conditions = &view.workload.status.conditions;
        conditions
            .iter()
            .find(|condition| condition.kind == "ReplicaFailure" && condition.status == "True")
            .map(|condition| condition.message.clone())
    })
}

fn deadline(view: &View<'_>) -> Option<String> {
    let told = view.evidence.iter().find_map(|evidence| match &evidence.fact {
        Fact::ProgressDeadlineExceeded { message } if evidence.side == Side::Live => Some(message.clone()),
        _ => None,
    });
    let conditions = &view.workload.status.conditions;
    told.or_else(|| {
        conditions
            .iter()
            .find(|condition| {
                condition.kind == "Progressing" && condition.reason == "ProgressDeadlineExceeded"
            })
            .map(|condition| condition.message.clone())
    })
}

/// Whether a pod serves between crashes: a container that crashes again and again is ready in between.
pub(crate) fn restarts_often(pod: &Pod, at: Timestamp) -> bool {
    let lately = pod
        .ready_since
        .is_some_and(|since| at.duration_since(since) <= RESTART_EVERY);
    let every = at.duration_since(pod.created_at).as_secs() / i64::from(pod.restarts.max(1));
    pod.ready && lately && pod.restarts >= RESTARTS_OFTEN && every <= RESTART_EVERY.as_secs()
}

/// The one of `pods` that does so most often: its name and restarts.
pub(crate) fn restarting<'a>(pods: impl Iterator<Item = &'a Pod>, at: Timestamp) -> Option<(String, u32)> {
    pods.filter(|pod| restarts_often(pod, at))
        .max_by_key(|pod| pod.restarts)
        .map(|pod| (pod.name.clone(), pod.restarts))
}

type Probed = (Vec<(String, String)>, Vec<String>);

/// The probes of the platform file that fail, and those whose answer is not known.
fn probes(view: &View<'_>, world: &World<'_>) -> Probed {
    let (mut failed, mut unknown) = (Vec::new(), Vec::new());
    let member = world.members.get(&view.workload.target);
    let judged = world
        .platform
        .policy
        .matrix
        .iter()
        .any(|row| row.when == When::ProbeFails);
    for probe in member.map(|member| member.probes.as_slice()).unwrap_or_default() {
        match errors::probe(&view.evidence, &probe.name, world.taken_at()) {
            Answered::Passed(_) => {}
            Answered::Failed(detail) => failed.push((probe.name.clone(), detail)),
            Answered::Unknown(why) if judged => unknown.push(format!("probe {}: {why}", probe.name)),
            Answered::Unknown(_) => {}
        }
    }
    (failed, unknown)
}

/// The evidence about a workload, with what its pods say where no evidence says it.
pub(crate) fn complete_evidence(view: &View<'_>, signals: &Signals, at: Timestamp) -> Vec<Evidence> {
    let mut all: Vec<Evidence> = view.evidence.iter().map(|evidence| (*evidence).clone()).collect();
    let add = |all: &mut Vec<Evidence>, side: Side, fact: Fact| {
        let subject = view.workload.target.clone();
        all.push(Evidence {
            subject,
            side,
            fact,
            source: Source::Pods,
            window: None,
            observed_at: at,
        });
    };
    let has_serving = |side| {
        all.iter()
            .any(|e| e.side == side && matches!(e.fact, Fact::Serving { .. }))
    };
    let (live_told, former_told) = (has_serving(Side::Live), has_serving(Side::Former));
    let desired = view.workload.desired;
    if !live_told && !signals.pods_unread {
        let fact = Fact::Serving {
            ready: signals.ready_live,
            pods: signals.pods_live,
            desired,
        };
        add(&mut all, Side::Live, fact);
    }
    if !former_told && signals.pods_former > 0 {
        let fact = Fact::Serving {
            ready: signals.ready_former,
            pods: signals.pods_former,
            desired,
        };
        add(&mut all, Side::Former, fact);
    }
    let former = group(
        signals
            .former
            .iter()
            .map(|(pod, trouble)| (pod.name.clone(), trouble.clone()))
            .collect(),
    );
    let live = signals
        .troubles
        .iter()
        .chain(&signals.waiting)
        .chain(&signals.lost);
    let troubles = live
        .map(|t| (Side::Live, t))
        .chain(former.iter().map(|t| (Side::Former, t)));
    for (side, troubled) in troubles {
        let same = |e: &Evidence| match &e.fact {
            Fact::Trouble { trouble, .. } => e.side == side && rank(trouble) == rank(&troubled.trouble),
            _ => false,
        };
        if !all.iter().any(same) {
            let Troubled {
                trouble,
                pods,
                example,
            } = troubled.clone();
            add(
                &mut all,
                side,
                Fact::Trouble {
                    trouble,
                    pods,
                    example,
                },
            );
        }
    }
    all
}

/// `2 of 3 pods serve v1.2.4`, with what the others do.
pub(crate) fn progress(view: &View<'_>, signals: &Signals) -> String {
    let mut text = format!(
        "{} of {} of {} serve",
        signals.ready_live,
        count(view.workload.desired, "pod"),
        view.workload.version()
    );
    for waiting in &signals.waiting {
        text.push_str(&format!(", {}", told(waiting, signals.pods_live)));
    }
    if signals.pods_former > 0 {
        text.push_str(&format!(
            ", {} of earlier versions still there",
            count(signals.pods_former, "pod")
        ));
    }
    text
}

/// `api-x restarted 4 times in 12m`.
pub(crate) fn restarted(view: &View<'_>, restarting: &(String, u32), at: Timestamp) -> String {
    let (name, restarts) = restarting;
    let pod = view.pods.iter().find(|pod| &pod.name == name);
    let within = pod.map_or_else(String::new, |pod| {
        format!(" in {}", human(at.duration_since(pod.created_at)))
    });
    format!("{name} restarted {restarts} times{within} and is ready in between")
}
