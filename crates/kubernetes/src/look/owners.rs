//! Who else would write a workload: the marks that owners leave on it, and what their own objects say about whether
//! they write now. Owns the reading of Argo CD, Flux and Helm objects; pauses nobody.

use super::fetch::{Collection, Part, get, list};
use super::workload::texts;
use crate::effects::object::Object;
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use astern_model::target::{Target, WorkloadKind};
use astern_model::workload::{Owner, OwnerKind, OwnerState};
use kube::Client;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const ARGO_LABEL: &str = "argocd.argoproj.io/instance";
const ARGO_TRACKING: &str = "argocd.argoproj.io/tracking-id";
/// By this label Argo CD 2 knows what is its own unless it is told otherwise; charts set it as well.
const INSTANCE: &str = "app.kubernetes.io/instance";
/// The field managers of Argo CD's components begin so.
const ARGO_MANAGER: &str = "argocd";
const ARGO_GROUP: &str = "/apis/argoproj.io/v1alpha1";
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
    /// Whether others set the same mark, so that it counts only where the owner's object names the workload.
    pub(super) hint: bool,
}

/// What an owner's own object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It was read.
    Said {
        /// Whether it writes.
        state: OwnerState,
        /// The workloads that it names as its own. Only Argo CD's Applications do.
        names: BTreeSet<Target>,
    },
    /// There is no such object.
    Absent,
    /// It could not be read, and why.
    Unread(String),
}

/// The marks on a workload.
pub(super) fn marks(object: &Object, namespace: &str) -> Vec<Marked> {
    let labels = texts(object.json().pointer("/metadata/labels"));
    let annotations = texts(object.json().pointer("/metadata/annotations"));
    let mut found = sure_marks(object.json(), namespace);
    if argo(&labels, &annotations).is_none() {
        found.splice(0..0, instance(object, &labels, &annotations));
    }
    found
}

/// The marks that nobody but an owner sets, on an object of any kind.
pub(super) fn sure_marks(object: &Value, namespace: &str) -> Vec<Marked> {
    let labels = texts(object.pointer("/metadata/labels"));
    let annotations = texts(object.pointer("/metadata/annotations"));
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
            hint: false,
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
            hint: false,
        });
    }
    found.extend(controller(object));
    found
}

/// The owner that a mark and its object's word make; none where the mark is a hint that its object does not bear out.
pub(super) fn owner(marked: &Marked, words: &BTreeMap<Mark, Word>, target: &Target) -> Option<Owner> {
    let word = words.get(&marked.mark);
    let borne_out = matches!(word, Some(Word::Said { names, .. }) if names.contains(target));
    (!marked.hint || borne_out).then(|| owned(marked, words))
}

/// The same for a mark that is no hint.
pub(super) fn owned(marked: &Marked, words: &BTreeMap<Mark, Word>) -> Owner {
    let (kind, name) = match &marked.mark {
        Mark::Application { name, .. } => (OwnerKind::ArgoCd, name.clone()),
        Mark::Kustomization { name, .. } | Mark::HelmRelease { name, .. } => (OwnerKind::Flux, name.clone()),
        Mark::Release { name, .. } => (OwnerKind::Helm, name.clone()),
        mark @ Mark::Controller { .. } => (OwnerKind::Controller, mark.to_string()),
    };
    let word = words.get(&marked.mark);
    let state = match (&marked.mark, word) {
        (Mark::Controller { .. }, _) => OwnerState::WritesBack {
            because: "controller: true in its ownerReferences".to_owned(),
        },
        (
            _,
            Some(Word::Said {
                state: busy @ OwnerState::Busy { .. },
                ..
            }),
        ) => busy.clone(),
        _ if marked.left_alone => OwnerState::Passive {
            because: format!("annotation {FLUX_KUSTOMIZE}/reconcile: disabled"),
        },
        (_, Some(Word::Said { state, .. })) => state.clone(),
        (mark, Some(Word::Absent)) => OwnerState::Unknown {
            why: format!("{mark} was not found"),
        },
        (_, Some(Word::Unread(why))) => OwnerState::Unknown { why: why.clone() },
        (_, None) => OwnerState::Unknown {
            why: "its object was not read".to_owned(),
        },
    };
    Owner {
        kind,
        name,
        known_by: marked.known_by.clone(),
        state,
    }
}

/// Whether the cluster knows Argo CD's Applications at all. Where it does not, a hint at one is none.
pub(super) async fn argo_is_served(client: &Client) -> bool {
    let attempt = Attempt::new(Verb::Get, "apis", "look for Argo CD's API".to_owned());
    let found = get::<Value>(client, "/apis/argoproj.io", "v1alpha1", Part::Whole, &attempt).await;
    !matches!(found, Err(failure) if failure.class == FailureClass::Permanent)
}

/// What an owner's own object says. One request; two where an older Flux is asked for in its older version, or where
/// an Application does not lie where Argo CD mostly is.
pub(super) async fn ask(client: &Client, mark: &Mark) -> Word {
    let said = |state| Word::Said {
        state,
        names: BTreeSet::new(),
    };
    let read = match mark {
        Mark::Application { namespace, name } => {
            find_application(client, namespace, name)
                .await
                .map(|object| Word::Said {
                    state: application(&object),
                    names: resources(&object),
                })
        }
        Mark::Kustomization { namespace, name } => {
            let paths = ["v1", "v1beta2"].map(|version| {
                format!("/apis/{FLUX_KUSTOMIZE}/{version}/namespaces/{namespace}/kustomizations")
            });
            custom(client, &paths, "kustomizations", name)
                .await
                .map(|object| said(flux(&object)))
        }
        Mark::HelmRelease { namespace, name } => {
            let paths = ["v2", "v2beta2"]
                .map(|version| format!("/apis/{FLUX_HELM}/{version}/namespaces/{namespace}/helmreleases"));
            custom(client, &paths, "helmreleases", name)
                .await
                .map(|object| said(flux(&object)))
        }
        Mark::Release { namespace, name } => release(client, namespace, name).await.map(said),
        Mark::Controller { .. } => return Word::Unread("its kind is not known".to_owned()),
    };
    read.unwrap_or_else(|failure| match failure.class {
        FailureClass::Permanent => Word::Absent,
        _ => Word::Unread(failure.message),
    })
}

/// An Application by its name: in the namespace that the mark names or that Argo CD mostly has, else anywhere.
async fn find_application(client: &Client, namespace: &str, name: &str) -> Result<Value, Failure> {
    let path = format!("{ARGO_GROUP}/namespaces/{namespace}/applications");
    let absent = match custom(client, &[path], "applications", name).await {
        Err(failure) if failure.class == FailureClass::Permanent && namespace == ARGO_NAMESPACE => failure,
        found => return found,
    };
    let everywhere = Collection::cluster("apis/argoproj.io/v1alpha1", "applications")
        .fields(format!("metadata.name={name}"));
    let found = list(client, &everywhere, Part::Whole, |object: Value| object).await?;
    found.items.into_iter().next().ok_or(absent)
}

/// The workloads that an Application names as its own. Source: Argo CD's `ApplicationStatus.resources`.
fn resources(object: &Value) -> BTreeSet<Target> {
    let listed = object.pointer("/status/resources").and_then(Value::as_array);
    let target = |resource: &Value| {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        let kind = text("kind").filter(|_| text("group") == Some("apps"))?;
        Some(Target {
            kind: WorkloadKind::parse(kind)?,
            namespace: text("namespace")?.to_owned(),
            name: text("name")?.to_owned(),
        })
    };
    listed.into_iter().flatten().filter_map(target).collect()
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
    object: &Object,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Option<Marked> {
    let name = labels.get(INSTANCE).filter(|name| !name.is_empty())?;
    let wrote = object
        .managed_fields()
        .iter()
        .filter_map(|entry| entry.get("manager")?.as_str())
        .find(|manager| manager.starts_with(ARGO_MANAGER));
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
        left_alone: false,
        hint: false,
    }
}

fn controller(object: &Value) -> Option<Marked> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
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
        hint: false,
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
    let phase = object
        .pointer("/status/operationState/phase")
        .and_then(Value::as_str);
    if matches!(phase, Some("Running" | "Terminating"))
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
        Some(_) => passive("automated without selfHeal"),
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

    fn marked(metadata: &Value) -> Option<Marked> {
        let object = Object::new(WorkloadKind::Deployment, json!({"metadata": metadata}));
        marks(&object, "shop").into_iter().next()
    }

    fn deployment(name: &str) -> Target {
        Target {
            kind: WorkloadKind::Deployment,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
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

    #[test]
    fn a_hint_at_an_application_counts_only_where_the_application_lists_the_workload() {
        let hint = marked(&json!({"labels": {INSTANCE: "shop"}})).unwrap();
        let object = json!({
            "spec": {"syncPolicy": {"automated": {"selfHeal": true}}},
            "status": {"resources": [
                {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "api"},
                {"kind": "Service", "namespace": "shop", "name": "web"},
            ]},
        });
        let said = Word::Said {
            state: application(&object),
            names: resources(&object),
        };
        let owner_of = |name: &str, word: &Word| {
            let words = BTreeMap::from([(hint.mark.clone(), word.clone())]);
            owner(&hint, &words, &deployment(name)).map(|owner| owner.name)
        };
        assert_eq!(owner_of("api", &said), Some("shop".to_owned()));
        assert_eq!(owner_of("web", &said), None);
        assert_eq!(owner_of("api", &Word::Absent), None);
        assert_eq!(owner_of("api", &Word::Unread("forbidden".to_owned())), None);
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
            r#"Passive { because: "automated without selfHeal" }"#,
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
