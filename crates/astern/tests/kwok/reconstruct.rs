//! Content that no ledger has: out of Git at the commit that Argo CD had deployed, or from what was applied last; and what is
//! said where nobody tells it. No Argo CD runs here: its Application stands by itself.

use crate::config::{apply, config_map, data, deployment, reads, rolled_out};
use crate::manifest::{CRASHES, says};
use crate::owners::{APPLICATION, define, owner};
use crate::repository::Repository;
use crate::support::Place;
use astern_model::hashed;
use serde_json::{Value, json};
use std::time::Duration;

const GOOD: &str = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: app-config}\ndata:\n  MODE: calm\n";
const BAD: &str = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: app-config}\ndata:\n  MODE: storm\n";
/// Times that lie closer together are taken for those of one release.
const APART: Duration = Duration::from_secs(7);

fn version(version: &str, config: &str) -> Value {
    let mut api = deployment("api", reads(config));
    api["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("api:{version}"));
    if version == "v2" {
        api["spec"]["template"]["metadata"]["labels"][CRASHES] = json!("true");
    }
    api
}

/// `api` v1 with this object, and v2, which crashes, with that one.
fn released(place: &Place, good: Value, bad: Value) {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    apply(place, &[good.clone(), version("v1", &name(&good))]);
    rolled_out(place, &["api"]);
    std::thread::sleep(APART);
    apply(place, &[bad.clone(), version("v2", &name(&bad))]);
    crashes(place);
}

fn crashes(place: &Place) {
    place.until("the crash loop", 60, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
}

fn sources(place: &Place, address: &str) {
    place.platform(&format!(
        "  sources:\n  - {{repository: \"{address}\", path: deploy}}\n"
    ));
}

/// When this version of `api` came.
fn came(place: &Place, version: &str) -> String {
    let sets = place.get("replicasets");
    let of = |set: &&Value| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] == format!("api:{version}").as_str()
    };
    let set = sets["items"].as_array().unwrap().iter().find(of).unwrap();
    set["metadata"]["creationTimestamp"].as_str().unwrap().to_owned()
}

/// An Application that has deployed these commits of a folder, each when that version came.
fn argo(place: &Place, path: &str, deployed: &[(&str, &str)]) {
    let id = format!("{}_shop:apps/Deployment:{}/api", place.namespace, place.namespace);
    let mark = format!("argocd.argoproj.io/tracking-id={id}");
    place.kubectl(&["annotate", "--overwrite", "deployment/api", &mark]);
    let entry = |(commit, version): &(&str, &str)| {
        json!({ "revision": commit, "deployedAt": came(place, version),
            "source": { "repoURL": "https://git.example.test/deploy.git", "path": path } })
    };
    let history: Vec<Value> = deployed.iter().map(entry).collect();
    let more = json!({ "spec": {}, "status": { "sourceType": "Directory", "history": history } });
    owner(APPLICATION, place, "shop", &more);
}

fn plan(place: &Place, words: &[&str]) {
    let done = place.astern(&["plan"]).expect(0);
    says(&done, words);
}

fn roll_back(place: &Place) {
    place
        .astern(&["rollback", "--yes", "--reason", "v2 crashes"])
        .expect(0);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_config_map_goes_back_to_what_the_commit_holds_that_argo_cd_had_deployed() {
    let place = Place::new("from-git");
    let repository = Repository::local(&place);
    sources(&place, &repository.url);
    let good = repository.commit("v1", &[("deploy/app.yaml", GOOD)]);
    let bad = repository.commit("v2", &[("deploy/app.yaml", BAD)]);
    released(
        &place,
        config_map("app-config", json!({"MODE": "calm"})),
        config_map("app-config", json!({"MODE": "storm"})),
    );
    define(APPLICATION, &place);
    argo(&place, "deploy", &[(&good, "v1"), (&bad, "v2")]);
    let origin = format!(
        "Git commit {} (deploy/app.yaml), which Argo CD application {}/shop deployed 20",
        &good[..12],
        place.namespace
    );
    plan(
        &place,
        &[
            &format!("configmap/app-config goes back to {origin}"),
            "data[MODE]: storm → calm",
            "deployment/api starts with it",
        ],
    );
    roll_back(&place);
    assert_eq!(data(&place, "configmap/app-config"), json!({"MODE": "calm"}));
    let told = place.astern(&["report", "-o", "markdown"]).expect(0);
    says(&told, &[&origin]);
}

#[test]
fn what_git_does_not_tell_is_said_and_stays_as_it_is() {
    let place = Place::new("from-no-git");
    let repository = Repository::local(&place);
    let good = repository.commit(
        "v1",
        &[("deploy/app.yaml", GOOD), ("broken/app.yaml", "kind: [\n")],
    );
    released(
        &place,
        config_map("app-config", json!({"MODE": "calm"})),
        config_map("app-config", json!({"MODE": "storm"})),
    );
    define(APPLICATION, &place);
    let stays = |words: &str| {
        plan(
            &place,
            &[
                "configmap/app-config keeps its content of now: what it held is not known",
                words,
            ],
        );
    };
    argo(&place, "deploy", &[(&good, "v1")]);
    place.platform("");
    stays("a repository is read only where `sources` in astern.yaml names it");
    sources(&place, "file:///nowhere/deploy.git");
    stays("there is no such repository");
    sources(&place, &repository.url);
    argo(&place, "deploy", &[(&"3f2a".repeat(10), "v1")]);
    stays("it does not have that commit");
    argo(&place, "gone", &[(&good, "v1")]);
    stays("gone is no folder there");
    argo(&place, "broken", &[(&good, "v1")]);
    stays("broken/app.yaml: it is not YAML");
    let api = "kind: Deployment\nmetadata: {name: api}\nspec: {template: {spec: {containers: [{name: api, image: 'api:v3'}]}}}\n";
    let other = repository.commit("v3", &[("deploy/api.yaml", api)]);
    argo(&place, "deploy", &[(&other, "v1")]);
    stays("it says image api:v3 of deployment/api, and what that goes back to has api:v1");
    argo(&place, "deploy", &[("main", "v1")]);
    stays("a revision that is no commit of Git");
    argo(&place, "deploy", &[(&good, "v2")]);
    stays("does not reach back before");
    argo(&place, "deploy", &[]);
    stays("has no history of what it deployed");
    roll_back(&place);
    assert_eq!(data(&place, "configmap/app-config"), json!({"MODE": "storm"}));
}

#[test]
fn a_generated_config_map_that_was_pruned_is_made_anew_and_one_that_stands_is_left() {
    let place = Place::new("from-generator");
    let repository = Repository::local(&place);
    sources(&place, &repository.url);
    let generator = |mode: &str| format!("configMapGenerator:\n- {{name: app, literals: [MODE={mode}]}}\n");
    let commit = |mode: &str| repository.commit(mode, &[("deploy/kustomization.yaml", &generator(mode))]);
    let (good, bad) = (commit("calm"), commit("storm"));
    let of = |mode: &str| {
        let content = json!({"MODE": mode});
        config_map(&hashed::name("app", &json!({"data": content})), content.clone())
    };
    released(&place, of("calm"), of("storm"));
    define(APPLICATION, &place);
    argo(&place, "deploy", &[(&good, "v1"), (&bad, "v2")]);
    let name = hashed::name("app", &json!({"data": {"MODE": "calm"}}));
    let object = format!("configmap/{name}");
    plan(
        &place,
        &[&format!(
            "{object} stays: it holds what it held, by the hash of it in its name"
        )],
    );
    place.kubectl(&["delete", &object]);
    plan(
        &place,
        &[&format!(
            "{object} is made anew as of Git commit {} (deploy/kustomization.yaml)",
            &good[..12]
        )],
    );
    roll_back(&place);
    assert_eq!(data(&place, &object), json!({"MODE": "calm"}));
}

#[test]
fn what_was_applied_last_comes_back_where_somebody_changed_it_by_hand_with_the_bad_release() {
    let place = Place::new("from-applied");
    place.platform("");
    let calm = config_map("app-config", json!({"MODE": "calm"}));
    apply(&place, &[calm, version("v1", "app-config")]);
    rolled_out(&place, &["api"]);
    std::thread::sleep(APART);
    let by_hand = |mode: &str| {
        let patch = json!({"data": {"MODE": mode}}).to_string();
        let words = [
            "patch",
            "configmap/app-config",
            "--type=merge",
            "-p",
            &patch,
            "--field-manager=kubectl-edit",
        ];
        place.kubectl(&words);
    };
    by_hand("storm");
    apply(&place, &[version("v2", "app-config")]);
    crashes(&place);
    plan(
        &place,
        &[
            "configmap/app-config goes back to what kubectl-client-side-apply had applied 20",
            "(last-applied-configuration)",
            "data[MODE]: storm → calm",
        ],
    );
    // Once the pipeline has applied the content of the bad release, that is no content of then.
    apply(&place, &[config_map("app-config", json!({"MODE": "gale"}))]);
    by_hand("storm");
    plan(
        &place,
        &[
            "configmap/app-config keeps its content of now",
            "may have come with the version that was applied",
        ],
    );
    apply(&place, &[config_map("app-config", json!({"MODE": "storm"}))]);
    let told = place.astern(&["plan"]).expect(0);
    assert!(!told.out.contains("configmap/app-config"), "{}", told.out);
}

/// Commits of the folder that deploys `api` at these versions, each with its ConfigMap; the cluster has pruned what came before the last,
/// which crashes.
fn pruned(place: &Place, repository: &Repository) -> (String, String) {
    let commit = |named: &str, config: &str| {
        let mut api = version(named, "app-config");
        // What the API server adds to is no template that anything else would know.
        api["spec"]["strategy"] = json!({ "type": "Recreate" });
        let text = api.to_string();
        let files = [("deploy/app.yaml", config), ("deploy/api.json", text.as_str())];
        let id = repository.commit(named, &files);
        let name = config_map(
            "app-config",
            json!({ "MODE": if named == "v1" { "calm" } else { "storm" } }),
        );
        apply(place, &[name, api]);
        id
    };
    let good = commit("v1", GOOD);
    rolled_out(place, &["api"]);
    std::thread::sleep(APART);
    let bad = commit("v2", BAD);
    crashes(place);
    define(APPLICATION, place);
    argo(place, "deploy", &[(&good, "v1"), (&bad, "v2")]);
    let set = place.get("replicasets")["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == "api:v1")
        .map(|set| set["metadata"]["name"].as_str().unwrap().to_owned());
    place.kubectl(&["delete", "replicaset", &set.unwrap()]);
    (good, bad)
}

#[test]
fn a_template_that_the_cluster_has_pruned_goes_back_to_what_argo_cd_had_deployed_with_its_content() {
    let place = Place::new("pruned-from-git");
    let repository = Repository::local(&place);
    sources(&place, &repository.url);
    let (good, _) = pruned(&place, &repository);
    let origin = |file: &str| {
        format!(
            "Git commit {} (deploy/{file}), which Argo CD application {}/shop deployed 20",
            &good[..12],
            place.namespace
        )
    };
    plan(
        &place,
        &[
            &format!("from {}", origin("api.json")),
            "the cluster remembers no replicaset of it",
            "presumed from its manifest alone",
            &format!("configmap/app-config goes back to {}", origin("app.yaml")),
        ],
    );
    // A plan that was kept finds what it goes back to in the vault, and the gate tries it once more.
    let file = place.file("plan.json");
    place.astern(&["plan", "-o", file.to_str().unwrap()]).expect(0);
    let words = ["run", file.to_str().unwrap(), "--yes", "--reason", "v2 crashes"];
    let done = place.astern(&words).expect(0);
    assert!(!done.err.contains("AST0213"), "{}", done.err);
    assert_eq!(place.image("api"), "api:v1");
    assert_eq!(data(&place, "configmap/app-config"), json!({"MODE": "calm"}));
    let labels = &place.get("deployment/api")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels, &json!({"app": "api"}));
}

#[test]
fn why_git_tells_no_template_of_then_is_part_of_the_refusal() {
    let place = Place::new("pruned-from-no-git");
    let repository = Repository::local(&place);
    sources(&place, &repository.url);
    let (good, bad) = pruned(&place, &repository);
    let refused = |words: &[&str]| {
        let done = place.astern(&["plan"]);
        assert_eq!(done.code, 3, "{done:?}");
        says(&done, words);
    };
    place.platform("");
    refused(&["a repository is read only where `sources` in astern.yaml names it for deployment/api"]);
    sources(&place, "file:///nowhere/deploy.git");
    refused(&["there is no such repository"]);
    sources(&place, &repository.url);
    let other = repository.commit("gone", &[("elsewhere/app.yaml", GOOD)]);
    let history = |commits: &[&str]| {
        let at = |place: usize| format!("2026-11-27T1{place}:00:00Z");
        let entry = |(place, commit): (usize, &&str)| {
            json!({ "revision": commit, "deployedAt": at(place),
                "source": { "repoURL": "https://git.example.test/deploy.git", "path": if **commit == other { "elsewhere" } else { "deploy" } } })
        };
        let history: Vec<Value> = commits.iter().enumerate().map(entry).collect();
        let more = json!({ "spec": {}, "status": { "sourceType": "Directory", "history": history } });
        owner(APPLICATION, &place, "shop", &more);
    };
    history(&[&other, &bad]);
    refused(&[&format!(
        "had deployed commit {}: no file there makes it",
        &other[..12]
    )]);
    // What lies between the good commit and the bad one is not known, so neither is how long the good one served.
    history(&[&good, &other, &bad]);
    refused(&["it is unknown how long it served"]);
    place
        .astern(&["plan", "--to", "deployment/api=image:v1"])
        .expect(0);
    // Of a version that was deployed once there is nothing before it.
    history(&[&bad]);
    let done = place.astern(&["plan"]);
    assert_eq!(done.code, 3, "{done:?}");
}
