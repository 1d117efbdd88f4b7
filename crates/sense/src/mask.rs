//! Masking of the Secret values that a workload's pods consume. Owns reading them, once; keeps the values no longer than
//! the masking takes, and prints none. What is masked, [`astern_model::mask`] knows.

use crate::fetch::{Way, get};
use astern_model::inventory::Inventory;
use astern_model::mask::{Masks, consumed};
use astern_model::target::Target;
use astern_model::workload::Workload;
use k8s_openapi::ByteString;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::OnceCell;

/// Masks what the pods of workloads wrote. The Secrets of a workload are read at the first text of it, once.
pub(crate) struct Masker<'a> {
    way: &'a Way<'a>,
    workloads: BTreeMap<&'a Target, OnceCell<Result<Masks, String>>>,
}

impl<'a> Masker<'a> {
    /// For the workloads of this inventory.
    pub(crate) fn new(way: &'a Way<'a>, inventory: &'a Inventory) -> Self {
        let workloads = inventory
            .workloads
            .keys()
            .map(|target| (target, OnceCell::new()))
            .collect();
        Self { way, workloads }
    }

    /// The text without the values of the Secrets that any remembered version of the workload consumes.
    ///
    /// # Errors
    /// A phrase that names the Secret that could not be read. The text can then not be shown.
    pub(crate) async fn of_workload(&self, workload: &Workload, text: &str) -> Result<String, String> {
        let read = async || read(self.way, &workload.target.namespace, &secrets_of(workload)).await;
        let Some(masks) = self.workloads.get(&workload.target) else {
            return Err("the workload is not in the inventory".to_owned());
        };
        masks
            .get_or_init(read)
            .await
            .as_ref()
            .map(|masks| masks.apply(text))
            .map_err(Clone::clone)
    }

    /// The texts without those and without the values of what the pod itself consumes: admission may have put in
    /// more than the template names.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn of_pod(
        &self,
        workload: &Workload,
        spec: &Value,
        texts: Vec<String>,
    ) -> Result<Vec<String>, String> {
        let more: BTreeSet<String> = consumed(spec)
            .difference(&secrets_of(workload))
            .cloned()
            .collect();
        let more = read(self.way, &workload.target.namespace, &more).await?;
        let mut masked = Vec::new();
        for text in texts {
            masked.push(self.of_workload(workload, &more.apply(&text)).await?);
        }
        Ok(masked)
    }
}

/// Reads these Secrets.
///
/// # Errors
/// A phrase that names the Secret that could not be read. What it masks can then not be shown.
async fn read(way: &Way<'_>, namespace: &str, secrets: &BTreeSet<String>) -> Result<Masks, String> {
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    let path = path.as_str();
    let reads = secrets.iter().map(|name| async move {
        match get(way, path, name).await {
            Ok(found) => Ok((name, found)),
            Err(why) => Err(format!(
                "secret/{name} could not be read, so its values cannot be masked: {why}"
            )),
        }
    });
    let found = futures::future::try_join_all(reads).await?;
    let secrets = found
        .iter()
        .filter_map(|(name, secret)| Some((name.as_str(), secret.as_ref()?)));
    Ok(Masks::of(secrets, decoded))
}

fn decoded(encoded: &Value) -> Option<Vec<u8>> {
    Some(serde_json::from_value::<ByteString>(encoded.clone()).ok()?.0)
}

fn secrets_of(workload: &Workload) -> BTreeSet<String> {
    let templates = workload
        .revisions
        .iter()
        .map(|revision| &revision.template)
        .chain([&workload.template]);
    templates
        .filter_map(|template| template.json().get("spec"))
        .flat_map(consumed)
        .collect()
}
