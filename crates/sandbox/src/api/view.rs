//! How objects go out: whole, metadata alone, or as a table. Owns the choice by the Accept header and the bytes; knows
//! nothing of requests' meaning.

use super::JSON;
use super::spelling;
use super::status::{MEDIA, Outcome, Refusal};
use super::table;
use crate::kinds::Kind;
use crate::managed::Managers;
use crate::object::text;
use crate::store::Kept;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The fields that say what an object is.
const TYPE: [&str; 2] = ["apiVersion", "kind"];
/// About so many bytes an object has besides its other fields.
const TYPED: usize = 80;

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
pub(crate) fn object(kind: &Kind, kept: &Kept, view: View, now: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::new();
    match view {
        View::Whole => whole(&mut bytes, &spelling::whole(kind, kept), true),
        View::Metadata => partial(&mut bytes, kept),
        View::Table => {
            let version = text(&kept.object, "metadata.resourceVersion");
            bytes = table::of(kind, &[kept], version, now).to_string().into_bytes();
        }
    }
    bytes
}

/// What a list tells of itself.
pub(crate) struct ListMeta {
    pub(crate) version: u64,
    pub(crate) more: Option<String>,
    pub(crate) remaining: Option<usize>,
}

/// A list as bytes.
pub(crate) fn list(kind: &Kind, items: &[&Kept], meta: &ListMeta, view: View, now: Timestamp) -> Vec<u8> {
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
    if view == View::Whole {
        bytes.reserve(items.iter().map(|item| item.text(fields).len() + TYPED).sum());
    }
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            bytes.push(b',');
        }
        match view {
            // Items of built-in lists do not say their kind again.
            View::Whole => whole(&mut bytes, &spelling::whole(kind, item), kind.custom),
            View::Metadata | View::Table => partial(&mut bytes, item),
        }
    }
    bytes.extend(b"]}");
    bytes
}

/// An object with those who manage its fields, with or without its type.
fn whole(bytes: &mut Vec<u8>, kept: &Kept, typed: bool) {
    let fields = kept.text(fields);
    bytes.reserve(fields.len() + TYPED);
    bytes.push(b'{');
    for name in TYPE.into_iter().filter(|_| typed) {
        if let Some(value) = kept.object.get(name) {
            named(bytes, name);
            put(bytes, value);
            bytes.push(b',');
        }
    }
    bytes.extend(fields);
    bytes.push(b'}');
}

/// The fields of an object but for its type, one after the other.
fn fields(kept: &Kept) -> Vec<u8> {
    let mut bytes = Vec::new();
    let fields = kept.object.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !TYPE.contains(&name.as_str())) {
        if !bytes.is_empty() {
            bytes.push(b',');
        }
        named(&mut bytes, name);
        if name == "metadata" {
            metadata(&mut bytes, value, &kept.managers);
        } else {
            put(&mut bytes, value);
        }
    }
    bytes
}

fn metadata(bytes: &mut Vec<u8>, metadata: &Value, managers: &Managers) {
    put(bytes, metadata);
    if managers.is_empty() || bytes.pop() != Some(b'}') {
        return;
    }
    if bytes.last() != Some(&b'{') {
        bytes.push(b',');
    }
    named(bytes, "managedFields");
    managers.write(bytes);
    bytes.push(b'}');
}

fn partial(bytes: &mut Vec<u8>, kept: &Kept) {
    bytes.extend(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":");
    metadata(bytes, &kept.object["metadata"], &kept.managers);
    bytes.push(b'}');
}

fn named(bytes: &mut Vec<u8>, name: &str) {
    put(bytes, &Value::from(name));
    bytes.push(b':');
}

fn put(bytes: &mut Vec<u8>, value: &Value) {
    // Writing JSON to memory cannot fail.
    let _ = serde_json::to_writer(bytes, value);
}

/// What an event of a watch shows.
pub(crate) fn event(kind: &Kind, name: &str, shown: &Kept, view: View, now: Timestamp) -> Vec<u8> {
    let mut line = format!("{{\"type\":{name:?},\"object\":").into_bytes();
    line.extend(object(kind, shown, view, now));
    line.extend(b"}\n");
    line
}
