//! Assessing: how each workload stands, with the reason and the conditions that hold.

use crate::support::{
    Build, crash_loop, crashing, depending, deployment, errors, evidence, health_probe, inventory, not_ready,
    of_kind, platform, probed, released, replaced, target, workload,
};
use astern_model::assessment::{Health, WorkloadAssessment};
use astern_model::evidence::{Fact, Known, Side, Trouble};
use astern_model::policy::When;
use astern_model::target::WorkloadKind;
use astern_model::workload::Strategy;
use astern_plan::assess;

fn one(build: Build, facts: Vec<(Side, Fact)>) -> WorkloadAssessment {
    let target = build.workload.target.clone();
    let mut inventory = inventory([build]);
    inventory.evidence = facts
        .into_iter()
        .map(|(side, fact)| evidence(&target, side, fact))
        .collect();
    assess(&inventory, &platform(), &[]).workloads.remove(0)
}

fn quiet() -> Vec<(Side, Fact)> {
    vec![(Side::Live, errors(Known::Is(0.0)))]
}

fn check(build: Build, expected: (Health, &str, &[When])) {
    let entry = one(build, quiet());
    assert_eq!(
        (entry.state, entry.reason.as_str(), entry.holds.as_slice()),
        expected
    );
}

#[test]
fn a_workloads_state_comes_with_one_phrase_that_says_why() {
    check(replaced("api"), (Health::Healthy, "", &[When::AllHealthy]));
    check(
        crashing("api"),
        (
            Health::Failing,
            "CrashLoopBackOff, exit 1, 4 restarts: \"panic: no DATABASE_URL\" (2 of 3 pods, api-rs2-2)",
            &[When::CrashLoop],
        ),
    );
    check(
        released("api")
            .serving(2, 2, "14:02:20")
            .troubled(2, 1, "14:02:20", crash_loop()),
        (
            Health::Degraded,
            "CrashLoopBackOff, exit 1, 4 restarts: \"panic: no DATABASE_URL\" (1 of 3 pods, api-rs2-2)",
            &[When::CrashLoop],
        ),
    );
    let pull = Trouble::ImagePull {
        container: "api".to_owned(),
        image: "registry.test/api:v1.2.4".to_owned(),
        message: "not found".to_owned(),
    };
    check(
        released("api").troubled(2, 1, "14:11:40", pull),
        (
            Health::Failing,
            "ImagePullBackOff registry.test/api:v1.2.4: not found (1 of 3 pods, api-rs2-0)",
            &[When::PodsNotStarting],
        ),
    );
    let message = "0/3 nodes are available: 3 Insufficient cpu".to_owned();
    check(
        released("api").troubled(2, 3, "14:05:00", Trouble::Unschedulable { message }),
        (
            Health::Failing,
            "unschedulable: 0/3 nodes are available: 3 Insufficient cpu (3 of 3 pods, api-rs2-0)",
            &[When::PodsNotStarting],
        ),
    );
    check(
        released("api").condition(
            "ReplicaFailure",
            "True",
            "FailedCreate",
            "exceeded quota: compute",
        ),
        (
            Health::Failing,
            "new pods cannot be made: exceeded quota: compute",
            &[When::PodsNotStarting],
        ),
    );
    check(
        released("api").serving(1, 3, "13:00:00").condition(
            "Progressing",
            "False",
            "ProgressDeadlineExceeded",
            "ReplicaSet \"api-rs2\" has timed out progressing.",
        ),
        (
            Health::Failing,
            "progress deadline exceeded: ReplicaSet \"api-rs2\" has timed out progressing.",
            &[When::NotReady],
        ),
    );
}

#[test]
fn a_young_rollout_is_progress_and_an_old_one_that_is_not_ready_is_trouble() {
    check(
        released("api")
            .serving(1, 2, "13:00:00")
            .troubled(2, 1, "14:11:55", Trouble::Starting),
        (
            Health::Progressing,
            "0 of 3 pods of v1.2.4 serve, starting (1 of 1 pod, api-rs2-2), 2 pods of earlier versions still there",
            &[When::AllHealthy],
        ),
    );
    let unready = |since| one(released("api").troubled(2, 1, since, not_ready()), quiet()).holds;
    // The readiness probe allows 5 s and three periods of 5 s; nobody is held to less than 30 s.
    assert_eq!(unready("14:11:31"), [When::AllHealthy]);
    assert_eq!(unready("14:11:29"), [When::NotReady]);
}

#[test]
fn one_pull_that_failed_or_a_node_that_is_full_for_a_moment_is_no_trouble_yet() {
    let pull = |message: &str| Trouble::ImagePull {
        container: "api".to_owned(),
        image: "registry.test/api:v1.2.4".to_owned(),
        message: message.to_owned(),
    };
    let unschedulable = || Trouble::Unschedulable {
        message: "0/3 nodes are available: 3 Insufficient cpu".to_owned(),
    };
    let holds =
        |since: &str, trouble: Trouble| one(released("api").troubled(2, 1, since, trouble), quiet()).holds;
    assert_eq!(holds("14:11:46", pull("i/o timeout")), [When::AllHealthy]);
    assert_eq!(holds("14:11:44", pull("i/o timeout")), [When::PodsNotStarting]);
    for certain in [
        "Back-off pulling image \"registry.test/api:v1.2.4\"",
        "Container image \"registry.test/api:v1.2.4\" is not present with pull policy of Never",
    ] {
        assert_eq!(holds("14:11:59", pull(certain)), [When::PodsNotStarting]);
    }
    assert_eq!(holds("14:11:46", unschedulable()), [When::AllHealthy]);
    assert_eq!(holds("14:11:44", unschedulable()), [When::PodsNotStarting]);
}

/// v1.2.4 broke db-1, and v1.2.5 was applied over it: the controller waits for db-1.
fn fixed_forward() -> Build {
    of_kind(target(WorkloadKind::StatefulSet, "db"))
        .revision(1, "v1.2.3", "2026-11-19T10:00:00Z")
        .revision(2, "v1.2.4", "14:00:00")
        .revision(3, "v1.2.5", "14:02:00")
        .serving(1, 1, "2026-11-19T10:00:20Z")
        .troubled(2, 1, "14:00:10", crash_loop())
}

#[test]
fn an_ordered_rollout_that_waits_for_a_broken_pod_of_an_earlier_version_says_so() {
    let waits = "the rollout waits for db-1 of v1.2.4, which cannot recover: CrashLoopBackOff, exit 1, 4 restarts: \
                 \"panic: no DATABASE_URL\"; it goes on once that pod is deleted";
    check(fixed_forward(), (Health::Failing, waits, &[When::NotReady]));
    // What was brought back waits as well, and going further back would not help it.
    let undone = fixed_forward().brought_back(1, 4);
    check(undone, (Health::Degraded, waits, &[]));
    let side_by_side = fixed_forward().strategy(Strategy::RollingUpdate {
        max_surge: None,
        max_unavailable: None,
        partition: 0,
        ordered: false,
    });
    assert_eq!(one(side_by_side, quiet()).holds, [When::AllHealthy]);
}

#[test]
fn logs_of_the_earlier_version_that_could_not_be_read_are_missing_evidence() {
    let unread = (
        Side::Former,
        errors(Known::Unknown("pods/log may not be read".to_owned())),
    );
    let facts = vec![(Side::Live, errors(Known::Is(4.0))), unread];
    let mut inventory = inventory([crashing("api")]);
    let subject = deployment("api");
    inventory.evidence = facts
        .into_iter()
        .map(|(side, fact)| evidence(&subject, side, fact))
        .collect();
    let assessment = assess(&inventory, &platform(), &[]);
    assert_eq!(
        assessment.workloads[0].holds,
        [When::CrashLoop, When::EvidenceMissing]
    );
    let decision = astern_plan::decide(&assessment, &[], &platform().policy);
    let (_, why) = &decision.fired[1].on[0];
    assert_eq!(
        why,
        "error lines of the earlier version: pods/log may not be read"
    );
}

#[test]
fn a_pod_that_is_ready_between_its_crashes_is_no_healthy_pod() {
    let build = replaced("api").with(|workload| {
        workload.pods[0].restarts = 4;
        workload.pods[0].ready_since = Some(crate::support::at("14:11:50"));
    });
    check(
        build,
        (
            Health::Degraded,
            "api-rs2-0 restarted 4 times in 9m 40s and is ready in between",
            &[When::CrashLoop],
        ),
    );
}

#[test]
fn what_is_not_known_is_unknown() {
    check(
        replaced("api").with(|workload| workload.pods.clear()),
        (
            Health::Unknown,
            "its pods could not be read",
            &[When::EvidenceMissing],
        ),
    );
    let lost = Trouble::NodeLost {
        node: "node-7".to_owned(),
    };
    check(
        released("api").troubled(2, 3, "14:02:20", lost),
        (
            Health::Unknown,
            "node node-7 does not answer (3 of 3 pods, api-rs2-0)",
            &[When::EvidenceMissing],
        ),
    );
}

#[test]
fn error_lines_are_a_rate_a_pod_held_against_the_good_version() {
    let check = |live: Known<f64>, former: Option<f64>, expected: &[When]| {
        let mut facts = vec![(Side::Live, errors(live.clone()))];
        facts.extend(former.map(|rate| (Side::Former, errors(Known::Is(rate)))));
        let holds = one(replaced("api"), facts).holds;
        assert_eq!(holds, expected, "{live:?} against {former:?}");
    };
    check(Known::Is(9.9), None, &[When::AllHealthy]);
    check(Known::Is(10.0), None, &[When::ErrorLines]);
    check(Known::Is(2.9), Some(1.0), &[When::AllHealthy]);
    check(Known::Is(3.0), Some(1.0), &[When::ErrorLines]);
    check(Known::Is(0.9), Some(0.0), &[When::AllHealthy]);
    check(Known::Is(1.0), Some(0.0), &[When::ErrorLines]);
    check(
        Known::Unknown("forbidden".to_owned()),
        None,
        &[When::EvidenceMissing, When::AllHealthy],
    );
}

#[test]
fn nothing_read_is_not_zero_errors() {
    let unread = Fact::ErrorLines {
        per_minute: Known::Is(0.0),
        pods: 0,
        lines: 0,
        example: None,
    };
    let holds = |facts| one(replaced("api"), facts).holds;
    assert_eq!(
        holds(vec![(Side::Live, unread)]),
        [When::EvidenceMissing, When::AllHealthy]
    );
    assert_eq!(holds(Vec::new()), [When::EvidenceMissing, When::AllHealthy]);
}

#[test]
fn the_former_version_fails_alike_when_it_mostly_has_the_same_trouble() {
    let holds = |serving, troubled, trouble| {
        let build = released("api")
            .serving(1, serving, "13:00:00")
            .troubled(1, troubled, "13:00:00", trouble)
            .troubled(2, 1, "14:02:20", crash_loop());
        one(build, quiet()).holds.contains(&When::FormerFailsAlike)
    };
    assert!(holds(0, 2, crash_loop()));
    assert!(holds(1, 1, crash_loop()));
    assert!(
        !holds(2, 1, crash_loop()),
        "two of three old pods serve: going back helps"
    );
    assert!(!holds(0, 2, not_ready()), "another trouble");
    assert!(!holds(2, 0, crash_loop()));
}

#[test]
fn a_failing_probe_of_the_platform_file_counts_and_an_unanswered_one_is_missing() {
    let mut platform = depending(&[("api", &[])]);
    platform.members[0].probes.push(health_probe());
    let holds = |passed: Option<Known<bool>>| {
        let mut inventory = inventory([replaced("api")]);
        let target = deployment("api");
        inventory
            .evidence
            .push(evidence(&target, Side::Live, errors(Known::Is(0.0))));
        let fact = passed.map(|passed| probed("health", passed, "503 Service Unavailable"));
        inventory
            .evidence
            .extend(fact.map(|fact| evidence(&target, Side::Live, fact)));
        let entry = assess(&inventory, &platform, &[]).workloads.remove(0);
        (entry.holds, entry.reason)
    };
    assert_eq!(holds(Some(Known::Is(true))).0, [When::AllHealthy]);
    let (when, reason) = holds(Some(Known::Is(false)));
    assert_eq!(
        (when.as_slice(), reason.as_str()),
        (
            [When::ProbeFails].as_slice(),
            "probe health fails: 503 Service Unavailable"
        )
    );
    assert_eq!(
        holds(Some(Known::Unknown("timed out".to_owned()))).0,
        [When::EvidenceMissing, When::AllHealthy]
    );
    assert_eq!(holds(None).0, [When::EvidenceMissing, When::AllHealthy]);
}

#[test]
fn who_is_live_since_when_is_told_only_where_the_cluster_keeps_it() {
    let since = |build| one(build, quiet()).live_since.map(|at| at.to_string());
    assert_eq!(since(released("api")).as_deref(), Some("2026-11-23T14:02:00Z"));
    let undone = workload("api")
        .revision(1, "v1.2.3", "2026-11-10T09:00:00Z")
        .revision(2, "v1.2.4", "2026-11-15T09:00:00Z")
        .brought_back(1, 3);
    assert_eq!(since(undone), None);
}
