//! What ConfigMaps and Secrets of a Helm release held, by its own records, where the workloads do not go back through it: on a real
//! API server with the real helm programs.

use crate::config::{apply, data, deployment, pods, reads, record, rolled_out};
use crate::helm::{Shop, helms, status};
use crate::manifest::{CRASHES, says};
use crate::secrets::decoded;
use crate::support::{Place, kubeconfig, output_of};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

impl Shop {
    /// The same chart, with an api that reads what the chart's ConfigMap and Secret hold.
    fn reading(name: &str, helm: &Path) -> Self {
        let shop = Self::new(name, helm);
        shop.reads("api");
        shop
    }

    fn reads(&self, service: &str) {
        let file = self.place.file(&format!("chart/templates/{service}.yaml"));
        let reads =
            "        envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: dsn}}]\n        env: [";
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("        env: [", reads)).unwrap();
    }

    fn upgrade(&self, set: &str) {
        self.helm(&["upgrade", "shop", "./chart", "--set", set]);
    }

    fn crash(&self) {
        self.place.until("the crash loop", 60, |place| {
            place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
        });
    }

    /// What the chart's Secret holds.
    fn dsn(&self) -> String {
        let secret = data(&self.place, "secret/dsn");
        String::from_utf8(decoded(secret["dsn"].as_str().unwrap())).unwrap()
    }
}

#[test]
fn beside_helm_a_release_s_content_goes_back_to_the_record_of_the_revision_that_was_in_force() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::reading(&format!("helm-record-{at}"), helm);
        shop.helm(&["install", "shop", "./chart", "--set", "level=first"]);
        rolled_out(&shop.place, &["api", "worker"]);
        std::thread::sleep(Duration::from_millis(1500));
        // The same templates, and what v1 ran with at last.
        shop.upgrade("level=info,dsn=canary-of-then");
        std::thread::sleep(Duration::from_millis(1500));
        shop.upgrade("level=debug,dsn=canary-of-now,api.tag=v2,api.crash=true");
        shop.crash();
        let config = "configmap/settings goes back to Helm's record of shop revision 2, deployed 20";
        shop.place.platform("");
        let plan = shop.astern(&["plan", "--outside-helm"]).expect(0);
        says(
            &plan,
            &[
                config,
                "data[level]: debug → info",
                "deployment/api starts with it",
            ],
        );
        assert!(!plan.out.contains("secret/dsn goes back"), "{}", plan.out);
        shop.place
            .platform("  config: {restoreSecrets: [{name: dsn, rotates: false}]}\n");
        let done = shop
            .astern(&["rollback", "--outside-helm", "--yes", "--reason", "it crashes"])
            .expect(0);
        says(
            &done,
            &[config, "secret/dsn goes back to Helm's record of shop revision 2"],
        );
        assert!(!(done.out + &done.err).contains("canary"));
        assert_eq!(
            data(&shop.place, "configmap/settings"),
            json!({"level": "info", "k": "x"})
        );
        assert_eq!(shop.dsn(), "canary-of-then");
        assert_eq!(shop.place.image("api"), "api:v1");
        assert_eq!(status(&shop.history()).last(), Some(&(3, "deployed")));
    }
}

#[test]
fn a_release_of_configuration_alone_tells_what_workloads_outside_of_it_read() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::new(&format!("helm-config-{at}"), helm);
        for service in ["api", "worker"] {
            let file = format!("chart/templates/{service}.yaml");
            std::fs::remove_file(shop.place.file(&file)).unwrap();
        }
        let release = |place: &Place, version: &str| {
            let mut api = deployment("api", reads("settings"));
            api["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("api:{version}"));
            if version == "v2" {
                api["spec"]["template"]["metadata"]["labels"][CRASHES] = json!("true");
            }
            apply(place, &[api]);
        };
        shop.helm(&["install", "shop", "./chart", "--set", "level=calm"]);
        release(&shop.place, "v1");
        rolled_out(&shop.place, &["api"]);
        std::thread::sleep(Duration::from_secs(6));
        shop.upgrade("level=storm");
        std::thread::sleep(Duration::from_millis(2500));
        release(&shop.place, "v2");
        shop.crash();
        let plan = shop.astern(&["plan"]).expect(0);
        says(
            &plan,
            &[
                "configmap/settings goes back to Helm's record of shop revision 1, deployed 20",
                "data[level]: storm → calm",
                "since revision 2 of helm/shop (",
                "came so shortly before the version of",
            ],
        );
        shop.astern(&["rollback", "--yes", "--reason", "v2 crashes"])
            .expect(0);
        assert_eq!(data(&shop.place, "configmap/settings")["level"], "calm");
        assert_eq!(shop.place.image("api"), "api:v1");
    }
}

#[test]
fn a_secret_that_a_release_would_bring_back_is_refused_until_a_login_or_its_owners_vouch_for_it() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::reading(&format!("helm-secret-{at}"), helm);
        shop.place.platform("");
        shop.helm(&["install", "shop", "./chart", "--set", "dsn=canary-of-then"]);
        rolled_out(&shop.place, &["api", "worker"]);
        std::thread::sleep(Duration::from_millis(1500));
        shop.upgrade("dsn=canary-of-now,api.tag=v2,api.crash=true");
        shop.crash();
        let roll_back = |more: &[&str]| {
            let done = shop.astern(&[&["rollback", "--yes", "--reason", "it crashes"], more].concat());
            assert!(!format!("{done:?}").contains("canary"), "{done:?}");
            done
        };
        let refused = roll_back(&[]).expect(3);
        for words in [
            "AST0245",
            "helm/shop brings back with revision 1 what secret/dsn held then, and nothing proves that this still works",
            "rotates: false",
            "astern rollback --outside-helm",
        ] {
            assert!(refused.err.contains(words), "no {words:?}:\n{}", refused.err);
        }
        // A login that says no: helm is not called.
        let tried = shop.place.file("tried");
        let probed = |code: &str| {
            let script = shop.place.file("login.sh");
            let text = format!("echo \"$DSN\" >> {}\nexit {code}\n", tried.display());
            std::fs::write(script, text).unwrap();
            shop.place.platform(
                "  config:\n    restoreSecrets:\n      - {name: dsn, probe: {command: [sh, login.sh], env: {DSN: dsn}}}\n",
            );
        };
        probed("7");
        let refused = roll_back(&[]).expect(3);
        assert!(
            refused.err.contains("its login probe sh exited with 7"),
            "{}",
            refused.err
        );
        assert_eq!(shop.history().len(), 2);
        assert_eq!(shop.dsn(), "canary-of-now");
        std::fs::remove_file(&tried).unwrap();
        probed("0");
        let done = roll_back(&[]).expect(0);
        let words = "secret/dsn holds again what it held then: login probe sh answered at 20";
        says(&done, &[words]);
        assert_eq!(shop.dsn(), "canary-of-then");
        let tried = std::fs::read_to_string(tried).unwrap();
        assert!(
            tried.lines().count() >= 2,
            "when the plan is checked, and before helm is called: {tried}"
        );
        assert!(tried.lines().all(|line| line == "canary-of-then"));
    }
}

#[test]
fn a_rotation_between_plan_and_run_is_seen_and_a_secret_drawn_at_random_is_refused() {
    let shop = Shop::reading("helm-random", &helms()[0]);
    let objects = shop.place.file("chart/templates/objects.yaml");
    let text = std::fs::read_to_string(&objects).unwrap();
    let drawn = text.replace("{{ .Values.dsn | quote }}", "{{ randAlphaNum 24 }}");
    std::fs::write(&objects, drawn).unwrap();
    shop.place.platform("");
    shop.helm(&["install", "shop", "./chart"]);
    rolled_out(&shop.place, &["api", "worker"]);
    let first = shop.dsn();
    std::thread::sleep(Duration::from_millis(1500));
    shop.upgrade("api.tag=v2,api.crash=true");
    shop.crash();
    assert_ne!(shop.dsn(), first);
    let refused = shop.astern(&["plan"]).expect(3);
    let said = refused.out + &refused.err;
    let words = "what a chart draws at random is another one in each revision";
    assert!(said.contains(words), "{said}");
    shop.place
        .platform("  config: {restoreSecrets: [{name: dsn, rotates: false}]}\n");
    shop.astern(&["plan", "-o", "plan.json"]).expect(0);
    shop.place.kubectl(&[
        "patch",
        "secret/dsn",
        "--type=merge",
        "-p",
        r#"{"stringData": {"dsn": "rotated"}}"#,
    ]);
    let moved = shop
        .astern(&["run", "plan.json", "--yes", "--reason", "it crashes"])
        .expect(3);
    for words in [
        "AST0212",
        "what secret/dsn holds is not what the plan was made on",
    ] {
        assert!(moved.err.contains(words), "no {words:?}: {}", moved.err);
    }
    assert_eq!(shop.dsn(), "rotated");
    assert_eq!(shop.history().len(), 2);
}

/// How many versions of a Deployment's template the cluster remembers.
fn versions(place: &Place, name: &str) -> usize {
    let sets = place.get("replicasets");
    let of = |set: &&Value| set["metadata"]["ownerReferences"][0]["name"] == name;
    sets["items"].as_array().unwrap().iter().filter(of).count()
}

#[test]
fn a_revision_that_differs_in_config_alone_goes_back_and_whoever_reads_it_is_restarted_once() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::reading(&format!("helm-alone-{at}"), helm);
        shop.helm(&["install", "shop", "./chart", "--set", "dsn=canary-of-then"]);
        rolled_out(&shop.place, &["api", "worker"]);
        shop.upgrade("level=debug,key=other,dsn=canary-of-now");
        let before = pods(&shop.place, "worker");
        let plan = shop.astern(&["plan", "--to", "helm/shop=1"]).expect(0);
        says(
            &plan,
            &[
                "roll helm/shop back from revision 2 to 1 with helm",
                "data.level: debug → info",
                "deployment/api is restarted",
                "secret/dsn holds again what it held then: nobody rotates it",
                "restart deployment/api",
            ],
        );
        let back = [
            "rollback",
            "--to",
            "helm/shop=1",
            "--yes",
            "--reason",
            "it is loud",
        ];
        let done = shop.astern(&back).expect(0);
        assert!(!format!("{plan:?} {done:?}").contains("canary"));
        assert_eq!(
            data(&shop.place, "configmap/settings"),
            json!({"level": "info", "k": "x"})
        );
        assert_eq!(shop.dsn(), "canary-of-then");
        rolled_out(&shop.place, &["api", "worker"]);
        assert_eq!(versions(&shop.place, "api"), 2, "restarted once");
        assert_eq!(pods(&shop.place, "worker"), before, "it reads nothing of it");
        assert_eq!(status(&shop.history()).last(), Some(&(3, "deployed")));
        let again = shop.astern(&["plan", "--to", "helm/shop=1"]).expect(3);
        assert!((again.out + &again.err).contains("what stands of helm/shop is what its revision 1 says"));
        // Helm goes on from there, and so does astern: forward to what was loud.
        shop.place.platform(
            "  config: {restoreSecrets: [{name: dsn, rotates: false}]}\n  workloads: [{name: api, reloads: true}, {name: worker}]\n",
        );
        let plan = shop.astern(&["plan", "--to", "helm/shop=2"]).expect(0);
        says(
            &plan,
            &["deployment/api takes it in by itself (`reloads` in astern.yaml)"],
        );
        assert!(!plan.out.contains("restart deployment/api"), "{}", plan.out);
    }
}

#[test]
fn a_helm_release_that_went_bad_by_config_alone_goes_back_by_evidence_to_the_revision_of_the_good_release() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::reading(&format!("helm-blame-{at}"), helm);
        shop.helm(&["install", "shop", "./chart"]);
        rolled_out(&shop.place, &["api", "worker"]);
        record(&shop.place, "1.0");
        shop.upgrade("level=storm");
        shop.astern(&["releases", "record", "--version", "1.1"]).expect(0);
        let worker = pods(&shop.place, "worker");
        let label = [
            "label",
            "pods",
            "-l",
            "app=api",
            "kwok.astern.dev/crash-loop=true",
        ];
        shop.place.kubectl(&label);
        shop.crash();
        let plan = shop.astern(&["plan"]).expect(0);
        says(
            &plan,
            &[
                "roll helm/shop back from revision 2 to 1 with helm",
                "the one that release 1.0 of the ledger names",
                "deployment/api fails, reads it and runs its template of release 1.0, which is good",
                "data.level: storm → info",
                "deployment/api is restarted",
            ],
        );
        let beside = "put the content of configmap/settings back";
        assert!(!plan.out.contains(beside), "{}", plan.out);
        let outside = shop.astern(&["plan", "--outside-helm"]).expect(0);
        says(&outside, &[beside]);
        shop.astern(&["rollback", "--yes", "--reason", "it crashes"])
            .expect(0);
        rolled_out(&shop.place, &["api", "worker"]);
        assert_eq!(data(&shop.place, "configmap/settings")["level"], "info");
        assert_eq!(status(&shop.history()).last(), Some(&(3, "deployed")));
        assert_eq!(pods(&shop.place, "worker"), worker, "it reads nothing of it");
        let shown = |name: &str| {
            let shown = shop.astern(&["releases", "show", name, "-o", "json"]).expect(0);
            shown.json()["standing"].to_string()
        };
        assert!(shown("1.1").contains("took the content of configmap/settings back from it"));
        assert!(shown("1.0").contains("good"), "{}", shown("1.0"));

        // By its name too, and also where Helm has gone on since.
        shop.upgrade("level=trace");
        let named = shop.astern(&["plan", "--to", "1.0"]).expect(0);
        says(&named, &["roll helm/shop back from revision 4 to 1 with helm"]);
    }
}

#[test]
fn a_workload_that_a_release_leaves_as_it_is_is_restarted_for_what_it_reads_of_it() {
    let shop = Shop::reading("helm-reader", &helms()[1]);
    shop.reads("worker");
    shop.helm(&["install", "shop", "./chart"]);
    rolled_out(&shop.place, &["api", "worker"]);
    std::thread::sleep(Duration::from_millis(1500));
    shop.upgrade("level=debug,api.tag=v2,api.crash=true");
    shop.crash();
    let done = shop
        .astern(&["rollback", "--yes", "--reason", "it crashes"])
        .expect(0);
    says(
        &done,
        &["deployment/worker is restarted", "deployment/api starts with it"],
    );
    rolled_out(&shop.place, &["api", "worker"]);
    assert_eq!(versions(&shop.place, "worker"), 2);
    assert_eq!(versions(&shop.place, "api"), 2);
    assert_eq!(data(&shop.place, "configmap/settings")["level"], "info");
}

#[test]
fn a_rollback_whose_content_did_not_arrive_is_no_success_whatever_helm_says() {
    let mut shop = Shop::reading("helm-arrived", &helms()[0]);
    shop.helm(&["install", "shop", "./chart"]);
    rolled_out(&shop.place, &["api", "worker"]);
    shop.upgrade("level=debug");
    let patch = r#"{"data": {"level": "trace"}}"#;
    let text = format!(
        "#!/bin/sh\n{} \"$@\" || exit $?\ncase \"$*\" in *--help*) ;; *rollback*) mkdir {} && kubectl -n {} patch configmap settings --type=merge -p '{patch}' ;; esac\nexit 0\n",
        shop.helm.display(),
        shop.place.file("once").display(),
        shop.place.namespace,
    );
    let script = shop.place.file("helm.sh");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    shop.helm = script;
    let back = [
        "rollback",
        "--to",
        "helm/shop=1",
        "--yes",
        "--reason",
        "it is loud",
    ];
    let failed = shop.astern(&back);
    assert_eq!(failed.code, 6);
    let said = failed.out + &failed.err;
    assert!(
        said.contains("not so what this holds: configmap/settings"),
        "{said}"
    );
    // What is taken back is what helm did, and not "nothing".
    shop.astern(&["abort", &shop.place.run_begun(), "--yes"])
        .expect(4);
    assert_eq!(data(&shop.place, "configmap/settings")["level"], "debug");
    assert_eq!(status(&shop.history()).last(), Some(&(4, "deployed")));
}

#[test]
fn a_run_that_is_taken_back_has_helm_go_first_and_the_readers_after_it() {
    let shop = Shop::reading("helm-taken-back", &helms()[0]);
    let api = shop.place.file("chart/templates/api.yaml");
    let text = std::fs::read_to_string(&api).unwrap();
    let slow = "    metadata:\n      annotations: {kwok.astern.dev/ready-after: 15s}\n      labels:";
    std::fs::write(&api, text.replacen("    metadata:\n      labels:", slow, 1)).unwrap();
    shop.helm(&["install", "shop", "./chart"]);
    rolled_out(&shop.place, &["api", "worker"]);
    shop.upgrade("level=debug");
    let words = [
        "rollback",
        "--to",
        "helm/shop=1",
        "--yes",
        "--reason",
        "it is loud",
    ];
    let mut command = shop.place.command(&kubeconfig(), &words);
    command
        .env("ASTERN_HELM", &shop.helm)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = command.spawn().unwrap();
    shop.place
        .until("the restart", 60, |place| versions(place, "api") == 2);
    assert_eq!(data(&shop.place, "configmap/settings")["level"], "info");
    shop.astern(&["abort", &shop.place.run_begun(), "--yes"])
        .expect(4);
    output_of(running, "rollback");
    assert_eq!(data(&shop.place, "configmap/settings")["level"], "debug");
    assert_eq!(status(&shop.history()).last(), Some(&(4, "deployed")));
    let log = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")).unwrap();
    let of_place = format!("/namespaces/{}/", shop.place.namespace);
    let written = |path: &str| {
        let path = format!("{of_place}{path}");
        let line = |line: &str| {
            line.contains(&path) && line.contains("\"verb\":\"update\"") && !line.contains("dryRun")
        };
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().rposition(|text| line(text)).unwrap()
    };
    assert!(written("secrets/sh.helm.release.v1.shop.v4") < written("deployments/api"));
}
