//! Who else would write a workload: Argo CD and Flux by their marks and their own objects. No controller of theirs runs here:
//! the lane `owners` has the real ones.

use crate::manifest::{refused, says};
use crate::support::Place;
use serde_json::{Value, json};

pub(crate) const APPLICATION: (&str, &str, &str) = ("argoproj.io", "v1alpha1", "Application");
const KUSTOMIZATION: (&str, &str, &str) = ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization");
pub(crate) const HELM_RELEASE: (&str, &str, &str) = ("helm.toolkit.fluxcd.io", "v2", "HelmRelease");

/// A resource definition without a schema. It belongs to no namespace, and tests beside this one use it too: it stays.
pub(crate) fn define((group, version, kind): (&str, &str, &str), place: &Place) {
    let plural = format!("{}s", kind.to_lowercase());
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    place.put(&json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind },
            "versions": [{ "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": open } }],
        },
    }));
    place.kubectl(&[
        "wait",
        "crd",
        &format!("{plural}.{group}"),
        "--for=condition=Established",
        "--timeout=60s",
    ]);
}

/// An owner's object in the namespace of its workload. `more` is its spec, its status, its operation.
pub(crate) fn owner((group, version, kind): (&str, &str, &str), place: &Place, name: &str, more: &Value) {
    let mut object = json!({
        "apiVersion": format!("{group}/{version}"),
        "kind": kind,
        "metadata": { "name": name, "namespace": place.namespace },
    });
    object
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    place.put(&object);
}

/// Its plan passes the gate; everything that it says.
fn passes(place: &Place, words: &[&str]) -> String {
    passes_with(place, &[], words)
}

fn passes_with(place: &Place, flags: &[&str], words: &[&str]) -> String {
    let done = place.astern(&[&["plan"], flags].concat()).expect(0);
    says(&done, words);
    done.out + &done.err
}

fn refuses(place: &Place, words: &[&str]) {
    refused(place, words, |place| place.astern(&["plan"]));
}

#[test]
fn argo_cd_is_known_by_the_label_of_charts_where_it_wrote_the_workload() {
    let place = Place::new("argo-label");
    place.platform("");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    let instance = format!("app.kubernetes.io/instance={}_shop", place.namespace);
    place.kubectl(&[
        "label",
        "deployment/api",
        &instance,
        "--field-manager=argocd-controller",
    ]);
    let automated = |self_heal: bool| json!({ "syncPolicy": { "automated": { "selfHeal": self_heal } } });
    let pauses = format!("pause Argo CD application {}/shop", place.namespace);
    for self_heal in [true, false] {
        owner(
            APPLICATION,
            &place,
            "shop",
            &json!({ "spec": automated(self_heal) }),
        );
        passes(&place, &[&pauses, "1 owner paused", "Stays paused after the run"]);
    }
    let running =
        |spec: Value| json!({ "spec": spec, "status": { "operationState": { "phase": "Running" } } });
    owner(APPLICATION, &place, "shop", &running(automated(true)));
    passes(
        &place,
        &[&pauses, "AST0219", "waits until that has ended before it writes"],
    );
    place.kubectl(&["delete", "application/shop"]);
    owner(APPLICATION, &place, "shop", &running(json!({})));
    refuses(&place, &["AST0219", "a sync is running"]);
    place.kubectl(&["delete", "application/shop"]);
    owner(APPLICATION, &place, "shop", &json!({ "spec": {} }));
    passes(&place, &["syncPolicy.automated is not set", "at its next sync"]);
}

#[test]
fn the_label_of_charts_alone_is_a_hint_that_the_application_must_bear_out() {
    let place = Place::new("argo-hint");
    place.platform("");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    // Argo CD need not lie in the namespace `argocd`: an application of this name is looked for everywhere.
    let name = format!("app-{}", place.namespace);
    place.kubectl(&[
        "label",
        "deployment/api",
        &format!("app.kubernetes.io/instance={name}"),
    ]);
    assert!(!passes(&place, &[]).contains("Argo"));
    let listing = |workload: &str| {
        json!({
            "spec": { "syncPolicy": { "automated": { "selfHeal": true } } },
            "status": { "resources": [
                { "group": "apps", "kind": "Deployment", "namespace": place.namespace, "name": workload },
            ] },
        })
    };
    owner(APPLICATION, &place, &name, &listing("another"));
    assert!(!passes(&place, &[]).contains("Argo"));
    owner(APPLICATION, &place, &name, &listing("api"));
    passes(
        &place,
        &[&format!("pause Argo CD application {}/{name}", place.namespace)],
    );
}

/// An Application of this name that heals and owns deployment api, and what is above it.
fn owned_by(place: &Place, name: &str, above: Option<&str>) {
    let id = format!(
        "{}_{name}:apps/Deployment:{}/api",
        place.namespace, place.namespace
    );
    place.kubectl(&[
        "annotate",
        "deployment/api",
        &format!("argocd.argoproj.io/tracking-id={id}"),
    ]);
    let spec = json!({ "spec": { "syncPolicy": { "automated": { "prune": true, "selfHeal": true } } } });
    owner(APPLICATION, place, name, &spec);
    if let Some(above) = above {
        let id = format!(
            "{}_{above}:argoproj.io/Application:{}/{name}",
            place.namespace, place.namespace
        );
        let mark = format!("argocd.argoproj.io/tracking-id={id}");
        place.kubectl(&["annotate", &format!("application/{name}"), &mark]);
    }
}

fn automated(place: &Place, name: &str) -> Value {
    place.get(&format!("application/{name}"))["spec"]["syncPolicy"]["automated"].clone()
}

#[test]
fn a_controller_that_does_not_answer_holds_nobody_up_and_what_it_was_set_to_comes_back() {
    let place = Place::new("argo-down");
    place.platform("");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    owned_by(&place, "shop", None);
    place.roll_back(&[]).expect(0);
    assert_eq!(place.image("api"), "api:v1");
    assert_eq!(automated(&place, "shop"), Value::Null);
    let told = place.astern(&["report", "-o", "markdown"]).expect(0);
    says(&told, &["its controller did not answer; the run went on"]);

    // What the source says is not told by anybody here: only somebody's word lets it go on.
    let resume = ["owners", "resume", "--yes", "--reason", "merged", "--foreground"];
    refused(&place, &["AST0235", "--source-matches shop"], |place| {
        place.astern(&resume)
    });
    let another = [&resume[..], &["nobody"]].concat();
    refused(&place, &["no run has paused an owner nobody"], |place| {
        place.astern(&another)
    });
    place
        .astern(&[&resume[..], &["shop", "--source-matches", "shop"]].concat())
        .expect(0);
    assert_eq!(
        automated(&place, "shop"),
        json!({ "prune": true, "selfHeal": true })
    );
    let annotations = place.get("application/shop")["metadata"]["annotations"].clone();
    assert_eq!(annotations["astern.dev/paused"], Value::Null);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn an_owner_that_somebody_switches_on_again_after_the_run_is_told_by_status_owners_and_the_watch() {
    let place = Place::new("argo-on-again");
    place.platform("  owners: { guard: 1h }\n");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    owned_by(&place, "shop", None);
    place.roll_back(&[]).expect(0);
    let watched = |is: &str| {
        let told = place.astern(&["watch", "--once", "-o", "json"]).expect(0);
        let lines = told
            .out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let held: Vec<Value> = lines.filter(|line| line["kind"] == "held").collect();
        assert_eq!(held.len(), 1, "{told:?}");
        assert_eq!(held[0]["is"], is, "{told:?}");
    };
    watched("paused");
    // An application above it, or a person.
    let on = r#"{"spec":{"syncPolicy":{"automated":{"selfHeal":true}}}}"#;
    place.kubectl(&["patch", "application/shop", "--type=merge", "-p", on]);
    watched("onAgain");
    let words = [
        "is on again (automated: {\"selfHeal\":true})",
        "nobody has let it go on by astern",
        "astern.dev/paused-",
    ];
    says(&place.astern(&["status"]).expect(0), &words);
    says(&place.astern(&["owners"]).expect(0), &words);
}

#[test]
fn a_sync_that_does_not_end_ends_the_run_with_everything_as_before() {
    let place = Place::new("argo-hangs");
    place.platform("");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    owned_by(&place, "shop", None);
    let running = r#"{"status":{"operationState":{"phase":"Running"}}}"#;
    place.kubectl(&["patch", "application/shop", "--type=merge", "-p", running]);
    let before = place.standing();
    let done = place.roll_back(&[]).expect(4);
    says(
        &done,
        &[
            "a sync, begun before it was paused, has not ended",
            "argocd app terminate-op shop",
        ],
    );
    assert_eq!(
        automated(&place, "shop"),
        json!({ "prune": true, "selfHeal": true })
    );
    let annotations = place.get("application/shop")["metadata"]["annotations"].clone();
    assert_eq!(annotations["astern.dev/paused"], Value::Null);
    assert_eq!(place.standing(), before);
}

#[test]
fn those_above_an_owner_are_paused_before_it_and_one_that_cannot_be_refuses() {
    let place = Place::new("argo-above");
    place.platform("");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    owned_by(&place, "shop", Some("root"));
    // Above the application stands one that is not there: whether it writes is not known.
    refuses(
        &place,
        &["AST0227", "and that to Argo CD application root", "was not found"],
    );
    passes_with(&place, &["--accept-revert", "root"], &["1 owner paused"]);
    let spec = json!({ "spec": { "syncPolicy": { "automated": { "selfHeal": true } } } });
    owner(APPLICATION, &place, "root", &spec);
    let told = passes(&place, &["2 owners paused"]);
    let place_of = |name: &str| {
        told.find(&format!("pause Argo CD application {}/{name}", place.namespace))
            .unwrap()
    };
    assert!(place_of("root") < place_of("shop"), "{told}");
    // Somebody switches it on while the plan is read: the pin no longer holds.
    place.astern(&["plan", "-o", "plan.json"]).expect(0);
    let other = r#"{"spec":{"syncPolicy":{"automated":{"selfHeal":true,"prune":true}}}}"#;
    place.kubectl(&["patch", "application/root", "--type=merge", "-p", other]);
    let run = [
        "run",
        "plan.json",
        "--yes",
        "--reason",
        "it crashes",
        "--foreground",
    ];
    refused(
        &place,
        &["AST0212", "the setting of Argo CD application"],
        |place| place.astern(&run),
    );
}

#[test]
fn what_is_stopped_is_stopped_once_its_owner_is_paused() {
    let place = Place::new("argo-stop");
    place.platform("");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    owned_by(&place, "shop", None);
    let told = passes_with(&place, &["--stop"], &["1 owner paused", "1 workload stopped"]);
    let at = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"));
    assert!(
        at("has seen that it is paused") < at("stop deployment/api"),
        "{told}"
    );
}

#[test]
fn an_owner_of_nothing_but_a_config_map_is_listed() {
    let place = Place::new("argo-config");
    place.platform("");
    define(APPLICATION, &place);
    owner(
        APPLICATION,
        &place,
        "settings",
        &json!({ "spec": { "syncPolicy": { "automated": {} } } }),
    );
    let id = format!(
        "{}_settings:/ConfigMap:{}/app-config",
        place.namespace, place.namespace
    );
    place.put(&json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "app-config", "annotations": { "argocd.argoproj.io/tracking-id": id } },
        "data": { "MODE": "calm" },
    }));
    let done = place.astern(&["owners"]).expect(0);
    says(
        &done,
        &[
            &format!("Argo CD application {}/settings", place.namespace),
            "at the next commit",
        ],
    );
}

#[test]
fn a_right_that_pausing_lacks_is_named_with_the_owners_namespace() {
    let place = Place::new("argo-rights");
    place.platform("");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    let elsewhere = Place::new("argo-rights-there");
    let id = format!(
        "{}_shop:apps/Deployment:{}/api",
        elsewhere.namespace, place.namespace
    );
    place.kubectl(&[
        "annotate",
        "deployment/api",
        &format!("argocd.argoproj.io/tracking-id={id}"),
    ]);
    let spec = json!({ "spec": { "syncPolicy": { "automated": { "selfHeal": true } } } });
    owner(APPLICATION, &elsewhere, "shop", &spec);
    let user = "--user=limited@example.test";
    let looks = [
        "create",
        "role",
        "looks",
        "--verb=get,list",
        "--resource=applications.argoproj.io",
    ];
    elsewhere.kubectl(&looks);
    elsewhere.kubectl(&["create", "rolebinding", "looks", "--role=looks", user]);
    place.kubectl(&["create", "rolebinding", "all", "--clusterrole=admin", user]);
    let limited = crate::support::kubeconfig().with_file_name("limited.kubeconfig");
    let done = place.astern_as(&limited, &["plan"]);
    assert_eq!(done.code, 3, "{done:?}");
    says(
        &done,
        &[
            "AST0218",
            "may not patch",
            "applications.argoproj.io",
            &elsewhere.namespace,
        ],
    );
}

/// A kubeconfig as JSON, credentials included.
fn json_of(kubeconfig: &std::path::Path) -> Value {
    let mut kubectl = std::process::Command::new("kubectl");
    kubectl.arg("--kubeconfig").arg(kubeconfig);
    let output = crate::support::ended(kubectl.args(["config", "view", "--raw", "-o", "json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn argo_cd_in_a_hub_cluster_is_found_by_its_context() {
    let place = Place::new("argo-hub");
    let hub = Place::new("hub");
    // The same API server under another context: what is asked of which is told by the namespace alone.
    let file = place.file("kubeconfig");
    std::fs::copy(crate::support::kubeconfig(), &file).unwrap();
    let config = |words: &[&str]| {
        let mut kubectl = std::process::Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(&file).arg("config").args(words);
        let output = crate::support::ended(&mut kubectl);
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let cluster = config(&["view", "-o", "jsonpath={.contexts[0].context.cluster}"]);
    let user = config(&["view", "-o", "jsonpath={.contexts[0].context.user}"]);
    config(&[
        "set-context",
        "hub",
        &format!("--cluster={cluster}"),
        &format!("--user={user}"),
    ]);
    let owners = |context: &str| {
        place.platform(&format!(
            "  owners: {{guard: 2h, argocd: {{context: {context}, namespace: {}}}}}\n",
            hub.namespace
        ));
    };
    owners("hub");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    let id = format!("shop:apps/Deployment:{}/api", place.namespace);
    place.kubectl(&[
        "annotate",
        "deployment/api",
        &format!("argocd.argoproj.io/tracking-id={id}"),
    ]);
    let spec = json!({ "spec": { "syncPolicy": { "automated": { "selfHeal": true } } } });
    owner(APPLICATION, &hub, "shop", &spec);
    let told = place.astern_as(&file, &["plan"]).expect(0);
    says(
        &told,
        &[
            &format!("pause Argo CD application {}/shop", hub.namespace),
            "due within 2h",
        ],
    );
    // Whoever looks there and may not pause is told who that is there, and where the right is missing.
    let limited = json_of(&crate::support::kubeconfig().with_file_name("limited.kubeconfig"));
    let mut merged = json_of(&file);
    let mut there = limited["users"][0].clone();
    there["name"] = json!("limited-there");
    merged["users"].as_array_mut().unwrap().push(there);
    let contexts = merged["contexts"].as_array_mut().unwrap();
    contexts
        .push(json!({ "name": "limited-hub", "context": { "cluster": cluster, "user": "limited-there" } }));
    std::fs::write(&file, merged.to_string()).unwrap();
    let looks = ["--verb=get,list", "--resource=applications.argoproj.io"];
    hub.kubectl(&[&["create", "role", "looks"], &looks[..]].concat());
    let user = "--user=limited@example.test";
    hub.kubectl(&["create", "rolebinding", "looks", "--role=looks", user]);
    owners("limited-hub");
    let done = place.astern_as(&file, &["plan"]);
    assert_eq!(done.code, 3, "{done:?}");
    says(
        &done,
        &[
            "AST0218",
            &format!(
                "user limited@example.test may not patch, watch applications.argoproj.io in namespace {} of the hub cluster (context limited-hub)",
                hub.namespace
            ),
            "that is bound to limited@example.test",
        ],
    );
    owners("nowhere");
    let done = place.astern_as(&file, &["plan"]);
    assert_eq!(done.code, 1, "{done:?}");
    says(&done, &["nowhere"]);
}

#[test]
fn flux_is_paused_while_it_reconciles_and_named_while_it_is_suspended() {
    let place = Place::new("flux");
    place.platform("");
    place.bad_release("api", 1);
    for kind in [KUSTOMIZATION, HELM_RELEASE] {
        define(kind, &place);
        let mark = |label: &str| place.kubectl(&["label", "deployment/api", label]);
        mark(&format!("{}/name=shop", kind.0));
        mark(&format!("{}/namespace={}", kind.0, place.namespace));
        owner(kind, &place, "shop", &json!({ "spec": { "interval": "10m" } }));
        passes(
            &place,
            &[&format!("pause Flux {} {}/shop", kind.2, place.namespace)],
        );
        owner(
            kind,
            &place,
            "shop",
            &json!({ "spec": { "interval": "10m", "suspend": true } }),
        );
        passes(&place, &["AST0227", "spec.suspend: true", "once it is resumed"]);
        mark(&format!("{}/name-", kind.0));
        mark(&format!("{}/namespace-", kind.0));
    }
}
