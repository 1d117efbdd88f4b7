//! What owners' own objects say: whether they write now, what is theirs, and whether their source is what runs. Reads
//! objects; asks nobody.

use astern_model::owner::{InSync, PausableKind, Paused};
use astern_model::target::{Target, WorkloadKind};
use astern_model::workload::OwnerState;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const ARGO_SKIP: &str = "argocd.argoproj.io/skip-reconcile";

/// The workloads that an Application names as its own. Source: Argo CD's `ApplicationStatus.resources`.
pub(in crate::look) fn resources(object: &Value) -> BTreeSet<Target> {
    let listed = object.pointer("/status/resources").and_then(Value::as_array);
    let target = |resource: &Value| {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        let kind = WorkloadKind::parse(text("kind")?)?;
        (text("group") == Some(kind.group())).then_some(())?;
        Some(Target {
            kind,
            namespace: text("namespace")?.to_owned(),
            name: text("name")?.to_owned(),
        })
    };
    listed.into_iter().flatten().filter_map(target).collect()
}

/// Source: <https://argo-cd.readthedocs.io/en/stable/user-guide/auto_sync/>.
pub(super) fn application(object: &Value) -> OwnerState {
    let phase = object
        .pointer("/status/operationState/phase")
        .and_then(Value::as_str);
    if matches!(phase, Some("Running" | "Terminating"))
        || object
            .get("operation")
            .is_some_and(|operation| !operation.is_null())
    {
        return OwnerState::Busy {
            operation: "a sync is running".to_owned(),
        };
    }
    let skips = object
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(ARGO_SKIP))
        .and_then(Value::as_str);
    let automated = object
        .pointer("/spec/syncPolicy/automated")
        .filter(|automated| !automated.is_null());
    let flag = |name: &str| {
        automated
            .and_then(|automated| automated.get(name))
            .and_then(Value::as_bool)
    };
    let writes = |because: &str| OwnerState::WritesBack {
        because: because.to_owned(),
    };
    match automated {
        None if let Some(paused) = Paused::on(object) => by_run(&paused),
        _ if skips == Some("true") => passive("annotation argocd.argoproj.io/skip-reconcile: true"),
        None => passive("syncPolicy.automated is not set"),
        Some(_) if flag("enabled") == Some(false) => passive("automated.enabled: false"),
        Some(_) if flag("selfHeal") == Some(true) => writes("automated.selfHeal: true"),
        Some(_) => writes("automated: it writes at the next commit, whatever that changes"),
    }
}

/// Source: <https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/Controlling-Resource-Modification/>.
pub(super) fn application_set(object: &Value) -> OwnerState {
    let policy = object
        .pointer("/spec/syncPolicy/applicationsSync")
        .and_then(Value::as_str);
    match (policy, Paused::on(object)) {
        (Some("create-only"), Some(paused)) => by_run(&paused),
        (Some(policy @ ("create-only" | "create-delete")), _) => {
            passive(&format!("applicationsSync: {policy}"))
        }
        _ => OwnerState::WritesBack {
            because: "it makes the application, and writes its settings again".to_owned(),
        },
    }
}

/// What makes jobs by the clock, or pods by load.
pub(super) fn starter(kind: PausableKind, object: &Value) -> OwnerState {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    if kind.setting_of(object) == kind.paused() {
        let paused = Paused::on(object);
        return paused.map_or_else(
            || passive(&kind.describe(&kind.paused())),
            |paused| by_run(&paused),
        );
    }
    let because = match kind {
        PausableKind::CronJob => format!("schedule {}", text("/spec/schedule").unwrap_or("unknown")),
        _ => "it scales by load, from zero as well".to_owned(),
    };
    OwnerState::WritesBack { because }
}

/// The workload that a ScaledObject scales. Source: KEDA's `ScaleTarget`, whose kind is Deployment unless it says otherwise.
pub(super) fn scales(kind: PausableKind, object: &Value) -> Option<Target> {
    let reference = object
        .pointer("/spec/scaleTargetRef")
        .filter(|_| kind == PausableKind::ScaledObject)?;
    let of = reference
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or("Deployment");
    Some(Target {
        kind: WorkloadKind::parse(of)?,
        namespace: object.pointer("/metadata/namespace")?.as_str()?.to_owned(),
        name: reference.get("name")?.as_str()?.to_owned(),
    })
}

/// A ClusterServiceVersion's deployment. Its installer compares a hash that it left in a label, not what is there: a template
/// that somebody else wrote stays until it installs again. Source: `operator-lifecycle-manager/pkg/controller/install`.
pub(super) fn olm() -> OwnerState {
    OwnerState::WritesBack {
        because:
            "it installs what that says again as soon as the deployment is not healthy, and at each upgrade"
                .to_owned(),
    }
}

/// What Flagger makes of a Canary's target, as long as nothing says otherwise.
pub(super) fn made_by_canary() -> OwnerState {
    OwnerState::WritesBack {
        because: "Flagger makes it from the workload that the Canary names, and writes it at each promotion"
            .to_owned(),
    }
}

/// Whether a Canary is suspended: Flagger then reconciles nothing of it. Source: Flagger, "How it works", Canary suspend.
pub(super) fn suspended(canary: &Value) -> Option<OwnerState> {
    let suspended = canary.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
    suspended.then(|| passive("spec.suspend: true"))
}

/// How a VerticalPodAutoscaler changes pods; none where it only recommends. A mode that is not set evicts. Source:
/// `PodUpdatePolicy` of `autoscaling.k8s.io/v1`.
pub(super) fn resizes(pod_autoscaler: &Value) -> Option<OwnerState> {
    let mode = pod_autoscaler
        .pointer("/spec/updatePolicy/updateMode")
        .and_then(Value::as_str)
        .filter(|mode| !mode.is_empty());
    match mode {
        Some("Off") => None,
        Some("Initial") => Some(passive("updateMode Initial: as they start")),
        Some(mode) => Some(passive(&format!(
            "updateMode {mode}: as they start, and of those that run"
        ))),
        None => Some(passive(
            "updateMode is not set: as they start, and of those that run",
        )),
    }
}

fn passive(because: &str) -> OwnerState {
    OwnerState::Passive {
        because: because.to_owned(),
    }
}

fn by_run(paused: &Paused) -> OwnerState {
    passive(&format!("run {} has paused it", paused.run))
}

/// What an Application says of its source beside what runs: Argo CD compares while it is paused as well.
pub(super) fn in_sync(object: &Value) -> Option<InSync> {
    let revisions = object.pointer("/status/sync/revisions").and_then(Value::as_array);
    let first = revisions.and_then(|all| all.first()?.as_str());
    let revision = object
        .pointer("/status/sync/revision")
        .and_then(Value::as_str)
        .filter(|revision| !revision.is_empty());
    let revision = revision.or(first).unwrap_or("an unnamed revision").to_owned();
    match object.pointer("/status/sync/status").and_then(Value::as_str)? {
        "Synced" => Some(InSync::Yes { revision }),
        "OutOfSync" => Some(InSync::No {
            says: format!("OutOfSync at {revision}{}", differing(object)),
        }),
        _ => None,
    }
}

/// `: Deployment api, ConfigMap app-config`.
fn differing(object: &Value) -> String {
    let listed = object.pointer("/status/resources").and_then(Value::as_array);
    let differs = |resource: &Value| {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        (text("status") == Some("OutOfSync")).then(|| Some(format!("{} {}", text("kind")?, text("name")?)))?
    };
    let names: Vec<String> = listed.into_iter().flatten().filter_map(differs).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(": {}", names.join(", "))
    }
}

/// Source: <https://fluxcd.io/flux/components/kustomize/kustomizations/#suspend>.
pub(super) fn flux(object: &Value) -> OwnerState {
    if object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        let paused = Paused::on(object);
        return paused.map_or_else(|| passive("spec.suspend: true"), |paused| by_run(&paused));
    }
    let interval = object
        .pointer("/spec/interval")
        .and_then(Value::as_str)
        .unwrap_or("its interval");
    OwnerState::WritesBack {
        because: format!("spec.suspend is not true, and it reconciles every {interval}"),
    }
}

pub(super) fn newest_release(labels: &[BTreeMap<String, String>]) -> OwnerState {
    let version =
        |labels: &&BTreeMap<String, String>| labels.get("version").and_then(|text| text.parse::<u64>().ok());
    match labels
        .iter()
        .max_by_key(version)
        .and_then(|labels| labels.get("status"))
    {
        Some(status) if status.starts_with("pending") || status == "uninstalling" => OwnerState::Busy {
            operation: format!("the newest revision is {status}"),
        },
        Some(_) => OwnerState::Passive {
            because: "it writes at the next upgrade".to_owned(),
        },
        None => OwnerState::Unknown {
            why: "none of its records lies in the release's namespace; Flux keeps them in that of the HelmRelease, or in its \
                  storageNamespace"
                .to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_application_writes_back_while_it_is_automated() {
        let check =
            |object: Value, expected: &str| assert_eq!(format!("{:?}", application(&object)), expected);
        check(
            json!({"spec": {"syncPolicy": {"automated": {"selfHeal": true}}}}),
            r#"WritesBack { because: "automated.selfHeal: true" }"#,
        );
        check(
            json!({"spec": {"syncPolicy": {"automated": {}}}}),
            r#"WritesBack { because: "automated: it writes at the next commit, whatever that changes" }"#,
        );
        check(
            json!({"spec": {"syncPolicy": {"automated": {"selfHeal": true, "enabled": false}}}}),
            r#"Passive { because: "automated.enabled: false" }"#,
        );
        check(
            json!({"spec": {}}),
            r#"Passive { because: "syncPolicy.automated is not set" }"#,
        );
        check(
            json!({"spec": {}, "operation": {"sync": {}}}),
            r#"Busy { operation: "a sync is running" }"#,
        );
    }

    #[test]
    fn helms_newest_revision_tells_whether_it_is_busy() {
        let labels = |version: &str, status: &str| {
            BTreeMap::from([
                ("version".to_owned(), version.to_owned()),
                ("status".to_owned(), status.to_owned()),
            ])
        };
        let busy = newest_release(&[labels("10", "pending-upgrade"), labels("9", "deployed")]);
        assert_eq!(
            busy,
            OwnerState::Busy {
                operation: "the newest revision is pending-upgrade".to_owned()
            }
        );
        assert!(matches!(
            newest_release(&[labels("9", "failed")]),
            OwnerState::Passive { .. }
        ));
        assert!(matches!(newest_release(&[]), OwnerState::Unknown { .. }));
    }
}
