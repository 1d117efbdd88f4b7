//! Watches: what a client is told of changes, and when a watch ends. Owns the cursor over the history; sends nothing.

use super::read::{Selection, selected};
use super::route::Query;
use super::spelling;
use super::status::{Outcome, Refusal};
use super::view::{self, View};
use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::object::{Name, set};
use crate::store::{Change, Kept};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// A watch without a timeout of its own ends after this; a real server draws between 30 and 60 minutes.
const LONGEST: SignedDuration = SignedDuration::from_mins(45);
/// How often a bookmark is sent.
const BOOKMARK_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// A watch that was opened.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    kind: Arc<Kind>,
    resource: Name,
    selection: Selection,
    view: View,
    start: Start,
    until: Timestamp,
    bookmark: Option<Timestamp>,
    ended: bool,
}

/// Where the next poll begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With what there is, as if it were added now.
    State,
    /// After this version.
    After(u64),
}

impl Watch {
    pub(crate) fn open(
        cluster: &Cluster,
        kind: &Arc<Kind>,
        namespace: Option<&str>,
        query: &Query,
        view: View,
    ) -> Outcome<Self> {
        if query.get("sendInitialEvents").is_some() {
            return Err(Refusal::not_supported("sendInitialEvents on a watch"));
        }
        let invalid = |_| {
            let version = query.get("resourceVersion").unwrap_or_default();
            Refusal::internal(super::read::unread(version))
        };
        let version: Option<u64> = query.number("resourceVersion").map_err(invalid)?;
        let start = match version {
            None | Some(0) => Start::State,
            Some(version) if version > cluster.store.version() => {
                return Err(Refusal::too_large_version(version, cluster.store.version()));
            }
            Some(version) => Start::After(version),
        };
        let seconds: Option<i64> = query.number("timeoutSeconds")?;
        let span = seconds.map_or(LONGEST, SignedDuration::from_secs);
        Ok(Self {
            kind: kind.clone(),
            resource: kind.stored(),
            selection: Selection::of(kind, namespace, query)?,
            view,
            start,
            until: cluster.now + span,
            bookmark: query
                .flag("allowWatchBookmarks")
                .then(|| cluster.now + BOOKMARK_EVERY),
            ended: false,
        })
    }

    /// What is to be sent now.
    pub(crate) fn poll(&mut self, cluster: &Cluster) -> Vec<u8> {
        let mut bytes = Vec::new();
        let after = match self.start {
            Start::After(version) => version,
            Start::State => {
                for (_, _, object) in selected(cluster, &self.kind, &self.selection) {
                    bytes.extend(view::event(&self.kind, "ADDED", &object, self.view, cluster.now));
                }
                cluster.store.version()
            }
        };
        self.start = Start::After(cluster.store.version());
        if after < cluster.store.compacted() {
            self.ended = true;
            let message = format!(
                "too old resource version: {after} ({})",
                cluster.store.compacted()
            );
            let status = Refusal::expired(message).status();
            bytes.extend(
                json!({"type": "ERROR", "object": status})
                    .to_string()
                    .into_bytes(),
            );
            bytes.push(b'\n');
            return bytes;
        }
        for change in cluster.store.changes_after(after) {
            if let Some((name, object)) = self.seen(change) {
                bytes.extend(view::event(&self.kind, name, &object, self.view, cluster.now));
            }
        }
        if self
            .bookmark
            .is_some_and(|due| due <= cluster.now.min(self.until))
        {
            self.bookmark = Some(cluster.now + BOOKMARK_EVERY);
            bytes.extend(self.bookmark_line(cluster.store.version()));
        }
        self.ended = self.until <= cluster.now;
        bytes
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// When there is something to say though nothing changed.
    pub(crate) fn due(&self) -> Timestamp {
        self.bookmark
            .map_or(self.until, |bookmark| bookmark.min(self.until))
    }

    /// How a change looks through the selection: an object that leaves it is deleted for this watcher.
    fn seen(&self, change: &Change) -> Option<(&'static str, Kept)> {
        let elsewhere = self
            .selection
            .namespace
            .as_ref()
            .is_some_and(|namespace| *namespace != change.key.namespace);
        if change.key.resource != self.resource || elsewhere {
            return None;
        }
        let matching = |object: &Option<Arc<Value>>| {
            let object = object.as_ref();
            object
                .filter(|object| self.selection.matches(&spelling::shown(&self.kind, object)))
                .cloned()
        };
        match (matching(&change.before), matching(&change.after)) {
            (None, Some(_)) => Some(("ADDED", change.latter()?)),
            (Some(_), Some(_)) => Some(("MODIFIED", change.latter()?)),
            (Some(before), None) => {
                let mut last = Value::clone(&before);
                set(&mut last, "metadata.resourceVersion", change.version.to_string());
                Some(("DELETED", Kept::new(Arc::new(last), change.managers.clone())))
            }
            (None, None) => None,
        }
    }

    fn bookmark_line(&self, version: u64) -> Vec<u8> {
        let mut object = json!({
            "kind": self.kind.kind.as_ref(),
            "apiVersion": self.kind.api_version(),
        });
        set(&mut object, "metadata.resourceVersion", version.to_string());
        let mut line = json!({"type": "BOOKMARK", "object": object})
            .to_string()
            .into_bytes();
        line.push(b'\n');
        line
    }
}
