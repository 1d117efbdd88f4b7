//! kubectl on a sandbox over HTTP.

use astern_sandbox::{Cluster, NodeSpec, Options, Service, SystemClock, http};
use jiff::Timestamp;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A sandbox on a port, on a thread of its own, and the kubeconfig that leads there.
pub(crate) struct Port {
    folder: tempfile::TempDir,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Port {
    /// With nodes that are called as the real cluster's.
    pub(crate) fn open() -> Self {
        let nodes = (1..=3).map(|number| NodeSpec::named(format!("kwok-{number}")));
        Self::with(Options {
            nodes: nodes.collect(),
            ..Options::default()
        })
    }

    fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let cluster = Cluster::new(options, Timestamp::now());
                let service = Service::new(cluster, Arc::new(SystemClock));
                let listener = http::listen(0).await.unwrap();
                http::write_kubeconfig(&path, listener.local_addr().unwrap(), "default").unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = service.run() => {}
                    ended = http::serve(service.clone(), listener) => ended.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        wait.recv().unwrap();
        Self { folder, _stop: stop }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Where kubectl keeps what it learnt of a server: by its address, and ports are used again.
    pub(crate) fn cache(&self, kubeconfig: &Path) -> PathBuf {
        let name = kubeconfig.starts_with(self.folder.path());
        self.folder
            .path()
            .join(if name { "cache" } else { "other-cache" })
    }

    /// What kubectl says; it must succeed.
    fn kubectl(&self, words: &[&str], input: &str) -> String {
        let kubeconfig = self.kubeconfig();
        let said = run(&kubeconfig, &self.cache(&kubeconfig), words, input);
        assert_eq!(
            said.code,
            Some(0),
            "kubectl {}: {}{}",
            words.join(" "),
            said.out,
            said.err
        );
        said.out
    }
}

/// How a command ended, and what it said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(kubeconfig: &Path, cache: &Path, words: &[&str], input: &str) -> Said {
    let mut child = Command::new("kubectl")
        .args(words)
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is on the PATH that the lane sets");
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: done.status.code(),
        out: text(&done.stdout),
        err: text(&done.stderr),
    }
}

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: app, image: "web:v1", ports: [{containerPort: 80}]}]
"#;

#[test]
fn kubectl_applies_rolls_out_undoes_scales_and_deletes() {
    let port = Port::with(Options::default());
    let kubectl = |words: &str| port.kubectl(&words.split(' ').collect::<Vec<_>>(), "");
    assert_eq!(
        port.kubectl(&["apply", "-f", "-"], WEB),
        "deployment.apps/web created\n"
    );
    kubectl("rollout status deployment/web --timeout=30s");
    assert_eq!(
        port.kubectl(&["apply", "-f", "-"], WEB),
        "deployment.apps/web unchanged\n"
    );
    kubectl("set image deployment/web app=web:v2");
    kubectl("rollout status deployment/web --timeout=30s");
    let history = kubectl("rollout history deployment/web");
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    let image = "get deployment web -o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(kubectl(image), "web:v2");
    kubectl("rollout undo deployment/web");
    assert_eq!(kubectl(image), "web:v1");
    kubectl("scale deployment/web --replicas=3");
    kubectl("rollout status deployment/web --timeout=30s");
    kubectl("wait deployment/web --for=condition=Available --timeout=30s");
    let table = kubectl("get deployment web --no-headers");
    assert!(table.starts_with("web   3/3   3     3"), "{table}");
    kubectl("label deployment web team=shop");
    kubectl("annotate deployment web note=later");
    kubectl("logs deployment/web");
    kubectl("describe deployment web");
    assert!(kubectl("get events").contains("ScalingReplicaSet"));
    kubectl("delete deployment web --timeout=30s");
    assert_eq!(kubectl("get replicasets -o name"), "");
}

#[test]
fn kubectl_creates_what_it_sends_in_protobuf() {
    let port = Port::with(Options::default());
    let kubectl = |words: &str| port.kubectl(&words.split(' ').collect::<Vec<_>>(), "");
    kubectl("create namespace shop");
    kubectl("create configmap a -n shop --from-literal=key=value");
    kubectl("create secret generic s -n shop --from-literal=key=value");
    kubectl("create serviceaccount builder -n shop");
    assert_eq!(
        kubectl("get configmap a -n shop -o jsonpath={.data.key}"),
        "value"
    );
    assert_eq!(
        kubectl("get secret s -n shop -o jsonpath={.data.key}"),
        "dmFsdWU="
    );
    assert_eq!(kubectl("auth can-i list pods").trim(), "yes");
    assert!(kubectl("auth whoami").contains("sandbox"));
    port.kubectl(&["apply", "-f", "-"], WEB);
    kubectl("rollout status deployment/web --timeout=30s");
    kubectl("drain node-1 node-2 --timeout=30s");
    kubectl("rollout status deployment/web --timeout=30s");
    let nodes = kubectl("get pods -o jsonpath={.items[*].spec.nodeName}");
    assert_eq!(nodes, "node-3 node-3");
    kubectl("delete namespace shop --timeout=30s");
}

#[test]
fn kubectl_rolls_a_statefulset_and_a_daemonset() {
    let port = Port::with(Options::default());
    let kubectl = |words: &str| port.kubectl(&words.split(' ').collect::<Vec<_>>(), "");
    let db = WEB.replace("Deployment", "StatefulSet").replace("web", "db");
    let agent = WEB
        .replace("Deployment", "DaemonSet")
        .replace("web", "agent")
        .replace("  replicas: 2\n", "");
    for (kind, name, manifest) in [("statefulset", "db", db), ("daemonset", "agent", agent)] {
        port.kubectl(&["apply", "-f", "-"], &manifest);
        kubectl(&format!("rollout status {kind}/{name} --timeout=30s"));
        kubectl(&format!("set image {kind}/{name} app={name}:v2"));
        kubectl(&format!("rollout status {kind}/{name} --timeout=30s"));
        kubectl(&format!("rollout undo {kind}/{name}"));
        kubectl(&format!("rollout status {kind}/{name} --timeout=30s"));
        let image = kubectl(&format!(
            "get {kind} {name} -o jsonpath={{.spec.template.spec.containers[0].image}}"
        ));
        assert_eq!(image, format!("{name}:v1"));
    }
}
