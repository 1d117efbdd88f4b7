//! Values of Secrets: back only where they are named, and nowhere but in the cluster, whatever is asked and whatever fails.

use crate::canaries::{CANARIES, Seen, base64, canary};
use crate::config::{apply, config_map, deployment, newest_run, record, roll_back, rolled_out};
use crate::repository::Repository;
use crate::support::{Done, Place, ended, kubeconfig};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};

/// A Secret of a thousand values, of which half are those of release 1.0.
fn secrets(place: &Place, from: usize) {
    let data: serde_json::Map<String, Value> = (0..CANARIES / 2)
        .map(|key| (format!("k{key}"), Value::from(canary(from + key))))
        .collect();
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-keys"}, "stringData": data});
    place.kubectl(&["delete", "secret", "api-keys", "--ignore-not-found"]);
    let file = place.folder.path().with_extension("secret.json");
    std::fs::write(&file, secret.to_string()).unwrap();
    place.kubectl(&["create", "-f", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
}

fn secret_data(place: &Place) -> Value {
    place.get("secret/api-keys")["data"].clone()
}

/// `api` reads a Secret; release 1.0 is good; then its values are others.
fn other_secrets(name: &str, spec: &str) -> Place {
    let place = Place::new(name);
    place.platform(spec);
    secrets(&place, 0);
    let reads = json!([{"secretRef": {"name": "api-keys"}}, {"configMapRef": {"name": "app-config"}}]);
    let config = config_map("app-config", json!({"MODE": "calm"}));
    apply(&place, &[config, deployment("api", reads)]);
    rolled_out(&place, &["api"]);
    record(&place, "1.0");
    secrets(&place, CANARIES / 2);
    place
}

/// Every command logs all that it, and what it stands on, can say.
fn traced(place: &Place, seen: &mut Seen, words: &[&str], code: i32) -> Done {
    let mut command = place.command(&kubeconfig(), words);
    let done: Done = ended(command.env("ASTERN_LOG", "trace")).into();
    let what = words.join(" ");
    seen.add(format!("the output of {what}"), done.out.as_str());
    seen.add(format!("the errors of {what}"), done.err.as_str());
    done.expect(code)
}

/// Whatever lies in the cluster besides the content itself and the vault, the records of runs and releases unpacked.
fn cluster(place: &Place, seen: &mut Seen) {
    let others = "events,leases,configmaps,deployments,replicasets,pods";
    seen.add(
        "the objects of the cluster",
        place.kubectl(&["get", others, "-o", "json"]),
    );
    let mut packed = 0;
    for secret in place.get("secrets")["items"].as_array().unwrap() {
        seen.add(
            "what Secrets carry beside their data",
            secret["metadata"].to_string(),
        );
        if !["astern.dev/journal", "astern.dev/release"].contains(&secret["type"].as_str().unwrap()) {
            continue;
        }
        for (key, value) in secret["data"].as_object().unwrap() {
            let what = format!("{} {key}", secret["metadata"]["name"].as_str().unwrap());
            packed += usize::from(seen.add_packed(&what, &decoded(value.as_str().unwrap())));
        }
    }
    assert!(packed > 0, "no record was unpacked");
}

/// What base64 says.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|letter| *letter != b'=').map(digit).collect();
    letters
        .chunks(4)
        .flat_map(|four| {
            let bits = four
                .iter()
                .fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit))
                << (6 * (4 - four.len()));
            bits.to_be_bytes()[1..four.len()].to_vec()
        })
        .collect()
}

/// The rows of a journal in a file, unpacked.
async fn rows(file: &std::path::Path, seen: &mut Seen) {
    let mut connection: SqliteConnection = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .connect()
        .await
        .unwrap();
    let mut packed = 0;
    for of in ["SELECT bytes FROM entries", "SELECT packed FROM vault"] {
        for row in sqlx::query(of).fetch_all(&mut connection).await.unwrap() {
            packed += usize::from(seen.add_packed(of, row.get(0)));
        }
    }
    assert!(packed > 0, "no record was unpacked");
}

#[test]
fn a_secret_goes_back_only_where_it_is_named() {
    let place = other_secrets("secret-named", "");
    let now = secret_data(&place);
    let left = roll_back(&place, &["--to", "1.0"]).expect(3);
    for words in [
        "secret/api-keys",
        "may have been rotated",
        "restoreSecrets: [{name: api-keys",
    ] {
        assert!(left.err.contains(words), "no {words:?}: {}", left.err);
    }
    assert_eq!(secret_data(&place), now);
}

#[test]
fn none_of_a_thousand_values_is_seen_in_any_output_file_record_or_log_at_trace_level() {
    let place = other_secrets("secret-canaries", "");
    let repository = Repository::local(&place);
    let manifest = deployment("api", json!([{"configMapRef": {"name": "app-config"}}])).to_string();
    repository.commit("v1", &[("deploy/api.json", manifest.as_str())]);
    let then = {
        let bytes = |nth: usize| Value::from(base64(canary(nth).as_bytes()));
        let data = (0..CANARIES / 2).map(|key| (format!("k{key}"), bytes(key)));
        Value::Object(data.collect())
    };
    let now = secret_data(&place);
    assert_eq!(
        decoded(now["k0"].as_str().unwrap()),
        canary(CANARIES / 2).as_bytes()
    );
    let seen = &mut Seen::default();
    let why = ["--yes", "--reason", "the release is bad"];
    let to = ["--to", "1.0"];
    // Left, and told; then named.
    traced(&place, seen, &[&["rollback"][..], &to, &why].concat(), 3);
    let spec = format!(
        "  config: {{restoreSecrets: [{{name: api-keys, probe: {{command: [sh, login.sh], env: {{ONE: k0, OTHER: k1}}}}}}]}}\n  sources: [{{repository: {}, path: deploy, workloads: [api]}}]\n",
        repository.url
    );
    place.platform(&spec);
    // A probe that says all that it was given, wherever it can.
    let login = |exit: i32| {
        let script = format!("env\nenv >&2\necho \"$ONE\" \"$OTHER\" >/dev/tty\nexit {exit}\n");
        std::fs::write(place.file("login.sh"), script).unwrap();
    };
    login(7);
    let refused = traced(&place, seen, &[&["rollback"][..], &to, &why].concat(), 3);
    assert!(
        refused.err.contains("login probe sh exited with 7"),
        "{}",
        refused.err
    );
    login(0);
    for format in ["text", "json", "yaml", "markdown"] {
        traced(&place, seen, &["plan", "--to", "1.0", "-o", format], 0);
        traced(&place, seen, &["drift", "-o", format], 7);
        traced(&place, seen, &["status", "-o", format], 0);
        traced(&place, seen, &["owners", "-o", format], 0);
    }
    traced(&place, seen, &["plan", "--to", "1.0", "-o", "back.json"], 0);
    traced(&place, seen, &["drift", "--restore", "-o", "drift.json"], 0);
    traced(&place, seen, &["rehearse", "back.json"], 0);
    traced(
        &place,
        seen,
        &["rehearse", "back.json", "--faults", "-o", "json"],
        0,
    );
    traced(&place, seen, &["init"], 1);
    // Somebody else writes it between plan and run.
    let edit = |value: &str| {
        let patch = json!({"data": {"k0": value}}).to_string();
        place.kubectl(&["patch", "secret", "api-keys", "--type=merge", "-p", &patch]);
    };
    edit(&base64(canary(1).as_bytes()));
    let moved = traced(&place, seen, &[&["run", "back.json"][..], &why].concat(), 3);
    assert!(moved.err.contains("AST0212"), "{}", moved.err);
    edit(now["k0"].as_str().unwrap());

    traced(&place, seen, &[&["rollback"][..], &to, &why].concat(), 0);
    assert_eq!(secret_data(&place), then);
    let run = newest_run(&place);
    reported(&place, seen, &run);
    let left = traced(&place, seen, &["writeback", &run, "--folder", "files"], 3);
    assert!(
        left.err.contains("its values are written into no repository"),
        "{}",
        left.err
    );
    traced(&place, seen, &[&["run", "back.json"][..], &why].concat(), 3);
    traced(&place, seen, &[&["undo", &run][..], &why].concat(), 0);
    assert_eq!(secret_data(&place), now);
    rolled_out(&place, &["api"]);
    // In a file, in the foreground.
    let store = ["--store", "runs.db"];
    let words = [&store[..], &["rollback"], &to, &why, &["--foreground"]].concat();
    traced(&place, seen, &words, 0);
    let listed = traced(&place, seen, &[&store[..], &["runs", "-o", "json"]].concat(), 0);
    let in_file = listed.json()["items"][0]["run"].as_str().unwrap().to_owned();
    traced(&place, seen, &[&store[..], &["report", &in_file]].concat(), 0);
    traced(&place, seen, &[&store[..], &["undo", &in_file], &why].concat(), 0);
    assert_eq!(secret_data(&place), now);
    rolled_out(&place, &["api"]);
    // Held, and taken back. No pod of `api` starts any more, whatever it reads.
    place.kubectl(&["create", "quota", "none", "--hard=pods=2"]);
    let never =
        r#"{"spec": {"progressDeadlineSeconds": 2, "strategy": {"rollingUpdate": {"maxUnavailable": 0}}}}"#;
    place.kubectl(&["patch", "deployment", "api", "-p", never]);
    traced(&place, seen, &[&["rollback"][..], &to, &why].concat(), 6);
    assert_eq!(secret_data(&place), then);
    let held = newest_run(&place);
    traced(&place, seen, &["status"], 0);
    traced(&place, seen, &["abort", &held, "--yes"], 4);
    assert_eq!(secret_data(&place), now);
    reported(&place, seen, &held);
    for words in [
        &["runs", "-o", "json"][..],
        &["releases"],
        &["releases", "show", "1.0"],
    ] {
        traced(&place, seen, words, 0);
    }
    traced(&place, seen, &["releases", "show", "1.0", "-o", "json"], 0);
    every_other_command(&place, seen, &run);

    cluster(&place, seen);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(rows(&place.file("runs.db"), seen));
    seen.add_files(place.folder.path());
    // What is searched is there: masked values by their marks, and logs at the level that was asked for, of this program as of
    // what it stands on.
    assert!(seen.holds("the output of plan", "data[k0]: ‹masked "));
    assert!(seen.holds("runs.db", "SQLite format 3"));
    assert!(seen.holds("SELECT bytes", "config:secret/api-keys"));
    assert!(seen.holds("unpacked", "config:secret/api-keys"));
    let log = format!("{run}.log");
    for words in [
        "DEBUG astern_exec",
        "TRACE h2",
        "TRACE hyper_util",
        "TRACE tower::buffer",
    ] {
        assert!(seen.holds(&log, words), "the runner's log has no {words:?}");
        assert!(
            seen.holds("--foreground", words),
            "the foreground's log has no {words:?}"
        );
    }
    assert_eq!(seen.found(), None);
    // Nor what lets this user in.
    let kubeconfig = std::fs::read_to_string(kubeconfig()).unwrap();
    let token = kubeconfig
        .split_once("token: ")
        .unwrap()
        .1
        .lines()
        .next()
        .unwrap()
        .trim();
    assert!(token.len() > 10 && !seen.holds("", token), "the token is seen");
}

/// What is not asked for on the way of a rollback.
fn every_other_command(place: &Place, seen: &mut Seen, run: &str) {
    let manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"}, "spec": {
        "template": {"spec": {"containers": [{"name": "api", "image": "api:v1"}]}}}});
    std::fs::write(place.file("manifest.yaml"), manifest.to_string()).unwrap();
    for (words, code) in [
        (&["audit"][..], 3),
        (&["audit", "-o", "json"], 3),
        (&["check", "-f", "manifest.yaml"], 0),
        (&["watch", "--once"], 0),
        (&["validate", "--soak", "1s"], 0),
        (&["attach", run], 0),
        (&["resume", run], 1),
        (&["owners", "resume", "--yes", "--reason", "of no matter"], 3),
        (&["helm"], 0),
        (&["status", "--release"], 0),
        (&["releases", "record", "--version", "1.9", "--commit", "abc"], 0),
        (&["releases", "mark", "bad", "1.9", "--reason", "of no matter"], 0),
    ] {
        traced(place, seen, words, code);
    }
}

/// The reports of a run, in every form.
fn reported(place: &Place, seen: &mut Seen, run: &str) {
    for format in ["text", "json", "yaml", "markdown"] {
        traced(place, seen, &["report", run, "-o", format], 0);
    }
    let page = format!("{run}.html");
    traced(place, seen, &["report", run, "--html", &page], 0);
    let folder = format!("{run}-evidence");
    traced(place, seen, &["report", run, "--evidence", &folder], 0);
}

#[test]
fn of_two_values_that_are_not_shown_a_diff_says_whether_they_are_the_same() {
    let place = Place::new("secret-marks");
    place.platform("  config: {restoreSecrets: [{name: api-keys, rotates: false}]}\n");
    let keys = |key: &str, user: &str| {
        let of = format!("--from-literal=key={key}");
        let user = format!("--from-literal=user={user}");
        place.kubectl(&["delete", "secret", "api-keys", "--ignore-not-found"]);
        place.kubectl(&["create", "secret", "generic", "api-keys", &of, &user]);
    };
    keys("one-of-before", "shared-by-both");
    let reads = json!([{"secretRef": {"name": "api-keys"}}]);
    apply(&place, &[deployment("api", reads)]);
    rolled_out(&place, &["api"]);
    record(&place, "1.0");
    keys("shared-by-both", "another-of-now");
    let plan = place
        .astern(&["plan", "--to", "1.0", "-o", "json"])
        .expect(0)
        .json();
    let changes = plan["config"][0]["changes"].as_array().unwrap();
    let mark = |path: &str, side: &str| {
        let change = changes.iter().find(|change| change["path"] == path).unwrap();
        let mark = change[side]["keyed"].as_str().unwrap().to_owned();
        assert!(
            mark.len() == 8 && mark.bytes().all(|digit| digit.is_ascii_hexdigit()),
            "{mark}"
        );
        mark
    };
    assert_eq!(mark("data[key]", "from"), mark("data[user]", "to"));
    assert_ne!(mark("data[key]", "from"), mark("data[key]", "to"));
    let told = place.astern(&["drift"]).expect(7).out;
    let words = format!("‹masked {}›", mark("data[key]", "from"));
    assert!(told.contains(&words), "{told}");
}

#[test]
fn a_secret_that_is_made_from_another_object_is_refused_with_its_source() {
    let place = other_secrets(
        "config-sealed",
        "  config: {restoreSecrets: [{name: api-keys, rotates: false}]}\n",
    );
    let before = secret_data(&place);
    place.kubectl(&[
        "patch",
        "secret",
        "api-keys",
        "--type=merge",
        "-p",
        r#"{"metadata": {"ownerReferences": [{"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
            "name": "keys", "uid": "11111111-1111-4111-8111-111111111111", "blockOwnerDeletion": false}]}}"#,
    ]);
    let refused = roll_back(&place, &["--to", "1.0"]).expect(3);
    for words in [
        "AST0114",
        "secret/api-keys",
        "sealedsecret/keys",
        "version of then",
    ] {
        assert!(refused.err.contains(words), "no {words:?}: {}", refused.err);
    }
    assert_eq!(secret_data(&place), before);
}
