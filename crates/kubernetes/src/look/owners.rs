//! Who else would write an object: what the marks on it lead to, read from the owners' own objects and from those above
//! them. Owns the requests; what a mark is, and what an object says, have files of their own. Pauses nobody.

mod aimed;
mod marks;
mod presumed;
mod state;

pub(super) use aimed::{Aimed, CANARIES, POD_AUTOSCALERS};
pub(super) use marks::{Marked, marks, sure_marks};
pub(super) use presumed::presumed;
pub(super) use state::resources;

use super::fetch::{Collection, Part, get, list, list_where_served};
use super::identity::who_am_i;
use super::workload::texts;
use crate::connect::Connection;
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::owner::{InSync, OwnerName, OwnerSeen, PausableKind, Paused};
use astern_model::target::{Hub, Target};
use astern_model::workload::{Owner, OwnerKind, OwnerState};
use futures::StreamExt as _;
use kube::Client;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where Argo CD keeps its Applications where a mark names no namespace.
const ARGO_NAMESPACE: &str = "argocd";
pub(super) const FLUX_KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const FLUX_HELM: &str = "helm.toolkit.fluxcd.io";
/// The field manager under which Argo CD syncs.
const ARGO_SYNCS: &str = "argocd-controller";
/// The field manager of the controller of Kustomizations.
pub(super) const FLUX_MANAGER: &str = "kustomize-controller";
/// So many owners above an owner are followed: applications of applications are seldom deeper than three.
const LEVELS: usize = 8;
/// Owners' objects that are read at once.
const IN_FLIGHT: usize = 24;

/// Where owners' objects lie.
#[derive(Clone)]
pub struct OwnersAt {
    /// The cluster of the workloads.
    pub here: Client,
    /// The cluster of Argo CD's Applications, which may be a hub.
    pub argocd: Client,
    /// The way to that cluster, where it is a hub.
    pub hub: Option<Connection>,
    /// The namespace of Argo CD's Applications where a mark names none.
    pub argocd_namespace: String,
}

impl OwnersAt {
    /// All of them in the workloads' own cluster.
    pub fn here(client: Client) -> Self {
        Self {
            argocd: client.clone(),
            hub: None,
            here: client,
            argocd_namespace: ARGO_NAMESPACE.to_owned(),
        }
    }

    /// The cluster of an owner of this kind.
    pub(crate) fn client(&self, kind: PausableKind) -> &Client {
        match kind {
            PausableKind::Application | PausableKind::ApplicationSet => &self.argocd,
            PausableKind::Kustomization
            | PausableKind::HelmRelease
            | PausableKind::ScaledObject
            | PausableKind::CronJob => &self.here,
        }
    }

    /// The cluster in which rights on this resource count, where it is not the workloads' own for certain.
    pub(super) fn of_resource(&self, group: &str, resource: &str) -> Option<&Client> {
        PausableKind::is_of_argo_cd(group, resource).then_some(&self.argocd)
    }

    /// What failed about an owner of this kind, with the cluster where that is not the workloads' own.
    fn told(&self, mark: &Mark, message: String) -> String {
        let lies_there = matches!(mark, Mark::Application { .. } | Mark::ApplicationSet { .. });
        match self.hub.as_ref().filter(|_| lies_there) {
            Some(hub) => format!("{message} (context {})", hub.context),
            None => message,
        }
    }

    /// The hub, and who asks there; by the kubeconfig's name where the hub does not say.
    pub(super) async fn seen_hub(&self) -> Option<Hub> {
        let hub = self.hub.as_ref()?;
        let user = who_am_i(hub).await.ok().or_else(|| hub.user.clone());
        Some(Hub {
            context: hub.context.clone(),
            user: user.unwrap_or_else(|| "unknown".to_owned()),
        })
    }
}

/// The API paths of an owner's kind in a namespace, the version that is preferred first.
pub(crate) fn paths(kind: PausableKind, namespace: &str) -> Vec<String> {
    let versions: &[&str] = match kind {
        PausableKind::Application | PausableKind::ApplicationSet => &["v1alpha1"],
        PausableKind::Kustomization => &["v1", "v1beta2"],
        PausableKind::HelmRelease => &["v2", "v2beta2"],
        PausableKind::ScaledObject => &["v1alpha1"],
        PausableKind::CronJob => &["v1"],
    };
    let path = |version: &&str| {
        format!(
            "/apis/{}/{version}/namespaces/{namespace}/{}",
            kind.group(),
            kind.plural()
        )
    };
    versions.iter().map(path).collect()
}

/// An owner by its own object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// An Argo CD Application.
    Application { namespace: String, name: String },
    /// An Argo CD ApplicationSet.
    ApplicationSet { namespace: String, name: String },
    /// A Flux Kustomization.
    Kustomization { namespace: String, name: String },
    /// A Flux HelmRelease.
    HelmRelease { namespace: String, name: String },
    /// A Helm release.
    Release { namespace: String, name: String },
    /// A ClusterServiceVersion of the Operator Lifecycle Manager.
    Olm { name: String },
    /// A Flagger Canary that made the object.
    Canary { name: String },
    /// Any other controller.
    Controller { kind: String, name: String },
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application { namespace, name } => write!(f, "application/{name} in namespace {namespace}"),
            Self::ApplicationSet { namespace, name } => {
                write!(f, "applicationset/{name} in namespace {namespace}")
            }
            Self::Kustomization { namespace, name } => {
                write!(f, "kustomization/{name} in namespace {namespace}")
            }
            Self::HelmRelease { namespace, name } => write!(f, "helmrelease/{name} in namespace {namespace}"),
            Self::Release { namespace, name } => write!(f, "Helm release {name} in namespace {namespace}"),
            Self::Olm { name } => write!(f, "clusterserviceversion/{name}"),
            Self::Canary { name } => write!(f, "canary/{name}"),
            Self::Controller { kind, name } => write!(f, "{}/{name}", kind.to_lowercase()),
        }
    }
}

impl Mark {
    /// The kind, namespace and name of an owner that can be paused.
    fn pausable(&self) -> Option<(PausableKind, &str, &str)> {
        match self {
            Self::Application { namespace, name } => Some((PausableKind::Application, namespace, name)),
            Self::ApplicationSet { namespace, name } => Some((PausableKind::ApplicationSet, namespace, name)),
            Self::Kustomization { namespace, name } => Some((PausableKind::Kustomization, namespace, name)),
            Self::HelmRelease { namespace, name } => Some((PausableKind::HelmRelease, namespace, name)),
            Self::Release { .. } | Self::Olm { .. } | Self::Canary { .. } | Self::Controller { .. } => None,
        }
    }

    /// Whether an object of its own has more to say than the mark.
    pub(super) fn is_asked(&self) -> bool {
        !matches!(
            self,
            Self::Olm { .. } | Self::Canary { .. } | Self::Controller { .. }
        )
    }
}

/// What an owner's own object says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// It was read.
    Said {
        /// Whether it writes.
        state: OwnerState,
        /// The workloads that it names as its own. Only Argo CD's Applications do.
        names: BTreeSet<Target>,
        /// The object itself, of an owner that can be paused.
        object: Option<Box<Read>>,
    },
    /// There is no such object.
    Absent,
    /// It could not be read, and why.
    Unread(String),
}

/// An owner's object, as far as pausing it goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    name: OwnerName,
    uid: Uid,
    setting: Value,
    above: Vec<Marked>,
    paused: Option<Paused>,
    in_sync: Option<InSync>,
    scales: Option<Target>,
}

impl Word {
    fn object(&self) -> Option<&Read> {
        match self {
            Self::Said { object, .. } => object.as_deref(),
            Self::Absent | Self::Unread(_) => None,
        }
    }
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
        Mark::Application { name, .. } | Mark::ApplicationSet { name, .. } => {
            (OwnerKind::ArgoCd, name.clone())
        }
        Mark::Kustomization { name, .. } | Mark::HelmRelease { name, .. } => (OwnerKind::Flux, name.clone()),
        Mark::Release { name, .. } => (OwnerKind::Helm, name.clone()),
        mark @ Mark::Olm { .. } => (OwnerKind::Olm, mark.to_string()),
        mark @ Mark::Canary { .. } => (OwnerKind::Canary, mark.to_string()),
        mark @ Mark::Controller { .. } => (OwnerKind::Controller, mark.to_string()),
    };
    let word = words.get(&marked.mark);
    let state = match (&marked.mark, word) {
        (Mark::Olm { .. }, _) => state::olm(),
        (Mark::Canary { .. }, _) => state::made_by_canary(),
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
        _ if let Some(because) = &marked.left_alone => OwnerState::Passive {
            because: because.clone(),
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
        object: word.and_then(|word| Some(word.object()?.name.clone())),
    }
}

/// The owners' objects that were read, with those above them, in order.
pub(super) fn seen(words: &BTreeMap<Mark, Word>) -> Vec<OwnerSeen> {
    let read = |word: &Word| {
        let (Word::Said { state, .. }, Some(object)) = (word, word.object()) else {
            return None;
        };
        Some(OwnerSeen {
            name: object.name.clone(),
            uid: object.uid.clone(),
            state: state.clone(),
            setting: object.setting.clone(),
            parents: object.above.iter().map(|marked| owned(marked, words)).collect(),
            paused: object.paused.clone(),
            in_sync: object.in_sync.clone(),
            scales: object.scales.clone(),
        })
    };
    let mut all: Vec<OwnerSeen> = words.values().filter_map(read).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.dedup_by(|a, b| a.name == b.name);
    all
}

/// Whether the cluster knows Argo CD's Applications at all. Where it does not, a hint at one is none.
pub(super) async fn argo_is_served(owners: &OwnersAt) -> bool {
    let attempt = Attempt::new(Verb::Get, "apis", "look for Argo CD's API".to_owned());
    let found = get::<Value>(
        &owners.argocd,
        "/apis/argoproj.io",
        "v1alpha1",
        Part::Whole,
        &attempt,
    )
    .await;
    !matches!(found, Err(failure) if failure.class == FailureClass::Permanent)
}

/// What these owners' objects say, and those above them, level by level.
pub(super) async fn ask(owners: &OwnersAt, marks: impl IntoIterator<Item = &Mark>) -> BTreeMap<Mark, Word> {
    let mut words: BTreeMap<Mark, Word> = BTreeMap::new();
    let mut next: BTreeSet<Mark> = marks.into_iter().cloned().collect();
    for _ in 0..LEVELS {
        let asked: Vec<_> = std::mem::take(&mut next)
            .into_iter()
            .map(|mark| async move {
                let word = ask_one(owners, &mark).await;
                (mark, word)
            })
            .collect();
        let told: Vec<(Mark, Word)> = futures::stream::iter(asked)
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        let above = told
            .iter()
            .filter_map(|(_, word)| word.object())
            .flat_map(|object| &object.above);
        next = above.map(|marked| marked.mark.clone()).collect();
        words.extend(told);
        next.retain(|mark| !words.contains_key(mark));
        if next.is_empty() {
            break;
        }
    }
    words
}

/// One owner's. One request; two where an older Flux is asked for in its older version, or where an Application does not
/// lie where Argo CD mostly is.
async fn ask_one(owners: &OwnersAt, mark: &Mark) -> Word {
    let read = match (mark, mark.pausable()) {
        (_, Some((kind, namespace, name))) => find(owners, kind, namespace, name)
            .await
            .map(|object| said(kind, &object)),
        (Mark::Release { namespace, name }, None) => {
            release(&owners.here, namespace, name)
                .await
                .map(|state| Word::Said {
                    state,
                    names: BTreeSet::new(),
                    object: None,
                })
        }
        (_, None) => return Word::Unread("its kind is not known".to_owned()),
    };
    read.unwrap_or_else(|failure| match failure.class {
        FailureClass::Permanent => Word::Absent,
        _ => Word::Unread(owners.told(mark, failure.message)),
    })
}

/// What an owner that can be paused says.
fn said(kind: PausableKind, object: &Value) -> Word {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (state, names, in_sync) = match kind {
        PausableKind::Application => (
            state::application(object),
            state::resources(object),
            state::in_sync(object),
        ),
        PausableKind::ApplicationSet => (state::application_set(object), BTreeSet::new(), None),
        PausableKind::Kustomization | PausableKind::HelmRelease => {
            (state::flux(object), BTreeSet::new(), None)
        }
        PausableKind::ScaledObject | PausableKind::CronJob => {
            (state::starter(kind, object), BTreeSet::new(), None)
        }
    };
    let name = OwnerName {
        kind,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    };
    let read = Read {
        above: above(&name, object),
        uid: Uid(text("/metadata/uid")),
        setting: kind.setting_of(object),
        paused: Paused::on(object),
        in_sync,
        scales: state::scales(kind, object),
        name,
    };
    Word::Said {
        state,
        names,
        object: Some(Box::new(read)),
    }
}

/// The API of KEDA's ScaledObjects.
const SCALED_OBJECTS: &str = "keda.sh/v1alpha1";

/// What starts pods in a namespace beside its workloads' own controllers: CronJobs, and KEDA's ScaledObjects where there are
/// any; with those above them.
///
/// # Errors
/// They may not be listed.
pub(super) async fn starters(owners: &OwnersAt, namespace: &str) -> Result<Vec<OwnerSeen>, Failure> {
    let jobs = Collection::namespaced("apis/batch/v1", namespace, "cronjobs");
    let scaled = Collection::namespaced(&format!("apis/{SCALED_OBJECTS}"), namespace, "scaledobjects");
    let (jobs, scaled) = futures::join!(
        list(&owners.here, &jobs, Part::Whole, |object: Value| object),
        list_where_served(&owners.here, SCALED_OBJECTS, &scaled, |object: Value| object)
    );
    let scaled = scaled?.map(|listed| listed.items).unwrap_or_default();
    let jobs = jobs?
        .items
        .into_iter()
        .map(|object| (PausableKind::CronJob, object));
    let scaled = scaled
        .into_iter()
        .map(|object| (PausableKind::ScaledObject, object));
    let found: Vec<Word> = jobs
        .chain(scaled)
        .map(|(kind, object)| said(kind, &object))
        .collect();
    let above = found
        .iter()
        .filter_map(Word::object)
        .flat_map(|object| &object.above);
    let mut words = ask(owners, above.map(|marked| &marked.mark)).await;
    words.extend(found.into_iter().filter_map(|word| {
        let OwnerName {
            kind,
            namespace,
            name,
        } = word.object()?.name.clone();
        let kind = kind.noun().to_owned();
        let name = format!("{namespace}/{name}");
        Some((Mark::Controller { kind, name }, word))
    }));
    Ok(seen(&words))
}

/// Who writes an owner's object. An application that manages itself is none above itself; a hint is nobody.
fn above(name: &OwnerName, object: &Value) -> Vec<Marked> {
    // A mark that names no namespace means that of Argo CD, wherever it is.
    let itself = |mark: &Mark| {
        mark.pausable().is_some_and(|(kind, namespace, of)| {
            let here = namespace == name.namespace || namespace == ARGO_NAMESPACE;
            kind == name.kind && of == name.name && here
        })
    };
    // Its controller writes the status of every Application: only who syncs one is above it.
    let synced = writes_field(object, ARGO_SYNCS, &["spec"]);
    let by_chart = |marked: &Marked| marked.known_by.starts_with("label app.kubernetes.io/instance");
    let mut found = marks(object, &name.namespace);
    found.retain(|marked| !marked.hint && !itself(&marked.mark) && (synced || !by_chart(marked)));
    for marked in &mut found {
        let by_flux = matches!(marked.mark, Mark::Kustomization { .. });
        // Where the field is there, whoever wrote it last says nothing of what the source says.
        let absent = name.kind.setting_of(object).is_null();
        if by_flux && absent && !writes_field(object, FLUX_MANAGER, name.kind.setting()) {
            let field = name.kind.setting().join(".");
            marked.left_alone.get_or_insert(format!(
                "its source does not say what {field} of {} is",
                name.name
            ));
        }
    }
    found
}

/// Whether a field manager has set a field, or one below it.
fn writes_field(object: &Value, manager: &str, path: &[&str]) -> bool {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let of_manager = |entry: &&Value| entry.get("manager").and_then(Value::as_str) == Some(manager);
    let sets = |entry: &Value| {
        let fields = path
            .iter()
            .try_fold(entry.get("fieldsV1")?, |at, field| at.get(format!("f:{field}")));
        fields.map(drop)
    };
    entries
        .into_iter()
        .flatten()
        .filter(of_manager)
        .any(|entry| sets(entry).is_some())
}

/// An owner's object: an Application in the namespace that the mark names or that Argo CD mostly has, else anywhere.
pub(super) async fn find(
    owners: &OwnersAt,
    kind: PausableKind,
    namespace: &str,
    name: &str,
) -> Result<Value, Failure> {
    let by_default = kind == PausableKind::Application && namespace == ARGO_NAMESPACE;
    let namespace = if by_default {
        &owners.argocd_namespace
    } else {
        namespace
    };
    let client = owners.client(kind);
    let absent = match custom(client, &paths(kind, namespace), kind.plural(), name).await {
        Err(failure) if failure.class == FailureClass::Permanent && by_default => failure,
        found => return found,
    };
    let everywhere = Collection::cluster("apis/argoproj.io/v1alpha1", "applications")
        .fields(format!("metadata.name={name}"));
    let found = list(client, &everywhere, Part::Whole, |object: Value| object).await?;
    found.items.into_iter().next().ok_or(absent)
}

pub(super) async fn custom(
    client: &Client,
    paths: &[String],
    resource: &str,
    name: &str,
) -> Result<Value, Failure> {
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

/// Helm keeps each revision of a release in a Secret; its labels tell the state, so no payload is read. Source:
/// `helm/pkg/storage/driver/secrets.go`.
async fn release(client: &Client, namespace: &str, name: &str) -> Result<OwnerState, Failure> {
    let what =
        Collection::namespaced("api/v1", namespace, "secrets").labels(format!("owner=helm,name={name}"));
    let found = list(client, &what, Part::Metadata, |secret: Value| {
        texts(secret.pointer("/metadata/labels"))
    })
    .await?;
    Ok(state::newest_release(&found.items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::target::WorkloadKind;
    use serde_json::json;

    fn deployment(name: &str) -> Target {
        Target {
            kind: WorkloadKind::Deployment,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_hint_at_an_application_counts_only_where_the_application_lists_the_workload() {
        let labelled = json!({"metadata": {"labels": {"app.kubernetes.io/instance": "shop"}}});
        let hint = marks(&labelled, "shop").into_iter().next().unwrap();
        let object = json!({
            "spec": {"syncPolicy": {"automated": {"selfHeal": true}}},
            "status": {"resources": [
                {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "api"},
                {"kind": "Service", "namespace": "shop", "name": "web"},
            ]},
        });
        let said = said(PausableKind::Application, &object);
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
    fn above_an_owner_stands_whoever_writes_its_setting() {
        let check = |kind: PausableKind, object: Value, expected: &[(&str, bool)]| {
            let name = OwnerName {
                kind,
                namespace: "argocd".to_owned(),
                name: "shop".to_owned(),
            };
            let found: Vec<(String, bool)> = above(&name, &object)
                .into_iter()
                .map(|marked| (marked.mark.to_string(), marked.left_alone.is_none()))
                .collect();
            let expected: Vec<(String, bool)> = expected
                .iter()
                .map(|(mark, writes)| ((*mark).to_owned(), *writes))
                .collect();
            assert_eq!(found, expected);
        };
        let tracked = |by: &str| json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": format!("{by}:argoproj.io/Application:argocd/shop")}}});
        check(
            PausableKind::Application,
            tracked("root"),
            &[("application/root in namespace argocd", true)],
        );
        check(PausableKind::Application, tracked("shop"), &[]);
        let of_set = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "all", "controller": true}]}});
        check(
            PausableKind::Application,
            of_set,
            &[("applicationset/all in namespace argocd", true)],
        );
        let by_flux = |fields: Value| {
            json!({"metadata": {
                "labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"},
                "managedFields": [{"manager": "kustomize-controller", "fieldsV1": {"f:spec": fields}}],
            }})
        };
        let apps = "kustomization/apps in namespace flux";
        check(
            PausableKind::Kustomization,
            by_flux(json!({"f:path": {}})),
            &[(apps, false)],
        );
        check(
            PausableKind::Kustomization,
            by_flux(json!({"f:suspend": {}})),
            &[(apps, true)],
        );
        check(
            PausableKind::Application,
            by_flux(json!({"f:syncPolicy": {"f:automated": {"f:selfHeal": {}}}})),
            &[(apps, true)],
        );
    }
}
