//! The types of the fields that people get wrong: a text where a number belongs is refused before anything looks at the
//! object. Owns the table; fields that are not in it are stored as they come.

use super::status::{Outcome, Refusal};
use crate::kinds::Kind;
use crate::object::get;
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde_json::Value;

/// What a field may hold.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Whole,
    Flag,
    /// Texts by key.
    Texts,
    /// Encoded bytes by key.
    Bytes,
}

/// A field of a kind, or of all, and the structure that a real server's words name.
type Row = (&'static str, &'static str, &'static str, Type);

const TABLE: [Row; 22] = [
    ("", "metadata.name", "ObjectMeta", Type::Text),
    ("", "metadata.namespace", "ObjectMeta", Type::Text),
    ("", "metadata.generateName", "ObjectMeta", Type::Text),
    ("", "metadata.labels", "ObjectMeta", Type::Texts),
    ("", "metadata.annotations", "ObjectMeta", Type::Texts),
    ("configmaps", "data", "ConfigMap", Type::Texts),
    ("secrets", "stringData", "Secret", Type::Texts),
    ("secrets", "data", "Secret", Type::Bytes),
    ("deployments.apps", "spec.replicas", "DeploymentSpec", Type::Whole),
    ("deployments.apps", "spec.paused", "DeploymentSpec", Type::Flag),
    (
        "deployments.apps",
        "spec.minReadySeconds",
        "DeploymentSpec",
        Type::Whole,
    ),
    (
        "deployments.apps",
        "spec.revisionHistoryLimit",
        "DeploymentSpec",
        Type::Whole,
    ),
    (
        "deployments.apps",
        "spec.progressDeadlineSeconds",
        "DeploymentSpec",
        Type::Whole,
    ),
    ("replicasets.apps", "spec.replicas", "ReplicaSetSpec", Type::Whole),
    (
        "statefulsets.apps",
        "spec.replicas",
        "StatefulSetSpec",
        Type::Whole,
    ),
    (
        "statefulsets.apps",
        "spec.minReadySeconds",
        "StatefulSetSpec",
        Type::Whole,
    ),
    (
        "statefulsets.apps",
        "spec.revisionHistoryLimit",
        "StatefulSetSpec",
        Type::Whole,
    ),
    (
        "daemonsets.apps",
        "spec.minReadySeconds",
        "DaemonSetSpec",
        Type::Whole,
    ),
    (
        "daemonsets.apps",
        "spec.revisionHistoryLimit",
        "DaemonSetSpec",
        Type::Whole,
    ),
    ("jobs.batch", "spec.parallelism", "JobSpec", Type::Whole),
    ("jobs.batch", "spec.completions", "JobSpec", Type::Whole),
    ("jobs.batch", "spec.backoffLimit", "JobSpec", Type::Whole),
];

/// Whether the fields of the table hold what they may.
pub(crate) fn check(kind: &Kind, object: &Value) -> Outcome<()> {
    wrong(kind, object).map_or(Ok(()), |why| {
        Err(Refusal::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {name}: {why}",
            name = kind.kind,
            version = &*kind.version,
        )))
    })
}

/// What is wrong with the first field that is.
pub(super) fn wrong(kind: &Kind, object: &Value) -> Option<String> {
    let resource = kind.resource();
    let rows = TABLE.iter().filter(|(of, ..)| of.is_empty() || *of == &*resource);
    for (_, path, structure, wanted) in rows {
        let Some(value) = get(object, path).filter(|value| !value.is_null()) else {
            continue;
        };
        if let Some((got, wanted)) = mismatch(value, *wanted) {
            return Some(format!(
                "json: cannot unmarshal {got} into Go struct field {structure}.{path} of type {wanted}"
            ));
        }
        if matches!(wanted, Type::Bytes)
            && let Some(at) = value
                .as_object()
                .into_iter()
                .flatten()
                .find_map(|(_, value)| undecodable(value))
        {
            return Some(format!("illegal base64 data at input byte {at}"));
        }
    }
    let pod = ["spec.template.spec", "spec"]
        .into_iter()
        .find(|path| get(object, &format!("{path}.containers")).is_some())?;
    amounts(object, pod)
}

fn amounts(object: &Value, pod: &str) -> Option<String> {
    const WORDS: &str =
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let unread = ["containers", "initContainers"].into_iter().any(|field| {
        crate::object::list(object, &format!("{pod}.{field}"))
            .iter()
            .any(|container| {
                ["resources.requests", "resources.limits"]
                    .into_iter()
                    .any(|path| {
                        let amounts = get(container, path).and_then(Value::as_object);
                        amounts
                            .into_iter()
                            .flatten()
                            .any(|(_, amount)| !is_amount(amount))
                    })
            })
    });
    unread.then(|| WORDS.to_owned())
}

/// Digits, then what may be a suffix or an exponent.
fn is_amount(value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return value.is_number();
    };
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let rest = unsigned.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let suffix = rest.trim_start_matches(|letter| "eEinumkKMGTP".contains(letter));
    let exponent = suffix.strip_prefix(['+', '-']).unwrap_or(suffix);
    rest.len() < unsigned.len() && exponent.bytes().all(|byte| byte.is_ascii_digit())
}

/// What there is and what was wanted, where they are not the same.
fn mismatch(value: &Value, wanted: Type) -> Option<(String, &'static str)> {
    let fits = match wanted {
        Type::Text => value.is_string(),
        Type::Whole => value.is_i64() || value.is_u64(),
        Type::Flag => value.is_boolean(),
        Type::Texts | Type::Bytes => value.is_object(),
    };
    if !fits {
        let name = match wanted {
            Type::Text => "string",
            Type::Whole => "int32",
            Type::Flag => "bool",
            Type::Texts => "map[string]string",
            Type::Bytes => "map[string][]uint8",
        };
        return Some((called(value, matches!(wanted, Type::Whole)), name));
    }
    let inner = value
        .as_object()
        .into_iter()
        .flatten()
        .find(|(_, value)| !value.is_string() && !value.is_null());
    inner.map(|(_, value)| {
        let name = if matches!(wanted, Type::Bytes) {
            "[]uint8"
        } else {
            "string"
        };
        (called(value, false), name)
    })
}

fn called(value: &Value, exactly: bool) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if exactly => format!("number {number}"),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// As a real server reads base64: bits after the last byte mean nothing.
const READ: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The same bytes as a real server writes them, where a client wrote them otherwise.
pub(super) fn canonical_bytes(text: &str) -> Option<String> {
    if STANDARD.decode(text).is_ok() {
        return None;
    }
    Some(STANDARD.encode(READ.decode(text).ok()?))
}

/// Where a text stops to be base64.
fn undecodable(value: &Value) -> Option<usize> {
    match READ.decode(value.as_str().unwrap_or_default()) {
        Ok(_) => None,
        Err(base64::DecodeError::InvalidByte(at, _)) => Some(at),
        Err(_) => Some(value.as_str().unwrap_or_default().len()),
    }
}
