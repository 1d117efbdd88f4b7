//! What the API server fills in where an object says nothing. Template hashes depend on it, so it is complete for pod
//! templates and workloads. Decides nothing else.

use crate::kinds::Kind;
use crate::object::{default, get, list_mut, remove, same, set, text};
use crate::quantity::Quantity;
use serde_json::{Value, json};

/// Fills in what is missing.
pub(crate) fn apply(kind: &Kind, object: &mut Value) {
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        prune(object, &format!("metadata.{field}"));
    }
    if matches!(&*kind.resource(), "configmaps" | "secrets") {
        prune(object, "data");
        prune(object, "binaryData");
    }
    match &*kind.resource() {
        "pods" => {
            pod_spec(object);
            host_ports(object);
            default(object, "spec.enableServiceLinks", true);
            for field in ["spec.containers", "spec.initContainers"] {
                for container in list_mut(object, field) {
                    requests_from_limits(container);
                }
            }
        }
        "deployments.apps" => deployment(object),
        "replicasets.apps" => {
            default(object, "spec.replicas", 1);
            template(object);
        }
        "statefulsets.apps" => stateful_set(object),
        "daemonsets.apps" => daemon_set(object),
        "services" => service(object),
        "secrets" => {
            default(object, "type", "Opaque");
            string_data(object);
            let data = object.get_mut("data").and_then(Value::as_object_mut);
            for value in data.into_iter().flat_map(serde_json::Map::values_mut) {
                if let Some(canonical) = value.as_str().and_then(super::types::canonical_bytes) {
                    *value = canonical.into();
                }
            }
        }
        "jobs.batch" => job(object),
        "cronjobs.batch" => {
            if let Some(template) = object.pointer_mut("/spec/jobTemplate") {
                unborn(template);
            }
            if let Some(template) = object.pointer_mut("/spec/jobTemplate/spec/template") {
                pod_spec(template);
                unborn(template);
            }
            default(object, "spec.concurrencyPolicy", "Allow");
            default(object, "spec.suspend", false);
            default(object, "spec.successfulJobsHistoryLimit", 3);
            default(object, "spec.failedJobsHistoryLimit", 1);
        }
        "namespaces" => {
            default(object, "spec.finalizers", json!(["kubernetes"]));
            let name = text(object, "metadata.name").to_owned();
            let labels = crate::object::map_mut(object, "metadata.labels");
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        }
        "persistentvolumeclaims" => {
            default(object, "spec.volumeMode", "Filesystem");
            canonical(object, "spec.resources.requests");
        }
        "resourcequotas" => {
            crate::object::map_mut(object, "spec");
            canonical(object, "spec.hard");
        }
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            for subject in list_mut(object, "subjects") {
                if matches!(text(subject, "kind"), "User" | "Group") {
                    default(subject, "apiGroup", "rbac.authorization.k8s.io");
                }
            }
        }
        "limitranges" => {
            for limit in list_mut(object, "spec.limits") {
                limits(limit);
            }
        }
        "events" => event(object),
        "networkpolicies.networking.k8s.io" => {
            let mut types = vec![json!("Ingress")];
            types.extend(get(object, "spec.egress").map(|_| json!("Egress")));
            default(object, "spec.policyTypes", types);
        }
        "horizontalpodautoscalers.autoscaling" => {
            default(object, "spec.minReplicas", 1);
            let target = json!({"type": "Utilization", "averageUtilization": 80});
            let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
            default(object, "spec.metrics", json!([cpu]));
        }
        "customresourcedefinitions.apiextensions.k8s.io" => definition(object),
        _ => {}
    }
}

/// What a status holds even where it was not said, and what it does not hold where it is nothing.
pub(crate) fn status(kind: &Kind, object: &mut Value) {
    match &*kind.resource() {
        "pods" => {
            for condition in list_mut(object, "status.conditions") {
                default(condition, "lastProbeTime", Value::Null);
                default(condition, "lastTransitionTime", Value::Null);
            }
        }
        "deployments.apps" => {
            for field in [
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
            ] {
                unless(object, &format!("status.{field}"), &json!(0));
            }
        }
        _ => {}
    }
}

/// Takes a value away that is written like none.
fn unless(object: &mut Value, path: &str, nothing: &Value) {
    if get(object, path) == Some(nothing) {
        remove(object, path);
    }
}

/// Takes away what is empty: of these fields nothing and empty are written alike.
fn prune(object: &mut Value, path: &str) {
    if get(object, path).is_some_and(|value| same(Some(value), None)) {
        remove(object, path);
    }
}

/// What a new object's status is.
pub(crate) fn first_status(kind: &Kind, object: &mut Value) {
    let status = match &*kind.resource() {
        "pods" => json!({"phase": "Pending", "qosClass": qos(object)}),
        "namespaces" => json!({"phase": "Active"}),
        "services" | "ingresses.networking.k8s.io" => json!({"loadBalancer": {}}),
        "persistentvolumeclaims" => json!({"phase": "Pending"}),
        "replicasets.apps" | "replicationcontrollers" => json!({"replicas": 0}),
        "statefulsets.apps" => json!({"replicas": 0, "availableReplicas": 0}),
        "daemonsets.apps" => {
            json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0})
        }
        "horizontalpodautoscalers.autoscaling" => json!({"desiredReplicas": 0, "currentMetrics": null}),
        "poddisruptionbudgets.policy" => {
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0})
        }
        "customresourcedefinitions.apiextensions.k8s.io" => definition_status(object),
        _ if kind.custom => return,
        _ => json!({}),
    };
    object["status"] = status;
}

/// What an update that says nothing leaves as it was: addresses that were given out.
pub(crate) fn carry_over(kind: &Kind, old: &Value, object: &mut Value) {
    if &*kind.resource() == "daemonsets.apps" {
        let former = crate::object::annotation(old, TEMPLATE_GENERATION)
            .and_then(|number| number.parse::<i64>().ok())
            .unwrap_or(1);
        let changed = !same(get(old, "spec.template"), get(object, "spec.template"));
        let number = former + i64::from(changed);
        crate::object::map_mut(object, "metadata.annotations")
            .insert(TEMPLATE_GENERATION.to_owned(), number.to_string().into());
    }
    if &*kind.resource() == "services" {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old["spec"].get(field)
                && same(object["spec"].get(field), None)
            {
                object["spec"][field] = value.clone();
            }
        }
        families(object);
    }
}

fn deployment(object: &mut Value) {
    default(object, "spec.replicas", 1);
    default(object, "spec.revisionHistoryLimit", 10);
    default(object, "spec.progressDeadlineSeconds", 600);
    default(object, "spec.strategy.type", "RollingUpdate");
    if text(object, "spec.strategy.type") == "RollingUpdate" {
        default(object, "spec.strategy.rollingUpdate.maxUnavailable", "25%");
        default(object, "spec.strategy.rollingUpdate.maxSurge", "25%");
    }
    template(object);
    unless(object, "spec.paused", &json!(false));
    unless(object, "spec.minReadySeconds", &json!(0));
}

fn stateful_set(object: &mut Value) {
    default(object, "spec.replicas", 1);
    default(object, "spec.revisionHistoryLimit", 10);
    default(object, "spec.podManagementPolicy", "OrderedReady");
    default(object, "spec.serviceName", "");
    default(object, "spec.updateStrategy.type", "RollingUpdate");
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" {
        default(object, "spec.updateStrategy.rollingUpdate.partition", 0);
    }
    default(
        object,
        "spec.persistentVolumeClaimRetentionPolicy.whenDeleted",
        "Retain",
    );
    default(
        object,
        "spec.persistentVolumeClaimRetentionPolicy.whenScaled",
        "Retain",
    );
    for claim in list_mut(object, "spec.volumeClaimTemplates") {
        default(claim, "apiVersion", "v1");
        default(claim, "kind", "PersistentVolumeClaim");
        default(claim, "spec.volumeMode", "Filesystem");
        default(claim, "status.phase", "Pending");
        unborn(claim);
    }
    template(object);
}

/// How often a DaemonSet's template changed, from before there were revisions.
pub(crate) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn daemon_set(object: &mut Value) {
    default(object, "spec.revisionHistoryLimit", 10);
    let annotations = crate::object::map_mut(object, "metadata.annotations");
    annotations
        .entry(TEMPLATE_GENERATION)
        .or_insert_with(|| "1".into());
    default(object, "spec.updateStrategy.type", "RollingUpdate");
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" {
        default(object, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
        default(object, "spec.updateStrategy.rollingUpdate.maxSurge", 0);
    }
    template(object);
}

fn job(object: &mut Value) {
    if get(object, "spec.parallelism").is_none() {
        default(object, "spec.completions", 1);
    }
    default(object, "spec.parallelism", 1);
    default(object, "spec.backoffLimit", 6);
    default(object, "spec.completionMode", "NonIndexed");
    default(object, "spec.manualSelector", false);
    default(object, "spec.podReplacementPolicy", "TerminatingOrFailed");
    default(object, "spec.suspend", false);
    template(object);
}

fn template(object: &mut Value) {
    if let Some(template) = object.pointer_mut("/spec/template") {
        pod_spec(template);
        unborn(template);
    }
}

/// The label of a Job's pods with the Job's uid.
pub(super) const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

/// A job finds its pods by its own uid unless it says otherwise.
pub(crate) fn identified(kind: &Kind, object: &mut Value) {
    if &*kind.resource() == "services" {
        families(object);
    }
    if &*kind.resource() != "jobs.batch" || crate::object::flag(object, "spec.manualSelector") {
        return;
    }
    let uid = text(object, "metadata.uid").to_owned();
    let name = text(object, "metadata.name").to_owned();
    crate::object::map_mut(object, "spec.selector.matchLabels")
        .insert(CONTROLLER_UID.to_owned(), uid.as_str().into());
    let labels = crate::object::map_mut(object, "spec.template.metadata.labels");
    for (key, value) in [
        (CONTROLLER_UID, &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels.insert(key.to_owned(), value.as_str().into());
    }
    if get(object, "metadata.labels").is_none() {
        let labels = get(object, "spec.template.metadata.labels").cloned();
        set(object, "metadata.labels", labels.unwrap_or_default());
    }
}

/// What is a pattern and no object has metadata, and was never created: older clients say so with a null.
fn unborn(pattern: &mut Value) {
    let metadata = crate::object::map_mut(pattern, "metadata");
    if metadata.get("creationTimestamp").is_some_and(Value::is_null) {
        metadata.remove("creationTimestamp");
    }
}

/// The defaults of everything under a `spec` that holds containers.
fn pod_spec(holder: &mut Value) {
    default(holder, "spec.restartPolicy", "Always");
    default(holder, "spec.terminationGracePeriodSeconds", 30);
    default(holder, "spec.dnsPolicy", "ClusterFirst");
    default(holder, "spec.securityContext", json!({}));
    default(holder, "spec.schedulerName", "default-scheduler");
    match get(holder, "spec.serviceAccountName")
        .and_then(Value::as_str)
        .map(str::to_owned)
    {
        Some(name) => set(holder, "spec.serviceAccount", name),
        None => {
            if let Some(name) = get(holder, "spec.serviceAccount").cloned() {
                set(holder, "spec.serviceAccountName", name);
            }
        }
    }
    for field in ["spec.containers", "spec.initContainers"] {
        for container in list_mut(holder, field) {
            self::container(container);
        }
    }
    for volume in list_mut(holder, "spec.volumes") {
        self::volume(volume);
    }
    for field in [
        "spec.volumes",
        "spec.initContainers",
        "spec.nodeSelector",
        "spec.tolerations",
        "spec.imagePullSecrets",
        "spec.hostAliases",
        "metadata.labels",
        "metadata.annotations",
    ] {
        prune(holder, field);
    }
}

/// A pod on its node's network has the node's ports. Templates do not say so.
fn host_ports(pod: &mut Value) {
    if !crate::object::flag(pod, "spec.hostNetwork") {
        return;
    }
    for container in list_mut(pod, "spec.containers") {
        for port in list_mut(container, "ports") {
            if let Some(number) = port.get("containerPort").cloned() {
                default(port, "hostPort", number);
            }
        }
    }
}

fn container(container: &mut Value) {
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    let policy = if pulls_always(text(container, "image")) {
        "Always"
    } else {
        "IfNotPresent"
    };
    default(container, "imagePullPolicy", policy);
    for port in list_mut(container, "ports") {
        default(port, "protocol", "TCP");
    }
    for variable in list_mut(container, "env") {
        if get(variable, "valueFrom.fieldRef").is_some() {
            default(variable, "valueFrom.fieldRef.apiVersion", "v1");
        }
        if get(variable, "valueFrom.resourceFieldRef").is_some() {
            default(variable, "valueFrom.resourceFieldRef.divisor", "0");
        }
        // An empty value is not written.
        if get(variable, "value") == Some(&json!("")) {
            remove(variable, "value");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            self::probe(probe);
        }
    }
    for hook in ["lifecycle.postStart.httpGet", "lifecycle.preStop.httpGet"] {
        if get(container, hook).is_some() {
            default(container, &format!("{hook}.path"), "/");
            default(container, &format!("{hook}.scheme"), "HTTP");
        }
    }
    for amounts in ["resources.requests", "resources.limits"] {
        canonical(container, amounts);
    }
    for field in ["env", "envFrom", "ports", "volumeMounts", "command", "args"] {
        prune(container, field);
    }
}

/// A default limit is a default request as well.
fn limits(limit: &mut Value) {
    for field in ["default", "defaultRequest"] {
        canonical(limit, field);
    }
    for (resource, amount) in limit["default"].as_object().cloned().into_iter().flatten() {
        let requests = crate::object::map_mut(limit, "defaultRequest");
        requests.entry(resource).or_insert(amount);
    }
}

/// Amounts are stored as the API writes them: `1000m` is `1`.
fn canonical(object: &mut Value, path: &str) {
    let amounts = get(object, path).and_then(Value::as_object).cloned();
    for (resource, amount) in amounts.into_iter().flatten() {
        if let Some(quantity) = Quantity::of(&amount) {
            crate::object::map_mut(object, path).insert(resource, quantity.to_string().into());
        }
    }
}

/// A limit without a request is a request as well.
fn requests_from_limits(container: &mut Value) {
    let limits = get(container, "resources.limits")
        .and_then(Value::as_object)
        .cloned();
    for (resource, limit) in limits.into_iter().flatten() {
        let requests = crate::object::map_mut(container, "resources.requests");
        requests.entry(resource).or_insert(limit);
    }
}

fn pulls_always(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    match image.rsplit('/').next().and_then(|last| last.rsplit_once(':')) {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}

fn probe(probe: &mut Value) {
    default(probe, "timeoutSeconds", 1);
    default(probe, "periodSeconds", 10);
    default(probe, "successThreshold", 1);
    default(probe, "failureThreshold", 3);
    if probe.get("httpGet").is_some() {
        default(probe, "httpGet.path", "/");
        default(probe, "httpGet.scheme", "HTTP");
    }
    if probe.get("grpc").is_some() {
        default(probe, "grpc.service", "");
    }
}

fn volume(volume: &mut Value) {
    /// `rw-r--r--`
    const MODE: i64 = 0o644;
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if volume.get(source).is_some_and(Value::is_object) {
            default(volume, &format!("{source}.defaultMode"), MODE);
        }
    }
    if volume.get("hostPath").is_some() {
        default(volume, "hostPath.type", "");
    }
    for item in list_mut(volume, "projected.sources") {
        if item.get("serviceAccountToken").is_some() {
            default(item, "serviceAccountToken.expirationSeconds", 3600);
        }
    }
    for item in list_mut(volume, "downwardAPI.items") {
        if item.get("fieldRef").is_some() {
            default(item, "fieldRef.apiVersion", "v1");
        }
    }
    if let Some(size) = get(volume, "emptyDir.sizeLimit").and_then(Quantity::of) {
        set(volume, "emptyDir.sizeLimit", size.to_string());
    }
    // A volume that names no source is an empty folder.
    if volume.as_object().is_some_and(|fields| fields.len() == 1) {
        set(volume, "emptyDir", json!({}));
    }
}

/// Which addresses a Service is given.
fn families(object: &mut Value) {
    if text(object, "spec.type") != "ExternalName" {
        default(object, "spec.ipFamilies", json!(["IPv4"]));
        default(object, "spec.ipFamilyPolicy", "SingleStack");
    }
}

fn service(object: &mut Value) {
    default(object, "spec.type", "ClusterIP");
    default(object, "spec.sessionAffinity", "None");
    if matches!(text(object, "spec.type"), "NodePort" | "LoadBalancer") {
        default(object, "spec.externalTrafficPolicy", "Cluster");
    }
    if text(object, "spec.type") != "ExternalName" {
        default(object, "spec.internalTrafficPolicy", "Cluster");
    }
    for port in list_mut(object, "spec.ports") {
        default(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            default(port, "targetPort", number);
        }
    }
}

/// What an event says even where it says nothing.
fn event(object: &mut Value) {
    for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        default(object, time, Value::Null);
    }
    default(object, "reportingComponent", "");
    default(object, "reportingInstance", "");
    default(object, "source", json!({}));
}

/// `stringData` is for writing only.
fn string_data(object: &mut Value) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let Some(Value::Object(plain)) = remove(object, "stringData") else {
        return;
    };
    for (name, value) in plain {
        let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
        crate::object::map_mut(object, "data").insert(name, encoded.into());
    }
}

fn definition(object: &mut Value) {
    let kind = text(object, "spec.names.kind").to_owned();
    default(object, "spec.names.singular", kind.to_lowercase());
    default(object, "spec.names.listKind", format!("{kind}List"));
    default(object, "spec.conversion.strategy", "None");
}

/// A definition is served from the moment it is stored.
fn definition_status(object: &Value) -> Value {
    let at = text(object, "metadata.creationTimestamp");
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": at});
    let stored = crate::object::list(object, "spec.versions")
        .iter()
        .filter(|version| crate::object::flag(version, "storage"))
        .map(|version| version["name"].clone())
        .collect::<Value>();
    json!({
        "acceptedNames": get(object, "spec.names"),
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored,
    })
}

/// A pod's class by what its containers ask for and may take.
pub(crate) fn qos(pod: &Value) -> &'static str {
    let containers = || {
        ["spec.containers", "spec.initContainers"]
            .into_iter()
            .flat_map(|field| crate::object::list(pod, field))
    };
    let named = |container: &Value, what: &str, resource: &str| {
        get(container, &format!("resources.{what}.{resource}")).cloned()
    };
    let nothing = containers().all(|container| {
        same(get(container, "resources.requests"), None) && same(get(container, "resources.limits"), None)
    });
    if nothing {
        return "BestEffort";
    }
    let guaranteed = containers().all(|container| {
        ["cpu", "memory"].into_iter().all(|resource| {
            let limit = named(container, "limits", resource);
            limit.is_some() && limit == named(container, "requests", resource)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}
