//! What runs, held against a release of the ledger: what differs, who wrote it, and what of it is harmless.

use crate::config::ConfigName;
use crate::diff::Change;
use crate::release::ReleaseName;
use crate::target::Target;
use crate::workload::FieldManager;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Everything in which the live platform differs from a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The release.
    pub release: ReleaseName,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// When the platform was read.
    pub at: Timestamp,
    /// How many objects were compared.
    pub compared: usize,
    /// Those that differ, by name.
    pub objects: Vec<ObjectDrift>,
    /// What could not be compared, as sentences.
    pub unread: Vec<String>,
}

impl Drift {
    /// Whether anything differs that is not harmless.
    pub fn matters(&self) -> bool {
        self.objects.iter().any(ObjectDrift::matters)
    }
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Compared {
    /// A workload.
    Workload(Target),
    /// A ConfigMap or Secret.
    Config(ConfigName),
    /// A Helm release.
    Helm {
        /// Its name.
        helm: String,
    },
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(target) => target.fmt(f),
            Self::Config(name) => name.fmt(f),
            Self::Helm { helm } => write!(f, "helm/{helm}"),
        }
    }
}

/// One object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDrift {
    /// Which.
    pub object: Compared,
    /// How.
    #[serde(flatten)]
    pub how: How,
}

/// How an object differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum How {
    /// The release has it, and it is not there.
    Gone,
    /// It is there, and the release has it not.
    New,
    /// Both have it.
    Changed {
        /// Every place that differs: from what the release holds to what is live.
        fields: Vec<FieldDrift>,
    },
}

impl ObjectDrift {
    /// Whether it differs in anything that is not harmless.
    pub fn matters(&self) -> bool {
        match &self.how {
            How::Gone | How::New => true,
            How::Changed { fields } => fields.iter().any(|field| field.harmless.is_none()),
        }
    }
}

/// One place that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDrift {
    /// Where, from what to what.
    #[serde(flatten)]
    pub change: Change,
    /// The field manager that owns the place now, with when it wrote last; none where nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<FieldManager>,
    /// Why it does not count, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harmless: Option<Harmless>,
}

/// Why a difference does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Harmless {
    /// The API server has set it by itself, and nobody manages it.
    Defaulted,
    /// An autoscaler sets the count, and it is within its bounds.
    Autoscaled {
        /// The autoscaler.
        by: String,
    },
    /// The mark of a restart: the pods are of the same template but for it.
    Restarted,
}

impl Harmless {
    /// As a clause.
    pub fn phrase(&self) -> String {
        match self {
            Self::Defaulted => "set by the API server".to_owned(),
            Self::Autoscaled { by } => format!("set by {by}, within its bounds"),
            Self::Restarted => "a restart".to_owned(),
        }
    }
}
