//! The ConfigMaps that a folder's files make: manifests as they stand, and what a kustomization names. Decides only; what it
//! cannot tell is said, never guessed.

use super::kustomization;
use super::tree::Tree;
use crate::repository::is_manifest;
use crate::yaml::{self, Node};
use astern_model::hashed;
use astern_model::source::{FolderManifests, Manifest, Reach};
use astern_model::target::{Target, WorkloadKind};
use astern_port::source::Told;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;

/// The lists of containers in a workload's manifest.
pub(super) const CONTAINERS: [&str; 2] = [
    "/spec/template/spec/containers",
    "/spec/template/spec/initContainers",
];
/// The groups of owners' own objects, which an owner above them writes.
const OWNERS: [&str; 2] = ["kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"];
/// The fields of a pod template that name a ConfigMap inside.
const READ_BY: [&str; 3] = ["configMap", "configMapRef", "configMapKeyRef"];
/// What names files of a repository that Flux does not take. Source:
/// <https://fluxcd.io/flux/components/source/gitrepositories/#excluding-files>.
const IGNORE: &str = ".sourceignore";
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

/// Any other object by its files, of the kinds that are looked at: workloads, and owners' own objects.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// The file that says it.
    pub(super) file: String,
    /// What gives objects other names, so that those that it refers to may have others too; a clause.
    pub(super) renamed: Option<String>,
    /// Its manifest, or why that is not told, a clause.
    pub(super) json: Result<Value, String>,
}

impl Object {
    /// It as it is told, under its final name.
    fn manifest(&self) -> Manifest {
        let named = |mut json: Value| {
            json["metadata"]["name"] = json!(self.name);
            if let Some(namespace) = &self.namespace {
                json["metadata"]["namespace"] = json!(namespace);
            }
            json
        };
        Manifest {
            file: self.file.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            json: self.json.clone().map(named),
        }
    }

    /// The images of its containers, where they are certain.
    fn images(&self) -> BTreeMap<String, String> {
        let containers = self
            .json
            .as_ref()
            .ok()
            .and_then(|json| json.pointer(CONTAINERS[0]));
        let image = |container: &Value| {
            let text = |key: &str| Some(container.get(key)?.as_str()?.to_owned());
            Some((text("name")?, text("image")?))
        };
        let containers = containers.and_then(Value::as_array);
        containers.into_iter().flatten().filter_map(image).collect()
    }
}

/// What a folder makes.
#[derive(Clone, Debug, Default)]
pub(super) struct Built {
    pub(super) made: Vec<Made>,
    /// Workloads, and owners' own objects.
    pub(super) objects: Vec<Object>,
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
        self.objects.extend(other.objects);
        self.unread.extend(other.unread);
    }

    /// The images of the workloads of a namespace.
    pub(super) fn images(&self, namespace: &str) -> BTreeMap<Target, BTreeMap<String, String>> {
        let here = |one: &&Object| one.namespace.as_deref().is_none_or(|other| other == namespace);
        let of = |one: &Object| {
            let target = Target {
                kind: WorkloadKind::parse(&one.kind.to_lowercase())?,
                namespace: namespace.to_owned(),
                name: one.name.clone(),
            };
            one.json.is_ok().then(|| (target, one.images()))
        };
        self.objects.iter().filter(here).filter_map(of).collect()
    }

    /// Every object as the whole build has it: with hashes behind the names of generated ConfigMaps, also where they are read.
    pub(super) fn manifests(&self) -> FolderManifests {
        let mut generated = BTreeMap::new();
        let mut untold = BTreeMap::new();
        let mut objects = Vec::new();
        for made in &self.made {
            let namespace = made.namespace.clone();
            let content = made.content.as_ref().map(|content| object("", "", content));
            let name = match &content {
                Ok(json) if made.hashed => hashed::name(&made.name, json),
                Ok(_) | Err(_) => made.name.clone(),
            };
            match &content {
                Err(why) if made.hashed => drop(untold.insert(made.original.clone(), why.to_string())),
                Err(_) | Ok(_) => drop(generated.insert(made.original.clone(), name.clone())),
            }
            let named = Object {
                kind: "ConfigMap".to_owned(),
                name,
                namespace,
                file: made.file.clone(),
                renamed: None,
                json: content.map_err(|why| why.to_string()),
            };
            objects.push(named.manifest());
        }
        for found in &self.objects {
            let mut manifest = found.manifest();
            manifest.json = manifest.json.and_then(|mut json| {
                let mut reads = Vec::new();
                refer(&mut json, &mut |name| {
                    reads.extend(untold.get(name.as_str()));
                    if let Some(now) = generated.get(name) {
                        name.clone_from(now);
                    }
                });
                match (reads.first(), &found.renamed) {
                    (Some(why), _) => Err(format!("it reads a generated ConfigMap: {why}")),
                    (None, Some(why)) => Err(format!(
                        "{why}: astern does not follow what else is named anew by it"
                    )),
                    (None, None) => Ok(json),
                }
            });
            objects.push(manifest);
        }
        FolderManifests {
            objects,
            unread: self.unread.clone(),
        }
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

/// Every place of a pod template that names a ConfigMap.
fn refer(json: &mut Value, each: &mut dyn FnMut(&mut String)) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                if READ_BY.contains(&key.as_str())
                    && let Some(Value::String(name)) = value.get_mut("name")
                {
                    each(name);
                }
                refer(value, each);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, each)),
        _ => {}
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
pub(super) fn folder(tree: &Tree, path: &str, reach: Reach) -> Built {
    let mut built = files(tree, path, reach);
    if reach == Reach::Flux
        && let Some(ignore) = tree
            .below("", true)
            .find(|file| file.rsplit('/').next() == Some(IGNORE))
    {
        let why = format!("{ignore}, by which Flux leaves files out");
        built.unread.push(why);
    }
    built
}

fn files(tree: &Tree, path: &str, reach: Reach) -> Built {
    let deep = reach != Reach::Flat;
    let taken = |file: &&str| is_manifest(file) && !(reach == Reach::Flux && file.ends_with(".json"));
    match kustomization::file(tree, path) {
        Some(file) => kustomization::build(tree, path, &file, &Cell::new(BASES)),
        None => {
            let mut built = Built::default();
            if deep && let Some(below) = kustomization::below(tree, path) {
                built
                    .unread
                    .push(format!("the kustomization {below}, which lies below"));
            }
            for file in tree.below(path, deep).filter(taken) {
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
            built.objects.extend(looked_at(object, file));
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

/// A workload, or an owner's own object.
fn looked_at(object: &Node, file: &str) -> Option<Object> {
    let text = |keys: &[&str]| object.at(keys).and_then(Node::text).map(str::to_owned);
    let kind = kind(object)?.to_owned();
    let is_owner = || {
        let group = text(&["apiVersion"]).unwrap_or_default();
        OWNERS.iter().any(|owner| group.starts_with(owner))
    };
    let looked_at = WorkloadKind::parse(&kind.to_lowercase()).is_some() || is_owner();
    let json = match object.shared() {
        true => Err("it is written with anchors, which astern does not follow".to_owned()),
        false => Ok(object.json()),
    };
    looked_at.then_some(Object {
        name: text(&["metadata", "name"])?,
        namespace: text(&["metadata", "namespace"]),
        file: file.to_owned(),
        renamed: None,
        kind,
        json,
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
