//! Secret values out of what a record holds: those of its Secrets wherever they stand, and values whose names tell that
//! they are secret. Two that differ stay different for this process, by a key that dies with it.

use astern_model::helm::HIDDEN;
use astern_model::id::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;

/// Words in a value's name that make it one to hide.
const TELLTALES: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "token",
    "secret",
    "apikey",
    "privatekey",
    "credential",
];

/// A shorter value, such as `80`, is a word of every manifest.
const SHORTEST: usize = 4;

/// Hides values. One a process, so that the same value looks the same in all records that it reads.
pub(crate) struct Masker([u8; 32]);

impl Masker {
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the system gives no random bytes");
        Self(key)
    }

    pub(crate) fn token(&self, value: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("BUG: HMAC takes keys of every length");
        mac.update(value.as_bytes());
        format!("{HIDDEN}{})", hex(&mac.finalize().into_bytes()[..4]))
    }

    /// Hides what a Secret holds, and puts what its manifest says plainly where the API server keeps it. Returns the values that were
    /// hidden, as they are in use, decoded.
    pub(crate) fn secret(&self, object: &mut Value) -> Vec<String> {
        let mut values = Vec::new();
        for part in ["data", "stringData"] {
            let Some(map) = object.get_mut(part).and_then(Value::as_object_mut) else {
                continue;
            };
            for value in map.values_mut() {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let decoded = STANDARD
                    .decode(&text)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok());
                *value = Value::from(self.token(decoded.as_deref().unwrap_or(&text)));
                values.extend(decoded);
                values.push(text);
            }
        }
        plain_into_data(object);
        values
    }

    /// Hides each text that holds one of `known`, and each value whose name tells that it is secret.
    pub(crate) fn values(&self, name: &str, value: &mut Value, known: &[String]) {
        match value {
            Value::Object(map) => {
                for (name, value) in map.iter_mut() {
                    self.values(name, value, known);
                }
            }
            Value::Array(list) => {
                for value in list {
                    self.values(name, value, known);
                }
            }
            Value::String(text) => {
                let holds = |secret: &String| secret.len() >= SHORTEST && text.contains(secret.as_str());
                if is_telltale(name) || known.iter().any(holds) {
                    *value = Value::from(self.token(text));
                }
            }
            Value::Number(number) if is_telltale(name) => {
                *value = Value::from(self.token(&number.to_string()))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn plain_into_data(secret: &mut Value) {
    let Some(map) = secret.as_object_mut() else { return };
    let Some(Value::Object(plain)) = map.remove("stringData") else {
        return;
    };
    match map.entry("data").or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(data) => data.extend(plain),
        other => *other = Value::Object(plain),
    }
}

/// The values below `values` whose names tell that they are secret.
pub(crate) fn named(values: &Value, found: &mut Vec<String>) {
    let mut of = |name: &str, value: &Value| match value {
        Value::String(text) if is_telltale(name) => found.push(text.clone()),
        Value::Number(number) if is_telltale(name) => found.push(number.to_string()),
        below => named(below, found),
    };
    match values {
        Value::Object(map) => map.iter().for_each(|(name, value)| of(name, value)),
        Value::Array(list) => list.iter().for_each(|value| of("", value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The lines, without those that hold one of these values; a Secret's value may also stand there as JSON or Go quotes it.
pub(crate) fn without(lines: Vec<String>, secrets: &[String]) -> Vec<String> {
    let holds = |line: &str, secret: &String| {
        let quoted = Value::from(secret.as_str()).to_string();
        let quoted = quoted.trim_matches('"');
        // A value of several lines is told a line at a time.
        let mut parts = secret.lines().filter(|part| part.len() >= SHORTEST);
        (quoted.len() >= SHORTEST && line.contains(quoted)) || parts.any(|part| line.contains(part))
    };
    lines
        .into_iter()
        .map(|line| match secrets.iter().any(|secret| holds(&line, secret)) {
            true => "(a line that holds a secret value)".to_owned(),
            false => line,
        })
        .collect()
}

fn is_telltale(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    // The name of a Secret is no secret.
    let names_one = ["name", "ref", "key"]
        .iter()
        .any(|end| plain.ends_with(end) && !plain.ends_with("apikey") && !plain.ends_with("privatekey"));
    !names_one && TELLTALES.iter().any(|telltale| plain.contains(telltale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secrets_value_is_hidden_wherever_it_stands_and_still_differs_from_another() {
        let masker = Masker::new();
        let mut one = json!({"data": {"dsn": STANDARD.encode("postgres://api:hunter2@db")}});
        let mut other = json!({"stringData": {"dsn": "postgres://api:hunter3@db"}});
        let mut known = masker.secret(&mut one);
        known.extend(masker.secret(&mut other));
        let mut values = json!({
            "image": {"tag": "v1.2.3"},
            "db": {"url": "postgres://api:hunter2@db", "existingSecretName": "shop-db"},
            "adminPassword": "swordfish",
            "list": [{"token": 12345}],
        });
        masker.values("", &mut values, &known);
        let text = format!("{one} {other} {values}");
        for secret in ["hunter2", "hunter3", "swordfish", "12345"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_ne!(one["data"]["dsn"], other["data"]["dsn"]);
        assert_eq!(other.get("stringData"), None);
        assert_eq!(one["data"]["dsn"], values["db"]["url"]);
        assert_eq!(values["image"]["tag"], "v1.2.3");
        assert_eq!(values["db"]["existingSecretName"], "shop-db");
    }

    #[test]
    fn what_helm_says_is_shown_without_the_lines_that_hold_a_secret() {
        let mut secrets = vec![
            "hunter2".to_owned(),
            "-----BEGIN KEY-----\nMIIabc\n".to_owned(),
            "80".to_owned(),
        ];
        named(
            &json!({"db": [{"password": "swordfish"}, {"port": 5432}]}),
            &mut secrets,
        );
        let said = [
            "Error: port 80 is taken by 5432",
            "env: hunter2",
            "MIIabc",
            "password=swordfish",
        ];
        let shown = without(said.map(str::to_owned).into(), &secrets);
        let hidden = "(a line that holds a secret value)";
        assert_eq!(shown, ["Error: port 80 is taken by 5432", hidden, hidden, hidden]);
    }
}
