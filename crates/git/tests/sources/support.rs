//! A bare repository with one release in it, the revert of the next one, and git.

use astern_git::Git;
use astern_model::id::RunId;
use astern_model::source::{Revert, Source, SourceKind, WorkloadRevert};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_port::source::{Commit, Draft, Share, SourceError, Sources};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const RUN: &str = "r20261127-140200-ab12";
pub(crate) const BRANCH: &str = "astern/rollback-r20261127-140200-ab12";
pub(crate) const MANIFEST: &str = "\
# kept by the shop team
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      containers:
      - name: api
        image: api:v2 # the release
";

/// A remote, and a clone to work in.
pub(crate) struct Remote {
    pub(crate) folder: tempfile::TempDir,
}

impl Remote {
    /// With the bad release on `main`, below `deploy`.
    pub(crate) fn new() -> Self {
        let remote = Self::empty();
        remote.commit("v2", &[("deploy/api.yaml", MANIFEST), ("README.md", "x\n")]);
        remote
    }

    pub(crate) fn empty() -> Self {
        let remote = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        git(
            remote.folder.path(),
            &["init", "-q", "--bare", "-b", "main", "remote.git"],
        );
        git(remote.folder.path(), &["clone", "-q", "remote.git", "clone"]);
        remote
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.folder.path().join("remote.git")
    }

    pub(crate) fn clone(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) {
        for (path, content) in files {
            let file = self.clone().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        self.commit_all(message);
    }

    /// Commits and pushes what lies in the clone.
    pub(crate) fn commit_all(&self, message: &str) {
        git(&self.clone(), &["add", "--all"]);
        git(&self.clone(), &["commit", "-q", "-m", message]);
        git(&self.clone(), &["push", "-q", "origin", "HEAD:main"]);
    }

    /// Every branch with its commit, as the remote has them.
    pub(crate) fn branches(&self) -> Vec<String> {
        let told = git(
            &self.bare(),
            &["for-each-ref", "--format=%(refname:short) %(objectname)"],
        );
        told.lines().map(str::to_owned).collect()
    }

    pub(crate) fn show(&self, what: &str) -> String {
        git(&self.bare(), &["show", what])
    }

    pub(crate) fn source(&self) -> Source {
        source(&format!("file://{}", self.bare().display()))
    }
}

pub(crate) fn source(repository: &str) -> Source {
    Source {
        repository: repository.to_owned(),
        branch: "main".to_owned(),
        path: "deploy".to_owned(),
        kind: SourceKind::Manifests,
        workloads: Vec::new(),
        token: None,
        pull_requests: None,
    }
}

/// From v2 to v1.
pub(crate) fn revert() -> Revert {
    let template = |image: &str| {
        Template::clean(json!({ "spec": { "containers": [{ "name": "api", "image": image }] } }))
    };
    Revert {
        run: RunId::from(RUN),
        workloads: vec![WorkloadRevert {
            target: Target {
                kind: WorkloadKind::Deployment,
                namespace: "shop".to_owned(),
                name: "api".to_owned(),
            },
            from: template("api:v2"),
            to: template("api:v1"),
        }],
        config: Vec::new(),
        values: Vec::new(),
        charts: Vec::new(),
    }
}

pub(crate) async fn draft(source: &Source) -> Result<Draft, SourceError> {
    write_back(&[share(source)], false).await
}

pub(crate) async fn push(source: &Source) -> Result<Draft, SourceError> {
    write_back(&[share(source)], true).await
}

/// The whole revert for this source.
pub(crate) fn share(source: &Source) -> Share {
    Share {
        source: source.clone(),
        revert: revert(),
    }
}

pub(crate) async fn write_back(shares: &[Share], push: bool) -> Result<Draft, SourceError> {
    let commit = Commit {
        subject: "Take the release v2 back".to_owned(),
        body: "Errors since 14:02.".to_owned(),
        at: "2026-11-27T14:10:00Z".parse().unwrap(),
    };
    Git::new("git").write_back(shares, &commit, push).await
}

/// What a person would read of it.
pub(crate) fn told(error: &SourceError) -> String {
    let failure = &error.failure;
    format!(
        "[{}] {failure}\n{}\n{}",
        error.code.as_str(),
        failure.evidence.join("\n"),
        failure.hint.as_deref().unwrap_or_default()
    )
}

pub(crate) fn git(folder: &Path, words: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.test"])
        .args(["-c", "protocol.file.allow=always"])
        .args(words)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
