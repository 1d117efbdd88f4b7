//! Could we roll back tonight? What the audit says on a calm day, that a plan then says the same, and that it writes nothing.

use crate::config::with_rights;
use crate::input::own_user;
use crate::manifest::{deployment, pod, says};
use crate::rehearsal::writes;
use crate::support::{Done, Place};
use serde_json::{Value, json};

/// A version of a Deployment whose pods say when they serve.
fn version(name: &str, image: &str, more: Value) -> Value {
    let mut object = deployment(name, 1, pod(name, image));
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": 8080}});
    container
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().cloned().unwrap_or_default());
    object
}

fn limited(mut object: Value, limit: u32) -> Value {
    object["spec"]["revisionHistoryLimit"] = json!(limit);
    object
}

/// Severity and code of what was found about a workload, or about the platform, in the order in which it is told.
fn found(audit: &Value, target: Option<&str>) -> Vec<String> {
    let of = |finding: &&Value| finding["target"]["name"].as_str() == target;
    let findings = audit["findings"].as_array().unwrap().iter();
    findings
        .filter(of)
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            format!("{} {}", text("severity"), text("code"))
        })
        .collect()
}

fn workload<'a>(audit: &'a Value, name: &str) -> &'a Value {
    let mut all = audit["workloads"].as_array().unwrap().iter();
    all.find(|one| one["target"]["name"] == name).unwrap()
}

fn record(place: &Place, version: &str) -> Done {
    let good = ["--good", "--reason", "soaked"];
    place
        .astern(&[&["releases", "record", "--version", version], &good[..]].concat())
        .expect(0)
}

#[test]
fn a_platform_that_could_be_taken_back_tonight_is_ready_and_the_look_writes_nothing() {
    let place = Place::new("audit-ready");
    place.platform("");
    place.roll_out(&version("api", "v0", json!({})));
    place.roll_out(&version("api", "v1", json!({})));
    record(&place, "1.0.0");
    place.roll_out(&version("api", "v2", json!({})));
    place.roll_out(&version("cache", "v7", json!({})));
    place.until("the former pods to be gone", 60, |place| place.pods().len() == 2);
    let (config, user) = own_user(&place);
    let everything = ["get", "deployments,replicasets,pods,secrets,leases", "-o", "name"];
    let (standing, names) = (place.standing(), place.kubectl(&everything));

    let told = place.astern_as(&config, &["audit"]).expect(0);
    says(
        &told,
        &[
            "✓ ready: nothing would stop a rollback now",
            "v1 (revision 2)",
            "released: it is in release 1.0.0",
            "· nothing yet",
            "it has had one version only",
        ],
    );
    let audit = place
        .astern_as(&config, &["audit", "-o", "json"])
        .expect(0)
        .json();
    assert_eq!(audit["kind"], "Audit");
    assert_eq!(audit["ready"], true, "{audit:#}");
    // v1 by the release, v0 presumed.
    assert_eq!(workload(&audit, "api")["goodRevisions"], 2, "{audit:#}");
    assert_eq!(workload(&audit, "cache")["firstVersion"], true);
    let stops = audit["findings"].as_array().unwrap().iter();
    assert_eq!(
        stops.filter(|finding| finding["severity"] == "refuse").count(),
        0,
        "{audit:#}"
    );

    assert_eq!(writes(&user), [""; 0]);
    assert_eq!(place.standing(), standing);
    assert_eq!(place.kubectl(&everything), names);
}

#[test]
fn after_a_rollback_there_is_nothing_to_take_back_before_the_next_release() {
    let place = Place::new("audit-after");
    place.platform("");
    place.bad_release("api", 1);
    place.roll_back(&[]).expect(0);
    let told = place.astern(&["audit"]).expect(0);
    says(
        &told,
        &[
            "✓ nothing to take back before the next release, which can be taken back to what runs now",
            "· nothing yet",
            "AST0310",
            "went back to, and no other revision of it is known to be good",
            "astern plan --to api=REVISION",
        ],
    );
    assert!(!told.out.contains("apply the manifest"), "{}", told.out);
    // From the next release on, what the run went back to is the way back.
    place.roll_out(&version("api", "v3", json!({})));
    let told = place.astern(&["audit"]).expect(0);
    says(
        &told,
        &["✓ ready: nothing would stop a rollback now", "v1 (revision"],
    );
}

#[test]
fn what_would_stop_a_rollback_is_told_first_and_a_plan_then_says_the_same() {
    let place = Place::new("audit-stops");
    place.platform("");
    place.kubectl(&["create", "configmap", "torn-config", "--from-literal=LEVEL=info"]);
    let reads = json!({"envFrom": [{"configMapRef": {"name": "torn-config"}}]});
    place.roll_out(&limited(version("lost", "v1", json!({})), 0));
    place.roll_out(&version("torn", "v1", reads));
    place.roll_out(&version("well", "v1", json!({})));
    place.roll_out(&limited(version("lost", "v2", json!({})), 0));
    place.roll_out(&version("torn", "v2", json!({})));
    place.roll_out(&version("well", "v2", json!({})));
    place.until("the first ReplicaSet of lost to be pruned", 30, |place| {
        let sets = place.get("replicasets");
        let of_lost = |set: &&Value| set["metadata"]["labels"]["app"] == "lost";
        sets["items"].as_array().unwrap().iter().filter(of_lost).count() == 1
    });
    place.kubectl(&["delete", "configmap", "torn-config"]);

    let told = place.astern(&["audit"]).expect(3);
    says(
        &told,
        &[
            "✗ not ready: a rollback would be refused now",
            "AST0101",
            "revisionHistoryLimit: 0",
            "configmap/torn-config",
            "the ledger holds no release",
        ],
    );
    let audit = place.astern(&["audit", "-o", "json"]).expect(3).json();
    assert_eq!(audit["ready"], false);
    assert_eq!(found(&audit, Some("lost")), ["refuse AST0101"], "{audit:#}");
    assert!(
        found(&audit, Some("torn")).contains(&"refuse AST0214".to_owned()),
        "{audit:#}"
    );
    assert!(
        found(&audit, Some("well"))
            .iter()
            .all(|one| one.starts_with("warn")),
        "{audit:#}"
    );
    assert!(
        found(&audit, None).contains(&"warn AST0305".to_owned()),
        "{audit:#}"
    );
    let severities: Vec<&Value> = audit["findings"].as_array().unwrap().iter().collect();
    assert!(
        severities.is_sorted_by_key(|finding| finding["severity"] == "warn"),
        "{audit:#}"
    );
    for (name, ready) in [("lost", 3), ("torn", 3), ("well", 0)] {
        place.astern(&["audit", name]).expect(ready);
        let plan = place.astern(&["plan", "--only", name]).expect(ready);
        assert_eq!(plan.err.contains("AST0101"), name == "lost", "{}", plan.err);
        assert_eq!(plan.err.contains("AST0214"), name == "torn", "{}", plan.err);
    }
}

#[test]
fn a_tag_that_was_moved_and_one_that_may_be_are_told_with_the_digest_that_ran() {
    let place = Place::new("audit-tags");
    place.platform("");
    let at = |name: &str, level: &str, policy: &str| {
        let env = json!({"env": [{"name": "LEVEL", "value": level}], "imagePullPolicy": policy});
        version(name, "latest", env)
    };
    place.roll_out(&at("moved", "info", "IfNotPresent"));
    place.roll_out(&at("pulled", "info", "Always"));
    record(&place, "1.0.0");
    place.roll_out(&at("moved", "debug", "IfNotPresent"));
    place.roll_out(&at("pulled", "debug", "Always"));
    place.until("the former pods to be gone", 60, |place| place.pods().len() == 2);
    let ready = place.astern(&["audit", "-o", "json"]).expect(0).json();
    let tag = ready["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == "AST0303" && finding["target"]["name"] == "pulled");
    let message = tag.unwrap_or_else(|| panic!("{ready:#}"))["message"]
        .as_str()
        .unwrap();
    assert!(
        message.contains("it ran as sha256:") && message.contains("imagePullPolicy Always"),
        "{message}"
    );

    // The registry hands out another image under the tag.
    let pods = place.pods();
    let (pod, _) = pods.iter().find(|(name, _)| name.starts_with("moved")).unwrap();
    let other = format!("moved@sha256:{}", "b".repeat(64));
    let patch =
        json!([{"op": "replace", "path": "/status/containerStatuses/0/imageID", "value": other}]).to_string();
    place.kubectl(&[
        "patch",
        "pod",
        pod,
        "--subresource=status",
        "--type=json",
        "-p",
        &patch,
    ]);
    let told = place.astern(&["audit"]).expect(3);
    says(&told, &["AST0302", "the tag was moved", pod, "moved@sha256:"]);
}

#[test]
fn a_missing_right_and_a_revision_that_the_next_release_prunes_are_told_with_what_to_type() {
    let place = Place::new("audit-rights");
    place.platform("");
    place.roll_out(&limited(version("api", "v1", json!({})), 1));
    place.roll_out(&limited(version("api", "v2", json!({})), 1));
    let told = place.astern(&["audit"]).expect(0);
    says(
        &told,
        &[
            "AST0301",
            "revisionHistoryLimit is 1: the next release removes v1 (revision 1)",
            "kubectl patch deployment/api -n",
        ],
    );
    let reader = with_rights(&place, |text| {
        text.replace(
            "resources: [deployments, statefulsets, daemonsets]\n    verbs: [update]",
            "resources: [deployments, statefulsets, daemonsets]\n    verbs: [get]",
        )
    });
    let told = place.astern_as(&reader, &["audit"]).expect(3);
    says(&told, &["✗ not ready", "AST0218", "may not update deployments"]);
    place.kubectl(&[
        "patch",
        "deployment",
        "api",
        "--type=merge",
        "-p",
        r#"{"spec":{"revisionHistoryLimit":10}}"#,
    ]);
    let told = place.astern(&["audit"]).expect(0);
    assert!(!told.out.contains("AST0301"), "{}", told.out);
}
