//! What ConfigMaps and Secrets of a Helm release held, by its own records, where the workloads do not go back through it: on a real
//! API server with the real helm programs.

use crate::config::{apply, data, deployment, reads, rolled_out};
use crate::helm::{Shop, helms, status};
use crate::manifest::{CRASHES, says};
use crate::secrets::decoded;
use crate::support::Place;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

impl Shop {
    /// The same chart, with an api that reads what the chart's ConfigMap and Secret hold.
    pub(crate) fn reading(name: &str, helm: &Path) -> Self {
        let shop = Self::new(name, helm);
        let api = shop.place.file("chart/templates/api.yaml");
        let reads =
            "        envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: dsn}}]\n        env: [";
        let text = std::fs::read_to_string(&api).unwrap();
        std::fs::write(&api, text.replace("        env: [", reads)).unwrap();
        shop
    }

    pub(crate) fn upgrade(&self, set: &str) {
        self.helm(&["upgrade", "shop", "./chart", "--set", set]);
    }

    fn crash(&self) {
        self.place.until("the crash loop", 60, |place| {
            place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
        });
    }

    /// What the chart's Secret holds.
    pub(crate) fn dsn(&self) -> String {
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
