//! Git repositories that workloads are deployed from: the revert of a run, drafted, pushed, and proposed.

use crate::Failure;
use astern_model::owner::OwnerName;
use astern_model::source::{Deployments, Folder, FolderManifests, Next, Place, PullRequests, Revert, Source};
use astern_model::target::Target;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Why a revert is not written back. Each has a page in `docs/errors/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceCode {
    /// The place is not there, or there are several, or it holds something else.
    Place,
    /// The source cannot say what differs.
    Beyond,
    /// No source is known.
    NoSource,
    /// The repository cannot be read.
    Unreadable,
    /// The push was refused.
    PushRefused,
    /// The branch is there with another content.
    BranchTaken,
    /// The pull request was refused.
    PullRequest,
    /// The token cannot be had.
    Token,
    /// There is nothing to write back.
    Nothing,
}

impl SourceCode {
    /// The code as it is printed, and as its page is named.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Place => "AST0160",
            Self::Beyond => "AST0161",
            Self::NoSource => "AST0162",
            Self::Unreadable => "AST0163",
            Self::PushRefused => "AST0164",
            Self::BranchTaken => "AST0165",
            Self::PullRequest => "AST0166",
            Self::Token => "AST0167",
            Self::Nothing => "AST0168",
        }
    }
}

/// A revert that was not written back. Nothing of it was pushed unless the failure says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// Which page tells more.
    pub code: SourceCode,
    /// What happened.
    pub failure: Failure,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for SourceError {}

/// What one source is to say. Shares of one repository and branch are one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The source.
    pub source: Source,
    /// Its part of the revert.
    pub revert: Revert,
}

/// What a commit says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The first line.
    pub subject: String,
    /// The rest.
    pub body: String,
    /// When the run ended: the same run makes the same commit.
    pub at: Timestamp,
}

/// A revert as a commit that nobody else has yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The branch that it is for.
    pub branch: String,
    /// The branch that is deployed, which it is to be merged into.
    pub into: String,
    /// The commit of the source that it is made on.
    pub base: String,
    /// Its id.
    pub commit: String,
    /// What it changes.
    pub places: Vec<Place>,
    /// It as `git format-patch` writes it. It holds what the repository holds.
    pub patch: String,
    /// Whether the remote has it already.
    pub pushed: bool,
}

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its page.
    pub url: String,
    /// Whether it was there before.
    pub existed: bool,
}

/// What a pull request says.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// The branch that is to be merged.
    pub branch: &'a str,
    /// The branch that it is to be merged into.
    pub base: &'a str,
    /// The title.
    pub title: &'a str,
    /// The text, in Markdown.
    pub body: &'a str,
}

/// Where a workload is deployed from, as its owner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A folder that can be written to.
    Source(Box<Source>),
    /// What no commit changes, a clause: `a chart from a Helm repository`.
    Elsewhere(String),
}

/// The owners of workloads, asked for where they deploy from.
#[async_trait]
pub trait Origins: Send + Sync {
    /// For each workload that has such an owner, its origin. Only reads.
    async fn origins(&self, targets: &[Target]) -> Result<BTreeMap<Target, Origin>, Failure>;

    /// For each workload that has such an owner, what that remembers to have deployed. Only reads.
    async fn deployments(&self, targets: &[Target]) -> Result<BTreeMap<Target, Deployments>, Failure>;

    /// What an owner would bring once it goes on, or why that cannot be told, a clause. Only reads.
    async fn upcoming(&self, owner: &OwnerName) -> Result<Result<Next, String>, Failure>;
}

/// What files say that a ConfigMap holds. Its `Debug` shows no value.
#[derive(Clone, PartialEq)]
pub struct Told {
    /// The file that says so, from the repository's root.
    pub file: String,
    /// The object: name, namespace and what it holds.
    pub json: Value,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// What the files of a folder say at a commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FolderContents {
    /// What each ConfigMap that was asked for holds, or why the files do not tell it.
    pub config: BTreeMap<String, Result<Told, String>>,
    /// The images of workloads, where the files say them for certain: workload → container → image.
    pub images: BTreeMap<Target, BTreeMap<String, String>>,
}

/// The sources of workloads.
///
/// # Guarantees
/// - Drafting pushes nothing. A push makes one new branch, or finds the one that the same run made; it never moves a branch.
/// - The same run, pushed or proposed twice, leaves one branch and one pull request.
/// - Only the files of the source's folder are read and changed; nothing that the repository brings is run.
#[async_trait]
pub trait Sources: Send + Sync {
    /// Makes the revert as one commit on the branch of one repository, in whose folders each share says its part; with `push`,
    /// on the remote too.
    async fn write_back(&self, shares: &[Share], commit: &Commit, push: bool) -> Result<Draft, SourceError>;

    /// What the files of a folder say at a commit, fetched from `source`, of ConfigMaps of these names. Reads manifests and what a
    /// kustomization names; runs nothing, and pushes nothing.
    async fn contents(
        &self,
        source: &Source,
        folder: &Folder,
        namespace: &str,
        names: &BTreeSet<String>,
    ) -> Result<FolderContents, SourceError>;

    /// What the files of a folder make at a commit, fetched from `source`, as `kustomize build` would have it. Reads; runs nothing:
    /// what a kustomization does that is not known here makes an object untold.
    async fn manifests(&self, source: &Source, folder: &Folder) -> Result<FolderManifests, SourceError>;

    /// The commit that a whole reference of the remote names, `refs/heads/main`; of a tag with a message, the commit that it means.
    /// The id of a commit names itself, and nothing is read.
    async fn commit_of(&self, source: &Source, reference: &str) -> Result<String, SourceError>;

    /// Opens a pull request, or finds the one that is there.
    async fn propose(
        &self,
        source: &Source,
        at: &PullRequests,
        proposal: Proposal<'_>,
    ) -> Result<PullRequest, SourceError>;
}
