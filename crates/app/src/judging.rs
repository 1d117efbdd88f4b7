//! Whether it is over: looks again and again over the soak window, by watching, and holds the verdict to all of it.

use crate::survey;
use crate::world::World;
use astern_exec::driver::Judge;
use astern_model::id::TemplateHash;
use astern_model::inventory::Inventory;
use astern_model::plan::{Criteria, Plan};
use astern_model::platform::Platform;
use astern_model::step::{Spec, workload};
use astern_model::target::Target;
use astern_model::verdict::{CheckResult, Item, Verdict};
use astern_plan::Baseline;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// How long the first look without a failure may take to come after the rollouts: old pods are still ending, logs
/// still hold the bad minutes. Beyond it the window begins all the same. What is unknown does not delay it: waiting
/// seldom makes it known.
pub const SETTLING: SignedDuration = SignedDuration::from_mins(2);
/// The longest time between two looks; a change of the workloads or their pods brings the next one sooner.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(15);
/// The shortest time between two looks, so that a rollout's many small changes do not become many requests.
const LOOK_AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(2);

/// The judge of a platform.
pub struct PlatformJudge {
    /// The outside.
    pub world: World,
    /// The platform, with its probes and thresholds.
    pub platform: Platform,
}

#[async_trait]
impl Judge for PlatformJudge {
    async fn judge(&self, plan: &Plan, since: Timestamp) -> Verdict {
        let serving = plan
            .steps
            .iter()
            .filter_map(|step| match &step.spec {
                Spec::Workload(workload::Spec::AwaitRollout { target, template, .. }) => {
                    Some((target.clone(), template.clone()))
                }
                Spec::Workload(_) | Spec::Helm(_) | Spec::Config(_) | Spec::Owner(_) => None,
            })
            .collect();
        validate(
            &self.world,
            &self.platform,
            &plan.recovered_when,
            since,
            serving,
            SETTLING,
        )
        .await
    }
}

/// Judges criteria until they have held for the whole soak window without a break, or until it is plain that they do
/// not. What could not be looked at is unknown, and unknown is not a pass.
///
/// `serving` names the template that each workload must serve; one that is not named must serve what it asks for.
/// `settling` is how long the first look without a failure may take to come: [`SETTLING`] after rollouts, zero else.
pub async fn validate(
    world: &World,
    platform: &Platform,
    criteria: &Criteria,
    since: Timestamp,
    serving: BTreeMap<Target, TemplateHash>,
    settling: SignedDuration,
) -> Verdict {
    let began = world.clock.now();
    let mut baseline: Option<Baseline> = None;
    let mut window: Option<Timestamp> = None;
    let mut worst: BTreeMap<(Target, String), Item> = BTreeMap::new();
    loop {
        let looked_at = world.clock.now();
        let items = match world.look.inventory(&platform.namespace).await {
            Ok(inventory) => {
                let baseline = baseline.get_or_insert_with(|| Baseline {
                    serving: serving.clone(),
                    ..Baseline::of(&inventory, since)
                });
                judge(
                    world,
                    platform,
                    criteria,
                    inventory,
                    baseline,
                    window.unwrap_or(since),
                )
                .await
            }
            Err(failure) => unseen(criteria, &failure.to_string()),
        };
        let good = items.iter().all(|item| item.result != CheckResult::Fail);
        let now = world.clock.now();
        if window.is_none() && (good || now.duration_since(began) >= settling) {
            window = Some(looked_at);
        }
        if window.is_some() {
            keep_worst(&mut worst, items.clone());
        }
        let held = window.map_or(SignedDuration::ZERO, |from| now.duration_since(from));
        let failed = window.is_some() && worst.values().any(|item| item.result == CheckResult::Fail);
        if held >= criteria.soak || failed {
            let items = if worst.is_empty() {
                items
            } else {
                worst.into_values().collect()
            };
            let held_for = if failed { SignedDuration::ZERO } else { held };
            return Verdict {
                from: window.unwrap_or(began),
                to: now,
                held_for,
                items,
            };
        }
        wait(world, criteria, held).await;
    }
}

/// What the same judge says of one look. Restarts count from the first look on for pods that were there before the
/// run; a pod made since has all of its restarts.
async fn judge(
    world: &World,
    platform: &Platform,
    criteria: &Criteria,
    mut inventory: Inventory,
    baseline: &Baseline,
    logs_since: Timestamp,
) -> Vec<Item> {
    let seen = senses(world, platform, criteria, &inventory, logs_since).await;
    survey::merge(&mut inventory, seen);
    astern_plan::verdict(criteria, &inventory, platform, baseline)
}

async fn senses(
    world: &World,
    platform: &Platform,
    criteria: &Criteria,
    inventory: &Inventory,
    since: Timestamp,
) -> Vec<astern_model::evidence::Evidence> {
    let (mut lines, answers) = futures::join!(
        world.sense.error_lines(
            inventory,
            &criteria.targets,
            &platform.policy.logs,
            Some(since),
            survey::SENSES_WITHIN
        ),
        world
            .sense
            .probe(&platform.namespace, &criteria.probes, survey::SENSES_WITHIN)
    );
    lines.extend(answers);
    lines
}

fn unseen(criteria: &Criteria, why: &str) -> Vec<Item> {
    let item = |target: &Target| Item {
        target: target.clone(),
        check: "pods serving".to_owned(),
        result: CheckResult::Unknown,
        evidence: why.to_owned(),
    };
    criteria.targets.iter().map(item).collect()
}

/// An item that was once not good in the window stays so: it must hold without a break.
fn keep_worst(worst: &mut BTreeMap<(Target, String), Item>, items: Vec<Item>) {
    for item in items {
        let key = (item.target.clone(), item.check.clone());
        match worst.get(&key).map(|known| known.result) {
            Some(known) if gravity(known) > gravity(item.result) => {}
            _ => {
                worst.insert(key, item);
            }
        }
    }
}

fn gravity(result: CheckResult) -> u8 {
    match result {
        CheckResult::Pass => 0,
        CheckResult::Unknown => 1,
        CheckResult::Fail => 2,
    }
}

async fn wait(world: &World, criteria: &Criteria, held: SignedDuration) {
    let left = (criteria.soak - held).max(LOOK_AT_MOST_EVERY);
    world.clock.sleep(LOOK_AT_MOST_EVERY.min(left)).await;
    let within = LOOK_EVERY.min(left) - LOOK_AT_MOST_EVERY;
    if within.is_positive() && world.look.changed(&criteria.targets, within).await.is_err() {
        world.clock.sleep(within).await;
    }
}
