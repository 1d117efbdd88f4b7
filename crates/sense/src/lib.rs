//! The senses: what logs and HTTP probes tell of workloads, and the saving of evidence that a rollback destroys.
//! They observe and decide nothing; what could not be observed is said to be unknown.

mod error_lines;
mod fetch;
mod login;
mod mask;
mod probe;
mod recent;
mod save;
mod words;

pub use login::Programs;

use astern_model::evidence::Evidence;
use astern_model::inventory::Inventory;
use astern_model::platform::Probe;
use astern_model::policy::LogPolicy;
use astern_model::target::Target;
use astern_port::clock::Clock;
use astern_port::sense::{Saved, Sense};
use astern_port::vault::Vault;
use async_trait::async_trait;
use fetch::Way;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use recent::Recent;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The senses on a cluster.
///
/// # Guarantees
/// - Nothing is waited for beyond the time that the caller gives; what was not had is unknown or named as missed.
/// - No value of a Secret that a pod consumes leaves in a line, a text or a name: where the Secret cannot be read,
///   the line is not shown.
pub struct ClusterSense {
    client: Client,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    recent: Recent,
}

impl ClusterSense {
    /// Senses through this client; evidence is saved in `vault`.
    pub fn new(client: Client, vault: Arc<dyn Vault>, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            vault,
            clock,
            recent: Recent::default(),
        }
    }
}

#[async_trait]
impl Sense for ClusterSense {
    async fn error_lines(
        &self,
        inventory: &Inventory,
        targets: &[Target],
        policy: &LogPolicy,
        since: Option<Timestamp>,
        within: SignedDuration,
    ) -> Vec<Evidence> {
        let way = Way::new(&self.client, deadline(within));
        error_lines::Look::new(&way, inventory, &self.recent)
            .all(targets, policy, since, self.clock.now())
            .await
    }

    async fn probe(
        &self,
        namespace: &str,
        probes: &[(Target, Probe)],
        within: SignedDuration,
    ) -> Vec<Evidence> {
        let way = Way::new(&self.client, deadline(within));
        probe::all(&way, &*self.clock, namespace, probes).await
    }

    async fn save(
        &self,
        inventory: &Inventory,
        targets: &[Target],
        within: SignedDuration,
        bytes: u64,
    ) -> Saved {
        let (reading, storing) = (deadline(within), deadline(within + save::STORING));
        let way = Way::new(&self.client, reading);
        save::Save::new(&way, self.vault.as_ref(), inventory, &self.recent)
            .all(targets, storing, bytes)
            .await
    }
}

fn deadline(within: SignedDuration) -> Instant {
    Instant::now() + Duration::try_from(within).unwrap_or_default()
}
