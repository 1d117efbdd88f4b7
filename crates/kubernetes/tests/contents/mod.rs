//! What the config port promises and only a real API server can hold.

use super::{Kept, Place, create, refused};
use astern_kubernetes::effects::{KubernetesContents, ON_ITS_WAY};
use astern_model::config::{ConfigKind, ConfigName, content};
use astern_model::failure::FailureClass;
use astern_model::id::{ContentHash, Direction, EffectKey, Epoch, RunId, StepId, Uid};
use astern_model::login::LoginProbe;
use astern_model::step::config::{After, Before, Pin, Spec, Wanted};
use astern_model::step::workload::Stamp;
use astern_model::template::canonical;
use astern_port::logins::{Logins, NoLogin};
use astern_port::provider::{Provider, Settled};
use astern_port::vault::Vault;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};
use std::sync::Arc;

fn maps(place: &Place) -> Api<ConfigMap> {
    Api::namespaced(place.client.clone(), &place.namespace)
}

fn port(place: &Place) -> KubernetesContents {
    KubernetesContents::new(place.client.clone(), place.vault.clone(), Arc::new(NoLogins))
}

/// No step of these tests names a probe.
struct NoLogins;

#[async_trait::async_trait]
impl Logins for NoLogins {
    async fn ask(&self, _: &LoginProbe, _: &Value) -> Result<(), NoLogin> {
        Err(NoLogin::NotNamed)
    }
}

/// Of an attempt that ended so long ago that nothing of it can be on its way.
fn stamp(step: &str, direction: Direction, epoch: u64) -> Stamp {
    let run = RunId::from("r1");
    Stamp {
        key: EffectKey::of(&run, &StepId::from(step), direction),
        epoch: Epoch(epoch),
        run,
        reason: "a test".to_owned(),
        open_for: ON_ITS_WAY,
    }
}

async fn hash(vault: &Kept, object: &Value) -> ContentHash {
    let text = canonical(&content(object));
    ContentHash(vault.hash(text.as_bytes()).await.unwrap())
}

async fn wanted(place: &Place, name: &str, data: Value) -> Wanted {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    Wanted {
        kept: place
            .vault
            .put("configmap", canonical(&object).as_bytes())
            .await
            .unwrap(),
        content: hash(&place.vault, &object).await,
        keys: Vec::new(),
        origin: "release v1".to_owned(),
        proof: None,
    }
}

fn object(name: &str) -> ConfigName {
    ConfigName {
        kind: ConfigKind::ConfigMap,
        name: name.to_owned(),
    }
}

/// ConfigMap `app` holds `MODE: storm`, and shall hold `MODE: calm`.
async fn restore(place: &Place) -> Spec {
    create(
        &maps(place),
        json!({"metadata": {"name": "app", "labels": {"team": "shop"}}, "data": {"MODE": "storm"}}),
    )
    .await;
    let now = maps(place).get("app").await.unwrap();
    Spec::Restore {
        object: object("app"),
        namespace: place.namespace.clone(),
        pin: Pin {
            uid: Uid(now.uid().unwrap()),
            content: hash(&place.vault, &json!({"data": {"MODE": "storm"}})).await,
        },
        to: wanted(place, "app", json!({"MODE": "calm"})).await,
    }
}

async fn mode(place: &Place) -> String {
    let now = maps(place).get("app").await.unwrap();
    now.data.unwrap_or_default()["MODE"].clone()
}

fn settled<A>(found: Settled<A>) -> &'static str {
    match found {
        Settled::Applied(_) => "applied",
        Settled::NotApplied => "not applied",
        Settled::Unknown(_) => "unknown",
    }
}

#[tokio::test]
async fn content_is_written_once_found_again_and_put_back_with_nothing_else_of_the_object() {
    let Some(place) = Place::fresh("content").await else {
        return;
    };
    let (port, spec) = (port(&place), restore(&place).await);
    let stamp_forward = stamp("config:app", Direction::Forward, 1);
    let before = port.prepare(&spec).await.unwrap();
    assert_eq!(
        settled(port.settle(&spec, &before, &stamp_forward).await),
        "not applied"
    );
    let after = port.apply(&spec, &before, &stamp_forward).await.unwrap();
    let written = maps(&place).get("app").await.unwrap();
    assert_eq!(
        (mode(&place).await.as_str(), &written.labels()["team"]),
        ("calm", &"shop".to_owned())
    );
    // Once more is not a second write, and whoever asks finds it.
    assert_eq!(port.apply(&spec, &before, &stamp_forward).await.unwrap(), after);
    assert_eq!(
        maps(&place).get("app").await.unwrap().resource_version(),
        written.resource_version()
    );
    assert_eq!(
        settled(port.settle(&spec, &before, &stamp_forward).await),
        "applied"
    );

    let back = stamp("config:app", Direction::Back, 1);
    assert_eq!(
        settled(port.settle_reverse(&spec, &before, &after, &back).await),
        "not applied"
    );
    port.reverse(&spec, &before, &after, &back).await.unwrap();
    assert_eq!(mode(&place).await, "storm");
    assert_eq!(
        settled(port.settle_reverse(&spec, &before, &after, &back).await),
        "applied"
    );
}

#[tokio::test]
async fn a_write_of_content_that_was_looked_for_and_not_found_is_refused_when_it_arrives_late() {
    let Some(place) = Place::fresh("content-late").await else {
        return;
    };
    let (port, spec) = (port(&place), restore(&place).await);
    let before = port.prepare(&spec).await.unwrap();
    let mut late = maps(&place).get("app").await.unwrap();
    late.data = Some([("MODE".to_owned(), "calm".to_owned())].into());
    let stamp = stamp("config:app", Direction::Forward, 1);
    assert_eq!(settled(port.settle(&spec, &before, &stamp).await), "not applied");
    refused(maps(&place).replace("app", &PostParams::default(), &late).await);
    // A successor's mark does the same to what its predecessor has on the way.
    let late = maps(&place).get("app").await.unwrap();
    port.fence(&spec, &before, &stamp.run, Epoch(0), Epoch(2))
        .await
        .unwrap();
    refused(maps(&place).replace("app", &PostParams::default(), &late).await);
    let old = port.apply(&spec, &before, &stamp).await.unwrap_err();
    assert!(
        old.class == FailureClass::Conflict && old.message.contains("epoch 2"),
        "{old:?}"
    );
    assert_eq!(mode(&place).await, "storm");
}

/// ConfigMap `app` is immutable and holds `MODE: storm`; it shall make room for `MODE: calm`.
async fn remove(place: &Place) -> Spec {
    create(
        &maps(place),
        json!({"metadata": {"name": "app", "labels": {"team": "shop"}}, "immutable": true, "data": {"MODE": "storm"}}),
    )
    .await;
    let now = maps(place).get("app").await.unwrap();
    Spec::Remove {
        object: object("app"),
        namespace: place.namespace.clone(),
        pin: Pin {
            uid: Uid(now.uid().unwrap()),
            content: hash(&place.vault, &json!({"data": {"MODE": "storm"}})).await,
        },
        to: wanted(place, "app", json!({"MODE": "calm"})).await,
    }
}

#[tokio::test]
async fn an_immutable_object_is_deleted_and_made_again_just_as_it_was() {
    let Some(place) = Place::fresh("content-removed").await else {
        return;
    };
    let (port, spec) = (port(&place), remove(&place).await);
    let was = maps(&place).get("app").await.unwrap();
    let forward = stamp("remove:app", Direction::Forward, 1);
    let before = port.prepare(&spec).await.unwrap();
    assert_eq!(port.apply(&spec, &before, &forward).await.unwrap(), After::Gone);
    assert!(maps(&place).get_opt("app").await.unwrap().is_none());
    assert_eq!(settled(port.settle(&spec, &before, &forward).await), "applied");
    // Once more is no second deletion.
    assert_eq!(port.apply(&spec, &before, &forward).await.unwrap(), After::Gone);

    let back = stamp("remove:app", Direction::Back, 1);
    assert_eq!(
        settled(port.settle_reverse(&spec, &before, &After::Gone, &back).await),
        "not applied"
    );
    let made = port.reverse(&spec, &before, &After::Gone, &back).await.unwrap();
    let again = maps(&place).get("app").await.unwrap();
    assert_eq!(
        (&again.data, again.immutable, again.labels()),
        (&was.data, Some(true), was.labels())
    );
    assert_eq!(
        port.reverse(&spec, &before, &After::Gone, &back).await.unwrap(),
        made
    );
    assert_eq!(
        settled(port.settle_reverse(&spec, &before, &After::Gone, &back).await),
        "applied"
    );
    // Whoever takes over while that is open marks it as this run's.
    port.fence(&spec, &before, &back.run, Epoch(1), Epoch(3))
        .await
        .unwrap();
    let marked = maps(&place).get("app").await.unwrap();
    assert_eq!(marked.annotations()["astern.dev/epoch"], "3");
}

#[tokio::test]
async fn a_deletion_of_an_object_that_was_looked_for_and_found_is_refused_when_it_arrives_late() {
    let Some(place) = Place::fresh("content-removed-late").await else {
        return;
    };
    let (port, spec) = (port(&place), remove(&place).await);
    let before = port.prepare(&spec).await.unwrap();
    let late = || async {
        let now = maps(&place).get("app").await.unwrap();
        DeleteParams::default().preconditions(Preconditions {
            uid: now.uid(),
            resource_version: now.resource_version(),
        })
    };
    let sent = late().await;
    let stamp = stamp("remove:app", Direction::Forward, 1);
    assert_eq!(settled(port.settle(&spec, &before, &stamp).await), "not applied");
    refused(maps(&place).delete("app", &sent).await);
    let sent = late().await;
    port.fence(&spec, &before, &stamp.run, Epoch(0), Epoch(2))
        .await
        .unwrap();
    refused(maps(&place).delete("app", &sent).await);
    let old = port.apply(&spec, &before, &stamp).await.unwrap_err();
    assert!(
        old.class == FailureClass::Conflict && old.message.contains("epoch 2"),
        "{old:?}"
    );
    // Somebody else's object under the name is neither marked nor deleted.
    maps(&place)
        .delete("app", &DeleteParams::default())
        .await
        .unwrap();
    create(
        &maps(&place),
        json!({"metadata": {"name": "app"}, "data": {"MODE": "theirs"}}),
    )
    .await;
    port.fence(&spec, &before, &stamp.run, Epoch(0), Epoch(3))
        .await
        .unwrap();
    assert_eq!(settled(port.settle(&spec, &before, &stamp).await), "applied");
    let taken = port
        .reverse(&spec, &before, &After::Gone, &stamp)
        .await
        .unwrap_err();
    assert!(taken.message.contains("somebody else has made it"), "{taken:?}");
    assert_eq!(mode(&place).await, "theirs");
}

#[tokio::test]
async fn content_that_somebody_edited_is_neither_written_over_nor_put_back() {
    let Some(place) = Place::fresh("content-edited").await else {
        return;
    };
    let (port, spec) = (port(&place), restore(&place).await);
    let before = port.prepare(&spec).await.unwrap();
    let edit = |mode: &'static str| {
        let place = &place;
        async move {
            let patch = Patch::Merge(json!({"data": {"MODE": mode}}));
            maps(place)
                .patch("app", &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
    };
    edit("gale").await;
    let stamp_forward = stamp("config:app", Direction::Forward, 1);
    let failure = port.apply(&spec, &before, &stamp_forward).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Conflict);
    for words in [
        "configmap/app",
        "from sha256:",
        "to sha256:",
        "last written by field manager",
        "nothing was written",
    ] {
        assert!(
            failure.message.contains(words),
            "no {words:?}: {}",
            failure.message
        );
    }
    assert_eq!(
        settled(port.settle(&spec, &before, &stamp_forward).await),
        "unknown"
    );
    edit("storm").await;
    let after = port.apply(&spec, &before, &stamp_forward).await.unwrap();
    edit("gale").await;
    let back = stamp("config:app", Direction::Back, 1);
    let failure = port.reverse(&spec, &before, &after, &back).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Conflict);
    assert_eq!(mode(&place).await, "gale");
}

#[tokio::test]
async fn an_object_that_was_made_anew_is_found_again_and_deleted_only_as_it_was_left() {
    let Some(place) = Place::fresh("content-made").await else {
        return;
    };
    let port = port(&place);
    let spec = Spec::Create {
        object: object("app"),
        namespace: place.namespace.clone(),
        to: wanted(&place, "app", json!({"MODE": "calm"})).await,
    };
    let made = stamp("config:app", Direction::Forward, 1);
    let before = port.prepare(&spec).await.unwrap();
    assert_eq!(before, Before::Absent);
    assert_eq!(settled(port.settle(&spec, &before, &made).await), "not applied");
    let after = port.apply(&spec, &before, &made).await.unwrap();
    assert_eq!(port.apply(&spec, &before, &made).await.unwrap(), after);
    assert_eq!(settled(port.settle(&spec, &before, &made).await), "applied");
    assert_eq!(
        port.prepare(&spec).await.unwrap_err().class,
        FailureClass::Conflict
    );
    let back = stamp("config:app", Direction::Back, 1);
    let patch = Patch::Merge(json!({"data": {"MODE": "gale"}}));
    maps(&place)
        .patch("app", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let failure = port.reverse(&spec, &before, &after, &back).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Conflict);
    let patch = Patch::Merge(json!({"data": {"MODE": "calm"}}));
    maps(&place)
        .patch("app", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(
        port.reverse(&spec, &before, &after, &back).await.unwrap(),
        After::Gone
    );
    assert!(maps(&place).get_opt("app").await.unwrap().is_none());
    assert_eq!(
        settled(port.settle_reverse(&spec, &before, &after, &back).await),
        "applied"
    );
    // Again is no error: it is gone. Nor is another one of that name, which stays.
    assert_eq!(
        port.reverse(&spec, &before, &after, &back).await.unwrap(),
        After::Gone
    );
    create(
        &maps(&place),
        json!({"metadata": {"name": "app"}, "data": {"MODE": "theirs"}}),
    )
    .await;
    assert_eq!(
        port.reverse(&spec, &before, &after, &back).await.unwrap(),
        After::Gone
    );
    assert_eq!(
        settled(port.settle_reverse(&spec, &before, &after, &back).await),
        "applied"
    );
    assert_eq!(mode(&place).await, "theirs");
}

#[tokio::test]
async fn a_creation_that_is_not_there_is_not_called_absent_while_its_request_may_still_arrive() {
    let Some(place) = Place::fresh("content-on-its-way").await else {
        return;
    };
    let port = port(&place);
    let spec = Spec::Create {
        object: object("app"),
        namespace: place.namespace.clone(),
        to: wanted(&place, "app", json!({"MODE": "calm"})).await,
    };
    let before = port.prepare(&spec).await.unwrap();
    let long_ago = stamp("config:app", Direction::Forward, 1);
    let just_now = Stamp {
        open_for: SignedDuration::ZERO,
        ..long_ago.clone()
    };
    let Settled::Unknown(failure) = port.settle(&spec, &before, &just_now).await else {
        panic!("a request that is on its way was called absent");
    };
    assert!(failure.message.contains("may still arrive for"), "{failure:?}");
    assert_eq!(
        settled(port.settle(&spec, &before, &long_ago).await),
        "not applied"
    );
    // Somebody else's object keeps it out only as long as it is there.
    create(
        &maps(&place),
        json!({"metadata": {"name": "app"}, "data": {"MODE": "theirs"}}),
    )
    .await;
    assert_eq!(settled(port.settle(&spec, &before, &just_now).await), "unknown");
    assert_eq!(
        settled(port.settle(&spec, &before, &long_ago).await),
        "not applied"
    );
    maps(&place)
        .delete("app", &DeleteParams::default())
        .await
        .unwrap();
    // It arrives after all, and is found.
    port.apply(&spec, &before, &just_now).await.unwrap();
    assert_eq!(settled(port.settle(&spec, &before, &just_now).await), "applied");
}

#[tokio::test]
async fn a_creation_that_arrives_after_its_sender_was_replaced_is_known_as_this_runs_ever_after() {
    let Some(place) = Place::fresh("content-predecessor").await else {
        return;
    };
    let port = port(&place);
    let spec = Spec::Create {
        object: object("app"),
        namespace: place.namespace.clone(),
        to: wanted(&place, "app", json!({"MODE": "calm"})).await,
    };
    let before = port.prepare(&spec).await.unwrap();
    let stamp = |epoch| stamp("config:app", Direction::Forward, epoch);
    let run = stamp(1).run;
    // The takeover under epoch 4 finds nothing to mark; then the request of epoch 1 arrives.
    port.fence(&spec, &before, &run, Epoch(0), Epoch(4))
        .await
        .unwrap();
    port.apply(&spec, &before, &stamp(1)).await.unwrap();
    assert_eq!(settled(port.settle(&spec, &before, &stamp(4)).await), "applied");
    // The journal has it under epoch 4 now, and so has the object when the next one takes over.
    port.fence(&spec, &before, &run, Epoch(4), Epoch(7))
        .await
        .unwrap();
    let now = maps(&place).get("app").await.unwrap();
    assert_eq!(now.annotations()["astern.dev/epoch"], "7");
}

#[tokio::test]
async fn a_takeover_leaves_alone_what_somebody_else_made_under_the_name_of_a_creation() {
    let Some(place) = Place::fresh("content-theirs").await else {
        return;
    };
    let port = port(&place);
    let spec = Spec::Create {
        object: object("app"),
        namespace: place.namespace.clone(),
        to: wanted(&place, "app", json!({"MODE": "calm"})).await,
    };
    let theirs = json!({"metadata": {"name": "app"}, "data": {"MODE": "theirs"}});
    create(&maps(&place), theirs).await;
    let before = maps(&place).get("app").await.unwrap();
    let run = RunId::from("r1");
    port.fence(&spec, &Before::Absent, &run, Epoch(1), Epoch(2))
        .await
        .unwrap();
    assert_eq!(maps(&place).get("app").await.unwrap(), before);
}
