//! The audit: could the platform be taken back tonight, and what would stop it? The plan that would be made now, made and
//! checked by planner and gate as ever, with what they have no reason to say. Reads and asks; writes nothing.

use crate::config;
use crate::helm;
use crate::ledger;
use crate::planning::{self, Asked, Name, NoPlan};
use crate::survey;
use crate::world::World;
use astern_model::audit::{Audit, Readiness};
use astern_model::choice::Choice;
use astern_model::decision::Refusal;
use astern_model::finding::{Allowances, Finding, Severity};
use astern_model::id::RunId;
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::policy::Acceptor;
use astern_model::question::Answers;
use astern_model::target::Target;
use astern_plan::{History, Request};
use astern_port::releases::Depth;
use astern_wire::envelope;
use jiff::Timestamp;

/// A run of the namespace is not over.
const RUN_OPEN: &str = "AST0410";
/// A member of the platform does not exist.
const UNKNOWN_WORKLOAD: &str = "AST0412";
/// The gate's word on tags, which is said here with the digest that ran.
const TAG: &str = "AST0216";
/// At most this many details of a refusal stand in its line.
const DETAILS: usize = 2;

/// Looks at the platform, or at `only` these workloads of it.
///
/// # Errors
/// [`NoPlan::Failed`], [`NoPlan::WrongCluster`], or [`NoPlan::Unknown`] of a name that was typed. All else that stands in the
/// way of a rollback is what is looked for.
pub async fn audit(
    world: &World,
    platform: &Platform,
    only: &[Name],
    allow: &Allowances,
) -> Result<Audit, NoPlan> {
    let planning::Seen {
        mut inventory,
        past,
        shelf,
    } = planning::look(world, platform, &platform.namespace).await?;
    let targets = match only {
        [] => survey::scope(platform, &inventory),
        only => planning::resolve(only, &inventory)?,
    };
    planning::read_releases(world, &mut inventory, Depth::Few).await;
    ledger::read_back(world, &mut inventory, |_, _| false).await;
    if planning::stops(platform) {
        planning::read_starters(world, &mut inventory).await;
    }
    let choices: Vec<Choice> = targets
        .iter()
        .map(|target| astern_plan::choose(&inventory, &platform.policy, target, None))
        .collect();
    let mut findings: Vec<Finding> = past.open.iter().map(run_open).collect();
    if only.is_empty() {
        findings.extend(survey::missing(platform, &inventory).iter().map(missing));
    }
    let changed: Vec<Target> = choices
        .iter()
        .filter(|choice| !is_first_version(choice, &inventory) && restored_by(choice, &inventory).is_none())
        .map(|choice| choice.target.clone())
        .collect();
    let now = world.clock.now();
    let draft = Tonight::of(&changed, &inventory, platform, &past.history, now);
    let request = request(&draft.targets);
    config::of_plan(
        world,
        platform,
        &mut inventory,
        &shelf,
        &request,
        draft.plan.as_ref(),
    )
    .await;
    let mut tonight = Tonight::of(&changed, &inventory, platform, &past.history, now);
    if let Some(plan) = &tonight.plan
        && helm::contents::look_at(world, &mut inventory, plan, |_| true).await
    {
        tonight = Tonight::of(&changed, &inventory, platform, &past.history, now);
    }
    findings.extend(tonight.refused);
    let mut questions = astern_plan::readiness_questions(&inventory, &choices);
    if let Some(plan) = &tonight.plan {
        questions.extend(astern_gate::questions(plan, &inventory));
    }
    questions.sort();
    questions.dedup();
    let answers = planning::answer(world, &inventory, &questions).await;
    if let Some(plan) = tonight.plan {
        findings.extend(checked(plan, &inventory, &answers, allow, now));
    }
    let releases = shelf.releases();
    findings.extend(astern_plan::readiness(
        &inventory, platform, &releases, &choices, &answers,
    ));
    let workloads = choices
        .into_iter()
        .map(|choice| of_workload(choice, &inventory, platform))
        .collect();
    let names = (platform.name.clone(), inventory.namespace.clone());
    Ok(Audit::of(
        names,
        inventory.taken_at,
        workloads,
        findings,
        inventory.unread,
    ))
}

/// The plan that takes back all that can be taken back, and what keeps the rest from it.
struct Tonight {
    targets: Vec<Target>,
    plan: Option<Plan>,
    refused: Vec<Finding>,
}

impl Tonight {
    /// All together, as an incident would ask for them. Where that is refused, each is asked for alone, so that one refusal hides
    /// no other; and those that are not refused alone once more together.
    fn of(
        targets: &[Target],
        inventory: &Inventory,
        platform: &Platform,
        history: &History,
        now: Timestamp,
    ) -> Self {
        let make =
            |targets: &[Target]| astern_plan::plan(&request(targets), inventory, platform, history, now);
        let mut refused = Vec::new();
        let mut able = targets.to_vec();
        if able.is_empty() {
            return Self {
                targets: able,
                plan: None,
                refused,
            };
        }
        let mut plan = make(&able).ok();
        if plan.is_none() {
            able.retain(|target| match make(std::slice::from_ref(target)) {
                Ok(_) => true,
                Err(refusal) => {
                    refused.push(refusal_of(Some(target), &refusal));
                    false
                }
            });
            plan = match make(&able) {
                _ if able.is_empty() => None,
                Ok(plan) => Some(plan),
                Err(refusal) => {
                    refused.push(refusal_of(None, &refusal));
                    None
                }
            };
        }
        Self {
            targets: able,
            plan,
            refused,
        }
    }
}

/// What a person would ask for who takes back these workloads.
fn request(targets: &[Target]) -> Request {
    let asked = Asked::everything(Acceptor::Person);
    Request {
        only: targets.to_vec(),
        to: Default::default(),
        gone: Vec::new(),
        releases: asked.releases,
        outside_helm: asked.outside_helm,
        abandoned: asked.abandoned,
        stop: asked.stop,
        leave_config: asked.leave_config,
        accept_revert: Default::default(),
        overrides: asked.overrides,
        acceptor: asked.acceptor,
        on_failure: asked.on_failure,
    }
}

fn checked(
    plan: Plan,
    inventory: &Inventory,
    answers: &Answers,
    allow: &Allowances,
    now: Timestamp,
) -> Vec<Finding> {
    let sealed = envelope::seal(&plan);
    let mut findings = match astern_gate::check(plan, sealed, inventory, answers, allow, now) {
        Ok(checked) => checked.findings().to_vec(),
        Err(rejected) => rejected.findings,
    };
    findings.retain(|finding| finding.code != TAG);
    findings
}

fn refusal_of(target: Option<&Target>, refusal: &Refusal) -> Finding {
    let details = refusal.details.iter().take(DETAILS).cloned();
    let sentences: Vec<String> = std::iter::once(refusal.summary.clone()).chain(details).collect();
    Finding {
        severity: Severity::Refuse,
        code: refusal.code.clone(),
        target: target.cloned(),
        message: sentences.join("; "),
        hint: refusal.ways_out.join("; or "),
    }
}

fn run_open((run, phase): &(astern_model::id::RunId, astern_engine::Phase)) -> Finding {
    Finding {
        severity: Severity::Refuse,
        code: RUN_OPEN.to_owned(),
        target: None,
        message: format!("run {run} is not over: {}", planning::stands(phase)),
        hint: format!("astern resume {run} goes on with it, astern abort {run} takes back what it did"),
    }
}

fn missing(target: &Target) -> Finding {
    Finding {
        severity: Severity::Refuse,
        code: UNKNOWN_WORKLOAD.to_owned(),
        target: Some(target.clone()),
        message: "astern.yaml names it, and it does not exist".to_owned(),
        hint: "take it out of astern.yaml, or deploy it".to_owned(),
    }
}

fn is_first_version(choice: &Choice, inventory: &Inventory) -> bool {
    let workload = inventory.workloads.get(&choice.target);
    workload.is_some_and(|workload| astern_plan::is_first_version(choice, workload))
}

fn restored_by(choice: &Choice, inventory: &Inventory) -> Option<RunId> {
    astern_plan::restored_by(choice, inventory.workloads.get(&choice.target)?)
}

fn of_workload(choice: Choice, inventory: &Inventory, platform: &Platform) -> Readiness {
    let workload = inventory.workloads.get(&choice.target);
    Readiness {
        version: workload.map_or_else(|| "unknown".to_owned(), |workload| workload.version()),
        good_revisions: astern_plan::good_revisions(inventory, &platform.policy, &choice.target),
        first_version: is_first_version(&choice, inventory),
        restored_by: restored_by(&choice, inventory),
        goes_back_to: choice.good,
        target: choice.target,
    }
}
