//! Masking of the Secret values that a pod consumes, in words that leave the cluster. Owns which Secrets those are,
//! how a value is found, and which words may hold one; reads the Secrets and keeps their values no longer than the masking takes.

use super::access::Access;
use astern_model::evidence::Trouble;
use astern_model::failure::Failure;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::Value;
use std::collections::BTreeSet;

/// Shorter values, such as `80` or `on`, are words of every log; masking them would hide the log and protect nothing.
const SHORTEST: usize = 4;

/// What is masked: each value with what stands in its place, the longest first, so that a value inside another one
/// does not leave the rest of it readable. Has no `Debug`: nothing may print it.
pub(crate) struct Masks(Vec<(String, String)>);

impl Masks {
    /// Reads the Secrets that the pod consumes. An error means that its lines cannot be shown.
    pub(crate) async fn of(access: &Access, pod: &Pod, namespace: &str) -> Result<Self, Failure> {
        let names = pod.spec.as_ref().map(consumed).unwrap_or_default();
        let reads = names.iter().map(|name| async move {
            let operation = format!("read secret/{name} to mask its values in evidence");
            let secret = access.secret(namespace, name, &operation).await?;
            Ok::<_, Failure>(secret.map(|secret| values(name, &secret)).unwrap_or_default())
        });
        let found = futures::future::try_join_all(reads).await?;
        Ok(Self::new(found.into_iter().flatten().collect()))
    }

    /// Masks the values of these Secrets, each with its name.
    pub(crate) fn of_secrets(secrets: &[(&str, &Value)]) -> Self {
        let found = secrets.iter().map(|(name, secret)| values(name, secret));
        Self::new(found.flatten().collect())
    }

    fn new(mut masks: Vec<(String, String)>) -> Self {
        masks.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        Self(masks)
    }

    /// The line without the values.
    pub(crate) fn apply(&self, line: &str) -> String {
        self.0
            .iter()
            .fold(line.to_owned(), |line, (value, mask)| line.replace(value, mask))
    }
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

/// The names of the Secrets that a pod consumes: by variable, by volume, to pull its images.
pub(crate) fn consumed(spec: &PodSpec) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let init = spec.init_containers.as_ref().into_iter().flatten();
    for container in spec.containers.iter().chain(init) {
        for variable in container.env.iter().flatten() {
            let reference = variable
                .value_from
                .as_ref()
                .and_then(|from| from.secret_key_ref.as_ref());
            names.extend(reference.map(|reference| reference.name.clone()));
        }
        for source in container.env_from.iter().flatten() {
            names.extend(source.secret_ref.as_ref().map(|reference| reference.name.clone()));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        names.extend(
            volume
                .secret
                .as_ref()
                .and_then(|secret| secret.secret_name.clone()),
        );
        let sources = volume
            .projected
            .as_ref()
            .and_then(|projected| projected.sources.as_ref());
        for source in sources.into_iter().flatten() {
            names.extend(source.secret.as_ref().map(|secret| secret.name.clone()));
        }
    }
    names.extend(
        spec.image_pull_secrets
            .iter()
            .flatten()
            .map(|reference| reference.name.clone()),
    );
    names
}

/// Each value of a Secret, whole, line by line and as it travels, with its mask.
fn values(name: &str, secret: &Value) -> Vec<(String, String)> {
    let mut masks = Vec::new();
    for (key, encoded) in secret
        .get("data")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let mask = format!("[masked:{name}/{key}]");
        let decoded = serde_json::from_value::<ByteString>(encoded.clone()).ok();
        let plain = decoded
            .and_then(|bytes| String::from_utf8(bytes.0).ok())
            .unwrap_or_default();
        // A log shows one line at a time, also of a key or a certificate that has many.
        let lines = plain
            .lines()
            .map(str::trim)
            .chain([plain.trim(), encoded.as_str().unwrap_or_default()]);
        let shown: BTreeSet<&str> = lines.filter(|line| line.len() >= SHORTEST).collect();
        masks.extend(shown.into_iter().map(|line| (line.to_owned(), mask.clone())));
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_consumed_secrets_do_not_leave_the_cluster() {
        // "hunter22" and "on", as the API server sends them.
        let secret = json!({"data": {"password": "aHVudGVyMjI=", "mode": "b24="}});
        let masks = Masks::new(values("db", &secret));
        assert_eq!(
            masks.apply("login hunter22 refused, mode on"),
            "login [masked:db/password] refused, mode on"
        );
        assert_eq!(
            masks.apply("authorization aHVudGVyMjI="),
            "authorization [masked:db/password]"
        );
    }

    #[test]
    fn a_value_inside_a_longer_one_leaves_nothing_of_it() {
        let masks = Masks::new(vec![
            ("pass".into(), "[a]".into()),
            ("password".into(), "[b]".into()),
        ]);
        assert_eq!(masks.apply("password"), "[b]");
    }

    #[test]
    fn every_way_to_consume_a_secret_is_known() {
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "variable", "key": "k"}}}],
                "envFrom": [{"secretRef": {"name": "all-variables"}}]}],
            "initContainers": [{"name": "b", "envFrom": [{"secretRef": {"name": "init"}}]}],
            "volumes": [{"name": "v", "secret": {"secretName": "volume"}},
                {"name": "w", "projected": {"sources": [{"secret": {"name": "projected"}}]}}],
            "imagePullSecrets": [{"name": "pull"}],
        }))
        .unwrap();
        let names: Vec<String> = consumed(&spec).into_iter().collect();
        assert_eq!(
            names,
            ["all-variables", "init", "projected", "pull", "variable", "volume"]
        );
    }
}
