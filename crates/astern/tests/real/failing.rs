//! Rollbacks that do not bring service back, each for a reason of its own.

use crate::support::{CRASHES, Place, V1, V2, Version};
use serde_json::{Value, json};

/// Nothing has this image, and nothing may pull one.
const GONE: &str = "vcci-scope3-api-gateway:gone";

#[test]
fn a_version_whose_image_no_node_has_and_none_may_pull_is_refused_before_anything_changes() {
    let place = Place::new("gone");
    place.platform("  workloads: [{name: web}]\n");
    place.deploy("web", &Version::new(GONE, &[]));
    place.until("the missing image", 60, |place| {
        place.kubectl(&["get", "pods"]).contains("ErrImageNeverPull")
    });
    let seen = place.astern(&["status"]).expect(0).out;
    assert!(seen.contains("✗ failing") && seen.contains(GONE), "{seen}");
    place.crashing("web", &Version::new(V2, CRASHES));

    let refused = place.roll_back(&["--to", "web=1"]).expect(3);
    assert!(
        refused.err.contains("imagePullPolicy is Never"),
        "{}",
        refused.err
    );
    assert_eq!(place.image("web"), V2, "nothing was changed");
}

#[test]
fn a_rollback_to_a_version_whose_image_cannot_be_pulled_is_given_up_early_with_the_event_and_held() {
    let place = Place::new("unpullable");
    place.platform("  workloads: [{name: web}]\n");
    // A registry that is not there, by an address that never leaves the machine.
    let unpullable = Version {
        container: json!({"imagePullPolicy": "IfNotPresent"}),
        ..Version::new("127.0.0.1:9/web:v1.2.3", &[])
    };
    place.deploy("web", &unpullable);
    place.until("the image that cannot be pulled", 60, |place| {
        place.kubectl(&["get", "pods"]).contains("ImagePull")
    });
    place.crashing("web", &Version::new(V2, CRASHES));

    let held = place.roll_back(&["--to", "web=1"]).expect(6);
    for part in [
        "cannot pull image 127.0.0.1:9/web:v1.2.3",
        "Failed to pull image",
        "astern resume",
        "astern abort",
    ] {
        assert!(held.err.contains(part), "{part} is missing: {}", held.err);
    }
    assert!(
        !held.err.contains("made no progress"),
        "recognised before the deadline: {}",
        held.err
    );
}

#[test]
fn a_restored_version_that_logs_errors_or_fails_its_probe_is_done_but_not_validated() {
    let place = Place::new("unwell");
    place.platform(
        "  workloads:
    - name: loud
    - name: mute
      probes: [{name: home, path: /nothing-here, port: 8080, expect: {status: 200}}]
",
    );
    place.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "mute"},
        "spec": {"selector": {"app": "mute"}, "ports": [{"port": 8080}]},
    }));
    let loud = || Version::new(V1, &[("ERROR_LOG_PER_MINUTE", "120")]).recreate();
    place.good("loud", &loud());
    place.good("mute", &Version::new(V1, &[]).recreate());
    place.deploy("loud", &Version::new(V2, CRASHES).recreate());
    place.crashing("mute", &Version::new(V2, CRASHES).recreate());

    let done = place.roll_back(&[]).expect(5);
    assert_eq!(
        (place.image("loud").as_str(), place.image("mute").as_str()),
        (V1, V1)
    );
    let report = place.report(&done);
    assert_eq!(result(&report, "loud", "error lines"), "fail");
    assert_eq!(result(&report, "loud", "pods serving"), "pass");
    assert_eq!(result(&report, "mute", "probe home"), "fail");
    assert_eq!(result(&report, "mute", "error lines"), "pass");
}

fn result(report: &Value, name: &str, check: &str) -> String {
    let items = report.pointer("/checklist/verdict/verdict/items").unwrap();
    let items = items.as_array().unwrap();
    let item = items
        .iter()
        .find(|item| item["target"]["name"] == name && item["check"] == check);
    let item = item.unwrap_or_else(|| panic!("no {check} of {name}: {items:?}"));
    item["result"].as_str().unwrap().to_owned()
}

#[test]
fn a_good_version_that_does_not_become_ready_is_waited_for_until_its_deadline_and_then_held() {
    let place = Place::new("unready");
    place.platform("  workloads: [{name: web}]\n");
    let config = |never: &str| {
        place.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"NEVER_READY": never},
        }));
    };
    let from_config = || Version {
        container: json!({"envFrom": [{"configMapRef": {"name": "web"}}]}),
        deadline: 12,
        ..Version::new(V1, &[]).recreate()
    };
    config("false");
    place.good("web", &from_config());
    // The release changed its configuration too, and that stays: v1 of today is not the v1 that was good.
    config("true");
    let bad = Version {
        deadline: 12,
        ..Version::new(V2, CRASHES).recreate()
    };
    place.crashing("web", &bad);

    let held = place.roll_back(&[]).expect(6);
    for part in [
        "deadline",
        "pod/web-",
        "log web: ",
        "Readiness probe failed",
        "503",
        "astern resume",
        "astern abort",
    ] {
        assert!(held.err.contains(part), "{part} is missing: {}", held.err);
    }
    assert_eq!(
        place.image("web"),
        V1,
        "what was written stays until a person decides"
    );

    config("false");
    place.kubectl(&["delete", "pods", "-l", "app=web", "--wait=false"]);
    place.astern(&["resume", &held.run(), "--yes"]).expect(0);
}
