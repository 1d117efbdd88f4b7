//! HorizontalPodAutoscalers: how many pods their target is to have by what the traffic costs. Owns the conditions and their
//! words; how much is measured is `metrics`', how fast the count may move `behaviour`'s.

mod behaviour;
mod metrics;

use super::{Controller, Task};
use crate::cluster::{Autoscaling, Cluster};
use crate::events::{self, Level};
use crate::object::{get, int, list, set, text};
use crate::selector::Labels;
use crate::store::Key;
use crate::time;
use behaviour::{Direction, Limited};
use jiff::{SignedDuration, Timestamp};
use metrics::{Load, Measured, Unmeasured};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const RESOURCE: &str = "horizontalpodautoscalers.autoscaling";
const COMPONENT: &str = "horizontal-pod-autoscaler";
/// How often a real controller looks. Source: `--horizontal-pod-autoscaler-sync-period`.
const EVERY: SignedDuration = SignedDuration::from_secs(15);

/// What the controller remembers of each autoscaler besides its object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memories(Arc<BTreeMap<Key, Memory>>);

/// Of one: what it recommended and how it changed the count, oldest first.
#[derive(Clone, Debug, Default)]
struct Memory {
    recommended: Vec<(Timestamp, i64)>,
    scaled: Vec<(Timestamp, i64)>,
    /// What its target's pods bear together, where it goes by that.
    load: Option<Load>,
}

/// Takes over what the autoscalers have measured that are here now, where they act by that.
pub(crate) fn loaded(cluster: &mut Cluster) {
    if cluster.options.autoscaling != Autoscaling::ByLoad {
        return;
    }
    for (key, load) in loads(cluster) {
        if let Ok(load) = load {
            memory(cluster, &key).load = Some(load);
            look_at_next_turn(cluster, key);
        }
    }
}

/// The autoscalers that do not act where others act by what they had measured, and why.
pub(crate) fn idle(cluster: &Cluster) -> Vec<(Key, String)> {
    let idle = loads(cluster)
        .into_iter()
        .filter(|(key, _)| load(cluster, key).is_none());
    idle.filter_map(|(key, load)| Some((key, load.err()?))).collect()
}

/// What the pods of each autoscaler's target bear by its status, or why that is not known.
fn loads(cluster: &Cluster) -> Vec<(Key, Result<Load, String>)> {
    let of = |autoscaler: &Value| {
        let target = target(cluster, autoscaler)?;
        let target = cluster.store.get(&target).ok_or("its target is gone")?;
        Load::measured(autoscaler, metrics::ready(cluster, target))
    };
    let namespaces = cluster.store.namespaces(RESOURCE).into_iter();
    namespaces
        .flat_map(|namespace| {
            let all = cluster.store.iter(RESOURCE, &namespace);
            all.map(|(name, autoscaler)| {
                (
                    Key::new(RESOURCE, namespace.clone(), name.clone()),
                    of(autoscaler),
                )
            })
            .collect::<Vec<_>>()
        })
        .collect()
}

/// Has the autoscalers of a namespace look again when they next would.
pub(crate) fn soon(cluster: &mut Cluster, namespace: &str) {
    let acts = |key: &Key| match cluster.options.autoscaling {
        Autoscaling::Nowhere => false,
        Autoscaling::ByTraffic => true,
        Autoscaling::ByLoad => load(cluster, key).is_some(),
    };
    if cluster.options.autoscaling == Autoscaling::Nowhere || cluster.store.count(RESOURCE, namespace) == 0 {
        return;
    }
    let keys: Vec<Key> = cluster
        .store
        .iter(RESOURCE, namespace)
        .map(|(name, _)| Key::new(RESOURCE, namespace, name.clone()))
        .filter(acts)
        .collect();
    for key in keys {
        look_at_next_turn(cluster, key);
    }
}

/// All look at the same turns, so that what happens between two of them counts once.
fn look_at_next_turn(cluster: &mut Cluster, key: Key) {
    let turn = EVERY.as_secs();
    let next = (cluster.now.as_second().div_euclid(turn) + 1) * turn;
    if let Ok(next) = Timestamp::from_second(next) {
        cluster.later(next, Task::new(Controller::Autoscaler, key));
    }
}

/// What a look came to.
struct Look {
    status: Value,
    conditions: Vec<Value>,
    now: String,
}

impl Look {
    fn of(autoscaler: &Value, now: Timestamp) -> Self {
        Self {
            status: autoscaler.get("status").cloned().unwrap_or_else(|| json!({})),
            conditions: list(autoscaler, "status.conditions").to_vec(),
            now: time::seconds(now),
        }
    }

    fn say(&mut self, kind: &str, holds: bool, reason: &str, message: &str) {
        let status = if holds { "True" } else { "False" };
        let said = json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": self.now,
        });
        let place = self.conditions.iter().position(|each| each["type"] == kind);
        match place.map(|place| &mut self.conditions[place]) {
            Some(former) => {
                let since = if former["status"] == status {
                    former["lastTransitionTime"].take()
                } else {
                    said["lastTransitionTime"].clone()
                };
                *former = said;
                former["lastTransitionTime"] = since;
            }
            None => self.conditions.push(said),
        }
    }

    fn written(mut self) -> Value {
        self.status["conditions"] = self.conditions.into();
        crate::object::default(&mut self.status, "desiredReplicas", 0);
        // None at all is not written.
        if self.status["currentReplicas"] == 0 {
            crate::object::remove(&mut self.status, "currentReplicas");
        }
        self.status
    }
}

pub(super) fn reconcile(cluster: &mut Cluster, key: &Key) {
    let Some(autoscaler) = cluster.store.get(key).cloned() else {
        Arc::make_mut(&mut cluster.autoscalers.0).remove(key);
        return;
    };
    let mut look = Look::of(&autoscaler, cluster.now);
    let again = decided(cluster, key, &autoscaler, &mut look);
    cluster.set_status(key, look.written());
    if again {
        look_at_next_turn(cluster, key.clone());
    }
}

/// The target's key, where it can be scaled.
fn target(cluster: &Cluster, autoscaler: &Value) -> Result<Key, String> {
    let reference = &autoscaler["spec"]["scaleTargetRef"];
    let kind = cluster
        .kinds
        .of(text(reference, "apiVersion"), text(reference, "kind"))
        .filter(|kind| kind.scale);
    let name = text(reference, "name");
    let Some(kind) = kind else {
        return Err(format!(
            "no matches for kind {:?} in group {:?}",
            text(reference, "kind"),
            text(reference, "apiVersion")
                .split_once('/')
                .map_or("", |(group, _)| group)
        ));
    };
    let key = Key::new(kind.resource(), text(autoscaler, "metadata.namespace"), name);
    if cluster.store.get(&key).is_none() {
        return Err(format!("{} {name:?} not found", kind.resource()));
    }
    Ok(key)
}

/// All autoscalers of a target where there is more than one: then none of them acts.
fn rivals(cluster: &Cluster, key: &Key, wanted: &Key) -> Vec<String> {
    let all = cluster.store.iter(RESOURCE, &key.namespace);
    let rivals: Vec<String> = all
        .filter(|(_, other)| target(cluster, other).is_ok_and(|other| other == *wanted))
        .map(|(name, _)| format!("{}/{name}", key.namespace))
        .collect();
    if rivals.len() > 1 { rivals } else { Vec::new() }
}

/// Decides, scales and says so; whether it has to look again though nothing else happens.
fn decided(cluster: &mut Cluster, key: &Key, autoscaler: &Value, look: &mut Look) -> bool {
    let target_key = match target(cluster, autoscaler) {
        Ok(target) => target,
        Err(why) => {
            events::record(
                cluster,
                COMPONENT,
                autoscaler,
                Level::Warning,
                "FailedGetScale",
                &why,
            );
            let message = format!("the HPA controller was unable to get the target's current scale: {why}");
            look.say("AbleToScale", false, "FailedGetScale", &message);
            return false;
        }
    };
    let Some(target) = cluster.store.get(&target_key).cloned() else {
        return false;
    };
    look.say(
        "AbleToScale",
        true,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    );
    let current = int(&target, "spec.replicas").unwrap_or(0);
    let min = int(autoscaler, "spec.minReplicas").unwrap_or(1);
    let max = int(autoscaler, "spec.maxReplicas").unwrap_or(1);
    look.status["currentReplicas"] = int(&target, "status.replicas").unwrap_or(0).into();
    if current == 0 && min != 0 {
        look.status["desiredReplicas"] = 0.into();
        let message = "scaling is disabled since the replica count of the target is zero";
        look.say("ScalingActive", false, "ScalingDisabled", message);
        return false;
    }
    let rivals = rivals(cluster, key, &target_key);
    if !rivals.is_empty() {
        let message = format!(
            "pods by selector {} are controlled by multiple HPAs: [{}]",
            Labels::of(get(&target, "spec.selector")).written(),
            rivals.join(" ")
        );
        events::record(
            cluster,
            COMPONENT,
            autoscaler,
            Level::Warning,
            "AmbiguousSelector",
            &message,
        );
        look.say("ScalingActive", false, "AmbiguousSelector", &message);
        return false;
    }
    let (wanted, why) = if current > max {
        (
            max,
            "Current number of replicas above Spec.MaxReplicas".to_owned(),
        )
    } else if current < min {
        (
            min,
            "Current number of replicas below Spec.MinReplicas".to_owned(),
        )
    } else {
        match metrics::measured(cluster, key, autoscaler, &target, current) {
            Err(why) => {
                failed(cluster, autoscaler, look, &why);
                return false;
            }
            Ok(measured) => {
                look.status["currentMetrics"] = measured.told.clone().into();
                let message = format!(
                    "the HPA was able to successfully calculate a replica count from {}",
                    measured.by
                );
                look.say("ScalingActive", true, "ValidMetricFound", &message);
                bounded(cluster, key, autoscaler, look, current, &measured)
            }
        }
    };
    look.status["desiredReplicas"] = wanted.into();
    let now = cluster.now;
    if wanted != current {
        cluster.modify_through(crate::managed::Part::Scale, &target_key, |target| {
            set(target, "spec.replicas", wanted);
            if target_key.resource.ends_with(".apps") {
                let generation = int(target, "metadata.generation").unwrap_or(0) + 1;
                set(target, "metadata.generation", generation);
            }
        });
        let message = format!("New size: {wanted}; reason: {why}");
        events::record(
            cluster,
            COMPONENT,
            autoscaler,
            Level::Normal,
            "SuccessfulRescale",
            &message,
        );
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        look.say("AbleToScale", true, "SucceededRescale", &message);
        look.status["lastScaleTime"] = look.now.clone().into();
        memory(cluster, key).scaled.push((now, wanted - current));
    }
    wanted != current || memory(cluster, key).unsettled(now)
}

/// The count within all bounds, with why it is another one than now.
fn bounded(
    cluster: &mut Cluster,
    key: &Key,
    autoscaler: &Value,
    look: &mut Look,
    current: i64,
    measured: &Measured,
) -> (i64, String) {
    let now = cluster.now;
    let memory = memory(cluster, key);
    let rules = |direction| behaviour::rules(autoscaler, direction);
    let stable = memory.stable(now, measured.replicas, current, rules);
    let (reason, message) = match stable.cmp(&measured.replicas) {
        std::cmp::Ordering::Greater => (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        ),
        std::cmp::Ordering::Less => (
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        ),
        std::cmp::Ordering::Equal => ("ReadyForNewScale", "recommended size matches current size"),
    };
    look.say("AbleToScale", true, reason, message);
    let (wanted, limited) = behaviour::limited(autoscaler, &memory.scaled, now, current, stable);
    let (reason, message) = limited.words();
    look.say("ScalingLimited", limited != Limited::Not, reason, message);
    let why = if wanted > current {
        format!("{} above target", measured.by)
    } else {
        "All metrics below target".to_owned()
    };
    (wanted, why)
}

fn failed(cluster: &mut Cluster, autoscaler: &Value, look: &mut Look, why: &Unmeasured) {
    events::record(
        cluster,
        COMPONENT,
        autoscaler,
        Level::Warning,
        why.reason,
        &why.message,
    );
    let all = list(autoscaler, "spec.metrics").len();
    let message = format!(
        "invalid metrics ({} invalid out of {all}), first error is: failed to get {}: {}",
        why.invalid, why.named, why.message
    );
    events::record(
        cluster,
        COMPONENT,
        autoscaler,
        Level::Warning,
        "FailedComputeMetricsReplicas",
        &message,
    );
    look.status["currentMetrics"] = vec![json!({"type": ""}); all].into();
    let message = format!("the HPA was unable to compute the replica count: {}", why.message);
    look.say("ScalingActive", false, why.reason, &message);
}

/// What the pods of an autoscaler's target bear together, where it goes by that.
fn load<'a>(cluster: &'a Cluster, key: &Key) -> Option<&'a Load> {
    cluster.autoscalers.0.get(key)?.load.as_ref()
}

fn memory<'a>(cluster: &'a mut Cluster, key: &Key) -> &'a mut Memory {
    Arc::make_mut(&mut cluster.autoscalers.0)
        .entry(key.clone())
        .or_default()
}

impl Memory {
    /// The recommendation that has held through the window of its direction.
    fn stable(
        &mut self,
        now: Timestamp,
        recommended: i64,
        current: i64,
        rules: impl Fn(Direction) -> behaviour::Rules,
    ) -> i64 {
        let windows = [Direction::Up, Direction::Down].map(|direction| rules(direction).stable_for);
        let longest = windows[0].max(windows[1]);
        self.recommended
            .retain(|(at, _)| now.duration_since(*at) < longest);
        // The first look takes the count that it finds for a recommendation, and none goes by without one.
        if self.recommended.is_empty() {
            self.recommended.push((now, current));
        }
        self.recommended.push((now, recommended));
        let within = |window: SignedDuration| {
            let recent = self.recommended.iter();
            let recent = recent.filter(move |(at, _)| now.duration_since(*at) < window);
            recent.map(|(_, count)| *count)
        };
        let lowest = within(windows[0]).min().unwrap_or(recommended).min(recommended);
        let highest = within(windows[1]).max().unwrap_or(recommended).max(recommended);
        current.max(lowest).min(highest)
    }

    /// Whether time alone may still change what is to be done.
    fn unsettled(&self, now: Timestamp) -> bool {
        let last = self.recommended.last().map(|(_, count)| *count);
        let differs = self.recommended.iter().any(|(_, count)| Some(*count) != last);
        let moved = self.scaled.last();
        differs || moved.is_some_and(|(at, _)| now.duration_since(*at) < behaviour::LONGEST_PERIOD)
    }
}

/// Whether a change of an autoscaler is a reason to look: that of its own status is none.
pub(super) fn changed(before: Option<&Value>, after: Option<&Value>) -> bool {
    let spec = |object: Option<&Value>| object.and_then(|object| get(object, "spec")).cloned();
    spec(before) != spec(after)
}

/// Whether a change of a workload concerns its autoscaler.
pub(super) fn concerned(before: Option<&Value>, after: Option<&Value>) -> bool {
    let counts = ["spec.replicas", "status.replicas", "status.readyReplicas"];
    let counts = |object: Option<&Value>| object.map(|object| counts.map(|count| int(object, count)));
    counts(before) != counts(after)
}
