//! Owners through Argo CD's own API: what is read, paused and resumed, and what it says no to.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

#[path = "argocd/server.rs"]
mod server;
mod system_clock;

use astern_kubernetes::argocd;
use astern_kubernetes::effects::KubernetesOwners;
use astern_kubernetes::look::OwnersAt;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Direction, EffectKey, Epoch, RunId, StepId, Uid};
use astern_model::owner::{OwnerName, PausableKind};
use astern_model::platform::{ArgoCdServer, SecretRef};
use astern_model::step::owner::{After, Pin, Spec};
use astern_model::step::workload::Stamp;
use astern_port::provider::{Provider, Settled};
use jiff::SignedDuration;
use serde_json::{Value, json};
use server::{Server, TOKEN};
use std::sync::Arc;
use system_clock::SystemClock;

/// What `spec.syncPolicy.automated` is while nobody has paused it.
fn automated() -> Value {
    json!({"prune": true, "selfHeal": true})
}

/// A file with this token, and the way to the server by it.
async fn through(server: &Server, token: &str) -> (tempfile::NamedTempFile, KubernetesOwners) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{token}\n")).unwrap();
    let owners = at(&server.address(), file.path().to_str().unwrap()).await;
    (file, owners)
}

async fn connected(address: &str, token: &str) -> kube::Client {
    let server = ArgoCdServer {
        address: address.to_owned(),
        token: SecretRef::File(token.to_owned()),
        ca_file: None,
    };
    argocd::connect(&server).await.unwrap()
}

async fn at(address: &str, token: &str) -> KubernetesOwners {
    let argocd = connected(address, token).await;
    let at = OwnersAt {
        here: argocd.clone(),
        argocd,
        hub: None,
        argocd_namespace: "argocd".to_owned(),
    };
    KubernetesOwners::new(at, Arc::new(SystemClock))
}

fn shop() -> OwnerName {
    OwnerName {
        kind: PausableKind::Application,
        namespace: "argocd".to_owned(),
        name: "shop".to_owned(),
    }
}

fn pause() -> Spec {
    Spec::Pause {
        owner: shop(),
        pin: Pin {
            uid: Uid("uid-shop".to_owned()),
            setting: automated(),
        },
        namespace: "shop".to_owned(),
        guard: SignedDuration::from_hours(1),
    }
}

fn stamp(step: &str) -> Stamp {
    let run = RunId::from("r1");
    Stamp {
        key: EffectKey::of(&run, &StepId::from(step), Direction::Forward),
        epoch: Epoch(1),
        run,
        reason: "a test".to_owned(),
        open_for: SignedDuration::ZERO,
    }
}

fn setting(application: &Value) -> Value {
    let at = application.pointer("/spec/syncPolicy/automated");
    at.cloned().unwrap_or(Value::Null)
}

#[tokio::test]
async fn an_application_is_paused_waited_for_and_let_go_on_as_through_its_cluster() {
    let server = Server::start(automated()).await;
    let (_file, owners) = through(&server, TOKEN).await;
    let before = owners.prepare(&pause()).await.unwrap();
    let done = owners
        .apply(&pause(), &before, &stamp("pause:shop"))
        .await
        .unwrap();
    assert_eq!(done, After::Written { setting: Value::Null });
    let paused = server.application();
    assert_eq!(setting(&paused), Value::Null);
    assert_eq!(
        paused["spec"]["syncPolicy"]["retry"],
        json!({"limit": 3}),
        "what is beside it stays"
    );
    assert_eq!(paused["metadata"]["annotations"]["team"], "shop");
    let mark = paused["metadata"]["annotations"]["astern.dev/paused"]
        .as_str()
        .unwrap();
    assert!(mark.contains("r1"), "{mark}");

    // What a crash leaves open is settled by the same marks.
    let settled = owners.settle(&pause(), &before, &stamp("pause:shop")).await;
    assert!(matches!(settled, Settled::Applied(_)), "{settled:?}");

    let wait = Spec::AwaitPaused {
        owner: shop(),
        uid: Uid("uid-shop".to_owned()),
    };
    let quiet = owners
        .apply(&wait, &owners.prepare(&wait).await.unwrap(), &stamp("await:shop"))
        .await
        .unwrap();
    assert!(matches!(quiet, After::Quiet { known_by: Some(_) }), "{quiet:?}");

    let back = owners
        .reverse(&pause(), &before, &done, &stamp("pause:shop"))
        .await
        .unwrap();
    assert_eq!(back, After::Written { setting: automated() });
    let application = server.application();
    assert_eq!(setting(&application), automated());
    assert_eq!(
        application["metadata"]["annotations"]["astern.dev/paused"],
        Value::Null
    );
}

#[tokio::test]
async fn what_somebody_changed_between_the_look_and_the_write_is_not_written_over() {
    let server = Server::start(automated()).await;
    let (_file, owners) = through(&server, TOKEN).await;
    let before = owners.prepare(&pause()).await.unwrap();
    // After astern has read it, and before Argo CD has the patch.
    server.change_before_the_next_patch(json!({"prune": false}));
    let failure = owners
        .apply(&pause(), &before, &stamp("pause:shop"))
        .await
        .unwrap_err();
    assert_eq!(failure.class, FailureClass::Conflict, "{failure:?}");
    assert_eq!(setting(&server.application()), json!({"prune": false}));
    // And what the plan was made for is not there any more.
    let failure = owners.prepare(&pause()).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Conflict, "{failure:?}");
    assert!(failure.message.contains("its setting changed"), "{failure:?}");
}

#[tokio::test]
async fn a_token_that_is_not_accepted_or_lacks_the_right_changes_nothing_and_stands_in_no_message() {
    let check = async |token: &str, class: FailureClass, words: &[&str]| {
        let server = Server::start(automated()).await;
        let (_file, owners) = through(&server, token).await;
        let before = server.application();
        let told: Failure = match owners.prepare(&pause()).await {
            Err(failure) => failure,
            Ok(read) => owners
                .apply(&pause(), &read, &stamp("pause:shop"))
                .await
                .unwrap_err(),
        };
        assert_eq!(told.class, class, "{told:?}");
        let text = format!("{told:?}");
        for word in words {
            assert!(text.contains(word), "no {word}: {text}");
        }
        assert!(!text.contains(token), "{text}");
        assert_eq!(server.application(), before);
    };
    check(
        "expired.token.value",
        FailureClass::Refused,
        &[
            "does not accept the token",
            "token is expired",
            "argocd account generate-token",
        ],
    )
    .await;
    check(
        server::READER,
        FailureClass::Refused,
        &["permission denied", "`get` on applications", "argocd-rbac-cm"],
    )
    .await;
}

#[tokio::test]
async fn what_the_token_may_do_is_asked_of_argo_cd_before_anything_is_written() {
    let server = Server::start(automated()).await;
    let check = async |token: &str, verb: &str, resource: &str, allowed: bool, words: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), token).unwrap();
        let client = connected(&server.address(), file.path().to_str().unwrap()).await;
        let review = json!({"spec": {"resourceAttributes": {
            "verb": verb, "group": "argoproj.io", "resource": resource, "namespace": "argocd",
        }}});
        let request = http::Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
        let request = request.body(review.to_string().into_bytes()).unwrap();
        let answer: Value = client.request(request).await.unwrap();
        assert_eq!(
            answer["status"]["allowed"], allowed,
            "{verb} {resource}: {answer}"
        );
        assert!(answer.to_string().contains(words), "no {words:?}: {answer}");
    };
    check(TOKEN, "patch", "applications", true, "").await;
    check(server::READER, "get", "applications", true, "").await;
    check(
        server::READER,
        "patch",
        "applications",
        false,
        "may update none of",
    )
    .await;
    check(
        server::READER,
        "patch",
        "applications",
        false,
        "p, ACCOUNT, applications, update",
    )
    .await;
    check(TOKEN, "patch", "applicationsets", false, "owners.argocd.context").await;
}

#[tokio::test]
async fn a_server_that_is_away_and_one_that_is_no_argo_cd_are_told_by_their_address() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let token = file.path().to_str().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let failure = at(&away, token).await.prepare(&pause()).await.unwrap_err();
    assert_eq!(
        failure.class,
        FailureClass::Transient { retry_after_ms: None },
        "{failure:?}"
    );
    assert!(failure.message.contains(&away), "{failure:?}");

    let other = wiremock::MockServer::start().await;
    let answer = wiremock::ResponseTemplate::new(200).set_body_string("<html>hello</html>");
    wiremock::Mock::given(wiremock::matchers::any())
        .respond_with(answer)
        .mount(&other)
        .await;
    let failure = at(&other.uri(), token).await.prepare(&pause()).await.unwrap_err();
    assert!(
        !failure.message.contains("<html>"),
        "what another program says is not passed on: {failure:?}"
    );
}

#[tokio::test]
async fn a_token_that_is_nowhere_is_told_before_anything_is_sent() {
    let server = ArgoCdServer {
        address: "https://argocd.test".to_owned(),
        token: SecretRef::Env("ASTERN_TEST_NO_SUCH_TOKEN".to_owned()),
        ca_file: None,
    };
    let Err(failure) = argocd::connect(&server).await else {
        panic!("there is no such variable");
    };
    assert_eq!(failure.class, FailureClass::Refused);
    assert!(
        failure.message.contains("ASTERN_TEST_NO_SUCH_TOKEN"),
        "{failure:?}"
    );
}
