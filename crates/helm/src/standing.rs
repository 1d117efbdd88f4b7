//! How the objects of a release stand now: each that its newest manifest names, read as it is, hidden as the manifest is.
//! Writes nothing, and decides nothing of it.

use crate::failure::{Intent, failure};
use crate::mask::Masker;
use astern_model::helm::{HIDDEN, Record, Standing};
use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Objects that are read; a release with more is told in part.
const MOST_OBJECTS: usize = 300;
/// Requests at a time.
const AT_ONCE: usize = 16;

/// Reads how the objects of `newest` stand. What `records` hide is hidden here too.
pub(crate) async fn standing(
    client: &Client,
    namespace: &str,
    newest: &Record,
    records: &[&Record],
    masker: &Masker,
) -> Standing {
    let mut standing = Standing::default();
    let asked: Vec<(&String, &Value)> = newest.objects.iter().take(MOST_OBJECTS).collect();
    if asked.len() < newest.objects.len() {
        let more = newest.objects.len() - asked.len();
        standing
            .unread
            .push(format!("{more} more objects of its manifest were not looked at"));
    }
    let resources = resources(client, &asked, &mut standing.unread).await;
    let mut reads = Vec::new();
    for (key, manifest) in asked {
        if let Some(path) = resources.path(manifest, namespace) {
            reads.push(read(client, key, path));
        }
    }
    let found: Vec<_> = futures::stream::iter(reads)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for (key, read) in found {
        match read {
            Ok(Some(object)) => {
                standing.objects.insert(key.clone(), object);
            }
            Ok(None) => {
                standing.gone.insert(key.clone());
            }
            Err(error) => {
                let why = failure(&format!("read {key}"), &error, Intent::Read).message;
                standing
                    .unread
                    .push(format!("how {key} stands is not known: {why}"));
            }
        }
    }
    standing.unread.sort();
    hide(&mut standing.objects, records, masker);
    standing
}

/// Where the kinds of some API groups lie.
struct Resources(BTreeMap<(String, String), (String, bool)>);

impl Resources {
    /// The address of a manifest's object; none where its API is not served.
    fn path(&self, manifest: &Value, namespace: &str) -> Option<String> {
        let (version, kind) = (text(manifest, "/apiVersion")?, text(manifest, "/kind")?);
        let name = text(manifest, "/metadata/name")?;
        let (plural, namespaced) = self.0.get(&(version.to_owned(), kind.to_owned()))?;
        let place = match namespaced {
            true => {
                let namespace = text(manifest, "/metadata/namespace").unwrap_or(namespace);
                format!("namespaces/{namespace}/")
            }
            false => String::new(),
        };
        Some(format!("/{}/{place}{plural}/{name}", root(version)))
    }
}

async fn resources(client: &Client, asked: &[(&String, &Value)], unread: &mut Vec<String>) -> Resources {
    let versions: BTreeSet<&str> = asked
        .iter()
        .filter_map(|(_, manifest)| text(manifest, "/apiVersion"))
        .collect();
    let lists = versions.into_iter().map(|version| async move {
        let list: Result<Option<APIResourceList>, _> = get(client, &format!("/{}", root(version))).await;
        (version, list)
    });
    let mut found = BTreeMap::new();
    for (version, list) in join_all(lists).await {
        match list {
            Ok(Some(list)) => {
                let whole = list
                    .resources
                    .into_iter()
                    .filter(|resource| !resource.name.contains('/'));
                found.extend(whole.map(|resource| {
                    (
                        (version.to_owned(), resource.kind),
                        (resource.name, resource.namespaced),
                    )
                }));
            }
            Ok(None) => unread.push(format!(
                "the cluster serves no {version}: its objects were not looked at"
            )),
            Err(error) => {
                let why = failure(&format!("discover {version}"), &error, Intent::Read).message;
                unread.push(format!("how the objects of {version} stand is not known: {why}"));
            }
        }
    }
    Resources(found)
}

fn root(version: &str) -> String {
    match version.contains('/') {
        true => format!("apis/{version}"),
        false => format!("api/{version}"),
    }
}

async fn read<'a>(
    client: &Client,
    key: &'a String,
    path: String,
) -> (&'a String, Result<Option<Value>, kube::Error>) {
    (key, get(client, &path).await)
}

/// None where there is no such thing.
pub(crate) async fn get<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
) -> Result<Option<T>, kube::Error> {
    let request = http::Request::get(path).body(Vec::new());
    match client.request(request.map_err(kube::Error::HttpError)?).await {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Without what the API server adds, and without every value that a record hides at that place, that a Secret of the
/// release holds, or that is secret by its name.
fn hide(objects: &mut BTreeMap<String, Value>, records: &[&Record], masker: &Masker) {
    let mut known = Vec::new();
    for (key, object) in objects.iter_mut() {
        if let Some(map) = object.as_object_mut() {
            map.remove("status");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        if key.starts_with("secret/") {
            known.extend(masker.secret(object));
        }
    }
    for (key, object) in objects.iter_mut().filter(|(key, _)| !key.starts_with("secret/")) {
        for record in records {
            if let Some(manifest) = record.objects.get(key) {
                hide_like(manifest, object, masker);
            }
        }
        masker.values("", object, &known);
    }
}

/// Hides what the manifest hides.
fn hide_like(manifest: &Value, object: &mut Value, masker: &Masker) {
    match (manifest, object) {
        (Value::Object(manifest), Value::Object(object)) => {
            for (key, manifest) in manifest {
                if let Some(value) = object.get_mut(key) {
                    hide_like(manifest, value, masker);
                }
            }
        }
        (Value::Array(manifest), Value::Array(object)) => {
            for (manifest, value) in manifest.iter().zip(object) {
                hide_like(manifest, value, masker);
            }
        }
        (Value::String(hidden), value) if hidden.contains(HIDDEN) => {
            if let Value::String(text) = value
                && !text.contains(HIDDEN)
            {
                *value = Value::from(masker.token(text));
            }
        }
        _ => {}
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str()
}
