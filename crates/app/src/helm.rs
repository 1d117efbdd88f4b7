//! Helm releases beside the ledger: which revision an entry names, and whether that is still the one. Values go from their record into
//! the vault and nowhere else.

pub(crate) mod contents;
pub(crate) mod foretold;

use crate::world::World;
use astern_model::content::ContentRef;
use astern_model::diff::{Change, Shown};
use astern_model::drift::{Compared, Drift, FieldDrift, How, ObjectDrift};
use astern_model::failure::Failure;
use astern_model::helm::{self, Recorded};
use astern_model::inventory::Inventory;
use astern_model::release::{HelmRevision, Release};
use astern_model::target::Target;
use astern_model::template::canonical;
use astern_model::workload::OwnerKind;
use astern_port::releases::Depth;
use futures::future::try_join_all;
use std::collections::BTreeSet;

/// The Helm releases that workloads say they belong to, by name.
pub(crate) fn names<'a>(inventory: &Inventory, targets: impl IntoIterator<Item = &'a Target>) -> Vec<String> {
    let workloads = targets
        .into_iter()
        .filter_map(|target| inventory.workloads.get(target));
    let owners = workloads.flat_map(|workload| &workload.owners);
    let names: BTreeSet<String> = owners
        .filter(|owner| owner.kind == OwnerKind::Helm)
        .map(|owner| owner.name.clone())
        .collect();
    names.into_iter().collect()
}

/// How the Helm releases of these workloads stand, for an entry of the ledger. Where there is none, nothing is asked.
///
/// # Errors
/// Records cannot be read, or the vault does not take what they hold.
pub(crate) async fn recorded(
    world: &World,
    inventory: &Inventory,
    targets: &[Target],
) -> Result<Vec<HelmRevision>, Failure> {
    let releases = read(world, inventory, names(inventory, targets)).await?;
    let live = releases
        .iter()
        .filter_map(|release| Some((release, release.live()?)));
    let kept = live.map(|(release, live)| async move {
        let values = match live.content() {
            Some(_) => Some(kept_values(world, &release.name, live.number).await?),
            None => None,
        };
        Ok::<_, Failure>(HelmRevision {
            name: release.name.name.clone(),
            revision: live.number,
            chart: live.content().map(|record| record.chart.clone()),
            content: live.content().map(|record| record.content.clone()),
            values,
        })
    });
    try_join_all(kept).await
}

async fn read(
    world: &World,
    inventory: &Inventory,
    names: Vec<String>,
) -> Result<Vec<helm::Release>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    world
        .releases
        .read(&inventory.namespace, &names, Depth::Nearest)
        .await
}

async fn kept_values(
    world: &World,
    release: &helm::ReleaseName,
    revision: u64,
) -> Result<ContentRef, Failure> {
    let values = world.releases.values(release, revision).await?;
    world
        .vault
        .put("helm-values", canonical(&values).as_bytes())
        .await
}

/// Says of each Helm release which of its revisions a release of the ledger names.
pub(crate) fn mark(inventory: &mut Inventory, release: &Release) {
    for seen in &mut inventory.releases {
        let named = release.helm.iter().find(|named| named.name == seen.name.name);
        seen.recorded = named.map(|named| Recorded {
            by: release.name.clone(),
            revision: named.revision,
            content: named.content.clone(),
        });
    }
}

/// What differs of the Helm releases that an entry names.
pub(crate) async fn drift(world: &World, inventory: &Inventory, release: &Release, drift: &mut Drift) {
    let names: Vec<String> = release.helm.iter().map(|named| named.name.clone()).collect();
    let releases = match read(world, inventory, names).await {
        Ok(releases) => releases,
        Err(failure) => {
            drift.unread.push(format!(
                "the Helm releases of the namespace are unknown: {failure}"
            ));
            return;
        }
    };
    for named in &release.helm {
        drift.compared += 1;
        let object = Compared::Helm {
            helm: named.name.clone(),
        };
        let seen = releases.iter().find(|seen| seen.name.name == named.name);
        let Some((seen, live)) = seen.and_then(|seen| Some((seen, seen.live()?))) else {
            let how = How::Gone;
            drift.objects.push(ObjectDrift { object, how });
            continue;
        };
        let mut fields = Vec::new();
        if live.number != named.revision {
            let (from, to) = (named.revision.to_string(), live.number.to_string());
            fields.push(place("revision", Some(from), Some(to)));
            let chart = live.content().map(|record| record.chart.clone());
            if chart.is_some() && named.chart.is_some() && chart != named.chart {
                fields.push(place("chart", named.chart.clone(), chart));
            }
            match same_values(world, named, &seen.name, live.number).await {
                Ok(true) => {}
                Ok(false) => fields.push(FieldDrift {
                    change: Change {
                        path: "values".to_owned(),
                        from: Some(Shown::Masked),
                        to: Some(Shown::Masked),
                    },
                    by: None,
                    harmless: None,
                }),
                Err(failure) => drift.unread.push(format!(
                    "whether the values of {} are those of release {} is unknown: {failure}",
                    seen.name, release.name
                )),
            }
        }
        if !fields.is_empty() {
            let how = How::Changed { fields };
            drift.objects.push(ObjectDrift { object, how });
        }
    }
}

fn place(path: &str, from: Option<String>, to: Option<String>) -> FieldDrift {
    FieldDrift {
        change: Change {
            path: path.to_owned(),
            from: from.map(Shown::Value),
            to: to.map(Shown::Value),
        },
        by: None,
        harmless: None,
    }
}

/// Whether a revision was given the values that the entry names. An entry without them says nothing against it.
async fn same_values(
    world: &World,
    named: &HelmRevision,
    release: &helm::ReleaseName,
    revision: u64,
) -> Result<bool, Failure> {
    let Some(then) = &named.values else {
        return Ok(true);
    };
    let now = world.releases.values(release, revision).await?;
    let now = world.vault.hash(canonical(&now).as_bytes()).await?;
    Ok(now == then.keyed_hash)
}
