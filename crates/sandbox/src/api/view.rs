//! How objects go out: whole, metadata alone, or as a table. Owns the choice by the Accept header and the bytes; knows
//! nothing of requests' meaning.

use super::JSON;
use super::status::{MEDIA, Outcome, Refusal};
use super::table;
use crate::kinds::Kind;
use crate::object::text;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
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
        View::Whole => written(object),
        View::Metadata => written(&Partial::of(object)),
        View::Table => written(&table::of(
            kind,
            &[object],
            text(object, "metadata.resourceVersion"),
            now,
        )),
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
            return written(&table);
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
            View::Whole if kind.custom => write(&mut bytes, item),
            View::Whole => write(&mut bytes, &Untyped(item)),
            View::Metadata | View::Table => write(&mut bytes, &Partial::of(item)),
        }
    }
    bytes.extend(b"]}");
    bytes
}

/// Items of built-in lists do not say their kind again.
struct Untyped<'a>(&'a Value);

impl Serialize for Untyped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.as_object().into_iter().flatten();
        serializer.collect_map(fields.filter(|(name, _)| !matches!(name.as_str(), "kind" | "apiVersion")))
    }
}

/// An object without what it is asked for and what it is, in the order in which a sorted map has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Partial<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Option<&'a Value>,
}

impl<'a> Partial<'a> {
    fn of(object: &'a Value) -> Self {
        Self {
            api_version: "meta.k8s.io/v1",
            kind: "PartialObjectMetadata",
            metadata: object.get("metadata"),
        }
    }
}

fn written(json: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, json);
    bytes
}

fn write(bytes: &mut Vec<u8>, json: &impl Serialize) {
    // A vector takes every byte, and JSON that was read has a text.
    let _ = serde_json::to_writer(bytes, json);
}

/// What an event of a watch shows.
pub(crate) fn event(kind: &Kind, name: &str, shown: &Value, view: View, now: Timestamp) -> Vec<u8> {
    let mut line = format!("{{\"type\":{name:?},\"object\":").into_bytes();
    line.extend(object(kind, shown, view, now));
    line.extend(b"}\n");
    line
}
