//! A kustomization as far as it makes ConfigMaps: resources, generators, and what it adds to names. It is not carried out: where
//! one changes ConfigMaps in a way that is not known here, what they hold is not told. Source:
//! <https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/>, and `api/kv` of kustomize for the pairs of a generator.

use super::build::{Built, Content, Made, documents, kind, manifest};
use super::tree::Tree;
use crate::edit::within;
use crate::yaml::{self, Node};
use astern_model::image::Image;
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeMap;

/// The names that kustomize looks for.
const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// What may change any object, and is not looked into.
const TRANSFORMS: [&str; 3] = ["replacements", "transformers", "components"];
/// What changes single objects.
const PATCHES: [&str; 3] = ["patches", "patchesStrategicMerge", "patchesJson6902"];

/// The file of a folder's kustomization, if it has one.
pub(super) fn file(tree: &Tree, folder: &str) -> Option<String> {
    let mut files = FILES.iter().map(|name| within(folder, name));
    files.find(|file| tree.has(file))
}

/// What it makes. `bases` is how many more of them are followed.
pub(super) fn build(tree: &Tree, path: &str, file: &str, bases: &Cell<usize>) -> Built {
    let documents = match documents(tree, file) {
        Ok(documents) => documents,
        Err(why) => return Built::unread(why),
    };
    let Some(root) = documents.first() else {
        return Built::default();
    };
    if root.shared() {
        return Built::unread(format!(
            "{file} is written with anchors, which astern does not follow"
        ));
    }
    let mut built = Built::default();
    for key in ["resources", "bases"] {
        for entry in root.get(key).map_or(&[][..], Node::items) {
            built.add(resource(tree, path, entry.text().unwrap_or_default(), bases));
        }
    }
    let hashes = !says_true(root, &["generatorOptions", "disableNameSuffixHash"]);
    for generator in root.get("configMapGenerator").map_or(&[][..], Node::items) {
        generate(tree, path, file, generator, hashes, &mut built);
    }
    for doubt in doubts(tree, path, file, root) {
        for made in &mut built.made {
            made.content = Err(doubt.clone());
        }
    }
    set_images(root, &mut built);
    let text = |key: &str| root.get(key).and_then(Node::text).unwrap_or_default();
    let named = |name: &str| format!("{}{name}{}", text("namePrefix"), text("nameSuffix"));
    let namespace = root.get("namespace").and_then(Node::text);
    for made in &mut built.made {
        made.name = named(&made.name);
        made.namespace = namespace.map(str::to_owned).or(made.namespace.take());
    }
    for imaged in &mut built.imaged {
        imaged.name = named(&imaged.name);
        imaged.namespace = namespace.map(str::to_owned).or(imaged.namespace.take());
    }
    built
}

/// The images as the kustomization has them. Where something may change a workload that is not carried out, none is certain.
fn set_images(root: &Node, built: &mut Built) {
    let set = |key: &&str| root.get(key).is_some_and(|node| !node.items().is_empty());
    if TRANSFORMS.iter().chain(&PATCHES).any(set) {
        built.imaged.clear();
    }
    for entry in root.get("images").map_or(&[][..], Node::items) {
        let images = built
            .imaged
            .iter_mut()
            .flat_map(|imaged| imaged.containers.values_mut());
        for image in images {
            if let Some(changed) = changed(entry, image) {
                *image = changed;
            }
        }
    }
}

/// What an entry of `images` makes of an image; none where it is for another one. With a digest kustomize leaves the tag out.
fn changed(entry: &Node, image: &str) -> Option<String> {
    let text = |key: &str| entry.get(key).and_then(Node::text);
    let image = Image::parse(image);
    let repository = text("name").filter(|name| *name == image.repository())?;
    let name = text("newName").unwrap_or(repository);
    Some(match (text("digest"), text("newTag")) {
        (Some(digest), _) => format!("{name}@{digest}"),
        (None, Some(tag)) => format!("{name}:{tag}"),
        (None, None) => image.reference.replacen(repository, name, 1),
    })
}

fn resource(tree: &Tree, path: &str, entry: &str, bases: &Cell<usize>) -> Built {
    let Some(at) = joined(path, entry) else {
        return Built::unread(format!("{entry}, which lies elsewhere"));
    };
    if tree.has(&at) {
        return manifest(tree, &at);
    }
    match file(tree, &at) {
        Some(_) if bases.get() == 0 => Built::unread(format!("{at}, which is one base too many")),
        Some(file) => {
            bases.set(bases.get() - 1);
            build(tree, &at, &file, bases)
        }
        None => Built::unread(format!("{at}, which is not there")),
    }
}

/// A path from the repository's root; none where it leads out of the repository.
fn joined(folder: &str, entry: &str) -> Option<String> {
    if entry.is_empty() || entry.contains("://") || entry.contains('?') || entry.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in entry.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

fn says_true(node: &Node, way: &[&str]) -> bool {
    node.at(way)
        .is_some_and(|value| value.json() == Value::Bool(true))
}

/// Adds what one generator makes, or changes what a base's has made.
fn generate(tree: &Tree, path: &str, file: &str, generator: &Node, hashes: bool, built: &mut Built) {
    let text = |key: &str| generator.get(key).and_then(Node::text);
    let Some(name) = text("name") else {
        built
            .unread
            .push(format!("a configMapGenerator without a name in {file}"));
        return;
    };
    let content = pairs(tree, path, generator);
    let hashed = hashes && !says_true(generator, &["options", "disableNameSuffixHash"]);
    let behavior = text("behavior").unwrap_or("create");
    let base = built.made.iter_mut().find(|made| made.original == name);
    match (behavior, base) {
        ("merge" | "replace", Some(base)) => {
            base.content = match (behavior, base.content.clone()) {
                ("merge", Ok(mut below)) => content.map(|above| {
                    below.data.extend(above.data);
                    below.binary.extend(above.binary);
                    below
                }),
                ("merge", Err(why)) => Err(why),
                _ => content,
            };
            file.clone_into(&mut base.file);
            base.hashed &= hashed;
        }
        ("merge" | "replace", None) => built.unread.push(format!(
            "the configMapGenerator {name} in {file}, which changes one that is not known"
        )),
        _ => built.made.push(Made {
            name: name.to_owned(),
            original: name.to_owned(),
            namespace: text("namespace").map(str::to_owned),
            hashed,
            file: file.to_owned(),
            content,
        }),
    }
}

/// The pairs of a generator: lines of env files, then literals, then whole files.
fn pairs(tree: &Tree, path: &str, generator: &Node) -> Result<Content, String> {
    let listed = |key: &str| generator.get(key).map_or(&[][..], Node::items).iter();
    let text = |entry: &Node| entry.text().unwrap_or_default().to_owned();
    let read = |entry: &str| {
        let at = joined(path, entry).ok_or_else(|| format!("{entry} lies elsewhere"))?;
        tree.text(&at)
    };
    let mut data = BTreeMap::new();
    let env = generator.get("env").map(text);
    for entry in env.into_iter().chain(listed("envs").map(text)) {
        data.extend(lines(read(&entry)?));
    }
    for literal in listed("literals").map(text) {
        let (key, value) = literal
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or("a literal of its generator is no KEY=VALUE")?;
        data.insert(key.to_owned(), unquoted(value).to_owned());
    }
    for entry in listed("files").map(text) {
        let (key, file) = match entry.split_once('=') {
            Some((key, file)) => (key, file),
            None => (entry.rsplit('/').next().unwrap_or_default(), entry.as_str()),
        };
        data.insert(key.to_owned(), read(file)?.to_owned());
    }
    Ok(Content {
        data,
        binary: BTreeMap::new(),
    })
}

/// The pairs of an env file. Spaces before a key do not count; those of a value do.
fn lines(text: &str) -> BTreeMap<String, String> {
    let text = text.trim_start_matches('\u{feff}');
    let pairs = text.lines().map(str::trim_start);
    pairs
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

/// A literal's value without one pair of quotes around it.
fn unquoted(value: &str) -> &str {
    let inside = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

/// Why what ConfigMaps hold here is not told: what may change them and is not carried out.
fn doubts(tree: &Tree, path: &str, file: &str, root: &Node) -> Vec<String> {
    let set = |key: &str| root.get(key).is_some_and(|node| !node.items().is_empty());
    let mut found: Vec<&str> = TRANSFORMS.into_iter().filter(|key| set(key)).collect();
    let may_touch = |key: &str| {
        let patches = root.get(key).map_or(&[][..], Node::items);
        patches.iter().any(|patch| !is_for_others(tree, path, patch))
    };
    found.extend(PATCHES.into_iter().filter(|key| may_touch(key)));
    let doubt =
        |key: &str| format!("{file} has {key}, which may change it and which astern does not carry out");
    found.into_iter().map(doubt).collect()
}

/// Whether a patch is for objects of other kinds alone: by its target, or by what it is itself.
fn is_for_others(tree: &Tree, path: &str, patch: &Node) -> bool {
    if let Some(kind) = patch.at(&["target", "kind"]).and_then(Node::text) {
        return kind.chars().all(char::is_alphanumeric) && kind != "ConfigMap";
    }
    let others = |documents: &[Node]| {
        let other = |document: &Node| kind(document).is_some_and(|kind| kind != "ConfigMap");
        !documents.is_empty() && documents.iter().all(other)
    };
    let inline = patch.get("patch").or(Some(patch)).and_then(Node::text);
    let named = patch.get("path").or(Some(patch)).and_then(Node::text);
    let by_text = inline.and_then(|text| yaml::documents(text).ok());
    let by_file = named
        .and_then(|entry| joined(path, entry))
        .filter(|at| tree.has(at))
        .and_then(|at| documents(tree, &at).ok());
    by_text.is_some_and(|documents| others(&documents)) || by_file.is_some_and(|documents| others(&documents))
}
