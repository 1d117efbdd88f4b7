//! Helm releases as their own records tell them: revisions with their states, and of those that were read what they
//! hold. Values that are secret are hidden where the record is read; none stands here.

use crate::id::Uid;
use crate::target::Target;
use crate::template::Template;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What stands where a hidden value stood. What follows it differs where the values differ, and for this process only.
pub const HIDDEN: &str = "(hidden ";

/// A release by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseName {
    /// The namespace of its records.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ReleaseName {
    /// The Secret that is Helm's record of a revision.
    pub fn record(&self, revision: u64) -> String {
        format!("sh.helm.release.v1.{}.v{revision}", self.name)
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "helm/{}", self.name)
    }
}

/// A release with all revisions that are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Which.
    pub name: ReleaseName,
    /// The revisions, newest first.
    pub revisions: Vec<Revision>,
    /// Of a pending newest revision: what of its operation still runs, or may run, in the cluster, a clause each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at_work: Vec<String>,
    /// How the objects of the newest revision stand.
    #[serde(default)]
    pub standing: Standing,
    /// The revision that a release of the ledger names, to which somebody goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
}

/// A revision as a release of the ledger names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The release of the ledger.
    pub by: crate::release::ReleaseName,
    /// The revision's number.
    pub revision: u64,
    /// What its record held then, as [`Record::content`]; none where it could not be read then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// How the objects of a manifest stand in the cluster; empty where nobody looked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Those that were read, by `kind/name`; hidden as the records are.
    pub objects: BTreeMap<String, Value>,
    /// Those that are not there.
    pub gone: BTreeSet<String>,
    /// What could not be read, a clause each.
    pub unread: Vec<String>,
}

impl Release {
    /// The newest revision, whatever its state: Helm goes on from it.
    pub fn newest(&self) -> Option<&Revision> {
        self.revisions.first()
    }

    /// The revision whose manifest the cluster holds as far as Helm knows: the newest deployed one, or the newest.
    pub fn live(&self) -> Option<&Revision> {
        let deployed = |revision: &&Revision| revision.status == Status::Deployed;
        self.revisions.iter().find(deployed).or_else(|| self.newest())
    }

    /// The revision with this number.
    pub fn revision(&self, number: u64) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.number == number)
    }
}

/// One revision of a release: the record that Helm keeps of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Its number.
    pub number: u64,
    /// Its state.
    pub status: Status,
    /// The uid of its record.
    pub uid: Uid,
    /// When its record was made, by the API server's clock: Helm makes it before it writes anything of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When its record was last written.
    pub changed_at: Timestamp,
    /// What the record holds.
    pub record: Read,
}

impl Revision {
    /// The record, where it was read.
    pub fn content(&self) -> Option<&Record> {
        match &self.record {
            Read::Read(record) => Some(record),
            Read::Unreadable { .. } | Read::NotAsked => None,
        }
    }
}

/// What is known of a record beyond its labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Read {
    /// All of it.
    Read(Box<Record>),
    /// It could not be read, or is not what it says.
    Unreadable {
        /// Why.
        why: String,
    },
    /// Nobody has asked for it.
    NotAsked,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The chart and its version: `shop-1.2.3`.
    pub chart: String,
    /// The version of what the chart installs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// Whether Helm applies it on the server, with field managers and their conflicts.
    #[serde(default)]
    pub server_side: bool,
    /// What Helm says of the revision: `Upgrade complete`.
    pub description: String,
    /// `sha256:…` over chart, manifest and hooks without the values of Secrets.
    pub content: String,
    /// The pod templates of its workloads as the manifest writes them, without defaults.
    #[serde(with = "by_target")]
    pub templates: BTreeMap<Target, Template>,
    /// Every object of its manifest, by `kind/name`.
    pub objects: BTreeMap<String, Value>,
    /// The values that were given for the chart.
    pub values: Value,
    /// Its hooks.
    pub hooks: Vec<Hook>,
    /// Objects that Helm leaves when they go from the manifest (`helm.sh/resource-policy: keep`), by `kind/name`.
    pub kept: Vec<String>,
    /// Files with resource definitions, which Helm installs once and never changes.
    pub crds: Vec<String>,
}

/// A hook: an object that Helm makes beside the manifest, at certain events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// `job/migrate`.
    pub object: String,
    /// `pre-rollback`, `post-upgrade`, …
    pub events: Vec<String>,
    /// Helm runs the lower ones first.
    pub weight: i64,
    /// Whether it looks like one that changes a database.
    pub migrates: bool,
}

impl Hook {
    /// Whether the operation of a pending revision runs it, before or after the manifest.
    pub fn runs_in(&self, pending: &str) -> bool {
        let operation = pending.trim_start_matches("pending-");
        let of = |event: &String| event.split_once('-').is_some_and(|(_, of)| of == operation);
        self.events.iter().any(of)
    }

    /// Whether a rollback runs it.
    pub fn runs_at_rollback(&self) -> bool {
        self.events.iter().any(|event| event.ends_with("-rollback"))
    }
}

/// The state of a revision, in Helm's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Status {
    /// The live one.
    Deployed,
    /// It was live before.
    Superseded,
    /// An operation failed on the way.
    Failed,
    /// `pending-install`, `pending-upgrade`, `pending-rollback`: an operation is under way, or its client died.
    Pending(String),
    /// Any other: `uninstalling`, `uninstalled`, `unknown`.
    Other(String),
}

impl Status {
    /// Whether the revision is or was live.
    pub fn was_deployed(&self) -> bool {
        matches!(self, Self::Deployed | Self::Superseded)
    }
}

impl From<String> for Status {
    fn from(text: String) -> Self {
        match text.as_str() {
            "deployed" => Self::Deployed,
            "superseded" => Self::Superseded,
            "failed" => Self::Failed,
            pending if pending.starts_with("pending-") => Self::Pending(text),
            _ => Self::Other(text),
        }
    }
}

impl From<Status> for String {
    fn from(status: Status) -> Self {
        status.to_string()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployed => "deployed",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Pending(word) | Self::Other(word) => word,
        })
    }
}

mod by_target {
    //! JSON objects have text keys, so the map travels as a list of pairs.

    use super::{BTreeMap, Target, Template};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Target, Template>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Target, Template>, D::Error> {
        Ok(Vec::<(Target, Template)>::deserialize(from)?
            .into_iter()
            .collect())
    }
}

/// How helm is told to roll back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// `--timeout`: how long helm may take for one operation, such as a hook.
    pub timeout: SignedDuration,
    /// `--wait`: helm itself waits until what it has written is ready, and calls the revision failed where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
    /// `--cleanup-on-fail`: helm deletes what it has made anew in a rollback that fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cleanup_on_fail: bool,
    /// `--force-conflicts`, of helm 4 and of releases that it applies on the server: what somebody else manages meanwhile is
    /// written too. Without it such a rollback fails half way.
    #[serde(default)]
    pub force_conflicts: bool,
}

impl Default for Settings {
    /// Helm's own, but for conflicts: what the plan shows is what is written.
    fn default() -> Self {
        Self {
            timeout: SignedDuration::from_mins(5),
            wait: false,
            cleanup_on_fail: false,
            force_conflicts: true,
        }
    }
}
