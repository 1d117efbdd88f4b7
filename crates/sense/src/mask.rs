//! Masking of the Secret values that a pod consumes. Owns which Secrets those are and in which forms a value is
//! found; keeps the values no longer than the masking takes, and prints none.

use crate::fetch::{Way, get};
use astern_model::inventory::Inventory;
use astern_model::target::Target;
use astern_model::workload::Workload;
use k8s_openapi::ByteString;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::OnceCell;

/// Shorter values, such as `80` or `on`, are words of every log; masking them would hide the log and protect nothing.
const SHORTEST: usize = 4;
/// A line of a value with several (a key, a certificate) is masked by itself from this length on: shorter ones are
/// `-----` and the like.
const SHORTEST_LINE: usize = 16;

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
        let read = async || Masks::read(self.way, &workload.target.namespace, &secrets_of(workload)).await;
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
        let more = Masks::read(self.way, &workload.target.namespace, &more).await?;
        let mut masked = Vec::new();
        for text in texts {
            masked.push(self.of_workload(workload, &more.apply(&text)).await?);
        }
        Ok(masked)
    }
}

/// What is masked: each form of each value with what stands in its place, the longest first, so that a value inside
/// another one leaves nothing of that readable. Has no `Debug`: nothing may print it.
struct Masks(Vec<(String, String)>);

impl Masks {
    /// Reads these Secrets.
    ///
    /// # Errors
    /// A phrase that names the Secret that could not be read. What it masks can then not be shown.
    async fn read(way: &Way<'_>, namespace: &str, secrets: &BTreeSet<String>) -> Result<Self, String> {
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
        Ok(Self::of(found.iter().filter_map(|(name, secret)| {
            Some((name.as_str(), secret.as_ref()?))
        })))
    }

    fn of<'a>(secrets: impl Iterator<Item = (&'a str, &'a Value)>) -> Self {
        let mut forms: BTreeMap<String, String> = BTreeMap::new();
        for (name, secret) in secrets {
            for (key, encoded) in secret
                .get("data")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                let Some(encoded) = encoded.as_str() else { continue };
                for form in forms_of(encoded) {
                    forms
                        .entry(form)
                        .or_insert_with(|| format!("[masked:{name}/{key}]"));
                }
            }
        }
        let mut masks: Vec<(String, String)> = forms.into_iter().collect();
        masks.sort_by_key(|(form, _)| std::cmp::Reverse(form.len()));
        Self(masks)
    }

    /// The text without the values.
    fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (form, mask)| {
            if text.contains(form.as_str()) {
                text.replace(form.as_str(), mask)
            } else {
                text
            }
        })
    }
}

/// The forms in which a value may stand in a text: as it is, as JSON writes it, line by line, and in base64 with and
/// without its padding.
fn forms_of(encoded: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    let bytes = serde_json::from_value::<ByteString>(Value::String(encoded.to_owned())).map(|bytes| bytes.0);
    let Some(bytes) = bytes.ok().filter(|bytes| bytes.len() >= SHORTEST) else {
        return forms;
    };
    forms.insert(encoded.trim_end_matches('=').to_owned());
    forms.insert(encoded.to_owned());
    let Ok(text) = String::from_utf8(bytes) else {
        return forms;
    };
    let bare = text.trim();
    if bare.len() >= SHORTEST {
        let quoted = Value::String(bare.to_owned()).to_string();
        forms.insert(quoted.trim_matches('"').to_owned());
        forms.insert(bare.to_owned());
    }
    let lines = bare
        .lines()
        .map(str::trim)
        .filter(|line| line.len() >= SHORTEST_LINE);
    forms.extend(lines.map(str::to_owned));
    forms
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

/// The names of the Secrets that a pod consumes: by variable, by volume, to pull its images. `spec` is the pod's, as
/// a pod or a template has it.
fn consumed(spec: &Value) -> BTreeSet<String> {
    let list = |value: &Value, name: &str| {
        value
            .get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let text =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let mut names = BTreeSet::new();
    for containers in ["initContainers", "containers", "ephemeralContainers"] {
        for container in list(spec, containers) {
            names.extend(
                list(&container, "env")
                    .iter()
                    .filter_map(|env| text(env, "/valueFrom/secretKeyRef/name")),
            );
            names.extend(
                list(&container, "envFrom")
                    .iter()
                    .filter_map(|from| text(from, "/secretRef/name")),
            );
        }
    }
    for volume in list(spec, "volumes") {
        names.extend(text(&volume, "/secret/secretName"));
        let sources = volume
            .get("projected")
            .map(|projected| list(projected, "sources"))
            .unwrap_or_default();
        names.extend(sources.iter().filter_map(|source| text(source, "/secret/name")));
    }
    names.extend(
        list(spec, "imagePullSecrets")
            .iter()
            .filter_map(|reference| text(reference, "/name")),
    );
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn masks(data: &Value) -> Masks {
        Masks::of([("api-keys", &json!({"data": data}))].into_iter())
    }

    #[test]
    fn a_secret_value_is_masked_in_every_form_it_may_stand_in() {
        // "hunter2!", "a\"b\nc-long-second-line", "on"
        let masks = masks(
            &json!({"token": "aHVudGVyMiE=", "odd": "YSJiCmMtbG9uZy1zZWNvbmQtbGluZQ==", "flag": "b24="}),
        );
        let check = |line: &str, expected: &str| assert_eq!(masks.apply(line), expected);
        check("auth hunter2! failed", "auth [masked:api-keys/token] failed");
        check("basic aHVudGVyMiE=", "basic [masked:api-keys/token]");
        check("jwt.aHVudGVyMiE.sig", "jwt.[masked:api-keys/token].sig");
        check(
            r#"{"v":"a\"b\nc-long-second-line"}"#,
            r#"{"v":"[masked:api-keys/odd]"}"#,
        );
        check("c-long-second-line", "[masked:api-keys/odd]");
        check("turned on", "turned on");
    }

    #[test]
    fn every_way_to_consume_a_secret_is_found() {
        let spec = json!({
            "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "a"}}}]}],
            "containers": [{"envFrom": [{"secretRef": {"name": "b"}}], "env": [{"name": "X", "value": "1"}]}],
            "volumes": [{"secret": {"secretName": "c"}}, {"projected": {"sources": [{"secret": {"name": "d"}}]}}],
            "imagePullSecrets": [{"name": "e"}],
        });
        assert_eq!(
            consumed(&spec).into_iter().collect::<Vec<_>>(),
            ["a", "b", "c", "d", "e"]
        );
    }
}
