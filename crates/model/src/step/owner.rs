//! Steps on owners: pause one with its own means, wait until it has seen that, and resume it.

use crate::id::{RunId, Uid};
use crate::owner::OwnerName;
use crate::step::workload::Verb;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What must still be true of an owner's object when its setting is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// Its uid: it is the same object.
    pub uid: Uid,
    /// The setting that is written: see [`crate::owner::PausableKind::setting`]. Null where the field is not there.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub setting: Value,
}

/// What an owner step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum Spec {
    /// Stop it from writing, and leave on it who did that and what it was set to.
    Pause {
        /// Which.
        owner: OwnerName,
        /// What must hold.
        pin: Pin,
        /// The namespace that is rolled back meanwhile.
        namespace: String,
        /// For how long it may stay paused before people are told that it is due.
        guard: SignedDuration,
    },
    /// Watch until its controller has seen that it is paused, and ended what it was at.
    AwaitPaused {
        /// Which.
        owner: OwnerName,
        /// Its uid.
        uid: Uid,
    },
    /// Set it to what it was before a run paused it.
    Resume {
        /// Which.
        owner: OwnerName,
        /// What must hold.
        pin: Pin,
        /// The run that paused it; none where it is this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paused_by: Option<RunId>,
        /// Whether it is asked to compare its source with what runs once more, and goes on only if both are the same. Where it
        /// cannot tell, somebody has said so.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        if_in_sync: bool,
        /// What it is set to. Null takes the field away.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        to: Value,
    },
}

impl Spec {
    /// The owner.
    pub fn owner(&self) -> &OwnerName {
        match self {
            Self::Pause { owner, .. } | Self::AwaitPaused { owner, .. } | Self::Resume { owner, .. } => owner,
        }
    }

    /// The uid of its object.
    pub fn uid(&self) -> &Uid {
        match self {
            Self::Pause { pin, .. } | Self::Resume { pin, .. } => &pin.uid,
            Self::AwaitPaused { uid, .. } => uid,
        }
    }

    /// An imperative phrase.
    pub fn phrase(&self) -> String {
        match self {
            Self::Pause { owner, .. } => format!("pause {owner}"),
            Self::AwaitPaused { owner, .. } => format!("wait until {owner} has seen that it is paused"),
            Self::Resume { owner, to, .. } => {
                format!("resume {owner} ({})", owner.kind.describe(to))
            }
        }
    }

    /// Whether the step only looks and waits.
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::AwaitPaused { .. })
    }

    /// The API verbs that the step needs, in the owner's namespace.
    pub fn verbs(&self) -> Vec<Verb> {
        let verbs: &[&str] = match self {
            Self::Pause { .. }
            | Self::Resume {
                if_in_sync: false, ..
            } => &["get", "patch"],
            Self::Resume { if_in_sync: true, .. } => &["get", "list", "watch", "patch"],
            Self::AwaitPaused { .. } => &["get", "list", "watch"],
        };
        let of = |verb: &&'static str| Verb {
            verb,
            group: self.owner().kind.group(),
            resource: self.owner().kind.plural(),
        };
        verbs.iter().map(of).collect()
    }
}

/// What was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum Before {
    /// Before the setting was written.
    Setting {
        /// What it was. Null where the field was not there.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        was: Value,
        /// astern's own annotations, as they were.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
    },
    /// Before a wait.
    Nothing,
}

impl Before {
    /// One of the annotations that were recorded.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        match self {
            Self::Setting { annotations, .. } => annotations.get(name).map(String::as_str),
            Self::Nothing => None,
        }
    }
}

/// What is there after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum After {
    /// After the setting was written.
    Written {
        /// What it is. Null where the field is not there.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        setting: Value,
    },
    /// After a wait.
    Quiet {
        /// How that is known; none where nobody could tell in time, and the run went on all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        known_by: Option<String>,
    },
}
