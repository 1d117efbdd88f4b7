//! Who else would write a workload: Argo CD and Flux by their marks and their own objects.

use crate::manifest::{refused, says};
use crate::support::Place;
use serde_json::{Value, json};

const APPLICATION: (&str, &str, &str) = ("argoproj.io", "v1alpha1", "Application");
const KUSTOMIZATION: (&str, &str, &str) = ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization");
const HELM_RELEASE: (&str, &str, &str) = ("helm.toolkit.fluxcd.io", "v2", "HelmRelease");

/// A resource definition without a schema. It belongs to no namespace, and tests beside this one use it too: it stays.
fn define((group, version, kind): (&str, &str, &str), place: &Place) {
    let plural = format!("{}s", kind.to_lowercase());
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    place.put(&json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind },
            "versions": [{ "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": open } }],
        },
    }));
    place.kubectl(&[
        "wait",
        "crd",
        &format!("{plural}.{group}"),
        "--for=condition=Established",
        "--timeout=60s",
    ]);
}

/// An owner's object in the namespace of its workload. `more` is its spec, its status, its operation.
fn owner((group, version, kind): (&str, &str, &str), place: &Place, name: &str, more: &Value) {
    let mut object = json!({
        "apiVersion": format!("{group}/{version}"),
        "kind": kind,
        "metadata": { "name": name, "namespace": place.namespace },
    });
    object
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    place.put(&object);
}

/// Its plan passes the gate; everything that it says.
fn passes(place: &Place, words: &[&str]) -> String {
    let done = place.astern(&["plan"]).expect(0);
    says(&done, words);
    done.out + &done.err
}

fn refuses(place: &Place, words: &[&str]) {
    refused(place, words, |place| place.astern(&["plan"]));
}

#[test]
fn argo_cd_is_known_by_the_label_of_charts_where_it_wrote_the_workload() {
    let place = Place::new("argo-label");
    place.platform("");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    let instance = format!("app.kubernetes.io/instance={}_shop", place.namespace);
    place.kubectl(&[
        "label",
        "deployment/api",
        &instance,
        "--field-manager=argocd-controller",
    ]);
    let automated = |self_heal: bool| json!({ "syncPolicy": { "automated": { "selfHeal": self_heal } } });
    owner(APPLICATION, &place, "shop", &json!({ "spec": automated(true) }));
    refuses(
        &place,
        &[
            "AST0227",
            "written by argocd-controller",
            "automated.selfHeal: true",
            "argocd app set shop",
        ],
    );
    let running = json!({ "spec": automated(true), "status": { "operationState": { "phase": "Running" } } });
    owner(APPLICATION, &place, "shop", &running);
    refuses(&place, &["AST0219", "a sync is running"]);
    let done = json!({ "spec": automated(false), "status": { "operationState": { "phase": "Succeeded" } } });
    owner(APPLICATION, &place, "shop", &done);
    passes(
        &place,
        &["AST0227", "automated without selfHeal", "at its next sync"],
    );
    place.kubectl(&["delete", "application/shop"]);
    owner(APPLICATION, &place, "shop", &json!({ "spec": {} }));
    passes(&place, &["syncPolicy.automated is not set", "at its next sync"]);
}

#[test]
fn the_label_of_charts_alone_is_a_hint_that_the_application_must_bear_out() {
    let place = Place::new("argo-hint");
    place.platform("");
    place.bad_release("api", 1);
    define(APPLICATION, &place);
    // Argo CD need not lie in the namespace `argocd`: an application of this name is looked for everywhere.
    let name = format!("app-{}", place.namespace);
    place.kubectl(&[
        "label",
        "deployment/api",
        &format!("app.kubernetes.io/instance={name}"),
    ]);
    assert!(!passes(&place, &[]).contains("Argo"));
    let listing = |workload: &str| {
        json!({
            "spec": { "syncPolicy": { "automated": { "selfHeal": true } } },
            "status": { "resources": [
                { "group": "apps", "kind": "Deployment", "namespace": place.namespace, "name": workload },
            ] },
        })
    };
    owner(APPLICATION, &place, &name, &listing("another"));
    assert!(!passes(&place, &[]).contains("Argo"));
    owner(APPLICATION, &place, &name, &listing("api"));
    refuses(
        &place,
        &["AST0227", "the application lists it", "automated.selfHeal: true"],
    );
}

#[test]
fn flux_is_refused_while_it_reconciles_and_named_while_it_is_suspended() {
    let place = Place::new("flux");
    place.platform("");
    place.bad_release("api", 1);
    let kinds = [
        (KUSTOMIZATION, "flux suspend kustomization shop"),
        (HELM_RELEASE, "flux suspend helmrelease shop"),
    ];
    for (kind, pause) in kinds {
        define(kind, &place);
        let mark = |label: &str| place.kubectl(&["label", "deployment/api", label]);
        mark(&format!("{}/name=shop", kind.0));
        mark(&format!("{}/namespace={}", kind.0, place.namespace));
        owner(kind, &place, "shop", &json!({ "spec": { "interval": "10m" } }));
        refuses(&place, &["AST0227", "reconciles every 10m", pause]);
        owner(
            kind,
            &place,
            "shop",
            &json!({ "spec": { "interval": "10m", "suspend": true } }),
        );
        passes(&place, &["AST0227", "spec.suspend: true", "once it is resumed"]);
        mark(&format!("{}/name-", kind.0));
        mark(&format!("{}/namespace-", kind.0));
    }
}
