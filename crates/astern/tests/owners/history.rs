//! What ConfigMaps held before a bad release, by the history that the real Argo CD and the real Flux keep of what they deployed.

use crate::manifest::says;
use crate::owner::{Application, flux_kustomization, flux_source};
use crate::pausing::{SEEN_WITHIN, roll_back};
use crate::repository::Repository;
use crate::support::Place;

/// Times that lie closer together are taken for those of one release.
const APART: std::time::Duration = std::time::Duration::from_secs(7);

/// A ConfigMap, and Deployment `api`, which reads it; v2 crashes.
fn files(version: &str, mode: &str) -> [(&'static str, String); 2] {
    let crashes = if version == "v2" {
        ", kwok.astern.dev/crash-loop: \"true\""
    } else {
        ""
    };
    let config =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app-config}}\ndata: {{MODE: {mode}}}\n");
    let api = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: api}}}}\n  \
         template:\n    metadata: {{labels: {{app: api{crashes}}}}}\n    spec:\n      containers:\n      - name: api\n        \
         image: api:{version}\n        envFrom: [{{configMapRef: {{name: app-config}}}}]\n"
    );
    [("deploy/app.yaml", config), ("deploy/api.yaml", api)]
}

fn commit(repository: &Repository, version: &str, mode: &str) -> String {
    let files = files(version, mode);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    repository.commit(version, &files)
}

/// Two releases by way of Git, each with content of its own; the rollback puts back what the first one's commit holds, and names
/// who had deployed it.
fn goes_back(place: &Place, repository: &Repository, deployed_by: &str, follow: impl FnOnce()) {
    place.platform(&format!(
        "  sources:\n  - {{repository: \"{}\", path: deploy}}\n",
        repository.url
    ));
    let good = commit(repository, "v1", "calm");
    follow();
    place.until("v1 to be there", SEEN_WITHIN, |place| {
        place
            .kubectl(&["get", "deployments", "-o", "name"])
            .contains("api")
    });
    place.kubectl(&["rollout", "status", "deployment/api", "--timeout=90s"]);
    std::thread::sleep(APART);
    commit(repository, "v2", "storm");
    place.until("v2 to crash", SEEN_WITHIN, |place| {
        place.image("api") == "api:v2" && place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });
    let mode = |place: &Place| place.get("configmap/app-config")["data"]["MODE"].clone();
    assert_eq!(mode(place), "storm");
    let origin = format!(
        "Git commit {} (deploy/app.yaml), which {deployed_by} deployed 20",
        &good[..12]
    );
    let plan = place.astern(&["plan"]).expect(0);
    says(
        &plan,
        &[
            &format!("configmap/app-config goes back to {origin}"),
            "data[MODE]: storm → calm",
        ],
    );
    roll_back(place, &[]).expect(0);
    assert_eq!(
        (place.image("api"), mode(place)),
        ("api:v1".to_owned(), "calm".into())
    );
}

#[test]
fn a_config_map_goes_back_to_the_commit_that_argo_cd_says_it_had_deployed() {
    let place = Place::new("argo-history");
    let repository = Repository::new(&place);
    let by = format!("Argo CD application argocd/{}", place.namespace);
    let mut application = None;
    goes_back(&place, &repository, &by, || {
        application = Some(Application::new(&place, &repository, "deploy"));
    });
}

#[test]
fn a_config_map_goes_back_to_the_commit_that_flux_says_it_had_deployed() {
    let place = Place::new("flux-history");
    let repository = Repository::new(&place);
    let by = format!("Flux Kustomization {}/shop", place.namespace);
    goes_back(&place, &repository, &by, || {
        flux_source(&place, &repository);
        flux_kustomization(&place, "./deploy");
    });
}
