//! Observations. An observation that could not be made is a value too ([`Known::Unknown`]); it is never a pass.

use crate::target::Target;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A value, or the reason why it is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Known<T> {
    /// Observed.
    Is(T),
    /// Not observed, and why.
    Unknown(String),
}

impl<T> Known<T> {
    /// The value, if it was observed.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// The same, to add to it.
    pub fn value_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// One observation about one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What it is about.
    pub subject: Target,
    /// Which of the subject's versions it speaks of.
    pub side: Side,
    /// What was observed.
    pub fact: Fact,
    /// Who said so.
    pub source: Source,
    /// The span of time it covers; none for a look at one moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<SignedDuration>,
    /// When it was observed.
    pub observed_at: Timestamp,
}

/// The version under suspicion, or the one before it whose pods still stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Side {
    /// The version that the workload's template asks for now.
    Live,
    /// Any earlier version.
    Former,
}

/// Where an observation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Source {
    /// The workload's own status and conditions.
    Rollout,
    /// Pod status and container states.
    Pods,
    /// Kubernetes events.
    Events,
    /// Container logs.
    Logs,
    /// An HTTP probe from the platform file.
    Probe,
}

/// What was observed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum Fact {
    /// Pods of this side: how many exist, how many serve, how many should.
    Serving {
        /// Ready pods.
        ready: u32,
        /// Existing pods.
        pods: u32,
        /// Pods that the workload asks for.
        desired: u32,
    },
    /// Some pods cannot serve, all for one cause.
    Trouble {
        /// The cause.
        trouble: Trouble,
        /// How many pods have it.
        pods: u32,
        /// One of them, by name.
        example: String,
    },
    /// Error lines in the logs.
    ErrorLines {
        /// Lines that match the policy's pattern, each minute, each pod.
        per_minute: Known<f64>,
        /// Pods whose logs were read.
        pods: u32,
        /// Matching lines in all.
        lines: u64,
        /// The last of them, masked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        example: Option<String>,
    },
    /// The rollout made no progress within `progressDeadlineSeconds`.
    ProgressDeadlineExceeded {
        /// The condition's message.
        message: String,
    },
    /// New pods cannot be made: a quota, admission, or a missing ServiceAccount says no.
    PodsNotCreated {
        /// The server's words.
        message: String,
    },
    /// An HTTP probe's answer.
    Probe {
        /// The probe's name.
        name: String,
        /// Whether it answered as expected, or why that is not known.
        passed: Known<bool>,
        /// What it answered.
        detail: String,
    },
}

/// Why a pod does not serve.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "cause")]
pub enum Trouble {
    /// A container starts and ends, again and again.
    CrashLoop {
        /// The container.
        container: String,
        /// Its last exit code.
        exit_code: Option<i32>,
        /// How often it was started again.
        restarts: u32,
        /// The last log line of the last attempt, masked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_line: Option<String>,
    },
    /// The image cannot be had.
    ImagePull {
        /// The container.
        container: String,
        /// The image.
        image: String,
        /// The kubelet's words.
        message: String,
    },
    /// The container cannot be made: a missing ConfigMap, Secret or key, mostly.
    CannotStart {
        /// The container.
        container: String,
        /// The waiting reason, such as `CreateContainerConfigError`.
        reason: String,
        /// The kubelet's words.
        message: String,
    },
    /// No node takes the pod.
    Unschedulable {
        /// The scheduler's words: what is lacking.
        message: String,
    },
    /// It runs, and is not ready.
    NotReady {
        /// The container that is not ready, if it is known.
        container: String,
        /// The last probe failure, if an event tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// It has not started yet, and nothing says that it cannot.
    Starting,
    /// It is on its way out.
    Terminating,
    /// Its node does not answer, so nothing about it is known.
    NodeLost {
        /// The node.
        node: String,
    },
}

impl Trouble {
    /// Whether waiting cannot mend it: only these let a stuck StatefulSet's pod be deleted.
    pub fn cannot_pass(&self) -> bool {
        match self {
            Self::CrashLoop { .. }
            | Self::ImagePull { .. }
            | Self::CannotStart { .. }
            | Self::Unschedulable { .. } => true,
            Self::NotReady { .. } | Self::Starting | Self::Terminating | Self::NodeLost { .. } => false,
        }
    }

    /// One short phrase for a table cell: `crash loop (exit 1)`.
    pub fn phrase(&self) -> String {
        match self {
            Self::CrashLoop {
                exit_code: Some(code),
                restarts,
                ..
            } => {
                format!("CrashLoopBackOff, exit {code}, {}", counted(*restarts))
            }
            Self::CrashLoop { restarts, .. } => format!("CrashLoopBackOff, {}", counted(*restarts)),
            Self::ImagePull { image, .. } => format!("ImagePullBackOff {image}"),
            Self::CannotStart { reason, message, .. } => format!("{reason}: {message}"),
            Self::Unschedulable { message } => format!("unschedulable: {message}"),
            Self::NotReady {
                message: Some(message),
                ..
            } => format!("not ready: {message}"),
            Self::NotReady { container, .. } => format!("container {container} runs and is not ready"),
            Self::Starting => "starting".to_owned(),
            Self::Terminating => "terminating".to_owned(),
            Self::NodeLost { node } => format!("node {node} does not answer"),
        }
    }
}

fn counted(restarts: u32) -> String {
    match restarts {
        1 => "1 restart".to_owned(),
        many => format!("{many} restarts"),
    }
}
