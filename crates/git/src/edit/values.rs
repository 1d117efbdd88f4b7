//! Values of a Helm chart, in a file of their own or in a HelmRelease of Flux: the places where images stand, by keys joined with dots.

use super::differences::differences;
use super::manifests::{self, Found};
use super::{Desk, Edit, EditError};
use crate::yaml::{self, Step};
use astern_model::diff::{Change, Shown};
use astern_model::image::Image;
use astern_model::source::{ImageRevert, Revert, ValuesImage, WorkloadRevert};
use serde_json::Value;

/// Where values stand: a document of a file, and the keys that lead to them.
struct Values {
    found: Found,
    below: &'static [&'static str],
    /// What it is, for people.
    kind: &'static str,
}

impl Values {
    /// The way to a value.
    fn way(&self, keys: &str) -> Vec<Step> {
        let below = self.below.iter().copied();
        below
            .chain(keys.split('.'))
            .map(|key| Step::Key(key.to_owned()))
            .collect()
    }

    /// Changes what stands there.
    fn change(
        &self,
        desk: &mut Desk<'_>,
        what: &str,
        keys: &str,
        from: &Value,
        to: &Value,
    ) -> Result<(), EditError> {
        let way = self.way(keys);
        let edit = Edit {
            file: &self.found.file,
            document: self.found.document,
            way: &way,
            from: Some(from),
            to: Some(to),
            open: true,
        };
        desk.apply(what, &edit)
    }

    fn beyond(&self, what: String, at: Vec<String>) -> EditError {
        let kind = self.kind;
        EditError::Beyond { what, kind, at }
    }
}

/// Edits a file of values.
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
    let found = Found {
        file: file.to_owned(),
        document: 0,
    };
    let values = Values {
        found,
        below: &[],
        kind: "values file",
    };
    edit_values(desk, &values, images, revert)
}

/// Edits the values of a HelmRelease, and the version of its chart. Source: `HelmReleaseSpec` and `HelmChartTemplateSpec` of Flux'
/// helm-controller.
pub(super) fn edit_release(
    desk: &mut Desk<'_>,
    (namespace, name): (Option<&str>, &str),
    images: &[ValuesImage],
    revert: &Revert,
) -> Result<(), EditError> {
    let what = format!("helmrelease/{name}");
    let values = Values {
        found: manifests::find(desk, &what, "helmrelease", namespace, name)?,
        below: &["spec", "values"],
        kind: "HelmRelease",
    };
    edit_values(desk, &values, images, revert)?;
    let version = ["spec", "chart", "spec", "version"].map(|key| Step::Key(key.to_owned()));
    for chart in &revert.charts {
        let (from, to) = (Value::from(chart.from.as_str()), Value::from(chart.to.as_str()));
        let edit = Edit {
            file: &values.found.file,
            document: values.found.document,
            way: &version,
            from: Some(&from),
            to: Some(&to),
            open: true,
        };
        desk.apply(&what, &edit)?;
    }
    Ok(())
}

fn edit_values(
    desk: &mut Desk<'_>,
    values: &Values,
    images: &[ValuesImage],
    revert: &Revert,
) -> Result<(), EditError> {
    if let Some(config) = revert.config.first() {
        return Err(values.beyond(config.object.to_string(), vec!["data".to_owned()]));
    }
    let usual = [ValuesImage::usual()];
    let is_said = |image: &ImageRevert| images.is_empty() && is_a_value(revert, image);
    let places = if images.is_empty() { &usual } else { images };
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
            return Err(values.beyond(what, others));
        }
        for image in workload.images().iter().filter(|image| !is_said(image)) {
            let place = place_of(places, workload, image, &values.found.file)?;
            set(desk, values, &what, place, image)?;
        }
    }
    for change in &revert.values {
        set_value(desk, values, change)?;
    }
    Ok(())
}

/// Whether a value that the release went back with is what this image went back by, wherever the chart has it.
fn is_a_value(revert: &Revert, image: &ImageRevert) -> bool {
    let said = |change: &Change, from: &str, to: &str| {
        let is =
            |shown: &Option<Shown>, text: &str| matches!(shown, Some(Shown::Value(value)) if value == text);
        is(&change.from, from) && is(&change.to, to)
    };
    let by_tag = image.from.repository() == image.to.repository();
    revert.values.iter().any(|change| {
        by_tag && said(change, &tag(&image.from), &tag(&image.to))
            || said(change, &image.from.reference, &image.to.reference)
    })
}

/// One value of a release: a text, a number, a word. Lists, what comes or goes, and what is masked are left to a person.
fn set_value(desk: &mut Desk<'_>, values: &Values, change: &Change) -> Result<(), EditError> {
    let what = "a value of the release".to_owned();
    let (Some(Shown::Value(from)), Some(Shown::Value(to)), false) =
        (&change.from, &change.to, change.path.contains('['))
    else {
        return Err(values.beyond(what, vec![change.path.clone()]));
    };
    let keys: Vec<&str> = values
        .below
        .iter()
        .copied()
        .chain(change.path.split('.'))
        .collect();
    let documents = yaml::documents(desk.text(&values.found.file).unwrap_or_default());
    let now = documents
        .iter()
        .flatten()
        .nth(values.found.document)
        .and_then(|root| root.at(&keys))
        .map(yaml::Node::json);
    // The plan tells values without their types: the file has those.
    let typed = |text: &str| match &now {
        Some(Value::String(_)) | None => Value::from(text),
        Some(_) => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
    };
    let (from, to) = (typed(from), typed(to));
    values.change(desk, &what, &change.path, &from, &to)
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

/// Charts put a digest behind the tag: `tag: v1@sha256:…`.
fn tag(image: &Image) -> String {
    let parts = [image.tag(), image.digest()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("@")
}

fn set(
    desk: &mut Desk<'_>,
    values: &Values,
    what: &str,
    place: &ValuesImage,
    image: &ImageRevert,
) -> Result<(), EditError> {
    let mut wanted = vec![(&place.tag, tag(&image.from), tag(&image.to))];
    let (from, to) = (image.from.repository(), image.to.repository());
    match &place.repository {
        Some(repository) => wanted.push((repository, from.to_owned(), to.to_owned())),
        None if from != to => {
            return Err(values.beyond(what.to_owned(), vec![format!("the repository {to}")]));
        }
        None => {}
    }
    for (keys, from, to) in wanted {
        if from != to {
            values.change(desk, what, keys, &Value::from(from), &Value::from(to))?;
        }
    }
    Ok(())
}
