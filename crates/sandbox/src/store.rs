//! The objects, their one version counter, and the history that watches read. Owns what is stored and in which order it
//! changed; knows no API semantics. A clone shares everything until one of the two is written.

use crate::managed::Managers;
use crate::object::{Name, list, set, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

/// Where an object is. The namespace is empty for cluster-wide kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// `deployments.apps`, or `pods`.
    pub(crate) resource: Name,
    pub(crate) namespace: Name,
    pub(crate) name: Name,
}

impl Key {
    pub(crate) fn new(resource: impl Into<Name>, namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        Self {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// An object as it is kept, and who manages which of its fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Without `metadata.managedFields`.
    pub(crate) object: Arc<Value>,
    pub(crate) managers: Managers,
    text: Text,
}

/// An object's JSON without its type, once somebody asked for it: whoever reads or watches it, here or in a clone, is
/// given the same.
type Text = Arc<OnceLock<Vec<u8>>>;

impl Kept {
    pub(crate) fn new(object: Arc<Value>, managers: Managers) -> Self {
        Self {
            object,
            managers,
            text: Text::default(),
        }
    }

    /// Its JSON without its type, as `write` writes it when nobody has asked before.
    pub(crate) fn text(&self, write: impl FnOnce(&Self) -> Vec<u8>) -> &[u8] {
        self.text.get_or_init(|| write(self))
    }

    /// The object with its `metadata.managedFields`.
    pub(crate) fn whole(&self) -> Value {
        let mut object = Value::clone(&self.object);
        if !self.managers.is_empty() {
            set(&mut object, "metadata.managedFields", self.managers.value());
        }
        object
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Value>>,
    /// None for a deletion.
    pub(crate) after: Option<Arc<Value>>,
    /// Who managed the object before.
    managed: Managers,
    /// Who manages it now.
    pub(crate) managers: Managers,
    text: Text,
}

/// The objects of one resource in one namespace.
#[derive(Clone, Debug, Default)]
struct Shelf {
    objects: BTreeMap<Name, Kept>,
    /// Names by the uid of each owner; under the empty uid those without one.
    owned: BTreeMap<Name, BTreeSet<Name>>,
}

/// Changes that are kept for watches and consistent lists. A real server keeps five minutes of them.
const HISTORY: usize = 20_000;
/// So many changes of the history are shared or copied together.
const CHUNK: usize = 256;

/// The store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    shelves: BTreeMap<Name, BTreeMap<Name, Arc<Shelf>>>,
    version: u64,
    history: VecDeque<Arc<Vec<Change>>>,
    compacted: u64,
}

impl Store {
    /// The version of the newest change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Changes up to this version are forgotten.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.find(&key.resource, &key.namespace, &key.name)
    }

    pub(crate) fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        Some(&self.kept(resource, namespace, name)?.object)
    }

    /// An object and who manages its fields.
    pub(crate) fn kept(&self, resource: &str, namespace: &str, name: &str) -> Option<&Kept> {
        self.shelf(resource, namespace)?.objects.get(name)
    }

    /// Who manages an object's fields; nobody that of one that is not there.
    pub(crate) fn managers(&self, key: &Key) -> Managers {
        let kept = self.kept(&key.resource, &key.namespace, &key.name);
        kept.map(|kept| kept.managers.clone()).unwrap_or_default()
    }

    /// The objects of a resource in a namespace, by name.
    pub(crate) fn iter<'a>(
        &'a self,
        resource: &str,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a Name, &'a Arc<Value>)> {
        self.shelf(resource, namespace)
            .into_iter()
            .flat_map(|shelf| shelf.objects.iter().map(|(name, kept)| (name, &kept.object)))
    }

    /// How many objects of a resource a namespace has.
    pub(crate) fn count(&self, resource: &str, namespace: &str) -> usize {
        self.shelf(resource, namespace)
            .map_or(0, |shelf| shelf.objects.len())
    }

    /// The namespaces that have objects of a resource, in the order in which a list over all of them tells them.
    pub(crate) fn namespaces(&self, resource: &str) -> Vec<Name> {
        let mut names: Vec<Name> = self
            .shelves
            .get(resource)
            .into_iter()
            .flat_map(|shelves| shelves.keys().cloned())
            .collect();
        names.sort_by(|one, other| {
            let slash = std::iter::once(b'/');
            one.bytes().chain(slash.clone()).cmp(other.bytes().chain(slash))
        });
        names
    }

    /// The resources of which a namespace has objects.
    pub(crate) fn resources(&self, namespace: &str) -> Vec<Name> {
        self.shelves
            .iter()
            .filter(|(_, shelves)| {
                shelves
                    .get(namespace)
                    .is_some_and(|shelf| !shelf.objects.is_empty())
            })
            .map(|(resource, _)| resource.clone())
            .collect()
    }

    /// The objects that name this owner, by name; those without any owner for the empty uid.
    pub(crate) fn owned<'a>(
        &'a self,
        resource: &str,
        namespace: &str,
        owner: &str,
    ) -> impl Iterator<Item = (&'a Name, &'a Arc<Value>)> {
        let shelf = self.shelf(resource, namespace);
        shelf
            .and_then(|shelf| shelf.owned.get(owner))
            .into_iter()
            .flatten()
            .filter_map(move |name| {
                let (name, kept) = shelf?.objects.get_key_value(name)?;
                Some((name, &kept.object))
            })
    }

    /// Where there are objects that name this owner, in any resource of the namespace (and cluster-wide).
    pub(crate) fn dependents(&self, namespace: &str, owner: &str) -> Vec<Key> {
        let mut found = Vec::new();
        for (resource, shelves) in &self.shelves {
            let namespaces: Vec<&Name> = if namespace.is_empty() {
                shelves.keys().collect()
            } else {
                shelves
                    .get_key_value(namespace)
                    .map(|(name, _)| name)
                    .into_iter()
                    .collect()
            };
            for each in namespaces {
                let names = shelves[each].owned.get(owner).into_iter().flatten();
                found.extend(names.map(|name| Key {
                    resource: resource.clone(),
                    namespace: each.clone(),
                    name: name.clone(),
                }));
            }
        }
        found
    }

    /// Stores an object under a new version, which it is given.
    pub(crate) fn put(&mut self, key: &Key, mut object: Value, managers: Managers) -> Change {
        self.version += 1;
        set(&mut object, "metadata.resourceVersion", self.version.to_string());
        let object = Arc::new(object);
        let shelf = self.shelf_mut(key);
        let name = key.name.clone();
        let kept = Kept::new(object.clone(), managers);
        let before = shelf.objects.insert(name.clone(), kept.clone());
        if before.as_ref().map(|before| owners(&before.object)) != Some(owners(&object)) {
            if let Some(before) = &before {
                shelf.disown(&before.object, &name);
            }
            for owner in owners(&object) {
                shelf.owned.entry(owner.into()).or_default().insert(name.clone());
            }
        }
        self.record(key, before, Some(kept))
    }

    /// Takes an object away.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Change> {
        self.get(key)?;
        let shelf = self.shelf_mut(key);
        let before = shelf.objects.remove(&key.name)?;
        shelf.disown(&before.object, &key.name);
        if shelf.objects.is_empty()
            && let Some(shelves) = self.shelves.get_mut(&key.resource)
        {
            shelves.remove(&key.namespace);
        }
        self.version += 1;
        Some(self.record(key, Some(before), None))
    }

    /// The changes of a resource after a version, in their order.
    pub(crate) fn changes_after(&self, version: u64) -> impl Iterator<Item = &Change> {
        let newest = |chunk: &Arc<Vec<Change>>| chunk.last().map_or(0, |change| change.version);
        let from = self.history.partition_point(|chunk| newest(chunk) <= version);
        self.history
            .range(from..)
            .flat_map(|chunk| chunk.iter())
            .filter(move |change| change.version > version)
    }

    /// The objects of a resource as they were at a version that is not compacted, by namespace and name.
    pub(crate) fn at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        version: u64,
    ) -> Vec<(Name, Name, Kept)> {
        let namespaces = match namespace {
            Some(namespace) => vec![namespace.into()],
            None => self.namespaces(resource),
        };
        let mut found: Vec<(Name, Name, Kept)> = namespaces
            .into_iter()
            .flat_map(|namespace: Name| {
                let shelf = self.shelf(resource, &namespace).into_iter();
                shelf
                    .flat_map(|shelf| shelf.objects.iter())
                    .map(|(name, kept)| (namespace.clone(), name.clone(), kept.clone()))
                    .collect::<Vec<_>>()
            })
            .collect();
        if version >= self.version {
            return found;
        }
        let mut former: BTreeMap<(Name, Name), Option<Kept>> = BTreeMap::new();
        for change in self.changes_after(version) {
            let here = &*change.key.resource == resource
                && namespace.is_none_or(|namespace| &*change.key.namespace == namespace);
            if here {
                former
                    .entry((change.key.namespace.clone(), change.key.name.clone()))
                    .or_insert_with(|| change.former());
            }
        }
        if former.is_empty() {
            return found;
        }
        found.retain(|(namespace, name, _)| !former.contains_key(&(namespace.clone(), name.clone())));
        let back = former
            .into_iter()
            .filter_map(|((namespace, name), object)| Some((namespace, name, object?)));
        found.extend(back);
        found.sort_by_key(place);
        found
    }

    /// Forgets the changes up to a version.
    pub(crate) fn compact(&mut self, version: u64) {
        let old = |chunk: &Arc<Vec<Change>>| chunk.last().is_none_or(|change| change.version <= version);
        while self.history.front().is_some_and(old) {
            self.history.pop_front();
        }
        self.compacted = self.compacted.max(version.min(self.version));
    }

    fn record(&mut self, key: &Key, before: Option<Kept>, after: Option<Kept>) -> Change {
        let (before, managed) = before.map(|kept| (kept.object, kept.managers)).unzip();
        let managed: Managers = managed.unwrap_or_default();
        let (after, latter) = after
            .map(|kept| (kept.object, (kept.managers, kept.text)))
            .unzip();
        let (managers, text) = latter.unwrap_or_else(|| (managed.clone(), Text::default()));
        let change = Change {
            version: self.version,
            key: key.clone(),
            before,
            after,
            managed,
            managers,
            text,
        };
        match self.history.back_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => Arc::make_mut(chunk).push(change.clone()),
            None => self.history.push_back(Arc::new(vec![change.clone()])),
        }
        if self.history.len() > HISTORY / CHUNK
            && let Some(oldest) = self.history.pop_front()
        {
            self.compacted = oldest.last().map_or(self.compacted, |change| change.version);
        }
        change
    }

    fn shelf(&self, resource: &str, namespace: &str) -> Option<&Shelf> {
        self.shelves.get(resource)?.get(namespace).map(Arc::as_ref)
    }

    fn shelf_mut(&mut self, key: &Key) -> &mut Shelf {
        let shelves = self.shelves.entry(key.resource.clone()).or_default();
        Arc::make_mut(shelves.entry(key.namespace.clone()).or_default())
    }
}

impl Change {
    /// What is there now.
    pub(crate) fn latter(&self) -> Option<Kept> {
        Some(Kept {
            object: self.after.clone()?,
            managers: self.managers.clone(),
            text: self.text.clone(),
        })
    }

    /// What was there before.
    fn former(&self) -> Option<Kept> {
        Some(Kept::new(self.before.clone()?, self.managed.clone()))
    }
}

impl Shelf {
    fn disown(&mut self, object: &Value, name: &str) {
        for owner in owners(object) {
            if let Some(names) = self.owned.get_mut(owner) {
                names.remove(name);
                if names.is_empty() {
                    self.owned.remove(owner);
                }
            }
        }
    }
}

fn owners(object: &Value) -> Vec<&str> {
    let owners = list(object, "metadata.ownerReferences");
    if owners.is_empty() {
        return vec![""];
    }
    owners.iter().map(|owner| text(owner, "uid")).collect()
}

/// The order of a list: as etcd's keys sort.
fn place(object: &(Name, Name, Kept)) -> String {
    format!("{}/{}", object.0, object.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, value: u64) -> Value {
        json!({"metadata": {"name": name}, "data": value})
    }

    #[test]
    fn a_clone_keeps_what_was_there_when_one_of_the_two_is_written() {
        let mut store = Store::default();
        let key = Key::new("configmaps", "shop", "a");
        store.put(&key, object("a", 1), Managers::default());
        let snapshot = store.clone();
        store.put(&key, object("a", 2), Managers::default());
        assert_eq!(snapshot.get(&key).unwrap()["data"], 1);
        assert_eq!(store.get(&key).unwrap()["data"], 2);
    }

    #[test]
    fn of_a_long_history_the_newest_is_kept_and_the_rest_is_said_to_be_forgotten() {
        let mut store = Store::default();
        let key = Key::new("configmaps", "shop", "a");
        for value in 0..30_000 {
            store.put(&key, object("a", value), Managers::default());
        }
        let after = |version: u64| store.changes_after(version).count() as u64;
        assert!(store.compacted() >= 10_000);
        assert_eq!(after(store.compacted()), 30_000 - store.compacted());
        assert_eq!(after(29_990), 10);
        let versions: Vec<u64> = store.changes_after(29_998).map(|change| change.version).collect();
        assert_eq!(versions, [29_999, 30_000]);
    }

    #[test]
    fn a_list_at_an_older_version_shows_what_was_there_then() {
        let mut store = Store::default();
        let key = |name: &str| Key::new("configmaps", "shop", name);
        store.put(&key("a"), object("a", 1), Managers::default());
        store.put(&key("b"), object("b", 1), Managers::default());
        let then = store.version();
        store.put(&key("c"), object("c", 1), Managers::default());
        store.put(&key("b"), object("b", 2), Managers::default());
        store.remove(&key("a"));
        let found: Vec<_> = store
            .at("configmaps", None, then)
            .into_iter()
            .map(|(_, name, kept)| format!("{name}={}", kept.object["data"]))
            .collect();
        assert_eq!(found, ["a=1", "b=1"]);
    }
}
