//! A release that crashes, from the first look to the report.

use crate::support::{CRASHES, Place, V1, V2, Version};
use serde_json::json;

const PROBED: &str = "  workloads:
    - name: web
      probes:
        - {name: health, path: /health, port: 8080, expect: {status: 200, json: {path: /status, equals: healthy}}}
";

#[test]
fn a_release_that_crashes_is_seen_with_its_last_words_taken_back_and_proven_through_its_service() {
    let place = Place::new("story");
    place.platform(PROBED);
    place.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080}]},
    }));
    place.good("web", &Version::new(V1, &[]));
    place.crashing("web", &Version::new(V2, CRASHES));

    let seen = place.astern(&["status"]).expect(0).out;
    for part in [
        "✗ failing",
        "CrashLoopBackOff",
        "exit 1",
        "FATAL could not open the connection pool",
    ] {
        assert!(seen.contains(part), "{part} is missing: {seen}");
    }

    let done = place.roll_back(&[]).expect(0);
    assert_eq!(place.image("web"), V1);
    let report = place.report(&done);
    let items = report.pointer("/checklist/verdict/verdict/items").unwrap();
    let probe = items
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["check"] == "probe health");
    assert_eq!(probe.unwrap()["result"], "pass", "{items}");
    assert!(place.astern(&["status"]).expect(0).out.contains("✓ healthy"));
}
