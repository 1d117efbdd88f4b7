//! A bad release under GitOps from its rollback to its end, by astern's own commands alone: the owner is paused, Git is put right, the
//! owner goes on, and heals as before.

use crate::manifest::says;
use crate::owner::{Application, flux_kustomization, flux_source, until_ready};
use crate::repository::{BRANCH, Repository};
use crate::support::{Done, Place};
use crate::writeback::{manifest, roll_back, stays, until_good, until_image};
use serde_json::Value;

/// An owner sees a commit within its polling interval of ten seconds; a machine that builds needs longer.
const SEEN_WITHIN: u64 = 90;

/// The revert of the newest run, as a branch that somebody merges; the merge.
fn merged_revert(place: &Place, repository: &Repository, run: &str) -> String {
    place.astern(&["writeback", "--push"]).expect(0);
    let branch = format!("astern/rollback-{run}");
    assert_eq!(repository.show(BRANCH, "deploy/api.yaml"), manifest("v2"));
    let merged = repository.merge(&branch);
    assert_eq!(repository.show(BRANCH, "deploy/api.yaml"), manifest("v1"));
    merged
}

fn resume(place: &Place, more: &[&str]) -> Done {
    let words = ["owners", "resume", "--yes", "--reason", "merged", "--foreground"];
    place.astern(&[&words[..], more].concat())
}

/// Somebody writes another image, and the owner brings the good version back.
fn heals(place: &Place) {
    place.kubectl(&["set", "image", "deployment/api", "api=api:v0"]);
    until_image(place, "v1");
}

#[test]
fn a_bad_release_under_argo_cd_is_over_once_its_revert_is_merged_and_argo_cd_heals_again() {
    let place = Place::new("argo-story");
    place.platform("");
    let repository = Repository::new(&place);
    let good = repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    let application = Application::new(&place, &repository, "deploy");
    application.until_synced(&place, &good);
    until_good(&place);
    repository.commit("v2", &[("deploy/api.yaml", &manifest("v2"))]);
    until_image(&place, "v2");

    let run = roll_back(&place);
    let automated = |place: &Place| application.get(place)["spec"]["syncPolicy"]["automated"].clone();
    assert_eq!(automated(&place), Value::Null);
    stays(&place);
    let merged = merged_revert(&place, &repository, &run);
    application.until_seen(&place, &merged);
    resume(&place, &[]).expect(0);
    assert_eq!(automated(&place)["selfHeal"], true);
    stays(&place);
    application.until_seen(&place, &merged);
    heals(&place);
}

#[test]
fn a_bad_release_under_a_flux_kustomization_is_over_once_its_revert_is_merged_and_flux_heals_again() {
    let place = Place::new("flux-story");
    let repository = Repository::new(&place);
    place.platform(&format!(
        "  sources:\n  - {{repository: \"{}\", branch: {BRANCH}, path: deploy}}\n",
        repository.url
    ));
    repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    flux_source(&place, &repository);
    flux_kustomization(&place, "./deploy");
    until_ready(&place, "kustomization/shop");
    until_good(&place);
    repository.commit("v2", &[("deploy/api.yaml", &manifest("v2"))]);
    until_image(&place, "v2");

    let run = roll_back(&place);
    assert_eq!(place.get("kustomization/shop")["spec"]["suspend"], true);
    stays(&place);
    // Before the merge Flux would write the bad version back: each place of it is named, and nobody's word is taken.
    let named = [
        "AST0235",
        "deployment/api containers[api].image: api:v1 → api:v2",
        "deployment/api metadata.labels[kwok.astern.dev/crash-loop]: nothing → true",
        &format!("astern writeback {run} --push"),
    ];
    says(&resume(&place, &["shop"]).expect(3), &named);
    says(
        &resume(&place, &["shop", "--source-matches", "shop"]).expect(3),
        &named,
    );
    assert_eq!(place.get("kustomization/shop")["spec"]["suspend"], true);
    let merged = merged_revert(&place, &repository, &run);
    place.until("Flux to have fetched the merge", SEEN_WITHIN, |place| {
        let source = place.get("gitrepository/source");
        let revision = source["status"]["artifact"]["revision"].as_str();
        revision.is_some_and(|revision| revision.ends_with(&merged))
    });
    let told = place.astern(&["owners"]).expect(0);
    says(&told, &[&format!("is what runs, at {}", &merged[..12])]);
    // Nobody says so: it was looked at.
    resume(&place, &[]).expect(0);
    assert_ne!(place.get("kustomization/shop")["spec"]["suspend"], true);
    stays(&place);
    place.until("Flux to have applied the merge", SEEN_WITHIN, |place| {
        let status = &place.get("kustomization/shop")["status"];
        let applied = status["lastAppliedRevision"].as_str();
        applied.is_some_and(|revision| revision.ends_with(&merged))
    });
    until_ready(&place, "kustomization/shop");
    heals(&place);
}
