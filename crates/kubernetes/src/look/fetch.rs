//! The requests that looking sends: single objects, whole lists in pages, reviews and dry runs. Owns patience with a
//! server that is busy; knows nothing of what is read.

use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::target::WorkloadKind;
use kube::Client;
use kube::core::params::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::request::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Objects in one page of a list: kubectl's own size, so that no single answer holds the server up.
const PAGE: u32 = 500;
/// Reads are tried so often: a busy API server turns some away with 429, and nobody above repeats a read.
const TRIES: u32 = 3;
/// The pause before a second try where the server names none, doubled for the third.
const PAUSE: Duration = Duration::from_millis(250);
/// An attempt that took this long was no busy server's quick refusal: it is not tried again, since a person waits.
const QUICK: Duration = Duration::from_secs(1);
/// The longest pause that a server's wish may bring about: a person waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How much of an object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// `metadata` alone: values never leave the server.
    Metadata,
}

/// A list of objects at one moment.
pub(super) struct Listed<T> {
    /// The objects.
    pub(super) items: Vec<T>,
    /// Where a watch goes on from, without a gap.
    pub(super) version: String,
}

/// What is listed and how it is called in a message.
pub(super) struct Collection {
    /// The API path: `/api/v1/namespaces/shop/pods`.
    pub(super) path: String,
    /// The resource's plural.
    pub(super) resource: &'static str,
    /// Narrows the list on the server.
    pub(super) fields: Option<String>,
    /// The same, by labels.
    pub(super) labels: Option<String>,
}

impl Collection {
    /// All objects of a resource in a namespace. `group` is `api/v1` or `apis/GROUP/VERSION`.
    pub(super) fn namespaced(group: &str, namespace: &str, resource: &'static str) -> Self {
        Self {
            path: format!("/{group}/namespaces/{namespace}/{resource}"),
            resource,
            fields: None,
            labels: None,
        }
    }

    /// All workloads of a kind in a namespace.
    pub(super) fn workloads(kind: WorkloadKind, namespace: &str) -> Self {
        let group = format!("apis/{}/{}", kind.group(), kind.version());
        Self::namespaced(&group, namespace, kind.plural())
    }

    /// All objects of a resource that has no namespace.
    pub(super) fn cluster(group: &str, resource: &'static str) -> Self {
        Self {
            path: format!("/{group}/{resource}"),
            resource,
            fields: None,
            labels: None,
        }
    }

    /// Only those that a field selector finds.
    #[must_use]
    pub(super) fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Only those that a label selector finds.
    #[must_use]
    pub(super) fn labels(mut self, selector: String) -> Self {
        self.labels = Some(selector);
        self
    }
}

#[derive(Deserialize)]
struct Page<T> {
    metadata: PageMetadata,
    // Go writes an empty list as null where it holds a nil slice.
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue", default)]
    more: String,
    #[serde(rename = "resourceVersion", default)]
    version: String,
}

/// Lists a collection as it is now, page by page; `keep` takes of each object what is wanted, so that the rest is
/// freed with its page.
///
/// # Errors
/// The first page's that could not be had.
pub(super) async fn list<T: DeserializeOwned, K>(
    client: &Client,
    what: &Collection,
    part: Part,
    keep: impl Fn(T) -> K,
) -> Result<Listed<K>, Failure> {
    let attempt = Attempt::new(Verb::List, what.resource, format!("list {}", what.resource));
    let mut kept = Listed {
        items: Vec::new(),
        version: String::new(),
    };
    let mut parameters = ListParams::default().limit(PAGE);
    parameters.field_selector.clone_from(&what.fields);
    parameters.label_selector.clone_from(&what.labels);
    loop {
        let path = Request::new(&what.path);
        let request = || match part {
            Part::Whole => path.list(&parameters),
            Part::Metadata => path.list_metadata(&parameters),
        };
        let page: Page<T> = patiently(client, &attempt, request).await?;
        kept.items
            .extend(page.items.unwrap_or_default().into_iter().map(&keep));
        if page.metadata.more.is_empty() {
            kept.version = page.metadata.version;
            return Ok(kept);
        }
        parameters.continue_token = Some(page.metadata.more);
    }
}

/// Lists a resource that not every cluster has, as it is now; none where the API server does not serve it. Where it does
/// not, whoever has no right to it is refused all the same, so what is served is looked up then. `group` is `GROUP/VERSION`.
///
/// # Errors
/// It is served, and could not be listed.
pub(super) async fn list_where_served<T: DeserializeOwned, K>(
    client: &Client,
    group: &str,
    what: &Collection,
    keep: impl Fn(T) -> K,
) -> Result<Option<Listed<K>>, Failure> {
    match list(client, what, Part::Whole, keep).await {
        Ok(listed) => Ok(Some(listed)),
        Err(failure) if failure.class == FailureClass::Permanent => Ok(None),
        Err(failure)
            if failure.class == FailureClass::Refused && !is_served(client, group, what.resource).await =>
        {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Whether discovery names a resource; yes where it cannot be had.
async fn is_served(client: &Client, group: &str, resource: &str) -> bool {
    let attempt = Attempt::new(Verb::Get, "apis", format!("look for {resource} of {group}"));
    match raw::<Value>(client, &format!("/apis/{group}"), &attempt).await {
        Ok(found) => {
            let resources = found.get("resources").and_then(Value::as_array);
            let mut names = resources
                .into_iter()
                .flatten()
                .filter_map(|resource| resource.get("name")?.as_str());
            names.any(|name| name == resource)
        }
        Err(failure) => failure.class != FailureClass::Permanent,
    }
}

/// Reads one object. `collection` is the API path that it lies under.
///
/// # Errors
/// `Permanent` when there is none of that name.
pub(super) async fn get<T: DeserializeOwned>(
    client: &Client,
    collection: &str,
    name: &str,
    part: Part,
    attempt: &Attempt,
) -> Result<T, Failure> {
    let path = Request::new(collection);
    let parameters = GetParams::default();
    let request = || match part {
        Part::Whole => path.get(name, &parameters),
        Part::Metadata => path.get_metadata(name, &parameters),
    };
    patiently(client, attempt, request).await
}

/// Reads a path that is no object, such as `/version`.
///
/// # Errors
/// The server's.
pub(super) async fn raw<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    attempt: &Attempt,
) -> Result<T, Failure> {
    let request = || {
        http::Request::get(path)
            .body(Vec::new())
            .map_err(kube::core::request::Error::BuildRequest)
    };
    patiently(client, attempt, request).await
}

/// Sends a review or a dry run: `POST`, and nothing is stored.
///
/// # Errors
/// The server's, an admission's refusal among them.
pub(super) async fn post(
    client: &Client,
    collection: &str,
    body: &Value,
    dry_run: bool,
    attempt: &Attempt,
) -> Result<Value, Failure> {
    let path = Request::new(collection);
    let bytes = body.to_string().into_bytes();
    patiently(client, attempt, || {
        path.create(&parameters(dry_run), bytes.clone())
    })
    .await
}

/// Replaces an object as a dry run: all of admission, nothing stored.
///
/// # Errors
/// The server's, `Conflict` when the object inside is not the newest.
pub(super) async fn try_replace(
    client: &Client,
    collection: &str,
    name: &str,
    body: &Value,
    attempt: &Attempt,
) -> Result<Value, Failure> {
    let path = Request::new(collection);
    let bytes = body.to_string().into_bytes();
    patiently(client, attempt, || {
        path.replace(name, &parameters(true), bytes.clone())
    })
    .await
}

/// Applies a manifest by server-side apply as somebody else, over whoever owns a field, as a dry run: all of admission, nothing stored.
///
/// # Errors
/// The server's, an admission's refusal among them.
pub(super) async fn try_apply(
    client: &Client,
    collection: &str,
    name: &str,
    (body, manager): (&Value, &str),
    attempt: &Attempt,
) -> Result<Value, Failure> {
    let path = Request::new(collection);
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::apply(manager).force()
    };
    patiently(client, attempt, || {
        path.patch(name, &parameters, &Patch::Apply(body))
    })
    .await
}

/// Deletes the object of this name and uid as a dry run: all of admission, nothing is gone.
///
/// # Errors
/// The server's, `Permanent` when it is gone, `Conflict` when it is another one.
pub(super) async fn try_delete(
    client: &Client,
    collection: &str,
    name: &str,
    uid: &Uid,
    attempt: &Attempt,
) -> Result<Value, Failure> {
    let path = Request::new(collection);
    let preconditions = Preconditions {
        uid: Some(uid.as_str().to_owned()),
        resource_version: None,
    };
    let parameters = DeleteParams {
        dry_run: true,
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    patiently(client, attempt, || path.delete(name, &parameters)).await
}

fn parameters(dry_run: bool) -> PostParams {
    PostParams {
        dry_run,
        field_manager: Some(crate::effects::FIELD_MANAGER.to_owned()),
    }
}

async fn patiently<T: DeserializeOwned>(
    client: &Client,
    attempt: &Attempt,
    request: impl Fn() -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<T, Failure> {
    let mut tried = 1;
    loop {
        let began = tokio::time::Instant::now();
        let failure = match once(client, attempt, &request).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let FailureClass::Transient { retry_after_ms } = failure.class else {
            return Err(failure);
        };
        if tried == TRIES || began.elapsed() > QUICK {
            return Err(failure);
        }
        let pause = retry_after_ms
            .map_or(PAUSE * tried, Duration::from_millis)
            .min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
        tried += 1;
    }
}

async fn once<T: DeserializeOwned>(
    client: &Client,
    attempt: &Attempt,
    request: &impl Fn() -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<T, Failure> {
    let request = request().map_err(|error| attempt.failed(&kube::Error::BuildRequest(error)))?;
    // kube's own `request` writes an answer that it cannot read into the log, a Secret's values among it.
    let text = client
        .request_text(request)
        .await
        .map_err(|error| attempt.failed(&error))?;
    serde_json::from_str(&text).map_err(|_| attempt.unreadable())
}
