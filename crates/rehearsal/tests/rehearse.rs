//! A plan rehearsed on a copy of a staged cluster: what stands in its way there, and what is said of what cannot be read.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

use astern_app::history;
use astern_app::ledger::{Recording, record};
use astern_app::planning::{self, Asked, Evidence, Name};
use astern_app::running::{self, Rest, Runner, Unobserved};
use astern_exec::book::Book;
use astern_journal::{MemoryLedger, MemoryVault};
use astern_kubernetes::connect::Connection;
use astern_kubernetes::look;
use astern_model::approval::{Approval, How};
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::finding::Allowances;
use astern_model::id::RunId;
use astern_model::login::Proof;
use astern_model::platform::Platform;
use astern_model::policy::Acceptor;
use astern_model::record::Holder;
use astern_model::release::{Reason, ReleaseName};
use astern_plan::Selector;
use astern_port::clock::Clock;
use astern_port::sense::Saved;
use astern_rehearsal::{Copy, Kept, NotImitated, Piece, SERVER, Stage, on_paused_time};
use astern_report::Rehearsal;
use astern_report::rehearsal::KnownFrom;
use astern_report::report::Ending;
use astern_sandbox::{Access, Cluster, Rule, Scenario};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// `web` v1 needs three CPUs a pod; v2, which crashes since two minutes, needs nearly none, and meanwhile somebody else
/// moved onto the node.
const SCENARIO: &str = r#"
says: v2 crashes, and v1 is large
nodes: [node-1]
behaviours:
  rules:
    - when: {image: "web:v2"}
      behaviour: {crash: {after: 1s, code: 1}, ready: never}
history:
  - ago: 48h
    objects:
      - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
      - {apiVersion: v1, kind: Namespace, metadata: {name: other}}
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: shop}
        spec:
          replicas: 1
          strategy: {type: Recreate}
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              terminationGracePeriodSeconds: 4
              containers:
                - name: web
                  image: "web:v1"
                  resources: {requests: {cpu: "3"}}
                  readinessProbe: {httpGet: {path: /, port: 80}, initialDelaySeconds: 6, periodSeconds: 5}
  - ago: 2m
    patch:
      - object: {apiVersion: apps/v1, kind: Deployment, namespace: shop, name: web}
        with:
          spec:
            template:
              spec: {containers: [{name: web, image: "web:v2", resources: {requests: {cpu: 100m}}}]}
  - ago: 1m
    objects:
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {name: big, namespace: other}
        spec:
          replicas: 1
          selector: {matchLabels: {app: big}}
          template:
            metadata: {labels: {app: big}}
            spec: {containers: [{name: big, image: "big:v1", resources: {requests: {cpu: "BIG"}}}]}
"#;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// The cluster that is copied, with somebody else on its node who needs so many CPUs, and without the right to list these.
fn staged(others_cpus: &str, unread: &[(&str, &str)]) -> Cluster {
    staged_from(SCENARIO, others_cpus, unread)
}

fn staged_from(scenario: &str, others_cpus: &str, unread: &[(&str, &str)]) -> Cluster {
    let text = scenario.replace("BIG", others_cpus);
    let files = |_: &str| Ok(text.clone());
    let scenario = Scenario::read("large.yaml", &files).unwrap();
    scenario
        .stage(7, now(), &files)
        .unwrap()
        .with_access(without(unread))
}

/// Everything in `shop`, and of the cluster what is looked at, but for these.
fn without(unread: &[(&str, &str)]) -> Access {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let looked_at = [
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "controllerrevisions",
        "pods",
        "pods/log",
        "events",
        "secrets",
        "configmaps",
        "serviceaccounts",
        "persistentvolumeclaims",
        "resourcequotas",
        "limitranges",
        "horizontalpodautoscalers",
        "jobs",
        "poddisruptionbudgets",
        "leases",
        "nodes",
        "namespaces",
        "priorityclasses",
    ];
    let places = looked_at
        .iter()
        .flat_map(|resource| ["shop", ""].map(|namespace| (*resource, namespace)));
    let rules = places
        .filter(|place| !unread.contains(place))
        .map(|(resource, namespace)| Rule {
            verbs: words(&["*"]),
            groups: words(&["*"]),
            resources: words(&[resource]),
            namespaces: words(&[namespace]),
        });
    Access {
        rules: rules.collect(),
    }
}

/// What is rehearsed: the plan of all of `shop`, and its copy.
async fn piece(cluster: Cluster) -> Piece {
    piece_of(cluster, "shop", Vec::new(), &[]).await
}

async fn piece_of(
    cluster: Cluster,
    namespace: &'static str,
    to: Vec<(Name, Selector)>,
    accept_revert: &[&str],
) -> Piece {
    let stage = Stage::new(cluster, now(), MemoryVault::default());
    let world = stage.world();
    let mut platform = Platform::of_namespace(namespace);
    platform.soak = SignedDuration::from_secs(10);
    let asked = Asked {
        to,
        ..Asked::everything(Acceptor::Person)
    };
    let mut allow = Allowances::of(&platform.policy);
    allow
        .accept_revert
        .extend(accept_revert.iter().map(|owner| (*owner).to_owned()));
    let prepared = planning::roll_back(&world, &platform, &asked, &allow, Evidence::Leave)
        .await
        .unwrap();
    let client = kube::Client::new(stage.service.clone(), namespace);
    let connection = Connection::through(client, "sandbox", http::Uri::from_static(SERVER));
    let read = look::dump(&connection, namespace).await.unwrap();
    let at = Clock::now(&stage.clock);
    let copy = astern_rehearsal::copy(read, namespace, &prepared.inventory.cluster, at).unwrap();
    Piece {
        copy,
        checked: prepared.checked,
        inventory: prepared.inventory,
        answers: prepared.answers,
        platform,
        allow,
        kept: Kept::default(),
    }
}

/// What is rehearsed: the plan that takes back a run which has ended on this stage.
async fn piece_of_undo(stage: &Stage, run: &Book, platform: Platform) -> Piece {
    let allow = Allowances::of(&platform.policy);
    let cluster = &run.plan.cluster.identity;
    let taken = history::taken(run);
    let prepared = planning::undo(&stage.world(), &platform, &run.id, cluster, &taken, &allow).await;
    let prepared = prepared.unwrap();
    let kept = Kept::read(&stage.vault, &stage.vault, prepared.checked.plan(), &[]).await;
    let kept = kept.unwrap();
    let client = kube::Client::new(stage.service.clone(), "shop");
    let connection = Connection::through(client, "sandbox", http::Uri::from_static(SERVER));
    let read = look::dump(&connection, "shop").await.unwrap();
    let at = Clock::now(&stage.clock);
    let copy = astern_rehearsal::copy(read, "shop", &prepared.inventory.cluster, at).unwrap();
    Piece {
        copy,
        checked: prepared.checked,
        inventory: prepared.inventory,
        answers: prepared.answers,
        platform,
        allow,
        kept,
    }
}

/// Carries the rollback of all of `shop` out.
async fn rolled_back(stage: &Stage, platform: &Platform) -> Book {
    let world = stage.world();
    let asked = Asked::everything(Acceptor::Person);
    let allow = Allowances::of(&platform.policy);
    let prepared = planning::roll_back(&world, platform, &asked, &allow, Evidence::Leave)
        .await
        .unwrap();
    let approval = Approval {
        plan: prepared.checked.hash().clone(),
        by: "somebody".to_owned(),
        how: How::Yes,
        reason: "v2 crashes".to_owned(),
        at: world.clock.now(),
        overrides: Vec::new(),
        warnings: Vec::new(),
        found: Vec::new(),
    };
    let holder = Holder {
        id: "first".to_owned(),
        user: "somebody".to_owned(),
        host: "here".to_owned(),
        pid: 1,
    };
    let runner = Runner {
        holder,
        platform: platform.clone(),
    };
    let run = RunId::from("r20260101-120000-0001");
    let (checked, saved) = (prepared.checked, Saved::default());
    running::start(
        &world,
        runner,
        run,
        checked,
        approval,
        saved,
        Arc::new(Unobserved),
    )
    .await
    .unwrap()
    .book
}

async fn rehearsed(piece: Piece) -> Rehearsal {
    on_paused_time(piece, false).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_room_beside_those_of_other_namespaces_is_told_with_what_it_lacks() {
    let rehearsal = rehearsed(piece(staged("6", &[])).await).await;
    assert!(
        matches!(rehearsal.ending, Ending::Held { .. }),
        "{:?}",
        rehearsal.ending
    );
    let [block] = rehearsal.blocks.as_slice() else {
        panic!("{:?}", rehearsal.blocks)
    };
    assert_eq!(block.reason, "FailedScheduling");
    assert_eq!(block.what, "0/1 nodes are available: 1 Insufficient cpu");
    assert_eq!(block.target.as_ref().unwrap().to_string(), "deployment/web");
}

#[tokio::test(start_paused = true)]
async fn where_pods_of_other_namespaces_cannot_be_read_room_counts_without_them_and_that_is_said() {
    let piece = piece(staged("6", &[("pods", "")])).await;
    let rehearsal = rehearsed(piece).await;
    assert_eq!(rehearsal.ending, Ending::Restored);
    let missing = &rehearsal.copy.missing;
    assert!(
        missing.len() == 1 && missing[0].ends_with("room on nodes counts without other namespaces' pods"),
        "{missing:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_read_what_bounds_pods_the_rehearsal_goes_on_and_says_so() {
    let unread = [
        ("nodes", ""),
        ("pods", ""),
        ("resourcequotas", "shop"),
        ("limitranges", "shop"),
        ("poddisruptionbudgets", "shop"),
        ("persistentvolumeclaims", "shop"),
        ("horizontalpodautoscalers", "shop"),
        ("jobs", "shop"),
    ];
    // As large as it is, it finds room on nodes of which nothing is known.
    let rehearsal = rehearsed(piece(staged("6", &unread)).await).await;
    assert_eq!(rehearsal.ending, Ending::Restored);
    let said = |resource: &str| {
        let begin = format!("{resource} could not be read");
        rehearsal
            .copy
            .missing
            .iter()
            .any(|missing| missing.starts_with(&begin))
    };
    for (resource, _) in unread {
        assert!(said(resource), "{resource}: {:?}", rehearsal.copy.missing);
    }
    assert_eq!(rehearsal.copy.missing.len(), unread.len());
}

#[tokio::test(start_paused = true)]
async fn times_come_from_the_probes_where_no_pod_tells_and_the_same_piece_gives_the_same_rehearsal() {
    let piece = piece(staged("1", &[])).await;
    let first = rehearsed(piece.clone()).await;
    let [good, bad] = first.paces.as_slice() else {
        panic!("{:?}", first.paces)
    };
    assert_eq!(
        (good.version.as_str(), &good.known_from),
        ("v1", &KnownFrom::Probes)
    );
    assert_eq!(good.ready_after, Some(SignedDuration::from_secs(11)));
    assert_eq!((bad.version.as_str(), bad.ready_after), ("v2", None));
    // Two seconds to start and eleven to be ready: the crashed pod leaves at once.
    let took = first.restored_after.unwrap();
    assert!((13..=15).contains(&took.as_secs()), "{took:#}");
    assert!(first.restores());
    let told = |rehearsal: &Rehearsal| serde_json::to_value(rehearsal).unwrap();
    let second = rehearsed(piece).await;
    assert_eq!(told(&first), told(&second));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_the_rollout_goes_below_is_told_and_does_not_hold_it() {
    let serving = SCENARIO.replace("crash: {after: 1s, code: 1}, ready: never", "ready: {after: 1s}");
    let to_v1 = vec![(Name::parse("web").unwrap(), Selector::Revision(1))];
    let mut piece = piece_of(staged_from(&serving, "1", &[]), "shop", to_v1, &[]).await;
    piece.copy.budgets = vec![json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"desiredHealthy": 1},
    })];
    let rehearsal = rehearsed(piece).await;
    assert_eq!(rehearsal.ending, Ending::Restored);
    let [budget] = rehearsal.budgets.as_slice() else {
        panic!("{:?}", rehearsal.budgets)
    };
    assert_eq!(
        (budget.name.as_str(), budget.demands, budget.lowest),
        ("web", 1, 0)
    );
}

/// Both versions of `web` serve, and there is room for some of its pods.
fn serving() -> Cluster {
    let scenario = SCENARIO
        .replace("crash: {after: 1s, code: 1}, ready: never", "ready: {after: 1s}")
        .replace("Recreate", "RollingUpdate")
        .replace(r#"cpu: "3""#, r#"cpu: "1""#);
    staged_from(&scenario, "1", &[])
}

/// A copy of `shop` where v2 serves, with an autoscaler of `web` whose status this is.
async fn copy_with_autoscaler(status: Value) -> Copy {
    let stage = Stage::new(serving(), now(), MemoryVault::default());
    let client = kube::Client::new(stage.service.clone(), "shop");
    let connection = Connection::through(client, "sandbox", http::Uri::from_static(SERVER));
    let mut read = look::dump(&connection, "shop").await.unwrap();
    let cpu = json!({"name": "cpu", "target": {"type": "AverageValue", "averageValue": "50m"}});
    read.objects.push(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop", "uid": "a-1"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": cpu}],
            "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}},
        },
        "status": status,
    }));
    let identity = stage.world().look.identify("shop").await.unwrap();
    astern_rehearsal::copy(read, "shop", &identity, now()).unwrap()
}

/// How an autoscaler stands whose one pod used so much cpu.
fn measured(cpu: &str) -> Value {
    let cpu = json!({"name": "cpu", "current": {"averageValue": cpu}});
    json!({"currentReplicas": 1, "currentMetrics": [{"type": "Resource", "resource": cpu}]})
}

fn replicas_after(copy: &mut Copy, span: SignedDuration) -> Value {
    copy.cluster.advance(now() + span);
    let web = copy
        .cluster
        .stored("/apis/apps/v1/namespaces/shop/deployments/web");
    web.unwrap()["spec"]["replicas"].clone()
}

/// A copy of `shop` with two Jobs that began half a minute ago: `sums` needs two pods, which run 20 s each, and the only
/// pod of `watcher` runs on.
async fn copy_with_jobs() -> Copy {
    let jobs = r#"
  - ago: 30s
    objects:
      - apiVersion: batch/v1
        kind: Job
        metadata: {name: sums, namespace: shop}
        spec:
          completions: 2
          template: {spec: {restartPolicy: Never, containers: [{name: sums, image: "sums:v1"}]}}
      - apiVersion: batch/v1
        kind: Job
        metadata: {name: watcher, namespace: shop}
        spec:
          template: {spec: {restartPolicy: Never, containers: [{name: watcher, image: "watcher:v1"}]}}
"#;
    let rule = r#"
    - when: {image: "sums:v1"}
      behaviour: {crash: {after: 20s, code: 0}}
history:"#;
    let scenario = format!("{SCENARIO}{jobs}").replace("\nhistory:", rule);
    let stage = Stage::new(staged_from(&scenario, "1", &[]), now(), MemoryVault::default());
    let client = kube::Client::new(stage.service.clone(), "shop");
    let connection = Connection::through(client, "sandbox", http::Uri::from_static(SERVER));
    let read = look::dump(&connection, "shop").await.unwrap();
    let identity = stage.world().look.identify("shop").await.unwrap();
    astern_rehearsal::copy(read, "shop", &identity, now()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_on_on_a_copy_and_its_pods_take_as_long_as_those_that_ended() {
    let mut copy = copy_with_jobs().await;
    let succeeded = |copy: &mut Copy, seconds| {
        copy.cluster.advance(now() + SignedDuration::from_secs(seconds));
        let job = copy.cluster.stored("/apis/batch/v1/namespaces/shop/jobs/sums");
        job.unwrap()["status"]["succeeded"].clone()
    };
    assert_eq!(succeeded(&mut copy, 5), 1);
    assert_eq!(succeeded(&mut copy, 20), 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_which_no_pod_has_ended_runs_on_on_a_copy_and_that_is_said() {
    let mut copy = copy_with_jobs().await;
    assert_eq!(
        copy.made_of.missing,
        ["Job watcher: none of its pods has ended, so that they run on here"]
    );
    copy.cluster.advance(now() + SignedDuration::from_hours(1));
    let job = copy.cluster.stored("/apis/batch/v1/namespaces/shop/jobs/watcher");
    assert_eq!(job.unwrap()["status"]["active"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_acts_on_a_copy_by_the_load_that_it_has_measured() {
    // Its one pod used 200m, and each is to use 50m.
    let mut copy = copy_with_autoscaler(measured("200m")).await;
    assert!(copy.made_of.missing.is_empty(), "{:?}", copy.made_of.missing);
    assert_eq!(replicas_after(&mut copy, SignedDuration::from_mins(1)), 4);
    // The load is shared, and does not grow with the pods.
    assert_eq!(replicas_after(&mut copy, SignedDuration::from_mins(20)), 4);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_an_autoscaler_moves_meanwhile_is_nothing_that_a_fault_left() {
    let to_v1 = vec![(Name::parse("web").unwrap(), Selector::Revision(1))];
    let mut piece = piece_of(serving(), "shop", to_v1, &[]).await;
    piece.copy = copy_with_autoscaler(measured("200m")).await;
    let faults = on_paused_time(piece, true).await.unwrap().faults.unwrap();
    for failed in &faults.failures {
        assert!(failed.unwinds(), "{failed:#?}");
    }
    // Whoever goes on comes later, when there are more pods.
    for crash in &faults.crashes {
        assert!(crash.recovers(), "{crash:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_that_measures_nothing_is_left_as_it_is_on_a_copy_and_that_is_said() {
    let measures = json!({"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric"});
    let mut copy = copy_with_autoscaler(json!({"currentReplicas": 1, "conditions": [measures]})).await;
    assert_eq!(
        copy.made_of.missing,
        ["HorizontalPodAutoscaler web: it measures nothing (FailedGetResourceMetric): it does nothing here"]
    );
    assert_eq!(replicas_after(&mut copy, SignedDuration::from_mins(20)), 1);
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_the_copy_would_not_roll_as_the_cluster_does_is_not_rehearsed() {
    let mut piece = piece(staged("1", &[])).await;
    piece.copy.not_imitated.push(NotImitated {
        kind: "Deployment".to_owned(),
        name: "web".to_owned(),
        why: "the sandbox does not support it".to_owned(),
    });
    let refused = on_paused_time(piece, false).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "deployment/web cannot be rehearsed; nothing was changed"
    );
}

/// A story of the demo, as it is when somebody begins to look.
fn told(name: &str) -> Cluster {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files = |file: &str| std::fs::read_to_string(examples.join(file)).map_err(|error| error.to_string());
    let scenario = Scenario::read(&format!("scenarios/{name}.yaml"), &files).unwrap();
    scenario.stage(1, now(), &files).unwrap()
}

async fn every_fault_ends_as_it_should(name: &str, accept_revert: &[&str], does: &str) {
    let piece = piece_of(told(name), "vcci-scope3", Vec::new(), accept_revert).await;
    let rehearsal = on_paused_time(piece, true).await.unwrap();
    assert!(rehearsal.restores(), "{rehearsal:#?}");
    assert!(
        rehearsal.steps.iter().any(|step| step.what.contains(does)),
        "no step does `{does}`"
    );
    let faults = rehearsal.faults.unwrap();
    assert_eq!(faults.failures.len(), rehearsal.steps.len());
    for failed in &faults.failures {
        assert!(failed.unwinds(), "{failed:#?}");
    }
    for crash in &faults.crashes {
        assert!(crash.recovers(), "{crash:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_that_waits_for_a_broken_pod_survives_every_fault() {
    every_fault_ends_as_it_should("stateful-set-stuck", &[], "delete pod/ledger-store-1").await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_accepted_on_the_real_cluster_is_accepted_by_whoever_goes_on() {
    every_fault_ends_as_it_should(
        "gitops-owner",
        &["vcci-scope3"],
        "put deployment/api-gateway back",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_pauses_an_owner_first_survives_every_fault() {
    every_fault_ends_as_it_should(
        "gitops-owner",
        &[],
        "pause Argo CD application argocd/vcci-scope3",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn taking_a_run_back_is_rehearsed_from_the_template_that_it_kept_where_the_cluster_keeps_it_no_more() {
    let stage = Stage::new(staged("1", &[]), now(), MemoryVault::default());
    let mut platform = Platform::of_namespace("shop");
    platform.soak = SignedDuration::from_secs(10);
    let run = rolled_back(&stage, &platform).await;
    assert_eq!(running::rest(&run), Rest::Validated);
    let client = kube::Client::new(stage.service.clone(), "shop");
    let remembered: Api<ReplicaSet> = Api::namespaced(client, "shop");
    for replica_set in remembered.list(&ListParams::default()).await.unwrap() {
        if replica_set.spec.and_then(|spec| spec.replicas) == Some(0) {
            let name = replica_set.metadata.name.unwrap();
            remembered.delete(&name, &DeleteParams::default()).await.unwrap();
        }
    }

    let piece = piece_of_undo(&stage, &run, platform).await;
    let rehearsal = rehearsed(piece.clone()).await;
    assert_eq!(rehearsal.ending, Ending::Restored);

    let lost = Piece {
        kept: Kept::default(),
        ..piece
    };
    let without = rehearsed(lost).await;
    assert!(
        matches!(without.ending, Ending::Unwound { .. }),
        "{:?}",
        without.ending
    );
}

/// `web` and `worker` read ConfigMaps and a Secret; the release of two minutes ago changed and pruned them, and its `web` crashes.
const CONFIGURED: &str = r#"
says: v2 crashes, and what its ConfigMaps held is gone
nodes: [node-1]
behaviours:
  rules:
    - when: {image: "web:v2"}
      behaviour: {crash: {after: 1s, code: 1}, ready: never}
history:
  - ago: 48h
    objects:
      - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: app, namespace: shop, labels: {team: shop}}, data: {MODE: calm}}
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: flags, namespace: shop}, data: {BETA: "off"}}
      - {apiVersion: v1, kind: Secret, metadata: {name: token, namespace: shop}, data: {TOKEN: c2FpbGluZy1jYWxt}}
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: shop}
        spec:
          replicas: 1
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              containers:
                - name: web
                  image: "web:v1"
                  envFrom: [{configMapRef: {name: app}}, {configMapRef: {name: flags}}, {secretRef: {name: token}}]
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {name: worker, namespace: shop}
        spec:
          replicas: 1
          selector: {matchLabels: {app: worker}}
          template:
            metadata: {labels: {app: worker}}
            spec: {containers: [{name: worker, image: "worker:v1", envFrom: [{configMapRef: {name: app}}]}]}
"#;

/// The plan of a rollback that puts content back, and its copy. Whoever copies can read the contents, or not.
async fn piece_with_config() -> Piece {
    let stage = Stage::new(staged_from(CONFIGURED, "1", &[]), now(), MemoryVault::default());
    let mut world = stage.world();
    world.ledger = Arc::new(MemoryLedger::default());
    let mut platform = Platform::of_namespace("shop");
    platform.soak = SignedDuration::from_secs(10);
    platform
        .restore_secrets
        .insert("token".to_owned(), Some(Proof::NeverRotates));
    let recording = Recording {
        name: ReleaseName::parse("v1").unwrap(),
        commit: None,
        by: None,
        good: Reason::new("it has served for two days"),
    };
    record(&world, &platform, &recording).await.unwrap();
    let client = kube::Client::new(stage.service.clone(), "shop");
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "shop");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "shop");
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "shop");
    let patch = |with: Value| Patch::Strategic(with);
    let parameters = PatchParams::default();
    let storm = patch(json!({"data": {"MODE": "storm"}}));
    maps.patch("app", &parameters, &storm).await.unwrap();
    maps.delete("flags", &DeleteParams::default()).await.unwrap();
    let token = patch(json!({"data": {"TOKEN": "c2FpbGluZy1zdG9ybQ=="}}));
    secrets.patch("token", &parameters, &token).await.unwrap();
    let bad = json!([{"name": "web", "image": "web:v2"}]);
    let bad = patch(json!({"spec": {"template": {"spec": {"containers": bad}}}}));
    deployments.patch("web", &parameters, &bad).await.unwrap();
    stage.clock.sleep(SignedDuration::from_mins(2)).await;

    let asked = Asked::everything(Acceptor::Person);
    let allow = Allowances::of(&platform.policy);
    let prepared = planning::roll_back(&world, &platform, &asked, &allow, Evidence::Leave).await;
    let prepared = prepared.unwrap();
    let plan = prepared.checked.plan();
    let written = plan.steps.iter().filter_map(|step| step.spec.config());
    let written = written.map(|spec| spec.object().clone()).collect();
    let connection = Connection::through(client, "sandbox", http::Uri::from_static(SERVER));
    let mut read = look::dump(&connection, "shop").await.unwrap();
    let config = look::contents(&connection, "shop", &written).await.unwrap();
    let kept = Kept::read(&stage.vault, &stage.vault, plan, &config)
        .await
        .unwrap();
    read.objects.extend(config);
    let at = Clock::now(&stage.clock);
    let copy = astern_rehearsal::copy(read, "shop", &prepared.inventory.cluster, at).unwrap();
    Piece {
        copy,
        kept,
        checked: prepared.checked,
        inventory: prepared.inventory,
        answers: prepared.answers,
        platform,
        allow,
    }
}

#[tokio::test(start_paused = true)]
async fn content_is_put_back_on_the_copy_before_whoever_reads_it_and_no_value_is_told() {
    let rehearsal = rehearsed(piece_with_config().await).await;
    assert_eq!(rehearsal.ending, Ending::Restored);
    let steps: Vec<String> = rehearsal.steps.iter().map(|step| step.id.to_string()).collect();
    let place = |id: &str| {
        steps
            .iter()
            .position(|step| step == id)
            .unwrap_or_else(|| panic!("{id}: {steps:?}"))
    };
    for (content, reader) in [
        ("config:configmap/app", "template:deployment/web"),
        ("config:configmap/flags", "template:deployment/web"),
        ("config:secret/token", "template:deployment/web"),
        ("config:configmap/app", "restart:deployment/worker"),
    ] {
        assert!(place(content) < place(reader), "{steps:?}");
    }
    let told = serde_json::to_string(&rehearsal).unwrap();
    let told = told + &astern_report::rehearsal_markdown(&rehearsal);
    for value in ["c2FpbGluZy", "sailing", "calm", "storm"] {
        assert!(!told.contains(value), "{value} is told");
    }
}

#[tokio::test(start_paused = true)]
async fn content_is_as_before_after_every_fault_that_takes_the_run_back() {
    let rehearsal = on_paused_time(piece_with_config().await, true).await.unwrap();
    let faults = rehearsal.faults.unwrap();
    assert!(
        faults
            .failures
            .iter()
            .any(|failed| failed.step.as_str() == "config:configmap/flags")
    );
    for failed in &faults.failures {
        assert!(
            failed.unwinds(),
            "{}: {:?} {:?}",
            failed.step,
            failed.ending,
            failed.differs
        );
    }
    assert!(faults.crashes.len() > 20, "{}", faults.crashes.len());
    for crash in &faults.crashes {
        assert!(
            crash.recovers(),
            "{} {:?}: {:?} {:?}",
            crash.at,
            crash.steps,
            crash.ending,
            crash.differs
        );
    }
}

#[tokio::test(start_paused = true)]
async fn content_that_the_vault_has_lost_stops_the_rehearsal_where_it_would_stop_the_run() {
    let lost = Piece {
        kept: Kept::default(),
        ..piece_with_config().await
    };
    let rehearsal = rehearsed(lost).await;
    let Ending::Unwound { why } = &rehearsal.ending else {
        panic!("{:?}", rehearsal.ending)
    };
    assert!(why.contains("config"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_is_read_for_a_copy_shows_no_content_when_it_is_logged() {
    let piece = piece_with_config().await;
    let names = [ConfigName {
        kind: ConfigKind::Secret,
        name: "token".to_owned(),
    }]
    .into();
    let stage = Stage::new(piece.copy.cluster.clone(), now(), MemoryVault::default());
    let client = kube::Client::new(stage.service.clone(), "shop");
    let connection = Connection::through(client, "sandbox", http::Uri::from_static(SERVER));
    let objects = look::contents(&connection, "shop", &names).await.unwrap();
    assert_eq!(objects[0]["data"]["TOKEN"], "c2FpbGluZy1zdG9ybQ==");
    let dump = look::Dump {
        objects,
        unread: Vec::new(),
    };
    assert!(!format!("{dump:?}").contains("TOKEN"), "{dump:?}");
}
