//! Whether Flux may go on from a kustomization: what the real kustomize-controller would write, told before it does; and what
//! cannot be told, which is left to somebody's word.

use crate::manifest::says;
use crate::owner::{flux_kustomization, flux_source, until_ready};
use crate::repository::{BRANCH, Repository};
use crate::support::{Done, Place};
use crate::writeback::{manifest, roll_back, stays, until_good, until_image};
use serde_json::json;

const SEEN_WITHIN: u64 = 90;

fn kustomization(version: &str, level: &str) -> String {
    format!(
        "resources: [api.yaml]\nimages:\n- name: api\n  newTag: {version}\nconfigMapGenerator:\n- name: settings\n  \
         literals:\n  - LEVEL={level}\n"
    )
}

fn resume(place: &Place) -> Done {
    place.astern(&["owners", "resume", "--yes", "--reason", "merged", "--foreground"])
}

#[test]
fn flux_goes_on_from_a_kustomization_once_its_images_and_generated_names_are_what_runs() {
    let place = Place::new("flux-following");
    let repository = Repository::new(&place);
    place.platform(&format!(
        "  sources:\n  - {{repository: \"{}\", branch: {BRANCH}, path: deploy}}\n",
        repository.url
    ));
    let base = manifest("v1").replace(
        "image: api:v1",
        "envFrom: [{configMapRef: {name: settings}}]\n        image: api",
    );
    repository.commit(
        "v1",
        &[
            ("deploy/kustomization.yaml", &kustomization("v1", "info")),
            ("deploy/api.yaml", &base),
        ],
    );
    flux_source(&place, &repository);
    flux_kustomization(&place, "./deploy");
    until_ready(&place, "kustomization/shop");
    until_good(&place);
    repository.commit(
        "v2",
        &[("deploy/kustomization.yaml", &kustomization("v2", "debug"))],
    );
    until_image(&place, "v2");
    place.kubectl(&["label", "pods", "--all", "kwok.astern.dev/crash-loop=true"]);
    let run = roll_back(&place);
    stays(&place);
    let image = "deployment/api containers[api].image: api:v1 → api:v2";
    says(
        &resume(&place).expect(3),
        &["AST0235", image, "containers[api].envFrom"],
    );

    // Flux would put something into the files that they do not say: nobody looks, and the reason is named.
    let patch = |spec: serde_json::Value| {
        let patch = json!({ "spec": spec }).to_string();
        place.kubectl(&["patch", "kustomization/shop", "--type=merge", "-p", &patch]);
    };
    patch(json!({ "postBuild": { "substitute": { "tag": "v2" } } }));
    says(
        &resume(&place).expect(3),
        &[
            "AST0235",
            "its own spec.postBuild changes what the files say",
            "--source-matches shop",
        ],
    );
    patch(json!({ "postBuild": null }));

    place.astern(&["writeback", "--push"]).expect(0);
    // Merged, while Flux does not fetch: what it has fetched is applied first.
    let fetching = |on: bool| {
        let patch = json!({ "spec": { "interval": if on { "2s" } else { "1h" } } }).to_string();
        place.kubectl(&["patch", "gitrepository/source", "--type=merge", "-p", &patch]);
    };
    fetching(false);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let merged = repository.merge(&format!("astern/rollback-{run}"));
    let lags = format!("{} says what runs, and is not fetched yet", &merged[..12]);
    says(
        &resume(&place).expect(3),
        &["AST0235", image, &lags, "flux reconcile source git source"],
    );
    fetching(true);
    place.until("Flux to have fetched the merge", SEEN_WITHIN, |place| {
        let source = place.get("gitrepository/source");
        let revision = source["status"]["artifact"]["revision"].as_str();
        revision.is_some_and(|revision| revision.ends_with(&merged))
    });
    resume(&place).expect(0);
    assert_ne!(place.get("kustomization/shop")["spec"]["suspend"], true);
    stays(&place);
    until_ready(&place, "kustomization/shop");
}
