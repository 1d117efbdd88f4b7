//! Masking of Secret values in text that leaves the cluster: which Secrets a pod consumes, in which forms a value may
//! stand in a text, and the text without them. The one truth of it; reads no Secret.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Shorter values, such as `80` or `on`, are words of every log; masking them would hide the log and protect nothing.
const SHORTEST: usize = 4;

/// What is masked: each form of each value with what stands in its place, the longest first, so that a value inside
/// another one leaves nothing of that readable. Has no `Debug`: nothing may print it.
pub struct Masks(Vec<(String, String)>);

impl Masks {
    /// Of these Secrets, each with its name. `decode` reads a value as it travels, in base64.
    pub fn of<'a>(
        secrets: impl Iterator<Item = (&'a str, &'a Value)>,
        decode: impl Fn(&Value) -> Option<Vec<u8>>,
    ) -> Self {
        let mut forms: BTreeMap<String, String> = BTreeMap::new();
        for (name, secret) in secrets {
            let data = secret.get("data").and_then(Value::as_object);
            for (key, value) in data.into_iter().flatten() {
                let encoded = value.as_str().unwrap_or_default();
                for form in forms_of(encoded, decode(value).unwrap_or_default()) {
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
    pub fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (form, mask)| {
            if text.contains(form.as_str()) {
                text.replace(form.as_str(), mask)
            } else {
                text
            }
        })
    }
}

/// The forms in which a value may stand in a text: as it is, as JSON writes it, line by line (a log shows one at a
/// time), and in base64 with and without its padding.
fn forms_of(encoded: &str, bytes: Vec<u8>) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    if bytes.len() < SHORTEST {
        return forms;
    }
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
    // A line of rules alone, such as `-----`, is no secret.
    let lines = bare
        .lines()
        .map(str::trim)
        .filter(|line| line.len() >= SHORTEST && line.contains(char::is_alphanumeric));
    forms.extend(lines.map(str::to_owned));
    forms
}

/// The names of the Secrets that a pod consumes: by variable, by volume, to pull its images. `spec` is the pod's, as
/// a pod or a template has it.
pub fn consumed(spec: &Value) -> BTreeSet<String> {
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

    /// Of these values of one Secret: key, as it travels, decoded.
    fn masks(values: &[(&str, &str, &str)]) -> Masks {
        let data: serde_json::Map<String, Value> = values
            .iter()
            .map(|(key, encoded, _)| ((*key).to_owned(), json!(encoded)))
            .collect();
        let secret = json!({"data": data});
        let decode = |sent: &Value| {
            let found = values.iter().find(|(_, encoded, _)| sent == encoded)?;
            Some(found.2.as_bytes().to_vec())
        };
        Masks::of([("api-keys", &secret)].into_iter(), decode)
    }

    #[test]
    fn a_secret_value_is_masked_in_every_form_it_may_stand_in() {
        let masks = masks(&[
            ("token", "aHVudGVyMiE=", "hunter2!"),
            (
                "odd",
                "YSJiCmMtbG9uZy1zZWNvbmQtbGluZQ==",
                "a\"b\nc-long-second-line",
            ),
            ("flag", "b24=", "on"),
        ]);
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
    fn a_short_line_of_a_longer_value_is_masked_and_a_rule_is_not() {
        let masks = masks(&[("env", "dXNlcg==", "user=root\npass=x1y2\n-----")]);
        assert_eq!(
            masks.apply("pass=x1y2 refused -----"),
            "[masked:api-keys/env] refused -----"
        );
    }

    #[test]
    fn a_value_inside_a_longer_one_leaves_nothing_of_it() {
        let masks = masks(&[("a", "cGFzcw==", "pass"), ("b", "cGFzc3dvcmQ=", "password")]);
        assert_eq!(masks.apply("password"), "[masked:api-keys/b]");
    }

    #[test]
    fn every_way_to_consume_a_secret_is_known() {
        let spec = json!({
            "initContainers": [{"name": "b", "envFrom": [{"secretRef": {"name": "init"}}]}],
            "containers": [{"name": "a",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "variable", "key": "k"}}},
                    {"name": "X", "value": "1"}],
                "envFrom": [{"secretRef": {"name": "all-variables"}}]}],
            "ephemeralContainers": [{"envFrom": [{"secretRef": {"name": "debugging"}}]}],
            "volumes": [{"name": "v", "secret": {"secretName": "volume"}},
                {"name": "w", "projected": {"sources": [{"secret": {"name": "projected"}}]}}],
            "imagePullSecrets": [{"name": "pull"}],
        });
        let names: Vec<String> = consumed(&spec).into_iter().collect();
        assert_eq!(
            names,
            [
                "all-variables",
                "debugging",
                "init",
                "projected",
                "pull",
                "variable",
                "volume"
            ]
        );
    }
}
