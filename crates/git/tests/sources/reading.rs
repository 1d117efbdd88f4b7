//! What ConfigMaps hold at a commit that is the branch's newest no more, and a repository that does not have it.

use crate::support::{Remote, git, source};
use astern_git::Git;
use astern_model::source::{Folder, Reach, Source};
use astern_port::source::{FolderContents, SourceCode, SourceError, Sources};
use std::collections::BTreeSet;

fn config(mode: &str) -> String {
    format!("kind: ConfigMap\nmetadata: {{name: app}}\ndata: {{MODE: {mode}}}\n")
}

/// Two commits, the second with another content; the first one's id.
fn two(remote: &Remote) -> String {
    remote.commit("calm", &[("deploy/app.yaml", &config("calm"))]);
    let first = git(&remote.clone(), &["rev-parse", "HEAD"]).trim().to_owned();
    remote.commit("storm", &[("deploy/app.yaml", &config("storm"))]);
    first
}

async fn contents(source: &Source, commit: &str) -> Result<FolderContents, SourceError> {
    let folder = Folder {
        repository: source.repository.clone(),
        commit: commit.to_owned(),
        path: "deploy".to_owned(),
        reach: Reach::Flat,
        sets_templates: false,
    };
    let names = BTreeSet::from(["app".to_owned(), "other".to_owned()]);
    Git::new("git").contents(source, &folder, "shop", &names).await
}

#[tokio::test]
async fn an_older_commit_is_read_without_its_branch_and_nothing_is_pushed() {
    let remote = Remote::empty();
    let first = two(&remote);
    let before = remote.branches();
    let said = contents(&remote.source(), &first).await.unwrap().config;
    let told = said["app"].as_ref().unwrap();
    assert_eq!(
        (told.file.as_str(), &told.json["data"]["MODE"]),
        ("deploy/app.yaml", &"calm".into())
    );
    assert!(!format!("{told:?}").contains("calm"), "{told:?}");
    assert_eq!(said["other"].as_ref().unwrap_err(), "no file there makes it");
    assert_eq!(remote.branches(), before);
}

#[tokio::test]
async fn a_repository_that_is_away_or_lacks_the_commit_says_so() {
    let remote = Remote::empty();
    two(&remote);
    let lacking = contents(&remote.source(), &"3f2a".repeat(10)).await.unwrap_err();
    assert_eq!(lacking.code, SourceCode::Unreadable);
    let told = lacking.to_string();
    assert!(
        told.contains("could not read commit 3f2a3f2a3f2a of file://")
            && told.contains("does not have that commit"),
        "{told}"
    );
    let away = contents(&source("file:///nowhere/deploy.git"), &"3f2a".repeat(10)).await;
    let told = away.unwrap_err().to_string();
    assert!(told.contains("there is no such repository"), "{told}");
    let branch = contents(&remote.source(), "main").await.unwrap_err().to_string();
    assert!(branch.contains("no commit's whole id"), "{branch}");
}

#[tokio::test]
async fn a_branch_names_its_newest_commit_and_the_id_of_a_commit_itself() {
    let remote = Remote::empty();
    let first = two(&remote);
    let newest = git(&remote.clone(), &["rev-parse", "HEAD"]).trim().to_owned();
    let source = remote.source();
    let branch = format!("refs/heads/{}", source.branch);
    for (reference, commit) in [(branch, newest), (first.clone(), first)] {
        let named = Git::new("git").commit_of(&source, &reference).await.unwrap();
        assert_eq!(named, commit, "{reference}");
    }
}
