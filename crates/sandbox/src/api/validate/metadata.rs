//! Names, labels, annotations, owners and finalizers, of every kind. Owns the grammars and their words.

use super::super::status::Cause;
use crate::kinds::Kind;
use crate::object::{flag, get, list, terminating, text};
use serde_json::{Value, json};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
pub(super) const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
    must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const OLD_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// The longest subdomain, and the longest label.
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

pub(super) fn object(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    name(kind, object, causes);
    labels(object, "metadata.labels", causes);
    for (key, _) in pairs(object, "metadata.annotations") {
        for words in bad_key(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &json!(key), &words));
        }
    }
    owners(object, causes);
    for (at, finalizer) in list(object, "metadata.finalizers").iter().enumerate() {
        finalizer_of(finalizer, &format!("metadata.finalizers[{at}]"), causes);
    }
}

/// An object that goes takes no new finalizer.
pub(super) fn update(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
    if !terminating(old) {
        return;
    }
    let before = list(old, "metadata.finalizers");
    let new: Vec<String> = list(object, "metadata.finalizers")
        .iter()
        .filter(|each| !before.contains(each))
        .map(Value::to_string)
        .collect();
    if !new.is_empty() {
        let words = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            new.join(", ")
        );
        // The storage and the kind both check it, and a real server tells both.
        for _ in 0..2 {
            causes.push(Cause::forbidden("metadata.finalizers", &words));
        }
    }
}

fn name(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let name = text(object, "metadata.name");
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
        return;
    }
    let resource = kind.resource();
    if resource.ends_with("rbac.authorization.k8s.io") {
        return;
    }
    let bad: Option<String> = match &*resource {
        "services" => (!is_label(name) || name.starts_with(|letter: char| letter.is_ascii_digit()))
            .then(|| OLD_LABEL.to_owned()),
        "namespaces" if name.contains('.') => Some("must not contain dots".to_owned()),
        "namespaces" => (!is_label(name)).then(|| LABEL.to_owned()),
        _ if name.len() > LONGEST => Some(format!("must be no more than {LONGEST} characters")),
        _ => (!is_subdomain(name)).then(|| SUBDOMAIN.to_owned()),
    };
    if let Some(words) = bad {
        causes.push(Cause::invalid("metadata.name", &json!(name), &words));
    }
}

pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| inner(*byte))
        && bytes.last().is_some_and(|byte| inner(*byte))
        && bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// Keys and values of a map of labels.
pub(super) fn labels(object: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (key, value) in pairs(object, path) {
        for words in bad_key(key) {
            causes.push(Cause::invalid(path, &json!(key), &words));
        }
        let value = value.as_str().unwrap_or_default();
        if value.len() > LONGEST_LABEL {
            let words = format!("must be no more than {LONGEST_LABEL} bytes");
            causes.push(Cause::invalid(path, &json!(value), &words));
        } else if !value.is_empty() && !is_name(value) {
            causes.push(Cause::invalid(path, &json!(value), VALUE));
        }
    }
}

fn pairs<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    get(object, path).and_then(Value::as_object).into_iter().flatten()
}

/// All that is wrong with a qualified name.
pub(super) fn bad_key(key: &str) -> Vec<String> {
    let (prefix, name) = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (None, *name),
        [prefix, name] => (Some(*prefix), *name),
        _ => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                KEY.trim_start_matches("name part ")
            )];
        }
    };
    let mut wrong = Vec::new();
    match prefix {
        Some("") => wrong.push("prefix part must be non-empty".to_owned()),
        Some(prefix) if !is_subdomain(prefix) => wrong.push(format!("prefix part {SUBDOMAIN}")),
        _ => {}
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LONGEST_LABEL {
        wrong.push(format!("name part must be no more than {LONGEST_LABEL} bytes"));
    }
    if !is_name(name) {
        wrong.push(KEY.to_owned());
    }
    wrong
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn owners(object: &Value, causes: &mut Vec<Cause>) {
    let owners = list(object, "metadata.ownerReferences");
    for owner in owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                let path = format!("metadata.ownerReferences.{field}");
                let words = if field == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                causes.push(Cause::invalid(&path, &json!(""), words));
            }
        }
    }
    let mut controllers = owners.iter().filter(|owner| flag(owner, "controller"));
    if let (Some(one), Some(other)) = (controllers.next(), controllers.next()) {
        let words = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            called(one),
            called(other)
        );
        let value: Value = owners.to_vec().into();
        causes.push(Cause::invalid("metadata.ownerReferences", &value, &words));
    }
}

fn called(owner: &Value) -> String {
    format!("{}/{}", text(owner, "kind"), text(owner, "name"))
}

fn finalizer_of(finalizer: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = finalizer.as_str().unwrap_or_default();
    let wrong = bad_key(name);
    for words in &wrong {
        causes.push(Cause::invalid(path, finalizer, words));
    }
    if wrong.is_empty()
        && !name.contains('/')
        && !matches!(name, "orphan" | "foregroundDeletion" | "kubernetes")
    {
        let words = "name is neither a standard finalizer name nor is it fully qualified";
        causes.push(Cause::invalid(path, finalizer, words));
    }
}
