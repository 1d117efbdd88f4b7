//! The planner: scope, choice, decision and steps put together into one plan, or a refusal. Owns the order of the
//! questions; each answer has a file of its own.

use crate::assess::assess_against;
use crate::blame::{Blame, blame};
use crate::carried;
use crate::choose::choose_in;
use crate::config::{self, Restoring};
use crate::decide::{decide_about, suspects};
use crate::diff::diff;
use crate::forecast::History;
use crate::foretold;
use crate::images;
use crate::mounted;
use crate::recalled;
use crate::refuse;
use crate::releases;
use crate::remarks;
use crate::scope::{Scope, Sighting, scope};
use crate::selector::Selector;
use crate::steps::{self, Move, Moves};
use crate::timeline;
use crate::world::{View, World, essence};
use astern_model::assessment::Assessment;
use astern_model::choice::Choice;
use astern_model::content::ContentRef;
use astern_model::decision::{Decision, Refusal};
use astern_model::diff::Marks;
use astern_model::id::TemplateHash;
use astern_model::inventory::Inventory;
use astern_model::owner::OwnerName;
use astern_model::plan::{Criteria, Intent, Plan, ReleaseChanges, TargetChanges};
use astern_model::platform::Platform;
use astern_model::policy::{Acceptor, OnFailure, Say};
use astern_model::release::ReleaseName;
use astern_model::target::Target;
use astern_model::workload::Workload;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What a person or pipeline asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `--only`: nothing else is touched. Empty leaves the scope to the evidence.
    pub only: Vec<Target>,
    /// `--to`: what to go back to, by workload.
    pub to: BTreeMap<Target, Selector>,
    /// What a release that `--to` names holds, and the namespace does not any more.
    pub gone: Vec<(ReleaseName, Target)>,
    /// `--to helm/NAME=REVISION`: which revision a Helm release goes back to.
    pub releases: BTreeMap<String, u64>,
    /// `--outside-helm`: workloads of a Helm release are written themselves, beside its record.
    pub outside_helm: bool,
    /// `--abandoned`: Helm releases whose pending operation has no client any more, by somebody's word.
    pub abandoned: BTreeSet<String>,
    /// `--stop`: everything that is written is stopped before, and started again afterwards.
    pub stop: bool,
    /// `--leave-config`: ConfigMaps and Secrets keep what they hold.
    pub leave_config: bool,
    /// `--accept-revert`: owners that are left free, by name.
    pub accept_revert: BTreeSet<String>,
    /// Rows of the matrix that say "do not" and are overridden (`--override-decision`), by id.
    pub overrides: BTreeSet<String>,
    /// Who will approve.
    pub acceptor: Acceptor,
    /// `--on-failure`; none leaves it to the policy.
    pub on_failure: Option<OnFailure>,
}

/// Plans a rollback. The workloads that fail since the newest release among them are taken back, and with them those
/// that moved in the same release; when nothing fails, the newest release. `only` limits this, `to` adds to it.
///
/// # Errors
/// A [`Refusal`] says which code it has, what it rests on and the ways out; the codes are in [`crate::code`].
pub fn plan(
    request: &Request,
    inventory: &Inventory,
    platform: &Platform,
    history: &History,
    now: Timestamp,
) -> Result<Plan, Refusal> {
    let world = World::new(inventory, platform);
    planned(request, &world, history, now).map_err(|mut refusal| {
        refusal.ways_out.extend(config::way_out(request, &world));
        refusal
    })
}

fn planned(request: &Request, world: &World<'_>, history: &History, now: Timestamp) -> Result<Plan, Refusal> {
    let platform = world.platform;
    let request = &releases::named(request, world)?;
    check_request(request, world)?;
    let members = world.platform_targets();
    let looked_at: BTreeSet<&Target> = members
        .iter()
        .copied()
        .chain(&request.only)
        .chain(request.to.keys())
        .collect();
    let mut choices = choose_all(request, world, &looked_at);
    let mut assessment = assess_against(world, &looked_at, choices.values());
    let blame = blame(request, world, &suspects(&assessment, &platform.policy));
    if !blame.is_empty() {
        // Nothing is gone back to where content is blamed, so nothing of an earlier version counts there.
        let others = choices.values().filter(|choice| !blame.is_of(&choice.target));
        assessment = assess_against(world, &looked_at, others);
    }
    let scope = find_scope(request, world, &assessment, &choices, &members, &blame);
    let mut picked = pick(request, &scope, &choices, world)?;
    let remarks_of_blame = blame.remarks(world);
    // Content that does not fit beside what goes back draws in no release; what a release draws in may not fit beside content.
    let (blame, apart) = blame.beside(&picked.moves, world);
    let content_of = releases::of_content(request, world, &blame);
    let through = releases::through(request, world, &content_of, &mut picked, &mut choices, now)?;
    picked.left.retain(|target, _| !picked.moves.contains_key(target));
    blame.fits_releases(&through, &content_of, &picked.moves, world)?;
    let (blame, apart_from_releases) = blame.beside(&picked.moves, world);
    picked.left.extend(apart.into_iter().chain(apart_from_releases));
    let mut restoring = config::restoring(request, &picked.moves, &blame, world, &through, now)?;
    carried::starts(request, &through, &picked.moves, world, &mut restoring, now);
    restoring.mark(&mut picked.moves);
    if picked.moves.is_empty() && restoring.is_empty() && through.is_empty() {
        return Err(nothing_moves(&picked, &scope, &choices, &restoring));
    }
    let chosen: Vec<Choice> = picked
        .moves
        .keys()
        .filter_map(|target| choices.get(*target))
        .cloned()
        .collect();
    let about = chosen
        .iter()
        .map(|choice| &choice.target)
        .chain(blame.targets())
        .collect();
    let decision = decide_about(&assessment, &about, &chosen, &platform.policy);
    check_decision(request, &decision, &chosen, platform)?;
    let carried = through
        .iter()
        .flat_map(|one| one.targets.iter().copied())
        .collect();
    let before = steps::Before::of(
        request.stop,
        &picked.moves,
        &mut restoring,
        &carried,
        world,
        &request.accept_revert,
    );
    let steps = steps::steps(&picked.moves, world, history, &through, &restoring, &before)?;
    let draft = Draft {
        now,
        intent: Intent::RollBack,
        assessment,
        decision,
        choices: chosen,
        releases: releases::changes(&through, &restoring.carried, world),
        held: before.pausing.held,
        steps,
    };
    let mut warnings = warnings(request, &scope, &picked, &draft);
    warnings.extend(remarks_of_blame);
    warnings.extend(before.stopping.warnings);
    let on_failure = request.on_failure.unwrap_or(platform.policy.on_failure);
    Ok(finish(
        draft,
        &picked.moves,
        world,
        &picked.left,
        restoring,
        warnings,
        on_failure,
    ))
}

fn find_scope<'a>(
    request: &'a Request,
    world: &World<'a>,
    assessment: &Assessment,
    choices: &BTreeMap<&'a Target, Choice>,
    members: &BTreeSet<&'a Target>,
    blame: &Blame<'_>,
) -> Scope<'a> {
    let against = suspects(assessment, &world.platform.policy);
    let suspects: BTreeSet<&Target> = choices
        .keys()
        .copied()
        .filter(|target| against.contains(target) && !blame.is_of(target))
        .collect();
    let is_explained = !blame.is_empty() && suspects.is_empty();
    let is_named = !request.releases.is_empty();
    if (is_explained || is_named) && request.only.is_empty() && request.to.is_empty() {
        return Scope::default();
    }
    let is_back = |target: &&Target| world.views.get(*target).is_some_and(timeline::brought_back);
    let brought_back = choices.keys().copied().filter(is_back).collect();
    let mut scope = scope(
        request,
        &Sighting {
            assessment,
            choices,
            members,
            suspects,
            brought_back,
        },
    );
    scope.base.retain(|target| !blame.is_of(target));
    scope.joined.retain(|target, _| !blame.is_of(target));
    scope
}

fn warnings(request: &Request, scope: &Scope<'_>, picked: &Picked<'_>, draft: &Draft) -> Vec<String> {
    let mut warnings = remarks::of_scope(scope, &picked.moves);
    warnings.extend(remarks::gone(&request.gone));
    warnings.extend(remarks::of_decision(&draft.decision, &request.overrides));
    warnings.extend(remarks::of_targets(
        &picked.moves,
        &draft.assessment,
        &draft.choices,
    ));
    warnings.extend(remarks::mixed(&picked.without_good));
    warnings
}

/// What is known once the steps are.
pub(crate) struct Draft {
    pub(crate) now: Timestamp,
    pub(crate) intent: Intent,
    pub(crate) assessment: Assessment,
    pub(crate) decision: Decision,
    pub(crate) choices: Vec<Choice>,
    pub(crate) releases: Vec<ReleaseChanges>,
    pub(crate) held: Vec<(Target, OwnerName)>,
    pub(crate) steps: Vec<astern_model::step::Step>,
}

/// Adds what follows from the steps: differences, forecast, what stays, what will count as recovered.
pub(crate) fn finish(
    draft: Draft,
    moves: &Moves<'_>,
    world: &World<'_>,
    left: &BTreeMap<&Target, String>,
    restoring: Restoring<'_>,
    mut warnings: Vec<String>,
    on_failure: OnFailure,
) -> Plan {
    let platform = world.platform;
    let forecast = steps::longest(&draft.steps);
    warnings.extend(remarks::of_budget(forecast, platform.rto));
    warnings.extend(remarks::of_gaps(world));
    warnings.extend(restoring.warnings.iter().cloned());
    warnings.extend(mounted::warnings(moves, world));
    Plan {
        platform: platform.name.clone(),
        namespace: world.inventory.namespace.clone(),
        cluster: world.inventory.cluster.clone(),
        made_at: draft.now,
        expires_at: draft
            .now
            .checked_add(platform.policy.plan_expiry)
            .unwrap_or(Timestamp::MAX),
        intent: draft.intent,
        assessment: draft.assessment,
        decision: draft.decision,
        choices: draft.choices,
        changes: moves
            .values()
            .map(|one| changes(one, &world.inventory.marks))
            .chain(restoring.template_changes())
            .collect(),
        releases: draft.releases,
        unchanged: remarks::unchanged(moves, &restoring, world, left),
        warnings,
        recovered_when: Criteria {
            owners: draft.held,
            ..criteria(platform, moves, &restoring)
        },
        config: restoring.changes,
        steps: draft.steps,
        forecast,
        rto: platform.rto,
        on_failure,
    }
}

/// What must hold afterwards; above all that the very images run which ran before.
fn criteria(platform: &Platform, moves: &Moves<'_>, restoring: &Restoring<'_>) -> Criteria {
    let targets: BTreeSet<&Target> = moves
        .keys()
        .chain(restoring.restarts.keys())
        .chain(&restoring.failing)
        .copied()
        .collect();
    let targets = targets.into_iter().cloned().collect();
    let images = moves.values().map(|one| {
        let known = images::known(one.view, &one.to.template);
        (one.target().clone(), known)
    });
    Criteria {
        images: images.filter(|(_, known)| !known.is_empty()).collect(),
        ..Criteria::of(platform, targets)
    }
}

fn changes(one: &Move<'_>, marks: &Marks) -> TargetChanges {
    TargetChanges {
        target: one.target().clone(),
        from_version: one.view.workload.version(),
        to_version: one.to.version.clone(),
        provenance: foretold::provenance(one.view, &one.to)
            .or_else(|| recalled::provenance(one.view, &one.to)),
        changes: one
            .template
            .map(|to| {
                let live = one.view.workload.made();
                let mut changes = diff(live, to, marks);
                let mark = one.mark.iter();
                changes.extend(mark.map(|mark| config::marked(live, &mark.at)));
                changes.extend(images::changes(one.view, to, &one.to.template));
                changes
            })
            .unwrap_or_default(),
    }
}

fn check_request(request: &Request, world: &World<'_>) -> Result<(), Refusal> {
    let unknown = request
        .only
        .iter()
        .chain(request.to.keys())
        .find(|target| !world.views.contains_key(*target));
    if let Some(unknown) = unknown {
        let known = world.views.keys().copied();
        return Err(refuse::unknown_workload(
            unknown,
            &world.inventory.namespace,
            known,
        ));
    }
    let outside: Vec<&Target> = request
        .to
        .keys()
        .filter(|target| !request.only.contains(target))
        .collect();
    if !request.only.is_empty() && !outside.is_empty() {
        return Err(refuse::to_outside_only(&outside));
    }
    let rows: Vec<&str> = world
        .platform
        .policy
        .matrix
        .iter()
        .map(|row| row.id.as_str())
        .collect();
    match request.overrides.iter().find(|row| !rows.contains(&row.as_str())) {
        Some(row) => Err(refuse::unknown_row(row, &rows)),
        None => Ok(()),
    }
}

fn choose_all<'a>(
    request: &Request,
    world: &World<'a>,
    targets: &BTreeSet<&'a Target>,
) -> BTreeMap<&'a Target, Choice> {
    let choose = |target: &&'a Target| {
        let view = world.views.get(*target)?;
        Some((
            *target,
            choose_in(
                view,
                &world.platform.policy,
                request.to.get(*target),
                world.taken_at(),
            ),
        ))
    };
    targets.iter().filter_map(choose).collect()
}

/// The workloads to move, and those of the scope that stay.
pub(crate) struct Picked<'a> {
    pub(crate) moves: Moves<'a>,
    pub(crate) left: BTreeMap<&'a Target, String>,
    without_good: Vec<&'a Target>,
}

fn pick<'a>(
    request: &Request,
    scope: &Scope<'a>,
    choices: &BTreeMap<&'a Target, Choice>,
    world: &'a World<'a>,
) -> Result<Picked<'a>, Refusal> {
    let mut picked = Picked {
        moves: BTreeMap::new(),
        left: scope.left.clone(),
        without_good: Vec::new(),
    };
    let mut missing = Vec::new();
    for target in scope.base.iter().copied().chain(scope.joined.keys().copied()) {
        let (Some(choice), Some(view)) = (choices.get(target), world.views.get(target)) else {
            continue;
        };
        let Some(good) = &choice.good else {
            if let Some(selector) = request.to.get(target) {
                return Err(refuse::not_one_revision(&selector.to_string(), choice.clone()));
            }
            if scope.base.contains(target) {
                missing.push(choice.clone());
            } else {
                picked.left.insert(target, remarks::without_good(choice));
                picked.without_good.push(target);
            }
            continue;
        };
        if good.revision.template == view.live || stands_restarted(request, view, &good.revision.template) {
            let label = good.revision.label();
            picked.left.insert(
                target,
                format!("{label}, which --to names, is what it asks for already"),
            );
            continue;
        }
        let template = view
            .revision(&good.revision.template)
            .map(|revision| &revision.template);
        picked.moves.insert(
            target,
            Move {
                view,
                to: good.revision.clone(),
                template,
                kept: kept(view.workload, &good.revision.template),
                mark: None,
            },
        );
    }
    if !missing.is_empty() {
        let others: Vec<&Target> = picked
            .moves
            .keys()
            .copied()
            .filter(|target| scope.base.contains(target))
            .collect();
        return Err(refuse::nothing_good(missing, &others));
    }
    Ok(picked)
}

/// Whether the workload asks for the named release's template already, but for the mark of a restart.
fn stands_restarted(request: &Request, view: &View<'_>, template: &TemplateHash) -> bool {
    let target = &view.workload.target;
    matches!(request.to.get(target), Some(Selector::Release(_)))
        && view
            .revision(template)
            .is_some_and(|revision| essence(&revision.template, &revision.hash) == view.essence)
}

/// Where the ledger keeps a template, should the cluster prune it.
fn kept(workload: &Workload, template: &TemplateHash) -> Option<ContentRef> {
    let released = workload.released.iter();
    let released = released.map(|released| (&released.template, &released.content));
    let recalled = workload.recalled.iter().filter_map(|one| one.template.value());
    let recalled = recalled.map(|kept| (&kept.revision.hash, &kept.content));
    let mut all = released.chain(recalled);
    let (_, content) = all.find(|(of, _)| *of == template)?;
    Some(content.clone())
}

fn nothing_moves(
    picked: &Picked<'_>,
    scope: &Scope<'_>,
    choices: &BTreeMap<&Target, Choice>,
    restoring: &Restoring<'_>,
) -> Refusal {
    if picked.left.is_empty() && !scope.remarks.is_empty() {
        return refuse::nothing_to_do(
            "there is no release to take back",
            scope.remarks.clone(),
            Vec::new(),
        );
    }
    if picked.left.is_empty() {
        let summary = "no workload of the platform has an earlier version that the cluster remembers";
        let details = choices
            .values()
            .flat_map(|choice| choice.notes.iter().cloned())
            .collect();
        return refuse::nothing_to_do(summary, details, Vec::new());
    }
    let details = picked
        .left
        .iter()
        .map(|(target, why)| format!("{target}: {why}"))
        .chain(restoring.stays.iter().cloned())
        .collect();
    let about = picked
        .left
        .keys()
        .filter_map(|target| choices.get(*target))
        .cloned()
        .collect();
    refuse::nothing_to_do("there is nothing to change", details, about)
}

fn check_decision(
    request: &Request,
    decision: &Decision,
    chosen: &[Choice],
    platform: &Platform,
) -> Result<(), Refusal> {
    let against: Vec<_> = decision
        .fired
        .iter()
        .filter(|fired| fired.say == Say::DoNot && !request.overrides.contains(&fired.row))
        .collect();
    if !against.is_empty() {
        let named: BTreeSet<&Target> = against
            .iter()
            .flat_map(|fired| fired.on.iter().map(|(target, _)| target))
            .collect();
        let others: Vec<&Target> = chosen
            .iter()
            .map(|choice| &choice.target)
            .filter(|target| !named.contains(target))
            .collect();
        let about = chosen
            .iter()
            .filter(|choice| named.contains(&choice.target))
            .cloned()
            .collect();
        return Err(refuse::do_not(decision, &request.overrides, &others, about));
    }
    if platform.policy.accept_presumed.contains(&request.acceptor) {
        return Ok(());
    }
    let is_presumed = |choice: &&Choice| {
        choice
            .good
            .as_ref()
            .is_some_and(|good| good.because.is_presumed())
    };
    let presumed: Vec<Choice> = chosen.iter().filter(is_presumed).cloned().collect();
    if presumed.is_empty() {
        Ok(())
    } else {
        Err(refuse::presumed(request.acceptor, presumed))
    }
}
