//! Steps on the content of ConfigMaps and Secrets: put it back, and make an object anew that is gone. Values are in the
//! vault and the cluster alone; here are names, keys and keyed hashes.

use crate::config::ConfigName;
use crate::content::ContentRef;
use crate::external::{GROUP, PLURAL, Source, Versions};
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
    /// Delete an object that cannot hold something else under its name, so that it can be made anew.
    Remove {
        /// Which object.
        object: ConfigName,
        /// Its namespace.
        namespace: String,
        /// What must hold.
        pin: Pin,
        /// What is made in its place.
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
    /// Have an ExternalSecret draw a Secret's content from other versions. Nothing is written into the Secret itself.
    Repin {
        /// The Secret.
        object: ConfigName,
        /// Its namespace, and the ExternalSecret's.
        namespace: String,
        /// What must hold of the Secret.
        pin: Pin,
        /// The ExternalSecret.
        source: Source,
        /// The versions that it must name now.
        from: Versions,
        /// The versions that are written, in the same places.
        versions: Versions,
        /// What the Secret is to hold once they are drawn.
        to: Wanted,
    },
    /// Wait until the operator has drawn the versions, and the Secret holds what they are.
    AwaitDrawn {
        /// The Secret.
        object: ConfigName,
        /// Its namespace, and the ExternalSecret's.
        namespace: String,
        /// The ExternalSecret.
        source: Source,
        /// The versions that it must name.
        versions: Versions,
        /// What the Secret is to hold.
        to: Wanted,
    },
}

impl Spec {
    /// The object.
    pub fn object(&self) -> &ConfigName {
        match self {
            Self::Restore { object, .. }
            | Self::Remove { object, .. }
            | Self::Create { object, .. }
            | Self::Repin { object, .. }
            | Self::AwaitDrawn { object, .. } => object,
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Restore { namespace, .. }
            | Self::Remove { namespace, .. }
            | Self::Create { namespace, .. }
            | Self::Repin { namespace, .. }
            | Self::AwaitDrawn { namespace, .. } => namespace,
        }
    }

    /// What it holds once all steps on it are done.
    pub fn to(&self) -> &Wanted {
        match self {
            Self::Restore { to, .. }
            | Self::Remove { to, .. }
            | Self::Create { to, .. }
            | Self::Repin { to, .. }
            | Self::AwaitDrawn { to, .. } => to,
        }
    }

    /// An imperative phrase.
    pub fn phrase(&self) -> String {
        match self {
            Self::Restore { object, to, .. } => format!("put the content of {object} back to {}", to.origin),
            Self::Remove { object, to, .. } => {
                format!(
                    "delete {object}, which cannot be changed, to make it anew as of {}",
                    to.origin
                )
            }
            Self::Create { object, to, .. } => format!("make {object} anew as of {}", to.origin),
            Self::Repin { source, to, .. } => format!("have {source} name the versions of {}", to.origin),
            Self::AwaitDrawn { object, source, .. } => {
                format!("wait until {object} holds what {source} names")
            }
        }
    }

    /// The API verbs that the step needs; taking a made object back deletes it, and taking a deletion back makes it.
    pub fn verbs(&self) -> Vec<Verb> {
        let (own, drawn): (&[&str], &[&str]) = match self {
            Self::Restore { .. } => (&["get", "update"], &[]),
            Self::Remove { .. } | Self::Create { .. } => (&["create", "delete", "get", "update"], &[]),
            Self::Repin { .. } => (&["get"], &["get", "list", "update", "watch"]),
            Self::AwaitDrawn { .. } => (&["get"], &["get", "list", "watch"]),
        };
        let of = |group: &'static str, resource: &'static str| {
            move |verb: &&'static str| Verb {
                verb,
                group,
                resource,
            }
        };
        let own = own.iter().map(of("", self.object().kind.plural()));
        own.chain(drawn.iter().map(of(GROUP, PLURAL))).collect()
    }

    /// Whether the object holds what it is to hold by this very step.
    pub fn brings_back(&self) -> bool {
        matches!(
            self,
            Self::Restore { .. } | Self::Create { .. } | Self::Repin { .. }
        )
    }

    /// Whether the step only looks and waits.
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::AwaitDrawn { .. })
    }
}

/// What was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum Before {
    /// Before content was written, or an object deleted.
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
    /// Before an ExternalSecret named other versions.
    Versions {
        /// Those that it named.
        versions: Versions,
        /// The whole Secret, in the vault.
        kept: ContentRef,
        /// What the Secret held.
        content: ContentHash,
        /// astern's own annotations on the ExternalSecret, as they were.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
    },
    /// Before waiting.
    Nothing,
}

/// What is there after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum After {
    /// After content was written, or an object made, also once more, or an ExternalSecret.
    Written {
        /// The object that was written.
        uid: Uid,
        /// What it holds, or what is to be drawn.
        content: ContentHash,
    },
    /// After an object is gone: it was deleted, or its creation was taken back.
    Gone,
    /// After the Secret was seen to hold what was waited for.
    Drawn,
}

impl Before {
    /// One of the annotations that were recorded.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        match self {
            Self::Content { annotations, .. } | Self::Versions { annotations, .. } => {
                annotations.get(name).map(String::as_str)
            }
            Self::Absent | Self::Nothing => None,
        }
    }
}
