//! The demo: each scenario's story through the binary, with no cluster and no network.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

#[path = "kwok/canaries.rs"]
mod canaries;

use canaries::{CANARIES, Seen, canary};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn astern(home: &tempfile::TempDir, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_astern"));
    command
        .args(words)
        .current_dir(home.path())
        .env("HOME", home.path())
        .env_remove("XDG_STATE_HOME")
        // What a demo shows must not depend on, let alone touch, the cluster that a person works with.
        .env("KUBECONFIG", home.path().join("nowhere"))
        .stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Plays a scenario; what was said.
fn play(scenario: &str, code: i32) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = astern(&home, &["demo", "--yes", "--scenario", scenario])
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let left: Vec<_> = std::fs::read_dir(home.path().join(".local/state/astern"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("demo"))
        .collect();
    assert!(left.is_empty(), "the demo left {left:?}");
    said
}

fn shows(scenario: &str, parts: &[&str]) {
    let said = play(scenario, 0);
    for part in parts {
        assert!(said.contains(part), "{scenario} does not show `{part}`: {said}");
    }
}

#[test]
fn a_bad_release_is_seen_taken_back_validated_and_reported() {
    shows(
        "bad-release",
        &[
            "CrashLoopBackOff, exit 1",
            "row crash-loop",
            "row not-ready",
            "row error-lines",
            "✔ restored in",
            "/health answers 200",
            "passed: 42 of 42 checks",
            "report: ",
        ],
    );
}

#[test]
fn a_crash_loop_is_taken_back_while_the_old_pods_serve() {
    shows(
        "crash-loop",
        &[
            "1 workload · 2 steps",
            "observed: 3 pods of it serve now",
            "- ‹masked ",
            "✔ restored in",
        ],
    );
}

#[test]
fn a_configuration_of_its_own_name_goes_back_with_the_template() {
    shows("bad-config", &["exit 78", "app-config-7c2f9k", "✔ restored in"]);
}

#[test]
fn a_missing_image_is_told_and_left_behind() {
    shows(
        "image-missing",
        &["ImagePullBackOff", "row pods-not-starting", "✔ restored in"],
    );
}

#[test]
fn a_slow_version_that_no_probe_shows_is_a_persons_decision() {
    shows("slow-version", &["row all-healthy", "✔ restored in"]);
}

#[test]
fn a_version_whose_autoscaler_stands_at_its_maximum_is_taken_back() {
    shows("hpa-at-limits", &["row error-lines", "4/4", "✔ restored in"]);
}

#[test]
fn what_somebody_took_back_by_hand_is_left_and_the_rest_follows() {
    let said = play("partial-rollback", 0);
    in_order(
        &said,
        &[
            "recorded release v1.2.3 as good",
            "recorded release v1.2.4 as candidate",
            "$ astern status --release",
            "$ astern plan --to v1.2.3",
            "$ astern rollback --to v1.2.3",
            "✔ restored in",
            "$ astern status --release",
        ],
    );
    assert_eq!(said.matches("5 workloads · 10 steps").count(), 2, "{said}");
    assert!(said.contains("row error-lines"), "{said}");
    // Before, one stands on the good release and the others on the bad one; afterwards all six on the good one.
    let count = |release: &str| {
        said.lines()
            .filter(|line| line.trim_end().ends_with(release))
            .count()
    };
    assert_eq!(count("v1.2.4 (candidate)"), 5, "{said}");
    assert_eq!(count("v1.2.3 (good)"), 1 + 6, "{said}");
}

#[test]
fn a_stuck_stateful_set_is_unblocked_by_deleting_its_broken_pod() {
    shows(
        "stateful-set-stuck",
        &["delete pod/ledger-store-1", "✔ restored in"],
    );
}

#[test]
fn where_the_old_version_fails_alike_going_back_is_refused() {
    shows(
        "old-version-broken",
        &["former-fails-alike", "Nothing was changed: a refusal"],
    );
}

#[test]
fn an_owner_that_would_write_back_is_paused_first_and_goes_on_once_git_says_what_runs() {
    let said = play("gitops-owner", 0);
    in_order(
        &said,
        &[
            "pause Argo CD application argocd/vcci-scope3",
            "Stays paused after the run",
            "nobody has switched Argo CD application argocd/vcci-scope3 on again",
            "✔ done: pause Argo CD application argocd/vcci-scope3",
            "✔ restored in",
            "$ astern owners",
            "so this is not run:",
            "$ astern writeback --push",
            "$ astern owners resume vcci-scope3 --source-matches vcci-scope3",
            "✔ done: resume Argo CD application argocd/vcci-scope3",
            "✔ restored in",
            "$ astern owners",
        ],
    );
    // What it prints as data: paused in between, and writing again at the end.
    in_order(
        &said,
        &[
            "has paused it",
            "once its source is what runs: astern owners resume vcci-scope3",
            "writes: automated.selfHeal: true",
        ],
    );
}

/// Fails unless these stand in what was said, in this order.
fn in_order(said: &str, parts: &[&str]) {
    let mut rest = said;
    for part in parts {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("no `{part}` after what comes before it: {said}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn content_that_a_release_changed_alone_goes_back_first_and_its_readers_start_once() {
    let said = play("config-alone", 0);
    for part in [
        "exit 78",
        "✗ bad      v1.2.4",
        "took the content of configmap/emission-factors back from it",
    ] {
        assert!(said.contains(part), "no `{part}`: {said}");
    }
    in_order(
        &said,
        &[
            "recorded release v1.2.3 as good",
            "recorded release v1.2.4 as candidate",
            "2 workloads · 5 steps",
            "1  put the content of configmap/emission-factors back to release v1.2.3",
            "data[EMISSION_FACTORS_EDITION]: (none) → 2023",
            "✔ done: put the content of configmap/emission-factors back",
            "▸ start: restart deployment/calculation-engine",
            "✔ restored in",
        ],
    );
    // The templates of both releases are the same: what is read tells them apart.
    for (release, live) in [("✗ bad      v1.2.4", " 4/6 "), ("✓ good     v1.2.3", " 6/6 ")] {
        let line = said.lines().find(|line| line.contains(release)).unwrap();
        assert!(line.contains(live), "{said}");
    }
    for reader in ["calculation-engine", "reporting-service"] {
        let restart = format!("✔ done: restart deployment/{reader}");
        assert_eq!(said.matches(&restart).count(), 1, "{said}");
    }
    assert_eq!(said.matches("✔ done: restart ").count(), 2, "{said}");
    assert!(!said.contains("▸ start: put deployment/"), "{said}");
}

#[test]
fn workers_that_must_not_run_beside_another_version_are_stopped_and_come_back_with_their_counts() {
    let said = play("stopped-workers", 0);
    for part in [
        "4 of 4 pods of v1.2.3 ready",
        "3 of 3 pods of v1.2.3 ready",
        "✗ bad      v1.2.4",
    ] {
        assert!(said.contains(part), "no `{part}`: {said}");
    }
    in_order(
        &said,
        &[
            "2 workloads stopped and started again",
            "autoscalers stay as they are: reporting-service",
            "✔ done: pause CronJob vcci-scope3/nightly-booking",
            "✔ done: resume CronJob vcci-scope3/nightly-booking (suspend: false)",
            "✔ restored in",
        ],
    );
    // One had the count that a person gave it, the other its autoscaler's; the manifest says 2 of both.
    for (worker, count) in [("data-ingestion", 4), ("reporting-service", 3)] {
        in_order(
            &said,
            &[
                &format!("✔ done: stop deployment/{worker}: scale it to 0"),
                &format!("✔ done: wait until the pods of deployment/{worker} are gone"),
                &format!("▸ start: put deployment/{worker} back to v1.2.3"),
                &format!("✔ done: start deployment/{worker}: scale it to {count}"),
            ],
        );
    }
}

#[test]
fn the_scenarios_are_listed_and_a_slip_is_answered_with_the_nearest() {
    let home = tempfile::tempdir().unwrap();
    let list = astern(&home, &["demo", "--scenario"]).output().unwrap();
    assert_eq!(list.status.code(), Some(0));
    assert!(said(&list).contains("crash-loop   "), "{}", said(&list));
    let slip = astern(&home, &["demo", "--yes", "--scenario", "crahs-loop"])
        .output()
        .unwrap();
    assert_eq!(slip.status.code(), Some(1));
    assert!(
        said(&slip).contains("did you mean crash-loop?"),
        "{}",
        said(&slip)
    );
}

#[test]
fn bad_input_is_told_and_nothing_is_half_loaded() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(
        home.path().join("slip.yaml"),
        "says: a slip\nhistory:\n  - agoo: 3h\n",
    )
    .unwrap();
    std::fs::write(
        home.path().join("circle.yaml"),
        "says: a circle\nbase: circle.yaml\n",
    )
    .unwrap();
    std::fs::write(
        home.path().join("kind.yaml"),
        "says: a kind\nhistory:\n  - ago: 1h\n    objects: [{apiVersion: v9, kind: Thing, metadata: {name: a}}]\n",
    )
    .unwrap();
    for (words, code, parts) in [
        (
            &["demo", "--yes", "--scenario", "slip.yaml"][..],
            1,
            &["line 3", "agoo", "^"][..],
        ),
        (
            &["demo", "--yes", "--scenario", "circle.yaml"],
            1,
            &["in a circle"],
        ),
        (
            &["demo", "--yes", "--scenario", "kind.yaml"],
            1,
            &["Thing", "has no kind"],
        ),
        (
            &["demo", "--yes", "--scenario", "./missing.yaml"],
            1,
            &["missing.yaml", "cannot be read"],
        ),
        (&["demo", "--yes", "--seed", "many"], 2, &["--seed"]),
        (&["demo"], 2, &["--yes"]),
    ] {
        let output = astern(&home, words).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{words:?} does not say `{part}`: {said}");
        }
    }
}

/// A sandbox that ends with the test.
struct Serving {
    process: Child,
    kubeconfig: String,
    metrics: String,
    /// Kept, so that it can go on saying things.
    _told: BufReader<ChildStderr>,
}

impl Serving {
    fn start(home: &tempfile::TempDir, name: &str, words: &[&str]) -> Self {
        let file = home.path().join(name);
        let kubeconfig = file.to_str().unwrap().to_owned();
        let all = [&["sandbox", "serve", "--kubeconfig", &kubeconfig], words].concat();
        let mut process = astern(home, &all)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says where the metrics are before it says that it is ready.
        let mut told = BufReader::new(process.stderr.take().unwrap());
        let metrics = told
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("HTTP API: http://")?.1.to_owned()));
        let mut printed = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut printed)
            .unwrap();
        assert_eq!(printed.trim(), format!("export KUBECONFIG={kubeconfig}"));
        Self {
            process,
            kubeconfig,
            metrics: metrics.unwrap(),
            _told: told,
        }
    }

    fn kubectl(&self, words: &[&str]) -> String {
        let output = Command::new("kubectl")
            .args(["--kubeconfig", &self.kubeconfig, "-n", "vcci-scope3"])
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Asks it to end; its exit code.
    fn end(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().unwrap();
        let since = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "the sandbox did not end"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.process.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

#[test]
fn a_sandbox_tells_its_traffic_to_whoever_asks_as_one_asks_prometheus() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::start(&home, "sandbox.json", &["--scenario", "hpa-at-limits"]);
    let mut stream = TcpStream::connect(&serving.metrics).unwrap();
    let form = "query=sum(rate(http_requests_total[5m]))";
    write!(
        stream,
        "POST /api/v1/query HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{form}",
        serving.metrics,
        form.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let told: serde_json::Value = serde_json::from_str(body).unwrap();
    let rate = told["data"]["result"][0]["value"][1].as_str().unwrap();
    let rate: f64 = rate.parse().unwrap();
    assert!((rate - 12.0).abs() < 1e-6, "{told}");
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn an_audit_says_what_a_rollback_would_meet_and_a_plan_then_says_the_same() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::start(&home, "audited.json", &["--scenario", "old-version-broken"]);
    let asked = |words: &[&str]| {
        let place = ["--kubeconfig", &serving.kubeconfig, "-n", "vcci-scope3"];
        astern(&home, &[words, &place].concat()).output().unwrap()
    };
    let since = Instant::now();
    let audit = loop {
        let audit = asked(&["audit"]);
        if audit.status.code() == Some(3) {
            break said(&audit);
        }
        assert_eq!(audit.status.code(), Some(0), "{}", said(&audit));
        assert!(since.elapsed() < Duration::from_secs(90), "{}", said(&audit));
        std::thread::sleep(Duration::from_millis(500));
    };
    for part in [
        "✗ not ready: a rollback would be refused now",
        "✗ no            deployment/calculation-engine",
        "✗ refused AST0103  deployment/calculation-engine",
        "· nothing yet   deployment/api-gateway",
        "! warning AST0305  the ledger holds no release",
    ] {
        assert!(audit.contains(part), "no `{part}`: {audit}");
    }
    assert_eq!(asked(&["audit", "api-gateway"]).status.code(), Some(0));
    let plan = asked(&["plan", "--only", "calculation-engine"]);
    assert_eq!(plan.status.code(), Some(3), "{}", said(&plan));
    assert!(said(&plan).contains("AST0103"), "{}", said(&plan));
}

#[test]
fn a_sandbox_serves_kubectl_until_it_is_ended() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::start(&home, "sandbox.json", &["--scenario", "platform"]);
    let names = serving.kubectl(&["get", "deployments", "-o", "name"]);
    assert!(names.contains("deployment.apps/api-gateway"), "{names}");

    // A port that is taken, and a kubeconfig that leads elsewhere, are told.
    let server = std::fs::read_to_string(&serving.kubeconfig).unwrap();
    let port = server.split("127.0.0.1:").nth(1).unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let second = astern(&home, &["sandbox", "serve", "--port", &port])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        said(&second).contains(&format!("on port {port}")),
        "{}",
        said(&second)
    );
    let other = home.path().join("production.yaml");
    std::fs::write(&other, "current-context: production\n").unwrap();
    let kept = astern(
        &home,
        &["sandbox", "serve", "--kubeconfig", other.to_str().unwrap()],
    )
    .output()
    .unwrap();
    assert_eq!(kept.status.code(), Some(1));
    assert_eq!(
        std::fs::read_to_string(&other).unwrap(),
        "current-context: production\n"
    );
    assert_eq!(serving.end(), Some(0));
}

#[test]
fn a_sandbox_begins_as_a_copy_of_a_namespace_or_says_what_is_wrong_with_it() {
    let home = tempfile::tempdir().unwrap();
    let first = Serving::start(&home, "first.json", &["--scenario", "crash-loop"]);
    let kinds =
        "deployments,replicasets,statefulsets,daemonsets,controllerrevisions,pods,services,configmaps";
    let dump = first.kubectl(&["get", kinds, "-o", "json"]);
    let file = |name: &str, text: &str| {
        std::fs::write(home.path().join(name), text).unwrap();
    };
    file("dump.json", &dump);
    let copy = Serving::start(&home, "copy.json", &["--load", "dump.json"]);
    let uids = [
        "get",
        "pods,replicasets",
        "-o",
        "jsonpath={.items[*].metadata.uid}",
    ];
    assert_eq!(copy.kubectl(&uids), first.kubectl(&uids));
    copy.kubectl(&["rollout", "undo", "deployment/api-gateway"]);
    copy.kubectl(&["rollout", "status", "deployment/api-gateway", "--timeout=60s"]);
    let image = ["get", "deployment/api-gateway", "-o", "jsonpath={..image}"];
    assert_eq!(copy.kubectl(&image), "vcci-scope3-api-gateway:v1.2.3");
    assert_eq!(first.kubectl(&image), "vcci-scope3-api-gateway:v1.2.4");

    file("cut.json", &dump[..dump.len() / 2]);
    file(
        "kind.json",
        r#"{"apiVersion":"v9","kind":"Thing","metadata":{"name":"a","uid":"1"}}"#,
    );
    file(
        "uid.json",
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#,
    );
    for (name, part) in [
        ("cut.json", "no JSON"),
        ("kind.json", "no kind Thing of v9"),
        ("uid.json", "Pod a has no metadata.uid"),
        ("none.json", "No such file"),
    ] {
        let refused = astern(&home, &["sandbox", "serve", "--load", name])
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains(part), "{}", said(&refused));
    }
}

/// A defect anywhere on the way of a rollback, while a thousand values of Secrets are in memory.
#[test]
fn a_defect_shows_none_of_a_thousand_values_of_secrets_wherever_it_strikes() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::start(&home, "sandbox.json", &[]);
    let create = |object: serde_json::Value| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        let kubectl = |verb: &str| {
            Command::new("kubectl")
                .args(["--kubeconfig", &serving.kubeconfig, "-n", "default", verb, "-f"])
                .arg(file.path())
                .output()
                .unwrap()
        };
        if !kubectl("create").status.success() {
            let replaced = kubectl("replace");
            assert!(replaced.status.success(), "{}", said(&replaced));
        }
    };
    let keys = |from: usize| {
        let value = |key: usize| (format!("k{key}"), serde_json::Value::from(canary(from + key)));
        let data: serde_json::Map<String, serde_json::Value> = (0..CANARIES / 2).map(value).collect();
        create(
            serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-keys"}, "stringData": data}),
        );
    };
    keys(0);
    create(serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "api"}}, "template": {
            "metadata": {"labels": {"app": "api"}},
            "spec": {"containers": [{"name": "api", "image": "api:v1", "envFrom": [{"secretRef": {"name": "api-keys"}}]}]},
        }},
    }));
    std::fs::write(
        home.path().join("astern.yaml"),
        "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {name: shop}\nspec:\n  namespace: default\n  \
         validation: {soak: 1s}\n  config: {restoreSecrets: [{name: api-keys, rotates: false}]}\n",
    )
    .unwrap();
    let mut seen = Seen::default();
    let mut run = |defect: &str, words: &[&str], code: i32| -> String {
        let mut command = astern(&home, words);
        command
            .env("KUBECONFIG", &serving.kubeconfig)
            .env("ASTERN_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env("ASTERN_PLANT_DEFECT", defect);
        let output = command.output().unwrap();
        let told = said(&output);
        seen.add(format!("{words:?} with a defect {defect}"), told.as_str());
        assert_eq!(output.status.code(), Some(code), "{defect}: {told}");
        told
    };
    let good = [
        "releases",
        "record",
        "--version",
        "1.0",
        "--good",
        "--reason",
        "it serves",
    ];
    run("nowhere", &good, 0);
    keys(CANARIES / 2);
    let back = ["rollback", "--to", "1.0", "--yes", "--reason", "they leaked"];
    let planned = run("planned", &back, 255);
    assert!(planned.contains("BUG: planted for a test"), "{planned}");
    run("carried-out", &back, 0);
    let state = home.path().join(".local/state/astern");
    seen.add_files(&state);
    assert!(
        seen.holds(".log", "BUG: planted for a test"),
        "the runner's log has no panic"
    );
    assert!(seen.holds("planned", "TRACE"), "nothing was logged");
    assert_eq!(seen.found(), None);
}
