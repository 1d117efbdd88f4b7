//! That the real node does what it is for: images, probes, logs, crash loops, Services. Run by `cargo xtask test --lane real`; tests nothing of astern.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Not the platform's own: a demo may be running there.
const NAMESPACE: &str = "xtask-real";

/// The example platform's good release, then its bad one.
#[test]
fn the_platform_runs_and_its_bad_release_shows_what_the_readme_says() {
    // A run that failed half-way leaves it behind.
    kubectl(&[
        "delete",
        "namespace",
        NAMESPACE,
        "--ignore-not-found",
        "--timeout=120s",
    ]);
    kubectl(&["create", "namespace", NAMESPACE]);
    for file in ["config.yaml", "secret.yaml", "workloads-v1.2.3.yaml"] {
        apply(file);
    }
    kubectl(&["rollout", "status", "deployment", "--timeout=120s"]);
    assert!(
        health_of("api-gateway").contains("v1.2.3"),
        "the Service answers on its cluster address"
    );

    apply("workloads-v1.2.4.yaml");
    let crashed = eventually("a crash loop of api-gateway", || {
        let path = "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].state.waiting.reason} \
                    {.status.containerStatuses[0].lastState.terminated.exitCode}{\"\\n\"}{end}";
        let pods = kubectl(&["get", "pods", "-l", "app=api-gateway", "-o", path]);
        let line = pods.lines().find(|line| line.ends_with("CrashLoopBackOff 1"))?;
        line.split(' ').next().map(str::to_owned)
    });
    let said = kubectl(&["logs", &crashed, "--previous"]);
    assert!(
        said.contains("FATAL"),
        "the last words of the crashed container: {said}"
    );
    assert!(
        health_of("api-gateway").contains("v1.2.3"),
        "old pods still serve"
    );
    kubectl(&["delete", "namespace", NAMESPACE, "--timeout=120s"]);
}

fn apply(file: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/vcci-scope3/manifests");
    let manifest = std::fs::read_to_string(folder.join(file)).expect("a manifest of the example platform");
    let moved = std::env::temp_dir().join(format!("{NAMESPACE}-{file}"));
    let here = format!("namespace: {NAMESPACE}");
    std::fs::write(&moved, manifest.replace("namespace: vcci-scope3", &here)).expect("a file for it");
    kubectl(&["apply", "-f", &moved.to_string_lossy()]);
    std::fs::remove_file(moved).expect("it goes away");
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(90), "{what}: not in time");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// What a service says of itself, asked through its Service from the host.
fn health_of(service: &str) -> String {
    eventually("an answer", || {
        let address = kubectl(&["get", "service", service, "-o", "jsonpath={.spec.clusterIP}:8080"]);
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    })
}

fn kubectl(words: &[&str]) -> String {
    let kubeconfig = std::env::var_os("ASTERN_TEST_KUBECONFIG").expect("run by `cargo xtask test`");
    let mut command = Command::new("kubectl");
    command
        .env("KUBECONFIG", kubeconfig)
        .args(["--namespace", NAMESPACE])
        .args(words);
    let output = command.output().expect("kubectl");
    assert!(
        output.status.success(),
        "kubectl {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
