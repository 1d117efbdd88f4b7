//! What a Helm release changes of ConfigMaps and Secrets: who starts anew for it, and in which order.

use crate::releases::{BOTH_BAD, owned, refused, revision, shop, steps};
use crate::support::{Build, crashing, depending, platform, replaced, request, template, workload};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_plan::Request;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Revision 1 would have these objects hold something else than now.
fn with_content(mut inventory: Inventory, objects: &[(&str, &str)]) -> Inventory {
    let live =
        |(kind, name): &(&str, &str)| json!({"kind": kind, "name": name, "uid": "u-1", "content": "now"});
    let held = |(kind, name): &(&str, &str)| {
        json!({"kind": kind, "name": name, "kept": {"name": "saved-1", "keyedHash": "hmac-sha256:aa", "size": 9},
            "content": "then", "keys": [], "changes": []})
    };
    let live: Vec<Value> = objects.iter().map(live).collect();
    let held: Vec<Value> = objects.iter().map(held).collect();
    let through = json!([{"release": inventory.releases[0].name, "revision": 1, "differing": held}]);
    inventory.config = serde_json::from_value(json!({"live": live, "through": through})).unwrap();
    inventory
}

const APP: [(&str, &str); 1] = [("ConfigMap", "app-config")];

fn to_first() -> Request {
    Request {
        releases: BTreeMap::from([("shop".to_owned(), 1)]),
        ..request()
    }
}

fn planned(request: &Request, inventory: &Inventory, platform: &Platform) -> Plan {
    crate::support::plan(request, inventory, platform).unwrap()
}

#[test]
fn a_revision_that_differs_in_config_alone_is_planned_and_its_readers_are_restarted_after_it() {
    let inventory = shop(
        vec![owned(replaced("api")), owned(replaced("worker"))],
        vec![
            revision(2, "deployed", &BOTH_BAD),
            revision(1, "superseded", &BOTH_BAD),
        ],
    );
    let plan = planned(&to_first(), &with_content(inventory.clone(), &APP), &platform());
    insta::assert_snapshot!(steps(&plan), @r"
    release:helm/shop after []: roll helm/shop back from revision 2 to 1 with helm
    look:helm/shop after [release:helm/shop]: see that configmap/app-config holds what revision 1 of helm/shop says
    restart:deployment/api after [release:helm/shop, look:helm/shop]: restart deployment/api
    rollout:deployment/api after [restart:deployment/api]: wait until deployment/api serves v1.2.4
    restart:deployment/worker after [release:helm/shop, look:helm/shop]: restart deployment/worker
    rollout:deployment/worker after [restart:deployment/worker]: wait until deployment/worker serves v1.2.4
    ");
    let readers: Vec<String> = plan.releases[0].readers[0]
        .1
        .iter()
        .map(|(target, how)| format!("{target} {how}"))
        .collect();
    assert_eq!(
        readers,
        ["deployment/api is restarted", "deployment/worker is restarted"]
    );
    // Nobody reads what changes: helm alone has something to do.
    let alone = planned(&to_first(), &inventory, &platform());
    insta::assert_snapshot!(steps(&alone), @"release:helm/shop after []: roll helm/shop back from revision 2 to 1 with helm");
    let mut same = inventory;
    same.releases[0].revisions[1].record = same.releases[0].revisions[0].record.clone();
    assert!(
        refused(crate::support::plan(&to_first(), &same, &platform()))
            .contains("what stands of helm/shop is what its revision 1 says")
    );
}

#[test]
fn pods_of_the_version_that_helm_brings_back_and_that_may_have_read_what_it_changes_are_told() {
    let reading = |build: Build| {
        crate::config::changed(
            build,
            &|json| {
                json["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "app-config"}}]);
            },
            1,
        )
    };
    let inventory = shop(
        vec![owned(reading(crashing("api")))],
        vec![
            revision(2, "deployed", &[("api", "v1.2.4")]),
            revision(1, "superseded", &[("api", "v1.2.3")]),
        ],
    );
    let plan = planned(&to_first(), &with_content(inventory, &APP), &platform());
    insta::assert_snapshot!(steps(&plan), @r"
    release:helm/shop after []: roll helm/shop back from revision 2 to 1 with helm
    look:helm/shop after [release:helm/shop]: see that configmap/app-config holds what revision 1 of helm/shop says
    rollout:deployment/api after [release:helm/shop]: wait until deployment/api serves v1.2.3
    ");
    let warned = plan.warnings.join("\n");
    let words = "2 of deployment/api's pods run what it goes back to already and stay";
    assert!(warned.contains(words), "{warned}");
}

#[test]
fn what_fails_beside_a_release_that_is_named_is_not_drawn_in() {
    let inventory = shop(
        vec![owned(replaced("api")), crashing("other")],
        vec![
            revision(2, "deployed", &[("api", "v1.2.4")]),
            revision(1, "superseded", &[("api", "v1.2.4")]),
        ],
    );
    let plan = planned(&to_first(), &with_content(inventory, &APP), &platform());
    let steps = steps(&plan);
    assert!(!steps.contains("template:deployment/other"), "{steps}");
    assert!(
        steps.contains("restart:deployment/other after [release:helm/shop, look:helm/shop]"),
        "it reads it too: {steps}"
    );
}

#[test]
fn a_release_waits_for_no_reader_that_is_restarted_for_what_it_writes() {
    let inventory = shop(
        vec![
            owned(crashing("api")),
            owned(replaced("worker")),
            replaced("ledger"),
            replaced("mail"),
        ],
        vec![
            revision(2, "deployed", &[("api", "v1.2.4"), ("worker", "v1.2.4")]),
            revision(1, "superseded", &[("api", "v1.2.3"), ("worker", "v1.2.4")]),
        ],
    );
    let platform = depending(&[
        ("api", &["worker", "ledger"]),
        ("worker", &[]),
        ("ledger", &[]),
        ("mail", &["api"]),
    ]);
    let only = Request {
        to: [(
            crate::support::deployment("ledger"),
            astern_plan::Selector::Revision(1),
        )]
        .into(),
        ..to_first()
    };
    let plan = planned(&only, &with_content(inventory, &APP), &platform);
    insta::assert_snapshot!(steps(&plan), @r"
    release:helm/shop after []: roll helm/shop back from revision 2 to 1 with helm
    look:helm/shop after [release:helm/shop]: see that configmap/app-config holds what revision 1 of helm/shop says
    rollout:deployment/api after [release:helm/shop]: wait until deployment/api serves v1.2.3
    template:deployment/ledger after [release:helm/shop, look:helm/shop]: put deployment/ledger back to v1.2.3 (revision 1)
    rollout:deployment/ledger after [template:deployment/ledger]: wait until deployment/ledger serves v1.2.3
    restart:deployment/worker after [release:helm/shop, look:helm/shop]: restart deployment/worker
    rollout:deployment/worker after [restart:deployment/worker]: wait until deployment/worker serves v1.2.4
    template:deployment/mail after [release:helm/shop, look:helm/shop, rollout:deployment/api]: put deployment/mail back to v1.2.3 (revision 1)
    rollout:deployment/mail after [template:deployment/mail]: wait until deployment/mail serves v1.2.3
    ");
}

#[test]
fn a_workload_that_was_restarted_is_the_version_that_it_was_and_a_release_leaves_it() {
    let mut marked = template("worker", "v1.2.3");
    marked["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "2026-11-23T14:00:00Z"});
    let restarted = workload("worker")
        .revision(1, "v1.2.3", "2026-11-19T10:00:00Z")
        .revision_of(2, marked, "14:00:00");
    let inventory = shop(
        vec![owned(crashing("api")), owned(restarted)],
        vec![
            revision(2, "deployed", &[("api", "v1.2.4"), ("worker", "v1.2.3")]),
            revision(1, "superseded", &[("api", "v1.2.3"), ("worker", "v1.2.3")]),
        ],
    );
    let plan = planned(&request(), &inventory, &platform());
    insta::assert_snapshot!(steps(&plan), @r"
    release:helm/shop after []: roll helm/shop back from revision 2 to 1 with helm
    rollout:deployment/api after [release:helm/shop]: wait until deployment/api serves v1.2.3
    ");
}
