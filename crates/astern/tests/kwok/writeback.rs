//! What a run took back, said in the Git folders that astern.yaml names; what cannot be said, refused with nothing pushed.

use crate::helm::helms;
use crate::repository::{BRANCH, Repository};
use crate::support::{Done, Place, ended, kubeconfig};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Values that only the cluster, the vault, the repository and its patch may hold.
const BAD: &str = "canary-bad-7f3a";
const GOOD: &str = "canary-good-91bc";
const TOKEN: &str = "canary-token-55d0";

const API: &str = "\
# kept by the shop team
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
      - name: api
        image: api:v2 # by the pipeline
        envFrom: [{configMapRef: {name: app-config}}]
        env:
        - {name: KEY, value: canary-bad-7f3a}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app-config}
data:
  LIMIT: \"99\" # tuned
  MODE: canary-bad-7f3a
";
const VALUES: &str = "worker:\n  image: {tag: v2} # by the pipeline\n";

fn deployment(name: &str, version: &str, container: Value) -> Value {
    let mut container = container;
    container["name"] = json!(name);
    container["image"] = json!(format!("{name}:{version}"));
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [container]},
        }},
    })
}

/// The platform at one version, rolled out.
fn release(place: &Place, version: &str, value: &str, limit: &str) {
    let api = json!({
        "envFrom": [{"configMapRef": {"name": "app-config"}}],
        "env": [{"name": "KEY", "value": value}],
    });
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app-config"},
        "data": {"LIMIT": limit, "MODE": value}});
    let items = [
        config,
        deployment("api", version, api),
        deployment("worker", version, json!({})),
    ];
    place.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    for name in ["api", "worker"] {
        let words = [
            "rollout",
            "status",
            &format!("deployment/{name}"),
            "--timeout=60s",
        ];
        place.kubectl(&words);
    }
}

/// Release 1.0 is good, v2 has come, and a run has gone back to 1.0; its repository still says v2. `sources` follow in
/// astern.yaml, with the repository's address for `URL`.
fn taken_back(name: &str, sources: &str) -> (Place, Repository) {
    let place = Place::new(name);
    let repository = Repository::local(&place);
    place.platform(&sources.replace("URL", &repository.url));
    repository.commit(
        "v2",
        &[("deploy/api.yaml", API), ("charts/worker/prod.yaml", VALUES)],
    );
    release(&place, "v1", GOOD, "10");
    let words = [
        "releases",
        "record",
        "--version",
        "1.0",
        "--good",
        "--reason",
        "it serves",
    ];
    place.astern(&words).expect(0);
    release(&place, "v2", BAD, "99");
    let words = [
        "rollback",
        "--yes",
        "--foreground",
        "--reason",
        "orders fail",
        "--to",
        "1.0",
    ];
    place.astern(&words).expect(0);
    (place, repository)
}

fn refused(done: Done, repository: &Repository, words: &[&str]) {
    let done = done.expect(3);
    let told = done.out + &done.err;
    for word in words {
        assert!(told.contains(word), "{word} is not in:\n{told}");
    }
    silent(&told);
    assert_eq!(repository.branches(), [BRANCH], "nothing was pushed");
}

/// No value, and no token.
fn silent(told: &str) {
    for canary in [BAD, GOOD, TOKEN] {
        assert!(!told.contains(canary), "{canary} is in:\n{told}");
    }
}

#[test]
fn templates_config_and_values_go_back_in_git_and_no_value_is_shown() {
    let (place, repository) = taken_back(
        "writeback",
        "  sources:\n  - {repository: URL, path: deploy, workloads: [api]}\n  - {repository: URL, path: charts/worker, kind: helm-values, workloads: [worker], values: {file: prod.yaml, images: [{container: worker, tag: worker.image.tag}]}}\n",
    );
    let words = ["writeback", "--push", "--folder", "files", "-o", "json"];
    let done = place.astern(&words).expect(0);
    silent(&(done.out.clone() + &done.err));
    let told = done.json();
    let branch = told["sources"][0]["branch"]["name"].as_str().unwrap();
    let expected = API
        .replace("api:v2", "api:v1")
        .replace("\"99\"", "\"10\"")
        .replace(BAD, GOOD);
    assert_eq!(repository.show(branch, "deploy/api.yaml"), expected);
    // Both folders are one commit.
    assert_eq!(told["sources"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        repository.show(branch, "charts/worker/prod.yaml"),
        VALUES.replace("v2", "v1")
    );
    assert_eq!(repository.show(BRANCH, "deploy/api.yaml"), API);
    for entry in std::fs::read_dir(place.file("files")).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        if file.extension().is_some_and(|ending| ending == "md") {
            assert!(text.contains("orders fail"), "{text}");
            silent(&text);
        }
    }
    assert_eq!(
        place.astern(&words).expect(0).json(),
        told,
        "the same command again"
    );
    silent(&place.astern(&["writeback"]).expect(0).out);
    // The same once it is merged there: the branch is still the run's.
    repository.merge(branch);
    place.astern(&["writeback", "--push"]).expect(0);
}

#[test]
fn what_cannot_be_written_back_is_refused_with_what_to_do() {
    let (place, repository) = taken_back("writeback-no", "");
    let sources = |text: &str| place.platform(&text.replace("URL", &repository.url));
    let push = || place.astern(&["writeback", "--push"]);
    refused(
        push(),
        &repository,
        &["AST0162", "deployment/api", "spec.sources"],
    );
    sources("  sources:\n  - {repository: URL, path: overlays/prod}\n");
    refused(
        push(),
        &repository,
        &["AST0160", "overlays is not there", "`path`"],
    );
    sources("  sources:\n  - {repository: URL, branch: production}\n");
    refused(push(), &repository, &["AST0163", "branch production"]);
    // One of two that refuses keeps the other from being pushed.
    sources(
        "  sources:\n  - {repository: URL, path: deploy, workloads: [api]}\n  - {repository: URL, path: charts, workloads: [worker]}\n",
    );
    refused(
        push(),
        &repository,
        &["AST0160", "deployment/worker is not there"],
    );
    sources(
        "  sources:\n  - {repository: URL, path: deploy, workloads: [api]}\n  - {repository: URL, path: charts/worker, kind: helm-values, workloads: [worker], values: {file: prod.yaml}}\n",
    );
    refused(push(), &repository, &["AST0160", "image.tag"]);
    let token = "  sources:\n  - {repository: URL, path: deploy, token: {env: ASTERN_TEST_NO_TOKEN}}\n";
    sources(token);
    refused(push(), &repository, &["AST0167", "ASTERN_TEST_NO_TOKEN"]);
    place.astern(&["writeback", "--pull-request"]).expect(2);
    place.astern(&["writeback", "r20200101-000000-ffff"]).expect(1);
    // Later commits are nobody's to take back.
    let later = API.replace("api:v2", "api:v3");
    let worker = deployment("worker", "v2", json!({})).to_string();
    repository.commit(
        "v3",
        &[("deploy/api.yaml", &later), ("deploy/worker.json", &worker)],
    );
    sources("  sources:\n  - {repository: URL, path: deploy}\n");
    refused(
        push(),
        &repository,
        &["AST0160", "containers[api].image", "by hand"],
    );
    // A remote that refuses: the patch is there all the same.
    repository.commit("v2 again", &[("deploy/api.yaml", API)]);
    repository.refuse("no branches of robots");
    let done = place.astern(&["writeback", "--push", "--folder", "files"]);
    refused(
        done,
        &repository,
        &["AST0164", "no branches of robots", "apply the patch by hand"],
    );
    let written = std::fs::read_dir(place.file("files")).unwrap().count();
    assert_eq!(written, 2, "the patch and the text");
    // A restart changes no version; a release that came since does, and the run has no word on it.
    place.kubectl(&["rollout", "restart", "deployment/api"]);
    place.astern(&["writeback"]).expect(0);
    release(&place, "v3", GOOD, "10");
    refused(
        push(),
        &repository,
        &["AST0168", "deployment/api", "something else by now"],
    );
}

/// GitHub's API as far as it is called: no pull request yet, then one that is opened. What was asked.
fn github() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut some = [0; 4096];
            let is_whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request).to_lowercase();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    return false;
                };
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.lines().next());
                body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
            };
            while !is_whole(&request) {
                let read = stream.read(&mut some).unwrap();
                request.extend_from_slice(&some[..read]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let (status, body) = if request.starts_with("POST") {
                (
                    "201 Created",
                    "{\"html_url\":\"https://github.test/shop/deploy/pull/7\"}",
                )
            } else {
                ("200 OK", "[]")
            };
            kept.lock().unwrap().push(request);
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, asked)
}

#[test]
fn a_pull_request_says_why_and_what_and_carries_no_value() {
    let (place, repository) = taken_back("writeback-pr", "");
    let worker = deployment("worker", "v2", json!({})).to_string();
    repository.commit("worker", &[("deploy/worker.json", &worker)]);
    let (api, asked) = github();
    let token = place.file("token");
    std::fs::write(&token, TOKEN).unwrap();
    let source = format!(
        "  sources:\n  - repository: {}\n    path: deploy\n    token: {{file: {}}}\n    pullRequests: {{api: \"{api}\", repository: shop/deploy}}\n",
        repository.url,
        token.display()
    );
    place.platform(&source);
    let done = place.astern(&["writeback", "--push", "--pull-request"]).expect(0);
    let told = done.out + &done.err;
    assert!(told.contains("https://github.test/shop/deploy/pull/7"), "{told}");
    silent(&told);
    let asked = asked.lock().unwrap();
    let [listed, opened] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert!(
        listed.starts_with("GET /repos/shop/deploy/pulls?head=shop%3Aastern%2Frollback-"),
        "{listed}"
    );
    assert!(
        opened.contains(&format!("authorization: Bearer {TOKEN}")),
        "{opened}"
    );
    let body: Value = serde_json::from_str(opened.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["base"], BRANCH);
    let text = body["body"].as_str().unwrap();
    assert!(
        text.contains("orders fail") && text.contains("(before)"),
        "{text}"
    );
    for value in [BAD, GOOD] {
        assert!(!text.contains(value), "{text}");
    }
}

#[test]
fn a_release_that_went_back_through_helm_goes_back_in_its_values_and_in_a_helm_release_of_flux() {
    let place = Place::new("writeback-helm");
    let repository = Repository::local(&place);
    let values = |tag: &str| {
        let level = if tag == "v1" { "info" } else { "debug" };
        format!(
            "# of production\nimage:\n  repository: shop\n  tag: {tag} # by the pipeline\nlevel: {level}\n"
        )
    };
    repository.commit("v2", &[("charts/shop/values.yaml", &values("v2"))]);
    place.platform(&format!(
        "  sources:\n  - {{repository: \"{}\", path: charts/shop, kind: helm-values}}\n",
        repository.url
    ));
    let manifest = deployment("shop", "TAG", json!({})).to_string();
    let template = manifest.replace(
        "shop:TAG",
        "{{ .Values.image.repository }}:{{ .Values.image.tag }}",
    );
    let chart = place.file("chart");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(chart.join("templates/shop.yaml"), template).unwrap();
    let helm = helms().remove(0);
    for (tag, version) in [("v1", "1.0.0"), ("v2", "1.1.0")] {
        let about = format!("apiVersion: v2\nname: shop\nversion: {version}\n");
        std::fs::write(chart.join("Chart.yaml"), about).unwrap();
        std::fs::write(place.file("values.yaml"), values(tag)).unwrap();
        let mut command = Command::new(&helm);
        command
            .args([
                "upgrade",
                "--install",
                "shop",
                "chart",
                "-f",
                "values.yaml",
                "-n",
                &place.namespace,
            ])
            .current_dir(place.folder.path())
            .env("KUBECONFIG", kubeconfig());
        assert!(ended(&mut command).status.success());
        place.kubectl(&["rollout", "status", "deployment/shop", "--timeout=60s"]);
    }
    let helm = helm.to_str().unwrap();
    let words = [
        "rollback",
        "--yes",
        "--foreground",
        "--reason",
        "orders fail",
        "--to",
        "helm/shop=1",
        "--helm",
        helm,
    ];
    place.astern(&words).expect(0);
    assert_eq!(place.image("shop"), "shop:v1");
    let told = place
        .astern(&["writeback", "--push", "-o", "json"])
        .expect(0)
        .json();
    let branch = told["sources"][0]["branch"]["name"].as_str().unwrap();
    assert_eq!(repository.show(branch, "charts/shop/values.yaml"), values("v1"));
    let left = told["left"].to_string();
    assert!(
        left.contains("which chart is deployed is to be said by hand"),
        "{left}"
    );
    repository.merge(branch);
    let bare = repository.url.trim_start_matches("file://");
    let merged = ["-C", bare, "branch", "--quiet", "-D", branch];
    assert!(ended(Command::new("git").args(merged)).status.success());

    // Where Flux installs it, chart and values stand in one object.
    let release = "kind: HelmRelease\nmetadata: {name: shop}\nspec:\n  chart: {spec: {chart: shop, version: 1.1.0}}\n  values:\n    image: {repository: shop, tag: v2}\n    level: debug\n";
    repository.commit("the same by Flux", &[("flux/shop.yaml", release)]);
    place.platform(&format!(
        "  sources:\n  - {{repository: \"{}\", path: flux, kind: helm-release, values: {{release: shop}}}}\n",
        repository.url
    ));
    let told = place.astern(&["writeback", "-o", "json"]).expect(0).json();
    let places = told["sources"][0]["places"].as_array().unwrap().iter();
    let places: Vec<String> = places
        .map(|place| format!("{} {} {}", place["at"], place["from"], place["to"]).replace('"', ""))
        .collect();
    assert_eq!(
        places,
        [
            "spec.values.image.tag v2 v1",
            "spec.values.level debug info",
            "spec.chart.spec.version 1.1.0 1.0.0",
        ],
        "{told:#}"
    );
    assert!(!told["left"].to_string().contains("by hand"), "{told:#}");
}
