//! HTTP probes of the platform file: through the API server to a Service, or straight to an address. Owns the
//! request and the comparison; judges nothing.

use crate::fetch::{Way, get, send};
use astern_model::evidence::{Evidence, Fact, Known, Side, Source};
use astern_model::platform::{Probe, ProbeTarget, SecretRef};
use astern_model::target::Target;
use astern_port::clock::Clock;
use astern_port::token;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use k8s_openapi::ByteString;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// A service that needs longer for one answer does not serve. Also keeps one probe from using up all the time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Probes in flight at once.
const AT_ONCE: usize = 24;
/// Of an answer's own words so many characters are shown.
const SHOWN: usize = 120;

/// One evidence a probe, in the order of the probes.
pub(crate) async fn all(
    way: &Way<'_>,
    clock: &dyn Clock,
    namespace: &str,
    probes: &[(Target, Probe)],
) -> Vec<Evidence> {
    let asker = Asker {
        way,
        clock,
        namespace,
        http: OnceCell::new(),
    };
    let asked: Vec<_> = probes
        .iter()
        .map(|(target, probe)| asker.one(target, probe))
        .collect();
    futures::stream::iter(asked).buffered(AT_ONCE).collect().await
}

/// Asks probes; what they share is made once.
struct Asker<'a> {
    way: &'a Way<'a>,
    clock: &'a dyn Clock,
    namespace: &'a str,
    // Reading the machine's trusted certificates takes longer than most probes.
    http: OnceCell<Option<reqwest::Client>>,
}

impl Asker<'_> {
    async fn one(&self, target: &Target, probe: &Probe) -> Evidence {
        let began = Instant::now();
        let deadline = self.way.deadline().min(began + PROBE_TIMEOUT);
        let asked = tokio::time::timeout_at(deadline, self.ask(probe)).await;
        let (passed, mut detail) = match asked.unwrap_or_else(|_| late(began)) {
            Outcome::Passed(detail) => (Known::Is(true), detail),
            Outcome::Failed(detail) => (Known::Is(false), detail),
            Outcome::Unknown(why) => (Known::Unknown(why.clone()), why),
        };
        if passed.value().is_some() {
            let _ = write!(detail, " (after {} ms)", began.elapsed().as_millis());
        }
        Evidence {
            subject: target.clone(),
            side: Side::Live,
            fact: Fact::Probe {
                name: probe.name.clone(),
                passed,
                detail,
            },
            source: Source::Probe,
            window: None,
            observed_at: self.clock.now(),
        }
    }

    async fn ask(&self, probe: &Probe) -> Outcome {
        match &probe.to {
            ProbeTarget::Service { .. } if probe.bearer.is_some() => Outcome::Unknown(
                "the API server's proxy consumes the Authorization header, so a probe with a bearer token needs a url"
                    .to_owned(),
            ),
            ProbeTarget::Service { service, port, path } => {
                let path = format!("/api/v1/namespaces/{}/services/{service}:{port}/proxy{path}", self.namespace);
                by_proxy(self.way, &path, probe).await
            }
            ProbeTarget::Url(url) => self.by_url(url, probe).await,
        }
    }

    async fn by_url(&self, url: &str, probe: &Probe) -> Outcome {
        let bearer = match &probe.bearer {
            None => None,
            Some(reference) => match bearer(self.way, self.namespace, reference).await {
                Ok(token) => Some(token),
                Err(why) => return Outcome::Unknown(why),
            },
        };
        let Some(http) = self.http.get_or_init(async || http_client()).await else {
            return Outcome::Unknown("no HTTP client could be made".to_owned());
        };
        let mut request = http.get(url);
        if let Some(token) = &bearer {
            request = request.bearer_auth(token.expose_secret());
        }
        let exchange = async {
            let answer = request.send().await.map_err(refused)?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = answer.bytes().await.map_err(refused)?;
            Ok::<_, Outcome>(compared(probe, status, &headers, &body))
        };
        let (Ok(outcome) | Err(outcome)) = exchange.await;
        without(outcome, bearer.as_ref())
    }
}

/// An answer elsewhere is not an answer here: what a redirect says is compared, not followed.
fn http_client() -> Option<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .ok()
}

/// What silence means: of a service that had its whole time, that it does not serve; of one that had not, nothing.
fn late(began: Instant) -> Outcome {
    match began.elapsed() >= PROBE_TIMEOUT {
        true => Outcome::Failed(format!("no answer within {} s", PROBE_TIMEOUT.as_secs())),
        false => Outcome::Unknown("not asked to the end in time".to_owned()),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// As expected.
    Passed(String),
    /// An answer that is not as expected, or none from a service that should give one.
    Failed(String),
    /// It could not be found out.
    Unknown(String),
}

async fn by_proxy(way: &Way<'_>, path: &str, probe: &Probe) -> Outcome {
    let request = match http::Request::get(path).body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return Outcome::Unknown(format!("the path is not valid: {error}")),
    };
    let answer = match send(way, request).await {
        Ok(answer) => answer,
        Err(why) => return Outcome::Unknown(why),
    };
    match answer.api_error() {
        // The API server speaks itself: the Service has nobody behind it, or nobody answered it.
        Some(status) if answer.status.is_server_error() => Outcome::Failed(status.message),
        Some(status)
            if matches!(
                answer.status,
                StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND
            ) =>
        {
            Outcome::Unknown(status.message)
        }
        _ => compared(probe, answer.status, &answer.headers, &answer.body),
    }
}

/// A connection that cannot be made says that the service does not serve. A request that cannot be built, a name that
/// this machine cannot resolve, and a certificate that it does not trust say nothing about the service. The address is left out: it may hold a credential.
fn refused(error: reqwest::Error) -> Outcome {
    let builder = error.is_builder();
    let error = error.without_url();
    let mut said = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let _ = write!(said, ": {cause}");
        source = cause.source();
    }
    let ours = builder || said.contains("dns error") || said.contains("certificate");
    if ours {
        Outcome::Unknown(said)
    } else {
        Outcome::Failed(said)
    }
}

/// The outcome without the token, should the service have sent it back.
fn without(outcome: Outcome, bearer: Option<&SecretString>) -> Outcome {
    let Some(token) = bearer
        .map(SecretString::expose_secret)
        .filter(|token| !token.is_empty())
    else {
        return outcome;
    };
    let clean = |text: String| text.replace(token, "[masked]");
    match outcome {
        Outcome::Passed(text) => Outcome::Passed(clean(text)),
        Outcome::Failed(text) => Outcome::Failed(clean(text)),
        Outcome::Unknown(text) => Outcome::Unknown(clean(text)),
    }
}

/// Whether the answer is as the probe expects it. Everything that differs is told.
fn compared(probe: &Probe, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let mut wrong = Vec::new();
    if status.as_u16() != probe.status {
        wrong.push(format!("status {}, expected {}", status.as_u16(), probe.status));
    }
    if let Some(json) = &probe.json {
        wrong.extend(json_differs(body, &json.path, &json.equals));
    }
    if let Some(header) = &probe.header {
        match headers
            .get(&header.name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        {
            Some(value) if value == header.equals => {}
            Some(value) => {
                wrong.push(format!(
                    "header {} is `{}`, expected `{}`",
                    header.name,
                    shown(&value),
                    header.equals
                ));
            }
            None => wrong.push(format!("header {} is missing", header.name)),
        }
    }
    match wrong.is_empty() {
        true => Outcome::Passed(format!("status {}", status.as_u16())),
        false => Outcome::Failed(wrong.join("; ")),
    }
}

fn json_differs(body: &[u8], pointer: &str, expected: &Value) -> Option<String> {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        return Some("the answer is no JSON".to_owned());
    };
    match json.pointer(pointer) {
        Some(found) if same(found, expected) => None,
        Some(found) => Some(format!(
            "{pointer} is {}, expected {expected}",
            shown(&found.to_string())
        )),
        None => Some(format!("{pointer} is missing")),
    }
}

/// Numbers are equal by value: 1 and 1.0 are written by different programs for the same thing.
fn same(found: &Value, expected: &Value) -> bool {
    found == expected
        || found
            .as_f64()
            .is_some_and(|number| Some(number) == expected.as_f64())
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The token behind a reference. The reason of a failure names the place, never what is in it.
async fn bearer(way: &Way<'_>, namespace: &str, reference: &SecretRef) -> Result<SecretString, String> {
    match reference {
        SecretRef::Env(_) | SecretRef::File(_) => token::read(reference)
            .await
            .map_err(|why| format!("the bearer token cannot be had: {why}")),
        SecretRef::Secret { secret, key } => {
            let place = format!("key {key} of secret/{secret}");
            let path = format!("/api/v1/namespaces/{namespace}/secrets");
            let found = get(way, &path, secret).await;
            let found =
                found.map_err(|why| format!("{place} with the bearer token could not be read: {why}"))?;
            let value = found
                .as_ref()
                .and_then(|secret| secret.get("data")?.get(key))
                .cloned();
            let value = value.ok_or_else(|| format!("{place} with the bearer token does not exist"))?;
            let bytes = serde_json::from_value::<ByteString>(value)
                .map(|bytes| bytes.0)
                .unwrap_or_default();
            let text = String::from_utf8(bytes).map_err(|_| format!("{place} is no text"))?;
            Ok(SecretString::from(text.trim_end_matches(['\n', '\r']).to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::platform::{HeaderExpectation, JsonExpectation};
    use serde_json::json;

    fn probe() -> Probe {
        Probe {
            name: "health".to_owned(),
            to: ProbeTarget::Url("http://api.test/health".to_owned()),
            status: 200,
            json: Some(JsonExpectation {
                path: "/status".to_owned(),
                equals: json!("ok"),
            }),
            header: Some(HeaderExpectation {
                name: "X-Version".to_owned(),
                equals: "v1".to_owned(),
            }),
            bearer: None,
        }
    }

    #[test]
    fn an_answer_is_compared_with_all_that_is_expected() {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static("x-version"), "v1".parse().unwrap())]);
        let check = |status: u16, headers: &HeaderMap, body: &str, expected: Outcome| {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(compared(&probe(), status, headers, body.as_bytes()), expected);
        };
        check(
            200,
            &headers,
            r#"{"status":"ok"}"#,
            Outcome::Passed("status 200".to_owned()),
        );
        check(
            503,
            &HeaderMap::new(),
            r#"{"status":"down"}"#,
            Outcome::Failed(
                "status 503, expected 200; /status is \"down\", expected \"ok\"; header X-Version is missing"
                    .to_owned(),
            ),
        );
        check(
            200,
            &headers,
            "<html>",
            Outcome::Failed("the answer is no JSON".to_owned()),
        );
    }

    #[test]
    fn a_token_that_comes_back_is_masked() {
        let token = SecretString::from("t0ken".to_owned());
        let outcome = without(Outcome::Failed("/echo is \"t0ken\"".to_owned()), Some(&token));
        assert_eq!(outcome, Outcome::Failed("/echo is \"[masked]\"".to_owned()));
    }
}
