//! ConfigMaps and Secrets by name, who reads them, and how they stand. Owns no content: values are in the cluster and in
//! the vault.

use crate::content::ContentRef;
use crate::diff::Change;
use crate::external::Drawn;
use crate::helm;
use crate::id::{ContentHash, Uid};
use crate::login::LoginSeen;
use crate::reconstruction::Reconstruction;
use crate::release::ReleaseName;
use crate::step::config::Wanted;
use crate::target::Target;
use crate::workload::{FieldManager, Owner};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;

/// The fields that hold what an object is read for.
const CONTENT: [&str; 2] = ["data", "binaryData"];

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

    /// The resource name as the API's path has it: `configmaps`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
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

impl Use {
    /// Whether running pods go on with what they have read: a file is renewed under them, and nothing is read again by
    /// whoever pulls images or watches annotations.
    pub fn is_read_by_pods(&self) -> bool {
        match self {
            Self::Env { .. } | Self::EnvFrom { .. } | Self::Volume { .. } => true,
            Self::ImagePull | Self::Annotation { .. } => false,
        }
    }
}

/// What an object is read for, of its whole JSON: data and type. Labels and annotations are none of it, nor whether it may be
/// changed.
pub fn content(object: &Value) -> Value {
    let mut content = Map::new();
    for field in CONTENT {
        let held = object.get(field).filter(|held| !is_empty(held));
        content.extend(held.map(|held| (field.to_owned(), held.clone())));
    }
    content.extend(object.get("type").map(|kind| ("type".to_owned(), kind.clone())));
    Value::Object(content)
}

/// The keys of an object's data, in order.
pub fn keys(object: &Value) -> Vec<String> {
    let held = CONTENT.iter().filter_map(|field| object.get(*field)?.as_object());
    let mut keys: Vec<String> = held.flat_map(|data| data.keys().cloned()).collect();
    keys.sort();
    keys
}

fn is_empty(held: &Value) -> bool {
    held.as_object().is_none_or(Map::is_empty)
}

/// The same object with the content of another one. Nothing else of it changes.
pub fn with_content(mut object: Value, of: &Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        for field in CONTENT {
            match of.get(field) {
                Some(held) => fields.insert(field.to_owned(), held.clone()),
                None => fields.remove(field),
            };
        }
    }
    object
}

/// A ConfigMap or Secret as it stands, without its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveConfig {
    /// Which.
    #[serde(flatten)]
    pub name: ConfigName,
    /// Its uid.
    pub uid: Uid,
    /// What it holds.
    pub content: ContentHash,
    /// Whether the API server lets nobody change it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub immutable: bool,
    /// The type of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_type: Option<String>,
    /// The object that it is made from, which writes it again: `externalsecret/db`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The ExternalSecret that decides what it holds, where that is its source and could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Drawn>,
    /// Who else would write it; of one that is drawn, who would write its ExternalSecret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Owner>,
    /// The field manager that wrote its content last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<FieldManager>,
}

/// What a release holds of one ConfigMap or Secret, beside what stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldConfig {
    /// Which.
    #[serde(flatten)]
    pub name: ConfigName,
    /// The whole object, in the vault.
    pub kept: ContentRef,
    /// What it holds.
    pub content: ContentHash,
    /// Its keys, in order.
    pub keys: Vec<String>,
    /// The type of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_type: Option<String>,
    /// What its ExternalSecret drew it from, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Drawn>,
    /// What differs, from what stands to what the release holds. Values that may be secret are masked.
    pub changes: Vec<Change>,
}

/// Why an object that stands cannot come to hold something else under its name, a clause; none where it can. `types` are those of
/// a Secret, as it stands and as it shall be. Source: `ValidateSecretUpdate` and `ValidateConfigMapUpdate` in Kubernetes'
/// `pkg/apis/core/validation`, and <https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable>.
pub fn fixed(immutable: bool, types: [Option<&str>; 2]) -> Option<&'static str> {
    let [now, then] = types;
    match immutable {
        true => Some("is immutable"),
        false => (now != then).then_some("has another type now"),
    }
}

/// What a release holds of the platform's ConfigMaps and Secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldBy {
    /// The release.
    pub release: ReleaseName,
    /// When it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Timestamp>,
    /// What it holds, by name.
    pub objects: Vec<HeldConfig>,
}

/// What ConfigMaps and Secrets would hold once a Helm release has gone back to a revision, beside what stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseContent {
    /// The release.
    pub release: helm::ReleaseName,
    /// The revision.
    pub revision: u64,
    /// Those that would hold something else than now.
    pub differing: Vec<HeldConfig>,
    /// The Secrets of which that is not known, and why, a clause each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// An object that would go back with a release, where what it holds now or held then could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnknownConfig {
    /// Which.
    #[serde(flatten)]
    pub name: ConfigName,
    /// The release.
    pub release: ReleaseName,
    /// Who read it in that release.
    pub readers: BTreeSet<Target>,
    /// Why it could not be read.
    pub why: String,
}

/// A SecretProviderClass of the Secrets Store CSI driver: what pods mount of a provider, past every Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassSeen {
    /// Its `metadata.name`.
    pub name: String,
    /// What it names, in its order.
    pub parts: Vec<ClassPart>,
    /// Who wrote it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<FieldManager>,
}

/// One object at the provider that a class names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassPart {
    /// What it is called there.
    pub name: String,
    /// The id of its version, where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A word for a version that moves, such as `AWSCURRENT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl ClassPart {
    /// Reads the objects that a class names, in the YAML that its parameters hold as text, line by line. Sources:
    /// <https://github.com/aws/secrets-store-csi-driver-provider-aws> (`objects`), the providers of Azure (the same names) and of Google
    /// Cloud (`secrets` with `resourceName`, which ends in its version).
    pub fn read(text: &str) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        for line in text.lines() {
            let line = line.trim_start_matches([' ', '-', '|']);
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            let set = Some(value.clone()).filter(|value| !value.is_empty());
            match (key.trim(), parts.last_mut()) {
                ("objectName", _) => parts.push(Self {
                    name: value,
                    version: None,
                    label: None,
                }),
                ("resourceName", _) => {
                    let version = value
                        .rsplit_once("/versions/")
                        .map(|(_, version)| version.to_owned());
                    let (label, version) = match version {
                        Some(version) if version == "latest" => (Some(version), None),
                        version => (None, version),
                    };
                    parts.push(Self {
                        name: value,
                        version,
                        label,
                    });
                }
                ("objectVersion", Some(part)) => part.version = set,
                ("objectVersionLabel", Some(part)) => part.label = set,
                _ => {}
            }
        }
        parts
    }
}

/// What is known of ConfigMaps and Secrets. Empty where nobody had to look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigSeen {
    /// Those that were looked for and are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<LiveConfig>,
    /// What the release holds to which the plan goes back, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldBy>,
    /// What the newest good release holds, where a workload asks for its template: what such a one should read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<HeldBy>,
    /// What the release holds and nobody could read there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unreadable: BTreeSet<ConfigName>,
    /// What is there now and the release does not hold.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub newer: BTreeSet<ConfigName>,
    /// What would go back and could not be compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownConfig>,
    /// What would change with the Helm releases that a plan takes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<ReleaseContent>,
    /// The SecretProviderClasses that are mounted and could be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassSeen>,
    /// What login probes said of what would go back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<LoginSeen>,
    /// What other sources than the ledger say, where it has no release to which the plan goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconstruction: Option<Reconstruction>,
}

impl ConfigSeen {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a probe said of what is to be held again; none where it was not run for that.
    pub fn login(&self, object: &ConfigName, to: &Wanted) -> Option<&LoginSeen> {
        let probe = to.login()?;
        let of_it =
            |seen: &&LoginSeen| &seen.object == object && seen.content == to.content && &seen.probe == probe;
        self.logins.iter().find(of_it)
    }

    /// What would change with a revision of a Helm release; none where nobody looked.
    pub fn through(&self, release: &helm::ReleaseName, revision: u64) -> Option<&ReleaseContent> {
        let mut seen = self.through.iter();
        seen.find(|seen| &seen.release == release && seen.revision == revision)
    }

    /// How an object stands.
    pub fn live(&self, name: &ConfigName) -> Option<&LiveConfig> {
        self.live.iter().find(|live| &live.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_object_is_read_for_is_its_data_and_type_alone() {
        let object = json!({"metadata": {"name": "app", "labels": {"a": "b"}}, "immutable": true, "type": "Opaque",
            "data": {"k": "v"}, "binaryData": {}});
        let mut other = object.clone();
        other["metadata"]["annotations"] = json!({"c": "d"});
        other["immutable"] = json!(false);
        other.as_object_mut().unwrap().remove("binaryData");
        assert_eq!(content(&object), content(&other));
        other["data"]["k"] = json!("w");
        assert_ne!(content(&object), content(&other));
        assert_eq!(content(&with_content(other, &object)), content(&object));
    }
}
