//! What the owners' port promises and only a real API server can hold.

use super::Place;
use super::system_clock::SystemClock;
use astern_kubernetes::effects::KubernetesOwners;
use astern_kubernetes::look::OwnersAt;
use astern_model::failure::FailureClass;
use astern_model::id::{Direction, EffectKey, Epoch, RunId, StepId, Uid};
use astern_model::owner::{OwnerName, PausableKind};
use astern_model::step::owner::{After, Pin, Spec};
use astern_model::step::workload::Stamp;
use astern_port::provider::Provider;
use jiff::SignedDuration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn applications(place: &Place) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
    let resource = ApiResource::from_gvk_with_plural(&kind, "applications");
    Api::namespaced_with(place.client.clone(), &place.namespace, &resource)
}

/// Application `shop`, which run r1 has paused under this epoch; without a schema, as tests beside this one have it.
async fn paused(place: &Place, epoch: u64) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": "applications.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {"plural": "applications", "singular": "application", "kind": "Application"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": open}}],
        },
    }))
    .unwrap();
    // Another test may have made it, and it stays.
    let _ = Api::all(place.client.clone())
        .create(&PostParams::default(), &definition)
        .await;
    let mark = json!({"run": "r1", "namespace": "shop", "at": "2026-11-23T14:12:00Z", "due": "2026-11-24T14:12:00Z",
        "was": {"selfHeal": true}});
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "annotations": {
            "astern.dev/paused": mark.to_string(), "astern.dev/run": "r1", "astern.dev/epoch": epoch.to_string(),
        }},
        "spec": {"syncPolicy": {}},
    }))
    .unwrap();
    for _ in 0..50 {
        if applications(place)
            .create(&PostParams::default(), &object)
            .await
            .is_ok()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    now(place).await
}

async fn now(place: &Place) -> Value {
    serde_json::to_value(applications(place).get("shop").await.unwrap()).unwrap()
}

fn resume(place: &Place, object: &Value) -> Spec {
    Spec::Resume {
        owner: OwnerName {
            kind: PausableKind::Application,
            namespace: place.namespace.clone(),
            name: "shop".to_owned(),
        },
        pin: Pin {
            uid: Uid(object["metadata"]["uid"].as_str().unwrap().to_owned()),
            setting: Value::Null,
        },
        paused_by: Some(RunId::from("r1")),
        if_in_sync: true,
        to: json!({"selfHeal": true}),
    }
}

fn stamp(epoch: u64) -> Stamp {
    let run = RunId::from("r1");
    Stamp {
        key: EffectKey::of(&run, &StepId::from("resume:shop"), Direction::Forward),
        epoch: Epoch(epoch),
        run,
        reason: "a test".to_owned(),
        open_for: SignedDuration::ZERO,
    }
}

fn port(place: &Place) -> KubernetesOwners {
    KubernetesOwners::new(OwnersAt::here(place.client.clone()), Arc::new(SystemClock))
}

#[tokio::test]
async fn an_owner_that_goes_on_already_is_found_so_and_not_asked_again() {
    let Some(place) = Place::fresh("owner-again").await else {
        return;
    };
    let object = paused(&place, 1).await;
    let (port, spec, stamp) = (port(&place), resume(&place, &object), stamp(1));
    let before = port.prepare(&spec).await.unwrap();
    let wanted = After::Written {
        setting: json!({"selfHeal": true}),
    };
    assert_eq!(port.apply(&spec, &before, &stamp).await.unwrap(), wanted);
    let once = now(&place).await;
    assert_eq!(once["metadata"]["annotations"]["astern.dev/paused"], Value::Null);
    assert_eq!(port.apply(&spec, &before, &stamp).await.unwrap(), wanted);
    assert_eq!(now(&place).await, once);
}

#[tokio::test]
async fn a_holder_that_was_followed_by_another_asks_an_owner_nothing() {
    let Some(place) = Place::fresh("owner-late").await else {
        return;
    };
    let object = paused(&place, 9).await;
    let (port, spec) = (port(&place), resume(&place, &object));
    let before = port.prepare(&spec).await.unwrap();
    let failure = port.apply(&spec, &before, &stamp(1)).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Conflict, "{failure:?}");
    assert_eq!(now(&place).await, object);
}
