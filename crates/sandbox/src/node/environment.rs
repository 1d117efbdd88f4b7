//! What a pod's containers got out of ConfigMaps when they started: it does not change while they run.

use crate::object::{get, list, text};
use crate::store::{Key, Store};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The keys of each ConfigMap that a pod takes whole into its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment(Arc<BTreeMap<String, BTreeSet<String>>>);

impl Environment {
    /// As it is at this moment.
    pub(super) fn of(pod: &Value, store: &Store) -> Self {
        let namespace = text(pod, "metadata.namespace");
        let containers = ["spec.initContainers", "spec.containers"].into_iter();
        let maps = containers
            .flat_map(|field| list(pod, field))
            .flat_map(|container| list(container, "envFrom"))
            .map(|from| text(from, "configMapRef.name"))
            .filter(|name| !name.is_empty());
        let keys = |name: &str| {
            let map = store.get(&Key::new("configmaps", namespace, name))?;
            let data = get(map, "data")?.as_object()?;
            Some(data.keys().cloned().collect())
        };
        let held = maps.map(|name| (name.to_owned(), keys(name).unwrap_or_default()));
        Self(Arc::new(held.collect()))
    }

    /// Whether a container has a variable, whatever its value.
    pub(crate) fn has(&self, container: &Value, name: &str) -> bool {
        let own = list(container, "env").iter();
        let own = own.map(|variable| text(variable, "name")).any(|own| own == name);
        let taken = list(container, "envFrom").iter();
        own || taken
            .map(|from| (text(from, "configMapRef.name"), text(from, "prefix")))
            .filter_map(|(map, prefix)| Some((self.0.get(map)?, name.strip_prefix(prefix)?)))
            .any(|(keys, key)| keys.contains(key))
    }
}
