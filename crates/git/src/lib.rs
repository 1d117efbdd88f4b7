//! The Git repositories that workloads are deployed from: a run's revert as a commit on a new branch, and as a pull request; and
//! what a commit of the past says that ConfigMaps held.
//! Calls the git program; reads and changes files without ever checking one out, so that nothing a repository brings is run.

mod contents;
mod edit;
mod github;
mod objects;
mod program;
mod repository;
mod token;
mod yaml;

use astern_model::source::{Folder, FolderManifests, PullRequests, Source};
use astern_port::source::{
    Commit, Draft, FolderContents, Proposal, PullRequest, Share, SourceError, Sources,
};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Sources behind the git program and GitHub's REST API.
#[derive(Clone, Debug)]
pub struct Git {
    program: PathBuf,
}

impl Git {
    /// With this git program, by name or path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }
}

#[async_trait]
impl Sources for Git {
    async fn write_back(&self, shares: &[Share], commit: &Commit, push: bool) -> Result<Draft, SourceError> {
        repository::write_back(&self.program, shares, commit, push).await
    }

    async fn contents(
        &self,
        source: &Source,
        folder: &Folder,
        namespace: &str,
        names: &BTreeSet<String>,
    ) -> Result<FolderContents, SourceError> {
        contents::contents(&self.program, source, folder, namespace, names).await
    }

    async fn manifests(&self, source: &Source, folder: &Folder) -> Result<FolderManifests, SourceError> {
        contents::manifests(&self.program, source, folder).await
    }

    async fn commit_of(&self, source: &Source, reference: &str) -> Result<String, SourceError> {
        contents::commit_of(&self.program, source, reference).await
    }

    async fn propose(
        &self,
        source: &Source,
        at: &PullRequests,
        proposal: Proposal<'_>,
    ) -> Result<PullRequest, SourceError> {
        github::propose(source, at, proposal).await
    }
}
