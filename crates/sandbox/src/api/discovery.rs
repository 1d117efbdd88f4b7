//! What the server says it serves: versions, groups, resources, and as much of OpenAPI as kubectl needs to know that
//! writes may be dry. Owns these documents; all of them are made from the table of kinds.

use super::review;
use super::status::{Outcome, Refusal};
use crate::cluster::Cluster;
use crate::kinds::{Kind, Kinds};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Documents outside of any group.
pub(super) fn root(cluster: &Cluster, path: &str) -> Outcome<Value> {
    let kinds = &cluster.kinds;
    if let Some(rest) = path.strip_prefix("/openapi/v3") {
        return openapi(kinds, rest.trim_start_matches('/'));
    }
    match path {
        "" => Ok(json!({"paths": ["/api", "/apis", "/healthz", "/openapi/v3", "/version"]})),
        "/api" => Ok(json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        "/apis" => Ok(json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups(kinds)
                .iter()
                .filter(|(group, _)| !group.is_empty())
                .map(|(group, version)| described(group, version))
                .collect::<Value>(),
        })),
        "/version" => Ok(version(&cluster.options.version)),
        _ => Err(Refusal::no_such_page()),
    }
}

/// `/apis/GROUP`
pub(super) fn group(kinds: &Kinds, group: &str) -> Outcome<Value> {
    let found = groups(kinds).into_iter().find(|(each, _)| each == group);
    let (group, version) = found.ok_or_else(Refusal::no_such_page)?;
    let mut described = described(&group, &version);
    described["kind"] = "APIGroup".into();
    described["apiVersion"] = "v1".into();
    Ok(described)
}

/// `/api/v1`, `/apis/GROUP/VERSION`
pub(super) fn resources(kinds: &Kinds, group: &str, version: &str) -> Outcome<Value> {
    let mut resources: Vec<Value> = kinds
        .iter()
        .filter(|kind| &*kind.group == group && &*kind.version == version)
        .flat_map(|kind| described_kind(kind))
        .collect();
    resources.extend(review::resources(group, version));
    if resources.is_empty() {
        let known = groups(kinds).iter().any(|(each, _)| each == group);
        return Err(if known {
            Refusal::no_such_path()
        } else {
            Refusal::no_such_page()
        });
    }
    let group_version = group_version(group, version);
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }))
}

fn groups(kinds: &Kinds) -> BTreeSet<(String, String)> {
    let of_kinds = kinds
        .iter()
        .map(|kind| (kind.group.to_string(), kind.version.to_string()));
    let of_reviews = review::GROUPS
        .iter()
        .map(|(group, version)| ((*group).to_owned(), (*version).to_owned()));
    of_kinds.chain(of_reviews).collect()
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn described(group: &str, version: &str) -> Value {
    let version = json!({"groupVersion": group_version(group, version), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

fn described_kind(kind: &Kind) -> Vec<Value> {
    let mut whole = json!({
        "name": kind.plural.as_ref(),
        "singularName": kind.singular.as_ref(),
        "namespaced": kind.namespaced,
        "kind": kind.kind.as_ref(),
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    });
    let names = |names: &[crate::object::Name]| {
        names
            .iter()
            .map(|name| Value::from(name.as_ref()))
            .collect::<Value>()
    };
    if !kind.short.is_empty() {
        whole["shortNames"] = names(&kind.short);
    }
    if !kind.categories.is_empty() {
        whole["categories"] = names(&kind.categories);
    }
    let part = |name: &str, verbs: Value| {
        json!({
            "name": format!("{}/{name}", kind.plural),
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": kind.kind.as_ref(),
            "verbs": verbs,
        })
    };
    let mut found = vec![whole];
    if kind.status {
        found.push(part("status", json!(["get", "patch", "update"])));
    }
    if kind.scale {
        let mut scale = part("scale", json!(["get", "patch", "update"]));
        scale["group"] = "autoscaling".into();
        scale["version"] = "v1".into();
        scale["kind"] = "Scale".into();
        found.push(scale);
    }
    if &*kind.resource() == "pods" {
        found.push(part("log", json!(["get"])));
    }
    found
}

fn version(git: &str) -> Value {
    let mut parts = git.trim_start_matches('v').split('.');
    json!({
        "major": parts.next().unwrap_or("1"),
        "minor": parts.next().unwrap_or_default(),
        "gitVersion": git,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "",
        "platform": "sandbox",
    })
}

/// kubectl looks only for whether a kind's patch takes these parameters.
fn openapi(kinds: &Kinds, path: &str) -> Outcome<Value> {
    let place = |group: &str, version: &str| {
        if group.is_empty() {
            format!("api/{version}")
        } else {
            format!("apis/{group}/{version}")
        }
    };
    if path.is_empty() {
        let paths: Map<String, Value> = groups(kinds)
            .iter()
            .map(|(group, version)| {
                let place = place(group, version);
                let url = json!({"serverRelativeURL": format!("/openapi/v3/{place}")});
                (place, url)
            })
            .collect();
        return Ok(json!({"paths": paths}));
    }
    let parameters = ["dryRun", "fieldManager", "fieldValidation"]
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}));
    let paths: Map<String, Value> = kinds
        .iter()
        .filter(|kind| place(&kind.group, &kind.version) == path)
        .map(|kind| {
            let scope = if kind.namespaced {
                "/namespaces/{namespace}"
            } else {
                ""
            };
            let document = json!({"patch": {
                "parameters": parameters,
                "responses": {},
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": {
                    "group": kind.group.as_ref(),
                    "version": kind.version.as_ref(),
                    "kind": kind.kind.as_ref(),
                },
            }});
            (format!("/{path}{scope}/{}/{{name}}", kind.plural), document)
        })
        .collect();
    Ok(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "sandbox"},
        "paths": paths,
        "components": {"schemas": {}},
    }))
}
