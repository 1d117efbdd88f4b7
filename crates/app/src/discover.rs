//! What `astern init` finds out about a namespace: its workloads, who calls whom, and how each is asked.

use astern_model::inventory::Inventory;
use astern_model::platform::{Member, Platform, Probe, ProbeTarget};
use astern_model::target::{ClusterIdentity, Target, WorkloadKind};
use astern_model::template::Container;
use astern_model::workload::{Owner, OwnerKind, Workload};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A platform as the namespace reveals it, with a remark a workload for the file's comments.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    /// The platform.
    pub platform: Platform,
    /// Remarks for people, by workload: owners, autoscalers, what a dependency rests on, a cycle that was cut.
    pub remarks: BTreeMap<Target, Vec<String>>,
}

/// Reads a platform out of an inventory. A dependency is an env value or argument that names another workload as a
/// host: `http://calculation-engine:8080`, `ledger-store-0.ledger-store`. A cycle is cut at its last edge and said.
pub fn discover(inventory: &Inventory) -> Discovered {
    let mut platform = Platform::of_namespace(&inventory.namespace);
    if let ClusterIdentity::KubeSystem(uid) = &inventory.cluster.identity {
        platform.cluster_uid = Some(uid.clone());
    }
    let mut remarks: BTreeMap<Target, Vec<String>> = BTreeMap::new();
    let mut edges: BTreeMap<Target, BTreeSet<Target>> = BTreeMap::new();
    for (target, workload) in &inventory.workloads {
        let notes = remarks.entry(target.clone()).or_default();
        notes.extend(owner_remarks(workload));
        for (dependency, because) in dependencies(workload, inventory) {
            if reaches(&edges, &dependency, target) {
                notes.push(format!(
                    "also names {dependency} ({because}); left out, since that would be a cycle"
                ));
            } else {
                notes.push(format!("depends on {dependency}: {because}"));
                edges.entry(target.clone()).or_default().insert(dependency);
            }
        }
    }
    platform.members = inventory
        .workloads
        .values()
        .map(|workload| Member {
            reloads: false,
            stops: false,
            target: workload.target.clone(),
            depends_on: edges
                .remove(&workload.target)
                .unwrap_or_default()
                .into_iter()
                .collect(),
            probes: probe(workload).into_iter().collect(),
        })
        .collect();
    Discovered { platform, remarks }
}

/// Who owns it, as its own people write it.
fn owned_by(owner: &Owner) -> String {
    let (name, known_by) = (&owner.name, &owner.known_by);
    match owner.kind {
        OwnerKind::ArgoCd => format!("owned by Argo CD application {name} ({known_by})"),
        OwnerKind::Flux => format!("owned by Flux {name} ({known_by})"),
        OwnerKind::Helm => format!("owned by Helm release {name} ({known_by})"),
        OwnerKind::Controller => format!("owned by controller {name} ({known_by})"),
        OwnerKind::Olm => format!("owned by the Operator Lifecycle Manager's {name} ({known_by})"),
        OwnerKind::Canary => format!("owned by Flagger's {name} ({known_by})"),
        OwnerKind::PodAutoscaler => format!("what its pods request is set by {name} ({known_by})"),
        OwnerKind::Presumed => format!("perhaps owned by {name} ({known_by})"),
    }
}

fn owner_remarks(workload: &Workload) -> Vec<String> {
    let mut remarks: Vec<String> = workload.owners.iter().map(owned_by).collect();
    if let Some(autoscaler) = &workload.autoscaler {
        let (name, min, max) = (&autoscaler.name, autoscaler.min, autoscaler.max);
        remarks.push(format!(
            "its count is set by HorizontalPodAutoscaler {name} ({min} to {max})"
        ));
    }
    remarks
}

/// The other workloads that a workload's env values and arguments name as hosts, each with where.
fn dependencies(workload: &Workload, inventory: &Inventory) -> Vec<(Target, String)> {
    let mut found: BTreeMap<Target, String> = BTreeMap::new();
    for container in workload.template.containers() {
        for (place, text) in texts(container) {
            for other in inventory
                .workloads
                .keys()
                .filter(|other| **other != workload.target)
            {
                if names_host(text, &other.name) {
                    found.entry(other.clone()).or_insert_with(|| place.clone());
                }
            }
        }
    }
    found.into_iter().collect()
}

fn texts(container: Container<'_>) -> Vec<(String, &str)> {
    let env = container.list("env").iter().filter_map(|entry| {
        let name = entry.get("name")?.as_str()?;
        Some((format!("env {name}"), entry.get("value")?.as_str()?))
    });
    let arguments = ["command", "args"].into_iter().flat_map(move |list| {
        container
            .list(list)
            .iter()
            .filter_map(Value::as_str)
            .map(move |text| (list.to_owned(), text))
    });
    env.chain(arguments).collect()
}

/// Whether `text` names `host` as a host: bounded on the left by its start, `/`, `@`, `,`, `=`, a space or a dot of a
/// StatefulSet's pod name, and on the right by its end, `:`, `/`, `.`, `,` or a space.
fn names_host(text: &str, host: &str) -> bool {
    text.match_indices(host).any(|(start, _)| {
        let left = text[..start].chars().next_back();
        let right = text[start + host.len()..].chars().next();
        let url = text.contains("://") || matches!(right, Some(':' | '.'));
        left.is_none_or(|c| "/@,= .".contains(c))
            && right.is_none_or(|c| ":/., ".contains(c))
            && (url || text == host)
    })
}

fn reaches(edges: &BTreeMap<Target, BTreeSet<Target>>, from: &Target, to: &Target) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(target) = open.pop() {
        if target == to {
            return true;
        }
        if seen.insert(target) {
            open.extend(edges.get(target).into_iter().flatten());
        }
    }
    false
}

/// A probe of the Service that has the workload's name, from the first container's own HTTP probe.
fn probe(workload: &Workload) -> Option<Probe> {
    if workload.target.kind != WorkloadKind::Deployment {
        return None;
    }
    let containers = workload.template.containers();
    let container = containers.iter().find(|container| !container.init)?;
    let http = ["livenessProbe", "readinessProbe", "startupProbe"]
        .into_iter()
        .find_map(|kind| container.json.get(kind)?.get("httpGet"))?;
    let path = http.get("path").and_then(Value::as_str).unwrap_or("/");
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let port = port(http.get("port")?, *container)?;
    Some(Probe {
        name: probe_name(&path),
        to: ProbeTarget::Service {
            service: workload.target.name.clone(),
            port,
            path: path.to_owned(),
        },
        status: 200,
        json: None,
        header: None,
        bearer: None,
    })
}

/// `/health/live` → `health-live`, `/` → `root`.
fn probe_name(path: &str) -> String {
    match path.trim_matches('/') {
        "" => "root".to_owned(),
        inner => inner.replace('/', "-"),
    }
}

fn port(value: &Value, container: Container<'_>) -> Option<u16> {
    if let Some(number) = value.as_u64() {
        return u16::try_from(number).ok();
    }
    let name = value.as_str()?;
    let port = container
        .list("ports")
        .iter()
        .find(|port| port.get("name").and_then(Value::as_str) == Some(name))?;
    u16::try_from(port.get("containerPort")?.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::names_host;

    #[test]
    fn a_dependency_is_a_host_name_not_a_part_of_a_word() {
        let check =
            |text: &str, host: &str, expected: bool| assert_eq!(names_host(text, host), expected, "{text}");
        check("http://calculation-engine:8080/api", "calculation-engine", true);
        check("calculation-engine:8080", "calculation-engine", true);
        check("postgres://user@ledger-store.vcci.svc/db", "ledger-store", true);
        check("ledger-store-0.ledger-store:5432", "ledger-store", true);
        check("http://my-calculation-engine:8080", "calculation-engine", false);
        check("the engine", "engine", false);
        check("ledger-store", "ledger-store", true);
    }
}
