//! A snapshot of a cluster that goes its own way, and the world as astern sees it there.

use crate::clock::TokioClock;
use astern_app::World;
use astern_journal::{MemoryJournal, MemoryLedger, MemoryVault};
use astern_kubernetes::connect::Connection;
use astern_kubernetes::effects::{KubernetesContents, KubernetesOwners, KubernetesWorkloads};
use astern_kubernetes::lock::LeaseLock;
use astern_kubernetes::look::{ClusterConfig, ClusterLook, OwnersAt};
use astern_model::login::LoginProbe;
use astern_port::clock::Clock;
use astern_port::journal::Journal;
use astern_port::logins::{Logins, NoLogin};
use astern_port::releases::NoReleases;
use astern_port::vault::Vault;
use astern_sandbox::{Cluster, Service};
use astern_sense::ClusterSense;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The address that such an API server goes by; nothing listens there.
pub const SERVER: &str = "http://sandbox.invalid";
/// What its context is called.
const CONTEXT: &str = "sandbox";

/// A cluster that lives as long as this does.
///
/// # Flow
/// Made inside a runtime; whoever wants virtual time has paused that runtime's. Controllers, scheduler and kubelets act
/// as time goes by, from the moment of the snapshot on.
pub struct Stage {
    /// The cluster, to be looked at or changed by hand.
    pub service: Service,
    /// Its time.
    pub clock: TokioClock,
    /// Where runs on it are written down.
    pub journal: MemoryJournal,
    /// Where content of such runs lies.
    pub vault: MemoryVault,
    _acting: JoinSet<()>,
}

impl Stage {
    /// Lets a snapshot go on at `now`.
    pub fn new(cluster: Cluster, now: Timestamp, vault: MemoryVault) -> Self {
        let clock = TokioClock::starting(now);
        let service = Service::new(cluster, Arc::new(clock));
        let mut acting = JoinSet::new();
        let going = service.clone();
        acting.spawn(async move { going.run().await });
        Self {
            service,
            clock,
            journal: MemoryJournal::default(),
            vault,
            _acting: acting,
        }
    }

    /// Everything that a use case needs, on this cluster.
    pub fn world(&self) -> World {
        world(
            kube::Client::new(self.service.clone(), "default"),
            Arc::new(self.clock),
            Arc::new(self.journal.clone()),
            Arc::new(self.vault.clone()),
        )
    }

    /// The cluster as it is now; what is done to it does not change this one.
    pub fn snapshot(&self) -> Cluster {
        self.service.with(|cluster, _| cluster.clone())
    }
}

/// The real adapters behind a client, as one process of astern has them.
pub fn world(
    client: kube::Client,
    clock: Arc<dyn Clock>,
    journal: Arc<dyn Journal>,
    vault: Arc<dyn Vault>,
) -> World {
    let connection = Connection::through(client.clone(), CONTEXT, http::Uri::from_static(SERVER));
    World {
        sense: Arc::new(ClusterSense::new(client.clone(), vault.clone(), clock.clone())),
        config: Arc::new(ClusterConfig::new(client.clone())),
        ledger: Arc::new(MemoryLedger::default()),
        logins: Arc::new(Answered),
        lock: Arc::new(LeaseLock::new(client.clone(), clock.clone())),
        releases: Arc::new(NoReleases),
        contents: Arc::new(KubernetesContents::new(
            client.clone(),
            vault.clone(),
            Arc::new(Answered),
        )),
        owners: Arc::new(KubernetesOwners::new(
            OwnersAt::here(client.clone()),
            clock.clone(),
        )),
        workloads: Arc::new(KubernetesWorkloads::new(client, vault.clone(), clock.clone())),
        look: Arc::new(ClusterLook::new(connection, clock.clone(), vault.clone())),
        clock,
        journal,
        vault,
        git: None,
    }
}

/// Login probes where there is nothing to log in to. What a credential of then is worth was asked on the cluster, by the gate.
struct Answered;

#[async_trait]
impl Logins for Answered {
    async fn ask(&self, _: &LoginProbe, _: &Value) -> Result<(), NoLogin> {
        Ok(())
    }
}
