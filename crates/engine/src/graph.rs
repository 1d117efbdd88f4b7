//! What the engine sees of a plan: a graph of steps without their meaning.

use astern_model::defect::{Defect, planted};
use astern_model::id::StepId;
use astern_model::plan::Plan;
use astern_model::policy::OnFailure;
use astern_model::reversal::Reversal;
use astern_model::step::{Spec, Step, helm, owner, workload};
use astern_model::target::Target;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// The steps of one plan by id, and what a failure leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The steps in plan order: every step stands after those it names.
    pub nodes: Vec<Node>,
    /// What a failed step leads to once a workload was restored.
    pub on_failure: OnFailure,
    places: BTreeMap<StepId, usize>,
}

/// One step, as far as order and reversal go.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its id.
    pub id: StepId,
    /// What must be done before it.
    pub after: Vec<StepId>,
    /// How it is taken back.
    pub reversal: Reversal,
    /// How long it may take, from its intent.
    pub deadline: SignedDuration,
    /// What it is to the service.
    pub role: Role,
    /// Whether it goes first in both directions: content is back before whoever reads it starts, forward and on the way
    /// back.
    pub leads: bool,
}

/// What a step is to the service: decides whether a failure holds or unwinds by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It only makes ready (pauses an owner, scales to zero): taken back when nothing was restored.
    Prepares,
    /// It changes what serves: once done, nobody puts it back without a person.
    Restores,
    /// It only looks and waits.
    Observes,
}

impl Graph {
    /// A graph of nodes that stand in plan order.
    pub fn new(nodes: Vec<Node>, on_failure: OnFailure) -> Self {
        let places = nodes
            .iter()
            .enumerate()
            .map(|(place, node)| (node.id.clone(), place))
            .collect();
        Self {
            nodes,
            on_failure,
            places,
        }
    }

    /// The graph of a plan.
    pub fn of(plan: &Plan) -> Self {
        let stopped = stopped(plan);
        let nodes = plan
            .steps
            .iter()
            .map(|step| Node {
                id: step.id.clone(),
                after: step.after.clone(),
                reversal: step.reversal.clone(),
                deadline: step.deadline,
                role: role(&step.spec, &stopped),
                leads: step.spec.config().is_some() || leads(step, plan, &stopped),
            })
            .collect();
        Self::new(nodes, plan.on_failure)
    }

    /// The node with this id.
    pub fn node(&self, id: &StepId) -> Option<&Node> {
        self.places.get(id).map(|&place| &self.nodes[place])
    }

    /// For every step, in plan order, the places of the steps that must be taken back before it: those that name it, and
    /// those that lead and that it names.
    pub fn dependents(&self) -> Vec<Vec<usize>> {
        let mut dependents = vec![Vec::new(); self.nodes.len()];
        for (place, node) in self.nodes.iter().enumerate() {
            for before in node.after.iter().filter_map(|id| self.places.get(id)) {
                let turned = self.nodes[*before].leads && !node.leads;
                if turned && !planted(Defect::ReadersFirstOnTheWayBack) {
                    dependents[place].push(*before);
                } else {
                    dependents[*before].push(place);
                }
            }
        }
        dependents
    }

    /// The places of the steps in an order in which each stands before those that must be taken back after it.
    pub fn backwards(&self) -> Vec<usize> {
        let (leading, others): (Vec<usize>, Vec<usize>) = (0..self.nodes.len())
            .rev()
            .partition(|place| self.nodes[*place].leads);
        leading.into_iter().chain(others).collect()
    }
}

/// Whether a rollback through Helm goes first on the way back as well: it writes what others start anew for. What is stopped is
/// gone before anything is written, in both directions.
fn leads(step: &Step, plan: &Plan, stopped: &BTreeSet<&Target>) -> bool {
    let starts = |other: &Step| {
        let Spec::Workload(spec) = &other.spec else {
            return false;
        };
        matches!(
            spec,
            workload::Spec::Restart { .. } | workload::Spec::WriteTemplate { .. }
        )
    };
    let is_release = matches!(step.spec, Spec::Helm(helm::Spec::Rollback { .. }));
    let mut others = plan.steps.iter();
    is_release && stopped.is_empty() && others.any(|other| starts(other) && other.after.contains(&step.id))
}

/// The workloads that a plan stops before it writes them.
fn stopped(plan: &Plan) -> BTreeSet<&Target> {
    let stops = plan.steps.iter().filter_map(|step| match step.spec.workload()? {
        workload::Spec::Scale { target, to: 0, .. } => Some(target),
        _ => None,
    });
    stops.collect()
}

fn role(spec: &Spec, stopped: &BTreeSet<&Target>) -> Role {
    match spec {
        // What was stopped is restored by starting it; until then nothing of it serves, and all of it can go back.
        Spec::Workload(workload::Spec::Scale { to, .. }) if *to > 0 => Role::Restores,
        Spec::Workload(
            workload::Spec::WriteTemplate { target, .. }
            | workload::Spec::Restart { target, .. }
            | workload::Spec::SetPaused { target, .. },
        ) if stopped.contains(target) => Role::Prepares,
        Spec::Config(spec) if spec.only_reads() => Role::Observes,
        Spec::Helm(helm::Spec::Look { .. }) => Role::Observes,
        Spec::Workload(workload::Spec::AwaitRollout { .. } | workload::Spec::AwaitGone { .. })
        | Spec::Owner(owner::Spec::AwaitPaused { .. }) => Role::Observes,
        Spec::Workload(
            workload::Spec::WriteTemplate { .. }
            | workload::Spec::Restart { .. }
            | workload::Spec::SetPaused { .. }
            | workload::Spec::DeletePod { .. },
        )
        | Spec::Helm(helm::Spec::Rollback { .. }) => Role::Restores,
        Spec::Helm(helm::Spec::Repair { .. })
        | Spec::Workload(workload::Spec::Scale { .. })
        | Spec::Config(_)
        | Spec::Owner(owner::Spec::Pause { .. } | owner::Spec::Resume { .. }) => Role::Prepares,
    }
}
