//! Pods over time, and what stood in their way. Owns the watching and the counting; moves nothing.

use crate::TokioClock;
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::step::{Spec, workload};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::POD_TEMPLATE_HASH;
use astern_model::workload::version_of;
use astern_report::rehearsal::{Block, Budget, PodLane, PodPoint};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The events that say that a pod is not made, or finds no place.
const HINDRANCES: [&str; 2] = ["FailedCreate", "FailedScheduling"];

/// Which pods are of the version that each workload of a plan goes back to.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    lanes: Vec<Lane>,
}

#[derive(Clone, Debug)]
struct Lane {
    target: Target,
    /// The name of the object that keeps the revision.
    revision: String,
    from: String,
    to: String,
    desired: u32,
}

impl Wanted {
    /// Of the workloads that the plan writes a template to or waits for.
    pub(crate) fn of(plan: &Plan, inventory: &Inventory) -> Self {
        let mut lanes: BTreeMap<&Target, Lane> = BTreeMap::new();
        for step in &plan.steps {
            let Spec::Workload(workload::Spec::AwaitRollout { target, template, .. }) = &step.spec else {
                continue;
            };
            let Some(workload) = inventory.workloads.get(target) else {
                continue;
            };
            let Some(revision) = workload
                .revisions
                .iter()
                .find(|revision| &revision.hash == template)
            else {
                continue;
            };
            let lane = Lane {
                target: target.clone(),
                revision: revision.name.clone(),
                from: version_of(&workload.template),
                to: revision.version(),
                desired: workload.desired,
            };
            lanes.insert(target, lane);
        }
        Self {
            lanes: lanes.into_values().collect(),
        }
    }

    fn lane(&self, target: &Target) -> Option<&Lane> {
        self.lanes.iter().find(|lane| &lane.target == target)
    }
}

/// One pod, as far as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counted {
    target: Target,
    wanted: bool,
    ready: bool,
}

#[derive(Debug, Default)]
struct Seen {
    pods: BTreeMap<String, Counted>,
    points: BTreeMap<Target, Vec<(Timestamp, PodPoint)>>,
    /// Whose a pod is or was.
    owners: BTreeMap<String, Target>,
}

/// What a watch of the pods has seen. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct PodWatch {
    wanted: Arc<Wanted>,
    clock: TokioClock,
    seen: Arc<Mutex<Seen>>,
}

impl PodWatch {
    pub(crate) fn new(wanted: Wanted, clock: TokioClock) -> Self {
        Self {
            wanted: Arc::new(wanted),
            clock,
            seen: Arc::default(),
        }
    }

    /// Follows the pods. Never ends: whoever watches drops it.
    pub(crate) async fn follow(&self, client: kube::Client, namespace: &str) {
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        let mut events = watcher(pods, watcher::Config::default()).boxed();
        while let Some(event) = events.next().await {
            let Ok(event) = event else { continue };
            let mut seen = self.seen();
            match event {
                Event::Init => seen.pods.clear(),
                Event::InitApply(pod) => drop(self.take(&mut seen, &pod)),
                Event::InitDone => {
                    for lane in &self.wanted.lanes {
                        self.note(&mut seen, &lane.target);
                    }
                }
                Event::Apply(pod) => {
                    if let Some(target) = self.take(&mut seen, &pod) {
                        self.note(&mut seen, &target);
                    }
                }
                Event::Delete(pod) => {
                    let name = pod.metadata.name.unwrap_or_default();
                    if let Some(gone) = seen.pods.remove(&name) {
                        self.note(&mut seen, &gone.target);
                    }
                }
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, seen: &mut Seen, pod: &Pod) -> Option<Target> {
        let (target, revision) = whose(pod)?;
        let name = pod.metadata.name.clone()?;
        seen.owners.insert(name.clone(), target.clone());
        let lane = self.wanted.lane(&target)?;
        let ended = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"));
        if ended {
            seen.pods.remove(&name);
            return Some(target);
        }
        let conditions = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref());
        let ready = conditions
            .unwrap_or_default()
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let counted = Counted {
            wanted: revision == lane.revision,
            ready: ready && pod.metadata.deletion_timestamp.is_none(),
            target: target.clone(),
        };
        seen.pods.insert(name, counted);
        Some(target)
    }

    fn note(&self, seen: &mut Seen, target: &Target) {
        if self.wanted.lane(target).is_none() {
            return;
        }
        let mut point = PodPoint::default();
        for pod in seen.pods.values().filter(|pod| &pod.target == target) {
            let (there, ready) = if pod.wanted {
                (&mut point.to, &mut point.to_ready)
            } else {
                (&mut point.from, &mut point.from_ready)
            };
            *there += 1;
            *ready += u32::from(pod.ready);
        }
        let now = self.clock.time();
        let points = seen.points.entry(target.clone()).or_default();
        match points.last_mut() {
            Some((_, last)) if *last == point => {}
            // What changes in one moment is one change.
            Some((at, last)) if *at == now => *last = point,
            _ => points.push((now, point)),
        }
    }

    /// What was seen, with times since `began`.
    pub(crate) fn lanes(&self, began: Timestamp) -> Vec<PodLane> {
        let seen = self.seen();
        let since = |at: Timestamp| at.duration_since(began).max(SignedDuration::ZERO);
        self.wanted
            .lanes
            .iter()
            .map(|lane| {
                let points = seen
                    .points
                    .get(&lane.target)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                PodLane {
                    target: lane.target.clone(),
                    from: lane.from.clone(),
                    to: lane.to.clone(),
                    desired: lane.desired,
                    points: points
                        .iter()
                        .map(|(at, point)| PodPoint {
                            after: since(*at),
                            ..*point
                        })
                        .collect(),
                }
            })
            .collect()
    }

    /// The events since `began` that say that pods were hindered, by workload and cause.
    pub(crate) async fn blocks(
        &self,
        client: kube::Client,
        namespace: &str,
        began: Timestamp,
    ) -> Result<Vec<Block>, kube::Error> {
        let events = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Event"));
        let events: Api<DynamicObject> = Api::namespaced_with(client, namespace, &events);
        let warnings = kube::api::ListParams::default().fields("type=Warning");
        let seen = self.seen().owners.clone();
        let mut blocks: BTreeMap<(Option<Target>, String, String), Block> = BTreeMap::new();
        for event in events.list(&warnings).await? {
            let Some(block) = block(&event.data, began, &seen) else {
                continue;
            };
            let key = (block.target.clone(), block.reason.clone(), block.what.clone());
            blocks
                .entry(key)
                .and_modify(|known| {
                    known.first = known.first.min(block.first);
                    known.last = known.last.max(block.last);
                    known.times += block.times;
                })
                .or_insert(block);
        }
        let mut blocks: Vec<Block> = blocks.into_values().collect();
        blocks.sort_by_key(|block| block.first);
        Ok(blocks)
    }
}

/// Whose a pod is, and the name of the object that keeps its revision.
fn whose(pod: &Pod) -> Option<(Target, String)> {
    let metadata = &pod.metadata;
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let label = |name: &str| metadata.labels.as_ref()?.get(name).cloned();
    let (kind, name, revision) = match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = label(POD_TEMPLATE_HASH)?;
            let name = owner.name.strip_suffix(&hash)?.strip_suffix('-')?.to_owned();
            (WorkloadKind::Deployment, name, owner.name.clone())
        }
        "StatefulSet" => (
            WorkloadKind::StatefulSet,
            owner.name.clone(),
            label("controller-revision-hash")?,
        ),
        "DaemonSet" => {
            let revision = format!("{}-{}", owner.name, label("controller-revision-hash")?);
            (WorkloadKind::DaemonSet, owner.name.clone(), revision)
        }
        _ => return None,
    };
    let target = Target {
        kind,
        namespace: metadata.namespace.clone()?,
        name,
    };
    Some((target, revision))
}

fn block(event: &Value, began: Timestamp, owners: &BTreeMap<String, Target>) -> Option<Block> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let time = |pointer: &str| text(pointer)?.parse::<Timestamp>().ok();
    let reason = text("/reason").filter(|reason| HINDRANCES.contains(reason))?;
    let (first, last) = (time("/firstTimestamp")?, time("/lastTimestamp")?);
    // Events count in whole seconds.
    if last.as_second() < began.as_second() {
        return None;
    }
    let name = text("/involvedObject/name")?;
    let workload = |kind, name: &str| Target {
        kind,
        namespace: text("/involvedObject/namespace").unwrap_or_default().to_owned(),
        name: name.to_owned(),
    };
    let target = match text("/involvedObject/kind")? {
        "Pod" => owners.get(name).cloned(),
        "ReplicaSet" => name
            .rsplit_once('-')
            .map(|(deployment, _)| workload(WorkloadKind::Deployment, deployment)),
        kind => WorkloadKind::parse(kind).map(|kind| workload(kind, name)),
    };
    let since = |at: Timestamp| at.duration_since(began).max(SignedDuration::ZERO);
    Some(Block {
        target,
        reason: reason.to_owned(),
        what: lacking(text("/message")?),
        first: since(first),
        last: since(last),
        times: event
            .pointer("/count")
            .and_then(Value::as_u64)
            .and_then(|times| u32::try_from(times).ok())
            .unwrap_or(1),
    })
}

/// What is lacking, without the pod's generated name: a controller that tries again has another one each time.
fn lacking(message: &str) -> String {
    let said = match message.split_once(" is forbidden: ") {
        Some((_, said)) => said,
        None => message,
    };
    // Whom it might push aside is no answer where nobody may be pushed aside.
    match said.split_once(". no new claims to deallocate") {
        Some((said, _)) => said.to_owned(),
        None => said.trim_end_matches('.').to_owned(),
    }
}

/// Budgets that fewer pods stood under than they demand, while the rollout went below what was there before.
pub(crate) fn budgets(budgets: &[Value], inventory: &Inventory, lanes: &[PodLane]) -> Vec<Budget> {
    let mut found = Vec::new();
    for budget in budgets {
        let demands = budget.pointer("/status/desiredHealthy").and_then(Value::as_u64);
        let selector = budget
            .pointer("/spec/selector/matchLabels")
            .and_then(Value::as_object);
        let (Some(demands), Some(selector)) = (demands, selector) else {
            continue;
        };
        let demands = u32::try_from(demands).unwrap_or(u32::MAX);
        for lane in lanes {
            let labels = inventory
                .workloads
                .get(&lane.target)
                .and_then(|workload| workload.template.json().pointer("/metadata/labels"));
            let selected =
                labels.is_some_and(|labels| selector.iter().all(|(name, value)| labels[name] == *value));
            let least = lane
                .points
                .iter()
                .min_by_key(|point| (point.ready(), point.after));
            if let (true, Some(least), Some(first)) = (selected, least, lane.points.first())
                && least.ready() < demands
                && least.ready() < first.ready()
            {
                found.push(Budget {
                    name: budget["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                    target: lane.target.clone(),
                    demands,
                    lowest: least.ready(),
                    after: least.after,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::lacking;

    #[test]
    fn what_is_lacking_is_said_without_names_that_change_with_each_try() {
        assert_eq!(
            lacking(
                "Error creating: pods \"web-5f2k8-x1\" is forbidden: exceeded quota: tight, requested: pods=1"
            ),
            "exceeded quota: tight, requested: pods=1"
        );
        assert_eq!(
            lacking(
                "0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption: …"
            ),
            "0/3 nodes are available: 3 Insufficient cpu"
        );
    }
}
