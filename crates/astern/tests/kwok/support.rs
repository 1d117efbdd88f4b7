//! A namespace of its own for each test, the binary, and kubectl.

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where the cluster is; the lane sets it.
pub(crate) fn kubeconfig() -> PathBuf {
    PathBuf::from(
        std::env::var("ASTERN_TEST_KUBECONFIG")
            .expect("run `cargo xtask test --lane kwok`, which sets ASTERN_TEST_KUBECONFIG"),
    )
}

/// The same for clients of this process.
pub(crate) async fn config() -> kube::Config {
    let file = Kubeconfig::read_from(kubeconfig()).unwrap();
    kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .unwrap()
}

/// No command here takes longer; one that does hangs, and its test says so instead of hanging with it.
const COMMAND_WITHIN: Duration = Duration::from_secs(240);

/// Runs a command to its end; fails the test, with what the command had said, when it does not end.
pub(crate) fn ended(command: &mut Command) -> Output {
    let told = format!("{command:?}");
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    output_of(child, &told)
}

/// The same for one that was started before, with its output piped.
pub(crate) fn output_of(child: Child, told: &str) -> Output {
    let id = child.id();
    let (send, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    if let Ok(output) = done.recv_timeout(COMMAND_WITHIN) {
        return output.unwrap();
    }
    let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
    let said = done.recv_timeout(Duration::from_secs(5));
    panic!("not ended after {} s: {told}\n{said:?}", COMMAND_WITHIN.as_secs());
}

/// A namespace that goes with the test, and a folder for its files.
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) folder: tempfile::TempDir,
}

/// What a command did.
/// kubectl as whoever a kubeconfig says, in its current context.
pub(crate) fn kubectl_of(kubeconfig: &Path, words: &[&str]) -> String {
    let mut command = Command::new("kubectl");
    command.env("KUBECONFIG", kubeconfig).args(words);
    let output = ended(&mut command);
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The current context of a kubeconfig, with its credentials.
pub(crate) fn config_of(kubeconfig: &Path) -> Value {
    let words = ["config", "view", "--raw", "--flatten", "--minify", "-o", "json"];
    serde_json::from_str(&kubectl_of(kubeconfig, &words)).unwrap()
}

/// A kubeconfig with the platform's cluster as it is, and a context `hub` besides.
pub(crate) fn with_hub(place: &Place, own: &Path, hub: &Path) -> PathBuf {
    let (mut both, hub) = (config_of(own), config_of(hub));
    for list in ["clusters", "users", "contexts"] {
        let mut named = hub[list][0].clone();
        named["name"] = json!("hub");
        if list == "contexts" {
            named["context"] = json!({ "cluster": "hub", "user": "hub" });
        }
        both[list].as_array_mut().unwrap().push(named);
    }
    let file = place.file("kubeconfig");
    std::fs::write(&file, both.to_string()).unwrap();
    file
}

#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON: {error}\n{}", self.out))
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("t-{name}-{}-{count}", std::process::id());
        let place = Self {
            namespace,
            folder: tempfile::tempdir().unwrap(),
        };
        place.kubectl(&["create", "namespace", &place.namespace]);
        place
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the binary in this test's folder and namespace, as the cluster's admin.
    pub(crate) fn astern(&self, words: &[&str]) -> Done {
        ended(&mut self.command(&kubeconfig(), words)).into()
    }

    /// The same as somebody else, from another machine as far as files go.
    pub(crate) fn astern_as(&self, kubeconfig: &Path, words: &[&str]) -> Done {
        ended(&mut self.command(kubeconfig, words)).into()
    }

    /// Starts the binary and leaves it running.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        self.command(&kubeconfig(), words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn command(&self, kubeconfig: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_astern"));
        command
            .args(["--namespace", &self.namespace])
            .args(words)
            .current_dir(self.folder.path())
            .env("KUBECONFIG", kubeconfig)
            .env("XDG_STATE_HOME", self.folder.path())
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        command
    }

    /// kubectl in this test's namespace; its output.
    pub(crate) fn kubectl(&self, words: &[&str]) -> String {
        let mut command = Command::new("kubectl");
        command
            .args(["-n", &self.namespace])
            .args(words)
            .env("KUBECONFIG", kubeconfig());
        let output = ended(&mut command);
        assert!(
            output.status.success(),
            "kubectl {words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn get(&self, what: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", what, "-o", "json"])).unwrap()
    }

    pub(crate) fn apply(&self, manifest: &str) {
        let file = self.file("apply.yaml");
        std::fs::write(&file, manifest).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// An astern.yaml for this namespace, with a short soak, and v1 presumed good after a second.
    pub(crate) fn platform(&self, spec: &str) {
        let text = format!(
            "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {{name: shop}}\nspec:\n  namespace: {}\n  validation: {{soak: 2s}}\n  policy: {{presumedGoodAfter: 1s}}\n{spec}",
            self.namespace
        );
        std::fs::write(self.file("astern.yaml"), text).unwrap();
    }

    /// A Deployment at this version. `labels` go into the pod template: kwok's stages read them.
    pub(crate) fn deploy(&self, name: &str, version: &str, replicas: u32, labels: &[(&str, &str)]) {
        let labels: String = labels
            .iter()
            .map(|(key, value)| format!(", {key}: \"{value}\""))
            .collect();
        self.apply(&format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  progressDeadlineSeconds: 60\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}{labels}}}}}\n    spec:\n      containers: [{{name: {name}, image: \"{name}:{version}\"}}]\n"
        ));
    }

    /// Waits until `good` says yes; fails the test after `seconds`.
    pub(crate) fn until(&self, what: &str, seconds: u64, mut good: impl FnMut(&Self) -> bool) {
        let since = Instant::now();
        while !good(self) {
            assert!(
                since.elapsed() < Duration::from_secs(seconds),
                "{what}: not within {seconds} s"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// v1 rolled out, then v2, which crashes (kwok's label), until the crash loop shows.
    pub(crate) fn bad_release(&self, name: &str, replicas: u32) {
        self.deploy(name, "v1", replicas, &[]);
        self.kubectl(&[
            "rollout",
            "status",
            &format!("deployment/{name}"),
            "--timeout=60s",
        ]);
        std::thread::sleep(Duration::from_millis(1500));
        self.deploy(name, "v2", replicas, &[("kwok.astern.dev/crash-loop", "true")]);
        self.until("the crash loop", 60, |place| {
            place.kubectl(&["get", "pods"]).contains("CrashLoopBackOff")
        });
    }

    /// Takes away the label that keeps the pods of a test from going.
    pub(crate) fn let_pods_go(&self) {
        let pods = self.get("pods");
        for pod in pods["items"].as_array().unwrap() {
            let name = format!("pod/{}", pod["metadata"]["name"].as_str().unwrap());
            let free = r#"{"metadata":{"labels":{"kwok.astern.dev/stays":null}}}"#;
            // It may be gone by now.
            let _ = Command::new("kubectl")
                .args(["-n", &self.namespace, "patch", &name, "--type=merge", "-p", free])
                .env("KUBECONFIG", kubeconfig())
                .output();
        }
    }

    /// The image of a Deployment's first container.
    pub(crate) fn image(&self, name: &str) -> String {
        let deployment = self.get(&format!("deployment/{name}"));
        deployment
            .pointer("/spec/template/spec/containers/0/image")
            .and_then(Value::as_str)
            .unwrap()
            .to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("kubectl")
            .args(["delete", "namespace", &self.namespace, "--wait=false"])
            .env("KUBECONFIG", kubeconfig())
            .output();
    }
}
