//! Argo CD's own API server, spoken to as if it were the Kubernetes API: requests for Applications and ApplicationSets are put
//! into its words, and its answers back. So whoever reads and pauses owners knows one API, whichever way leads to Argo CD.
//! Owns the two languages; decides nothing about an owner.
//!
//! Source: `server/application/application.proto`, `application.go` and `server/account/account.proto` of Argo CD 3.

mod patch;
mod place;
mod watch;

use crate::connect::{CONNECT_TIMEOUT, READ_TIMEOUT};
use crate::failure::chain;
use crate::transport;
use astern_model::failure::{Failure, FailureClass};
use astern_model::platform::ArgoCdServer;
use astern_port::token;
use futures::FutureExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use kube::Client;
use kube::client::{Body, ClientBuilder};
use kube::config::Config;
use place::{Asked, Place, Resource};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tower::BoxError;

/// Applications that are asked about one by one, where the token has no right on all of them.
const MAX_ASKED: usize = 24;

type Answer = Response<UnsyncBoxBody<bytes::Bytes, BoxError>>;

/// A client for the Applications and ApplicationSets of a server. Sends nothing yet.
///
/// # Errors
/// The token is not where it should be, or the address or certificate cannot be used. The token stands in none of them.
pub async fn connect(server: &ArgoCdServer) -> Result<Client, Failure> {
    let operation = format!("reach Argo CD at {}", server.address);
    let refuse = |why: String| Failure::new(FailureClass::Refused, &operation, why);
    let token = token::read(&server.token).await.map_err(|why| {
        refuse(why).hint("set it where owners.argocd.tokenFrom in astern.yaml says that it is")
    })?;
    let address = server.address.trim_end_matches('/');
    let uri = address
        .parse()
        .map_err(|_| refuse("its address cannot be used".to_owned()))?;
    let mut config = Config::new(uri);
    config.root_cert_file = server.ca_file.as_ref().map(PathBuf::from);
    config.auth_info.token = Some(token);
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.default_retry = false;
    let argocd = transport::client(config).map_err(|error| {
        refuse(chain(&error))
            .hint("look at owners.argocd.caFile in astern.yaml: a file with certificates in PEM")
    })?;
    let spoken = Spoken {
        argocd,
        address: Arc::from(address),
        seen: Arc::default(),
    };
    let service = tower::service_fn(move |request: Request<Body>| {
        let spoken = spoken.clone();
        async move { spoken.answer(request).await }.boxed()
    });
    Ok(ClientBuilder::new(service, "default").build())
}

/// One server, with the objects that it was last seen to have: what a patch is made against.
#[derive(Clone)]
struct Spoken {
    argocd: Client,
    address: Arc<str>,
    seen: Arc<Mutex<BTreeMap<String, Value>>>,
}

/// What a request got that was not an answer.
#[derive(Debug)]
struct Away {
    address: Arc<str>,
    source: kube::Error,
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Argo CD at {}", self.address)
    }
}

impl std::error::Error for Away {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Why there is no value: an answer that says no, or none.
enum Not {
    Answered(Answer),
    Away(Away),
}

impl Spoken {
    async fn answer(&self, request: Request<Body>) -> Result<Answer, BoxError> {
        let (parts, body) = request.into_parts();
        let answered = match Asked::of(&parts.method, &parts.uri) {
            Asked::Versions => Ok(told(&json!({}))),
            Asked::One(place) => self.one(&place).await.map(|object| told(&object)),
            Asked::Many(place) => self.many(&place).await,
            Asked::Watch(place, version) => self.watch(&place, &version).await,
            Asked::Patch(place) => self.patch(&place, &read(body).await?).await,
            Asked::Review => self.review(&read(body).await?).await,
            Asked::Nothing => Ok(status(404, "Argo CD's API has no such resource")),
        };
        match answered {
            Ok(answer) | Err(Not::Answered(answer)) => Ok(answer),
            Err(Not::Away(away)) if chain(&away.source).contains("certificate") => Ok(status(
                400,
                &format!(
                    "the certificate of Argo CD at {} is not trusted, so nothing was sent; name the one that signed it: \
                     owners.argocd.caFile in astern.yaml",
                    self.address
                ),
            )),
            Err(Not::Away(away)) => Err(Box::new(away)),
        }
    }

    async fn one(&self, place: &Place) -> Result<Value, Not> {
        let object = self.ask(Method::GET, &place.one(), None).await?;
        Ok(self.remember(place, object))
    }

    /// The objects as a list of Kubernetes.
    async fn many(&self, place: &Place) -> Result<Answer, Not> {
        let listed = self.ask(Method::GET, &place.many(), None).await?;
        let items = listed.get("items").and_then(Value::as_array).cloned();
        let items: Vec<Value> = items
            .unwrap_or_default()
            .into_iter()
            .map(|item| place.resource.typed(item))
            .collect();
        let metadata = listed.get("metadata").cloned().unwrap_or_else(|| json!({}));
        Ok(told(&json!({
            "apiVersion": place::API_VERSION, "kind": format!("{}List", place.resource.kind()),
            "metadata": metadata, "items": items,
        })))
    }

    async fn watch(&self, place: &Place, version: &str) -> Result<Answer, Not> {
        let request = self.request(Method::GET, &place.stream(version), None);
        let response = self
            .argocd
            .send(request)
            .await
            .map_err(|error| self.away(error))?;
        if !response.status().is_success() {
            let (parts, body) = response.into_parts();
            let text = body.collect_bytes().await.map_err(|error| self.away(error))?;
            return Err(Not::Answered(self.refused(parts.status, &text)));
        }
        let events = watch::events(response.into_body(), place.resource);
        Ok(Response::new(events))
    }

    /// A merge patch that names the version it was made for. Argo CD takes no account of a version: it is put into the
    /// patch as a test, which Argo CD holds against what it has then.
    async fn patch(&self, place: &Place, patch: &Value) -> Result<Answer, Not> {
        if place.resource == Resource::ApplicationSet {
            let message = format!(
                "Argo CD's API changes no ApplicationSet under the version that was read; {SETS_ARE_PAUSED}"
            );
            return Ok(status(405, &message));
        }
        let version = patch.pointer("/metadata/resourceVersion");
        let is_that = |object: &Value| object.pointer("/metadata/resourceVersion") == version;
        let seen = self.remembered(place).filter(is_that);
        let now = match seen {
            Some(now) => now,
            None => self.one(place).await?,
        };
        if version.is_some() && !is_that(&now) {
            return Ok(status(409, MOVED));
        }
        let body = json!({
            "name": place.name, "appNamespace": place.namespace,
            "patch": Value::from(patch::operations(&now, patch)).to_string(), "patchType": "json",
        });
        let object = self.ask(Method::PATCH, &place.path(), Some(&body)).await?;
        Ok(told(&self.remember(place, object)))
    }

    /// Whether the token's account may do something, as Argo CD's own rules have it.
    async fn review(&self, review: &Value) -> Result<Answer, Not> {
        let text = |name: &str| {
            let attributes = review.pointer("/spec/resourceAttributes");
            attributes
                .and_then(|all| all.get(name)?.as_str())
                .unwrap_or_default()
        };
        let says = |status: Value| Ok(told(&json!({"status": status})));
        let (verb, namespace) = (text("verb"), text("namespace"));
        let Some(resource) = Resource::of(text("resource")) else {
            return says(json!({"allowed": false, "reason": "Argo CD's API has no such resource"}));
        };
        let address = &self.address;
        let action = match verb {
            "get" | "list" | "watch" => "get",
            _ if resource == Resource::ApplicationSet => {
                return says(json!({
                    "allowed": false,
                    "reason": format!("Argo CD's API at {address} changes no ApplicationSet under the version that was read"),
                    "remedy": SETS_ARE_PAUSED,
                }));
            }
            _ => "update",
        };
        if self.can(resource, action, "*/*").await? {
            return says(json!({"allowed": true}));
        }
        if resource == Resource::ApplicationSet {
            return says(
                json!({"allowed": false, "evaluationError": "Argo CD tells rights for each set alone"}),
            );
        }
        let place = Place {
            resource,
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        let listed = self.ask(Method::GET, &place.many(), None).await?;
        let items = listed.get("items").and_then(Value::as_array);
        let names: BTreeSet<String> = items.into_iter().flatten().filter_map(of_project).collect();
        let asked = names
            .iter()
            .take(MAX_ASKED)
            .map(|name| self.can(resource, action, name));
        let answers = futures::future::try_join_all(asked).await?;
        let all = names.len() <= MAX_ASKED && answers.iter().all(|may| *may);
        let none = !answers.iter().any(|may| *may);
        says(match (names.is_empty(), all, none) {
            (false, true, _) => json!({"allowed": true}),
            (_, _, true) => json!({
                "allowed": false,
                "reason": format!("the token for Argo CD at {address} may {action} none of the applications that it sees"),
                "remedy": format!("allow its account that: `p, ACCOUNT, applications, {action}, PROJECT/NAME, allow` in argocd-rbac-cm"),
            }),
            _ => json!({"allowed": false, "evaluationError": format!(
                "the token's account in Argo CD may {action} some of the applications that it sees, and not all"
            )}),
        })
    }

    async fn can(&self, resource: Resource, action: &str, object: &str) -> Result<bool, Not> {
        let path = format!("/api/v1/account/can-i/{}/{action}/{object}", resource.plural());
        let answer = self.ask(Method::GET, &path, None).await?;
        Ok(answer.get("value").and_then(Value::as_str) == Some("yes"))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Not> {
        let request = self.request(method, path, body);
        let response = self
            .argocd
            .send(request)
            .await
            .map_err(|error| self.away(error))?;
        let (parts, body) = response.into_parts();
        let text = body.collect_bytes().await.map_err(|error| self.away(error))?;
        if !parts.status.is_success() {
            return Err(Not::Answered(self.refused(parts.status, &text)));
        }
        serde_json::from_slice(&text).map_err(|_| {
            let message = format!("what answers at {} is not Argo CD's API", self.address);
            Not::Answered(status(404, &message))
        })
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Request<Body> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Body::from(body));
        request.unwrap_or_else(|error| panic!("BUG: {path} is no path of a request: {error}"))
    }

    fn away(&self, source: kube::Error) -> Not {
        Not::Away(Away {
            address: self.address.clone(),
            source,
        })
    }

    /// What Argo CD says no with, as the Kubernetes API would. Its own words are one line of `message`; what another program
    /// on the way says is not passed on.
    fn refused(&self, code: StatusCode, text: &[u8]) -> Answer {
        let said = serde_json::from_slice::<Value>(text).ok();
        let said = said.as_ref().and_then(|said| said.get("message")?.as_str());
        let said = said.unwrap_or_default();
        let address = &self.address;
        match code.as_u16() {
            401 => status(
                401,
                &format!(
                    "Argo CD at {address} does not accept the token: {said}; make a new one (argocd account generate-token) and put \
                     it where owners.argocd.tokenFrom says"
                ),
            ),
            403 => status(
                403,
                &format!(
                    "Argo CD at {address}: {said}; the token's account needs `get` on applications and applicationsets, and `update` on \
                     the applications that are paused (argocd-rbac-cm). Argo CD says the same of one that is not there"
                ),
            ),
            // A test of the patch did not hold.
            _ if said.contains("test failed") => status(409, MOVED),
            // Argo CD holds every change against what it makes of the source then.
            400 if said.starts_with("application spec for ") => status(
                400,
                &format!(
                    "Argo CD at {address} takes no change of an application whose source it cannot read or render: {said}; put the \
                     source right, or pause it without that check: `argocd app set NAME --sync-policy none --validate=false`"
                ),
            ),
            code @ 300..=399 => status(
                404,
                &format!(
                    "{address} answers {code} with another address: name the one that Argo CD's API has"
                ),
            ),
            code => status(code, &format!("Argo CD at {address} answers {code}: {said}")),
        }
    }

    fn remember(&self, place: &Place, object: Value) -> Value {
        let object = place.resource.typed(object);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(place.one(), object.clone());
        object
    }

    fn remembered(&self, place: &Place) -> Option<Value> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&place.one()).cloned()
    }
}

const MOVED: &str = "the application is no longer as it was when it was read";
const SETS_ARE_PAUSED: &str = "pause it through the hub's cluster: owners.argocd.context in astern.yaml";

/// An application as Argo CD's rules name it.
fn of_project(application: &Value) -> Option<String> {
    let project = application.pointer("/spec/project")?.as_str()?;
    let name = application.pointer("/metadata/name")?.as_str()?;
    Some(format!("{project}/{name}"))
}

async fn read(body: Body) -> Result<Value, BoxError> {
    Ok(serde_json::from_slice(&body.collect_bytes().await?)?)
}

fn told(value: &Value) -> Answer {
    let body = Full::new(bytes::Bytes::from(value.to_string()));
    Response::new(body.map_err(BoxError::from).boxed_unsync())
}

/// A failure in the words of the Kubernetes API.
fn status(code: u16, message: &str) -> Answer {
    let mut answer = told(&json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": message, "reason": "", "code": code,
    }));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY);
    answer
}
