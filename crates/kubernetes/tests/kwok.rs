//! What the workload port promises and only a real API server can hold: which late writes it refuses, and what it stores. Runs when
//! `ASTERN_TEST_KUBECONFIG` names one.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and tells its runner on stdout"
)]

mod contents;
mod owners;
mod system_clock;

use astern_kubernetes::connect::{ConnectOptions, connect};
use astern_kubernetes::effects::{FIELD_MANAGER, KubernetesWorkloads};
use astern_model::choice::RevisionRef;
use astern_model::content::ContentRef;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Direction, EffectKey, Epoch, RunId, StepId, Uid, sha256};
use astern_model::step::workload::{After, Before, DeleteWhy, Pin, Spec, Stamp};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::{RevisionKind, Strategy};
use astern_port::provider::{Provider, Settled};
use astern_port::vault::Vault;
use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use system_clock::SystemClock;
use tokio::net::{TcpListener, TcpStream};
use tower::util::MapRequestLayer;

const KUBECONFIG: &str = "ASTERN_TEST_KUBECONFIG";

/// A namespace with a Deployment `web` and a pod of nobody, `web-0`.
struct Place {
    client: kube::Client,
    namespace: String,
    vault: Arc<Kept>,
    port: KubernetesWorkloads,
}

impl Place {
    async fn fresh(word: &str) -> Option<Self> {
        let Some(path) = std::env::var_os(KUBECONFIG) else {
            println!("skipped: {KUBECONFIG} is not set");
            return None;
        };
        let file = Kubeconfig::read_from(path).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let client = kube::Client::try_from(config.unwrap()).unwrap();
        let namespace = format!("astern-{word}-{}", std::process::id());
        let all: Api<Namespace> = Api::all(client.clone());
        create(&all, json!({"metadata": {"name": namespace}})).await;
        let spec = json!({"containers": [{"name": "web", "image": "web:v1"}]});
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": spec});
        let vault = Arc::new(Kept::default());
        let place = Self {
            port: KubernetesWorkloads::new(client.clone(), vault.clone(), Arc::new(SystemClock)),
            vault,
            client,
            namespace,
        };
        let selector = json!({"matchLabels": {"app": "web"}});
        create(
            &place.deployments(),
            json!({"metadata": {"name": "web"}, "spec": {
                "replicas": 0, "strategy": {"type": "Recreate"}, "selector": selector, "template": template,
            }}),
        )
        .await;
        create(
            &place.pods(),
            json!({"metadata": {"name": "web-0"}, "spec": spec}),
        )
        .await;
        Some(place)
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn target(&self) -> Target {
        Target {
            kind: WorkloadKind::Deployment,
            namespace: self.namespace.clone(),
            name: "web".to_owned(),
        }
    }

    fn pin(&self, now: &Deployment) -> Pin {
        Pin {
            uid: uid(now),
            template: template(now).hash(),
            strategy: Strategy::Recreate,
            paused: false,
        }
    }

    /// The steps that write the workload, with what is there before them.
    fn writes(&self, now: &Deployment) -> [(Spec, Before); 2] {
        let pin = self.pin(now);
        let to = RevisionRef {
            number: 1,
            kind: RevisionKind::ReplicaSet,
            name: "web-1".to_owned(),
            uid: Uid("web-1".to_owned()),
            template: Template::clean(json!({"spec": {}})).hash(),
            version: "v0".to_owned(),
            images: Vec::new(),
        };
        let kept = ContentRef {
            name: "template".to_owned(),
            keyed_hash: "template".to_owned(),
            size: 1,
        };
        let annotations = BTreeMap::new();
        [
            (
                Spec::WriteTemplate {
                    target: self.target(),
                    pin: pin.clone(),
                    to,
                    kept: None,
                    mark: None,
                },
                Before::Template {
                    template: kept,
                    hash: pin.template.clone(),
                    last_applied: None,
                    annotations: annotations.clone(),
                },
            ),
            (
                Spec::SetPaused {
                    target: self.target(),
                    pin,
                    paused: true,
                },
                Before::Paused {
                    paused: false,
                    annotations,
                },
            ),
        ]
    }

    async fn look(&self, spec: &Spec, before: &Before) -> Settled<After> {
        self.port.settle(spec, before, &stamp()).await
    }

    async fn end(self) {
        let all: Api<Namespace> = Api::all(self.client.clone());
        all.delete(&self.namespace, &DeleteParams::default())
            .await
            .unwrap();
    }
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// What came of a write that lost a few races against the controller's status updates, as the driver runs them again.
async fn won<A>(write: impl AsyncFn() -> Result<A, Failure>) -> A {
    for _ in 0..10 {
        match write().await {
            Err(failure) if failure.class == FailureClass::Conflict => {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            written => return written.unwrap(),
        }
    }
    panic!("ten races in a row were lost")
}

fn uid(object: &impl ResourceExt) -> Uid {
    Uid(object.uid().unwrap())
}

fn template(now: &Deployment) -> Template {
    let spec = now.spec.as_ref().unwrap();
    Template::clean(serde_json::to_value(&spec.template).unwrap())
}

fn stamp() -> Stamp {
    let run = RunId::from("r1");
    Stamp {
        key: EffectKey::of(&run, &StepId("s1".to_owned()), Direction::Forward),
        epoch: Epoch(2),
        run,
        reason: "it crashes".to_owned(),
        open_for: jiff::SignedDuration::ZERO,
    }
}

/// Whether the API server refuses a write of this object as one that was made from an old read.
fn refused<T: std::fmt::Debug>(answer: Result<T, kube::Error>) {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        other => panic!("the late write was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_write_that_was_looked_for_and_not_found_is_refused_when_it_arrives_late() {
    let Some(place) = Place::fresh("late-write").await else {
        return;
    };
    let made_from = place.deployments().get("web").await.unwrap();
    let writes = place.writes(&made_from);
    for (spec, before) in writes {
        let mut late = place.deployments().get("web").await.unwrap();
        // A second look at the same write moves the object on once more.
        for _ in 0..2 {
            assert_eq!(place.look(&spec, &before).await, Settled::NotApplied);
            late.spec.as_mut().unwrap().paused = Some(true);
            refused(
                place
                    .deployments()
                    .replace("web", &PostParams::default(), &late)
                    .await,
            );
            late = place.deployments().get("web").await.unwrap();
        }
    }
    assert_eq!(
        template(&place.deployments().get("web").await.unwrap()),
        template(&made_from)
    );
    place.end().await;
}

#[tokio::test]
async fn a_deletion_that_was_looked_for_and_not_found_is_refused_when_it_arrives_late() {
    let Some(place) = Place::fresh("late-delete").await else {
        return;
    };
    let (workload, pod) = (
        place.deployments().get("web").await.unwrap(),
        place.pods().get("web-0").await.unwrap(),
    );
    let spec = Spec::DeletePod {
        target: place.target(),
        uid: uid(&workload),
        pod: "web-0".to_owned(),
        pod_uid: uid(&pod),
        template: template(&workload).hash(),
        why: DeleteWhy::OnDelete,
    };
    let before = Before::Pod {
        uid: uid(&pod),
        trouble: None,
        annotations: BTreeMap::new(),
    };
    let mut late = pod;
    for _ in 0..2 {
        // The pod's status moves it as well; the newest read is the one that a late deletion may carry.
        late = place.pods().get(&late.name_any()).await.unwrap();
        assert_eq!(place.look(&spec, &before).await, Settled::NotApplied);
        let preconditions = Preconditions {
            uid: late.uid(),
            resource_version: late.resource_version(),
        };
        let parameters = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        refused(place.pods().delete("web-0", &parameters).await);
    }
    place.end().await;
}

#[tokio::test]
async fn a_write_begun_before_another_run_marked_the_object_is_refused() {
    let Some(place) = Place::fresh("marked").await else {
        return;
    };
    let now = place.deployments().get("web").await.unwrap();
    let annotations = json!({"astern.dev/run": "r2", "astern.dev/epoch": "7", "astern.dev/effect": "k"});
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    place
        .deployments()
        .patch("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let pod = place.pods().get("web-0").await.unwrap();
    let deletion = Spec::DeletePod {
        target: place.target(),
        uid: uid(&now),
        pod: "web-0".to_owned(),
        pod_uid: uid(&pod),
        template: template(&now).hash(),
        why: DeleteWhy::OnDelete,
    };
    let before = Before::Pod {
        uid: uid(&pod),
        trouble: None,
        annotations: BTreeMap::new(),
    };
    let begun = place.writes(&now).into_iter().chain([(deletion, before)]);
    for (spec, before) in begun {
        let failure = place.port.apply(&spec, &before, &stamp()).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Conflict, "{failure}");
        assert!(failure.message.contains("run r2 has written it"), "{failure}");
        let fenced = place
            .port
            .fence(&spec, &before, &stamp().run, Epoch(0), Epoch(2))
            .await;
        assert_eq!(fenced.unwrap_err().class, FailureClass::Conflict);
    }
    let after = place.deployments().get("web").await.unwrap();
    let wrote = |entry: &ManagedFieldsEntry| entry.manager.as_deref() == Some(FIELD_MANAGER);
    assert!(!after.managed_fields().iter().any(wrote), "{after:?}");
    // Whoever begins now has seen the marks.
    let [_, (pause, _)] = place.writes(&now);
    let before = place.port.prepare(&pause).await.unwrap();
    won(async || place.port.apply(&pause, &before, &stamp()).await).await;
    place.end().await;
}

#[tokio::test]
async fn a_template_that_was_changed_on_the_way_is_told_as_it_is_and_taken_back() {
    let Some(place) = Place::fresh("changed").await else {
        return;
    };
    let now = place.deployments().get("web").await.unwrap();
    // Without defaults, as an older server kept it: the server adds them, like a webhook would.
    let planned = Template::clean(json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:v0"}]},
    }));
    let [(mut spec, _), _] = place.writes(&now);
    if let Spec::WriteTemplate { to, kept, .. } = &mut spec {
        to.template = planned.hash();
        let text = planned.json().to_string();
        *kept = Some(place.vault.put("template", text.as_bytes()).await.unwrap());
    }
    let before = place.port.prepare(&spec).await.unwrap();
    let after = won(async || place.port.apply(&spec, &before, &stamp()).await).await;
    let stored = template(&place.deployments().get("web").await.unwrap());
    assert_eq!(stored.images()[0].reference, "web:v0");
    assert_ne!(stored.hash(), planned.hash());
    assert!(matches!(&after, After::Written { template, .. } if template == &stored.hash()));
    let back = Stamp {
        key: EffectKey::of(&stamp().run, &StepId("s1".to_owned()), Direction::Back),
        ..stamp()
    };
    won(async || place.port.reverse(&spec, &before, &after, &back).await).await;
    let put_back = place.deployments().get("web").await.unwrap();
    assert_eq!(template(&put_back), template(&now));
    let settled = place.port.settle_reverse(&spec, &before, &after, &back).await;
    assert!(matches!(settled, Settled::Applied(_)), "{settled:?}");
    place.end().await;
}

/// A way to the API server that counts the connections made through it, and can be cut without a word.
struct Wire {
    namespaces: Api<Namespace>,
    made: Arc<AtomicUsize>,
    cut: tokio::sync::watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl Wire {
    async fn lay() -> Option<Self> {
        let Some(path) = std::env::var_os(KUBECONFIG) else {
            println!("skipped: {KUBECONFIG} is not set");
            return None;
        };
        let mut file = Kubeconfig::read_from(path).unwrap();
        let cluster = file.clusters[0].cluster.as_mut().unwrap();
        let server = cluster.server.clone().unwrap();
        let server = server.strip_prefix("https://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        cluster.server = Some(format!("https://{}", listener.local_addr().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, serde_json::to_string(&file).unwrap()).unwrap();
        let (cut, is_cut) = tokio::sync::watch::channel(false);
        let made = Arc::new(AtomicUsize::new(0));
        let counted = made.clone();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let mut far = TcpStream::connect(&server).await.unwrap();
                let mut is_cut = is_cut.clone();
                is_cut.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        // Both ends stay open, and nothing passes any more.
                        _ = is_cut.changed() => std::future::pending().await,
                    }
                });
            }
        });
        let options = ConnectOptions {
            kubeconfig: Some(kubeconfig),
            ..ConnectOptions::default()
        };
        let connection = connect(&options).await.unwrap();
        Some(Self {
            namespaces: Api::all(connection.client),
            made,
            cut,
            _folder: folder,
        })
    }

    async fn ask(&self) -> kube::Result<Namespace> {
        self.namespaces.get("kube-system").await
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

/// A connection each would be a handshake each, which costs both sides more than the request.
#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_moment_share_one_connection() {
    let Some(wire) = Wire::lay().await else {
        return;
    };
    wire.ask().await.unwrap();
    let fifty = join_all((0..50).map(|_| wire.ask())).await;
    assert!(fifty.iter().all(Result::is_ok));
    assert_eq!(wire.made(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_without_a_word_is_left_before_a_lock_lapses() {
    let Some(wire) = Wire::lay().await else {
        return;
    };
    wire.ask().await.unwrap();
    wire.cut.send(true).unwrap();
    let hung = std::time::Instant::now();
    wire.ask().await.unwrap_err();
    wire.ask().await.unwrap();
    let left = astern_kubernetes::lock::GOOD_FOR - astern_kubernetes::lock::RENEW_EVERY;
    assert!(
        hung.elapsed() < Duration::try_from(left).unwrap(),
        "{:?}",
        hung.elapsed()
    );
    assert_eq!(wire.made(), 2);
}

/// Twelve at once, as a run's steps come: each is read by the others' list and followed by a watch that it did not begin, and
/// what is told of each is right all the same.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_read_by_one_list_and_followed_by_one_watch() {
    let Some(place) = Place::fresh("many").await else {
        return;
    };
    let services: Vec<String> = (0..12).map(|number| format!("service-{number:02}")).collect();
    join_all(services.iter().map(|name| place.release_twice(name))).await;
    let (client, asked) = place.counting().await;
    let port = KubernetesWorkloads::new(client, place.vault.clone(), Arc::new(SystemClock));
    let steps = join_all(services.iter().map(|name| place.steps(name))).await;

    let prepared = join_all(steps.iter().map(|(write, _)| port.prepare(write))).await;
    let applied = steps.iter().zip(&prepared).map(|((write, _), before)| {
        let before = before.as_ref().unwrap();
        port.apply(write, before, STAMP.get_or_init(stamp))
    });
    let applied = join_all(applied).await;
    assert!(applied.iter().all(Result::is_ok), "{applied:?}");
    let single = |asked: &str| asked.starts_with("GET") && asked.contains("/deployments/service-");
    let reads: Vec<String> = asked.lock().unwrap().clone();
    assert!(!reads.iter().any(|asked| single(asked)), "{reads:#?}");

    let since = Before::Waiting {
        since: jiff::Timestamp::now(),
    };
    let waits = steps
        .iter()
        .map(|(_, wait)| port.apply(wait, &since, STAMP.get_or_init(stamp)));
    let served = tokio::time::timeout(Duration::from_secs(60), join_all(waits)).await;
    for (name, served) in services.iter().zip(served.unwrap()) {
        let After::Serving { ready, desired, .. } = served.unwrap() else {
            panic!("{name} does not serve");
        };
        assert_eq!((ready, desired), (1, 1), "{name}");
        let now = place.deployments().get(name).await.unwrap();
        assert_eq!(
            template(&now).json()["spec"]["containers"][0]["image"],
            "web:v1",
            "{name}"
        );
    }
    let asked = asked.lock().unwrap().clone();
    for of in ["/deployments?", "/pods?"] {
        let watches = asked
            .iter()
            .filter(|asked| asked.contains(of) && asked.contains("watch=true"));
        assert!(watches.count() <= 4, "{asked:#?}");
    }
    place.end().await;
}

static STAMP: OnceLock<Stamp> = OnceLock::new();

impl Place {
    /// The same way to the API server, with all that is asked on it.
    async fn counting(&self) -> (kube::Client, Arc<Mutex<Vec<String>>>) {
        let file = Kubeconfig::read_from(std::env::var_os(KUBECONFIG).unwrap()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = asked.clone();
        let listen = MapRequestLayer::new(move |request: http::Request<Body>| {
            let line = format!("{} {}", request.method(), request.uri());
            told.lock().unwrap().push(line);
            request
        });
        let built = kube::client::ClientBuilder::try_from(config.unwrap()).unwrap();
        (built.with_layer(&listen).build(), asked)
    }

    /// A Deployment of one pod, `web:v1` first and then `web:v2`.
    async fn release_twice(&self, name: &str) {
        let template = |image: &str| {
            json!({"metadata": {"labels": {"app": name}}, "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "web", "image": image}],
            }})
        };
        let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template("web:v1")});
        create(
            &self.deployments(),
            json!({"metadata": {"name": name}, "spec": spec}),
        )
        .await;
        self.one_revision(name, 1).await;
        let patch = Patch::Merge(json!({"spec": {"template": template("web:v2")}}));
        self.deployments()
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
        self.one_revision(name, 2).await;
        // Its status moves until then, and a write that meets that is made again.
        for _ in 0..300 {
            let now = self.deployments().get(name).await.unwrap();
            let status = now.status.unwrap_or_default();
            let seen = status.observed_generation == now.metadata.generation;
            let counts = [
                status.replicas,
                status.updated_replicas,
                status.available_replicas,
            ];
            if seen && counts == [Some(1); 3] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} does not come to rest")
    }

    /// The ReplicaSet of a revision, once it is there.
    async fn one_revision(&self, name: &str, number: u32) -> ReplicaSet {
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let of = ListParams::default().labels(&format!("app={name}"));
        for _ in 0..300 {
            let found = sets.list(&of).await.unwrap().items.into_iter().find(|set| {
                let revision = set.annotations().get("deployment.kubernetes.io/revision");
                revision.is_some_and(|revision| *revision == number.to_string())
            });
            if let Some(found) = found {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} has no revision {number}")
    }

    /// Writing the first revision back, and waiting until it serves.
    async fn steps(&self, name: &str) -> (Spec, Spec) {
        let now = self.deployments().get(name).await.unwrap();
        let first = self.one_revision(name, 1).await;
        let kept = Template::clean(serde_json::to_value(&first.spec.as_ref().unwrap().template).unwrap());
        let target = Target {
            name: name.to_owned(),
            ..self.target()
        };
        let write = Spec::WriteTemplate {
            target: target.clone(),
            pin: Pin {
                strategy: Strategy::RollingUpdate {
                    max_surge: Some("25%".to_owned()),
                    max_unavailable: Some("25%".to_owned()),
                    partition: 0,
                    ordered: false,
                },
                ..self.pin(&now)
            },
            to: RevisionRef {
                number: 1,
                kind: RevisionKind::ReplicaSet,
                name: first.name_any(),
                uid: uid(&first),
                template: kept.hash(),
                version: "v1".to_owned(),
                images: Vec::new(),
            },
            kept: None,
            mark: None,
        };
        let wait = Spec::AwaitRollout {
            target,
            uid: uid(&now),
            template: kept.hash(),
            version: "v1".to_owned(),
        };
        (write, wait)
    }
}

/// Keeps what it is given, under its place.
#[derive(Default)]
struct Kept(Mutex<Vec<Vec<u8>>>);

#[async_trait]
impl Vault for Kept {
    async fn put(&self, label: &str, bytes: &[u8]) -> Result<ContentRef, Failure> {
        let mut kept = self.0.lock().unwrap();
        kept.push(bytes.to_vec());
        Ok(ContentRef {
            name: (kept.len() - 1).to_string(),
            keyed_hash: label.to_owned(),
            size: 1,
        })
    }

    async fn hash(&self, bytes: &[u8]) -> Result<String, Failure> {
        Ok(sha256(bytes))
    }

    async fn get(&self, reference: &ContentRef) -> Result<Vec<u8>, Failure> {
        let place: usize = reference.name.parse().unwrap();
        Ok(self.0.lock().unwrap()[place].clone())
    }
}
