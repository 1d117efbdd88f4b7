//! How objects go out: whole, metadata alone, or as a table. Owns the choice by the Accept header and the bytes; knows
//! nothing of requests' meaning.

use super::JSON;
use super::status::{MEDIA, Outcome, Refusal};
use super::table;
use crate::kinds::Kind;
use crate::object::text;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What the client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Whole,
    Metadata,
    Table,
}

impl View {
    /// The first of the Accept header that can be given.
    pub(crate) fn chosen(accept: &str) -> Outcome<Self> {
        if accept.trim().is_empty() {
            return Ok(Self::Whole);
        }
        let known = |media: &str| {
            let (kind, parameters) = media.split_once(';').unwrap_or((media, ""));
            if !matches!(kind.trim(), "application/json" | "*/*" | "application/*") {
                return None;
            }
            let parameter = |name: &str| {
                parameters
                    .split(';')
                    .find_map(|each| each.trim().strip_prefix(name)?.strip_prefix('='))
            };
            match (parameter("as"), parameter("v")) {
                (None, _) => Some(Self::Whole),
                (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("v1")) => {
                    Some(Self::Metadata)
                }
                (Some("Table"), Some("v1")) => Some(Self::Table),
                _ => None,
            }
        };
        accept
            .split(',')
            .find_map(|media| known(media.trim()))
            .ok_or_else(|| {
                if accept.contains(JSON) {
                    Refusal::no_such_view()
                } else {
                    Refusal::not_acceptable(MEDIA)
                }
            })
    }

    /// The same of a collection, which can be watched as well.
    pub(crate) fn of_many(accept: &str) -> Outcome<Self> {
        Self::chosen(accept).map_err(|refusal| {
            if accept.contains(JSON) {
                refusal
            } else {
                let streams =
                    "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
                Refusal::not_acceptable(&format!("{MEDIA}, {streams}"))
            }
        })
    }
}

/// One object as bytes.
pub(crate) fn object(kind: &Kind, object: &Value, view: View, now: Timestamp) -> Vec<u8> {
    match view {
        View::Whole => serde_json::to_vec(object).unwrap_or_default(),
        View::Metadata => partial(object).to_string().into_bytes(),
        View::Table => table::of(kind, &[object], text(object, "metadata.resourceVersion"), now)
            .to_string()
            .into_bytes(),
    }
}

/// What a list tells of itself.
pub(crate) struct ListMeta {
    pub(crate) version: u64,
    pub(crate) more: Option<String>,
    pub(crate) remaining: Option<usize>,
}

/// A list as bytes.
pub(crate) fn list(kind: &Kind, items: &[&Value], meta: &ListMeta, view: View, now: Timestamp) -> Vec<u8> {
    let mut metadata = json!({"resourceVersion": meta.version.to_string()});
    if let Some(more) = &meta.more {
        metadata["continue"] = more.clone().into();
    }
    if let Some(remaining) = meta.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    let (api_version, name) = match view {
        View::Whole => (kind.api_version(), format!("{}List", kind.kind)),
        View::Metadata => (
            "meta.k8s.io/v1".to_owned(),
            "PartialObjectMetadataList".to_owned(),
        ),
        View::Table => {
            let mut table = table::of(kind, items, "", now);
            table["metadata"] = metadata;
            return table.to_string().into_bytes();
        }
    };
    let head =
        format!("{{\"kind\":{name:?},\"apiVersion\":{api_version:?},\"metadata\":{metadata},\"items\":[");
    let mut bytes = head.into_bytes();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            bytes.push(b',');
        }
        match view {
            View::Whole if kind.custom => bytes.extend(serde_json::to_vec(item).unwrap_or_default()),
            View::Whole => untyped(&mut bytes, item),
            View::Metadata | View::Table => bytes.extend(partial(item).to_string().into_bytes()),
        }
    }
    bytes.extend(b"]}");
    bytes
}

/// Items of built-in lists do not say their kind again.
fn untyped(bytes: &mut Vec<u8>, item: &Value) {
    bytes.push(b'{');
    let fields = item.as_object().into_iter().flatten();
    let mut first = true;
    for (name, value) in fields.filter(|(name, _)| !matches!(name.as_str(), "kind" | "apiVersion")) {
        if !first {
            bytes.push(b',');
        }
        first = false;
        bytes.extend(Value::from(name.as_str()).to_string().into_bytes());
        bytes.push(b':');
        bytes.extend(serde_json::to_vec(value).unwrap_or_default());
    }
    bytes.push(b'}');
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

/// What an event of a watch shows.
pub(crate) fn event(kind: &Kind, name: &str, shown: &Value, view: View, now: Timestamp) -> Vec<u8> {
    let mut line = format!("{{\"type\":{name:?},\"object\":").into_bytes();
    line.extend(object(kind, shown, view, now));
    line.extend(b"}\n");
    line
}
