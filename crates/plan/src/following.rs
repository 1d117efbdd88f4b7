//! What the source of an owner says beside what runs, where the owner itself compares nothing while it is paused: object by
//! object, and what follows for whether it may go on. Reading is the caller's.

mod applied;
mod chart;

pub use applied::Applied;
pub use chart::{InForceOf, chart_in_sync};

use crate::consumers::consumers;
use crate::diff::diff;
use applied::{Left, left, taken};
use astern_model::config::{ConfigKind, ConfigName, content};
use astern_model::diff::{Change, Shown};
use astern_model::id::EFFECT;
use astern_model::inventory::Inventory;
use astern_model::owner::{InSync, OwnerName, OwnerSeen, PausableKind};
use astern_model::reconstruction::short;
use astern_model::source::{FolderManifests, Manifest, Upcoming};
use astern_model::target::{Target, WorkloadKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Places that a sentence names; more of them say no more about what would be written.
const PLACES: usize = 6;

/// What makes Flux leave an object as it is, on its manifest. Source:
/// <https://fluxcd.io/flux/components/kustomize/kustomizations/#controlling-the-apply-behavior-of-resources>.
const LEFT_ALONE: [(&str, &[&str]); 2] = [
    ("kustomize.toolkit.fluxcd.io/reconcile", &["disabled"]),
    ("kustomize.toolkit.fluxcd.io/ssa", &["IfNotPresent", "Ignore"]),
];

/// What keeps Flux from deleting an object, on the object. Source: `prune` in kustomize-controller's
/// `internal/controller/kustomization_controller.go`.
const NOT_PRUNED: [(&str, &[&str]); 2] = [
    ("kustomize.toolkit.fluxcd.io/prune", &["disabled"]),
    ("kustomize.toolkit.fluxcd.io/reconcile", &["disabled"]),
];

/// The labels by which Flux marks what a Kustomization made.
const MADE_BY: [&str; 2] = [
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
];

/// What a source says, and what stands beside it.
pub struct Beside<'a> {
    /// Who follows it.
    pub owner: &'a OwnerName,
    /// How.
    pub upcoming: &'a Upcoming,
    /// What its files make.
    pub said: &'a FolderManifests,
    /// What each workload would ask for once its manifest was applied, or why that is not known; without those that are not there.
    pub applied: &'a BTreeMap<Target, Result<Applied, String>>,
    /// The ConfigMaps and Secrets that are there; none where they could not be read.
    pub config: Option<&'a [ConfigSeen<'a>]>,
}

/// A ConfigMap or Secret that is there. Without `Debug`: it has values.
#[derive(Clone, Copy)]
pub struct ConfigSeen<'a> {
    /// Which.
    pub name: &'a ConfigName,
    /// The whole object.
    pub json: &'a Value,
    /// Its `metadata.managedFields`.
    pub managed: &'a [Value],
}

/// What a source would change, and what of that is not known; a clause each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What it would write.
    pub differs: Vec<String>,
    /// What cannot be told.
    pub untold: Vec<String>,
}

/// The workloads of the inventory's namespace that these files make, with their manifests. Those that their owner leaves alone
/// are not among them.
pub fn made<'a>(
    said: &'a FolderManifests,
    upcoming: &Upcoming,
    namespace: &str,
) -> impl Iterator<Item = (Target, &'a Manifest)> {
    let namespace = namespace.to_owned();
    let here: Vec<&Manifest> = here(said, upcoming, &namespace).collect();
    here.into_iter()
        .filter_map(move |manifest| Some((target(manifest, &namespace)?, manifest)))
}

fn target(manifest: &Manifest, namespace: &str) -> Option<Target> {
    Some(Target {
        kind: WorkloadKind::parse(&manifest.kind.to_lowercase())?,
        namespace: namespace.to_owned(),
        name: manifest.name.clone(),
    })
}

/// What lies in this namespace, without what Flux leaves alone.
fn here<'a>(
    said: &'a FolderManifests,
    upcoming: &Upcoming,
    namespace: &str,
) -> impl Iterator<Item = &'a Manifest> {
    within(said, upcoming, namespace).filter(|manifest| !left_alone(manifest))
}

/// What lies in this namespace. One that no file names is the platform's.
fn within<'a>(
    said: &'a FolderManifests,
    upcoming: &Upcoming,
    namespace: &str,
) -> impl Iterator<Item = &'a Manifest> {
    said.objects.iter().filter(move |manifest| {
        let within = upcoming.namespace.as_ref().or(manifest.namespace.as_ref());
        within.is_none_or(|within| within == namespace)
    })
}

fn left_alone(manifest: &Manifest) -> bool {
    let json = manifest.json.as_ref().ok();
    is_marked(json.and_then(|json| json.get("metadata")), &LEFT_ALONE)
}

/// Whether annotations or labels say one of these; Flux takes capitals for small letters. Source: `AnyInMetadata` in fluxcd/pkg/ssa.
fn is_marked(metadata: Option<&Value>, marks: &[(&str, &[&str])]) -> bool {
    let says = |field: &str, name: &str, value: &str| {
        let said = metadata.and_then(|metadata| metadata.get(field)?.get(name)?.as_str());
        said.is_some_and(|said| said.eq_ignore_ascii_case(value))
    };
    marks.iter().any(|(name, values)| {
        values
            .iter()
            .any(|value| says("annotations", name, value) || says("labels", name, value))
    })
}

/// What the files would change of what stands.
pub fn changes(beside: &Beside<'_>, inventory: &Inventory) -> Changes {
    let mut found = Changes::default();
    found.untold.extend(
        beside
            .said
            .unread
            .iter()
            .map(|what| format!("not looked into: {what}")),
    );
    for (target, manifest) in made(beside.said, beside.upcoming, &inventory.namespace) {
        workload(beside, inventory, (&target, manifest), &mut found);
    }
    config(beside, inventory, &mut found);
    owners(beside, inventory, &mut found);
    if beside.upcoming.prunes && beside.said.unread.is_empty() {
        pruned(beside, inventory, &mut found);
    }
    found
}

fn workload(
    beside: &Beside<'_>,
    inventory: &Inventory,
    (target, manifest): (&Target, &Manifest),
    found: &mut Changes,
) {
    let untold = |why: &str| format!("{target} ({}): {why}", manifest.file);
    let Some(live) = inventory.workloads.get(target) else {
        found
            .differs
            .push(format!("{target} is made, which is not there"));
        return;
    };
    match (&manifest.json, beside.applied.get(target)) {
        (Err(why), _) | (_, Some(Err(why))) => found.untold.push(untold(why)),
        (Ok(_), None) => found.untold.push(untold("it was not tried")),
        (Ok(_), Some(Ok(then))) => {
            let changes = diff(&live.template, &then.template, &inventory.marks);
            found
                .differs
                .extend(changes.iter().map(|change| format!("{target} {}", place(change))));
            found.untold.extend(then.ours.places.iter().map(|place| {
                untold(&format!(
                    "{place} stands by a run's write alone, and the file does not say it"
                ))
            }));
            taken(target, &then.taken, &untold, found);
        }
    }
}

/// `containers[api].image: api:v1 → api:v2`.
fn place(change: &Change) -> String {
    let shown = |value: &Option<Shown>| match value {
        None => "nothing".to_owned(),
        Some(Shown::Value(text)) => text.clone(),
        Some(Shown::Masked | Shown::Keyed(_)) => "a value that is not shown".to_owned(),
    };
    match (&change.from, &change.to) {
        (Some(Shown::Value(_)) | None, Some(Shown::Value(_)) | None) => {
            format!("{}: {} → {}", change.path, shown(&change.from), shown(&change.to))
        }
        _ => change.path.clone(),
    }
}

/// ConfigMaps key by key, without their values. Of Secrets no file is read.
fn config(beside: &Beside<'_>, inventory: &Inventory, found: &mut Changes) {
    let maps: Vec<&Manifest> = here(beside.said, beside.upcoming, &inventory.namespace)
        .filter(|manifest| manifest.kind == "ConfigMap")
        .collect();
    let Some(live) = beside.config else {
        if !maps.is_empty() {
            found.untold.push("ConfigMaps could not be read".to_owned());
        }
        return;
    };
    for manifest in maps {
        let name = ConfigName {
            kind: ConfigKind::ConfigMap,
            name: manifest.name.clone(),
        };
        let now = live.iter().find(|seen| *seen.name == name);
        match (&manifest.json, now) {
            (Err(why), _) => found.untold.push(format!("{name} ({}): {why}", manifest.file)),
            (Ok(_), None) => found.differs.push(format!("{name} is made, which is not there")),
            (Ok(said), Some(now)) => keys((&name, manifest), (now, said), found),
        }
    }
    let ours = |seen: &&ConfigSeen<'_>| {
        seen.name.kind == ConfigKind::Secret
            && is_made_by(seen.json, beside.owner)
            && seen
                .json
                .pointer("/metadata/annotations")
                .is_some_and(|all| all.get(EFFECT).is_some())
    };
    found.untold.extend(live.iter().filter(ours).map(|seen| {
        format!(
            "{} was put back by a run, and no value of a Secret is read from Git",
            seen.name
        )
    }));
}

/// The keys that would hold something else, be made, or go.
fn keys(
    (name, manifest): (&ConfigName, &Manifest),
    (now, said): (&ConfigSeen<'_>, &Value),
    found: &mut Changes,
) {
    let (live, said_content) = (content(now.json), content(said));
    for field in ["data", "binaryData"] {
        let of = |content: &Value| {
            let map = content.get(field).and_then(Value::as_object);
            map.cloned().unwrap_or_default()
        };
        let (live, said_here) = (of(&live), of(&said_content));
        let other = said_here
            .iter()
            .filter(|(key, said)| live.get(*key) != Some(*said))
            .map(|(key, _)| key);
        found
            .differs
            .extend(other.map(|key| format!("{name} {field}[{key}]")));
        for key in live.keys().filter(|key| !said_here.contains_key(*key)) {
            match left(now, said, [field, key]) {
                Left::Goes => found.differs.push(format!("{name} {field}[{key}]")),
                Left::Stays => {}
                Left::Untold(why) => found
                    .untold
                    .push(format!("{name} ({}): {field}[{key}] {why}", manifest.file)),
            }
        }
    }
}

fn is_made_by(json: &Value, owner: &OwnerName) -> bool {
    let label = |name: &str| json.pointer("/metadata/labels")?.get(name)?.as_str();
    MADE_BY.map(label) == [Some(owner.name.as_str()), Some(owner.namespace.as_str())]
}

/// An owner below it that is paused too is none of what is compared: as it writes that one's object, it may change what that applies.
fn owners(beside: &Beside<'_>, inventory: &Inventory, found: &mut Changes) {
    for manifest in &beside.said.objects {
        let kind = match manifest.kind.as_str() {
            "Kustomization" => PausableKind::Kustomization,
            "HelmRelease" => PausableKind::HelmRelease,
            _ => continue,
        };
        let within = beside.upcoming.namespace.as_ref().or(manifest.namespace.as_ref());
        let meant = |seen: &&OwnerSeen| {
            seen.name.kind == kind
                && seen.name.name == manifest.name
                && within.is_none_or(|within| *within == seen.name.namespace)
        };
        let below = inventory
            .owners
            .iter()
            .filter(meant)
            .find(|seen| seen.paused.is_some() && seen.is_paused());
        found.untold.extend(below.map(|seen| {
            format!(
                "it writes {} ({}), which is paused too and is not compared with it",
                seen.name, manifest.file
            )
        }));
    }
}

/// What it has made, what is needed, and what no file makes any more.
fn pruned(beside: &Beside<'_>, inventory: &Inventory, found: &mut Changes) {
    // What Flux leaves alone is among what the files make: it stays in Flux' list of what is its own.
    let files: Vec<&Manifest> = within(beside.said, beside.upcoming, &inventory.namespace).collect();
    let made: BTreeSet<Target> = files
        .iter()
        .filter_map(|manifest| target(manifest, &inventory.namespace))
        .collect();
    for (target, workload) in &inventory.workloads {
        let metadata = json!({"annotations": workload.annotations, "labels": workload.labels});
        let owned = workload
            .owners
            .iter()
            .any(|owner| owner.object.as_ref() == Some(beside.owner));
        if owned && !made.contains(target) && !is_marked(Some(&metadata), &NOT_PRUNED) {
            found
                .differs
                .push(format!("{target} is deleted, since no file there makes it"));
        }
    }
    let read: BTreeSet<ConfigName> = inventory
        .workloads
        .values()
        .flat_map(|workload| consumers(&workload.template, &workload.annotations).into_keys())
        .collect();
    let maps: BTreeSet<&str> = files
        .iter()
        .filter(|manifest| manifest.kind == "ConfigMap")
        .map(|manifest| manifest.name.as_str())
        .collect();
    for ConfigSeen { name, json, .. } in beside.config.unwrap_or_default() {
        let lost = name.kind == ConfigKind::ConfigMap
            && read.contains(*name)
            && is_made_by(json, beside.owner)
            && !maps.contains(name.name.as_str())
            && !is_marked(json.get("metadata"), &NOT_PRUNED);
        if lost {
            found.differs.push(format!(
                "{name}, which is read, is deleted, since no file there makes it"
            ));
        }
    }
}

/// Whether an owner may go on: by what it has fetched, which it applies first, and by the newest commit of what it follows, where
/// that is another one.
pub fn in_sync(upcoming: &Upcoming, fetched: &Changes, newest: Option<(&str, &Changes)>) -> InSync {
    let commit = upcoming.fetched.commit.as_str();
    let differs = |commit: &str, changes: &Changes| {
        format!(
            "at {} it would write back: {}",
            short(commit),
            some(&changes.differs)
        )
    };
    let at_newest = newest.filter(|(_, changes)| !changes.differs.is_empty());
    let (later, at_newest) = match upcoming.suspended {
        true => (at_newest, None),
        false => (None, at_newest),
    };
    let says = match (at_newest, newest) {
        (Some((newest, changes)), _) => Some(differs(newest, changes)),
        (None, _) if fetched.differs.is_empty() => None,
        (None, Some((newest, changes))) if *changes == Changes::default() => Some(format!(
            "{}; {} says what runs, and is not fetched yet (`{}` fetches it at once)",
            differs(commit, fetched),
            short(newest),
            upcoming.fetch
        )),
        (None, _) => Some(differs(commit, fetched)),
    };
    if let Some(says) = says {
        return InSync::No { says };
    }
    let later = later.map(|(newest, changes)| {
        let differs = differs(newest, changes);
        format!("its GitRepository is suspended, and once that goes on: {differs}")
    });
    let untold: BTreeSet<&String> = fetched
        .untold
        .iter()
        .chain(newest.iter().flat_map(|(_, changes)| &changes.untold))
        .chain(&later)
        .collect();
    if untold.is_empty() {
        let revision = newest.map_or(commit, |(newest, _)| newest).to_owned();
        return InSync::Yes { revision };
    }
    let why: Vec<&str> = untold.into_iter().map(String::as_str).collect();
    InSync::Untold { why: why.join("; ") }
}

/// The first of them, and how many more there are.
fn some(differs: &[String]) -> String {
    let named: Vec<&str> = differs.iter().take(PLACES).map(String::as_str).collect();
    match differs.len().saturating_sub(PLACES) {
        0 => named.join("; "),
        more => format!("{}, and {more} more", named.join("; ")),
    }
}
