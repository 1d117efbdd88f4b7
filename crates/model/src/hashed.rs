//! Names that carry a hash of what the object holds, as kustomize makes them: such a name stands for one content alone.
//! Source: `api/hasher` of <https://github.com/kubernetes-sigs/kustomize>.

use crate::id::hex;
use crate::template::canonical;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The length of the hash behind a name.
const LENGTH: usize = 10;
/// Its alphabet: hexadecimal digits with vowels and what looks like them replaced.
const ALPHABET: &str = "bcdfghkmt2456789";
/// What is replaced, and by what.
const REPLACED: [(char, char); 5] = [('0', 'g'), ('1', 'h'), ('3', 'k'), ('a', 'm'), ('e', 't')];

/// A name taken apart into that of its generator and the hash; none where it has none.
pub fn parts(name: &str) -> Option<(&str, &str)> {
    let (stem, hash) = name.rsplit_once('-')?;
    let hashed = hash.len() == LENGTH && hash.chars().all(|letter| ALPHABET.contains(letter));
    (hashed && !stem.is_empty()).then_some((stem, hash))
}

/// The name that kustomize gives a ConfigMap: its generator's and a hash of the ConfigMap's `data` and `binaryData`. This is what
/// kustomize does since its version 4, in kubectl and in Flux too.
pub fn name(stem: &str, object: &Value) -> String {
    named(stem, "", object)
}

/// The name whose hash is made with this one: older versions take the generator's into it.
fn named(stem: &str, with: &str, object: &Value) -> String {
    let field = |name: &str| {
        object
            .get(name)
            .filter(|held| held.as_object().is_some_and(|held| !held.is_empty()))
    };
    let mut hashed = Map::new();
    hashed.insert("kind".to_owned(), Value::from("ConfigMap"));
    hashed.insert("name".to_owned(), Value::from(with));
    let data = field("data").cloned().unwrap_or_else(|| Value::from(""));
    hashed.insert("data".to_owned(), data);
    hashed.extend(field("binaryData").map(|held| ("binaryData".to_owned(), held.clone())));
    // As Go's JSON writes it: what HTML would read otherwise is escaped.
    let text: String = canonical(&Value::Object(hashed))
        .chars()
        .map(|letter| match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(letter)),
            other => other.to_string(),
        })
        .collect();
    let hash = hex(&Sha256::digest(text.as_bytes()));
    let readable = |digit: char| {
        let replaced = REPLACED.iter().find(|(from, _)| *from == digit);
        replaced.map_or(digit, |(_, to)| *to)
    };
    let hash: String = hash.chars().take(LENGTH).map(readable).collect();
    format!("{stem}-{hash}")
}

/// Whether a ConfigMap's name carries the hash of what it holds, as any version of kustomize makes it.
pub fn is_of(object_name: &str, object: &Value) -> bool {
    parts(object_name).is_some_and(|(stem, _)| {
        ["", stem]
            .iter()
            .any(|with| named(stem, with, object) == object_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_those_that_kustomize_gives() {
        // Of kustomize's own tests, where the generator has no name.
        let check = |object: Value, hash: &str| assert_eq!(name("", &object), format!("-{hash}"));
        check(json!({}), "6ct58987ht");
        check(json!({"data": {}}), "6ct58987ht");
        check(json!({"data": {"one": ""}}), "9g67k2htb6");
        check(json!({"binaryData": {"one": ""}}), "6mtk2m274t");
        check(
            json!({"data": {"one": ""}, "binaryData": {"two": ""}}),
            "698h7c7t9m",
        );
    }

    #[test]
    fn a_name_is_known_whichever_version_of_kustomize_made_it() {
        // Of <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/kustomization/>, which shows both.
        let object = json!({"data": {"FOO": "Bar"}});
        assert!(is_of("example-configmap-1-42cfbf598f", &object));
        assert!(is_of("example-configmap-2-g2hdhfc6tk", &object));
        assert_eq!(
            name("example-configmap-1", &object),
            "example-configmap-1-42cfbf598f"
        );
        // As the real kustomize-controller names it.
        assert_eq!(
            name("settings", &json!({"data": {"LEVEL": "info"}})),
            "settings-2748f727mg"
        );
    }

    #[test]
    fn a_name_stands_for_one_content() {
        let object = json!({"data": {"HINT": "a < b && c > d", "MODE": "calm"}});
        let made = name("app-config", &object);
        assert_eq!(parts(&made).map(|(stem, _)| stem), Some("app-config"));
        assert!(is_of(&made, &object));
        assert!(!is_of(&made, &json!({"data": {"MODE": "storm"}})));
        assert!(!is_of("app-config", &object));
        assert_eq!(parts("app-config-2024-storm"), None);
    }
}
