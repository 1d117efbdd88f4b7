//! A namespace of its own for each test, the binary, kubectl, and a Deployment of the example's service whose
//! environment says how it behaves.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The images that the lane gives the node: the example's gateway in both releases. What runs in them is the same.
pub(crate) const V1: &str = "vcci-scope3-api-gateway:v1.2.3";
pub(crate) const V2: &str = "vcci-scope3-api-gateway:v1.2.4";

/// The environment of a version that crashes 0.3 s after its start.
pub(crate) const CRASHES: &[(&str, &str)] = &[("CRASH_AFTER_MS", "300")];

/// Where the cluster is; the lane sets it.
fn kubeconfig() -> PathBuf {
    PathBuf::from(
        std::env::var("ASTERN_TEST_KUBECONFIG")
            .expect("run `cargo xtask test --lane real`, which sets ASTERN_TEST_KUBECONFIG"),
    )
}

/// A namespace that goes with the test, and a folder for its files.
pub(crate) struct Place {
    pub(crate) namespace: String,
    folder: tempfile::TempDir,
}

/// What a command did.
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

    /// The run that was carried out, from what was told on the way.
    pub(crate) fn run(&self) -> String {
        let told = self.err.split_whitespace();
        let run = told
            .clone()
            .zip(told.skip(1))
            .find(|(word, next)| *word == "run" && next.starts_with("r2"));
        run.unwrap_or_else(|| panic!("no run is named: {}", self.err))
            .1
            .to_owned()
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

/// A Deployment of one version.
pub(crate) struct Version<'a> {
    pub(crate) image: &'a str,
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// No old pods beside new ones.
    pub(crate) recreate: bool,
    /// `progressDeadlineSeconds`.
    pub(crate) deadline: u32,
    /// More of the pod template's first container, and more containers.
    pub(crate) container: Value,
    pub(crate) sidecars: Vec<Value>,
}

impl<'a> Version<'a> {
    pub(crate) fn new(image: &'a str, env: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            image,
            env,
            recreate: false,
            deadline: 60,
            container: json!({}),
            sidecars: Vec::new(),
        }
    }

    pub(crate) fn recreate(self) -> Self {
        Self {
            recreate: true,
            ..self
        }
    }

    fn manifest(&self, name: &str) -> Value {
        let mut container = container(name, self.image, 8080, self.env);
        container["readinessProbe"] =
            json!({"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
        for (key, value) in self.container.as_object().unwrap() {
            container[key] = value.clone();
        }
        let mut containers = vec![container];
        containers.extend(self.sidecars.iter().cloned());
        let strategy = if self.recreate {
            json!({"type": "Recreate"})
        } else {
            json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
        };
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "progressDeadlineSeconds": self.deadline,
                "strategy": strategy,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"terminationGracePeriodSeconds": 1, "containers": containers},
                },
            },
        })
    }
}

/// A container of the example's service.
pub(crate) fn container(name: &str, image: &str, port: u16, env: &[(&str, &str)]) -> Value {
    let mut env: Vec<Value> = env
        .iter()
        .map(|(key, value)| json!({"name": key, "value": value}))
        .collect();
    env.push(json!({"name": "PORT", "value": port.to_string()}));
    json!({"name": name, "image": image, "imagePullPolicy": "Never", "env": env})
}

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = Self {
            namespace: format!("t-{name}-{}-{count}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
        };
        place.kubectl(&["create", "namespace", &place.namespace]);
        place
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the binary in this test's folder and namespace.
    pub(crate) fn astern(&self, words: &[&str]) -> Done {
        let output = Command::new(env!("CARGO_BIN_EXE_astern"))
            .args(["--namespace", &self.namespace])
            .args(words)
            .current_dir(self.folder.path())
            .env("KUBECONFIG", kubeconfig())
            .env("XDG_STATE_HOME", self.folder.path())
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .output();
        output.unwrap().into()
    }

    /// `rollback --yes` with a reason and these words.
    pub(crate) fn roll_back(&self, words: &[&str]) -> Done {
        let fixed = ["rollback", "--yes", "--reason", "v1.2.4 fails"];
        self.astern(&[&fixed[..], words].concat())
    }

    /// The report of the run that was just carried out, as data.
    pub(crate) fn report(&self, done: &Done) -> Value {
        self.astern(&["report", &done.run(), "-o", "json"])
            .expect(0)
            .json()
    }

    /// kubectl in this test's namespace; its output.
    pub(crate) fn kubectl(&self, words: &[&str]) -> String {
        let output = Command::new("kubectl")
            .args(["-n", &self.namespace])
            .args(words)
            .env("KUBECONFIG", kubeconfig())
            .output()
            .unwrap();
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

    pub(crate) fn apply(&self, manifest: &Value) {
        let file = self.file("apply.json");
        std::fs::write(&file, manifest.to_string()).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// An astern.yaml for this namespace: a soak of 3 s, and v1 presumed good after a second.
    pub(crate) fn platform(&self, spec: &str) {
        let text = format!(
            "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {{name: shop}}\nspec:\n  namespace: {}\n  validation: {{soak: 3s}}\n  policy: {{presumedGoodAfter: 1s}}\n{spec}",
            self.namespace
        );
        std::fs::write(self.file("astern.yaml"), text).unwrap();
    }

    pub(crate) fn deploy(&self, name: &str, version: &Version<'_>) {
        self.apply(&version.manifest(name));
    }

    /// A version that serves, and has served for long enough to be presumed good.
    pub(crate) fn good(&self, name: &str, version: &Version<'_>) {
        self.deploy(name, version);
        let deployment = format!("deployment/{name}");
        self.kubectl(&["rollout", "status", &deployment, "--timeout=60s"]);
        std::thread::sleep(Duration::from_millis(1500));
    }

    /// A version that crashes, until the crash loop shows.
    pub(crate) fn crashing(&self, name: &str, version: &Version<'_>) {
        self.deploy(name, version);
        let selector = format!("app={name}");
        self.until("the crash loop", 60, |place| {
            place
                .kubectl(&["get", "pods", "-l", &selector])
                .contains("CrashLoopBackOff")
        });
    }

    /// Waits until `good` says yes; fails the test after `seconds`.
    pub(crate) fn until(&self, what: &str, seconds: u64, mut good: impl FnMut(&Self) -> bool) {
        let since = Instant::now();
        while !good(self) {
            assert!(
                since.elapsed() < Duration::from_secs(seconds),
                "{what}: not within {seconds} s"
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// The image of a Deployment's first container.
    pub(crate) fn image(&self, name: &str) -> String {
        let deployment = self.get(&format!("deployment/{name}"));
        let image = deployment.pointer("/spec/template/spec/containers/0/image");
        image.and_then(Value::as_str).unwrap().to_owned()
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
