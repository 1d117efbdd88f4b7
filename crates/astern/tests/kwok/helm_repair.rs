//! Helm releases listed and shown, and records that a killed helm leaves pending mended: each kind, on the real programs.

use crate::helm::{Shop, helms, status};
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

impl Shop {
    /// Starts helm, and kills it once what it does shows.
    fn killed(&self, words: &[&str], once: impl Fn(&Self) -> bool) {
        let mut command = self.command(words);
        let mut helm: Child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.place.until("helm at work", 60, |_| once(self));
        helm.kill().unwrap();
        helm.wait().unwrap();
    }

    fn crashes(&self) -> bool {
        self.place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    }

    fn served(&self) {
        for service in ["api", "worker"] {
            let name = format!("deployment/{service}");
            self.place.kubectl(&["rollout", "status", &name, "--timeout=60s"]);
        }
    }
}

#[test]
fn an_install_whose_client_was_killed_is_listed_and_its_record_alone_is_mended() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::new(&format!("helm-install-{at}"), helm);
        shop.killed(
            &["install", "shop", "./chart", "--wait", "--set", "api.crash=true"],
            Shop::crashes,
        );
        let listed = shop.astern(&["helm"]).expect(0);
        for words in ["pending-install", "never", "astern helm repair shop"] {
            assert!(listed.out.contains(words), "{words}\n{}", listed.out);
        }
        let mend = ["helm", "repair", "shop", "--yes", "--reason", "its client died"];
        let refused = shop.astern(&mend).expect(3);
        assert!(refused.err.contains("AST0112"), "{}", refused.err);
        assert_eq!(status(&shop.history()), [(1, "pending-install")]);
        let api = shop.place.get("deployment/api");
        let done = shop.astern(&[&mend[..], &["--abandoned"]].concat()).expect(0);
        assert!((done.out + &done.err).contains("helm upgrade --install"));
        assert_eq!(shop.place.get("deployment/api")["spec"], api["spec"]);
        let shown = shop.astern(&["helm", "shop"]).expect(0);
        assert!(
            shown.out.contains("left pending-install by a client that died"),
            "{}",
            shown.out
        );
        // Helm goes on with it.
        shop.helm(&["upgrade", "--install", "shop", "./chart"]);
        assert_eq!(status(&shop.history())[1..], [(2, "deployed")]);
    }
}

#[test]
fn a_pending_upgrade_counts_as_left_once_its_record_is_old_and_no_hook_of_it_runs() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::new(&format!("helm-hook-{at}"), helm);
        shop.helm(&["install", "shop", "./chart"]);
        shop.served();
        let hook = shop.place.file("chart/templates/migrate.yaml");
        // Suspended, so that it does not end.
        std::fs::write(
            &hook,
            "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: pre-upgrade}\nspec:\n  \
             suspend: true\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: migrate, image: \"api:v1\"}]\n",
        )
        .unwrap();
        shop.killed(&["upgrade", "shop", "./chart", "--set", "api.tag=v2"], |shop| {
            shop.place.kubectl(&["get", "jobs"]).contains("migrate")
        });
        assert_eq!(status(&shop.history()), [(1, "deployed"), (2, "pending-upgrade")]);
        // As it will be in eleven minutes.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let modified = format!("modifiedAt={}", now - 11 * 60);
        shop.place.kubectl(&[
            "label",
            "--overwrite",
            "secret/sh.helm.release.v1.shop.v2",
            &modified,
        ]);
        let mend = ["helm", "repair", "shop", "--yes", "--reason", "its client died"];
        let refused = shop.astern(&mend).expect(3);
        assert!(
            refused.err.contains("its hook job/migrate has not ended"),
            "{}",
            refused.err
        );
        shop.place.kubectl(&["delete", "job", "migrate"]);
        shop.astern(&mend).expect(0);
        assert_eq!(status(&shop.history()), [(1, "deployed"), (2, "failed")]);
        std::fs::remove_file(hook).unwrap();
        shop.helm(&["upgrade", "shop", "./chart", "--set", "api.tag=v2"]);
        assert_eq!(shop.place.image("api"), "api:v2");
    }
}

#[test]
fn a_rollback_by_hand_whose_client_was_killed_is_mended_on_the_way_to_the_revision_that_served() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = Shop::new(&format!("helm-back-{at}"), helm);
        shop.helm(&["install", "shop", "./chart", "--set", "api.tag=v1,api.crash=true"]);
        shop.helm(&["upgrade", "shop", "./chart", "--set", "api.tag=v2"]);
        shop.served();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        shop.killed(&["rollback", "shop", "1", "--wait"], Shop::crashes);
        assert_eq!(shop.history()[2], (3, "pending-rollback".to_owned()));
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
        assert!((done.out + &done.err).contains("left pending-rollback by a client that died"));
        assert_eq!(shop.place.image("api"), "api:v2");
        let history = shop.history();
        assert_eq!(
            status(&history)[2..],
            [(3, "failed"), (4, "deployed")],
            "{history:?}"
        );
    }
}

#[test]
fn a_revision_is_shown_with_its_values_objects_and_hooks_and_nothing_secret() {
    let shop = Shop::new("helm-shown", &helms()[0]);
    shop.helm(&[
        "install",
        "shop",
        "./chart",
        "--set",
        "dsn=canary-secret-value,level=debug,password=canary-secret-value",
    ]);
    let shown = shop.astern(&["helm", "shop", "--revision", "1"]).expect(0);
    for words in [
        "shop-1.0.0",
        "level: debug",
        "password: ‹masked›",
        "deployment/api",
        "secret/dsn",
    ] {
        assert!(shown.out.contains(words), "{words}\n{}", shown.out);
    }
    let json = shop
        .astern(&["helm", "shop", "--revision", "1", "-o", "json"])
        .expect(0);
    for told in [&shown.out, &json.out] {
        assert!(!told.contains("canary-secret-value"), "{told}");
    }
    let read: Value = serde_json::from_str(&json.out).unwrap();
    assert!(json.out.contains("configmap/settings"), "{read}");
    let lost = shop.astern(&["helm", "shop", "--revision", "7"]).expect(1);
    assert!(lost.err.contains("helm/shop has no revision 7"), "{}", lost.err);
    let lost = shop.astern(&["helm", "shopp"]).expect(1);
    assert!(
        lost.err.contains("has no Helm release shopp: it has shop"),
        "{}",
        lost.err
    );
}
