//! What pods mount of the Secrets Store CSI driver: its content comes from a SecretProviderClass and the provider, and goes back with
//! no template. Owns which classes a template mounts, and what is said of them.

use crate::steps::Moves;
use crate::world::World;
use astern_model::choice::clock;
use astern_model::config::{ClassPart, ClassSeen};
use astern_model::inventory::Inventory;
use astern_model::target::Target;
use astern_model::template::Template;
use serde_json::Value;
use std::collections::BTreeSet;

/// The driver's name in a volume. Source: <https://secrets-store-csi-driver.sigs.k8s.io/getting-started/usage>.
const DRIVER: &str = "secrets-store.csi.x-k8s.io";

/// The SecretProviderClasses that any template of the namespace mounts.
pub fn mounted_classes(inventory: &Inventory) -> BTreeSet<String> {
    let workloads = inventory.workloads.values();
    let templates = workloads.flat_map(|workload| {
        let revisions = workload.all_revisions().map(|revision| &revision.template);
        revisions.chain([&workload.template])
    });
    templates.flat_map(classes).collect()
}

fn classes(template: &Template) -> BTreeSet<String> {
    let volumes = template.json().pointer("/spec/volumes").and_then(Value::as_array);
    let class = |volume: &Value| {
        let csi = volume.get("csi")?;
        let ours = csi.get("driver")?.as_str()? == DRIVER;
        let class = csi
            .get("volumeAttributes")?
            .get("secretProviderClass")?
            .as_str()?;
        ours.then(|| class.to_owned())
    };
    volumes.into_iter().flatten().filter_map(class).collect()
}

/// What is said of the workloads that go back and mount such a volume.
pub(crate) fn warnings(moves: &Moves<'_>, world: &World<'_>) -> Vec<String> {
    let seen = &world.inventory.config;
    let mounts = moves.values().flat_map(|one| {
        let template = one.template.unwrap_or(&one.view.workload.template);
        classes(template).into_iter().map(|class| (one.target(), class))
    });
    mounts
        .map(|(target, class)| match seen.classes.iter().find(|seen| seen.name == class) {
            Some(seen) => of_class(target, seen, world),
            None => format!(
                "{} does not go back with the template, and secretproviderclass/{class} could not be read: look at it before, \
                 kubectl get secretproviderclass {class} -n {} -o yaml",
                what(target, &class),
                world.inventory.namespace
            ),
        })
        .collect()
}

fn what(target: &Target, class: &str) -> String {
    format!("what {target} mounts from secretproviderclass/{class}")
}

fn of_class(target: &Target, class: &ClassSeen, world: &World<'_>) -> String {
    let (name, namespace) = (&class.name, &world.inventory.namespace);
    let parts: Vec<String> = class.parts.iter().map(part).collect();
    let draws = match parts.as_slice() {
        [] => String::new(),
        parts => format!(" ({})", parts.join(", ")),
    };
    let held = world.inventory.config.held.as_ref();
    let recorded = held.and_then(|held| Some((&held.release, held.recorded_at?)));
    let written = class
        .manager
        .as_ref()
        .and_then(|manager| Some((&manager.name, manager.at?)));
    let changed = match (recorded, written) {
        (Some((release, recorded)), Some((by, at))) if at > recorded => format!(
            "; the class was changed by {by} at {}, after release {release} was recorded",
            clock(at)
        ),
        (Some((release, _)), Some(_)) => {
            format!("; the class is as it was when release {release} was recorded")
        }
        (None, Some((by, at))) => format!("; the class was changed last by {by} at {}", clock(at)),
        (_, None) => String::new(),
    };
    let way = if class.parts.iter().any(|part| part.version.is_some()) {
        format!(
            "where it has to, put the version ids of then in place, kubectl edit secretproviderclass {name} -n {namespace}, before the \
             rollback: its pods mount what the class names when they start"
        )
    } else {
        format!(
            "it names no version by its id, so pods mount the newest when they start, and there is nothing to change back: pin \
             objectVersion in it, kubectl edit secretproviderclass {name} -n {namespace}"
        )
    };
    format!(
        "{}{draws} does not go back with the template{changed}; {way}",
        what(target, name)
    )
}

fn part(part: &ClassPart) -> String {
    let name = &part.name;
    match (&part.version, &part.label) {
        (Some(version), _) => format!("{name} at version {version}"),
        (None, Some(label)) => format!("{name} at {label}, which moves"),
        (None, None) => format!("{name} at its newest version"),
    }
}
