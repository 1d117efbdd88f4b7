//! ExternalSecrets: from which version of what a Secret's content is drawn, and which of these words name one for good.
//! Source: <https://external-secrets.io/latest/api/externalsecret/>.

use crate::id::Uid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The API group.
pub const GROUP: &str = "external-secrets.io";
/// The resource's plural.
pub const PLURAL: &str = "externalsecrets";
/// How many hexadecimal digits a version of Azure Key Vault has. Source:
/// <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates>.
const AZURE_DIGITS: usize = 32;
/// What External Secrets puts before the id of a version of AWS Secrets Manager; anything else is a stage there, which moves.
/// Source: <https://external-secrets.io/latest/provider/aws-secrets-manager/>.
const AWS_ID: &str = "uuid/";

/// One ExternalSecret: the object that decides what its Secret holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its `metadata.name`.
    pub name: String,
    /// The version of its group that the cluster serves: `v1`.
    pub version: String,
    /// Its uid.
    pub uid: Uid,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "externalsecret/{}", self.name)
    }
}

/// The id of the version that each reference names, by the pointer (RFC 6901) to that field in the ExternalSecret:
/// `/spec/data/0/remoteRef/version`.
pub type Versions = BTreeMap<String, String>;

/// An ExternalSecret as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drawn {
    /// Which.
    #[serde(flatten)]
    pub source: Source,
    /// What it draws, in the order of its spec.
    pub parts: Vec<Part>,
    /// Whether it draws once and never again (`refreshPolicy: CreatedOnce`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
}

/// One reference of an ExternalSecret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The pointer to the field that names its version; none where what it draws has no versions (`find`, generators).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What it is called at the provider.
    pub key: String,
    /// The version, as the field names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Part {
    /// The version's id, where the field names one for good and not a word that moves: none, `latest`, a stage such as `AWSPREVIOUS`.
    pub fn id(&self) -> Option<&str> {
        let version = self.version.as_deref()?;
        let number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
        let digits = version.len() == AZURE_DIGITS && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        let aws = version.strip_prefix(AWS_ID).is_some_and(|id| !id.is_empty());
        (number || digits || aws).then_some(version)
    }

    /// The field as a person writes it: `spec.data[0].remoteRef.version`.
    pub fn field(&self) -> String {
        let Some(at) = &self.at else {
            return "what has no versions".to_owned();
        };
        at.split('/')
            .skip(1)
            .fold(String::new(), |field, part| match part.parse::<usize>() {
                Ok(place) => format!("{field}[{place}]"),
                Err(_) if field.is_empty() => part.to_owned(),
                Err(_) => format!("{field}.{part}"),
            })
    }
}

impl Drawn {
    /// Reads an ExternalSecret; none where it has no name or draws nothing.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let version = object.get("apiVersion")?.as_str()?.rsplit_once('/')?.1;
        let references = |list: &'static str, one: &'static str| {
            let items = object.pointer(list).and_then(Value::as_array);
            items.into_iter().flatten().enumerate().map(move |(place, item)| {
                let at = format!("{list}/{place}/{one}");
                let reference = item.get(one);
                let field = |name: &str| reference?.get(name)?.as_str().map(str::to_owned);
                Part {
                    key: field("key").unwrap_or_else(|| "what it finds or generates".to_owned()),
                    version: field("version"),
                    at: reference.map(|_| format!("{at}/version")),
                }
            })
        };
        let parts: Vec<Part> = references("/spec/data", "remoteRef")
            .chain(references("/spec/dataFrom", "extract"))
            .collect();
        (!parts.is_empty()).then_some(())?;
        Some(Self {
            source: Source {
                name: text("/metadata/name")?.to_owned(),
                version: version.to_owned(),
                uid: Uid(text("/metadata/uid")?.to_owned()),
            },
            parts,
            once: text("/spec/refreshPolicy") == Some("CreatedOnce"),
        })
    }

    /// The id of every version that it draws; none where one of them is named by a word that moves, or has none.
    pub fn versions(&self) -> Option<Versions> {
        let id = |part: &Part| Some((part.at.clone()?, part.id()?.to_owned()));
        self.parts.iter().map(id).collect()
    }

    /// Whether it draws the same keys in the same places as another one did.
    pub fn draws_as(&self, other: &Self) -> bool {
        let keys = |drawn: &Self| -> Vec<(Option<String>, String)> {
            let key = |part: &Part| (part.at.clone(), part.key.clone());
            drawn.parts.iter().map(key).collect()
        };
        keys(self) == keys(other)
    }
}

/// Whether an ExternalSecret names exactly these versions.
pub fn names(object: &Value, versions: &Versions) -> bool {
    let named =
        |(at, id): (&String, &String)| object.pointer(at).and_then(Value::as_str) == Some(id.as_str());
    versions.iter().all(named)
}

/// The same object with these versions. A field that is not there stays so.
pub fn with_versions(mut object: Value, versions: &Versions) -> Value {
    for (at, id) in versions {
        if let Some(field) = object.pointer_mut(at) {
            *field = Value::from(id.as_str());
        }
    }
    object
}

/// Whether the operator has drawn what the object names now, and written the Secret: it says for which generation it has.
/// Source: `util.GetResourceVersion` of <https://github.com/external-secrets/external-secrets>: GENERATION-HASH.
pub fn is_synced(object: &Value) -> bool {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let synced =
        text("/status/syncedResourceVersion").and_then(|version| version.split_once('-')?.0.parse().ok());
    generation.is_some() && generation == synced && ready(object).is_some_and(|(status, _)| status == "True")
}

/// The condition `Ready`, and its reason. Its message is told to nobody: it may hold what the provider said.
pub fn ready(object: &Value) -> Option<(&str, &str)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let is_ready = |condition: &&Value| condition.get("type").and_then(Value::as_str) == Some("Ready");
    let found = conditions.iter().find(is_ready)?;
    Some((
        found.get("status")?.as_str()?,
        found.get("reason").and_then(Value::as_str).unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_version_is_an_id_or_a_word_that_moves() {
        let id = |version: &str| {
            let part = Part {
                at: None,
                key: String::new(),
                version: Some(version.to_owned()),
            };
            part.id().is_some()
        };
        for pinned in ["uuid/0f6c1e22-1", "7", "aabbccddeeff00112233445566778899"] {
            assert!(id(pinned), "{pinned}");
        }
        for moves in ["", "AWSPREVIOUS", "AWSCURRENT", "latest", "uuid/", "prod", "v2"] {
            assert!(!id(moves), "{moves}");
        }
    }

    #[test]
    fn what_an_externalsecret_draws_is_read_and_written_by_the_same_fields() {
        let object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
            "metadata": {"name": "db", "uid": "u-1", "generation": 3},
            "spec": {"data": [{"secretKey": "password", "remoteRef": {"key": "prod/db", "version": "uuid/b"}}],
                "dataFrom": [{"extract": {"key": "prod/more", "version": "4"}}]},
            "status": {"syncedResourceVersion": "3-ab", "conditions": [{"type": "Ready", "status": "True"}]}});
        let drawn = Drawn::of(&object).unwrap();
        let versions = drawn.versions().unwrap();
        assert_eq!(
            versions.keys().collect::<Vec<_>>(),
            [
                "/spec/data/0/remoteRef/version",
                "/spec/dataFrom/0/extract/version"
            ]
        );
        assert_eq!(drawn.parts[0].field(), "spec.data[0].remoteRef.version");
        assert!(names(&object, &versions) && is_synced(&object));
        let then: Versions = versions
            .keys()
            .map(|at| (at.clone(), "uuid/a".to_owned()))
            .collect();
        let changed = with_versions(object.clone(), &then);
        assert!(names(&changed, &then) && !names(&changed, &versions));
        let mut behind = object.clone();
        behind["metadata"]["generation"] = json!(4);
        assert!(!is_synced(&behind));
        let mut finds = object;
        finds["spec"]["dataFrom"][0] = json!({"find": {"name": {"regexp": "x"}}});
        assert_eq!(Drawn::of(&finds).unwrap().versions(), None);
    }
}
