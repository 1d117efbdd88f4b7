//! The marks that owners leave on what is theirs: labels, annotations, owner references. Reads objects; asks nobody.

use super::{ARGO_NAMESPACE, FLUX_HELM, FLUX_KUSTOMIZE, Mark};
use crate::look::workload::texts;
use serde_json::Value;
use std::collections::BTreeMap;

const ARGO_LABEL: &str = "argocd.argoproj.io/instance";
const ARGO_TRACKING: &str = "argocd.argoproj.io/tracking-id";
/// By this label Argo CD 2 knows what is its own unless it is told otherwise; charts set it as well.
const INSTANCE: &str = "app.kubernetes.io/instance";
/// The field managers of Argo CD's components begin so.
const ARGO_MANAGER: &str = "argocd";
const HELM_RELEASE: &str = "meta.helm.sh/release-name";
const HELM_NAMESPACE: &str = "meta.helm.sh/release-namespace";
const OLM_OWNER: &str = "olm.owner";
const OLM_KIND: &str = "olm.owner.kind";
const OLM_GROUP: &str = "operators.coreos.com/";
const SERVICE_VERSION: &str = "ClusterServiceVersion";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A mark and where it was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::look) struct Marked {
    /// The owner's object.
    pub(in crate::look) mark: Mark,
    /// The label or annotation by which it is known.
    pub(in crate::look) known_by: String,
    /// Why its owner leaves the object alone although it is its own, where something says so.
    pub(in crate::look) left_alone: Option<String>,
    /// Whether others set the same mark, so that it counts only where the owner's object names the workload.
    pub(in crate::look) hint: bool,
}

/// The marks on a workload, or on an owner's own object: that label of charts among them, which may be a hint alone.
pub(in crate::look) fn marks(object: &Value, namespace: &str) -> Vec<Marked> {
    let labels = texts(object.pointer("/metadata/labels"));
    let annotations = texts(object.pointer("/metadata/annotations"));
    let mut found = sure_marks(object, namespace);
    if argo(&labels, &annotations).is_none() {
        found.splice(0..0, instance(object, &labels, &annotations));
    }
    found
}

/// The marks that nobody but an owner sets, on an object of any kind.
pub(in crate::look) fn sure_marks(object: &Value, namespace: &str) -> Vec<Marked> {
    let labels = texts(object.pointer("/metadata/labels"));
    let annotations = texts(object.pointer("/metadata/annotations"));
    let mut found: Vec<Marked> = Vec::new();
    found.extend(argo(&labels, &annotations));
    let disabled = format!("{FLUX_KUSTOMIZE}/reconcile");
    let left_alone = annotations
        .get(&disabled)
        .filter(|value| *value == "disabled")
        .map(|_| format!("annotation {disabled}: disabled"));
    for (group, kustomize) in [(FLUX_KUSTOMIZE, true), (FLUX_HELM, false)] {
        let Some(name) = labels.get(&format!("{group}/name")).cloned() else {
            continue;
        };
        let namespace = labels
            .get(&format!("{group}/namespace"))
            .map_or(namespace, String::as_str)
            .to_owned();
        let (mark, left_alone) = match kustomize {
            true => (Mark::Kustomization { namespace, name }, left_alone.clone()),
            false => (Mark::HelmRelease { namespace, name }, None),
        };
        found.push(Marked {
            mark,
            known_by: format!("label {group}/name"),
            left_alone,
            hint: false,
        });
    }
    // A HelmRelease of Flux leaves these as well: its release has records like any other.
    let by_helm = labels.get(MANAGED_BY).is_some_and(|manager| manager == "Helm");
    if let Some(name) = annotations.get(HELM_RELEASE).filter(|_| by_helm) {
        let namespace = annotations
            .get(HELM_NAMESPACE)
            .map_or(namespace, String::as_str)
            .to_owned();
        let mark = Mark::Release {
            namespace,
            name: name.clone(),
        };
        found.push(Marked {
            mark,
            known_by: format!("annotation {HELM_RELEASE}"),
            left_alone: None,
            hint: false,
        });
    }
    found.extend(olm(object, &labels).or_else(|| controller(object, namespace)));
    found
}

/// The Operator Lifecycle Manager by its labels, or by its owner reference, which is no controller's.
fn olm(object: &Value, labels: &BTreeMap<String, String>) -> Option<Marked> {
    let labelled = labels
        .get(OLM_OWNER)
        .filter(|_| labels.get(OLM_KIND).is_some_and(|kind| kind == SERVICE_VERSION));
    let referred = || {
        let mut all = references(object);
        let of_olm = |reference: &&Value| {
            text(reference, "kind") == SERVICE_VERSION && text(reference, "apiVersion").starts_with(OLM_GROUP)
        };
        all.find(of_olm).map(|reference| text(reference, "name"))
    };
    let (name, known_by) = match labelled {
        Some(name) => (name.as_str(), format!("label {OLM_OWNER}")),
        None => (referred()?, "ownerReferences".to_owned()),
    };
    Some(Marked {
        mark: Mark::Olm {
            name: name.to_owned(),
        },
        known_by,
        left_alone: None,
        hint: false,
    })
}

fn argo(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Option<Marked> {
    let tracked = annotations
        .get(ARGO_TRACKING)
        .and_then(|id| id.split(':').next())
        .filter(|name| !name.is_empty());
    tracked
        .map(|name| at_application(name, format!("annotation {ARGO_TRACKING}")))
        .or_else(|| {
            labels
                .get(ARGO_LABEL)
                .map(|name| at_application(name, format!("label {ARGO_LABEL}")))
        })
}

/// Argo CD by the label that it shares with charts: certain where it wrote the workload, else a hint. What Helm itself
/// has installed bears Helm's annotation, which Argo CD never sets.
fn instance(
    object: &Value,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Option<Marked> {
    let name = labels.get(INSTANCE).filter(|name| !name.is_empty())?;
    let wrote = managers(object).find(|manager| manager.starts_with(ARGO_MANAGER));
    match wrote {
        Some(manager) => Some(at_application(
            name,
            format!("label {INSTANCE}, written by {manager}"),
        )),
        None if annotations.contains_key(HELM_RELEASE) => None,
        None => Some(Marked {
            hint: true,
            ..at_application(name, format!("label {INSTANCE}, and the application lists it"))
        }),
    }
}

/// Applications outside Argo CD's own namespace are named `NAMESPACE_NAME`.
fn at_application(qualified: &str, known_by: String) -> Marked {
    let (namespace, name) = qualified.split_once('_').unwrap_or((ARGO_NAMESPACE, qualified));
    Marked {
        mark: Mark::Application {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        known_by,
        left_alone: None,
        hint: false,
    }
}

/// The field managers of an object.
fn managers(object: &Value) -> impl Iterator<Item = &str> {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("manager")?.as_str())
}

fn controller(object: &Value, namespace: &str) -> Option<Marked> {
    let owner = references(object).find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    let (group, name) = (text(owner, "apiVersion"), text(owner, "name").to_owned());
    let mark = match text(owner, "kind") {
        "ApplicationSet" if group.starts_with("argoproj.io/") => Mark::ApplicationSet {
            namespace: namespace.to_owned(),
            name,
        },
        "Canary" if group.starts_with("flagger.app/") => Mark::Canary { name },
        kind => Mark::Controller {
            kind: kind.to_owned(),
            name,
        },
    };
    Some(Marked {
        mark,
        known_by: "ownerReferences".to_owned(),
        left_alone: None,
        hint: false,
    })
}

/// The owner references of an object.
pub(super) fn references(object: &Value) -> impl Iterator<Item = &Value> {
    let all = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    all.into_iter().flatten()
}

pub(super) fn text<'a>(reference: &'a Value, field: &str) -> &'a str {
    reference.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn owners_are_known_by_their_own_marks_only() {
        let check = |metadata: Value, expected: &[&str]| {
            let object = json!({"metadata": metadata});
            let found: Vec<String> = marks(&object, "shop")
                .iter()
                .map(|marked| format!("{:?}", marked.mark))
                .collect();
            assert_eq!(found, expected, "{metadata}");
        };
        check(
            json!({"annotations": {ARGO_TRACKING: "team_shop:apps/Deployment:shop/api"}}),
            &[r#"Application { namespace: "team", name: "shop" }"#],
        );
        check(
            json!({"labels": {ARGO_LABEL: "shop"}}),
            &[r#"Application { namespace: "argocd", name: "shop" }"#],
        );
        check(
            json!({"labels": {MANAGED_BY: "Helm"}, "annotations": {HELM_RELEASE: "shop"}}),
            &[r#"Release { namespace: "shop", name: "shop" }"#],
        );
        // A HelmRelease of Flux leaves Helm's marks as well: Flux writes, and the release has the records.
        check(
            json!({
                "labels": {MANAGED_BY: "Helm", "helm.toolkit.fluxcd.io/name": "api", "helm.toolkit.fluxcd.io/namespace": "flux"},
                "annotations": {HELM_RELEASE: "shop"},
            }),
            &[
                r#"HelmRelease { namespace: "flux", name: "api" }"#,
                r#"Release { namespace: "shop", name: "shop" }"#,
            ],
        );
        check(
            json!({"ownerReferences": [{"kind": "Widget", "name": "w", "controller": true}]}),
            &[r#"Controller { kind: "Widget", name: "w" }"#],
        );
        check(
            json!({"labels": {OLM_OWNER: "shop.v1.2.4", OLM_KIND: SERVICE_VERSION, "olm.owner.namespace": "shop"}}),
            &[r#"Olm { name: "shop.v1.2.4" }"#],
        );
        let by_reference = |version: &str, kind: &str, controller: bool| json!({"ownerReferences": [{"apiVersion": version, "kind": kind, "name": "n", "controller": controller}]});
        check(
            by_reference("operators.coreos.com/v1alpha1", SERVICE_VERSION, false),
            &[r#"Olm { name: "n" }"#],
        );
        // A label of this name is anybody's; what it is the name of makes it theirs.
        check(
            json!({"labels": {OLM_OWNER: "x", OLM_KIND: "CatalogSource"}}),
            &[],
        );
        check(
            by_reference("flagger.app/v1beta1", "Canary", true),
            &[r#"Canary { name: "n" }"#],
        );
        check(by_reference("shop.test/v1", "Widget", false), &[]);
    }

    fn marked(metadata: &Value) -> Option<Marked> {
        marks(&json!({"metadata": metadata}), "shop").into_iter().next()
    }

    #[test]
    fn the_label_that_charts_set_too_is_argo_cds_mark_where_argo_cd_wrote_the_workload() {
        let labels = json!({INSTANCE: "shop"});
        let wrote = |manager: &str| json!({"labels": labels, "managedFields": [{"manager": manager}]});
        let found = marked(&wrote("argocd-controller")).unwrap();
        assert!(!found.hint);
        assert_eq!(
            found.known_by,
            "label app.kubernetes.io/instance, written by argocd-controller"
        );
        assert!(marked(&wrote("kubectl")).unwrap().hint);
        let by_helm = json!({"labels": labels, "annotations": {HELM_RELEASE: "shop"}});
        assert_eq!(marked(&by_helm), None);
    }
}
