//! Which revision is gone back to, and what a plan file is worth later.

use crate::manifest::{CRASHES, YES, crashing, deployment, pod, refused, says};
use crate::support::Place;
use serde_json::{Value, json};

/// v1 serves, v2 crashes beside it; the plan to take v2 back lies in plan.json. Its hash.
fn planned(place: &Place) -> String {
    place.platform("");
    place.bad_release("api", 2);
    let done = place.astern(&["plan", "-o", "plan.json"]).expect(0);
    done.out.trim().to_owned()
}

fn run(place: &Place, more: &[&str]) -> crate::support::Done {
    place.astern(&[&["run", "plan.json"], &YES[..], more].concat())
}

/// Changes one place of plan.json as somebody with an editor would.
fn edit(place: &Place, change: impl FnOnce(&mut Value)) {
    let file = place.file("plan.json");
    let mut plan: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut plan);
    std::fs::write(&file, plan.to_string()).unwrap();
}

#[test]
fn the_version_that_served_is_chosen_although_an_undo_renumbered_the_revisions() {
    let place = Place::new("renumbered");
    place.platform("");
    place.bad_release("api", 2);
    place.kubectl(&["rollout", "undo", "deployment/api"]);
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=60s"]);
    for version in ["v3", "v4"] {
        place.put(&deployment("api", 2, crashing("api", version)));
        place.until_it_crashes();
    }
    // 2 is v2, 3 is v1 again, 4 is v3 and 5 is v4, which is live: "current minus one" would be v3.
    let releases = place.astern(&["releases", "-o", "json"]).expect(0).json();
    let choice = &releases["items"][0];
    assert_eq!(choice["good"]["revision"]["number"], 3, "{choice:#}");
    let passed: Vec<&Value> = choice["passedOver"]
        .as_array()
        .unwrap()
        .iter()
        .map(|passed| {
            assert!(!passed["why"].as_str().unwrap().is_empty(), "{passed:#}");
            &passed["revision"]["number"]
        })
        .collect();
    assert!(
        passed.contains(&&json!(4)) && passed.contains(&&json!(2)),
        "{choice:#}"
    );
    place.roll_back(&[]).expect(0);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_history_limit_of_zero_is_named_as_the_cause_of_having_nothing_to_go_back_to() {
    let place = Place::new("no-history");
    place.platform("");
    for version in ["v1", "v2"] {
        let mut object = deployment("api", 2, pod("api", version));
        object["spec"]["revisionHistoryLimit"] = json!(0);
        place.roll_out(&object);
    }
    place.kubectl(&["label", "pods", "--all", &format!("{CRASHES}=true")]);
    place.until_it_crashes();
    refused(&place, &["revisionHistoryLimit"], |place| place.roll_back(&[]));
}

#[test]
fn with_nothing_known_good_the_refusal_lists_every_revision_with_its_reason() {
    let place = Place::new("nothing-good");
    place.platform("");
    // Nothing that this test does takes long enough to be presumed good.
    let file = place.file("astern.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("presumedGoodAfter: 1s", "presumedGoodAfter: 1h"),
    )
    .unwrap();
    for version in ["v1", "v2", "v3"] {
        place.put(&deployment("api", 2, crashing("api", version)));
        place.until_it_crashes();
    }
    let words = ["deployment/api", "v1 ", "v2 ", "passed over", "--to"];
    refused(&place, &words, |place| place.roll_back(&[]));
}

#[test]
fn what_a_rollback_went_back_to_is_good_when_the_next_release_fails_too() {
    let (place, neighbour) = (Place::new("again"), Place::new("neighbour"));
    let store = place.file("runs.db");
    let store = ["--store", store.to_str().unwrap()];
    let roll_back = |place: &Place| {
        place
            .astern(&[&store[..], &["rollback"], &YES].concat())
            .expect(0)
    };
    for place in [&place, &neighbour] {
        place.platform("");
        place.bad_release("api", 1);
        roll_back(place);
    }
    // As many runs of a neighbour as are read of one namespace.
    for version in ["v3", "v4", "v5", "v6", "v7"] {
        neighbour.put(&deployment("api", 1, crashing("api", version)));
        neighbour.until_it_crashes();
        roll_back(&neighbour);
    }
    // v3 replaces v1 whole before it fails, and v1 had been brought back: nothing in the cluster speaks for it.
    place.roll_out(&deployment("api", 1, pod("api", "v3")));
    place.until("v1 to be gone", 30, |place| place.pods().len() == 1);
    place.kubectl(&["label", "pods", "--all", &format!("{CRASHES}=true")]);
    place.until_it_crashes();
    let done = roll_back(&place);
    says(&done, &["restored: run r", "passed the validation"]);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn what_serves_although_a_run_took_it_back_is_gone_back_to_with_a_warning_where_nothing_else_is_good() {
    let place = Place::new("twice");
    place.platform("");
    place.roll_out(&deployment("api", 1, pod("api", "v1")));
    place.kubectl(&["annotate", "replicasets", "--all", "astern.dev/bad=loses orders"]);
    place.roll_out(&deployment("api", 1, pod("api", "v2")));
    place.roll_back(&["--to", "api=1"]).expect(0);
    place.roll_out(&deployment("api", 1, pod("api", "v2")));
    place.put(&deployment("api", 1, crashing("api", "v3")));
    place.until_it_crashes();
    says(
        &place.roll_back(&[]).expect(0),
        &["AST0230", "pods of it serve now"],
    );
    assert_eq!(place.image("api"), "api:v2");
}

/// Makes a Deployment's template look as if it had been written long ago: the only time of it that a client can set, and
/// that only beside another change.
fn written_long_ago(place: &Place, name: &str) {
    let object = format!("deployment/{name}");
    let managers = place.kubectl(&["get", &object, "-o", "json", "--show-managed-fields"]);
    let managers: Value = serde_json::from_str(&managers).unwrap();
    let count = managers["metadata"]["managedFields"].as_array().unwrap().len();
    let back = (0..count).map(|at| {
        let path = format!("/metadata/managedFields/{at}/time");
        json!({ "op": "replace", "path": path, "value": "2026-01-01T00:00:00Z" })
    });
    let label = json!({ "op": "add", "path": "/metadata/labels", "value": { "old": "yes" } });
    let patch: Value = back.chain([label]).collect();
    place.kubectl(&["patch", &object, "--type=json", "-p", &patch.to_string()]);
}

#[test]
fn what_is_broken_since_long_before_the_release_neither_goes_back_with_it_nor_refuses_it() {
    let place = Place::new("long-broken");
    place.platform("");
    place.bad_release("api", 2);
    for version in ["v1", "v2"] {
        place.put(&deployment("job", 1, crashing("job", version)));
        let image = format!("image: job:{version}");
        place.until("its pod", 30, |place| {
            place.kubectl(&["get", "pods", "-o", "yaml"]).contains(&image)
        });
    }
    place.kubectl(&["rollout", "undo", "deployment/job"]);
    place.until("the job to crash", 30, |place| {
        place
            .kubectl(&["get", "pods", "-l", "app=job"])
            .contains("CrashLoopBackOff")
    });
    place.kubectl(&[
        "annotate",
        "replicasets",
        "-l",
        "app=job",
        "astern.dev/bad=never came up",
    ]);
    written_long_ago(&place, "job");
    let plan = place.astern(&["plan", "-o", "json"]).expect(0).json();
    let targets: Vec<&Value> = plan["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| &choice["target"]["name"])
        .collect();
    assert_eq!(targets, ["api"], "{plan:#}");
    let done = place.roll_back(&[]).expect(0);
    says(
        &done,
        &[
            "deployment/job stays",
            "not the same release",
            "--to job=REVISION",
        ],
    );
    assert_eq!(place.image("api"), "api:v1");
    assert_eq!(place.image("job"), "job:v1");
}

#[test]
fn going_back_to_what_fails_in_the_same_way_is_refused_until_its_row_is_overridden() {
    let place = Place::new("alike");
    place.platform("");
    place.put(&deployment("api", 2, crashing("api", "v1")));
    place.until_it_crashes();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    place.put(&deployment("api", 2, crashing("api", "v2")));
    place.until("pods of v2", 30, |place| {
        place
            .kubectl(&["get", "pods", "-o", "yaml"])
            .contains("image: api:v2")
    });
    refused(&place, &["former-fails-alike", "--override-decision"], |place| {
        place.roll_back(&["--to", "api=1"])
    });
    let words = [
        "plan",
        "--to",
        "api=1",
        "--override-decision",
        "former-fails-alike",
    ];
    place.astern(&words).expect(0);
}

#[test]
fn a_revision_or_an_image_that_is_named_is_gone_back_to() {
    let place = Place::new("named");
    place.platform("");
    for version in ["v1", "v2"] {
        place.roll_out(&deployment("api", 2, pod("api", version)));
    }
    place.put(&deployment("api", 2, crashing("api", "v3")));
    place.until_it_crashes();
    for to in ["api=1", "api=image:v1", "deployment/api=image:v1"] {
        let plan = place.astern(&["plan", "--to", to, "-o", "json"]).expect(0).json();
        assert_eq!(
            plan["choices"][0]["good"]["revision"]["number"], 1,
            "{to}: {plan:#}"
        );
    }
    refused(&place, &["api=9", "--to api=2"], |place| {
        place.roll_back(&["--to", "api=9"])
    });
    place.roll_back(&["--to", "api=1"]).expect(0);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_plan_file_is_run_as_it_was_reviewed_and_pinned_by_its_hash() {
    let place = Place::new("plan-file");
    let hash = planned(&place);
    let other = format!("sha256:{}", "0".repeat(64));
    refused(&place, &["AST0413", &hash, &other], |place| {
        run(place, &["--expect", &other])
    });
    let done = run(&place, &["--expect", &hash]).expect(0);
    says(&done, &[&hash]);
    assert_eq!(place.image("api"), "api:v1");
}

#[test]
fn a_plan_is_refused_once_somebody_edited_the_template_and_says_from_what_to_what() {
    let place = Place::new("moved");
    planned(&place);
    place.kubectl(&["set", "image", "deployment/api", "api=api:v3"]);
    refused(&place, &["deployment/api", "v2", "v3"], |place| run(place, &[]));
}

#[test]
fn a_plan_holds_while_only_counts_status_and_annotations_move() {
    let place = Place::new("still");
    planned(&place);
    place.kubectl(&["scale", "deployment/api", "--replicas=3"]);
    place.kubectl(&["annotate", "deployment/api", "example.test/note=seen"]);
    place.kubectl(&["label", "deployment/api", "example.test/team=shop"]);
    run(&place, &[]).expect(0);
    let api = place.get("deployment/api");
    assert_eq!(place.image("api"), "api:v1");
    assert_eq!(api["spec"]["replicas"], 3);
    assert_eq!(api["metadata"]["annotations"]["example.test/note"], "seen");
    assert_eq!(api["metadata"]["labels"]["example.test/team"], "shop");
}

#[test]
fn a_plan_to_what_another_run_took_back_meanwhile_is_refused() {
    let place = Place::new("meanwhile");
    place.platform("");
    for version in ["v1", "v2", "v3"] {
        place.roll_out(&deployment("api", 1, pod("api", version)));
    }
    place.until("v2 to be gone", 30, |place| place.pods().len() == 1);
    // v2 is presumed good.
    place.astern(&["plan", "-o", "plan.json"]).expect(0);
    place.put(&deployment("api", 1, pod("api", "v2")));
    place.roll_back(&["--to", "api=1"]).expect(0);
    place.roll_out(&deployment("api", 1, pod("api", "v3")));
    refused(&place, &["AST0230"], |place| run(place, &[]));
}

#[test]
fn an_expired_plan_is_refused() {
    let place = Place::new("expired");
    planned(&place);
    edit(&place, |plan| plan["expiresAt"] = plan["madeAt"].clone());
    refused(&place, &["AST0211", "expired"], |place| run(place, &[]));
}

#[test]
fn a_plan_file_that_was_cut_or_extended_or_is_another_kind_changes_nothing() {
    let place = Place::new("damaged");
    planned(&place);
    let whole = std::fs::read_to_string(place.file("plan.json")).unwrap();
    let before = place.standing();
    let cut = &whole[..whole.len() / 2];
    let extended = whole.replacen("{\"", "{\"sudo\":true,\"", 1);
    let another = whole.replacen("\"Plan\"", "\"Record\"", 1);
    for (text, code) in [
        (cut, "AST0021"),
        (&extended, "AST0024"),
        (&another, "AST0022"),
        ("", "AST0021"),
    ] {
        std::fs::write(place.file("plan.json"), text).unwrap();
        says(&run(&place, &[]).expect(1), &[code, "nothing was changed"]);
    }
    assert_eq!(place.standing(), before);
}

#[test]
fn a_plan_whose_steps_were_tampered_with_is_refused() {
    let place = Place::new("tampered");
    let hash = planned(&place);
    place.roll_out(&deployment("other", 1, pod("other", "v1")));
    let reviewed = std::fs::read(place.file("plan.json")).unwrap();
    for (pointer, value) in [
        ("/steps/0/spec/target/name", json!("other")),
        (
            "/steps/0/spec/to/template",
            json!(format!("sha256:{}", "0".repeat(64))),
        ),
        ("/steps/0/spec/to/version", json!("v0")),
        (
            "/steps/0/spec/pin/uid",
            json!("00000000-0000-0000-0000-000000000000"),
        ),
        ("/steps/0/after", json!(["rollout:deployment/api"])),
        ("/steps/0/deadline", json!("PT1000H")),
        ("/steps/1/reversal/kind", json!("exact")),
        (
            "/cluster/identity/uid",
            json!("00000000-0000-0000-0000-000000000000"),
        ),
    ] {
        std::fs::write(place.file("plan.json"), &reviewed).unwrap();
        edit(&place, |plan| {
            let member = plan
                .pointer_mut(pointer)
                .unwrap_or_else(|| panic!("no {pointer}"));
            assert_ne!(*member, value, "{pointer}");
            *member = value;
        });
        refused(&place, &[], |place| run(place, &[]));
        refused(&place, &["AST0413"], |place| run(place, &["--expect", &hash]));
    }
}

#[test]
fn a_plan_for_another_namespace_is_not_run_in_this_one() {
    let place = Place::new("misplaced");
    planned(&place);
    let before = place.standing();
    edit(&place, |plan| plan["namespace"] = json!("default"));
    says(
        &run(&place, &[]).expect(1),
        &["namespace default", &place.namespace, "nothing was changed"],
    );
    assert_eq!(place.standing(), before);
}
