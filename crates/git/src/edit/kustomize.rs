//! A kustomization: its `images`, the literals of its `configMapGenerator`, and manifests that lie beside it.

use super::differences::differences;
use super::{Desk, Edit, EditError, manifests, within};
use crate::yaml::{self, Node, Step};
use astern_model::image::Image;
use astern_model::source::{ConfigRevert, ImageRevert, Revert, WorkloadRevert};
use serde_json::{Value, json};

/// The names that kustomize looks for.
const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What kustomize puts behind a generated name: a hyphen and ten characters of a hash.
const SUFFIX: usize = 11;

/// Whether this folder is a kustomization.
pub(super) fn is_in(desk: &Desk<'_>, folder: &str) -> bool {
    FILES
        .iter()
        .any(|name| desk.text(&within(folder, name)).is_some())
}

pub(super) fn edit(desk: &mut Desk<'_>, folder: &str, revert: &Revert) -> Result<(), EditError> {
    let names = FILES.map(|name| within(folder, name));
    let Some(file) = names.iter().find(|file| desk.text(file).is_some()) else {
        return Err(EditError::NotFound {
            what: "a kustomization".to_owned(),
            hint: format!("looked for {}{}", names.join(", "), desk.closed()),
        });
    };
    for workload in &revert.workloads {
        edit_workload(desk, file, workload, revert)?;
    }
    for config in &revert.config {
        literals(desk, file, config)?;
    }
    Ok(())
}

fn edit_workload(
    desk: &mut Desk<'_>,
    file: &str,
    workload: &WorkloadRevert,
    revert: &Revert,
) -> Result<(), EditError> {
    let what = workload.target.to_string();
    let mut left = differences(workload.from.json(), workload.to.json());
    for image in workload.images() {
        if agreed(revert, &image, &what)? && set_image(desk, file, &what, &image)? {
            left.retain(|difference| {
                !(difference.is_image() && difference.from == Some(json!(image.from.reference)))
            });
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    // What the kustomization does not say, a manifest beside it may.
    match manifests::find_workload(desk, workload) {
        Ok(found) => manifests::apply(desk, workload, &found, &left),
        Err(EditError::NotFound { .. }) => Err(EditError::Beyond {
            what,
            kind: "kustomization",
            at: left
                .iter()
                .map(|difference| yaml::Way(&difference.way).to_string())
                .collect(),
        }),
        Err(other) => Err(other),
    }
}

/// Every container with this image goes to the same one: an entry of `images` is for all of them.
fn agreed(revert: &Revert, image: &ImageRevert, what: &str) -> Result<bool, EditError> {
    let others = revert.workloads.iter().flat_map(WorkloadRevert::images);
    for other in others {
        if other.from.repository() == image.from.repository() && other.to != image.to {
            return Err(EditError::Ambiguous {
                what: format!("{what}, image {}", image.from.repository()),
                places: vec![image.to.to_string(), other.to.to_string()],
            });
        }
    }
    Ok(true)
}

/// Sets the entry of `images` that makes this image; whether there is one.
fn set_image(desk: &mut Desk<'_>, file: &str, what: &str, image: &ImageRevert) -> Result<bool, EditError> {
    let text = desk.text(file).unwrap_or_default();
    let documents = yaml::documents(text).map_err(|trouble| EditError::Place {
        what: what.to_owned(),
        file: file.to_owned(),
        trouble,
    })?;
    let entries = documents.first().and_then(|root| root.get("images"));
    let makes: Vec<&Node> = entries
        .map_or(&[][..], Node::items)
        .iter()
        .filter(|entry| makes(entry, &image.from) || makes(entry, &image.to))
        .collect();
    let name = match makes.as_slice() {
        [] => return Ok(false),
        [only] => only.get("name").map(Node::json).unwrap_or_default(),
        several => {
            return Err(EditError::Ambiguous {
                what: format!("{what}, image {}", image.from),
                places: vec![format!("{} entries of images in {file}", several.len())],
            });
        }
    };
    let entry = makes[0];
    let now = |key: &str| entry.get(key).map(Node::json);
    let has_new_name = entry.get("newName").is_some();
    let wanted = [
        ("newTag", image.from.tag(), image.to.tag()),
        ("digest", image.from.digest(), image.to.digest()),
        (
            "newName",
            has_new_name.then(|| image.from.repository()),
            (has_new_name || image.from.repository() != image.to.repository()).then(|| image.to.repository()),
        ),
    ];
    // With a digest kustomize leaves the tag out, so that an entry may have one that the image does not show.
    let digest_alone = image.from.digest().is_some() && image.from.tag().is_none();
    let mut edits = Vec::new();
    for (key, from, to) in wanted {
        let from = match (key, from) {
            ("newTag", None) if digest_alone => now(key),
            (_, from) => from.map(Value::from),
        };
        let to = match (key, to) {
            ("newTag", None) if image.to.digest().is_some() && digest_alone => now(key),
            (_, to) => to.map(Value::from),
        };
        if from != to {
            edits.push((key, from, to));
        }
    }
    // The new place first: an entry that says neither would be another image in between.
    for (key, from, to) in edits {
        let way = [
            Step::Key("images".to_owned()),
            Step::Item {
                by: "name",
                is: name.clone(),
            },
            Step::Key(key.to_owned()),
        ];
        let edit = Edit {
            file,
            document: 0,
            way: &way,
            from: from.as_ref(),
            to: to.as_ref(),
            open: true,
        };
        desk.apply(what, &edit)?;
    }
    Ok(true)
}

/// Whether this entry of `images` makes this image.
fn makes(entry: &Node, image: &Image) -> bool {
    let text = |key: &str| entry.get(key).and_then(Node::text);
    let name = text("newName").or_else(|| text("name"));
    let version = match (text("digest"), text("newTag")) {
        (Some(digest), _) => image.digest() == Some(digest),
        (None, Some(tag)) => image.tag() == Some(tag) && image.digest().is_none(),
        (None, None) => false,
    };
    name == Some(image.repository()) && version
}

/// The literals of the generator that makes a ConfigMap.
fn literals(desk: &mut Desk<'_>, file: &str, config: &ConfigRevert) -> Result<(), EditError> {
    let what = config.object.to_string();
    let not_found = |hint: String| EditError::NotFound {
        what: what.clone(),
        hint,
    };
    for (key, (from, to)) in &config.keys {
        let text = desk.text(file).unwrap_or_default().to_owned();
        let documents = yaml::documents(&text).map_err(|trouble| EditError::Place {
            what: what.clone(),
            file: file.to_owned(),
            trouble,
        })?;
        let generators = documents.first().and_then(|root| root.get("configMapGenerator"));
        let generated: Vec<&Node> = generators
            .map_or(&[][..], Node::items)
            .iter()
            .filter(|each| {
                each.get("name")
                    .and_then(Node::text)
                    .is_some_and(|name| is_generated(&config.object.name, name))
            })
            .collect();
        let [generator] = generated.as_slice() else {
            return Err(not_found(format!("{file} has no one configMapGenerator for it")));
        };
        let (Some(from), Some(to)) = (from, to) else {
            return Err(EditError::Beyond {
                what,
                kind: "kustomization",
                at: vec![format!("{key}, which comes or goes")],
            });
        };
        let name = generator.get("name").map(Node::json).unwrap_or_default();
        let (before, after) = (format!("{key}={from}"), format!("{key}={to}"));
        let listed = generator.get("literals").map_or(&[][..], Node::items);
        let says = |literal: &str| listed.iter().any(|each| each.text() == Some(literal));
        if says(&after) {
            continue;
        }
        if !says(&before) {
            return Err(not_found(format!(
                "the configMapGenerator in {file} has no literal {key} with the value that the run took back"
            )));
        }
        let (before, after) = (json!(before), json!(after));
        let way = [
            Step::Key("configMapGenerator".to_owned()),
            Step::Item { by: "name", is: name },
            Step::Key("literals".to_owned()),
            Step::Same(before.clone()),
        ];
        let edit = Edit {
            file,
            document: 0,
            way: &way,
            from: Some(&before),
            to: Some(&after),
            open: false,
        };
        desk.apply(&what, &edit)?;
    }
    Ok(())
}

/// Whether kustomize makes an object of this name from a generator of that one.
fn is_generated(object: &str, generator: &str) -> bool {
    object == generator
        || object.strip_prefix(generator).is_some_and(|suffix| {
            suffix.len() == SUFFIX
                && suffix.starts_with('-')
                && suffix[1..].bytes().all(|b| b.is_ascii_alphanumeric())
        })
}
