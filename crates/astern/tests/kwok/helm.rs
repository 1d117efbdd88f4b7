//! Helm releases on a real API server with the real helm programs, 3 and 4: rolled back through their own records.

use crate::canaries::base64;
use crate::input::own_user;
use crate::support::{Done, Place, ended, kubeconfig};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .name }}}
spec:
  replicas: 2
  progressDeadlineSeconds: 60
  selector: {matchLabels: {app: {{ .name }}}}
  template:
    metadata:
      labels:
        app: {{ .name }}
        {{- if .crash }}
        kwok.astern.dev/crash-loop: "true"
        {{- end }}
    spec:
      containers:
      - name: {{ .name }}
        image: "{{ .name }}:{{ .tag }}"
        resources: {requests: {cpu: "0.1", memory: 64Mi}}
        env: [{name: LEVEL, value: {{ .tag | quote }}}]
"#;

/// Each helm program that the lane has built, the older first.
pub(crate) fn helms() -> Vec<PathBuf> {
    let list = std::env::var_os("ASTERN_TEST_HELMS")
        .expect("run `cargo xtask test --lane kwok`, which sets ASTERN_TEST_HELMS");
    let helms: Vec<PathBuf> = std::env::split_paths(&list).collect();
    assert!(helms.len() >= 2, "helm 3 and 4: {helms:?}");
    helms
}

/// A chart in a place of its own, and the helm program that installs it.
pub(crate) struct Shop {
    pub(crate) place: Place,
    pub(crate) helm: PathBuf,
}

impl Shop {
    pub(crate) fn new(name: &str, helm: &Path) -> Self {
        let place = Place::new(name);
        place.platform("  config: {restoreSecrets: [{name: dsn, rotates: false}]}\n");
        let templates = place.file("chart/templates");
        std::fs::create_dir_all(&templates).unwrap();
        let write = |path: PathBuf, text: &str| std::fs::write(path, text).unwrap();
        write(
            place.file("chart/Chart.yaml"),
            "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
        );
        for service in ["api", "worker"] {
            let text = DEPLOYMENT
                .replace("{{ .name }}", service)
                .replace(".crash", &format!(".Values.{service}.crash"))
                .replace(".tag", &format!(".Values.{service}.tag"));
            write(templates.join(format!("{service}.yaml")), &text);
        }
        write(
            templates.join("objects.yaml"),
            "apiVersion: v1\nkind: Secret\nmetadata: {name: dsn}\nstringData: {dsn: {{ .Values.dsn | quote }}}\n---\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {level: {{ .Values.level | quote }}, {{ .Values.key | quote }}: x}\n",
        );
        write(
            place.file("chart/values.yaml"),
            "api: {tag: v1, crash: false}\nworker: {tag: v1, crash: false}\ndsn: first\nlevel: info\nkey: k\n",
        );
        Self {
            place,
            helm: helm.to_owned(),
        }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.helm);
        command
            .args(["--namespace", &self.place.namespace])
            .args(words)
            .current_dir(self.place.folder.path())
            .env("KUBECONFIG", kubeconfig())
            .env("HELM_CACHE_HOME", self.place.file("helm-cache"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn helm(&self, words: &[&str]) -> String {
        let done: Done = ended(&mut self.command(words)).into();
        done.expect(0).out
    }

    pub(crate) fn astern(&self, words: &[&str]) -> Done {
        let mut command = self.place.command(&kubeconfig(), words);
        command.env("ASTERN_HELM", &self.helm);
        ended(&mut command).into()
    }

    pub(crate) fn history(&self) -> Vec<(u64, String)> {
        let told: Value = serde_json::from_str(&self.helm(&["history", "shop", "-o", "json"])).unwrap();
        let line = |line: &Value| {
            (
                line["revision"].as_u64().unwrap(),
                line["status"].as_str().unwrap().to_owned(),
            )
        };
        told.as_array().unwrap().iter().map(line).collect()
    }

    /// Revision 1 serves; revision 2 moves both services, and the api crashes.
    fn bad_release(&self) {
        self.helm(&["install", "shop", "./chart"]);
        for service in ["api", "worker"] {
            let name = format!("deployment/{service}");
            self.place.kubectl(&["rollout", "status", &name, "--timeout=60s"]);
        }
        std::thread::sleep(std::time::Duration::from_millis(1500));
        self.helm(&[
            "upgrade",
            "shop",
            "./chart",
            "--set",
            "api.tag=v2,api.crash=true,worker.tag=v2,dsn=canary-secret-value,level=debug",
        ]);
        self.place.until("the crash loop", 60, |place| {
            place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
        });
    }
}

impl Place {
    /// Whether a file of this test's folder, the runner's logs among them, holds the text.
    fn holds(&self, text: &str) -> bool {
        let grep = Command::new("grep")
            .args(["-r", "-q", "-F", text])
            .arg(self.folder.path())
            .status();
        grep.unwrap().success()
    }
}

pub(crate) fn status(history: &[(u64, String)]) -> Vec<(u64, &str)> {
    history
        .iter()
        .map(|(number, status)| (*number, status.as_str()))
        .collect()
}

#[test]
fn a_release_goes_back_through_helm_whole_with_config_and_record() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::new(&format!("helm-whole-{at}"), helm);
        shop.bad_release();
        // Somebody tries to help beside helm.
        shop.place
            .kubectl(&["scale", "deployment/worker", "--replicas=3"]);
        shop.place.kubectl(&[
            "patch",
            "configmap/settings",
            "--type=merge",
            "-p",
            r#"{"data": {"level": "trace", "mine": "stays"}}"#,
        ]);
        let plan = shop.astern(&["plan"]).expect(0);
        for words in [
            "deployment/worker was changed beside helm: spec.replicas",
            "configmap/settings was changed beside helm: data.level",
            "data.level: trace → info",
            "spec.replicas: 3 → 2",
            "roll helm/shop back from revision 2 to 1 with helm",
            "configmap/settings",
            "secret/dsn",
            "deployment/worker",
            "    values\n",
            "api.tag: v2 → (none)",
            "level: debug → (none)",
        ] {
            assert!(plan.out.contains(words), "{words}\n{}", plan.out);
        }
        assert!(!plan.out.contains("canary-secret-value"), "{}", plan.out);
        assert!(!plan.out.contains("AST0228"), "{}", plan.out);
        let done = shop
            .astern(&["rollback", "--yes", "--reason", "it crashes"])
            .expect(0);
        assert!(!(done.out + &done.err).contains("canary-secret-value"));
        assert!(
            !shop.place.holds("canary-secret-value"),
            "in a log or another file"
        );
        for service in ["api", "worker"] {
            assert_eq!(shop.place.image(service), format!("{service}:v1"));
        }
        let settings = shop.place.get("configmap/settings");
        assert_eq!(settings["data"]["level"], "info");
        assert_eq!(settings["data"]["mine"], "stays");
        let worker = shop.place.get("deployment/worker");
        assert_eq!(worker["spec"]["replicas"], 2);
        let history = shop.history();
        assert_eq!(
            status(&history),
            [(1, "superseded"), (2, "superseded"), (3, "deployed")],
            "{}",
            helm.display()
        );
        let undone = shop
            .astern(&["undo", &shop.place.run_begun(), "--yes", "--reason", "a try"])
            .expect(3);
        assert!(
            undone.err.contains("astern rollback --to helm/shop=2"),
            "{}",
            undone.err
        );
        // Helm goes on from there: the next upgrade is one like any other.
        shop.helm(&["upgrade", "shop", "./chart", "--set", "api.tag=v3"]);
        assert_eq!(shop.place.image("api"), "api:v3");
        // No mark of ours is on the revision that was gone back to: a later rollback of somebody's must not bear it.
        let first = shop.place.get("secret/sh.helm.release.v1.shop.v1");
        assert_eq!(first["metadata"]["labels"]["astern.dev/effect"], Value::Null);
    }
}

/// How often this user has asked for the payload of a record.
fn payloads_read(user: &str) -> usize {
    let log = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")).unwrap();
    let mark = format!("\"username\":\"{user}\"");
    let of_record = |line: &&str| {
        line.contains(&mark)
            && line.contains("\"stage\":\"ResponseComplete\"")
            && line.contains("\"verb\":\"get\"")
            && line.contains("/secrets/sh.helm.release.v1.shop.v")
    };
    log.lines().filter(of_record).count()
}

#[test]
fn a_plan_reads_the_nearest_records_alone_and_older_ones_where_these_do_not_do() {
    let shop = Shop::new("helm-lazy", &helms()[0]);
    shop.helm(&["install", "shop", "./chart"]);
    for level in ["warn", "error", "info"] {
        shop.helm(&["upgrade", "shop", "./chart", "--set", &format!("level={level}")]);
    }
    for service in ["api", "worker"] {
        let name = format!("deployment/{service}");
        shop.place.kubectl(&["rollout", "status", &name, "--timeout=60s"]);
    }
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let bad = |tag: &str| {
        let set = format!("api.tag={tag},api.crash=true");
        shop.helm(&["upgrade", "shop", "./chart", "--set", &set]);
    };
    bad("v2");
    shop.place.until_it_crashes();
    let (config, user) = own_user(&shop.place);
    let planned = || {
        let before = payloads_read(&user);
        let mut command = shop.place.command(&config, &["plan", "-o", "json"]);
        command.env("ASTERN_HELM", &shop.helm);
        let plan = Done::from(ended(&mut command)).expect(0).json();
        let to = plan["releases"][0]["to"].as_str().unwrap().to_owned();
        (to, payloads_read(&user) - before)
    };
    let (to, read) = planned();
    assert!(to.starts_with("4 ("), "{to}");
    assert_eq!(
        read,
        2 + 2,
        "of five records; and what the two say that ConfigMaps and Secrets hold"
    );
    // What was chosen is now two revisions back.
    bad("v3");
    shop.place.until("the crash of v3", 60, |place| {
        place.get("pods")["items"].as_array().unwrap().iter().any(|pod| {
            pod["spec"]["containers"][0]["image"] == "api:v3"
                && pod["status"].to_string().contains("CrashLoop")
        })
    });
    let (to, read) = planned();
    assert!(to.starts_with("4 ("), "{to}");
    assert_eq!(
        read,
        2 + 6 + 2,
        "the nearest, then all six, and what two of them say"
    );
}

#[test]
fn helm_is_told_what_the_platform_file_says() {
    for (at, helm) in helms().iter().enumerate() {
        let mut shop = Shop::new(&format!("helm-told-{at}"), helm);
        shop.place
            .platform("  helm: {timeout: 90s, wait: true, cleanupOnFail: true}\n  config: {restoreSecrets: [{name: dsn, rotates: false}]}\n");
        shop.bad_release();
        // Between astern and helm stands one that writes down what it is told.
        let (between, told) = (shop.place.file("helm-between"), shop.place.file("told"));
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}\nexec {} \"$@\"\n",
            told.display(),
            helm.display()
        );
        std::fs::write(&between, script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&between, executable).unwrap();
        shop.helm = between;
        shop.astern(&["rollback", "--yes", "--reason", "it crashes"])
            .expect(0);
        let told = std::fs::read_to_string(told).unwrap();
        let flags = "--timeout 90s --wait --cleanup-on-fail";
        assert!(told.contains(flags), "{told}");
        assert_eq!(shop.place.image("api"), "api:v1");
    }
}

#[test]
fn a_failed_revision_is_named_and_skipped_and_another_can_be_named() {
    let helm = &helms()[0];
    let shop = Shop::new("helm-failed", helm);
    // Only a rollback runs it, and here none is made.
    std::fs::write(
        shop.place.file("chart/templates/migrate.yaml"),
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: pre-rollback}\nspec:\n  \
         template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: migrate, image: \"api:v1\", command: \
         [alembic, upgrade, head]}]\n",
    )
    .unwrap();
    shop.helm(&["install", "shop", "./chart"]);
    for service in ["api", "worker"] {
        let name = format!("deployment/{service}");
        shop.place.kubectl(&["rollout", "status", &name, "--timeout=60s"]);
    }
    // Refused by the API server, so that helm marks the revision failed.
    let broken = ended(&mut shop.command(&["upgrade", "shop", "./chart", "--set", "key=not a key!"]));
    assert!(!broken.status.success());
    std::thread::sleep(std::time::Duration::from_millis(1500));
    shop.helm(&["upgrade", "shop", "./chart", "--set", "api.tag=v3,api.crash=true"]);
    shop.place.until("the crash loop", 60, |place| {
        place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
    let before = shop.history();
    let plan = shop.astern(&["plan"]).expect(0);
    assert_eq!(before[1], (2, "failed".to_owned()));
    assert!(plan.out.contains("not revision 2: it failed"), "{}", plan.out);
    let last = before.last().unwrap().0;
    assert!(
        plan.out.contains(&format!("from revision {last} to 1")),
        "{}",
        plan.out
    );
    for words in [
        "hook job/migrate runs (pre-rollback); it looks like one that changes a database",
        "hook job/migrate runs as the earlier revision has it, from its image",
    ] {
        assert!(plan.out.contains(words), "{words}\n{}", plan.out);
    }
    let named = shop.astern(&["plan", "--to", "helm/shop=9"]).expect(3);
    assert!((named.out + &named.err).contains("helm/shop has no revision 9"));
    let beside = shop.astern(&["plan", "--outside-helm"]).expect(0);
    assert!(beside.out.contains("AST0228"), "{}", beside.out);
    assert!(!beside.out.contains("with helm"), "{}", beside.out);
}

#[test]
fn an_upgrade_whose_client_was_killed_is_refused_while_it_may_live_and_repaired_once_it_is_known_dead() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::new(&format!("helm-killed-{at}"), helm);
        shop.helm(&["install", "shop", "./chart"]);
        for service in ["api", "worker"] {
            let name = format!("deployment/{service}");
            shop.place.kubectl(&["rollout", "status", &name, "--timeout=60s"]);
        }
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let mut upgrade = shop
            .command(&[
                "upgrade",
                "shop",
                "./chart",
                "--wait",
                "--set",
                "api.tag=v2,api.crash=true",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        shop.place.until("the crash loop", 60, |place| {
            place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
        });
        upgrade.kill().unwrap();
        upgrade.wait().unwrap();
        assert_eq!(status(&shop.history()), [(1, "deployed"), (2, "pending-upgrade")]);
        let refused = shop.astern(&["plan"]).expect(3);
        let said = refused.out + &refused.err;
        for words in ["AST0112", "pending-upgrade", "--abandoned shop"] {
            assert!(said.contains(words), "{words}\n{said}");
        }
        let done = shop
            .astern(&[
                "rollback",
                "--yes",
                "--reason",
                "its client died",
                "--abandoned",
                "shop",
            ])
            .expect(0);
        assert!((done.out + &done.err).contains("left pending-upgrade by a client that died"));
        assert_eq!(shop.place.image("api"), "api:v1");
        let history = shop.history();
        assert_eq!(history[1], (2, "failed".to_owned()), "{history:?}");
        assert_eq!(history[2], (3, "deployed".to_owned()), "{history:?}");
        shop.helm(&["upgrade", "shop", "./chart", "--set", "api.tag=v3"]);
    }
}

/// A helm that ends the runner that called it, once, and then does what `then` says.
fn murderous(shop: &Shop, then: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let (script, marker) = (shop.place.file("helm.sh"), shop.place.file("killed"));
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *--help*) ;; *rollback*)\n  if [ ! -e {marker} ]; then touch {marker}; kill -9 $PPID; {then}; fi;;\nesac\n\
         exec {helm} \"$@\"\n",
        marker = marker.display(),
        helm = shop.helm.display(),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// Kills the runner in the middle of the helm step, resumes, and gives the history.
fn resumed_after_a_kill(name: &str, helm: &Path, then: &str) -> Vec<(u64, String)> {
    let shop = Shop::new(name, helm);
    shop.bad_release();
    let script = murderous(&shop, then);
    let mut command = shop.place.command(
        &kubeconfig(),
        &["rollback", "--yes", "--foreground", "--reason", "it crashes"],
    );
    let killed: Done = ended(command.env("ASTERN_HELM", &script)).into();
    assert_eq!(killed.code, -1, "{killed:?}");
    let run = shop.place.run_begun();
    shop.astern(&["resume", &run, "--yes"]).expect(0);
    for service in ["api", "worker"] {
        assert_eq!(shop.place.image(service), format!("{service}:v1"));
    }
    shop.history()
}

#[test]
fn a_helm_that_outlives_its_runner_is_waited_for_and_not_called_again() {
    for (at, helm) in helms().iter().enumerate() {
        let history = resumed_after_a_kill(&format!("helm-outlives-{at}"), helm, "sleep 1");
        assert_eq!(
            status(&history),
            [(1, "superseded"), (2, "superseded"), (3, "deployed")]
        );
    }
}

#[test]
fn a_runner_that_died_before_helm_did_anything_is_followed_by_one_rollback() {
    let history = resumed_after_a_kill("helm-early", &helms()[0], "exit 1");
    assert_eq!(
        status(&history),
        [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    );
}

/// Puts this payload in the place of a revision's.
fn forge(shop: &Shop, revision: u64, payload: &[u8]) {
    let name = format!("sh.helm.release.v1.shop.v{revision}");
    let data = base64(base64(payload).as_bytes());
    let patch = json!({"data": {"release": data}}).to_string();
    let file = shop.place.file("forged.json");
    std::fs::write(&file, patch).unwrap();
    let file = file.to_str().unwrap();
    shop.place
        .kubectl(&["patch", "secret", &name, "--type=merge", "--patch-file", file]);
}

#[test]
fn a_record_that_is_not_what_it_says_or_expands_without_end_is_named_and_never_gone_back_to() {
    let shop = Shop::new("helm-forged", &helms()[0]);
    shop.bad_release();
    let before = shop.place.get("deployment/api")["spec"]["template"].clone();
    let endless = {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0_u8; 1 << 20];
        (0..80).for_each(|_| gzip.write_all(&zeros).unwrap());
        gzip.finish().unwrap()
    };
    let packed = |text: &str| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let other = packed(r#"{"name": "bank", "version": 7, "manifest": ""}"#);
    for (payload, why) in [
        (endless, "expands to more than 64 MiB"),
        (other, "is of release bank, revision 7"),
        (packed("canary-secret-value"), "is no release (JSON, line 1"),
        (packed("x")[..12].to_vec(), "cut short or damaged"),
    ] {
        forge(&shop, 1, &payload);
        let named = shop.astern(&["plan", "--to", "helm/shop=1"]).expect(3);
        let told = named.out + &named.err;
        assert!(
            told.contains(why) && told.contains("revision 1"),
            "no {why:?}: {told}"
        );
        let whole = shop.astern(&["rollback", "--yes", "--reason", "v2 crashes"]);
        let told = format!("{whole:?}");
        assert_ne!(whole.code, 0, "{told}");
        assert!(!told.contains("canary-secret-value"), "{told}");
    }
    assert_eq!(shop.place.get("deployment/api")["spec"]["template"], before);
    let records = shop
        .place
        .kubectl(&["get", "secrets", "-l", "owner=helm", "-o", "name"]);
    assert_eq!(records.lines().count(), 2, "helm was called: {records}");
}

/// The images of a release of the example, as kubelets would list them: its pods never pull.
fn on_every_node(place: &Place, version: &str) {
    let services = [
        "api-gateway",
        "data-ingestion",
        "calculation-engine",
        "reporting-service",
        "ledger-store",
        "node-agent",
    ];
    let images: Vec<Value> = services
        .iter()
        .map(|service| json!({"names": [format!("docker.io/library/vcci-scope3-{service}:{version}")], "sizeBytes": 1}))
        .collect();
    let patch = json!({"status": {"images": images}}).to_string();
    for node in place.get("nodes")["items"].as_array().unwrap() {
        let node = node["metadata"]["name"].as_str().unwrap();
        place.kubectl(&[
            "patch",
            "node",
            node,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
    }
}

#[test]
fn the_examples_chart_is_installed_upgraded_and_taken_back_with_either_helm() {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/vcci-scope3/chart");
    let bad = format!("{chart}/values-v1.2.4.yaml");
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::new(&format!("helm-example-{at}"), helm);
        on_every_node(&shop.place, "v1.2.3");
        let ready = |place: &Place| {
            for workload in [
                "deployment/api-gateway",
                "statefulset/ledger-store",
                "daemonset/node-agent",
            ] {
                place.kubectl(&["rollout", "status", workload, "--timeout=120s"]);
            }
        };
        shop.helm(&["install", "vcci-scope3", chart]);
        ready(&shop.place);
        let template = |name: &str| shop.place.get(name)["spec"]["template"].clone();
        let all = [
            "deployment/api-gateway",
            "deployment/reporting-service",
            "statefulset/ledger-store",
            "daemonset/node-agent",
        ];
        let good = all.map(template);
        shop.helm(&["upgrade", "vcci-scope3", chart, "-f", &bad]);
        ready(&shop.place);
        assert_ne!(all.map(template), good);
        let why = ["--yes", "--reason", "v1.2.4 is slow"];
        shop.astern(&[&["rollback", "--to", "helm/vcci-scope3=1"][..], &why].concat())
            .expect(0);
        assert_eq!(all.map(template), good);
        let history = shop.helm(&["history", "vcci-scope3", "-o", "json"]);
        let history: Value = serde_json::from_str(&history).unwrap();
        assert_eq!(history[2]["status"], "deployed", "{history:#}");
        assert_eq!(history.as_array().map(Vec::len), Some(3), "{history:#}");
    }
}
