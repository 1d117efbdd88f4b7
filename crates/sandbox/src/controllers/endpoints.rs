//! Endpoints and EndpointSlices of Services: which pods a Service reaches.

use super::{Controller, pods};
use crate::cluster::Cluster;
use crate::object::{get, list, text};
use crate::selector::Labels;
use crate::store::Key;
use serde_json::{Value, json};
use std::sync::Arc;

/// Puts the Services on the queue whose pods changed in a way that they can tell.
pub(super) fn noticed(cluster: &mut Cluster, namespace: &str, before: Option<&Value>, after: Option<&Value>) {
    let told = |pod: Option<&Value>| {
        pod.map(|pod| {
            (
                pods::is_ready(pod),
                pods::is_active(pod),
                get(pod, "status.podIP").cloned(),
                get(pod, "metadata.labels").cloned(),
            )
        })
    };
    if cluster.store.count("services", namespace) == 0 || told(before) == told(after) {
        return;
    }
    let concerned: Vec<Key> = cluster
        .store
        .iter("services", namespace)
        .filter(|(_, service)| {
            let selector = Labels::pairs(get(service, "spec.selector"));
            [before, after]
                .into_iter()
                .flatten()
                .any(|pod| selector.matches(pod))
        })
        .map(|(name, _)| Key::new("services", namespace, name.clone()))
        .collect();
    for service in concerned {
        cluster.queue.add(Controller::Endpoints, service);
    }
}

pub(super) fn reconcile(cluster: &mut Cluster, key: &Key) {
    let Some(service) = cluster.store.get(key).cloned() else {
        let endpoints = Key::new("endpoints", key.namespace.clone(), key.name.clone());
        cluster.erase(&endpoints);
        cluster.spread(key, 0.0, &[]);
        return;
    };
    if get(&service, "spec.selector").is_none() {
        return;
    }
    let selector = Labels::pairs(get(&service, "spec.selector"));
    let members: Vec<Arc<Value>> = cluster
        .store
        .iter("pods", &key.namespace)
        .filter(|(_, pod)| {
            selector.matches(pod) && pods::is_active(pod) && !text(pod, "status.podIP").is_empty()
        })
        .map(|(_, pod)| pod.clone())
        .collect();
    ask(cluster, key, &members);
    write_endpoints(cluster, key, &service, &members);
    write_slice(cluster, key, &service, &members);
}

/// Sends the requests that the Service gets to those of its pods that are ready.
fn ask(cluster: &mut Cluster, key: &Key, members: &[Arc<Value>]) {
    let rate = cluster
        .options
        .traffic
        .iter()
        .filter(|traffic| *traffic.namespace == *key.namespace && *traffic.service == *key.name)
        .map(|traffic| traffic.requests_per_second)
        .sum();
    let ready: Vec<&Arc<Value>> = members.iter().filter(|pod| pods::is_ready(pod)).collect();
    cluster.spread(key, rate, &ready);
}

fn write_endpoints(cluster: &mut Cluster, key: &Key, service: &Value, members: &[Arc<Value>]) {
    let addresses = |ready: bool| {
        members
            .iter()
            .filter(|pod| pods::is_ready(pod) == ready)
            .map(|pod| {
                json!({
                    "ip": pod["status"]["podIP"],
                    "nodeName": pod["spec"]["nodeName"],
                    "targetRef": reference(pod),
                })
            })
            .collect::<Vec<Value>>()
    };
    let (ready, unready) = (addresses(true), addresses(false));
    let mut subset = json!({"ports": ports(service, members.first())});
    if !ready.is_empty() {
        subset["addresses"] = ready.into();
    }
    if !unready.is_empty() {
        subset["notReadyAddresses"] = unready.into();
    }
    let subsets = if members.is_empty() {
        json!([])
    } else {
        json!([subset])
    };
    let endpoints = Key::new("endpoints", key.namespace.clone(), key.name.clone());
    let there = cluster.modify(&endpoints, |object| object["subsets"] = subsets.clone());
    if there.is_none() {
        let mut metadata = json!({"name": key.name.as_ref()});
        if let Some(labels) = get(service, "metadata.labels") {
            metadata["labels"] = labels.clone();
        }
        let _ = cluster.create(
            "endpoints",
            &key.namespace,
            json!({"metadata": metadata, "subsets": subsets}),
        );
    }
}

fn write_slice(cluster: &mut Cluster, key: &Key, service: &Value, members: &[Arc<Value>]) {
    const SLICES: &str = "endpointslices.discovery.k8s.io";
    let endpoints: Vec<Value> = members
        .iter()
        .map(|pod| {
            let ready = pods::is_ready(pod);
            json!({
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": ready, "serving": ready, "terminating": false},
                "nodeName": pod["spec"]["nodeName"],
                "targetRef": reference(pod),
            })
        })
        .collect();
    let ports = ports(service, members.first());
    let uid = text(service, "metadata.uid");
    let found = cluster
        .store
        .owned(SLICES, &key.namespace, uid)
        .map(|(name, _)| Key::new(SLICES, key.namespace.clone(), name.clone()))
        .next();
    if let Some(slice) = found {
        cluster.modify(&slice, |slice| {
            slice["endpoints"] = endpoints.into();
            slice["ports"] = ports;
        });
        return;
    }
    let slice = json!({
        "metadata": {
            "generateName": format!("{}-", key.name),
            "labels": {
                "kubernetes.io/service-name": key.name.as_ref(),
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [pods::owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    });
    let _ = cluster.create(SLICES, &key.namespace, slice);
}

fn reference(pod: &Value) -> Value {
    json!({
        "kind": "Pod",
        "namespace": pod["metadata"]["namespace"],
        "name": pod["metadata"]["name"],
        "uid": pod["metadata"]["uid"],
    })
}

/// The Service's ports as the pods have them.
fn ports(service: &Value, pod: Option<&Arc<Value>>) -> Value {
    let named = |name: &str| {
        let containers = pod.map(|pod| list(pod, "spec.containers")).unwrap_or_default();
        containers
            .iter()
            .flat_map(|container| list(container, "ports"))
            .find(|port| text(port, "name") == name)
            .map(|port| port["containerPort"].clone())
    };
    list(service, "spec.ports")
        .iter()
        .map(|port| {
            let target = match &port["targetPort"] {
                Value::String(name) => named(name).unwrap_or_else(|| port["port"].clone()),
                number => number.clone(),
            };
            let mut written = json!({"port": target, "protocol": port["protocol"]});
            written["name"] = port.get("name").cloned().unwrap_or_else(|| "".into());
            written
        })
        .collect()
}
