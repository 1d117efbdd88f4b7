//! The closed set of effects. A layer has one file: its plain-data spec, what was there before, what is there after,
//! and the verbs it needs. Adding a layer adds a variant and a line here, and one arm in `exec`.

pub mod config;
pub mod helm;
pub mod owner;
pub mod workload;

use crate::id::StepId;
use crate::reversal::Reversal;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// One effect on one target, with nothing left to choose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its id, unique in the plan.
    pub id: StepId,
    /// The steps that must be done before it starts.
    pub after: Vec<StepId>,
    /// What it does.
    pub spec: Spec,
    /// How it is taken back.
    pub reversal: Reversal,
    /// How long it may take, from its intent on.
    pub deadline: SignedDuration,
    /// How long it will probably take.
    pub forecast: Forecast,
}

/// What a step does, by layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "layer")]
pub enum Spec {
    /// A workload's template, rollout or pods.
    Workload(workload::Spec),
    /// A Helm release.
    Helm(helm::Spec),
    /// What a ConfigMap or Secret holds.
    Config(config::Spec),
    /// Whoever would write targets back.
    Owner(owner::Spec),
}

impl Spec {
    /// What it does to a workload; none of another layer's step.
    pub fn workload(&self) -> Option<&workload::Spec> {
        match self {
            Self::Workload(spec) => Some(spec),
            Self::Helm(_) | Self::Config(_) | Self::Owner(_) => None,
        }
    }

    /// What it does to a Helm release; none of another layer's step.
    pub fn helm(&self) -> Option<&helm::Spec> {
        match self {
            Self::Helm(spec) => Some(spec),
            Self::Workload(_) | Self::Config(_) | Self::Owner(_) => None,
        }
    }

    /// What it does to a ConfigMap or Secret; none of another layer's step.
    pub fn config(&self) -> Option<&config::Spec> {
        match self {
            Self::Config(spec) => Some(spec),
            Self::Workload(_) | Self::Helm(_) | Self::Owner(_) => None,
        }
    }

    /// What it does to an owner; none of another layer's step.
    pub fn owner(&self) -> Option<&owner::Spec> {
        match self {
            Self::Owner(spec) => Some(spec),
            Self::Workload(_) | Self::Helm(_) | Self::Config(_) => None,
        }
    }

    /// What the step does, as an imperative phrase: `put deployment/api-gateway back to v1.2.3 (revision 2)`.
    pub fn phrase(&self) -> String {
        match self {
            Self::Workload(spec) => spec.phrase(),
            Self::Helm(spec) => spec.phrase(),
            Self::Config(spec) => spec.phrase(),
            Self::Owner(spec) => spec.phrase(),
        }
    }

    /// The API verbs that it needs.
    pub fn verbs(&self) -> Vec<workload::Verb> {
        match self {
            Self::Workload(spec) => spec.verbs(),
            Self::Helm(spec) => spec.verbs(),
            Self::Config(spec) => spec.verbs(),
            Self::Owner(spec) => spec.verbs(),
        }
    }

    /// Whether the step only looks and waits.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Workload(spec) => spec.only_reads(),
            Self::Owner(spec) => spec.only_reads(),
            Self::Config(spec) => spec.only_reads(),
            Self::Helm(spec) => spec.only_reads(),
        }
    }
}

/// What was there before a step's effect, recorded with its intent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "layer")]
pub enum Before {
    /// Of a workload step.
    Workload(workload::Before),
    /// Of a Helm step.
    Helm(helm::Before),
    /// Of a config step.
    Config(config::Before),
    /// Of a step on an owner.
    Owner(owner::Before),
}

/// What is there after a step's effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "layer")]
pub enum After {
    /// Of a workload step.
    Workload(workload::After),
    /// Of a Helm step.
    Helm(helm::After),
    /// Of a config step.
    Config(config::After),
    /// Of a step on an owner.
    Owner(owner::After),
}

/// A layer of effects, by its spec: what its steps find, and what they leave behind.
pub trait Layer: Send + Sync + Sized + 'static {
    /// What was there before a step's effect.
    type Before: Send + Sync;
    /// What is there after it.
    type After: Send + Sync;

    /// What the step does, as an imperative phrase.
    fn phrase(&self) -> String;
    /// As the journal keeps it.
    fn found(before: Self::Before) -> Before;
    /// Out of the journal; none of another layer's step.
    fn before(before: &Before) -> Option<&Self::Before>;
    /// As the journal keeps it.
    fn left(after: Self::After) -> After;
    /// Out of the journal; none of another layer's step.
    fn after(after: &After) -> Option<&Self::After>;
}

macro_rules! layer {
    ($layer:ident, $variant:ident) => {
        impl Layer for $layer::Spec {
            type Before = $layer::Before;
            type After = $layer::After;

            fn phrase(&self) -> String {
                $layer::Spec::phrase(self)
            }

            fn found(before: $layer::Before) -> Before {
                Before::$variant(before)
            }

            fn before(before: &Before) -> Option<&$layer::Before> {
                match before {
                    Before::$variant(before) => Some(before),
                    _ => None,
                }
            }

            fn left(after: $layer::After) -> After {
                After::$variant(after)
            }

            fn after(after: &After) -> Option<&$layer::After> {
                match after {
                    After::$variant(after) => Some(after),
                    _ => None,
                }
            }
        }
    };
}

layer!(workload, Workload);
layer!(helm, Helm);
layer!(config, Config);
layer!(owner, Owner);

/// How long a step will probably take, and on what that rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The expected time.
    pub expected: SignedDuration,
    /// On what it rests.
    pub basis: Basis,
}

/// On what a forecast rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Basis {
    /// Earlier runs of the same workload: the median of so many.
    History {
        /// How many rollouts it rests on.
        runs: u32,
    },
    /// The template's probes, the count and the surge.
    Probes,
    /// One request to the API server.
    Request,
}
