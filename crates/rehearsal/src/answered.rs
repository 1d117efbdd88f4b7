//! A copy, looked at with what the real cluster has answered: who one is there, what one may do, what is there beside the
//! workloads. Owns which questions those are; whatever moves with the run is asked of the copy.

use astern_model::inventory::Inventory;
use astern_model::owner::OwnerSeen;
use astern_model::question::{Answers, Question};
use astern_model::target::{Cluster, Target};
use astern_model::template::Template;
use astern_model::workload::{Owner, OwnerState, Workload};
use astern_port::Failure;
use astern_port::cluster::Look;
use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The copy's look, and what was answered before.
pub(crate) struct Answered {
    pub(crate) look: Arc<dyn Look>,
    pub(crate) cluster: Cluster,
    pub(crate) answers: Arc<Answers>,
    /// Who owns what, on the real cluster.
    pub(crate) owned: Arc<Owned>,
}

/// The owners of a namespace, as a copy has them: known, and at rest, since their own objects are not copied.
pub(crate) struct Owned {
    objects: Vec<OwnerSeen>,
    workloads: BTreeMap<Target, Vec<Owner>>,
}

impl Owned {
    pub(crate) fn by(inventory: &Inventory) -> Self {
        let at_rest = |owner: &Owner| Owner {
            state: OwnerState::Passive {
                because: "on the copy nobody writes".to_owned(),
            },
            ..owner.clone()
        };
        let of = |workload: &Workload| workload.owners.iter().map(at_rest).collect();
        Self {
            objects: inventory.owners.clone(),
            workloads: inventory
                .workloads
                .iter()
                .map(|(target, workload)| (target.clone(), of(workload)))
                .collect(),
        }
    }
}

impl Answered {
    /// The answer of the real cluster holds: rights, objects that are not copied, images on nodes.
    fn holds(&self, question: &Question) -> bool {
        let stands = match question {
            Question::MayI { .. }
            | Question::Exists { .. }
            | Question::ImageListed { .. }
            | Question::ConfigAccepted { .. } => true,
            Question::WriteAccepted { .. }
            | Question::PodAccepted { .. }
            | Question::PauseAccepted { .. }
            | Question::RestartAccepted { .. }
            | Question::DeleteAccepted { .. }
            | Question::LockFree { .. } => false,
        };
        stands && self.answers.has(question)
    }
}

#[async_trait]
impl Look for Answered {
    async fn identify(&self, _: &str) -> Result<Cluster, Failure> {
        Ok(self.cluster.clone())
    }

    async fn inventory(&self, namespace: &str) -> Result<Inventory, Failure> {
        let mut inventory = self.look.inventory(namespace).await?;
        for (target, workload) in &mut inventory.workloads {
            workload.owners = self.owned.workloads.get(target).cloned().unwrap_or_default();
        }
        Ok(Inventory {
            releases: Vec::new(),
            cluster: self.cluster.clone(),
            owners: self.owned.objects.clone(),
            ..inventory
        })
    }

    async fn answer(&self, inventory: &Inventory, questions: &[Question]) -> Answers {
        let (known, open): (Vec<Question>, Vec<Question>) = questions
            .iter()
            .cloned()
            .partition(|question| self.holds(question));
        let mut answers = self.look.answer(inventory, &open).await;
        answers.extend(
            known
                .into_iter()
                .map(|question| {
                    let answer = self.answers.get(&question);
                    (question, answer)
                })
                .collect(),
        );
        answers
    }

    async fn managed(&self, targets: &[Target]) -> Result<BTreeMap<Target, Vec<Value>>, Failure> {
        self.look.managed(targets).await
    }

    async fn applied(&self, target: &Target, manifest: &Value, manager: &str) -> Result<Value, Failure> {
        self.look.applied(target, manifest, manager).await
    }

    async fn completed(&self, target: &Target, template: &Value) -> Result<Template, Failure> {
        self.look.completed(target, template).await
    }

    async fn starters(&self, _: &str) -> Result<Vec<OwnerSeen>, Failure> {
        Ok(self.owned.objects.clone())
    }

    async fn changed(&self, targets: &[Target], within: SignedDuration) -> Result<(), Failure> {
        self.look.changed(targets, within).await
    }
}
