//! Reading ConfigMaps and Secrets, values among it. What comes through here stays in memory and in the vault.

use crate::Failure;
use astern_model::config::ConfigName;
use astern_model::id::Uid;
use async_trait::async_trait;
use serde_json::Value;
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
        let data = ["data", "binaryData"].into_iter();
        let keys = data.filter_map(|field| self.json.get(field)?.as_object());
        let mut keys: Vec<String> = keys.flat_map(|data| data.keys().cloned()).collect();
        keys.sort();
        keys
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
}
