//! The judge after a run: the checklist of each workload, item by item pass, fail or unknown, each with what it rests
//! on. Uses the thresholds that opened the case; how long a verdict must hold is the caller's.

use crate::errors::{self, Answered, Errors, Limits};
use crate::world::{View, World, count, number};
use crate::{images, signals};
use astern_model::choice::human;
use astern_model::evidence::Trouble;
use astern_model::id::{TemplateHash, Uid};
use astern_model::inventory::Inventory;
use astern_model::owner::OwnerName;
use astern_model::plan::Criteria;
use astern_model::platform::{Platform, Probe};
use astern_model::target::{Target, WorkloadKind};
use astern_model::verdict::{CheckResult, Item};
use astern_model::workload::{OwnerState, Pod, Strategy};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What the world is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// When the run began; a pod made later has all its restarts since then.
    pub started_at: Timestamp,
    /// Restarts of the pods that were there then, by the pod's uid.
    pub restarts: BTreeMap<Uid, u32>,
    /// The template that each workload must serve. A workload that is not here must serve what it asks for.
    pub serving: BTreeMap<Target, TemplateHash>,
}

impl Baseline {
    /// A baseline of this moment: what `inventory` shows, and whatever each workload asks for.
    pub fn of(inventory: &Inventory, started_at: Timestamp) -> Self {
        let pods = inventory.workloads.values().flat_map(|workload| &workload.pods);
        let restarts = pods.map(|pod| (pod.uid.clone(), pod.restarts)).collect();
        Self {
            started_at,
            restarts,
            serving: BTreeMap::new(),
        }
    }
}

/// Judges every workload of `criteria` by an inventory that was taken after the run, with evidence from after it.
/// Items come in the order of the targets; what could not be found out is `unknown`, never a pass.
pub fn verdict(
    criteria: &Criteria,
    inventory: &Inventory,
    platform: &Platform,
    baseline: &Baseline,
) -> Vec<Item> {
    let world = World::new(inventory, platform);
    let mut probes: BTreeMap<&Target, Vec<&Probe>> = BTreeMap::new();
    for (target, probe) in &criteria.probes {
        probes.entry(target).or_default().push(probe);
    }
    let mut items = Vec::new();
    for target in &criteria.targets {
        let Some(view) = world.views.get(target) else {
            items.push(item(
                target,
                "pods serving",
                fail(format!("{target} does not exist")),
            ));
            continue;
        };
        let case = Case {
            view,
            criteria,
            platform,
            baseline,
            at: inventory.taken_at,
        };
        items.extend(case.items(probes.get(target).map(Vec::as_slice).unwrap_or_default()));
    }
    items
}

/// A result with what it rests on.
pub(crate) type Found = (CheckResult, String);

pub(crate) fn pass(evidence: String) -> Found {
    (CheckResult::Pass, evidence)
}

pub(crate) fn fail(evidence: String) -> Found {
    (CheckResult::Fail, evidence)
}

pub(crate) fn unknown(evidence: String) -> Found {
    (CheckResult::Unknown, evidence)
}

fn item(target: &Target, check: &str, (result, evidence): Found) -> Item {
    Item {
        target: target.clone(),
        check: check.to_owned(),
        result,
        evidence,
    }
}

/// One workload under judgement.
struct Case<'a> {
    view: &'a View<'a>,
    criteria: &'a Criteria,
    platform: &'a Platform,
    baseline: &'a Baseline,
    at: Timestamp,
}

impl<'a> Case<'a> {
    fn items(&self, probes: &[&Probe]) -> Vec<Item> {
        let target = &self.view.workload.target;
        let mut found = vec![
            ("pods serving", self.serving()),
            ("no pods of the former version left", self.former_gone()),
            ("conditions", self.conditions()),
        ];
        // A workload that asks for no pods has none to be ready, to restart or to log.
        if self.view.workload.desired > 0 {
            found.push(("restarts since the run began", self.restarts()));
            found.push(("readiness", self.readiness()));
            let expected = self.criteria.images.iter().find(|(of, _)| of == target);
            if let Some((_, images)) = expected.filter(|(_, images)| !images.is_empty()) {
                found.push(("image digests", images::judge(self.pods(), images)));
            }
            found.push(("error lines", self.error_lines()));
        }
        let held: Vec<&OwnerName> = self
            .criteria
            .owners
            .iter()
            .filter(|(of, _)| of == target)
            .map(|(_, name)| name)
            .collect();
        if !held.is_empty() {
            found.push(("owners paused", self.owners(&held)));
        }
        let mut items: Vec<Item> = found
            .into_iter()
            .map(|(check, found)| item(target, check, found))
            .collect();
        items.extend(
            probes
                .iter()
                .map(|probe| item(target, &format!("probe {}", probe.name), self.probe(probe))),
        );
        items
    }

    /// The owners that the plan has paused write nothing still.
    fn owners(&self, held: &[&OwnerName]) -> Found {
        let mut told = Vec::new();
        for name in held {
            let mut owners = self.view.workload.owners.iter();
            let Some(owner) = owners.find(|owner| owner.object.as_ref() == Some(name)) else {
                return unknown(format!("{name} could not be looked at"));
            };
            match &owner.state {
                OwnerState::Passive { because } => told.push(format!("{name}: {because}")),
                OwnerState::WritesBack { because } => {
                    return fail(format!("somebody has switched {name} on again: {because}"));
                }
                OwnerState::Busy { operation } => return fail(format!("{name}: {operation}")),
                OwnerState::Unknown { why } => return unknown(format!("{name}: {why}")),
            }
        }
        pass(told.join("; "))
    }

    /// The template whose pods must serve.
    fn wanted(&self) -> &'a TemplateHash {
        self.baseline
            .serving
            .get(&self.view.workload.target)
            .unwrap_or(&self.view.live)
    }

    fn version(&self) -> String {
        let revision = self.view.revision(self.wanted());
        revision.map_or_else(|| self.view.workload.version(), |revision| revision.version())
    }

    /// Pods of the wanted version that are not on their way out.
    fn pods(&self) -> impl Iterator<Item = &'a Pod> + Clone {
        let wanted = self.wanted();
        let is_wanted = move |pod: &&Pod| !pod.terminating && pod.revision.as_ref() == Some(wanted);
        self.view.pods.iter().copied().filter(is_wanted)
    }

    fn unread(&self) -> Option<Found> {
        let is_unread = self.view.pods.is_empty() && self.view.workload.status.replicas > 0;
        is_unread.then(|| unknown("its pods could not be read".to_owned()))
    }

    fn serving(&self) -> Found {
        let workload = self.view.workload;
        if self.wanted() != &self.view.live {
            return fail(format!(
                "it asks for {} now, not for what was written back",
                workload.version()
            ));
        }
        if let Some(unread) = self.unread() {
            return unread;
        }
        if !workload.status.observed {
            return unknown("its controller has not taken in the newest template yet".to_owned());
        }
        let ready = number(self.pods().filter(|pod| pod.ready).count());
        let text = format!(
            "{ready} of {} of {} ready",
            count(workload.desired, "pod"),
            self.version()
        );
        if ready >= workload.desired {
            pass(text)
        } else {
            fail(text)
        }
    }

    fn former_gone(&self) -> Found {
        if let Some(unread) = self.unread() {
            return unread;
        }
        let wanted = self.wanted();
        let former: Vec<&Pod> = self
            .view
            .pods
            .iter()
            .copied()
            .filter(|pod| pod.revision.as_ref() != Some(wanted))
            .collect();
        let Some(first) = former.first() else {
            return pass("none".to_owned());
        };
        let lost = former
            .iter()
            .all(|pod| matches!(pod.trouble, Some(Trouble::NodeLost { .. })));
        let ending = former.iter().filter(|pod| pod.terminating).count();
        let text = format!(
            "{} left, {ending} on the way out: {} of {}",
            count(number(former.len()), "pod"),
            first.name,
            self.view.version_of(first)
        );
        if lost {
            unknown(format!("{text}; the node does not answer"))
        } else {
            fail(text)
        }
    }

    fn conditions(&self) -> Found {
        let workload = self.view.workload;
        let status = &workload.status;
        let told = |kind: &str| status.conditions.iter().find(|condition| condition.kind == kind);
        let bad = [
            ("Available", "False"),
            ("Progressing", "False"),
            ("ReplicaFailure", "True"),
        ];
        for (kind, is_bad) in bad {
            if let Some(condition) = told(kind).filter(|condition| condition.status == is_bad) {
                return fail(format!(
                    "{kind}={is_bad} ({}): {}",
                    condition.reason, condition.message
                ));
            }
        }
        if matches!(
            workload.target.kind,
            WorkloadKind::Deployment | WorkloadKind::Rollout
        ) {
            return match told("Available") {
                Some(condition) if condition.status == "True" => pass("Available=True".to_owned()),
                Some(condition) => unknown(format!("Available={}", condition.status)),
                None => unknown("its status has no condition Available".to_owned()),
            };
        }
        // StatefulSets and DaemonSets set no conditions; their counts say the same. With OnDelete "updated" lags.
        let counted = workload.strategy == Strategy::OnDelete
            || status.updated >= workload.desired
            || self.is_partitioned();
        let text = format!(
            "status: {} updated and {} available of {}",
            status.updated, status.available, workload.desired
        );
        if counted && status.available >= workload.desired {
            pass(text)
        } else {
            fail(text)
        }
    }

    fn is_partitioned(&self) -> bool {
        crate::steps::partition(self.view).is_some()
    }

    fn restarts(&self) -> Found {
        if let Some(unread) = self.unread() {
            return unread;
        }
        let mut since = 0_u32;
        let mut unsure = Vec::new();
        let mut worst: Option<(u32, &str)> = None;
        for pod in self.pods() {
            let before = match self.baseline.restarts.get(&pod.uid) {
                Some(before) => *before,
                None if pod.created_at >= self.baseline.started_at || pod.restarts == 0 => 0,
                None => {
                    unsure.push(pod.name.as_str());
                    continue;
                }
            };
            let more = pod.restarts.saturating_sub(before);
            since = since.saturating_add(more);
            if more > worst.map_or(0, |(most, _)| most) {
                worst = Some((more, &pod.name));
            }
        }
        match (worst, unsure.first()) {
            (Some((most, name)), _) => fail(format!("{}, {most} of them of {name}", count(since, "restart"))),
            (None, Some(name)) => unknown(format!(
                "{name} had restarts, and how many before the run is not known"
            )),
            (None, None) => pass("none".to_owned()),
        }
    }

    fn readiness(&self) -> Found {
        if let Some(unread) = self.unread() {
            return unread;
        }
        let unready: Vec<&Pod> = self.pods().filter(|pod| !pod.ready).collect();
        if let Some(pod) = unready.first() {
            let why = pod
                .trouble
                .as_ref()
                .map_or_else(|| "not ready".to_owned(), signals::phrase);
            let text = format!(
                "{} not ready: {}: {why}",
                count(number(unready.len()), "pod"),
                pod.name
            );
            return if matches!(pod.trouble, Some(Trouble::NodeLost { .. })) {
                unknown(text)
            } else {
                fail(text)
            };
        }
        if self.pods().next().is_none() {
            return fail(format!("there is no pod of {}", self.version()));
        }
        match self.pods().map(|pod| pod.ready_since).min().flatten() {
            Some(since) => {
                let youngest = self
                    .pods()
                    .filter_map(|pod| pod.ready_since)
                    .max()
                    .unwrap_or(since);
                pass(format!(
                    "all ready, the last one for {}",
                    human(self.at.duration_since(youngest))
                ))
            }
            None => pass("all ready".to_owned()),
        }
    }

    fn error_lines(&self) -> Found {
        let logs = &self.platform.policy.logs;
        let limits = Limits {
            times_former: logs.times_former,
            at_least: logs.at_least_per_minute,
            absolute: self.criteria.error_lines_per_minute,
        };
        match errors::judge(&self.view.evidence, limits, self.at) {
            Errors::Well { live, pods } => pass(format!(
                "{live:.1} a minute and pod, from the logs of {}",
                count(pods, "pod")
            )),
            Errors::Bad { live, former } => fail(errors::told(live, former)),
            Errors::BothBad { live, former } => fail(errors::told(live, Some(former))),
            Errors::Unknown(why) => unknown(why),
        }
    }

    fn probe(&self, probe: &Probe) -> Found {
        match errors::probe(&self.view.evidence, &probe.name, self.at) {
            Answered::Passed(detail) => pass(detail),
            Answered::Failed(detail) => fail(detail),
            Answered::Unknown(why) => unknown(why),
        }
    }
}
