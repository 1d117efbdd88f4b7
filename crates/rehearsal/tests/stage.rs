//! A rollback on a staged cluster, from the look to the verdict, as any command would do it.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

use astern_app::planning::{self, Asked, Evidence};
use astern_app::running::{self, Rest, Runner, Unobserved};
use astern_app::survey;
use astern_journal::MemoryVault;
use astern_model::approval::{Approval, How};
use astern_model::finding::Allowances;
use astern_model::id::RunId;
use astern_model::platform::Platform;
use astern_model::policy::Acceptor;
use astern_model::record::Holder;
use astern_rehearsal::Stage;
use astern_sandbox::{Answer, Cluster, Request, Scenario};
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// A Deployment whose version v2 crashes, two minutes after it came.
const SCENARIO: &str = r#"
says: v2 crashes
behaviours:
  rules:
    - when: {image: "web:v2"}
      behaviour: {crash: {after: 1s, code: 1}, ready: never}
history:
  - ago: 48h
    objects:
      - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: shop}
        spec:
          replicas: 3
          selector: {matchLabels: {app: web}}
          template: &template
            metadata: {labels: {app: web}}
            spec: {containers: [{name: web, image: "web:v1"}]}
  - ago: 2m
    patch:
      - object: {apiVersion: apps/v1, kind: Deployment, namespace: shop, name: web}
        with: {spec: {template: {spec: {containers: [{name: web, image: "web:v2"}]}}}}
"#;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn staged() -> Cluster {
    let files = |_: &str| Ok(SCENARIO.to_owned());
    let scenario = Scenario::read("crash.yaml", &files).unwrap();
    scenario.stage(7, now(), &files).unwrap()
}

fn image(cluster: &mut Cluster, at: Timestamp) -> String {
    let request = Request {
        path: "/apis/apps/v1/namespaces/shop/deployments/web".to_owned(),
        ..Request::default()
    };
    let Answer::Whole(answer) = cluster.handle(at, &request) else {
        panic!("a stream")
    };
    let web: Value = serde_json::from_slice(&answer.body).unwrap();
    web["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn taken_back(stage: &Stage) -> Rest {
    let world = stage.world();
    let platform = Platform::of_namespace("shop");
    let asked = Asked::everything(Acceptor::Person);
    let allow = Allowances::default();
    let prepared = planning::roll_back(&world, &platform, &asked, &allow, Evidence::Save)
        .await
        .unwrap_or_else(|no| panic!("{no:?}"));
    let approval = Approval {
        plan: prepared.checked.hash().clone(),
        by: "anna".to_owned(),
        how: How::Person,
        reason: "it crashes".to_owned(),
        at: world.clock.now(),
        overrides: Vec::new(),
        warnings: Vec::new(),
        found: Vec::new(),
    };
    let holder = Holder {
        id: "h1".to_owned(),
        user: "anna".to_owned(),
        host: "here".to_owned(),
        pid: 1,
    };
    let ended = running::start(
        &world,
        Runner { holder, platform },
        RunId::from("r1"),
        prepared.checked,
        approval,
        prepared.saved,
        Arc::new(Unobserved),
    )
    .await
    .unwrap();
    running::rest(&ended.book)
}

#[tokio::test(start_paused = true)]
async fn after_a_rollback_the_status_knows_since_when_the_version_that_came_back_is_the_newest() {
    let stage = Stage::new(staged(), now(), MemoryVault::with_key([7; 32]));
    assert_eq!(taken_back(&stage).await, Rest::Validated);
    let (_, assessment) = survey::status(&stage.world(), &Platform::of_namespace("shop"))
        .await
        .unwrap();
    let [web] = assessment.workloads.as_slice() else {
        panic!("one workload: {assessment:?}")
    };
    // A ReplicaSet that is used again keeps the time of its creation only: the template's writer tells the time.
    let since = web.live_since.expect("the time of the rollback");
    assert!(since >= now() && since <= stage.clock.time(), "{since}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_taken_back_on_a_snapshot_and_the_cluster_that_it_was_taken_from_stays() {
    let began = std::time::Instant::now();
    let mut original = staged();
    let stage = Stage::new(original.clone(), now(), MemoryVault::with_key([7; 32]));
    assert_eq!(taken_back(&stage).await, Rest::Validated);
    assert_eq!(image(&mut stage.snapshot(), stage.clock.time()), "web:v1");
    assert_eq!(image(&mut original, now()), "web:v2");
    // The soak window alone is five minutes.
    assert!(stage.clock.time().duration_since(now()) >= jiff::SignedDuration::from_mins(5));
    assert!(began.elapsed() < std::time::Duration::from_secs(60));
}
