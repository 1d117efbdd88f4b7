//! Who acts on a workload that an object of its own names: Flagger's Canaries, and VerticalPodAutoscalers. They leave no mark on
//! it. Reads objects; asks nobody.

use super::state;
use astern_model::target::{Target, WorkloadKind};
use astern_model::workload::{Owner, OwnerKind, OwnerState};
use serde_json::Value;

/// Flagger's Canaries: API group and version, and resource.
pub(in crate::look) const CANARIES: (&str, &str, &str) = ("flagger.app", "v1beta1", "canaries");
/// The same of VerticalPodAutoscalers.
pub(in crate::look) const POD_AUTOSCALERS: (&str, &str, &str) =
    ("autoscaling.k8s.io", "v1", "verticalpodautoscalers");

/// The objects of a namespace that name workloads.
#[derive(Clone, Copy)]
pub(in crate::look) struct Aimed<'a> {
    /// Flagger's Canaries.
    pub(in crate::look) canaries: &'a [Value],
    /// The VerticalPodAutoscalers.
    pub(in crate::look) pod_autoscalers: &'a [Value],
}

impl Aimed<'_> {
    /// Those that name this workload.
    pub(in crate::look) fn at(&self, target: &Target) -> Vec<Owner> {
        let named = |all: &[Value]| -> Vec<Value> {
            all.iter()
                .filter(|object| names(object, target))
                .cloned()
                .collect()
        };
        let canaries = named(self.canaries);
        let canaries = canaries.iter().filter_map(|canary| {
            Some(Owner {
                kind: OwnerKind::Canary,
                name: format!("canary/{}", name(canary)?),
                known_by: "its targetRef".to_owned(),
                state: state::suspended(canary).unwrap_or_else(|| releases(target)),
                object: None,
            })
        });
        let resizers = named(self.pod_autoscalers);
        let resizers = resizers.iter().filter_map(|resizer| {
            Some(Owner {
                kind: OwnerKind::PodAutoscaler,
                name: format!("verticalpodautoscaler/{}", name(resizer)?),
                known_by: "its targetRef".to_owned(),
                state: state::resizes(resizer)?,
                object: None,
            })
        });
        canaries.chain(resizers).collect()
    }

    /// A Canary that a mark leads to, with what its own object says.
    pub(in crate::look) fn told(&self, mut owner: Owner) -> Owner {
        let is_it = |canary: &&Value| {
            owner.kind == OwnerKind::Canary
                && name(canary).is_some_and(|name| owner.name == format!("canary/{name}"))
        };
        if let Some(suspended) = self.canaries.iter().find(is_it).and_then(state::suspended) {
            owner.state = suspended;
        }
        owner
    }
}

/// What Flagger does with its target: it scales it to zero once it is promoted. Source: Flagger, "How it works", Canary target.
fn releases(target: &Target) -> OwnerState {
    OwnerState::WritesBack {
        because: format!(
            "Flagger takes a template that changes for a new release and analyses it; what serves meanwhile is {target}-primary, \
             which Flagger writes"
        ),
    }
}

fn name(object: &Value) -> Option<&str> {
    object.pointer("/metadata/name")?.as_str()
}

fn names(object: &Value, target: &Target) -> bool {
    let text = |field: &str| {
        object
            .pointer(&format!("/spec/targetRef/{field}"))
            .and_then(Value::as_str)
    };
    let is_of_apps = text("apiVersion").is_none_or(|version| version.starts_with("apps/"));
    is_of_apps
        && text("kind").and_then(WorkloadKind::parse) == Some(target.kind)
        && text("name") == Some(&target.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(name: &str) -> Target {
        Target {
            kind: WorkloadKind::Deployment,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    fn aiming(name: &str, reference: Value, more: Value) -> Value {
        let mut object = json!({"metadata": {"name": name}, "spec": more});
        object["spec"]["targetRef"] = reference;
        object
    }

    fn api() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"})
    }

    #[test]
    fn a_canary_writes_what_it_names_and_what_it_made_of_that_until_it_is_suspended() {
        let check = |more: Value, writes: bool| {
            let canaries = [aiming("shop", api(), more)];
            let aimed = Aimed {
                canaries: &canaries,
                pod_autoscalers: &[],
            };
            let [target] = aimed.at(&deployment("api")).try_into().unwrap();
            let made = aimed.told(Owner {
                state: state::made_by_canary(),
                ..target.clone()
            });
            for owner in [target, made] {
                assert_eq!(owner.name, "canary/shop");
                let found = matches!(owner.state, OwnerState::WritesBack { .. });
                assert_eq!(found, writes, "{owner:?}");
            }
            assert_eq!(aimed.at(&deployment("web")), []);
        };
        check(json!({}), true);
        check(json!({"suspend": false}), true);
        check(json!({"suspend": true}), false);
    }

    #[test]
    fn a_pod_autoscaler_is_told_of_the_workload_that_it_names_where_it_does_more_than_recommend() {
        let check = |reference: Value, mode: Option<&str>, expected: Option<&str>| {
            let policy = mode.map_or(json!({}), |mode| json!({"updatePolicy": {"updateMode": mode}}));
            let all = [aiming("api-vpa", reference, policy)];
            let aimed = Aimed {
                canaries: &[],
                pod_autoscalers: &all,
            };
            let found = aimed.at(&deployment("api")).into_iter().next();
            let said = found.map(|owner| match owner.state {
                OwnerState::Passive { because } => because,
                other => panic!("{other:?}"),
            });
            assert_eq!(said.as_deref(), expected);
        };
        check(api(), Some("Off"), None);
        check(api(), Some("Initial"), Some("updateMode Initial: as they start"));
        check(
            api(),
            Some("Recreate"),
            Some("updateMode Recreate: as they start, and of those that run"),
        );
        check(
            api(),
            None,
            Some("updateMode is not set: as they start, and of those that run"),
        );
        let of_another_kind = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "api"});
        check(of_another_kind, Some("Recreate"), None);
        let of_another_group = json!({"apiVersion": "shop.test/v1", "kind": "Deployment", "name": "api"});
        check(of_another_group, Some("Recreate"), None);
    }
}
