//! Argo CD in a hub: another API server, which has the Applications and none of the platform's workloads.

use crate::manifest::says;
use crate::owners::APPLICATION;
use crate::support::{Place, kubeconfig, kubectl_of, with_hub};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The name of an Application is the cluster's own: no other test of this lane has one.
const NAME: &str = "shop";

/// The hub, as its administrator sees it.
struct Hub {
    kubeconfig: PathBuf,
    namespace: String,
}

impl Hub {
    fn new(namespace: &str) -> Self {
        let kubeconfig = std::env::var_os("ASTERN_TEST_HUB")
            .unwrap_or_else(|| panic!("run `cargo xtask test --lane kwok`, which sets ASTERN_TEST_HUB"));
        let hub = Self {
            kubeconfig: PathBuf::from(kubeconfig),
            namespace: namespace.to_owned(),
        };
        hub.kubectl(&["create", "namespace", namespace]);
        hub
    }

    fn kubectl(&self, words: &[&str]) -> String {
        kubectl_of(&self.kubeconfig, words)
    }

    fn apply(&self, place: &Place, object: &Value) {
        let file = place.file("hub.json");
        std::fs::write(&file, object.to_string()).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// An Application that heals, and the resource that it is of.
    fn application(&self, place: &Place) {
        let (group, version, kind) = APPLICATION;
        let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        self.apply(place, &json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("applications.{group}") },
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": { "plural": "applications", "singular": "application", "kind": kind },
                "versions": [{ "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": open } }],
            },
        }));
        let crd = format!("crd/applications.{group}");
        self.kubectl(&["wait", &crd, "--for=condition=Established", "--timeout=60s"]);
        self.apply(
            place,
            &json!({
                "apiVersion": format!("{group}/{version}"),
                "kind": kind,
                "metadata": { "name": NAME, "namespace": self.namespace },
                "spec": { "syncPolicy": { "automated": { "selfHeal": true } } },
            }),
        );
    }

    fn automated(&self) -> Value {
        self.object()["spec"]["syncPolicy"]["automated"].clone()
    }

    fn object(&self) -> Value {
        let told = self.kubectl(&["-n", &self.namespace, "get", "application", NAME, "-o", "json"]);
        serde_json::from_str(&told).unwrap()
    }

    /// What anybody but kubectl has written in the hub, by its own audit log: `patch applications`.
    fn written(&self) -> BTreeSet<String> {
        let log = std::fs::read_to_string(self.kubeconfig.with_file_name("audit.log")).unwrap();
        let events = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |event: &Value, at: &str| {
            event
                .pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let written = events.filter(|event| {
            let reads = ["get", "list", "watch"].contains(&text(event, "/verb").as_str());
            let reviews = text(event, "/objectRef/apiGroup") == "authorization.k8s.io"
                || text(event, "/objectRef/apiGroup") == "authentication.k8s.io";
            !reads && !reviews && !text(event, "/userAgent").starts_with("kubectl/")
        });
        written
            .map(|event| {
                format!(
                    "{} {} {}/{}",
                    text(&event, "/verb"),
                    text(&event, "/objectRef/resource"),
                    text(&event, "/objectRef/namespace"),
                    text(&event, "/objectRef/name")
                )
            })
            .collect()
    }
}

/// A bad release of deployment api, which belongs to the Application in the hub.
fn staged(name: &str) -> (Place, Hub) {
    let place = Place::new(name);
    place.platform(&format!(
        "  owners: {{guard: 2h, argocd: {{context: hub, namespace: {}}}}}\n",
        place.namespace
    ));
    place.bad_release("api", 1);
    let hub = Hub::new(&place.namespace);
    hub.application(&place);
    let id = format!("{NAME}:apps/Deployment:{}/api", place.namespace);
    let mark = format!("argocd.argoproj.io/tracking-id={id}");
    place.kubectl(&["annotate", "deployment/api", &mark]);
    (place, hub)
}

#[test]
fn argo_cd_in_another_cluster_is_paused_and_resumed_there_and_nothing_else_is_written_there() {
    let (place, hub) = staged("hub");
    let config = with_hub(&place, &kubeconfig(), &hub.kubeconfig);
    let astern = |words: &[&str]| place.astern_as(&config, words);
    // The hub may have been there for an earlier run of the tests.
    let earlier = hub.written();
    let written = || -> BTreeSet<String> { hub.written().difference(&earlier).cloned().collect() };
    let name = format!("Argo CD application {}/{NAME}", place.namespace);
    says(&astern(&["owners"]).expect(0), &[&name, "writes"]);
    says(
        &astern(&["plan"]).expect(0),
        &[&format!("pause {name}"), "due within 2h"],
    );
    assert_eq!(written(), BTreeSet::new());

    let yes = ["--yes", "--foreground", "--reason", "errors since 14:02"];
    astern(&[&["rollback"], &yes[..]].concat()).expect(0);
    assert_eq!(place.image("api"), "api:v1");
    assert_eq!(hub.automated(), Value::Null);
    assert!(hub.object()["metadata"]["annotations"]["astern.dev/paused"].is_string());
    says(
        &astern(&["status"]).expect(0),
        &[&format!("{name} is paused by run r")],
    );
    says(&astern(&["owners"]).expect(0), &[&name, "run r"]);

    // Nobody compares there: by somebody's word.
    let resume = [&["owners", "resume"], &yes[..]].concat();
    says(&astern(&resume).expect(3), &["AST0235", "--source-matches shop"]);
    astern(&[&resume[..], &["--source-matches", NAME]].concat()).expect(0);
    assert_eq!(hub.automated(), json!({ "selfHeal": true }));
    assert_eq!(
        hub.object()["metadata"]["annotations"]["astern.dev/paused"],
        Value::Null
    );
    let only = format!("patch applications {}/{NAME}", place.namespace);
    assert_eq!(written(), BTreeSet::from([only]));
}

#[test]
fn a_right_that_is_missing_in_the_hub_is_told_with_the_hubs_context() {
    let (place, hub) = staged("hub-rights");
    let limited = hub.kubeconfig.with_file_name("limited.kubeconfig");
    let config = with_hub(&place, &kubeconfig(), &limited);
    // Who may not even look is told so.
    says(
        &place.astern_as(&config, &["plan"]).expect(3),
        &["AST0227", "(context hub)", "applications"],
    );
    let within = ["-n", &place.namespace];
    let looks = [
        "create",
        "role",
        "looks",
        "--verb=get,list",
        "--resource=applications.argoproj.io",
    ];
    hub.kubectl(&[&within[..], &looks].concat());
    let bound = [
        "create",
        "rolebinding",
        "looks",
        "--role=looks",
        "--user=limited@example.test",
    ];
    hub.kubectl(&[&within[..], &bound].concat());
    says(
        &place.astern_as(&config, &["plan"]).expect(3),
        &[
            "AST0218",
            "user limited@example.test may not patch",
            "applications.argoproj.io",
            "of the hub cluster (context hub)",
        ],
    );
    assert_eq!(hub.automated(), json!({ "selfHeal": true }));
}
