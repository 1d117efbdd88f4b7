//! What ConfigMaps held and workloads asked for before a bad release, by the history that the real Argo CD and the real Flux keep of what they deployed.

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
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api}}\nspec:\n  replicas: 1\n  strategy: {{type: Recreate}}\n  selector: {{matchLabels: {{app: api}}}}\n  \
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

/// Two releases by way of Git, each with content of its own; the rollback puts back what the first one's commit holds, the template too
/// where the cluster has pruned it, and names who had deployed it.
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
    let origin = |file: &str| {
        format!(
            "Git commit {} (deploy/{file}), which {deployed_by} deployed 20",
            &good[..12]
        )
    };
    let content = format!("configmap/app-config goes back to {}", origin("app.yaml"));
    let plan = place.astern(&["plan"]).expect(0);
    says(&plan, &[&content, "data[MODE]: storm → calm"]);
    assert!(!plan.out.contains(&origin("api.yaml")), "{}", plan.out);
    prune(place);
    let plan = place.astern(&["plan"]).expect(0);
    let template = format!("from {}", origin("api.yaml"));
    says(
        &plan,
        &[&content, &template, "the cluster remembers no replicaset of it"],
    );
    roll_back(place, &[]).expect(0);
    assert_eq!(
        (place.image("api"), mode(place)),
        ("api:v1".to_owned(), "calm".into())
    );
}

/// What `revisionHistoryLimit` comes to after some releases more.
fn prune(place: &Place) {
    let sets = place.get("replicasets");
    let former = sets["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == "api:v1");
    let name = former.unwrap()["metadata"]["name"].as_str().unwrap();
    place.kubectl(&["delete", "replicaset", name]);
}

#[test]
fn a_config_map_and_a_pruned_template_go_back_to_the_commit_that_argo_cd_says_it_had_deployed() {
    let place = Place::new("argo-history");
    let repository = Repository::new(&place);
    let by = format!("Argo CD application argocd/{}", place.namespace);
    let mut application = None;
    goes_back(&place, &repository, &by, || {
        application = Some(Application::new(&place, &repository, "deploy"));
    });
}

#[test]
fn a_config_map_and_a_pruned_template_go_back_to_the_commit_that_flux_says_it_had_deployed() {
    let place = Place::new("flux-history");
    let repository = Repository::new(&place);
    let by = format!("Flux Kustomization {}/shop", place.namespace);
    goes_back(&place, &repository, &by, || {
        flux_source(&place, &repository);
        flux_kustomization(&place, "./deploy");
    });
}
