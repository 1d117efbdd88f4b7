//! Operators that no plan pauses: recognised by their marks, by their objects that name the workload, by who wrote the template.
//! None of them runs here: their resources stand in the cluster without a schema.

use crate::manifest::{CRASHES, crashing, refused, says};
use crate::support::Place;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};

/// API group, version, plural and kind of a resource.
type Resource = (&'static str, &'static str, &'static str, &'static str);

const CANARY: Resource = ("flagger.app", "v1beta1", "canaries", "Canary");
const POD_AUTOSCALER: Resource = (
    "autoscaling.k8s.io",
    "v1",
    "verticalpodautoscalers",
    "VerticalPodAutoscaler",
);
const WIDGET: Resource = ("shop.test", "v1", "appliances", "Appliance");

/// kubectl fails where another makes the same thing at the same moment.
static DEFINING: Mutex<()> = Mutex::new(());

/// It belongs to no namespace, and tests beside this one may use it too: it stays.
fn define((group, version, plural, kind): Resource, place: &Place) {
    let _alone = DEFINING.lock().unwrap_or_else(PoisonError::into_inner);
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    place.put(&json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            // Without it the API server takes no resource of a group of Kubernetes' own name.
            "annotations": { "api-approved.kubernetes.io": "unapproved, for tests" },
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind },
            "versions": [{ "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": open } }],
        },
    }));
    let name = format!("crd/{plural}.{group}");
    place.kubectl(&["wait", &name, "--for=condition=Established", "--timeout=60s"]);
}

fn put((group, version, _, kind): Resource, place: &Place, name: &str, spec: &Value) {
    place.put(&json!({
        "apiVersion": format!("{group}/{version}"),
        "kind": kind,
        "metadata": { "name": name, "namespace": place.namespace },
        "spec": spec,
    }));
}

/// The deployment bears an owner reference to an object that is there.
fn refer((group, version, plural, kind): Resource, place: &Place, of: (&str, &str), controller: bool) {
    let (name, owned) = of;
    let object = place.get(&format!("{plural}.{group}/{name}"));
    let reference = json!({
        "apiVersion": format!("{group}/{version}"),
        "kind": kind,
        "name": name,
        "uid": object["metadata"]["uid"],
        "controller": controller,
    });
    let patch = json!({ "metadata": { "ownerReferences": [reference] } }).to_string();
    place.kubectl(&["patch", owned, "--type=merge", "-p", &patch]);
}

fn api() -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "api" })
}

fn passes(place: &Place, words: &[&str]) -> String {
    let done = place.astern(&["plan"]).expect(0);
    says(&done, words);
    done.out + &done.err
}

fn rollback_is_refused(place: &Place, words: &[&str]) {
    refused(place, words, |place| place.roll_back(&[]));
    assert_eq!(place.image("api"), "api:v2");
}

#[test]
fn what_the_operator_lifecycle_manager_installs_is_refused_with_three_ways_out() {
    let place = Place::new("olm");
    place.platform("");
    place.bad_release("api", 1);
    let label = |words: &[&str]| place.kubectl(&[&["label", "deployment/api"], words].concat());
    // The label alone is anybody's.
    label(&["olm.owner=shop.v1.2.4"]);
    assert!(!passes(&place, &[]).contains("Lifecycle"));
    let namespace = format!("olm.owner.namespace={}", place.namespace);
    label(&["olm.owner.kind=ClusterServiceVersion", &namespace]);
    let words = [
        "AST0227",
        "the Operator Lifecycle Manager's clusterserviceversion/shop.v1.2.4 (label olm.owner)",
        "three ways out: have its Subscription install the earlier version",
        "scale olm-operator to zero",
        "--accept-revert clusterserviceversion/shop.v1.2.4",
    ];
    rollback_is_refused(&place, &words);
    let accepted = ["--accept-revert", "clusterserviceversion/shop.v1.2.4"];
    says(&place.roll_back(&accepted).expect(0), &["accepted beforehand"]);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_canarys_target_and_what_flagger_made_of_it_are_refused_until_the_canary_is_suspended() {
    let place = Place::new("flagger");
    place.platform("");
    place.bad_release("api", 1);
    define(CANARY, &place);
    let canary = |spec: Value| put(CANARY, &place, "shop", &spec);
    canary(json!({ "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } }));
    assert!(!passes(&place, &[]).contains("Flagger"));
    canary(json!({ "targetRef": api() }));
    let words = [
        "AST0227",
        "deployment/api belongs to Flagger's canary/shop (its targetRef)",
        "what serves meanwhile is deployment/api-primary",
        "three ways out: ",
        r#"kubectl patch canary/shop --type=merge -p '{"spec":{"suspend":true}}'"#,
        "--accept-revert canary/shop",
    ];
    rollback_is_refused(&place, &words);
    canary(json!({ "targetRef": api(), "suspend": true }));
    passes(&place, &["AST0227", "spec.suspend: true", "once it is resumed"]);
    // The same by the owner reference that Flagger leaves on what it makes.
    canary(json!({ "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } }));
    refer(CANARY, &place, ("shop", "deployment/api"), true);
    let words = [
        "AST0227",
        "Flagger's canary/shop (ownerReferences)",
        "at each promotion",
        "three ways out: ",
    ];
    rollback_is_refused(&place, &words);
}

#[test]
fn a_pod_autoscaler_is_told_of_and_refuses_nothing() {
    let place = Place::new("vpa");
    place.platform("");
    place.bad_release("api", 1);
    define(POD_AUTOSCALER, &place);
    let mode = |mode: &str| {
        let spec = json!({ "targetRef": api(), "updatePolicy": { "updateMode": mode } });
        put(POD_AUTOSCALER, &place, "api-vpa", &spec);
    };
    mode("Off");
    assert!(!passes(&place, &[]).contains("verticalpodautoscaler"));
    mode("Recreate");
    let words = [
        "verticalpodautoscaler/api-vpa (its targetRef) changes what pods of deployment/api request",
        "the template it leaves alone",
    ];
    says(&place.roll_back(&[]).expect(0), &words);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_list_of_canaries_that_is_forbidden_is_said_to_be_unread() {
    let place = Place::new("flagger-rights");
    place.platform("");
    place.bad_release("api", 1);
    define(CANARY, &place);
    let user = "--user=limited@example.test";
    place.kubectl(&["create", "rolebinding", "all", "--clusterrole=admin", user]);
    let limited = crate::support::kubeconfig().with_file_name("limited.kubeconfig");
    let done = place.astern_as(&limited, &["plan"]).expect(0);
    let unread = format!("canaries of namespace {} could not be read", place.namespace);
    says(&done, &["AST0232", &unread]);
}

#[test]
fn an_operator_is_presumed_by_one_sign_and_refused_by_two() {
    let place = Place::new("operator");
    place.platform("");
    place.deploy("api", "v1", 1, &[]);
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=60s"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let write = |manager: &str, version: &str| {
        let patch = json!({ "spec": { "template": crashing("api", version) } }).to_string();
        let manager = format!("--field-manager={manager}");
        place.kubectl(&["patch", "deployment/api", &manager, "-p", &patch]);
    };
    write("appliance-operator", "v2");
    place.until_it_crashes();
    let found = place.get("deployment/api");
    assert_eq!(found["spec"]["template"]["metadata"]["labels"][CRASHES], "true");
    let words = [
        "AST0227",
        "deployment/api may belong to field manager appliance-operator",
        "appliance-operator (Update at 20",
    ];
    passes(&place, &words);

    define(WIDGET, &place);
    put(WIDGET, &place, "w", &json!({}));
    refer(WIDGET, &place, ("w", "deployment/api"), false);
    let words = [
        "AST0227",
        "deployment/api belongs to controller appliance/w (ownerReferences), which writes it back: appliance-operator (Update at 20",
        "three ways out: change the object that it follows",
        "--accept-revert appliance/w",
    ];
    rollback_is_refused(&place, &words);

    // Somebody else writes the template, and the operator lets it stand.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    write("kubectl-edit", "v3");
    place.until("v3 to crash", 60, |place| place.image("api") == "api:v3");
    passes(
        &place,
        &["deployment/api may belong to appliance/w (ownerReferences, without controller: true)"],
    );
}
