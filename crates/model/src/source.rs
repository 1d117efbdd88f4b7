//! Where workloads are deployed from: folders of Git repositories, and what a revert changes in them. Knows no git program
//! and no file's content.

use crate::config::ConfigName;
use crate::diff::Change;
use crate::helm::ReleaseName;
use crate::id::RunId;
use crate::image::Image;
use crate::platform::SecretRef;
use crate::target::Target;
use crate::template::Template;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A folder of a Git repository, and how workloads are made from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The repository's address, without a password.
    pub repository: String,
    /// The branch that is deployed. Nothing is ever pushed to it.
    pub branch: String,
    /// The folder, relative to the repository's root; empty for the root.
    pub path: String,
    /// What the folder holds.
    pub kind: SourceKind,
    /// The workloads that are made from it; empty for all.
    pub workloads: Vec<Target>,
    /// The token for the repository and for pull requests, never the token itself; without it, git's own credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretRef>,
    /// Where pull requests are opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_requests: Option<PullRequests>,
}

impl Source {
    /// Whether this workload is made from it.
    pub fn makes(&self, target: &Target) -> bool {
        self.workloads.is_empty() || self.workloads.contains(target)
    }
}

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum SourceKind {
    /// A kustomization where there is one, else the objects themselves.
    Folder,
    /// The objects themselves.
    Manifests,
    /// A kustomization.
    Kustomize,
    /// Values of a Helm chart.
    HelmValues {
        /// The file, relative to the folder.
        file: String,
        /// Where images stand in it.
        images: Vec<ValuesImage>,
    },
    /// The manifest of a HelmRelease of Flux, which has its values in itself.
    HelmRelease {
        /// Its name.
        name: String,
        /// Its namespace; none where any will do.
        namespace: Option<String>,
        /// Where images stand in its values.
        images: Vec<ValuesImage>,
    },
}

impl SourceKind {
    /// The word that `astern.yaml` has for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Manifests => "manifests",
            Self::Kustomize => "kustomize",
            Self::HelmValues { .. } => "helm-values",
            Self::HelmRelease { .. } => "helm-release",
        }
    }
}

/// Where one image stands in a values file. Places are keys from the root, joined by dots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValuesImage {
    /// The container that it is for; none for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The place of the repository; none where the chart fixes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The place of the tag.
    pub tag: String,
}

impl ValuesImage {
    /// What `helm create` writes, and most charts have kept.
    pub fn usual() -> Self {
        Self {
            container: None,
            repository: Some("image.repository".to_owned()),
            tag: "image.tag".to_owned(),
        }
    }
}

/// Where pull requests are opened: GitHub's REST API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequests {
    /// The API's address.
    pub api: String,
    /// `OWNER/NAME` there.
    pub repository: String,
}

impl PullRequests {
    /// The API of github.com. One of GitHub Enterprise is `https://HOST/api/v3`.
    pub const GITHUB: &str = "https://api.github.com";

    /// Those of a repository of github.com.
    pub fn of_github(address: &str) -> Option<Self> {
        let named = ["https://github.com/", "git@github.com:", "ssh://git@github.com/"]
            .iter()
            .find_map(|start| address.strip_prefix(start))?;
        let named = named.trim_end_matches('/');
        let named = named.strip_suffix(".git").unwrap_or(named);
        let (owner, name) = named.split_once('/')?;
        (!owner.is_empty() && !name.is_empty() && !name.contains('/')).then(|| Self {
            api: Self::GITHUB.to_owned(),
            repository: named.to_owned(),
        })
    }
}

/// What an owner has deployed from Git, as its own object remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployments {
    /// The owner: `Argo CD application argocd/shop`.
    pub owner: String,
    /// What it deployed, oldest first.
    pub deployed: Vec<Deployed>,
}

/// One deployment of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// When it had ended.
    pub at: Timestamp,
    /// What was deployed, each part; or why no commit of Git tells it, a clause: `a chart from a Helm repository`.
    pub from: Vec<Result<Folder, String>>,
}

/// A folder at a commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// The repository's address, as the owner has it.
    pub repository: String,
    /// The commit's whole id.
    pub commit: String,
    /// The folder, relative to the repository's root; empty for the root.
    pub path: String,
    /// Which of its files are deployed, where it is no kustomization.
    pub reach: Reach,
    /// Whether the owner itself changes pod templates, their images say, so that those of the files say nothing.
    pub sets_templates: bool,
}

/// Which files of a folder that has no kustomization are deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Those in it.
    Flat,
    /// Those below it too.
    Deep,
    /// Those that Flux takes, at any depth: no JSON. Source: `generateKustomization` of `kustomize` in
    /// <https://github.com/fluxcd/pkg>.
    Flux,
}

/// What an owner that is paused would bring once it goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// What the files of a folder make.
    Folder(Upcoming),
    /// A chart with values.
    Chart(NextChart),
}

/// A chart that is installed next. Its `Debug` shows no value.
#[derive(Clone, PartialEq)]
pub struct NextChart {
    /// The release that it is installed as.
    pub release: ReleaseName,
    /// The chart with its version, as a release's record names it: `shop-1.2.3`.
    pub chart: String,
    /// The values that are given for it.
    pub values: Value,
}

impl std::fmt::Debug for NextChart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NextChart")
            .field("release", &self.release)
            .field("chart", &self.chart)
            .finish_non_exhaustive()
    }
}

/// A folder that an owner applies next, by its own object and by that of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcoming {
    /// What has been fetched for it already, and is applied first.
    pub fetched: Folder,
    /// What is fetched next: a whole reference, `refs/heads/main`, or the id of the commit that is named.
    pub follows: String,
    /// Whether nothing newer is fetched until somebody has that go on too.
    pub suspended: bool,
    /// The namespace that every object is put into, whatever its file says.
    pub namespace: Option<String>,
    /// Whether what no file makes any more is deleted.
    pub prunes: bool,
    /// The field manager under which it applies.
    pub manager: &'static str,
    /// What makes it fetch at once, a command.
    pub fetch: String,
}

impl Folder {
    /// Whether this is the id of a commit: no branch, no tag, no version of a chart.
    pub fn is_commit(id: &str) -> bool {
        matches!(id.len(), 40 | 64) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// An object as the files of a folder make it. Its `Debug` shows no value.
#[derive(Clone, PartialEq)]
pub struct Manifest {
    /// The file that says it, from the repository's root.
    pub file: String,
    /// Its kind, as it is written there: `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; none where the files name none.
    pub namespace: Option<String>,
    /// The whole manifest, or why it is not told, a clause.
    pub json: Result<Value, String>,
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manifest")
            .field("file", &self.file)
            .field("kind", &self.kind)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What the files of a folder make at a commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FolderManifests {
    /// Workloads, ConfigMaps, and owners' own objects. Nothing else is among them.
    pub objects: Vec<Manifest>,
    /// What was not looked into, a clause each: it may make more.
    pub unread: Vec<String>,
}

/// Whether two addresses are of one repository: by its host and path, whatever is spoken, as whoever, with `.git` or without.
pub fn same_repository(one: &str, other: &str) -> bool {
    let place = |address: &str| {
        let (scheme, rest) = match address.split_once("://") {
            Some((scheme, rest)) => (scheme, rest.to_owned()),
            // scp's form, `git@host:path`.
            None => ("ssh", address.replacen(':', "/", 1)),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((&rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
        (scheme == "file", host.to_lowercase(), path)
    };
    place(one) == place(other)
}

/// What a run took back, as its sources must say it.
#[derive(Clone, Debug, PartialEq)]
pub struct Revert {
    /// The run.
    pub run: RunId,
    /// The templates of workloads.
    pub workloads: Vec<WorkloadRevert>,
    /// What ConfigMaps hold.
    pub config: Vec<ConfigRevert>,
    /// The values of Helm releases that went back, place by place.
    pub values: Vec<Change>,
    /// The versions of their charts, where these went back too.
    pub charts: Vec<ChartRevert>,
}

/// The version of a Helm release's chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartRevert {
    /// The release.
    pub release: ReleaseName,
    /// The bad one.
    pub from: String,
    /// The good one.
    pub to: String,
}

/// One workload's template, as the bad release left it and as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadRevert {
    /// The workload.
    pub target: Target,
    /// The bad template.
    pub from: Template,
    /// The good one.
    pub to: Template,
}

impl WorkloadRevert {
    /// The images that differ, by the container's name. A container that only one of them has is not among them.
    pub fn images(&self) -> Vec<ImageRevert> {
        let after = self.to.containers();
        self.from
            .containers()
            .iter()
            .filter_map(|before| {
                let name = before.name();
                let after = after
                    .iter()
                    .find(|after| after.init == before.init && after.name() == name)?;
                let (from, to) = (before.image()?, after.image()?);
                (from != to).then(|| ImageRevert {
                    container: name.to_owned(),
                    from,
                    to,
                })
            })
            .collect()
    }
}

/// One container's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRevert {
    /// The container.
    pub container: String,
    /// The bad one.
    pub from: Image,
    /// The good one.
    pub to: Image,
}

/// What one ConfigMap holds, key by key, where it differs. Values are in memory and in the repository alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigRevert {
    /// The ConfigMap.
    pub object: ConfigName,
    /// Its namespace.
    pub namespace: String,
    /// Key → what stood there, and what stands there now.
    pub keys: BTreeMap<String, (Option<String>, Option<String>)>,
}

impl std::fmt::Debug for ConfigRevert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigRevert")
            .field("object", &self.object)
            .field("keys", &self.keys.keys())
            .finish_non_exhaustive()
    }
}

/// One place of a file that a revert changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file, from the repository's root.
    pub file: String,
    /// Where in it, for a reader.
    pub at: String,
    /// What stands there; masked where it may be secret.
    pub from: String,
    /// What will.
    pub to: String,
}

/// The branch that a run's revert goes to.
pub fn branch_of(run: &RunId) -> String {
    format!("astern/rollback-{run}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_is_known_by_host_and_path_whatever_is_spoken() {
        let https = "https://git.example.test/shop/deploy.git";
        for other in [
            "https://git.example.test/shop/deploy",
            "git@Git.example.test:shop/deploy.git",
            "ssh://git@git.example.test/shop/deploy.git/",
        ] {
            assert!(same_repository(https, other), "{other}");
        }
        for other in [
            "https://git.example.test/shop/other.git",
            "https://other.example.test/shop/deploy.git",
            "file:///git.example.test/shop/deploy.git",
        ] {
            assert!(!same_repository(https, other), "{other}");
        }
    }

    #[test]
    fn a_commit_is_named_by_its_whole_id() {
        assert!(Folder::is_commit(&"3f2a".repeat(10)));
        assert!(!Folder::is_commit("main"));
        assert!(!Folder::is_commit("1.2.3"));
        assert!(!Folder::is_commit("3f2a9c1d07be"));
    }
}
