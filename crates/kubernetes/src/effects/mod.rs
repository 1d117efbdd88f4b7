//! Effects on workloads: the only place that writes to the cluster's workloads and pods. One file a step; this one
//! owns the port's shape alone.
//!
//! # Flow
//! Each effect reads, decides by a function over what was read, and then writes once, under the resourceVersion
//! that it has just read. What was written carries the effect's key ([`stamp`]), so that settling can tell it from
//! an equal write of somebody else.

mod access;
mod await_gone;
mod await_rollout;
pub(crate) mod config;
mod delete_pod;
pub(crate) mod delivery;
mod evidence;
mod external_secret;
mod fence;
pub(crate) mod last_applied;
pub(crate) mod mask;
pub(crate) mod object;
mod owner;
mod pin;
pub(crate) mod pod;
pub(crate) mod revision;
mod rollout;
mod scale;
mod set_paused;
mod shared;
mod stamp;
mod standing;
mod strategy;
mod together;
mod watch;
mod write_template;

pub use config::{KubernetesContents, ON_ITS_WAY};
pub use owner::KubernetesOwners;

pub use astern_model::workload::FIELD_MANAGER;

use access::Access;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Epoch, RunId, TemplateHash, Uid};
use astern_model::step::workload::{After, Before, Spec, Stamp};
use astern_port::clock::Clock;
use astern_port::provider::{Provider, Settled};
use astern_port::vault::Vault;
use async_trait::async_trait;
use stamp::Claim;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The workload layer on a cluster.
///
/// # Guarantees
/// - A write replaces the whole object as it was read a moment before; fields that this program does not know stay.
/// - Besides watches and the vault, a Deployment's write and wait take six requests: one read to prepare, then a
///   read, the revision and the write, then one list of the workload and one of its pods. Where many are under way at
///   once, a list is read for all of them, and one watch followed: then it is little more than the write.
/// - Nothing is ever deleted by force.
pub struct KubernetesWorkloads {
    access: Access,
    vault: Arc<dyn Vault>,
    seen: Seen,
}

impl KubernetesWorkloads {
    /// The workloads behind this client. Templates and manifests that a reversal needs are kept in `vault`.
    pub fn new(client: kube::Client, vault: Arc<dyn Vault>, clock: Arc<dyn Clock>) -> Self {
        Self {
            access: Access::new(client, clock),
            vault,
            seen: Seen::default(),
        }
    }

    /// The same, with watches carried by a client without a read timeout. Watches are resumed either way; with a
    /// read timeout they are resumed each time that nothing happens for so long.
    #[must_use]
    pub fn watching(mut self, lasting: kube::Client) -> Self {
        self.access.watched_through(lasting);
        self
    }
}

/// The templates of revision objects that were read before, by the owner's uid and their name. Such an object's
/// template never changes under its name, which holds the template's hash; so one read of it is enough.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<BTreeMap<(Uid, String), TemplateHash>>);

impl Seen {
    /// Remembers a revision's template.
    fn insert(&self, owner: &Uid, name: &str, hash: TemplateHash) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((owner.clone(), name.to_owned()), hash);
    }

    /// The template of a revision that was read before.
    fn get(&self, owner: &Uid, name: &str) -> Option<TemplateHash> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(owner.clone(), name.to_owned())).cloned()
    }
}

#[async_trait]
impl Provider<Spec> for KubernetesWorkloads {
    async fn prepare(&self, spec: &Spec) -> Result<Before, Failure> {
        match spec {
            Spec::WriteTemplate { target, pin, .. } | Spec::Restart { target, pin, .. } => {
                write_template::prepare(&self.access, &*self.vault, target, pin, &spec.phrase()).await
            }
            Spec::AwaitRollout { .. } | Spec::AwaitGone { .. } => Ok(Before::Waiting {
                since: self.access.now(),
            }),
            Spec::Scale {
                target, pin, from, ..
            } => scale::prepare(&self.access, target, pin, *from, &spec.phrase()).await,
            Spec::SetPaused { target, pin, .. } => {
                set_paused::prepare(&self.access, target, pin, &spec.phrase()).await
            }
            Spec::DeletePod {
                target,
                uid,
                pod,
                pod_uid,
                template,
                why,
            } => {
                let operation = &spec.phrase();
                let deletion = delete_pod::Deletion {
                    target,
                    uid,
                    pod,
                    pod_uid,
                    template,
                    why,
                    operation,
                };
                delete_pod::prepare(&self.access, &deletion).await
            }
        }
    }

    async fn apply(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Result<After, Failure> {
        let operation = &spec.phrase();
        let claim = &Claim { stamp, before };
        match (spec, before) {
            (
                Spec::WriteTemplate {
                    target,
                    pin,
                    to,
                    kept,
                    mark,
                },
                Before::Template { .. },
            ) => {
                let write = write_template::Write {
                    target,
                    pin,
                    to,
                    kept: kept.as_ref(),
                    mark: mark.as_ref(),
                    operation,
                };
                write_template::apply(&self.access, &*self.vault, &self.seen, &write, claim).await
            }
            (
                Spec::Restart {
                    target,
                    pin,
                    at,
                    template,
                },
                Before::Template { .. },
            ) => {
                let restart = write_template::Restart {
                    target,
                    pin,
                    at,
                    template,
                    operation,
                };
                write_template::restart(&self.access, &restart, claim).await
            }
            (
                Spec::AwaitRollout {
                    target,
                    uid,
                    template,
                    ..
                },
                Before::Waiting { since },
            ) => {
                let wait = await_rollout::Wait {
                    target,
                    uid,
                    template,
                    operation,
                };
                await_rollout::apply(&self.access, &self.seen, &wait, *since).await
            }
            (Spec::SetPaused { target, pin, paused }, Before::Paused { .. }) => {
                set_paused::apply(&self.access, target, pin, *paused, claim, operation).await
            }
            (
                Spec::Scale {
                    target,
                    pin,
                    from,
                    to,
                },
                Before::Count { .. },
            ) => scale::apply(&self.access, target, pin, (*from, *to), claim, operation).await,
            (Spec::AwaitGone { target, uid, .. }, Before::Waiting { since }) => {
                await_gone::apply(&self.access, target, uid, *since, operation).await
            }
            (
                Spec::DeletePod {
                    target,
                    uid,
                    pod,
                    pod_uid,
                    template,
                    why,
                },
                Before::Pod { .. },
            ) => {
                let deletion = delete_pod::Deletion {
                    target,
                    uid,
                    pod,
                    pod_uid,
                    template,
                    why,
                    operation,
                };
                delete_pod::apply(&self.access, &self.seen, &deletion, claim).await
            }
            (
                _,
                Before::Template { .. }
                | Before::Waiting { .. }
                | Before::Paused { .. }
                | Before::Count { .. }
                | Before::Pod { .. },
            ) => Err(mismatch(operation)),
        }
    }

    async fn settle(&self, spec: &Spec, before: &Before, stamp: &Stamp) -> Settled<After> {
        let claim = &Claim { stamp, before };
        match (spec, before) {
            (
                Spec::WriteTemplate { target, pin, .. } | Spec::Restart { target, pin, .. },
                Before::Template { hash, .. },
            ) => {
                let effect = write_template::Effect {
                    uid: &pin.uid,
                    former: hash,
                    wanted: wanted(spec),
                };
                write_template::settle(&self.access, target, &effect, claim, &look_for(&spec.phrase())).await
            }
            (
                Spec::AwaitRollout {
                    target,
                    uid,
                    template,
                    ..
                },
                Before::Waiting { since },
            ) => {
                let wait = await_rollout::Wait {
                    target,
                    uid,
                    template,
                    operation: &look_for(&spec.phrase()),
                };
                await_rollout::settle(&self.access, &self.seen, &wait, *since).await
            }
            (Spec::SetPaused { target, pin, paused }, Before::Paused { paused: former, .. }) => {
                let effect = set_paused::Effect {
                    uid: &pin.uid,
                    former: *former,
                    wanted: *paused,
                };
                set_paused::settle(&self.access, target, &effect, claim, &look_for(&spec.phrase())).await
            }
            (
                Spec::Scale {
                    target,
                    pin,
                    from,
                    to,
                },
                Before::Count { .. },
            ) => {
                let effect = scale::Effect {
                    uid: &pin.uid,
                    former: *from,
                    wanted: *to,
                };
                scale::settle(&self.access, target, &effect, claim, &look_for(&spec.phrase())).await
            }
            // Whoever goes on looks again from the start.
            (Spec::AwaitGone { .. }, Before::Waiting { .. }) => Settled::NotApplied,
            (
                Spec::DeletePod {
                    target, pod, pod_uid, ..
                },
                _,
            ) => delete_pod::settle(&self.access, target, pod, pod_uid, &look_for(&spec.phrase())).await,
            (spec, _) => Settled::Unknown(mismatch(&look_for(&spec.phrase()))),
        }
    }

    async fn reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Result<After, Failure> {
        let operation = take_back(spec);
        let claim = &Claim { stamp, before };
        match (spec, before) {
            (
                Spec::WriteTemplate { target, pin, .. } | Spec::Restart { target, pin, .. },
                Before::Template {
                    template,
                    hash,
                    last_applied,
                    annotations,
                },
            ) => {
                let effect = write_template::Effect {
                    uid: &pin.uid,
                    former: left(after, spec),
                    wanted: hash,
                };
                let kept = write_template::Kept {
                    template,
                    last_applied: last_applied.as_ref(),
                    annotations,
                };
                write_template::reverse(
                    &self.access,
                    &*self.vault,
                    target,
                    &effect,
                    &kept,
                    claim,
                    &operation,
                )
                .await
            }
            (Spec::SetPaused { target, pin, paused }, Before::Paused { paused: former, .. }) => {
                let effect = set_paused::Effect {
                    uid: &pin.uid,
                    former: *paused,
                    wanted: *former,
                };
                set_paused::reverse(&self.access, target, &effect, claim, &operation).await
            }
            (
                Spec::Scale {
                    target,
                    pin,
                    from,
                    to,
                },
                Before::Count { replicas, .. },
            ) => {
                let effect = scale::Effect {
                    uid: &pin.uid,
                    former: from.map(|_| *to),
                    wanted: *replicas,
                };
                scale::reverse(&self.access, target, &effect, claim, &operation).await
            }
            // The controller has made another pod in its place; there is nothing to put back.
            (Spec::DeletePod { .. }, _) => Ok(after.clone()),
            (Spec::AwaitRollout { .. } | Spec::AwaitGone { .. }, _) => {
                let message = "a wait changes nothing, so there is nothing to take back";
                Err(Failure::new(FailureClass::Permanent, operation, message))
            }
            (
                Spec::WriteTemplate { .. }
                | Spec::Restart { .. }
                | Spec::SetPaused { .. }
                | Spec::Scale { .. },
                _,
            ) => Err(mismatch(&operation)),
        }
    }

    async fn settle_reverse(
        &self,
        spec: &Spec,
        before: &Before,
        after: &After,
        stamp: &Stamp,
    ) -> Settled<After> {
        let operation = look_for(&take_back(spec));
        let claim = &Claim { stamp, before };
        match (spec, before) {
            (
                Spec::WriteTemplate { target, pin, .. } | Spec::Restart { target, pin, .. },
                Before::Template { hash, .. },
            ) => {
                let effect = write_template::Effect {
                    uid: &pin.uid,
                    former: left(after, spec),
                    wanted: hash,
                };
                write_template::settle(&self.access, target, &effect, claim, &operation).await
            }
            (Spec::SetPaused { target, pin, paused }, Before::Paused { paused: former, .. }) => {
                let effect = set_paused::Effect {
                    uid: &pin.uid,
                    former: *paused,
                    wanted: *former,
                };
                set_paused::settle(&self.access, target, &effect, claim, &operation).await
            }
            (
                Spec::Scale {
                    target,
                    pin,
                    from,
                    to,
                },
                Before::Count { replicas, .. },
            ) => {
                let effect = scale::Effect {
                    uid: &pin.uid,
                    former: from.map(|_| *to),
                    wanted: *replicas,
                };
                scale::settle(&self.access, target, &effect, claim, &operation).await
            }
            (Spec::DeletePod { .. }, _) => Settled::Applied(after.clone()),
            (Spec::AwaitRollout { .. } | Spec::AwaitGone { .. }, _) => Settled::NotApplied,
            (
                Spec::WriteTemplate { .. }
                | Spec::Restart { .. }
                | Spec::SetPaused { .. }
                | Spec::Scale { .. },
                _,
            ) => Settled::Unknown(mismatch(&operation)),
        }
    }

    async fn explain(&self, spec: &Spec) -> Vec<String> {
        match spec {
            Spec::AwaitRollout {
                target,
                uid,
                template,
                ..
            } => {
                let wait = await_rollout::Wait {
                    target,
                    uid,
                    template,
                    operation: &spec.phrase(),
                };
                await_rollout::explain(&self.access, &self.seen, &wait).await
            }
            Spec::AwaitGone { target, .. } => await_gone::explain(&self.access, target, &spec.phrase()).await,
            _ => Vec::new(),
        }
    }

    async fn fence(
        &self,
        spec: &Spec,
        before: &Before,
        run: &RunId,
        from: Epoch,
        to: Epoch,
    ) -> Result<(), Failure> {
        fence::stamp(&self.access, spec, before, run, from, to).await
    }
}

/// The template that the workload asks for after the step, by the plan.
fn wanted(spec: &Spec) -> &TemplateHash {
    match spec {
        Spec::WriteTemplate { mark: Some(mark), .. } => &mark.template,
        Spec::WriteTemplate { to, mark: None, .. } => &to.template,
        Spec::Restart { template, .. }
        | Spec::AwaitRollout { template, .. }
        | Spec::AwaitGone { template, .. }
        | Spec::DeletePod { template, .. } => template,
        Spec::SetPaused { pin, .. } | Spec::Scale { pin, .. } => &pin.template,
    }
}

/// The template that the step left: mostly the planned one, unless admission changed it on the way.
fn left<'a>(after: &'a After, spec: &'a Spec) -> &'a TemplateHash {
    match after {
        After::Written { template, .. } => template,
        After::Serving { .. } | After::Gone { .. } | After::Deleted { .. } | After::Kept { .. } => {
            wanted(spec)
        }
    }
}

fn take_back(spec: &Spec) -> String {
    format!("take this back: {}", spec.phrase())
}

fn look_for(phrase: &str) -> String {
    format!("find out whether this was done: {phrase}")
}

/// A journal that pairs a step with what was there before another one is damaged.
fn mismatch(operation: &str) -> Failure {
    let message = "what was recorded before this step belongs to a step of another kind; nothing was changed";
    Failure::new(FailureClass::Permanent, operation, message)
}
