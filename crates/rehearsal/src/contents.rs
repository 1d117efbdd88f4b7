//! What a plan needs of the real vault while it is rehearsed: the contents that it names, and what the real vault calls those that
//! stand. Owns which those are; they are in this process's memory alone, and leave it in no report.

use astern_journal::MemoryVault;
use astern_model::config::content;
use astern_model::content::ContentRef;
use astern_model::plan::Plan;
use astern_model::step::{Spec, workload};
use astern_model::template::canonical;
use astern_port::vault::Vault;
use astern_port::{Failure, FailureClass};
use serde_json::Value;

/// Contents of a vault, and how it names them.
#[derive(Clone, Default)]
pub struct Kept {
    contents: Vec<(ContentRef, Vec<u8>)>,
    /// What ConfigMaps and Secrets hold, as it is hashed, with the hash that only the real vault's key gives.
    hashes: Vec<(Vec<u8>, String)>,
}

impl Kept {
    /// What `plan` names of what `vault` keeps, beside the ConfigMaps and Secrets that are `copied`. `beside` is the vault in their
    /// cluster, whose key their hashes have. What is lost may still be in the cluster, and then it is not missed.
    ///
    /// # Errors
    /// A vault does not answer.
    pub async fn read(
        vault: &dyn Vault,
        beside: &dyn Vault,
        plan: &Plan,
        copied: &[Value],
    ) -> Result<Self, Failure> {
        let mut kept = Self::default();
        for (reference, is_object) in named(plan) {
            let bytes = match vault.get(reference).await {
                Ok(bytes) => bytes,
                Err(failure) if failure.class == FailureClass::Permanent => continue,
                Err(failure) => return Err(failure),
            };
            if is_object {
                let object = serde_json::from_slice(&bytes).unwrap_or_default();
                kept.hash(beside, &object).await?;
            }
            kept.contents.push((reference.clone(), bytes));
        }
        for object in copied {
            kept.hash(beside, object).await?;
        }
        Ok(kept)
    }

    async fn hash(&mut self, vault: &dyn Vault, object: &Value) -> Result<(), Failure> {
        let held = canonical(&content(object)).into_bytes();
        let hash = vault.hash(&held).await?;
        self.hashes.push((held, hash));
        Ok(())
    }

    /// A vault with that in it, and nothing else.
    pub(crate) fn vault(&self) -> MemoryVault {
        let vault = MemoryVault::default();
        for (reference, bytes) in &self.contents {
            vault.hold(reference.clone(), bytes.clone());
        }
        for (bytes, hash) in &self.hashes {
            vault.call(bytes.clone(), hash.clone());
        }
        vault
    }
}

/// The contents that a plan names, and whether each is a ConfigMap or Secret.
fn named(plan: &Plan) -> impl Iterator<Item = (&ContentRef, bool)> {
    plan.steps.iter().filter_map(|step| match &step.spec {
        Spec::Workload(workload::Spec::WriteTemplate { kept, .. }) => Some((kept.as_ref()?, false)),
        Spec::Config(spec) => Some((&spec.to().kept, true)),
        Spec::Workload(_) | Spec::Helm(_) | Spec::Owner(_) => None,
    })
}
