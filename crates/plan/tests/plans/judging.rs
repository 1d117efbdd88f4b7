//! Judging: the checklist after a run.

use crate::support::{
    Build, at, deployment, errors, evidence, hash, health_probe, inventory, not_ready, platform, probed,
    released,
};
use astern_model::evidence::{Fact, Known, Side};
use astern_model::image::Image;
use astern_model::plan::Criteria;
use astern_model::workload::RunningImage;
use astern_plan::{Baseline, verdict};
use std::collections::BTreeMap;

/// v1.2.3 is live again since 14:08, all three pods.
fn restored() -> Build {
    released("api")
        .brought_back(1, 3)
        .serving(3, 3, "14:08:30")
        .condition("Available", "True", "MinimumReplicasAvailable", "")
}

fn told(build: Build, facts: Vec<Fact>) -> String {
    let target = deployment("api");
    let criteria = Criteria {
        probes: vec![(target.clone(), health_probe())],
        ..Criteria::of(&platform(), vec![target.clone()])
    };
    let mut inventory = inventory([build]);
    inventory.evidence = facts
        .into_iter()
        .map(|fact| evidence(&target, Side::Live, fact))
        .collect();
    let baseline = Baseline {
        started_at: at("14:08:00"),
        restarts: BTreeMap::new(),
        serving: BTreeMap::from([(target, hash("api", "v1.2.3"))]),
    };
    let items = verdict(&criteria, &inventory, &platform(), &baseline);
    items
        .iter()
        .map(|item| format!("{:?} {}: {}\n", item.result, item.check, item.evidence))
        .collect()
}

fn well() -> Vec<Fact> {
    vec![
        errors(Known::Is(0.2)),
        probed("health", Known::Is(true), "200 OK"),
    ]
}

#[test]
fn conditions_and_counts_come_from_the_api_of_the_chosen_revision_only() {
    insta::assert_snapshot!(told(restored(), well()), @r"
    Pass pods serving: 3 of 3 pods of v1.2.3 ready
    Pass no pods of the former version left: none
    Pass conditions: Available=True
    Pass restarts since the run began: none
    Pass readiness: all ready, the last one for 3m 30s
    Pass error lines: 0.2 a minute and pod, from the logs of 3 pods
    Pass probe health: 200 OK
    ");
    // Pods of the bad version are ready too, and must not count.
    let mixed = released("api")
        .brought_back(1, 3)
        .serving(3, 1, "14:08:30")
        .serving(2, 2, "14:03:00");
    insta::assert_snapshot!(told(mixed, well()), @r"
    Fail pods serving: 1 of 3 pods of v1.2.3 ready
    Fail no pods of the former version left: 2 pods left, 0 on the way out: api-rs2-1 of v1.2.4
    Unknown conditions: its status has no condition Available
    Pass restarts since the run began: none
    Pass readiness: all ready, the last one for 3m 30s
    Pass error lines: 0.2 a minute and pod, from the logs of 3 pods
    Pass probe health: 200 OK
    ");
}

#[test]
fn restarts_since_the_run_began_and_pods_that_are_not_ready_fail_the_verdict() {
    let build = released("api")
        .brought_back(1, 3)
        .serving(3, 2, "14:08:30")
        .troubled(3, 1, "14:08:30", not_ready())
        .condition(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
        .with(|workload| workload.pods[0].restarts = 2);
    let facts = vec![errors(Known::Is(12.0)), probed("health", Known::Is(false), "503")];
    insta::assert_snapshot!(told(build, facts), @r"
    Fail pods serving: 2 of 3 pods of v1.2.3 ready
    Pass no pods of the former version left: none
    Fail conditions: Available=False (MinimumReplicasUnavailable): Deployment does not have minimum availability.
    Fail restarts since the run began: 2 restarts, 2 of them of api-rs3-0
    Fail readiness: 1 pod not ready: api-rs3-2: not ready: Readiness probe failed: HTTP probe failed with statuscode: 503
    Fail error lines: 12.0 error lines a minute and pod
    Fail probe health: 503
    ");
}

#[test]
fn what_could_not_be_found_out_is_never_a_pass() {
    let build = restored().with(|workload| {
        workload.pods.clear();
        workload.status.conditions.clear();
    });
    insta::assert_snapshot!(told(build, Vec::new()), @r"
    Unknown pods serving: its pods could not be read
    Unknown no pods of the former version left: its pods could not be read
    Unknown conditions: its status has no condition Available
    Unknown restarts since the run began: its pods could not be read
    Unknown readiness: its pods could not be read
    Unknown error lines: logs were not read
    Unknown probe health: it was not asked
    ");
}

#[test]
fn a_workload_that_somebody_changed_again_fails() {
    let build = released("api")
        .serving(2, 3, "14:03:00")
        .condition("Available", "True", "", "");
    let text = told(build, well());
    assert!(
        text.starts_with("Fail pods serving: it asks for v1.2.4 now, not for what was written back"),
        "{text}"
    );
}

#[test]
fn a_pod_that_runs_another_image_under_the_same_tag_fails() {
    let target = deployment("api");
    let reference = "registry.example.test/api:v1.2.3";
    let judged = |digest: &str| {
        let build = restored().with(|workload| {
            for pod in &mut workload.pods {
                let id = format!("registry.example.test/api@{digest}");
                pod.image_ids = BTreeMap::from([(reference.to_owned(), id)]);
            }
        });
        let criteria = Criteria {
            images: vec![(
                target.clone(),
                vec![RunningImage {
                    image: Image::parse(reference),
                    digest: Some("sha256:aaaa".to_owned()),
                }],
            )],
            ..Criteria::of(&platform(), vec![target.clone()])
        };
        let baseline = Baseline {
            started_at: at("14:08:00"),
            restarts: BTreeMap::new(),
            serving: BTreeMap::from([(target.clone(), hash("api", "v1.2.3"))]),
        };
        let items = verdict(&criteria, &inventory([build]), &platform(), &baseline);
        let item = items
            .into_iter()
            .find(|item| item.check == "image digests")
            .unwrap();
        format!("{:?}: {}", item.result, item.evidence)
    };
    assert_eq!(
        judged("sha256:aaaa"),
        format!("Pass: as the good pods ran them: {reference}")
    );
    let moved = judged("sha256:bbbb");
    assert!(
        moved.starts_with("Fail: api-rs3-0 runs ")
            && moved.ends_with("the good pods ran sha256:aaaa: the tag was moved"),
        "{moved}"
    );
}
