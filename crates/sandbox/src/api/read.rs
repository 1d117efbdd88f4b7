//! Getting and listing. Owns pages, selectors and versions of lists; changes nothing.

use super::options;
use super::route::Query;
use super::spelling;
use super::status::{Cause, Outcome, Refusal};
use super::view::{self, ListMeta, View};
use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::object::Name;
use crate::selector::{Fields, Labels};
use crate::store::{Kept, Key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// What a list or a watch is narrowed to.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) namespace: Option<Name>,
    pub(crate) labels: Labels,
    pub(crate) fields: Fields,
}

impl Selection {
    pub(crate) fn of(kind: &Kind, namespace: Option<&str>, query: &Query) -> Outcome<Self> {
        let labels = query.get("labelSelector").unwrap_or_default();
        let written = query.get("fieldSelector").unwrap_or_default();
        let labels = Labels::parse(labels).map_err(Refusal::bad_request)?;
        let fields = Fields::parse(written).map_err(Refusal::bad_request)?;
        let known = |field: &str| {
            field == "metadata.name" || field == "metadata.namespace" || kind.fields.contains(&field)
        };
        if let Some(unknown) = fields.names().find(|field| !known(field)) {
            let why = if kind.fields.is_empty() {
                format!(
                    "{unknown:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )
            } else {
                format!("field label not supported: {unknown}")
            };
            return Err(Refusal::bad_request(why));
        }
        Ok(Self {
            namespace: namespace.map(Name::from),
            labels,
            fields,
        })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    fn is_whole(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

/// One object.
pub(crate) fn get(cluster: &Cluster, kind: &Kind, key: &Key, query: &Query, view: View) -> Outcome<Vec<u8>> {
    let version = query.get("resourceVersion").unwrap_or_default();
    let wanted: Option<u64> = query
        .number("resourceVersion")
        .map_err(|_| Refusal::internal(unread(version)))?;
    let current = cluster.store.version();
    if let Some(wanted) = wanted.filter(|wanted| *wanted > current) {
        return Err(Refusal::too_large_version(wanted, current));
    }
    let found = cluster
        .store
        .kept(&key.resource, &key.namespace, &key.name)
        .ok_or_else(|| Refusal::not_found(kind, &key.name))?;
    Ok(view::object(kind, found, view, cluster.now))
}

/// The objects that a selection matches, now.
pub(crate) fn selected(cluster: &Cluster, kind: &Kind, selection: &Selection) -> Vec<(Name, Name, Kept)> {
    let resource = kind.stored();
    if let (Some(name), Some(namespace)) = (selection.fields.only_name(), &selection.namespace) {
        let found = cluster.store.kept(&resource, namespace, name);
        return found
            .filter(|kept| selection.matches(&spelling::shown(kind, &kept.object)))
            .map(|kept| (namespace.clone(), name.into(), kept.clone()))
            .into_iter()
            .collect();
    }
    let mut found = cluster
        .store
        .at(&resource, selection.namespace.as_deref(), cluster.store.version());
    found.retain(|(_, _, kept)| selection.matches(&spelling::shown(kind, &kept.object)));
    found
}

/// A list, or one page of it.
pub(crate) fn list(
    cluster: &Cluster,
    kind: &Kind,
    namespace: Option<&str>,
    query: &Query,
    view: View,
) -> Outcome<Vec<u8>> {
    let selection = Selection::of(kind, namespace, query)?;
    let current = cluster.store.version();
    let limit: Option<i64> = query.number("limit")?;
    let limit = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0);
    matching(query)?;
    let (version, start) = match query.get("continue") {
        Some(token) => {
            if query.get("resourceVersion").is_some_and(|version| version != "0") {
                return Err(Refusal::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let token = Token::read(token)?;
            let version = token.version.unwrap_or(current);
            if version < cluster.store.compacted() {
                let newest = Token {
                    version: None,
                    ..token
                };
                return Err(Refusal::expired(CONTINUE_EXPIRED).going_on(&newest.written()));
            }
            (version, Some(token.start))
        }
        None => (listed_version(cluster, query)?, None),
    };
    let mut found = if version == current && start.is_none() {
        selected(cluster, kind, &selection)
    } else {
        let mut found = cluster
            .store
            .at(&kind.stored(), selection.namespace.as_deref(), version);
        found.retain(|(_, _, kept)| selection.matches(&spelling::shown(kind, &kept.object)));
        found
    };
    if let Some(start) = &start {
        found.retain(|(namespace, name, _)| format!("{namespace}/{name}") > *start);
    }
    let total = found.len();
    found.truncate(limit.unwrap_or(total));
    let last = found
        .last()
        .map(|(namespace, name, _)| format!("{namespace}/{name}"));
    let more = last.filter(|_| found.len() < total).map(|start| {
        let version = Some(version);
        Token { version, start }.written()
    });
    let items: Vec<&Kept> = found.iter().map(|(_, _, kept)| kept).collect();
    let meta = ListMeta {
        version,
        remaining: (more.is_some() && selection.is_whole()).then_some(total - items.len()),
        more,
    };
    Ok(view::list(kind, &items, &meta, view, cluster.now))
}

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can \
    start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder \
    of the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
    modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// How a version that is none is told of.
pub(super) fn unread(version: &str) -> String {
    format!(
        "resourceVersion: Invalid value: {version:?}: strconv.ParseUint: parsing {version:?}: invalid syntax"
    )
}

/// Whether the way to match a version fits the version.
fn matching(query: &Query) -> Outcome<()> {
    let Some(said) = query.get("resourceVersionMatch") else {
        return Ok(());
    };
    let path = "resourceVersionMatch";
    let cause = match (said, query.get("resourceVersion")) {
        (_, None) => Cause::forbidden(
            path,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        ("Exact", Some("0")) => Cause::forbidden(
            path,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        ("Exact" | "NotOlderThan", _) => return Ok(()),
        _ => Cause::not_supported(path, &json!(said), &["Exact", "NotOlderThan", ""]),
    };
    options::refused("ListOptions", &[cause])
}

/// The version that a list without a token is of.
fn listed_version(cluster: &Cluster, query: &Query) -> Outcome<u64> {
    let current = cluster.store.version();
    let wanted: Option<u64> = query.number("resourceVersion").map_err(|_| {
        Refusal::bad_request(format!(
            "invalid resource version: {}",
            unread(query.get("resourceVersion").unwrap_or_default())
        ))
    })?;
    match (wanted, query.get("resourceVersionMatch")) {
        (Some(wanted), _) if wanted > current => Err(Refusal::too_large_version(wanted, current)),
        (Some(wanted), Some("Exact")) if wanted < cluster.store.compacted() => Err(Refusal::expired(
            "The resourceVersion for the provided list is too old.",
        )),
        (Some(wanted), Some("Exact")) => Ok(wanted),
        _ => Ok(current),
    }
}

/// Where a list goes on.
struct Token {
    /// The moment that the list shows; the newest without one, which a token says as -1.
    version: Option<u64>,
    start: String,
}

impl Token {
    fn written(&self) -> String {
        let version = self.version.map_or_else(|| json!(-1), Value::from);
        URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": version, "start": self.start}).to_string())
    }

    fn read(text: &str) -> Outcome<Self> {
        let bad = || Refusal::bad_request("invalid continue token: continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        Ok(Self {
            version: match token["rv"].as_i64().ok_or_else(bad)? {
                -1 => None,
                version => Some(u64::try_from(version).map_err(|_| bad())?),
            },
            start: token["start"].as_str().ok_or_else(bad)?.to_owned(),
        })
    }
}
