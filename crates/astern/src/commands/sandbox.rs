//! `sandbox`: a Kubernetes in this program's memory, behind a loopback port. Knows which scenarios are built in; the
//! cluster itself lives in its own crate.

use crate::args;
use crate::commands::look::write_private;
use crate::console::Console;
use crate::error::{CliError, Exit};
use astern_sandbox::{Cluster, Options, Scenario, ScenarioError, Service, SystemClock, Then, http};
use jiff::Timestamp;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The files that scenarios are made of, by the names that they use for one another.
macro_rules! built_in {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../../examples/", $file)))),*]
    };
}

const FILES: &[(&str, &str)] = built_in![
    "scenarios/bad-config.yaml",
    "scenarios/bad-release.yaml",
    "scenarios/config-alone.yaml",
    "scenarios/crash-loop.yaml",
    "scenarios/gitops-owner.yaml",
    "scenarios/hpa-at-limits.yaml",
    "scenarios/image-missing.yaml",
    "scenarios/old-version-broken.yaml",
    "scenarios/partial-rollback.yaml",
    "scenarios/platform.yaml",
    "scenarios/slow-version.yaml",
    "scenarios/stateful-set-stuck.yaml",
    "scenarios/stopped-workers.yaml",
    "scenarios/stopped-workers/astern.yaml",
    "vcci-scope3/astern.yaml",
    "vcci-scope3/manifests/config.yaml",
    "vcci-scope3/manifests/namespace.yaml",
    "vcci-scope3/manifests/secret.yaml",
    "vcci-scope3/manifests/workloads-v1.2.3.yaml",
    "vcci-scope3/manifests/workloads-v1.2.4.yaml",
];

/// The text of a built-in file.
fn built_in(name: &str) -> Option<&'static str> {
    FILES
        .iter()
        .find(|(file, _)| *file == name)
        .map(|(_, text)| *text)
}

/// The built-in scenarios with what each says, by name.
pub(crate) fn scenarios() -> Result<Vec<(&'static str, String)>, CliError> {
    FILES
        .iter()
        .filter_map(|(file, _)| file.strip_prefix("scenarios/")?.strip_suffix(".yaml"))
        .filter(|name| !name.contains('/'))
        .map(|name| Ok((name, Story::open(name)?.scenario.says)))
        .collect()
}

/// A scenario's files: a built-in one's are built in; one on disk finds its own beside it, and the built-in ones.
struct Library {
    folder: Option<PathBuf>,
}

impl Library {
    fn text(&self, name: &str) -> Result<String, String> {
        if let Some(folder) = &self.folder {
            let file = folder.join(name);
            if file.is_file() || built_in(name).is_none() {
                return std::fs::read_to_string(&file).map_err(|error| error.to_string());
            }
        }
        built_in(name)
            .map(ToOwned::to_owned)
            .ok_or_else(|| "it is not built in".to_owned())
    }
}

/// A scenario with its files.
pub(crate) struct Story {
    pub(crate) scenario: Scenario,
    library: Library,
    /// Its file's name.
    file: String,
}

impl Story {
    /// The scenario of this name, or in this file.
    pub(crate) fn open(name: &str) -> Result<Self, CliError> {
        let built = format!("scenarios/{name}.yaml");
        let (file, library) = if built_in(&built).is_some() {
            (built, Library { folder: None })
        } else if name.contains(['.', '/']) {
            let path = Path::new(name);
            let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
            let file = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (file, Library { folder: Some(folder) })
        } else {
            return Err(no_scenario(name)?);
        };
        let scenario = Scenario::read(&file, &|name| library.text(name)).map_err(not_staged)?;
        Ok(Self {
            scenario,
            library,
            file,
        })
    }

    /// What astern is told about the platform: the file in the folder of the scenario's name, else the example's.
    pub(crate) fn platform(&self) -> String {
        let folder = self.file.trim_end_matches(".yaml");
        let own = self.library.text(&format!("{folder}/astern.yaml"));
        own.unwrap_or_else(|_| built_in("vcci-scope3/astern.yaml").unwrap_or_default().to_owned())
    }

    /// A cluster that has gone through all of it.
    pub(crate) fn stage(&self, seed: u64) -> Result<Cluster, CliError> {
        let files = |name: &str| self.library.text(name);
        let staged = self.scenario.stage(seed, Timestamp::now(), &files);
        staged.map_err(not_staged)
    }

    /// A cluster that stands before the end of the story.
    pub(crate) fn stage_until_then(&self, seed: u64) -> Result<Cluster, CliError> {
        let files = |name: &str| self.library.text(name);
        let staged = self.scenario.stage_until_then(seed, Timestamp::now(), &files);
        staged.map_err(not_staged)
    }

    /// Lets the end of the story happen in a cluster that is served.
    pub(crate) fn happen(&self, then: &Then, server: &Serving) -> Result<(), CliError> {
        let files = |name: &str| self.library.text(name);
        let happened = server
            .service
            .with(|cluster, now| then.happen(cluster, now, &files));
        happened.map_err(not_staged)
    }
}

fn no_scenario(name: &str) -> Result<CliError, CliError> {
    let known = scenarios()?;
    let near = astern_wire::nearest::nearest(name, known.iter().map(|(name, _)| *name));
    let hint = match near {
        Some(near) => format!("did you mean {near}?"),
        None => "astern demo --scenario   lists those there are; a file is named with its ending".to_owned(),
    };
    Ok(CliError::input(format!("there is no scenario `{name}`")).hint(hint))
}

fn not_staged(error: ScenarioError) -> CliError {
    let mut lines = error
        .to_string()
        .lines()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter();
    let first = lines.next().unwrap_or_default();
    let mut shown = CliError::input(format!("the scenario cannot be staged: {first}"));
    shown.shown = lines.collect();
    shown
}

/// Puts a cluster behind a loopback port and writes the kubeconfig that leads there.
pub(crate) async fn serve(
    cluster: Cluster,
    port: Option<u16>,
    namespace: &str,
    kubeconfig: &Path,
) -> Result<Serving, CliError> {
    let not_listening = |error: std::io::Error| {
        let port = port.map_or_else(String::new, |port| format!(" on port {port}"));
        CliError::input(format!("the sandbox cannot listen{port}"))
            .cause(error.to_string())
            .hint("without --port a free one is taken")
    };
    let listener = http::listen(port.unwrap_or(0)).await.map_err(not_listening)?;
    let address = listener.local_addr().map_err(not_listening)?;
    // Beside it, on any free port: who names a port means the API's.
    let beside = http::listen(0).await.map_err(not_listening)?;
    let metrics = beside.local_addr().map_err(not_listening)?;
    write_private(kubeconfig, http::kubeconfig(address, namespace).as_bytes())?;
    let service = Service::new(cluster, Arc::new(SystemClock));
    let mut tasks = JoinSet::new();
    let acting = service.clone();
    tasks.spawn(async move { acting.run().await });
    let (telling, listening) = (service.clone(), service.clone());
    tasks.spawn(async move {
        if let Err(error) = http::serve_metrics(telling, beside).await {
            tracing::error!(%error, "the metrics source listens no more");
        }
    });
    tasks.spawn(async move {
        if let Err(error) = http::serve(listening, listener).await {
            tracing::error!(%error, "the sandbox listens no more");
        }
    });
    Ok(Serving {
        address,
        metrics,
        service,
        _tasks: tasks,
    })
}

/// A cluster that is served until this is dropped.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    /// Prometheus' HTTP API about the traffic.
    pub(crate) metrics: SocketAddr,
    service: Service,
    _tasks: JoinSet<()>,
}

/// `sandbox serve`.
pub(crate) async fn stay(
    global: &args::Global,
    arguments: &args::Serve,
    console: &Console,
) -> Result<Exit, CliError> {
    let cluster = match (&arguments.scenario, &arguments.load) {
        (Some(name), _) => Story::open(name)?.stage(arguments.seed)?,
        (None, Some(file)) => copied(file, arguments.seed)?,
        (None, None) => Cluster::new(options(arguments.seed), Timestamp::now()),
    };
    let kubeconfig = match &global.kubeconfig {
        Some(file) if is_anothers(file) => {
            let message = format!(
                "{} is there and leads to another cluster; it is kept",
                file.display()
            );
            return Err(CliError::input(message).hint("name a file that does not exist yet"));
        }
        Some(file) => file.clone(),
        None => crate::runner::state_folder()?.join("sandbox.kubeconfig"),
    };
    let server = serve(cluster, arguments.port, "default", &kubeconfig).await?;
    console.say(&format!(
        "a Kubernetes in memory listens at http://{}; Ctrl-C ends it, and all that is in it",
        server.address
    ));
    console.say(&format!(
        "metrics of its traffic, in Prometheus' HTTP API: http://{}",
        server.metrics
    ));
    console.data(&format!("export KUBECONFIG={}", kubeconfig.display()))?;
    interrupted().await;
    Ok(Exit::Done)
}

fn options(seed: u64) -> Options {
    Options {
        seed,
        ..Options::default()
    }
}

/// A cluster with the objects of a dump, or an error and none of them.
fn copied(file: &Path, seed: u64) -> Result<Cluster, CliError> {
    let unusable = |why: String| {
        CliError::input(format!("{} cannot be loaded: {why}", file.display()))
            .hint("kubectl get deployments,replicasets,pods,configmaps,secrets,services -n NAMESPACE -o json > FILE")
    };
    let bytes = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let objects = astern_sandbox::dump::read(&bytes).map_err(|error| unusable(error.to_string()))?;
    astern_sandbox::dump::cluster(objects, options(seed), Timestamp::now())
        .map_err(|error| unusable(error.to_string()))
}

/// Whether a kubeconfig is there that no sandbox wrote.
fn is_anothers(kubeconfig: &Path) -> bool {
    std::fs::read_to_string(kubeconfig)
        .is_ok_and(|text| !text.contains(&format!("\"current-context\": \"{}\"", http::CONTEXT)))
}

/// Until somebody presses Ctrl-C or asks the process to end.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut asked) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = asked.recv() => {}
    }
}
