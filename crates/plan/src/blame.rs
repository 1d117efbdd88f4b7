//! Whether what failing workloads read went bad, and not their templates. Owns that decision and its words.

use crate::config::{goes_back, holds, named, stands_on, stem};
use crate::consumers::consumers;
use crate::planner::Request;
use crate::refuse::{self, list, typed};
use crate::releases::Through;
use crate::steps::{Move, Moves};
use crate::world::{View, World, asks_for};
use astern_model::choice::clock;
use astern_model::config::{ConfigName, HeldBy, HeldConfig, LiveConfig, Use};
use astern_model::decision::Refusal;
use astern_model::inventory::Inventory;
use astern_model::release::Release;
use astern_model::target::Target;
use astern_model::workload::FieldManager;
use std::collections::{BTreeMap, BTreeSet};

/// The release whose content failing workloads should read: the newest good one, where a workload asks for its template. None where
/// somebody has said what to go back to.
pub fn content_they_should_read<'a>(
    request: &Request,
    inventory: &Inventory,
    releases: &'a [Release],
) -> Option<&'a Release> {
    if request.leave_config || named(request).is_some() {
        return None;
    }
    let good = releases.iter().find(|release| release.standing.is_good())?;
    let stands = good.workloads.iter().any(|held| {
        let workload = inventory.workloads.get(&held.target);
        workload.is_some_and(|workload| asks_for(workload, &held.template))
    });
    (stands && !good.config.is_empty()).then_some(good)
}

/// The failing workloads whose template is known good, while what they read is not what it was then.
#[derive(Default)]
pub(crate) struct Blame<'a> {
    held: Option<&'a HeldBy>,
    /// Each with the objects that differ and may go back.
    failing: BTreeMap<&'a Target, BTreeSet<&'a ConfigName>>,
    /// Each Secret that differs and stays, since the owners do not name it, with its failing readers.
    stays: BTreeMap<&'a ConfigName, BTreeSet<&'a Target>>,
}

/// Blames content. A failing workload (`suspects`) is one of content where it asks for the template that the newest good release has of
/// it, and its pods read a ConfigMap, or a Secret that may go back, that holds something else than in that release or is gone. When
/// that was written is told and does not decide: what is read at start shows at the next start, however late that is.
pub(crate) fn blame<'a>(request: &Request, world: &'a World<'a>, suspects: &BTreeSet<&Target>) -> Blame<'a> {
    let mut blame = Blame::default();
    let Some(held) = &world.inventory.config.last_good else {
        return blame;
    };
    if request.leave_config || named(request).is_some() {
        return blame;
    }
    blame.held = Some(held);
    let is_meant = |target: &Target| {
        let only = request.only.is_empty() || request.only.contains(target);
        only && !request.to.contains_key(target)
    };
    let differing: Vec<&HeldConfig> = held.objects.iter().filter(|one| differs(one, world)).collect();
    for (target, view) in &world.views {
        if !suspects.contains(target) || !is_meant(target) || stands_on(held, view) != Some(true) {
            continue;
        }
        let read = read_by_pods(view);
        for object in differing.iter().filter(|object| read.contains(&object.name)) {
            if goes_back(&object.name, world.platform) {
                blame.failing.entry(target).or_default().insert(&object.name);
            } else {
                blame.stays.entry(&object.name).or_default().insert(target);
            }
        }
    }
    blame
}

fn differs(held: &HeldConfig, world: &World<'_>) -> bool {
    let live = world.inventory.config.live(&held.name);
    live.is_none_or(|live| live.content != held.content)
}

fn read_by_pods(view: &View<'_>) -> BTreeSet<ConfigName> {
    let read = consumers(&view.workload.template, &view.workload.annotations).into_iter();
    read.filter(|(_, uses)| uses.iter().any(Use::is_read_by_pods))
        .map(|(name, _)| name)
        .collect()
}

impl<'a> Blame<'a> {
    /// Whether content is blamed for no workload.
    pub(crate) fn is_empty(&self) -> bool {
        self.failing.is_empty()
    }

    /// The workloads.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &'a Target> {
        self.failing.keys().copied()
    }

    /// Whether content is blamed for what fails of this workload.
    pub(crate) fn is_of(&self, target: &Target) -> bool {
        self.failing.contains_key(target)
    }

    /// Whether this object is what it is blamed for.
    pub(crate) fn is_for(&self, target: &Target, object: &ConfigName) -> bool {
        let objects = self.failing.get(target);
        objects.is_some_and(|objects| objects.contains(object))
    }

    /// The release whose content goes back.
    pub(crate) fn held(&self) -> Option<&'a HeldBy> {
        self.held.filter(|_| !self.is_empty())
    }

    /// The same beside workloads whose templates go back. Where those go to another release than this one, what content fits both is
    /// not known: the workloads stay, each with the sentence that says so.
    pub(crate) fn beside(self, moves: &Moves<'_>, world: &World<'_>) -> (Self, BTreeMap<&'a Target, String>) {
        let Some(held) = self.held() else {
            return (self, BTreeMap::new());
        };
        if elsewhere(held, moves, world).next().is_none() {
            return (self, BTreeMap::new());
        }
        let left = self.failing.iter().map(|(target, objects)| {
            let objects: Vec<String> = objects.iter().map(ToString::to_string).collect();
            let why = format!(
                "it fails on the template of release {release}, and {} differs from that release; the others go back to another one, so \
                 it is a plan of its own: astern plan --only {only}",
                objects.join(", "),
                only = typed(target),
                release = held.release
            );
            (*target, why)
        });
        let left = left.collect();
        (Self::default(), left)
    }

    /// Whether content that a Helm release brings back still fits beside every workload that releases take along.
    ///
    /// # Errors
    /// One takes a workload to the template of another release than the content's. What helm writes cannot stay then.
    pub(crate) fn fits_releases(
        &self,
        through: &[Through<'_>],
        content_of: &BTreeMap<&str, String>,
        moves: &Moves<'_>,
        world: &World<'_>,
    ) -> Result<(), Refusal> {
        let mut through = through.iter();
        let brings = through.find(|one| content_of.contains_key(one.release.name.name.as_str()));
        let (Some(held), Some(brings)) = (self.held(), brings) else {
            return Ok(());
        };
        let carried: Vec<&Move<'_>> = elsewhere(held, moves, world).collect();
        if carried.is_empty() {
            return Ok(());
        }
        let failing: Vec<&Target> = self.targets().collect();
        Err(refuse::carries_another_release(brings, held, &failing, &carried))
    }

    /// Why an object goes back; none where nothing that fails reads it.
    pub(crate) fn because(&self, object: &ConfigName, live: Option<&LiveConfig>) -> Option<String> {
        let held = self.held()?;
        let readers: Vec<&Target> = self
            .failing
            .iter()
            .filter(|(_, objects)| objects.contains(object))
            .map(|(target, _)| *target)
            .collect();
        let (read, run) = match readers.len() {
            0 => return None,
            1 => ("fails, reads it and runs", "its template"),
            _ => ("fail, read it and run", "their templates"),
        };
        Some(format!(
            "{} {read} {run} of release {}, which is good: what it holds is what changed since ({})",
            list(readers),
            held.release,
            written(live)
        ))
    }

    /// What a reader must know before saying yes: what else differs of what the failing workloads read, and stays.
    pub(crate) fn remarks(&self, world: &World<'_>) -> Vec<String> {
        let Some(held) = self.held else {
            return Vec::new();
        };
        let remark = |(object, readers): (&&ConfigName, &BTreeSet<&Target>)| {
            format!(
                "{object} differs from release {} as well ({}), and {} fails and reads it: it stays, since a credential may have been \
                 rotated; `config: {{restoreSecrets: [{{name: {}, probe: …}}]}}` in astern.yaml has it go back, once a login with what it \
                 held then answers",
                held.release,
                written(world.inventory.config.live(object)),
                list(readers.iter().copied()),
                stem(&object.name)
            )
        };
        self.stays.iter().map(remark).collect()
    }
}

/// The moves to templates that the release does not have.
fn elsewhere<'m, 'a>(
    held: &HeldBy,
    moves: &'m Moves<'a>,
    world: &World<'_>,
) -> impl Iterator<Item = &'m Move<'a>> {
    let moves = moves.values();
    moves.filter(|one| !holds(held, world, one.target(), &one.to.template))
}

/// When and by whom an object was written last.
fn written(live: Option<&LiveConfig>) -> String {
    let Some(live) = live else {
        return "it is not there any more".to_owned();
    };
    match &live.manager {
        Some(FieldManager {
            name, at: Some(at), ..
        }) => {
            format!("written last by {name} at {}", clock(*at))
        }
        Some(FieldManager { name, at: None, .. }) => format!("written last by {name}"),
        None => "who wrote it last is not known".to_owned(),
    }
}
