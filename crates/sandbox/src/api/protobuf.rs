//! Bodies in protobuf, which `kubectl create` sends for built-in kinds whether or not the server takes them. Owns reading
//! the few kinds that are made of names, labels and data; others are refused with what to do instead.

use super::status::{Outcome, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

pub(super) const MEDIA: &str = "application/vnd.kubernetes.protobuf";

/// What every such body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// What a field of a message holds.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Flag,
    Number,
    /// One more text of a list.
    Item,
    Texts,
    /// A map to bytes.
    Data,
    Message(Fields),
    /// What a server does not take from a client.
    Ignored,
}

type Fields = &'static [(u64, &'static str, Shape)];

const METADATA: Fields = &[
    (1, "name", Shape::Text),
    (2, "generateName", Shape::Text),
    (3, "namespace", Shape::Text),
    (4, "selfLink", Shape::Ignored),
    (5, "uid", Shape::Ignored),
    (6, "resourceVersion", Shape::Ignored),
    (7, "generation", Shape::Ignored),
    (8, "creationTimestamp", Shape::Ignored),
    (11, "labels", Shape::Texts),
    (12, "annotations", Shape::Texts),
];

const DELETE_OPTIONS: Fields = &[
    (1, "gracePeriodSeconds", Shape::Number),
    (
        2,
        "preconditions",
        Shape::Message(&[(1, "uid", Shape::Text), (2, "resourceVersion", Shape::Text)]),
    ),
    (3, "orphanDependents", Shape::Flag),
    (4, "propagationPolicy", Shape::Text),
    (5, "dryRun", Shape::Item),
];

const ACCESS: Fields = &[
    (
        1,
        "resourceAttributes",
        Shape::Message(&[
            (1, "namespace", Shape::Text),
            (2, "verb", Shape::Text),
            (3, "group", Shape::Text),
            (4, "version", Shape::Text),
            (5, "resource", Shape::Text),
            (6, "subresource", Shape::Text),
            (7, "name", Shape::Text),
        ]),
    ),
    (
        2,
        "nonResourceAttributes",
        Shape::Message(&[(1, "path", Shape::Text), (2, "verb", Shape::Text)]),
    ),
];

const KINDS: [(&str, Fields); 8] = [
    ("DeleteOptions", DELETE_OPTIONS),
    (
        "SelfSubjectAccessReview",
        &[
            (1, "metadata", Shape::Message(METADATA)),
            (2, "spec", Shape::Message(ACCESS)),
            (3, "status", Shape::Ignored),
        ],
    ),
    (
        "SelfSubjectRulesReview",
        &[
            (1, "metadata", Shape::Message(METADATA)),
            (2, "spec", Shape::Message(&[(1, "namespace", Shape::Text)])),
            (3, "status", Shape::Ignored),
        ],
    ),
    (
        "SelfSubjectReview",
        &[
            (1, "metadata", Shape::Message(METADATA)),
            (2, "status", Shape::Ignored),
        ],
    ),
    (
        "Namespace",
        &[
            (1, "metadata", Shape::Message(METADATA)),
            (2, "spec", Shape::Ignored),
            (3, "status", Shape::Ignored),
        ],
    ),
    ("ServiceAccount", &[(1, "metadata", Shape::Message(METADATA))]),
    (
        "ConfigMap",
        &[
            (1, "metadata", Shape::Message(METADATA)),
            (2, "data", Shape::Texts),
            (3, "binaryData", Shape::Data),
            (4, "immutable", Shape::Flag),
        ],
    ),
    (
        "Secret",
        &[
            (1, "metadata", Shape::Message(METADATA)),
            (2, "data", Shape::Data),
            (3, "type", Shape::Text),
            (4, "stringData", Shape::Texts),
            (5, "immutable", Shape::Flag),
        ],
    ),
];

/// The object in a body.
pub(super) fn read(body: &[u8]) -> Outcome<Value> {
    let broken = || Refusal::bad_request("the body of the request is no protobuf of Kubernetes");
    let envelope = body.strip_prefix(MAGIC).and_then(fields).ok_or_else(broken)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in envelope {
        match (field.number, field.payload) {
            (1, Payload::Bytes(bytes)) => {
                for field in fields(bytes).ok_or_else(broken)? {
                    match (field.number, field.payload) {
                        (1, Payload::Bytes(bytes)) => api_version = text(bytes),
                        (2, Payload::Bytes(bytes)) => kind = text(bytes),
                        _ => {}
                    }
                }
            }
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let known = KINDS
        .iter()
        .find(|(each, _)| *each == kind)
        .map(|(_, shape)| *shape);
    let object = known.and_then(|known| message(raw, known));
    let Some(mut object) = object else {
        return Err(Refusal::unsupported_media("application/json").explained(&format!(
            "the sandbox does not read a {kind} in protobuf; send JSON, as with kubectl create … --dry-run=client \
             -o yaml | kubectl apply -f -"
        )));
    };
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

/// A message by its fields; none when it says something that is not known here.
fn message(bytes: &[u8], known: Fields) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    for field in fields(bytes)? {
        // Go writes empty strings and messages where there is nothing.
        let empty = matches!(field.payload, Payload::Bytes([]) | Payload::Number(0));
        let Some((_, name, shape)) = known.iter().find(|(number, ..)| *number == field.number) else {
            if empty {
                continue;
            }
            return None;
        };
        let value = match (shape, field.payload) {
            (Shape::Ignored, _) => continue,
            (Shape::Flag, Payload::Number(number)) => json!(number != 0),
            // Negative numbers are written as the large ones that have the same bits.
            (Shape::Number, Payload::Number(number)) => json!(number.cast_signed()),
            _ if empty => continue,
            (Shape::Text, Payload::Bytes(bytes)) => text(bytes).into(),
            (Shape::Message(known), Payload::Bytes(bytes)) => Value::Object(message(bytes, known)?),
            (Shape::Item, Payload::Bytes(bytes)) => {
                let list = object.entry(*name).or_insert_with(|| json!([]));
                list.as_array_mut()?.push(text(bytes).into());
                continue;
            }
            (Shape::Texts | Shape::Data, Payload::Bytes(bytes)) => {
                let (key, value) = entry(bytes)?;
                let value = match shape {
                    Shape::Data => STANDARD.encode(value),
                    _ => text(value),
                };
                let map = object.entry(*name).or_insert_with(|| json!({}));
                map[key] = value.into();
                continue;
            }
            _ => return None,
        };
        object.insert((*name).to_owned(), value);
    }
    Some(object)
}

/// A key and a value of a map.
fn entry(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (mut key, mut value) = (String::new(), &[][..]);
    for field in fields(bytes)? {
        match (field.number, field.payload) {
            (1, Payload::Bytes(bytes)) => key = text(bytes),
            (2, Payload::Bytes(bytes)) => value = bytes,
            _ => return None,
        }
    }
    Some((key, value))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Field<'a> {
    number: u64,
    payload: Payload<'a>,
}

#[derive(Clone, Copy)]
enum Payload<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in their order; none when it is cut short or of a make that these kinds have not.
fn fields(mut bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    const NUMBER: u64 = 0;
    const BYTES: u64 = 2;
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        let payload = match tag & 7 {
            NUMBER => Payload::Number(number(&mut bytes)?),
            BYTES => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                let (head, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Payload::Bytes(head)
            }
            _ => return None,
        };
        found.push(Field {
            number: tag >> 3,
            payload,
        });
    }
    Some(found)
}

/// Seven bits a byte, the lowest first.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(kind: &str, raw: &[u8]) -> Vec<u8> {
        let field = |number: u8, bytes: &[u8]| {
            let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
            field.extend(bytes);
            field
        };
        let meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    #[test]
    fn a_config_map_is_read() {
        let metadata = b"\x0a\x0b\x0a\x01a\x12\x00\x1a\x00\x42\x00\x38\x00";
        let data = b"\x12\x06\x0a\x01k\x12\x01v";
        let read = read(&wrapped("ConfigMap", &[&metadata[..], data].concat())).unwrap();
        let expected =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
        assert_eq!(read, expected);
    }

    #[test]
    fn options_of_a_deletion_are_read() {
        let options = b"\x08\x00\x12\x05\x0a\x03u-1\x22\x0aForeground";
        let expected = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": "u-1"},
            "propagationPolicy": "Foreground",
        });
        assert_eq!(read(&wrapped("DeleteOptions", options)).unwrap(), expected);
    }

    #[test]
    fn what_is_not_known_is_refused_and_never_half_read() {
        let refused = read(&wrapped("Deployment", b"")).unwrap_err();
        assert_eq!(refused.code, 415);
        assert!(
            refused
                .message
                .starts_with("the sandbox does not read a Deployment in protobuf")
        );
        assert!(read(&wrapped("ConfigMap", b"\x7a\x01x")).is_err());
        assert!(read(&wrapped("ConfigMap", b"\x0a\x7f")).is_err());
        assert!(read(b"{}").is_err());
    }
}
