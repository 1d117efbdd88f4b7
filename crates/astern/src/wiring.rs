//! The composition root: which adapter stands behind which port.

use crate::args::Global;
use crate::error::CliError;
use crate::platform;
use astern_app::World;
use astern_app::world::Git;
use astern_helm::{Helm, Program};
use astern_kubernetes::connect::{ConnectOptions, Connection, connect};
use astern_kubernetes::effects::{KubernetesContents, KubernetesOwners, KubernetesWorkloads};
use astern_kubernetes::lock::LeaseLock;
use astern_kubernetes::look::{ClusterConfig, ClusterLook, ClusterOrigins, OwnersAt};
use astern_model::id::RunId;
use astern_model::platform::Platform;
use astern_model::record::Holder;
use astern_model::source::Source;
use astern_port::clock::Clock;
use astern_port::journal::Journal;
use astern_port::logins::Logins;
use astern_port::vault::Vault;
use astern_sense::{ClusterSense, Programs};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Everything that a command needs.
pub(crate) struct Wired {
    pub(crate) world: World,
    pub(crate) platform: Platform,
    /// Where plans and records keep what they only name.
    pub(crate) vault: Arc<dyn Vault>,
    /// The way to the cluster.
    pub(crate) connection: Connection,
    /// Where owners' objects lie.
    pub(crate) owners: OwnersAt,
    /// Whether runs are written down in a file, not in the cluster.
    pub(crate) journal_in_file: bool,
}

/// Connects, reads the platform, and puts the adapters behind the ports.
pub(crate) async fn wire(global: &Global) -> Result<Wired, CliError> {
    let connection = connection(global).await?;
    let platform = platform::find(global, &connection.default_namespace)?;
    let sources = platform::sources(global, &platform)?;
    assemble(global, connection, platform, sources).await
}

/// The same for the bare namespace: for the command that is yet to write the platform's file.
pub(crate) async fn wire_without_file(global: &Global) -> Result<Wired, CliError> {
    let connection = connection(global).await?;
    let namespace = global.namespace.as_ref().unwrap_or(&connection.default_namespace);
    let platform = Platform::of_namespace(namespace);
    assemble(global, connection, platform, Vec::new()).await
}

async fn assemble(
    global: &Global,
    connection: Connection,
    platform: Platform,
    sources: Vec<Source>,
) -> Result<Wired, CliError> {
    let namespace = platform.namespace.clone();
    // Releases describe this cluster and hold its Secrets' content: they stay there, wherever runs are written down.
    let beside: Arc<dyn Vault> = Arc::new(astern_journal::ClusterVault::new(
        connection.client.clone(),
        namespace.clone(),
    ));
    let ledger = astern_journal::ClusterLedger::new(connection.client.clone(), namespace.clone());
    let (journal, vault): (Arc<dyn Journal>, Arc<dyn Vault>) = match &global.store {
        Some(file) => {
            let (journal, vault) = astern_journal::Sqlite::open(file).await?;
            let vault = astern_journal::LayeredVault::new(Arc::new(vault), beside.clone());
            (Arc::new(journal), Arc::new(vault))
        }
        None => (
            Arc::new(astern_journal::ClusterJournal::new(
                connection.client.clone(),
                namespace,
            )),
            beside.clone(),
        ),
    };
    let lasting = connection.lasting()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let client = || connection.client.clone();
    let owners = owners(global, &connection, &platform).await?;
    let logins: Arc<dyn Logins> = Arc::new(Programs::of(&platform));
    let world = World {
        sense: Arc::new(ClusterSense::new(client(), vault.clone(), clock.clone())),
        lock: Arc::new(LeaseLock::new(client(), clock.clone())),
        workloads: Arc::new(
            KubernetesWorkloads::new(client(), vault.clone(), clock.clone()).watching(lasting),
        ),
        releases: Arc::new(Helm::new(
            client(),
            helm(global, &connection),
            vault.clone(),
            beside.clone(),
            logins.clone(),
            clock.clone(),
        )),
        look: Arc::new(
            ClusterLook::new(connection.clone(), clock.clone(), beside.clone()).with_owners(owners.clone()),
        ),
        // Of these nothing is kept in a file: it would leave the cluster.
        contents: Arc::new(KubernetesContents::new(client(), beside.clone(), logins.clone())),
        logins,
        config: Arc::new(ClusterConfig::new(client()).with_owners(owners.clone())),
        owners: Arc::new(KubernetesOwners::new(owners.clone(), clock.clone())),
        ledger: Arc::new(ledger),
        vault: beside,
        clock,
        journal,
        git: Some(Git {
            named: sources,
            origins: Arc::new(ClusterOrigins::new(owners.clone())),
            sources: Arc::new(astern_git::Git::new(&global.git)),
        }),
    };
    Ok(Wired {
        world,
        platform,
        vault,
        connection,
        owners,
        journal_in_file: global.store.is_some(),
    })
}

/// Where owners' objects lie: Argo CD may be in a hub cluster, which the platform's file names by its context, or be asked itself.
async fn owners(global: &Global, connection: &Connection, platform: &Platform) -> Result<OwnersAt, CliError> {
    let mut at = OwnersAt::here(connection.client.clone());
    if let Some(context) = &platform.argocd.context {
        let options = ConnectOptions {
            kubeconfig: global.kubeconfig.clone(),
            context: Some(context.clone()),
            namespace: None,
            user: None,
        };
        let hub = connect(&options).await?;
        at.argocd = hub.client.clone();
        at.hub = Some(hub);
    }
    if let Some(server) = &platform.argocd.server {
        at.argocd = astern_kubernetes::argocd::connect(server).await?;
    }
    if let Some(namespace) = &platform.argocd.namespace {
        at.argocd_namespace.clone_from(namespace);
    }
    Ok(at)
}

/// The helm program, told to go where astern goes.
fn helm(global: &Global, connection: &Connection) -> Program {
    let in_cluster = connection.context == "in-cluster";
    Program {
        path: global.helm.clone(),
        kubeconfig: global.kubeconfig.clone(),
        context: (!in_cluster).then(|| connection.context.clone()),
        other_user: global.user.is_some(),
    }
}

async fn connection(global: &Global) -> Result<Connection, CliError> {
    let options = ConnectOptions {
        kubeconfig: global.kubeconfig.clone(),
        context: global.context.clone(),
        namespace: global.namespace.clone(),
        user: global.user.clone(),
    };
    Ok(connect(&options).await?)
}

/// This process as a run's holder; `user` as the API server names it.
pub(crate) fn holder(user: &str) -> Holder {
    Holder {
        id: uuid::Uuid::now_v7().to_string(),
        user: user.to_owned(),
        host: host(),
        pid: std::process::id(),
    }
}

/// A new run's id: its time, for people and for order, and four random digits.
pub(crate) fn run_id(now: Timestamp) -> RunId {
    let random = uuid::Uuid::now_v7().simple().to_string();
    RunId(format!(
        "r{}-{}",
        now.strftime("%Y%m%d-%H%M%S"),
        &random[random.len() - 4..]
    ))
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "unknown host".to_owned())
}

/// The system's time.
struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, span: SignedDuration) {
        if let Ok(span) = std::time::Duration::try_from(span) {
            tokio::time::sleep(span).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use astern_kubernetes::connect::READ_TIMEOUT;
    use astern_plan::WRITE_DEADLINE;

    #[test]
    fn a_write_that_is_not_answered_fails_by_the_connection_before_its_deadline() {
        assert!(WRITE_DEADLINE.unsigned_abs() > READ_TIMEOUT);
    }
}
