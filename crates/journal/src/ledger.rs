//! The ledger in the cluster: one Secret of type `astern.dev/release` a release, beside what it describes. Owns their
//! names, labels and integrity; reads nothing of what the sealed bytes mean.
//!
//! # Format
//! Version 1: `head.json` says the release's name and the size and SHA-256 of the sealed bytes, which lie packed under
//! `entry`. The standing is repeated as a label, for `kubectl get secrets -l astern.dev/standing=good`.

use crate::api::{self, Created, Intent, SECRET_BYTES};
use crate::keyed::{digest, random};
use crate::packed;
use astern_model::id::hex;
use astern_model::release::ReleaseName;
use astern_port::ledger::{Entries, Entry, Ledger, Unreadable, Version, WriteError};
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The type of the Secrets.
const TYPE: &str = "astern.dev/release";
const FORMAT: u64 = 1;
const HEAD: &str = "head.json";
const ENTRY: &str = "entry";
const STANDING: &str = "astern.dev/standing";
/// Tells our own write, whose answer was lost, from somebody else's.
const ATTEMPT: &str = "astern.dev/attempt";

/// What the name of every Secret of the ledger begins with.
const NAME_PREFIX: &str = "astern-release-";
/// Digits of the hash in a name that the API does not take as it is.
const NAME_DIGITS: usize = 10;

/// Sealed bytes of one entry, before they are packed: several times what a platform of a thousand services needs.
const ENTRY_BYTES: u64 = 16 * 1024 * 1024;

/// A ledger in a namespace.
#[derive(Clone)]
pub struct ClusterLedger {
    api: Api<Secret>,
    namespace: String,
}

impl std::fmt::Debug for ClusterLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterLedger")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl ClusterLedger {
    /// A ledger in `namespace`. Asks nothing yet.
    pub fn new(client: kube::Client, namespace: String) -> Self {
        Self {
            api: Api::namespaced(client, &namespace),
            namespace,
        }
    }

    /// The version of what lies there, if this very attempt wrote it.
    async fn ours(&self, object: &str, attempt: &str, operation: &str) -> Result<Option<Version>, Failure> {
        let there = api::read(operation, || self.api.get_opt(object)).await?;
        let is_ours = |secret: &Secret| {
            let annotations = secret.metadata.annotations.as_ref();
            annotations.and_then(|all| all.get(ATTEMPT)).map(String::as_str) == Some(attempt)
        };
        Ok(there.filter(is_ours).map(|secret| version(&secret)))
    }
}

#[async_trait]
impl Ledger for ClusterLedger {
    async fn add(&self, name: &ReleaseName, standing: &str, bytes: &[u8]) -> Result<Version, WriteError> {
        let operation = writing(name);
        let object = object_name(name);
        let attempt = attempt(&operation)?;
        let secret = secret(name, standing, bytes, &attempt, None)?;
        match api::create(&self.api, &secret, &operation).await {
            // The name is taken: by our own first attempt, or by somebody else's.
            Ok(Created::Exists) => match self.ours(&object, &attempt, &operation).await {
                Ok(Some(version)) => Ok(version),
                Ok(None) => Err(WriteError::Exists),
                Err(failure) => Err(WriteError::Store(failure)),
            },
            Ok(Created::New(_)) => match self.ours(&object, &attempt, &operation).await {
                Ok(Some(version)) => Ok(version),
                Ok(None) => Err(WriteError::Conflict),
                Err(failure) => Err(WriteError::Store(failure)),
            },
            Err(failure) => Err(WriteError::Store(failure)),
        }
    }

    async fn replace(
        &self,
        name: &ReleaseName,
        version_before: &Version,
        standing: &str,
        bytes: &[u8],
    ) -> Result<Version, WriteError> {
        let operation = writing(name);
        let object = object_name(name);
        let attempt = attempt(&operation)?;
        let secret = secret(name, standing, bytes, &attempt, Some(version_before))?;
        let failure = match self.api.replace(&object, &PostParams::default(), &secret).await {
            Ok(written) => return Ok(version(&written)),
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                return Err(WriteError::Conflict);
            }
            Err(error) => api::failure(&operation, &error, Intent::Write),
        };
        if failure.class != FailureClass::Unknown {
            return Err(WriteError::Store(failure));
        }
        match self.ours(&object, &attempt, &operation).await {
            Ok(Some(version)) => Ok(version),
            _ => Err(WriteError::Store(failure)),
        }
    }

    async fn entries(&self) -> Result<Entries, Failure> {
        let of_type = ListParams::default().fields(&format!("type={TYPE}"));
        let list = api::read("read the ledger of releases", || self.api.list(&of_type)).await?;
        let mut entries = Entries::default();
        for secret in list.items {
            match open(&secret) {
                Ok(entry) => entries.entries.push(entry),
                Err(failure) => entries.unreadable.push(Unreadable {
                    name: told(&secret),
                    failure,
                }),
            }
        }
        Ok(entries)
    }

    async fn read(&self, name: &ReleaseName) -> Result<Option<Entry>, Failure> {
        let operation = format!("read release {name} of the ledger");
        let object = object_name(name);
        let secret = api::read(&operation, || self.api.get_opt(&object)).await?;
        secret.as_ref().map(open).transpose()
    }

    async fn remove(&self, name: &ReleaseName, version: &Version) -> Result<(), WriteError> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: None,
                resource_version: Some(version.0.clone()),
            }),
            ..DeleteParams::default()
        };
        match self.api.delete(&object_name(name), &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Err(WriteError::Conflict),
            Err(error) => Err(WriteError::Store(api::failure(
                &format!("remove release {name} from the ledger"),
                &error,
                Intent::Write,
            ))),
        }
    }

    fn place(&self) -> String {
        format!("Secrets in namespace {}", self.namespace)
    }
}

fn writing(name: &ReleaseName) -> String {
    format!("write release {name} into the ledger")
}

fn attempt(operation: &str) -> Result<String, WriteError> {
    random::<8>(operation)
        .map(|bytes| hex(&bytes))
        .map_err(WriteError::Store)
}

/// The Secret's name: the release's own where the API takes it, else what it takes of it with digits that keep two apart.
fn object_name(name: &ReleaseName) -> String {
    let text = name.as_str();
    let is_label = |label: &str| {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(inside)
    };
    if text.split('.').all(is_label) {
        return format!("{NAME_PREFIX}{text}");
    }
    let taken: String = text
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let digits = hex(&digest(text.as_bytes()));
    format!("{NAME_PREFIX}{taken}-{}", &digits[..NAME_DIGITS])
}

fn version(secret: &Secret) -> Version {
    Version(secret.metadata.resource_version.clone().unwrap_or_default())
}

fn told(secret: &Secret) -> String {
    format!("secret/{}", secret.metadata.name.as_deref().unwrap_or_default())
}

fn secret(
    name: &ReleaseName,
    standing: &str,
    bytes: &[u8],
    attempt: &str,
    version: Option<&Version>,
) -> Result<Secret, WriteError> {
    let packed = packed::pack(bytes);
    if packed.len() > SECRET_BYTES || bytes.len() as u64 > ENTRY_BYTES {
        let message = format!(
            "it takes {} KiB, and a Secret holds {}; nothing was written",
            packed.len() / 1024,
            SECRET_BYTES / 1024
        );
        let failure = Failure::new(FailureClass::Permanent, writing(name), message);
        return Err(WriteError::Store(failure.hint(
            "name fewer members in astern.yaml: a platform is what is rolled back together",
        )));
    }
    let head = json!({
        "format": FORMAT,
        "release": name.as_str(),
        "size": bytes.len(),
        "digest": hex(&digest(bytes)),
    });
    let labels = [("app.kubernetes.io/managed-by", "astern"), (STANDING, standing)];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(object_name(name)),
            labels: Some(labels.into_iter().map(owned).collect()),
            annotations: Some([(ATTEMPT, attempt)].into_iter().map(owned).collect()),
            resource_version: version.map(|version| version.0.clone()),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE.to_owned()),
        data: Some(BTreeMap::from([
            (HEAD.to_owned(), ByteString(head.to_string().into_bytes())),
            (ENTRY.to_owned(), ByteString(packed)),
        ])),
        ..Secret::default()
    })
}

/// What a Secret holds, proven by its head.
fn open(secret: &Secret) -> Result<Entry, Failure> {
    let operation = format!("read a release of the ledger from {}", told(secret));
    let damaged = |how: &str| {
        Failure::new(FailureClass::Permanent, operation.clone(), format!("it is damaged: {how}")).hint(format!(
            "restore {} from a backup, or delete it and record the release again while it runs: astern releases record",
            told(secret)
        ))
    };
    let data = |key: &str| secret.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice());
    let head: Option<Value> = data(HEAD).and_then(|head| serde_json::from_slice(head).ok());
    let head = head.ok_or_else(|| damaged("its head is not JSON"))?;
    if head["format"] != FORMAT {
        return Err(damaged("its format is of another version of astern"));
    }
    let name = head["release"]
        .as_str()
        .and_then(|name| ReleaseName::parse(name).ok());
    let name = name.ok_or_else(|| damaged("its head names no release"))?;
    let own = format!("secret/{}", object_name(&name));
    if told(secret) != own {
        let message = format!(
            "it calls itself release {name}, whose entry is {own}: somebody copied it, and it says nothing"
        );
        return Err(Failure::new(FailureClass::Permanent, operation, message)
            .hint(format!("kubectl delete {}", told(secret))));
    }
    let size = head["size"].as_u64().filter(|size| *size <= ENTRY_BYTES);
    let bytes = size.and_then(|size| packed::unpack(data(ENTRY)?, size));
    let bytes = bytes.ok_or_else(|| damaged("it was cut short, or its bytes cannot be unpacked"))?;
    if head["digest"] != hex(&digest(&bytes)) {
        return Err(damaged("its bytes do not match their hash"));
    }
    Ok(Entry {
        name,
        version: version(secret),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_releases_never_share_a_secret_and_its_name_is_one_that_the_api_takes() {
        let object = |name: &str| object_name(&ReleaseName::parse(name).unwrap());
        assert_eq!(object("v1.2.4"), "astern-release-v1.2.4");
        assert!(object("V1.2.4+7").starts_with("astern-release-v1-2-4-7-"));
        let names = ["v1.2", "V1.2", "v1-2", "v1_2", "v1+2", "v1..2", "v1.-2"].map(object);
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        let is_taken = |name: &String| {
            let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
            name.split('.')
                .all(|part| label(part) && part.chars().all(inside))
        };
        assert!(names.iter().all(is_taken), "{names:?}");
    }

    #[test]
    fn an_entry_that_does_not_fit_into_a_secret_is_refused_with_its_size() {
        let name = ReleaseName::parse("v1").unwrap();
        let noise: Vec<u8> = (0..31_250_u64).flat_map(|at| digest(&at.to_le_bytes())).collect();
        let Err(WriteError::Store(failure)) = secret(&name, "candidate", &noise, "a", None) else {
            panic!("it was taken");
        };
        assert!(failure.message.contains("976 KiB"), "{failure}");
    }
}
