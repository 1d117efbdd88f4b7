//! Planning: scope, steps, order, forecast, and what is said beside them.

use crate::support::{
    Build, at, crash_loop, crashing, depending, deployment, errors, evidence, inventory, of_kind, plan,
    platform, released, released_at, replaced, request, target, workload,
};
use astern_model::diff::{Change, Shown};
use astern_model::evidence::{Known, Side, Trouble};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::policy::{OnFailure, Say};
use astern_model::step::workload::Spec as WorkloadSpec;
use astern_model::step::{Basis, Spec};
use astern_model::target::WorkloadKind;
use astern_model::workload::{Autoscaler, FieldManager, Pod, Strategy};
use astern_plan::{History, Request, Selector};
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// One line a step, wave by wave.
fn steps(plan: &Plan) -> String {
    let mut text = String::new();
    for (number, wave) in plan.waves().iter().enumerate() {
        text.push_str(&format!("wave {}\n", number + 1));
        for step in wave {
            let deadline = astern_model::choice::human(step.deadline);
            let expected = astern_model::choice::human(step.forecast.expected);
            text.push_str(&format!(
                "  {}: {} ({expected}, at most {deadline})\n",
                step.id,
                step.spec.phrase()
            ));
        }
    }
    text
}

fn rollback(workloads: Vec<Build>) -> Plan {
    plan(&request(), &inventory(workloads), &platform()).unwrap()
}

#[test]
fn services_go_back_in_waves_of_what_depends_on_what_and_side_by_side_inside_a_wave() {
    let names = [
        "api-gateway",
        "data-ingestion",
        "calculation-engine",
        "reporting-service",
    ];
    let mut workloads: Vec<Build> = names[1..].iter().map(|name| replaced(name)).collect();
    workloads.push(crashing("api-gateway"));
    let platform = depending(&[
        ("api-gateway", &["calculation-engine", "data-ingestion"]),
        ("data-ingestion", &[]),
        ("calculation-engine", &[]),
        ("reporting-service", &["calculation-engine"]),
    ]);
    let plan = plan(&request(), &inventory(workloads), &platform).unwrap();
    insta::assert_snapshot!(steps(&plan), @r"
    wave 1
      template:deployment/calculation-engine: put deployment/calculation-engine back to v1.2.3 (revision 1) (1s, at most 45s)
      template:deployment/data-ingestion: put deployment/data-ingestion back to v1.2.3 (revision 1) (1s, at most 45s)
    wave 2
      rollout:deployment/calculation-engine: wait until deployment/calculation-engine serves v1.2.3 (41s, at most 10m 10s)
      rollout:deployment/data-ingestion: wait until deployment/data-ingestion serves v1.2.3 (41s, at most 10m 10s)
    wave 3
      template:deployment/api-gateway: put deployment/api-gateway back to v1.2.3 (revision 1) (1s, at most 45s)
      template:deployment/reporting-service: put deployment/reporting-service back to v1.2.3 (revision 1) (1s, at most 45s)
    wave 4
      rollout:deployment/api-gateway: wait until deployment/api-gateway serves v1.2.3 (17s, at most 10m 10s)
      rollout:deployment/reporting-service: wait until deployment/reporting-service serves v1.2.3 (41s, at most 10m 10s)
    ");
    assert_eq!(plan.forecast, SignedDuration::from_secs(84));
}

#[test]
fn every_member_that_moved_in_the_same_release_goes_back_with_its_whole_template() {
    let plan = rollback(vec![
        crashing("api"),
        released_at("worker", "13:45:00").serving(2, 3, "13:45:10"),
        released_at("reports", "13:20:00").serving(2, 3, "13:20:00"),
        workload("new")
            .revision(1, "v1.2.4", "14:02:00")
            .serving(1, 3, "14:02:00"),
        released("short")
            .revision(3, "v1.2.5", "14:03:00")
            .serving(3, 3, "14:03:00")
            .mark(1, "astern.dev/bad", "true"),
    ]);
    let targets: Vec<String> = plan.targets().iter().map(|target| target.to_string()).collect();
    assert_eq!(targets, ["deployment/api", "deployment/worker"]);
    insta::assert_snapshot!(plan.warnings.join("\n"), @r"
    deployment/worker came to v1.2.4 at 2026-11-23 13:45:00 UTC, 17m before deployment/api: the same release, taken back with it
    evidence is missing (deployment/api: logs were not read; deployment/worker: logs were not read): graver rows decide without it
    2 pods of v1.2.3 still serve deployment/api: 2 of 3 ready in all
    deployment/worker goes back to v1.2.3 (revision 1), presumed: it was the newest for 4d 3h until 2026-11-23 13:45:00 UTC, and nothing speaks against it
    deployment/short moved in the same release and cannot go back with it: two releases will stand side by side
    ");
    insta::assert_snapshot!(plan.unchanged.join("\n"), @r"
    replicas stay as they are: deployment/api 3, deployment/worker 3
    autoscalers stay as they are: these workloads have none
    ConfigMaps and Secrets keep their content of now: the templates refer to ConfigMap app-config, Secret api-keys
    databases are not looked at: whether v1.2.3 works with today's schema and data is not known
    deployment/new stays at v1.2.4
    deployment/reports stays at v1.2.4
    deployment/short stays at v1.2.5: it moved in the same release, and no revision of it is known good
    ");
}

#[test]
fn a_version_to_go_back_to_that_is_not_well_itself_is_said_with_what_is_wrong() {
    let restarting = crashing("api").with(|workload| {
        for pod in &mut workload.pods[..2] {
            (pod.created_at, pod.ready_since, pod.restarts) = (at("13:32:00"), Some(at("14:08:00")), 5);
        }
    });
    let mut erring = inventory([crashing("api")]);
    let (live, former) = (errors(Known::Is(60.0)), errors(Known::Is(12.0)));
    erring
        .evidence
        .push(evidence(&deployment("api"), Side::Live, live));
    erring
        .evidence
        .push(evidence(&deployment("api"), Side::Former, former));
    let check = |inventory: &Inventory, wrong: &str| {
        let plan = plan(&request(), inventory, &platform()).unwrap();
        assert_eq!(
            plan.decision.say,
            Say::RollBack,
            "it is still better than what fails"
        );
        let said = format!(
            "the old version is not well itself (deployment/api: v1.2.3: {wrong}): graver rows decide without it"
        );
        assert!(plan.warnings.contains(&said), "{:#?}", plan.warnings);
    };
    check(
        &inventory([restarting]),
        "api-rs1-1 restarted 5 times in 40m and is ready in between",
    );
    check(
        &erring,
        "pods of earlier versions log 12.0 error lines a minute and pod",
    );
}

/// Never came up since it was deployed days ago, and nothing good is known of it.
fn long_broken(name: &str) -> Build {
    workload(name)
        .revision(1, "v0.9.0", "2026-11-18T10:00:00Z")
        .revision(2, "v0.9.1", "2026-11-18T10:04:00Z")
        .troubled(2, 1, "2026-11-18T10:04:10Z", crash_loop())
}

#[test]
fn what_fails_since_before_the_release_stays_and_is_said_unless_it_is_named() {
    let workloads = || vec![crashing("api"), long_broken("job")];
    let plan = rollback(workloads());
    let targets: Vec<String> = plan.targets().iter().map(|target| target.to_string()).collect();
    assert_eq!(targets, ["deployment/api"]);
    assert_eq!(
        plan.warnings[0],
        "deployment/job stays: it fails too, and came to that version at 2026-11-18 10:04:00 UTC, 5d 3h before \
         deployment/api changed: not the same release; --to job=REVISION takes it back as well"
    );
    assert_eq!(
        plan.unchanged.last().unwrap(),
        "deployment/job stays at v0.9.1: it fails too, and came to that version at 2026-11-18 10:04:00 UTC, 5d 3h \
         before deployment/api changed: not the same release"
    );
    let to = BTreeMap::from([(deployment("job"), Selector::Revision(1))]);
    let named = crate::support::plan(&Request { to, ..request() }, &inventory(workloads()), &platform());
    assert_eq!(named.unwrap().targets().len(), 2);
    // Alone it is still what a rollback is about.
    let alone = crate::support::plan(&request(), &inventory([long_broken("job")]), &platform());
    assert_eq!(alone.unwrap_err().code, astern_plan::code::NOTHING_GOOD);
}

#[test]
fn when_nothing_fails_the_newest_release_is_taken_back_and_the_asking_is_recorded() {
    let plan = rollback(vec![
        replaced("api"),
        released_at("old", "09:00:00").serving(2, 3, "09:00:00"),
    ]);
    let targets: Vec<String> = plan.targets().iter().map(|target| target.to_string()).collect();
    assert_eq!(
        (targets, plan.decision.say),
        (vec!["deployment/api".to_owned()], Say::Ask)
    );
    insta::assert_snapshot!(plan.warnings.join("\n"), @r"
    nothing that can be seen fails: this takes back the newest release, which reached deployment/api at 2026-11-23 14:02:00 UTC
    the matrix asks (evidence-missing): evidence is missing (deployment/api: logs were not read); saying yes decides over it
    the matrix asks (all-healthy): nothing wrong can be seen; a person may know what no probe shows (deployment/api: 3 of 3 ready, healthy); saying yes decides over it
    deployment/api goes back to v1.2.3 (revision 1), presumed: it was the newest for 4d 4h until 2026-11-23 14:02:00 UTC, and nothing speaks against it
    ");
}

#[test]
fn only_limits_the_plan_and_says_what_it_leaves() {
    let request = Request {
        only: vec![deployment("api")],
        on_failure: Some(OnFailure::Unwind),
        ..request()
    };
    let plan = plan(
        &request,
        &inventory([crashing("api"), crashing("worker")]),
        &platform(),
    )
    .unwrap();
    assert_eq!(plan.targets().len(), 1);
    assert_eq!(plan.on_failure, OnFailure::Unwind);
    assert_eq!(
        plan.warnings[0],
        "--only leaves out deployment/worker, against which the evidence speaks too"
    );
}

#[test]
fn a_named_revision_is_taken_and_one_that_is_live_already_is_left_out_and_said() {
    let to = BTreeMap::from([
        (deployment("api"), Selector::Revision(1)),
        (deployment("worker"), Selector::Image("v1.2.4".to_owned())),
    ]);
    let plan = plan(
        &Request { to, ..request() },
        &inventory([replaced("api"), replaced("worker")]),
        &platform(),
    )
    .unwrap();
    assert_eq!(plan.targets().len(), 1);
    assert_eq!(
        plan.unchanged.last().unwrap(),
        "deployment/worker stays at v1.2.4: revision 2, which --to names, is what it asks for already"
    );
}

#[test]
fn a_paused_deployment_is_written_first_and_resumed_after() {
    let plan = rollback(vec![crashing("api").with(|workload| workload.paused = true)]);
    insta::assert_snapshot!(steps(&plan), @r"
    wave 1
      template:deployment/api: put deployment/api back to v1.2.3 (revision 1) (1s, at most 45s)
    wave 2
      resume:deployment/api: resume deployment/api (1s, at most 45s)
    wave 3
      rollout:deployment/api: wait until deployment/api serves v1.2.3 (17s, at most 10m 10s)
    ");
    let Spec::Workload(WorkloadSpec::SetPaused { pin, paused, .. }) = &plan.steps[1].spec else {
        panic!("no resume")
    };
    assert_eq!(
        (pin.paused, *paused, &pin.template),
        (
            true,
            false,
            &plan.choices[0].good.as_ref().unwrap().revision.template
        )
    );
}

fn stateful(strategy: Strategy) -> Build {
    of_kind(target(WorkloadKind::StatefulSet, "db"))
        .revision(1, "v1.2.3", "2026-11-19T10:00:00Z")
        .revision(2, "v1.2.4", "14:02:00")
        .serving(1, 1, "2026-11-19T10:00:20Z")
        .troubled(2, 2, "14:02:10", crash_loop())
        .strategy(strategy)
}

fn rolling(partition: u32, ordered: bool) -> Strategy {
    Strategy::RollingUpdate {
        max_surge: None,
        max_unavailable: None,
        partition,
        ordered,
    }
}

#[test]
fn a_stuck_ordered_stateful_set_is_unblocked_from_the_highest_ordinal_on() {
    let plan = rollback(vec![stateful(rolling(0, true))]);
    insta::assert_snapshot!(steps(&plan), @r"
    wave 1
      template:statefulset/db: put statefulset/db back to v1.2.3 (revision 1) (1s, at most 45s)
    wave 2
      delete:statefulset/db/db-2: delete pod/db-2, which cannot recover (CrashLoopBackOff, exit 1, 4 restarts) (1s, at most 1m 5s)
    wave 3
      delete:statefulset/db/db-1: delete pod/db-1, which cannot recover (CrashLoopBackOff, exit 1, 4 restarts) (1s, at most 1m 5s)
    wave 4
      rollout:statefulset/db: wait until statefulset/db serves v1.2.3 (34s, at most 10m)
    ");
    insta::assert_snapshot!(serde_json::to_string(&plan.steps[1].reversal).unwrap(), @r#"{"kind":"compensate","trace":"the deletion of pod/db-2 is irreversible: its controller makes another one of that name"}"#);
}

#[test]
fn a_stateful_set_that_was_fixed_forward_over_a_broken_pod_is_unblocked_too() {
    let plan = rollback(vec![
        of_kind(target(WorkloadKind::StatefulSet, "db"))
            .revision(1, "v1.2.3", "2026-11-19T10:00:00Z")
            .revision(2, "v1.2.4", "14:00:00")
            .revision(3, "v1.2.5", "14:02:00")
            .serving(1, 2, "2026-11-19T10:00:20Z")
            .troubled(2, 1, "14:00:10", crash_loop()),
    ]);
    insta::assert_snapshot!(steps(&plan), @r"
    wave 1
      template:statefulset/db: put statefulset/db back to v1.2.3 (revision 1) (1s, at most 45s)
    wave 2
      delete:statefulset/db/db-2: delete pod/db-2, which cannot recover (CrashLoopBackOff, exit 1, 4 restarts) (1s, at most 1m 5s)
    wave 3
      rollout:statefulset/db: wait until statefulset/db serves v1.2.3 (17s, at most 10m)
    ");
}

#[test]
fn pods_that_may_yet_become_ready_or_that_nobody_waits_for_are_not_deleted() {
    let deletions = |plan: &Plan| {
        plan.steps
            .iter()
            .filter(|step| step.id.as_str().starts_with("delete"))
            .count()
    };
    assert_eq!(deletions(&rollback(vec![stateful(rolling(0, false))])), 0);
    let waiting = stateful(rolling(0, true)).with(|workload| {
        workload.pods[2].trouble = Some(crate::support::not_ready());
        workload.pods[1].trouble = Some(Trouble::NodeLost {
            node: "node-7".to_owned(),
        });
    });
    let plan = rollback(vec![waiting]);
    assert_eq!(deletions(&plan), 0);
    let said = |pod: &str| {
        plan.warnings.iter().any(|warning| {
            warning.starts_with(&format!(
                "pod/{pod} of statefulset/db is not ready and is not deleted"
            ))
        })
    };
    assert!(said("db-1") && said("db-2"), "{:#?}", plan.warnings);
}

#[test]
fn an_on_delete_workload_has_a_step_for_each_pod_that_is_not_of_the_target() {
    let plan = rollback(vec![stateful(Strategy::OnDelete)]);
    insta::assert_snapshot!(steps(&plan), @r"
    wave 1
      template:statefulset/db: put statefulset/db back to v1.2.3 (revision 1) (1s, at most 45s)
    wave 2
      delete:statefulset/db/db-2: delete pod/db-2, so that it is made anew (OnDelete) (6s, at most 11m 15s)
    wave 3
      delete:statefulset/db/db-1: delete pod/db-1, so that it is made anew (OnDelete) (6s, at most 11m 15s)
    wave 4
      rollout:statefulset/db: wait until statefulset/db serves v1.2.3 (12s, at most 10m)
    ");
    insta::assert_snapshot!(plan.warnings.join("\n"), @r"
    evidence is missing (statefulset/db: logs were not read): graver rows decide without it
    1 pod of v1.2.3 still serves statefulset/db: 1 of 3 ready in all
    statefulset/db is OnDelete: 2 pods are deleted one after the other, which is irreversible; 0 of them ready now, and one that is goes only once those before it serve again
    ");
}

#[test]
fn a_partition_above_every_other_pod_suffices_and_is_said() {
    let plan = rollback(vec![stateful(rolling(1, true))]);
    let said = "statefulset/db has partition 1: only pods from ordinal 1 on take the template; those below run v1.2.3 already and stay";
    assert!(
        plan.warnings.iter().any(|warning| warning == said),
        "{:#?}",
        plan.warnings
    );
}

#[test]
fn a_forecast_rests_on_earlier_rollouts_where_there_were_any() {
    let took = [40, 10, 20].map(SignedDuration::from_secs).to_vec();
    let history = History {
        rollouts: BTreeMap::from([(deployment("api"), took)]),
    };
    let inventory = inventory([crashing("api")]);
    let plan = astern_plan::plan(&request(), &inventory, &platform(), &history, at("14:12:05")).unwrap();
    let wait = &plan.steps[1].forecast;
    assert_eq!(
        (wait.expected.as_secs(), &wait.basis),
        (20, &Basis::History { runs: 3 })
    );
    assert_eq!(plan.forecast.as_secs(), 21);
}

#[test]
fn a_forecast_over_the_budget_an_autoscaler_at_its_limit_and_an_old_version_are_said() {
    let build = workload("api")
        .revision(1, "v1.2.3", "2026-11-01T10:00:00Z")
        .revision(2, "v1.2.4", "2026-11-19T10:00:00Z")
        .troubled(2, 3, "14:00:00", crash_loop())
        .with(|workload| {
            workload.desired = 6;
            workload.min_ready = SignedDuration::from_mins(10);
            workload.autoscaler = Some(Autoscaler {
                name: "api".to_owned(),
                min: 0,
                max: 6,
                current: 6,
                wanted: 9,
            });
        });
    let mut inventory = inventory([build]);
    // The gate says so, once.
    inventory.unread.push("nodes: forbidden".to_owned());
    let plan = plan(&request(), &inventory, &platform()).unwrap();
    insta::assert_snapshot!(plan.warnings.join("\n"), @r"
    evidence is missing (deployment/api: logs were not read): graver rows decide without it
    deployment/api goes back to v1.2.3 (revision 1), presumed: it was the newest for 18d until 2026-11-19 10:00:00 UTC, and nothing speaks against it
    deployment/api has been at v1.2.4 for 4d 4h: what fails now may have another cause
    autoscaler api of deployment/api is at its maximum of 6: it cannot add pods while versions change
    autoscaler api of deployment/api may go down to 0 pods: none to judge the version by
    the forecast of 20m 30s is over the RTO of 15m
    ");
}

#[test]
fn what_was_brought_back_already_is_not_taken_further_back() {
    let back = || {
        let build = workload("worker")
            .revision(1, "v1.2.2", "2026-11-10T10:00:00Z")
            .revision(2, "v1.2.3", "2026-11-19T10:00:00Z")
            .revision(3, "v1.2.4", "14:02:00")
            .brought_back(2, 4)
            .serving(4, 3, "14:09:10");
        build.with(|workload| workload.template_manager = Some(written_at("14:09:00")))
    };
    let both = rollback(vec![crashing("api"), back()]);
    assert_eq!(both.targets().len(), 1);
    let said = "deployment/worker came to v1.2.3 at 2026-11-23 14:09:00 UTC, 7m after deployment/api, brought back to that version already: it stays";
    assert_eq!(both.warnings[0], said);
    // A second `rollback` after a first one must not go on to an older release of something else.
    let older = released_at("old", "09:00:00").serving(2, 3, "09:00:00");
    let refusal = plan(&request(), &inventory([back(), older]), &platform()).unwrap_err();
    assert_eq!(refusal.code, astern_plan::code::NOTHING_TO_DO);
    insta::assert_snapshot!(refusal.details.join("\n"), @"nothing that can be seen fails, and the newest change was itself a rollback: deployment/worker was brought back at 2026-11-23 14:09:00 UTC");
}

fn written_at(time: &str) -> FieldManager {
    FieldManager {
        name: "kubectl-rollout".to_owned(),
        operation: "Update".to_owned(),
        at: Some(at(time)),
    }
}

#[test]
fn the_digests_that_good_pods_run_are_shown_and_must_run_again() {
    let digest = |version: &str| {
        format!(
            "sha256:{}",
            if version == "v1.2.3" { "a" } else { "b" }.repeat(64)
        )
    };
    let build = crashing("api").with(|workload| {
        for revision in &workload.revisions {
            let image = revision.template.images()[0].clone();
            let of_revision = |pod: &&mut Pod| pod.revision.as_ref() == Some(&revision.hash);
            for pod in workload.pods.iter_mut().filter(of_revision) {
                let id = format!("{}@{}", image.repository(), digest(&revision.version()));
                pod.image_ids = BTreeMap::from([(image.reference.clone(), id)]);
            }
        }
    });
    let plan = rollback(vec![build]);
    let changes = plan.changes[0].changes.iter();
    let shown: Vec<&Change> = changes
        .filter(|change| change.path.ends_with(".imageID"))
        .collect();
    let value = |version| Some(Shown::Value(digest(version)));
    assert_eq!(
        (&shown[0].from, &shown[0].to),
        (&value("v1.2.4"), &value("v1.2.3")),
        "{shown:?}"
    );
    let expected = &plan.recovered_when.images[0].1[0];
    assert_eq!(expected.digest, Some(digest("v1.2.3")));
    assert_eq!(expected.image.tag(), Some("v1.2.3"));
}
