//! The files of a commit: all paths are known, and texts are read once somebody asks for them.

use crate::edit::within;
use crate::objects::Entry;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Every file of a commit. Asking for a text that was not read notes it as missing.
#[derive(Default)]
pub(super) struct Tree {
    files: BTreeMap<String, File>,
    missing: RefCell<BTreeSet<String>>,
}

struct File {
    blob: String,
    text: Option<Result<String, &'static str>>,
}

impl Tree {
    pub(super) fn of(entries: impl Iterator<Item = Entry>) -> Self {
        let file = |entry: Entry| {
            let text = entry.closed().map(Err);
            (
                entry.path,
                File {
                    blob: entry.blob,
                    text,
                },
            )
        };
        Self {
            files: entries.map(file).collect(),
            missing: RefCell::default(),
        }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Whether some file lies below this folder.
    pub(super) fn has_folder(&self, folder: &str) -> bool {
        self.below(folder, true).next().is_some()
    }

    /// The files in a folder, and with `deep` in those below it.
    pub(super) fn below<'a>(&'a self, folder: &str, deep: bool) -> impl Iterator<Item = &'a str> {
        let start = within(folder, "");
        let paths = self.files.keys().map(String::as_str);
        paths.filter(move |path| {
            path.strip_prefix(start.as_str())
                .is_some_and(|rest| deep || !rest.contains('/'))
        })
    }

    /// A file's text, or why it is not told. One that is yet to be read has none for now.
    pub(super) fn text(&self, path: &str) -> Result<&str, String> {
        match self.files.get(path).map(|file| &file.text) {
            None => Err(format!("{path} is not there")),
            Some(Some(Ok(text))) => Ok(text),
            Some(Some(Err(why))) => Err(format!("{path} is {why}")),
            Some(None) => {
                self.missing.borrow_mut().insert(path.to_owned());
                Err(format!("{path} was not read"))
            }
        }
    }

    /// What was asked for and is yet to be read: paths, each with its blob. They are not asked for twice.
    pub(super) fn missing(&mut self) -> Vec<(String, String)> {
        let missing = std::mem::take(self.missing.get_mut());
        let blob = |path: String| Some((path.clone(), self.files.get(&path)?.blob.clone()));
        missing.into_iter().filter_map(blob).collect()
    }

    pub(super) fn put(&mut self, path: &str, text: Result<String, &'static str>) {
        if let Some(file) = self.files.get_mut(path) {
            file.text = Some(text);
        }
    }
}
