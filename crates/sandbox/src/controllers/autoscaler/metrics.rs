//! What an autoscaler measures: cpu and requests of its target's pods, as the traffic gives them, or as they were measured
//! where the objects come from. Owns the arithmetic of the count; without either there is no metrics server, as on a real
//! cluster that has none.

use crate::api::admission::requested;
use crate::cluster::Cluster;
use crate::controllers::pods;
use crate::object::{condition, get, int, list, text};
use crate::quantity::Quantity;
use crate::selector::Labels;
use crate::store::Key;
use serde_json::{Value, json};
use std::sync::Arc;

/// How far from its target a metric may be before anything is done. Source:
/// `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
/// The one metric of pods that the traffic gives.
const REQUESTS: &str = "http_requests_per_second";

/// What all metrics together recommend.
pub(super) struct Measured {
    pub(super) replicas: i64,
    /// The metric that recommends it, as conditions and events name it.
    pub(super) by: String,
    /// `status.currentMetrics`
    pub(super) told: Vec<Value>,
}

/// Why nothing can be recommended.
pub(super) struct Unmeasured {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// What could not be had.
    pub(super) named: String,
    pub(super) invalid: usize,
}

/// What the pods of a target bear together, in thousandths, of each of its autoscaler's metrics.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Load(Vec<f64>);

impl Load {
    /// What an autoscaler has measured by its own status, on so many pods that were ready.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) fn measured(autoscaler: &Value, ready: usize) -> Result<Self, String> {
        let measures = condition(autoscaler, "ScalingActive");
        if let Some(measures) = measures.filter(|measures| text(measures, "status") != "True") {
            return Err(format!("it measures nothing ({})", text(measures, "reason")));
        }
        if ready == 0 {
            return Err("no pod of its target is ready".to_owned());
        }
        let metrics = list(autoscaler, "spec.metrics").iter();
        let current = list(autoscaler, "status.currentMetrics").iter().map(Some);
        let loads = metrics
            .zip(current.chain(std::iter::repeat(None)))
            .map(|(metric, current)| {
                let average = match text(metric, "type") {
                    "Resource" if text(metric, "resource.name") == "cpu" => "resource.current.averageValue",
                    "Resource" => {
                        return Err(format!(
                            "what {} its pods bear is not shared",
                            text(metric, "resource.name")
                        ));
                    }
                    "Pods" => "pods.current.averageValue",
                    other => return Err(format!("metrics of type {other} come from elsewhere")),
                };
                let average = current
                    .and_then(|current| get(current, average))
                    .and_then(Quantity::of);
                let average = average.ok_or("it has not measured anything yet")?;
                Ok(average.thousandths() * ready as f64)
            });
        loads.collect::<Result<_, _>>().map(Self)
    }
}

/// How many pods of a target are ready.
pub(super) fn ready(cluster: &Cluster, target: &Value) -> usize {
    let ready = members(cluster, target);
    ready.iter().filter(|pod| pods::is_ready(pod)).count()
}

fn members(cluster: &Cluster, target: &Value) -> Vec<Arc<Value>> {
    let selector = Labels::of(get(target, "spec.selector"));
    cluster
        .store
        .iter("pods", text(target, "metadata.namespace"))
        .filter(|(_, pod)| selector.matches(pod) && pods::is_active(pod))
        .map(|(_, pod)| pod.clone())
        .collect()
}

/// The highest recommendation of all metrics. One that cannot be had keeps from scaling down, and alone from all.
pub(super) fn measured(
    cluster: &Cluster,
    key: &Key,
    autoscaler: &Value,
    target: &Value,
    current: i64,
) -> Result<Measured, Unmeasured> {
    let members = members(cluster, target);
    let load = super::load(cluster, key);
    let mut best: Option<Measured> = None;
    let mut told = Vec::new();
    let mut first = None;
    let mut invalid = 0;
    for (place, metric) in list(autoscaler, "spec.metrics").iter().enumerate() {
        let borne = load.and_then(|load| load.0.get(place).copied());
        let looked = Looked {
            cluster,
            members: &members,
            borne,
            current,
        };
        match looked.at(metric) {
            Ok(measured) => {
                told.extend(measured.told.iter().cloned());
                if best.as_ref().is_none_or(|best| measured.replicas > best.replicas) {
                    best = Some(measured);
                }
            }
            Err(why) => {
                invalid += 1;
                told.push(json!({"type": ""}));
                first.get_or_insert(why);
            }
        }
    }
    match (best, first) {
        (Some(best), None) => Ok(Measured { told, ..best }),
        (Some(best), Some(_)) if best.replicas >= current => Ok(Measured { told, ..best }),
        (_, Some(why)) => Err(Unmeasured { invalid, ..why }),
        (None, None) => Ok(Measured {
            replicas: current,
            by: String::new(),
            told,
        }),
    }
}

/// What is looked at for one metric.
struct Looked<'a> {
    cluster: &'a Cluster,
    /// All pods of the target that are not over.
    members: &'a [Arc<Value>],
    /// What these bear together, where it is not the traffic that says so.
    borne: Option<f64>,
    current: i64,
}

impl Looked<'_> {
    fn at(&self, metric: &Value) -> Result<Measured, Unmeasured> {
        match text(metric, "type") {
            "Resource" if text(metric, "resource.name") == "cpu" => cpu(self, metric),
            "Resource" => Err(no_resource(text(metric, "resource.name"), metric)),
            "Pods" => requests(self, metric),
            other => Err(Unmeasured {
                reason: if other == "External" {
                    "FailedGetExternalMetric"
                } else {
                    "FailedGetObjectMetric"
                },
                message: format!("the sandbox has no metrics of type {other}"),
                named: format!("{} metric value", other.to_lowercase()),
                invalid: 1,
            }),
        }
    }

    /// What all pods bear that are ready, in thousandths; `of` says what one does by the traffic.
    fn usage(&self, ready: &[&Arc<Value>], of: impl Fn(&Value) -> f64) -> f64 {
        self.borne
            .unwrap_or_else(|| ready.iter().map(|pod| 1000.0 * of(pod)).sum())
    }

    fn measures(&self) -> bool {
        self.borne.is_some() || !self.cluster.options.traffic.is_empty()
    }
}

fn no_resource(name: &str, metric: &Value) -> Unmeasured {
    let what = if text(metric, "resource.target.type") == "Utilization" {
        format!("{name} utilization")
    } else {
        format!("{name} usage")
    };
    Unmeasured {
        reason: "FailedGetResourceMetric",
        message: format!(
            "failed to get {what}: unable to get metrics for resource {name}: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
        ),
        named: format!("{name} resource metric value"),
        invalid: 1,
    }
}

/// How many pods it takes, by how far the sum is from what the pods are to have.
///
/// Those that are not ready count as idle where more are wanted, and not at all where fewer are.
fn replicas(usage: f64, each: f64, ready: usize, unready: usize, current: i64) -> i64 {
    let ratio = |pods: usize| usage / (each * pods as f64);
    let near = |ratio: f64| (ratio - 1.0).abs() <= TOLERANCE;
    let first = ratio(ready);
    if near(first) {
        return current;
    }
    let pods = if first > 1.0 { ready + unready } else { ready };
    let second = ratio(pods);
    if pods != ready && (near(second) || second < 1.0) {
        return current;
    }
    // Amounts are whole thousandths in a real controller: what is a hair above a whole number is that number.
    let wanted = (second * pods as f64 - 1e-9).ceil() as i64;
    if (second < 1.0 && wanted > current) || (second > 1.0 && wanted < current) {
        current
    } else {
        wanted
    }
}

fn cpu(looked: &Looked<'_>, metric: &Value) -> Result<Measured, Unmeasured> {
    if !looked.measures() {
        return Err(no_resource("cpu", metric));
    }
    let none = |message: String| Unmeasured {
        message,
        ..no_resource("cpu", metric)
    };
    let (ready, unready): (Vec<_>, Vec<_>) = looked.members.iter().partition(|pod| pods::is_ready(pod));
    if ready.is_empty() {
        return Err(none(
            "failed to get cpu utilization: did not receive metrics for targeted pods (pods might be unready)".to_owned(),
        ));
    }
    // In thousandths of a cpu, as they are told.
    let usage = looked.usage(&ready, |pod| looked.cluster.cpu_of(pod));
    let average = usage / ready.len() as f64;
    let wanted = int(metric, "resource.target.averageUtilization");
    let (each, current_metric, by) = match wanted {
        Some(percent) => {
            let mut sum = 0.0;
            for pod in &ready {
                let amount = requested(pod, "requests", "cpu");
                if amount == Quantity::ZERO {
                    return Err(none(format!(
                        "failed to get cpu utilization: missing request for cpu in container {} of Pod {}",
                        text(&list(pod, "spec.containers")[0], "name"),
                        text(pod, "metadata.name")
                    )));
                }
                sum += amount.thousandths();
            }
            let request = sum / ready.len() as f64;
            let utilization = (100.0 * average / request) as i64;
            let told = json!({"averageUtilization": utilization, "averageValue": milli(average)});
            (
                request * percent as f64 / 100.0,
                told,
                "cpu resource utilization (percentage of request)",
            )
        }
        None => {
            let value = get(metric, "resource.target.averageValue").and_then(Quantity::of);
            let each = value.unwrap_or(Quantity::ZERO).thousandths();
            (each, json!({"averageValue": milli(average)}), "cpu resource")
        }
    };
    Ok(Measured {
        replicas: replicas(usage, each, ready.len(), unready.len(), looked.current),
        by: by.to_owned(),
        told: vec![json!({"type": "Resource", "resource": {"name": "cpu", "current": current_metric}})],
    })
}

fn requests(looked: &Looked<'_>, metric: &Value) -> Result<Measured, Unmeasured> {
    let name = text(metric, "pods.metric.name");
    let (ready, unready): (Vec<_>, Vec<_>) = looked.members.iter().partition(|pod| pods::is_ready(pod));
    let known = looked.borne.is_some() || name == REQUESTS;
    if !known || !looked.measures() || ready.is_empty() {
        return Err(Unmeasured {
            reason: "FailedGetPodsMetric",
            message: format!("unable to get metric {name}: no metrics returned from custom metrics API"),
            named: "pods metric value".to_owned(),
            invalid: 1,
        });
    }
    let rate = looked.usage(&ready, |pod| looked.cluster.requests_of(pod));
    let value = get(metric, "pods.target.averageValue").and_then(Quantity::of);
    let each = value.unwrap_or(Quantity::ZERO).thousandths();
    let average = json!({"averageValue": milli(rate / ready.len() as f64)});
    Ok(Measured {
        replicas: replicas(rate, each, ready.len(), unready.len(), looked.current),
        by: format!("pods metric {name}"),
        told: vec![json!({"type": "Pods", "pods": {"metric": {"name": name}, "current": average}})],
    })
}

/// Thousandths as an amount.
fn milli(thousandths: f64) -> String {
    Quantity::parse(&format!("{}m", thousandths.round() as i64))
        .unwrap_or(Quantity::ZERO)
        .to_string()
}
