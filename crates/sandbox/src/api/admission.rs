//! What stands between a valid request and the store: namespaces that end, quotas, and what is added to pods. Owns the
//! plugins of a default server that concern a release; webhooks and policies are not served at all.

use super::status::{Outcome, Refusal};
use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::object::{default, get, list, list_mut, map_mut, set, terminating, text};
use crate::quantity::Quantity;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nothing new comes into a namespace that is not there or that ends.
pub(crate) fn namespace(cluster: &Cluster, kind: &Kind, namespace: &str, name: &str) -> Outcome<()> {
    if !kind.namespaced {
        return Ok(());
    }
    let Some(found) = cluster.store.find("namespaces", "", namespace) else {
        let namespaces = cluster.kinds.named("namespaces").cloned();
        return Err(
            namespaces.map_or_else(Refusal::no_such_path, |kind| Refusal::not_found(&kind, namespace))
        );
    };
    if terminating(found) {
        return Err(Refusal::terminating(kind, name, namespace));
    }
    Ok(())
}

/// What is added to objects as they are made.
pub(crate) fn mutate(cluster: &mut Cluster, kind: &Kind, object: &mut Value) -> Outcome<()> {
    match &*kind.resource() {
        "pods" => pod(cluster, kind, object)?,
        "services" => address(cluster, object),
        "persistentvolumeclaims" => protect(object),
        _ => {}
    }
    Ok(())
}

fn pod(cluster: &mut Cluster, kind: &Kind, object: &mut Value) -> Outcome<()> {
    default(object, "spec.serviceAccountName", "default");
    let account = text(object, "spec.serviceAccountName").to_owned();
    set(object, "spec.serviceAccount", account.as_str());
    let namespace = text(object, "metadata.namespace").to_owned();
    if cluster
        .store
        .find("serviceaccounts", &namespace, &account)
        .is_none()
    {
        let name = text(object, "metadata.name").to_owned();
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
        );
        return Err(Refusal::forbidden(kind, &name, &why));
    }
    fill_in(cluster, &namespace, object);
    priority(cluster, kind, object)?;
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        tolerate(object, key);
    }
    if get(object, "spec.automountServiceAccountToken") != Some(&json!(false)) {
        mount_token(cluster, object);
    }
    Ok(())
}

/// What the namespace's LimitRanges give to containers that do not say what they need.
fn fill_in(cluster: &Cluster, namespace: &str, object: &mut Value) {
    let mut told: Vec<String> = Vec::new();
    for (_, range) in cluster.store.iter("limitranges", namespace) {
        for limit in list(range, "spec.limits") {
            for (field, called) in [
                ("spec.containers", "container"),
                ("spec.initContainers", "init container"),
            ] {
                for container in list_mut(object, field) {
                    let name = text(container, "name").to_owned();
                    for (what, given) in [("request", "defaultRequest"), ("limit", "default")] {
                        let set = given_to(container, &format!("resources.{what}s"), &limit[given]);
                        if !set.is_empty() {
                            told.push(format!("{} {what} for {called} {name}", set.join(", ")));
                        }
                    }
                }
            }
        }
    }
    if !told.is_empty() {
        let message = format!("LimitRanger plugin set: {}", told.join("; "));
        map_mut(object, "metadata.annotations")
            .insert("kubernetes.io/limit-ranger".to_owned(), message.into());
    }
}

/// Sets the amounts that are missing, and tells of which resources.
fn given_to(container: &mut Value, path: &str, amounts: &Value) -> Vec<String> {
    let missing: Vec<(String, Value)> = amounts
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(resource, _)| get(container, path).is_none_or(|set| set.get(resource.as_str()).is_none()))
        .map(|(resource, amount)| (resource.clone(), amount.clone()))
        .collect();
    missing
        .into_iter()
        .map(|(resource, amount)| {
            map_mut(container, path).insert(resource.clone(), amount);
            resource
        })
        .collect()
}

fn priority(cluster: &Cluster, kind: &Kind, object: &mut Value) -> Outcome<()> {
    let class = text(object, "spec.priorityClassName").to_owned();
    let value = match class.as_str() {
        "" => 0,
        "system-cluster-critical" => 2_000_000_000,
        "system-node-critical" => 2_000_001_000,
        class => {
            let found = cluster.store.find("priorityclasses.scheduling.k8s.io", "", class);
            let Some(found) = found else {
                let why = format!("no PriorityClass with name {class} was found");
                return Err(Refusal::forbidden(kind, text(object, "metadata.name"), &why));
            };
            found["value"].as_i64().unwrap_or(0)
        }
    };
    default(object, "spec.priority", value);
    default(object, "spec.preemptionPolicy", "PreemptLowerPriority");
    Ok(())
}

/// For five minutes, as pods tolerate a lost node unless they say otherwise.
fn tolerate(object: &mut Value, key: &str) {
    let known = list(object, "spec.tolerations")
        .iter()
        .any(|each| matches!(text(each, "key"), known if known == key || known.is_empty()));
    if known {
        return;
    }
    let spec = map_mut(object, "spec");
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if let Some(tolerations) = tolerations.as_array_mut() {
        tolerations
            .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
    }
}

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn mount_token(cluster: &mut Cluster, object: &mut Value) {
    let mounted = |container: &Value| {
        list(container, "volumeMounts")
            .iter()
            .any(|mount| text(mount, "mountPath") == TOKEN_PATH)
    };
    if list(object, "spec.containers").iter().all(mounted) {
        return;
    }
    let name = format!("kube-api-access-{}", cluster.random.suffix());
    for field in ["spec.initContainers", "spec.containers"] {
        for container in list_mut(object, field) {
            if !mounted(container) {
                push(
                    container,
                    "volumeMounts",
                    json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH}),
                );
            }
        }
    }
    let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{
            "path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
        }]}},
    ]}});
    push(map_mut_value(object, "spec"), "volumes", volume);
}

fn map_mut_value<'a>(object: &'a mut Value, field: &str) -> &'a mut Value {
    map_mut(object, "").entry(field).or_insert_with(|| json!({}))
}

fn push(holder: &mut Value, field: &str, item: Value) {
    let items = map_mut(holder, "").entry(field).or_insert_with(|| json!([]));
    if let Some(items) = items.as_array_mut() {
        items.push(item);
    }
}

/// A claim stays until no pod uses it.
pub(crate) const PROTECTION: &str = "kubernetes.io/pvc-protection";

fn protect(object: &mut Value) {
    let known = list(object, "metadata.finalizers")
        .iter()
        .any(|each| each == PROTECTION);
    if !known {
        let metadata = map_mut(object, "metadata");
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(finalizers) = finalizers.as_array_mut() {
            finalizers.push(PROTECTION.into());
        }
    }
}

/// A cluster address for a Service that wants one.
fn address(cluster: &mut Cluster, object: &mut Value) {
    let wants = text(object, "spec.type") != "ExternalName" && get(object, "spec.clusterIP").is_none();
    if wants {
        let number = cluster.next_address();
        let address = format!("10.96.{}.{}", (number / 254) % 254, number % 254 + 1);
        set(object, "spec.clusterIP", address);
    }
    if let Some(address) = get(object, "spec.clusterIP").cloned() {
        default(object, "spec.clusterIPs", json!([address]));
    }
}

/// Whether every quota of the namespace still has room.
pub(crate) fn quota(cluster: &Cluster, kind: &Kind, object: &Value) -> Outcome<()> {
    let namespace = text(object, "metadata.namespace");
    if !kind.namespaced || cluster.store.count("resourcequotas", namespace) == 0 {
        return Ok(());
    }
    let asked = usage(&kind.resource(), object);
    for (name, quota) in cluster.store.iter("resourcequotas", namespace) {
        let hard = hard(quota);
        unspecified(kind, object, name, &hard)?;
        let used = used(cluster, namespace, &hard);
        let over: Vec<&String> = hard
            .iter()
            .filter(|(resource, limit)| {
                let asked = asked.get(*resource).copied().unwrap_or(Quantity::ZERO);
                asked > Quantity::ZERO && used[*resource] + asked > **limit
            })
            .map(|(resource, _)| resource)
            .collect();
        if over.is_empty() {
            continue;
        }
        let told = |amounts: &BTreeMap<String, Quantity>| {
            let each = over
                .iter()
                .map(|resource| format!("{resource}={}", amounts[*resource]));
            each.collect::<Vec<_>>().join(",")
        };
        let why = format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            told(&asked),
            told(&used),
            told(&hard)
        );
        return Err(Refusal::forbidden(kind, text(object, "metadata.name"), &why));
    }
    Ok(())
}

/// A quota on compute resources makes each container say what it needs.
fn unspecified(kind: &Kind, object: &Value, quota: &str, hard: &BTreeMap<String, Quantity>) -> Outcome<()> {
    if &*kind.resource() != "pods" {
        return Ok(());
    }
    let mut missing = Vec::new();
    for resource in hard.keys() {
        let (what, named) = match resource.as_str() {
            "cpu" | "memory" => ("requests", resource.as_str()),
            other => match other.split_once('.') {
                Some((what @ ("requests" | "limits"), named @ ("cpu" | "memory"))) => (what, named),
                _ => continue,
            },
        };
        let silent: Vec<&str> = list(object, "spec.containers")
            .iter()
            .filter(|container| get(container, &format!("resources.{what}.{named}")).is_none())
            .map(|container| text(container, "name"))
            .collect();
        if !silent.is_empty() {
            missing.push(format!("{resource} for: {}", silent.join(",")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!("failed quota: {quota}: must specify {}", missing.join("; "));
    Err(Refusal::forbidden(kind, text(object, "metadata.name"), &why))
}

/// What a quota allows.
pub(crate) fn hard(quota: &Value) -> BTreeMap<String, Quantity> {
    let hard = get(quota, "spec.hard").and_then(Value::as_object);
    hard.into_iter()
        .flatten()
        .filter_map(|(resource, amount)| Some((resource.clone(), Quantity::of(amount)?)))
        .collect()
}

/// What is used of each resource that a quota names.
pub(crate) fn used(
    cluster: &Cluster,
    namespace: &str,
    hard: &BTreeMap<String, Quantity>,
) -> BTreeMap<String, Quantity> {
    let mut used: BTreeMap<String, Quantity> = hard
        .keys()
        .map(|resource| (resource.clone(), Quantity::ZERO))
        .collect();
    for resource in cluster.store.resources(namespace) {
        let objects: Vec<&Arc<Value>> = cluster
            .store
            .iter(&resource, namespace)
            .map(|(_, object)| object)
            .collect();
        for object in objects {
            for (name, amount) in usage(&resource, object) {
                if let Some(sum) = used.get_mut(&name) {
                    *sum += amount;
                }
            }
        }
    }
    used
}

/// What one object takes of a quota.
fn usage(resource: &str, object: &Value) -> BTreeMap<String, Quantity> {
    const COUNTED: [&str; 6] = [
        "configmaps",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
    ];
    let one = Quantity::whole(1);
    let mut usage = BTreeMap::from([(format!("count/{resource}"), one)]);
    if COUNTED.contains(&resource) {
        usage.insert(resource.to_owned(), one);
    }
    if resource != "pods" {
        return usage;
    }
    if matches!(text(object, "status.phase"), "Succeeded" | "Failed") {
        return usage;
    }
    usage.insert("pods".to_owned(), one);
    for named in ["cpu", "memory"] {
        let requested = requested(object, "requests", named);
        usage.insert(named.to_owned(), requested);
        usage.insert(format!("requests.{named}"), requested);
        usage.insert(
            format!("limits.{named}"),
            self::requested(object, "limits", named),
        );
    }
    usage
}

/// What a pod asks for or may take: the sum of its containers, or more where one of its init containers needs more.
pub(crate) fn requested(pod: &Value, what: &str, named: &str) -> Quantity {
    let path = format!("resources.{what}.{named}");
    let amount = |container: &Value| {
        get(container, &path)
            .and_then(Quantity::of)
            .unwrap_or(Quantity::ZERO)
    };
    let mut sum = Quantity::ZERO;
    for container in list(pod, "spec.containers") {
        sum += amount(container);
    }
    list(pod, "spec.initContainers")
        .iter()
        .map(amount)
        .fold(sum, Quantity::max)
}
