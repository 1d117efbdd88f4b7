//! Whoever would write a plan's targets back: paused before anything of theirs is written, those above them first, and let
//! go on once their source says what runs. Owns that order and its words.

use crate::config::Restoring;
use crate::forecast::{self, History};
use crate::refuse;
use crate::steps::{self, Moves};
use crate::world::World;
use astern_model::assessment::Assessment;
use astern_model::decision::{Decision, Refusal};
use astern_model::helm::ReleaseName;
use astern_model::id::{RunId, StepId};
use astern_model::inventory::Inventory;
use astern_model::owner::{InSync, OwnerName, OwnerSeen, Paused};
use astern_model::plan::{Criteria, Intent, Plan};
use astern_model::platform::Platform;
use astern_model::policy::Say;
use astern_model::reversal::Reversal;
use astern_model::step::owner::{Pin, Spec as OwnerSpec};
use astern_model::step::{Spec, Step};
use astern_model::target::Target;
use astern_model::workload::{Owner, OwnerState};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A controller that answers does so within seconds, and one that does not is not waited for longer than a breath; but what
/// it has begun may need a while to end.
const SEEN_DEADLINE: SignedDuration = SignedDuration::from_secs(120);

/// What a plan does to owners before it writes.
#[derive(Default)]
pub(crate) struct Pausing<'a> {
    /// The pauses and their waits, those above an owner first.
    pub(crate) steps: Vec<Step>,
    /// For each workload: what must be over before it is written.
    before: BTreeMap<&'a Target, BTreeSet<StepId>>,
    /// For each Helm release: what must be over before it is written.
    before_release: BTreeMap<&'a ReleaseName, BTreeSet<StepId>>,
    /// For each CronJob and ScaledObject that is paused: what must be over before that.
    before_starters: BTreeMap<&'a OwnerName, BTreeSet<StepId>>,
    /// The owner that each workload's pods would be written back by.
    pub(crate) held: Vec<(Target, OwnerName)>,
}

impl Pausing<'_> {
    /// What must be over before a workload is written.
    pub(crate) fn before(&self, target: &Target) -> impl Iterator<Item = StepId> {
        self.before.get(target).into_iter().flatten().cloned()
    }

    /// What must be over before a Helm release is written, for what it changes of ConfigMaps and Secrets.
    pub(crate) fn before_release(&self, release: &ReleaseName) -> impl Iterator<Item = StepId> {
        self.before_release.get(release).into_iter().flatten().cloned()
    }

    /// What must be over before a CronJob or ScaledObject is paused.
    pub(crate) fn before_starter(&self, name: &OwnerName) -> impl Iterator<Item = StepId> {
        self.before_starters.get(name).into_iter().flatten().cloned()
    }
}

/// The owners of what moves and of what is restored that write by themselves and can be paused. `left_free` are those whose
/// writing back somebody accepts. What ConfigMaps and Secrets wait for is put into their steps.
pub(crate) fn pausing<'a>(
    moves: &Moves<'a>,
    restoring: &mut Restoring<'a>,
    starters: impl Iterator<Item = &'a OwnerSeen>,
    world: &World<'a>,
    left_free: &BTreeSet<String>,
) -> Pausing<'a> {
    let mut chain = Chain {
        inventory: world.inventory,
        guard: world.platform.guard,
        left_free,
        steps: Vec::new(),
        waits: BTreeMap::new(),
    };
    let mut pausing = Pausing::default();
    for target in moves.keys().chain(restoring.restarts.keys()).copied() {
        let Some(view) = world.views.get(target) else {
            continue;
        };
        for owner in &view.workload.owners {
            let Some((name, wait)) = chain.stop(owner) else {
                continue;
            };
            pausing.before.entry(target).or_default().insert(wait);
            pausing.held.push((target.clone(), name.clone()));
        }
    }
    for seen in starters {
        let above = seen
            .parents
            .iter()
            .filter_map(|parent| Some(chain.stop(parent)?.1));
        pausing.before_starters.insert(&seen.name, above.collect());
    }
    for carrying in &restoring.carried {
        let live = carrying
            .objects
            .iter()
            .filter_map(|(object, _)| world.inventory.config.live(object));
        let waits = live.flat_map(|live| &live.owners);
        let waits = waits.filter_map(|owner| Some(chain.stop(owner)?.1)).collect();
        pausing.before_release.insert(carrying.release, waits);
    }
    for step in &mut restoring.steps {
        let live = step
            .spec
            .config()
            .and_then(|spec| world.inventory.config.live(spec.object()));
        let waits = live.into_iter().flat_map(|live| &live.owners);
        let waits: BTreeSet<StepId> = waits.filter_map(|owner| Some(chain.stop(owner)?.1)).collect();
        step.after.extend(waits);
    }
    pausing.steps = chain.steps;
    pausing
}

/// The pauses, as they are found.
struct Chain<'a, 'b> {
    inventory: &'a Inventory,
    guard: SignedDuration,
    left_free: &'b BTreeSet<String>,
    steps: Vec<Step>,
    waits: BTreeMap<&'a OwnerName, Option<StepId>>,
}

impl<'a> Chain<'a, '_> {
    /// Pauses an owner that writes by itself, and those above it before; the wait after which it is quiet.
    fn stop(&mut self, owner: &'a Owner) -> Option<(&'a OwnerName, StepId)> {
        let name = owner
            .object
            .as_ref()
            .filter(|_| !self.left_free.contains(&owner.name))?;
        if let Some(known) = self.waits.get(name) {
            return known.clone().map(|wait| (name, wait));
        }
        // An owner above which stands itself, by whatever way, is paused once.
        self.waits.insert(name, None);
        let seen = self.inventory.owner(name).filter(|seen| writes(owner, seen))?;
        let above: BTreeSet<StepId> = seen
            .parents
            .iter()
            .filter_map(|parent| Some(self.stop(parent)?.1))
            .collect();
        let [pause, wait] = pause(
            seen,
            above.into_iter().collect(),
            &self.inventory.namespace,
            self.guard,
        );
        let id = wait.id.clone();
        self.steps.extend([pause, wait]);
        self.waits.insert(name, Some(id.clone()));
        Some((name, id))
    }
}

/// Whether an owner writes by itself; one that is at work now may do so afterwards.
fn writes(owner: &Owner, seen: &OwnerSeen) -> bool {
    match owner.state {
        OwnerState::WritesBack { .. } => true,
        OwnerState::Busy { .. } => !seen.is_paused(),
        OwnerState::Passive { .. } | OwnerState::Unknown { .. } => false,
    }
}

pub(crate) fn pause(
    seen: &OwnerSeen,
    after: Vec<StepId>,
    namespace: &str,
    guard: SignedDuration,
) -> [Step; 2] {
    let owner = &seen.name;
    let id = |what: &str| {
        StepId(format!(
            "{what}:{}/{}/{}",
            owner.kind.plural(),
            owner.namespace,
            owner.name
        ))
    };
    let pause = Step {
        id: id("pause"),
        after,
        spec: Spec::Owner(OwnerSpec::Pause {
            owner: owner.clone(),
            pin: pin(seen),
            namespace: namespace.to_owned(),
            guard,
        }),
        reversal: Reversal::Exact,
        deadline: forecast::WRITE_DEADLINE,
        forecast: forecast::request(),
    };
    let wait = Step {
        id: id("paused"),
        after: vec![pause.id.clone()],
        spec: Spec::Owner(OwnerSpec::AwaitPaused {
            owner: owner.clone(),
            uid: seen.uid.clone(),
        }),
        reversal: Reversal::Nothing,
        deadline: SEEN_DEADLINE,
        forecast: forecast::request(),
    };
    [pause, wait]
}

fn pin(seen: &OwnerSeen) -> Pin {
    Pin {
        uid: seen.uid.clone(),
        setting: seen.setting.clone(),
    }
}

/// What becomes of the owners that a run has paused when the run is taken back.
pub(crate) struct GoingOn {
    pub(crate) steps: Vec<Step>,
    pub(crate) warnings: Vec<String>,
}

/// Lets the owners go on that `run` has paused and whose source says what was there before it: after everything is back. One
/// whose source was reverted meanwhile would write that again, and one that does not say is left to a person.
pub(crate) fn going_on(run: &RunId, world: &World<'_>, after: &[StepId]) -> GoingOn {
    let mut found = GoingOn {
        steps: Vec::new(),
        warnings: Vec::new(),
    };
    let of_run =
        |seen: &&OwnerSeen| seen.is_paused() && seen.paused.as_ref().is_some_and(|paused| &paused.run == run);
    let (differ, others): (Vec<&OwnerSeen>, Vec<&OwnerSeen>) = world
        .inventory
        .owners
        .iter()
        .filter(of_run)
        .partition(|seen| matches!(seen.in_sync, Some(InSync::No { .. })));
    found.steps = resuming(&differ, after);
    found.warnings = others
        .into_iter()
        .map(|seen| match &seen.in_sync {
            Some(InSync::Yes { revision }) => format!(
                "{} stays paused: its source, at {revision}, says what run {run} had put there, and it would write that again",
                seen.name
            ),
            Some(InSync::No { .. } | InSync::Untold { .. }) | None => format!(
                "{} stays paused: whether its source says what comes back cannot be seen in the cluster",
                seen.name
            ),
        })
        .collect();
    found
}

/// Each owner's setting of before, those below before those above.
fn resuming(owners: &[&OwnerSeen], after: &[StepId]) -> Vec<Step> {
    let mut left: Vec<&OwnerSeen> = owners.to_vec();
    let mut steps: Vec<Step> = Vec::new();
    while !left.is_empty() {
        let is_above = |one: &OwnerSeen| {
            left.iter()
                .filter(|other| other.name != one.name)
                .flat_map(|other| &other.parents)
                .any(|parent| parent.object.as_ref() == Some(&one.name))
        };
        // In a circle the first begins.
        let place = left.iter().position(|one| !is_above(one)).unwrap_or(0);
        let seen = left.remove(place);
        let before = steps
            .last()
            .map_or_else(|| after.to_vec(), |step| vec![step.id.clone()]);
        steps.extend(seen.paused.as_ref().map(|paused| resume(seen, paused, before)));
    }
    steps
}

fn resume(seen: &OwnerSeen, paused: &Paused, after: Vec<StepId>) -> Step {
    let owner = &seen.name;
    Step {
        id: StepId(format!(
            "resume:{}/{}/{}",
            owner.kind.plural(),
            owner.namespace,
            owner.name
        )),
        after,
        spec: Spec::Owner(OwnerSpec::Resume {
            owner: owner.clone(),
            pin: pin(seen),
            paused_by: Some(paused.run.clone()),
            // What it says of its source now may be of a moment before.
            if_in_sync: true,
            to: paused.was.clone(),
        }),
        reversal: Reversal::Exact,
        // It is asked to compare first, and may be at something that has to end.
        deadline: SEEN_DEADLINE,
        forecast: forecast::request(),
    }
}

/// Plans letting paused owners go on, and proving that what runs stays as it is. `names` are those asked for; empty for all.
///
/// # Errors
/// [`crate::code::NOTHING_TO_DO`] where no run has paused any of them, or where one is not paused any more.
pub fn resume_owners(
    names: &[String],
    inventory: &Inventory,
    platform: &Platform,
    history: &History,
    now: Timestamp,
) -> Result<Plan, Refusal> {
    let world = World::new(inventory, platform);
    let all = || {
        inventory
            .owners
            .iter()
            .filter(|seen| seen.paused.is_some() && seen.is_paused())
    };
    let asked: Vec<&OwnerSeen> = all()
        .filter(|seen| names.is_empty() || names.contains(&seen.name.name))
        .collect();
    // An owner switches those below it on as it goes on: they go on with it, by the same rules.
    let paused: Vec<&OwnerSeen> = all()
        .filter(|seen| is_below(&seen.name, &asked, inventory))
        .collect();
    let unknown: Vec<&String> = names
        .iter()
        .filter(|name| !asked.iter().any(|seen| &seen.name.name == *name))
        .collect();
    if paused.is_empty() || !unknown.is_empty() {
        let known = inventory.owners.iter().map(|seen| match &seen.paused {
            Some(paused) if seen.is_paused() => format!("{}: paused by run {}", seen.name, paused.run),
            _ => format!("{}: no run has paused it", seen.name),
        });
        let summary = match unknown.first() {
            Some(name) => format!("no run has paused an owner {name} of what runs here"),
            None => "no owner of what runs here was paused by a run".to_owned(),
        };
        return Err(refuse::nothing_to_do(&summary, known.collect(), Vec::new()));
    }
    let steps = resuming(&paused, &[]);
    let last: Vec<StepId> = steps.last().map(|step| step.id.clone()).into_iter().collect();
    let owned = world.views.values().filter(|view| {
        let mut owners = view
            .workload
            .owners
            .iter()
            .filter_map(|owner| owner.object.as_ref());
        owners.any(|name| is_below(name, &paused, inventory))
    });
    let owned: Vec<_> = owned.collect();
    let targets: Vec<Target> = owned.iter().map(|view| view.workload.target.clone()).collect();
    let waits = owned.iter().map(|view| steps::stays(view, &last, history));
    let steps: Vec<Step> = steps.into_iter().chain(waits).collect();
    Ok(Plan {
        platform: platform.name.clone(),
        namespace: inventory.namespace.clone(),
        cluster: inventory.cluster.clone(),
        made_at: now,
        expires_at: now
            .checked_add(platform.policy.plan_expiry)
            .unwrap_or(Timestamp::MAX),
        intent: Intent::ResumeOwners,
        assessment: Assessment {
            workloads: Vec::new(),
        },
        decision: Decision {
            say: Say::Ask,
            fired: Vec::new(),
        },
        choices: Vec::new(),
        changes: Vec::new(),
        releases: Vec::new(),
        config: Vec::new(),
        forecast: steps::longest(&steps),
        steps,
        unchanged: vec!["every workload stays at the version that it runs".to_owned()],
        warnings: Vec::new(),
        recovered_when: Criteria::of(platform, targets),
        rto: platform.rto,
        on_failure: platform.policy.on_failure,
    })
}

/// Whether an owner is one of these, or stands below one of them.
fn is_below(name: &OwnerName, these: &[&OwnerSeen], inventory: &Inventory) -> bool {
    let mut open = vec![name];
    let mut met: BTreeSet<&OwnerName> = BTreeSet::new();
    while let Some(name) = open.pop() {
        if these.iter().any(|seen| &seen.name == name) {
            return true;
        }
        if met.insert(name) {
            let above = inventory.owner(name).into_iter().flat_map(|seen| &seen.parents);
            open.extend(above.filter_map(|owner| owner.object.as_ref()));
        }
    }
    false
}
