//! Workloads of the twin: templates, counts and pods.

use super::state::{Object, State};
use super::{Fault, TRANSIENT, Twin, annotations};
use astern_model::content::ContentRef;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Epoch, RunId, TemplateHash};
use astern_model::step::workload::{After, Before, Pin, Spec, Stamp};
use astern_model::target::Target;
use astern_model::template::Template;
use astern_port::provider::{Provider, Settled};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

impl State {
    pub(super) fn check_pin(&self, target: &Target, pin: &Pin) -> Result<(), Failure> {
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

    pub(super) fn check_count(&self, target: &Target, from: Option<u32>) -> Result<(), Failure> {
        let count = self.inventory.workloads[target].desired;
        if from.is_none_or(|from| from == count) {
            return Ok(());
        }
        let message = format!("{target} asks for {count}");
        Err(Failure::new(FailureClass::Conflict, "check the pins", message))
    }

    pub(super) fn set_count(&mut self, target: &Target, count: u32) {
        let workload = self.inventory.workloads.get_mut(target).unwrap();
        workload.desired = count;
        if count == 0 {
            workload.pods.clear();
        }
    }

    pub(super) fn written(&self, target: &Target) -> After {
        After::Written {
            template: self.inventory.workloads[target].template.hash(),
            generation: self.version(&Object::Workload(target.clone())),
        }
    }

    pub(super) fn template(&self, target: &Target, hash: &TemplateHash) -> Option<Template> {
        let workload = &self.inventory.workloads[target];
        workload
            .revisions
            .iter()
            .find(|revision| &revision.hash == hash)
            .map(|revision| revision.template.clone())
    }

    pub(super) fn set_template(&mut self, target: &Target, template: &Template) {
        self.inventory.workloads.get_mut(target).unwrap().template = template.clone();
    }
}

impl Twin {
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
            Spec::WriteTemplate { pin, to, mark, .. } => {
                let change = |state: &mut State| {
                    let template = state
                        .template(&target, &to.template)
                        .expect("the gate saw the revision");
                    let marked = mark.as_ref().map(|mark| template.restarted(&mark.at));
                    state.set_template(&target, &marked.unwrap_or(template));
                };
                let there = |state: &State| {
                    Some(&state.inventory.workloads[&target].template.hash()) == spec.writes()
                };
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
