//! Who else would write a workload: the marks that owners leave on it, and what their own objects say about whether
//! they write now. Owns the reading of Argo CD, Flux and Helm objects; pauses nobody.

use super::fetch::{Collection, Part, get, list};
use super::workload::texts;
use crate::effects::object::Object;
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use astern_model::workload::{Owner, OwnerKind, OwnerState};
use kube::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

const ARGO_LABEL: &str = "argocd.argoproj.io/instance";
const ARGO_TRACKING: &str = "argocd.argoproj.io/tracking-id";
/// Where Argo CD keeps its Applications where the mark names no namespace.
const ARGO_NAMESPACE: &str = "argocd";
const ARGO_SKIP: &str = "argocd.argoproj.io/skip-reconcile";
const FLUX_KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const FLUX_HELM: &str = "helm.toolkit.fluxcd.io";
const HELM_RELEASE: &str = "meta.helm.sh/release-name";
const HELM_NAMESPACE: &str = "meta.helm.sh/release-namespace";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// An owner by its own object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// An Argo CD Application.
    Application { namespace: String, name: String },
    /// A Flux Kustomization.
    Kustomization { namespace: String, name: String },
    /// A Flux HelmRelease.
    HelmRelease { namespace: String, name: String },
    /// A Helm release.
    Release { namespace: String, name: String },
    /// Any other controller.
    Controller { kind: String, name: String },
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application { namespace, name } => write!(f, "application/{name} in namespace {namespace}"),
            Self::Kustomization { namespace, name } => {
                write!(f, "kustomization/{name} in namespace {namespace}")
            }
            Self::HelmRelease { namespace, name } => write!(f, "helmrelease/{name} in namespace {namespace}"),
            Self::Release { namespace, name } => write!(f, "Helm release {name} in namespace {namespace}"),
            Self::Controller { kind, name } => write!(f, "{}/{name}", kind.to_lowercase()),
        }
    }
}

/// A mark and where it was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Marked {
    /// The owner's object.
    pub(super) mark: Mark,
    /// The label or annotation by which it is known.
    pub(super) known_by: String,
    /// Whether the workload itself tells its owner to leave it alone.
    pub(super) left_alone: bool,
}

/// The marks on a workload. `app.kubernetes.io/instance` is on everything and says nothing.
pub(super) fn marks(object: &Object, namespace: &str) -> Vec<Marked> {
    let labels = texts(object.json().pointer("/metadata/labels"));
    let annotations = texts(object.json().pointer("/metadata/annotations"));
    let mut found: Vec<Marked> = Vec::new();
    found.extend(argo(&labels, &annotations));
    let disabled = format!("{FLUX_KUSTOMIZE}/reconcile");
    let left_alone = annotations
        .get(&disabled)
        .is_some_and(|value| value == "disabled");
    for (group, kustomize) in [(FLUX_KUSTOMIZE, true), (FLUX_HELM, false)] {
        let Some(name) = labels.get(&format!("{group}/name")).cloned() else {
            continue;
        };
        let namespace = labels
            .get(&format!("{group}/namespace"))
            .map_or(namespace, String::as_str)
            .to_owned();
        let (mark, left_alone) = match kustomize {
            true => (Mark::Kustomization { namespace, name }, left_alone),
            false => (Mark::HelmRelease { namespace, name }, false),
        };
        found.push(Marked {
            mark,
            known_by: format!("label {group}/name"),
            left_alone,
        });
    }
    let by_flux = found
        .iter()
        .any(|marked| matches!(marked.mark, Mark::HelmRelease { .. }));
    let by_helm = labels.get(MANAGED_BY).is_some_and(|manager| manager == "Helm");
    if let Some(name) = annotations.get(HELM_RELEASE).filter(|_| by_helm && !by_flux) {
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
            left_alone: false,
        });
    }
    found.extend(controller(object));
    found
}

/// The owner that a mark and its object's state make.
pub(super) fn owner(marked: &Marked, states: &BTreeMap<Mark, OwnerState>) -> Owner {
    let (kind, name) = match &marked.mark {
        Mark::Application { name, .. } => (OwnerKind::ArgoCd, name.clone()),
        Mark::Kustomization { name, .. } | Mark::HelmRelease { name, .. } => (OwnerKind::Flux, name.clone()),
        Mark::Release { name, .. } => (OwnerKind::Helm, name.clone()),
        mark @ Mark::Controller { .. } => (OwnerKind::Controller, mark.to_string()),
    };
    let unread = || OwnerState::Unknown {
        why: "its object was not read".to_owned(),
    };
    let state = match &marked.mark {
        Mark::Controller { .. } => OwnerState::WritesBack {
            because: "controller: true in the workload's ownerReferences".to_owned(),
        },
        mark if marked.left_alone => match states.get(mark) {
            Some(OwnerState::Busy { operation }) => OwnerState::Busy {
                operation: operation.clone(),
            },
            _ => OwnerState::Passive {
                because: format!("annotation {FLUX_KUSTOMIZE}/reconcile: disabled"),
            },
        },
        mark => states.get(mark).cloned().unwrap_or_else(unread),
    };
    Owner {
        kind,
        name,
        known_by: marked.known_by.clone(),
        state,
    }
}

/// What an owner's own object says. One request; two where an older Flux is asked for in its older version.
pub(super) async fn state(client: &Client, mark: &Mark) -> OwnerState {
    let read = match mark {
        Mark::Application { namespace, name } => {
            let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications");
            custom(client, &[path], "applications", name)
                .await
                .map(|object| application(&object))
        }
        Mark::Kustomization { namespace, name } => {
            let paths = ["v1", "v1beta2"].map(|version| {
                format!("/apis/{FLUX_KUSTOMIZE}/{version}/namespaces/{namespace}/kustomizations")
            });
            custom(client, &paths, "kustomizations", name)
                .await
                .map(|object| flux(&object))
        }
        Mark::HelmRelease { namespace, name } => {
            let paths = ["v2", "v2beta2"]
                .map(|version| format!("/apis/{FLUX_HELM}/{version}/namespaces/{namespace}/helmreleases"));
            custom(client, &paths, "helmreleases", name)
                .await
                .map(|object| flux(&object))
        }
        Mark::Release { namespace, name } => release(client, namespace, name).await,
        Mark::Controller { .. } => {
            return OwnerState::Unknown {
                why: "its kind is not known".to_owned(),
            };
        }
    };
    read.unwrap_or_else(|failure| OwnerState::Unknown {
        why: match failure.class {
            FailureClass::Permanent => format!("{mark} was not found"),
            _ => failure.message,
        },
    })
}

fn argo(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Option<Marked> {
    let at = |qualified: &str, known_by: String| {
        // Applications outside Argo CD's own namespace are named `NAMESPACE_NAME`.
        let (namespace, name) = qualified.split_once('_').unwrap_or((ARGO_NAMESPACE, qualified));
        let mark = Mark::Application {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Marked {
            mark,
            known_by,
            left_alone: false,
        }
    };
    let tracked = annotations
        .get(ARGO_TRACKING)
        .and_then(|id| id.split(':').next())
        .filter(|name| !name.is_empty());
    tracked
        .map(|name| at(name, format!("annotation {ARGO_TRACKING}")))
        .or_else(|| {
            labels
                .get(ARGO_LABEL)
                .map(|name| at(name, format!("label {ARGO_LABEL}")))
        })
}

fn controller(object: &Object) -> Option<Marked> {
    let owners = object.json().pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    let text = |name: &str| {
        owner
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mark = Mark::Controller {
        kind: text("kind"),
        name: text("name"),
    };
    Some(Marked {
        mark,
        known_by: "ownerReferences".to_owned(),
        left_alone: false,
    })
}

async fn custom(client: &Client, paths: &[String], resource: &str, name: &str) -> Result<Value, Failure> {
    let attempt = Attempt::new(Verb::Get, resource, format!("read {resource} {name}"));
    let mut last = attempt.unreadable();
    for path in paths {
        match get(client, path, name, Part::Whole, &attempt).await {
            Ok(object) => return Ok(object),
            Err(failure) if failure.class == FailureClass::Permanent => last = failure,
            Err(failure) => return Err(failure),
        }
    }
    Err(last)
}

/// Source: <https://argo-cd.readthedocs.io/en/stable/user-guide/auto_sync/>.
fn application(object: &Value) -> OwnerState {
    let running = object
        .pointer("/status/operationState/phase")
        .and_then(Value::as_str)
        == Some("Running");
    if running
        || object
            .get("operation")
            .is_some_and(|operation| !operation.is_null())
    {
        return OwnerState::Busy {
            operation: "a sync is running".to_owned(),
        };
    }
    let skips = object
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(ARGO_SKIP))
        .and_then(Value::as_str);
    let automated = object
        .pointer("/spec/syncPolicy/automated")
        .filter(|automated| !automated.is_null());
    let flag = |name: &str| {
        automated
            .and_then(|automated| automated.get(name))
            .and_then(Value::as_bool)
    };
    let passive = |because: &str| OwnerState::Passive {
        because: because.to_owned(),
    };
    match automated {
        _ if skips == Some("true") => passive("annotation argocd.argoproj.io/skip-reconcile: true"),
        None => passive("syncPolicy.automated is not set"),
        Some(_) if flag("enabled") == Some(false) => passive("automated.enabled: false"),
        Some(_) if flag("selfHeal") == Some(true) => OwnerState::WritesBack {
            because: "automated.selfHeal: true".to_owned(),
        },
        Some(_) => passive("automated without selfHeal: it writes at the next commit"),
    }
}

/// Source: <https://fluxcd.io/flux/components/kustomize/kustomizations/#suspend>.
fn flux(object: &Value) -> OwnerState {
    if object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return OwnerState::Passive {
            because: "spec.suspend: true".to_owned(),
        };
    }
    let interval = object
        .pointer("/spec/interval")
        .and_then(Value::as_str)
        .unwrap_or("its interval");
    OwnerState::WritesBack {
        because: format!("spec.suspend is not true, and it reconciles every {interval}"),
    }
}

/// Helm keeps each revision of a release in a Secret; its labels tell the state, so no payload is read. Source:
/// `helm/pkg/storage/driver/secrets.go`.
async fn release(client: &Client, namespace: &str, name: &str) -> Result<OwnerState, Failure> {
    let what =
        Collection::namespaced("api/v1", namespace, "secrets").labels(format!("owner=helm,name={name}"));
    let found = list(client, &what, Part::Metadata, |secret: Value| {
        texts(secret.pointer("/metadata/labels"))
    })
    .await?;
    Ok(newest_release(&found.items))
}

fn newest_release(labels: &[BTreeMap<String, String>]) -> OwnerState {
    let version =
        |labels: &&BTreeMap<String, String>| labels.get("version").and_then(|text| text.parse::<u64>().ok());
    match labels
        .iter()
        .max_by_key(version)
        .and_then(|labels| labels.get("status"))
    {
        Some(status) if status.starts_with("pending") || status == "uninstalling" => OwnerState::Busy {
            operation: format!("the newest revision is {status}"),
        },
        Some(_) => OwnerState::Passive {
            because: "it writes at the next upgrade".to_owned(),
        },
        None => OwnerState::Unknown {
            why: "no Secret of the release was found".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::target::WorkloadKind;
    use serde_json::json;

    #[test]
    fn owners_are_known_by_their_own_marks_only() {
        let check = |metadata: Value, expected: &[&str]| {
            let object = Object::new(WorkloadKind::Deployment, json!({"metadata": metadata}));
            let found: Vec<String> = marks(&object, "shop")
                .iter()
                .map(|marked| format!("{:?}", marked.mark))
                .collect();
            assert_eq!(found, expected, "{metadata}");
        };
        check(json!({"labels": {"app.kubernetes.io/instance": "shop"}}), &[]);
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
        // A HelmRelease of Flux leaves Helm's marks as well; Flux is the one that writes.
        check(
            json!({
                "labels": {MANAGED_BY: "Helm", "helm.toolkit.fluxcd.io/name": "api", "helm.toolkit.fluxcd.io/namespace": "flux"},
                "annotations": {HELM_RELEASE: "shop"},
            }),
            &[r#"HelmRelease { namespace: "flux", name: "api" }"#],
        );
        check(
            json!({"ownerReferences": [{"kind": "Widget", "name": "w", "controller": true}]}),
            &[r#"Controller { kind: "Widget", name: "w" }"#],
        );
    }

    #[test]
    fn an_application_writes_back_only_with_self_heal() {
        let check =
            |object: Value, expected: &str| assert_eq!(format!("{:?}", application(&object)), expected);
        check(
            json!({"spec": {"syncPolicy": {"automated": {"selfHeal": true}}}}),
            r#"WritesBack { because: "automated.selfHeal: true" }"#,
        );
        check(
            json!({"spec": {"syncPolicy": {"automated": {}}}}),
            r#"Passive { because: "automated without selfHeal: it writes at the next commit" }"#,
        );
        check(
            json!({"spec": {"syncPolicy": {"automated": {"selfHeal": true, "enabled": false}}}}),
            r#"Passive { because: "automated.enabled: false" }"#,
        );
        check(
            json!({"spec": {}}),
            r#"Passive { because: "syncPolicy.automated is not set" }"#,
        );
        check(
            json!({"spec": {}, "operation": {"sync": {}}}),
            r#"Busy { operation: "a sync is running" }"#,
        );
    }

    #[test]
    fn helms_newest_revision_tells_whether_it_is_busy() {
        let labels = |version: &str, status: &str| {
            BTreeMap::from([
                ("version".to_owned(), version.to_owned()),
                ("status".to_owned(), status.to_owned()),
            ])
        };
        let busy = newest_release(&[labels("10", "pending-upgrade"), labels("9", "deployed")]);
        assert_eq!(
            busy,
            OwnerState::Busy {
                operation: "the newest revision is pending-upgrade".to_owned()
            }
        );
        assert!(matches!(
            newest_release(&[labels("9", "failed")]),
            OwnerState::Passive { .. }
        ));
        assert!(matches!(newest_release(&[]), OwnerState::Unknown { .. }));
    }
}
