//! The vault: content that plans, receipts and records only name.

use crate::Failure;
use astern_model::content::ContentRef;
use async_trait::async_trait;

/// Content-addressed storage.
///
/// # Guarantees
/// - After `Ok`, the content is as durable as the journal beside it.
/// - The same bytes give the same reference; putting them again changes nothing. Of bytes that are put while others are,
///   only the keyed hash is the same: a vault may keep them together under one name.
/// - `get` returns exactly what was put, or an error of class `Permanent` when it is gone or damaged.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Keeps `bytes`. `label` is a word for people (`template`, `log`), never a secret.
    async fn put(&self, label: &str, bytes: &[u8]) -> Result<ContentRef, Failure>;

    /// The keyed hash that `put` would give these bytes. Keeps nothing.
    async fn hash(&self, bytes: &[u8]) -> Result<String, Failure>;

    /// The bytes behind a reference.
    async fn get(&self, reference: &ContentRef) -> Result<Vec<u8>, Failure>;
}
