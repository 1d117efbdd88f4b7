//! A source's branch read, the revert made on it as a commit, and the commit pushed as a branch of its own. Objects are read
//! and written; no file of the repository is ever checked out.

use crate::edit::{self, EditError, Edited, Files};
use crate::objects;
use crate::program::{Remote, Repository};
use crate::token;
use astern_model::failure::{Failure, FailureClass};
use astern_model::source::{Source, branch_of};
use astern_port::source::{Commit, Draft, Share, SourceCode, SourceError};
use std::collections::BTreeMap;
use std::path::Path;

/// A folder with more files than this is not one that a platform is deployed from.
pub(crate) const FILES: usize = 2000;
/// Where the branches of the remote are kept here.
const BASE: &str = "refs/astern/base";
const OWN: &str = "refs/astern/own";
/// What an owner follows that names no branch: the remote's own.
const HEAD: &str = "HEAD";
/// The line of a commit's message that names its run.
const TRAILER: &str = "Astern-Run";

pub(crate) async fn write_back(
    program: &Path,
    shares: &[Share],
    commit: &Commit,
    push: bool,
) -> Result<Draft, SourceError> {
    let [first, ..] = shares else {
        panic!("BUG: a revert without a source");
    };
    let mut sources = shares.iter().map(|share| &share.source);
    let token = sources.find(|source| source.token.is_some());
    let folders: Vec<&str> = shares.iter().map(|share| share.source.path.as_str()).collect();
    let token = token.unwrap_or(&first.source);
    let mut work = Work {
        base: first.source.branch.clone(),
        repository: open(program, &first.source, token, &folders).await?,
        address: &first.source.repository,
        shares,
        commit,
        branch: branch_of(&first.revert.run),
        trailer: format!("{TRAILER}: {}", first.revert.run),
    };
    if work.base == HEAD {
        work.base = work.default_branch().await?;
    }
    if let Some(own) = work.own_branch().await? {
        return work.found(&own).await;
    }
    work.fetch(&work.base, BASE, 1).await?;
    let base = work.resolve(BASE).await?;
    let made = work.make(&base).await?;
    if made.places.is_empty() {
        return Err(work.nothing());
    }
    let draft = work.draft(base, made, false).await?;
    if push {
        work.push(&draft).await?;
        return Ok(Draft {
            pushed: true,
            ..draft
        });
    }
    Ok(draft)
}

/// A private repository beside a source's remote, with the token that `token` names.
pub(crate) async fn open(
    program: &Path,
    source: &Source,
    token: &Source,
    folders: &[&str],
) -> Result<Repository, SourceError> {
    let wrong = |why: &str| {
        let operation = format!("use the source {}", source.repository);
        error(
            SourceCode::Unreadable,
            operation,
            why.to_owned(),
            "correct the source in astern.yaml",
        )
    };
    let remote = Remote::parse(&source.repository).map_err(|why| SourceError {
        failure: Failure {
            // An address with a password in it is not repeated.
            operation: "use the address of a source".to_owned(),
            ..wrong(&why).failure
        },
        ..wrong(&why)
    })?;
    let strange = |part: &str| part.is_empty() || part == "." || part == ".." || part == ".git";
    if folders
        .iter()
        .any(|path| !path.is_empty() && path.split('/').any(strange))
    {
        return Err(wrong(
            "its path is not a folder of the repository: it is relative, without `..`",
        ));
    }
    if !is_branch(&source.branch) {
        return Err(wrong("its branch is not the name of a branch"));
    }
    Repository::new(program, remote, token::of(token).await?).await
}

/// Source: `git check-ref-format`, stricter where it matters here.
fn is_branch(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !name.starts_with('-')
        && name.split('/').all(part)
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && name
            .chars()
            .all(|c| !c.is_control() && !matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
}

struct Work<'a> {
    repository: Repository,
    /// The remote's address.
    address: &'a str,
    shares: &'a [Share],
    commit: &'a Commit,
    branch: String,
    /// The branch that is deployed.
    base: String,
    /// The line that the commit ends with.
    trailer: String,
}

/// A tree with the revert in it.
struct Made {
    tree: String,
    places: Vec<astern_model::source::Place>,
}

impl Work<'_> {
    /// The branch that the remote calls its own.
    async fn default_branch(&self) -> Result<String, SourceError> {
        let told = self
            .repository
            .reach(&["ls-remote", "--quiet", "--symref", "origin", HEAD])
            .await
            .map_err(|said| self.unreadable(said))?;
        let named = told.lines().find_map(|line| {
            let (name, _) = line.strip_prefix("ref: refs/heads/")?.split_once('\t')?;
            is_branch(name).then(|| name.to_owned())
        });
        named.ok_or_else(|| self.unreadable(vec!["could not find remote ref HEAD".to_owned()]))
    }

    /// The commit of the branch that an earlier call has pushed, if it has.
    async fn own_branch(&self) -> Result<Option<String>, SourceError> {
        let name = format!("refs/heads/{}", self.branch);
        let told = self
            .repository
            .reach(&["ls-remote", "--quiet", "origin", &name])
            .await
            .map_err(|said| self.unreadable(said))?;
        let found = told
            .lines()
            .find_map(|line| line.split_once('\t').filter(|(_, other)| *other == name));
        Ok(found.map(|(id, _)| id.to_owned()))
    }

    /// A branch of this name is ours if it holds what we would write onto the commit below it, and says so.
    async fn found(&self, own: &str) -> Result<Draft, SourceError> {
        self.fetch(&self.branch, OWN, 2).await?;
        let taken = |why: &str| {
            error(
                SourceCode::BranchTaken,
                format!("write the revert to branch {}", self.branch),
                format!("{} has a branch of that name, {why}", self.address),
                &format!(
                    "look at it: git fetch {} {}; delete or rename it there, then the same command again. Nothing was pushed",
                    self.address, self.branch
                ),
            )
        };
        if self.resolve(OWN).await? != own {
            return Err(taken("and it moves"));
        }
        let base = self
            .resolve(&format!("{OWN}^"))
            .await
            .map_err(|_| taken("which has nothing below it"))?;
        let message = self.text(&["log", "-1", "--format=%B", OWN]).await?;
        if !message.lines().any(|line| line == self.trailer) {
            return Err(taken("which another has made"));
        }
        let made = self
            .make(&base)
            .await
            .map_err(|_| taken("with another content"))?;
        if made.tree != self.resolve(&format!("{OWN}^{{tree}}")).await? {
            return Err(taken("with another content"));
        }
        let patch = self
            .text(&["format-patch", "-1", "--stdout", "--no-signature", own])
            .await?;
        Ok(Draft {
            branch: self.branch.clone(),
            into: self.base.clone(),
            base,
            commit: own.to_owned(),
            places: made.places,
            patch,
            pushed: true,
        })
    }

    async fn fetch(&self, branch: &str, into: &str, depth: u32) -> Result<(), SourceError> {
        let fetched = self
            .repository
            .fetch(&format!("refs/heads/{branch}"), into, depth)
            .await;
        fetched.map_err(|said| self.unreadable(said))
    }

    /// The tree of this commit with the revert in it.
    async fn make(&self, base: &str) -> Result<Made, SourceError> {
        let mut edited = Edited::default();
        let mut modes = BTreeMap::new();
        for share in self.shares {
            let (mut files, found) = self.read(base, &share.source).await?;
            // Folders may lie in one another: each begins where the one before it ended.
            for (path, text) in &mut files.texts {
                if let Some(changed) = edited.texts.get(path) {
                    text.clone_from(changed);
                }
            }
            let more = edit::edit(&files, &share.source, &share.revert)
                .map_err(|error| self.told(&share.source, error))?;
            modes.extend(found);
            edited.texts.extend(more.texts);
            edited.places.extend(more.places);
        }
        let index = [("GIT_INDEX_FILE", "index.astern")];
        self.repository.feed(&["read-tree", base], &index, b"").await?;
        let mut entries = Vec::new();
        for (path, text) in &edited.texts {
            let blob = self
                .repository
                .feed(
                    &["hash-object", "-w", "--no-filters", "--stdin"],
                    &[],
                    text.as_bytes(),
                )
                .await?;
            let blob = String::from_utf8_lossy(&blob);
            let mode = modes.get(path).map_or("100644", String::as_str);
            entries.extend_from_slice(format!("{mode} {}\t{path}\0", blob.trim()).as_bytes());
        }
        self.repository
            .feed(&["update-index", "-z", "--index-info"], &index, &entries)
            .await?;
        let tree = self
            .repository
            .feed(&["write-tree", "--missing-ok"], &index, b"")
            .await?;
        Ok(Made {
            tree: String::from_utf8_lossy(&tree).trim().to_owned(),
            places: edited.places,
        })
    }

    /// The files of the source's folder, and their modes.
    async fn read(
        &self,
        base: &str,
        source: &Source,
    ) -> Result<(Files, BTreeMap<String, String>), SourceError> {
        self.check_folder(base, source).await?;
        let mut words = vec!["ls-tree", "-r", "-z", "--full-tree", base];
        let folder = format!("{}/", source.path);
        if !source.path.is_empty() {
            words.extend(["--", &folder]);
        }
        let listed = self.repository.run(&words).await?;
        let mut files = Files::default();
        let mut modes = BTreeMap::new();
        let mut wanted = Vec::new();
        for entry in objects::entries(&listed) {
            match entry.closed() {
                Some(why) => drop(files.closed.insert(entry.path, why)),
                None if is_manifest(&entry.path) => {
                    modes.insert(entry.path.clone(), entry.mode);
                    wanted.push((entry.path, entry.blob));
                }
                None => {}
            }
        }
        if wanted.len() > FILES {
            let operation = format!("read {}", self.place(source));
            let why = format!("it has {} files; astern reads up to {FILES}", wanted.len());
            let hint = "name the folder of this platform with `path` in astern.yaml; nothing was pushed";
            return Err(error(SourceCode::Unreadable, operation, why, hint));
        }
        let blobs: Vec<&str> = wanted.iter().map(|(_, blob)| blob.as_str()).collect();
        for ((path, _), content) in wanted.iter().zip(self.repository.blobs(&blobs).await?) {
            match objects::text(content) {
                Ok(text) => drop(files.texts.insert(path.clone(), text)),
                Err(why) => drop(files.closed.insert(path.clone(), why)),
            }
        }
        Ok((files, modes))
    }

    /// The folder is there, and is one: every part of its path a tree of this repository.
    async fn check_folder(&self, base: &str, source: &Source) -> Result<(), SourceError> {
        if source.path.is_empty() {
            return Ok(());
        }
        let mut walked = String::new();
        for part in source.path.split('/') {
            walked = edit::within(&walked, part);
            let told = self
                .text(&["ls-tree", "--full-tree", base, "--", &walked])
                .await?;
            let why = match told.split_whitespace().next() {
                Some("040000") => continue,
                Some("120000") => "is a symbolic link, and none is followed",
                Some("160000") => "is a submodule: name that repository itself",
                Some(_) => "is a file",
                None => "is not there",
            };
            return Err(error(
                SourceCode::Place,
                format!("read {}", self.place(source)),
                format!("{walked} {why}"),
                "correct `path` or `branch` of the source in astern.yaml; nothing was pushed",
            ));
        }
        Ok(())
    }

    async fn draft(&self, base: String, made: Made, pushed: bool) -> Result<Draft, SourceError> {
        let message = format!(
            "{}\n\n{}\n\n{}\n",
            self.commit.subject,
            self.commit.body.trim(),
            self.trailer
        );
        let date = format!("{} +0000", self.commit.at.as_second());
        // A person's own name, where git knows it.
        let name = self
            .setting("user.name")
            .await
            .unwrap_or_else(|| "astern".to_owned());
        let email = self
            .setting("user.email")
            .await
            .unwrap_or_else(|| "astern@localhost".to_owned());
        let who = [
            ("GIT_AUTHOR_NAME", name.as_str()),
            ("GIT_AUTHOR_EMAIL", &email),
            ("GIT_AUTHOR_DATE", &date),
            ("GIT_COMMITTER_NAME", &name),
            ("GIT_COMMITTER_EMAIL", &email),
            ("GIT_COMMITTER_DATE", &date),
        ];
        let words = ["commit-tree", "--no-gpg-sign", "-p", &base, "-F", "-", &made.tree];
        let commit = self.repository.feed(&words, &who, message.as_bytes()).await?;
        let commit = String::from_utf8_lossy(&commit).trim().to_owned();
        let patch = self
            .text(&["format-patch", "-1", "--stdout", "--no-signature", &commit])
            .await?;
        Ok(Draft {
            branch: self.branch.clone(),
            into: self.base.clone(),
            base,
            commit,
            places: made.places,
            patch,
            pushed,
        })
    }

    /// A new branch, and nothing else: what is there is never moved.
    async fn push(&self, draft: &Draft) -> Result<(), SourceError> {
        let to = format!("{}:refs/heads/{}", draft.commit, self.branch);
        let words = ["push", "--quiet", "--no-verify", "origin", &to];
        let Err(said) = self.repository.reach(&words).await else {
            return Ok(());
        };
        // The answer may have been lost, or the same command may have come first.
        if self.own_branch().await.ok().flatten().as_deref() == Some(&draft.commit) {
            return Ok(());
        }
        let (why, hint) = said_by_remote(&said);
        let mut failed = error(
            SourceCode::PushRefused,
            format!("push branch {} to {}", self.branch, self.address),
            why,
            &format!("{hint}; the cluster is as the run left it, and nothing was pushed"),
        );
        failed.failure.evidence = said;
        Err(failed)
    }

    async fn setting(&self, name: &str) -> Option<String> {
        let told = self.text(&["config", "--get", name]).await.ok()?;
        Some(told.trim().to_owned()).filter(|value| !value.is_empty())
    }

    async fn resolve(&self, name: &str) -> Result<String, SourceError> {
        Ok(self
            .text(&["rev-parse", "--verify", "--quiet", name])
            .await?
            .trim()
            .to_owned())
    }

    async fn text(&self, words: &[&str]) -> Result<String, SourceError> {
        Ok(String::from_utf8_lossy(&self.repository.run(words).await?).into_owned())
    }

    /// The source, for a sentence.
    fn place(&self, source: &Source) -> String {
        let folder = if source.path.is_empty() { "/" } else { &source.path };
        format!("{folder} of {}, branch {}", self.address, self.base)
    }

    fn unreadable(&self, said: Vec<String>) -> SourceError {
        let (why, hint) = said_by_remote(&said);
        let mut failed = error(
            SourceCode::Unreadable,
            format!("read {}, branch {}", self.address, self.base),
            why,
            &format!("{hint}; nothing was pushed"),
        );
        failed.failure.evidence = said;
        failed
    }

    fn nothing(&self) -> SourceError {
        error(
            SourceCode::Nothing,
            format!("write branch {}", self.branch),
            format!("{} says already what runs", self.address),
            "nothing needs to be done there; nothing was pushed",
        )
    }

    fn told(&self, source: &Source, told: EditError) -> SourceError {
        let by_hand = "make this change by hand, or name another source for the workload in astern.yaml (`sources`); \
                       nothing was pushed";
        let (code, why, hint) = match told {
            EditError::NotFound { what, hint } => (
                SourceCode::Place,
                format!("{what} is not there: {hint}"),
                "correct `path`, `branch` or `kind` of the source in astern.yaml; nothing was pushed",
            ),
            EditError::Ambiguous { what, places } => (
                SourceCode::Place,
                format!("{what} might be several places: {}", places.join(", ")),
                "name the folder more closely with `path`, or the place with `images`, in astern.yaml; nothing was pushed",
            ),
            EditError::Place { what, file, trouble } => {
                (SourceCode::Place, format!("{what} in {file}: {trouble}"), by_hand)
            }
            EditError::Beyond { what, kind, at } => (
                SourceCode::Beyond,
                format!("{what} differs in what a {kind} does not say: {}", at.join(", ")),
                by_hand,
            ),
        };
        error(
            code,
            format!("write the revert into {}", self.place(source)),
            why,
            hint,
        )
    }
}

pub(crate) fn is_manifest(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name == "Kustomization"
        || [".yaml", ".yml", ".json"]
            .iter()
            .any(|ending| name.ends_with(ending))
}

/// What a remote's words come to, and what to do. Its own lines are shown beside it.
pub(crate) fn said_by_remote(said: &[String]) -> (String, &'static str) {
    let text = said.join("\n").to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&[
        "protected branch",
        "pre-receive hook declined",
        "hook declined",
        "remote rejected",
    ]) {
        (
            "the remote refuses the branch".to_owned(),
            "allow branches `astern/rollback-*` there, or apply the patch by hand",
        )
    } else if has(&[
        "authentication failed",
        "could not read username",
        "could not read password",
        "terminal prompts disabled",
        "error: 401",
        "permission denied",
        "publickey",
    ]) {
        (
            "the remote does not know who asks".to_owned(),
            "name a token with `token` at the source in astern.yaml, or sign git in (git credential, ssh-agent)",
        )
    } else if has(&["error: 403", "access denied", "not authorized", "write access"]) {
        (
            "the remote does not allow it to whom asks".to_owned(),
            "the token or key needs the right to write contents there",
        )
    } else if has(&[
        "not found",
        "does not appear to be a git repository",
        "does not exist",
    ]) {
        (
            "there is no such repository, or not for whom asks".to_owned(),
            "correct `repository` of the source in astern.yaml, or name a token that may see it",
        )
    } else if has(&["couldn't find remote ref", "could not find remote"]) {
        (
            "there is no such branch".to_owned(),
            "correct `branch` of the source in astern.yaml",
        )
    } else if has(&["no answer within"]) {
        (
            "the remote does not answer".to_owned(),
            "the same command again once it can be reached",
        )
    } else {
        (
            "git could not reach it".to_owned(),
            "see what git says; the same command again once it can be reached",
        )
    }
}

pub(crate) fn error(code: SourceCode, operation: String, why: String, hint: &str) -> SourceError {
    SourceError {
        code,
        failure: Failure::new(FailureClass::Refused, operation, why).hint(hint),
    }
}
