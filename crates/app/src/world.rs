//! The outside, as the use cases see it: one value that holds every port.

use astern_exec::driver::{Judge, Observer, Ports};
use astern_exec::perform::Providers;
use astern_model::source::Source;
use astern_model::step::{config, owner, workload};
use astern_port::clock::Clock;
use astern_port::cluster::Look;
use astern_port::config::Config;
use astern_port::journal::Journal;
use astern_port::ledger::Ledger;
use astern_port::lock::Lock;
use astern_port::logins::Logins;
use astern_port::provider::Provider;
use astern_port::releases::Releases;
use astern_port::sense::Sense;
use astern_port::source::{Origins, SourceError, Sources};
use astern_port::vault::Vault;
use futures::future::{Either, select};
use jiff::SignedDuration;
use std::pin::pin;
use std::sync::Arc;

/// Every port that a use case may need. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The cluster, read.
    pub look: Arc<dyn Look>,
    /// Logs and probes.
    pub sense: Arc<dyn Sense>,
    /// Where runs are written down.
    pub journal: Arc<dyn Journal>,
    /// Who else is alive.
    pub lock: Arc<dyn Lock>,
    /// Effects on workloads.
    pub workloads: Arc<dyn Provider<workload::Spec>>,
    /// Helm releases.
    pub releases: Arc<dyn Releases>,
    /// Effects on what ConfigMaps and Secrets hold.
    pub contents: Arc<dyn Provider<config::Spec>>,
    /// Whether credentials of then still work.
    pub logins: Arc<dyn Logins>,
    /// Effects on whoever would write targets back.
    pub owners: Arc<dyn Provider<owner::Spec>>,
    /// ConfigMaps and Secrets, read.
    pub config: Arc<dyn Config>,
    /// The releases, beside what they describe.
    pub ledger: Arc<dyn Ledger>,
    /// Where the content of releases lies: beside the ledger, wherever runs are written down.
    pub vault: Arc<dyn Vault>,
    /// Who else knows what ConfigMaps held where no ledger does; none where nobody is to be asked, as on a copy.
    pub git: Option<Git>,
}

/// The ways to Git. Only repositories that the platform's owners have named are ever asked.
#[derive(Clone)]
pub struct Git {
    /// Those that astern.yaml names.
    pub named: Vec<Source>,
    /// What owners say of where they deploy from.
    pub origins: Arc<dyn Origins>,
    /// The repositories.
    pub sources: Arc<dyn Sources>,
}

/// Nobody waits longer for a repository: what it would say is then not known.
const GIT_WITHIN: SignedDuration = SignedDuration::from_secs(30);

impl Git {
    /// What a repository says, in time.
    ///
    /// # Errors
    /// Why it is not known, a sentence.
    pub(crate) async fn within<T>(
        &self,
        world: &World,
        source: &Source,
        asked: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, String> {
        match select(pin!(asked), world.clock.sleep(GIT_WITHIN)).await {
            Either::Left((said, _)) => said.map_err(|SourceError { failure, .. }| failure.to_string()),
            Either::Right(((), _)) => Err(format!(
                "{} did not answer within {} s",
                source.repository,
                GIT_WITHIN.as_secs()
            )),
        }
    }
}

impl World {
    /// The ports that a run needs.
    pub fn ports(&self, judge: Arc<dyn Judge>, observer: Arc<dyn Observer>) -> Ports {
        Ports {
            clock: self.clock.clone(),
            journal: self.journal.clone(),
            lock: self.lock.clone(),
            providers: Providers {
                workloads: self.workloads.clone(),
                releases: self.releases.clone(),
                contents: self.contents.clone(),
                owners: self.owners.clone(),
            },
            judge,
            observer,
        }
    }
}
