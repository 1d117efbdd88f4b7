//! Wrong input is told with what to type next, and changes nothing; a namespace becomes a file; nothing secret is shown.

use crate::manifest::{YES, crashing, deployment, pod, refused, says};
use crate::support::{Done, Place, kubeconfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The same command in a home of its own, where no kubeconfig lies.
fn homeless(place: &Place, kubeconfig: &Path, words: &[&str]) -> Done {
    let mut command = place.command(kubeconfig, words);
    command.env("HOME", place.folder.path()).output().unwrap().into()
}

/// The cluster's kubeconfig with another server in it.
fn elsewhere(place: &Place, server: &str) -> PathBuf {
    let text = std::fs::read_to_string(kubeconfig()).unwrap();
    let lines = text.lines().map(|line| match line.split_once("server:") {
        Some((indent, _)) => format!("{indent}server: {server}\n"),
        None => format!("{line}\n"),
    });
    let file = place.file("elsewhere.kubeconfig");
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    file
}

#[test]
fn without_a_cluster_the_error_says_which_one_was_looked_for_and_what_to_type() {
    let place = Place::new("no-cluster");
    let nothing = homeless(&place, &place.file("absent"), &["status"]).expect(1);
    says(&nothing, &["absent", "--kubeconfig"]);
    let context = place.astern(&["--context", "nowhere", "status"]).expect(1);
    says(&context, &["nowhere", "--context", "astern-"]);
    let refused = elsewhere(&place, "https://127.0.0.1:1");
    let dead = place.astern_as(&refused, &["status"]).expect(1);
    says(&dead, &["https://127.0.0.1:1", "kubectl get --raw /readyz"]);
}

#[test]
fn a_server_that_takes_the_connection_and_says_nothing_is_given_up_on() {
    let place = Place::new("silent");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    let config = elsewhere(&place, &server);
    says(&place.astern_as(&config, &["status"]).expect(1), &[&server]);
}

#[test]
fn a_namespace_or_workload_that_does_not_exist_is_told_with_what_there_is() {
    let place = Place::new("names");
    place.roll_out(&deployment("api-gateway", 1, pod("api-gateway", "v1")));
    let elsewhere = place.astern(&["rollback", "-n", "nowhere-at-all", "--yes", "--reason", "x"]);
    says(
        &elsewhere.expect(1),
        &["nowhere-at-all", "kubectl get namespaces"],
    );
    let before = place.standing();
    let near = place.roll_back(&["--only", "api-gatway"]).expect(1);
    says(
        &near,
        &["AST0412", "api-gatway", "did you mean deployment/api-gateway?"],
    );
    place.platform("  workloads: [{name: api-gatewy}]\n");
    let member = place.roll_back(&[]).expect(1);
    says(
        &member,
        &[
            "api-gatewy",
            "astern.yaml",
            "did you mean deployment/api-gateway?",
        ],
    );
    assert_eq!(place.standing(), before);
}

#[test]
fn a_member_that_does_not_exist_is_no_obstacle_to_a_rollback_of_another_one_alone() {
    let place = Place::new("only");
    place.bad_release("api", 1);
    place.platform("  workloads: [{name: api}, {name: retired}]\n");
    says(&place.roll_back(&[]).expect(1), &["retired", "astern.yaml"]);
    let done = place.roll_back(&["--only", "api"]).expect(0);
    says(
        &done,
        &["deployment/retired is a member of the platform and does not exist"],
    );
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_slip_in_astern_yaml_is_shown_with_line_caret_and_the_nearest_key() {
    let place = Place::new("yaml");
    place.platform("  validaton: {soak: 2s}\n");
    for words in [&["status"][..], &["rollback", "--yes", "--reason", "x"]] {
        let done = place.astern(words).expect(1);
        says(
            &done,
            &["AST0003", "astern.yaml:8:3", "^^^", "did you mean `validation`?"],
        );
    }
}

#[test]
fn a_cluster_with_another_uid_is_refused() {
    let place = Place::new("uid");
    place.bad_release("api", 1);
    place.platform("  cluster: {uid: 00000000-0000-0000-0000-000000000000}\n");
    refused(
        &place,
        &["AST0411", "00000000-0000-0000-0000-000000000000", "--context"],
        |place| place.roll_back(&[]),
    );
}

#[test]
fn init_writes_a_file_that_reads_back_names_what_the_env_reveals_and_is_never_overwritten() {
    let place = Place::new("init");
    let mut front = pod("front", "v1");
    front["spec"]["containers"][0]["env"] =
        json!([{ "name": "BACKEND_URL", "value": "http://backend:8080" }]);
    place.put(&deployment("front", 1, front));
    place.put(&deployment("backend", 1, pod("backend", "v1")));
    place.kubectl(&["create", "service", "clusterip", "backend", "--tcp=8080"]);
    place.kubectl(&["rollout", "status", "deployment/front", "--timeout=60s"]);
    place.astern(&["init", "--yes"]).expect(0);
    let text = std::fs::read_to_string(place.file("astern.yaml")).unwrap();
    let entry = text
        .split("name: front")
        .nth(1)
        .unwrap()
        .split("- name:")
        .next()
        .unwrap();
    assert!(entry.contains("dependsOn") && entry.contains("backend"), "{text}");
    assert!(text.contains('#'), "no comment: {text}");
    place.astern(&["status"]).expect(0);
    let again = place.astern(&["init", "--yes"]).expect(1);
    says(&again, &["astern.yaml exists", "--file"]);
    assert_eq!(std::fs::read_to_string(place.file("astern.yaml")).unwrap(), text);
    place.astern(&["init", "--yes", "--file", "other.yaml"]).expect(0);
    assert_eq!(std::fs::read_to_string(place.file("other.yaml")).unwrap(), text);
}

/// Values that may appear nowhere.
const CANARIES: [&str; 3] = ["canary-literal-v1", "canary-literal-v2", "canary-in-a-secret"];

fn consuming(mut template: Value, literal: &str) -> Value {
    template["spec"]["containers"][0]["env"] = json!([
        { "name": "PASSWORD", "value": literal },
        { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "api-keys", "key": "token" } } },
    ]);
    template
}

/// No canary in these bytes, neither plain nor in base64.
fn clean(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} is in {what}:\n{text}");
    }
    // `canary-in-a-secret` as kubectl prints it from a Secret.
    assert!(
        !text.contains("Y2FuYXJ5LWluLWEtc2VjcmV0"),
        "base64 in {what}:\n{text}"
    );
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

#[test]
fn no_secret_value_is_printed_or_left_in_a_file() {
    let place = Place::new("canary");
    place.platform("");
    let token = "--from-literal=token=canary-in-a-secret";
    place.kubectl(&["create", "secret", "generic", "api-keys", token]);
    place.roll_out(&deployment(
        "api",
        2,
        consuming(pod("api", "v1"), "canary-literal-v1"),
    ));
    place.put(&deployment(
        "api",
        2,
        consuming(crashing("api", "v2"), "canary-literal-v2"),
    ));
    place.until_it_crashes();
    nothing_is_told_by_any_command(&place);
}

/// What a kubelet would say of a pod whose readiness probe prints this.
fn probe_prints(place: &Place, pod: &Value, output: &str) {
    let metadata = &pod["metadata"];
    place.put(&json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": format!("{}.unhealthy", metadata["name"].as_str().unwrap()) },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": place.namespace,
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "type": "Warning",
        "reason": "Unhealthy",
        "message": format!("Readiness probe failed: {output}"),
        "source": { "component": "kubelet" },
        "firstTimestamp": metadata["creationTimestamp"],
        "lastTimestamp": metadata["creationTimestamp"],
        "count": 1,
    }));
}

#[test]
fn a_secret_value_that_a_probe_prints_is_masked_wherever_the_kubelet_is_quoted() {
    let place = Place::new("quoted");
    place.platform("");
    let token = "--from-literal=token=canary-in-a-secret";
    place.kubectl(&["create", "secret", "generic", "api-keys", token]);
    place.roll_out(&deployment(
        "api",
        2,
        consuming(pod("api", "v1"), "canary-literal-v1"),
    ));
    let mut template = consuming(pod("api", "v2"), "canary-literal-v2");
    template["metadata"]["labels"]["kwok.astern.dev/never-ready"] = json!("true");
    let mut unready = deployment("api", 2, template);
    unready["spec"]["progressDeadlineSeconds"] = json!(1);
    place.put(&unready);
    place.until("a pod of v2 that runs", 60, |place| {
        let listed = place.get("pods");
        let mut v2 = listed["items"].as_array().unwrap().iter().filter(|pod| {
            pod["spec"]["containers"][0]["image"] == "api:v2"
                && pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
        });
        v2.next().is_some_and(|pod| {
            probe_prints(place, pod, "login with canary-in-a-secret refused");
            true
        })
    });
    place.until("v2 to be called failing", 60, |place| {
        place.astern(&["status"]).expect(0).out.contains("failing")
    });
    let status = place.astern(&["status", "-o", "json"]).expect(0);
    says(
        &status,
        &["Readiness probe failed: login with [masked:api-keys/token] refused"],
    );
    nothing_is_told_by_any_command(&place);
}

/// Runs every command that tells something, a rollback among them, and looks at all that they print and leave.
fn nothing_is_told_by_any_command(place: &Place) {
    let plan_file = ["plan", "-o", "plan.json"];
    let roll_back = [&["rollback"], &YES[..]].concat();
    let mut commands: Vec<Vec<&str>> = vec![plan_file.to_vec()];
    for format in ["text", "json", "yaml", "markdown"] {
        commands.extend(["status", "releases", "plan"].map(|command| vec![command, "-o", format]));
    }
    commands.push(roll_back);
    for format in ["text", "json", "yaml", "markdown"] {
        commands.extend(["report", "runs", "status"].map(|command| vec![command, "-o", format]));
    }
    commands.push(vec!["report", "--html", "report.html"]);
    for words in commands {
        let done = place.astern(&words).expect(0);
        clean(&format!("{words:?}"), (done.out + &done.err).as_bytes());
    }
    // Literal values of the template are told by keyed hashes. From a plain one, as `sha256sum` makes it, they could be guessed.
    let plan = std::fs::read_to_string(place.file("plan.json")).unwrap();
    for plain in ["57f99822", "8ccb0df2"] {
        assert!(!plan.contains(plain), "a literal can be guessed: {plan}");
    }
    let marks = plan.matches(r#""keyed""#).count();
    assert!(marks >= 2, "{marks} values of env have a mark: {plan}");
    // The manifest that this test applied itself is the one file that holds them.
    std::fs::remove_file(place.file("apply.yaml")).unwrap();
    let left = files(place.folder.path());
    assert!(left.iter().any(|file| file.ends_with("report.html")), "{left:?}");
    for file in left {
        clean(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
}

/// Resource definitions that go with the test; they belong to no namespace.
struct Definitions(String);

impl Definitions {
    const COUNT: usize = 100;

    fn new(place: &Place) -> Self {
        let group = format!("{}.example.test", place.namespace);
        let all: Vec<Value> = (0..Self::COUNT)
            .map(|number| definition(&group, number))
            .collect();
        place.put(&json!({ "apiVersion": "v1", "kind": "List", "items": all }));
        let label = format!("astern.example.test/group={group}");
        place.kubectl(&[
            "wait",
            "crd",
            "-l",
            &label,
            "--for=condition=Established",
            "--timeout=60s",
        ]);
        Self(label)
    }
}

impl Drop for Definitions {
    fn drop(&mut self) {
        let _ = Command::new("kubectl")
            .args(["delete", "crd", "-l", &self.0, "--wait=false"])
            .env("KUBECONFIG", kubeconfig())
            .output();
    }
}

fn definition(group: &str, number: usize) -> Value {
    let (plural, kind) = (format!("things{number}"), format!("Thing{number}"));
    let schema = json!({ "openAPIV3Schema": { "type": "object" } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "labels": { "astern.example.test/group": group },
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "plural": plural, "singular": plural, "kind": kind },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    })
}

/// A kubeconfig for a service account of this namespace, so that its requests can be told from all others.
pub(crate) fn own_user(place: &Place) -> (PathBuf, String) {
    place.kubectl(&["create", "serviceaccount", "counted"]);
    let account = format!("{}:counted", place.namespace);
    let for_account = format!("--serviceaccount={account}");
    place.kubectl(&[
        "create",
        "rolebinding",
        "counted",
        "--clusterrole=cluster-admin",
        &for_account,
    ]);
    let token = place.kubectl(&["create", "token", "counted"]);
    let text = std::fs::read_to_string(kubeconfig()).unwrap();
    let lines = text.lines().map(|line| match line.split_once("token:") {
        Some((indent, _)) => format!("{indent}token: {}\n", token.trim()),
        None => format!("{line}\n"),
    });
    let file = place.file("counted.kubeconfig");
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    (file, format!("system:serviceaccount:{account}"))
}

/// How many requests of this user the API server has answered.
fn requests(user: &str) -> usize {
    let log = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")).unwrap();
    let mark = format!("\"username\":\"{user}\"");
    log.lines()
        .filter(|line| line.contains(&mark) && line.contains("\"stage\":\"ResponseComplete\""))
        .count()
}

#[test]
fn status_and_plan_ask_no_more_of_a_cluster_with_a_hundred_resource_definitions() {
    let place = Place::new("requests");
    place.platform("");
    place.bad_release("api", 2);
    let (config, user) = own_user(&place);
    let count = |command: &str| {
        let before = requests(&user);
        place.astern_as(&config, &[command]).expect(0);
        requests(&user) - before
    };
    let few = ["status", "plan"].map(count);
    let _definitions = Definitions::new(&place);
    let many = ["status", "plan"].map(count);
    assert_eq!(many, few);
    assert!(
        few.iter().all(|count| *count > 0),
        "{few:?}: the audit log was misread"
    );
}
