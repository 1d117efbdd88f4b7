//! Patches: JSON patch, merge patch, strategic merge patch. Owns which is taken for which kind; writing the result is
//! `write`'s.

use super::status::{Outcome, Refusal};
use super::strategic;
use crate::kinds::Kind;
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
        JSON => {
            let patch: json_patch::Patch = serde_json::from_slice(body)
                .map_err(|error| Refusal::bad_request(format!("the patch cannot be read: {error}")))?;
            json_patch::patch(&mut object, &patch).map_err(|_| Refusal::unprocessable())?;
        }
        MERGE => json_patch::merge(&mut object, &parsed(body)?),
        STRATEGIC if !kind.custom => strategic::merge(&mut object, &parsed(body)?)?,
        APPLY => return Err(Refusal::no_apply()),
        _ if kind.custom => return Err(Refusal::unsupported_media(&[JSON, MERGE, APPLY])),
        _ => return Err(Refusal::unknown_patch()),
    }
    Ok(object)
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
