//! Owners of the twin: each has its one setting, and writes until that is the paused one.

use super::state::{Object, State};
use super::{Fault, TRANSIENT, Twin, annotations};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Epoch, RunId};
use astern_model::owner::OwnerName;
use astern_model::step::owner::{After, Before, Pin, Spec};
use astern_model::step::workload::Stamp;
use astern_model::workload::OwnerState;
use astern_port::provider::{Provider, Settled};
use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeMap;

impl State {
    pub(super) fn setting(&self, name: &OwnerName) -> Value {
        let seen = self.inventory.owner(name);
        seen.expect("there is one of that name").setting.clone()
    }

    pub(super) fn put_setting(&mut self, name: &OwnerName, setting: &Value) {
        let state = if *setting == name.kind.paused() {
            OwnerState::Passive {
                because: "paused".to_owned(),
            }
        } else {
            OwnerState::WritesBack {
                because: "it heals".to_owned(),
            }
        };
        for seen in self.inventory.owners.iter_mut().filter(|seen| &seen.name == name) {
            seen.setting = setting.clone();
            seen.state = state.clone();
        }
        let of_parents = self
            .inventory
            .owners
            .iter_mut()
            .flat_map(|seen| &mut seen.parents);
        let of_workloads = self
            .inventory
            .workloads
            .values_mut()
            .flat_map(|workload| &mut workload.owners);
        for owner in of_parents.chain(of_workloads) {
            if owner.object.as_ref() == Some(name) {
                owner.state = state.clone();
            }
        }
    }

    fn check_setting(&self, name: &OwnerName, pin: &Pin) -> Result<(), Failure> {
        let held = self
            .inventory
            .owner(name)
            .is_some_and(|seen| seen.uid == pin.uid && seen.setting == pin.setting);
        if held {
            return Ok(());
        }
        let message = format!("{name} has moved");
        Err(Failure::new(FailureClass::Conflict, "check the pins", message))
    }
}

/// What a step writes, and what must hold.
fn writes(spec: &Spec) -> Option<(&Pin, Value)> {
    match spec {
        Spec::Pause { owner, pin, .. } => Some((pin, owner.kind.paused())),
        Spec::Resume { pin, to, .. } => Some((pin, to.clone())),
        Spec::AwaitPaused { .. } => None,
    }
}

fn known(before: &Before) -> BTreeMap<String, String> {
    annotations(|name| before.annotation(name))
}

fn was(before: &Before) -> Value {
    match before {
        Before::Setting { was, .. } => was.clone(),
        Before::Nothing => panic!("a wait wrote nothing"),
    }
}

impl Twin {
    /// A person sets an owner to something else.
    pub(crate) fn set_owner(&self, name: &OwnerName, setting: &Value) {
        let mut state = self.state.lock().unwrap();
        state.put_setting(name, setting);
        state.touch(&Object::Owner(name.clone()));
    }

    fn found(&self, name: &OwnerName) -> After {
        After::Written {
            setting: self.state.lock().unwrap().setting(name),
        }
    }
}

#[async_trait]
impl Provider<Spec> for Twin {
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure> {
        self.points.pass(&format!("prepare {}", spec.phrase())).await;
        let Some((pin, _)) = writes(spec) else {
            return Ok(Before::Nothing);
        };
        let state = self.state.lock().unwrap();
        state.check_setting(spec.owner(), pin)?;
        Ok(Before::Setting {
            was: pin.setting.clone(),
            annotations: state.marked(&Object::Owner(spec.owner().clone())),
        })
    }

    async fn apply(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let name = spec.owner();
        let Some((pin, to)) = writes(spec) else {
            self.points.pass(&format!("wait {}", spec.phrase())).await;
            return match self.fault(&spec.phrase()) {
                Some(Fault::Permanent) => {
                    Err(Failure::new(FailureClass::Permanent, spec.phrase(), "injected"))
                }
                Some(Fault::Unseen) => {
                    self.fail(&spec.phrase(), Fault::Unseen);
                    std::future::pending().await
                }
                Some(_) => Err(Failure::new(TRANSIENT, spec.phrase(), "injected")),
                None => Ok(After::Quiet { known_by: None }),
            };
        };
        self.write(
            &Object::Owner(name.clone()),
            (&known(before), stamp),
            |state| state.check_setting(name, pin),
            |state| state.setting(name) == to,
            |state| state.put_setting(name, &to),
            &spec.phrase(),
        )
        .await?;
        Ok(self.found(name))
    }

    async fn settle(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Settled<After> {
        self.points.pass(&format!("settle {}", spec.phrase())).await;
        let name = spec.owner();
        let mut state = self.state.lock().unwrap();
        let object = Object::Owner(name.clone());
        let found = if writes(spec).is_none() {
            Settled::NotApplied
        } else if state.ours(&object, stamp) {
            let setting = state.setting(name);
            Settled::Applied(After::Written { setting })
        } else if state.setting(name) == was(before) {
            state.not_applied(&object)
        } else {
            let message = "somebody else wrote it";
            Settled::Unknown(Failure::new(FailureClass::Unknown, "settle", message))
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
        let (name, was) = (spec.owner(), was(before));
        self.write(
            &Object::Owner(name.clone()),
            (&known(before), stamp),
            |_| Ok(()),
            |state| state.setting(name) == was,
            |state| state.put_setting(name, &was),
            &format!("back {}", spec.phrase()),
        )
        .await?;
        Ok(self.found(name))
    }

    async fn settle_reverse(&self, spec: &Spec, _: &Before, _: &After, stamp: &Stamp) -> Settled<After> {
        self.points.pass(&format!("settle back {}", spec.phrase())).await;
        let mut state = self.state.lock().unwrap();
        let object = Object::Owner(spec.owner().clone());
        let found = if state.ours(&object, stamp) {
            let setting = state.setting(spec.owner());
            Settled::Applied(After::Written { setting })
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
        if writes(spec).is_none() {
            return Ok(());
        }
        let object = Object::Owner(spec.owner().clone());
        let name = format!("fence {}", spec.phrase());
        self.take_over(&object, &known(before), run, (from, to), &name)
            .await
    }
}
