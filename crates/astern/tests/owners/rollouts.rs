//! Argo Rollouts' own workloads: taken back by their template, the rest left to its real controller.

use crate::support::{Done, Place};
use serde_json::Value;

/// Its controller looks again within a second or two; a machine that builds needs longer.
const SEEN_WITHIN: u64 = 90;
const CANARY: &str =
    "canary: {steps: [{setWeight: 25}, {pause: {duration: 3}}, {setWeight: 50}, {pause: {duration: 3}}]}";
const ASKS: &str = "canary: {steps: [{setWeight: 50}, {pause: {}}]}";
const ROLLBACK: [&str; 6] = [
    "rollback",
    "--yes",
    "--reason",
    "it crashes",
    "--foreground",
    "--accessible",
];

/// A Rollout `web` of four pods. With `crashes` its pods do so again and again.
fn manifest(version: &str, crashes: bool, strategy: &str) -> String {
    let crashes = if crashes {
        ", kwok.astern.dev/crash-loop: \"true\""
    } else {
        ""
    };
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: web}}\nspec:\n  replicas: 4\n  \
         selector: {{matchLabels: {{app: web}}}}\n  strategy: {{{strategy}}}\n  template:\n    \
         metadata: {{labels: {{app: web{crashes}}}}}\n    spec:\n      terminationGracePeriodSeconds: 7\n      containers:\n      \
         - {{name: web, image: \"web:{version}\", env: [{{name: VERSION, value: {version}}}]}}\n"
    )
}

fn rollout(place: &Place) -> Value {
    place.get("rollout/web")
}

fn image(place: &Place) -> Value {
    rollout(place)["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

/// Until the controller has taken this version in, and says that it stands so.
fn until(place: &Place, phase: &str) {
    place.until(phase, SEEN_WITHIN, |place| {
        let rollout = rollout(place);
        let (status, generation) = (&rollout["status"], &rollout["metadata"]["generation"]);
        status["phase"] == phase && status["observedGeneration"].as_str() == Some(&generation.to_string())
    });
}

fn released(place: &Place, version: &str, strategy: &str) {
    place.apply(&manifest(version, false, strategy));
    until(place, "Healthy");
    // What was the newest for a second is presumed good here.
    std::thread::sleep(std::time::Duration::from_millis(1500));
}

fn crashes(place: &Place, version: &str, strategy: &str) {
    place.apply(&manifest(version, true, strategy));
    place.until("the crash loop", SEEN_WITHIN, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
}

fn says(done: &Done, words: &[&str]) {
    let all = format!("{}{}", done.out, done.err);
    for word in words {
        assert!(all.contains(word), "{word:?} is not in\n{all}");
    }
}

/// It stands on this version, all of it, and Argo Rollouts says so.
fn serves(place: &Place, version: &str) {
    until(place, "Healthy");
    let rollout = rollout(place);
    let container = &rollout["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], format!("web:{version}"));
    assert_eq!(container["env"][0]["value"], version);
    let template = &rollout["spec"]["template"];
    assert_eq!(template["spec"]["terminationGracePeriodSeconds"], 7);
    let labels = &template["metadata"]["labels"];
    assert_eq!(
        *labels,
        serde_json::json!({"app": "web"}),
        "no label of a controller stays"
    );
    assert_eq!(rollout["status"]["stableRS"], rollout["status"]["currentPodHash"]);
}

#[test]
fn a_canary_that_crashes_goes_back_to_the_stable_version_at_once() {
    let place = Place::new("canary");
    place.platform("");
    released(&place, "v1", CANARY);
    let stable = rollout(&place)["status"]["stableRS"].clone();
    crashes(&place, "v2", CANARY);

    let plan = place.astern(&["plan"]).expect(0);
    let at_once = "Argo Rollouts calls v1 of rollout/web stable: it goes back to it at once";
    says(&plan, &["rollout/web", at_once]);
    let told = format!("{}{}", plan.out, plan.err);
    assert!(
        !told.contains("dnsPolicy"),
        "defaults of the API server are no difference:\n{told}"
    );

    place.astern(&ROLLBACK).expect(0);
    serves(&place, "v1");
    assert_eq!(
        rollout(&place)["status"]["stableRS"],
        stable,
        "the ReplicaSet of before"
    );
}

#[test]
fn an_aborted_rollout_serves_its_stable_version_already_and_its_template_comes_back() {
    let place = Place::new("aborted");
    place.platform("");
    released(&place, "v1", CANARY);
    crashes(&place, "v2", CANARY);
    set_status(&place, r#"{"abort": true}"#);
    until(&place, "Degraded");
    place.until("the stable version to serve alone", SEEN_WITHIN, |place| {
        let status = &rollout(place)["status"];
        status["availableReplicas"] == 4 && status["replicas"] == 4
    });

    let words = [&ROLLBACK[..], &["--to", "rollout/web=image:v1"]].concat();
    let plan = place.astern(&["plan", "--to", "rollout/web=image:v1"]).expect(0);
    says(
        &plan,
        &[
            "rollout/web is aborted",
            "serves its stable version already",
            "clears the abort",
        ],
    );
    assert_eq!(image(&place), "web:v2", "a plan changes nothing");
    place.astern(&words).expect(0);
    serves(&place, "v1");
    assert_ne!(rollout(&place)["status"]["abort"], true);
}

#[test]
fn a_way_back_that_waits_for_a_person_says_what_to_type_and_goes_on_after_that() {
    let place = Place::new("asks");
    place.platform("");
    released(&place, "v1", "canary: {}");
    released(&place, "v2", "canary: {}");
    place.apply(&manifest("v2", false, ASKS));
    until(&place, "Healthy");

    let to = ["--to", "rollout/web=image:v1"];
    let plan = place.astern(&[&["plan"], &to[..]].concat()).expect(0);
    says(
        &plan,
        &[
            "AST0238",
            "step 2 of 2 is a pause without a duration",
            "kubectl argo rollouts promote web",
        ],
    );
    let held = place.astern(&[&ROLLBACK[..], &to].concat());
    assert_ne!(held.code, 0, "{held:?}");
    let promote = format!("kubectl argo rollouts promote web -n {}", place.namespace);
    let paused = "it has paused at step 2 of 2, a pause without a duration";
    says(&held, &[paused, &promote, "astern resume"]);
    assert_eq!(image(&place), "web:v1", "the template stays written");
    until(&place, "Paused");

    // What the promotion of Argo Rollouts' plugin writes.
    set_status(&place, r#"{"pauseConditions": null}"#);
    place
        .astern(&["resume", "--yes", "--foreground", "--accessible"])
        .expect(0);
    serves(&place, "v1");
}

#[test]
fn a_blue_green_rollout_goes_back_before_its_service_has_moved() {
    let place = Place::new("blue-green");
    place.platform("");
    place.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
    );
    let strategy = "blueGreen: {activeService: web, autoPromotionEnabled: true}";
    released(&place, "v1", strategy);
    let stable = rollout(&place)["status"]["stableRS"].clone();
    crashes(&place, "v2", strategy);
    place.astern(&ROLLBACK).expect(0);
    serves(&place, "v1");
    let active = &rollout(&place)["status"]["blueGreen"]["activeSelector"];
    assert_eq!(*active, stable);
}

#[test]
fn a_rollout_with_a_template_of_elsewhere_is_refused_with_the_way_out() {
    let place = Place::new("workload-ref");
    place.platform("");
    place.deploy("web", "v1", 0, &[]);
    let with = |place: &Place| {
        place.apply(
            "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec:\n  replicas: 2\n  \
             selector: {matchLabels: {app: web}}\n  strategy: {canary: {}}\n  \
             workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n",
        );
    };
    with(&place);
    until(&place, "Healthy");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    place.deploy("web", "v2", 0, &[("kwok.astern.dev/crash-loop", "true")]);
    place.until("the crash loop", SEEN_WITHIN, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
    let refused = place.astern(&["plan", "--to", "rollout/web=image:v1"]).expect(3);
    says(
        &refused,
        &[
            "AST0239",
            "takes its template from deployment/web",
            "kubectl argo rollouts undo web",
        ],
    );
}

/// What Argo Rollouts' own plugin writes on abort and promote.
fn set_status(place: &Place, status: &str) {
    let patch = format!(r#"{{"status": {status}}}"#);
    place.kubectl(&[
        "patch",
        "rollout",
        "web",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ]);
}
