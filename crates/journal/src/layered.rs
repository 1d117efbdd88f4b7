//! Two vaults as one: runs keep in the first, and what another store kept is found in the second.

use astern_model::content::ContentRef;
use astern_port::vault::Vault;
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use std::sync::Arc;

/// A vault that keeps in `first`, and finds what lies in `then` as well. With a run's vault in a file, a release's
/// templates lie in the cluster all the same.
pub struct LayeredVault {
    first: Arc<dyn Vault>,
    then: Arc<dyn Vault>,
}

impl LayeredVault {
    /// Puts one vault before another. Their keys differ, so a name means the same content in both.
    pub fn new(first: Arc<dyn Vault>, then: Arc<dyn Vault>) -> Self {
        Self { first, then }
    }
}

#[async_trait]
impl Vault for LayeredVault {
    async fn put(&self, label: &str, bytes: &[u8]) -> Result<ContentRef, Failure> {
        self.first.put(label, bytes).await
    }

    async fn hash(&self, bytes: &[u8]) -> Result<String, Failure> {
        self.first.hash(bytes).await
    }

    async fn get(&self, reference: &ContentRef) -> Result<Vec<u8>, Failure> {
        match self.first.get(reference).await {
            Err(failure) if failure.class == FailureClass::Permanent => {
                // Where neither has it, the one that should have kept it says so.
                self.then.get(reference).await.map_err(|_| failure)
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryVault;

    #[tokio::test]
    async fn what_either_vault_keeps_is_found_and_new_content_lies_in_the_first() {
        let (first, then) = (MemoryVault::default(), MemoryVault::default());
        let layered = LayeredVault::new(Arc::new(first.clone()), Arc::new(then.clone()));
        let old = then.put("template", b"old").await.unwrap();
        let new = layered.put("template", b"new").await.unwrap();
        assert_eq!(layered.get(&old).await.unwrap(), b"old");
        assert_eq!(first.get(&new).await.unwrap(), b"new");
        assert!(then.get(&new).await.is_err());
        let nowhere = MemoryVault::default().put("template", b"other").await.unwrap();
        let failure = layered.get(&nowhere).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Permanent);
    }
}
