//! Refusing: each refusal with its code, what it rests on, and the ways out.

use crate::support::{
    Build, crash_loop, crashing, depending, deployment, inventory, of_kind, plan, platform, released,
    replaced, request, target, workload,
};
use astern_model::decision::Refusal;
use astern_model::platform::Platform;
use astern_model::policy::{Acceptor, Policy};
use astern_model::target::WorkloadKind;
use astern_model::workload::Strategy;
use astern_plan::{Request, Selector, code};
use std::collections::{BTreeMap, BTreeSet};

fn told(refusal: &Refusal) -> String {
    let details = refusal.details.iter().map(|detail| format!("\n  {detail}"));
    let ways = refusal.ways_out.iter().map(|way| format!("\n  > {way}"));
    format!(
        "{}: {}{}{}",
        refusal.code,
        refusal.summary,
        details.collect::<String>(),
        ways.collect::<String>()
    )
}

fn refused(request: &Request, workloads: Vec<Build>, platform: &Platform) -> Refusal {
    plan(request, &inventory(workloads), platform).unwrap_err()
}

#[test]
fn a_suspect_without_a_known_good_revision_refuses_the_whole_plan() {
    let nothing = workload("worker")
        .revision(1, "v1.2.3", "13:58:00")
        .revision(2, "v1.2.4", "14:02:00")
        .troubled(2, 3, "14:02:10", crash_loop());
    let pruned = workload("bare")
        .revision(7, "v1.2.4", "14:02:00")
        .troubled(7, 3, "14:02:10", crash_loop())
        .with(|workload| workload.history_limit = 0);
    let refusal = refused(&request(), vec![crashing("api"), nothing, pruned], &platform());
    assert_eq!(refusal.choices.len(), 2);
    insta::assert_snapshot!(told(&refusal), @r"
    AST0101: no known good revision of deployment/bare, deployment/worker
      deployment/bare: revisionHistoryLimit: 0: the cluster keeps no earlier revision of deployment/bare
      deployment/worker: v1.2.3 (revision 1): it was the newest for 4m only, less than the 30m after which it is presumed good
      > apply the manifest of a good version of deployment/bare again: the cluster keeps none to go back to
      > astern rollback --to worker=1 goes to v1.2.3 on your own word; --to takes any revision above
      > astern rollback --only api takes back what has a good revision
      > a revisionHistoryLimit above 0 keeps revisions from the next rollout on
    ");
}

#[test]
fn do_not_refuses_until_its_row_is_overridden() {
    let alike = || {
        vec![
            released("api")
                .troubled(1, 2, "13:00:00", crash_loop())
                .troubled(2, 1, "14:02:20", crash_loop()),
            crashing("worker"),
        ]
    };
    insta::assert_snapshot!(told(&refused(&request(), alike(), &platform())), @r#"
    AST0103: the matrix says do not roll back: the old version fails in the same way: going back would not help
      former-fails-alike: deployment/api: the earlier version: CrashLoopBackOff, exit 1, 4 restarts: "panic: no DATABASE_URL" (2 pods, api-rs1-0)
      > look for what both versions need and lack: a database, a config, a quota, a node
      > astern rollback --only worker leaves these workloads as they are
      > astern rollback --override-decision former-fails-alike decides against the matrix
    "#);
    let overrides = BTreeSet::from(["former-fails-alike".to_owned()]);
    let plan = plan(
        &Request {
            overrides,
            ..request()
        },
        &inventory(alike()),
        &platform(),
    )
    .unwrap();
    let said = "overridden by --override-decision former-fails-alike:";
    assert!(
        plan.warnings.iter().any(|warning| warning.starts_with(said)),
        "{:#?}",
        plan.warnings
    );
}

#[test]
fn a_presumed_revision_is_refused_to_whom_the_policy_does_not_allow_it() {
    let policy = Policy {
        accept_presumed: vec![Acceptor::Person],
        ..Policy::default()
    };
    let platform = Platform { policy, ..platform() };
    let yes = Request {
        acceptor: Acceptor::Yes,
        ..request()
    };
    insta::assert_snapshot!(told(&refused(&yes, vec![replaced("api")], &platform)), @r"
    AST0104: the revision to go back to is only presumed good for deployment/api, and the policy does not let --yes accept that
      deployment/api: v1.2.3 (revision 1): presumed: it was the newest for 4d 4h until 2026-11-23 14:02:00 UTC, and nothing speaks against it
      > astern rollback --to api=1 names the revision yourself
      > astern rollback without --yes asks a person
    ");
    assert!(
        plan(&yes, &inventory([crashing("api")]), &platform).is_ok(),
        "observed is not presumed"
    );
    assert!(
        plan(&request(), &inventory([replaced("api")]), &platform).is_ok(),
        "a person may"
    );
}

#[test]
fn contradictions_and_unknown_names_say_what_was_meant() {
    let check = |request: Request, code: &str, expected: &str| {
        let refusal = refused(
            &request,
            vec![crashing("api-gateway"), crashing("worker")],
            &platform(),
        );
        assert_eq!(
            (refusal.code.as_str(), refusal.ways_out[0].as_str()),
            (code, expected),
            "{}",
            refusal.summary
        );
    };
    check(
        Request {
            only: vec![deployment("api-gatewy")],
            ..request()
        },
        code::UNKNOWN_WORKLOAD,
        "did you mean deployment/api-gateway?",
    );
    check(
        Request {
            only: vec![deployment("worker")],
            to: BTreeMap::from([(deployment("api-gateway"), Selector::Revision(1))]),
            ..request()
        },
        code::CONTRADICTION,
        "add --only api-gateway, or leave --only out",
    );
    check(
        Request {
            overrides: BTreeSet::from(["former-fail-alike".to_owned()]),
            ..request()
        },
        code::CONTRADICTION,
        "did you mean --override-decision former-fails-alike?",
    );
    check(
        Request {
            to: BTreeMap::from([(deployment("worker"), Selector::Image("v9".to_owned()))]),
            ..request()
        },
        code::NOT_ONE_REVISION,
        "astern rollback --to worker=1",
    );
}

#[test]
fn a_circle_of_dependencies_is_named() {
    let platform = depending(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])]);
    let workloads = ["a", "b", "c", "d"].map(crashing).into_iter().collect();
    insta::assert_snapshot!(told(&refused(&request(), workloads, &platform)), @r"
    AST0107: dependsOn runs in a circle: deployment/a -> deployment/b -> deployment/c -> deployment/a
      > remove one of these dependsOn entries from astern.yaml
      > astern rollback --only a takes one of them back alone
    ");
}

#[test]
fn a_partition_that_keeps_pods_on_the_bad_version_is_refused() {
    let build = of_kind(target(WorkloadKind::StatefulSet, "db"))
        .revision(1, "v1.2.3", "2026-11-19T10:00:00Z")
        .revision(2, "v1.2.4", "14:02:00")
        .troubled(2, 3, "14:02:10", crash_loop())
        .strategy(Strategy::RollingUpdate {
            max_surge: None,
            max_unavailable: None,
            partition: 2,
            ordered: true,
        });
    insta::assert_snapshot!(told(&refused(&request(), vec![build], &platform())), @r#"
    AST0108: statefulset/db has partition 2: writing the template would leave pod/db-0, pod/db-1 as they are
      a StatefulSet's pods with an ordinal below spec.updateStrategy.rollingUpdate.partition (2) keep the old revision
      > first kubectl rollout undo statefulset/db -n vcci-scope3 --to-revision=1: with the partition gone first, every pod would take the version that fails
      > then kubectl patch statefulset/db -n vcci-scope3 --type merge -p '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}'
    "#);
}

#[test]
fn a_platform_that_never_had_another_version_has_nothing_to_take_back() {
    let build = workload("api")
        .revision(1, "v1.2.4", "14:02:00")
        .serving(1, 3, "14:02:20");
    insta::assert_snapshot!(told(&refused(&request(), vec![build], &platform())), @r"
    AST0105: no workload of the platform has an earlier version that the cluster remembers
      the cluster remembers no earlier revision of deployment/api (revisionHistoryLimit: 10)
      > astern status shows how each workload stands
      > astern rollback --to WORKLOAD=REVISION names what to go back to
    ");
}

#[test]
fn a_mistyped_name_is_answered_with_the_workloads_it_may_mean() {
    let known = [
        deployment("web"),
        target(WorkloadKind::StatefulSet, "web"),
        deployment("cart"),
    ];
    let near = |typed| astern_plan::near(typed, known.iter());
    assert_eq!(near("wbe"), ["deployment/web", "statefulset/web"]);
    assert_eq!(near("crat"), ["deployment/cart"]);
    assert!(near("ingress").is_empty());
}
