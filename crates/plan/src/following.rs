//! What the source of an owner says beside what runs, where the owner itself compares nothing while it is paused: object by
//! object, and what follows for whether it may go on. Reading is the caller's.

use crate::consumers::consumers;
use crate::diff::{diff, differences};
use crate::manifest::holds;
use crate::ownership::{Alone, alone};
use astern_model::config::{ConfigKind, ConfigName, content};
use astern_model::diff::{Change, Marks, Shown};
use astern_model::helm::Release;
use astern_model::id::EFFECT;
use astern_model::inventory::Inventory;
use astern_model::owner::{InSync, OwnerName, OwnerSeen, PausableKind};
use astern_model::reconstruction::short;
use astern_model::source::{FolderManifests, Manifest, NextChart, Upcoming};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::FIELD_MANAGER;
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

/// The labels by which Flux marks what a Kustomization made.
const MADE_BY: [&str; 2] = [
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
];

/// The managers whose fields Flux hands to itself before it applies, so that what no file says goes away with them: by what their
/// names begin with, and which operation; none for any. Source: `ApplyCleanupOptions` in kustomize-controller's
/// `internal/controller/kustomization_controller.go`, `PatchReplaceFieldsManagers` in fluxcd/pkg/ssa.
const TAKEN_OVER: [(&str, Option<&str>); 3] = [
    ("kubectl", None),
    ("before-first-apply", Some("Update")),
    ("kustomize-controller", Some("Update")),
];

/// What keeps Flux from taking fields over, on the manifest or on the object.
const MERGED: [(&str, &[&str]); 1] = [("kustomize.toolkit.fluxcd.io/ssa", &["Merge"])];

/// The only value that it can have in a workload's template, so that hardly a file says it: whoever owns it has made the object, and
/// owns all that the API server has filled in.
const FILLED_IN: &str = "spec.restartPolicy";

/// The entries of `managedFields`, by what becomes of their fields as Flux applies.
struct Managed<'a> {
    /// Taken over by Flux.
    taken: Vec<&'a Value>,
    /// Of runs.
    ours: Vec<&'a Value>,
    /// Left to whom they belong, Flux among them.
    others: Vec<&'a Value>,
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

impl<'a> Managed<'a> {
    fn of(managed: &'a [Value], merged: bool) -> Self {
        let is_taken = |entry: &&Value| {
            !merged
                && TAKEN_OVER.iter().any(|(name, operation)| {
                    text(entry, "manager").starts_with(name)
                        && operation.is_none_or(|operation| text(entry, "operation") == operation)
                })
        };
        let (taken, left): (Vec<_>, Vec<_>) = managed.iter().partition(is_taken);
        let (ours, others) = left
            .into_iter()
            .partition(|entry| text(entry, "manager") == FIELD_MANAGER);
        Self { taken, ours, others }
    }
}

/// A workload as it would be once its manifest was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What it would ask for, with what is taken away.
    template: Template,
    /// What only a write of ours owns: no file says it, and applying leaves it.
    ours: Alone,
    /// What Flux takes over from kubectl: no file says it, and applying takes it away.
    taken: Alone,
}

impl Applied {
    /// Of the API server's answer to a dry run, which has its `managedFields`, and in which nothing was taken over.
    pub fn of(object: &Value) -> Self {
        let managed = object
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array);
        let managed = managed.map(Vec::as_slice).unwrap_or_default();
        let managed = Managed::of(managed, is_marked(object.get("metadata"), &MERGED));
        let root = ["spec", "template"];
        let but_taken = [&managed.ours[..], &managed.others[..]].concat();
        Self {
            template: Template::clean(object.pointer("/spec/template").cloned().unwrap_or_default()),
            ours: alone(&managed.ours, &managed.others, &root),
            taken: alone(&managed.taken, &but_taken, &root),
        }
    }
}

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
    pub config: Option<&'a [(&'a ConfigName, &'a Value)]>,
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
    here.into_iter().filter_map(move |manifest| {
        let target = Target {
            kind: WorkloadKind::parse(&manifest.kind.to_lowercase())?,
            namespace: namespace.clone(),
            name: manifest.name.clone(),
        };
        Some((target, manifest))
    })
}

/// What lies in this namespace. One that no file names is the platform's.
fn here<'a>(
    said: &'a FolderManifests,
    upcoming: &Upcoming,
    namespace: &str,
) -> impl Iterator<Item = &'a Manifest> {
    said.objects.iter().filter(move |manifest| {
        let within = upcoming.namespace.as_ref().or(manifest.namespace.as_ref());
        within.is_none_or(|within| within == namespace) && !left_alone(manifest)
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

/// What kubectl has written, and Flux takes away.
fn taken(target: &Target, taken: &Alone, untold: &dyn Fn(&str) -> String, found: &mut Changes) {
    if taken.places.contains(FILLED_IN) {
        found.untold.push(untold(
            "kubectl has made it anew, and what of it the file does not say is taken away by Flux or filled in again",
        ));
        return;
    }
    let places = taken.places.iter();
    found.differs.extend(
        places.map(|place| format!("{target} {place}, which kubectl has written and Flux takes away")),
    );
    if taken.restart {
        found.untold.push(untold(
            "Flux takes the mark of kubectl's restart away, so that its pods start anew",
        ));
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
        let now = live.iter().find(|(other, _)| **other == name);
        match (&manifest.json, now) {
            (Err(why), _) => found.untold.push(format!("{name} ({}): {why}", manifest.file)),
            (Ok(_), None) => found.differs.push(format!("{name} is made, which is not there")),
            (Ok(said), Some((_, now))) => {
                let keys = other_keys(now, said);
                found
                    .differs
                    .extend(keys.iter().map(|key| format!("{name} {key}")));
            }
        }
    }
    let ours = |(name, json): &&(&ConfigName, &Value)| {
        name.kind == ConfigKind::Secret
            && is_made_by(json, beside.owner)
            && json
                .pointer("/metadata/annotations")
                .is_some_and(|all| all.get(EFFECT).is_some())
    };
    found.untold.extend(
        live.iter().filter(ours).map(|(name, _)| {
            format!("{name} was put back by a run, and no value of a Secret is read from Git")
        }),
    );
}

/// The keys that hold something else, or that only one of both has.
fn other_keys(now: &Value, said: &Value) -> BTreeSet<String> {
    let (now, said) = (content(now), content(said));
    let mut keys = BTreeSet::new();
    for field in ["data", "binaryData"] {
        let of = |content: &Value| {
            content
                .get(field)
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default()
        };
        let (now, said) = (of(&now), of(&said));
        let all = now.keys().chain(said.keys());
        keys.extend(
            all.filter(|key| now.get(*key) != said.get(*key))
                .map(|key| format!("{field}[{key}]")),
        );
    }
    keys
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
    let made: BTreeSet<Target> = made(beside.said, beside.upcoming, &inventory.namespace)
        .map(|(target, _)| target)
        .collect();
    for (target, workload) in &inventory.workloads {
        let owned = workload
            .owners
            .iter()
            .any(|owner| owner.object.as_ref() == Some(beside.owner));
        if owned && !made.contains(target) {
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
    let files: BTreeSet<&str> = here(beside.said, beside.upcoming, &inventory.namespace)
        .filter(|manifest| manifest.kind == "ConfigMap")
        .map(|manifest| manifest.name.as_str())
        .collect();
    for (name, json) in beside.config.unwrap_or_default() {
        let lost = name.kind == ConfigKind::ConfigMap
            && read.contains(*name)
            && is_made_by(json, beside.owner)
            && !files.contains(name.name.as_str());
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

/// Whether a HelmRelease may go on: whether the chart and the values that it would install are those of the revision in force, and
/// what runs is what that revision holds. `given` are the values of that revision, whole; they are told by their places alone.
pub fn chart_in_sync(
    seen: &OwnerSeen,
    next: &NextChart,
    (release, given): (&Release, &Value),
    inventory: &Inventory,
) -> InSync {
    let untold = |why: String| InSync::Untold { why };
    // Where the one above it is paused too, its object says what that one's source said before.
    let above = seen
        .parents
        .iter()
        .filter_map(|parent| inventory.owner(parent.object.as_ref()?));
    if let Some(above) = above.into_iter().find(|above| above.is_paused()) {
        return untold(format!(
            "{}, which writes its chart and values, is paused too",
            above.name
        ));
    }
    let record = release
        .live()
        .and_then(|revision| Some((revision.number, revision.content()?)));
    let Some((number, record)) = record else {
        return untold(format!("the record of {} could not be read", release.name));
    };
    let beside = record.templates.iter().find(|(target, template)| {
        let live = inventory.workloads.get(*target);
        live.is_none_or(|live| !holds(live.template.json(), template.json()))
    });
    if let Some((target, _)) = beside {
        return untold(format!(
            "{target} is not what revision {number} of {} holds",
            release.name
        ));
    }
    let mut differs = Vec::new();
    if record.chart != next.chart {
        differs.push(format!("chart {} → {}", record.chart, next.chart));
    }
    let plain = |values: &Value| {
        if values.is_null() {
            json!({})
        } else {
            values.clone()
        }
    };
    let values = differences("", &plain(given), &plain(&next.values), &Marks::default());
    differs.extend(
        values
            .into_iter()
            .map(|change| format!("value {}", change.path.trim_start_matches('.'))),
    );
    if differs.is_empty() {
        return InSync::Yes {
            revision: next.chart.clone(),
        };
    }
    InSync::No {
        says: format!(
            "it would install otherwise than revision {number}: {}",
            some(&differs)
        ),
    }
}

/// The first of them, and how many more there are.
fn some(differs: &[String]) -> String {
    let named: Vec<&str> = differs.iter().take(PLACES).map(String::as_str).collect();
    match differs.len().saturating_sub(PLACES) {
        0 => named.join("; "),
        more => format!("{}, and {more} more", named.join("; ")),
    }
}
