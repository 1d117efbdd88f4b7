//! Secrets that External Secrets draws: the source is what changes, from version to version by their ids. A stand-in acts for the
//! operator: it draws what an ExternalSecret names whenever that or the Secret was changed, and says for which generation.

use crate::config::{apply, deployment, newest_run, pods, record, roll_back, rolled_out};
use crate::logins::held;
use crate::support::{Place, config, output_of};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const THEN: &str = "uuid/one";
const NOW: &str = "uuid/two";
const FIELD: &str = "/spec/data/0/remoteRef/version";

/// What a provider keeps, by the version that a reference names.
type Kept = Arc<Mutex<BTreeMap<&'static str, &'static str>>>;

/// The stand-in for the operator, in one namespace, for as long as this is there.
struct Operator {
    kept: Kept,
    rests: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Operator {
    fn of(place: &Place) -> Self {
        let operator = Self {
            kept: Arc::new(Mutex::new(BTreeMap::from([
                (THEN, "the-one-of-then"),
                (NOW, "the-one-of-now"),
                ("AWSPREVIOUS", "the-one-of-now"),
            ]))),
            rests: Arc::default(),
            over: Arc::default(),
        };
        let (kept, rests, over) = (
            operator.kept.clone(),
            operator.rests.clone(),
            operator.over.clone(),
        );
        let namespace = place.namespace.clone();
        std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let client = kube::Client::try_from(config().await).unwrap();
                while !over.load(Ordering::SeqCst) {
                    if !rests.load(Ordering::SeqCst) {
                        reconcile(&client, &namespace, &kept).await;
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        });
        operator
    }

    fn rest(&self, rests: bool) {
        self.rests.store(rests, Ordering::SeqCst);
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Whoever loses a race with another writer looks again in the next round.
async fn reconcile(client: &kube::Client, namespace: &str, kept: &Kept) {
    let of = resource("external-secrets.io", "v1", "ExternalSecret", "externalsecrets");
    let sources: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &of);
    let Ok(all) = sources.list(&ListParams::default()).await else {
        return;
    };
    for source in all {
        let source = serde_json::to_value(source).unwrap();
        draw(client, namespace, kept, &sources, &source).await;
    }
}

async fn draw(
    client: &kube::Client,
    namespace: &str,
    kept: &Kept,
    sources: &Api<DynamicObject>,
    source: &Value,
) {
    let name = source["metadata"]["name"].as_str().unwrap();
    let of = resource("", "v1", "Secret", "secrets");
    let secrets: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &of);
    // GENERATION-HASH, as `util.GetResourceVersion` of the operator makes it.
    let marks = json!([source["metadata"]["labels"], source["metadata"]["annotations"]]);
    let version = format!(
        "{}-{:x}",
        source["metadata"]["generation"],
        marks.to_string().len()
    );
    let named = source.pointer(FIELD).and_then(Value::as_str).unwrap_or_default();
    let value = kept.lock().unwrap().get(named).copied();
    let secret = secrets.get_opt(name).await.ok().flatten();
    let secret = secret.map(|secret| serde_json::to_value(secret).unwrap());
    let data = value.map(|value| json!({"password": crate::canaries::base64(value.as_bytes())}));
    let is = secret.as_ref().map(|secret| &secret["data"]);
    if source["status"]["syncedResourceVersion"] == *version && is == data.as_ref() {
        return;
    }
    let status = match data {
        None => json!({"conditions": [{"type": "Ready", "status": "False", "reason": "SecretSyncedError",
            "message": "could not get secret data from provider"}]}),
        Some(data) => {
            let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "ownerReferences": [{
                "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": name,
                "uid": source["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true}]},
                "data": data, "type": "Opaque"});
            let parameters = PostParams {
                field_manager: Some(format!("externalsecrets.external-secrets.io/{name}")),
                ..PostParams::default()
            };
            let read = |object: Value| serde_json::from_value(object).unwrap();
            let written = match secret {
                None => secrets.create(&parameters, &read(object)).await,
                Some(mut secret) => {
                    secret["data"] = object["data"].clone();
                    secrets.replace(name, &parameters, &read(secret)).await
                }
            };
            if written.is_err() {
                return;
            }
            json!({"syncedResourceVersion": version, "refreshTime": "2026-01-01T00:00:00Z",
                "binding": {"name": name},
                "conditions": [{"type": "Ready", "status": "True", "reason": "SecretSynced"}]})
        }
    };
    let mut now = source.clone();
    now["status"] = status;
    let now: DynamicObject = serde_json::from_value(now).unwrap();
    let _ = sources.replace_status(name, &PostParams::default(), &now).await;
}

/// The resource stands in the cluster, with the subresource by which a status moves no generation.
fn define(place: &Place) {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "externalsecrets.external-secrets.io"},
            "spec": {"group": "external-secrets.io", "scope": "Namespaced",
                "names": {"plural": "externalsecrets", "singular": "externalsecret", "kind": "ExternalSecret"},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": open}}]},
        });
        place.apply(&definition.to_string());
        let name = "crd/externalsecrets.external-secrets.io";
        place.kubectl(&["wait", name, "--for=condition=Established", "--timeout=60s"]);
    });
}

fn names(place: &Place, version: &str) {
    place.apply(
        &json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "db"},
            "spec": {"refreshInterval": "1h", "secretStoreRef": {"name": "aws", "kind": "SecretStore"},
                "target": {"name": "db"},
                "data": [{"secretKey": "password", "remoteRef": {"key": "prod/db", "version": version}}]}})
        .to_string(),
    );
}

fn named(place: &Place) -> String {
    let source = place.get("externalsecret/db");
    source.pointer(FIELD).and_then(Value::as_str).unwrap().to_owned()
}

fn draws(place: &Place, password: &str) {
    place.until("the operator", 60, |place| {
        let secrets = place.kubectl(&["get", "secrets", "-o", "name"]);
        secrets.contains("secret/db") && held(place) == password
    });
}

/// `api` reads the Secret that is drawn from `then`; release 1.0 is good; then its ExternalSecret names `now`.
fn redrawn(name: &str, then: &str, now: &str) -> (Place, Operator) {
    let place = Place::new(name);
    define(&place);
    place.platform("  config: {restoreSecrets: [{name: db, rotates: false}]}\n");
    let operator = Operator::of(&place);
    names(&place, then);
    place.until("the first drawing", 60, |place| {
        place
            .kubectl(&["get", "secrets", "-o", "name"])
            .contains("secret/db")
    });
    apply(
        &place,
        &[deployment("api", json!([{"secretRef": {"name": "db"}}]))],
    );
    rolled_out(&place, &["api"]);
    record(&place, "1.0");
    names(&place, now);
    (place, operator)
}

const TO: [&str; 2] = ["--to", "1.0"];

#[test]
fn a_drawn_secret_goes_back_by_the_ids_of_its_release_and_its_readers_start_once_it_is_drawn() {
    let (place, _operator) = redrawn("external", THEN, NOW);
    draws(&place, "the-one-of-now");
    let before = pods(&place, "api");
    let plan = place.astern(&["plan", "--to", "1.0"]).expect(0);
    for words in [
        "have externalsecret/db name the versions of release 1.0",
        "wait until secret/db holds what externalsecret/db names",
        "restart deployment/api",
    ] {
        assert!(plan.out.contains(words), "no {words:?}: {}", plan.out);
    }
    roll_back(&place, &TO).expect(0);
    assert_eq!(
        (named(&place).as_str(), held(&place).as_str()),
        (THEN, "the-one-of-then")
    );
    assert!(pods(&place, "api").is_disjoint(&before));
    let run = newest_run(&place);
    let report = place.astern(&["report", &run]).expect(0);
    assert!(
        report
            .out
            .contains("Have externalsecret/db name uuid/one in its source too"),
        "{}",
        report.out
    );
    place
        .astern(&["undo", &run, "--yes", "--reason", "it was good"])
        .expect(0);
    assert_eq!(
        (named(&place).as_str(), held(&place).as_str()),
        (NOW, "the-one-of-now")
    );
    // Somebody names another version between plan and run.
    place
        .astern(&["plan", "--to", "1.0", "-o", "back.json"])
        .expect(0);
    names(&place, "AWSPREVIOUS");
    let words = ["run", "back.json", "--yes", "--reason", "the release is bad"];
    let moved = place.astern(&words).expect(3);
    assert!(moved.err.contains("AST0212"), "{}", moved.err);
    assert_eq!(named(&place), "AWSPREVIOUS");
}

#[test]
fn a_version_that_is_named_by_a_word_that_moves_is_refused_with_the_lines_that_pin_it() {
    let (place, _operator) = redrawn("external-moves", THEN, "AWSPREVIOUS");
    draws(&place, "the-one-of-now");
    let refused = roll_back(&place, &TO).expect(3);
    let patch = format!(
        "kubectl patch externalsecret/db -n {} --type=json -p '[{{\"op\":\"add\",\"path\":\"{FIELD}\",\"value\":\"{THEN}\"}}]'",
        place.namespace
    );
    for words in [
        "AST0114",
        "spec.data[0].remoteRef.version (prod/db) says AWSPREVIOUS",
        &patch,
    ] {
        assert!(refused.err.contains(words), "no {words:?}: {}", refused.err);
    }
    assert_eq!(named(&place), "AWSPREVIOUS");

    let (place, _operator) = redrawn("external-moved", "AWSPREVIOUS", THEN);
    draws(&place, "the-one-of-then");
    let refused = roll_back(&place, &TO).expect(3);
    for words in [
        "AST0114",
        "they were not named by their ids then",
        "ID-OF-prod/db",
        "list-secret-version-ids",
    ] {
        assert!(refused.err.contains(words), "no {words:?}: {}", refused.err);
    }
    assert_eq!(named(&place), THEN);
}

#[test]
fn what_is_drawn_under_the_ids_of_then_and_is_not_what_it_was_is_taken_back() {
    let (place, operator) = redrawn("external-other", THEN, NOW);
    draws(&place, "the-one-of-now");
    let before = pods(&place, "api");
    operator.kept.lock().unwrap().insert(THEN, "another-one");
    let done = roll_back(&place, &TO).expect(4);
    assert!(
        done.err.contains("is not what it was") || done.out.contains("is not what it was"),
        "{done:?}"
    );
    assert_eq!(
        (named(&place).as_str(), held(&place).as_str()),
        (NOW, "the-one-of-now")
    );
    assert_eq!(pods(&place, "api"), before);
}

#[test]
fn whoever_goes_on_for_a_runner_that_died_before_the_operator_drew_waits_for_it_and_writes_nothing_again() {
    let (place, operator) = redrawn("external-killed", THEN, NOW);
    draws(&place, "the-one-of-now");
    operator.rest(true);
    let words = [
        "rollback",
        "--yes",
        "--reason",
        "the release is bad",
        "--to",
        "1.0",
        "--foreground",
    ];
    let runner = place.start(&words);
    place.until("the write", 60, |place| named(place) == THEN);
    let generation = place.get("externalsecret/db")["metadata"]["generation"].clone();
    std::thread::sleep(Duration::from_secs(1));
    let id = runner.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-KILL", &id])
            .status()
            .unwrap()
            .success()
    );
    output_of(runner, "the runner");
    assert_eq!(held(&place), "the-one-of-now");
    operator.rest(false);
    let run = newest_run(&place);
    place.astern(&["resume", &run, "--yes"]).expect(0);
    assert_eq!(
        (named(&place).as_str(), held(&place).as_str()),
        (THEN, "the-one-of-then")
    );
    assert_eq!(
        place.get("externalsecret/db")["metadata"]["generation"],
        generation
    );
}
