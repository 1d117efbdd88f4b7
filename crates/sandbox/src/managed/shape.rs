//! Which fields are managed as one whole and which by their parts, as the schemas of the built-in kinds say. Data; source:
//! the `x-kubernetes-list-type` and `x-kubernetes-map-type` marks of Kubernetes' own API types.

use serde_json::Value;

/// What nobody manages of metadata: the server sets it. Source: apimachinery's `managedfields`.
pub(super) const SERVERS_OWN: [&str; 11] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
    "clusterName",
];

/// How a field is managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As one.
    Whole,
    /// By its fields.
    Map,
    /// By its items, which these fields tell apart.
    Items(&'static [&'static str]),
    /// By its plain values.
    Set,
}

/// What is known of a kind's fields: all of a built-in one, nothing of a custom one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Typed<'a> {
    /// `deployments.apps`; none for a custom kind.
    resource: Option<&'a str>,
}

impl<'a> Typed<'a> {
    /// Metadata is of one type in all kinds.
    pub(super) const METADATA: Typed<'static> = Typed {
        resource: Some("metadata"),
    };

    pub(crate) fn of(resource: &'a str, custom: bool) -> Self {
        Self {
            resource: (!custom).then_some(resource),
        }
    }

    pub(super) fn shape(&self, above: &str, field: &str, value: &Value) -> Shape {
        match (self.resource, value) {
            (Some(resource), Value::Array(_)) => list(resource, above, field),
            (Some(resource), Value::Object(_)) if whole_map(resource, above, field) => Shape::Whole,
            (_, Value::Object(_)) => Shape::Map,
            _ => Shape::Whole,
        }
    }

    /// Whether the items of a list, which have keys, are managed as wholes.
    pub(super) fn whole_items(&self, field: &str) -> bool {
        matches!(field, "imagePullSecrets" | "ownerReferences" | "secrets")
    }

    /// Whether a field is there even where it is not written, as structures are that are no pointers: it is never added,
    /// only what is in it.
    pub(super) fn embedded(&self, above: &str, field: &str) -> bool {
        self.resource.is_some()
            && matches!(
                (above, field),
                ("", "spec" | "status" | "source")
                    | (
                        "spec",
                        "strategy"
                            | "updateStrategy"
                            | "template"
                            | "jobTemplate"
                            | "scaleTargetRef"
                            | "resources"
                    )
                    | ("template" | "jobTemplate", "metadata" | "spec")
                    | ("spec", "containers")
                    | ("status", "loadBalancer" | "nodeInfo" | "daemonEndpoints")
            )
    }

    /// Whether a field of a new object says what is there without it: some are written though they are nothing.
    pub(super) fn zero(&self, above: &str, field: &str, value: Option<&Value>) -> bool {
        match (self.resource, above, field, value) {
            (Some("events"), "", "eventTime" | "firstTimestamp" | "lastTimestamp", Some(Value::Null)) => true,
            (Some("events"), "", "reportingComponent" | "reportingInstance", Some(value)) => value == "",
            (Some("statefulsets.apps"), "spec", "serviceName", Some(value)) => value == "",
            (Some("namespaces"), "spec", "finalizers", _) => true,
            _ => false,
        }
    }
}

fn list(resource: &str, above: &str, field: &str) -> Shape {
    let in_container = matches!(above, "containers" | "initContainers" | "ephemeralContainers");
    match field {
        "imagePullSecrets" if above != "spec" => Shape::Whole,
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "schedulingGates"
        | "resourceClaims"
        | "secrets" => Shape::Items(&["name"]),
        "ports" if in_container => Shape::Items(&["containerPort", "protocol"]),
        "ports" if resource == "services" => Shape::Items(&["port", "protocol"]),
        "volumeMounts" => Shape::Items(&["mountPath"]),
        "volumeDevices" => Shape::Items(&["devicePath"]),
        "hostAliases" | "podIPs" => Shape::Items(&["ip"]),
        "topologySpreadConstraints" => Shape::Items(&["topologyKey", "whenUnsatisfiable"]),
        "conditions" if resource != "jobs.batch" => Shape::Items(&["type"]),
        "addresses" => Shape::Items(&["type"]),
        "ownerReferences" => Shape::Items(&["uid"]),
        "finalizers" | "podCIDRs" => Shape::Set,
        _ => Shape::Whole,
    }
}

fn whole_map(resource: &str, above: &str, field: &str) -> bool {
    match field {
        "port" => above == "service",
        "selector" | "labelSelector" | "podSelector" | "namespaceSelector" | "nodeSelector" => true,
        "configMapKeyRef" | "secretKeyRef" | "fieldRef" | "resourceFieldRef" | "secretRef"
        | "configMapRef" => true,
        "involvedObject" | "targetRef" | "claimRef" | "dataSource" | "roleRef" | "related" => true,
        "requiredDuringSchedulingIgnoredDuringExecution" => true,
        "data" => resource == "controllerrevisions.apps",
        _ => false,
    }
}
