//! What the other tests stand on: left alone, the real Argo CD and Flux bring back what somebody else wrote.

use crate::owner::{Application, flux_helm_release, flux_kustomization, flux_source, until_ready};
use crate::repository::Repository;
use crate::support::Place;

/// Argo CD heals within a second, Flux at its next interval; a machine that builds needs longer.
const REVERTED_WITHIN: u64 = 60;

/// A Deployment `api` of version v1 as somebody keeps it in Git.
fn manifest() -> String {
    String::from(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: api\nspec:\n  replicas: 1\n  \
         selector: {matchLabels: {app: api}}\n  template:\n    metadata: {labels: {app: api}}\n    spec:\n      \
         containers:\n      - name: api\n        image: api:v1\n",
    )
}

/// Somebody writes another image, and it does not stay: the spec moves twice.
fn is_reverted(place: &Place) {
    let generation = |place: &Place| {
        place.get("deployment/api")["metadata"]["generation"]
            .as_i64()
            .unwrap()
    };
    let before = generation(place);
    place.kubectl(&["set", "image", "deployment/api", "api=api:v0"]);
    place.until("the image is reverted", REVERTED_WITHIN, |place| {
        generation(place) >= before + 2 && place.image("api") == "api:v1"
    });
}

#[test]
fn argo_cd_reverts_what_somebody_else_wrote() {
    let place = Place::new("argo-ground");
    let repository = Repository::new(&place);
    let commit = repository.commit("v1", &[("deploy/api.yaml", &manifest())]);
    let application = Application::new(&place, &repository, "deploy");
    application.until_synced(&place, &commit);
    is_reverted(&place);
}

#[test]
fn a_flux_kustomization_reverts_what_somebody_else_wrote() {
    let place = Place::new("flux-ground");
    let repository = Repository::new(&place);
    repository.commit("v1", &[("deploy/api.yaml", &manifest())]);
    flux_source(&place, &repository);
    flux_kustomization(&place, "./deploy");
    until_ready(&place, "kustomization/shop");
    is_reverted(&place);
}

#[test]
fn a_flux_helm_release_reverts_what_somebody_else_wrote() {
    let place = Place::new("flux-helm");
    let repository = Repository::new(&place);
    let chart = "apiVersion: v2\nname: shop\nversion: 0.1.0\n";
    repository.commit(
        "v1",
        &[
            ("chart/Chart.yaml", chart),
            ("chart/templates/api.yaml", &manifest()),
        ],
    );
    flux_source(&place, &repository);
    flux_helm_release(&place, "./chart");
    until_ready(&place, "helmrelease/shop");
    is_reverted(&place);
}
