//! Resting: when what stands is recorded by itself, whether a release is that already, and what it is called.

use crate::config::map;
use crate::support::{
    Build, at, crash_loop, deployment, good, hash, inventory, not_ready, released, released_at, replaced,
    workload,
};
use astern_model::config::ConfigName;
use astern_model::id::ContentHash;
use astern_model::inventory::Inventory;
use astern_model::release::{Release, ReleaseName};
use astern_model::target::Target;
use astern_plan::{ReadObject, Stand};
use serde_json::json;
use std::collections::BTreeMap;

type Read = BTreeMap<ConfigName, ReadObject>;

fn read(content: &str, written: &str) -> Read {
    let object = ReadObject {
        content: content.into(),
        written: Some(at(written)),
    };
    BTreeMap::from([(map("app"), object)])
}

fn of(inventory: &Inventory, read: &Read, then: impl FnOnce(Stand<'_>)) {
    let targets: Vec<Target> = inventory.workloads.keys().cloned().collect();
    then(Stand {
        inventory,
        targets: &targets,
        read,
    });
}

/// A release that holds these versions of workloads.
fn release(name: &str, workloads: &[(&str, &str)]) -> Release {
    let workloads: Vec<_> = workloads
        .iter()
        .map(|(name, version)| {
            json!({"target": deployment(name), "template": hash(name, version), "images": [], "replicas": 3,
                "content": {"name": "t", "keyedHash": "h", "size": 1}})
        })
        .collect();
    serde_json::from_value(
        json!({"name": name, "platform": "shop", "namespace": "shop", "by": "ci",
        "at": "2026-11-23T13:00:00Z", "standing": good(), "config": [], "workloads": workloads}),
    )
    .unwrap()
}

#[test]
fn it_rests_once_every_rollout_is_over_well_or_not_and_nothing_was_written_for_a_while() {
    let check = |build: Build, written: &str, expected: Option<&str>| {
        // Taken at 14:12:00.
        of(&inventory([build]), &read("now", written), |stand| {
            let why = stand.moves();
            match expected {
                None => assert_eq!(why, None),
                Some(words) => {
                    let why = why.unwrap();
                    assert!(why.contains(words), "no {words:?}: {why}");
                }
            }
        });
    };
    check(replaced("api"), "14:00:00", None);
    check(replaced("api"), "14:11:45", Some("configmap/app was written at"));
    check(
        released_at("api", "14:11:40").serving(2, 3, "14:11:45"),
        "14:00:00",
        Some("deployment/api came to v1.2.4 at"),
    );
    // Some pods are of the version before.
    let half = || released_at("api", "14:09:00").serving(1, 2, "13:00:00");
    check(
        half().serving(2, 1, "14:10:00"),
        "14:00:00",
        Some("1 of 3 pods of it are ready, 2 of earlier versions are left"),
    );
    // It may yet become ready; a crash loop will not pass; and no rollout goes on for ever.
    let waiting = released_at("api", "14:09:00").troubled(2, 3, "14:09:10", not_ready());
    check(waiting, "14:00:00", Some("0 of 3 pods"));
    check(half().troubled(2, 1, "14:10:00", crash_loop()), "14:00:00", None);
    let late = released_at("api", "14:01:00").troubled(2, 3, "14:01:10", not_ready());
    check(late, "14:00:00", None);
}

#[test]
fn a_release_is_what_stands_by_its_templates_and_by_what_is_read() {
    let inventory = inventory([replaced("api"), replaced("web")]);
    let both = release("r1", &[("api", "v1.2.4"), ("web", "v1.2.4")]);
    let now: BTreeMap<ConfigName, ContentHash> = [(map("app"), "now".into())].into();
    let then: BTreeMap<ConfigName, ContentHash> = [(map("app"), "then".into())].into();
    of(&inventory, &read("now", "14:00:00"), |stand| {
        assert!(stand.is(&both, &now));
        assert!(!stand.is(&both, &then));
        assert!(!stand.is(&both, &BTreeMap::new()));
        assert!(!stand.is(&release("r1", &[("api", "v1.2.4")]), &now));
        let other = release("r1", &[("api", "v1.2.4"), ("web", "v1.2.3")]);
        assert!(!stand.is(&other, &now));
        assert_eq!(
            stand.changed_since(&other, &then),
            ["deployment/web", "configmap/app"]
        );
    });
}

#[test]
fn a_release_is_called_by_the_version_that_its_workloads_tell_and_by_what_it_is_where_that_is_taken() {
    let mutable = ["latest".to_owned()];
    let name = |builds: Vec<Build>, newest: Option<&Release>, content: &str, taken: &[&str]| {
        let taken: Vec<ReleaseName> = taken
            .iter()
            .map(|name| ReleaseName::parse(name).unwrap())
            .collect();
        let mut named = String::new();
        of(&inventory(builds), &read(content, "14:00:00"), |stand| {
            named = stand.name(newest, &mutable, &taken).to_string();
        });
        named
    };
    let both = || vec![replaced("api"), replaced("web")];
    assert_eq!(name(both(), None, "now", &[]), "v1.2.4");
    // The version is there already, with other content: the same one for whoever sees the same.
    let other = name(both(), None, "now", &["v1.2.4"]);
    assert!(
        other.starts_with("v1.2.4+") && other.len() == "v1.2.4+".len() + 8,
        "{other}"
    );
    assert_eq!(name(both(), None, "now", &["v1.2.4"]), other);
    assert_ne!(name(both(), None, "then", &["v1.2.4"]), other);
    // Only one of them moved.
    let moved = || {
        let web = workload("web")
            .revision(1, "v7", "13:00:00")
            .serving(1, 3, "13:00:10");
        vec![replaced("api"), web]
    };
    let newest = release("r1", &[("api", "v1.2.3"), ("web", "v7")]);
    assert_eq!(name(moved(), Some(&newest), "now", &[]), "v1.2.4");
    // Neither tells anything that they share, or that nobody moves.
    assert!(name(moved(), None, "now", &[]).starts_with("watched-"));
    let latest = || vec![workload("api").revision(1, "latest", "13:00:00")];
    assert!(name(latest(), None, "now", &[]).starts_with("watched-"));
    let label = |workload: &mut astern_model::workload::Workload| {
        let label = ("app.kubernetes.io/version".to_owned(), "2026.11".to_owned());
        workload.labels.extend([label]);
    };
    let labelled = released("api").with(label);
    assert_eq!(name(vec![labelled], None, "now", &[]), "2026.11");
}
