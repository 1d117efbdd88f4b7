//! ConfigMaps and Secrets by name, and who reads them. Owns no content: values are in the cluster and in the vault.

use crate::target::Target;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds of object that pods take configuration from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConfigKind {
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret.
    Secret,
}

impl ConfigKind {
    /// The lower-case singular that kubectl prints: `configmap`.
    pub fn singular(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// One ConfigMap or Secret of the platform's namespace. Its text form is `configmap/app-config`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConfigName {
    /// Which kind.
    pub kind: ConfigKind,
    /// Its `metadata.name`.
    pub name: String,
}

impl fmt::Display for ConfigName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.singular(), self.name)
    }
}

/// A workload that reads a ConfigMap or Secret, and every place where it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    /// The workload.
    pub target: Target,
    /// The places, in template order.
    pub uses: Vec<Use>,
}

/// One place where a workload reads a ConfigMap or Secret. Init containers are containers here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "by")]
pub enum Use {
    /// One variable: read once, when the container starts.
    Env {
        /// The container.
        container: String,
        /// The variable.
        variable: String,
        /// The key.
        key: String,
    },
    /// All keys as variables: read once, when the container starts.
    EnvFrom {
        /// The container.
        container: String,
    },
    /// A volume, alone or as a part of a projected one: the kubelet renews its files by and by.
    Volume {
        /// The volume.
        volume: String,
        /// The container that mounts it; none when nobody does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        container: Option<String>,
        /// Whether the mount has a `subPath`: such a file is never renewed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sub_path: bool,
    },
    /// The kubelet pulls images with it.
    ImagePull,
    /// An annotation tells a controller, such as Reloader, to restart the workload when it changes.
    Annotation {
        /// The annotation.
        annotation: String,
    },
}
