//! Steps on the content of ConfigMaps and Secrets: put it back, and make an object anew that is gone. Values are in the
//! vault and the cluster alone; here are names, keys and keyed hashes.

use crate::config::ConfigName;
use crate::content::ContentRef;
use crate::id::{ContentHash, Uid};
use crate::login::{LoginProbe, Proof};
use crate::step::workload::Verb;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What must still be true of an object when its content is written. Labels and annotations may move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// Its uid: it is the same object.
    pub uid: Uid,
    /// What it holds.
    pub content: ContentHash,
}

/// What is to be held afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// The whole object as it was once, in the vault.
    pub kept: ContentRef,
    /// What it holds.
    pub content: ContentHash,
    /// Its keys, in order.
    pub keys: Vec<String>,
    /// Since when it was so, for people: `release v1.2.3`.
    pub origin: String,
    /// Why a Secret may hold it again; none of a ConfigMap, and where astern.yaml does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

impl Wanted {
    /// The probe that must let its user in before anything is written.
    pub fn login(&self) -> Option<&LoginProbe> {
        match &self.proof {
            Some(Proof::Login(probe)) => Some(probe),
            Some(Proof::NeverRotates) | None => None,
        }
    }
}

/// What a config step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum Spec {
    /// Write the content of an object that is there. Its name, labels and other annotations stay.
    Restore {
        /// Which object.
        object: ConfigName,
        /// Its namespace.
        namespace: String,
        /// What must hold.
        pin: Pin,
        /// What is written.
        to: Wanted,
    },
    /// Make an object that is gone.
    Create {
        /// Which object.
        object: ConfigName,
        /// Its namespace.
        namespace: String,
        /// What it is made from.
        to: Wanted,
    },
}

impl Spec {
    /// The object.
    pub fn object(&self) -> &ConfigName {
        match self {
            Self::Restore { object, .. } | Self::Create { object, .. } => object,
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Restore { namespace, .. } | Self::Create { namespace, .. } => namespace,
        }
    }

    /// What it holds afterwards.
    pub fn to(&self) -> &Wanted {
        match self {
            Self::Restore { to, .. } | Self::Create { to, .. } => to,
        }
    }

    /// An imperative phrase.
    pub fn phrase(&self) -> String {
        match self {
            Self::Restore { object, to, .. } => format!("put the content of {object} back to {}", to.origin),
            Self::Create { object, to, .. } => format!("make {object} anew as of {}", to.origin),
        }
    }

    /// The API verbs that the step needs; taking a made object back deletes it.
    pub fn verbs(&self) -> Vec<Verb> {
        let verbs: &[&str] = match self {
            Self::Restore { .. } => &["get", "update"],
            Self::Create { .. } => &["create", "delete", "get", "update"],
        };
        let of = |verb: &&'static str| Verb {
            verb,
            group: "",
            resource: self.object().kind.plural(),
        };
        verbs.iter().map(of).collect()
    }
}

/// What was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum Before {
    /// Before content was written.
    Content {
        /// The whole object, in the vault.
        kept: ContentRef,
        /// What it held.
        content: ContentHash,
        /// astern's own annotations, as they were.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
    },
    /// Before an object was made.
    Absent,
}

/// What is there after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum After {
    /// After content was written, or an object made.
    Written {
        /// The object.
        uid: Uid,
        /// What it holds.
        content: ContentHash,
    },
    /// After an object that was made is gone again.
    Gone,
}

impl Before {
    /// One of the annotations that were recorded.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        match self {
            Self::Content { annotations, .. } => annotations.get(name).map(String::as_str),
            Self::Absent => None,
        }
    }
}
