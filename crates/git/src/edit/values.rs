//! Values of a Helm chart: the places where images stand, by keys joined with dots.

use super::differences::differences;
use super::{Desk, Edit, EditError};
use crate::yaml::{self, Step};
use astern_model::diff::{Change, Shown};
use astern_model::source::{ImageRevert, Revert, ValuesImage, WorkloadRevert};
use serde_json::Value;

pub(super) fn edit(
    desk: &mut Desk<'_>,
    file: &str,
    images: &[ValuesImage],
    revert: &Revert,
) -> Result<(), EditError> {
    if desk.text(file).is_none() {
        return Err(EditError::NotFound {
            what: format!("the values file {file}"),
            hint: format!("the folder has no such file{}", desk.closed()),
        });
    }
    if let Some(config) = revert.config.first() {
        return Err(beyond(config.object.to_string(), vec!["data".to_owned()]));
    }
    let usual = [ValuesImage::usual()];
    let images = if images.is_empty() { &usual } else { images };
    for workload in &revert.workloads {
        let what = workload.target.to_string();
        let others: Vec<String> = differences(workload.from.json(), workload.to.json())
            .iter()
            .filter(|difference| !difference.is_image())
            .map(|difference| yaml::Way(&difference.way).to_string())
            .collect();
        // Labels that name the chart's version follow from it, and are no value.
        let others: Vec<String> = others
            .into_iter()
            .filter(|at| !at.starts_with("metadata.labels."))
            .collect();
        if !others.is_empty() {
            return Err(beyond(what, others));
        }
        for image in workload.images() {
            let place = place_of(images, workload, &image, file)?;
            set(desk, file, &what, place, &image)?;
        }
    }
    for change in &revert.values {
        set_value(desk, file, change)?;
    }
    Ok(())
}

/// One value of a release: a text, a number, a word. Lists, what comes or goes, and what is masked are left to a person.
fn set_value(desk: &mut Desk<'_>, file: &str, change: &Change) -> Result<(), EditError> {
    let what = "a value of the release".to_owned();
    let (Some(Shown::Value(from)), Some(Shown::Value(to)), false) =
        (&change.from, &change.to, change.path.contains('['))
    else {
        return Err(beyond(what, vec![change.path.clone()]));
    };
    let keys: Vec<&str> = change.path.split('.').collect();
    let documents = yaml::documents(desk.text(file).unwrap_or_default());
    let now = documents
        .iter()
        .flatten()
        .next()
        .and_then(|root| root.at(&keys))
        .map(yaml::Node::json);
    // The plan tells values without their types: the file has those.
    let typed = |text: &str| match &now {
        Some(Value::String(_)) | None => Value::from(text),
        Some(_) => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
    };
    let way: Vec<Step> = keys.iter().map(|key| Step::Key((*key).to_owned())).collect();
    let (from, to) = (typed(from), typed(to));
    let edit = Edit {
        file,
        document: 0,
        way: &way,
        from: Some(&from),
        to: Some(&to),
        open: true,
    };
    desk.apply(&what, &edit)
}

fn beyond(what: String, at: Vec<String>) -> EditError {
    EditError::Beyond {
        what,
        kind: "values file",
        at,
    }
}

/// The place that is for this container: one that names it, or the only one that names none.
fn place_of<'a>(
    images: &'a [ValuesImage],
    workload: &WorkloadRevert,
    image: &ImageRevert,
    file: &str,
) -> Result<&'a ValuesImage, EditError> {
    let named = images
        .iter()
        .find(|place| place.container.as_deref() == Some(&image.container));
    if let Some(named) = named {
        return Ok(named);
    }
    let unnamed: Vec<&ValuesImage> = images.iter().filter(|place| place.container.is_none()).collect();
    match unnamed.as_slice() {
        [only] if workload.images().len() == 1 => Ok(only),
        _ => Err(EditError::Ambiguous {
            what: format!("{}, container {}", workload.target, image.container),
            places: images
                .iter()
                .map(|place| format!("{} in {file}", place.tag))
                .collect(),
        }),
    }
}

fn set(
    desk: &mut Desk<'_>,
    file: &str,
    what: &str,
    place: &ValuesImage,
    image: &ImageRevert,
) -> Result<(), EditError> {
    // Charts put a digest behind the tag: `tag: v1@sha256:…`.
    let tag = |image: &astern_model::image::Image| {
        let parts = [image.tag(), image.digest()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("@")
    };
    let mut wanted = vec![(&place.tag, tag(&image.from), tag(&image.to))];
    let (from, to) = (image.from.repository(), image.to.repository());
    match &place.repository {
        Some(repository) => wanted.push((repository, from.to_owned(), to.to_owned())),
        None if from != to => return Err(beyond(what.to_owned(), vec![format!("the repository {to}")])),
        None => {}
    }
    for (keys, from, to) in wanted {
        if from == to {
            continue;
        }
        let way: Vec<Step> = keys.split('.').map(|key| Step::Key(key.to_owned())).collect();
        let (from, to) = (Value::from(from), Value::from(to));
        let edit = Edit {
            file,
            document: 0,
            way: &way,
            from: Some(&from),
            to: Some(&to),
            open: true,
        };
        desk.apply(what, &edit)?;
    }
    Ok(())
}
