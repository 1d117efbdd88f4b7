//! What a revert changes in the files of a source. Decides only: files in, files and places out; nothing is half changed.

mod differences;
mod kustomize;
mod manifests;
mod values;

use crate::yaml::{self, Step, Trouble, Way};
use astern_model::source::{Place, Revert, Source, SourceKind};
use serde_json::Value;
use std::collections::BTreeMap;

/// The files of a source's folder that may be edited, by their path from the repository's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) texts: BTreeMap<String, String>,
    /// Files that are there and are not looked into, with the reason.
    pub(crate) closed: BTreeMap<String, &'static str>,
}

/// What a revert makes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edited {
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) places: Vec<Place>,
}

/// Why a revert cannot be said in these files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EditError {
    /// No file says it.
    NotFound { what: String, hint: String },
    /// Several places might be meant.
    Ambiguous { what: String, places: Vec<String> },
    /// The place cannot be changed.
    Place {
        what: String,
        file: String,
        trouble: Trouble,
    },
    /// A source of this kind cannot say it.
    Beyond {
        what: String,
        kind: &'static str,
        at: Vec<String>,
    },
}

/// One place to change, and what stands there.
pub(crate) struct Edit<'a> {
    pub(crate) file: &'a str,
    pub(crate) document: usize,
    pub(crate) way: &'a [Step],
    pub(crate) from: Option<&'a Value>,
    pub(crate) to: Option<&'a Value>,
    /// Whether the values may be told.
    pub(crate) open: bool,
}

/// Edits the files, all places or none.
pub(crate) fn edit(files: &Files, source: &Source, revert: &Revert) -> Result<Edited, EditError> {
    let mut desk = Desk::new(files);
    match &source.kind {
        SourceKind::Folder if !kustomize::is_in(&desk, &source.path) => manifests::edit(&mut desk, revert)?,
        SourceKind::Manifests => manifests::edit(&mut desk, revert)?,
        SourceKind::Folder | SourceKind::Kustomize => kustomize::edit(&mut desk, &source.path, revert)?,
        SourceKind::HelmValues { file, images } => {
            values::edit(&mut desk, &within(&source.path, file), images, revert)?;
        }
        SourceKind::HelmRelease {
            name,
            namespace,
            images,
        } => {
            values::edit_release(&mut desk, (namespace.as_deref(), name), images, revert)?;
        }
    }
    Ok(desk.edited)
}

/// A path below a folder.
pub(crate) fn within(folder: &str, file: &str) -> String {
    if folder.is_empty() {
        file.to_owned()
    } else {
        format!("{folder}/{file}")
    }
}

/// The files as they are while they are edited.
pub(crate) struct Desk<'a> {
    files: &'a Files,
    edited: Edited,
}

impl<'a> Desk<'a> {
    fn new(files: &'a Files) -> Self {
        Self {
            files,
            edited: Edited::default(),
        }
    }

    /// The paths of all files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.files.texts.keys().map(String::as_str)
    }

    /// A file's text as it is now.
    pub(crate) fn text(&self, file: &str) -> Option<&str> {
        let edited = self.edited.texts.get(file);
        edited.or_else(|| self.files.texts.get(file)).map(String::as_str)
    }

    /// A sentence on files that were left closed, for somebody who misses a place.
    pub(crate) fn closed(&self) -> String {
        let closed = self.files.closed.iter();
        let closed: Vec<String> = closed.map(|(file, why)| format!("{file} ({why})")).collect();
        if closed.is_empty() {
            String::new()
        } else {
            format!("; not looked into: {}", closed.join(", "))
        }
    }

    /// Makes one change.
    pub(crate) fn apply(&mut self, what: &str, edit: &Edit<'_>) -> Result<(), EditError> {
        let trouble = |trouble| EditError::Place {
            what: what.to_owned(),
            file: edit.file.to_owned(),
            trouble,
        };
        let at = Way(edit.way).to_string();
        let text = self
            .text(edit.file)
            .ok_or_else(|| trouble(Trouble::Absent(at.clone())))?;
        let changed = yaml::change(text, edit.document, edit.way, edit.from, edit.to).map_err(trouble)?;
        if let Some(changed) = changed {
            self.edited.texts.insert(edit.file.to_owned(), changed);
            let told = |value: Option<&Value>, masked: &str| match value {
                None => "nothing".to_owned(),
                Some(_) if !edit.open => masked.to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            self.edited.places.push(Place {
                file: edit.file.to_owned(),
                at,
                from: told(edit.from, "(before)"),
                to: told(edit.to, "(after)"),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "edit/tests.rs"]
mod tests;
