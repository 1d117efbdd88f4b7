//! Patches: JSON patch, merge patch, strategic merge patch. Owns which is taken for which kind; writing the result is
//! `write`'s.

use super::status::{Outcome, Refusal};
use super::strategic;
use crate::kinds::Kind;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::Value;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// The object as a patch makes it.
pub(crate) fn patched(kind: &Kind, object: &Value, content_type: &str, body: &[u8]) -> Outcome<Value> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let mut object = object.clone();
    match media {
        JSON => operations(&mut object, body)?,
        MERGE => json_patch::merge(&mut object, &parsed(body)?),
        STRATEGIC if !kind.custom => strategic::merge(&mut object, &parsed(body)?)?,
        APPLY => return Err(Refusal::no_apply()),
        _ if kind.custom => return Err(Refusal::unsupported_media(&[JSON, MERGE, APPLY].join(", "))),
        _ => return Err(Refusal::unknown_patch()),
    }
    Ok(object)
}

/// A JSON patch, operation by operation.
fn operations(object: &mut Value, body: &[u8]) -> Outcome<()> {
    let unread = |error| Refusal::bad_request(format!("error decoding patch: {error}"));
    let read: Vec<serde_json::Map<String, Value>> = serde_json::from_slice(body).map_err(unread)?;
    let patch: Patch = serde_json::from_value(read.into_iter().map(Value::Object).collect())
        .map_err(|_| Refusal::unprocessable())?;
    for operation in patch.0 {
        let operation = match operation {
            // A real server takes a replacement of a field that is not there for an addition.
            PatchOperation::Replace(replace) if adds(object, &replace.path.to_string()) => {
                PatchOperation::Add(AddOperation {
                    path: replace.path,
                    value: replace.value,
                })
            }
            other => other,
        };
        json_patch::patch(object, &[operation]).map_err(|_| Refusal::unprocessable())?;
    }
    Ok(())
}

/// Whether the path names a field that is missing from a map that is there.
fn adds(object: &Value, path: &str) -> bool {
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    object.pointer(above).is_some_and(Value::is_object) && object.pointer(path).is_none()
}

fn parsed(body: &[u8]) -> Outcome<Value> {
    let patch: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("the patch cannot be read: {error}")))?;
    if patch.is_object() {
        Ok(patch)
    } else {
        Err(Refusal::bad_request("the patch is no JSON object"))
    }
}
