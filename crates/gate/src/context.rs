//! What a rule looks at: the plan, the world, the answers, and the door that the plan comes through. Decides nothing.

use crate::order::Order;
use astern_model::choice::{Because, RevisionRef};
use astern_model::finding::Allowances;
use astern_model::id::{StepId, TemplateHash};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::question::Answers;
use astern_model::step::config::Spec as ConfigSpec;
use astern_model::step::helm::{Carried, Spec as HelmSpec};
use astern_model::step::owner::Spec as OwnerSpec;
use astern_model::step::workload::Spec as WorkloadSpec;
use astern_model::step::{Spec, Step};
use astern_model::target::Target;
use astern_model::workload::{Revision, Workload};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How far a step of a resumed run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Not started: the world's rules hold for it.
    Pending,
    /// Its intent is durable, so its effect may or may not be there.
    Intended,
    /// Its effect is there.
    Done,
    /// It will not be started any more, or was taken back: the run is being unwound.
    Dropped,
}

/// Through which door the plan comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door<'a> {
    /// It is about to start.
    Start {
        /// The time now.
        now: Timestamp,
    },
    /// Its run goes on.
    Resume {
        /// How far each step has come.
        progress: &'a BTreeMap<StepId, Progress>,
    },
}

/// Everything that a rule may read.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) sealed: &'a [u8],
    pub(crate) inventory: &'a Inventory,
    pub(crate) answers: &'a Answers,
    pub(crate) allow: &'a Allowances,
    pub(crate) door: Door<'a>,
    pub(crate) order: Order<'a>,
    /// The template writes, in plan order.
    pub(crate) writes: Vec<Write<'a>>,
    /// The steps of each workload's own, in plan order: those on its release stand apart.
    pub(crate) by_target: BTreeMap<&'a Target, Vec<&'a Step>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        sealed: &'a [u8],
        inventory: &'a Inventory,
        answers: &'a Answers,
        allow: &'a Allowances,
        door: Door<'a>,
    ) -> Self {
        let mut by_target: BTreeMap<&Target, Vec<&Step>> = BTreeMap::new();
        for step in &plan.steps {
            match &step.spec {
                Spec::Workload(spec) => by_target.entry(spec.target()).or_default().push(step),
                Spec::Helm(spec) => {
                    for carried in spec.workloads() {
                        by_target.entry(&carried.target).or_default();
                    }
                }
                Spec::Config(_) | Spec::Owner(_) => {}
            }
        }
        Self {
            plan,
            sealed,
            inventory,
            answers,
            allow,
            door,
            order: Order::of(&plan.steps),
            writes: writes(plan, inventory),
            by_target,
        }
    }

    /// How far a step has come; at a start every step is pending.
    pub(crate) fn progress(&self, step: &StepId) -> Progress {
        match self.door {
            Door::Start { .. } => Progress::Pending,
            Door::Resume { progress } => progress.get(step).copied().unwrap_or(Progress::Pending),
        }
    }

    /// The steps that have not started: what the world's rules are about.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = &'a Step> {
        self.plan
            .steps
            .iter()
            .filter(|step| self.progress(&step.id) == Progress::Pending)
    }

    /// The template writes that have not started.
    pub(crate) fn writes_ahead(&self) -> impl Iterator<Item = Write<'a>> {
        self.writes
            .iter()
            .copied()
            .filter(|write| self.progress(&write.step.id) == Progress::Pending)
    }

    /// The same, each with the workload as it stands. A workload that is gone is another rule's matter.
    pub(crate) fn written_ahead(&self) -> impl Iterator<Item = (Write<'a>, &'a Workload)> {
        let workloads = &self.inventory.workloads;
        self.writes_ahead()
            .filter_map(|write| workloads.get(write.target).map(|workload| (write, workload)))
    }

    /// Every step that has pods made anew, with its workload and the template that this one asks for then: the template writes and the
    /// restarts.
    pub(crate) fn renewals(&self) -> impl Iterator<Item = (&'a Step, &'a Target, &'a TemplateHash)> {
        let writes = self
            .writes
            .iter()
            .map(|write| (write.step, write.target, write.asks));
        let restarts = self
            .plan
            .steps
            .iter()
            .filter_map(|step| match step.spec.workload()? {
                WorkloadSpec::Restart { target, template, .. } => Some((step, target, template)),
                _ => None,
            });
        writes.chain(restarts)
    }

    /// The workloads that steps not yet started will write.
    pub(crate) fn changed_ahead(&self) -> BTreeMap<&'a Target, &'a Workload> {
        let workloads = &self.inventory.workloads;
        self.ahead()
            .filter(|step| !step.spec.only_reads())
            .flat_map(targets)
            .filter_map(|target| workloads.get_key_value(target))
            .collect()
    }

    /// The steps that write ConfigMaps and Secrets, each with what it does.
    pub(crate) fn config(&self) -> impl Iterator<Item = (&'a Step, &'a ConfigSpec)> {
        let steps = self.plan.steps.iter();
        steps.filter_map(|step| Some((step, step.spec.config()?)))
    }

    /// The same, of those that have not started.
    pub(crate) fn config_ahead(&self) -> impl Iterator<Item = (&'a Step, &'a ConfigSpec)> {
        self.config()
            .filter(|(step, _)| self.progress(&step.id) == Progress::Pending)
    }

    /// The rollbacks of Helm releases that have not started.
    pub(crate) fn releases_ahead(&self) -> impl Iterator<Item = &'a HelmSpec> {
        self.ahead().filter_map(|step| step.spec.helm())
    }

    /// The steps on owners, each with what it does.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (&'a Step, &'a OwnerSpec)> {
        let steps = self.plan.steps.iter();
        steps.filter_map(|step| Some((step, step.spec.owner()?)))
    }

    /// The release step that writes a workload's template, and what it says of it.
    pub(crate) fn carried(&self, target: &Target) -> Option<(&'a Step, &'a Carried)> {
        self.plan.steps.iter().find_map(|step| {
            let spec = step.spec.helm()?;
            let carried = spec.workloads().iter().find(|one| &one.target == target)?;
            Some((step, carried))
        })
    }

    /// Why the plan believes in what it goes back to, for one workload.
    pub(crate) fn because(&self, target: &Target) -> Option<&'a Because> {
        let choice = self.plan.choices.iter().find(|choice| &choice.target == target)?;
        choice.good.as_ref().map(|good| &good.because)
    }
}

/// One template write of a plan, with what the cluster keeps of the revision that it goes back to.
#[derive(Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) step: &'a Step,
    pub(crate) target: &'a Target,
    pub(crate) to: &'a RevisionRef,
    /// The template that the workload asks for then: that of the revision, but for the mark of a restart where one is written.
    pub(crate) asks: &'a TemplateHash,
    /// Whether a run or the ledger has kept the same template.
    pub(crate) kept: bool,
    /// The object that the plan names, whatever template it holds.
    pub(crate) object: Option<&'a Revision>,
    /// The same, where it holds the template that the plan names.
    pub(crate) revision: Option<&'a Revision>,
}

impl<'a> Write<'a> {
    fn of(step: &'a Step, inventory: &'a Inventory) -> Vec<Self> {
        match &step.spec {
            Spec::Workload(spec @ WorkloadSpec::WriteTemplate { target, to, kept, .. }) => {
                let asks = spec.writes().unwrap_or(&to.template);
                let write = Self::new(step, target, to, kept.is_some(), inventory);
                vec![Self { asks, ..write }]
            }
            Spec::Workload(_) | Spec::Config(_) | Spec::Owner(_) => Vec::new(),
            Spec::Helm(spec) => {
                let carried = spec.workloads().iter();
                carried
                    .map(|one| Self::new(step, &one.target, &one.to, false, inventory))
                    .collect()
            }
        }
    }

    fn new(
        step: &'a Step,
        target: &'a Target,
        to: &'a RevisionRef,
        kept: bool,
        inventory: &'a Inventory,
    ) -> Self {
        let workload = inventory.workloads.get(target);
        let object = workload.and_then(|workload| {
            workload
                .all_revisions()
                .find(|revision| revision.name == to.name && revision.uid == to.uid)
        });
        // The hash is computed here, since the inventory's own is somebody else's word; and once, since a template
        // is large.
        let revision = object.filter(|revision| revision.template.hash() == to.template);
        Self {
            step,
            target,
            to,
            asks: &to.template,
            kept,
            object,
            revision,
        }
    }

    /// The workload and the version that it goes back to: `deployment/api-gateway at v1.2.3`.
    pub(crate) fn label(&self) -> String {
        format!("{} at {}", self.target, self.to.version)
    }
}

/// The template writes of a plan, in its order.
pub(crate) fn writes<'a>(plan: &'a Plan, inventory: &'a Inventory) -> Vec<Write<'a>> {
    plan.steps
        .iter()
        .flat_map(|step| Write::of(step, inventory))
        .collect()
}

/// What a step of a workload's own does to it; such a step is one of [`Context::by_target`].
pub(crate) fn spec(step: &Step) -> &WorkloadSpec {
    step.spec
        .workload()
        .unwrap_or_else(|| panic!("BUG: step {} is no workload's own", step.id))
}

/// The workload that a step is about, where it is about one.
pub(crate) fn target(step: &Step) -> Option<&Target> {
    step.spec.workload().map(WorkloadSpec::target)
}

/// The workloads that a step is about.
pub(crate) fn targets(step: &Step) -> Vec<&Target> {
    match &step.spec {
        Spec::Workload(spec) => vec![spec.target()],
        Spec::Helm(spec) => spec.workloads().iter().map(|one| &one.target).collect(),
        Spec::Config(_) | Spec::Owner(_) => Vec::new(),
    }
}
