//! What a rehearsal looks like: one that is held, with something in its way and a fault that did not end as it should, and
//! what is said of one that goes well.

use crate::sample::{self, at, target};
use astern_model::id::StepId;
use astern_report::rehearsal::{
    Block, Budget, Copied, Crash, FailedStep, Faults, KnownFrom, Pace, PodLane, PodPoint, Rehearsal,
};
use astern_report::report::{Ending, Stands};
use astern_report::{joined, rehearsal_lines, rehearsal_markdown};
use jiff::SignedDuration;

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn point(after: i64, to: (u32, u32), from: (u32, u32)) -> PodPoint {
    PodPoint {
        after: seconds(after),
        to: to.0,
        to_ready: to.1,
        from: from.0,
        from_ready: from.1,
    }
}

/// The incident's run as a rehearsal: the api-gateway's pods find no room.
fn held() -> Rehearsal {
    let report = sample::told(&sample::held());
    let gateway = || target("api-gateway");
    let pace = |version: &str, ready: Option<i64>, known_from: KnownFrom| Pace {
        target: gateway(),
        version: version.to_owned(),
        starts_after: SignedDuration::from_millis(500),
        ready_after: ready.map(seconds),
        stops_within: seconds(30),
        known_from,
    };
    let lane = PodLane {
        target: gateway(),
        from: "v1.2.4".to_owned(),
        to: "v1.2.3".to_owned(),
        desired: 4,
        points: vec![
            point(0, (0, 0), (4, 4)),
            point(1, (1, 0), (3, 3)),
            point(9, (2, 1), (2, 2)),
            point(42, (2, 2), (1, 1)),
        ],
    };
    let block = Block {
        target: Some(gateway()),
        reason: "FailedScheduling".to_owned(),
        what: "0/3 nodes are available: 3 Insufficient cpu".to_owned(),
        first: seconds(1),
        last: seconds(40),
        times: 7,
    };
    let budget = Budget {
        name: "gateway".to_owned(),
        target: gateway(),
        demands: 4,
        lowest: 3,
        after: seconds(1),
    };
    Rehearsal {
        title: "Roll back vcci-scope3".to_owned(),
        plan: sample::hash(),
        cluster: sample::plan().cluster,
        namespace: "vcci-scope3".to_owned(),
        copy: Copied {
            at: at("14:15:00"),
            objects: 61,
            pods: 16,
            nodes: 1,
            missing: vec![
                "secrets could not be read (forbidden): whether those that pods name are there is not known"
                    .to_owned(),
            ],
        },
        findings: Vec::new(),
        paces: vec![
            pace("v1.2.3", Some(8), KnownFrom::Measured { pods: 2 }),
            pace(
                "v1.2.4",
                None,
                KnownFrom::Seen {
                    what: "crash loop, exit 1".to_owned(),
                },
            ),
        ],
        ending: report.ending.what,
        restored_after: None,
        forecast: seconds(105),
        rto: seconds(900),
        on_failure: sample::plan().on_failure,
        began: report.rollback.start.at,
        steps: report.rollback.steps,
        lanes: vec![lane],
        blocks: vec![block],
        budgets: vec![budget],
        standings: report.standings,
        checks: Vec::new(),
        soak: seconds(300),
        faults: None,
        proves_not: vec!["that the image works".to_owned()],
    }
}

#[test]
fn a_rehearsal_that_is_held_says_what_it_lacked_and_how_far_service_sank() {
    let text = joined(&rehearsal_lines(&held()));
    for said in [
        "! is held on a copy of the namespace: a person would be needed",
        "2026-11-23 14:15:00 UTC: 61 objects, 16 pods, 1 node",
        "written    nothing: all of it happened in memory",
        "! secrets could not be read (forbidden)",
        "deployment/api-gateway   v1.2.3    8.5s    measured on 2 pods",
        "deployment/api-gateway   v1.2.4    never   as now: crash loop, exit 1",
        "3 of 4 ready at the least, after 1s",
        "✗ deployment/api-gateway: a pod found no place (FailedScheduling), from 1s to 40s",
        "0/3 nodes are available: 3 Insufficient cpu",
        "poddisruptionbudget/gateway demands 4 ready pods of deployment/api-gateway, and 3 were left after 1s",
        "· that the image works",
    ] {
        assert!(text.contains(said), "`{said}` is not said:\n{text}");
    }
    assert!(
        !text.contains("RTO"),
        "no time is told of what did not come back:\n{text}"
    );
}

#[test]
fn a_lane_shows_each_version_as_high_as_its_pods_and_a_dot_for_none() {
    let text = joined(&rehearsal_lines(&held()));
    let bars = |version: &str| -> String {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(version) && line.contains(" → "))
            .unwrap();
        line.split("  ")
            .find(|part| part.contains('█') || part.contains('▄'))
            .unwrap()
            .to_owned()
    };
    let (ready, there) = (bars("v1.2.3 ready"), bars("v1.2.4 there"));
    assert_eq!(ready.chars().next(), Some('·'));
    assert!(ready.ends_with('▄'), "2 of 4 are half a column: {ready}");
    assert!(there.starts_with("█▆") && there.ends_with('▂'), "{there}");
    assert_eq!(ready.chars().count(), there.chars().count());
    assert!(ready.chars().count() <= 40);
}

fn with_faults(crash_differs: &[&str]) -> Rehearsal {
    let (write, wait) = (StepId::from("write:a"), StepId::from("rollout:a"));
    let failed = |step: &StepId, ending: Ending, aborted: Option<Ending>| FailedStep {
        step: step.clone(),
        what: format!("do {step}"),
        ending,
        standings: held().standings,
        aborted,
        differs: Vec::new(),
    };
    let unwound = || Ending::Unwound {
        why: "aborted".to_owned(),
    };
    let crash = |step: Option<&StepId>, at: &str, differs: &[&str]| Crash {
        steps: step
            .map(|step| (step.clone(), format!("do {step}")))
            .into_iter()
            .collect(),
        at: at.to_owned(),
        ending: Some(Ending::Restored),
        differs: differs.iter().map(|text| (*text).to_owned()).collect(),
    };
    Rehearsal {
        ending: Ending::Restored,
        restored_after: Some(seconds(38)),
        blocks: Vec::new(),
        budgets: Vec::new(),
        faults: Some(Faults {
            failures: vec![
                failed(&write, unwound(), None),
                failed(
                    &wait,
                    Ending::Held {
                        why: "it failed".to_owned(),
                    },
                    Some(unwound()),
                ),
            ],
            crashes: vec![
                crash(None, "after the takeover is durable", &[]),
                crash(Some(&write), "before its intent is durable", &[]),
                crash(Some(&write), "after its intent is durable", crash_differs),
            ],
        }),
        ..held()
    }
}

#[test]
fn faults_that_end_as_they_should_are_one_line_at_the_top_and_those_that_do_not_are_named() {
    let good = joined(&rehearsal_lines(&with_faults(&[])));
    for said in [
        "✓ restores service on a copy of the namespace",
        "✓ 38s until the last workload serves; forecast 1m 45s, RTO 15m",
        "✓ with faults: 2 failing steps and 3 crashes, each taken back or brought to its end",
        "✓ nothing: every pod was let in and placed at once",
        "→ unwound, all as before",
        "after an abort: unwound, all as before",
        "2 of 2   ✓ same end   do write:a",
        "1 of 1   ✓ same end   the run itself",
    ] {
        assert!(good.contains(said), "`{said}` is not said:\n{good}");
    }
    let bad = with_faults(&["deployment/api-gateway differs in template"]);
    let text = joined(&rehearsal_lines(&bad));
    for said in [
        "✗ with faults: of 2 failing steps and 3 crashes, 1 did not end as they should",
        "1 of 2   ✗ another end   do write:a",
        "✗ after its intent is durable: restored; deployment/api-gateway differs in template",
    ] {
        assert!(text.contains(said), "`{said}` is not said:\n{text}");
    }
}

#[test]
fn markdown_tells_every_number_of_the_pods_and_the_forecast_of_each_step() {
    let markdown = rehearsal_markdown(&with_faults(&[]));
    for said in [
        "# Rehearsal: Roll back vcci-scope3",
        "| 42s | 2 | 2 | 1 | 1 |",
        "| `deployment/api-gateway` | v1.2.3 | < 1s | 8s | 30s | measured on 2 pods |",
        "## When whoever carries it out dies",
        "| do write:a | 2 | 2 |  |",
        "from probes and counts",
        "- that the image works",
    ] {
        assert!(markdown.contains(said), "`{said}` is not said:\n{markdown}");
    }
}

#[test]
fn a_workload_that_does_not_serve_says_so_without_repeating_why() {
    let rehearsal = held();
    let fails = rehearsal
        .standings
        .iter()
        .find(|standing| matches!(standing.on, Stands::Fails { .. }));
    let text = joined(&rehearsal_lines(&rehearsal));
    if let Some(fails) = fails {
        let line = text
            .lines()
            .find(|line| line.contains(&fails.target.to_string()) && line.contains("does not serve"))
            .unwrap();
        assert!(line.trim_end().ends_with("✗ does not serve"), "{line}");
    } else {
        panic!("the sample's held run has no workload that fails");
    }
}
