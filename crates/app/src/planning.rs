//! From a request to a plan that the gate has checked. Two rounds of questions at most: the inventory, then
//! everything that follows from it, side by side. Writes nothing but saved evidence, and the vault's key where there is none yet.

mod asked;
mod examining;
mod reading;

use crate::config;
use crate::helm;
use crate::history;
use crate::ledger;
use crate::recall;
use crate::survey;
use crate::world::World;
use astern_gate::{CheckedPlan, Rejected};
use astern_model::decision::Refusal;
use astern_model::finding::Allowances;
use astern_model::id::{RunId, TemplateHash, Uid};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::policy::Acceptor;
use astern_model::question::Answers;
use astern_model::release::{ReleaseName, Word};
use astern_model::step::{Spec, workload};
use astern_model::target::{ClusterIdentity, Target};
use astern_model::workload::Released;
use astern_plan::Selector;
use astern_port::Failure;
use astern_port::releases::Depth;
use astern_port::sense::Saved;
use examining::{LOGS_AT_LEAST, LOGS_PER_LOOK, Patience, examine, save};
use reading::nobody_runs;
use std::collections::BTreeSet;

pub use asked::{Asked, Name, resolve};
pub use examining::{SAVE_BYTES, SAVE_WITHIN};
pub use reading::stands;

use asked::request;
pub(crate) use examining::answer;
use examining::{Making, planned};
pub(crate) use reading::{Seen, look, paused_by, read_releases, read_starters, right_cluster, stops};

/// A plan with all that its approval needs.
#[derive(Debug)]
pub struct Prepared {
    /// The plan, as the gate let it pass.
    pub checked: CheckedPlan,
    /// What was seen.
    pub inventory: Inventory,
    /// What was asked and answered.
    pub answers: Answers,
    /// The evidence that was saved; empty for a plan that is only looked at.
    pub saved: Saved,
}

/// Why there is no plan to approve.
#[derive(Debug)]
pub enum NoPlan {
    /// The planner refuses.
    Refused(Box<Refusal>),
    /// The gate refuses.
    Rejected(Box<Rejected>),
    /// Another run stands in the way.
    RunOpen {
        /// Which.
        run: RunId,
        /// How it stands: `held: …`, `running`.
        stands: String,
    },
    /// The platform's owners pinned another cluster.
    WrongCluster {
        /// The pinned one.
        expected: Uid,
        /// This one.
        found: Uid,
    },
    /// Workloads were named that do not exist; each with the nearest names that do.
    Unknown(Vec<(String, Vec<String>)>),
    /// A release was named that the ledger does not hold; with those that it does, newest first.
    UnknownRelease(ReleaseName, Vec<ReleaseName>),
    /// A release was named that is in quarantine.
    BadRelease(ReleaseName, Word),
    /// The cluster cannot be read.
    Failed(Failure),
}

/// Whether evidence is to be saved beside the checks: before a rollback it is, for a look at a plan it is not. Either way the vault
/// gets its key where it has none, by which hidden values are told apart, and the content that the plan names and no release keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Save it.
    Save,
    /// Save none.
    Leave,
}

/// Plans a rollback and has it checked.
///
/// # Errors
/// [`NoPlan`]; nothing was changed.
pub async fn roll_back(
    world: &World,
    platform: &Platform,
    asked: &Asked,
    allow: &Allowances,
    evidence: Evidence,
) -> Result<Prepared, NoPlan> {
    let began = world.clock.now();
    let Seen {
        mut inventory,
        past,
        shelf,
    } = look(world, platform, &platform.namespace).await?;
    let looked = world.clock.now().duration_since(began);
    nobody_runs(&past)?;
    if !asked.outside_helm {
        let depth = if asked.releases.is_empty() {
            Depth::Nearest
        } else {
            Depth::Few
        };
        read_releases(world, &mut inventory, depth).await;
    }
    if let Some(release) = asked.release.as_ref().and_then(|name| shelf.find(name)) {
        helm::mark(&mut inventory, release);
    }
    if asked.stop || stops(platform) {
        let starters = world.look.starters(&inventory.namespace).await;
        inventory.see(starters.map_err(NoPlan::Failed)?);
    }
    let request = astern_plan::Request {
        accept_revert: allow.accept_revert.clone(),
        ..request(asked, platform, &inventory, &shelf)?
    };
    let named = |target: &Target, released: &Released| matches!(request.to.get(target), Some(Selector::Release(name)) if name == &released.release);
    ledger::read_back(world, &mut inventory, named).await;
    let make =
        |inventory: &Inventory, now| astern_plan::plan(&request, inventory, platform, &past.history, now);
    let making = Making {
        platform,
        past: &past,
        make: &make,
    };
    let draft = planned(world, &mut inventory, &making, world.clock.now()).await;
    config::of_plan(
        world,
        platform,
        &mut inventory,
        &shelf,
        &request,
        draft.as_ref().ok(),
    )
    .await;
    if let (None, Some(good)) = (&asked.release, &inventory.config.last_good)
        && let Some(release) = shelf.find(&good.release)
    {
        helm::mark(&mut inventory, release);
    }
    // A person reads the plan meanwhile, and the log may be what they look for.
    let patience = match asked.acceptor {
        Acceptor::Person => Patience::WhatItTakes,
        Acceptor::Yes => Patience::OnceDecided(LOGS_AT_LEAST.max(looked * LOGS_PER_LOOK)),
    };
    examine(world, inventory, &making, allow, evidence, patience).await
}

/// Plans letting owners go on that runs have paused, and has it checked. `names` are those asked for; empty for all.
///
/// # Errors
/// [`NoPlan`]; nothing was changed.
pub async fn resume_owners(
    world: &World,
    platform: &Platform,
    names: &[String],
    allow: &Allowances,
) -> Result<Prepared, NoPlan> {
    let (inventory, past) = futures::join!(
        survey::owners(world, &platform.namespace),
        history::look_back(world, &platform.namespace)
    );
    let inventory = inventory.map_err(NoPlan::Failed)?;
    let past = past.map_err(NoPlan::Failed)?;
    right_cluster(platform, &inventory)?;
    nobody_runs(&past)?;
    let make = |inventory: &Inventory, now| {
        astern_plan::resume_owners(names, inventory, platform, &past.history, now)
    };
    let making = Making {
        platform,
        past: &past,
        make: &make,
    };
    let patience = Patience::WhatItTakes;
    examine(world, inventory, &making, allow, Evidence::Leave, patience).await
}

/// Plans mending the record of a Helm release that a dead client left pending, and has it checked. `abandoned`: its client
/// is dead by somebody's word.
///
/// # Errors
/// [`NoPlan`]; nothing was changed.
pub async fn repair_release(
    world: &World,
    platform: &Platform,
    name: &str,
    abandoned: bool,
    allow: &Allowances,
) -> Result<Prepared, NoPlan> {
    let names = [name.to_owned()];
    let (inventory, past, releases) = futures::join!(
        world.look.inventory(&platform.namespace),
        history::look_back(world, &platform.namespace),
        world.releases.read(&platform.namespace, &names, Depth::Few)
    );
    let mut inventory = inventory.map_err(NoPlan::Failed)?;
    let past = past.map_err(NoPlan::Failed)?;
    inventory.releases = releases.map_err(NoPlan::Failed)?;
    if inventory.releases.is_empty() {
        // The refusal tells what there is.
        let all = world.releases.list(&platform.namespace).await;
        inventory.releases = all.map_err(NoPlan::Failed)?;
    }
    right_cluster(platform, &inventory)?;
    nobody_runs(&past)?;
    let dead: BTreeSet<String> = names.into_iter().filter(|_| abandoned).collect();
    let make =
        |inventory: &Inventory, now| astern_plan::repair_release(name, &dead, inventory, platform, now);
    let making = Making {
        platform,
        past: &past,
        make: &make,
    };
    let patience = Patience::WhatItTakes;
    examine(world, inventory, &making, allow, Evidence::Leave, patience).await
}

/// Plans taking a run back, and has it checked. `made_on` is the cluster that the run changed: a store that travels
/// must not carry one cluster's templates to another.
///
/// # Errors
/// [`NoPlan`]; nothing was changed.
pub async fn undo(
    world: &World,
    platform: &Platform,
    run: &RunId,
    made_on: &ClusterIdentity,
    taken: &astern_plan::TakenRun,
    allow: &Allowances,
) -> Result<Prepared, NoPlan> {
    let (inventory, past) = futures::join!(
        world.look.inventory(&platform.namespace),
        history::look_back(world, &platform.namespace)
    );
    let mut inventory = inventory.map_err(NoPlan::Failed)?;
    let past = past.map_err(NoPlan::Failed)?;
    right_cluster(platform, &inventory)?;
    if inventory.cluster.identity != *made_on {
        let (expected, found) = (made_on.uid().clone(), inventory.cluster.identity.uid().clone());
        return Err(NoPlan::WrongCluster { expected, found });
    }
    nobody_runs(&past)?;
    if stops(platform) {
        read_starters(world, &mut inventory).await;
    }
    let taken = &config::of_run(world, &mut inventory, taken)
        .await
        .map_err(NoPlan::Failed)?;
    let make = |inventory: &Inventory, now| {
        astern_plan::undo(
            run,
            taken,
            inventory,
            platform,
            &past.history,
            &allow.accept_revert,
            now,
        )
    };
    let making = Making {
        platform,
        past: &past,
        make: &make,
    };
    let patience = Patience::WhatItTakes;
    examine(world, inventory, &making, allow, Evidence::Save, patience).await
}

/// Checks a plan that was made before against the world as it is now.
///
/// # Errors
/// [`NoPlan`]; nothing was changed.
pub async fn check(
    world: &World,
    platform: &Platform,
    plan: Plan,
    sealed: Vec<u8>,
    allow: &Allowances,
    evidence: Evidence,
) -> Result<Prepared, NoPlan> {
    let Seen {
        mut inventory, past, ..
    } = look(world, platform, &plan.namespace).await?;
    nobody_runs(&past)?;
    let written = |target: &Target, released: &Released| writes(&plan, target, &released.template);
    ledger::read_back(world, &mut inventory, written).await;
    config::written_by(world, &mut inventory, &plan).await;
    helm::contents::look_at(world, &mut inventory, &plan, |_| true).await;
    helm::foretold::of_plan(world, &mut inventory, &plan, |_| true).await;
    recall::of_plan(world, &mut inventory, &plan, |_| true).await;
    paused_by(world, &mut inventory, &plan).await;
    let questions = astern_gate::questions(&plan, &inventory);
    let targets: Vec<Target> = plan.targets().into_iter().cloned().collect();
    let (answers, saved, logins) = futures::join!(
        answer(world, &inventory, &questions),
        save(world, &inventory, &targets, evidence, SAVE_WITHIN, SAVE_BYTES),
        config::try_logins(world, &inventory, &plan, |_| true)
    );
    inventory.config.logins = logins;
    let now = world.clock.now();
    let checked = astern_gate::check(plan, sealed, &inventory, &answers, allow, now)
        .map_err(|rejected| NoPlan::Rejected(Box::new(rejected)))?;
    Ok(Prepared {
        checked,
        inventory,
        answers,
        saved,
    })
}

/// Whether a plan writes this template.
fn writes(plan: &Plan, of: &Target, wanted: &TemplateHash) -> bool {
    plan.steps.iter().any(|step| match &step.spec {
        Spec::Workload(workload::Spec::WriteTemplate { target, to, .. }) => {
            target == of && &to.template == wanted
        }
        Spec::Workload(_) | Spec::Helm(_) | Spec::Config(_) | Spec::Owner(_) => false,
    })
}
