//! That the kwok cluster does what `cargo xtask cluster --help` promises. Run by `cargo xtask test --lane kwok`; tests nothing of astern.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A namespace that goes away with the test.
struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Self {
        let name = format!("xtask-{name}-{}", std::process::id());
        kubectl(&["create", "namespace", &name]);
        Self(name)
    }

    /// A Deployment of two pods; `metadata` goes into its template.
    fn deployment(&self, metadata: &str) {
        let manifest = format!(
            r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"app"}},"spec":{{"replicas":2,
            "selector":{{"matchLabels":{{"app":"app"}}}},"template":{{"metadata":{metadata},
            "spec":{{"containers":[{{"name":"main","image":"example.test/app:v1"}}]}}}}}}}}"#
        );
        let path = std::env::temp_dir().join(format!("{}.json", self.0));
        std::fs::write(&path, manifest).expect("a file for the manifest");
        kubectl(&["create", "-n", &self.0, "-f", &path.to_string_lossy()]);
        std::fs::remove_file(path).expect("the manifest goes away");
    }

    /// Waits until one of the pods has the value in this field.
    fn becomes(&self, field: &str, value: &str) {
        // Over all pods, of which there may be none yet: an index into an empty list would be an error.
        let path = format!("jsonpath={{range .items[*]}}{{.{field}}}{{\"\\n\"}}{{end}}");
        let start = Instant::now();
        loop {
            let found = kubectl(&["get", "pods", "-n", &self.0, "-o", &path]);
            if found.lines().any(|line| line == value) {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{field} is {found:?}, not {value:?}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        kubectl(&["delete", "namespace", &self.0, "--wait=false"]);
    }
}

fn kubectl(words: &[&str]) -> String {
    let kubeconfig = std::env::var_os("ASTERN_TEST_KUBECONFIG").expect("run by `cargo xtask test`");
    let output = Command::new("kubectl")
        .env("KUBECONFIG", kubeconfig)
        .args(words)
        .stderr(Stdio::inherit())
        .output()
        .expect("kubectl");
    assert!(output.status.success(), "kubectl {words:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_pod_is_ready_at_once_and_a_rollout_can_be_taken_back() {
    let namespace = Namespace::new("ready");
    namespace.deployment(r#"{"labels":{"app":"app"}}"#);
    let settle = || {
        kubectl(&[
            "rollout",
            "status",
            "deployment/app",
            "-n",
            &namespace.0,
            "--timeout=60s",
        ])
    };
    settle();
    kubectl(&[
        "set",
        "image",
        "deployment/app",
        "main=example.test/app:v2",
        "-n",
        &namespace.0,
    ]);
    settle();
    kubectl(&["rollout", "undo", "deployment/app", "-n", &namespace.0]);
    settle();
}

#[test]
fn a_pod_is_ready_after_as_long_as_its_annotation_says() {
    let namespace = Namespace::new("late");
    namespace.deployment(r#"{"labels":{"app":"app"},"annotations":{"kwok.astern.dev/ready-after":"5s"}}"#);
    namespace.becomes("status.conditions[?(@.type=='Ready')].status", "False");
    namespace.becomes("status.conditions[?(@.type=='Ready')].status", "True");
}

#[test]
fn a_pod_that_is_never_ready_runs() {
    let namespace = Namespace::new("never");
    namespace.deployment(r#"{"labels":{"app":"app","kwok.astern.dev/never-ready":""}}"#);
    namespace.becomes(
        "status.conditions[?(@.type=='Ready')].reason",
        "ContainersNotReady",
    );
    namespace.becomes("status.phase", "Running");
}

#[test]
fn a_crash_loop_has_its_exit_code_and_restarts() {
    let namespace = Namespace::new("crash");
    namespace.deployment(r#"{"labels":{"app":"app","kwok.astern.dev/crash-loop":""}}"#);
    namespace.becomes(
        "status.containerStatuses[0].state.waiting.reason",
        "CrashLoopBackOff",
    );
    namespace.becomes("status.containerStatuses[0].lastState.terminated.exitCode", "1");
    namespace.becomes("status.containerStatuses[0].restartCount", "4");
}

#[test]
fn a_missing_image_is_said() {
    let namespace = Namespace::new("image");
    namespace.deployment(r#"{"labels":{"app":"app","kwok.astern.dev/image-missing":""}}"#);
    namespace.becomes(
        "status.containerStatuses[0].state.waiting.reason",
        "ImagePullBackOff",
    );
}
