//! What Helm's own records say that ConfigMaps and Secrets held. Reads records; which revision was in force is the planner's.

use super::Heard;
use crate::world::World;
use astern_model::config::ConfigName;
use astern_model::helm::{Release, ReleaseName};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::reconstruction::{Provenance, Sought, Trust};
use astern_model::step::helm::Spec;
use astern_model::workload::OwnerKind;
use astern_plan::InForce;
use astern_port::config::ConfigObject;
use astern_port::releases::{Depth, ManifestContents};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};

/// By this annotation Helm knows what is its own.
const RELEASE: &str = "meta.helm.sh/release-name";
/// And by this one in which namespace the release's records lie.
const NAMESPACE: &str = "meta.helm.sh/release-namespace";

type Live<'a> = BTreeMap<&'a ConfigName, &'a ConfigObject>;

/// Whether a plan takes an object back already, through the release that it belongs to.
pub(super) fn carries(
    draft: &Plan,
    inventory: &Inventory,
    sought: &Sought,
    now: Option<&ConfigObject>,
) -> bool {
    let helm = draft.steps.iter().filter_map(|step| step.spec.helm());
    let mut carried = helm.filter_map(|spec| match spec {
        Spec::Rollback { release, to, .. } => Some((release, to.number)),
        Spec::Look { .. } | Spec::Repair { .. } => None,
    });
    carried.any(|(release, to)| match now {
        Some(now) => own(now, &release.namespace) == Some(&release.name),
        None => {
            let releases = inventory.releases.iter();
            let mut records = releases
                .filter(|seen| &seen.name == release)
                .filter_map(|seen| seen.revision(to)?.content());
            records.any(|record| record.objects.contains_key(&sought.name.to_string()))
        }
    })
}

/// The release that an object belongs to, if its records lie in this namespace.
fn own<'a>(object: &'a ConfigObject, namespace: &str) -> Option<&'a str> {
    let annotations = object.json.pointer("/metadata/annotations")?;
    let text = |name: &str| annotations.get(name)?.as_str();
    let here = text(NAMESPACE).is_none_or(|other| other == namespace);
    text(RELEASE).filter(|_| here)
}

/// What the records say of each object: those of the release that it belongs to, and those of its readers' releases.
pub(super) async fn heard(
    world: &World,
    platform: &Platform,
    inventory: &Inventory,
    sought: &[&Sought],
    live: &Live<'_>,
) -> BTreeMap<ConfigName, Heard> {
    let mut heard: BTreeMap<ConfigName, Heard> = BTreeMap::new();
    let of: Vec<(&Sought, BTreeSet<String>)> = sought
        .iter()
        .map(|sought| (*sought, releases_of(sought, inventory, live)))
        .collect();
    let names: BTreeSet<&String> = of.iter().flat_map(|(_, names)| names).collect();
    let names: Vec<String> = names.into_iter().cloned().collect();
    if names.is_empty() {
        return heard;
    }
    let releases = match world
        .releases
        .read(&inventory.namespace, &names, Depth::Few)
        .await
    {
        Ok(releases) => releases,
        Err(failure) => {
            for (sought, _) in of.iter().filter(|(_, names)| !names.is_empty()) {
                let why = format!("Helm's records could not be read: {failure}");
                let heard = heard.entry(sought.name.clone()).or_default();
                heard.nothing(Trust::ReleaseRecord, why);
            }
            return heard;
        }
    };
    let asked = of.iter().flat_map(|(sought, names)| {
        let theirs = releases
            .iter()
            .filter(|release| names.contains(&release.name.name));
        theirs.map(|release| (*sought, release))
    });
    let asked: Vec<(&Sought, &Release)> = asked.collect();
    let found = astern_plan::in_force(&asked, inventory, platform);
    let mut told: Vec<(&Sought, &ReleaseName, InForce)> = Vec::new();
    for ((sought, release), found) in asked.into_iter().zip(found) {
        match found {
            Some(Ok(in_force)) => told.push((sought, &release.name, in_force)),
            Some(Err(why)) => {
                let heard = heard.entry(sought.name.clone()).or_default();
                heard.nothing(Trust::ReleaseRecord, why);
            }
            None => {}
        }
    }
    let contents = contents(world, &told).await;
    for (sought, release, in_force) in &told {
        let heard = heard.entry(sought.name.clone()).or_default();
        let said = match &contents[&(*release, in_force.number)] {
            Ok(contents) => contents.here.get(&sought.name).cloned(),
            Err(why) => Some(Err(why.clone())),
        };
        hear(heard, release, in_force, said);
    }
    for heard in heard.values_mut() {
        heard.agree(Trust::ReleaseRecord);
    }
    heard
}

/// The releases whose records may have an object.
fn releases_of(sought: &Sought, inventory: &Inventory, live: &Live<'_>) -> BTreeSet<String> {
    let own = live
        .get(&sought.name)
        .and_then(|object| own(object, &inventory.namespace));
    let workloads = sought
        .readers
        .keys()
        .filter_map(|reader| inventory.workloads.get(reader));
    let readers = workloads
        .flat_map(|workload| &workload.owners)
        .filter(|owner| owner.kind == OwnerKind::Helm)
        .map(|owner| owner.name.as_str());
    own.into_iter().chain(readers).map(str::to_owned).collect()
}

type Said = Result<ManifestContents, String>;

/// The manifests of these revisions, each read once.
async fn contents<'a>(
    world: &World,
    told: &[(&Sought, &'a ReleaseName, InForce)],
) -> BTreeMap<(&'a ReleaseName, u64), Said> {
    let revisions: BTreeSet<(&ReleaseName, u64)> = told
        .iter()
        .map(|(_, release, in_force)| (*release, in_force.number))
        .collect();
    let read = revisions.into_iter().map(|(release, number)| async move {
        let contents = world.releases.contents(release, number).await;
        ((release, number), contents.map_err(|failure| failure.to_string()))
    });
    join_all(read).await.into_iter().collect()
}

/// Takes in what one revision says.
fn hear(
    heard: &mut Heard,
    release: &ReleaseName,
    in_force: &InForce,
    said: Option<Result<serde_json::Value, String>>,
) {
    let number = in_force.number;
    match said {
        Some(Ok(json)) => {
            for why in &in_force.passed_over {
                heard.nothing(Trust::ReleaseRecord, why.clone());
            }
            let provenance = Provenance::Helm {
                release: release.name.clone(),
                revision: number,
                at: in_force.at,
            };
            heard.told.push((provenance, json));
        }
        Some(Err(why)) => heard.nothing(
            Trust::ReleaseRecord,
            format!("revision {number} of {release}: {why}"),
        ),
        None => heard.nothing(
            Trust::ReleaseRecord,
            format!("revision {number} of {release} does not have it in this namespace"),
        ),
    }
}
