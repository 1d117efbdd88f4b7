//! The kinds that are served: one table. Owns what differs between kinds as data; what is done with it is `api`'s.

use crate::object::{Name, flag, list, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What moves `metadata.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Nothing: the kind has none.
    None,
    /// A change of the spec.
    Spec,
    /// A change of the spec or of the annotations, as with Deployments.
    SpecOrAnnotations,
    /// Any change but to metadata and status, as with custom resources.
    Everything,
}

/// One kind of one API version.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// The API group; empty for the core one.
    pub(crate) group: Name,
    pub(crate) version: Name,
    pub(crate) kind: Name,
    pub(crate) plural: Name,
    /// `deployments.apps`, or `pods`.
    resource: Name,
    /// The resource under which its objects are kept, where another kind shows the same ones.
    stored: Option<Name>,
    pub(crate) singular: Name,
    pub(crate) short: Vec<Name>,
    pub(crate) categories: Vec<Name>,
    pub(crate) namespaced: bool,
    /// Whether status is a resource of its own.
    pub(crate) status: bool,
    pub(crate) scale: bool,
    pub(crate) generation: Generation,
    /// Whether a write without a resourceVersion replaces whatever is there.
    pub(crate) unconditional: bool,
    /// Whether a deletion answers with the object instead of a Status.
    pub(crate) returns_deleted: bool,
    /// Whether it comes from a CustomResourceDefinition.
    pub(crate) custom: bool,
    /// Selectable fields besides `metadata.name` and `metadata.namespace`.
    pub(crate) fields: &'static [&'static str],
}

impl Kind {
    /// `deployments.apps`, or `pods`.
    pub(crate) fn resource(&self) -> Name {
        self.resource.clone()
    }

    /// The resource under which its objects are kept.
    pub(crate) fn stored(&self) -> Name {
        self.stored.clone().unwrap_or_else(|| self.resource())
    }

    /// `apps/v1`, or `v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// A plural or kind with its group, as messages and keys write it.
pub(crate) fn qualified(name: &str, group: &str) -> Name {
    if group.is_empty() {
        name.into()
    } else {
        format!("{name}.{group}").into()
    }
}

/// All kinds by their resource's name.
#[derive(Clone, Debug)]
pub(crate) struct Kinds(BTreeMap<Name, Arc<Kind>>);

impl Kinds {
    pub(crate) fn built_in() -> Self {
        let kinds = TABLE.iter().map(|row| {
            let kind = Arc::new(row.kind());
            (kind.resource(), kind)
        });
        Self(kinds.collect())
    }

    /// By resource name: `deployments.apps`.
    pub(crate) fn named(&self, resource: &str) -> Option<&Arc<Kind>> {
        self.0.get(resource)
    }

    /// By the parts of a request's path.
    pub(crate) fn served(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let kind = self.named(&qualified(plural, group))?;
        (&*kind.version == version).then_some(kind)
    }

    /// By what an object says of itself.
    pub(crate) fn of(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.0
            .values()
            .find(|each| &*each.kind == kind && each.api_version() == api_version)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.values()
    }

    /// Serves what a CustomResourceDefinition defines.
    pub(crate) fn define(&mut self, definition: &Value) {
        let kind = Arc::new(custom(definition));
        self.0.insert(kind.resource(), kind);
    }

    pub(crate) fn forget(&mut self, resource: &str) {
        self.0.remove(resource);
    }
}

fn custom(definition: &Value) -> Kind {
    let version = list(definition, "spec.versions")
        .iter()
        .find(|version| flag(version, "storage"))
        .cloned()
        .unwrap_or_default();
    let names = |path: &str| {
        list(definition, path)
            .iter()
            .filter_map(Value::as_str)
            .map(Name::from)
            .collect()
    };
    let (group, plural) = (
        text(definition, "spec.group"),
        text(definition, "spec.names.plural"),
    );
    Kind {
        group: group.into(),
        version: text(&version, "name").into(),
        kind: text(definition, "spec.names.kind").into(),
        plural: plural.into(),
        resource: qualified(plural, group),
        stored: None,
        singular: text(definition, "spec.names.singular").into(),
        short: names("spec.names.shortNames"),
        categories: names("spec.names.categories"),
        namespaced: text(definition, "spec.scope") == "Namespaced",
        status: version.pointer("/subresources/status").is_some(),
        scale: false,
        generation: Generation::Everything,
        unconditional: false,
        returns_deleted: false,
        custom: true,
        fields: &[],
    }
}

/// One row of the table.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    /// Space-separated short names.
    short: &'static str,
    namespaced: bool,
    status: bool,
    scale: bool,
    generation: Generation,
    unconditional: bool,
    returns_deleted: bool,
    all: bool,
    stored: Option<&'static str>,
    fields: &'static [&'static str],
}

impl Row {
    fn kind(&self) -> Kind {
        Kind {
            group: self.group.into(),
            version: self.version.into(),
            kind: self.kind.into(),
            plural: self.plural.into(),
            resource: qualified(self.plural, self.group),
            stored: self.stored.map(Name::from),
            singular: self.kind.to_lowercase().into(),
            short: self.short.split_whitespace().map(Name::from).collect(),
            categories: if self.all { vec!["all".into()] } else { Vec::new() },
            namespaced: self.namespaced,
            status: self.status,
            scale: self.scale,
            generation: self.generation,
            unconditional: self.unconditional,
            returns_deleted: self.returns_deleted,
            custom: false,
            fields: self.fields,
        }
    }

    const fn status(mut self) -> Self {
        self.status = true;
        self
    }

    const fn scale(mut self) -> Self {
        self.scale = true;
        self
    }

    const fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    const fn conditional(mut self) -> Self {
        self.unconditional = false;
        self
    }

    const fn returns_deleted(mut self) -> Self {
        self.returns_deleted = true;
        self
    }

    const fn all(mut self) -> Self {
        self.all = true;
        self
    }

    const fn stored(mut self, resource: &'static str) -> Self {
        self.stored = Some(resource);
        self
    }

    const fn fields(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields;
        self
    }
}

const fn row(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
    namespaced: bool,
) -> Row {
    Row {
        group,
        version,
        kind,
        plural,
        short,
        namespaced,
        status: false,
        scale: false,
        generation: Generation::None,
        unconditional: true,
        returns_deleted: false,
        all: false,
        stored: None,
        fields: &[],
    }
}

const fn core(kind: &'static str, plural: &'static str, short: &'static str) -> Row {
    row("", "v1", kind, plural, short, true)
}

const fn apps(kind: &'static str, plural: &'static str, short: &'static str) -> Row {
    row("apps", "v1", kind, plural, short, true)
}

const RBAC: &str = "rbac.authorization.k8s.io";

const TABLE: [Row; 34] = [
    core("ConfigMap", "configmaps", "cm"),
    core("Endpoints", "endpoints", "ep"),
    core("Event", "events", "ev").fields(&[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ]),
    row("events.k8s.io", "v1", "Event", "events", "ev", true)
        .stored("events")
        .fields(&[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ]),
    core("LimitRange", "limitranges", "limits"),
    row("", "v1", "Namespace", "namespaces", "ns", false)
        .status()
        .conditional()
        .fields(&["status.phase"]),
    row("", "v1", "Node", "nodes", "no", false)
        .status()
        .fields(&["spec.unschedulable"]),
    core("PersistentVolumeClaim", "persistentvolumeclaims", "pvc")
        .status()
        .returns_deleted(),
    core("Pod", "pods", "po")
        .status()
        .generation(Generation::Spec)
        .returns_deleted()
        .all()
        .fields(&[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ]),
    core("ReplicationController", "replicationcontrollers", "rc")
        .status()
        .generation(Generation::Spec)
        .all(),
    core("ResourceQuota", "resourcequotas", "quota")
        .status()
        .returns_deleted(),
    core("Secret", "secrets", "").fields(&["type"]),
    core("Service", "services", "svc")
        .status()
        .returns_deleted()
        .all()
        .fields(&["spec.clusterIP", "spec.type"]),
    core("ServiceAccount", "serviceaccounts", "sa").returns_deleted(),
    apps("ControllerRevision", "controllerrevisions", ""),
    apps("DaemonSet", "daemonsets", "ds")
        .status()
        .generation(Generation::Spec)
        .all(),
    apps("Deployment", "deployments", "deploy")
        .status()
        .scale()
        .generation(Generation::SpecOrAnnotations)
        .all(),
    apps("ReplicaSet", "replicasets", "rs")
        .status()
        .scale()
        .generation(Generation::Spec)
        .all(),
    apps("StatefulSet", "statefulsets", "sts")
        .status()
        .scale()
        .generation(Generation::Spec)
        .all(),
    row("batch", "v1", "CronJob", "cronjobs", "cj", true)
        .status()
        .generation(Generation::Spec)
        .all(),
    row("batch", "v1", "Job", "jobs", "", true)
        .status()
        .generation(Generation::Spec)
        .all()
        .fields(&["status.successful"]),
    row(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "hpa",
        true,
    )
    .status()
    .all(),
    row(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "pdb",
        true,
    )
    .status()
    .conditional()
    .generation(Generation::Spec),
    row("coordination.k8s.io", "v1", "Lease", "leases", "", true).conditional(),
    row(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        "pc",
        false,
    )
    .conditional(),
    row(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd crds",
        false,
    )
    .status()
    .conditional()
    .generation(Generation::Spec),
    row(
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        "",
        true,
    )
    .generation(Generation::Everything),
    row(
        "storage.k8s.io",
        "v1",
        "StorageClass",
        "storageclasses",
        "sc",
        false,
    ),
    row("networking.k8s.io", "v1", "Ingress", "ingresses", "ing", true)
        .status()
        .generation(Generation::Spec),
    row(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        "netpol",
        true,
    )
    .generation(Generation::Spec),
    row(RBAC, "v1", "Role", "roles", "", true),
    row(RBAC, "v1", "RoleBinding", "rolebindings", "", true),
    row(RBAC, "v1", "ClusterRole", "clusterroles", "", false),
    row(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", "", false),
];
