//! The API: from a request to an answer. Owns which verb of which resource is served; each verb's meaning is its own file.

pub(crate) mod admission;
pub(crate) mod defaults;
pub(crate) mod delete;
mod discovery;
mod logs;
mod options;
mod patch;
mod protobuf;
mod proxy;
mod read;
mod review;
pub(crate) mod route;
mod scale;
mod spelling;
pub(crate) mod status;
mod strategic;
mod table;
mod types;
pub(crate) mod validate;
mod view;
mod watch;
pub(crate) mod write;

use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::managed::{self, Part};
use crate::store::{Kept, Key};
use bytes::Bytes;
use delete::Deleted;
use http::Method;
use jiff::Timestamp;
use route::{Place, Query, Route};
use serde_json::{Value, json};
use status::{Outcome, Refusal};
use std::sync::Arc;
use view::View;

/// What of an HTTP request matters to the API.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, as it was sent; empty without one.
    pub query: String,
    /// The Content-Type header; empty without one.
    pub content_type: String,
    /// The Accept header; empty without one.
    pub accept: String,
    /// The User-Agent header; empty without one.
    pub user_agent: String,
    /// The body.
    pub body: Bytes,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer {
    /// All at once.
    Whole(Response),
    /// Line by line, as things happen: `Cluster::poll` says what comes next.
    Stream(Stream),
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub code: u16,
    /// The media type of the body; empty without one.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer that goes on: a watch, or a log that is followed.
#[derive(Clone, Debug)]
pub struct Stream(Flow);

#[derive(Clone, Debug)]
enum Flow {
    Watch(Box<watch::Watch>),
    Log(Box<logs::Follow>),
}

impl Stream {
    /// The media type of what comes.
    pub fn content_type(&self) -> &'static str {
        match self.0 {
            Flow::Watch(_) => JSON,
            Flow::Log(_) => PLAIN,
        }
    }

    /// Whether nothing more comes.
    pub fn ended(&self) -> bool {
        match &self.0 {
            Flow::Watch(watch) => watch.ended(),
            Flow::Log(log) => log.ended(),
        }
    }

    /// When there is something to send even if nothing is written until then.
    pub fn due(&self) -> Timestamp {
        match &self.0 {
            Flow::Watch(watch) => watch.due(),
            Flow::Log(log) => log.due(),
        }
    }

    pub(crate) fn poll(&mut self, cluster: &Cluster) -> Vec<u8> {
        match &mut self.0 {
            Flow::Watch(watch) => watch.poll(cluster),
            Flow::Log(log) => log.poll(cluster),
        }
    }
}

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain";

impl Response {
    fn json(code: u16, body: Vec<u8>) -> Self {
        Self {
            code,
            content_type: JSON,
            body,
        }
    }

    fn plain(code: u16, text: &str) -> Self {
        Self {
            code,
            content_type: PLAIN,
            body: text.as_bytes().to_vec(),
        }
    }

    fn value(code: u16, value: &Value) -> Self {
        Self::json(code, serde_json::to_vec(value).unwrap_or_default())
    }
}

/// Answers a request.
pub(crate) fn handle(cluster: &mut Cluster, request: &Request) -> Answer {
    answered(cluster, request).unwrap_or_else(|refusal| {
        Answer::Whole(if refusal.is_plain() {
            Response::plain(refusal.code, &format!("{}\n", refusal.message))
        } else {
            Response::value(refusal.code, &refusal.status())
        })
    })
}

/// The object that a path names, as it is stored.
pub(crate) fn stored(cluster: &Cluster, path: &str) -> Option<Arc<Value>> {
    let path = route::decoded_path(path);
    let Ok(Route::Resource(place)) = route::route(&path) else {
        return None;
    };
    let kind = cluster.kinds.served(place.group, place.version, place.plural)?;
    let namespace = place.namespace.unwrap_or_default();
    cluster
        .store
        .find(&kind.stored(), namespace, place.name?)
        .cloned()
}

fn answered(cluster: &mut Cluster, request: &Request) -> Outcome<Answer> {
    let reading = matches!(request.method, Method::GET | Method::HEAD);
    let path = route::decoded_path(&request.path);
    match route::route(&path)? {
        Route::Resource(place) => resource(cluster, request, &place),
        _ if !reading => Err(Refusal::method_not_allowed()),
        Route::Root(path) => Ok(Answer::Whole(match path {
            "/healthz" | "/livez" | "/readyz" => Response::plain(200, "ok"),
            path => Response::value(200, &discovery::root(cluster, path)?),
        })),
        Route::Group(group) => value(200, &discovery::group(&cluster.kinds, group)?),
        Route::Version { group, version } => {
            value(200, &discovery::resources(&cluster.kinds, group, version)?)
        }
    }
}

fn value(code: u16, value: &Value) -> Outcome<Answer> {
    Ok(Answer::Whole(Response::value(code, value)))
}

fn resource(cluster: &mut Cluster, request: &Request, place: &Place<'_>) -> Outcome<Answer> {
    if let Some(review) = review::of(place) {
        if request.method != Method::POST {
            return Err(Refusal::method_not_allowed());
        }
        return value(201, &review::answer(cluster, review, &body(request)?)?);
    }
    let kind = cluster
        .kinds
        .served(place.group, place.version, place.plural)
        .cloned()
        .ok_or_else(
            || match discovery::resources(&cluster.kinds, place.group, place.version) {
                Ok(_) => Refusal::no_such_path(),
                Err(refusal) => refusal,
            },
        )?;
    match (kind.namespaced, place.namespace, place.name) {
        (true, None, Some(_)) | (false, Some(_), _) => return Err(Refusal::no_such_path()),
        (true, None, None) if request.method == Method::POST => {
            return Err(Refusal::method_not_allowed());
        }
        _ => {}
    }
    let query = Query::parse(&request.query);
    let manager = query.get("fieldManager").map(str::to_owned);
    let manager = manager.unwrap_or_else(|| managed::of_user_agent(&request.user_agent));
    cluster.writer = manager.into();
    allowed(cluster, request, &kind, place, &query)?;
    match (place.name, place.subresource) {
        (None, _) => collection(cluster, request, &kind, place, &query),
        (Some(name), part) => {
            let key = Key::new(kind.stored(), place.namespace.unwrap_or_default(), name);
            match part {
                None => object(cluster, request, &kind, &key, &query),
                Some("status") if kind.status => status_of(cluster, request, &kind, &key, &query),
                Some("scale") if kind.scale => scale::handle(cluster, request, &kind, &key, &query),
                Some("log") if &*key.resource == "pods" && request.method == Method::GET => {
                    log(cluster, &kind, &key, &query)
                }
                Some("finalize") if &*key.resource == "namespaces" && request.method == Method::PUT => {
                    let options = write::Options {
                        part: Part::Finalize,
                        ..options::of_write(request, &query)?
                    };
                    let written = write::update(cluster, &kind, &key, body(request)?, options)?;
                    value(200, &written.whole())
                }
                Some("proxy") if &*key.resource == "services" => {
                    Ok(Answer::Whole(proxy::service(cluster, request, &kind, &key)?))
                }
                Some(part) => refuse_part(&kind, part),
            }
        }
    }
}

/// Parts that a real server has and this one does not.
fn refuse_part(kind: &Kind, part: &str) -> Outcome<Answer> {
    const REAL: [&str; 10] = [
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "portforward",
        "proxy",
        "resize",
        "token",
        "approval",
    ];
    if REAL.contains(&part) {
        Err(Refusal::not_supported(&format!("{}/{part}", kind.resource())))
    } else {
        Err(Refusal::no_such_path())
    }
}

fn allowed(
    cluster: &Cluster,
    request: &Request,
    kind: &Kind,
    place: &Place<'_>,
    query: &Query,
) -> Outcome<()> {
    let verb = match (&request.method, place.name) {
        (&Method::GET | &Method::HEAD, None) if query.flag("watch") => "watch",
        (&Method::GET | &Method::HEAD, None) => "list",
        (&Method::GET | &Method::HEAD, Some(_)) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, None) => "deletecollection",
        (&Method::DELETE, Some(_)) => "delete",
        _ => return Err(Refusal::method_not_allowed()),
    };
    let namespace = place.namespace.unwrap_or_default();
    let resource = match place.subresource {
        Some(part) => format!("{}/{part}", kind.plural),
        None => kind.plural.to_string(),
    };
    if cluster
        .options
        .access
        .allows(verb, &kind.group, &resource, namespace)
    {
        return Ok(());
    }
    let scope = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    let why = format!(
        "User {:?} cannot {verb} resource {resource:?} in API group {:?} {scope}",
        cluster.options.user, kind.group
    );
    Err(Refusal::not_allowed(kind, place.name.unwrap_or_default(), &why))
}

fn collection(
    cluster: &mut Cluster,
    request: &Request,
    kind: &Arc<Kind>,
    place: &Place<'_>,
    query: &Query,
) -> Outcome<Answer> {
    let view = View::of_many(&request.accept)?;
    match request.method {
        Method::GET | Method::HEAD if query.flag("watch") => {
            let watch = watch::Watch::open(cluster, kind, place.namespace, query, view)?;
            Ok(Answer::Stream(Stream(Flow::Watch(Box::new(watch)))))
        }
        Method::GET | Method::HEAD => {
            let bytes = read::list(cluster, kind, place.namespace, query, view)?;
            Ok(Answer::Whole(Response::json(200, bytes)))
        }
        Method::POST => {
            let options = options::of_write(request, query)?;
            let namespace = place.namespace.unwrap_or_default();
            let body = whole_body(request, kind)?;
            let made = match spelling::stored(cluster, kind, namespace, &body)? {
                Some((stored, object)) => write::create(cluster, &stored, namespace, object, options)?,
                None => write::create(cluster, kind, namespace, body, options)?,
            };
            Ok(Answer::Whole(Response::json(
                201,
                view::object(kind, &made, view, cluster.now),
            )))
        }
        Method::DELETE => delete_collection(cluster, request, kind, place, query),
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn delete_collection(
    cluster: &mut Cluster,
    request: &Request,
    kind: &Arc<Kind>,
    place: &Place<'_>,
    query: &Query,
) -> Outcome<Answer> {
    let options = delete::Options::of(query, &body(request)?)?;
    let selection = read::Selection::of(kind, place.namespace, query)?;
    let found = read::selected(cluster, kind, &selection);
    for (namespace, name, _) in &found {
        let key = Key::new(kind.stored(), namespace.clone(), name.clone());
        delete::delete(cluster, kind, &key, &options)?;
    }
    let items: Vec<&Kept> = found.iter().map(|(_, _, kept)| kept).collect();
    let meta = view::ListMeta {
        version: cluster.store.version(),
        more: None,
        remaining: None,
    };
    let bytes = view::list(kind, &items, &meta, View::chosen(&request.accept)?, cluster.now);
    Ok(Answer::Whole(Response::json(200, bytes)))
}

fn object(
    cluster: &mut Cluster,
    request: &Request,
    kind: &Arc<Kind>,
    key: &Key,
    query: &Query,
) -> Outcome<Answer> {
    let view = View::chosen(&request.accept)?;
    let whole = |bytes| Ok(Answer::Whole(Response::json(200, bytes)));
    match request.method {
        Method::PUT | Method::PATCH if spelling::is_another(kind) => {
            Err(Refusal::not_supported("changing an Event of events.k8s.io/v1"))
        }
        Method::GET | Method::HEAD => whole(read::get(cluster, kind, key, query, view)?),
        Method::PUT => {
            let options = options::of_write(request, query)?;
            let written = write::update(cluster, kind, key, whole_body(request, kind)?, options)?;
            whole(view::object(kind, &written, view, cluster.now))
        }
        Method::PATCH => {
            let written = patch_object(cluster, request, kind, key, options::of_write(request, query)?)?;
            whole(view::object(kind, &written, view, cluster.now))
        }
        Method::DELETE => {
            let options = delete::Options::of(query, &body(request)?)?;
            match delete::delete(cluster, kind, key, &options)? {
                Deleted::Gone(object) if !kind.returns_deleted => value(
                    200,
                    &status::deleted(
                        kind,
                        &key.name,
                        crate::object::text(&object.object, "metadata.uid"),
                    ),
                ),
                Deleted::Gone(object) | Deleted::Marked(object) => {
                    whole(view::object(kind, &object, view, cluster.now))
                }
            }
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn status_of(
    cluster: &mut Cluster,
    request: &Request,
    kind: &Arc<Kind>,
    key: &Key,
    query: &Query,
) -> Outcome<Answer> {
    let options = write::Options {
        part: Part::Status,
        ..options::of_write(request, query)?
    };
    let written = match request.method {
        Method::GET | Method::HEAD => {
            let bytes = read::get(cluster, kind, key, query, View::chosen(&request.accept)?)?;
            return Ok(Answer::Whole(Response::json(200, bytes)));
        }
        Method::PUT => write::update(cluster, kind, key, body(request)?, options)?,
        Method::PATCH => patch_object(cluster, request, kind, key, options)?,
        _ => return Err(Refusal::method_not_allowed()),
    };
    value(200, &written.whole())
}

fn patch_object(
    cluster: &mut Cluster,
    request: &Request,
    kind: &Arc<Kind>,
    key: &Key,
    options: write::Options,
) -> Outcome<Kept> {
    let old = cluster
        .store
        .kept(&key.resource, &key.namespace, &key.name)
        .ok_or_else(|| Refusal::not_found(kind, &key.name))?;
    // Few patches are about them, and telling them takes time.
    let old = if mentions(&request.body, b"managedFields") {
        Arc::new(old.whole())
    } else {
        old.object.clone()
    };
    let mut patched = patch::patched(kind, &old, &request.content_type, &request.body)?;
    still_readable(cluster, kind, &mut patched)?;
    let (uid, known) = (
        crate::object::text(&patched, "metadata.uid"),
        crate::object::text(&old, "metadata.uid"),
    );
    if !uid.is_empty() && uid != known {
        let cause = status::Cause::invalid("metadata.uid", &json!(uid), "field is immutable");
        // The storage and the kind both check it, and a real server tells both.
        return Err(Refusal::invalid(kind, &key.name, &[cause.clone(), cause]));
    }
    // A patch that takes the version away means the newest one.
    crate::object::default(
        &mut patched,
        "metadata.resourceVersion",
        crate::object::text(&old, "metadata.resourceVersion"),
    );
    write::update(cluster, kind, key, patched, options)
}

fn mentions(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len()).any(|part| part == word)
}

/// Whether the patched object is still one of its kind.
fn still_readable(cluster: &Cluster, kind: &Kind, patched: &mut Value) -> Outcome<()> {
    let why = match write::typed(cluster, kind, patched) {
        Err(refusal) => Some(refusal.message),
        Ok(()) => types::wrong(kind, patched),
    };
    let Some(why) = why else { return Ok(()) };
    let cause = status::Cause::invalid("patch", &json!(patched.to_string()), &why);
    Err(Refusal::invalid_as("", "", "", &[cause]))
}

fn log(cluster: &Cluster, kind: &Kind, key: &Key, query: &Query) -> Outcome<Answer> {
    match logs::open(cluster, kind, key, query)? {
        logs::Log::Nowhere => Ok(Answer::Whole(Response {
            code: 204,
            content_type: "",
            body: Vec::new(),
        })),
        logs::Log::Whole(body) => Ok(Answer::Whole(Response {
            code: 200,
            content_type: PLAIN,
            body,
        })),
        logs::Log::Follow(follow) => Ok(Answer::Stream(Stream(Flow::Log(Box::new(follow))))),
    }
}

/// The object that a body holds.
fn whole_body(request: &Request, kind: &Kind) -> Outcome<Value> {
    let unrecognized = |why: &str| {
        Refusal::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {why}",
            kind.kind
        ))
    };
    if request.body.is_empty() {
        return Err(unrecognized("unexpected end of JSON input (<empty>)"));
    }
    match body(request)? {
        Value::Null => Ok(json!({})),
        object @ Value::Object(_) => Ok(object),
        _ => Err(unrecognized("it is no object")),
    }
}

/// The body as JSON; an empty one is an empty object.
fn body(request: &Request) -> Outcome<Value> {
    let media = request.content_type.split(';').next().unwrap_or_default().trim();
    if media == protobuf::MEDIA && matches!(request.method, Method::POST | Method::DELETE) {
        return protobuf::read(&request.body);
    }
    let unread = |error: String| {
        let why = format!("the body of the request cannot be read: {error}");
        if request.method == Method::DELETE {
            Refusal::internal(why)
        } else {
            Refusal::bad_request(why)
        }
    };
    match media {
        "" | "application/json" | "*/*" if request.body.is_empty() => Ok(json!({})),
        "" | "application/json" | "*/*" => {
            serde_json::from_slice(&request.body).map_err(|error| unread(error.to_string()))
        }
        "application/yaml" => std::str::from_utf8(&request.body)
            .map_err(|error| unread(error.to_string()))
            .and_then(|text| serde_saphyr::from_str(text).map_err(|error| unread(error.to_string()))),
        _ => Err(Refusal::unsupported_media(status::MEDIA)),
    }
}
