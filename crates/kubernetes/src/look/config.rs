//! Reading ConfigMaps and Secrets. Owns which of them are nobody's configuration, and what of an object is the API
//! server's own; logs no content.

use super::fetch::{Collection, Listed, Part, list};
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::failure::Failure;
use astern_model::id::Uid;
use astern_port::config::{Config, ConfigObject};
use async_trait::async_trait;
use serde_json::Value;

/// Types of Secrets that hold no configuration of a platform: ours, Helm's records, and tokens that controllers make.
const NOT_CONFIG: [&str; 7] = [
    "astern.dev/journal",
    "astern.dev/saved",
    "astern.dev/release",
    "astern.dev/vault-key",
    "helm.sh/release.v1",
    "kubernetes.io/service-account-token",
    "bootstrap.kubernetes.io/token",
];

/// What the API server adds to an object's metadata.
const SERVERS_OWN: [&str; 6] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// ConfigMaps and Secrets through the Kubernetes API.
pub struct ClusterConfig {
    client: kube::Client,
}

impl ClusterConfig {
    /// Reads through this client. Sends nothing yet.
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Config for ClusterConfig {
    async fn all(&self, namespace: &str) -> Result<Vec<ConfigObject>, Failure> {
        let types: Vec<String> = NOT_CONFIG.iter().map(|kind| format!("type!={kind}")).collect();
        let maps = Collection::namespaced("api/v1", namespace, "configmaps");
        let secrets = Collection::namespaced("api/v1", namespace, "secrets").fields(types.join(","));
        let (maps, secrets) = futures::try_join!(
            list(&self.client, &maps, Part::Whole, |json| object(
                ConfigKind::ConfigMap,
                json
            )),
            list(&self.client, &secrets, Part::Whole, |json| object(
                ConfigKind::Secret,
                json
            )),
        )?;
        let all = |listed: Listed<ConfigObject>| listed.items;
        Ok(all(maps).into_iter().chain(all(secrets)).collect())
    }
}

fn object(kind: ConfigKind, mut json: Value) -> ConfigObject {
    let text = |json: &Value, pointer: &str| {
        let text = json.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let name = ConfigName {
        kind,
        name: text(&json, "/metadata/name"),
    };
    let uid = Uid(text(&json, "/metadata/uid"));
    let version = text(&json, "/metadata/resourceVersion");
    let managed = json.pointer("/metadata/managedFields").and_then(Value::as_array);
    let managed = managed.cloned().unwrap_or_default();
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !SERVERS_OWN.contains(&field.as_str()));
    }
    if let Some(object) = json.as_object_mut() {
        object.insert("apiVersion".to_owned(), Value::from("v1"));
        object.insert("kind".to_owned(), Value::from(api_kind(kind)));
    }
    ConfigObject {
        name,
        uid,
        version,
        json,
        managed,
    }
}

fn api_kind(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::ConfigMap => "ConfigMap",
        ConfigKind::Secret => "Secret",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_read_as_it_would_be_written_again_and_its_debug_shows_no_value() {
        let read = object(
            ConfigKind::Secret,
            json!({
                "metadata": {"name": "keys", "namespace": "shop", "uid": "u-1", "resourceVersion": "7", "labels": {"a": "b"},
                    "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": []},
                "data": {"token": "aHVudGVyMg=="}, "type": "Opaque", "immutable": true,
            }),
        );
        assert_eq!((read.uid.as_str(), read.version.as_str()), ("u-1", "7"));
        assert_eq!(read.keys(), ["token"]);
        assert!(read.is_immutable());
        assert_eq!(
            read.json,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "shop", "labels": {"a": "b"}},
                "data": {"token": "aHVudGVyMg=="}, "type": "Opaque", "immutable": true})
        );
        assert!(!format!("{read:?}").contains("aHVudGVyMg"));
    }
}
