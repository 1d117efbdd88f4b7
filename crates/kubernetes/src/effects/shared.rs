//! One watch of a namespace for many waits: the first few have their own, narrow ones; the next ones share one that is
//! wide. Owns who is told what of it; what it means is for the caller.
//!
//! # Flow
//! A shared watch keeps what it lists. Whoever joins is told that first, as if it had just been listed for them alone,
//! and then what changes. A copy may lag behind what this process has written itself; so one who follows a workload is
//! told nothing older than the generation that was written last ([`Written`]).

use super::watch::{Events, events};
use astern_model::target::Target;
use futures::StreamExt;
use kube::api::Api;
use kube::core::{Selector, SelectorExt};
use kube::runtime::watcher::{Config, Event};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// So many waits watch on their own at a time. A wide watch lists the whole namespace, which is more than a few waits
/// need; from the next one on it costs the API server less than another pair of requests for each.
const ALONE: usize = 3;

/// What somebody follows.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// One object, no older than this.
    Named {
        name: String,
        at_least: Option<Generation>,
    },
    /// Those whose labels fit.
    Labelled(Selector),
}

/// A state of an object: its uid and its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    uid: String,
    number: u64,
}

impl Wanted {
    fn config(&self) -> Config {
        match self {
            Self::Named { name, .. } => Config::default().fields(&format!("metadata.name={name}")),
            Self::Labelled(selector) => Config::default().labels_from(selector),
        }
    }

    fn fits<K: Resource>(&self, object: &K) -> bool {
        match self {
            Self::Named { name, .. } => object.meta().name.as_ref() == Some(name),
            Self::Labelled(selector) => selector.matches(object.labels()),
        }
    }

    /// Whether this is an earlier state of an object than the one that was written. Another object of the name is
    /// none.
    fn is_outdated<K: Resource>(&self, object: &K) -> bool {
        let Self::Named {
            at_least: Some(written),
            ..
        } = self
        else {
            return false;
        };
        let meta = object.meta();
        let generation = meta.generation.and_then(|number| u64::try_from(number).ok());
        meta.uid.as_deref() == Some(&written.uid) && generation.unwrap_or(0) < written.number
    }
}

/// The newest generation of each workload that was written here.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<BTreeMap<Target, Generation>>>);

impl Written {
    pub(crate) fn note(&self, target: &Target, uid: String, number: u64) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(target.clone(), Generation { uid, number });
    }

    pub(crate) fn of(&self, target: &Target) -> Option<Generation> {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(target).cloned()
    }
}

/// The watches of one type of object, by collection.
pub(crate) struct Watches<K>(Arc<Mutex<BTreeMap<String, Place<K>>>>);

impl<K> Clone for Watches<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Watches<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

struct Place<K> {
    alone: Arc<()>,
    shared: Weak<Shared<K>>,
}

impl<K> Watches<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Follows what is wanted of the collection at `place`, which `api` reaches.
    pub(crate) fn follow(&self, api: Api<K>, place: &str, wanted: Wanted) -> Events<K> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(place.to_owned()).or_insert_with(|| Place {
            alone: Arc::new(()),
            shared: Weak::new(),
        });
        if Arc::strong_count(&place.alone) <= ALONE {
            let seat = place.alone.clone();
            let own = events(api, wanted.config());
            return own
                .map(move |event| {
                    let _ = &seat;
                    event
                })
                .boxed();
        }
        let joined = place.shared.upgrade().and_then(|shared| shared.join(&wanted));
        let joined = joined.or_else(|| {
            let shared = Shared::start(api);
            place.shared = Arc::downgrade(&shared);
            shared.join(&wanted)
        });
        joined.expect("BUG: a watch that was just begun is over")
    }
}

/// A watch of a whole collection. It ends with the last who follows it.
struct Shared<K> {
    state: Arc<Mutex<State<K>>>,
    task: AbortHandle,
}

impl<K> Drop for Shared<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct State<K> {
    listed: BTreeMap<String, K>,
    /// None before the first list is whole.
    known: Option<BTreeMap<String, K>>,
    followers: Vec<Follower<K>>,
    over: bool,
}

struct Follower<K> {
    wanted: Wanted,
    tell: mpsc::UnboundedSender<Result<Event<K>, Arc<kube::Error>>>,
}

impl<K> Shared<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    fn start(api: Api<K>) -> Arc<Self> {
        let state = Arc::new(Mutex::new(State {
            listed: BTreeMap::new(),
            known: None,
            followers: Vec::new(),
            over: false,
        }));
        let mut watched = events(api, Config::default());
        let told = state.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = watched.next().await {
                told.lock().unwrap_or_else(PoisonError::into_inner).take_in(event);
            }
        });
        Arc::new(Self {
            state,
            task: task.abort_handle(),
        })
    }

    /// None where the watch is over: it met an error that another try meets again.
    fn join(self: Arc<Self>, wanted: &Wanted) -> Option<Events<K>> {
        let (tell, told) = mpsc::unbounded_channel();
        let follower = Follower {
            wanted: wanted.clone(),
            tell,
        };
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.over {
                return None;
            }
            if let Some(known) = &state.known {
                follower.begin(known);
            }
            state.followers.push(follower);
        }
        // Whoever follows holds the watch.
        let next = |(shared, mut told): (Arc<Self>, mpsc::UnboundedReceiver<_>)| async move {
            let event = told.recv().await?;
            Some((event, (shared, told)))
        };
        Some(futures::stream::unfold((self, told), next).boxed())
    }
}

impl<K: Resource + Clone> State<K> {
    fn take_in(&mut self, event: Result<Event<K>, Arc<kube::Error>>) {
        self.followers.retain(|follower| !follower.tell.is_closed());
        match event {
            Ok(Event::Init) => self.listed.clear(),
            Ok(Event::InitApply(object)) => {
                self.listed.insert(object.name_any(), object);
            }
            Ok(Event::InitDone) => {
                let known = std::mem::take(&mut self.listed);
                for follower in &self.followers {
                    follower.begin(&known);
                }
                self.known = Some(known);
            }
            Ok(Event::Apply(object)) => {
                let known = self.known.get_or_insert_default();
                let former = known.insert(object.name_any(), object.clone());
                for follower in &self.followers {
                    follower.changed(former.as_ref(), &object);
                }
            }
            Ok(Event::Delete(object)) => {
                self.known.get_or_insert_default().remove(&object.name_any());
                for follower in &self.followers {
                    follower.gone(&object);
                }
            }
            Err(error) => {
                self.over = true;
                for follower in self.followers.drain(..) {
                    drop(follower.tell.send(Err(error.clone())));
                }
            }
        }
    }
}

impl<K: Resource + Clone> Follower<K> {
    /// All that it follows, as one list; nothing while the copy is behind what was written.
    fn begin(&self, known: &BTreeMap<String, K>) {
        let fitting: Vec<&K> = match &self.wanted {
            Wanted::Named { name, .. } => known.get(name).into_iter().collect(),
            Wanted::Labelled(_) => known
                .values()
                .filter(|object| self.wanted.fits(*object))
                .collect(),
        };
        if fitting.iter().any(|object| self.wanted.is_outdated(*object)) {
            return;
        }
        self.tell(Event::Init);
        for object in fitting {
            self.tell(Event::InitApply(object.clone()));
        }
        self.tell(Event::InitDone);
    }

    fn changed(&self, former: Option<&K>, object: &K) {
        if self.wanted.fits(object) {
            if !self.wanted.is_outdated(object) {
                self.tell(Event::Apply(object.clone()));
            }
        } else if let Some(former) = former.filter(|former| self.wanted.fits(*former)) {
            self.tell(Event::Delete(former.clone()));
        }
    }

    fn gone(&self, object: &K) {
        if self.wanted.fits(object) {
            self.tell(Event::Delete(object.clone()));
        }
    }

    fn tell(&self, event: Event<K>) {
        // Who does not listen any more is forgotten at the next event.
        drop(self.tell.send(Ok(event)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    type Told = mpsc::UnboundedReceiver<Result<Event<Pod>, Arc<kube::Error>>>;

    fn object(name: &str, app: &str, generation: u64) -> Pod {
        let metadata = json!({"name": name, "uid": "u1", "generation": generation, "labels": {"app": app}});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn listed(objects: &[Pod]) -> State<Pod> {
        State {
            listed: BTreeMap::new(),
            known: Some(objects.iter().map(|one| (one.name_any(), one.clone())).collect()),
            followers: Vec::new(),
            over: false,
        }
    }

    fn follow(state: &mut State<Pod>, wanted: Wanted) -> Told {
        let (tell, told) = mpsc::unbounded_channel();
        let follower = Follower { wanted, tell };
        if let Some(known) = &state.known {
            follower.begin(known);
        }
        state.followers.push(follower);
        told
    }

    fn heard(told: &mut Told) -> Vec<String> {
        let next = || told.try_recv().ok();
        std::iter::from_fn(next)
            .map(|event| event.map_or_else(|error| error.to_string(), |event| event.to_string()))
            .collect()
    }

    fn labelled(app: &str) -> Wanted {
        Wanted::Labelled([("app".to_owned(), app.to_owned())].into_iter().collect())
    }

    #[test]
    fn whoever_joins_late_is_told_the_list_first_and_then_what_changes() {
        let mut state = listed(&[object("a-1", "a", 1), object("b-1", "b", 1)]);
        let mut told = follow(&mut state, labelled("a"));
        assert_eq!(heard(&mut told), ["Init", "InitApply(a-1)", "InitDone"]);
        state.take_in(Ok(Event::Apply(object("b-2", "b", 1))));
        state.take_in(Ok(Event::Apply(object("a-2", "a", 1))));
        state.take_in(Ok(Event::Delete(object("a-1", "a", 1))));
        assert_eq!(heard(&mut told), ["Apply(a-2)", "Delete(a-1)"]);
        // The history is gone: all is listed anew.
        state.take_in(Ok(Event::Init));
        state.take_in(Ok(Event::InitApply(object("a-3", "a", 1))));
        assert!(heard(&mut told).is_empty());
        state.take_in(Ok(Event::InitDone));
        assert_eq!(heard(&mut told), ["Init", "InitApply(a-3)", "InitDone"]);
    }

    #[test]
    fn a_pod_that_loses_the_label_is_gone_as_a_watch_by_label_tells_it() {
        let mut state = listed(&[object("a-1", "a", 1)]);
        let mut told = follow(&mut state, labelled("a"));
        heard(&mut told);
        state.take_in(Ok(Event::Apply(object("a-1", "quarantine", 1))));
        assert_eq!(heard(&mut told), ["Delete(a-1)"]);
        state.take_in(Ok(Event::Apply(object("a-1", "quarantine", 1))));
        assert!(heard(&mut told).is_empty());
    }

    #[test]
    fn nothing_older_than_what_was_written_is_told_of_a_workload() {
        let mut state = listed(&[object("web", "a", 4)]);
        let wanted = |number| Wanted::Named {
            name: "web".to_owned(),
            at_least: Some(Generation {
                uid: "u1".to_owned(),
                number,
            }),
        };
        let mut told = follow(&mut state, wanted(6));
        state.take_in(Ok(Event::Apply(object("web", "a", 5))));
        assert!(heard(&mut told).is_empty());
        state.take_in(Ok(Event::Apply(object("web", "a", 6))));
        assert_eq!(heard(&mut told), ["Apply(web)"]);
        assert_eq!(
            heard(&mut follow(&mut state, wanted(6))),
            ["Init", "InitApply(web)", "InitDone"]
        );
        // Another object of the name is not an earlier state of this one.
        let mut other = object("web", "a", 1);
        other.metadata.uid = Some("u2".to_owned());
        state.take_in(Ok(Event::Apply(other)));
        assert_eq!(heard(&mut told), ["Apply(web)"]);
    }

    #[test]
    fn an_error_that_lasts_is_told_to_everybody_and_ends_the_watch() {
        let mut state = listed(&[]);
        let mut told = [
            follow(&mut state, labelled("a")),
            follow(&mut state, labelled("b")),
        ];
        let error = Arc::new(kube::Error::LinesCodecMaxLineLengthExceeded);
        state.take_in(Err(error.clone()));
        assert!(state.over);
        for told in &mut told {
            assert_eq!(heard(told).last(), Some(&error.to_string()));
        }
    }
}
