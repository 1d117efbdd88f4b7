//! What a rollout asks of a quota: a pod's requests, and how many pods stand above the count while it rolls. Decides
//! nothing.

use crate::quantity::Quantity;
use astern_model::target::WorkloadKind;
use astern_model::template::Template;
use astern_model::workload::{Strategy, Workload};
use serde_json::Value;

/// What Deployments do where they say nothing. Source: `apps/v1` RollingUpdateDeployment.
const DEPLOYMENT_DEFAULT: &str = "25%";

/// A resource that a quota limits for pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// The pods themselves.
    Pods,
    /// The sum of their requests of this.
    Requests(&'a str),
    /// The sum of their limits of this.
    Limits(&'a str),
}

impl<'a> Resource<'a> {
    /// Reads a quota's key; none for what pods do not use up, such as `services` or `requests.storage`.
    /// Source: <https://kubernetes.io/docs/concepts/policy/resource-quotas/>.
    pub(crate) fn parse(key: &'a str) -> Option<Self> {
        match key {
            "pods" | "count/pods" => Some(Self::Pods),
            "cpu" | "memory" | "ephemeral-storage" => Some(Self::Requests(key)),
            "requests.storage" => None,
            _ if key.contains(".storageclass.storage.k8s.io/") => None,
            _ => match key.split_once('.')? {
                ("requests", name) => Some(Self::Requests(name)),
                ("limits", name) => Some(Self::Limits(name)),
                _ => None,
            },
        }
    }

    /// Whether it is counted in bytes.
    pub(crate) fn is_bytes(self) -> bool {
        match self {
            Self::Pods => false,
            Self::Requests(name) | Self::Limits(name) => {
                matches!(name, "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
            }
        }
    }
}

/// What one pod of the template uses of a resource, as the quota counts it: the larger of all containers that run
/// together and of any init container while it runs, or what the pod itself states. A quantity that cannot be read
/// counts as nothing: the server-side dry run refuses it.
/// Source: <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>.
pub(crate) fn of_pod(template: &Template, resource: Resource<'_>) -> Quantity {
    if resource == Resource::Pods {
        return Quantity::ONE;
    }
    let (mut running, mut peak) = (Quantity::ZERO, Quantity::ZERO);
    for container in template.containers() {
        let amount = of_resources(container.json.get("resources"), resource).unwrap_or_default();
        let restarts = container.json.get("restartPolicy").and_then(Value::as_str) == Some("Always");
        if container.init && !restarts {
            peak = peak.max(running.plus(amount));
        } else {
            running = running.plus(amount);
        }
    }
    let spec = template.json().get("spec");
    let stated = of_resources(spec.and_then(|spec| spec.get("resources")), resource);
    stated.unwrap_or(running.max(peak)).plus(overhead(spec, resource))
}

/// Pods above and below the count while a workload rolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rolling {
    /// Above.
    pub(crate) surge: u32,
    /// Below.
    pub(crate) unavailable: u32,
}

impl Rolling {
    /// As the controllers resolve it: surge rounds up, unavailable rounds down, and a Deployment with neither takes
    /// one pod away at a time.
    pub(crate) fn of(workload: &Workload) -> Self {
        let count = workload.desired;
        let (max_surge, max_unavailable) = match &workload.strategy {
            Strategy::RollingUpdate {
                max_surge,
                max_unavailable,
                ..
            }
            | Strategy::Canary {
                max_surge,
                max_unavailable,
                ..
            } => (max_surge, max_unavailable),
            // All pods of the new version are made beside the former ones.
            Strategy::BlueGreen { .. } => {
                return Self {
                    surge: count,
                    unavailable: 0,
                };
            }
            Strategy::Recreate | Strategy::OnDelete => {
                return Self {
                    surge: 0,
                    unavailable: count,
                };
            }
        };
        // With a router the stable version keeps all of its pods while the new one is made.
        if matches!(workload.strategy, Strategy::Canary { routed: true, .. }) {
            return Self {
                surge: count,
                unavailable: 0,
            };
        }
        let resolve = |written: &Option<String>, default: &str, up: bool| {
            share(written.as_deref().unwrap_or(default), count, up).unwrap_or_default()
        };
        match workload.target.kind {
            WorkloadKind::Deployment | WorkloadKind::Rollout => {
                let surge = resolve(max_surge, DEPLOYMENT_DEFAULT, true);
                let unavailable = resolve(max_unavailable, DEPLOYMENT_DEFAULT, false);
                let unavailable = if surge == 0 {
                    unavailable.max(1)
                } else {
                    unavailable
                };
                Self {
                    surge,
                    unavailable: unavailable.min(count),
                }
            }
            WorkloadKind::DaemonSet => {
                let unavailable = resolve(max_unavailable, "1", true);
                Self {
                    surge: resolve(max_surge, "0", true),
                    unavailable,
                }
            }
            // A StatefulSet's pod is deleted before its successor is made.
            WorkloadKind::StatefulSet => Self {
                surge: 0,
                unavailable: 1,
            },
        }
    }
}

/// `25%` of a count, or a plain number.
fn share(written: &str, count: u32, up: bool) -> Option<u32> {
    let Some(percent) = written.strip_suffix('%') else {
        return written.parse().ok();
    };
    let parts = u64::from(count) * percent.parse::<u64>().ok()?;
    let whole = if up { parts.div_ceil(100) } else { parts / 100 };
    u32::try_from(whole).ok()
}

/// The amount in a `resources` object. A container that states a limit and no request asks for the limit.
fn of_resources(resources: Option<&Value>, resource: Resource<'_>) -> Option<Quantity> {
    let resources = resources?;
    let of = |section: &str, name: &str| quantity(resources.get(section)?.get(name)?);
    match resource {
        Resource::Pods => None,
        Resource::Requests(name) => of("requests", name).or_else(|| of("limits", name)),
        Resource::Limits(name) => of("limits", name),
    }
}

/// What the RuntimeClass adds, which counts as request and limit.
fn overhead(spec: Option<&Value>, resource: Resource<'_>) -> Quantity {
    let (Resource::Requests(name) | Resource::Limits(name)) = resource else {
        return Quantity::ZERO;
    };
    let stated = spec
        .and_then(|spec| spec.get("overhead")?.get(name))
        .and_then(quantity);
    stated.unwrap_or_default()
}

/// A quantity as JSON may hold it: text, or a bare number.
fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use serde_json::json;

    #[test]
    fn a_pod_uses_what_a_quota_counts_for_it() {
        let check = |spec: Value, key: &str, told: &str| {
            let resource = Resource::parse(key).unwrap();
            let template = Template::clean(json!({ "spec": spec }));
            assert_eq!(
                of_pod(&template, resource).text(resource.is_bytes()),
                told,
                "{key}"
            );
        };
        let container = |request: Value| json!({"resources": {"requests": request}});
        let two = json!({"containers": [container(json!({"cpu": "100m"})), container(json!({"cpu": 1}))]});
        check(two.clone(), "requests.cpu", "1100m");
        check(two.clone(), "cpu", "1100m");
        check(two.clone(), "pods", "1");
        check(two.clone(), "count/pods", "1");
        check(two, "requests.memory", "0");
        let limits = json!({"containers": [{"resources": {"limits": {"memory": "64Mi"}}}]});
        check(limits.clone(), "memory", "64Mi");
        check(limits, "limits.memory", "64Mi");
        let init = json!({
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"resources": {"requests": {"cpu": "500m"}}}],
            "containers": [container(json!({"cpu": "300m"}))],
            "overhead": {"cpu": "50m"}});
        check(init, "requests.cpu", "650m");
        let stated =
            json!({"resources": {"requests": {"cpu": "2"}}, "containers": [container(json!({"cpu": "1"}))]});
        check(stated, "requests.cpu", "2");
    }

    #[test]
    fn a_quota_on_what_pods_do_not_use_up_is_no_concern_of_a_rollout() {
        for key in [
            "services",
            "configmaps",
            "count/deployments.apps",
            "requests.storage",
            "persistentvolumeclaims",
        ] {
            assert_eq!(Resource::parse(key), None, "{key}");
        }
        assert_eq!(
            Resource::parse("gold.storageclass.storage.k8s.io/requests.storage"),
            None
        );
        assert_eq!(
            Resource::parse("requests.nvidia.com/gpu"),
            Some(Resource::Requests("nvidia.com/gpu"))
        );
    }

    #[test]
    fn surge_rounds_up_and_unavailable_rounds_down() {
        let check = |surge: Option<&str>, unavailable: Option<&str>, desired: u32, expected: (u32, u32)| {
            let mut fixture = Fixture::sound();
            let workload = fixture.workload();
            workload.desired = desired;
            workload.strategy = Strategy::RollingUpdate {
                max_surge: surge.map(str::to_owned),
                max_unavailable: unavailable.map(str::to_owned),
                partition: 0,
                ordered: false,
            };
            let rolling = Rolling::of(workload);
            assert_eq!(
                (rolling.surge, rolling.unavailable),
                expected,
                "{surge:?} {unavailable:?} {desired}"
            );
        };
        check(None, None, 3, (1, 0));
        check(None, None, 4, (1, 1));
        check(Some("1"), Some("0"), 3, (1, 0));
        check(Some("0"), Some("0"), 3, (0, 1));
        check(Some("0%"), Some("10%"), 3, (0, 1));
        check(Some("100%"), Some("50%"), 5, (5, 2));
        check(None, None, 0, (0, 0));
    }
}
