//! Pull requests through GitHub's REST API. Source: <https://docs.github.com/en/rest/pulls/pulls?apiVersion=2022-11-28>.

use crate::token;
use astern_model::failure::{Failure, FailureClass};
use astern_model::source::{PullRequests, Source};
use astern_port::source::{Proposal, PullRequest, SourceCode, SourceError};
use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// The version of the API whose documentation this follows.
const VERSION: &str = "2022-11-28";
/// A healthy answer takes a second; GitHub itself gives up after ten.
const WITHIN: Duration = Duration::from_secs(30);
/// An answer about one pull request has some 20 KiB.
const ANSWER_BYTES: usize = 1024 * 1024;
/// Characters of what it says that are passed on.
const SAID_CHARS: usize = 300;

/// What is read of a pull request.
#[derive(Deserialize)]
struct Told {
    html_url: String,
}

/// What it says when it refuses.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

/// Opens the pull request, or finds the one for the same branch, whatever became of it.
pub(crate) async fn propose(
    source: &Source,
    at: &PullRequests,
    proposal: Proposal<'_>,
) -> Result<PullRequest, SourceError> {
    let api = Api::new(source, at).await?;
    if let Some(found) = api.find(&proposal).await? {
        return Ok(found);
    }
    let body = json!({
        "title": proposal.title,
        "head": proposal.branch,
        "base": proposal.base,
        "body": proposal.body,
    });
    let answer = api.send(api.client.post(api.pulls()).json(&body)).await?;
    if answer.0 == StatusCode::CREATED {
        return Ok(PullRequest {
            url: api.read::<Told>(&answer.1)?.html_url,
            existed: false,
        });
    }
    // Somebody may have opened it between the two requests.
    if answer.0 == StatusCode::UNPROCESSABLE_ENTITY
        && let Some(found) = api.find(&proposal).await?
    {
        return Ok(found);
    }
    Err(api.refused(answer.0, &answer.1, None))
}

struct Api<'a> {
    client: Client,
    at: &'a PullRequests,
    token: SecretString,
}

impl<'a> Api<'a> {
    async fn new(source: &Source, at: &'a PullRequests) -> Result<Self, SourceError> {
        let token = token::of(source).await?.ok_or_else(|| SourceError {
            code: SourceCode::Token,
            failure: Failure::new(
                FailureClass::Refused,
                format!("open a pull request at {}", at.repository),
                "the source names no token",
            )
            .hint("name one with `token` at the source in astern.yaml, or open the pull request by hand with the file"),
        })?;
        let client = Client::builder()
            .timeout(WITHIN)
            // A token is for the address that was named, not for where that one sends it.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("astern/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failed(at, error.without_url().to_string()))?;
        Ok(Self { client, at, token })
    }

    fn pulls(&self) -> String {
        format!(
            "{}/repos/{}/pulls",
            self.at.api.trim_end_matches('/'),
            self.at.repository
        )
    }

    async fn find(&self, proposal: &Proposal<'_>) -> Result<Option<PullRequest>, SourceError> {
        let owner = self.at.repository.split('/').next().unwrap_or_default();
        let head = format!("{owner}:{}", proposal.branch);
        let query = [("head", head.as_str()), ("base", proposal.base), ("state", "all")];
        let (status, answer) = self.send(self.client.get(self.pulls()).query(&query)).await?;
        if status != StatusCode::OK {
            return Err(self.refused(status, &answer, None));
        }
        let found = self.read::<Vec<Told>>(&answer)?.into_iter().next();
        Ok(found.map(|found| PullRequest {
            url: found.html_url,
            existed: true,
        }))
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), SourceError> {
        let request = request
            .header(ACCEPT, "application/vnd.github+json")
            .header("X-GitHub-Api-Version", VERSION)
            .bearer_auth(self.token.expose_secret());
        let mut answer = request
            .send()
            .await
            .map_err(|error| failed(self.at, error.without_url().to_string()))?;
        let status = answer.status();
        let limited = limited(&answer);
        let mut bytes = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| failed(self.at, error.without_url().to_string()))?
        {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES {
                return Err(failed(self.at, "its answer has no end".to_owned()));
            }
        }
        match limited {
            Some(until) => Err(self.refused(status, &bytes, Some(until))),
            None => Ok((status, bytes)),
        }
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, answer: &[u8]) -> Result<T, SourceError> {
        serde_json::from_slice(answer).map_err(|_| {
            failed(
                self.at,
                "its answer is none of GitHub's; is `api` the address of its REST API?".to_owned(),
            )
        })
    }

    fn refused(&self, status: StatusCode, answer: &[u8], limited: Option<String>) -> SourceError {
        let said: Refusal = serde_json::from_slice(answer).unwrap_or_default();
        let mut failure = failed(self.at, format!("it answers {status}")).failure;
        failure.hint = Some(
            match (status.as_u16(), limited) {
                (_, Some(until)) => {
                    format!("its limit of requests is reached: the same command again {until}")
                }
                (401, _) => {
                    "the token is wrong or expired: put a valid one where `token` in astern.yaml says"
                        .to_owned()
                }
                (403, _) => format!(
                    "the token may not open pull requests at {}: it needs read and write access to pull requests (classic: scope repo)",
                    self.at.repository
                ),
                (404, _) => format!(
                    "there is no {} for this token: correct `pullRequests.repository` in astern.yaml, or give the token access to it",
                    self.at.repository
                ),
                (422, _) => {
                    "it does not take this pull request: see what it says; does the base branch exist there?"
                        .to_owned()
                }
                (300..=399, _) => {
                    "the repository was renamed or moved: correct `pullRequests` in astern.yaml".to_owned()
                }
                _ => "the same command again once it answers".to_owned(),
            } + "; the branch is pushed, and the pull request can be opened by hand with the file",
        );
        let errors = said.errors.iter().filter_map(|error| {
            error
                .get("message")
                .and_then(serde_json::Value::as_str)
                .or_else(|| error.as_str())
        });
        failure.evidence = std::iter::once(said.message.as_str())
            .chain(errors)
            .filter(|line| !line.is_empty())
            .map(|line| format!("it says: {}", self.masked(line)))
            .collect();
        SourceError {
            code: SourceCode::PullRequest,
            failure,
        }
    }

    fn masked(&self, line: &str) -> String {
        line.replace(self.token.expose_secret(), "[masked]")
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(SAID_CHARS)
            .collect()
    }
}

/// When a limit that is reached ends. Source: <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
fn limited(answer: &Response) -> Option<String> {
    if !matches!(answer.status().as_u16(), 403 | 429) {
        return None;
    }
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(seconds) = header(RETRY_AFTER.as_str()) {
        return Some(format!("in {seconds} s"));
    }
    let reset = header("x-ratelimit-reset")?.parse().ok()?;
    (header("x-ratelimit-remaining") == Some("0"))
        .then(|| jiff::Timestamp::from_second(reset).ok())
        .flatten()
        .map(|at| format!("after {at}"))
}

fn failed(at: &PullRequests, why: String) -> SourceError {
    SourceError {
        code: SourceCode::PullRequest,
        failure: Failure::new(
            FailureClass::Refused,
            format!("open a pull request at {} through {}", at.repository, at.api),
            why,
        )
        .hint("the branch is pushed, and the pull request can be opened by hand with the file"),
    }
}
