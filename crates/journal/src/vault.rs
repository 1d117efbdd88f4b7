//! The vault in the cluster: content in immutable Secrets of the platform's namespace, so that it never leaves the
//! cluster's own protection. Owns their names and pieces, and the Secret with the key; logs no content.
//!
//! # Formats
//! Content alone (1): as many Secrets as its size takes, named after its keyed hash. Contents that were kept at the same
//! time (2): one Secret, named after the keyed hash of all of them, whose head says where each lies.

mod together;

use crate::api::{self, Created, SECRET_BYTES};
use crate::keyed::{self, Key, digest};
use crate::packed;
use astern_model::content::ContentRef;
use astern_model::id::hex;
use astern_port::vault::Vault;
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use futures::future::try_join_all;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use together::{Kept, Next, Waiting};
use tokio::sync::OnceCell;

/// The type of the Secrets with content.
const TYPE: &str = "astern.dev/saved";

/// The Secret with the key that makes the hashes.
const KEY_NAME: &str = "astern-vault-key";
const KEY_TYPE: &str = "astern.dev/vault-key";
const KEY: &str = "key";

/// Bytes of content in one Secret, before they are packed. The head of the first one takes some of the rest.
const PIECE_BYTES: usize = SECRET_BYTES - 4096;

const HEAD: &str = "head.json";
const CONTENT: &str = "content";

/// The formats of a head.
const ALONE: u64 = 1;
const TOGETHER: u64 = 2;

/// A vault in a namespace.
#[derive(Clone)]
pub struct ClusterVault {
    api: Api<Secret>,
    namespace: String,
    key: Arc<OnceCell<Key>>,
    waiting: Waiting,
}

impl std::fmt::Debug for ClusterVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterVault")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl ClusterVault {
    /// A vault in `namespace`. Asks nothing yet: the key is read, or made, when the first content is kept.
    pub fn new(client: kube::Client, namespace: String) -> Self {
        Self {
            api: Api::namespaced(client, &namespace),
            namespace,
            key: Arc::default(),
            waiting: Waiting::default(),
        }
    }

    fn place(&self) -> String {
        format!("Secrets in namespace {}", self.namespace)
    }

    async fn key(&self) -> Result<&Key, Failure> {
        self.key.get_or_try_init(|| self.read_or_make_key()).await
    }

    async fn read_or_make_key(&self) -> Result<Key, Failure> {
        let operation = format!("read the vault's key, Secret {KEY_NAME}");
        let there = match self.read(&operation, KEY_NAME).await? {
            Some(secret) => Some(secret),
            None => {
                let key = Key::random()?;
                let data = [(KEY, key.bytes().to_vec())];
                match api::create(
                    &self.api,
                    &secret(KEY_NAME.to_owned(), KEY_TYPE, None, data),
                    &operation,
                )
                .await?
                {
                    Created::New(_) => return Ok(key),
                    // Another process made one meanwhile, or our own answer was lost.
                    Created::Exists => self.read(&operation, KEY_NAME).await?,
                }
            }
        };
        let stored = there.and_then(|secret| Key::stored(&secret.data?.get(KEY)?.0));
        stored.ok_or_else(|| {
            let hint = format!(
                "`kubectl delete secret {KEY_NAME} -n {}` makes astern make a new one; what was kept before stays \
                 readable",
                self.namespace
            );
            Failure::new(FailureClass::Permanent, operation, "it holds no key of 32 bytes").hint(hint)
        })
    }

    async fn read(&self, operation: &str, name: &str) -> Result<Option<Secret>, Failure> {
        api::read(operation, || self.api.get_opt(name)).await
    }

    /// Keeps content in Secrets of its own.
    async fn keep(&self, label: &str, bytes: &[u8]) -> Result<ContentRef, Failure> {
        let operation = keyed::put_operation(label);
        let reference = self.key().await?.reference(bytes);
        let secrets = pieces(&reference, label, bytes);
        // The first one last: while it is missing, nothing is there.
        let (first, others) = secrets
            .split_first()
            .expect("BUG: content has at least one piece");
        let others = try_join_all(
            others
                .iter()
                .map(|piece| api::create(&self.api, piece, &operation)),
        )
        .await?;
        let first = api::create(&self.api, first, &operation).await?;
        if first == Created::Exists || others.contains(&Created::Exists) {
            match self.find(&reference).await? {
                Some(there) if there == bytes => {}
                _ => {
                    return Err(keyed::damaged(
                        &reference,
                        &self.place(),
                        "what lies there is something else",
                    ));
                }
            }
        }
        Ok(reference)
    }

    /// Keeps contents that came at the same time. One that came alone has the name that it always has.
    async fn keep_all(&self, contents: &[Kept<'_>]) -> Result<Vec<ContentRef>, Failure> {
        if let [Kept { label, bytes }] = contents {
            return Ok(vec![self.keep(label, bytes).await?]);
        }
        let labels = together::labels(contents);
        let operation = keyed::put_operation(&labels);
        let (references, data) = together::bundle(self.key().await?, contents);
        let Some(first) = references.first() else {
            return Ok(references);
        };
        let bundle = secret(first.name.clone(), TYPE, Some(&labels), data);
        if api::create(&self.api, &bundle, &operation).await? == Created::Exists {
            for (reference, Kept { bytes, .. }) in references.iter().zip(contents) {
                if self.find(reference).await?.as_deref() != Some(*bytes) {
                    let how = "what lies there is something else";
                    return Err(keyed::damaged(reference, &self.place(), how));
                }
            }
        }
        Ok(references)
    }

    /// The content behind a reference, none when its first Secret is not there.
    async fn find(&self, reference: &ContentRef) -> Result<Option<Vec<u8>>, Failure> {
        let operation = keyed::get_operation(reference);
        let damaged = |how: &str| keyed::damaged(reference, &self.place(), how);
        let Some(first) = self.read(&operation, &reference.name).await? else {
            return Ok(None);
        };
        let head: Option<Value> = data(&first, HEAD).and_then(|head| serde_json::from_slice(head).ok());
        let head = head.ok_or_else(|| damaged("its head is not JSON"))?;
        if head["format"] == TOGETHER {
            return together::find(reference, &head, data(&first, CONTENT))
                .map(Some)
                .map_err(damaged);
        }
        if head["format"] != ALONE {
            return Err(damaged("its format is of another version of astern"));
        }
        if head["keyedHash"] != reference.keyed_hash || head["size"] != reference.size {
            return Err(damaged("what lies there has another hash"));
        }
        let count = pieces_of(reference.size);
        let names: Vec<String> = (1..count).map(|number| piece_name(reference, number)).collect();
        let others = try_join_all(names.iter().map(|name| self.read(&operation, name))).await?;
        let mut bytes = Vec::new();
        for (piece, number) in std::iter::once(Some(first)).chain(others).zip(0..) {
            let piece = piece.ok_or_else(|| damaged("a piece of it is missing"))?;
            let content = data(&piece, CONTENT)
                .and_then(|packed| packed::unpack(packed, piece_size(reference, number)));
            bytes.extend(content.ok_or_else(|| damaged("its bytes cannot be unpacked"))?);
        }
        if head["digest"] != hex(&digest(&bytes)) {
            return Err(damaged("its bytes do not match their hash"));
        }
        Ok(Some(bytes))
    }
}

#[async_trait]
impl Vault for ClusterVault {
    async fn put(&self, label: &str, bytes: &[u8]) -> Result<ContentRef, Failure> {
        if bytes.len() > together::LARGEST {
            return self.keep(label, bytes).await;
        }
        let mut ticket = self.waiting.join(label, bytes);
        loop {
            match ticket.next().await {
                Next::Answered(answer) => return answer,
                Next::Write(batch) => {
                    let written = self.keep_all(&batch.contents()).await;
                    batch.tell(written);
                }
            }
        }
    }

    async fn hash(&self, bytes: &[u8]) -> Result<String, Failure> {
        Ok(self.key().await?.reference(bytes).keyed_hash)
    }

    async fn get(&self, reference: &ContentRef) -> Result<Vec<u8>, Failure> {
        self.find(reference)
            .await?
            .ok_or_else(|| keyed::missing(reference, &self.place()))
    }
}

/// Secrets that content of `size` bytes takes.
fn pieces_of(size: u64) -> u64 {
    size.div_ceil(PIECE_BYTES as u64).max(1)
}

fn piece_size(reference: &ContentRef, number: u64) -> u64 {
    let before = number.saturating_mul(PIECE_BYTES as u64);
    reference.size.saturating_sub(before).min(PIECE_BYTES as u64)
}

fn piece_name(reference: &ContentRef, number: u64) -> String {
    if number == 0 {
        reference.name.clone()
    } else {
        format!("{}-{number:03}", reference.name)
    }
}

/// The Secrets of `bytes`, each packed for itself: an attempt that died left the same ones.
fn pieces(reference: &ContentRef, label: &str, bytes: &[u8]) -> Vec<Secret> {
    let head = json!({
        "format": ALONE,
        "keyedHash": reference.keyed_hash,
        "size": reference.size,
        "digest": hex(&digest(bytes)),
    });
    let content = |number: u64| {
        let from = (number as usize).saturating_mul(PIECE_BYTES);
        packed::pack(&bytes[from..from + piece_size(reference, number) as usize])
    };
    let piece = |number| {
        let name = piece_name(reference, number);
        match number {
            0 => {
                let data = [(HEAD, head.to_string().into_bytes()), (CONTENT, content(0))];
                secret(name, TYPE, Some(label), data)
            }
            _ => secret(name, TYPE, Some(label), [(CONTENT, content(number))]),
        }
    };
    (0..pieces_of(reference.size)).map(piece).collect()
}

fn secret<const KEYS: usize>(
    name: String,
    kind: &str,
    label: Option<&str>,
    data: [(&str, Vec<u8>); KEYS],
) -> Secret {
    let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(one("app.kubernetes.io/managed-by", "astern")),
            annotations: label.map(|label| one("astern.dev/label", label)),
            ..ObjectMeta::default()
        },
        type_: Some(kind.to_owned()),
        immutable: Some(true),
        data: Some(
            data.into_iter()
                .map(|(key, bytes)| (key.to_owned(), ByteString(bytes)))
                .collect(),
        ),
        ..Secret::default()
    }
}

fn data<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice())
}
