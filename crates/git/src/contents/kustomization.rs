//! A kustomization as far as it makes ConfigMaps: resources, generators, and what it adds to names. It is not carried out: where
//! one changes ConfigMaps in a way that is not known here, what they hold is not told. Source:
//! <https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/>, and `api/kv` of kustomize for the pairs of a generator.

use super::build::{Built, CONTAINERS, Content, Made, Object, documents, kind, manifest};
use super::tree::Tree;
use crate::edit::within;
use crate::yaml::{self, Node};
use astern_model::image::Image;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::BTreeMap;

/// The names that kustomize looks for.
const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// What may change any object, and is not looked into.
const TRANSFORMS: [&str; 3] = ["replacements", "transformers", "components"];
/// What changes single objects.
const PATCHES: [&str; 3] = ["patches", "patchesStrategicMerge", "patchesJson6902"];

/// What is known of a kustomization: carried out here, or without a part in what is told. Anything else may change any object.
const KNOWN: [&str; 20] = [
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "images",
    "namespace",
    "namePrefix",
    "nameSuffix",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "replicas",
    "buildMetadata",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
];

/// Where a workload's template has its labels and annotations.
const LABELS: [&str; 4] = ["spec", "template", "metadata", "labels"];
const ANNOTATIONS: [&str; 4] = ["spec", "template", "metadata", "annotations"];
/// Lists in a pod's spec, and where each of their items selects pods.
const NEAR: [(&str, &str); 5] = [
    (
        "/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution",
        "/podAffinityTerm/labelSelector/matchLabels",
    ),
    (
        "/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution",
        "/labelSelector/matchLabels",
    ),
    (
        "/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution",
        "/podAffinityTerm/labelSelector/matchLabels",
    ),
    (
        "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution",
        "/labelSelector/matchLabels",
    ),
    ("/topologySpreadConstraints", "/labelSelector/matchLabels"),
];

/// The first kustomization in a folder below this one.
pub(super) fn below<'a>(tree: &'a Tree, folder: &str) -> Option<&'a str> {
    let named = |path: &&str| FILES.contains(&path.rsplit('/').next().unwrap_or_default());
    tree.below(folder, true).find(named)
}

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
    let unknown = root
        .keys()
        .filter(|key| !KNOWN.contains(key) && is_set(root, key));
    built.unread.extend(unknown.map(|key| format!("{key} of {file}")));
    for doubt in doubts(tree, path, file, root) {
        for made in &mut built.made {
            made.content = Err(doubt.clone());
        }
    }
    let text = |key: &str| root.get(key).and_then(Node::text).unwrap_or_default();
    let named = |name: &str| format!("{}{name}{}", text("namePrefix"), text("nameSuffix"));
    let namespace = root.get("namespace").and_then(Node::text);
    for made in &mut built.made {
        made.name = named(&made.name);
        made.namespace = namespace.map(str::to_owned).or(made.namespace.take());
    }
    for object in &mut built.objects {
        if let Some(doubt) = doubt(tree, path, file, root, object) {
            object.json = Err(doubt);
        }
        if let Ok(json) = &mut object.json {
            set_images(root, json);
            if let Err(why) = add_common(root, &object.kind, json) {
                object.json = Err(why);
            }
        }
        object.name = named(&object.name);
        let renamed = ["namePrefix", "nameSuffix"]
            .into_iter()
            .find(|key| is_set(root, key));
        object.renamed = renamed
            .map(|key| format!("{file} has {key}"))
            .or(object.renamed.take());
        object.namespace = namespace.map(str::to_owned).or(object.namespace.take());
    }
    built
}

/// The images as the kustomization has them.
fn set_images(root: &Node, json: &mut Value) {
    for entry in root.get("images").map_or(&[][..], Node::items) {
        for list in CONTAINERS {
            let containers = json.pointer_mut(list).and_then(Value::as_array_mut);
            let images = containers
                .into_iter()
                .flatten()
                .filter_map(|container| container.get_mut("image"));
            for image in images {
                if let Some(changed) = image.as_str().and_then(|image| changed(entry, image)) {
                    *image = Value::from(changed);
                }
            }
        }
    }
}

/// Labels and annotations that go into a template, and labels that go into selectors too. kustomize knows the places of the kinds of
/// Kubernetes alone. Source: `commonlabels.go` in kustomize's `builtinpluginconsts`.
///
/// # Errors
/// Where they go something stands that is no mapping; a clause.
fn add_common(root: &Node, kind: &str, json: &mut Value) -> Result<(), String> {
    if !["Deployment", "StatefulSet", "DaemonSet"].contains(&kind) {
        return Ok(());
    }
    let listed = |key: &'static str| {
        let entries = root.get("labels").map_or(&[][..], Node::items).iter();
        entries
            .filter(move |entry| says_true(entry, &[key]))
            .filter_map(|entry| entry.get("pairs"))
    };
    for pairs in root
        .get("commonLabels")
        .into_iter()
        .chain(listed("includeSelectors"))
    {
        select(kind, json, pairs)?;
        put(json, &LABELS, pairs)?;
    }
    for pairs in listed("includeTemplates") {
        put(json, &LABELS, pairs)?;
    }
    if let Some(pairs) = root.get("commonAnnotations") {
        put(json, &ANNOTATIONS, pairs)?;
    }
    Ok(())
}

/// Adds labels to what selects pods, and to what a StatefulSet's claims are made with.
fn select(kind: &str, json: &mut Value, pairs: &Node) -> Result<(), String> {
    put(json, &["spec", "selector", "matchLabels"], pairs)?;
    if kind != "DaemonSet" {
        let spec = json.pointer_mut("/spec/template/spec");
        spec.map_or(Ok(()), |spec| select_near(spec, pairs))?;
    }
    let claims = json
        .pointer_mut("/spec/volumeClaimTemplates")
        .filter(|_| kind == "StatefulSet")
        .and_then(Value::as_array_mut);
    claims
        .into_iter()
        .flatten()
        .try_for_each(|claim| put(claim, &["metadata", "labels"], pairs))
}

/// Adds labels to the selectors of a pod's affinity and spread, where they are there.
fn select_near(spec: &mut Value, pairs: &Node) -> Result<(), String> {
    for (list, selector) in NEAR {
        let terms = spec.pointer_mut(list).and_then(Value::as_array_mut);
        for term in terms.into_iter().flatten() {
            if let Some(labels) = term.pointer_mut(selector) {
                put(labels, &[], pairs)?;
            }
        }
    }
    Ok(())
}

/// Adds pairs to the mapping at this way. Mappings that are missing are made.
fn put(json: &mut Value, way: &[&str], pairs: &Node) -> Result<(), String> {
    let mut place = json;
    for key in way {
        place = mapping(place, way)?.entry(*key).or_insert(Value::Null);
    }
    if let Value::Object(pairs) = pairs.json() {
        mapping(place, way)?.extend(pairs);
    }
    Ok(())
}

fn mapping<'a>(place: &'a mut Value, way: &[&str]) -> Result<&'a mut Map<String, Value>, String> {
    if place.is_null() {
        *place = Value::Object(Map::new());
    }
    let why = || match way {
        [] => "a selector in its template is no mapping".to_owned(),
        way => format!("its {} is no mapping", way.join(".")),
    };
    place.as_object_mut().ok_or_else(why)
}

/// Why what an object is here is not told: what may change it and is not carried out.
fn doubt(tree: &Tree, path: &str, file: &str, root: &Node, object: &Object) -> Option<String> {
    let unknown = root.keys().find(|key| !KNOWN.contains(key) && is_set(root, key));
    let fields = || {
        let labels = root.get("labels").map_or(&[][..], Node::items);
        labels
            .iter()
            .any(|entry| entry.get("fields").is_some())
            .then_some("labels with fields")
    };
    let patched = || {
        let touched = |key: &&str| touches(tree, path, root, key, (&object.kind, Some(&object.name)));
        PATCHES.into_iter().find(touched)
    };
    let secret = || {
        let generators = root.get("secretGenerator").map_or(&[][..], Node::items);
        let names = generators
            .iter()
            .filter_map(|generator| generator.get("name")?.text());
        let text = object.json.as_ref().map(Value::to_string).unwrap_or_default();
        let read = |name: &&str| text.contains(&Value::from(*name).to_string());
        names
            .into_iter()
            .any(|name| read(&name))
            .then_some("a secretGenerator that it reads")
    };
    let key = unknown.or_else(fields).or_else(patched).or_else(secret)?;
    Some(format!(
        "{file} has {key}, which may change it and which astern does not carry out"
    ))
}

/// Whether a key is there with something in it.
fn is_set(root: &Node, key: &str) -> bool {
    match root.get(key).map(Node::json) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => true,
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
    let touched = |key: &&str| touches(tree, path, root, key, ("ConfigMap", None));
    found.extend(PATCHES.into_iter().filter(touched));
    let doubt =
        |key: &str| format!("{file} has {key}, which may change it and which astern does not carry out");
    found.into_iter().map(doubt).collect()
}

/// Whether one of these patches may be for an object of this kind and name, or of any name.
fn touches(tree: &Tree, path: &str, root: &Node, key: &str, object: (&str, Option<&str>)) -> bool {
    let patches = root.get(key).map_or(&[][..], Node::items);
    patches
        .iter()
        .any(|patch| !is_for_others(tree, path, patch, object))
}

/// Whether a patch is for other objects alone: by its target, or by what it is itself.
fn is_for_others(tree: &Tree, path: &str, patch: &Node, (of_kind, of_name): (&str, Option<&str>)) -> bool {
    // A target is a regular expression: one that is more than a word may mean anything.
    let another =
        |said: &str, than: &str| said.chars().all(|c| c.is_alphanumeric() || c == '-') && said != than;
    if let Some(target) = patch.get("target") {
        let said = |key: &str| target.get(key).and_then(Node::text);
        return said("kind").is_some_and(|kind| another(kind, of_kind))
            || said("name")
                .zip(of_name)
                .is_some_and(|(name, of)| another(name, of));
    }
    let others = |documents: &[Node]| {
        let other = |document: &Node| {
            let name = document.at(&["metadata", "name"]).and_then(Node::text);
            kind(document)
                .is_some_and(|kind| kind != of_kind || name.zip(of_name).is_some_and(|(name, of)| name != of))
        };
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
