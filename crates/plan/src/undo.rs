//! The plan that takes a run back: every content and every template that the run replaced is written again. Owns the check that what
//! the run put there is still there; it asks no matrix, because a person who undoes a run has decided.

use crate::assess::assess_against;
use crate::config::{self, Restoring};
use crate::external;
use crate::forecast::History;
use crate::owners;
use crate::planner::{Draft, finish};
use crate::refuse;
use crate::remarks;
use crate::steps::{self, Move, Moves};
use crate::world::{View, World, reference};
use astern_model::choice::RevisionRef;
use astern_model::config::{ConfigName, HeldConfig};
use astern_model::content::ContentRef;
use astern_model::decision::{Decision, Refusal};
use astern_model::external::Versions;
use astern_model::id::{ContentHash, RunId, StepId, TemplateHash, Uid};
use astern_model::inventory::Inventory;
use astern_model::plan::{ConfigChanges, Intent, Plan};
use astern_model::platform::Platform;
use astern_model::policy::Say;
use astern_model::step::Step;
use astern_model::step::config::{Spec as ConfigSpec, Wanted};
use astern_model::target::Target;
use astern_model::workload::RevisionKind;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// One template that a run replaced, from its receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The workload.
    pub target: Target,
    /// The template that was there before the run.
    pub before: TemplateHash,
    /// The template that the run wrote.
    pub after: TemplateHash,
    /// Where the run has kept the template from before.
    pub kept: ContentRef,
    /// The version from before, for people.
    pub version: String,
    /// Its images.
    pub images: Vec<String>,
    /// The number of its revision when the run was planned, if it was known.
    pub revision: Option<u64>,
}

/// What a ConfigMap or Secret held before a run wrote it, from its receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenConfig {
    /// What it held, beside what stands; none where the run has made the object.
    pub before: Option<HeldConfig>,
    /// Whether the API server let nobody change it then.
    pub was_immutable: bool,
    /// The versions that its ExternalSecret named before, where the run changed those.
    pub versions: Option<Versions>,
    /// The object.
    pub object: ConfigName,
    /// What the run wrote.
    pub after: ContentHash,
}

/// Everything that a run replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenRun {
    /// Templates.
    pub templates: Vec<Taken>,
    /// What ConfigMaps and Secrets held.
    pub config: Vec<TakenConfig>,
}

impl TakenRun {
    /// Whether it replaced nothing.
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty() && self.config.is_empty()
    }
}

/// Plans the undo of `run`: each workload goes back to what it was at before the run. Workloads that are there already
/// are left out and said. Owners that the run has paused go on at the end, where their source says what comes back;
/// `left_free` are owners whose writing back somebody accepts.
///
/// A revision that the cluster no longer remembers is named by the vault's content that keeps it: the name in its
/// [`RevisionRef`] is then the content's, and its uid is empty.
///
/// # Errors
/// [`crate::code::MOVED_SINCE`] when a workload is gone or asks for something else than what the run wrote;
/// [`crate::code::NOTHING_TO_DO`] when all are as before the run already; and the refusals of any plan's steps.
pub fn undo(
    run: &RunId,
    taken: &TakenRun,
    inventory: &Inventory,
    platform: &Platform,
    history: &History,
    left_free: &BTreeSet<String>,
    now: Timestamp,
) -> Result<Plan, Refusal> {
    let world = World::new(inventory, platform);
    let mut moves: Moves<'_> = BTreeMap::new();
    let mut left: BTreeMap<&Target, String> = BTreeMap::new();
    let mut moved = Vec::new();
    let mut warnings = vec![format!(
        "this takes run {run} back: the matrix is not asked, and saying yes decides"
    )];
    for one in &taken.templates {
        match world.views.get(&one.target) {
            None => moved.push(format!("{} does not exist any more", one.target)),
            Some(view) if view.live == one.before => {
                left.insert(&one.target, "it is as it was before the run already".to_owned());
            }
            Some(view) if view.live != one.after => moved.push(changed(view, one)),
            Some(view) => {
                let put_back = put_back(view, one);
                warnings.extend(put_back.template.is_none().then(|| only_kept(one)));
                moves.insert(&view.workload.target, put_back);
            }
        }
    }
    let mut restoring = Restoring::default();
    for one in &taken.config {
        match content(run, one, &world) {
            Content::Moved(how) => moved.push(how),
            Content::Stays(why) => restoring.stays.push(format!("{} {why}", one.object)),
            Content::GoesBack(goes, change) => {
                let members = world.platform_targets();
                let readers = config::readers(&one.object, &moves, &world, |target| members.contains(target));
                restoring.write(goes, change, readers, now);
            }
        }
    }
    if !moved.is_empty() {
        moved.sort();
        return Err(refuse::moved_since(run, moved));
    }
    if moves.is_empty() && restoring.is_empty() {
        let details = left
            .iter()
            .map(|(target, why)| format!("{target}: {why}"))
            .chain(restoring.stays)
            .collect();
        return Err(refuse::nothing_to_do(
            &format!("run {run} left nothing to take back"),
            details,
            Vec::new(),
        ));
    }
    let looked_at: BTreeSet<&Target> = world
        .platform_targets()
        .into_iter()
        .chain(moves.keys().copied())
        .collect();
    let assessment = assess_against(&world, &looked_at, &[]);
    let before = steps::Before::of(false, &moves, &mut restoring, &BTreeSet::new(), &world, left_free);
    let mut steps = steps::steps(&moves, &world, history, &[], &restoring, &before)?;
    let all: Vec<StepId> = steps.iter().map(|step| step.id.clone()).collect();
    let going_on = owners::going_on(run, &world, &all);
    steps.extend(going_on.steps);
    warnings.sort();
    warnings.extend(going_on.warnings);
    warnings.extend(before.stopping.warnings);
    warnings.extend(remarks::of_targets(&moves, &assessment, &[]));
    let decision = Decision {
        say: Say::Ask,
        fired: Vec::new(),
    };
    let intent = Intent::Undo { run: run.clone() };
    let draft = Draft {
        now,
        intent,
        assessment,
        decision,
        choices: Vec::new(),
        releases: Vec::new(),
        held: before.pausing.held,
        steps,
    };
    Ok(finish(
        draft,
        &moves,
        &world,
        &left,
        restoring,
        warnings,
        platform.policy.on_failure,
    ))
}

/// What becomes of one object.
enum Content {
    Moved(String),
    Stays(String),
    GoesBack(Vec<Step>, ConfigChanges),
}

fn content(run: &RunId, one: &TakenConfig, world: &World<'_>) -> Content {
    let object = &one.object;
    let live = world.inventory.config.live(object);
    let (before, live) = match (&one.before, live) {
        (None, None) => return Content::Stays("is gone again, as before the run".to_owned()),
        (None, Some(_)) => {
            let why = format!("stays: run {run} has made it, and what goes back does not need it to be gone");
            return Content::Stays(why);
        }
        (Some(_), None) => return Content::Moved(format!("{object} does not exist any more")),
        (Some(before), Some(live)) => (before, live),
    };
    if live.content == before.content {
        return Content::Stays("holds what it held before the run already".to_owned());
    }
    if live.content != one.after {
        let by = live.manager.as_ref().map_or_else(String::new, |manager| {
            format!(", last written by {}", manager.name)
        });
        return Content::Moved(format!(
            "{object}: it does not hold any more what the run wrote{by}"
        ));
    }
    let to = Wanted {
        kept: before.kept.clone(),
        content: before.content.clone(),
        keys: before.keys.clone(),
        origin: format!("what it was before run {run}"),
        proof: config::proof(object, world.platform),
    };
    let change = ConfigChanges {
        object: object.clone(),
        anew: false,
        to: to.origin.clone(),
        because: None,
        changes: before.changes.clone(),
        proof: config::proof_phrase(object, &to, &world.inventory.config),
        readers: Vec::new(),
    };
    if let Some(versions) = &one.versions {
        return match external::drawn_again(live, versions, to, &world.inventory.namespace) {
            Some(steps) => Content::GoesBack(steps, change),
            None => Content::Moved(format!(
                "{object}: its ExternalSecret does not name versions by their ids any more"
            )),
        };
    }
    // Nothing but making it anew has it as it was: an update that also made it immutable could not be taken back.
    if config::fixed(live, before).is_some() || one.was_immutable {
        let change = ConfigChanges { anew: true, ..change };
        return Content::GoesBack(config::replaced(live, to, &world.inventory.namespace), change);
    }
    let spec = ConfigSpec::Restore {
        object: object.clone(),
        namespace: world.inventory.namespace.clone(),
        pin: config::pin(live),
        to,
    };
    Content::GoesBack(vec![config::step(spec)], change)
}

fn put_back<'a>(view: &'a View<'a>, one: &Taken) -> Move<'a> {
    match view.revision(&one.before) {
        Some(revision) => Move {
            view,
            to: reference(revision),
            template: Some(&revision.template),
            kept: Some(one.kept.clone()),
            mark: None,
        },
        None => Move {
            view,
            to: kept_alone(one),
            template: None,
            kept: Some(one.kept.clone()),
            mark: None,
        },
    }
}

fn kept_alone(one: &Taken) -> RevisionRef {
    RevisionRef {
        number: one.revision.unwrap_or_default(),
        kind: RevisionKind::of(one.target.kind),
        name: one.kept.name.clone(),
        uid: Uid(String::new()),
        template: one.before.clone(),
        version: one.version.clone(),
        images: one.images.clone(),
    }
}

fn only_kept(one: &Taken) -> String {
    format!(
        "{}: the cluster no longer remembers the revision of {}; it is written from what the run kept, and its difference cannot be shown here",
        one.target, one.version
    )
}

fn changed(view: &View<'_>, one: &Taken) -> String {
    format!(
        "{}: the run wrote template {}, and it asks for {} ({}) now",
        one.target,
        short(&one.after),
        short(&view.live),
        view.workload.version()
    )
}

/// Enough of a hash to tell two apart.
fn short(hash: &TemplateHash) -> String {
    const DIGITS: usize = 12;
    hash.as_str().chars().take("sha256:".len() + DIGITS).collect()
}
