//! What `-o json` and `-o yaml` print: one document with `apiVersion` and `kind`, keys in a fixed order. Owns the
//! envelope of public output, not what is in it.

use crate::envelope::API_VERSION;
use serde::Serialize;
use serde_json::{Map, Value};

/// The values of `kind` that commands print.
pub mod kind {
    /// `astern status`.
    pub const STATUS: &str = "Status";
    /// `astern releases`.
    pub const RELEASES: &str = "Releases";
    /// `astern releases record`, `show`, `mark`.
    pub const RELEASE: &str = "Release";
    /// `astern status --release`.
    pub const RELEASE_STATUS: &str = "ReleaseStatus";
    /// `astern check`.
    pub const CHECK: &str = "Check";
    /// `astern plan`.
    pub const PLAN: &str = "Plan";
    /// Any command that answers with a refusal.
    pub const REFUSAL: &str = "Refusal";
    /// `astern rollback`, `run`, `resume`, `attach`, `abort`, `undo`.
    pub const RUN: &str = "Run";
    /// `astern runs`.
    pub const RUN_LIST: &str = "RunList";
    /// `astern validate`.
    pub const VERDICT: &str = "Verdict";
    /// `astern report`.
    pub const REPORT: &str = "Report";
    /// `astern policy check`.
    pub const POLICY_CHECK: &str = "PolicyCheck";
}

/// The document of this kind. A map's keys stand beside `apiVersion` and `kind`; a list stands under `items`, as in
/// Kubernetes' own lists; what is neither, or has an `apiVersion` or `kind` of its own, stands under `value`.
pub fn document(kind: &str, value: &impl Serialize) -> Value {
    let value =
        serde_json::to_value(value).unwrap_or_else(|error| panic!("BUG: a {kind} has no JSON: {error}"));
    let mut map = match value {
        Value::Object(map) if !map.contains_key("apiVersion") && !map.contains_key("kind") => map,
        Value::Array(items) => one("items", Value::Array(items)),
        other => one("value", other),
    };
    map.insert("apiVersion".to_owned(), Value::from(API_VERSION));
    map.insert("kind".to_owned(), Value::from(kind));
    Value::Object(map)
}

/// Indented JSON with sorted keys, without a line end. The same value gives the same bytes.
pub fn to_json_text(document: &Value) -> String {
    format!("{:#}", sorted(document))
}

/// YAML with sorted keys, with a line end. Text that another YAML reader could take for something else is quoted.
pub fn to_yaml_text(document: &Value) -> String {
    // Long lines stay whole: folding is lost on whoever greps.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&sorted(document), options)
        .unwrap_or_else(|error| panic!("BUG: a document has no YAML: {error}"))
}

fn one(key: &str, value: Value) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert(key.to_owned(), value);
    map
}

/// The order of a map's keys in `serde_json` depends on a feature that any crate of the build may switch on; what is
/// printed must not.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::decision::Refusal;
    use proptest::prelude::*;
    use serde_json::json;

    fn refusal() -> Refusal {
        Refusal {
            code: "AST0101".to_owned(),
            summary: "nothing good is remembered: yes".to_owned(),
            details: vec!["yes".to_owned(), "1.0".to_owned(), "a\nb: c".to_owned()],
            choices: Vec::new(),
            ways_out: vec!["astern rollback --to deployment/api=image:v1.2.3".to_owned()],
        }
    }

    #[test]
    fn json_and_yaml_say_version_and_kind_and_keep_text_as_text() {
        let document = document(kind::REFUSAL, &refusal());
        insta::assert_snapshot!(to_json_text(&document), @r#"
        {
          "apiVersion": "astern.dev/v1alpha1",
          "choices": [],
          "code": "AST0101",
          "details": [
            "yes",
            "1.0",
            "a\nb: c"
          ],
          "kind": "Refusal",
          "summary": "nothing good is remembered: yes",
          "waysOut": [
            "astern rollback --to deployment/api=image:v1.2.3"
          ]
        }
        "#);
        insta::assert_snapshot!(to_yaml_text(&document), @r#"
        apiVersion: astern.dev/v1alpha1
        choices: []
        code: AST0101
        details:
        - "yes"
        - "1.0"
        - "a\nb: c"
        kind: Refusal
        summary: "nothing good is remembered: yes"
        waysOut:
        - astern rollback --to deployment/api=image:v1.2.3
        "#);
    }

    #[test]
    fn a_list_becomes_items_and_a_value_with_a_kind_of_its_own_is_not_overwritten() {
        let check = |value: Value, expected: Value| assert_eq!(document("X", &value), expected);
        check(
            json!([1]),
            json!({"apiVersion": API_VERSION, "kind": "X", "items": [1]}),
        );
        check(
            json!({"kind": "restored"}),
            json!({"apiVersion": API_VERSION, "kind": "X", "value": {"kind": "restored"}}),
        );
        check(
            json!(null),
            json!({"apiVersion": API_VERSION, "kind": "X", "value": null}),
        );
    }

    proptest! {
        #[test]
        fn printed_yaml_says_the_same_as_printed_json(
            text in any::<String>(),
            word in prop::sample::select(vec!["yes", "no", "~", "null", "0x10", "1e3", "-", "? a", "# b", ": c", "2026-11-23", "a: b", " x", "x ", "\n", "---", "", "*a", "&a", "!a", "%a", "@a", "`a", "|", ">", "[a", "{a", ".inf"]),
            number in any::<f64>(),
            integer in any::<i64>(),
        ) {
            let number = if number.is_finite() { number } else { 0.5 };
            let document = document("X", &json!({
                text.clone(): word, "a": [text.clone(), word, number, integer, null, true, {}, []], "b": {word: {"c": text}},
            }));
            let yaml: Value = serde_saphyr::from_str(&to_yaml_text(&document))
                .map_err(|error| TestCaseError::fail(format!("{error}\n{}", to_yaml_text(&document))))?;
            let json: Value = serde_json::from_str(&to_json_text(&document)).unwrap();
            prop_assert_eq!(&json, &document);
            prop_assert_eq!(&yaml, &document);
        }
    }
}
