//! Whoever would write a rollback away is paused by it with its own means, stays paused, and goes on once Git says what runs.

use crate::owner::{Application, flux_kustomization, flux_source, until_ready};
use crate::repository::{BRANCH, Repository};
use crate::support::{Done, Place};
use serde_json::{Value, json};

pub(crate) const YES: [&str; 5] = ["--yes", "--reason", "it crashes", "--foreground", "--accessible"];
/// Argo CD heals within a second here, Flux at its interval of two.
const LONG_ENOUGH: std::time::Duration = std::time::Duration::from_secs(8);
/// An owner sees a commit within its polling interval of ten seconds; a machine that builds needs longer.
pub(crate) const SEEN_WITHIN: u64 = 90;

/// A Deployment `api` as somebody keeps it in Git; v2 crashes.
pub(crate) fn manifest(version: &str) -> String {
    let crashes = if version == "v2" {
        ", kwok.astern.dev/crash-loop: \"true\""
    } else {
        ""
    };
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: api\nspec:\n  replicas: 1\n  \
         selector: {{matchLabels: {{app: api}}}}\n  template:\n    metadata: {{labels: {{app: api{crashes}}}}}\n    spec:\n      \
         containers:\n      - name: api\n        image: api:{version}\n"
    )
}

/// v1, old enough to be presumed good, then v2, which crashes: both by way of Git.
pub(crate) fn bad_release(place: &Place, repository: &Repository) -> String {
    place.until("v1 to be there", SEEN_WITHIN, |place| {
        place
            .kubectl(&["get", "deployments", "-o", "name"])
            .contains("api")
    });
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=90s"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let commit = repository.commit("v2", &[("deploy/api.yaml", &manifest("v2"))]);
    place.until("v2 to crash", SEEN_WITHIN, |place| {
        place.image("api") == "api:v2" && place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
    commit
}

pub(crate) fn roll_back(place: &Place, more: &[&str]) -> Done {
    place.astern(&[&["rollback"], &YES[..], more].concat())
}

pub(crate) fn says(done: &Done, words: &[&str]) {
    let all = format!("{}{}", done.out, done.err);
    for word in words {
        assert!(all.contains(word), "{word:?} is not in\n{all}");
    }
}

/// Nobody writes v1 away.
pub(crate) fn it_stays(place: &Place) {
    let generation = |place: &Place| place.get("deployment/api")["metadata"]["generation"].clone();
    let before = generation(place);
    std::thread::sleep(LONG_ENOUGH);
    assert_eq!(place.image("api"), "api:v1");
    assert_eq!(generation(place), before);
}

pub(crate) fn automated(application: &Value) -> &Value {
    &application["spec"]["syncPolicy"]["automated"]
}

pub(crate) fn put_in_argocd(place: &Place, object: &Value) {
    let file = place.file("object.json");
    std::fs::write(&file, object.to_string()).unwrap();
    place.kubectl(&[
        "-n",
        Application::NAMESPACE,
        "apply",
        "-f",
        file.to_str().unwrap(),
    ]);
}

pub(crate) fn resume(place: &Place, more: &[&str]) -> Done {
    place.astern(&[&["owners", "resume"], &YES[..], more].concat())
}

#[test]
fn a_rollback_under_argo_cd_is_not_reverted_and_argo_cd_goes_on_once_git_says_what_runs() {
    let place = Place::new("argo");
    place.platform("");
    let repository = Repository::new(&place);
    repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    let application = Application::new(&place, &repository, "deploy");
    bad_release(&place, &repository);

    let plan = place.astern(&["plan"]).expect(0);
    let named = format!("Argo CD application argocd/{}", place.namespace);
    says(
        &plan,
        &[
            "1 owner paused",
            &format!("pause {named}"),
            "Stays paused after the run",
        ],
    );
    assert_eq!(
        automated(&application.get(&place))["selfHeal"],
        true,
        "a plan changes nothing"
    );

    says(&roll_back(&place, &[]).expect(0), &["owners paused"]);
    // What Argo CD says in that moment may be of before: nobody is let go on by it.
    let early = resume(&place, &[]);
    assert!([3, 4].contains(&early.code), "{early:?}");
    it_stays(&place);
    assert_eq!(*automated(&application.get(&place)), Value::Null);

    // Whoever looks is told, and the report too.
    let due = [
        "is paused by run r",
        "due by",
        "its source is not what runs yet",
        "astern owners resume",
    ];
    says(&place.astern(&["status"]).expect(0), &due);
    says(&place.astern(&["owners"]).expect(0), &due);
    let told = [
        "it has compared once more since, and no sync is running",
        "this run has paused it at",
        "it is due by",
    ];
    says(&place.astern(&["report", "-o", "markdown"]).expect(0), &told);
    says(&resume(&place, &[]).expect(3), &["AST0235", "OutOfSync"]);
    assert_eq!(*automated(&application.get(&place)), Value::Null);

    let good = repository.commit("back to v1", &[("deploy/api.yaml", &manifest("v1"))]);
    place.until("Argo CD to have seen the revert", SEEN_WITHIN, |place| {
        let status = &application.get(place)["status"]["sync"];
        status["status"] == "Synced" && status["revision"] == good
    });
    resume(&place, &[]).expect(0);
    assert_eq!(automated(&application.get(&place))["selfHeal"], true);
    let annotations = &application.get(&place)["metadata"]["annotations"];
    assert_eq!(annotations["astern.dev/paused"], Value::Null);
    it_stays(&place);
    application.until_synced(&place, &good);
    says(
        &resume(&place, &[]).expect(3),
        &["no owner of what runs here was paused by a run"],
    );
}

#[test]
fn the_application_above_is_paused_first_and_switching_on_again_is_seen() {
    let place = Place::new("argo-apps");
    place.platform("");
    let repository = Repository::new(&place);
    let child = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": { "name": place.namespace, "namespace": Application::NAMESPACE },
        "spec": {
            "project": "default",
            "source": { "repoURL": repository.url, "targetRevision": BRANCH, "path": "deploy" },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": place.namespace },
            "syncPolicy": { "automated": { "selfHeal": true } },
        },
    });
    repository.commit(
        "v1",
        &[
            ("deploy/api.yaml", &manifest("v1")),
            ("apps/child.yaml", &child.to_string()),
        ],
    );
    let root = Application::named(&place, &format!("{}-root", place.namespace), &repository, "apps");
    let application = Application::existing(&place.namespace);
    bad_release(&place, &repository);

    roll_back(&place, &[]).expect(0);
    it_stays(&place);
    for paused in [&root, &application] {
        assert_eq!(*automated(&paused.get(&place)), Value::Null);
    }
    let owners = place.astern(&["owners", "-o", "json"]).expect(0).json();
    let owners = serde_json::to_string(&owners).unwrap();
    assert!(owners.contains(&format!("{}-root", place.namespace)), "{owners}");

    // Somebody switches the one above on again: it switches on the one below, and the bad version is back.
    place.kubectl(&[
        "-n",
        Application::NAMESPACE,
        "patch",
        "application",
        &format!("{}-root", place.namespace),
        "--type=merge",
        "-p",
        r#"{"spec":{"syncPolicy":{"automated":{"selfHeal":true}}}}"#,
    ]);
    place.until("the bad version to be back", SEEN_WITHIN, |place| {
        place.image("api") == "api:v2"
    });
    says(
        &place.astern(&["owners"]).expect(0),
        &["writes: automated.selfHeal: true"],
    );
}

#[test]
fn a_run_whose_owner_somebody_switches_on_again_does_not_pass_its_validation() {
    let place = Place::new("argo-on");
    place.platform("");
    let file = place.file("astern.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("soak: 2s", "soak: 20s")).unwrap();
    let repository = Repository::new(&place);
    repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    let application = Application::new(&place, &repository, "deploy");
    bad_release(&place, &repository);
    let run = place.start(&[&["rollback"], &YES[..]].concat());
    place.until("v1 to be back", SEEN_WITHIN, |place| {
        place.image("api") == "api:v1"
    });
    place.until("the rollout to be over", SEEN_WITHIN, |place| {
        place.get("deployment/api")["status"]["readyReplicas"] == 1
    });
    application.patch(
        &place,
        r#"{"spec":{"syncPolicy":{"automated":{"selfHeal":true}}}}"#,
    );
    let done: Done = crate::support::output_of(run, "rollback").into();
    let done = done.expect(5);
    let told = format!("{}{}", done.out, done.err);
    assert!(
        told.contains("has switched Argo CD application") || told.contains("not for what was written back"),
        "{told}"
    );
}

#[test]
fn the_set_that_makes_an_application_leaves_it_paused() {
    let place = Place::new("argo-set");
    place.platform("");
    let repository = Repository::new(&place);
    repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    put_in_argocd(
        &place,
        &json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "ApplicationSet",
            "metadata": { "name": place.namespace, "namespace": Application::NAMESPACE },
            "spec": {
                "generators": [{ "list": { "elements": [{ "name": place.namespace }] } }],
                "template": {
                    "metadata": { "name": "{{name}}" },
                    "spec": {
                        "project": "default",
                        "source": { "repoURL": repository.url, "targetRevision": BRANCH, "path": "deploy" },
                        "destination": { "server": "https://kubernetes.default.svc", "namespace": place.namespace },
                        "syncPolicy": { "automated": { "selfHeal": true } },
                    },
                },
            },
        }),
    );
    let _set = crate::owner::Gone(["applicationset", &place.namespace].map(str::to_owned));
    let application = Application::existing(&place.namespace);
    bad_release(&place, &repository);

    let plan = place.astern(&["plan"]).expect(0);
    says(
        &plan,
        &["2 owners paused", "pause Argo CD application set argocd/"],
    );
    roll_back(&place, &[]).expect(0);
    it_stays(&place);
    assert_eq!(*automated(&application.get(&place)), Value::Null);

    let good = repository.commit("back to v1", &[("deploy/api.yaml", &manifest("v1"))]);
    place.until("Argo CD to have seen the revert", SEEN_WITHIN, |place| {
        let status = &application.get(place)["status"]["sync"];
        status["status"] == "Synced" && status["revision"] == good
    });
    // The set has no source of its own that the cluster could compare.
    says(&resume(&place, &[]).expect(3), &["AST0235", "--source-matches"]);
    resume(&place, &["--source-matches", &place.namespace]).expect(0);
    assert_eq!(automated(&application.get(&place))["selfHeal"], true);
    it_stays(&place);
}

#[test]
fn a_rollback_under_flux_is_not_reverted_and_flux_goes_on_by_somebodys_word() {
    let place = Place::new("flux");
    place.platform("");
    let repository = Repository::new(&place);
    repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    flux_source(&place, &repository);
    flux_kustomization(&place, "./deploy");
    until_ready(&place, "kustomization/shop");
    bad_release(&place, &repository);

    let plan = place.astern(&["plan"]).expect(0);
    says(
        &plan,
        &[&format!("pause Flux Kustomization {}/shop", place.namespace)],
    );
    roll_back(&place, &[]).expect(0);
    it_stays(&place);
    assert_eq!(place.get("kustomization/shop")["spec"]["suspend"], true);
    says(
        &place.astern(&["status"]).expect(0),
        &[
            "Flux Kustomization",
            "is paused by run r",
            "astern owners resume shop",
        ],
    );

    says(
        &resume(&place, &[]).expect(3),
        &["AST0235", "--source-matches shop"],
    );
    repository.commit("back to v1", &[("deploy/api.yaml", &manifest("v1"))]);
    place.until("Flux to have fetched the revert", SEEN_WITHIN, |place| {
        let source = place.get("gitrepository/source");
        let revision = source["status"]["artifact"]["revision"]
            .as_str()
            .unwrap_or_default();
        revision.ends_with(&repository.head())
    });
    resume(&place, &["shop", "--source-matches", "shop"]).expect(0);
    assert!(place.get("kustomization/shop")["spec"]["suspend"] != true);
    it_stays(&place);
}

/// The Kustomization `shop` over folder `deploy`, as folder `apps` of the repository has it.
fn below(suspend: Option<bool>) -> String {
    let mut object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": { "name": "shop" },
        "spec": {
            "interval": "2s",
            "path": "./deploy",
            "prune": false,
            "sourceRef": { "kind": "GitRepository", "name": "source" },
        },
    });
    if let Some(suspend) = suspend {
        object["spec"]["suspend"] = json!(suspend);
    }
    object.to_string()
}

#[test]
fn a_kustomization_above_another_is_paused_too_only_where_its_source_says_suspend() {
    let place = Place::new("flux-above");
    place.platform("");
    let repository = Repository::new(&place);
    let in_namespace = manifest("v1").replace(
        "name: api\nspec",
        &format!("name: api\n  namespace: {}\nspec", place.namespace),
    );
    repository.commit(
        "v1",
        &[
            ("deploy/api.yaml", &in_namespace),
            ("apps/shop.yaml", &below(None)),
        ],
    );
    flux_source(&place, &repository);
    place.put(&json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": { "name": "apps", "namespace": place.namespace },
        "spec": {
            "interval": "2s",
            "path": "./apps",
            "prune": false,
            "targetNamespace": place.namespace,
            "sourceRef": { "kind": "GitRepository", "name": "source" },
        },
    }));
    place.until("v1 to be there", SEEN_WITHIN, |place| {
        place
            .kubectl(&["get", "deployments", "-o", "name"])
            .contains("api")
    });
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=90s"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let bad = manifest("v2").replace(
        "name: api\nspec",
        &format!("name: api\n  namespace: {}\nspec", place.namespace),
    );
    repository.commit(
        "v2",
        &[("deploy/api.yaml", &bad), ("apps/shop.yaml", &below(Some(false)))],
    );
    place.until("v2 to crash", SEEN_WITHIN, |place| {
        place.image("api") == "api:v2" && place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
    let suspend =
        |place: &Place, name: &str| place.get(&format!("kustomization/{name}"))["spec"]["suspend"].clone();
    place.until("the source's suspend to be there", SEEN_WITHIN, |place| {
        suspend(place, "shop") == false
    });
    let apps = format!("pause Flux Kustomization {}/apps", place.namespace);
    says(&place.astern(&["plan"]).expect(0), &[&apps, "2 owners paused"]);

    repository.commit("without suspend", &[("apps/shop.yaml", &below(None))]);
    place.until("the source's suspend to be gone", SEEN_WITHIN, |place| {
        suspend(place, "shop").is_null()
    });
    roll_back(&place, &[]).expect(0);
    it_stays(&place);
    assert_eq!(suspend(&place, "shop"), true);
    assert_ne!(suspend(&place, "apps"), true);
}

#[test]
fn a_run_that_is_taken_back_lets_its_owner_go_on() {
    let place = Place::new("argo-undo");
    place.platform("");
    let repository = Repository::new(&place);
    repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    let application = Application::new(&place, &repository, "deploy");
    place.until("v1 to be there", SEEN_WITHIN, |place| {
        place
            .kubectl(&["get", "deployments", "-o", "name"])
            .contains("api")
    });
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=90s"]);
    let serves = manifest("v1").replace("api:v1", "api:v3");
    let commit = repository.commit("v3", &[("deploy/api.yaml", &serves)]);
    application.until_synced(&place, &commit);
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=90s"]);

    roll_back(&place, &["--only", "api", "--to", "api=1"]).expect(0);
    assert_eq!(*automated(&application.get(&place)), Value::Null);
    assert_eq!(place.image("api"), "api:v1");
    let runs = place.astern(&["runs", "-o", "json"]).expect(0).json();
    let run = runs["items"][0]["run"].as_str().unwrap().to_owned();
    let done = place.astern(&[&["undo", &run], &YES[..]].concat()).expect(0);
    says(&done, &["resume Argo CD application"]);
    assert_eq!(place.image("api"), "api:v3");
    assert_eq!(automated(&application.get(&place))["selfHeal"], true);
    assert_eq!(place.get("deployment/api")["spec"]["replicas"], 1);
}
