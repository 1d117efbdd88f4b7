//! `cargo xtask cluster`: up, status, down of a real Kubernetes for tests. The order of things is here; how each part is run lies in the modules below.

mod control_plane;
mod credentials;
mod images;
mod kubectl;
mod kwok;
mod network;
mod node;
mod owners;
mod record;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use kubectl::Kubectl;
pub(crate) use record::Record;

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome, doing};
use crate::{debian, process, programs};

const HELP: &str = "\
A real Kubernetes for tests: etcd, API server, controller manager, scheduler, built once from the Go module proxy.

Usage: cargo xtask cluster COMMAND [OPTIONS]

Commands:
  up       Start it, or say that it is running; prints KUBECONFIG=… on stdout
  status   What is running, and how it is
  down     End it, and remove what it made on this machine
  images TAR…                       Give a real node the images of `docker save` archives
  image NAME:TAG BINARY [KEY=VALUE…]  Make an image of one static program, and give it to the node
  platform-images                   Build the example platform's program and give the node its images

Options:
  --node kwok|real   Pods without containers (kwok), or with them (real: containerd, runc, kubelet; needs root) [kwok]
  --name NAME        A cluster of its own under this name [the node kind]
  --nodes N          How many nodes, with kwok [3]
  --fast             Raise the client limits of controller manager and scheduler, for measuring
  --bare             etcd and the API server alone, without nodes and controllers
  --owners           With kwok: the real Argo CD, Flux, Argo Rollouts and KEDA beside it, and a Git server that the first two read from [--name owners]

State lies in target/cluster/NAME, or in $ASTERN_CLUSTER_DIR: kubeconfig (admin@example.test), other.kubeconfig
(second@example.test, another admin), limited.kubeconfig (limited@example.test, no rights), audit.log, logs/.

With kwok a pod is ready at once, unless its template has
  annotation kwok.astern.dev/ready-after: 5s      ready that long after it started
  label      kwok.astern.dev/never-ready          runs, and is never ready
  label      kwok.astern.dev/crash-loop           CrashLoopBackOff, exit code 1, four restarts
  label      kwok.astern.dev/image-missing        ImagePullBackOff
The labels count with any value, also when put on a pod that runs, or taken off it.

With --owners a bare repository under git/ is served, for reading and writing, by the address that `up` and `status` tell.";

/// Enough that pods spread and a node can be cordoned, few enough to read.
const DEFAULT_NODES: u32 = 3;

/// The name of the cluster in which nothing runs.
const HUB: &str = "hub";
/// The name of the cluster that Argo CD of another one deploys to.
const SPOKE: &str = "spoke";

/// From an empty state to a ready cluster takes a tenth of this; a machine that is busy building takes longer.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// What stands behind the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// No containers: statuses are written by kwok.
    Kwok,
    /// Containers by containerd and runc under a kubelet.
    Real,
}

impl NodeKind {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Kwok, Self::Real]
            .into_iter()
            .find(|kind| kind.to_string() == text)
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Kwok => "kwok",
            Self::Real => "real",
        })
    }
}

/// What kind of cluster is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) kind: NodeKind,
    pub(crate) name: String,
    pub(crate) nodes: u32,
    pub(crate) fast: bool,
    /// Argo CD and Flux too.
    pub(crate) owners: bool,
    /// etcd and the API server alone: a cluster in which nothing runs.
    pub(crate) bare: bool,
}

impl Wanted {
    pub(crate) fn new(kind: NodeKind) -> Self {
        Self {
            kind,
            name: kind.to_string(),
            nodes: DEFAULT_NODES,
            fast: false,
            owners: false,
            bare: false,
        }
    }

    /// An API server in which nothing runs: a hub, beside the cluster of the lane `kwok`.
    pub(crate) fn hub() -> Self {
        Self {
            name: String::from(HUB),
            bare: true,
            ..Self::new(NodeKind::Kwok)
        }
    }

    /// What an Argo CD deploys to that is elsewhere, beside the cluster of the lane `owners`.
    pub(crate) fn spoke() -> Self {
        Self {
            name: String::from(SPOKE),
            ..Self::new(NodeKind::Kwok)
        }
    }

    /// Fake nodes, and the real Argo CD, Flux, Argo Rollouts and KEDA.
    pub(crate) fn with_owners() -> Self {
        Self {
            name: String::from(owners::NAME),
            owners: true,
            ..Self::new(NodeKind::Kwok)
        }
    }
}

/// A cluster that is ready.
pub(crate) struct Ready {
    pub(crate) kubeconfig: PathBuf,
    /// The folder of the Git repositories, and where they are served.
    pub(crate) git: Option<(PathBuf, String)>,
    /// The folder of the tokens for Argo CD's API server, and where that is.
    pub(crate) argo_cd: Option<(PathBuf, String)>,
    /// It was running before; whoever asked did not start it and should not end it.
    pub(crate) was_up: bool,
}

impl Ready {
    fn of(record: &Record, was_up: bool) -> Self {
        let (git, argo_cd) = (record.git.clone(), record.argo_cd.clone());
        Self {
            kubeconfig: record.kubeconfig(),
            git: git.map(|address| (record.repositories(), address)),
            argo_cd: argo_cd.map(|address| (record.argo_cd_tokens(), address)),
            was_up,
        }
    }

    /// The variables by which tests find what runs beside the cluster.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let beside = [
            (("ASTERN_TEST_GIT", "ASTERN_TEST_GIT_URL"), &self.git),
            (("ASTERN_TEST_ARGOCD", "ASTERN_TEST_ARGOCD_URL"), &self.argo_cd),
        ];
        let beside = beside
            .into_iter()
            .filter_map(|(names, place)| Some((names, place.as_ref()?)));
        beside
            .flat_map(|((folder_name, address_name), (folder, address))| {
                [(folder_name, folder.into()), (address_name, address.into())]
            })
            .collect()
    }
}

pub(crate) fn main(mut arguments: Arguments) -> Outcome {
    if arguments.help() {
        println!("{HELP}");
        return Ok(());
    }
    let command = arguments.command();
    let mut wanted = wanted(&mut arguments)?;
    if matches!(command.as_deref(), Some("images" | "image" | "platform-images")) && wanted.name == "kwok" {
        wanted.name = NodeKind::Real.to_string();
    }
    match command.as_deref() {
        Some("up") => {
            arguments.end()?;
            let ready = up(&wanted)?;
            println!("KUBECONFIG={}", ready.kubeconfig.display());
            for (name, value) in ready.environment() {
                println!("{name}={}", value.display());
            }
            Ok(())
        }
        Some("status") => arguments.end().and_then(|()| status(&wanted.name)),
        Some("down") => arguments.end().and_then(|()| down(&wanted.name)),
        Some("images") => {
            let record = running(&wanted.name)?;
            arguments
                .words()?
                .iter()
                .try_for_each(|archive| images::import(&record, archive.as_ref()))
        }
        Some("image") => make_image(&running(&wanted.name)?, &arguments.words()?),
        Some("platform-images") => {
            arguments.end()?;
            import_platform(&wanted.name)
        }
        None => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(Failure::usage(
            format!("`{other}` is no command of cluster"),
            "cargo xtask cluster --help",
        )),
    }
}

/// Brings the cluster up, or finds it running.
pub(crate) fn up(wanted: &Wanted) -> Outcome<Ready> {
    let folder = record::folder(&wanted.name);
    let _one_at_a_time = record::lock(&folder)?;
    if let Some(old) = Record::read(&folder)? {
        if healthy(&old) {
            return keep(wanted, &old);
        }
        eprintln!(
            "cluster {}: not all of it is running; starting afresh",
            wanted.name
        );
        take_down(&old)?;
    }
    prepare(wanted, &folder)?;
    let start = Instant::now();
    eprintln!("cluster {}: starting in {}", wanted.name, folder.display());
    let mut record = Record::create(&folder, wanted)?;
    if let Err(failure) = bring_up(wanted, &mut record) {
        // The logs stay for whoever reads the failure; nothing else does.
        drop(take_down(&record));
        return Err(failure);
    }
    eprintln!(
        "cluster {}: ready after {:.1} s",
        wanted.name,
        start.elapsed().as_secs_f64()
    );
    Ok(Ready::of(&record, false))
}

/// Ends the cluster and removes what it made; its logs stay until the next start.
pub(crate) fn down(name: &str) -> Outcome {
    let folder = record::folder(name);
    let _one_at_a_time = record::lock(&folder)?;
    let Some(record) = Record::read(&folder)? else {
        eprintln!("cluster {name}: not running");
        return Ok(());
    };
    take_down(&record)?;
    eprintln!("cluster {name}: down; logs stay in {}", record.logs().display());
    Ok(())
}

/// Builds the example platform and gives its images to a cluster that is up.
pub(crate) fn import_platform(name: &str) -> Outcome {
    images::import_platform(&running(name)?)
}

pub(crate) fn can_have_real_nodes() -> bool {
    network::is_root()
}

/// The record of a cluster that must be up.
fn running(name: &str) -> Outcome<Record> {
    let record = Record::read(&record::folder(name))?;
    record.ok_or_else(|| {
        Failure::new(format!("cluster {name} is not running"))
            .next(format!("cargo xtask cluster up --name {name}"))
    })
}

fn make_image(record: &Record, words: &[String]) -> Outcome {
    let [name, program, environment @ ..] = words else {
        return Err(Failure::usage(
            "an image needs a name and a program",
            "cargo xtask cluster --help",
        ));
    };
    let image = images::Image {
        name: name.clone(),
        environment: environment.to_vec(),
        user: String::new(),
    };
    images::import_program(record, program.as_ref(), &[image])
}

fn wanted(arguments: &mut Arguments) -> Outcome<Wanted> {
    let usage = |what: String| Failure::usage(what, "cargo xtask cluster --help");
    let name = arguments.value("--name")?;
    let kind = match arguments.value("--node")? {
        Some(text) => {
            NodeKind::parse(&text).ok_or_else(|| usage(format!("--node is kwok or real, not `{text}`")))?
        }
        None => name
            .as_deref()
            .and_then(NodeKind::parse)
            .unwrap_or(NodeKind::Kwok),
    };
    let mut wanted = if arguments.flag("--owners") || name.as_deref() == Some(owners::NAME) {
        if kind != NodeKind::Kwok {
            return Err(usage(String::from("--owners goes with --node kwok")));
        }
        Wanted::with_owners()
    } else {
        Wanted::new(kind)
    };
    if let Some(name) = name {
        if !name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
        {
            return Err(usage(format!(
                "--name is letters, digits and hyphens, not `{name}`"
            )));
        }
        wanted.name = name;
    }
    if let Some(text) = arguments.value("--nodes")? {
        let nodes = text
            .parse()
            .ok()
            .filter(|nodes| (1..=kwok::MOST_NODES).contains(nodes));
        wanted.nodes =
            nodes.ok_or_else(|| usage(format!("--nodes is 1 to {}, not `{text}`", kwok::MOST_NODES)))?;
    }
    wanted.fast = arguments.flag("--fast");
    wanted.bare = arguments.flag("--bare");
    if wanted.bare && (kind != NodeKind::Kwok || wanted.owners) {
        return Err(usage(String::from(
            "--bare goes with --node kwok, and without --owners",
        )));
    }
    Ok(wanted)
}

/// A cluster that is running already: only nodes can be added to it.
fn keep(wanted: &Wanted, record: &Record) -> Outcome<Ready> {
    if record.kind != wanted.kind {
        return Err(Failure::new(format!(
            "cluster {} is running with {} nodes",
            wanted.name, record.kind
        ))
        .next(format!(
            "cargo xtask cluster down --name {0}, or another --name",
            wanted.name
        )));
    }
    if wanted.owners && record.git.is_none() {
        return Err(
            Failure::new(format!("cluster {} is running without owners", wanted.name)).next(format!(
                "cargo xtask cluster down --name {0}, or another --name",
                wanted.name
            )),
        );
    }
    if record.fast != wanted.fast {
        let limits = if record.fast { "raised" } else { "default" };
        eprintln!(
            "cluster {}: it runs with {limits} limits; `down` first to change them",
            wanted.name
        );
    }
    if wanted.kind == NodeKind::Kwok && !wanted.bare {
        let kubectl = Kubectl::new(&record.kubeconfig())?;
        kwok::add_nodes(&kubectl, wanted.nodes)?;
        wait_for_nodes(record, &kubectl)?;
    }
    eprintln!("cluster {}: already up", wanted.name);
    Ok(Ready::of(record, true))
}

/// What must be on the machine before anything starts.
fn prepare(wanted: &Wanted, folder: &Path) -> Outcome {
    debian::ensure(&[debian::OPENSSL])?;
    programs::ensure(&[
        programs::ETCD_SERVER,
        programs::API_SERVER,
        programs::CONTROLLER_MANAGER,
        programs::SCHEDULER,
    ])?;
    programs::kubectl()?;
    if wanted.owners {
        owners::prepare()?;
    }
    match wanted.kind {
        NodeKind::Kwok => programs::ensure(&[programs::KWOK_CONTROLLER]),
        NodeKind::Real => node::prepare(folder),
    }
}

fn bring_up(wanted: &Wanted, record: &mut Record) -> Outcome {
    let network = network::Network::of(wanted.kind);
    let ports = control_plane::Ports::free(network.api_address)?;
    record.server = format!("https://{}:{}", network.api_address, ports.api);
    network::keep_on_machine(record, &network, ports.api)?;
    if wanted.kind == NodeKind::Real {
        node::connect(record, &network)?;
    }
    credentials::write(record, &network)?;
    control_plane::start(record, &network, &ports)?;
    let kubectl = Kubectl::new(&record.kubeconfig())?;
    control_plane::wait_for_api(record, &kubectl, READY_DEADLINE)?;
    if wanted.bare {
        return Ok(());
    }
    control_plane::start_controllers(record, wanted.fast)?;
    match wanted.kind {
        NodeKind::Kwok => {
            kwok::start(record, &network, &ports)?;
            kwok::add_nodes(&kubectl, wanted.nodes)?;
        }
        NodeKind::Real => node::start(record, &network, &ports)?,
    }
    let stands_for_node = if wanted.kind == NodeKind::Real {
        "kubelet"
    } else {
        "kwok"
    };
    wait_for_nodes(record, &kubectl).map_err(|failure| failure.log(&record.log(stands_for_node)))?;
    wait_for_namespace(&kubectl).map_err(|failure| failure.log(&record.log("kube-controller-manager")))?;
    if wanted.owners {
        owners::start(record, &kubectl, READY_DEADLINE)?;
    }
    Ok(())
}

/// Nodes that are Ready and that pods may go to; the controller manager takes the start-up taints off a little later.
fn wait_for_nodes(record: &Record, kubectl: &Kubectl) -> Outcome {
    process::wait_until("ready nodes", READY_DEADLINE, || {
        record.all_alive()?;
        let nodes = kubectl.json(&["get", "nodes"])?;
        let nodes = nodes["items"].as_array().cloned().unwrap_or_default();
        Ok(!nodes.is_empty() && nodes.iter().all(usable))
    })?;
    Ok(())
}

fn usable(node: &serde_json::Value) -> bool {
    let conditions = node["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ready = conditions
        .iter()
        .any(|each| each["type"] == "Ready" && each["status"] == "True");
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    ready
        && !taints
            .iter()
            .any(|taint| taint["key"] == "node.kubernetes.io/not-ready")
}

/// What pods and tests take for granted in a namespace is made by controllers, a moment after the API is ready.
fn wait_for_namespace(kubectl: &Kubectl) -> Outcome {
    process::wait_until(
        "the default service account and kube-root-ca.crt",
        READY_DEADLINE,
        || {
            let found = kubectl.read(&[
                "get",
                "serviceaccount/default",
                "configmap/kube-root-ca.crt",
                "-o",
                "name",
            ]);
            Ok(found.is_ok())
        },
    )?;
    Ok(())
}

fn healthy(record: &Record) -> bool {
    !record.processes.is_empty()
        && record.processes.iter().all(process::Running::alive)
        && Kubectl::new(&record.kubeconfig()).is_ok_and(|kubectl| kubectl.ready())
}

fn take_down(record: &Record) -> Outcome {
    if record.kind == NodeKind::Real {
        node::clear(record)?;
    }
    // Last started, first ended: who writes to the API goes before it does.
    for process in record.processes.iter().rev() {
        process.end()?;
    }
    network::undo(record);
    record
        .remove()
        .map_err(doing(format!("remove {}", record.folder().display())))
}

fn status(name: &str) -> Outcome {
    let Some(record) = Record::read(&record::folder(name))? else {
        println!("cluster {name}: not running");
        return Ok(());
    };
    let state = if healthy(&record) { "ready" } else { "not ready" };
    let limits = if record.fast {
        "raised limits"
    } else {
        "default limits"
    };
    let mut lines = vec![format!(
        "cluster {name}: {state}, {} nodes, {limits}, {}",
        record.kind, record.server
    )];
    lines.extend(record.processes.iter().map(|process| {
        let alive = if process.alive() { "running" } else { "ended" };
        format!("  {:<24} {alive:<8} pid {}", process.name, process.pid)
    }));
    lines.push(format!("KUBECONFIG={}", record.kubeconfig().display()));
    if let Some(address) = &record.git {
        lines.push(format!(
            "git repositories {}, at {address}",
            record.repositories().display()
        ));
    }
    if let Some(address) = &record.argo_cd {
        lines.push(format!(
            "Argo CD's API server {address}, tokens {}",
            record.argo_cd_tokens().display()
        ));
    }
    lines.push(format!("audit log {}", record.audit_log().display()));
    // All at once: whoever reads only the first lines must not break the pipe under the rest.
    println!("{}", lines.join("\n"));
    Ok(())
}
