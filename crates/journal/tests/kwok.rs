//! The suites against a real API server, and what only several processes on one can suffer. Runs when
//! `ASTERN_TEST_KUBECONFIG` names one.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and tells its runner on stdout"
)]

use astern_conformance::{Damage, Damaged, journal, ledger, vault};
use astern_faultproxy::{Class, How, Proxy};
use astern_journal::{ClusterJournal, ClusterLedger, ClusterVault};
use astern_model::content::ContentRef;
use astern_model::id::{Epoch, RunId, Seq};
use astern_model::release::ReleaseName;
use astern_port::FailureClass;
use astern_port::journal::{AppendError, Author, Journal};
use astern_port::ledger::{Ledger, WriteError};
use astern_port::vault::Vault;
use async_trait::async_trait;
use jiff::SignedDuration;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const KUBECONFIG: &str = "ASTERN_TEST_KUBECONFIG";

async fn config() -> Option<kube::Config> {
    let Some(path) = std::env::var_os(KUBECONFIG) else {
        println!("skipped: {KUBECONFIG} is not set");
        return None;
    };
    let file = Kubeconfig::read_from(path).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .unwrap();
    config.default_retry = false;
    Some(config)
}

async fn client() -> Option<kube::Client> {
    Some(kube::Client::try_from(config().await?).unwrap())
}

/// A namespace of its own, deleted at the end.
struct Place {
    client: kube::Client,
    namespace: String,
}

impl Place {
    async fn fresh(client: &kube::Client, word: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("astern-{word}-{}-{number}", std::process::id());
        let object: Namespace =
            serde_json::from_value(serde_json::json!({"metadata": {"name": namespace}})).unwrap();
        let api: Api<Namespace> = Api::all(client.clone());
        api.create(&PostParams::default(), &object).await.unwrap();
        Self {
            client: client.clone(),
            namespace,
        }
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn journal(&self) -> ClusterJournal {
        ClusterJournal::new(self.client.clone(), self.namespace.clone())
    }

    async fn names(&self) -> Vec<String> {
        let secrets = self
            .secrets()
            .list(&ListParams::default().fields("type=astern.dev/journal"))
            .await
            .unwrap();
        secrets
            .items
            .into_iter()
            .filter_map(|secret| secret.metadata.name)
            .collect()
    }

    /// Secrets cannot be edited once they are immutable; whoever damages one deletes it and makes another.
    async fn alter(&self, name: &str, key: &str, how: Damage) -> Damaged {
        let api = self.secrets();
        let mut secret = api.get(name).await.unwrap();
        api.delete(name, &DeleteParams::default()).await.unwrap();
        if how == Damage::Alter {
            secret.metadata.uid = None;
            secret.metadata.resource_version = None;
            let ByteString(bytes) = secret.data.as_mut().unwrap().get_mut(key).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            api.create(&PostParams::default(), &secret).await.unwrap();
        }
        Damaged::Done
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let delete = async { api.delete(&self.namespace, &DeleteParams::background()).await };
        let deleted = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(delete));
        if let Err(error) = deleted {
            println!("namespace {} stays behind: {error}", self.namespace);
        }
    }
}

#[async_trait]
impl journal::Store for Place {
    async fn open(&self) -> Arc<dyn Journal> {
        Arc::new(self.journal())
    }

    async fn damage(&self, run: &RunId, seq: Seq, how: Damage) -> Damaged {
        self.alter(&format!("astern-run-{run}-{:06}", seq.0), "records.gz", how)
            .await
    }
}

#[async_trait]
impl vault::Store for Place {
    async fn open(&self) -> Arc<dyn Vault> {
        Arc::new(ClusterVault::new(self.client.clone(), self.namespace.clone()))
    }

    async fn damage(&self, reference: &ContentRef, how: Damage) -> Damaged {
        self.alter(&reference.name, "content", how).await
    }
}

#[async_trait]
impl ledger::Store for Place {
    async fn open(&self) -> Arc<dyn Ledger> {
        Arc::new(ClusterLedger::new(self.client.clone(), self.namespace.clone()))
    }

    async fn damage(&self, name: &ReleaseName, how: Damage) -> Damaged {
        self.alter(&format!("astern-release-{name}"), "entry", how).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_keeps_the_promises_of_a_ledger() {
    let Some(client) = client().await else { return };
    let report = ledger::suite(async |_| Place::fresh(&client, "ledger").await).await;
    print!("{report}");
    report.assert_holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_creation_was_not_answered_is_added_once_and_is_our_own() {
    let Some(config) = config().await else { return };
    let place = Place::fresh(&kube::Client::try_from(config.clone()).unwrap(), "lost").await;
    let (client, proxy) = by_proxy(config).await;
    let ledger = ClusterLedger::new(client, place.namespace.clone());
    let name = ReleaseName::parse("v1").unwrap();
    proxy.next(Class::Secret, How::AnswerLost);
    let version = ledger.add(&name, "candidate", b"one").await.unwrap();
    assert_eq!(proxy.struck().len(), 1);
    let entry = ledger.read(&name).await.unwrap().unwrap();
    assert_eq!((entry.version, entry.bytes), (version, b"one".to_vec()));
    let other = ClusterLedger::new(place.client.clone(), place.namespace.clone());
    assert_eq!(
        other.add(&name, "candidate", b"one").await,
        Err(WriteError::Exists)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_keeps_the_promises_of_a_journal() {
    let Some(client) = client().await else { return };
    let report = journal::suite(async |_| Place::fresh(&client, "journal").await).await;
    print!("{report}");
    report.assert_holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_keeps_the_promises_of_a_vault() {
    let Some(client) = client().await else { return };
    let report = vault::suite(async |_| Place::fresh(&client, "vault").await).await;
    print!("{report}");
    report.assert_holds();
}

async fn append(
    journal: &ClusterJournal,
    run: &RunId,
    at: u64,
    author: Author,
    bytes: &[u8],
) -> Result<Seq, AppendError> {
    journal.append(run, Seq(at), author, &[bytes.to_vec()]).await
}

async fn opened(journal: &ClusterJournal, run: &RunId) {
    journal
        .append(
            run,
            Seq(0),
            Author::Opening,
            &[b"plan".to_vec(), b"approved".to_vec()],
        )
        .await
        .unwrap();
    append(journal, run, 2, Author::Takeover, b"taken").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_run_is_one_secret_and_a_pruned_run_none() {
    let Some(client) = client().await else { return };
    let place = Place::fresh(&client, "settle").await;
    let journal = place.journal();
    let (first, second) = (RunId::from("r1"), RunId::from("r2"));
    opened(&journal, &first).await;
    append(&journal, &first, 3, Author::Holder(Epoch(2)), b"intent")
        .await
        .unwrap();
    assert_eq!(
        place.names().await,
        [
            "astern-run-r1-000000",
            "astern-run-r1-000002",
            "astern-run-r1-000003"
        ]
    );
    journal.settle(&first, 1).await.unwrap();
    assert_eq!(place.names().await, ["astern-run-r1.settled-000004"]);
    opened(&journal, &second).await;
    journal.settle(&second, 1).await.unwrap();
    assert_eq!(place.names().await, ["astern-run-r2.settled-000003"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settling_that_died_in_the_middle_is_finished_by_the_next() {
    let Some(client) = client().await else { return };
    let place = Place::fresh(&client, "crash").await;
    let run = RunId::from("r1");
    let journal = place.journal();
    opened(&journal, &run).await;
    append(&journal, &run, 3, Author::Request, b"pause")
        .await
        .unwrap();
    let before = journal.read(&run, Seq(0)).await.unwrap();
    let mut parts = Vec::new();
    for name in [
        "astern-run-r1-000000",
        "astern-run-r1-000002",
        "astern-run-r1-000003",
    ] {
        let mut secret = place.secrets().get(name).await.unwrap();
        secret.metadata.uid = None;
        secret.metadata.resource_version = None;
        parts.push(secret);
    }
    journal.settle(&run, 5).await.unwrap();
    // As if the one who settled had died: after it wrote the settled Secret, and after it deleted some parts.
    for left in [&parts[..], &parts[1..], &parts[2..]] {
        for secret in left {
            place
                .secrets()
                .create(&PostParams::default(), secret)
                .await
                .unwrap();
        }
        assert_eq!(place.journal().read(&run, Seq(0)).await.unwrap(), before);
        assert_eq!(place.journal().runs().await.unwrap(), std::slice::from_ref(&run));
        place.journal().settle(&run, 5).await.unwrap();
        assert_eq!(place.names().await, ["astern-run-r1.settled-000004"]);
    }
    assert_eq!(journal.read(&run, Seq(0)).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleepers_append_to_a_settled_run_leaves_nothing_behind() {
    let Some(client) = client().await else { return };
    let place = Place::fresh(&client, "sleeper").await;
    let run = RunId::from("r1");
    let (sleeper, other) = (place.journal(), place.journal());
    opened(&sleeper, &run).await;
    append(&other, &run, 3, Author::Takeover, b"taken").await.unwrap();
    append(&other, &run, 4, Author::Holder(Epoch(3)), b"finished")
        .await
        .unwrap();
    other.settle(&run, 5).await.unwrap();
    // The name of the place that the sleeper believes to be the head is free again.
    let got = append(&sleeper, &run, 3, Author::Holder(Epoch(2)), b"intent").await;
    assert_eq!(got, Err(AppendError::Fenced { by: Epoch(3) }));
    assert_eq!(place.names().await, ["astern-run-r1.settled-000005"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_in_the_way_is_named_and_not_taken_for_a_conflict() {
    let Some(client) = client().await else { return };
    let place = Place::fresh(&client, "foreign").await;
    let run = RunId::from("r1");
    let foreign = serde_json::json!({"metadata": {"name": "astern-run-r1-000003"}});
    let foreign: Secret = serde_json::from_value(foreign).unwrap();
    place
        .secrets()
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    opened(&place.journal(), &run).await;
    let Err(AppendError::Store(failure)) = append(&place.journal(), &run, 3, Author::Request, b"pause").await
    else {
        panic!("it was appended");
    };
    assert_eq!(failure.class, FailureClass::Permanent);
    assert!(
        failure
            .message
            .contains("Secret astern-run-r1-000003 is there that is not of this journal"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_there_is_an_error_that_says_so() {
    let Some(client) = client().await else { return };
    let journal = ClusterJournal::new(client.clone(), "astern-nowhere".to_owned());
    let got = journal
        .append(&RunId::from("r1"), Seq(0), Author::Opening, &[b"plan".to_vec()])
        .await;
    let Err(AppendError::Store(failure)) = got else {
        panic!("it gave {got:?}")
    };
    assert_eq!(failure.class, FailureClass::Permanent);
    assert!(
        failure.message.contains("\"astern-nowhere\" not found"),
        "{failure}"
    );
    let vault = ClusterVault::new(client, "astern-nowhere".to_owned());
    let failure = vault.put("log", b"hunter2").await.unwrap_err();
    assert!(
        !failure.to_string().contains("hunter2") && failure.message.contains("not found"),
        "{failure}"
    );
}

/// A client that reaches the API server by way of a proxy on which things can go wrong.
async fn by_proxy(config: kube::Config) -> (kube::Client, Proxy) {
    let proxy = Proxy::before(config).await.unwrap();
    let mut way = kube::Config::new(format!("http://{}", proxy.address()).parse().unwrap());
    way.default_retry = false;
    (kube::Client::try_from(way).unwrap(), proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_was_lost_is_appended_once() {
    let Some(config) = config().await else { return };
    let place = Place::fresh(&kube::Client::try_from(config.clone()).unwrap(), "lost").await;
    let (client, proxy) = by_proxy(config).await;
    let run = RunId::from("r1");
    let journal = ClusterJournal::new(client.clone(), place.namespace.clone());
    opened(&journal, &run).await;
    for at in 3..8 {
        proxy.next(Class::Secret, How::AnswerLost);
        let head = append(&journal, &run, at, Author::Holder(Epoch(2)), b"intent")
            .await
            .unwrap();
        assert_eq!(head, Seq(at + 1));
    }
    assert_eq!(proxy.struck().len(), 5, "that many answers were lost");
    assert_eq!(place.journal().read(&run, Seq(0)).await.unwrap().len(), 8);
    assert_eq!(place.names().await.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_whose_answer_was_lost_is_kept() {
    let Some(config) = config().await else { return };
    let place = Place::fresh(&kube::Client::try_from(config.clone()).unwrap(), "lost").await;
    let (client, proxy) = by_proxy(config).await;
    for bytes in [&b"first, with a new key"[..], b"second"] {
        let vault = ClusterVault::new(client.clone(), place.namespace.clone());
        proxy.next(Class::Secret, How::AnswerLost);
        let reference = vault.put("log", bytes).await.unwrap();
        assert_eq!(vault.get(&reference).await.unwrap(), bytes);
    }
    assert_eq!(proxy.struck().len(), 2, "that many answers were lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_contents_that_come_at_the_same_time_are_few_secrets() {
    let Some(config) = config().await else { return };
    let client = kube::Client::try_from(config).unwrap();
    let place = Place::fresh(&client, "together").await;
    let vault = ClusterVault::new(client, place.namespace.clone());
    let contents: Vec<String> = (0..100).map(|number| format!("template {number}")).collect();
    let puts = contents.iter().map(|text| vault.put("template", text.as_bytes()));
    let references = futures::future::try_join_all(puts).await.unwrap();
    for (reference, text) in references.iter().zip(&contents) {
        assert_eq!(vault.get(reference).await.unwrap(), text.as_bytes());
    }
    let saved = ListParams::default().fields("type=astern.dev/saved");
    let secrets = place.secrets().list(&saved).await.unwrap().items.len();
    assert!(secrets <= 2, "{secrets}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_cut_goes_on() {
    let Some(config) = config().await else { return };
    let place = Place::fresh(&kube::Client::try_from(config.clone()).unwrap(), "watch").await;
    let (client, proxy) = by_proxy(config).await;
    let run = RunId::from("r1");
    opened(&place.journal(), &run).await;
    let watcher = ClusterJournal::new(client.clone(), place.namespace.clone());
    let name = run.clone();
    let started = Instant::now();
    let waiting =
        tokio::spawn(async move { watcher.wait(&name, Seq(3), SignedDuration::from_secs(60)).await });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        proxy.break_connections();
        assert!(!waiting.is_finished());
    }
    append(&place.journal(), &run, 3, Author::Request, b"pause")
        .await
        .unwrap();
    waiting.await.unwrap().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "it took {:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_is_said_to_be_away_and_nothing_was_stored() {
    let Some(config) = config().await else { return };
    let place = Place::fresh(&kube::Client::try_from(config.clone()).unwrap(), "away").await;
    let (client, proxy) = by_proxy(config).await;
    let run = RunId::from("r1");
    let journal = ClusterJournal::new(client.clone(), place.namespace.clone());
    opened(&journal, &run).await;
    proxy.go_away().await;
    let failure = journal.read(&run, Seq(0)).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Transient { retry_after_ms: None });
    assert!(
        failure.message.starts_with("the API server could not be reached"),
        "{failure}"
    );
    let Err(AppendError::Store(failure)) = append(&journal, &run, 3, Author::Request, b"pause").await else {
        panic!("it was appended");
    };
    assert_eq!(failure.class, FailureClass::Transient { retry_after_ms: None });
    assert!(failure.message.ends_with("nothing was stored"), "{failure}");
    assert_eq!(place.journal().read(&run, Seq(0)).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_stays_unknown_when_the_api_server_goes_away_after_it() {
    let Some(config) = config().await else { return };
    let place = Place::fresh(&kube::Client::try_from(config.clone()).unwrap(), "unknown").await;
    let (client, proxy) = by_proxy(config).await;
    let run = RunId::from("r1");
    let journal = ClusterJournal::new(client.clone(), place.namespace.clone());
    opened(&journal, &run).await;
    proxy.next(Class::Secret, How::AnswerLostAndAway);
    let Err(AppendError::Store(failure)) = append(&journal, &run, 3, Author::Request, b"pause").await else {
        panic!("it was appended");
    };
    assert_eq!(failure.class, FailureClass::Unknown);
    assert!(
        failure.message.ends_with("whether this was stored is not known"),
        "{failure}"
    );
    assert_eq!(place.journal().read(&run, Seq(0)).await.unwrap().len(), 4);
}
