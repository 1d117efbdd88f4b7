//! From a request to a plan that the gate has checked. Two rounds of questions at most: the inventory, then
//! everything that follows from it, side by side. Writes nothing but saved evidence.

use crate::config;
use crate::helm;
use crate::history;
use crate::ledger::{self, Shelf};
use crate::survey;
use crate::world::World;
use astern_engine::Phase;
use astern_gate::{CheckedPlan, Rejected};
use astern_model::decision::Refusal;
use astern_model::finding::Allowances;
use astern_model::helm::{Read, Release, Status};
use astern_model::id::{RunId, TemplateHash, Uid};
use astern_model::inventory::Inventory;
use astern_model::login::LoginSeen;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::policy::{Acceptor, OnFailure, Say};
use astern_model::question::{Answers, Question};
use astern_model::record::SavedEvidence;
use astern_model::release::{ReleaseName, Word};
use astern_model::step::{Spec, workload};
use astern_model::target::{ClusterIdentity, Target, WorkloadKind};
use astern_model::workload::{OwnerKind, Released};
use astern_plan::{Request, Selector};
use astern_port::Failure;
use astern_port::releases::{Depth, FEW};
use astern_port::sense::Saved;
use astern_wire::envelope;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// How long logs may be read that are saved as evidence, beside the other checks.
pub const SAVE_WITHIN: SignedDuration = SignedDuration::from_secs(3);
/// Once the API alone says "roll back", a log that does not come holds nothing up: it is waited for so many times as
/// long as the whole namespace took to be read, so that the same wire and the same server are judged by themselves.
const LOGS_PER_LOOK: i32 = 3;
/// But at least so long: a kubelet that is alive answers sooner.
const LOGS_AT_LEAST: SignedDuration = SignedDuration::from_millis(100);
/// How much evidence is saved in all.
pub const SAVE_BYTES: u64 = 10 * 1024 * 1024;

/// A workload as somebody typed it: `api-gateway` or `deployment/api-gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The kind, if it was typed.
    pub kind: Option<WorkloadKind>,
    /// The name.
    pub name: String,
}

impl Name {
    /// Reads `NAME` or `KIND/NAME`; none when the kind is not known or the name is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (Some(WorkloadKind::parse(kind)?), name),
            None => (None, text),
        };
        (!name.is_empty()).then(|| Self {
            kind,
            name: name.to_owned(),
        })
    }
}

/// What somebody asks for, as typed: names are found in the inventory later.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Only these; empty for the platform.
    pub only: Vec<Name>,
    /// Where workloads go.
    pub to: Vec<(Name, Selector)>,
    /// Which revision a Helm release goes back to, by its name.
    pub releases: BTreeMap<String, u64>,
    /// Whether workloads of Helm releases are written beside their releases.
    pub outside_helm: bool,
    /// Helm releases whose pending operation has no client any more, by somebody's word.
    pub abandoned: BTreeSet<String>,
    /// Whether everything that is written is stopped before.
    pub stop: bool,
    /// Whether ConfigMaps and Secrets keep what they hold.
    pub leave_config: bool,
    /// The release of the ledger onto which all its members go.
    pub release: Option<ReleaseName>,
    /// Rows of the matrix that are overridden.
    pub overrides: BTreeSet<String>,
    /// Who approves.
    pub acceptor: Acceptor,
    /// What a failure leads to, where it differs from the policy.
    pub on_failure: Option<OnFailure>,
}

impl Asked {
    /// All of the platform that needs it, with nothing said beforehand.
    pub fn everything(acceptor: Acceptor) -> Self {
        Self {
            only: Vec::new(),
            to: Vec::new(),
            releases: BTreeMap::new(),
            outside_helm: false,
            abandoned: BTreeSet::new(),
            stop: false,
            leave_config: false,
            release: None,
            overrides: BTreeSet::new(),
            acceptor,
            on_failure: None,
        }
    }
}

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

/// Whether evidence is to be saved beside the checks: before a rollback it is, for a look at a plan it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Save it.
    Save,
    /// Write nothing at all.
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
    let (inventory, open, shelf) = futures::join!(
        world.look.inventory(&platform.namespace),
        history::look_back(world, &platform.namespace),
        ledger::open_or_tell(world)
    );
    let looked = world.clock.now().duration_since(began);
    let mut inventory = inventory.map_err(NoPlan::Failed)?;
    let past = open.map_err(NoPlan::Failed)?;
    past.mark(&mut inventory);
    if let Some((run, phase)) = past.open {
        return Err(NoPlan::RunOpen {
            run,
            stands: stands(&phase),
        });
    }
    right_cluster(platform, &inventory)?;
    if !asked.outside_helm {
        let depth = if asked.releases.is_empty() {
            Depth::Nearest
        } else {
            Depth::Few
        };
        read_releases(world, &mut inventory, depth).await;
    }
    shelf.mark(&mut inventory);
    if let Some(release) = asked.release.as_ref().and_then(|name| shelf.find(name)) {
        helm::mark(&mut inventory, release);
    }
    if asked.stop || stops(platform) {
        let starters = world.look.starters(&inventory.namespace).await;
        inventory.see(starters.map_err(NoPlan::Failed)?);
    }
    let request = astern_plan::Request {
        accept_revert: allow.accept_revert.clone(),
        ..request(asked, platform, &mut inventory, &shelf)?
    };
    let named = |target: &Target, released: &Released| matches!(request.to.get(target), Some(Selector::Release(name)) if name == &released.release);
    ledger::read_back(world, &mut inventory, named).await;
    let make =
        |inventory: &Inventory, now| astern_plan::plan(&request, inventory, platform, &past.history, now);
    let draft = planned(world, &mut inventory, &make, world.clock.now()).await;
    config::of_plan(
        world,
        platform,
        &mut inventory,
        &shelf,
        &request,
        draft.as_ref().ok(),
    )
    .await;
    // A person reads the plan meanwhile, and the log may be what they look for.
    let patience = match asked.acceptor {
        Acceptor::Person => Patience::WhatItTakes,
        Acceptor::Yes => Patience::OnceDecided(LOGS_AT_LEAST.max(looked * LOGS_PER_LOOK)),
    };
    examine(world, platform, inventory, &make, allow, evidence, patience).await
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
    if let Some((run, phase)) = past.open {
        return Err(NoPlan::RunOpen {
            run,
            stands: stands(&phase),
        });
    }
    let make = |inventory: &Inventory, now| {
        astern_plan::resume_owners(names, inventory, platform, &past.history, now)
    };
    let patience = Patience::WhatItTakes;
    examine(
        world,
        platform,
        inventory,
        &make,
        allow,
        Evidence::Leave,
        patience,
    )
    .await
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
    if let Some((run, phase)) = past.open {
        return Err(NoPlan::RunOpen {
            run,
            stands: stands(&phase),
        });
    }
    let dead: BTreeSet<String> = names.into_iter().filter(|_| abandoned).collect();
    let make =
        |inventory: &Inventory, now| astern_plan::repair_release(name, &dead, inventory, platform, now);
    let patience = Patience::WhatItTakes;
    examine(
        world,
        platform,
        inventory,
        &make,
        allow,
        Evidence::Leave,
        patience,
    )
    .await
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
    if let Some((run, phase)) = past.open {
        return Err(NoPlan::RunOpen {
            run,
            stands: stands(&phase),
        });
    }
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
    let patience = Patience::WhatItTakes;
    examine(world, platform, inventory, &make, allow, Evidence::Save, patience).await
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
    let (inventory, past, shelf) = futures::join!(
        world.look.inventory(&plan.namespace),
        history::look_back(world, &plan.namespace),
        ledger::open_or_tell(world)
    );
    let mut inventory = inventory.map_err(NoPlan::Failed)?;
    let past = past.map_err(NoPlan::Failed)?;
    // A run that came after the plan may have taken back what the plan goes back to.
    past.mark(&mut inventory);
    right_cluster(platform, &inventory)?;
    shelf.mark(&mut inventory);
    if let Some((run, phase)) = past.open {
        return Err(NoPlan::RunOpen {
            run,
            stands: stands(&phase),
        });
    }
    let written = |target: &Target, released: &Released| writes(&plan, target, &released.template);
    ledger::read_back(world, &mut inventory, written).await;
    config::written_by(world, &mut inventory, &plan).await;
    helm::contents::look_at(world, &mut inventory, &plan, |_| true).await;
    paused_by(world, &mut inventory, &plan).await;
    let questions = astern_gate::questions(&plan, &inventory);
    let targets: Vec<Target> = plan.targets().into_iter().cloned().collect();
    let (answers, saved, logins) = futures::join!(
        world.look.answer(&inventory, &questions),
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

pub(crate) type Make<'a> = dyn Fn(&Inventory, jiff::Timestamp) -> Result<Plan, Refusal> + Sync + 'a;

/// How long logs and probes are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// As long as they may take at all.
    WhatItTakes,
    /// No longer than this, if the API alone says "roll back".
    OnceDecided(SignedDuration),
}

impl Patience {
    fn for_draft(self, draft: &Result<Plan, Refusal>) -> SignedDuration {
        match (self, draft) {
            (Self::OnceDecided(within), Ok(plan)) if plan.decision.say == Say::RollBack => {
                within.min(survey::SENSES_WITHIN)
            }
            _ => survey::SENSES_WITHIN,
        }
    }
}

/// Logs, probes, the gate's questions and the saving of evidence all start from a first plan made without the logs;
/// the plan is made again with them, and only what it asks anew is asked again, and what it draws in is saved too.
async fn examine(
    world: &World,
    platform: &Platform,
    mut inventory: Inventory,
    make: &Make<'_>,
    allow: &Allowances,
    evidence: Evidence,
    patience: Patience,
) -> Result<Prepared, NoPlan> {
    let mounted = astern_plan::mounted_classes(&inventory);
    if !mounted.is_empty() {
        inventory.config.classes = world.config.classes(&inventory.namespace, &mounted).await;
    }
    let now = world.clock.now();
    let scope = survey::scope(platform, &inventory);
    let mut draft = make(&inventory, now);
    if let Ok(plan) = &draft
        && helm::contents::look_at(world, &mut inventory, plan, |_| true).await
    {
        draft = make(&inventory, now);
    }
    let (targets, questions): (Vec<Target>, _) = match &draft {
        Ok(plan) => (
            plan.targets().into_iter().cloned().collect(),
            astern_gate::questions(plan, &inventory),
        ),
        Err(_) => (scope.clone(), Vec::new()),
    };
    let within = patience.for_draft(&draft);
    let save_within = within.min(SAVE_WITHIN);
    let (seen, mut answers, mut saved, logins) = futures::join!(
        survey::senses(world, platform, &inventory, &scope, None, within),
        world.look.answer(&inventory, &questions),
        save(world, &inventory, &targets, evidence, save_within, SAVE_BYTES),
        try_logins(world, &inventory, draft.as_ref().ok())
    );
    survey::merge(&mut inventory, seen);
    inventory.config.logins = logins;
    let refused = |refusal| NoPlan::Refused(Box::new(refusal));
    let mut plan = planned(world, &mut inventory, make, now).await.map_err(refused)?;
    if helm::contents::look_at(world, &mut inventory, &plan, |_| true).await {
        plan = make(&inventory, now).map_err(refused)?;
    }
    let more = try_logins(world, &inventory, Some(&plan)).await;
    if !more.is_empty() {
        inventory.config.logins.extend(more);
        plan = make(&inventory, now).map_err(refused)?;
    }
    let open: Vec<Question> = astern_gate::questions(&plan, &inventory)
        .into_iter()
        .filter(|question| !answers.has(question))
        .collect();
    let unsaved: Vec<Target> = plan
        .targets()
        .into_iter()
        .filter(|target| !targets.contains(target))
        .cloned()
        .collect();
    let (more, also_saved) = futures::join!(
        answer(world, &inventory, &open),
        save(
            world,
            &inventory,
            &unsaved,
            evidence,
            save_within,
            SAVE_BYTES.saturating_sub(size(&saved))
        )
    );
    answers.extend(more);
    saved.evidence.extend(also_saved.evidence);
    saved.missed.extend(also_saved.missed);
    let sealed = envelope::seal(&plan);
    let checked = astern_gate::check(plan, sealed, &inventory, &answers, allow, now)
        .map_err(|rejected| NoPlan::Rejected(Box::new(rejected)))?;
    Ok(Prepared {
        checked,
        inventory,
        answers,
        saved,
    })
}

/// Where there is no plan, nothing is tried.
async fn try_logins(world: &World, inventory: &Inventory, plan: Option<&Plan>) -> Vec<LoginSeen> {
    match plan {
        Some(plan) => config::try_logins(world, inventory, plan, |_| true).await,
        None => Vec::new(),
    }
}

/// Makes a plan from the nearest records of Helm releases; from the older ones too, where these do not suffice.
pub(crate) async fn planned(
    world: &World,
    inventory: &mut Inventory,
    make: &Make<'_>,
    now: jiff::Timestamp,
) -> Result<Plan, Refusal> {
    let plan = make(inventory, now);
    if !inventory
        .releases
        .iter()
        .any(|release| older(release, inventory, plan.is_err()))
    {
        return plan;
    }
    read_releases(world, inventory, Depth::Few).await;
    make(inventory, now)
}

/// Whether older records of a release may say more: of what a plan was refused for, or of a workload that says it belongs to the
/// release and that no record read so far lists.
fn older(release: &Release, inventory: &Inventory, refused: bool) -> bool {
    let mut revisions = release.revisions.iter();
    let not_read = revisions.any(|revision| {
        let was_deployed = matches!(revision.status, Status::Deployed | Status::Superseded);
        was_deployed && revision.record == Read::NotAsked
    });
    let records: Vec<_> = release
        .revisions
        .iter()
        .filter_map(|revision| revision.content())
        .collect();
    let unlisted = || {
        inventory.workloads.values().any(|workload| {
            let mut owners = workload.owners.iter();
            owners.any(|owner| owner.kind == OwnerKind::Helm && owner.name == release.name.name)
                && !records
                    .iter()
                    .any(|record| record.templates.contains_key(&workload.target))
        })
    };
    not_read && records.len() < FEW && (refused || unlisted())
}

/// The Helm releases that the workloads say they belong to. Where there is none, nothing is asked.
pub(crate) async fn read_releases(world: &World, inventory: &mut Inventory, depth: Depth) {
    let names = helm::names(inventory, inventory.workloads.keys());
    if names.is_empty() {
        return;
    }
    match world.releases.read(&inventory.namespace, &names, depth).await {
        Ok(mut releases) => {
            let standing = releases.iter().map(|release| world.releases.standing(release));
            let standing = futures::future::join_all(standing).await;
            for (release, standing) in releases.iter_mut().zip(standing) {
                release.standing = standing;
            }
            inventory.releases = releases;
        }
        Err(failure) => inventory.unread.push(format!(
            "the Helm releases {} could not be read ({}): their workloads are written beside them",
            names.join(", "),
            failure.message
        )),
    }
}

/// Whether a rollback stops anything of the platform.
pub(crate) fn stops(platform: &Platform) -> bool {
    platform.members.iter().any(|member| member.stops)
}

/// What starts pods beside the workloads' own controllers.
pub(crate) async fn read_starters(world: &World, inventory: &mut Inventory) {
    match world.look.starters(&inventory.namespace).await {
        Ok(starters) => inventory.see(starters),
        Err(failure) => inventory.unread.push(format!(
            "CronJobs and ScaledObjects could not be read, and are not paused: {}",
            failure.message
        )),
    }
}

/// The owners of a plan's steps that no workload leads to.
pub(crate) async fn paused_by(world: &World, inventory: &mut Inventory, plan: &Plan) {
    let mut owners = plan
        .steps
        .iter()
        .filter_map(|step| Some(step.spec.owner()?.owner()));
    if owners.any(|owner| inventory.owner(owner).is_none()) {
        survey::see_owners(world, inventory).await;
    }
}

/// Nothing is asked where nothing is open.
pub(crate) async fn answer(world: &World, inventory: &Inventory, open: &[Question]) -> Answers {
    if open.is_empty() {
        return Answers::default();
    }
    world.look.answer(inventory, open).await
}

async fn save(
    world: &World,
    inventory: &Inventory,
    targets: &[Target],
    evidence: Evidence,
    within: SignedDuration,
    bytes: u64,
) -> Saved {
    match evidence {
        Evidence::Save if targets.is_empty() => Saved::default(),
        Evidence::Save => world.sense.save(inventory, targets, within, bytes).await,
        Evidence::Leave => Saved::default(),
    }
}

/// The bytes of what was saved.
fn size(saved: &Saved) -> u64 {
    saved.evidence.iter().map(SavedEvidence::size).sum()
}

/// How an open run stands, as a clause.
pub fn stands(phase: &Phase) -> String {
    match phase {
        Phase::Running => "it is under way".to_owned(),
        Phase::Held { why, .. } => format!("it is held: {why}"),
        Phase::Unwinding { why } => format!("it is being taken back: {why}"),
        Phase::Finished(_) => "it is over".to_owned(),
    }
}

pub(crate) fn right_cluster(platform: &Platform, inventory: &Inventory) -> Result<(), NoPlan> {
    let found = inventory.cluster.identity.uid();
    match &platform.cluster_uid {
        Some(expected) if expected != found => Err(NoPlan::WrongCluster {
            expected: expected.clone(),
            found: found.clone(),
        }),
        _ => Ok(()),
    }
}

/// The request with its names found. The platform's members must exist too, unless only some of them are meant.
fn request(
    asked: &Asked,
    platform: &Platform,
    inventory: &mut Inventory,
    shelf: &Shelf,
) -> Result<Request, NoPlan> {
    let lost: Vec<(String, Vec<String>)> = survey::missing(platform, inventory)
        .iter()
        .filter(|_| asked.only.is_empty())
        .map(|target| {
            (
                format!("{target} (named in astern.yaml)"),
                astern_plan::near(&target.name, inventory.workloads.keys()),
            )
        })
        .collect();
    if !lost.is_empty() {
        return Err(NoPlan::Unknown(lost));
    }
    let names: Vec<Name> = asked.to.iter().map(|(name, _)| name.clone()).collect();
    let mut to: BTreeMap<Target, Selector> = resolve(&names, inventory)?
        .into_iter()
        .zip(asked.to.iter().map(|(_, selector)| selector.clone()))
        .collect();
    let mut only = resolve(&asked.only, inventory)?;
    if let Some(name) = &asked.release {
        let members = members_of(name, platform, inventory, shelf)?;
        let meant = |target: &Target| only.is_empty() || only.contains(target);
        for target in members.into_iter().filter(meant) {
            to.entry(target)
                .or_insert_with(|| Selector::Release(name.clone()));
        }
        if only.is_empty() {
            only = to.keys().cloned().collect();
        }
    }
    Ok(Request {
        only,
        to,
        releases: asked.releases.clone(),
        outside_helm: asked.outside_helm,
        abandoned: asked.abandoned.clone(),
        overrides: asked.overrides.clone(),
        acceptor: asked.acceptor,
        on_failure: asked.on_failure,
        accept_revert: BTreeSet::new(),
        stop: asked.stop,
        leave_config: asked.leave_config,
    })
}

/// The members of the platform that a release holds. What it holds and the cluster does not is told.
fn members_of(
    name: &ReleaseName,
    platform: &Platform,
    inventory: &mut Inventory,
    shelf: &Shelf,
) -> Result<Vec<Target>, NoPlan> {
    let Some(release) = shelf.find(name) else {
        return Err(NoPlan::UnknownRelease(name.clone(), shelf.names()));
    };
    if let Some(word) = release.standing.against() {
        return Err(NoPlan::BadRelease(name.clone(), word.clone()));
    }
    let (mut there, mut gone) = (Vec::new(), Vec::new());
    for released in &release.workloads {
        if inventory.workloads.contains_key(&released.target) {
            there.push(released.target.clone());
        } else {
            gone.push(released.target.to_string());
        }
    }
    if !gone.is_empty() {
        inventory.unread.push(format!(
            "release {name} holds {}, which the namespace does not any more: astern makes no workload anew",
            gone.join(", ")
        ));
    }
    let scope = survey::scope(platform, inventory);
    there.retain(|target| scope.contains(target));
    Ok(there)
}

/// Finds typed names among the workloads, in the same order. A name without a kind must be one workload's alone.
///
/// # Errors
/// [`NoPlan::Unknown`] with the nearest names, or with all that the name could mean.
pub fn resolve(names: &[Name], inventory: &Inventory) -> Result<Vec<Target>, NoPlan> {
    let mut found = Vec::new();
    let mut lost = Vec::new();
    for name in names {
        let fits =
            |target: &&Target| target.name == name.name && name.kind.is_none_or(|kind| kind == target.kind);
        let fitting: Vec<&Target> = inventory.workloads.keys().filter(fits).collect();
        match fitting.as_slice() {
            [only] => found.push((*only).clone()),
            [] => lost.push((
                name.name.clone(),
                astern_plan::near(&name.name, inventory.workloads.keys()),
            )),
            several => lost.push((
                name.name.clone(),
                several.iter().map(ToString::to_string).collect(),
            )),
        }
    }
    if lost.is_empty() {
        Ok(found)
    } else {
        Err(NoPlan::Unknown(lost))
    }
}
