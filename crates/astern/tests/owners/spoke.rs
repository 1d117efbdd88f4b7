//! The real Argo CD in a hub: it deploys to another cluster, in which the platform lives and nobody knows of Argo CD.

use crate::owner::{Application, Gone};
use crate::pausing::{SEEN_WITHIN, YES, automated, manifest, put_in_argocd, says};
use crate::repository::{BRANCH, Repository};
use crate::support::{Done, Place, config_of, kubeconfig, kubectl_of, with_hub};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Argo CD heals within a second here.
const WATCHED: Duration = Duration::from_secs(8);

/// The platform's cluster. Its namespace has the name of the test's own in the hub.
struct Spoke<'a> {
    place: &'a Place,
    /// It as the current context, and the hub as context `hub`.
    kubeconfig: PathBuf,
}

impl<'a> Spoke<'a> {
    fn new(place: &'a Place) -> Self {
        let own = std::env::var_os("ASTERN_TEST_SPOKE")
            .unwrap_or_else(|| panic!("run `cargo xtask test --lane owners`, which sets ASTERN_TEST_SPOKE"));
        let kubeconfig = with_hub(place, Path::new(&own), &kubeconfig());
        let spoke = Self { place, kubeconfig };
        spoke.kubectl(&["create", "namespace", &place.namespace]);
        spoke
    }

    fn kubectl(&self, words: &[&str]) -> String {
        kubectl_of(
            &self.kubeconfig,
            &[&["-n", &self.place.namespace], words].concat(),
        )
    }

    fn get(&self, what: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", what, "-o", "json"])).unwrap()
    }

    fn astern(&self, words: &[&str]) -> Done {
        self.place.astern_as(&self.kubeconfig, words)
    }

    /// As Argo CD is told of a cluster. Source: its declarative set-up of clusters.
    fn registered(&self) -> Gone {
        let config = config_of(&self.kubeconfig);
        let cluster = &config["clusters"][0]["cluster"];
        let name = format!("cluster-{}", self.place.namespace);
        let access = json!({
            "bearerToken": config["users"][0]["user"]["token"],
            "tlsClientConfig": { "caData": cluster["certificate-authority-data"] },
        });
        put_in_argocd(
            self.place,
            &json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": name, "labels": { "argocd.argoproj.io/secret-type": "cluster" } },
                "stringData": { "name": name, "server": cluster["server"], "config": access.to_string() },
            }),
        );
        Gone(["secret".to_owned(), name])
    }

    /// An Application in the hub that heals what it deploys here.
    fn application(&self, repository: &Repository) -> Application {
        let config = config_of(&self.kubeconfig);
        let name = self.place.namespace.as_str();
        put_in_argocd(
            self.place,
            &json!({
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Application",
                "metadata": { "name": name },
                "spec": {
                    "project": "default",
                    "source": { "repoURL": repository.url, "targetRevision": BRANCH, "path": "deploy" },
                    "destination": { "server": config["clusters"][0]["cluster"]["server"], "namespace": name },
                    "syncPolicy": { "automated": { "selfHeal": true } },
                },
            }),
        );
        Application::existing(name)
    }

    fn image(&self) -> String {
        let deployments = self.get("deployments");
        let api = deployments["items"]
            .as_array()
            .unwrap()
            .first()
            .cloned()
            .unwrap_or_default();
        let image = api.pointer("/spec/template/spec/containers/0/image");
        image.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn until(&self, what: &str, good: impl Fn(&Self) -> bool) {
        self.place.until(what, SEEN_WITHIN, |_| good(self));
    }

    /// Nobody writes v1 away.
    fn stays(&self) {
        let since = Instant::now();
        while since.elapsed() < WATCHED {
            assert_eq!(self.image(), "api:v1");
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

#[test]
fn argo_cd_in_a_hub_is_paused_there_does_not_write_back_here_and_goes_on_once_git_says_what_runs() {
    let place = Place::new("spoke");
    place.platform("  owners: {argocd: {context: hub}}\n");
    let spoke = Spoke::new(&place);
    let repository = Repository::new(&place);
    repository.commit("v1", &[("deploy/api.yaml", &manifest("v1"))]);
    let _registered = spoke.registered();
    let application = spoke.application(&repository);
    spoke.until("v1 to be deployed from the hub", |spoke| {
        spoke.image() == "api:v1"
    });
    spoke.kubectl(&["rollout", "status", "deployment/api", "--timeout=90s"]);
    // Left alone, the hub brings back what somebody else wrote.
    spoke.kubectl(&["set", "image", "deployment/api", "api=api:v0"]);
    spoke.until("the hub to heal", |spoke| spoke.image() == "api:v1");
    std::thread::sleep(Duration::from_millis(1500));
    repository.commit("v2", &[("deploy/api.yaml", &manifest("v2"))]);
    spoke.until("v2 to crash", |spoke| {
        spoke.image() == "api:v2" && spoke.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
    });

    let name = format!("Argo CD application argocd/{}", place.namespace);
    says(&spoke.astern(&["plan"]).expect(0), &[&format!("pause {name}")]);
    says(
        &spoke.astern(&[&["rollback"], &YES[..]].concat()).expect(0),
        &["owners paused"],
    );
    assert_eq!(*automated(&application.get(&place)), Value::Null);
    spoke.stays();
    let resume = [&["owners", "resume"], &YES[..]].concat();
    says(
        &spoke.astern(&["status"]).expect(0),
        &[&format!("{name} is paused by run r")],
    );
    let early = spoke.astern(&resume);
    assert!([3, 4].contains(&early.code), "{early:?}");

    let good = repository.commit("back to v1", &[("deploy/api.yaml", &manifest("v1"))]);
    application.until_seen(&place, &good);
    spoke.astern(&resume).expect(0);
    assert_eq!(automated(&application.get(&place))["selfHeal"], true);
    spoke.stays();
    spoke.kubectl(&["set", "image", "deployment/api", "api=api:v0"]);
    spoke.until("the hub to heal again", |spoke| spoke.image() == "api:v1");
    spoke.kubectl(&["delete", "namespace", &place.namespace, "--wait=false"]);
}
