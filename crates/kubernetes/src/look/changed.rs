//! Waiting until something about workloads or their pods changes. Watches from the newest inventory on, so that
//! nothing between the look and the watch is missed; never polls.

use super::Seen;
use super::fetch::Collection;
use super::revisions::workload_of;
use crate::connect::Connection;
use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use astern_model::target::{Target, WorkloadKind};
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::core::WatchEvent;
use kube::core::params::{ListParams, WatchParams};
use kube::core::request::Request;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A watch ends by itself after this, and goes on from where it was: the server's own longest is a little above.
const WATCH_SECONDS: u32 = 290;

/// Ends at the first change of one of `targets` or of a pod of theirs, or after `within`.
///
/// # Errors
/// The server's, when a watch cannot be had.
pub(super) async fn wait(
    connection: &Connection,
    targets: &[Target],
    seen: &BTreeMap<String, Arc<Seen>>,
    within: SignedDuration,
) -> Result<(), Failure> {
    let client = connection.lasting().map_err(|error| {
        Failure::new(FailureClass::Refused, "watch the workloads", error.to_string()).hint(error.hint())
    })?;
    let watches: FuturesUnordered<_> = scopes(targets, seen)
        .into_iter()
        .map(|scope| first(&client, scope))
        .collect();
    let Ok(within) = Duration::try_from(within) else {
        return Ok(());
    };
    match tokio::time::timeout(within, watches.into_future()).await {
        Ok((Some(ended), _)) => ended,
        // No target, nothing to watch: the time is waited for all the same.
        Ok((None, _)) => {
            tokio::time::sleep(within).await;
            Ok(())
        }
        Err(_) => Ok(()),
    }
}

/// What one watch is about.
struct Scope {
    collection: Collection,
    version: Option<String>,
    about: About,
}

enum About {
    /// Workloads of these names.
    Workloads(BTreeSet<String>),
    /// Pods of these workloads.
    Pods(BTreeSet<(WorkloadKind, String)>),
}

impl About {
    fn concerns(&self, metadata: &ObjectMeta) -> bool {
        match self {
            Self::Workloads(names) => metadata.name.as_ref().is_some_and(|name| names.contains(name)),
            Self::Pods(owners) => workload_of(metadata).is_some_and(|owner| owners.contains(&owner)),
        }
    }
}

#[derive(Clone, Deserialize)]
struct Any {
    metadata: ObjectMeta,
}

fn scopes(targets: &[Target], seen: &BTreeMap<String, Arc<Seen>>) -> Vec<Scope> {
    let mut workloads: BTreeMap<(&str, WorkloadKind), BTreeSet<String>> = BTreeMap::new();
    let mut pods: BTreeMap<&str, BTreeSet<(WorkloadKind, String)>> = BTreeMap::new();
    for target in targets {
        let namespace = target.namespace.as_str();
        workloads
            .entry((namespace, target.kind))
            .or_default()
            .insert(target.name.clone());
        pods.entry(namespace)
            .or_default()
            .insert((target.kind, target.name.clone()));
    }
    let version = |namespace: &str, resource: &str| seen.get(namespace)?.versions.get(resource).cloned();
    let workloads = workloads.into_iter().map(|((namespace, kind), names)| Scope {
        collection: Collection::workloads(kind, namespace),
        version: version(namespace, kind.plural()),
        about: About::Workloads(names),
    });
    let pods = pods.into_iter().map(|(namespace, owners)| Scope {
        collection: Collection::namespaced("api/v1", namespace, "pods"),
        version: version(namespace, "pods"),
        about: About::Pods(owners),
    });
    workloads.chain(pods).collect()
}

/// Ends at the first event that concerns the scope.
async fn first(client: &Client, scope: Scope) -> Result<(), Failure> {
    let resource = scope.collection.resource;
    let attempt = Attempt::new(Verb::Watch, resource, format!("watch {resource}"));
    let path = Request::new(&scope.collection.path);
    let mut version = match scope.version {
        Some(version) => version,
        None => newest(client, &path, resource).await?,
    };
    loop {
        let parameters = WatchParams::default().timeout(WATCH_SECONDS);
        let request = path.watch_metadata(&parameters, &version);
        let request = request.map_err(|error| attempt.failed(&kube::Error::BuildRequest(error)))?;
        let events = match client.request_events::<Any>(request).await {
            // The version is too old to go on from: much has changed since.
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(()),
            events => events.map_err(|error| attempt.failed(&error))?,
        };
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.try_next().await.map_err(|error| attempt.failed(&error))? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                    if scope.about.concerns(&object.metadata) {
                        return Ok(());
                    }
                    version = object.metadata.resource_version.unwrap_or(version);
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 410 => return Ok(()),
                WatchEvent::Error(status) => return Err(attempt.failed(&kube::Error::Api(status))),
            }
        }
    }
}

/// The version that a watch starts from where no inventory was taken before.
async fn newest(client: &Client, path: &Request, resource: &str) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Head {
        metadata: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        #[serde(rename = "resourceVersion")]
        resource_version: String,
    }
    let attempt = Attempt::new(Verb::List, resource, format!("list {resource}"));
    let request = path.list_metadata(&ListParams::default().limit(1));
    let request = request.map_err(|error| attempt.failed(&kube::Error::BuildRequest(error)))?;
    let text = client
        .request_text(request)
        .await
        .map_err(|error| attempt.failed(&error))?;
    let head: Head = serde_json::from_str(&text).map_err(|_| attempt.unreadable())?;
    Ok(head.metadata.resource_version)
}
