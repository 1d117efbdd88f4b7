//! ConfigMaps and Secrets, read, values among it. What comes through here stays in memory, in the cluster and in the vault.

use crate::Failure;
use astern_model::config::{ClassSeen, ConfigName, keys};
use astern_model::external::Drawn;
use astern_model::id::Uid;
use astern_model::owner::OwnerSeen;
use astern_model::workload::{FieldManager, Owner};
use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// One ConfigMap or Secret as it is now. Its `Debug` shows no value.
#[derive(Clone, PartialEq)]
pub struct ConfigObject {
    /// Which.
    pub name: ConfigName,
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion.
    pub version: String,
    /// The whole object without what the API server adds and without status: what is written to have it again.
    pub json: Value,
    /// Its `metadata.managedFields`: who owns which key.
    pub managed: Vec<Value>,
    /// The object that it is made from, which writes it again: `externalsecret/db`.
    pub source: Option<String>,
    /// The field manager that wrote its content last.
    pub manager: Option<FieldManager>,
}

impl fmt::Debug for ConfigObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigObject")
            .field("name", &self.name)
            .field("uid", &self.uid)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl ConfigObject {
    /// The keys of its data, in order.
    pub fn keys(&self) -> Vec<String> {
        keys(&self.json)
    }

    /// Whether the API server lets nobody change it.
    pub fn is_immutable(&self) -> bool {
        self.json.get("immutable") == Some(&Value::Bool(true))
    }
}

/// A namespace's ConfigMaps and Secrets.
#[async_trait]
pub trait Config: Send + Sync {
    /// All of them but those that hold no platform's configuration: astern's own, Helm's records, tokens of service
    /// accounts. By one request a kind, side by side.
    async fn all(&self, namespace: &str) -> Result<Vec<ConfigObject>, Failure>;

    /// What its ExternalSecret draws an object from; none where that is not its only source. Asks nothing of any other object.
    async fn drawn(&self, object: &ConfigObject) -> Result<Option<Drawn>, Failure>;

    /// The SecretProviderClasses of these names; without those that are gone or cannot be read. Asks nothing for none.
    async fn classes(&self, namespace: &str, names: &BTreeSet<String>) -> Vec<ClassSeen>;

    /// Who else would write an object, or the ExternalSecret that it is drawn by. Asks nothing where it bears no owner's mark.
    async fn owners(&self, object: &ConfigObject) -> Owned;
}

/// Who else would write an object.
#[derive(Clone, Debug, Default)]
pub struct Owned {
    /// The owners by the marks on it.
    pub owners: Vec<Owner>,
    /// The owners' objects that were read, and those above them.
    pub seen: Vec<OwnerSeen>,
}
