//! Argo CD Applications and Flux Kustomizations over a test's repository, and how they say that they are done.

use crate::repository::{BRANCH, Repository};
use crate::support::{Place, kubeconfig};
use serde_json::{Value, json};
use std::process::Command;

/// Slower on a machine that builds; a healthy one needs a few seconds.
const RECONCILED_WITHIN: u64 = 90;

/// An Application named after the namespace that it writes; it goes with the test, and leaves what it wrote.
pub(crate) struct Application(String);

impl Application {
    pub(crate) const NAMESPACE: &str = "argocd";

    /// Automated and healing, over one folder of the repository.
    pub(crate) fn new(place: &Place, repository: &Repository, path: &str) -> Self {
        Self::named(place, &place.namespace, repository, path)
    }

    /// The same under another name. An application of applications writes them where Argo CD is.
    pub(crate) fn named(place: &Place, name: &str, repository: &Repository, path: &str) -> Self {
        let application = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": { "name": name, "namespace": Self::NAMESPACE },
            "spec": {
                "project": "default",
                "source": { "repoURL": repository.url, "targetRevision": BRANCH, "path": path },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": place.namespace },
                "syncPolicy": { "automated": { "selfHeal": true } },
            },
        });
        let file = place.file("application.json");
        std::fs::write(&file, application.to_string()).unwrap();
        place.kubectl(&["-n", Self::NAMESPACE, "apply", "-f", file.to_str().unwrap()]);
        Self(name.to_owned())
    }

    /// One that something else makes.
    pub(crate) fn existing(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub(crate) fn patch(&self, place: &Place, patch: &str) {
        let words = [
            "-n",
            Self::NAMESPACE,
            "patch",
            "application",
            &self.0,
            "--type=merge",
            "-p",
            patch,
        ];
        place.kubectl(&words);
    }

    pub(crate) fn until_synced(&self, place: &Place, commit: &str) {
        place.until("the application is synced", RECONCILED_WITHIN, |place| {
            let application = self.get(place);
            application["status"]["sync"]["status"] == "Synced"
                && application["status"]["sync"]["revision"] == commit
                && application["status"]["operationState"]["phase"] == "Succeeded"
        });
    }

    /// It has seen this commit, and what runs is what the commit says; whether it synced or found it so.
    pub(crate) fn until_seen(&self, place: &Place, commit: &str) {
        place.until(
            "the application has seen the commit",
            RECONCILED_WITHIN,
            |place| {
                let sync = &self.get(place)["status"]["sync"];
                sync["status"] == "Synced" && sync["revision"] == commit
            },
        );
    }

    /// Switches automated sync off, or on again.
    pub(crate) fn automate(&self, place: &Place, automated: bool) {
        let policy = if automated {
            json!({ "automated": { "selfHeal": true } })
        } else {
            Value::Null
        };
        let patch = json!({ "spec": { "syncPolicy": policy } }).to_string();
        let words = [
            "-n",
            Self::NAMESPACE,
            "patch",
            "application",
            &self.0,
            "--type=merge",
            "-p",
            &patch,
        ];
        place.kubectl(&words);
    }

    pub(crate) fn get(&self, place: &Place) -> Value {
        let words = ["-n", Self::NAMESPACE, "get", "application", &self.0, "-o", "json"];
        serde_json::from_str(&place.kubectl(&words)).unwrap()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        drop(Gone(["application".to_owned(), self.0.clone()]));
    }
}

/// An object beside Argo CD, by resource and name, that goes with the test.
pub(crate) struct Gone(pub(crate) [String; 2]);

impl Drop for Gone {
    fn drop(&mut self) {
        let [resource, name] = &self.0;
        let _ = Command::new("kubectl")
            .args([
                "-n",
                Application::NAMESPACE,
                "delete",
                resource,
                name,
                "--wait=false",
            ])
            .env("KUBECONFIG", kubeconfig())
            .output();
    }
}

/// A GitRepository named `source` in the test's namespace.
pub(crate) fn flux_source(place: &Place, repository: &Repository) {
    place.put(&json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": { "name": "source", "namespace": place.namespace },
        "spec": { "interval": "2s", "url": repository.url, "ref": { "branch": BRANCH } },
    }));
}

/// A Kustomization named `shop` over one folder of the source, which reconciles every few seconds.
pub(crate) fn flux_kustomization(place: &Place, path: &str) {
    place.put(&json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": { "name": "shop", "namespace": place.namespace },
        "spec": {
            "interval": "2s",
            "path": path,
            "prune": false,
            "targetNamespace": place.namespace,
            "sourceRef": { "kind": "GitRepository", "name": "source" },
        },
    }));
}

/// A HelmRelease named `shop` of a chart in the source, which puts back what was changed beside it, and waits for no pods: a
/// bad version is installed as well as a good one.
pub(crate) fn flux_helm_release(place: &Place, chart: &str) {
    place.put(&json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": { "name": "shop", "namespace": place.namespace },
        "spec": {
            "interval": "2s",
            "driftDetection": { "mode": "enabled" },
            "install": { "disableWait": true },
            "upgrade": { "disableWait": true },
            "chart": { "spec": {
                "chart": chart,
                "interval": "2s",
                "reconcileStrategy": "Revision",
                "sourceRef": { "kind": "GitRepository", "name": "source" },
            } },
        },
    }));
}

pub(crate) fn until_ready(place: &Place, what: &str) {
    place.until(&format!("{what} is ready"), RECONCILED_WITHIN, |place| {
        let object = place.get(what);
        let conditions = object["status"]["conditions"].as_array().cloned();
        conditions
            .unwrap_or_default()
            .iter()
            .any(|each| each["type"] == "Ready" && each["status"] == "True")
    });
}
