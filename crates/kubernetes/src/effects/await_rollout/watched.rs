//! What was seen of a rollout, and what it leads to. Owns which revisions have been read.

use super::{READ_AGAIN, Wait};
use crate::effects::Seen;
use crate::effects::access::Access;
use crate::effects::delivery::Halt;
use crate::effects::evidence;
use crate::effects::object::Object;
use crate::effects::pod::PodView;
use crate::effects::revision::template_in;
use crate::effects::rollout::{Belongs, Member, Rollout, rollout};
use crate::effects::stamp::{Annotated, EFFECT};
use crate::effects::standing::{Finding, Outlook, Sight, Standing, Suspect, told};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::target::{Target, WorkloadKind};
use astern_model::workload::RevisionKind;
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::BTreeSet;

/// What one look leads to.
pub(super) enum Next {
    Done {
        ready: u32,
        desired: u32,
        digests: std::collections::BTreeMap<String, String>,
    },
    Watch {
        again: Option<SignedDuration>,
    },
}

/// What is known beside the watched objects themselves.
pub(super) struct Watched<'a> {
    access: &'a Access,
    seen: &'a Seen,
    wait: &'a Wait<'a>,
    /// Revisions of another workload whose pods the selector finds as well.
    foreign: BTreeSet<String>,
    /// Revisions that were deleted while pods of them were still there.
    gone: BTreeSet<String>,
}

pub(super) type Pods = std::collections::BTreeMap<String, PodView>;

impl<'a> Watched<'a> {
    pub(super) fn new(access: &'a Access, seen: &'a Seen, wait: &'a Wait<'a>) -> Self {
        Self {
            access,
            seen,
            wait,
            foreign: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    pub(super) async fn judge(
        &mut self,
        now: &Object,
        pods: Option<&Pods>,
        not_created: Option<&str>,
        standing: &mut Standing,
        elapsed: SignedDuration,
    ) -> Result<Next, Failure> {
        loop {
            let members = self.members(now, pods);
            let known = match self.stands(now, &members) {
                Rollout::Moved { message } => return Err(moved(self.wait, &message)),
                Rollout::Halted(halt) => return Err(halted(self.wait, &halt)),
                _ if pods.is_none() => return Ok(Next::Watch { again: None }),
                Rollout::Serving {
                    ready,
                    desired,
                    digests,
                } => {
                    return Ok(Next::Done {
                        ready,
                        desired,
                        digests,
                    });
                }
                Rollout::Unclear { revisions } => self.read(now, revisions).await?,
                Rollout::Waiting { why } => {
                    tracing::debug!(target = %self.wait.target, "waiting: {why}");
                    let unresolved = needed(now, &members);
                    if unresolved.is_empty() {
                        Reading::Nothing
                    } else {
                        self.read(now, unresolved).await?
                    }
                }
            };
            match known {
                Reading::Done => continue,
                Reading::Later => {
                    return Ok(Next::Watch {
                        again: Some(READ_AGAIN),
                    });
                }
                Reading::Nothing => {}
            }
            let sight = Sight {
                workload: now,
                members: &members,
                not_created,
            };
            match standing.look(&sight, elapsed) {
                Outlook::Open { again } => return Ok(Next::Watch { again }),
                Outlook::Hopeless { finding, stood } => {
                    if let Some(failure) = self.hopeless(&finding, stood, standing).await {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// How the rollout stands. What the status of a Rollout concludes is believed once the ReplicaSet that it names is
    /// the template's: its controller may call a spec seen whose template it has not taken in.
    pub(super) fn stands(&self, now: &Object, members: &[Member]) -> Rollout {
        let found = rollout(now, self.wait.uid, self.wait.template, members);
        match (&found, now.current_replica_set()) {
            (Rollout::Serving { .. } | Rollout::Halted(_), Some(current)) => {
                match self.seen.get(self.wait.uid, &current) {
                    Some(hash) if &hash == self.wait.template => found,
                    _ if self.gone.contains(&current) || self.foreign.contains(&current) => {
                        Rollout::Waiting {
                            why: format!("replicaset/{current}, which its status names, is not there"),
                        }
                    }
                    Some(_) | None => Rollout::Unclear {
                        revisions: BTreeSet::from([current]),
                    },
                }
            }
            _ => found,
        }
    }

    pub(super) fn members(&self, now: &Object, pods: Option<&Pods>) -> Vec<Member> {
        let current = now.current_replica_set();
        let member = |pod: &PodView| {
            let revision = pod
                .revision
                .as_ref()
                .filter(|revision| !self.foreign.contains(*revision))?;
            let belongs = match self.seen.get(self.wait.uid, revision) {
                Some(hash) if &hash == self.wait.template => Belongs::Target,
                // Whether it is the template's is known once its controller has marked it.
                Some(_) if current.as_ref() == Some(revision) => Belongs::Unresolved,
                Some(_) => Belongs::Other,
                None if self.gone.contains(revision) => Belongs::Other,
                None => Belongs::Unresolved,
            };
            Some(Member {
                pod: pod.clone(),
                belongs,
            })
        };
        pods.into_iter()
            .flat_map(|pods| pods.values())
            .filter_map(member)
            .collect()
    }

    /// Reads revisions that pods name, side by side.
    pub(super) async fn read(&mut self, now: &Object, names: BTreeSet<String>) -> Result<Reading, Failure> {
        let Wait {
            target,
            uid,
            operation,
            ..
        } = *self.wait;
        let kind = RevisionKind::of(target.kind);
        let access = self.access;
        let reads = names
            .iter()
            .map(|name| access.revision(target, kind, name, operation));
        let found = futures::future::join_all(reads).await;
        let mut later = false;
        for (name, found) in names.iter().zip(found) {
            match found {
                Ok(Some(object)) if is_owned(&object, uid) => {
                    let kept = template_in(kind, &object).hash();
                    if now.current_replica_set().as_ref() != Some(name) {
                        self.seen.insert(uid, name, kept);
                    } else if kept == now.template_hash() || has_mark_of(now, &object) {
                        self.seen.insert(uid, name, now.template_hash());
                    } else {
                        later = true;
                    }
                }
                Ok(Some(_)) => {
                    self.foreign.insert(name.clone());
                }
                Ok(None) => {
                    self.gone.insert(name.clone());
                }
                Err(Failure {
                    class: FailureClass::Transient { .. },
                    ..
                }) => later = true,
                Err(failure) => return Err(failure),
            }
        }
        Ok(if later { Reading::Later } else { Reading::Done })
    }

    /// The failure of a rollout that cannot succeed; none when an event says that what it lacks is on its way.
    async fn hopeless(
        &self,
        finding: &Finding,
        stood: SignedDuration,
        standing: &mut Standing,
    ) -> Option<Failure> {
        let evidence = match &finding.pod {
            Some(suspect) => {
                evidence::of(
                    self.access,
                    &self.wait.target.namespace,
                    suspect,
                    &finding.message,
                )
                .await
            }
            None => evidence::Told {
                message: finding.message.clone(),
                ..evidence::Told::default()
            },
        };
        if let Some(suspect) = finding
            .pod
            .as_ref()
            .filter(|suspect| suspect.unscheduled && evidence.node_comes)
        {
            standing.excuse(&suspect.uid);
            return None;
        }
        let mut masked = finding.clone();
        masked.message = evidence.message;
        let message = format!("{}; the template stays written", told(&masked, stood));
        let failure = Failure::new(FailureClass::Permanent, self.wait.operation, message);
        Some(
            failure
                .hint(way_out(self.wait.target, finding.pod.as_ref()))
                .evidence(evidence.lines),
        )
    }
}

/// How reading revisions went.
pub(super) enum Reading {
    /// There was nothing to read.
    Nothing,
    /// All is known now.
    Done,
    /// The server did not answer for some; ask again.
    Later,
}

/// The revisions that must be read now to tell which pods are the template's. For a Deployment only when its status
/// counts pods of the template and none is known as such: mostly the write before has told which ReplicaSet it is.
pub(super) fn needed(now: &Object, members: &[Member]) -> BTreeSet<String> {
    let has_target = members
        .iter()
        .any(|member| member.belongs == Belongs::Target && member.stands());
    let updated = now.number("/status/updatedReplicas").unwrap_or(0);
    let must = match now.kind() {
        WorkloadKind::Deployment | WorkloadKind::Rollout => now.observed() && updated > 0 && !has_target,
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => true,
    };
    let unresolved = members
        .iter()
        .filter(|member| must && member.belongs == Belongs::Unresolved);
    unresolved
        .filter_map(|member| member.pod.revision.clone())
        .collect()
}

/// Whether a ReplicaSet is made from a Rollout's template of now although it keeps that with the API server's defaults, which the
/// Rollout itself has not: its controller copies the Rollout's annotations to the ReplicaSet of the template alone.
fn has_mark_of(now: &Object, replica_set: &Value) -> bool {
    let marked = replica_set.pointer("/metadata/annotations");
    let marked = marked.and_then(|annotations| annotations.get(EFFECT)?.as_str());
    marked.is_some() && marked == now.annotation(EFFECT)
}

fn is_owned(revision: &Value, uid: &Uid) -> bool {
    let owners = revision
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    owners
        .into_iter()
        .flatten()
        .any(|owner| owner.get("uid").and_then(Value::as_str) == Some(uid.as_str()))
}

fn moved(wait: &Wait<'_>, message: &str) -> Failure {
    let message = format!("{message}; what was written before stays as it is");
    Failure::new(FailureClass::Conflict, wait.operation, message).hint(format!(
        "look at it: kubectl describe {} -n {}",
        wait.target, wait.target.namespace
    ))
}

/// It goes on once a person has said so, or not at all.
fn halted(wait: &Wait<'_>, halt: &Halt) -> Failure {
    let Target { name, namespace, .. } = wait.target;
    let (message, hint) = match halt {
        Halt::ForAPerson { why } => (
            format!("{why}, and goes on once somebody promotes it"),
            format!(
                "look at it, then type `kubectl argo rollouts promote {name} -n {namespace}` and `astern resume RUN`, which waits on"
            ),
        ),
        Halt::Aborted { why } => (
            format!(
                "Argo Rollouts has aborted the update, so the version that it calls stable serves: {why}"
            ),
            format!(
                "see why: kubectl argo rollouts get rollout {name} -n {namespace}; `kubectl argo rollouts retry rollout {name} -n {namespace}` tries again, and `astern resume RUN` waits for that"
            ),
        ),
        Halt::Invalid { why } => (
            format!("Argo Rollouts refuses its spec: {why}"),
            format!("look at it: kubectl describe {} -n {namespace}", wait.target),
        ),
    };
    let message = format!("{message}; the template stays written");
    Failure::new(FailureClass::Permanent, wait.operation, message).hint(hint)
}

fn way_out(target: &Target, suspect: Option<&Suspect>) -> String {
    let namespace = &target.namespace;
    match suspect {
        Some(Suspect {
            name,
            in_the_way: true,
            ..
        }) => format!(
            "an OrderedReady StatefulSet does not replace a broken pod by itself: kubectl delete pod {name} -n {namespace}"
        ),
        Some(Suspect {
            name,
            crashed: Some(container),
            ..
        }) => {
            format!("read the whole log: kubectl logs {name} -c {container} --previous -n {namespace}")
        }
        Some(Suspect { name, .. }) => format!("look at the pod: kubectl describe pod {name} -n {namespace}"),
        None => format!("look at it: kubectl describe {target} -n {namespace}"),
    }
}
