//! Masking of the Secret values that a pod consumes in what kubelets and controllers say about it: a probe's output
//! is what a container printed. Owns where the words stand and which Secrets are read; how a value is found is
//! [`Masks`]' matter.

use super::IN_FLIGHT;
use super::fetch::{Part, get};
use crate::effects::mask::{self, consumed, not_shown};
use crate::failure::{Attempt, Verb};
use astern_model::evidence::{Fact, Trouble};
use astern_model::failure::{Failure, FailureClass};
use astern_model::inventory::Inventory;
use astern_model::mask::Masks;
use astern_model::target::Target;
use astern_model::workload::Workload;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::Client;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Masks the words of others in an inventory. Reads the Secrets of those workloads alone of which something is said,
/// so that a namespace in which all is well costs no request.
pub(super) async fn all(client: &Client, pods: &[Pod], inventory: &mut Inventory) {
    let consumers = consumers(pods, inventory);
    let names: BTreeSet<&String> = consumers.values().flatten().collect();
    let namespace = inventory.namespace.as_str();
    let reads: Vec<_> = names
        .into_iter()
        .map(|name| async move { (name.clone(), secret(client, namespace, name).await) })
        .collect();
    let secrets: BTreeMap<String, Read> = futures::stream::iter(reads)
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    for (target, names) in &consumers {
        apply(inventory, target, &Known::of(names, &secrets));
    }
}

/// A Secret as it was read; none where there is none.
type Read = Result<Option<Value>, Failure>;

async fn secret(client: &Client, namespace: &str, name: &str) -> Read {
    let operation = format!("read secret/{name} to mask its values");
    let attempt = Attempt::new(Verb::Get, "secrets", operation);
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    match get(client, &path, name, Part::Whole, &attempt).await {
        Ok(secret) => Ok(Some(secret)),
        Err(failure) if failure.class == FailureClass::Permanent => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The workloads of which something is said, with the Secrets that their template or a pod of theirs consumes:
/// admission may have put in more than the template names.
fn consumers(pods: &[Pod], inventory: &Inventory) -> BTreeMap<Target, BTreeSet<String>> {
    let specs: BTreeMap<&str, &PodSpec> = pods
        .iter()
        .filter_map(|pod| Some((pod.metadata.uid.as_deref()?, pod.spec.as_ref()?)))
        .collect();
    let said = inventory
        .evidence
        .iter()
        .filter(|evidence| words_of(&mut evidence.fact.clone()).is_some())
        .filter_map(|evidence| inventory.workloads.get(&evidence.subject));
    said.map(|workload| (workload.target.clone(), secrets_of(workload, &specs)))
        .collect()
}

fn secrets_of(workload: &Workload, specs: &BTreeMap<&str, &PodSpec>) -> BTreeSet<String> {
    let template = workload.template.json().get("spec").cloned();
    let template: Option<PodSpec> = template.and_then(|spec| serde_json::from_value(spec).ok());
    let pods = workload.pods.iter().filter_map(|pod| specs.get(pod.uid.as_str()));
    let mut names: BTreeSet<String> = pods.flat_map(|spec| consumed(spec)).collect();
    names.extend(template.iter().flat_map(consumed));
    names
}

/// What is known of the values that a workload's containers know.
struct Known {
    masks: Masks,
    /// Why not all of them are known.
    unread: Option<String>,
}

impl Known {
    fn of(names: &BTreeSet<String>, secrets: &BTreeMap<String, Read>) -> Self {
        let mut had = Vec::new();
        let mut unread = None;
        for name in names {
            match secrets.get(name) {
                Some(Ok(Some(secret))) => had.push((name.as_str(), secret)),
                Some(Err(failure)) => {
                    unread = Some(not_shown(&format!("secret/{name}: {}", failure.message)));
                }
                Some(Ok(None)) | None => {}
            }
        }
        Self {
            masks: mask::of_secrets(&had),
            unread,
        }
    }

    fn mask(&self, words: &mut String, quotes: bool) {
        *words = match &self.unread {
            Some(why) if quotes => why.clone(),
            _ => self.masks.apply(words),
        };
    }
}

fn apply(inventory: &mut Inventory, target: &Target, known: &Known) {
    for evidence in &mut inventory.evidence {
        if evidence.subject == *target
            && let Some((words, quotes)) = words_of(&mut evidence.fact)
        {
            known.mask(words, quotes);
        }
    }
    let Some(workload) = inventory.workloads.get_mut(target) else {
        return;
    };
    let troubles = workload.pods.iter_mut().filter_map(|pod| pod.trouble.as_mut());
    for (words, quotes) in troubles.filter_map(said_of) {
        known.mask(words, quotes);
    }
    for condition in &mut workload.status.conditions {
        known.mask(&mut condition.message, false);
    }
}

/// The words of others in a fact, and whether they may quote a container.
fn words_of(fact: &mut Fact) -> Option<(&mut String, bool)> {
    match fact {
        Fact::Trouble { trouble, .. } => said_of(trouble),
        Fact::PodsNotCreated { message } => Some((message, false)),
        // The controller's own words, and what the senses observe and mask themselves.
        Fact::ProgressDeadlineExceeded { .. }
        | Fact::Serving { .. }
        | Fact::ErrorLines { .. }
        | Fact::Probe { .. } => None,
    }
}

fn said_of(trouble: &mut Trouble) -> Option<(&mut String, bool)> {
    let quotes = mask::may_quote(trouble);
    mask::words_of(trouble).map(|words| (words, quotes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn not_ready() -> Trouble {
        Trouble::NotReady {
            container: "api".to_owned(),
            message: Some("Readiness probe failed: login with hunter22 refused".to_owned()),
        }
    }

    fn known(read: Read) -> Known {
        let names = BTreeSet::from(["keys".to_owned()]);
        Known::of(&names, &BTreeMap::from([("keys".to_owned(), read)]))
    }

    fn refused() -> Read {
        let read = "read secret/keys to mask its values";
        Err(Failure::new(
            FailureClass::Refused,
            read,
            "get secrets is not permitted",
        ))
    }

    fn masked(mut trouble: Trouble, read: Read) -> String {
        let (words, quotes) = said_of(&mut trouble).unwrap();
        known(read).mask(words, quotes);
        words.clone()
    }

    #[test]
    fn a_probe_that_prints_a_secret_is_shown_with_its_value_masked() {
        // "hunter22", as the API server sends it.
        let secret = json!({"data": {"token": "aHVudGVyMjI="}});
        assert_eq!(
            masked(not_ready(), Ok(Some(secret))),
            "Readiness probe failed: login with [masked:keys/token] refused"
        );
    }

    #[test]
    fn where_a_secret_cannot_be_read_what_a_container_printed_is_not_shown() {
        assert_eq!(
            masked(not_ready(), refused()),
            "(not shown, since its Secrets could not be masked: secret/keys: get secrets is not permitted)"
        );
    }

    #[test]
    fn what_the_kubelet_says_before_the_container_runs_is_shown_all_the_same() {
        let cannot_start = |reason: &str| Trouble::CannotStart {
            container: "api".to_owned(),
            reason: reason.to_owned(),
            message: "secret \"absent\" not found".to_owned(),
        };
        let check = |reason, shown| {
            let told = masked(cannot_start(reason), refused());
            assert_eq!(told == "secret \"absent\" not found", shown, "{reason}: {told}");
        };
        check("CreateContainerConfigError", true);
        check("FailedMount", true);
        check("RunContainerError", false);
    }
}
