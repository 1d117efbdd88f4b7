//! A revert becomes one new branch, whoever asks and however often.

use crate::support::{BRANCH, MANIFEST, RUN, Remote, draft, git, push, share, source, told, write_back};
use astern_model::source::Source;
use astern_model::template::Template;
use astern_port::source::SourceCode;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

#[tokio::test]
async fn without_a_push_the_remote_stays_as_it_is_and_the_patch_says_what_would_change() {
    let remote = Remote::new();
    let before = remote.branches();
    let draft = draft(&remote.source()).await.unwrap();
    assert_eq!(remote.branches(), before);
    assert!(!draft.pushed);
    assert!(
        draft
            .patch
            .contains("-        image: api:v2 # the release\n+        image: api:v1 # the release\n"),
        "{}",
        draft.patch
    );
    let place = &draft.places[0];
    assert_eq!(
        (place.file.as_str(), place.from.as_str(), place.to.as_str()),
        ("deploy/api.yaml", "api:v2", "api:v1")
    );
    // It is a patch that git takes.
    let file = remote.folder.path().join("revert.patch");
    std::fs::write(&file, &draft.patch).unwrap();
    git(&remote.clone(), &["am", "-q", file.to_str().unwrap()]);
    let text = std::fs::read_to_string(remote.clone().join("deploy/api.yaml")).unwrap();
    assert_eq!(text, MANIFEST.replace("v2", "v1"));
}

#[tokio::test]
async fn a_push_makes_one_new_branch_and_the_branch_that_is_deployed_stays() {
    let remote = Remote::new();
    let before = remote.branches();
    let pushed = push(&remote.source()).await.unwrap();
    assert!(pushed.pushed);
    let after = remote.branches();
    assert_eq!(after.len(), 2);
    assert!(after.contains(&format!("{BRANCH} {}", pushed.commit)) && after.contains(&before[0]));
    assert_eq!(
        remote.show(&format!("{BRANCH}:deploy/api.yaml")),
        MANIFEST.replace("v2", "v1")
    );
    let changed = git(&remote.bare(), &["diff", "--name-only", "main", BRANCH]);
    assert_eq!(changed, "deploy/api.yaml\n");
    let message = git(&remote.bare(), &["log", "-1", "--format=%B", BRANCH]);
    assert!(message.starts_with("Take the release v2 back\n\nErrors since 14:02.\n\nAstern-Run: "));
    assert!(message.contains(RUN));
}

#[tokio::test]
async fn the_same_run_again_finds_its_branch_and_changes_nothing() {
    let remote = Remote::new();
    let first = push(&remote.source()).await.unwrap();
    let before = remote.branches();
    let again = push(&remote.source()).await.unwrap();
    assert_eq!((&again.commit, again.pushed), (&first.commit, true));
    assert_eq!(again.places, first.places);
    // Also once the deployed branch has gone on, and once it has taken the revert in.
    remote.commit("more", &[("deploy/other.yaml", "a: 1\n")]);
    assert_eq!(push(&remote.source()).await.unwrap().commit, first.commit);
    git(&remote.clone(), &["pull", "-q", "--no-rebase", "origin", BRANCH]);
    git(&remote.clone(), &["push", "-q", "origin", "HEAD:main"]);
    assert_eq!(push(&remote.source()).await.unwrap().commit, first.commit);
    assert!(remote.branches().contains(&before[0]));
}

#[tokio::test]
async fn a_branch_of_that_name_with_another_content_is_left_and_refused() {
    let remote = Remote::new();
    let ours = push(&remote.source()).await.unwrap();
    git(&remote.clone(), &["fetch", "-q", "origin", BRANCH]);
    git(&remote.clone(), &["checkout", "-q", "FETCH_HEAD"]);
    std::fs::write(
        remote.clone().join("deploy/api.yaml"),
        MANIFEST.replace("v2", "v9"),
    )
    .unwrap();
    // The same message, so that the content alone gives it away; then a commit of somebody's own.
    git(&remote.clone(), &["commit", "-q", "-a", "--amend", "--no-edit"]);
    git(
        &remote.clone(),
        &["push", "-q", "--force", "origin", &format!("HEAD:{BRANCH}")],
    );
    let before = remote.branches();
    let error = push(&remote.source()).await.unwrap_err();
    assert_eq!(error.code, SourceCode::BranchTaken, "{}", told(&error));
    git(&remote.clone(), &["commit", "-q", "--amend", "-m", "mine"]);
    git(
        &remote.clone(),
        &["push", "-q", "--force", "origin", &format!("HEAD:{BRANCH}")],
    );
    let error = push(&remote.source()).await.unwrap_err();
    assert_eq!(error.code, SourceCode::BranchTaken, "{}", told(&error));
    assert_ne!(remote.branches(), before, "the test moved it, astern did not");
    assert!(!remote.branches().contains(&format!("{BRANCH} {}", ours.commit)));
}

#[tokio::test]
async fn a_source_that_says_already_what_runs_needs_nothing() {
    let remote = Remote::new();
    remote.commit("reverted", &[("deploy/api.yaml", &MANIFEST.replace("v2", "v1"))]);
    let error = push(&remote.source()).await.unwrap_err();
    assert_eq!(error.code, SourceCode::Nothing, "{}", told(&error));
    assert_eq!(remote.branches().len(), 1);
}

#[tokio::test]
async fn the_branch_that_the_remote_calls_its_own_is_found() {
    let remote = Remote::new();
    let own = Source {
        branch: "HEAD".to_owned(),
        ..remote.source()
    };
    assert_eq!(draft(&own).await.unwrap().into, "main");
}

#[tokio::test]
async fn only_the_files_of_its_folder_are_looked_into() {
    let remote = Remote::new();
    // Another of the same name elsewhere makes nothing ambiguous.
    remote.commit(
        "staging",
        &[("staging/api.yaml", MANIFEST), ("deploy-old/api.yaml", MANIFEST)],
    );
    assert_eq!(push(&remote.source()).await.unwrap().places.len(), 1);
    let everything = Source {
        path: String::new(),
        ..remote.source()
    };
    let error = draft(&everything).await.unwrap_err();
    assert_eq!(error.code, SourceCode::BranchTaken, "{}", told(&error));
}

/// `git daemon` on a loopback port, until it is dropped.
struct Daemon(Child, u16);

impl Daemon {
    fn over(folder: &Path, more: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let programs = git(folder, &["--exec-path"]);
        let child = Command::new(Path::new(programs.trim()).join("git-daemon"))
            .args(["--export-all", "--listen=127.0.0.1", "--reuseaddr"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", folder.display()))
            .args(more)
            .arg(folder)
            .spawn()
            .unwrap();
        let since = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                since.elapsed() < Duration::from_secs(10),
                "git daemon does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(child, port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_git_daemon_is_read_and_written_where_it_allows_it() {
    let remote = Remote::new();
    let daemon = Daemon::over(remote.folder.path(), &["--enable=receive-pack"]);
    let served = source(&format!("git://127.0.0.1:{}/remote.git", daemon.1));
    let pushed = push(&served).await.unwrap();
    assert!(remote.branches().contains(&format!("{BRANCH} {}", pushed.commit)));
    drop(daemon);

    let remote = Remote::new();
    let daemon = Daemon::over(remote.folder.path(), &[]);
    let served = source(&format!("git://127.0.0.1:{}/remote.git", daemon.1));
    assert!(draft(&served).await.is_ok());
    let error = push(&served).await.unwrap_err();
    assert_eq!(error.code, SourceCode::PushRefused, "{}", told(&error));
    assert_eq!(remote.branches().len(), 1);
}

#[tokio::test]
async fn folders_of_one_repository_are_one_commit_and_one_that_refuses_keeps_all_back() {
    let remote = Remote::new();
    let web = MANIFEST
        .replace("name: api", "name: web")
        .replace("api:v2", "web:v2");
    remote.commit("web", &[("web/web.yaml", &web)]);
    let of = |path: &str, name: &str| {
        let mut share = share(&Source {
            path: path.to_owned(),
            ..remote.source()
        });
        share.revert.workloads[0].target.name = name.to_owned();
        share
    };
    let mut second = of("web", "web");
    let template = |version: &str| {
        let containers = serde_json::json!([{ "name": "web", "image": format!("web:{version}") }]);
        Template::clean(serde_json::json!({ "spec": { "containers": containers } }))
    };
    (second.revert.workloads[0].from, second.revert.workloads[0].to) = (template("v2"), template("v1"));
    let error = write_back(&[of("deploy", "api"), of("web", "gone")], true)
        .await
        .unwrap_err();
    assert_eq!(error.code, SourceCode::Place, "{}", told(&error));
    assert_eq!(remote.branches().len(), 1);
    let pushed = write_back(&[of("deploy", "api"), second], true).await.unwrap();
    assert_eq!(pushed.places.len(), 2);
    assert_eq!(
        git(
            &remote.bare(),
            &["rev-list", "--count", &format!("main..{BRANCH}")]
        ),
        "1\n"
    );
    let changed = git(&remote.bare(), &["diff", "--name-only", "main", BRANCH]);
    assert_eq!(changed, "deploy/api.yaml\nweb/web.yaml\n");
}
