//! What stands, under which versions and marks, and what is on its way. A write counts by the version that it was made from.

use super::Fault;
use astern_model::config::{ConfigName, LiveConfig};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{EffectKey, Epoch, RunId};
use astern_model::inventory::Inventory;
use astern_model::owner::OwnerName;
use astern_model::step::workload::Stamp;
use astern_model::target::Target;
use astern_model::template::Template;
use astern_model::workload::Workload;
use astern_port::provider::Settled;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone)]
pub(super) struct State {
    pub(super) inventory: Inventory,
    pub(super) versions: BTreeMap<Object, u64>,
    pub(super) marks: BTreeMap<Object, Mark>,
    pub(super) kept: BTreeMap<String, Template>,
    pub(super) faults: BTreeMap<String, Fault>,
    pub(super) writes: Vec<(EffectKey, Epoch)>,
    pub(super) on_the_way: Vec<Late>,
    pub(super) barred: bool,
}

/// What bears a resource version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    Workload(Target),
    Config(ConfigName),
    Owner(OwnerName),
}

/// A write that has not arrived yet: the whole object as it shall be, and the version that it was made from.
#[derive(Clone)]
pub(super) struct Late {
    pub(super) object: Object,
    pub(super) content: Content,
    pub(super) stamp: Stamp,
    pub(super) version: u64,
}

/// An object as a whole.
#[derive(Clone)]
pub(super) enum Content {
    Workload(Box<Workload>),
    Config(Option<Box<LiveConfig>>),
    Owner(Value),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) key: Option<EffectKey>,
    pub(super) epoch: Option<(RunId, Epoch)>,
}

impl State {
    pub(super) fn version(&self, object: &Object) -> u64 {
        self.versions.get(object).copied().unwrap_or(0)
    }

    /// Somebody writes an object.
    pub(super) fn touch(&mut self, object: &Object) {
        *self.versions.entry(object.clone()).or_default() += 1;
    }

    pub(super) fn content(&self, object: &Object) -> Content {
        match object {
            Object::Workload(target) => Content::Workload(Box::new(self.inventory.workloads[target].clone())),
            Object::Config(name) => Content::Config(self.live(name).cloned().map(Box::new)),
            Object::Owner(name) => Content::Owner(self.setting(name)),
        }
    }

    pub(super) fn put(&mut self, object: &Object, content: Content) {
        match (object, content) {
            (Object::Workload(target), Content::Workload(workload)) => {
                self.inventory.workloads.insert(target.clone(), *workload);
            }
            (Object::Config(name), Content::Config(live)) => self.put_config(name, live.map(|live| *live)),
            (Object::Owner(name), Content::Owner(setting)) => self.put_setting(name, &setting),
            (Object::Workload(_) | Object::Config(_) | Object::Owner(_), _) => {
                panic!("another kind of object")
            }
        }
    }

    pub(super) fn epoch_allows(&self, object: &Object, stamp: &Stamp) -> Result<(), Failure> {
        match self.marks.get(object).and_then(|mark| mark.epoch.clone()) {
            Some((run, epoch)) if run == stamp.run && epoch > stamp.epoch => Err(Failure::new(
                FailureClass::Conflict,
                "write",
                "a newer epoch is on the object",
            )),
            _ => Ok(()),
        }
    }

    /// The mark as it is recorded with an intent.
    pub(super) fn marked(&self, object: &Object) -> BTreeMap<String, String> {
        let epoch = self.marks.get(object).and_then(|mark| mark.epoch.as_ref());
        epoch
            .into_iter()
            .flat_map(|(run, epoch)| [("run", run.to_string()), ("epoch", epoch.to_string())])
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    pub(super) fn known_mark(
        &self,
        object: &Object,
        before: &BTreeMap<String, String>,
        run: &RunId,
    ) -> Result<(), Failure> {
        let now = self.marked(object);
        let known = &now == before;
        let mine = now.get("run").is_none_or(|theirs| theirs == run.as_str());
        if known || mine {
            Ok(())
        } else {
            Err(Failure::new(
                FailureClass::Conflict,
                "write",
                "another run has written the object",
            ))
        }
    }

    pub(super) fn ours(&self, object: &Object, stamp: &Stamp) -> bool {
        self.marks.get(object).and_then(|mark| mark.key.as_ref()) == Some(&stamp.key)
    }

    pub(super) fn mark(&mut self, object: &Object, stamp: &Stamp) {
        let mark = Mark {
            key: Some(stamp.key.clone()),
            epoch: Some((stamp.run.clone(), stamp.epoch)),
        };
        self.marks.insert(object.clone(), mark);
        self.touch(object);
        self.writes.push((stamp.key.clone(), stamp.epoch));
    }

    /// What a look answers that did not find the effect: from then on it cannot arrive any more.
    pub(super) fn not_applied<A>(&mut self, object: &Object) -> Settled<A> {
        self.touch(object);
        Settled::NotApplied
    }

    /// Whatever is on the way arrives: the version that it was made from decides.
    pub(super) fn arrive(&mut self) {
        for Late {
            object,
            content,
            stamp,
            version,
        } in std::mem::take(&mut self.on_the_way)
        {
            // A creation is made from no version: nothing but an object of its name keeps it out.
            let makes = matches!((&object, &content), (Object::Config(name), Content::Config(Some(_)))
                if version == 0 && self.live(name).is_none());
            if makes || self.version(&object) == version {
                self.put(&object, content);
                self.mark(&object, &stamp);
            }
        }
    }
}
