//! From what was read of a namespace to a cluster that goes on from there. Owns what a copy needs that could not be read:
//! it is as blind as whoever read, and what pods cannot be made without is put in its place, and said.

use crate::pace::{Paces, paces};
use astern_kubernetes::look::{Dump, Unread};
use astern_model::target::Cluster as Identity;
use astern_report::rehearsal::Copied;
use astern_sandbox::dump::DumpError;
use astern_sandbox::{Access, Cluster, Options, Rule, dump};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A copy of a namespace, at the moment when it was read.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The cluster.
    pub cluster: Cluster,
    /// How the pods of each revision behave in it, and how that is known.
    pub paces: Paces,
    /// What it is made of.
    pub made_of: Copied,
    /// The disruption budgets, as they were read.
    pub budgets: Vec<Value>,
}

/// Makes a copy of what was read at `now`, of a namespace of the cluster `of`.
///
/// # Errors
/// When an object is of a kind that the sandbox does not serve; [`Dump`] holds none.
pub fn copy(read: Dump, namespace: &str, of: &Identity, now: Timestamp) -> Result<Copy, DumpError> {
    let Dump { mut objects, unread } = read;
    let paces = paces(&objects, now);
    let in_namespace = |kind: &str| {
        let of_kind = objects
            .iter()
            .filter(|object| object["kind"] == kind && object["metadata"]["namespace"] == namespace);
        of_kind.count() as u64
    };
    let nodes = objects.iter().filter(|object| object["kind"] == "Node").count() as u64;
    let made_of = Copied {
        at: now,
        objects: objects.len() as u64,
        pods: in_namespace("Pod"),
        nodes,
        missing: unread.iter().filter_map(follows).collect(),
    };
    let budgets = objects
        .iter()
        .filter(|object| object["kind"] == "PodDisruptionBudget")
        .cloned()
        .collect();
    let stand_ins = stand_ins(&objects, &unread, namespace);
    objects.extend(stand_ins);
    let options = Options {
        version: of.version.clone(),
        user: of.user.clone(),
        access: Access {
            except: unread.iter().map(blind).collect(),
            ..Access::default()
        },
        behaviours: paces.behaviours.clone(),
        ..Options::default()
    };
    let cluster = dump::cluster(objects, options, now)?;
    Ok(Copy {
        cluster,
        paces,
        made_of,
        budgets,
    })
}

/// The sandbox's user may not read either what could not be read.
fn blind(unread: &Unread) -> Rule {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Rule {
        verbs: words(&["get", "list", "watch"]),
        groups: words(&[unread.group]),
        resources: words(&[unread.resource]),
        // A namespace and what belongs to none is asked for without one.
        namespaces: match (&unread.namespace, unread.resource) {
            (Some(namespace), resource) if resource != "namespaces" => words(&[namespace]),
            _ => words(&[""]),
        },
    }
}

/// What follows for the rehearsal from something that could not be read; nothing where that is of no consequence.
fn follows(unread: &Unread) -> Option<String> {
    let Unread { resource, why, .. } = unread;
    let so = match (*resource, &unread.namespace) {
        ("pods", None) => "room on nodes counts this namespace's pods only",
        ("nodes", _) => "nodes are taken to be of 8 CPUs and 32 GiB, so whether pods find room is not known",
        ("resourcequotas", _) => "quotas do not stand in the way here, and may there",
        ("limitranges", _) => "what LimitRanges add to pods is not known",
        ("poddisruptionbudgets", _) => "disruption budgets are not told",
        ("horizontalpodautoscalers", _) => "autoscalers are not told",
        ("priorityclasses" | "serviceaccounts", _) => "those that pods name are taken to be there",
        ("configmaps" | "secrets", _) => "whether those that pods name are there is not known",
        // By the other sign of a cluster it is known all the same.
        ("namespaces", _) => return None,
        _ => "the copy does without",
    };
    Some(format!("{resource} could not be read ({why}): {so}"))
}

/// Service accounts and priority classes without which no pod can be made: those that templates name, where they could not
/// be read.
fn stand_ins(objects: &[Value], unread: &[Unread], namespace: &str) -> Vec<Value> {
    let missing = |resource: &str| unread.iter().any(|unread| unread.resource == resource);
    let specs = || {
        objects
            .iter()
            .filter_map(|object| match object["kind"].as_str()? {
                "Pod" => object.pointer("/spec"),
                "ControllerRevision" => object.pointer("/data/spec/template/spec"),
                _ => object.pointer("/spec/template/spec"),
            })
    };
    let mut stand_ins: BTreeMap<(&str, String), Value> = BTreeMap::new();
    if missing("serviceaccounts") {
        let named = specs().filter_map(|spec| spec["serviceAccountName"].as_str());
        for name in named.chain(["default"]) {
            let account = json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": namespace},
            });
            stand_ins.insert(("ServiceAccount", name.to_owned()), account);
        }
    }
    if missing("priorityclasses") {
        for spec in specs() {
            let Some(name) = spec["priorityClassName"].as_str() else {
                continue;
            };
            let class = json!({
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": spec["priority"].as_i64().unwrap_or_default(),
            });
            stand_ins.insert(("PriorityClass", name.to_owned()), class);
        }
    }
    stand_ins.into_values().collect()
}
