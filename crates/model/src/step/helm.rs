//! Steps on Helm releases: roll back to a revision, see that what it writes is there, and repair a record that a dead client left
//! pending.

use crate::choice::RevisionRef;
use crate::config::ConfigName;
use crate::content::ContentRef;
use crate::helm::{ReleaseName, Settings};
use crate::id::Uid;
use crate::step::config;
use crate::step::workload::{self, Verb};
use crate::target::Target;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What must still be true of a revision's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The revision.
    pub number: u64,
    /// The uid of its record: nobody has deleted it and made it anew.
    pub uid: Uid,
    /// What it holds: [`crate::helm::Record::content`].
    pub content: String,
}

/// A workload whose template changes with the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Carried {
    /// Which.
    pub target: Target,
    /// How it stands before.
    pub pin: workload::Pin,
    /// The remembered revision whose template it asks for afterwards.
    pub to: RevisionRef,
}

/// A ConfigMap or Secret that holds something else once the release has gone back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CarriedContent {
    /// Which, in the release's namespace.
    pub object: ConfigName,
    /// What it is before; none where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<config::Pin>,
    /// What it holds afterwards, and why a Secret may.
    pub to: config::Wanted,
}

/// What a Helm step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum Spec {
    /// Make a new revision with the chart, values and manifest of an earlier one: `helm rollback`.
    Rollback {
        /// The release.
        release: ReleaseName,
        /// The newest revision, from which Helm goes on.
        from: Pin,
        /// The revision whose content comes back.
        to: Pin,
        /// How long Helm may take for one operation, a hook for example.
        timeout: SignedDuration,
        /// Whether helm itself waits: see [`crate::helm::Settings`].
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        wait: bool,
        /// Whether helm deletes what it has made anew, should it fail.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cleanup_on_fail: bool,
        /// Whether helm writes also what somebody else manages meanwhile.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force_conflicts: bool,
        /// The workloads whose templates change with it.
        workloads: Vec<Carried>,
        /// The ConfigMaps and Secrets whose content changes with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        contents: Vec<CarriedContent>,
    },
    /// See that ConfigMaps and Secrets hold what a rollback was to write: helm's word says that it was sent.
    Look {
        /// The release that has gone back.
        release: ReleaseName,
        /// The revision whose content came back.
        revision: u64,
        /// What each is to hold.
        contents: Vec<CarriedContent>,
    },
    /// Mark a pending record of which no client lives as failed, so that Helm goes on.
    Repair {
        /// The release.
        release: ReleaseName,
        /// The record.
        record: Pin,
        /// What it says: `pending-upgrade`.
        status: String,
        /// When it was last written: nobody has written it since.
        changed_at: Timestamp,
    },
}

impl Spec {
    /// The release.
    pub fn release(&self) -> &ReleaseName {
        match self {
            Self::Rollback { release, .. } | Self::Look { release, .. } | Self::Repair { release, .. } => {
                release
            }
        }
    }

    /// How helm is told to go about it; its own way for what it is not told.
    pub fn settings(&self) -> Settings {
        match self {
            Self::Rollback {
                timeout,
                wait,
                cleanup_on_fail,
                force_conflicts,
                ..
            } => Settings {
                timeout: *timeout,
                wait: *wait,
                cleanup_on_fail: *cleanup_on_fail,
                force_conflicts: *force_conflicts,
            },
            Self::Look { .. } | Self::Repair { .. } => Settings::default(),
        }
    }

    /// The workloads whose templates change with it.
    pub fn workloads(&self) -> &[Carried] {
        match self {
            Self::Rollback { workloads, .. } => workloads,
            Self::Look { .. } | Self::Repair { .. } => &[],
        }
    }

    /// The ConfigMaps and Secrets whose content changes with it.
    pub fn contents(&self) -> &[CarriedContent] {
        match self {
            Self::Rollback { contents, .. } => contents,
            Self::Look { .. } | Self::Repair { .. } => &[],
        }
    }

    /// Whether it only looks.
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Look { .. })
    }

    /// An imperative phrase.
    pub fn phrase(&self) -> String {
        match self {
            Self::Rollback {
                release, from, to, ..
            } => format!(
                "roll {release} back from revision {} to {} with helm",
                from.number, to.number
            ),
            Self::Look {
                release,
                revision,
                contents,
            } => {
                let objects: Vec<String> = contents.iter().map(|one| one.object.to_string()).collect();
                let (hold, names) = match objects.as_slice() {
                    [one] => ("holds", one.clone()),
                    [first, rest @ ..] if rest.len() > 2 => {
                        ("hold", format!("{first} and {} more", rest.len()))
                    }
                    all => ("hold", all.join(", ")),
                };
                format!("see that {names} {hold} what revision {revision} of {release} says")
            }
            Self::Repair {
                release,
                record,
                status,
                ..
            } => format!(
                "mark revision {} of {release}, left {status} by a client that died, as failed",
                record.number
            ),
        }
    }

    /// The API verbs that the step needs: on the release's records, on the workloads that it carries and on what it looks at.
    pub fn verbs(&self) -> Vec<Verb> {
        let read = |one: &CarriedContent| Verb {
            verb: "get",
            group: "",
            resource: one.object.kind.plural(),
        };
        let secrets = |verb| Verb {
            verb,
            group: "",
            resource: "secrets",
        };
        match self {
            Self::Rollback {
                workloads, contents, ..
            } => {
                let records = ["get", "list", "create", "update", "patch", "delete"].map(secrets);
                let of_kind = |one: &Carried| {
                    ["get", "patch"].map(|verb| Verb {
                        verb,
                        group: one.target.kind.group(),
                        resource: one.target.kind.plural(),
                    })
                };
                records
                    .into_iter()
                    .chain(workloads.iter().flat_map(of_kind))
                    .chain(contents.iter().map(read))
                    .collect()
            }
            Self::Look { contents, .. } => contents.iter().map(read).collect(),
            Self::Repair { .. } => ["get", "list", "update"].map(secrets).to_vec(),
        }
    }
}

/// What was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum Before {
    /// Before a rollback.
    Release {
        /// The newest revision.
        newest: u64,
    },
    /// Before a look.
    Look,
    /// Before a repair.
    Record {
        /// The whole record, in the vault.
        copy: ContentRef,
    },
}

/// What is there after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum After {
    /// After a rollback.
    RolledBack {
        /// The revision that it made.
        revision: u64,
    },
    /// After a look: all hold what they were to.
    Holds,
    /// After a repair, or after one was taken back.
    Written {
        /// The revision whose record was written.
        revision: u64,
    },
}
