//! Helm releases: what their records tell, and effects on them.

use crate::Failure;
use crate::provider::{Provider, Settled};
use astern_model::config::ConfigName;
use astern_model::failure::FailureClass;
use astern_model::helm::{Release, ReleaseName, Standing};
use astern_model::id::{Epoch, RunId};
use astern_model::step::helm::{After, Before, Spec};
use astern_model::step::workload::Stamp;
use astern_model::target::Target;
use astern_model::template::Template;
use async_trait::async_trait;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How much of a release's records is read beyond their labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The newest, and the next one that was deployed once: mostly where a rollback goes; with what lies between.
    Nearest,
    /// The newest [`FEW`].
    Few,
}

/// So many records of a release are read at most, as many as Helm keeps by default: a longer history costs no more.
pub const FEW: usize = 10;

/// What a manifest says that an object holds, as the API server keeps it and with Helm's marks; or why that cannot be told, a clause
/// without values.
pub type Manifested = Result<Value, String>;

/// The template that a workload would ask for, or why that cannot be told, a clause without secret values.
pub type Foretelling = Result<Template, String>;

/// What a manifest says that ConfigMaps and Secrets hold. Its `Debug` shows no value.
#[derive(Default, PartialEq)]
pub struct ManifestContents {
    /// Those in the release's own namespace.
    pub here: BTreeMap<ConfigName, Manifested>,
    /// Those in other namespaces, each with its own.
    pub elsewhere: BTreeMap<(String, ConfigName), Manifested>,
}

impl ManifestContents {
    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.here.is_empty() && self.elsewhere.is_empty()
    }
}

impl fmt::Debug for ManifestContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestContents")
            .field("here", &self.here.keys())
            .field("elsewhere", &self.elsewhere.keys())
            .finish()
    }
}

/// The Helm layer.
///
/// # Flow
/// `prepare` reads the release's records and checks the pins; `apply` reads again, leaves the stamp's key where Helm takes
/// it over into the revision that it makes, and calls the helm program. What the program returns decides nothing: the
/// records do, before and after a crash alike.
///
/// # Guarantees
/// - Of two rollbacks from the same revision, one makes the next one: Helm creates its record, and a name is created once.
/// - `apply` with a key that a record bears already starts nothing; it answers by that record.
/// - The child knows no fence: it is left to end by itself when its caller dies, and is waited for by its record.
#[async_trait]
pub trait Releases: Provider<Spec> {
    /// The releases of a namespace by these names, each with all revisions and the content of those of this depth.
    /// A release without records is left out.
    async fn read(&self, namespace: &str, names: &[String], depth: Depth) -> Result<Vec<Release>, Failure>;

    /// Every release of a namespace with its revisions, by their labels alone.
    async fn list(&self, namespace: &str) -> Result<Vec<Release>, Failure>;

    /// The values that were given for a revision, whole: secret ones are among them, so they stay in memory, in the cluster and in
    /// its vault.
    async fn values(&self, release: &ReleaseName, revision: u64) -> Result<Value, Failure>;

    /// What a revision's manifest says that ConfigMaps and Secrets hold. Asks for its record once.
    async fn contents(&self, release: &ReleaseName, revision: u64) -> Result<ManifestContents, Failure>;

    /// What workloads would ask for once helm had gone back from revision `from` to each revision of `to`, by a dry run of what helm
    /// would write: stored is nothing. `force_conflicts`: as [`astern_model::helm::Settings`] has it.
    async fn foretell(
        &self,
        release: &ReleaseName,
        from: u64,
        to: &BTreeMap<u64, BTreeSet<Target>>,
        force_conflicts: bool,
    ) -> Result<BTreeMap<(u64, Target), Foretelling>, Failure>;

    /// How the objects of a release's newest revision stand. What could not be read is told in it.
    async fn standing(&self, release: &Release) -> Standing;
}

/// Where there is no Helm: in the sandbox and on copies. It has no releases, and refuses every effect.
#[derive(Clone, Copy, Debug)]
pub struct NoReleases;

impl NoReleases {
    fn refuse(spec: &Spec) -> Failure {
        Failure::new(
            FailureClass::Refused,
            spec.phrase(),
            "there is no helm program in a sandbox or on a copy of a namespace",
        )
        .hint("with --outside-helm the plan writes the workloads themselves, and that can be rehearsed")
    }
}

fn nowhere(operation: String) -> Failure {
    Failure::new(FailureClass::Permanent, operation, "there is no Helm here")
}

#[async_trait]
impl Releases for NoReleases {
    async fn read(&self, _: &str, _: &[String], _: Depth) -> Result<Vec<Release>, Failure> {
        Ok(Vec::new())
    }

    async fn list(&self, _: &str) -> Result<Vec<Release>, Failure> {
        Ok(Vec::new())
    }

    async fn values(&self, release: &ReleaseName, _: u64) -> Result<Value, Failure> {
        Err(nowhere(format!("read the values of {release}")))
    }

    async fn contents(&self, release: &ReleaseName, _: u64) -> Result<ManifestContents, Failure> {
        Err(nowhere(format!("read a manifest of {release}")))
    }

    async fn foretell(
        &self,
        release: &ReleaseName,
        _: u64,
        _: &BTreeMap<u64, BTreeSet<Target>>,
        _: bool,
    ) -> Result<BTreeMap<(u64, Target), Foretelling>, Failure> {
        Err(nowhere(format!("try manifests of {release}")))
    }

    async fn standing(&self, _: &Release) -> Standing {
        Standing::default()
    }
}

#[async_trait]
impl Provider<Spec> for NoReleases {
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure> {
        Err(Self::refuse(spec))
    }

    async fn apply(&self, spec: &Spec, _: &Before, _: &Stamp) -> Result<After, Failure> {
        Err(Self::refuse(spec))
    }

    async fn settle(&self, _: &Spec, _: &Before, _: &Stamp) -> Settled<After> {
        Settled::NotApplied
    }

    async fn reverse(&self, spec: &Spec, _: &Before, _: &After, _: &Stamp) -> Result<After, Failure> {
        Err(Self::refuse(spec))
    }

    async fn settle_reverse(&self, _: &Spec, _: &Before, _: &After, _: &Stamp) -> Settled<After> {
        Settled::NotApplied
    }

    async fn fence(&self, _: &Spec, _: &Before, _: &RunId, _: Epoch, _: Epoch) -> Result<(), Failure> {
        Ok(())
    }
}
