//! What goes back of ConfigMaps and Secrets with the workloads of a plan: which objects, before whom, and who is restarted
//! for them. Owns that choice and its words; the content of then and of now is compared where both are at hand.

mod permission;
mod readers;
mod writes;

use crate::blame::Blame;
use crate::carried::Carrying;
use crate::consumers::consumers;
use crate::planner::Request;
use crate::reconstruct;
use crate::releases::Through;
use crate::remarks;
use crate::selector::Selector;
use crate::steps::Moves;
use crate::world::{View, World, asks_for};
use astern_model::choice::clock;
use astern_model::config::{ConfigName, HeldBy, HeldConfig, LiveConfig};
use astern_model::decision::Refusal;
use astern_model::diff::{Change, Shown};
use astern_model::id::{StepId, TemplateHash};
use astern_model::plan::{ConfigChanges, Plan, TargetChanges};
use astern_model::release::{Release, ReleaseName};
use astern_model::step::Step;
use astern_model::step::workload::RestartMark;
use astern_model::target::Target;
use astern_model::template::{RESTARTED_AT, Template};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

pub use permission::goes_back;
pub(crate) use permission::{left, proof, proof_phrase, stem, untried};
use readers::How;
pub(crate) use readers::{Reader, readers};
pub(crate) use writes::{fixed, gap, pin, replaced, step, wanted, write};

/// A workload that is made anew from the template that it has.
pub(crate) struct Restart<'a> {
    pub(crate) view: &'a View<'a>,
    /// The mark, as `kubectl rollout restart` writes it.
    pub(crate) at: String,
    /// The template with the mark.
    pub(crate) template: Template,
    pub(crate) hash: TemplateHash,
}

/// What a plan does to ConfigMaps and Secrets, and for them.
#[derive(Default)]
pub(crate) struct Restoring<'a> {
    /// The writes, which come before everything else.
    pub(crate) steps: Vec<Step>,
    /// For each workload: the writes of what it reads.
    pub(crate) before: BTreeMap<&'a Target, Vec<StepId>>,
    /// The readers whose template goes back to one of which pods stand that must be made anew as well.
    pub(crate) marks: BTreeMap<&'a Target, RestartMark>,
    /// The readers whose template stays.
    pub(crate) restarts: BTreeMap<&'a Target, Restart<'a>>,
    /// The workloads that fail by what is written.
    pub(crate) failing: BTreeSet<&'a Target>,
    pub(crate) changes: Vec<ConfigChanges>,
    /// What changes with Helm releases, which write it themselves.
    pub(crate) carried: Vec<Carrying<'a>>,
    /// What stays of ConfigMaps and Secrets, a sentence each; empty where no release says what they held.
    pub(crate) stays: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl<'a> Restoring<'a> {
    /// Whether nothing is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What a workload must wait for.
    pub(crate) fn before(&self, target: &Target) -> Vec<StepId> {
        self.before.get(target).cloned().unwrap_or_default()
    }

    /// The workloads that are restarted, as changes of their templates.
    pub(crate) fn template_changes(&self) -> impl Iterator<Item = TargetChanges> {
        self.restarts.values().map(|restart| {
            let workload = restart.view.workload;
            TargetChanges {
                target: workload.target.clone(),
                from_version: workload.version(),
                to_version: workload.version(),
                provenance: None,
                changes: vec![marked(&workload.template, &restart.at)],
            }
        })
    }

    /// The steps that have an object hold something else; everybody who reads it comes after them, and is restarted where nothing
    /// else starts it anew.
    pub(crate) fn write(
        &mut self,
        steps: Vec<Step>,
        change: ConfigChanges,
        readers: Vec<Reader<'a>>,
        now: Timestamp,
    ) {
        let ids: Vec<StepId> = steps.iter().map(|step| step.id.clone()).collect();
        let readers = self.begin(&ids, &change.object, readers, now);
        self.changes.push(ConfigChanges { readers, ..change });
        self.steps.extend(steps);
    }

    /// Has everybody who reads an object come after the steps that write it; how each comes to read what is back.
    pub(crate) fn begin(
        &mut self,
        after: &[StepId],
        object: &ConfigName,
        readers: Vec<Reader<'a>>,
        now: Timestamp,
    ) -> Vec<(Target, String)> {
        let mut told = Vec::new();
        for reader in readers {
            let target = &reader.view.workload.target;
            told.push((target.clone(), reader.how.phrase()));
            self.warnings
                .extend(reader.how.warning(target, &object.to_string()));
            match reader.how {
                How::Moves | How::MovesWhole(_) | How::Leaves | How::MovesBesideReloader | How::MayRead => {
                    self.wait(target, after);
                }
                How::Restarts => {
                    self.wait(target, after);
                    if let Entry::Vacant(place) = self.restarts.entry(target) {
                        let restart = place.insert(restart(reader.view, now));
                        self.warnings
                            .extend(remarks::of_on_delete(restart.view, &restart.hash));
                    }
                }
                How::Reloads | How::Reloader | How::NotByPods | How::Outside | How::Cannot(_) => {}
            }
        }
        told
    }

    /// Looks after pods that stand already with what a reader goes back to, and may have started with the content of now: they are
    /// made anew with the write of the template, or it is said that they are not.
    pub(crate) fn renew(
        &mut self,
        readers: &mut [Reader<'a>],
        live: &LiveConfig,
        moves: &Moves<'_>,
        through: &[Through<'_>],
        now: Timestamp,
    ) {
        for reader in readers.iter_mut().filter(|reader| !reader.leaves()) {
            let target = &reader.view.workload.target;
            let count = reader.kept_pods(live);
            let Some(one) = moves.get(target).filter(|_| count > 0) else {
                continue;
            };
            // Helm writes no mark, and one that is put on what it has written could not be taken back before the release.
            let carried = through.iter().any(|one| one.targets.contains(target));
            match one.template {
                Some(template) if !carried && reader.is_reached_by_a_mark() => {
                    reader.how = How::MovesWhole(count);
                    self.marks.entry(target).or_insert_with(|| {
                        let at = restarted_at(now);
                        let template = template.restarted(&at).hash();
                        RestartMark { at, template }
                    });
                }
                _ => self.warnings.push(reader.keeps_pods(count, live)),
            }
        }
    }

    /// Hands the marks to the moves that write them.
    pub(crate) fn mark(&mut self, moves: &mut Moves<'_>) {
        for (target, mark) in std::mem::take(&mut self.marks) {
            if let Some(one) = moves.get_mut(target) {
                one.mark = Some(mark);
            }
        }
    }

    fn wait(&mut self, target: &'a Target, after: &[StepId]) {
        let before = self.before.entry(target).or_default();
        before.extend(
            after
                .iter()
                .filter(|id| !before.contains(id))
                .cloned()
                .collect::<Vec<_>>(),
        );
    }
}

/// The change that the mark of a restart is.
pub(crate) fn marked(live: &Template, at: &str) -> Change {
    let annotations = live.json().pointer("/metadata/annotations");
    let former = annotations.and_then(|annotations| annotations.get(RESTARTED_AT));
    let former = former.and_then(Value::as_str);
    Change {
        path: format!("metadata.annotations[{RESTARTED_AT}]"),
        from: former.map(|mark| Shown::Value(mark.to_owned())),
        to: Some(Shown::Value(at.to_owned())),
    }
}

/// The mark of a restart, as `kubectl rollout restart` writes it.
fn restarted_at(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn restart<'a>(view: &'a View<'a>, now: Timestamp) -> Restart<'a> {
    let at = restarted_at(now);
    let template = view.workload.template.restarted(&at);
    Restart {
        view,
        hash: template.hash(),
        template,
        at,
    }
}

/// The release that says what ConfigMaps and Secrets held: the one that was named, else the newest good one that holds every
/// template to which the plan goes back, else the newest of which nobody knows. Of two with the same templates, the content of
/// the one that nobody has proven may be what is wrong. Before there is a plan, the newest good one is the best guess: whether it holds
/// what is chosen in the end is looked at then.
pub fn config_release<'a>(
    request: &Request,
    draft: Option<&Plan>,
    releases: &'a [Release],
) -> Option<&'a Release> {
    if let Some(name) = named(request) {
        return releases.iter().find(|release| &release.name == name);
    }
    let Some(draft) = draft else {
        return releases.iter().find(|release| release.standing.is_good());
    };
    let choices = &draft.choices;
    let holds = |release: &&Release| {
        choices.iter().all(|choice| {
            let held = release.workload(&choice.target).map(|held| &held.template);
            choice
                .good
                .as_ref()
                .is_some_and(|good| held == Some(&good.revision.template))
        })
    };
    let known = releases.iter().filter(|release| release.standing.is_good());
    let unknown = releases.iter().filter(|release| {
        let standing = &release.standing;
        !standing.is_good() && standing.against().is_none()
    });
    let mut candidates = known.chain(unknown).filter(|_| !choices.is_empty());
    candidates.find(holds)
}

pub(crate) fn named(request: &Request) -> Option<&ReleaseName> {
    request.to.values().find_map(|selector| match selector {
        Selector::Release(name) => Some(name),
        _ => None,
    })
}

/// What a refusal says besides where a workload has the template of a release and reads other content: the template is then not
/// what went bad.
pub(crate) fn way_out(request: &Request, world: &World<'_>) -> Option<String> {
    let seen = &world.inventory.config;
    let held = seen.held.as_ref().filter(|_| named(request).is_none())?;
    let differs = |object: &&HeldConfig| {
        let live = seen.live(&object.name);
        let name = &object.name;
        live.is_some_and(|live| live.content != object.content) && goes_back(name, world.platform)
    };
    let stands = |view: &&View<'_>| stands_on(held, view) == Some(true);
    let read: BTreeSet<ConfigName> = world
        .views
        .values()
        .filter(stands)
        .flat_map(|view| consumers(&view.workload.template, &view.workload.annotations).into_keys())
        .collect();
    let differing = held.objects.iter().filter(differs);
    let names: Vec<String> = differing
        .filter(|object| read.contains(&object.name))
        .map(|object| object.name.to_string())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "astern rollback --to {release}: {} differs from what release {release} held, whose templates run",
            names.join(", "),
            release = held.release
        )
    })
}

/// The release whose content goes back, and the objects that differ from it, may go back and are read by what goes back: what is
/// blamed, or what was named. None where no release of the ledger is meant.
pub(crate) fn to_bring_back<'a>(
    request: &Request,
    world: &'a World<'a>,
    blame: &Blame<'_>,
) -> Option<(&'a HeldBy, Vec<&'a ConfigName>)> {
    if request.leave_config {
        return None;
    }
    let seen = &world.inventory.config;
    let blamed: BTreeSet<&Target> = blame.targets().collect();
    let (held, meant): (&HeldBy, BTreeSet<&Target>) = if blamed.is_empty() {
        named(request)?;
        (seen.held.as_ref()?, request.to.keys().collect())
    } else {
        (seen.last_good.as_ref()?, blamed)
    };
    let views = world.views.iter().filter(|(target, _)| meant.contains(*target));
    let read: BTreeSet<ConfigName> = views
        .flat_map(|(_, view)| consumers(&view.workload.template, &view.workload.annotations).into_keys())
        .collect();
    let differs = |object: &&HeldConfig| {
        seen.live(&object.name)
            .is_none_or(|live| live.content != object.content)
    };
    let objects = held.objects.iter().filter(differs);
    let objects =
        objects.filter(|object| goes_back(&object.name, world.platform) && read.contains(&object.name));
    Some((held, objects.map(|object| &object.name).collect()))
}

/// Whether a workload has the template that the release has of it; none where the release does not have the workload.
pub(crate) fn stands_on(held: &HeldBy, view: &View<'_>) -> Option<bool> {
    let released = &view.workload.released;
    let mut released = released
        .iter()
        .filter(|released| released.release == held.release)
        .peekable();
    released.peek()?;
    Some(released.any(|released| asks_for(view.workload, &released.template)))
}

/// What goes back of ConfigMaps and Secrets beside these moves, and for those workloads whose content is blamed.
///
/// # Errors
/// An object cannot be written under its name, or is made from another one that writes it again.
pub(crate) fn restoring<'a>(
    request: &Request,
    moves: &Moves<'_>,
    blame: &Blame<'_>,
    world: &'a World<'a>,
    through: &[Through<'_>],
    now: Timestamp,
) -> Result<Restoring<'a>, Refusal> {
    let mut restoring = Restoring::default();
    let seen = &world.inventory.config;
    if request.leave_config {
        restoring
            .stays
            .push("ConfigMaps and Secrets keep their content of now, as --leave-config says: whether it fits was not looked at".to_owned());
        return Ok(restoring);
    }
    let members = world.platform_targets();
    let meant: BTreeSet<&Target> = match named(request) {
        Some(_) => request.to.keys().collect(),
        None => moves.keys().copied().chain(blame.targets()).collect(),
    };
    let about = |target: &Target| {
        let only = request.only.is_empty() || request.only.contains(target);
        meant.contains(target) || only && members.contains(target)
    };
    let Some(held) = blame.held().or(seen.held.as_ref()) else {
        return match &seen.reconstruction {
            Some(known) => reconstruct::restoring(known, moves, world, through, about, now),
            None => Ok(restoring),
        };
    };
    if let Some(other) = moves
        .values()
        .find(|one| !holds(held, world, one.target(), &one.to.template))
    {
        restoring.stays.push(format!(
            "ConfigMaps and Secrets keep their content of now: release {} does not hold {} of {}, so what that read is not known",
            held.release,
            other.to.version,
            other.target()
        ));
        return Ok(restoring);
    }
    let mut same = 0_usize;
    for object in &held.objects {
        let mut readers = readers(&object.name, moves, world, about);
        let is_meant = |reader: &Reader<'_>| meant.contains(&reader.view.workload.target) && !reader.leaves();
        if !readers.iter().any(is_meant) {
            continue;
        }
        let live = seen.live(&object.name);
        if live.is_some_and(|live| live.content == object.content) {
            same += 1;
            continue;
        }
        if let Some(why) = left(object, live, world, through)? {
            restoring.stays.push(format!("{} {why}", object.name));
            continue;
        }
        if let Some(newer) = readers.iter().find(|reader| reader.stays_newer(held)) {
            let target = &newer.view.workload.target;
            let why = format!(
                "{} keeps its content of now: {target} reads it, stays on {}, and has another template in release {}, so what it \
                 needs there is not known",
                object.name,
                newer.view.workload.version(),
                held.release
            );
            restoring.warnings.push(format!(
                "{why}; `astern plan --to {}` takes all of them back together",
                held.release
            ));
            restoring.stays.push(why);
            continue;
        }
        if let Some(live) = live {
            restoring.renew(&mut readers, live, moves, through, now);
        }
        let to = wanted(object, origin(held), world);
        restoring.warnings.extend(untried(object, &to));
        restoring.warnings.extend(live.and_then(|live| gap(live, object)));
        let (steps, change) = write(object, live, to, world)?;
        let change = ConfigChanges {
            because: blame.because(&object.name, live),
            ..change
        };
        let failing = readers.iter().map(|reader| &reader.view.workload.target);
        let failing = failing.filter(|target| blame.is_for(target, &object.name));
        restoring.failing.extend(failing);
        restoring.write(steps, change, readers, now);
    }
    for name in &seen.unreadable {
        restoring.stays.push(format!(
            "{name} keeps its content of now: what release {} holds of it could not be read",
            held.release
        ));
    }
    for name in &seen.newer {
        for reader in readers(name, moves, world, about) {
            restoring.warnings.extend(reader.of_newer(name, held));
        }
    }
    if restoring.stays.is_empty() && restoring.is_empty() {
        restoring.stays.push(match same {
            0 => format!(
                "ConfigMaps and Secrets stay as they are: in release {} these workloads read none",
                held.release
            ),
            _ => format!(
                "ConfigMaps and Secrets stay as they are: they hold what they held in release {}",
                held.release
            ),
        });
    }
    Ok(restoring)
}

/// Whether the release has this template of the workload.
pub(crate) fn holds(held: &HeldBy, world: &World<'_>, target: &Target, template: &TemplateHash) -> bool {
    let released = world
        .views
        .get(target)
        .into_iter()
        .flat_map(|view| &view.workload.released);
    let mut released = released.filter(|released| released.release == held.release);
    released.any(|released| &released.template == template)
}

/// The source of what goes back, with its date.
fn origin(held: &HeldBy) -> String {
    let recorded = held.recorded_at.map(|at| format!(", recorded {}", clock(at)));
    format!("release {}{}", held.release, recorded.unwrap_or_default())
}
