//! What each fault does to a request, before an API server in this process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use astern_faultproxy::{Asked, Class, Fault, How, Proxy, Unseen, Witness};
use astern_sandbox::{Cluster, Options, Service, SystemClock, http};
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// An API server, and a proxy before it.
struct Place {
    direct: kube::Client,
    proxy: Proxy,
}

impl Place {
    async fn new() -> Self {
        let now = k8s_openapi::jiff::Timestamp::now();
        let service = Service::new(Cluster::new(Options::default(), now), Arc::new(SystemClock));
        let listener = http::listen(0).await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let acting = service.clone();
        tokio::spawn(async move { acting.run().await });
        tokio::spawn(http::serve(service, listener));
        Self {
            direct: client(&server),
            proxy: Proxy::before(config(&server)).await.unwrap(),
        }
    }

    fn by_proxy(&self) -> Api<ConfigMap> {
        maps(&client(&format!("http://{}", self.proxy.address())))
    }

    async fn is_there(&self, name: &str) -> bool {
        maps(&self.direct).get_opt(name).await.unwrap().is_some()
    }
}

fn config(server: &str) -> kube::Config {
    let mut config = kube::Config::new(server.parse().unwrap());
    config.default_retry = false;
    config.read_timeout = Some(2 * SECOND);
    config
}

fn client(server: &str) -> kube::Client {
    kube::Client::try_from(config(server)).unwrap()
}

fn maps(client: &kube::Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

async fn create(api: &Api<ConfigMap>, name: &str) -> Result<ConfigMap, kube::Error> {
    api.create(&PostParams::default(), &map(name)).await
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[tokio::test]
async fn a_request_comes_through_as_it_is() {
    let place = Place::new().await;
    let made = create(&place.by_proxy(), "a").await.unwrap();
    assert_eq!(maps(&place.direct).get("a").await.unwrap(), made);
    let refused = create(&place.by_proxy(), "a").await.unwrap_err();
    assert_eq!(code(&refused), Some(409));
}

#[tokio::test]
async fn a_fault_is_told_by_its_answer_and_by_whether_the_change_is_there() {
    let place = Place::new().await;
    for (name, how, answered, there) in [
        ("lost", How::Lost, None, false),
        ("swallowed", How::Swallowed, None, false),
        ("answer-lost", How::AnswerLost, None, true),
        ("answer-swallowed", How::AnswerSwallowed, None, true),
        ("busy", How::Status(429), Some(429), false),
        ("broken", How::Status(503), Some(503), false),
        ("timeout", How::StatusAfter(504), Some(504), true),
    ] {
        place.proxy.next(Class::Write, how);
        let error = create(&place.by_proxy(), name).await.unwrap_err();
        assert_eq!(code(&error), answered, "{name}: {error}");
        assert_eq!(place.is_there(name).await, there, "{name}");
    }
    assert_eq!(place.proxy.struck().len(), 7);
    create(&place.by_proxy(), "next").await.unwrap();
}

#[tokio::test]
async fn a_delayed_request_is_waited_for() {
    let place = Place::new().await;
    place.proxy.next(Class::Write, How::Delayed(SECOND));
    let since = Instant::now();
    create(&place.by_proxy(), "a").await.unwrap();
    assert!(since.elapsed() >= SECOND);
}

#[tokio::test]
async fn a_late_request_arrives_after_its_sender_was_told_that_the_connection_broke() {
    let place = Place::new().await;
    place.proxy.next(Class::Write, How::Late(SECOND));
    create(&place.by_proxy(), "a").await.unwrap_err();
    assert!(!place.is_there("a").await);
    tokio::time::sleep(2 * SECOND).await;
    assert!(place.is_there("a").await);
}

#[tokio::test]
async fn a_request_that_was_sent_goes_on_when_its_sender_is_gone() {
    let place = Place::new().await;
    place.proxy.next(Class::Write, How::Delayed(SECOND));
    let api = place.by_proxy();
    let sent = tokio::time::timeout(SECOND / 2, create(&api, "a")).await;
    assert!(sent.is_err(), "it was not answered yet");
    tokio::time::sleep(2 * SECOND).await;
    assert!(place.is_there("a").await);
}

#[tokio::test]
async fn whoever_is_away_refuses_connections_until_it_is_back() {
    let place = Place::new().await;
    let api = place.by_proxy();
    place.proxy.next(Class::Write, How::AnswerLostAndAway);
    create(&api, "a").await.unwrap_err();
    let refused = create(&api, "b").await.unwrap_err();
    let why = format!("{refused:?}");
    assert!(why.contains("ConnectionRefused"), "{why}");
    assert!(place.is_there("a").await && !place.is_there("b").await);
    place.proxy.come_back().await;
    create(&api, "b").await.unwrap();
}

/// What a watch gives until it ends.
async fn watched(place: &Place, how: How) -> Result<Vec<WatchEvent<ConfigMap>>, kube::Error> {
    place.proxy.next(Class::Watch, how);
    let parameters = WatchParams::default().timeout(2);
    let events = place.by_proxy().watch(&parameters, "0").await?;
    events.boxed().try_collect().await
}

#[tokio::test]
async fn a_watch_breaks_ends_lags_or_is_gone() {
    let place = Place::new().await;
    create(&maps(&place.direct), "a").await.unwrap();
    let gone = watched(&place, How::Gone).await.unwrap();
    let [WatchEvent::Error(status)] = gone.as_slice() else {
        panic!("{gone:?}")
    };
    assert_eq!(status.code, 410);
    let ends = How::Dropped {
        pieces: 0,
        breaks: false,
    };
    assert!(watched(&place, ends).await.unwrap().is_empty());
    let breaks = How::Dropped {
        pieces: 0,
        breaks: true,
    };
    watched(&place, breaks).await.unwrap_err();
    let since = Instant::now();
    place.proxy.next(Class::Watch, How::Lagging(SECOND));
    let events = place
        .by_proxy()
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap();
    events.boxed().next().await.unwrap().unwrap();
    assert!(since.elapsed() >= SECOND);
}

#[tokio::test]
async fn a_watch_goes_back_and_tells_once_more_what_it_told() {
    let place = Place::new().await;
    for name in ["a", "b", "c"] {
        create(&maps(&place.direct), name).await.unwrap();
    }
    place.proxy.next(Class::Watch, How::Rewound { pieces: 1 });
    let parameters = WatchParams::default();
    let events = place.by_proxy().watch(&parameters, "0").await.unwrap();
    let told: Vec<WatchEvent<ConfigMap>> = events.boxed().take(5).try_collect().await.unwrap();
    let names = told.iter().filter_map(|event| match event {
        WatchEvent::Added(map) => map.metadata.name.as_deref(),
        _ => None,
    });
    let (all, different): (Vec<&str>, BTreeSet<&str>) = (names.clone().collect(), names.collect());
    assert_eq!(all.len(), 5, "{told:?}");
    assert!(different.len() < 5, "{all:?}");
}

#[tokio::test]
async fn only_a_list_that_permits_it_is_answered_from_the_past() {
    let place = Place::new().await;
    let api = place.by_proxy();
    let any = ListParams::default().match_any();
    let newest = ListParams::default();
    create(&maps(&place.direct), "a").await.unwrap();
    let first = api.list(&any).await.unwrap();
    create(&maps(&place.direct), "b").await.unwrap();
    place.proxy.next(Class::Read, How::Past);
    let past = api.list(&any).await.unwrap();
    assert_eq!(past.metadata.resource_version, first.metadata.resource_version);
    assert_eq!(past.items.len(), first.items.len());
    place.proxy.next(Class::Read, How::Past);
    let now = api.list(&newest).await.unwrap();
    assert_eq!(now.items.len(), first.items.len() + 1);
}

/// Keeps what it sees.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

#[async_trait]
impl Witness for Notes {
    async fn came(&self, asked: &Asked) {
        let line = format!("{:?} {} {}", asked.class, asked.nth, asked.method);
        self.0.lock().unwrap().push(line);
    }

    async fn done(&self, _: &Asked, code: u16, before: &Value, after: &Value) {
        let version = |object: &Value| object["metadata"]["resourceVersion"].is_string();
        let line = format!("{code} {} {}", version(before), version(after));
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn a_witness_sees_every_request_and_of_a_change_what_was_there_before_and_after() {
    let place = Place::new().await;
    let notes = Arc::new(Notes::default());
    let fault = Fault {
        class: Class::Write,
        nth: 2,
        how: How::AnswerLost,
    };
    let proxy = place.proxy.another(vec![fault], notes.clone()).await.unwrap();
    let api = maps(&client(&format!("http://{}", proxy.address())));
    let made = create(&api, "a").await.unwrap();
    api.replace("a", &PostParams::default(), &made).await.unwrap();
    api.get("a").await.unwrap();
    api.delete("a", &kube::api::DeleteParams::default())
        .await
        .unwrap_err();
    let seen = notes.0.lock().unwrap().clone();
    assert_eq!(
        seen,
        [
            "Write 0 POST",
            "201 false true",
            "Write 1 PUT",
            "200 true true",
            "Read 0 GET",
            "Write 2 DELETE",
            "200 true false"
        ]
    );
    assert_eq!(proxy.struck(), [fault]);
}

#[tokio::test]
async fn nobody_sees_through_a_proxy_that_is_closed() {
    let place = Place::new().await;
    let proxy = place.proxy.another(Vec::new(), Arc::new(Unseen)).await.unwrap();
    let api = maps(&client(&format!("http://{}", proxy.address())));
    create(&api, "a").await.unwrap();
    drop(proxy);
    create(&api, "b").await.unwrap_err();
    assert!(!place.is_there("b").await);
}
