//! Waiting for a run's next record. Owns the watches that outlive each wait: a wait is dropped whenever its caller has
//! something else to do, and a watch for each would ask the API server twice for every record.

use super::part::{self, Label};
use super::{ClusterJournal, of_type};
use crate::api::{self, Intent};
use crate::tip::read_operation;
use astern_model::id::{RunId, Seq};
use astern_port::{Failure, FailureClass};
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, PartialObjectMeta, WatchEvent, WatchParams};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long after a broken watch the next one begins: a proxy that cuts connections is not to be hammered.
const WATCH_PAUSE: Duration = Duration::from_millis(250);

/// The watches of the runs that were waited for, each for one who waits at a time.
pub(super) type Followed = Arc<Mutex<BTreeMap<RunId, Arc<tokio::sync::Mutex<Option<Following>>>>>>;

/// A watch of a run's heads, and how far they reach by what it has told.
pub(super) struct Following {
    end: u64,
    events: BoxStream<'static, kube::Result<WatchEvent<PartialObjectMeta<Secret>>>>,
}

impl ClusterJournal {
    /// Returns once the run has a record at `from`.
    pub(super) async fn watch_for(&self, run: &RunId, from: Seq) -> Result<(), Failure> {
        let slot = self
            .followed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(run.clone())
            .or_default()
            .clone();
        // Whoever waits beside another one has a watch of its own, or it would only be told once that one is done.
        match slot.try_lock() {
            Ok(mut following) => self.follow_until(run, from, &mut following).await,
            Err(_) => self.follow_until(run, from, &mut None).await,
        }
    }

    async fn follow_until(
        &self,
        run: &RunId,
        from: Seq,
        following: &mut Option<Following>,
    ) -> Result<(), Failure> {
        loop {
            let now = match following {
                Some(now) => now,
                None => match self.follow(run).await? {
                    Some(begun) => following.insert(begun),
                    None => {
                        tokio::time::sleep(WATCH_PAUSE).await;
                        continue;
                    }
                },
            };
            if now.end > from.0 {
                return Ok(());
            }
            match now.events.next().await {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    let end = Label::of(&object.metadata).map_or(0, |label| label.end());
                    now.end = now.end.max(end);
                }
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                // It ended, or a run was settled or pruned: what is there is asked anew.
                None | Some(Err(_) | Ok(WatchEvent::Error(_) | WatchEvent::Deleted(_))) => {
                    *following = None;
                    tokio::time::sleep(WATCH_PAUSE).await;
                }
            }
        }
    }

    /// Looks how far a run's heads reach, and watches them from there. None when that may work a moment later.
    async fn follow(&self, run: &RunId) -> Result<Option<Following>, Failure> {
        let operation = read_operation(run);
        let selector = format!("{}={run},{}!=chunk", part::RUN, part::PART);
        let list = ListParams::default().fields(&of_type()).labels(&selector);
        let listed = api::read(&operation, || self.api.list_metadata(&list)).await?;
        let labels = listed
            .items
            .iter()
            .filter_map(|object| Label::of(&object.metadata));
        let end = labels.map(|label| label.end()).max().unwrap_or(0);
        let version = listed.metadata.resource_version.unwrap_or_default();
        let watch = WatchParams::default().fields(&of_type()).labels(&selector);
        match self.api.watch_metadata(&watch, &version).await {
            Ok(events) => Ok(Some(Following {
                end,
                events: events.boxed(),
            })),
            Err(error) => {
                let failure = api::failure(&operation, &error, Intent::Read);
                match failure.class {
                    FailureClass::Refused | FailureClass::Permanent => Err(failure),
                    _ => Ok(None),
                }
            }
        }
    }
}
