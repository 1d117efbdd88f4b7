//! A plan made, looked into and checked: logs, probes, logins and the gate's questions, side by side, and the plan made again with
//! what they say.

use super::reading::{older, read_releases};
use super::{Evidence, NoPlan, Prepared};
use crate::config;
use crate::helm;
use crate::history::Past;
use crate::recall;
use crate::survey;
use crate::world::World;
use astern_model::decision::Refusal;
use astern_model::finding::Allowances;
use astern_model::inventory::Inventory;
use astern_model::login::LoginSeen;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::policy::Say;
use astern_model::question::{Answers, Question};
use astern_model::record::SavedEvidence;
use astern_model::target::Target;
use astern_model::template::Template;
use astern_plan::code;
use astern_port::releases::Depth;
use astern_port::sense::Saved;
use astern_wire::envelope;
use jiff::SignedDuration;

/// How long logs may be read that are saved as evidence, beside the other checks.
pub const SAVE_WITHIN: SignedDuration = SignedDuration::from_secs(3);

/// Once the API alone says "roll back", a log that does not come holds nothing up: it is waited for so many times as
/// long as the whole namespace took to be read, so that the same wire and the same server are judged by themselves.
pub(super) const LOGS_PER_LOOK: i32 = 3;

/// But at least so long: a kubelet that is alive answers sooner.
pub(super) const LOGS_AT_LEAST: SignedDuration = SignedDuration::from_millis(100);

/// How much evidence is saved in all.
pub const SAVE_BYTES: u64 = 10 * 1024 * 1024;

pub(crate) type Make<'a> = dyn Fn(&Inventory, jiff::Timestamp) -> Result<Plan, Refusal> + Sync + 'a;

/// What a plan is made from beside the inventory.
#[derive(Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) platform: &'a Platform,
    /// What speaks for or against templates that are found on the way.
    pub(crate) past: &'a Past,
    pub(crate) make: &'a Make<'a>,
}

/// How long logs and probes are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
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
pub(super) async fn examine(
    world: &World,
    mut inventory: Inventory,
    making: &Making<'_>,
    allow: &Allowances,
    evidence: Evidence,
    patience: Patience,
) -> Result<Prepared, NoPlan> {
    let Making { platform, make, .. } = *making;
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
    let (seen, mut answers, mut saved, logins, marks) = futures::join!(
        survey::senses(world, platform, &inventory, &scope, None, within),
        answer(world, &inventory, &questions),
        save(world, &inventory, &targets, evidence, save_within, SAVE_BYTES),
        try_logins(world, &inventory, draft.as_ref().ok()),
        config::marks_of(world, astern_plan::hidden(&inventory))
    );
    inventory.marks = marks;
    survey::merge(&mut inventory, seen);
    inventory.config.logins = logins;
    let refused = |refusal| NoPlan::Refused(Box::new(refusal));
    let mut plan = planned(world, &mut inventory, making, now)
        .await
        .map_err(refused)?;
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

/// Makes a plan from the nearest records of Helm releases; where these do not suffice, from the older ones too; where the cluster
/// remembers too little, from the templates that the records stand for, and at last from those that owners had deployed from Git.
pub(super) async fn planned(
    world: &World,
    inventory: &mut Inventory,
    making: &Making<'_>,
    now: jiff::Timestamp,
) -> Result<Plan, Refusal> {
    let Making { platform, past, make } = *making;
    let mut plan = make(inventory, now);
    let mut releases = inventory.releases.iter();
    if releases.any(|release| older(release, inventory, plan.is_err())) {
        read_releases(world, inventory, Depth::Few).await;
        plan = make(inventory, now);
    }
    let lacks_a_template = |plan: &Result<Plan, Refusal>, forgotten: &dyn Fn() -> bool| {
        plan.as_ref().is_err_and(|refusal| match refusal.code.as_str() {
            // Mostly since all is well.
            code::NOTHING_TO_DO => forgotten(),
            code => LACKING.contains(&code),
        })
    };
    if lacks_a_template(&plan, &|| astern_plan::forgotten(inventory))
        && helm::foretold::all(world, platform, inventory, past).await
    {
        plan = make(inventory, now);
    }
    if lacks_a_template(&plan, &|| {
        astern_plan::forgotten_beside_git(inventory, &platform.policy)
    }) {
        let named = plan
            .as_ref()
            .is_err_and(|refusal| refusal.code == code::NOT_ONE_REVISION);
        if recall::all(world, platform, inventory, past, !named).await {
            plan = make(inventory, now);
        }
    }
    plan
}

/// What a plan is refused for that a template may lack which the cluster does not remember.
const LACKING: [&str; 3] = [code::NOTHING_GOOD, code::NOT_ONE_REVISION, code::RELEASE];

/// Nothing is asked where nothing is open. A server may quote the template that it was given: its words are kept without the values.
pub(crate) async fn answer(world: &World, inventory: &Inventory, open: &[Question]) -> Answers {
    if open.is_empty() {
        return Answers::default();
    }
    let answers = world.look.answer(inventory, open).await;
    answers.told(|question, why| {
        let target = question.target();
        let workload = target.and_then(|target| inventory.workloads.get(target));
        let templates = workload.into_iter().flat_map(|workload| {
            let remembered = workload.all_revisions().map(|revision| &revision.template);
            std::iter::once(&workload.template).chain(remembered)
        });
        astern_plan::without_values(why, templates.map(Template::json))
    })
}

pub(super) async fn save(
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
