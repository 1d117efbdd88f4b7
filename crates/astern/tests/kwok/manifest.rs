//! Manifests of workloads, and what of a namespace must be as before when nothing was changed.

use crate::support::{Done, Place};
use serde_json::{Map, Value, json};

/// kwok shows such a pod as CrashLoopBackOff.
pub(crate) const CRASHES: &str = "kwok.astern.dev/crash-loop";

/// What every rollback of these tests is approved with.
pub(crate) const YES: [&str; 3] = ["--yes", "--reason", "v2 crashes"];

/// A pod template with one container of the workload's name.
pub(crate) fn pod(name: &str, version: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": name } },
        "spec": { "containers": [{ "name": name, "image": format!("{name}:{version}") }] },
    })
}

/// The same, and every pod of it crashes.
pub(crate) fn crashing(name: &str, version: &str) -> Value {
    let mut pod = pod(name, version);
    pod["metadata"]["labels"][CRASHES] = json!("true");
    pod
}

pub(crate) fn deployment(name: &str, replicas: u32, template: Value) -> Value {
    workload(
        "Deployment",
        name,
        template,
        json!({ "replicas": replicas, "progressDeadlineSeconds": 60 }),
    )
}

/// Any workload: its selector is the pods' `app`, and `more` is the rest of its spec.
pub(crate) fn workload(kind: &str, name: &str, template: Value, more: Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": { "selector": { "matchLabels": { "app": name } }, "template": template },
    });
    let spec = object["spec"].as_object_mut().unwrap();
    spec.extend(more.as_object().cloned().unwrap_or_else(Map::new));
    object
}

impl Place {
    /// Applies as a pipeline does: client-side.
    pub(crate) fn put(&self, object: &Value) {
        self.apply(&object.to_string());
    }

    /// Applies it, and waits until it is rolled out and old enough to be presumed good.
    pub(crate) fn roll_out(&self, object: &Value) {
        self.put(object);
        let kind = object["kind"].as_str().unwrap();
        let name = object["metadata"]["name"].as_str().unwrap();
        self.kubectl(&["rollout", "status", &format!("{kind}/{name}"), "--timeout=60s"]);
        std::thread::sleep(std::time::Duration::from_millis(1200));
    }

    /// Waits until the API shows a crash loop.
    pub(crate) fn until_it_crashes(&self) {
        self.until("the crash loop", 60, |place| {
            place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
        });
    }

    /// Adds to the policy of this place's astern.yaml.
    pub(crate) fn policy(&self, more: &str) {
        let file = self.file("astern.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let wanted = text.replace("policy: {", &format!("policy: {{{more}, "));
        assert_ne!(wanted, text, "no policy to add to");
        std::fs::write(&file, wanted).unwrap();
    }

    /// Rolls back everything with the usual reason, in this process's sight.
    pub(crate) fn roll_back(&self, more: &[&str]) -> Done {
        self.astern(&[&["rollback"], &YES[..], more].concat())
    }

    /// What nobody but their owners may have touched: each workload's annotations, labels and spec. Its controller numbers
    /// revisions in the annotations, so it is waited for.
    pub(crate) fn standing(&self) -> Value {
        self.until("the controllers to have seen every workload", 30, |place| {
            let listed = place.get("deployments,statefulsets,daemonsets");
            let mut items = listed["items"].as_array().unwrap().iter();
            items.all(|item| item["status"]["observedGeneration"] == item["metadata"]["generation"])
        });
        let listed = self.get("deployments,statefulsets,daemonsets");
        let items = listed["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| {
                let metadata = &item["metadata"];
                json!([
                    item["kind"],
                    metadata["name"],
                    metadata["generation"],
                    metadata["annotations"],
                    metadata["labels"],
                    item["spec"],
                ])
            })
            .collect()
    }

    /// Pods as name and uid, in the order of their names.
    pub(crate) fn pods(&self) -> Vec<(String, String)> {
        let listed = self.get("pods");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let items = listed["items"].as_array().unwrap();
        items
            .iter()
            .map(|pod| (text(&pod["metadata"]["name"]), text(&pod["metadata"]["uid"])))
            .collect()
    }
}

/// The command was refused with exit code 3, said all of `words`, and changed no workload.
pub(crate) fn refused(place: &Place, words: &[&str], command: impl FnOnce(&Place) -> Done) -> Done {
    let before = place.standing();
    let done = command(place).expect(3);
    says(&done, words);
    assert_eq!(place.standing(), before, "a refusal changed something");
    done
}

/// All of `words` stand in what was printed.
pub(crate) fn says(done: &Done, words: &[&str]) {
    for word in words {
        assert!(
            done.err.contains(word) || done.out.contains(word),
            "`{word}` is not said.\nstdout:\n{}\nstderr:\n{}",
            done.out,
            done.err
        );
    }
}
