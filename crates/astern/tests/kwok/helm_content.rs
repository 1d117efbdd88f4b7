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
        shop.place.until("the crash loop", 60, |place| {
            place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
        });
        let config = "configmap/settings goes back to Helm's record of shop revision 2, deployed 20";
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
        shop.place.until("the crash loop", 60, |place| {
            place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
        });
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
