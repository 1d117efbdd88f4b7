//! What ConfigMaps hold, and what else is made, by the files of a folder at one commit. The commit alone is fetched, and of its files those are read that
//! the build asks for, round by round; what they come to is decided by [`build`].

mod build;
mod kustomization;
mod tree;

use crate::objects::{self, entries};
use crate::program::Repository;
use crate::repository::{FILES, error, open, said_by_remote};
use astern_model::reconstruction::short;
use astern_model::source::{Folder, FolderManifests, Source};
use astern_port::source::{FolderContents, SourceCode, SourceError};
use build::Built;
use std::collections::BTreeSet;
use std::path::Path;
use tree::Tree;

/// Where the commit is kept here.
const COMMIT: &str = "refs/astern/commit";
/// What a remote says that does not have a commit, or does not give it out by its id.
const NOT_THERE: [&str; 4] = [
    "not our ref",
    "couldn't find remote ref",
    "unadvertised object",
    "remote error: no such ref",
];

pub(crate) async fn contents(
    program: &Path,
    source: &Source,
    folder: &Folder,
    namespace: &str,
    names: &BTreeSet<String>,
) -> Result<FolderContents, SourceError> {
    let built = built(program, source, folder).await?;
    let told = |name: &String| (name.clone(), built.find(name, namespace));
    Ok(FolderContents {
        config: names.iter().map(told).collect(),
        images: built.images(namespace),
    })
}

pub(crate) async fn manifests(
    program: &Path,
    source: &Source,
    folder: &Folder,
) -> Result<FolderManifests, SourceError> {
    Ok(built(program, source, folder).await?.manifests())
}

/// What a folder makes at a commit.
async fn built(program: &Path, source: &Source, folder: &Folder) -> Result<Built, SourceError> {
    let repository = open(program, source, source, &[&folder.path]).await?;
    if !Folder::is_commit(&folder.commit) {
        let why = "it is named by no commit's whole id".to_owned();
        return Err(unreadable(source, folder, why, "see what the owner deployed"));
    }
    let fetched = repository.fetch(&folder.commit, COMMIT, 1).await;
    fetched.map_err(|said| refused(source, folder, said))?;
    let listed = repository
        .run(&["ls-tree", "-r", "-z", "--full-tree", COMMIT])
        .await?;
    let mut tree = Tree::of(entries(&listed));
    if !tree.has_folder(&folder.path) {
        let why = format!("{} is no folder there", folder.path);
        return Err(unreadable(source, folder, why, "see what the owner deployed"));
    }
    let mut read = 0;
    loop {
        let built = build::folder(&tree, &folder.path, folder.reach);
        let missing = tree.missing();
        if missing.is_empty() {
            return Ok(built);
        }
        read += missing.len();
        if read > FILES {
            let why = format!("it has more than {FILES} files to read");
            return Err(unreadable(
                source,
                folder,
                why,
                "deploy this platform from a folder of its own",
            ));
        }
        fill(&repository, &mut tree, missing).await?;
    }
}

/// The commit that a reference of the remote names; the id of a commit names itself. Git lists a tag with a message twice, the second time as what it means.
pub(crate) async fn commit_of(
    program: &Path,
    source: &Source,
    reference: &str,
) -> Result<String, SourceError> {
    if Folder::is_commit(reference) {
        return Ok(reference.to_owned());
    }
    let repository = open(program, source, source, &[]).await?;
    let failed = |why: String, hint: &str| {
        let operation = format!("read {reference} of {}", source.repository);
        error(SourceCode::Unreadable, operation, why, hint)
    };
    let meant = format!("{reference}^{{}}");
    let listed = repository
        .reach(&["ls-remote", "origin", reference, &meant])
        .await;
    let listed = listed.map_err(|said| {
        let (why, hint) = said_by_remote(&said);
        let mut failed = failed(why, hint);
        failed.failure.evidence = said;
        failed
    })?;
    let lines = || listed.lines().filter_map(|line| line.split_once('\t'));
    let find = |name: &str| lines().find(|(_, other)| *other == name);
    let found = find(&meant).or_else(|| find(reference));
    found.map(|(commit, _)| commit.to_owned()).ok_or_else(|| {
        let why = "there is no such reference".to_owned();
        failed(why, "see what the owner follows")
    })
}

/// Reads the files that were asked for.
async fn fill(
    repository: &Repository,
    tree: &mut Tree,
    missing: Vec<(String, String)>,
) -> Result<(), SourceError> {
    let blobs: Vec<&str> = missing.iter().map(|(_, blob)| blob.as_str()).collect();
    let contents = repository.blobs(&blobs).await?;
    for ((path, _), content) in missing.iter().zip(contents) {
        tree.put(path, objects::text(content));
    }
    Ok(())
}

fn refused(source: &Source, folder: &Folder, said: Vec<String>) -> SourceError {
    let text = said.join("\n").to_lowercase();
    let (why, hint) = if NOT_THERE.iter().any(|words| text.contains(words)) {
        (
            "it does not have that commit, or does not give it out by its id".to_owned(),
            "look whether history was rewritten there",
        )
    } else {
        said_by_remote(&said)
    };
    let mut failed = unreadable(source, folder, why, hint);
    failed.failure.evidence = said;
    failed
}

fn unreadable(source: &Source, folder: &Folder, why: String, hint: &str) -> SourceError {
    let operation = format!("read commit {} of {}", short(&folder.commit), source.repository);
    error(SourceCode::Unreadable, operation, why, hint)
}
