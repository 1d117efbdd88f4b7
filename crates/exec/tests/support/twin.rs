//! The twin: workloads with templates and pods, and ConfigMaps, each with a resource version, behind their ports. It keeps the port's
//! word (keys, pins, epochs, compare-and-swap) and knows no run, journal or engine.

mod owners;

use astern_model::config::{ConfigName, LiveConfig};
use astern_model::content::ContentRef;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{ContentHash, EffectKey, Epoch, RunId, TemplateHash, Uid};
use astern_model::inventory::Inventory;
use astern_model::owner::OwnerName;
use astern_model::step::config::{self, Pin as ConfigPin};
use astern_model::step::workload::{After, Before, Pin, Spec, Stamp};
use astern_model::target::Target;
use astern_model::template::Template;
use astern_model::workload::Workload;
use astern_port::provider::{Provider, Settled};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
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

#[derive(Clone)]
struct State {
    inventory: Inventory,
    versions: BTreeMap<Object, u64>,
    marks: BTreeMap<Object, Mark>,
    kept: BTreeMap<String, Template>,
    faults: BTreeMap<String, Fault>,
    writes: Vec<(EffectKey, Epoch)>,
    on_the_way: Vec<Late>,
    barred: bool,
}

/// What bears a resource version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Workload(Target),
    Config(ConfigName),
    Owner(OwnerName),
}

/// A write that has not arrived yet: the whole object as it shall be, and the version that it was made from.
#[derive(Clone)]
struct Late {
    object: Object,
    content: Content,
    stamp: Stamp,
    version: u64,
}

/// An object as a whole.
#[derive(Clone)]
enum Content {
    Workload(Box<Workload>),
    Config(Option<Box<LiveConfig>>),
    Owner(Value),
}

/// What "as before" means: templates, whether paused and the count, what ConfigMaps hold, and what owners are set to.
pub(crate) type Standing = (
    BTreeMap<Target, (TemplateHash, bool, u32)>,
    BTreeMap<ConfigName, ContentHash>,
    BTreeMap<OwnerName, String>,
);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mark {
    key: Option<EffectKey>,
    epoch: Option<(RunId, Epoch)>,
}

/// Counts the places where a process can die, and stops it at one.
#[derive(Default)]
pub(crate) struct Points {
    inner: Mutex<Counting>,
    /// Told when the chosen point is reached.
    pub(crate) reached: Notify,
    /// Lets whoever is stopped there go on.
    pub(crate) release: Notify,
}

#[derive(Default)]
struct Counting {
    passed: u32,
    stop_at: Option<u32>,
    stop_named: Option<String>,
    name: String,
}

impl Points {
    /// From now on, count from 1 and stop whoever reaches `stop_at`.
    pub(crate) fn arm(&self, stop_at: Option<u32>) {
        *self.inner.lock().unwrap() = Counting {
            stop_at,
            ..Counting::default()
        };
    }

    /// From now on, stop whoever reaches the place of this name.
    pub(crate) fn arm_named(&self, name: &str) {
        *self.inner.lock().unwrap() = Counting {
            stop_named: Some(name.to_owned()),
            ..Counting::default()
        };
    }

    /// The place where somebody was stopped, if anybody was.
    pub(crate) fn stopped(&self) -> Option<String> {
        let inner = self.inner.lock().unwrap();
        inner
            .stop_at
            .filter(|at| inner.passed >= *at)
            .map(|_| inner.name.clone())
    }

    pub(crate) async fn pass(&self, name: &str) {
        let stop = {
            let mut inner = self.inner.lock().unwrap();
            inner.passed += 1;
            let stop = inner.stop_at == Some(inner.passed) || inner.stop_named.as_deref() == Some(name);
            if stop {
                inner.name = name.to_owned();
            }
            stop
        };
        if stop {
            self.reached.notify_one();
            self.release.notified().await;
        }
    }
}

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

    /// A write of a workload.
    async fn write_workload(
        &self,
        spec: &Spec,
        (before, stamp): (&Before, &Stamp),
        check: impl Fn(&State) -> Result<(), Failure>,
        there: impl Fn(&State) -> bool,
        change: impl Fn(&mut State),
        name: &str,
    ) -> Result<After, Failure> {
        let object = Object::Workload(spec.target().clone());
        let known = annotations(|name| before.annotation(name));
        self.write(&object, (&known, stamp), check, there, change, name)
            .await?;
        Ok(self.state.lock().unwrap().written(spec.target()))
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

fn waited(spec: &Spec) -> After {
    match spec {
        Spec::AwaitGone { .. } => After::Gone {
            took: SignedDuration::from_secs(1),
        },
        _ => serving(),
    }
}

fn serving() -> After {
    After::Serving {
        ready: 1,
        desired: 1,
        digests: BTreeMap::new(),
        took: SignedDuration::from_secs(3),
    }
}

const TRANSIENT: FailureClass = FailureClass::Transient { retry_after_ms: None };

impl State {
    fn check_pin(&self, target: &Target, pin: &Pin) -> Result<(), Failure> {
        let workload = &self.inventory.workloads[target];
        let held = workload.uid == pin.uid
            && workload.template.hash() == pin.template
            && workload.paused == pin.paused;
        if held {
            Ok(())
        } else {
            Err(Failure::new(
                FailureClass::Conflict,
                "check the pins",
                format!("{target} has moved"),
            ))
        }
    }

    fn check_count(&self, target: &Target, from: Option<u32>) -> Result<(), Failure> {
        let count = self.inventory.workloads[target].desired;
        if from.is_none_or(|from| from == count) {
            return Ok(());
        }
        let message = format!("{target} asks for {count}");
        Err(Failure::new(FailureClass::Conflict, "check the pins", message))
    }

    fn set_count(&mut self, target: &Target, count: u32) {
        let workload = self.inventory.workloads.get_mut(target).unwrap();
        workload.desired = count;
        if count == 0 {
            workload.pods.clear();
        }
    }

    fn version(&self, object: &Object) -> u64 {
        self.versions.get(object).copied().unwrap_or(0)
    }

    /// Somebody writes an object.
    fn touch(&mut self, object: &Object) {
        *self.versions.entry(object.clone()).or_default() += 1;
    }

    fn content(&self, object: &Object) -> Content {
        match object {
            Object::Workload(target) => Content::Workload(Box::new(self.inventory.workloads[target].clone())),
            Object::Config(name) => Content::Config(self.live(name).cloned().map(Box::new)),
            Object::Owner(name) => Content::Owner(self.setting(name)),
        }
    }

    fn put(&mut self, object: &Object, content: Content) {
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

    fn live(&self, name: &ConfigName) -> Option<&LiveConfig> {
        self.inventory.config.live(name)
    }

    fn put_config(&mut self, name: &ConfigName, live: Option<LiveConfig>) {
        self.inventory.config.live.retain(|one| &one.name != name);
        self.inventory.config.live.extend(live);
    }

    fn check_config(&self, name: &ConfigName, pin: &ConfigPin) -> Result<(), Failure> {
        let held = self
            .live(name)
            .is_some_and(|live| live.uid == pin.uid && live.content == pin.content);
        if held {
            Ok(())
        } else {
            Err(Failure::new(
                FailureClass::Conflict,
                "check the pins",
                format!("{name} has moved"),
            ))
        }
    }

    fn epoch_allows(&self, object: &Object, stamp: &Stamp) -> Result<(), Failure> {
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
    fn marked(&self, object: &Object) -> BTreeMap<String, String> {
        let epoch = self.marks.get(object).and_then(|mark| mark.epoch.as_ref());
        epoch
            .into_iter()
            .flat_map(|(run, epoch)| [("run", run.to_string()), ("epoch", epoch.to_string())])
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn known_mark(
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

    fn ours(&self, object: &Object, stamp: &Stamp) -> bool {
        self.marks.get(object).and_then(|mark| mark.key.as_ref()) == Some(&stamp.key)
    }

    fn mark(&mut self, object: &Object, stamp: &Stamp) {
        let mark = Mark {
            key: Some(stamp.key.clone()),
            epoch: Some((stamp.run.clone(), stamp.epoch)),
        };
        self.marks.insert(object.clone(), mark);
        self.touch(object);
        self.writes.push((stamp.key.clone(), stamp.epoch));
    }

    /// What a look answers that did not find the effect: from then on it cannot arrive any more.
    fn not_applied<A>(&mut self, object: &Object) -> Settled<A> {
        self.touch(object);
        Settled::NotApplied
    }

    /// Whatever is on the way arrives: the version that it was made from decides.
    fn arrive(&mut self) {
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

    fn written(&self, target: &Target) -> After {
        After::Written {
            template: self.inventory.workloads[target].template.hash(),
            generation: self.version(&Object::Workload(target.clone())),
        }
    }

    fn template(&self, target: &Target, hash: &TemplateHash) -> Option<Template> {
        let workload = &self.inventory.workloads[target];
        workload
            .revisions
            .iter()
            .find(|revision| &revision.hash == hash)
            .map(|revision| revision.template.clone())
    }

    fn set_template(&mut self, target: &Target, template: &Template) {
        self.inventory.workloads.get_mut(target).unwrap().template = template.clone();
    }
}

#[async_trait]
impl Provider<Spec> for Twin {
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure> {
        self.points.pass(&format!("prepare {}", spec.phrase())).await;
        let mut state = self.state.lock().unwrap();
        let target = spec.target().clone();
        match spec {
            Spec::WriteTemplate { pin, .. } | Spec::Restart { pin, .. } => {
                state.check_pin(&target, pin)?;
                let template = state.inventory.workloads[&target].template.clone();
                let hash = template.hash();
                let content = ContentRef {
                    name: hash.to_string(),
                    keyed_hash: hash.to_string(),
                    size: 1,
                };
                state.kept.insert(content.name.clone(), template);
                Ok(Before::Template {
                    template: content,
                    hash,
                    last_applied: None,
                    annotations: state.marked(&Object::Workload(target.clone())),
                })
            }
            Spec::SetPaused { pin, .. } => {
                state.check_pin(&target, pin)?;
                Ok(Before::Paused {
                    paused: state.inventory.workloads[&target].paused,
                    annotations: state.marked(&Object::Workload(target.clone())),
                })
            }
            Spec::Scale { pin, from, .. } => {
                state.check_pin(&target, pin)?;
                state.check_count(&target, *from)?;
                Ok(Before::Count {
                    replicas: state.inventory.workloads[&target].desired,
                    annotations: state.marked(&Object::Workload(target.clone())),
                })
            }
            Spec::AwaitRollout { .. } | Spec::AwaitGone { .. } => Ok(Before::Waiting {
                since: Timestamp::UNIX_EPOCH,
            }),
            Spec::DeletePod { pod_uid, .. } => Ok(Before::Pod {
                uid: pod_uid.clone(),
                trouble: None,
                annotations: state.marked(&Object::Workload(target.clone())),
            }),
        }
    }

    async fn apply(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let (target, name) = (spec.target().clone(), spec.phrase());
        match spec {
            Spec::WriteTemplate { pin, to, .. } => {
                let change = |state: &mut State| {
                    let template = state
                        .template(&target, &to.template)
                        .expect("the gate saw the revision");
                    state.set_template(&target, &template);
                };
                let there = |state: &State| state.inventory.workloads[&target].template.hash() == to.template;
                self.write_workload(
                    spec,
                    (before, stamp),
                    |state| state.check_pin(&target, pin),
                    there,
                    change,
                    &name,
                )
                .await
            }
            Spec::Restart {
                pin, at, template, ..
            } => {
                let change = |state: &mut State| {
                    let marked = state.inventory.workloads[&target].template.restarted(at);
                    state.set_template(&target, &marked);
                };
                let there = |state: &State| &state.inventory.workloads[&target].template.hash() == template;
                self.write_workload(
                    spec,
                    (before, stamp),
                    |state| state.check_pin(&target, pin),
                    there,
                    change,
                    &name,
                )
                .await
            }
            Spec::SetPaused { pin, paused, .. } => {
                let change =
                    |state: &mut State| state.inventory.workloads.get_mut(&target).unwrap().paused = *paused;
                let there = |state: &State| state.inventory.workloads[&target].paused == *paused;
                self.write_workload(
                    spec,
                    (before, stamp),
                    |state| state.check_pin(&target, pin),
                    there,
                    change,
                    &name,
                )
                .await
            }
            Spec::Scale { pin, from, to, .. } => {
                let change = |state: &mut State| state.set_count(&target, *to);
                let there = |state: &State| state.inventory.workloads[&target].desired == *to;
                let check = |state: &State| {
                    state.check_pin(&target, pin)?;
                    state.check_count(&target, *from)
                };
                self.write_workload(spec, (before, stamp), check, there, change, &name)
                    .await
            }
            Spec::AwaitRollout { .. } | Spec::AwaitGone { .. } => {
                self.points.pass(&format!("await {name}")).await;
                match self.fault(&name) {
                    Some(Fault::Permanent) => {
                        return Err(Failure::new(FailureClass::Permanent, name, "injected"));
                    }
                    Some(Fault::Unseen) => {
                        self.fail(&name, Fault::Unseen);
                        std::future::pending::<()>().await;
                    }
                    Some(_) => return Err(Failure::new(TRANSIENT, name, "injected")),
                    None => {}
                }
                Ok(waited(spec))
            }
            Spec::DeletePod { pod, pod_uid, .. } => {
                let gone = |state: &State| {
                    !state.inventory.workloads[&target]
                        .pods
                        .iter()
                        .any(|known| &known.uid == pod_uid)
                };
                if gone(&self.state.lock().unwrap()) {
                    return Ok(After::Deleted { uid: pod_uid.clone() });
                }
                let change = |state: &mut State| {
                    state
                        .inventory
                        .workloads
                        .get_mut(&target)
                        .unwrap()
                        .pods
                        .retain(|known| &known.name != pod);
                };
                self.write_workload(spec, (before, stamp), |_| Ok(()), gone, change, &name)
                    .await?;
                Ok(After::Deleted { uid: pod_uid.clone() })
            }
        }
    }

    async fn settle(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Settled<After> {
        self.points.pass(&format!("settle {}", spec.phrase())).await;
        let unseen = spec.only_reads() && self.fault(&spec.phrase()) == Some(Fault::Unseen);
        let mut state = self.state.lock().unwrap();
        let target = spec.target();
        let object = Object::Workload(target.clone());
        let ours = state.ours(&object, stamp);
        let workload = &state.inventory.workloads[target];
        let found = match (spec, before) {
            (Spec::AwaitRollout { .. } | Spec::AwaitGone { .. }, _) if unseen => {
                Settled::Unknown(Failure::new(TRANSIENT, "look", "away"))
            }
            (Spec::AwaitRollout { .. } | Spec::AwaitGone { .. }, _) => Settled::Applied(waited(spec)),
            (Spec::DeletePod { pod_uid, .. }, _) => {
                if workload.pods.iter().any(|pod| &pod.uid == pod_uid) {
                    state.not_applied(&object)
                } else {
                    Settled::Applied(After::Deleted { uid: pod_uid.clone() })
                }
            }
            _ if ours => Settled::Applied(state.written(target)),
            (Spec::WriteTemplate { .. } | Spec::Restart { .. }, Before::Template { hash, .. })
                if &workload.template.hash() == hash =>
            {
                state.not_applied(&object)
            }
            (Spec::Scale { .. }, Before::Count { replicas, .. }) if workload.desired == *replicas => {
                state.not_applied(&object)
            }
            (Spec::SetPaused { .. }, Before::Paused { paused, .. }) if workload.paused == *paused => {
                state.not_applied(&object)
            }
            _ => Settled::Unknown(Failure::new(
                FailureClass::Unknown,
                "settle",
                "somebody else wrote it",
            )),
        };
        state.arrive();
        found
    }

    async fn reverse(
        &self,
        spec: &Spec,
        before: &Before,
        _: &After,
        stamp: &Stamp,
    ) -> Result<After, Failure> {
        let (target, name) = (spec.target().clone(), format!("back {}", spec.phrase()));
        match before {
            Before::Template { template, hash, .. } => {
                let change = |state: &mut State| {
                    let kept = state.kept[&template.name].clone();
                    state.set_template(&target, &kept);
                };
                let there = |state: &State| &state.inventory.workloads[&target].template.hash() == hash;
                self.write_workload(spec, (before, stamp), |_| Ok(()), there, change, &name)
                    .await
            }
            Before::Paused { paused, .. } => {
                let change =
                    |state: &mut State| state.inventory.workloads.get_mut(&target).unwrap().paused = *paused;
                let there = |state: &State| state.inventory.workloads[&target].paused == *paused;
                self.write_workload(spec, (before, stamp), |_| Ok(()), there, change, &name)
                    .await
            }
            Before::Count { replicas, .. } => {
                let change = |state: &mut State| state.set_count(&target, *replicas);
                let there = |state: &State| state.inventory.workloads[&target].desired == *replicas;
                self.write_workload(spec, (before, stamp), |_| Ok(()), there, change, &name)
                    .await
            }
            Before::Waiting { .. } => panic!("a wait is never taken back"),
            Before::Pod { uid, .. } => Ok(After::Deleted { uid: uid.clone() }),
        }
    }

    async fn settle_reverse(&self, spec: &Spec, before: &Before, _: &After, stamp: &Stamp) -> Settled<After> {
        self.points.pass(&format!("settle back {}", spec.phrase())).await;
        let mut state = self.state.lock().unwrap();
        let target = spec.target();
        if let Before::Pod { uid, .. } = before {
            return Settled::Applied(After::Deleted { uid: uid.clone() });
        }
        let object = Object::Workload(target.clone());
        let found = if state.ours(&object, stamp) {
            Settled::Applied(state.written(target))
        } else {
            state.not_applied(&object)
        };
        state.arrive();
        found
    }

    async fn fence(
        &self,
        spec: &Spec,
        before: &Before,
        run: &RunId,
        from: Epoch,
        to: Epoch,
    ) -> Result<(), Failure> {
        let name = format!("fence {}", spec.phrase());
        let object = Object::Workload(spec.target().clone());
        let known = annotations(|name| before.annotation(name));
        self.take_over(&object, &known, run, (from, to), &name).await
    }
}

/// What is left of a ConfigMap by a step, in either direction.
fn held(state: &State, name: &ConfigName) -> config::After {
    match state.live(name) {
        Some(live) => config::After::Written {
            uid: live.uid.clone(),
            content: live.content.clone(),
        },
        None => config::After::Gone,
    }
}

fn known(before: &config::Before) -> BTreeMap<String, String> {
    annotations(|name| before.annotation(name))
}

#[async_trait]
impl Provider<config::Spec> for Twin {
    async fn prepare(&self, spec: &config::Spec) -> Result<config::Before, Failure> {
        self.points.pass(&format!("prepare {}", spec.phrase())).await;
        let state = self.state.lock().unwrap();
        let name = spec.object();
        let (config::Spec::Restore { pin, .. } | config::Spec::Remove { pin, .. }) = spec else {
            return match state.live(name) {
                None => Ok(config::Before::Absent),
                Some(_) => Err(Failure::new(FailureClass::Conflict, "prepare", "it is there")),
            };
        };
        state.check_config(name, pin)?;
        Ok(config::Before::Content {
            kept: spec.to().kept.clone(),
            content: pin.content.clone(),
            annotations: state.marked(&Object::Config(name.clone())),
        })
    }

    async fn apply(
        &self,
        spec: &config::Spec,
        before: &config::Before,
        stamp: &Stamp,
    ) -> Result<config::After, Failure> {
        let (name, wanted) = (spec.object(), &spec.to().content);
        let change = |state: &mut State| {
            let live = match spec {
                config::Spec::Restore { .. } => state.live(name).cloned().expect("its pin holds"),
                config::Spec::Remove { .. } => return state.put_config(name, None),
                config::Spec::Create { .. } => made(name),
                config::Spec::Repin { .. } | config::Spec::AwaitDrawn { .. } => panic!("{NOTHING_DRAWN}"),
            };
            let content = wanted.clone();
            state.put_config(name, Some(LiveConfig { content, ..live }));
        };
        let check = |state: &State| match spec {
            config::Spec::Restore { pin, .. } | config::Spec::Remove { pin, .. } => {
                state.check_config(name, pin)
            }
            config::Spec::Create { .. } => match state.live(name) {
                None => Ok(()),
                Some(_) => Err(Failure::new(FailureClass::Conflict, "write", "it is there")),
            },
            config::Spec::Repin { .. } | config::Spec::AwaitDrawn { .. } => panic!("{NOTHING_DRAWN}"),
        };
        let there = |state: &State| match spec {
            config::Spec::Remove { .. } => state.live(name).is_none(),
            _ => state.live(name).is_some_and(|live| &live.content == wanted),
        };
        let object = Object::Config(name.clone());
        self.write(
            &object,
            (&known(before), stamp),
            check,
            there,
            change,
            &spec.phrase(),
        )
        .await?;
        Ok(held(&self.state.lock().unwrap(), name))
    }

    async fn settle(
        &self,
        spec: &config::Spec,
        before: &config::Before,
        stamp: &Stamp,
    ) -> Settled<config::After> {
        self.points.pass(&format!("settle {}", spec.phrase())).await;
        let mut state = self.state.lock().unwrap();
        let (name, object) = (spec.object(), Object::Config(spec.object().clone()));
        let as_before = match before {
            config::Before::Content { content, .. } => {
                state.live(name).is_some_and(|live| &live.content == content)
            }
            config::Before::Absent => state.live(name).is_none(),
            config::Before::Versions { .. } | config::Before::Nothing => panic!("{NOTHING_DRAWN}"),
        };
        let found = if state.ours(&object, stamp) {
            Settled::Applied(held(&state, name))
        } else if as_before {
            state.not_applied(&object)
        } else {
            Settled::Unknown(Failure::new(
                FailureClass::Unknown,
                "settle",
                "somebody else wrote it",
            ))
        };
        state.arrive();
        found
    }

    async fn reverse(
        &self,
        spec: &config::Spec,
        before: &config::Before,
        _: &config::After,
        stamp: &Stamp,
    ) -> Result<config::After, Failure> {
        let name = spec.object();
        let was = match before {
            config::Before::Content { content, .. } => Some(content),
            config::Before::Absent => None,
            config::Before::Versions { .. } | config::Before::Nothing => panic!("{NOTHING_DRAWN}"),
        };
        let change = |state: &mut State| {
            let live = state.live(name).cloned().unwrap_or_else(|| made(name));
            let back = was.map(|content| LiveConfig {
                content: content.clone(),
                ..live
            });
            state.put_config(name, back);
        };
        let there = |state: &State| state.live(name).map(|live| &live.content) == was;
        let object = Object::Config(name.clone());
        let phrase = format!("back {}", spec.phrase());
        self.write(
            &object,
            (&known(before), stamp),
            |_| Ok(()),
            there,
            change,
            &phrase,
        )
        .await?;
        Ok(held(&self.state.lock().unwrap(), name))
    }

    async fn settle_reverse(
        &self,
        spec: &config::Spec,
        _: &config::Before,
        _: &config::After,
        stamp: &Stamp,
    ) -> Settled<config::After> {
        self.points.pass(&format!("settle back {}", spec.phrase())).await;
        let mut state = self.state.lock().unwrap();
        let object = Object::Config(spec.object().clone());
        let found = if state.ours(&object, stamp) {
            Settled::Applied(held(&state, spec.object()))
        } else {
            state.not_applied(&object)
        };
        state.arrive();
        found
    }

    async fn fence(
        &self,
        spec: &config::Spec,
        before: &config::Before,
        run: &RunId,
        from: Epoch,
        to: Epoch,
    ) -> Result<(), Failure> {
        let object = Object::Config(spec.object().clone());
        let name = format!("fence {}", spec.phrase());
        self.take_over(&object, &known(before), run, (from, to), &name)
            .await
    }
}

/// These worlds have no operator that draws Secrets.
const NOTHING_DRAWN: &str = "no plan of these tests changes an ExternalSecret";

/// A ConfigMap that did not exist before.
fn made(name: &ConfigName) -> LiveConfig {
    LiveConfig {
        name: name.clone(),
        uid: Uid::from("made"),
        content: ContentHash::from(""),
        immutable: false,
        secret_type: None,
        source: None,
        drawn: None,
        owners: Vec::new(),
        manager: None,
    }
}
