//! The twin: workloads with templates and pods, and ConfigMaps, each with a resource version, behind their ports. It keeps the port's
//! word (keys, pins, epochs, compare-and-swap) and knows no run, journal or engine.

mod contents;
mod owners;
mod points;
mod state;
mod workloads;

use astern_model::config::{ConfigName, LiveConfig};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{ContentHash, EffectKey, Epoch, RunId, TemplateHash};
use astern_model::inventory::Inventory;
use astern_model::owner::OwnerName;
use astern_model::step::workload::Stamp;
use astern_model::target::Target;
use astern_model::template::Template;
use points::Points;
use state::{Late, Object, State};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// What happens to the next effect of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused for good; nothing happens.
    Permanent,
    /// It is refused for now; nothing happens.
    Transient,
    /// It happens, and no answer comes.
    LostAnswer,
    /// Neither it nor an answer happens.
    LostRequest,
    /// No answer comes, and it arrives once somebody has looked and not found it: under the version that it was made
    /// from, like every write.
    ArrivesLater,
    /// Nothing of a wait can be seen until after its deadline, and once more.
    Unseen,
}

/// A cluster that is not one. A clone is another handle on it.
#[derive(Clone)]
pub(crate) struct Twin {
    state: Arc<Mutex<State>>,
    /// Where every call passes: a harness stops a process here.
    pub(crate) points: Arc<Points>,
    /// Told when a fault that was asked for happened.
    pub(crate) stumbled: Arc<Notify>,
}

/// What "as before" means: templates, whether paused and the count, what ConfigMaps hold, and what owners are set to.
pub(crate) type Standing = (
    BTreeMap<Target, (TemplateHash, bool, u32)>,
    BTreeMap<ConfigName, ContentHash>,
    BTreeMap<OwnerName, String>,
);

const TRANSIENT: FailureClass = FailureClass::Transient { retry_after_ms: None };

impl Twin {
    pub(crate) fn new(inventory: Inventory) -> Self {
        let versions = inventory
            .workloads
            .keys()
            .cloned()
            .map(Object::Workload)
            .chain(
                inventory
                    .config
                    .live
                    .iter()
                    .map(|live| Object::Config(live.name.clone())),
            )
            .chain(
                inventory
                    .owners
                    .iter()
                    .map(|seen| Object::Owner(seen.name.clone())),
            )
            .map(|object| (object, 1))
            .collect();
        let state = State {
            inventory,
            versions,
            marks: BTreeMap::new(),
            kept: BTreeMap::new(),
            faults: BTreeMap::new(),
            writes: Vec::new(),
            on_the_way: Vec::new(),
            barred: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            points: Arc::default(),
            stumbled: Arc::default(),
        }
    }

    pub(crate) fn inventory(&self) -> Inventory {
        self.state.lock().unwrap().inventory.clone()
    }

    /// The state that "as before" means.
    pub(crate) fn standing(&self) -> Standing {
        let state = self.state.lock().unwrap();
        let config = state.inventory.config.live.iter();
        let config = config.map(|live| (live.name.clone(), live.content.clone()));
        let workloads = state
            .inventory
            .workloads
            .iter()
            .map(|(target, workload)| {
                let stands = (workload.template.hash(), workload.paused, workload.desired);
                (target.clone(), stands)
            })
            .collect();
        let owners = state.inventory.owners.iter();
        let owners = owners.map(|seen| (seen.name.clone(), seen.setting.to_string()));
        (workloads, config.collect(), owners.collect())
    }

    /// Every write that changed something: its key and the epoch it was made in.
    pub(crate) fn writes(&self) -> Vec<(EffectKey, Epoch)> {
        self.state.lock().unwrap().writes.clone()
    }

    /// The next effect of the step with this phrase fails so.
    pub(crate) fn fail(&self, phrase: &str, fault: Fault) {
        self.state.lock().unwrap().faults.insert(phrase.to_owned(), fault);
    }

    /// While this is so, no object can be marked by whoever took over.
    pub(crate) fn bar_fences(&self, barred: bool) {
        self.state.lock().unwrap().barred = barred;
    }

    /// A person edits a workload: another template, no mark of ours touched.
    pub(crate) fn edit(&self, target: &Target, template: Template) {
        let mut state = self.state.lock().unwrap();
        state.inventory.workloads.get_mut(target).unwrap().template = template;
        state.touch(&Object::Workload(target.clone()));
    }

    /// A person edits a ConfigMap.
    pub(crate) fn edit_config(&self, name: &ConfigName, content: &str) {
        let mut state = self.state.lock().unwrap();
        let live = state.live(name).expect("there is one of that name").clone();
        let content = ContentHash::from(content);
        state.put_config(name, Some(LiveConfig { content, ..live }));
        state.touch(&Object::Config(name.clone()));
    }

    /// Another run puts every workload back to what it was, and marks it.
    pub(crate) fn put_back_by_another_run(&self, standing: &Inventory) {
        let mut state = self.state.lock().unwrap();
        state.inventory.config = standing.config.clone();
        state.inventory.owners.clone_from(&standing.owners);
        for (target, workload) in &standing.workloads {
            state.inventory.workloads.insert(target.clone(), workload.clone());
        }
        let objects: Vec<Object> = state.versions.keys().cloned().collect();
        for object in objects {
            let mark = state.marks.entry(object.clone()).or_default();
            mark.epoch = Some((RunId::from("r2"), Epoch(2)));
            state.touch(&object);
        }
    }

    fn fault(&self, phrase: &str) -> Option<Fault> {
        let fault = self.state.lock().unwrap().faults.remove(phrase);
        if fault.is_some() {
            self.stumbled.notify_one();
        }
        fault
    }

    /// Read, check, and write under the version that was read; a harness may stop the process in between.
    async fn write(
        &self,
        object: &Object,
        (before, stamp): (&BTreeMap<String, String>, &Stamp),
        check: impl Fn(&State) -> Result<(), Failure>,
        there: impl Fn(&State) -> bool,
        change: impl Fn(&mut State),
        name: &str,
    ) -> Result<(), Failure> {
        self.points.pass(&format!("read for {name}")).await;
        let read = {
            let state = self.state.lock().unwrap();
            if state.ours(object, stamp) && there(&state) {
                return Ok(());
            }
            check(&state)?;
            state.epoch_allows(object, stamp)?;
            state.known_mark(object, before, &stamp.run)?;
            state.version(object)
        };
        let fault = self.fault(name);
        match fault {
            Some(Fault::Permanent) => return Err(Failure::new(FailureClass::Permanent, name, "injected")),
            Some(Fault::Transient) => return Err(Failure::new(TRANSIENT, name, "injected")),
            Some(Fault::LostRequest) => return Err(Failure::new(FailureClass::Unknown, name, "injected")),
            Some(Fault::ArrivesLater) => {
                let mut state = self.state.lock().unwrap();
                let mut then = state.clone();
                change(&mut then);
                let (stamp, version) = (stamp.clone(), read);
                state.on_the_way.push(Late {
                    object: object.clone(),
                    content: then.content(object),
                    stamp,
                    version,
                });
                return Err(Failure::new(FailureClass::Unknown, name, "injected"));
            }
            Some(Fault::LostAnswer | Fault::Unseen) | None => {}
        }
        self.points.pass(&format!("before {name}")).await;
        {
            let mut state = self.state.lock().unwrap();
            if state.version(object) != read {
                return Err(Failure::new(
                    FailureClass::Conflict,
                    name,
                    "the object has been modified",
                ));
            }
            change(&mut state);
            state.mark(object, stamp);
        }
        self.points.pass(&format!("after {name}")).await;
        if fault == Some(Fault::LostAnswer) {
            return Err(Failure::new(FailureClass::Unknown, name, "injected"));
        }
        Ok(())
    }

    /// Marks an object as taken over.
    async fn take_over(
        &self,
        object: &Object,
        before: &BTreeMap<String, String>,
        run: &RunId,
        (from, to): (Epoch, Epoch),
        name: &str,
    ) -> Result<(), Failure> {
        self.points.pass(name).await;
        let mut state = self.state.lock().unwrap();
        if state.barred {
            return Err(Failure::new(TRANSIENT, name, "away"));
        }
        let found = state
            .marks
            .get(object)
            .and_then(|mark| mark.epoch.clone())
            .filter(|(of, _)| of == run)
            .map(|(_, epoch)| epoch);
        if found.unwrap_or(Epoch(0)) < from {
            return Err(Failure::new(
                FailureClass::Conflict,
                "fence",
                "somebody else wrote it",
            ));
        }
        state.known_mark(object, before, run)?;
        state.marks.entry(object.clone()).or_default().epoch = Some((run.clone(), to));
        state.touch(object);
        Ok(())
    }
}

/// The marks that were recorded with an intent.
fn annotations<'a>(of: impl Fn(&str) -> Option<&'a str>) -> BTreeMap<String, String> {
    ["run", "epoch"]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), of(name)?.to_owned())))
        .collect()
}
