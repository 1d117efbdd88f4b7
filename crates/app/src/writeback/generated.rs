//! ConfigMaps whose names carry a hash of what they hold: the repository knows them by their stem, and a template that changed its
//! reference alone says there that the content changed. Decides only.

use astern_model::source::WorkloadRevert;
use astern_model::template::Template;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What kustomize puts behind a generated name: a hyphen and ten characters.
/// Source: <https://github.com/kubernetes-sigs/kustomize/blob/master/api/hasher/hasher.go>.
const HASH: usize = 10;

/// The fields of a template that name a ConfigMap.
const NAMES: [&str; 3] = ["configMapRef", "configMapKeyRef", "configMap"];

/// A generated ConfigMap that a run exchanged for an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Exchanged {
    /// The name of the bad one.
    pub(super) from: String,
    /// The name of the good one.
    pub(super) to: String,
}

/// The ConfigMaps that these templates exchanged. Where a stem leads to several, none of them is taken for another.
pub(super) fn exchanged(reverts: &[WorkloadRevert]) -> BTreeSet<Exchanged> {
    let mut found = BTreeSet::new();
    for revert in reverts {
        let (before, after) = (names(&revert.from), names(&revert.to));
        let gone = by_stem(before.difference(&after));
        let come = by_stem(after.difference(&before));
        for (stem, from) in &gone {
            if let ([from], Some([to])) = (from.as_slice(), come.get(stem).map(Vec::as_slice)) {
                found.insert(Exchanged {
                    from: (*from).clone(),
                    to: (*to).clone(),
                });
            }
        }
    }
    found
}

/// The bad template with the good names: what is left to differ is the template's own.
pub(super) fn with_names_of_then(template: &Template, exchanged: &BTreeSet<Exchanged>) -> Template {
    let mut json = template.json().clone();
    rename(&mut json, exchanged);
    Template::clean(json)
}

/// Whether a template reads this ConfigMap, or one from the same generator.
pub(super) fn reads(template: &Template, name: &str) -> bool {
    let stem = stem(name);
    names(template)
        .iter()
        .any(|other| other == name || stem.is_some() && self::stem(other) == stem)
}

/// A generated name without its hash.
fn stem(name: &str) -> Option<&str> {
    let (stem, hash) = name.rsplit_once('-')?;
    let hashed = hash.len() == HASH && hash.bytes().all(|b| b.is_ascii_alphanumeric());
    (hashed && !stem.is_empty()).then_some(stem)
}

fn names(template: &Template) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(template.json(), &mut found);
    found
}

fn collect(json: &Value, found: &mut BTreeSet<String>) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let (true, Some(name)) = (NAMES.contains(&key.as_str()), value["name"].as_str()) {
                    found.insert(name.to_owned());
                }
                collect(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

fn rename(json: &mut Value, exchanged: &BTreeSet<Exchanged>) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                if NAMES.contains(&key.as_str())
                    && let Some(name) = value.get_mut("name")
                    && let Some(pair) = exchanged.iter().find(|pair| *name == pair.from)
                {
                    *name = Value::from(pair.to.clone());
                }
                rename(value, exchanged);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, exchanged)),
        _ => {}
    }
}

fn by_stem<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<&'a str, Vec<&'a String>> {
    let mut stems: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for name in names {
        if let Some(stem) = stem(name) {
            stems.entry(stem).or_default().push(name);
        }
    }
    stems
}

#[cfg(test)]
mod tests {
    use super::{exchanged, with_names_of_then};
    use astern_model::source::WorkloadRevert;
    use astern_model::target::{Target, WorkloadKind};
    use astern_model::template::Template;
    use serde_json::json;

    fn template(refs: &[&str], volume: &str) -> Template {
        let refs: Vec<_> = refs
            .iter()
            .map(|name| json!({ "configMapRef": { "name": name } }))
            .collect();
        Template::clean(json!({ "spec": {
            "containers": [{ "name": "api", "envFrom": refs }],
            "volumes": [{ "name": "v", "configMap": { "name": volume } }],
        } }))
    }

    fn revert(from: Template, to: Template) -> WorkloadRevert {
        WorkloadRevert {
            target: Target {
                kind: WorkloadKind::Deployment,
                namespace: "shop".to_owned(),
                name: "api".to_owned(),
            },
            from,
            to,
        }
    }

    #[test]
    fn a_name_that_changed_its_hash_alone_is_the_same_generator() {
        let revert = revert(
            template(&["settings-aaaaaaaaaa", "fixed"], "files-cccccccccc"),
            template(&["settings-bbbbbbbbbb", "fixed"], "files-cccccccccc"),
        );
        let found = exchanged(std::slice::from_ref(&revert));
        let found: Vec<_> = found.iter().collect();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].from.as_str(), found[0].to.as_str()),
            ("settings-aaaaaaaaaa", "settings-bbbbbbbbbb")
        );
        let all = exchanged(std::slice::from_ref(&revert));
        assert_eq!(with_names_of_then(&revert.from, &all), revert.to);
    }

    #[test]
    fn another_name_and_two_of_one_stem_are_no_exchange() {
        let other = revert(template(&["settings"], "v1"), template(&["options"], "v2"));
        assert!(exchanged(&[other]).is_empty());
        let two = revert(
            template(&["s-aaaaaaaaaa", "s-cccccccccc"], "v"),
            template(&["s-bbbbbbbbbb"], "v"),
        );
        assert!(exchanged(&[two]).is_empty());
    }
}
