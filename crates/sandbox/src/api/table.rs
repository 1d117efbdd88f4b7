//! Tables, as `kubectl get` shows them. Owns the columns of the kinds that people look at; others have a name and an age.

use crate::kinds::Kind;
use crate::object::{condition, flag, get, int, list, terminating, text};
use crate::selector::Labels;
use crate::store::Kept;
use crate::time;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A column: its name, and what it shows of an object.
type Column = (&'static str, fn(&Value) -> Value);

/// The columns of a kind: those before the age, and those after it that only a wide table shows.
type Columns = (&'static [Column], &'static [Column]);

pub(super) fn of(kind: &Kind, items: &[&Kept], version: &str, now: Timestamp) -> Value {
    let (columns, wide) = columns(&kind.stored());
    let described = |name: &str, format: &str, priority: u8| json!({"name": name, "type": "string", "format": format, "description": "", "priority": priority});
    let mut definitions = vec![described("Name", "name", 0)];
    definitions.extend(columns.iter().map(|(name, _)| described(name, "", 0)));
    definitions.push(described("Age", "", 0));
    definitions.extend(wide.iter().map(|(name, _)| described(name, "", 1)));
    let rows: Vec<Value> = items
        .iter()
        .map(|kept| {
            let item = &*kept.object;
            let mut cells = vec![item["metadata"]["name"].clone()];
            cells.extend(columns.iter().map(|(_, cell)| cell(item)));
            cells.push(age(item, now).into());
            cells.extend(wide.iter().map(|(_, cell)| cell(item)));
            json!({
                "cells": cells,
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": kept.whole()["metadata"],
                },
            })
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn columns(resource: &str) -> Columns {
    fn number(item: &Value, path: &str) -> Value {
        int(item, path).unwrap_or(0).into()
    }
    const CONTAINERS: Column = ("Containers", |item| named(item, "name"));
    const IMAGES: Column = ("Images", |item| named(item, "image"));
    const SELECTOR: Column = ("Selector", |item| {
        Labels::of(get(item, "spec.selector")).written().into()
    });
    match resource {
        "pods" => (
            &[
                ("Ready", pod_ready),
                ("Status", |pod| pod_status(pod).into()),
                ("Restarts", |pod| {
                    list(pod, "status.containerStatuses")
                        .iter()
                        .filter_map(|status| int(status, "restartCount"))
                        .sum::<i64>()
                        .into()
                }),
            ],
            &[
                ("IP", |pod| or_none(text(pod, "status.podIP"))),
                ("Node", |pod| or_none(text(pod, "spec.nodeName"))),
                ("Nominated Node", |pod| {
                    or_none(text(pod, "status.nominatedNodeName"))
                }),
                ("Readiness Gates", |_| or_none("")),
            ],
        ),
        "deployments.apps" => (
            &[
                ("Ready", |item| ready_of(item, "status.readyReplicas")),
                ("Up-to-date", |item| number(item, "status.updatedReplicas")),
                ("Available", |item| number(item, "status.availableReplicas")),
            ],
            &[CONTAINERS, IMAGES, SELECTOR],
        ),
        "replicasets.apps" => (
            &[
                ("Desired", |item| number(item, "spec.replicas")),
                ("Current", |item| number(item, "status.replicas")),
                ("Ready", |item| number(item, "status.readyReplicas")),
            ],
            &[CONTAINERS, IMAGES, SELECTOR],
        ),
        "statefulsets.apps" => (
            &[("Ready", |item| ready_of(item, "status.readyReplicas"))],
            &[CONTAINERS, IMAGES],
        ),
        "daemonsets.apps" => (
            &[
                ("Desired", |item| number(item, "status.desiredNumberScheduled")),
                ("Current", |item| number(item, "status.currentNumberScheduled")),
                ("Ready", |item| number(item, "status.numberReady")),
                ("Up-to-date", |item| number(item, "status.updatedNumberScheduled")),
                ("Available", |item| number(item, "status.numberAvailable")),
                ("Node Selector", |item| {
                    let selector = get(item, "spec.template.spec.nodeSelector");
                    or_none(&Labels::pairs(selector).written())
                }),
            ],
            &[CONTAINERS, IMAGES, SELECTOR],
        ),
        "controllerrevisions.apps" => (
            &[
                ("Controller", |item| {
                    let owner = crate::object::controller(item);
                    let told = owner.map(|owner| {
                        let kind = text(owner, "kind").to_lowercase();
                        format!("{kind}.apps/{}", text(owner, "name"))
                    });
                    or_none(&told.unwrap_or_default())
                }),
                ("Revision", |item| number(item, "revision")),
            ],
            &[],
        ),
        "services" => (
            &[
                ("Type", |item| text(item, "spec.type").into()),
                ("Cluster-IP", |item| or_none(text(item, "spec.clusterIP"))),
                ("External-IP", external),
                ("Port(s)", ports),
            ],
            &[("Selector", |item| {
                or_none(&Labels::pairs(get(item, "spec.selector")).written())
            })],
        ),
        "namespaces" => (&[("Status", |item| text(item, "status.phase").into())], &[]),
        "nodes" => (&[("Status", |item| node_status(item).into())], &[]),
        "events" => (
            &[
                ("Type", |item| text(item, "type").into()),
                ("Reason", |item| text(item, "reason").into()),
                ("Object", |item| {
                    let about = get(item, "involvedObject").cloned().unwrap_or_default();
                    format!("{}/{}", text(&about, "kind").to_lowercase(), text(&about, "name")).into()
                }),
                ("Message", |item| text(item, "message").into()),
            ],
            &[],
        ),
        "jobs.batch" => (
            &[
                ("Status", job_status),
                ("Completions", |item| {
                    let done = int(item, "status.succeeded").unwrap_or(0);
                    format!("{done}/{}", int(item, "spec.completions").unwrap_or(1)).into()
                }),
            ],
            &[CONTAINERS, IMAGES, SELECTOR],
        ),
        "horizontalpodautoscalers.autoscaling" => (
            &[
                ("Reference", |item| {
                    let target = "spec.scaleTargetRef";
                    let of = |field: &str| text(item, &format!("{target}.{field}"));
                    format!("{}/{}", of("kind"), of("name")).into()
                }),
                ("Targets", |item| targets(item).into()),
                ("MinPods", |item| {
                    int(item, "spec.minReplicas").map_or("<unset>".into(), |least| least.to_string().into())
                }),
                ("MaxPods", |item| number(item, "spec.maxReplicas")),
                ("Replicas", |item| number(item, "status.currentReplicas")),
            ],
            &[],
        ),
        "configmaps" => (&[("Data", data)], &[]),
        "secrets" => (&[("Type", |item| text(item, "type").into()), ("Data", data)], &[]),
        _ => (&[], &[]),
    }
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>" } else { text }.into()
}

/// What the template's containers say in a field, one beside the other.
fn named(item: &Value, field: &str) -> Value {
    let all: Vec<&str> = list(item, "spec.template.spec.containers")
        .iter()
        .map(|container| text(container, field))
        .collect();
    all.join(",").into()
}

fn data(item: &Value) -> Value {
    get(item, "data")
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len)
        .into()
}

/// What an autoscaler sees and wants, the first two metrics of it: `cpu: 40%/80%, 12/10`.
/// Source: `formatHPAMetrics` in kubernetes/pkg/printers/internalversion.
fn targets(autoscaler: &Value) -> String {
    const SHOWN: usize = 2;
    let (wanted, seen) = (
        list(autoscaler, "spec.metrics"),
        list(autoscaler, "status.currentMetrics"),
    );
    let told: Vec<String> = wanted
        .iter()
        .enumerate()
        .take(SHOWN)
        .map(|(at, metric)| target(metric, seen.get(at).unwrap_or(&Value::Null)))
        .collect();
    let told = told.join(", ");
    match wanted.len() {
        0 => "<none>".to_owned(),
        more if more > SHOWN => format!("{told} + {} more...", more - SHOWN),
        _ => told,
    }
}

fn target(metric: &Value, seen: &Value) -> String {
    let (field, name) = match text(metric, "type") {
        "Resource" => ("resource", text(metric, "resource.name")),
        "ContainerResource" => ("containerResource", text(metric, "containerResource.name")),
        "Pods" => ("pods", ""),
        "External" => ("external", ""),
        _ => ("object", ""),
    };
    let value = |of: &Value, what: &str| match get(of, what) {
        Some(Value::Number(number)) => format!("{number}%"),
        Some(Value::String(quantity)) => quantity.clone(),
        _ => "<unknown>".to_owned(),
    };
    let by = ["averageUtilization", "averageValue", "value"]
        .into_iter()
        .find(|by| get(metric, &format!("{field}.target.{by}")).is_some())
        .unwrap_or("value");
    let now = value(seen, &format!("{field}.current.{by}"));
    let wanted = value(metric, &format!("{field}.target.{by}"));
    let averaged = by == "averageValue" && matches!(field, "external" | "object");
    let named = if name.is_empty() {
        String::new()
    } else {
        format!("{name}: ")
    };
    format!("{named}{now}/{wanted}{}", if averaged { " (avg)" } else { "" })
}

fn external(service: &Value) -> Value {
    match text(service, "spec.type") {
        "ExternalName" => text(service, "spec.externalName").into(),
        "LoadBalancer" => "<pending>".into(),
        _ => or_none(""),
    }
}

fn ports(service: &Value) -> Value {
    let told: Vec<String> = list(service, "spec.ports")
        .iter()
        .map(|port| {
            let number = int(port, "port").unwrap_or(0);
            let outside = int(port, "nodePort").map_or_else(String::new, |outside| format!(":{outside}"));
            format!("{number}{outside}/{}", text(port, "protocol"))
        })
        .collect();
    or_none(&told.join(","))
}

fn job_status(job: &Value) -> Value {
    let holds = |kind: &str| condition(job, kind).is_some_and(|found| text(found, "status") == "True");
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if terminating(job) {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else {
        "Running"
    }
    .into()
}

fn ready_of(item: &Value, field: &str) -> Value {
    let ready = int(item, field).unwrap_or(0);
    format!("{ready}/{}", int(item, "spec.replicas").unwrap_or(0)).into()
}

fn pod_ready(pod: &Value) -> Value {
    let ready = list(pod, "status.containerStatuses")
        .iter()
        .filter(|status| flag(status, "ready"))
        .count();
    format!("{ready}/{}", list(pod, "spec.containers").len()).into()
}

fn pod_status(pod: &Value) -> String {
    if terminating(pod) {
        return "Terminating".to_owned();
    }
    let reason = |status: &Value| {
        let said = |path: &str| {
            Some(text(status, path))
                .filter(|said| !said.is_empty())
                .map(str::to_owned)
        };
        said("state.waiting.reason").or_else(|| said("state.terminated.reason"))
    };
    let init = list(pod, "status.initContainerStatuses")
        .iter()
        .find(|status| !flag(status, "ready"))
        .and_then(reason)
        .map(|reason| format!("Init:{reason}"));
    let main = || list(pod, "status.containerStatuses").iter().find_map(reason);
    init.or_else(main)
        .unwrap_or_else(|| text(pod, "status.phase").to_owned())
}

fn node_status(node: &Value) -> String {
    let ready = condition(node, "Ready").is_some_and(|ready| text(ready, "status") == "True");
    let told = if ready { "Ready" } else { "NotReady" };
    if flag(node, "spec.unschedulable") {
        format!("{told},SchedulingDisabled")
    } else {
        told.to_owned()
    }
}

/// As kubectl writes ages: the largest units that matter.
fn age(item: &Value, now: Timestamp) -> String {
    let Some(created) = time::parsed(text(item, "metadata.creationTimestamp")) else {
        return "<unknown>".to_owned();
    };
    let seconds = now.duration_since(created).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{}m{}s", seconds / 60, seconds % 60),
        600..10_800 => format!("{}m", seconds / 60),
        10_800..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
