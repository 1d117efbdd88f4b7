//! Undoing: the plan that takes a run back.

use crate::support::{Build, at, hash, inventory, platform, released};
use astern_model::config::{ConfigKind, ConfigName, HeldConfig, LiveConfig};
use astern_model::content::ContentRef;
use astern_model::decision::Refusal;
use astern_model::id::RunId;
use astern_model::plan::{Intent, Plan};
use astern_model::step::Spec;
use astern_model::step::workload::Spec as WorkloadSpec;
use astern_plan::{History, Taken, TakenConfig, TakenRun, code, undo};
use std::collections::BTreeSet;

/// What the run of a rollback from v1.2.4 to v1.2.3 recorded.
fn taken() -> Taken {
    Taken {
        target: crate::support::deployment("api"),
        before: hash("api", "v1.2.4"),
        after: hash("api", "v1.2.3"),
        kept: ContentRef {
            name: "template-1".to_owned(),
            keyed_hash: "hmac-sha256:00".to_owned(),
            size: 9,
        },
        version: "v1.2.4".to_owned(),
        images: vec!["registry.test/api:v1.2.4".to_owned()],
        revision: Some(2),
    }
}

fn rolled_back() -> Build {
    released("api").brought_back(1, 3).serving(3, 3, "14:08:30")
}

fn undone(build: Build) -> Result<Plan, Refusal> {
    let run = RunId::from("r20261123-140800-7f3c");
    undo(
        &run,
        &TakenRun {
            templates: vec![taken()],
            config: Vec::new(),
        },
        &inventory([build]),
        &platform(),
        &History::default(),
        &BTreeSet::new(),
        at("14:12:05"),
    )
}

#[test]
fn an_undo_writes_back_what_the_run_replaced() {
    let plan = undone(rolled_back()).unwrap();
    assert_eq!(
        plan.intent,
        Intent::Undo {
            run: RunId::from("r20261123-140800-7f3c")
        }
    );
    assert_eq!(
        plan.steps[0].spec.phrase(),
        "put deployment/api back to v1.2.4 (revision 2)"
    );
    assert_eq!(plan.changes[0].changes.len(), 1);
}

#[test]
fn a_pruned_revision_is_written_from_what_the_run_kept() {
    let plan =
        undone(rolled_back().with(|workload| workload.revisions.retain(|revision| revision.number == 3)))
            .unwrap();
    let Spec::Workload(WorkloadSpec::WriteTemplate { to, kept, .. }) = &plan.steps[0].spec else {
        panic!("no write")
    };
    assert_eq!((to.name.as_str(), kept), ("template-1", &Some(taken().kept)));
}

#[test]
fn a_template_that_only_a_run_has_kept_waits_for_all_content_that_goes_back() {
    let app = ConfigName {
        kind: ConfigKind::ConfigMap,
        name: "unknown-to-the-live-template".to_owned(),
    };
    let pruned = rolled_back().with(|workload| workload.revisions.retain(|revision| revision.number == 3));
    let mut seen = inventory([pruned]);
    seen.config.live.push(LiveConfig {
        name: app.clone(),
        uid: "uid-app".into(),
        content: "written".into(),
        immutable: false,
        secret_type: None,
        source: None,
        drawn: None,
        owners: Vec::new(),
        manager: None,
    });
    let before = HeldConfig {
        name: app.clone(),
        kept: taken().kept,
        content: "bad".into(),
        keys: Vec::new(),
        secret_type: None,
        drawn: None,
        changes: Vec::new(),
    };
    let run = TakenRun {
        templates: vec![taken()],
        config: vec![TakenConfig {
            was_immutable: false,
            before: Some(before),
            versions: None,
            object: app,
            after: "written".into(),
        }],
    };
    let id = RunId::from("r20261123-140800-7f3c");
    let plan = undo(
        &id,
        &run,
        &seen,
        &platform(),
        &History::default(),
        &BTreeSet::new(),
        at("14:12:05"),
    )
    .unwrap();
    assert!(plan.steps[0].spec.config().is_some(), "{plan:#?}");
    assert_eq!(plan.steps[1].after, [plan.steps[0].id.clone()]);
    assert!(
        plan.config[0].readers[0].1.starts_with("waits for it"),
        "{:?}",
        plan.config
    );
}

#[test]
fn an_undo_is_refused_when_somebody_changed_the_workload_since() {
    let refusal = undone(rolled_back().revision(4, "v1.2.5", "14:10:00")).unwrap_err();
    assert_eq!(refusal.code, code::MOVED_SINCE);
    assert!(
        refusal.details[0].ends_with("(v1.2.5) now"),
        "{:?}",
        refusal.details
    );
}

#[test]
fn an_undo_of_what_is_as_before_already_has_nothing_to_do() {
    assert_eq!(undone(released("api")).unwrap_err().code, code::NOTHING_TO_DO);
}
