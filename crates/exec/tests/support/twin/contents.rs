//! ConfigMaps of the twin.

use super::state::{Object, State};
use super::{Twin, annotations};
use astern_model::config::{ConfigName, LiveConfig};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{ContentHash, Epoch, RunId, Uid};
use astern_model::step::config::{self, Pin};
use astern_model::step::workload::Stamp;
use astern_port::provider::{Provider, Settled};
use async_trait::async_trait;
use std::collections::BTreeMap;

impl State {
    pub(super) fn live(&self, name: &ConfigName) -> Option<&LiveConfig> {
        self.inventory.config.live(name)
    }

    pub(super) fn put_config(&mut self, name: &ConfigName, live: Option<LiveConfig>) {
        self.inventory.config.live.retain(|one| &one.name != name);
        self.inventory.config.live.extend(live);
    }

    pub(super) fn check_config(&self, name: &ConfigName, pin: &Pin) -> Result<(), Failure> {
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
