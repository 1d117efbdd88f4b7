//! What the gate refuses before anything is changed, and what it lets pass with a warning.

use crate::manifest::{CRASHES, YES, crashing, deployment, pod, refused, says, workload};
use crate::support::{Place, kubeconfig};
use serde_json::{Value, json};
use std::process::Command;

fn with_config(mut template: Value, name: &str) -> Value {
    template["spec"]["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": name } }]);
    template
}

#[test]
fn a_pruned_configmap_that_the_old_template_refers_to_is_named_before_anything_is_changed() {
    let place = Place::new("pruned");
    place.platform("");
    for name in ["api-config-5f2k8c9h7d", "api-config-7m4t6b2g9k"] {
        place.kubectl(&["create", "configmap", name, "--from-literal=MODE=on"]);
    }
    place.roll_out(&deployment(
        "api",
        2,
        with_config(pod("api", "v1"), "api-config-5f2k8c9h7d"),
    ));
    place.put(&deployment(
        "api",
        2,
        with_config(crashing("api", "v2"), "api-config-7m4t6b2g9k"),
    ));
    place.until_it_crashes();
    place.kubectl(&["delete", "configmap", "api-config-5f2k8c9h7d"]);
    refused(&place, &["api-config-5f2k8c9h7d", "deployment/api"], |place| {
        place.roll_back(&[])
    });
}

/// api, of whose two pods none may be missing while it rolls.
fn strict(template: Value) -> Value {
    let mut object = deployment("api", 2, template);
    object["spec"]["strategy"] =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
    object
}

/// A quota that two pods use up.
fn tight_quota(place: &Place) {
    place.kubectl(&["create", "quota", "tight", "--hard=pods=2"]);
    place.until("the quota to be counted", 30, |place| {
        place.get("resourcequota/tight")["status"]["used"]["pods"] == "2"
    });
}

#[test]
fn a_quota_without_room_for_the_rollout_is_refused_with_its_name() {
    let place = Place::new("quota");
    place.platform("");
    place.roll_out(&strict(pod("api", "v1")));
    place.roll_out(&strict(pod("api", "v2")));
    place.kubectl(&["label", "pods", "--all", &format!("{CRASHES}=true")]);
    place.until_it_crashes();
    place.until("v1 to be gone", 30, |place| place.pods().len() == 2);
    tight_quota(&place);
    refused(&place, &["tight", "pods"], |place| place.roll_back(&[]));
}

#[test]
fn a_release_that_a_quota_itself_blocks_is_taken_back() {
    let place = Place::new("blocked");
    place.platform("");
    place.roll_out(&strict(pod("api", "v1")));
    tight_quota(&place);
    let before = place.pods();
    place.put(&strict(pod("api", "v2")));
    place.until("the quota to say no", 30, |place| {
        place.get("deployment/api")["status"]["conditions"]
            .as_array()
            .is_some_and(|conditions| conditions.iter().any(|is| is["type"] == "ReplicaFailure"))
    });
    let done = place.roll_back(&[]).expect(0);
    says(&done, &["exceeded quota: tight"]);
    assert_eq!(place.image("api"), "api:v1");
    assert_eq!(place.pods(), before, "pods that served were touched");
}

#[test]
fn a_full_quota_for_other_pods_is_no_obstacle() {
    let place = Place::new("scoped");
    place.platform("");
    place.roll_out(&strict(pod("api", "v1")));
    place.put(&strict(crashing("api", "v2")));
    place.until_it_crashes();
    place.kubectl(&["create", "quota", "jobs", "--hard=pods=0", "--scopes=Terminating"]);
    place.until("the quota to be counted", 30, |place| {
        place.get("resourcequota/jobs")["status"]["used"]["pods"] == "0"
    });
    let done = place.astern(&["plan"]).expect(0);
    assert!(!(done.out + &done.err).contains("quota"));
    place.roll_back(&[]).expect(0);
    assert_eq!(place.image("api"), "api:v1");
}

/// An admission policy for one namespace. It belongs to none, so it goes with the test.
pub(crate) struct Policy(String);

const FORBIDDEN: &str = "the platform team forbids it";

impl Policy {
    /// Only what `expression` holds of passes; `rule` is `GROUP/RESOURCE/OPERATION`. It holds once `tried` is refused.
    pub(crate) fn new(place: &Place, name: &str, rule: [&str; 3], expression: &str, tried: &[&str]) -> Self {
        let name = format!("{name}.{}", place.namespace);
        let [group, resource, operation] = rule;
        place.put(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [group], "apiVersions": ["v1"], "operations": [operation], "resources": [resource],
                }] },
                "validations": [{
                    "expression": expression,
                    "message": FORBIDDEN,
                    // A template is quoted, where there is one with a variable.
                    "messageExpression": format!("'{FORBIDDEN}, as of ' + object.spec.template.spec.containers[0].env[0].value"),
                }],
            },
        }));
        place.put(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name },
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": {
                    "matchLabels": { "kubernetes.io/metadata.name": place.namespace },
                } },
            },
        }));
        place.until("the policy to hold", 60, |place| {
            let tried = Command::new("kubectl")
                .args(["-n", &place.namespace])
                .args(tried)
                .arg("--dry-run=server")
                .env("KUBECONFIG", kubeconfig())
                .output()
                .unwrap();
            !tried.status.success()
        });
        Self(name)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            let _ = Command::new("kubectl")
                .args(["delete", kind, &self.0, "--wait=false"])
                .env("KUBECONFIG", kubeconfig())
                .output();
        }
    }
}

#[test]
fn a_policy_against_naked_pods_does_not_stand_in_the_way() {
    let place = Place::new("naked");
    place.platform("");
    place.bad_release("api", 1);
    let _policy = Policy::new(
        &place,
        "no-naked-pods",
        ["", "pods", "CREATE"],
        "has(object.metadata.ownerReferences)",
        &["run", "naked", "--image=naked"],
    );
    let done = place.astern(&["plan"]).expect(0);
    assert!(!(done.out + &done.err).contains("AST0217"));
}

#[test]
fn a_policy_against_resuming_refuses_before_the_template_is_written() {
    let place = Place::new("no-resume");
    place.platform("");
    place.bad_release("api", 1);
    place.kubectl(&["rollout", "pause", "deployment/api"]);
    let _policy = Policy::new(
        &place,
        "no-resume",
        ["apps", "deployments", "UPDATE"],
        "has(object.spec.paused) && object.spec.paused",
        &["patch", "deployment/api", "-p", r#"{"spec":{"paused":false}}"#],
    );
    refused(
        &place,
        &[
            "AST0217",
            "the resuming of deployment/api",
            "the platform team forbids it",
        ],
        |place| place.roll_back(&["--resume-paused", "api"]),
    );
}

#[test]
fn what_a_server_quotes_of_a_template_is_told_without_its_values() {
    let place = Place::new("quoted");
    place.platform("");
    let with_value = |mut template: Value| {
        template["spec"]["containers"][0]["env"] = json!([{ "name": "DSN", "value": "quoted-by-nobody" }]);
        template
    };
    place.roll_out(&deployment("api", 1, with_value(pod("api", "v1"))));
    place.put(&deployment("api", 1, with_value(crashing("api", "v2"))));
    place.until_it_crashes();
    let _policy = Policy::new(
        &place,
        "no-v1",
        ["apps", "deployments", "UPDATE"],
        "object.spec.template.spec.containers.all(one, one.image != 'api:v1')",
        &["set", "image", "deployment/api", "api=api:v1"],
    );
    let words = ["AST0217", FORBIDDEN, "as of (a value that is not shown)"];
    let done = refused(&place, &words, |place| place.roll_back(&[]));
    assert!(!(done.out + &done.err).contains("quoted-by-nobody"));
}

#[test]
fn a_policy_against_deleting_pods_refuses_before_the_template_is_written() {
    let place = Place::new("no-delete");
    place.platform("");
    let set = |template: Value| {
        workload(
            "StatefulSet",
            "db",
            template,
            json!({ "replicas": 2, "serviceName": "db" }),
        )
    };
    place.roll_out(&set(pod("db", "v1")));
    place.put(&set(crashing("db", "v2")));
    place.until_it_crashes();
    let before = place.pods();
    place.astern(&["plan"]).expect(0);
    assert_eq!(place.pods(), before, "a trial deleted something");
    let _policy = Policy::new(
        &place,
        "no-delete",
        ["", "pods", "DELETE"],
        "false",
        &["delete", "pod/db-0"],
    );
    refused(
        &place,
        &[
            "AST0217",
            "the deletion of pod/db-1",
            "the platform team forbids it",
        ],
        |place| place.roll_back(&[]),
    );
    assert_eq!(place.pods(), before);
}

#[test]
fn a_missing_right_is_refused_with_the_verb_and_the_resource() {
    let place = Place::new("rights");
    place.platform("");
    place.bad_release("api", 2);
    let read = json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"] });
    let keep = json!({ "apiGroups": ["", "coordination.k8s.io"], "resources": ["secrets", "leases"], "verbs": ["*"] });
    place.put(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": { "name": "reader" },
        "rules": [read, keep],
    }));
    place.kubectl(&[
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        "--user=limited@example.test",
    ]);
    let limited = kubeconfig().with_file_name("limited.kubeconfig");
    let words = [&["rollback"], &YES[..]].concat();
    refused(&place, &["AST0218", "may not update deployments.apps"], |place| {
        place.astern_as(&limited, &words)
    });
}

#[test]
fn without_a_right_that_the_journal_needs_it_is_not_begun_in_the_cluster() {
    let place = Place::new("no-journal");
    place.platform("");
    place.bad_release("api", 1);
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({ "apiGroups": groups, "resources": resources, "verbs": verbs });
    place.put(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": { "name": "no-deletes" },
        "rules": [
            rule(&["*"], &["*"], &["get", "list", "watch"]),
            rule(&["apps"], &["deployments"], &["update"]),
            rule(&["coordination.k8s.io"], &["leases"], &["*"]),
            rule(&[""], &["pods", "secrets"], &["create"]),
        ],
    }));
    place.kubectl(&[
        "create",
        "rolebinding",
        "no-deletes",
        "--role=no-deletes",
        "--user=limited@example.test",
    ]);
    let limited = kubeconfig().with_file_name("limited.kubeconfig");
    let words = [&["rollback"], &YES[..]].concat();
    refused(
        &place,
        &["AST0218", "may not delete secrets", "--store FILE"],
        |place| place.astern_as(&limited, &words),
    );
    let in_file = [&words[..], &["--store", "runs.db"]].concat();
    place.astern_as(&limited, &in_file).expect(0);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_paused_deployment_is_resumed_after_its_template_is_back_and_only_once_somebody_agreed() {
    let place = Place::new("paused");
    place.platform("");
    place.bad_release("api", 2);
    place.kubectl(&["rollout", "pause", "deployment/api"]);
    refused(
        &place,
        &[
            "AST0221",
            "by field manager kubectl-rollout at 20",
            "--resume-paused api",
        ],
        |place| place.roll_back(&[]),
    );
    let done = place.roll_back(&["--resume-paused", "api"]).expect(0);
    let template = done.err.find("done: put deployment/api back").unwrap();
    let resumed = done
        .err
        .find("done: resume")
        .unwrap_or_else(|| panic!("{}", done.err));
    assert!(template < resumed, "{}", done.err);
    assert_eq!(place.image("api"), "api:v1");
    assert_ne!(place.get("deployment/api")["spec"]["paused"], true);
}

#[test]
fn of_an_on_delete_daemonset_only_the_pods_of_the_bad_version_are_deleted() {
    let place = Place::new("on-delete");
    place.platform("");
    let set = |template: Value| {
        workload(
            "DaemonSet",
            "agent",
            template,
            json!({ "updateStrategy": { "type": "OnDelete" } }),
        )
    };
    place.put(&set(pod("agent", "v1")));
    place.until("pods of v1", 30, |place| {
        place.get("daemonset/agent")["status"]["numberReady"].as_u64() >= Some(3)
    });
    std::thread::sleep(std::time::Duration::from_millis(1200));
    place.put(&set(crashing("agent", "v2")));
    let (first, kept) = {
        let mut pods = place.pods();
        (pods.remove(0), pods)
    };
    place.kubectl(&["delete", "pod", &first.0, "--wait=false"]);
    place.until_it_crashes();
    place.roll_back(&[]).expect(0);
    let after = place.pods();
    assert!(kept.iter().all(|pod| after.contains(pod)), "{kept:?} {after:?}");
    let images = place.kubectl(&[
        "get",
        "pods",
        "-o",
        "jsonpath={.items[*].spec.containers[0].image}",
    ]);
    assert!(!images.contains("v2"), "{images}");
}

/// db, whose three pods go one by one.
fn ordered(template: Value) -> Value {
    workload(
        "StatefulSet",
        "db",
        template,
        json!({ "replicas": 3, "serviceName": "db" }),
    )
}

#[test]
fn pods_that_serve_and_that_only_a_deletion_replaces_go_one_by_one_as_those_before_them_serve_again() {
    let place = Place::new("one-by-one");
    place.platform("");
    let set = |version: &str| {
        let mut template = pod("db", version);
        template["metadata"]["annotations"] = json!({ "kwok.astern.dev/ready-after": "3s" });
        let spec = json!({ "replicas": 3, "serviceName": "db", "updateStrategy": { "type": "OnDelete" },
            "podManagementPolicy": "Parallel" });
        workload("StatefulSet", "db", template, spec)
    };
    let ready = |place: &Place| {
        let ready = "jsonpath={range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status} {end}";
        let said = place.kubectl(&["get", "pods", "-o", ready]);
        said.split_whitespace().filter(|word| *word == "True").count()
    };
    let images = [
        "get",
        "pods",
        "-o",
        "jsonpath={.items[*].spec.containers[0].image}",
    ];
    place.put(&set("v1"));
    place.until("pods of v1", 60, |place| ready(place) == 3);
    place.put(&set("v2"));
    // Not waited for: `kubectl delete` waits for a name, without end once the next pod has it.
    place.kubectl(&["delete", "pods", "--all", "--wait=false"]);
    place.until("pods of v2", 60, |place| {
        ready(place) == 3 && place.kubectl(&images) == "db:v2 db:v2 db:v2"
    });
    let words = [
        "rollback",
        "--to",
        "db=image:v1",
        "--yes",
        "--reason",
        "customers complain",
    ];
    let mut run = place.start(&words);
    let mut least = 3;
    let since = std::time::Instant::now();
    while run.try_wait().unwrap().is_none() && since.elapsed().as_secs() < 120 {
        least = least.min(ready(&place));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let done = crate::support::Done::from(crate::support::output_of(run, "the rollback"));
    assert!(matches!(done.code, 0 | 5), "{done:?}");
    assert_eq!(place.kubectl(&images), "db:v1 db:v1 db:v1");
    assert_eq!(least, 2, "so many served at the worst moment");
}

#[test]
fn a_stateful_set_stuck_on_its_broken_pod_is_unblocked() {
    unblocked("ordered", &["v2"]);
}

#[test]
fn a_stateful_set_that_was_fixed_forward_over_its_broken_pod_is_unblocked() {
    unblocked("forward", &["v2", "v3"]);
}

/// v1 serves, the first of `bad` breaks db-2, the others are applied over it; all goes back to v1.
fn unblocked(name: &str, bad: &[&str]) {
    let place = Place::new(name);
    place.platform("");
    place.roll_out(&ordered(pod("db", "v1")));
    for version in bad {
        place.put(&ordered(crashing("db", version)));
        place.until_it_crashes();
    }
    let before = place.pods();
    place.roll_back(&[]).expect(0);
    let after = place.pods();
    assert_eq!(after[..2], before[..2], "pods that served were touched");
    assert_ne!(after[2], before[2], "the broken pod is still there");
    let images = place.kubectl(&[
        "get",
        "pods",
        "-o",
        "jsonpath={.items[*].spec.containers[0].image}",
    ]);
    assert_eq!(images, "db:v1 db:v1 db:v1");
}

#[test]
fn counts_and_autoscaler_are_left_alone() {
    let place = Place::new("scaler");
    place.platform("");
    place.bad_release("api", 2);
    place.put(&json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "api" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "api" },
            "minReplicas": 2,
            "maxReplicas": 5,
        },
    }));
    place.kubectl(&["scale", "deployment/api", "--replicas=4"]);
    let before = place.get("hpa/api")["spec"].clone();
    place.roll_back(&[]).expect(0);
    assert_eq!(place.get("deployment/api")["spec"]["replicas"], 4);
    assert_eq!(place.get("hpa/api")["spec"], before);
}

#[test]
fn a_helm_release_is_named_since_its_next_upgrade_writes_again() {
    let place = Place::new("helm");
    place.platform("");
    place.bad_release("api", 2);
    place.kubectl(&["label", "deployment/api", "app.kubernetes.io/managed-by=Helm"]);
    place.kubectl(&[
        "annotate",
        "deployment/api",
        "meta.helm.sh/release-name=shop-release",
    ]);
    let done = place.roll_back(&[]).expect(0);
    says(&done, &["shop-release", "upgrade"]);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn an_argo_cd_application_that_cannot_be_paused_refuses_with_three_ways_out() {
    let place = Place::new("argo");
    place.platform("");
    place.bad_release("api", 2);
    let id = format!(
        "argocd.argoproj.io/tracking-id=shop:apps/Deployment:{}/api",
        place.namespace
    );
    place.kubectl(&["annotate", "deployment/api", &id]);
    refused(
        &place,
        &["revert in Git", "pause it by hand", "--accept-revert shop"],
        |place| place.roll_back(&[]),
    );
    let done = place.roll_back(&["--accept-revert", "shop"]).expect(0);
    says(&done, &["shop"]);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn what_a_row_asks_is_recorded_as_decided_over_also_where_graver_rows_say_roll_back() {
    let place = Place::new("decided");
    place.platform("");
    place.policy("matrix: [{id: look-first, when: crashLoop, then: ask, because: somebody should look}]");
    place.bad_release("api", 1);
    place.roll_back(&[]).expect(0);
    let report = place.astern(&["report", "-o", "json"]).expect(0);
    says(&report, &["look-first: somebody should look"]);
}
