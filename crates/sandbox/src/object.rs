//! Reading and writing fields of untyped objects by dotted paths. Owns no meaning: which fields there are is the callers'.

use serde_json::{Map, Value};
use std::sync::Arc;

/// A string that many objects share.
pub(crate) type Name = Arc<str>;

/// The value at a dotted path.
pub(crate) fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    keys(path).try_fold(value, |value, key| value.get(key))
}

/// The string at a path; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    get(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at a path.
pub(crate) fn int(value: &Value, path: &str) -> Option<i64> {
    get(value, path).and_then(Value::as_i64)
}

/// Whether the path holds `true`.
pub(crate) fn flag(value: &Value, path: &str) -> bool {
    get(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The items at a path; none when there is no list.
pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    get(value, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The items at a path, to change them.
pub(crate) fn list_mut<'a>(value: &'a mut Value, path: &str) -> &'a mut [Value] {
    path.split('.')
        .try_fold(value, |value, key| value.get_mut(key))
        .and_then(Value::as_array_mut)
        .map_or(&mut [], Vec::as_mut_slice)
}

/// The map at a path, made where it is missing.
pub(crate) fn map_mut<'a>(value: &'a mut Value, path: &str) -> &'a mut Map<String, Value> {
    let mut at = as_map(value);
    for key in keys(path).filter(|key| !key.is_empty()) {
        // A key is copied only where it is new: most are there.
        if !at.contains_key(key) {
            at.insert(key.to_owned(), Value::Null);
        }
        at = as_map(&mut at[key]);
    }
    at
}

/// Sets the value at a path, making the maps above it.
pub(crate) fn set(value: &mut Value, path: &str, to: impl Into<Value>) {
    let (above, key) = path.rsplit_once('.').unwrap_or(("", path));
    map_mut(value, above).insert(key.to_owned(), to.into());
}

/// Sets the value at a path where there is none.
pub(crate) fn default(value: &mut Value, path: &str, to: impl Into<Value>) {
    if get(value, path).is_none_or(Value::is_null) {
        set(value, path, to);
    }
}

/// Takes the value at a path away.
pub(crate) fn remove(value: &mut Value, path: &str) -> Option<Value> {
    let (above, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = value;
    for part in above.split('.').filter(|part| !part.is_empty()) {
        at = at.get_mut(part)?;
    }
    at.as_object_mut()?.remove(key)
}

/// An annotation.
pub(crate) fn annotation<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    get(value, "metadata.annotations")?.get(name)?.as_str()
}

/// A label.
pub(crate) fn label<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    get(value, "metadata.labels")?.get(name)?.as_str()
}

/// The owner that controls an object.
pub(crate) fn controller(value: &Value) -> Option<&Value> {
    list(value, "metadata.ownerReferences")
        .iter()
        .find(|owner| flag(owner, "controller"))
}

/// Whether somebody asked for the object's deletion.
pub(crate) fn terminating(value: &Value) -> bool {
    get(value, "metadata.deletionTimestamp").is_some()
}

/// The condition of a type.
pub(crate) fn condition<'a>(value: &'a Value, kind: &str) -> Option<&'a Value> {
    list(value, "status.conditions")
        .iter()
        .find(|condition| text(condition, "type") == kind)
}

/// Equal but for the fields that an empty value and a missing one say alike.
pub(crate) fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    fn empty(value: Option<&Value>) -> bool {
        match value {
            None | Some(Value::Null) => true,
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        }
    }
    one == other || (empty(one) && empty(other))
}

/// The keys of a path. They are a few bytes each, for which a loop is faster than the standard library's search.
fn keys(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let path = rest?;
        let (key, after) = match path.bytes().position(|byte| byte == b'.') {
            Some(dot) => (&path[..dot], Some(&path[dot + 1..])),
            None => (path, None),
        };
        rest = after;
        Some(key)
    })
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made a map above"),
    }
}
