//! The ledger: releases that are recorded, proven, believed, gone back to, and kept from being deployed again.

use crate::input::own_user;
use crate::manifest::{CRASHES, crashing, deployment, pod, says};
use crate::support::{Done, Place, kubeconfig};
use serde_json::{Value, json};

/// A value that must not be seen anywhere.
const CANARY: &str = "hunter2-c4n4ry-0b5e";

/// An astern.yaml by which nothing is presumed good, and a release proves itself within seconds.
pub(crate) fn platform(place: &Place, bake: &str) {
    place.platform("");
    let file = place.file("astern.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let policy = format!("policy: {{presumedGoodAfter: 10h, bake: {bake}}}");
    std::fs::write(&file, text.replace("policy: {presumedGoodAfter: 1s}", &policy)).unwrap();
}

fn record(place: &Place, version: &str, more: &[&str]) -> Done {
    place.astern(&[&["releases", "record", "--version", version], more].concat())
}

const GOOD: [&str; 3] = ["--good", "--reason", "the smoke test passed"];

/// Rolls a version out until no pod of another one is left.
fn whole(place: &Place, object: &Value, pods: usize) {
    place.roll_out(object);
    place.until("the former pods to be gone", 60, |place| {
        place.pods().len() == pods
    });
}

/// All pods crash from now on.
pub(crate) fn break_all(place: &Place) {
    place.kubectl(&[
        "label",
        "pods",
        "--all",
        "--overwrite",
        &format!("{CRASHES}=true"),
    ]);
    place.until_it_crashes();
}

pub(crate) fn release(place: &Place, version: &str) -> Value {
    place
        .astern(&["releases", "show", version, "-o", "json"])
        .expect(0)
        .json()
}

/// Secrets of the ledger with their resourceVersions: what must not move when nothing is changed.
pub(crate) fn written(place: &Place) -> String {
    place.kubectl(&[
        "get",
        "secrets",
        "--field-selector",
        "type=astern.dev/release",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}",
    ])
}

#[test]
fn a_good_release_is_gone_back_to_where_nothing_else_speaks_for_it() {
    let place = Place::new("ledger-good");
    platform(&place, "10h");
    whole(&place, &deployment("api", 1, pod("api", "v1")), 1);
    record(
        &place,
        "1.0.0",
        &[&["--commit", "abc123", "--by", "ci"], &GOOD[..]].concat(),
    )
    .expect(0);
    whole(&place, &deployment("api", 1, pod("api", "v2")), 1);
    break_all(&place);
    let listed = place.astern(&["releases"]).expect(0);
    assert!(
        listed.out.contains("✓ good") && listed.out.contains("the smoke test passed (by ci"),
        "{}",
        listed.out
    );
    let done = place.roll_back(&[]).expect(0);
    says(
        &done,
        &[
            "released: it is in release 1.0.0, which is good since 20",
            "UTC (the smoke test passed; by ci)",
        ],
    );
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_platform_without_a_ledger_is_told_as_before_and_asked_for_one_list_more() {
    let place = Place::new("ledger-none");
    place.platform("");
    place.bad_release("api", 1);
    let (config, user) = own_user(&place);
    let json = place.astern(&["releases", "-o", "json"]).expect(0).json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["apiVersion", "items", "kind"]);
    place.astern_as(&config, &["plan"]).expect(0);
    let log = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")).unwrap();
    let of_user = |line: &&str| {
        line.contains(&format!("\"username\":\"{user}\"")) && line.contains("\"stage\":\"ResponseComplete\"")
    };
    let ledger = log
        .lines()
        .filter(of_user)
        .filter(|line| line.contains("type%3Dastern.dev%2Frelease"));
    assert_eq!(ledger.count(), 1, "the ledger is read by one request");
    // Three of them, in the one round, look for what not every cluster serves: Rollouts, Canaries, VerticalPodAutoscalers.
    let all = log.lines().filter(of_user).count();
    assert!(all <= 29, "{all} requests for a plan");
}

#[test]
fn a_release_whose_revisions_were_pruned_is_written_back_from_the_ledger_whole() {
    let place = Place::new("ledger-pruned");
    platform(&place, "10h");
    let at = |version: &str, level: &str| {
        let mut object = deployment("api", 1, pod("api", version));
        object["spec"]["revisionHistoryLimit"] = json!(0);
        object["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "LEVEL", "value": level}]);
        object
    };
    whole(&place, &at("v1", "info"), 1);
    let template = place.get("deployment/api")["spec"]["template"].clone();
    record(&place, "v1.0.0", &GOOD).expect(0);
    whole(&place, &at("v2", "debug"), 1);
    place.until("the first ReplicaSet to be pruned", 30, |place| {
        place.get("replicasets")["items"].as_array().unwrap().len() == 1
    });
    let plan = place
        .astern(&["plan", "--to", "v1.0.0", "-o", "json"])
        .expect(0)
        .json();
    assert_eq!(plan["changes"][0]["toVersion"], "v1", "{plan:#}");
    assert!(
        plan["changes"][0]["changes"].to_string().contains("LEVEL"),
        "{plan:#}"
    );
    // A run that is written down in a file finds it in the cluster all the same.
    let store = place.file("runs.db");
    place
        .roll_back(&["--to", "v1.0.0", "--store", store.to_str().unwrap()])
        .expect(0);
    assert_eq!(place.get("deployment/api")["spec"]["template"], template);

    // The same once its content is gone.
    whole(&place, &at("v3", "debug"), 1);
    place.until("the ReplicaSet of v1 to be pruned", 30, |place| {
        place.get("replicasets")["items"].as_array().unwrap().len() == 1
    });
    let content = release(&place, "v1.0.0")["workloads"][0]["content"]["name"].clone();
    let content = content.as_str().unwrap();
    place.kubectl(&["delete", "secret", content]);
    let refused = place.roll_back(&["--to", "v1.0.0"]).expect(3);
    for word in [
        "AST0106",
        "release v1.0.0",
        "deployment/api",
        "api:v1",
        content,
        "it is not in",
    ] {
        assert!(refused.err.contains(word), "no {word}: {}", refused.err);
    }
    assert_eq!(place.image("api"), "api:v3");
}

#[test]
fn what_a_bad_release_brought_is_neither_gone_back_to_nor_deployed_again() {
    let place = Place::new("ledger-bad");
    place.platform("");
    whole(&place, &deployment("api", 1, pod("api", "v1")), 1);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    whole(&place, &deployment("api", 1, pod("api", "v2")), 1);
    record(&place, "v2", &[]).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let allowed = place.astern(&["check", "--image", "api:v2"]).expect(0);
    assert!(allowed.out.contains("✓ api:v2"), "{}", allowed.out);
    let word = place
        .astern(&[
            "releases",
            "mark",
            "bad",
            "v2",
            "--reason",
            "loses orders",
            "--by",
            "eve",
        ])
        .expect(0);
    says(
        &word,
        &[
            "release v2 is bad now",
            "what it brought still runs in 1 of 1 workloads: astern plan   shows how they go back",
            "astern releases mark good v2 --reason TEXT   takes this word back",
        ],
    );
    // v2 was the newest for long enough to be presumed good, and comes right before v3.
    place.put(&deployment("api", 1, crashing("api", "v3")));
    place.until_it_crashes();
    place.kubectl(&["delete", "pods", "-l", "app=api", "--grace-period=0", "--force"]);
    let listed = place.astern(&["releases"]).expect(0);
    let why = "release v2 has it, and that release is bad: loses orders (by eve)";
    assert!(listed.out.contains(why), "{}", listed.out);
    let before = written(&place);
    let done = place
        .astern(&["check", "--image", "api:v2", "--image", "api:v1"])
        .expect(3);
    assert!(
        done.err.contains("AST0507") && done.err.contains("loses orders"),
        "{}",
        done.err
    );
    assert!(done.out.contains("✓ api:v1"), "{}", done.out);
    std::fs::write(
        place.file("manifests.yaml"),
        deployment("api", 1, pod("api", "v2")).to_string(),
    )
    .unwrap();
    place.astern(&["check", "-f", "manifests.yaml"]).expect(3);
    assert_eq!(written(&place), before);
    let named = place.roll_back(&["--to", "v2"]).expect(3);
    assert!(
        named.err.contains("AST0503") && named.err.contains("loses orders"),
        "{}",
        named.err
    );
    place.roll_back(&[]).expect(0);
    assert_eq!(place.image("api"), "api:v1");
    place
        .astern(&[
            "releases",
            "mark",
            "good",
            "v2",
            "--reason",
            "it was the database",
        ])
        .expect(0);
    place.astern(&["check", "-f", "manifests.yaml"]).expect(0);
}

#[test]
fn a_workload_that_a_release_holds_and_nobody_runs_is_told_once_with_what_to_do() {
    let place = Place::new("ledger-gone");
    place.platform("");
    let agent = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": pod("agent", "v1")},
    });
    place.put(&agent);
    whole(&place, &deployment("api", 1, pod("api", "v1")), 4);
    record(&place, "v1", &GOOD).expect(0);
    place.kubectl(&["delete", "daemonset/agent", "--wait=false"]);
    whole(&place, &deployment("api", 1, pod("api", "v2")), 1);
    let plan = place.astern(&["plan", "--to", "v1"]).expect(0);
    assert_eq!(plan.out.matches("daemonset/agent").count(), 1, "{}", plan.out);
    says(
        &plan,
        &["astern makes no workload anew, so apply the manifest again"],
    );
    assert!(!plan.out.contains("AST0232"), "{}", plan.out);
}

#[test]
fn a_second_release_of_the_same_name_and_a_word_on_none_change_nothing() {
    let place = Place::new("ledger-twice");
    place.platform("");
    whole(&place, &deployment("api", 1, pod("api", "v1")), 1);
    record(&place, "v1", &[]).expect(0);
    let before = written(&place);
    let again = record(&place, "v1", &GOOD).expect(3);
    assert!(
        again.err.contains("AST0501") && again.err.contains("recorded already"),
        "{}",
        again.err
    );
    let unknown = place
        .astern(&["releases", "mark", "good", "v9", "--reason", "x"])
        .expect(1);
    assert!(
        unknown.err.contains("AST0502") && unknown.err.contains("v1"),
        "{}",
        unknown.err
    );
    // What to type stands there whole, as a shell takes it.
    let slip = place
        .astern(&[
            "releases",
            "mark",
            "bad",
            "v11",
            "--reason",
            "it's slow",
            "--by",
            "eve",
        ])
        .expect(1);
    says(
        &slip,
        &[r"astern releases mark bad v1 --reason 'it'\''s slow' --by eve   if that is the one you mean"],
    );
    record(&place, "v1/2", &[]).expect(2);
    record(&place, "v2", &["--good"]).expect(2);
    let without = place
        .astern(&["releases", "mark", "good", "v1", "--reason", " "])
        .expect(2);
    says(
        &without,
        &["astern releases mark good v1 --reason 'what was seen'"],
    );
    place.roll_back(&["--to", "v9"]).expect(1);
    assert_eq!(written(&place), before);
}

#[test]
fn a_candidate_becomes_good_once_it_has_served_healthily_and_not_by_age() {
    let place = Place::new("ledger-bake");
    platform(&place, "10h");
    whole(&place, &deployment("api", 2, pod("api", "v1")), 2);
    record(&place, "v1", &[]).expect(0);
    assert_eq!(release(&place, "v1")["standing"]["is"], "candidate");
    platform(&place, "4s");
    std::thread::sleep(std::time::Duration::from_secs(5));
    let proven = release(&place, "v1");
    assert_eq!(proven["standing"]["is"], "good", "{proven:#}");
    assert_eq!(proven["standing"]["by"], "astern");
    let reason = proven["standing"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("served healthily for"), "{reason}");

    // As old, and no longer what runs: nothing proves it.
    whole(&place, &deployment("api", 2, pod("api", "v2")), 2);
    record(&place, "v2", &[]).expect(0);
    whole(&place, &deployment("api", 2, pod("api", "v3")), 2);
    std::thread::sleep(std::time::Duration::from_secs(5));
    let listed = place.astern(&["releases", "-o", "json"]).expect(0).json();
    let v2 = &listed["releases"][0];
    assert_eq!(v2["standing"], json!({"is": "candidate"}), "{v2:#}");
    assert!(
        v2["open"]
            .as_str()
            .unwrap()
            .contains("deployment/api asks for v3 now"),
        "{v2:#}"
    );
}

#[test]
fn a_candidate_that_was_seen_to_fail_becomes_good_only_on_somebodys_word() {
    let place = Place::new("ledger-poison");
    platform(&place, "3s");
    whole(&place, &deployment("api", 1, pod("api", "v1")), 1);
    record(&place, "v1", &[]).expect(0);
    break_all(&place);
    let listed = place.astern(&["releases"]).expect(0);
    assert!(
        listed.out.contains("! candidate") && listed.out.contains("it fails: deployment/api"),
        "{}",
        listed.out
    );
    // New pods of the same template serve again, for longer than the bake time.
    place.kubectl(&["delete", "pods", "--all", "--wait=true"]);
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=60s"]);
    std::thread::sleep(std::time::Duration::from_secs(5));
    let still = release(&place, "v1");
    assert_eq!(still["standing"]["is"], "candidate", "{still:#}");
    assert!(
        still["standing"]["failed"]["what"]
            .as_str()
            .unwrap()
            .contains("deployment/api"),
        "{still:#}"
    );
    place
        .astern(&[
            "releases",
            "mark",
            "good",
            "v1",
            "--reason",
            "the node was broken",
        ])
        .expect(0);
    assert_eq!(release(&place, "v1")["standing"]["is"], "good");
}

#[test]
fn a_release_that_a_run_took_back_is_bad() {
    let place = Place::new("ledger-taken");
    place.platform("");
    place.bad_release("api", 1);
    record(&place, "v2", &[]).expect(0);
    place.roll_back(&[]).expect(0);
    // Written down by the run itself: nobody has looked yet.
    let label = place.kubectl(&[
        "get",
        "secret",
        "astern-release-v2",
        "-o",
        "jsonpath={.metadata.labels}",
    ]);
    assert!(label.contains(r#""astern.dev/standing":"bad""#), "{label}");
    let taken = release(&place, "v2");
    assert_eq!(taken["standing"]["is"], "bad", "{taken:#}");
    assert!(
        taken["standing"]["reason"]
            .as_str()
            .unwrap()
            .contains("took deployment/api back"),
        "{taken:#}"
    );
    place.astern(&["check", "--image", "api:v2"]).expect(3);
}

#[test]
fn all_members_converge_on_one_release_and_status_says_who_stands_where() {
    let place = Place::new("ledger-converge");
    platform(&place, "10h");
    for name in ["api", "worker"] {
        place.roll_out(&deployment(name, 1, pod(name, "v1")));
    }
    record(&place, "r1", &GOOD).expect(0);
    for name in ["api", "worker"] {
        place.roll_out(&deployment(name, 1, pod(name, "v2")));
    }
    record(&place, "r2", &[]).expect(0);
    // Half of a rollback: only one of them is back.
    place.kubectl(&["rollout", "undo", "deployment/worker"]);
    place.kubectl(&["rollout", "status", "deployment/worker", "--timeout=60s"]);
    let stands = place
        .astern(&["status", "--release", "-o", "json"])
        .expect(0)
        .json();
    let newest = |at: usize| stands["items"][at]["releases"][0][0].clone();
    assert_eq!((newest(0), newest(1)), (json!("r2"), json!("r1")), "{stands:#}");
    place.roll_back(&["--to", "r1"]).expect(0);
    assert_eq!(
        (place.image("api"), place.image("worker")),
        ("api:v1".into(), "worker:v1".into())
    );
    let again = place.roll_back(&["--to", "r1"]).expect(3);
    assert!(again.err.contains("AST0105"), "{}", again.err);
}

#[test]
fn config_is_kept_with_who_reads_it_and_no_value_is_seen_anywhere() {
    let place = Place::new("ledger-config");
    platform(&place, "10h");
    place.kubectl(&[
        "create",
        "secret",
        "generic",
        "keys",
        &format!("--from-literal=token={CANARY}"),
    ]);
    place.kubectl(&[
        "create",
        "configmap",
        "app",
        &format!("--from-literal=level={CANARY}"),
    ]);
    place.kubectl(&["create", "secret", "generic", "nobodys", "--from-literal=a=b"]);
    let mut object = deployment("api", 1, pod("api", "v1"));
    object["metadata"]["annotations"] = json!({"secret.reloader.stakater.com/reload": "keys"});
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    container["envFrom"] = json!([{"configMapRef": {"name": "app"}}]);
    container["env"] =
        json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}]);
    whole(&place, &object, 1);
    let mut seen = Vec::new();
    let done = record(&place, "v1", &["-o", "json"]).expect(0);
    let config = done.json()["config"].clone();
    let names: Vec<&Value> = config
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["app", "keys"], "{config:#}");
    assert_eq!(config[1]["keys"], json!(["token"]));
    let uses = &config[1]["consumers"][0]["uses"];
    assert_eq!(
        *uses,
        json!([{"by": "env", "container": "api", "variable": "TOKEN", "key": "token"},
            {"by": "annotation", "annotation": "secret.reloader.stakater.com/reload"}])
    );
    seen.push(done.out + &done.err);
    for words in [
        &["releases"][..],
        &["releases", "show", "v1"],
        &["releases", "show", "v1", "-o", "yaml"],
        &["releases", "show", "v1", "-o", "markdown"],
        &["status", "--release"],
        &["plan"],
    ] {
        let done = place.astern(words);
        seen.push(done.out + &done.err);
    }
    // The entry itself names content and holds none; unchanged content is not kept twice.
    let names = |kind: &str| {
        let selector = format!("type=astern.dev/{kind}");
        place.kubectl(&["get", "secrets", "--field-selector", &selector, "-o", "name"])
    };
    let saved = names("saved");
    record(&place, "v2", &[]).expect(0);
    assert_eq!(names("saved"), saved, "unchanged content was kept again");
    for text in &seen {
        let base64 = "aHVudGVyMi1jNG40cnktMGI1ZQ";
        let hex = "68756e74657232";
        for form in [CANARY, base64, hex] {
            assert!(!text.contains(form), "a value is seen:\n{text}");
        }
    }
}

#[test]
fn a_damaged_entry_is_told_with_its_object_and_stands_in_nobodys_way() {
    let place = Place::new("ledger-damaged");
    place.platform("");
    whole(&place, &deployment("api", 1, pod("api", "v1")), 1);
    record(&place, "v1", &GOOD).expect(0);
    record(&place, "v1b", &[]).expect(0);
    let cut = place.get("secret/astern-release-v1b")["data"]["entry"].clone();
    let cut = cut.as_str().unwrap();
    let patch = json!({"data": {"entry": cut[..cut.len() / 8 * 4]}}).to_string();
    place.kubectl(&[
        "patch",
        "secret",
        "astern-release-v1b",
        "--type",
        "merge",
        "-p",
        &patch,
    ]);
    let listed = place.astern(&["releases"]).expect(0);
    assert!(
        listed.err.contains("secret/astern-release-v1b") && listed.err.contains("it is damaged"),
        "{}",
        listed.err
    );
    assert!(listed.out.contains("✓ good"), "{}", listed.out);
    let before = written(&place);
    let word = place
        .astern(&["releases", "mark", "bad", "v1b", "--reason", "x"])
        .expect(1);
    assert!(word.err.contains("it is damaged"), "{}", word.err);
    assert_eq!(written(&place), before);
}

#[test]
fn a_copy_of_an_entry_under_another_name_is_told_and_says_nothing() {
    let place = Place::new("ledger-copied");
    place.platform("");
    whole(&place, &deployment("api", 1, pod("api", "v1")), 1);
    record(&place, "v1", &GOOD).expect(0);
    let copy = |name: &str, change: &dyn Fn(&mut Value)| {
        let entry = place.get("secret/astern-release-v1");
        let mut copy = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "type": entry["type"], "data": entry["data"]});
        copy["metadata"]["labels"] = entry["metadata"]["labels"].clone();
        change(&mut copy);
        place.apply(&copy.to_string());
    };
    copy("astern-release-v9", &|_| ());
    let told = place.astern(&["releases"]).expect(0);
    says(
        &told,
        &[
            "secret/astern-release-v9",
            "calls itself release v1",
            "somebody copied it",
        ],
    );
    assert_eq!(told.out.matches("✓ good").count(), 1, "{}", told.out);
    let before = written(&place);
    let none = place.astern(&["plan", "--to", "v9"]);
    assert_ne!(none.code, 0, "{none:?}");
    place
        .astern(&["releases", "mark", "bad", "v9", "--reason", "x"])
        .expect(1);
    assert_eq!(written(&place), before);
    // One whose head was changed too: what it seals is still another release.
    copy("astern-release-v9", &|copy| {
        let head = crate::secrets::decoded(copy["data"]["head.json"].as_str().unwrap());
        let head = String::from_utf8(head).unwrap().replace("\"v1\"", "\"v9\"");
        copy["data"]["head.json"] = json!(crate::canaries::base64(head.as_bytes()));
    });
    let told = place.astern(&["releases"]).expect(0);
    says(
        &told,
        &["read release v9", "it calls itself v1; somebody copied it"],
    );
    assert_eq!(told.out.matches("✓ good").count(), 1, "{}", told.out);
}

/// Fifty services, each with some KiB of template, a ConfigMap and a Secret.
fn fifty() -> Value {
    let filler = |seed: usize| -> Value {
        let env = (0..40).map(|at| {
            let value = format!("https://{seed}-{at}.example.test/{}", seed * 7919 + at * 104_729);
            json!({"name": format!("SETTING_{at}"), "value": value})
        });
        env.collect()
    };
    let items = (0..50).flat_map(|number| {
        let name = format!("service-{number:02}");
        let mut object = deployment(&name, 1, pod(&name, "v1"));
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        container["env"] = filler(number);
        container["envFrom"] = json!([{"configMapRef": {"name": name}}, {"secretRef": {"name": name}}]);
        let text: String = (0..60).map(|line| format!("key-{line} = value {}\n", line * number)).collect();
        [
            object,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"app.conf": text}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"token": format!("t-{number}")}}),
        ]
    });
    json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()})
}

#[test]
fn an_entry_of_fifty_services_is_far_below_a_mebibyte_and_unchanged_content_costs_nothing() {
    let place = Place::new("ledger-fifty");
    platform(&place, "10h");
    place.apply(&fifty().to_string());
    place.until("all services to be ready", 120, |place| {
        let listed = place.get("deployments");
        let items = listed["items"].as_array().unwrap();
        items.len() == 50 && items.iter().all(|item| item["status"]["readyReplicas"] == 1)
    });
    let bytes = |kind: &str| -> usize {
        let selector = format!("type=astern.dev/{kind}");
        let list = place.kubectl(&["get", "secrets", "--field-selector", &selector, "-o", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        let items = list["items"].as_array().unwrap();
        let data = items
            .iter()
            .flat_map(|item| item["data"].as_object().unwrap().values());
        // Base64 has four digits for three bytes.
        data.map(|text| text.as_str().unwrap().len() / 4 * 3).sum()
    };
    let took = |version: &str| {
        let began = std::time::Instant::now();
        let done = record(&place, version, &["-o", "json"]).expect(0);
        assert_eq!(done.json()["workloads"].as_array().unwrap().len(), 50);
        assert_eq!(done.json()["config"].as_array().unwrap().len(), 100);
        began.elapsed()
    };
    let first = took("v1");
    let (entry, content) = (bytes("release"), bytes("saved"));
    took("v2");
    assert!(entry < 64 * 1024, "{entry} bytes");
    assert!(entry + content < 1024 * 1024, "{content} bytes of content");
    assert_eq!(bytes("saved"), content);
    // In a build without optimisation, beside other tests; the figure itself is a second.
    assert!(first.as_secs() < 10, "{first:?}");
}

#[test]
fn an_image_that_a_run_took_back_is_not_deployed_again_though_nobody_recorded_it() {
    let place = Place::new("ledger-none-image");
    place.platform("");
    whole(&place, &deployment("api", 1, pod("api", "v1")), 1);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    place.put(&deployment("api", 1, crashing("api", "v2")));
    place.until_it_crashes();
    place.astern(&["check", "--image", "api:v2"]).expect(0);
    place
        .astern(&["rollback", "--yes", "--reason", "it crashes"])
        .expect(0);
    let refused = place
        .astern(&["check", "--image", "api:v1", "--image", "api:v2"])
        .expect(3);
    says(
        &refused,
        &["✓ api:v1", "took it back from deployment/api", "AST0507"],
    );
    // Somebody who knows better has put it back: what is asked for is not spoken against.
    place.put(&deployment("api", 1, pod("api", "v2")));
    place.astern(&["check", "--image", "api:v2"]).expect(0);
}
