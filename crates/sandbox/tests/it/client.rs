//! kube's client on a sandbox, in process and on the machine's clock.

use astern_sandbox::{Behaviour, Behaviours, Clock, Cluster, Logs, Options, Service, SystemClock};
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{
    Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A client, and the cluster going on by itself as long as the other half is there.
fn sandbox() -> (kube::Client, tokio::task::JoinSet<()>) {
    let quick = Behaviour {
        starts_after: SignedDuration::from_millis(20),
        logs: Some(Logs {
            every: SignedDuration::from_millis(10),
            text: "GET / 200".to_owned(),
            error_text: String::new(),
            error_share: 0.0,
            latency: SignedDuration::ZERO,
        }),
        ..Behaviour::default()
    };
    let options = Options {
        behaviours: Behaviours {
            rules: Vec::new(),
            otherwise: quick,
        },
        ..Options::default()
    };
    let service = Service::new(Cluster::new(options, Timestamp::now()), Arc::new(SystemClock));
    let mut tasks = tokio::task::JoinSet::new();
    let running = service.clone();
    tasks.spawn(async move { running.run().await });
    (kube::Client::new(service, "default"), tasks)
}

fn web() -> Deployment {
    serde_json::from_value(crate::support::workload("Deployment", "web", "web:v1", 2)).unwrap()
}

#[tokio::test]
async fn a_client_creates_waits_patches_reads_logs_and_deletes() {
    let (client, _tasks) = sandbox();
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client);
    deployments.create(&PostParams::default(), &web()).await.unwrap();
    let available = await_condition(deployments.clone(), "web", conditions::is_deployment_completed());
    tokio::time::timeout(Duration::from_secs(20), available)
        .await
        .unwrap()
        .unwrap();
    let found = pods.list(&ListParams::default().labels("app=web")).await.unwrap();
    let name = found.items[0].metadata.name.clone().unwrap();
    let logs = pods.logs(&name, &LogParams::default()).await.unwrap();
    assert!(logs.starts_with("GET / 200\n"), "{logs}");
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    let patched = deployments
        .patch("web", &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .unwrap();
    assert_eq!(patched.metadata.generation, Some(2));
    deployments.delete("web", &DeleteParams::default()).await.unwrap();
    assert!(deployments.get_opt("web").await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_tells_of_changes_as_they_happen() {
    let (client, _tasks) = sandbox();
    let deployments: Api<Deployment> = Api::default_namespaced(client);
    let version = deployments
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let events = deployments
        .watch(&WatchParams::default().timeout(20), &version)
        .await
        .unwrap();
    let mut events = events.boxed();
    deployments.create(&PostParams::default(), &web()).await.unwrap();
    let first = events.try_next().await.unwrap();
    assert!(matches!(first, Some(WatchEvent::Added(_))), "{first:?}");
    // The controller acts without anybody asking.
    let second = events.try_next().await.unwrap();
    assert!(matches!(second, Some(WatchEvent::Modified(_))), "{second:?}");
}

/// A clock that stands until everybody waits, and then jumps to the next time that somebody waits for.
struct Jumping {
    from: Timestamp,
    start: tokio::time::Instant,
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap();
        self.from + passed
    }

    fn sleep_until(&self, at: Timestamp) -> futures::future::BoxFuture<'static, ()> {
        let left = at.duration_since(self.now());
        // Tokio's paused time goes by milliseconds.
        let left = Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1);
        Box::pin(tokio::time::sleep(left))
    }
}

#[tokio::test(start_paused = true)]
async fn on_virtual_time_a_deadline_of_ten_minutes_takes_no_time() {
    let began = std::time::Instant::now();
    let broken = Behaviour {
        image: astern_sandbox::Image::Missing,
        ..Behaviour::default()
    };
    let options = Options {
        behaviours: Behaviours {
            rules: Vec::new(),
            otherwise: broken,
        },
        ..Options::default()
    };
    let from: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let clock = Arc::new(Jumping {
        from,
        start: tokio::time::Instant::now(),
    });
    let service = Service::new(Cluster::new(options, from), clock.clone());
    let mut tasks = tokio::task::JoinSet::new();
    let running = service.clone();
    tasks.spawn(async move { running.run().await });
    let deployments: Api<Deployment> = Api::default_namespaced(kube::Client::new(service, "default"));
    deployments.create(&PostParams::default(), &web()).await.unwrap();
    await_condition(deployments, "web", |web: Option<&Deployment>| {
        let conditions = web
            .and_then(|web| web.status.as_ref()?.conditions.clone())
            .unwrap_or_default();
        conditions
            .iter()
            .any(|said| said.reason.as_deref() == Some("ProgressDeadlineExceeded"))
    })
    .await
    .unwrap();
    let passed = clock.now().duration_since(from);
    assert!(
        passed >= SignedDuration::from_secs(600) && passed < SignedDuration::from_secs(610),
        "{passed:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_log_is_followed_until_the_pod_is_gone() {
    let (client, _tasks) = sandbox();
    let pods: Api<Pod> = Api::default_namespaced(client);
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
        .await
        .unwrap();
    let running = await_condition(pods.clone(), "a", conditions::is_pod_running());
    tokio::time::timeout(Duration::from_secs(20), running)
        .await
        .unwrap()
        .unwrap();
    let follow = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let mut log = pods.log_stream("a", &follow).await.unwrap();
    let mut read = vec![0; 10];
    futures::AsyncReadExt::read_exact(&mut log, &mut read)
        .await
        .unwrap();
    assert_eq!(read, b"GET / 200\n");
    pods.delete("a", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    let rest = futures::AsyncReadExt::read_to_end(&mut log, &mut read);
    tokio::time::timeout(Duration::from_secs(20), rest)
        .await
        .unwrap()
        .unwrap();
}
