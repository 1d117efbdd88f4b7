//! A server's words about manifests, without the values of these that no difference shows: it may quote what it refuses.

use crate::diff::hidden_in;
use serde_json::Value;
use std::collections::BTreeSet;

/// A shorter value, such as `80`, is a part of many words, so it counts only as a word of its own.
const SHORTEST: usize = 4;

/// What stands in the place of a value.
const NOT_SHOWN: &str = "(a value that is not shown)";

/// The message without what literal env values and the like say in any of these, quoted or not.
pub fn without_values<'a>(message: &str, all: impl IntoIterator<Item = &'a Value>) -> String {
    let mut values = BTreeSet::new();
    for one in all {
        for text in hidden_in(std::iter::once(one)) {
            // A list of arguments, or a value that is JSON: its parts may be quoted alone.
            if let Ok(parts @ (Value::Array(_) | Value::Object(_))) = serde_json::from_str(&text) {
                quoted(&parts, &mut values);
            }
            quoted(&Value::from(text), &mut values);
        }
        literals(one, &mut values);
    }
    let mut shown = String::new();
    let mut rest = message;
    while let Some(next) = rest.chars().next() {
        let alone = |end: &str| !joins(shown.chars().last()) && !joins(end.chars().next());
        let stands = |value: &&String| {
            let end = rest.strip_prefix(value.as_str());
            end.is_some_and(|end| value.len() >= SHORTEST || alone(end))
        };
        match values.iter().filter(stands).max_by_key(|value| value.len()) {
            Some(value) => {
                shown.push_str(NOT_SHOWN);
                rest = &rest[value.len()..];
            }
            None => {
                shown.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    shown
}

/// Whether a character before or after a word makes another word of it.
fn joins(beside: Option<char>) -> bool {
    beside.is_some_and(char::is_alphanumeric)
}

/// Env values of manifests that are no text, as a server that wants text may quote them.
fn literals(json: &Value, values: &mut BTreeSet<String>) {
    match json {
        Value::Object(map) => {
            for (field, below) in map {
                match (field.as_str(), below) {
                    ("env" | "httpHeaders", Value::Array(entries)) => entries
                        .iter()
                        .filter_map(|entry| entry.get("value"))
                        .for_each(|value| quoted(value, values)),
                    _ => literals(below, values),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|below| literals(below, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The ways in which a server may write a value.
fn quoted(value: &Value, values: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.values().for_each(|below| quoted(below, values)),
        Value::Array(list) => list.iter().for_each(|below| quoted(below, values)),
        Value::String(text) => {
            let json = value.to_string();
            let lines = text.lines().filter(|line| line.len() >= SHORTEST);
            let whole = [text.as_str(), &json[1..json.len() - 1]];
            let ways = lines.chain(whole).filter(|way| !way.trim().is_empty());
            values.extend(ways.map(str::to_owned));
        }
        Value::Number(number) => {
            let json = number.to_string();
            // Go writes `1e+21` and `5` for JSON's `1e21` and `5.0`.
            values.extend([json.replace('e', "e+"), json.replace(".0", ""), json]);
        }
        Value::Bool(_) => values.extend([value.to_string()]),
        Value::Null => {}
    }
}
