//! The ConfigMaps that a folder's files make: manifests as they stand, and what a kustomization names. Decides only; what it
//! cannot tell is said, never guessed.

use super::kustomization;
use super::tree::Tree;
use crate::repository::is_manifest;
use crate::yaml::{self, Node};
use astern_model::hashed;
use astern_model::target::{Target, WorkloadKind};
use astern_port::source::Told;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;

/// A platform is made from a few bases; more is a circle, or an attempt to exhaust whoever reads it.
const BASES: usize = 64;

/// What a ConfigMap holds, key by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) data: BTreeMap<String, String>,
    pub(super) binary: BTreeMap<String, String>,
}

/// A ConfigMap by its files.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// Its name, but for a hash behind it.
    pub(super) name: String,
    /// Its name where it first stands, by which an overlay means it.
    pub(super) original: String,
    pub(super) namespace: Option<String>,
    /// Whether a hash of its content follows its name.
    pub(super) hashed: bool,
    /// The file that says what it holds.
    pub(super) file: String,
    /// What it holds, or why that is not told, a clause.
    pub(super) content: Result<Content, String>,
}

/// The images of a workload by its files.
#[derive(Clone, Debug)]
pub(super) struct Imaged {
    pub(super) kind: WorkloadKind,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// Container → image.
    pub(super) containers: BTreeMap<String, String>,
}

/// What a folder makes.
#[derive(Clone, Debug, Default)]
pub(super) struct Built {
    pub(super) made: Vec<Made>,
    /// The workloads whose images are certain.
    pub(super) imaged: Vec<Imaged>,
    /// What was not looked into, a clause each.
    pub(super) unread: Vec<String>,
}

impl Built {
    pub(super) fn unread(why: String) -> Self {
        Self {
            unread: vec![why],
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.made.extend(other.made);
        self.imaged.extend(other.imaged);
        self.unread.extend(other.unread);
    }

    /// The images of the workloads of a namespace.
    pub(super) fn images(&self, namespace: &str) -> BTreeMap<Target, BTreeMap<String, String>> {
        let here = |one: &&Imaged| one.namespace.as_deref().is_none_or(|other| other == namespace);
        let of = |one: &Imaged| {
            let target = Target {
                kind: one.kind,
                namespace: namespace.to_owned(),
                name: one.name.clone(),
            };
            (target, one.containers.clone())
        };
        self.imaged.iter().filter(here).map(of).collect()
    }

    /// What the ConfigMap of this name holds, or why that is not told.
    pub(super) fn find(&self, name: &str, namespace: &str) -> Result<Told, String> {
        let parts = hashed::parts(name);
        let meant = |made: &&Made| {
            let here = made.namespace.as_deref().is_none_or(|other| other == namespace);
            let named = if made.hashed {
                parts.is_some_and(|(stem, _)| stem == made.name)
            } else {
                made.name == name
            };
            here && named
        };
        let found: Vec<&Made> = self.made.iter().filter(meant).collect();
        let made = match found.as_slice() {
            [only] => only,
            [] if self.unread.is_empty() => return Err("no file there makes it".to_owned()),
            [] => {
                return Err(format!(
                    "no file there makes it; not looked into: {}",
                    self.unread.join(", ")
                ));
            }
            several => {
                let files: Vec<&str> = several.iter().map(|made| made.file.as_str()).collect();
                return Err(format!("several places make it: {}", files.join(", ")));
            }
        };
        let content = made
            .content
            .as_ref()
            .map_err(|why| format!("{}: {why}", made.file))?;
        let json = object(name, namespace, content);
        if made.hashed && !hashed::is_of(name, &json) {
            return Err(format!(
                "{} makes it with another content, under the name {}",
                made.file,
                hashed::name(&made.name, &json)
            ));
        }
        Ok(Told {
            file: made.file.clone(),
            json,
        })
    }
}

fn object(name: &str, namespace: &str, content: &Content) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": namespace },
    });
    for (field, held) in [("data", &content.data), ("binaryData", &content.binary)] {
        if !held.is_empty() {
            object[field] = json!(held);
        }
    }
    object
}

/// What a folder makes: by its kustomization, where it has one, else by the manifests in it.
pub(super) fn folder(tree: &Tree, path: &str, recursive: bool) -> Built {
    match kustomization::file(tree, path) {
        Some(file) => kustomization::build(tree, path, &file, &Cell::new(BASES)),
        None => {
            let mut built = Built::default();
            for file in tree.below(path, recursive).filter(|file| is_manifest(file)) {
                built.add(manifest(tree, file));
            }
            built
        }
    }
}

/// The ConfigMaps of one file.
pub(super) fn manifest(tree: &Tree, file: &str) -> Built {
    let documents = match documents(tree, file) {
        Ok(documents) => documents,
        Err(why) => return Built::unread(why),
    };
    let mut built = Built::default();
    for document in &documents {
        let listed = document.get("items").map_or(&[][..], Node::items);
        let objects = std::iter::once(document).chain(listed);
        for object in objects {
            built.made.extend(config_map(object, file));
            built.imaged.extend(imaged(object));
        }
    }
    built
}

/// The documents of a file.
///
/// # Errors
/// It cannot be read, or is no YAML; a clause says why.
pub(super) fn documents(tree: &Tree, file: &str) -> Result<Vec<Node>, String> {
    let text = tree.text(file)?;
    yaml::documents(text).map_err(|trouble| format!("{file}: {trouble}"))
}

/// The kind of the object in a document.
pub(super) fn kind(document: &Node) -> Option<&str> {
    document.get("kind").and_then(Node::text)
}

fn config_map(object: &Node, file: &str) -> Option<Made> {
    if kind(object) != Some("ConfigMap") {
        return None;
    }
    let text = |keys: &[&str]| object.at(keys).and_then(Node::text).map(str::to_owned);
    let name = text(&["metadata", "name"])?;
    Some(Made {
        original: name.clone(),
        name,
        namespace: text(&["metadata", "namespace"]),
        hashed: false,
        file: file.to_owned(),
        content: content(object),
    })
}

fn imaged(object: &Node) -> Option<Imaged> {
    let text = |keys: &[&str]| object.at(keys).and_then(Node::text).map(str::to_owned);
    let containers = object.at(&["spec", "template", "spec", "containers"])?;
    let image = |container: &Node| {
        let text = |key: &str| container.get(key).and_then(Node::text).map(str::to_owned);
        Some((text("name")?, text("image")?))
    };
    let certain = !object.shared();
    certain.then_some(Imaged {
        kind: WorkloadKind::parse(&kind(object)?.to_lowercase())?,
        name: text(&["metadata", "name"])?,
        namespace: text(&["metadata", "namespace"]),
        containers: containers.items().iter().filter_map(image).collect(),
    })
}

/// What a manifest says that its ConfigMap holds.
fn content(object: &Node) -> Result<Content, String> {
    if object.shared() {
        return Err("it is written with anchors, which astern does not follow".to_owned());
    }
    let held = |field: &str| -> Result<BTreeMap<String, String>, String> {
        match object.get(field).map(Node::json) {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(Value::Object(fields)) => fields
                .into_iter()
                .map(|(key, value)| match value {
                    Value::String(text) => Ok((key, text)),
                    _ => Err(format!("{field}.{key} is no text")),
                })
                .collect(),
            Some(_) => Err(format!("{field} is no mapping")),
        }
    };
    Ok(Content {
        data: held("data")?,
        binary: held("binaryData")?,
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
