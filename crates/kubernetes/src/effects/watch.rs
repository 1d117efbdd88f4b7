//! Watches that end only when they must: a watch that drops is resumed, one whose history is gone begins anew.
//! Owns what is kept of a watched object or set; what it means is for the caller.

use crate::failure::{Attempt, Verb};
use astern_model::failure::Failure;
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::Api;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as start};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// The first pause before a dropped watch is resumed: a restarted API server is back within a second or two.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest: a rollout that completed meanwhile is noticed no later than this after the server is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a watch of one object says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Followed<K> {
    /// It is like this now.
    Is(K),
    /// There is no such object.
    Gone,
}

/// What a watch tells, and at last the error that another try meets again, such as a missing right.
pub(crate) type Events<K> = BoxStream<'static, Result<Event<K>, Arc<kube::Error>>>;

/// A watch of one object.
pub(crate) struct One<K> {
    stream: Events<K>,
    attempt: Attempt,
    listed: Option<K>,
}

impl<K> One<K> {
    /// The object's next state, the first one from a consistent read. Loses nothing when it is dropped.
    ///
    /// # Errors
    /// Only those that another try cannot mend, such as a missing right.
    pub(crate) async fn next(&mut self) -> Result<Followed<K>, Failure> {
        loop {
            match event(&mut self.stream, &self.attempt).await? {
                Event::Init => self.listed = None,
                Event::InitApply(object) => self.listed = Some(object),
                Event::InitDone => return Ok(self.listed.take().map_or(Followed::Gone, Followed::Is)),
                Event::Apply(object) => return Ok(Followed::Is(object)),
                Event::Delete(_) => return Ok(Followed::Gone),
            }
        }
    }
}

/// A watch of a set of objects, of each of which `T` is kept by its name.
pub(crate) struct Many<K, T> {
    stream: Events<K>,
    attempt: Attempt,
    read: Box<dyn Fn(&K) -> T + Send + Sync>,
    listed: BTreeMap<String, T>,
    known: Option<BTreeMap<String, T>>,
}

impl<K: Resource, T> Many<K, T> {
    /// What is known by now; none before the first list is whole.
    pub(crate) fn known(&self) -> Option<&BTreeMap<String, T>> {
        self.known.as_ref()
    }

    /// Returns after the next change. Loses nothing when it is dropped.
    ///
    /// # Errors
    /// Only those that another try cannot mend, such as a missing right.
    pub(crate) async fn changed(&mut self) -> Result<(), Failure> {
        loop {
            match event(&mut self.stream, &self.attempt).await? {
                Event::Init => self.listed.clear(),
                Event::InitApply(object) => {
                    self.listed.insert(object.name_any(), (self.read)(&object));
                }
                Event::InitDone => {
                    self.known = Some(std::mem::take(&mut self.listed));
                    return Ok(());
                }
                Event::Apply(object) => {
                    self.known
                        .get_or_insert_default()
                        .insert(object.name_any(), (self.read)(&object));
                    return Ok(());
                }
                Event::Delete(object) => {
                    self.known.get_or_insert_default().remove(&object.name_any());
                    return Ok(());
                }
            }
        }
    }
}

/// Follows the one object that a watch tells of.
pub(crate) fn one<K>(stream: Events<K>, attempt: Attempt) -> One<K> {
    One {
        stream,
        attempt,
        listed: None,
    }
}

/// Follows the objects that a watch tells of, keeping of each what `read` takes.
pub(crate) fn many<K, T>(
    stream: Events<K>,
    attempt: Attempt,
    read: impl Fn(&K) -> T + Send + Sync + 'static,
) -> Many<K, T> {
    Many {
        stream,
        attempt,
        read: Box::new(read),
        listed: BTreeMap::new(),
        known: None,
    }
}

/// The attempt that a failing watch is told as.
pub(crate) fn watching(resource: &str, operation: &str) -> Attempt {
    Attempt::new(Verb::Watch, resource, operation)
}

/// Watches the objects that `config` selects. An error that passes is none: the watch resumes by itself after a pause.
pub(crate) fn events<K>(api: Api<K>, config: watcher::Config) -> Events<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let resumed = start(api, config).backoff(Pause { next: FIRST_PAUSE });
    let told = resumed.filter_map(|event| {
        let told = match event {
            Ok(event) => Some(Ok(event)),
            Err(error) => {
                let lasting = lasting(error);
                if lasting.is_none() {
                    tracing::debug!("a watch dropped and is resumed");
                }
                lasting.map(|error| Err(Arc::new(error)))
            }
        };
        std::future::ready(told)
    });
    told.boxed()
}

/// The next event.
async fn event<K>(stream: &mut Events<K>, attempt: &Attempt) -> Result<Event<K>, Failure> {
    match stream.next().await {
        Some(Ok(event)) => Ok(event),
        Some(Err(error)) => Err(attempt.failed(&error)),
        // A watch has no end of its own; should it have one, waiting for the deadline is the honest answer.
        None => std::future::pending().await,
    }
}

/// The error, if another try meets it again: a missing right, a wrong request.
fn lasting(error: watcher::Error) -> Option<kube::Error> {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => return None,
    };
    match &error {
        kube::Error::Api(status) if matches!(status.code, 400 | 401 | 403 | 404 | 405 | 422) => Some(error),
        kube::Error::Auth(_) | kube::Error::BuildRequest(_) => Some(error),
        _ => None,
    }
}

/// Pauses that double. Without jitter: a run has two watches a workload, and no herd to spread.
struct Pause {
    next: Duration,
}

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        self.next = FIRST_PAUSE;
    }
}
