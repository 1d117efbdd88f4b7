//! What is wrong is told with what to do, and nothing is pushed.

use crate::support::{Remote, draft, push, source, told};
use astern_model::platform::SecretRef;
use astern_model::source::Source;
use astern_port::source::SourceCode;
use std::os::unix::fs::PermissionsExt;
use wiremock::matchers::{any, header, header_exists};
use wiremock::{Match, Mock, MockServer, ResponseTemplate};

const TOKEN: &str = "ghp_canary0123456789";

async fn refused(source: &Source, code: SourceCode, words: &[&str]) -> String {
    let error = push(source).await.unwrap_err();
    let told = told(&error);
    assert_eq!(error.code, code, "{told}");
    for word in words {
        assert!(told.contains(word), "{word} is not in:\n{told}");
    }
    told
}

#[tokio::test]
async fn a_remote_that_refuses_the_branch_is_quoted() {
    let remote = Remote::new();
    let hook = remote.bare().join("hooks/pre-receive");
    std::fs::write(
        &hook,
        "#!/bin/sh\necho 'GL-HOOK-ERR: no branches of robots' >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    refused(
        &remote.source(),
        SourceCode::PushRefused,
        &[
            "AST0164",
            "no branches of robots",
            "apply the patch by hand",
            "nothing was pushed",
        ],
    )
    .await;
    assert_eq!(remote.branches().len(), 1);
}

#[tokio::test]
async fn a_repository_a_branch_a_folder_or_a_workload_that_is_not_there_is_named() {
    let remote = Remote::new();
    let gone = source(&format!("file://{}/gone.git", remote.folder.path().display()));
    refused(
        &gone,
        SourceCode::Unreadable,
        &["AST0163", "gone.git", "`repository`"],
    )
    .await;
    let branch = Source {
        branch: "production".to_owned(),
        ..remote.source()
    };
    refused(
        &branch,
        SourceCode::Unreadable,
        &["branch production", "`branch`"],
    )
    .await;
    let folder = Source {
        path: "deploy/prod".to_owned(),
        ..remote.source()
    };
    refused(
        &folder,
        SourceCode::Place,
        &["AST0160", "deploy/prod is not there", "`path`"],
    )
    .await;
    let file = Source {
        path: "README.md".to_owned(),
        ..remote.source()
    };
    refused(&file, SourceCode::Place, &["README.md is a file"]).await;
    remote.commit(
        "renamed",
        &[("deploy/api.yaml", "kind: Deployment\nmetadata: {name: web}\n")],
    );
    refused(
        &remote.source(),
        SourceCode::Place,
        &[
            "deployment/api is not there",
            "web (deploy/api.yaml)",
            "nothing was pushed",
        ],
    )
    .await;
}

#[tokio::test]
async fn an_empty_remote_and_one_that_is_none_are_told() {
    refused(
        &Remote::empty().source(),
        SourceCode::Unreadable,
        &["there is no such branch"],
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let none = source(&format!("file://{}", folder.path().display()));
    refused(&none, SourceCode::Unreadable, &["no such repository"]).await;
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let away = source(&format!("git://127.0.0.1:{port}/x.git"));
    refused(&away, SourceCode::Unreadable, &["nothing was pushed"]).await;
}

#[tokio::test]
async fn paths_branches_and_addresses_that_are_none_are_refused_before_anything_is_read() {
    let remote = Remote::new();
    for path in ["../x", "/etc", "a//b", "a/../..", ".git", "a/.git"] {
        let source = Source {
            path: path.to_owned(),
            ..remote.source()
        };
        refused(
            &source,
            SourceCode::Unreadable,
            &["not a folder of the repository"],
        )
        .await;
    }
    for branch in ["--upload-pack=x", "a..b", "a:b", "", "a b", "x.lock"] {
        let source = Source {
            branch: branch.to_owned(),
            ..remote.source()
        };
        refused(&source, SourceCode::Unreadable, &["not the name of a branch"]).await;
    }
    let told = refused(
        &source(&format!("https://{TOKEN}@git.example.test/x.git")),
        SourceCode::Unreadable,
        &["does not belong into an address"],
    )
    .await;
    assert!(!told.contains(TOKEN), "{told}");
}

/// A remote over HTTP that asks who it is, and then says no.
async fn says(status: u16) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(header_exists("authorization"))
        .respond_with(ResponseTemplate::new(status))
        .with_priority(1)
        .mount(&server)
        .await;
    let asks = ResponseTemplate::new(401).insert_header("www-authenticate", "Basic realm=\"git\"");
    Mock::given(any()).respond_with(asks).mount(&server).await;
    server
}

fn with_token(server: &MockServer, token: SecretRef) -> Source {
    Source {
        token: Some(token),
        ..source(&format!("{}/shop.git", server.uri()))
    }
}

#[tokio::test]
async fn a_token_that_lacks_the_right_is_told_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let reference = SecretRef::File(file.display().to_string());
    for (status, word) in [
        (403, "right to write"),
        (401, "name a token"),
        (404, "may see it"),
    ] {
        let server = says(status).await;
        let told = refused(
            &with_token(&server, reference.clone()),
            SourceCode::Unreadable,
            &[word, "nothing was pushed"],
        )
        .await;
        assert!(!told.contains(TOKEN), "{told}");
        let asked = server.received_requests().await.unwrap();
        // RFC 7617 of `x-access-token:` and the token.
        let sent = "Basic eC1hY2Nlc3MtdG9rZW46Z2hwX2NhbmFyeTAxMjM0NTY3ODk=";
        let authorized = asked
            .iter()
            .filter(|request| header("authorization", sent).matches(request));
        assert!(authorized.count() > 0, "{asked:?}");
    }
}

#[tokio::test]
async fn without_a_token_nobody_is_asked_and_nothing_waits() {
    let server = says(200).await;
    let source = source(&format!("{}/shop.git", server.uri()));
    refused(
        &source,
        SourceCode::Unreadable,
        &["does not know who asks", "`token`"],
    )
    .await;
}

#[tokio::test]
async fn a_token_that_is_not_there_is_told_by_its_place() {
    let remote = Remote::new();
    let check = |reference: SecretRef, word: &'static str| {
        let source = Source {
            token: Some(reference),
            ..remote.source()
        };
        async move { refused(&source, SourceCode::Token, &["AST0167", word]).await }
    };
    check(
        SecretRef::Env("ASTERN_TEST_NO_SUCH_TOKEN".to_owned()),
        "ASTERN_TEST_NO_SUCH_TOKEN is not set",
    )
    .await;
    check(
        SecretRef::File("/nonexistent/token".to_owned()),
        "/nonexistent/token",
    )
    .await;
    let file = remote.folder.path().join("two");
    std::fs::write(&file, "two words").unwrap();
    check(
        SecretRef::File(file.display().to_string()),
        "does not hold a token",
    )
    .await;
    assert!(draft(&remote.source()).await.is_ok());
}
