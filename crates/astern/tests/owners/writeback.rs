//! A rollback, its revert in Git, and the owner that goes on from there: what serves is the good version, and it stays.

use crate::owner::{Application, flux_kustomization, flux_source, until_ready};
use crate::repository::{BRANCH, Repository};
use crate::support::Place;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// Longer than Argo CD needs to heal, and than Flux' interval.
const WATCHED: Duration = Duration::from_secs(6);

/// A Deployment `api` as somebody keeps it in Git; v2 crashes (kwok's label).
pub(crate) fn manifest(version: &str) -> String {
    let crash = if version == "v2" {
        "\n        kwok.astern.dev/crash-loop: \"true\""
    } else {
        ""
    };
    format!(
        "# kept by the shop team\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: api\nspec:\n  replicas: 1\n  \
         progressDeadlineSeconds: 60\n  selector: {{matchLabels: {{app: api}}}}\n  template:\n    metadata:\n      labels:\n        \
         app: api{crash}\n    spec:\n      containers:\n      - name: api\n        image: api:{version} # by the pipeline\n"
    )
}

pub(crate) fn until_image(place: &Place, version: &str) {
    let image = format!("api:{version}");
    place.until(&format!("{image} is asked for"), 60, |place| {
        place.kubectl(&["get", "deployments"]).contains("api") && place.image("api") == image
    });
}

pub(crate) fn until_good(place: &Place) {
    until_image(place, "v1");
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=60s"]);
    // Old enough to be presumed good.
    std::thread::sleep(Duration::from_millis(1500));
}

/// Rolls back what has crashed; the run.
pub(crate) fn roll_back(place: &Place) -> String {
    place.until_it_crashes();
    place
        .astern(&[
            "rollback",
            "--yes",
            "--foreground",
            "--reason",
            "errors since 14:02",
        ])
        .expect(0);
    assert_eq!(place.image("api"), "api:v1");
    let runs = place.astern(&["runs", "-o", "json"]).expect(0).json();
    let run = runs.pointer("/items/0/run");
    run.and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{runs}"))
        .to_owned()
}

/// Nobody writes the bad version back while this is watched.
pub(crate) fn stays(place: &Place) {
    let since = std::time::Instant::now();
    while since.elapsed() < WATCHED {
        assert_eq!(place.image("api"), "api:v1");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn argo_cd_goes_on_from_the_revert_and_keeps_the_good_version() {
    let place = Place::new("argo-writeback");
    place.platform("");
    let repository = Repository::new(&place);
    let good = repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    let application = Application::new(&place, &repository, "deploy");
    application.until_synced(&place, &good);
    until_good(&place);
    repository.commit("v2", &[("deploy/api.yaml", &manifest("v2"))]);
    until_image(&place, "v2");
    application.automate(&place, false);
    let run = roll_back(&place);

    // First only files, and the remote as it was.
    let told = place.astern(&["writeback", &run, "--folder", "files"]).expect(0);
    assert!(
        told.out.contains("api:v2 → api:v1") && told.out.contains("nothing was pushed"),
        "{}",
        told.out
    );
    let patch = place.file(&format!("files/{run}.patch"));
    let mode = std::fs::metadata(&patch).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let patch = std::fs::read_to_string(patch).unwrap();
    assert!(
        patch.contains("+        image: api:v1 # by the pipeline"),
        "{patch}"
    );
    let text = std::fs::read_to_string(place.file(&format!("files/{run}.md"))).unwrap();
    assert!(
        text.contains("errors since 14:02") && text.contains(&run),
        "{text}"
    );
    assert_eq!(repository.branches(), [BRANCH]);

    let branch = format!("astern/rollback-{run}");
    let told = place
        .astern(&["writeback", &run, "--push", "-o", "json"])
        .expect(0)
        .json();
    let pushed = &told["sources"][0]["branch"];
    assert_eq!(
        (&pushed["name"], &pushed["pushed"]),
        (&Value::from(branch.clone()), &Value::from(true))
    );
    assert_eq!(repository.show(&branch, "deploy/api.yaml"), manifest("v1"));
    assert_eq!(repository.show(BRANCH, "deploy/api.yaml"), manifest("v2"));
    let again = place
        .astern(&["writeback", &run, "--push", "-o", "json"])
        .expect(0)
        .json();
    assert_eq!(again, told);

    let merged = repository.merge(&branch);
    // Switched on before it has seen the merge, it would sync what it saw last: the bad version.
    application.until_seen(&place, &merged);
    application.automate(&place, true);
    stays(&place);
    // It heals still, now onto the good version.
    place.kubectl(&["set", "image", "deployment/api", "api=api:v0"]);
    until_image(&place, "v1");
}

#[test]
fn flux_goes_on_from_the_revert_of_a_kustomization() {
    let place = Place::new("flux-writeback");
    place.platform("");
    let repository = Repository::new(&place);
    // The image and the settings are the kustomization's alone; the name of the settings' ConfigMap follows from what they are.
    let kustomization = |version: &str, level: &str| {
        format!(
            "resources: [api.yaml]\nimages:\n- name: api # bumped by the pipeline\n  newTag: {version}\nconfigMapGenerator:\n- name: settings\n  \
             literals:\n  - LEVEL={level} # by hand\n"
        )
    };
    let base = manifest("v1").replace(
        "image: api:v1",
        "envFrom: [{configMapRef: {name: settings}}]\n        image: api",
    );
    let first = [
        ("deploy/kustomization.yaml", kustomization("v1", "info")),
        ("deploy/api.yaml", base.clone()),
    ];
    repository.commit("v1", &first.each_ref().map(|(path, text)| (*path, text.as_str())));
    flux_source(&place, &repository);
    flux_kustomization(&place, "./deploy");
    until_ready(&place, "kustomization/shop");
    until_good(&place);
    repository.commit(
        "v2",
        &[("deploy/kustomization.yaml", &kustomization("v2", "debug"))],
    );
    until_image(&place, "v2");
    let suspend = |on: bool| {
        let patch = format!("{{\"spec\":{{\"suspend\":{on}}}}}");
        place.kubectl(&["patch", "kustomization/shop", "--type=merge", "-p", &patch]);
    };
    suspend(true);
    place.kubectl(&["label", "pods", "--all", "kwok.astern.dev/crash-loop=true"]);
    let run = roll_back(&place);
    let branch = format!("astern/rollback-{run}");
    place.astern(&["writeback", "--push"]).expect(0);
    assert_eq!(
        repository.show(&branch, "deploy/kustomization.yaml"),
        kustomization("v1", "info")
    );
    assert_eq!(repository.show(&branch, "deploy/api.yaml"), base);
    repository.merge(&branch);
    // Flux sees the merge before it goes on.
    std::thread::sleep(Duration::from_secs(4));
    suspend(false);
    stays(&place);
    until_ready(&place, "kustomization/shop");
}
