//! Masking of the Secret values that a pod consumes, in words that leave the cluster. Owns reading the Secrets, whose
//! values it keeps no longer than the masking takes, and which words may hold one. What is masked, [`astern_model::mask`]
//! knows.

use super::access::Access;
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::evidence::Trouble;
use astern_model::failure::Failure;
use astern_model::mask::{self, Masks};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::Value;
use std::collections::BTreeSet;

/// What is to be masked in lines about this pod. An error means that its lines cannot be shown.
pub(crate) async fn masks_of(access: &Access, pod: &Pod, namespace: &str) -> Result<Masks, Failure> {
    let names = pod.spec.as_ref().map(consumed).unwrap_or_default();
    let reads = names.iter().map(|name| async move {
        let operation = format!("read secret/{name} to mask its values in evidence");
        let secret = access.secret(namespace, name, &operation).await?;
        Ok::<_, Failure>((name, secret))
    });
    let found = futures::future::try_join_all(reads).await?;
    let secrets = found
        .iter()
        .filter_map(|(name, secret)| Some((name.as_str(), secret.as_ref()?)));
    Ok(Masks::of(secrets, decoded))
}

/// Masks for the values of these Secrets, each with its name.
pub(crate) fn of_secrets(secrets: &[(&str, &Value)]) -> Masks {
    Masks::of(secrets.iter().copied(), decoded)
}

/// The same failure without the values of these objects, if they are Secrets: what admission says when it refuses a write may
/// quote any of it.
pub(crate) fn without_values(failure: Failure, object: &ConfigName, written: &[&Value]) -> Failure {
    if object.kind != ConfigKind::Secret {
        return failure;
    }
    let secrets: Vec<(&str, &Value)> = written.iter().map(|one| (object.name.as_str(), *one)).collect();
    Failure {
        message: of_secrets(&secrets).apply(&failure.message),
        ..failure
    }
}

/// The names of the Secrets that a pod consumes.
pub(crate) fn consumed(spec: &PodSpec) -> BTreeSet<String> {
    mask::consumed(&serde_json::to_value(spec).unwrap_or(Value::Null))
}

fn decoded(encoded: &Value) -> Option<Vec<u8>> {
    Some(serde_json::from_value::<ByteString>(encoded.clone()).ok()?.0)
}

/// The kubelet says these before anything of the container ran, in words of its own: nothing of a Secret is in them.
const BEFORE_THE_CONTAINER: [&str; 2] = ["CreateContainerConfigError", "FailedMount"];

/// The words of others in a trouble.
pub(crate) fn words_of(trouble: &mut Trouble) -> Option<&mut String> {
    match trouble {
        Trouble::NotReady { message, .. } => message.as_mut(),
        Trouble::CannotStart { message, .. } | Trouble::ImagePull { message, .. } => Some(message),
        // The scheduler knows no Secret; a last line is masked by who reads it.
        Trouble::Unschedulable { .. }
        | Trouble::CrashLoop { .. }
        | Trouble::Starting
        | Trouble::Terminating
        | Trouble::NodeLost { .. } => None,
    }
}

/// Whether these words may quote what a container printed or was started with: then they are shown only where the
/// Secrets that it consumes could be read.
pub(crate) fn may_quote(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::NotReady { .. } => true,
        Trouble::CannotStart { reason, .. } => !BEFORE_THE_CONTAINER.contains(&reason.as_str()),
        _ => false,
    }
}

/// What stands in the place of words that may hold a value, where the Secrets could not be read. `why` names them.
pub(crate) fn not_shown(why: &str) -> String {
    format!("(not shown, since its Secrets could not be masked: {why})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::failure::FailureClass;
    use serde_json::json;

    #[test]
    fn what_admission_says_of_a_secret_is_told_without_its_values() {
        let (now, then) = (
            json!({"data": {"TOKEN": "aHVudGVyMi1ub3c="}}),
            json!({"data": {"TOKEN": "aHVudGVyMi10aGVu"}}),
        );
        let said = "denied: hunter2-then (aHVudGVyMi10aGVu) is weaker than hunter2-now";
        let failure = Failure::new(FailureClass::Refused, "write secret/keys", said);
        let object = |kind| ConfigName {
            kind,
            name: "keys".to_owned(),
        };
        let told = without_values(failure.clone(), &object(ConfigKind::Secret), &[&now, &then]);
        assert_eq!(
            told.message,
            "denied: [masked:keys/TOKEN] ([masked:keys/TOKEN]) is weaker than [masked:keys/TOKEN]"
        );
        let of_map = without_values(failure, &object(ConfigKind::ConfigMap), &[&now, &then]);
        assert_eq!(of_map.message, said);
    }
}
