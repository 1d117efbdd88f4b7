//! Reading ConfigMaps and Secrets. Owns which of them are nobody's configuration, and what of an object is the API
//! server's own; logs no content.

use super::fetch::{Collection, Listed, Part, list};
use super::owners::{self, OwnersAt};
use astern_model::config::{ClassPart, ClassSeen, ConfigKind, ConfigName};
use astern_model::external::{Drawn, GROUP, PLURAL};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::workload::FieldManager;
use astern_port::config::{Config, ConfigObject, Owned};
use async_trait::async_trait;
use futures::future::join_all;
use serde_json::Value;
use std::collections::BTreeSet;

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

/// Kinds from whose objects Secrets are made, and made again when somebody changes them.
const SOURCES: [&str; 6] = [
    "ExternalSecret",
    "SealedSecret",
    "Certificate",
    "VaultStaticSecret",
    "VaultDynamicSecret",
    "OnePasswordItem",
];

/// What a source's text begins with that is an ExternalSecret.
const EXTERNAL: &str = "externalsecret/";

/// The plural of SecretProviderClass.
const CLASSES: &str = "secretproviderclasses";

/// How External Secrets calls itself in `managedFields`, before the ExternalSecret's name.
const EXTERNAL_SECRETS: &str = "externalsecrets.external-secrets.io/";

/// ConfigMaps and Secrets through the Kubernetes API.
pub struct ClusterConfig {
    client: kube::Client,
    owners: OwnersAt,
}

impl ClusterConfig {
    /// Reads through this client. Sends nothing yet.
    pub fn new(client: kube::Client) -> Self {
        Self {
            owners: OwnersAt::here(client.clone()),
            client,
        }
    }

    /// Owners' objects lie elsewhere.
    #[must_use]
    pub fn with_owners(mut self, owners: OwnersAt) -> Self {
        self.owners = owners;
        self
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

    async fn drawn(&self, object: &ConfigObject) -> Result<Option<Drawn>, Failure> {
        Ok(self.external(object).await?.as_ref().and_then(Drawn::of))
    }

    async fn classes(&self, namespace: &str, names: &BTreeSet<String>) -> Vec<ClassSeen> {
        let path = format!("/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{namespace}/{CLASSES}");
        let paths = [path];
        let found = names
            .iter()
            .map(|name| owners::custom(&self.client, &paths, CLASSES, name));
        let found = join_all(found).await.into_iter().zip(names);
        found
            .filter_map(|(found, name)| Some(class(name, &found.ok()?)))
            .collect()
    }

    async fn owners(&self, object: &ConfigObject) -> Owned {
        let namespace = namespace(object);
        let external = self.external(object).await.ok().flatten();
        let marks = owners::sure_marks(external.as_ref().unwrap_or(&object.json), namespace);
        let words = owners::ask(&self.owners, marks.iter().map(|marked| &marked.mark)).await;
        Owned {
            owners: marks.iter().map(|marked| owners::owned(marked, &words)).collect(),
            seen: owners::seen(&words),
        }
    }
}

impl ClusterConfig {
    /// The one ExternalSecret that an object is made from, if there is one.
    async fn external(&self, object: &ConfigObject) -> Result<Option<Value>, Failure> {
        let name = object
            .source
            .as_deref()
            .and_then(|source| source.strip_prefix(EXTERNAL));
        let Some(name) = name.filter(|_| drawers(&object.managed) <= 1) else {
            return Ok(None);
        };
        let namespace = namespace(object);
        let paths = ["v1", "v1beta1"]
            .map(|version| format!("/apis/{GROUP}/{version}/namespaces/{namespace}/{PLURAL}"));
        match owners::custom(&self.client, &paths, PLURAL, name).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.class == FailureClass::Permanent => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

fn class(name: &str, object: &Value) -> ClassSeen {
    let parameters = ["objects", "secrets"].iter().filter_map(|parameter| {
        let parameters = object.pointer("/spec/parameters")?;
        parameters.get(*parameter)?.as_str()
    });
    ClassSeen {
        name: name.to_owned(),
        parts: parameters.flat_map(ClassPart::read).collect(),
        manager: last_manager(object, |fields| fields.get("f:spec").is_some()),
    }
}

fn namespace(object: &ConfigObject) -> &str {
    let namespace = object.json.pointer("/metadata/namespace").and_then(Value::as_str);
    namespace.unwrap_or_default()
}

/// How many ExternalSecrets have written an object: several may merge into one.
fn drawers(managed: &[Value]) -> usize {
    let managers = managed.iter().filter_map(|entry| entry.get("manager")?.as_str());
    let names: BTreeSet<&str> = managers
        .filter_map(|manager| manager.strip_prefix(EXTERNAL_SECRETS))
        .collect();
    names.len()
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
    let (manager, source) = (content_manager(&json), source(&json, &managed));
    json = without_servers_own(json);
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
        source,
        manager,
    }
}

/// An object without what the API server adds to it.
pub(crate) fn without_servers_own(mut json: Value) -> Value {
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !SERVERS_OWN.contains(&field.as_str()));
    }
    json
}

/// The field manager that wrote what the object holds last.
pub(crate) fn content_manager(object: &Value) -> Option<FieldManager> {
    last_manager(object, |fields| {
        fields.get("f:data").is_some() || fields.get("f:binaryData").is_some()
    })
}

/// The field manager that wrote fields of this kind last.
fn last_manager(object: &Value, wrote: impl Fn(&Value) -> bool) -> Option<FieldManager> {
    let text = |entry: &Value, name: &str| {
        let text = entry.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let entries = object.pointer("/metadata/managedFields")?.as_array()?.iter();
    entries
        .filter(|entry| entry.get("fieldsV1").is_some_and(&wrote))
        .map(|entry| FieldManager {
            name: text(entry, "manager"),
            operation: text(entry, "operation"),
            at: text(entry, "time").parse().ok(),
        })
        .max_by_key(|manager| manager.at)
}

/// The object that it is made from: by its owner, or by the field manager of External Secrets, which names it.
fn source(json: &Value, managed: &[Value]) -> Option<String> {
    let owners = json
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let owned = owners.into_iter().flatten().find_map(|owner| {
        let kind = owner.get("kind")?.as_str()?;
        let name = owner.get("name")?.as_str()?;
        SOURCES
            .contains(&kind)
            .then(|| format!("{}/{name}", kind.to_lowercase()))
    });
    let managers = managed.iter().filter_map(|entry| entry.get("manager")?.as_str());
    owned.or_else(|| {
        managers
            .filter_map(|manager| manager.strip_prefix(EXTERNAL_SECRETS))
            .map(|name| format!("{EXTERNAL}{name}"))
            .next()
    })
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

    #[test]
    fn the_object_that_a_secret_is_made_from_is_known_by_its_owner_or_by_the_manager_that_names_it() {
        let check = |metadata: Value, expected: Option<&str>| {
            let read = object(ConfigKind::Secret, json!({"metadata": metadata, "data": {}}));
            assert_eq!(read.source.as_deref(), expected, "{metadata}");
        };
        let owner = |kind: &str| json!({"name": "keys", "ownerReferences": [{"kind": kind, "name": "keys", "uid": "u"}]});
        check(json!({"name": "keys"}), None);
        check(owner("ExternalSecret"), Some("externalsecret/keys"));
        check(owner("SealedSecret"), Some("sealedsecret/keys"));
        check(owner("Deployment"), None);
        let managed = |manager: &str| json!({"name": "keys", "managedFields": [{"manager": manager}]});
        check(
            managed("externalsecrets.external-secrets.io/keys"),
            Some("externalsecret/keys"),
        );
        check(managed("kubectl-create"), None);
    }

    #[test]
    fn the_last_writer_of_content_is_not_whoever_labelled_the_object() {
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
        let read = json!({"metadata": {"managedFields": [
            entry("kubectl-create", "2026-01-01T00:00:00Z", json!({"f:data": {}})),
            entry("night-shift", "2026-01-02T00:00:00Z", json!({"f:data": {"f:MODE": {}}})),
            entry("labeller", "2026-01-03T00:00:00Z", json!({"f:metadata": {"f:labels": {}}})),
        ]}});
        assert_eq!(content_manager(&read).unwrap().name, "night-shift");
    }
}
