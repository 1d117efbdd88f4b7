//! Bad releases that take a while to take back, the process that does it, and what the API server saw of it.

use crate::support::{Done, Place, kubeconfig};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Seconds that any run of these tests may take, with a takeover (15 s) and a busy machine.
pub(super) const RUN_SECONDS: u64 = 120;

/// Another person's kubeconfig for the same cluster.
pub(super) fn other() -> PathBuf {
    kubeconfig().with_file_name("other.kubeconfig")
}

/// Restored, and validated as far as pods without logs can be.
pub(super) fn restored(code: i32) -> bool {
    matches!(code, 0 | 5)
}

pub(super) fn signal(name: &str, to: &str) {
    let status = Command::new("kill").args([name, "--", to]).status().unwrap();
    assert!(status.success(), "kill {name} {to}");
}

/// Waits for a process that a test started.
pub(super) fn finish(mut child: Child) -> Done {
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > Duration::from_secs(RUN_SECONDS) {
            child.kill().unwrap();
            panic!(
                "it did not end: {:?}",
                Done::from(crate::support::output_of(child, "a started astern"))
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    crate::support::output_of(child, "a started astern").into()
}

/// Another machine: other folders, another user, no astern.yaml.
pub(super) struct Elsewhere {
    folder: tempfile::TempDir,
    namespace: String,
}

impl Elsewhere {
    pub(super) fn astern(&self, words: &[&str]) -> Done {
        Command::new(env!("CARGO_BIN_EXE_astern"))
            .args(["--namespace", &self.namespace])
            .args(words)
            .current_dir(self.folder.path())
            .env("KUBECONFIG", other())
            .env("XDG_STATE_HOME", self.folder.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
            .into()
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Place {
    pub(super) fn elsewhere(&self) -> Elsewhere {
        Elsewhere {
            folder: tempfile::tempdir().unwrap(),
            namespace: self.namespace.clone(),
        }
    }

    /// A Deployment whose new pods replace all old ones at once, and are ready after so many seconds.
    pub(super) fn slow(&self, name: &str, version: &str, seconds: u32, labels: &str) {
        self.apply(&format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, annotations: {{team: shop}}}}
spec:
  replicas: 2
  progressDeadlineSeconds: {}
  strategy: {{rollingUpdate: {{maxUnavailable: 100%}}}}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}{labels}}}
      annotations: {{kwok.astern.dev/ready-after: {seconds}s}}
    spec:
      containers: [{{name: {name}, image: \"{name}:{version}\"}}]
",
            seconds + 10
        ));
    }

    /// v1, which was good, then v2, which crashes and left no pod of v1.
    pub(super) fn slow_bad_release(&self, names: &[&str], seconds: u32) {
        for name in names {
            self.slow(name, "v1", seconds, "");
        }
        self.available(names);
        std::thread::sleep(Duration::from_millis(1500));
        for name in names {
            self.slow(name, "v2", seconds, ", kwok.astern.dev/crash-loop: \"true\"");
        }
        self.until("the crash loops", 60, |place| {
            let pods = place.kubectl(&["get", "pods", "--no-headers"]);
            pods.lines().count() == names.len() * 2
                && pods.lines().all(|pod| pod.contains("CrashLoopBackOff"))
        });
    }

    pub(super) fn available(&self, names: &[&str]) {
        for name in names {
            let deployment = format!("deployment/{name}");
            self.kubectl(&["rollout", "status", &deployment, "--timeout=60s"]);
        }
    }

    /// `rollback --yes`, left running.
    pub(super) fn rollback(&self) -> Child {
        self.start(&["rollback", "--yes", "--reason", "v2 crashes"])
    }

    /// The runs as `astern runs` tells them, the newest first.
    pub(super) fn runs(&self) -> Vec<Value> {
        let runs = self.astern(&["runs", "-o", "json"]).expect(0).json();
        runs["items"].as_array().unwrap().clone()
    }

    pub(super) fn newest(&self) -> Option<Value> {
        self.runs().into_iter().next()
    }

    pub(super) fn state(&self) -> String {
        let run = self.newest().unwrap();
        run["state"].as_str().unwrap().to_owned()
    }

    /// The id of the run that is being carried out, once the journal has it.
    pub(crate) fn run_begun(&self) -> String {
        self.until("a run in the journal", 30, |place| place.newest().is_some());
        let run = self.newest().unwrap();
        run["run"].as_str().unwrap().to_owned()
    }

    /// The same, once v1 is written and its pods are not ready yet.
    pub(super) fn run_under_way(&self, name: &str) -> String {
        self.until("the template", 30, |place| place.image(name).ends_with(":v1"));
        self.run_begun()
    }

    /// The process that holds the run lock.
    pub(super) fn runner(&self) -> String {
        let lease = self.get("lease/astern");
        let holder = lease["metadata"]["annotations"]["astern.dev/holder"].as_str();
        let holder: Value = serde_json::from_str(holder.expect("somebody holds the lock")).unwrap();
        holder["pid"].to_string()
    }

    /// Who wrote a Deployment of this namespace through astern, in order; from the audit log, without dry runs.
    pub(super) fn writers(&self) -> Vec<String> {
        let log = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")).unwrap();
        let here = format!("/apis/apps/v1/namespaces/{}/deployments/", self.namespace);
        log.lines()
            .filter(|line| line.contains(&here) && !line.contains("dryRun=All"))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|entry| matches!(entry["verb"].as_str(), Some("update" | "patch")))
            .filter(|entry| entry["responseStatus"]["code"] == 200)
            .filter(|entry| {
                !entry["userAgent"]
                    .as_str()
                    .unwrap_or_default()
                    .starts_with("kubectl")
            })
            .map(|entry| entry["user"]["username"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How often the template was written: each write makes a revision, an annotation (a successor's epoch) does not.
    pub(super) fn revision(&self, name: &str) -> u64 {
        let deployment = self.get(&format!("deployment/{name}"));
        let revision = &deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
        revision.as_str().unwrap().parse().unwrap()
    }

    pub(super) fn generation(&self, name: &str) -> u64 {
        let deployment = self.get(&format!("deployment/{name}"));
        deployment["metadata"]["generation"].as_u64().unwrap()
    }

    /// Everything in the Deployment that a run may change, and must leave or put back, but for its own marks.
    pub(super) fn shape(&self, name: &str) -> Value {
        let mut deployment = self.get(&format!("deployment/{name}"));
        let annotations = deployment["metadata"]["annotations"].as_object_mut().unwrap();
        annotations
            .retain(|key, _| !key.starts_with("astern.dev/") && key != "deployment.kubernetes.io/revision");
        let annotations = deployment["metadata"]["annotations"].take();
        serde_json::json!({"spec": deployment["spec"], "annotations": annotations})
    }

    /// What the journal says, a line a record.
    pub(super) fn records(&self, run: &str) -> Value {
        self.astern(&["report", run, "-o", "json"]).expect(0).json()["records"].take()
    }

    /// v1 serves, the run says so, and no template but v1's and v2's was ever written.
    pub(super) fn assert_restored(&self, names: &[&str]) {
        assert_eq!(self.state(), "restored");
        for name in names {
            let deployment = self.get(&format!("deployment/{name}"));
            assert_eq!(self.image(name), format!("{name}:v1"));
            assert_eq!(deployment["status"]["availableReplicas"], 2, "{name}");
            let sets = self.kubectl(&["get", "rs", "-l", &format!("app={name}"), "-o", "name"]);
            assert_eq!(sets.lines().count(), 2, "{name}: {sets}");
        }
    }
}
