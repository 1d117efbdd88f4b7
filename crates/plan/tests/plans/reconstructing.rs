//! What goes back of ConfigMaps where no ledger holds it: what is looked for, and what a plan does with the answers.

use crate::support::{at, crashing, deployment, inventory, plan, platform, released, replaced, request};
use astern_model::config::{ConfigKind, ConfigName, ConfigSeen, HeldConfig, LiveConfig};
use astern_model::content::ContentRef;
use astern_model::id::TemplateHash;
use astern_model::inventory::Inventory;
use astern_model::login::Proof;
use astern_model::plan::Plan;
use astern_model::reconstruction::{Period, Provenance, Rebuilt, Reconstruction, Untold};
use astern_plan::{other_image, sought};
use std::collections::BTreeMap;

fn app() -> ConfigName {
    ConfigName {
        kind: ConfigKind::ConfigMap,
        name: "app-config".to_owned(),
    }
}

fn git() -> Provenance {
    Provenance::Git {
        commit: "3f2a9c1d07be55aa".to_owned(),
        file: "deploy/app.yaml".to_owned(),
        owner: "Argo CD application argocd/shop".to_owned(),
        at: at("2026-11-19T10:00:05Z"),
    }
}

fn good(inventory: &Inventory) -> TemplateHash {
    let revisions = &inventory.workloads[&deployment("api")].revisions;
    let first = revisions.iter().find(|revision| revision.number == 1);
    first.unwrap().hash.clone()
}

fn rebuilt(inventory: &Inventory) -> Rebuilt {
    Rebuilt {
        held: HeldConfig {
            name: app(),
            kept: ContentRef {
                name: "saved".to_owned(),
                keyed_hash: "then".to_owned(),
                size: 1,
            },
            content: "then".into(),
            keys: vec!["MODE".to_owned()],
            secret_type: None,
            drawn: None,
            changes: Vec::new(),
        },
        readers: vec![(deployment("api"), good(inventory))],
        until: at("14:02:00"),
        provenance: git(),
        unasked: Vec::new(),
    }
}

fn knowing(mut inventory: Inventory, reconstruction: Reconstruction) -> Inventory {
    inventory.config = ConfigSeen {
        live: vec![LiveConfig {
            name: app(),
            uid: "uid-app-config".into(),
            content: "now".into(),
            immutable: false,
            secret_type: None,
            source: None,
            drawn: None,
            owners: Vec::new(),
            manager: None,
        }],
        reconstruction: Some(reconstruction),
        ..ConfigSeen::default()
    };
    inventory
}

fn writes(plan: &Plan) -> Vec<String> {
    let config = plan.steps.iter().filter_map(|step| step.spec.config());
    config.map(|spec| spec.phrase()).collect()
}

fn unchanged(plan: &Plan) -> String {
    plan.unchanged.join("\n")
}

#[test]
fn what_the_target_templates_read_is_looked_for_in_the_time_in_which_they_were_the_newest() {
    let inventory = inventory([crashing("api")]);
    let draft = plan(&request(), &inventory, &platform()).unwrap();
    let found = sought(&draft, &inventory, &platform());
    // The Secret that it reads as well is none that astern.yaml names.
    assert_eq!(found.iter().map(|one| &one.name).collect::<Vec<_>>(), [&app()]);
    let period = Period {
        since: at("2026-11-19T10:00:00Z"),
        until: at("14:02:00"),
    };
    assert_eq!(found[0].period, Ok(period));
    assert_eq!(found[0].readers[&deployment("api")], good(&inventory));
    let named = astern_model::platform::Platform {
        restore_secrets: [("api-keys".to_owned(), Some(Proof::NeverRotates))].into(),
        ..platform()
    };
    assert_eq!(sought(&draft, &inventory, &named).len(), 2);
}

#[test]
fn content_goes_back_before_its_readers_with_the_source_named_and_dated() {
    let inventory = inventory([crashing("api")]);
    let found = rebuilt(&inventory);
    let inventory = knowing(
        inventory,
        Reconstruction {
            rebuilt: vec![found],
            ..Reconstruction::default()
        },
    );
    let plan = plan(&request(), &inventory, &platform()).unwrap();
    assert_eq!(
        writes(&plan),
        [
            "put the content of configmap/app-config back to Git commit 3f2a9c1d07be (deploy/app.yaml), which Argo CD application argocd/shop deployed 2026-11-19 10:00:05 UTC"
        ]
    );
    let template = plan
        .steps
        .iter()
        .find(|step| step.id.as_str() == "template:deployment/api");
    assert_eq!(template.unwrap().after[0].as_str(), "config:configmap/app-config");
}

#[test]
fn content_stays_where_a_reader_keeps_a_version_that_came_later_or_the_plan_is_another() {
    let with = |web, change: fn(&mut Rebuilt)| {
        let inventory = inventory([crashing("api"), web]);
        let mut found = rebuilt(&inventory);
        change(&mut found);
        let inventory = knowing(
            inventory,
            Reconstruction {
                rebuilt: vec![found],
                ..Reconstruction::default()
            },
        );
        let only = astern_plan::Request {
            only: vec![deployment("api")],
            ..request()
        };
        plan(&only, &inventory, &platform()).unwrap()
    };
    let newer = with(replaced("web"), |_| {});
    assert!(writes(&newer).is_empty());
    let why = "configmap/app-config keeps its content of now: deployment/web reads it, stays on v1.2.4";
    assert!(unchanged(&newer).contains(why), "{}", unchanged(&newer));
    let older = with(replaced("web"), |found| found.until = at("14:03:00"));
    assert_eq!(writes(&older).len(), 1);
    let other = with(released("web"), |found| found.readers[0].1 = "another".into());
    assert!(writes(&other).is_empty());
    assert!(unchanged(&other).contains("it was looked for beside another version of deployment/api"));
}

#[test]
fn what_holds_the_same_what_nobody_tells_and_what_could_not_be_asked_is_said() {
    let inventory = inventory([crashing("api")]);
    let mut found = rebuilt(&inventory);
    found.provenance = Provenance::LastApplied {
        manager: "kubectl-client-side-apply".to_owned(),
        at: at("2026-11-19T10:00:00Z"),
    };
    found.unasked = vec!["the repository did not answer within 30 s".to_owned()];
    let named = |name: &str| ConfigName {
        name: name.to_owned(),
        ..app()
    };
    let inventory = knowing(
        inventory,
        Reconstruction {
            rebuilt: vec![found],
            same: vec![(named("same"), git()), (named("hashed"), Provenance::Named)],
            untold: vec![Untold {
                name: named("lost"),
                why: vec!["one".to_owned(), "two".to_owned()],
            }],
        },
    );
    let plan = plan(&request(), &inventory, &platform()).unwrap();
    for words in [
        "configmap/same stays: it holds what it held, by Git commit 3f2a9c1d07be",
        "configmap/hashed stays: it holds what it held, by the hash of it in its name",
        "configmap/lost keeps its content of now: what it held is not known (one; two)",
    ] {
        assert!(unchanged(&plan).contains(words), "{words}: {}", unchanged(&plan));
    }
    let warned = plan.warnings.join("\n");
    let words = "configmap/app-config goes back to what kubectl-client-side-apply had applied 2026-11-19 10:00:00 UTC \
                 (last-applied-configuration), since the repository did not answer within 30 s";
    assert!(warned.contains(words), "{warned}");
}

#[test]
fn a_commit_that_says_another_image_of_a_reader_is_not_what_ran() {
    let inventory = inventory([crashing("api")]);
    let readers = BTreeMap::from([(deployment("api"), good(&inventory))]);
    let says = |target: &str, image: &str| {
        let images = BTreeMap::from([("api".to_owned(), image.to_owned())]);
        let said = BTreeMap::from([(deployment(target), images)]);
        other_image(&said, &readers, &inventory)
    };
    assert_eq!(says("api", "registry.test/api:v1.2.3"), None);
    assert_eq!(says("other", "registry.test/other:v9"), None);
    let why = says("api", "registry.test/api:v1.2.4").unwrap();
    assert!(
        why.contains("image registry.test/api:v1.2.4 of deployment/api")
            && why.contains("has registry.test/api:v1.2.3"),
        "{why}"
    );
}
