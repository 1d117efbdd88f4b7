//! The real Argo CD and Flux, a Git server that they read from, the real Argo Rollouts and KEDA, beside a cluster with fake nodes: what they need, and their flags.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Kubectl, Record, control_plane, credentials};
use crate::failure::{Outcome, doing};
use crate::programs::{self, Program};
use crate::{debian, process};

/// The cluster that has them unless another name is given: beside definitions that other tests make up, they would not start.
pub(super) const NAME: &str = "owners";

const LOOPBACK: &str = "127.0.0.1";
const PROGRAMS: [Program; 7] = [
    programs::ARGO_CD,
    programs::ARGO_ROLLOUTS,
    programs::KEDA,
    programs::FLUX_SOURCE,
    programs::FLUX_KUSTOMIZE,
    programs::FLUX_HELM,
    programs::GIT_SERVER,
];
const ARGO_CD_NAMESPACE: &str = "argocd";
const FLUX_NAMESPACE: &str = "flux-system";
const ARGO_ROLLOUTS_NAMESPACE: &str = "argo-rollouts";
const KEDA_NAMESPACE: &str = "keda";
/// Who speaks to Argo CD's API server: one who may read and change applications, one who may read them.
const ACCOUNTS: [&str; 2] = ["astern", "reader"];

/// What Argo CD's own installation brings beside its programs, but for the key that its sessions are signed with; and [`ACCOUNTS`].
const ARGO_CD_OBJECTS: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: argocd}
---
apiVersion: v1
kind: Namespace
metadata: {name: flux-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: argo-rollouts}
---
apiVersion: v1
kind: Namespace
metadata: {name: keda}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
data: {accounts.astern: apiKey, accounts.reader: apiKey}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-rbac-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
data:
  policy.csv: |
    p, astern, applications, get, */*, allow
    p, astern, applications, update, */*, allow
    p, astern, applicationsets, get, */*, allow
    p, reader, applications, get, */*, allow
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ['*']
  destinations: [{namespace: '*', server: '*'}]
  clusterResourceWhitelist: [{group: '*', kind: '*'}]
";

/// How often Argo CD looks into Git; its default of three minutes is longer than a test.
const LOOKS_INTO_GIT: &str = "5";

struct Ports {
    git: u16,
    redis: u16,
    repo_server: u16,
    repo_server_metrics: u16,
    controller_metrics: u16,
    sets_metrics: u16,
    sets_health: u16,
    sets_webhook: u16,
    api_server: u16,
    api_server_metrics: u16,
    artifacts: u16,
    source_health: u16,
    kustomize_health: u16,
    helm_health: u16,
    rollouts_health: u16,
    rollouts_metrics: u16,
    keda_health: u16,
    keda_metrics: u16,
}

impl Ports {
    fn free() -> Outcome<Self> {
        let [
            git,
            redis,
            repo_server,
            repo_server_metrics,
            controller_metrics,
            sets_metrics,
            sets_health,
            sets_webhook,
            api_server,
            api_server_metrics,
            artifacts,
            source_health,
            kustomize_health,
            helm_health,
            rollouts_health,
            rollouts_metrics,
            keda_health,
            keda_metrics,
        ] = control_plane::free_ports(LOOPBACK)?;
        Ok(Self {
            git,
            redis,
            repo_server,
            repo_server_metrics,
            controller_metrics,
            sets_metrics,
            sets_health,
            sets_webhook,
            api_server,
            api_server_metrics,
            artifacts,
            source_health,
            kustomize_health,
            helm_health,
            rollouts_health,
            rollouts_metrics,
            keda_health,
            keda_metrics,
        })
    }
}

/// What must be on the machine before anything starts.
pub(super) fn prepare() -> Outcome {
    debian::ensure(&[debian::GIT, debian::REDIS])?;
    programs::ensure(&PROGRAMS)
}

/// Starts all of them on a cluster whose API is ready, and waits until they are.
pub(super) fn start(record: &mut Record, kubectl: &Kubectl, deadline: Duration) -> Outcome {
    for program in PROGRAMS {
        let definitions = program.definitions();
        if definitions.exists() {
            kubectl.apply_file(&definitions)?;
        }
    }
    kubectl.read(&[
        "wait",
        "crd",
        "--all",
        "--for=condition=Established",
        "--timeout=60s",
    ])?;
    kubectl.apply(ARGO_CD_OBJECTS)?;
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: argocd-secret, namespace: {ARGO_CD_NAMESPACE}, \
         labels: {{app.kubernetes.io/part-of: argocd}}}}\nstringData: {{server.secretkey: \"{}\"}}\n",
        credentials::random_token()?
    ))?;
    let ports = Ports::free()?;
    start_git(record, &ports)?;
    start_argo_cd(record, &ports)?;
    start_flux(record, &ports)?;
    start_argo_rollouts(record, &ports)?;
    start_keda(record, &ports)?;
    wait_until_ready(record, &ports, deadline)?;
    record.argo_cd = Some(format!("http://{}", at(ports.api_server)));
    record.write()?;
    write_tokens(record, kubectl, ports.api_server)
}

fn start_git(record: &mut Record, ports: &Ports) -> Outcome {
    let folder = record.repositories();
    std::fs::create_dir_all(&folder).map_err(doing(format!("create {}", folder.display())))?;
    let programs = process::read(Command::new("git").arg("--exec-path"))?;
    let backend = Path::new(programs.trim()).join("git-http-backend");
    let address = at(ports.git);
    let arguments = [
        address.clone(),
        backend.display().to_string(),
        folder.display().to_string(),
    ];
    record.start("git-http", &programs::GIT_SERVER.path(), &arguments)?;
    record.git = Some(format!("http://{address}"));
    record.write()
}

fn start_argo_cd(record: &mut Record, ports: &Ports) -> Outcome {
    let home = private_folder(record, "argocd")?;
    let (port, folder) = (ports.redis.to_string(), home.display().to_string());
    let redis = [
        ["--bind", LOOPBACK],
        ["--port", &port],
        ["--dir", &folder],
        ["--save", ""],
        ["--appendonly", "no"],
    ];
    let redis: Vec<String> = redis
        .as_flattened()
        .iter()
        .map(|word| (*word).to_owned())
        .collect();
    record.start("redis-server", Path::new("/usr/bin/redis-server"), &redis)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = |record: &Record, part: &str| {
        [
            ("ARGOCD_BINARY_NAME", part.to_owned()),
            ("KUBECONFIG", record.path("argocd.kubeconfig")),
            // Its own way to be developed with: the cluster that it manages as "in-cluster" is that of KUBECONFIG.
            ("ARGOCD_FAKE_IN_CLUSTER", String::from("true")),
            ("ARGOCD_GPG_ENABLED", String::from("false")),
            ("ARGOCD_TLS_DATA_PATH", home.display().to_string()),
            ("ARGOCD_SSH_DATA_PATH", home.display().to_string()),
            ("ARGOCD_PLUGINSOCKFILEPATH", home.display().to_string()),
            ("ARGOCD_RECONCILIATION_TIMEOUT", format!("{LOOKS_INTO_GIT}s")),
            ("ARGOCD_RECONCILIATION_JITTER", String::from("0s")),
            ("HOME", home.display().to_string()),
            ("TMPDIR", home.display().to_string()),
            ("PATH", path.clone()),
        ]
    };
    let mut start = |part: &str, flags: &[String]| {
        let environment = environment(record, part);
        record.start_with(&environment, part, &programs::ARGO_CD.path(), flags)
    };
    let redis = format!("--redis={}", at(ports.redis));
    start(
        "argocd-repo-server",
        &[
            redis.clone(),
            String::from("--disable-tls"),
            format!("--address={LOOPBACK}"),
            format!("--port={}", ports.repo_server),
            format!("--metrics-address={LOOPBACK}"),
            format!("--metrics-port={}", ports.repo_server_metrics),
        ],
    )?;
    start(
        "argocd-server",
        &[
            redis.clone(),
            String::from("--insecure"),
            format!("--address={LOOPBACK}"),
            format!("--port={}", ports.api_server),
            format!("--metrics-port={}", ports.api_server_metrics),
            format!("--repo-server={}", at(ports.repo_server)),
            String::from("--repo-server-plaintext"),
            format!("--namespace={ARGO_CD_NAMESPACE}"),
        ],
    )?;
    start(
        "argocd-application-controller",
        &[
            redis,
            format!("--repo-server={}", at(ports.repo_server)),
            String::from("--repo-server-plaintext"),
            format!("--namespace={ARGO_CD_NAMESPACE}"),
            format!("--metrics-port={}", ports.controller_metrics),
            // Healing as often as a test asks for it, not three times as late each time.
            String::from("--self-heal-backoff-factor=1"),
        ],
    )?;
    start(
        "argocd-applicationset-controller",
        &[
            format!("--argocd-repo-server={}", at(ports.repo_server)),
            String::from("--repo-server-plaintext"),
            format!("--namespace={ARGO_CD_NAMESPACE}"),
            format!("--metrics-addr={}", at(ports.sets_metrics)),
            format!("--probe-addr={}", at(ports.sets_health)),
            format!("--webhook-addr={}", at(ports.sets_webhook)),
        ],
    )
}

/// A token for each of [`ACCOUNTS`], made as people make one: by Argo CD's own command line, as its first administrator.
fn write_tokens(record: &Record, kubectl: &Kubectl, api_server: u16) -> Outcome {
    let folder = record.argo_cd_tokens();
    std::fs::create_dir_all(&folder).map_err(doing(format!("create {}", folder.display())))?;
    let configuration = record.path("argocd/cli");
    let argocd = |words: &[&str]| {
        let mut command = Command::new(programs::ARGO_CD.path());
        command
            .args(words)
            .args(["--config", &configuration])
            .env("ARGOCD_BINARY_NAME", "argocd")
            .env("HOME", record.path("argocd"));
        process::read(&mut command)
    };
    let password = kubectl.read(&[
        "get",
        "secret",
        "argocd-initial-admin-secret",
        &format!("--namespace={ARGO_CD_NAMESPACE}"),
        "--output=go-template={{.data.password | base64decode}}",
    ])?;
    argocd(&[
        "login",
        &at(api_server),
        "--plaintext",
        "--username=admin",
        "--password",
        password.trim(),
    ])?;
    for account in ACCOUNTS {
        let token = argocd(&["account", "generate-token", "--account", account])?;
        let place = folder.join(account);
        std::fs::write(&place, token.trim()).map_err(doing(format!("write {}", place.display())))?;
    }
    Ok(())
}

fn start_flux(record: &mut Record, ports: &Ports) -> Outcome {
    let home = private_folder(record, "flux")?;
    let artifacts = private_folder(record, "flux/artifacts")?;
    let environment = [
        ("KUBECONFIG", record.path("flux.kubeconfig")),
        ("RUNTIME_NAMESPACE", String::from(FLUX_NAMESPACE)),
        ("HOME", home.display().to_string()),
        ("TMPDIR", home.display().to_string()),
    ];
    let mut start = |program: Program, health: u16, more: &[String]| {
        let common = [
            format!("--health-addr={}", at(health)),
            String::from("--metrics-addr=0"),
            String::from("--enable-leader-election=false"),
            String::from("--watch-all-namespaces=true"),
        ];
        record.start_with(
            &environment,
            program.name,
            &program.path(),
            &[&common[..], more].concat(),
        )
    };
    let artifacts = [
        format!("--storage-path={}", artifacts.display()),
        format!("--storage-addr={}", at(ports.artifacts)),
        format!("--storage-adv-addr={}", at(ports.artifacts)),
    ];
    start(programs::FLUX_SOURCE, ports.source_health, &artifacts)?;
    start(
        programs::FLUX_KUSTOMIZE,
        ports.kustomize_health,
        &[String::from("--requeue-dependency=2s")],
    )?;
    start(programs::FLUX_HELM, ports.helm_health, &[])
}

fn start_argo_rollouts(record: &mut Record, ports: &Ports) -> Outcome {
    let home = private_folder(record, "argo-rollouts")?;
    let environment = [
        ("ARGO_ROLLOUTS_NAMESPACE", String::from(ARGO_ROLLOUTS_NAMESPACE)),
        ("HOME", home.display().to_string()),
        ("TMPDIR", home.display().to_string()),
    ];
    record.start_with(
        &environment,
        programs::ARGO_ROLLOUTS.name,
        &programs::ARGO_ROLLOUTS.path(),
        &[
            format!("--kubeconfig={}", record.path("argo-rollouts.kubeconfig")),
            String::from("--leader-elect=false"),
            format!("--healthzPort={}", ports.rollouts_health),
            format!("--metricsPort={}", ports.rollouts_metrics),
        ],
    )
}

fn start_keda(record: &mut Record, ports: &Ports) -> Outcome {
    let home = private_folder(record, "keda")?;
    // What it offers a metrics server, which nobody starts here, is encrypted: without a certificate it ends.
    for (from, to) in [
        ("ca.crt", "ca.crt"),
        ("server.crt", "tls.crt"),
        ("server.key", "tls.key"),
    ] {
        let to = home.join(to);
        std::fs::copy(record.path(from), &to).map_err(doing(format!("write {}", to.display())))?;
    }
    let environment = [
        ("WATCH_NAMESPACE", String::new()),
        ("POD_NAMESPACE", String::from(KEDA_NAMESPACE)),
        ("KEDA_CLUSTER_OBJECT_NAMESPACE", String::from(KEDA_NAMESPACE)),
        ("HOME", home.display().to_string()),
        ("TMPDIR", home.display().to_string()),
    ];
    record.start_with(
        &environment,
        programs::KEDA.name,
        &programs::KEDA.path(),
        &[
            format!("--kubeconfig={}", record.path("keda.kubeconfig")),
            String::from("--leader-elect=false"),
            String::from("--enable-prometheus-metrics=false"),
            String::from("--enable-cert-rotation=false"),
            format!("--cert-dir={}", home.display()),
            format!("--health-probe-bind-address={}", at(ports.keda_health)),
            format!("--metrics-service-bind-address={}", at(ports.keda_metrics)),
        ],
    )
}

/// Each of them listens once it has what it needs; one that ends by itself says why in its log.
fn wait_until_ready(record: &Record, ports: &Ports, deadline: Duration) -> Outcome {
    let parts = [
        ("git-http", ports.git),
        ("redis-server", ports.redis),
        ("argocd-repo-server", ports.repo_server),
        ("argocd-server", ports.api_server),
        ("argocd-application-controller", ports.controller_metrics),
        ("argocd-applicationset-controller", ports.sets_health),
        ("source-controller", ports.artifacts),
        ("kustomize-controller", ports.kustomize_health),
        ("helm-controller", ports.helm_health),
        ("argo-rollouts", ports.rollouts_health),
        (programs::KEDA.name, ports.keda_health),
    ];
    for (name, port) in parts {
        process::wait_until(name, deadline, || {
            record.all_alive()?;
            Ok(std::net::TcpStream::connect((LOOPBACK, port)).is_ok())
        })
        .map_err(|failure| failure.log(&record.log(name)))?;
    }
    Ok(())
}

fn private_folder(record: &Record, name: &str) -> Outcome<PathBuf> {
    let folder = PathBuf::from(record.path(name));
    std::fs::create_dir_all(&folder).map_err(doing(format!("create {}", folder.display())))?;
    Ok(folder)
}

fn at(port: u16) -> String {
    format!("{LOOPBACK}:{port}")
}
