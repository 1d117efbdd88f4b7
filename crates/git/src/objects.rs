//! What a repository holds, read object by object: commits fetched, trees listed, blobs read. No file is ever checked out.

use crate::program::Repository;
use crate::repository::error;
use astern_port::source::{SourceCode, SourceError};

/// Larger files are no manifests.
const FILE_BYTES: usize = 1024 * 1024;
/// What a file of Git LFS begins with. Source: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// One entry of a tree.
pub(crate) struct Entry {
    /// From the repository's root.
    pub(crate) path: String,
    pub(crate) mode: String,
    pub(crate) blob: String,
}

impl Entry {
    /// Why it is not looked into; none for a file.
    pub(crate) fn closed(&self) -> Option<&'static str> {
        match self.mode.as_str() {
            "120000" => Some("a symbolic link"),
            "160000" => Some("a submodule"),
            _ => None,
        }
    }
}

/// The entries that `git ls-tree -r -z` lists.
pub(crate) fn entries(listed: &[u8]) -> impl Iterator<Item = Entry> {
    let entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    entries.filter_map(|entry| {
        let entry = String::from_utf8_lossy(entry);
        let (head, path) = entry.split_once('\t')?;
        let [mode, _, blob] = head.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Entry {
            path: path.to_owned(),
            mode: mode.to_owned(),
            blob: blob.to_owned(),
        })
    })
}

/// A file's text, or why it is not looked into. None is one that the fetch left out.
pub(crate) fn text(content: Option<Vec<u8>>) -> Result<String, &'static str> {
    match content.filter(|content| content.len() <= FILE_BYTES) {
        None => Err("larger than a manifest"),
        Some(content) if content.starts_with(LFS) => Err("kept in Git LFS"),
        Some(content) => String::from_utf8(content).map_err(|_| "not text"),
    }
}

impl Repository {
    /// One branch or commit, no deeper than needed, without tags, and without files that are too large to be manifests. What
    /// the remote said where it does not give it.
    pub(crate) async fn fetch(&self, what: &str, into: &str, depth: u32) -> Result<(), Vec<String>> {
        let words = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-gc",
            &format!("--depth={depth}"),
            &format!("--filter=blob:limit={FILE_BYTES}"),
            "origin",
            &format!("+{what}:{into}"),
        ];
        self.reach(&words).await?;
        // What was left out is missing from here on: git is not to fetch it one by one whenever it meets it. Where nothing was
        // left out, there is nothing to unset.
        for promise in [
            "remote.origin.promisor",
            "remote.origin.partialclonefilter",
            "extensions.partialclone",
        ] {
            let _ = self.run(&["config", "--unset", promise]).await;
        }
        Ok(())
    }

    /// Blobs in one go, each as `git cat-file --batch` has it: a line with its size, the bytes, a line end; or a line that says
    /// that it is missing, since the fetch left it out.
    pub(crate) async fn blobs(&self, blobs: &[&str]) -> Result<Vec<Option<Vec<u8>>>, SourceError> {
        let ids: String = blobs.iter().map(|blob| format!("{blob}\n")).collect();
        let told = self.feed(&["cat-file", "--batch"], &[], ids.as_bytes()).await?;
        let mut rest = told.as_slice();
        let mut contents = Vec::new();
        for blob in blobs {
            let short = || {
                let why = format!("object {blob} cannot be read");
                let hint = "the same command again; nothing was pushed";
                error(SourceCode::Unreadable, "read a repository".to_owned(), why, hint)
            };
            let line = rest.iter().position(|byte| *byte == b'\n').ok_or_else(short)?;
            let head = String::from_utf8_lossy(&rest[..line]);
            if head.ends_with(" missing") {
                contents.push(None);
                rest = &rest[line + 1..];
                continue;
            }
            let size: usize = head
                .rsplit(' ')
                .next()
                .and_then(|size| size.parse().ok())
                .ok_or_else(short)?;
            let from = line + 1;
            contents.push(Some(rest.get(from..from + size).ok_or_else(short)?.to_vec()));
            rest = rest.get(from + size + 1..).unwrap_or_default();
        }
        Ok(contents)
    }
}
