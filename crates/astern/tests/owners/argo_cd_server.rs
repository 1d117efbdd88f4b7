//! Owners through the real argocd-server: read, paused and let go on with a token of one of its accounts.

use crate::owner::Application;
use crate::pausing::{
    SEEN_WITHIN, YES, automated, bad_release, it_stays, manifest, put_in_argocd, resume, roll_back, says,
};
use crate::repository::{BRANCH, Repository};
use crate::support::Place;
use astern_kubernetes::argocd;
use astern_model::platform::{ArgoCdServer, SecretRef};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::core::params::GetParams;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// May read and change applications.
const MAY: &str = "astern";
/// May read them.
const READS: &str = "reader";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("run `cargo xtask test --lane owners`, which sets {name}"))
}

/// The file with an account's token.
fn token(account: &str) -> PathBuf {
    PathBuf::from(variable("ASTERN_TEST_ARGOCD")).join(account)
}

/// An astern.yaml that leads to the server with this token.
fn through(place: &Place, token: &Path) {
    place.platform(&format!(
        "  owners: {{argocd: {{server: \"{}\", tokenFrom: {{file: {}}}}}}}\n",
        variable("ASTERN_TEST_ARGOCD_URL"),
        token.display()
    ));
}

/// A bad release under a healing Application.
fn scene(name: &str, account: &str) -> (Place, Repository, Application) {
    let place = Place::new(name);
    through(&place, &token(account));
    let repository = Repository::new(&place);
    repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    let application = Application::new(&place, &repository, "deploy");
    bad_release(&place, &repository);
    (place, repository, application)
}

/// Who wrote a field of the Application, by its managed fields.
fn wrote(application: &Value, field: &str) -> Vec<String> {
    let all = application["metadata"]["managedFields"].as_array().unwrap();
    let wrote = all
        .iter()
        .filter(|each| each["fieldsV1"].to_string().contains(&format!("\"f:{field}\"")));
    wrote
        .map(|each| each["manager"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_rollback_is_not_reverted_and_the_pause_and_its_end_go_through_the_server() {
    let (place, repository, application) = scene("argo-api", MAY);
    let named = format!("pause Argo CD application argocd/{}", place.namespace);
    says(&place.astern(&["plan"]).expect(0), &["1 owner paused", &named]);
    says(&roll_back(&place, &[]).expect(0), &["owners paused"]);
    it_stays(&place);
    let words = [
        "-n",
        "argocd",
        "get",
        "application",
        &place.namespace,
        "-o",
        "json",
        "--show-managed-fields",
    ];
    let paused: Value = serde_json::from_str(&place.kubectl(&words)).unwrap();
    assert_eq!(*automated(&paused), Value::Null);
    let wrote = wrote(&paused, "astern.dev/paused");
    assert!(
        wrote.iter().all(|manager| manager.starts_with("argocd")),
        "{wrote:?}"
    );

    says(
        &place.astern(&["status"]).expect(0),
        &["is paused by run r", "astern owners resume"],
    );
    says(&resume(&place, &[]).expect(3), &["AST0235", "OutOfSync"]);
    let good = repository.commit("back to v1", &[("deploy/api.yaml", &manifest("v1"))]);
    application.until_seen(&place, &good);
    resume(&place, &[]).expect(0);
    let application = application.get(&place);
    assert_eq!(automated(&application)["selfHeal"], true);
    assert_eq!(
        application["metadata"]["annotations"]["astern.dev/paused"],
        Value::Null
    );
    it_stays(&place);
    place.kubectl(&["set", "image", "deployment/api", "api=api:v0"]);
    place.until("Argo CD to heal again", SEEN_WITHIN, |place| {
        place.image("api") == "api:v1"
    });
}

/// What must be as before where nothing was changed.
fn standing(place: &Place, application: &Application) -> (Value, Value, Value) {
    let object = application.get(place);
    let deployment = place.get("deployment/api");
    (
        object["spec"].clone(),
        object["metadata"]["annotations"].clone(),
        deployment["spec"].clone(),
    )
}

#[test]
fn a_token_that_may_only_read_and_one_that_is_not_accepted_are_refused_and_nothing_is_changed() {
    let (place, _repository, application) = scene("argo-api-reader", READS);
    let before = standing(&place, &application);
    let remedy = "`p, ACCOUNT, applications, update, PROJECT/NAME, allow` in argocd-rbac-cm";
    says(
        &roll_back(&place, &[]).expect(3),
        &[
            "AST0218",
            "may update none of the applications that it sees",
            remedy,
        ],
    );
    assert_eq!(standing(&place, &application), before);

    let file = place.file("token");
    let text = std::fs::read_to_string(token(MAY)).unwrap();
    let (rest, signature) = text.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    std::fs::write(&file, format!("{rest}.{reversed}")).unwrap();
    through(&place, &file);
    let done = roll_back(&place, &[]).expect(3);
    says(
        &done,
        &[
            "AST0227",
            "does not accept the token",
            "token signature is invalid",
            "argocd account generate-token",
        ],
    );
    assert!(!format!("{done:?}").contains(&reversed), "{done:?}");
    assert_eq!(standing(&place, &application), before);
}

#[test]
fn what_somebody_changed_since_the_plan_is_kept() {
    let (place, _repository, application) = scene("argo-api-meanwhile", MAY);
    place.astern(&["plan", "-o", "plan.json"]).expect(0);
    application.patch(&place, r#"{"spec":{"syncPolicy":{"automated":{"prune":true}}}}"#);
    let before = standing(&place, &application);
    let done = place
        .astern(&[&["run", "plan.json"], &YES[..]].concat())
        .expect(3);
    says(
        &done,
        &[
            "AST0212",
            "went from automated: {\"selfHeal\":true} to automated: {\"prune\":true,\"selfHeal\":true}",
        ],
    );
    assert_eq!(standing(&place, &application), before);

    place.astern(&["plan", "-o", "plan.json"]).expect(0);
    application.patch(
        &place,
        r#"{"metadata":{"annotations":{"team":"shop"}},"spec":{"syncPolicy":{"retry":{"limit":3}}}}"#,
    );
    place
        .astern(&[&["run", "plan.json"], &YES[..]].concat())
        .expect(0);
    let object = application.get(&place);
    assert_eq!(*automated(&object), Value::Null);
    assert_eq!(object["metadata"]["annotations"]["team"], "shop");
    assert_eq!(object["spec"]["syncPolicy"]["retry"]["limit"], 3);
}

/// Asks the server in its own words.
async fn plainly(method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
    let mut config = kube::Config::new(variable("ASTERN_TEST_ARGOCD_URL").parse().unwrap());
    let token = std::fs::read_to_string(token(MAY)).unwrap();
    config.auth_info.token = Some(token.into());
    let request =
        Request::new("/api/v1/applications").create(&PostParams::default(), body.to_string().into_bytes());
    let mut request = request.unwrap();
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = format!("/api/v1/applications/{path}").parse().unwrap();
    kube::Client::try_from(config).unwrap().request(request).await
}

#[tokio::test]
async fn a_write_for_a_version_that_is_gone_is_refused_although_the_server_by_itself_would_take_it() {
    let (place, _repository, application) = scene("argo-api-version", MAY);
    let client = argocd::connect(&ArgoCdServer {
        address: variable("ASTERN_TEST_ARGOCD_URL"),
        token: SecretRef::File(token(MAY).display().to_string()),
        ca_file: None,
    })
    .await
    .unwrap();
    let (name, at) = (
        &place.namespace,
        "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications",
    );
    let read: Value = client
        .request(Request::new(at).get(name, &GetParams::default()).unwrap())
        .await
        .unwrap();
    application.patch(&place, r#"{"metadata":{"annotations":{"team":"shop"}}}"#);
    let before = standing(&place, &application);
    let patch = json!({
        "metadata": { "uid": read["metadata"]["uid"], "resourceVersion": read["metadata"]["resourceVersion"] },
        "spec": { "syncPolicy": { "automated": null } },
    });
    let request = Request::new(at).patch(name, &PatchParams::default(), &Patch::Merge(&patch));
    let refused = client.request::<Value>(request.unwrap()).await.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 409),
        "{refused:?}"
    );
    assert_eq!(standing(&place, &application), before);

    let body = json!({"name": name, "patch": patch.to_string(), "patchType": "merge"});
    let taken = plainly("PATCH", name, &body).await.unwrap();
    assert_eq!(*automated(&taken), Value::Null);
}

#[tokio::test]
async fn an_application_whose_source_cannot_be_rendered_is_not_paused_and_that_is_told() {
    let (place, repository, application) = scene("argo-api-broken", MAY);
    repository.commit(
        "broken",
        &[(
            "deploy/api.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [\n",
        )],
    );
    let manifests = format!("{}/manifests", place.namespace);
    let since = std::time::Instant::now();
    while plainly("GET", &manifests, &Value::Null).await.is_ok() {
        assert!(
            since.elapsed().as_secs() < SEEN_WITHIN,
            "Argo CD has not seen the commit"
        );
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let before = standing(&place, &application);
    let words = [
        "whose source it cannot read or render",
        "did not find expected node content",
        "--validate=false",
    ];
    says(&roll_back(&place, &[]).expect(4), &words);
    assert_eq!(standing(&place, &application), before);
}

#[test]
fn an_application_of_a_set_is_refused_since_the_server_cannot_pause_the_set() {
    let place = Place::new("argo-api-set");
    through(&place, &token(MAY));
    let repository = Repository::new(&place);
    repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    put_in_argocd(
        &place,
        &json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "ApplicationSet",
            "metadata": { "name": place.namespace, "namespace": Application::NAMESPACE },
            "spec": {
                "generators": [{ "list": { "elements": [{ "name": place.namespace }] } }],
                "template": {
                    "metadata": { "name": "{{name}}" },
                    "spec": {
                        "project": "default",
                        "source": { "repoURL": repository.url, "targetRevision": BRANCH, "path": "deploy" },
                        "destination": { "server": "https://kubernetes.default.svc", "namespace": place.namespace },
                        "syncPolicy": { "automated": { "selfHeal": true } },
                    },
                },
            },
        }),
    );
    let _set = crate::owner::Gone(["applicationset", &place.namespace].map(str::to_owned));
    let application = Application::existing(&place.namespace);
    bad_release(&place, &repository);
    let before = standing(&place, &application);
    says(
        &roll_back(&place, &[]).expect(3),
        &["AST0218", "changes no ApplicationSet", "owners.argocd.context"],
    );
    assert_eq!(standing(&place, &application), before);
}
