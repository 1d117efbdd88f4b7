//! A bare Git repository that the cluster's Git server serves, and a clone to commit in.

use crate::support::{Place, ended};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const BRANCH: &str = "main";

pub(crate) struct Repository {
    bare: PathBuf,
    clone: PathBuf,
    pub(crate) url: String,
}

impl Repository {
    /// Served by the cluster's Git server, under the name of the test's namespace; it goes with the test.
    pub(crate) fn new(place: &Place) -> Self {
        let variable = |name: &str| {
            std::env::var(name)
                .unwrap_or_else(|_| panic!("run `cargo xtask test --lane owners`, which sets {name}"))
        };
        let name = format!("{}.git", place.namespace);
        let bare = Path::new(&variable("ASTERN_TEST_GIT")).join(&name);
        let url = format!("{}/{name}", variable("ASTERN_TEST_GIT_URL"));
        Self::made(place, bare, url)
    }

    /// Served by nobody, in the test's own folder.
    pub(crate) fn local(place: &Place) -> Self {
        let bare = place.file("remote.git");
        let url = format!("file://{}", bare.display());
        Self::made(place, bare, url)
    }

    fn made(place: &Place, bare: PathBuf, url: String) -> Self {
        let (folder, path) = (place.folder.path(), bare.to_str().unwrap());
        git(folder, &["init", "--quiet", "--bare", "-b", BRANCH, path]);
        git(folder, &["clone", "--quiet", &url, "clone"]);
        Self {
            clone: place.file("clone"),
            bare,
            url,
        }
    }

    /// Refuses whatever is pushed from now on, with these words.
    pub(crate) fn refuse(&self, words: &str) {
        let hook = self.bare.join("hooks/pre-receive");
        std::fs::write(&hook, format!("#!/bin/sh\necho '{words}' >&2\nexit 1\n")).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Commits these files onto the branch that is followed, and pushes them; the commit's id.
    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            let file = self.clone.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        git(&self.clone, &["add", "--all"]);
        git(&self.clone, &["commit", "--quiet", "-m", message]);
        git(
            &self.clone,
            &["push", "--quiet", "origin", &format!("HEAD:{BRANCH}")],
        );
        self.head()
    }

    /// The newest commit.
    pub(crate) fn head(&self) -> String {
        git(&self.clone, &["rev-parse", "HEAD"]).trim().to_owned()
    }
}

impl Repository {
    /// Merges a branch of the remote into the one that is followed; the commit's id.
    pub(crate) fn merge(&self, branch: &str) -> String {
        git(&self.clone, &["fetch", "--quiet", "origin", branch]);
        git(
            &self.clone,
            &["merge", "--quiet", "--no-ff", "-m", "merge", "FETCH_HEAD"],
        );
        git(
            &self.clone,
            &["push", "--quiet", "origin", &format!("HEAD:{BRANCH}")],
        );
        git(&self.clone, &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// The branches of the remote.
    pub(crate) fn branches(&self) -> Vec<String> {
        let told = git(&self.bare, &["for-each-ref", "--format=%(refname:short)"]);
        told.lines().map(str::to_owned).collect()
    }

    /// A file as a branch has it.
    pub(crate) fn show(&self, branch: &str, file: &str) -> String {
        git(&self.bare, &["show", &format!("{branch}:{file}")])
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.bare);
    }
}

fn git(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args(["-c", "user.name=test", "-c", "user.email=test@example.test"])
        .args(words)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = ended(&mut command);
    assert!(
        output.status.success(),
        "git {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
