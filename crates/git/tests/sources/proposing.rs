//! Pull requests through GitHub's REST API, as its documentation of 2022-11-28 has it.

use crate::support::{BRANCH, source, told};
use astern_git::Git;
use astern_model::platform::SecretRef;
use astern_model::source::{PullRequests, Source};
use astern_port::source::{Proposal, PullRequest, SourceCode, SourceError, Sources};
use serde_json::{Value, json};
use std::sync::Once;
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockBuilder, MockServer, ResponseTemplate};

const TOKEN: &str = "github_pat_canary_42";

/// What every documented call carries.
fn documented(verb: &str) -> MockBuilder {
    Mock::given(method(verb))
        .and(path("/repos/shop/deploy/pulls"))
        .and(header("accept", "application/vnd.github+json"))
        .and(header("x-github-api-version", "2022-11-28"))
        .and(header("authorization", format!("Bearer {TOKEN}").as_str()))
        .and(header(
            "user-agent",
            concat!("astern/", env!("CARGO_PKG_VERSION")),
        ))
}

fn listing() -> MockBuilder {
    documented("GET")
        .and(query_param("head", format!("shop:{BRANCH}")))
        .and(query_param("base", "main"))
        .and(query_param("state", "all"))
}

fn opening() -> MockBuilder {
    documented("POST").and(body_json(json!({
        "title": "Take v2 back",
        "head": BRANCH,
        "base": "main",
        "body": "| from | to |",
    })))
}

fn one(number: u64) -> Value {
    json!({ "number": number, "html_url": format!("https://github.test/shop/deploy/pull/{number}"), "state": "open" })
}

async fn propose(server: &MockServer) -> Result<PullRequest, SourceError> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let source = Source {
        token: Some(SecretRef::File(file.display().to_string())),
        ..source("https://github.test/shop/deploy.git")
    };
    let at = PullRequests {
        api: format!("{}/", server.uri()),
        repository: "shop/deploy".to_owned(),
    };
    let proposal = Proposal {
        branch: BRANCH,
        base: "main",
        title: "Take v2 back",
        body: "| from | to |",
    };
    Git::new("git").propose(&source, &at, proposal).await
}

#[tokio::test]
async fn a_pull_request_is_opened_by_the_documented_call() {
    let server = MockServer::start().await;
    let none = ResponseTemplate::new(200).set_body_json(json!([]));
    listing().respond_with(none).expect(1).mount(&server).await;
    let opened = ResponseTemplate::new(201).set_body_json(one(7));
    opening().respond_with(opened).expect(1).mount(&server).await;
    assert_eq!(
        propose(&server).await.unwrap(),
        PullRequest {
            url: "https://github.test/shop/deploy/pull/7".to_owned(),
            existed: false
        }
    );
}

#[tokio::test]
async fn the_one_that_is_there_is_found_and_none_is_opened() {
    let server = MockServer::start().await;
    let there = ResponseTemplate::new(200).set_body_json(json!([one(7)]));
    listing().respond_with(there).expect(1).mount(&server).await;
    opening()
        .respond_with(ResponseTemplate::new(500))
        .expect(0)
        .mount(&server)
        .await;
    assert!(propose(&server).await.unwrap().existed);
}

#[tokio::test]
async fn one_that_somebody_opens_meanwhile_is_found() {
    let server = MockServer::start().await;
    let none = ResponseTemplate::new(200).set_body_json(json!([]));
    listing()
        .respond_with(none)
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&server)
        .await;
    let there = ResponseTemplate::new(200).set_body_json(json!([one(9)]));
    listing().respond_with(there).mount(&server).await;
    let exists =
        json!({ "message": "Validation Failed", "errors": [{ "message": "A pull request already exists" }] });
    opening()
        .respond_with(ResponseTemplate::new(422).set_body_json(exists))
        .mount(&server)
        .await;
    let found = propose(&server).await.unwrap();
    assert!(found.existed && found.url.ends_with("/9"));
}

#[tokio::test]
async fn each_refusal_says_what_to_do_and_no_token() {
    let answer =
        |message: &str| json!({ "message": message, "documentation_url": "https://docs.github.com/rest" });
    let cases = [
        (401, answer("Bad credentials"), "wrong or expired"),
        (
            403,
            answer("Resource not accessible by personal access token"),
            "read and write access to pull requests",
        ),
        (404, answer("Not Found"), "correct `pullRequests.repository`"),
        (
            422,
            json!({ "message": "Validation Failed", "errors": [{ "resource": "PullRequest", "message": "No commits between main and x" }] }),
            "No commits between",
        ),
        (500, answer(TOKEN), "once it answers"),
    ];
    for (status, body, word) in cases {
        let server = MockServer::start().await;
        let none = ResponseTemplate::new(200).set_body_json(json!([]));
        listing().respond_with(none).mount(&server).await;
        opening()
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .mount(&server)
            .await;
        let error = propose(&server).await.unwrap_err();
        let text = told(&error);
        assert_eq!(error.code, SourceCode::PullRequest, "{text}");
        for word in [word, &status.to_string(), "shop/deploy", "by hand"] {
            assert!(text.contains(word), "{word} is not in:\n{text}");
        }
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[tokio::test]
async fn a_limit_that_is_reached_says_when_it_ends() {
    let server = MockServer::start().await;
    let limited = ResponseTemplate::new(403)
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", "1795788000")
        .set_body_json(json!({ "message": "API rate limit exceeded" }));
    listing().respond_with(limited).mount(&server).await;
    let text = told(&propose(&server).await.unwrap_err());
    assert!(text.contains("after 2026-11-27T14:00:00Z"), "{text}");
}

#[tokio::test]
async fn a_redirect_takes_no_token_along_and_what_is_no_answer_is_told() {
    let (server, other) = (MockServer::start().await, MockServer::start().await);
    let moved = ResponseTemplate::new(301).insert_header("location", other.uri().as_str());
    listing().respond_with(moved).mount(&server).await;
    let text = told(&propose(&server).await.unwrap_err());
    assert!(text.contains("renamed or moved"), "{text}");
    assert!(other.received_requests().await.unwrap().is_empty());

    let server = MockServer::start().await;
    let page = ResponseTemplate::new(200).set_body_string("<html>sign in</html>");
    listing().respond_with(page).mount(&server).await;
    let text = told(&propose(&server).await.unwrap_err());
    assert!(text.contains("is `api` the address of its REST API?"), "{text}");

    let server = MockServer::start().await;
    let endless = ResponseTemplate::new(200).set_body_bytes(vec![b' '; 3 * 1024 * 1024]);
    listing().respond_with(endless).mount(&server).await;
    let text = told(&propose(&server).await.unwrap_err());
    assert!(text.contains("has no end"), "{text}");
}
