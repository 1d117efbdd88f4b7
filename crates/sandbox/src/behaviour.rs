//! How the containers of an image behave, as data of the embedder. Owns the lookup; the kubelet stand-in acts on it.

use crate::node::environment::Environment;
use crate::object::{annotation, get, label, list, text};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;

/// Which containers behave how: the first rule that fits.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviours {
    /// Looked at in their order.
    pub rules: Vec<BehaviourRule>,
    /// For what no rule fits.
    pub otherwise: Behaviour,
}

/// A behaviour and what has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BehaviourRule {
    /// What it fits.
    pub when: When,
    /// What then happens.
    pub behaviour: Behaviour,
}

/// What a rule fits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum When {
    /// Containers of this image, as the template writes it.
    Image(String),
    /// Pods with this annotation.
    Annotation {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Pods with this label: which revision a pod is of stands there.
    Label {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Containers with this variable.
    Env {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Containers that have no variable of this name: neither their own nor one out of a ConfigMap of `envFrom`, as it
    /// was when the container started.
    EnvMissing(String),
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Behaviour {
    /// Whether the image can be had.
    pub image: Image,
    /// From the pod's being scheduled to the container's start.
    pub starts_after: SignedDuration,
    /// When it ends by itself, each time it runs.
    pub crash: Option<Crash>,
    /// When it is ready.
    pub ready: Ready,
    /// How long it takes to stop when asked; cut by the pod's grace period.
    pub stops_after: SignedDuration,
    /// What it writes.
    pub logs: Option<Logs>,
    /// What it answers while it is ready; nothing listens without it.
    pub serves: Option<Serves>,
    /// The time that a cpu works on one request: autoscalers see it.
    pub cpu_per_request: SignedDuration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            image: Image::Present,
            starts_after: SignedDuration::from_millis(500),
            crash: None,
            ready: Ready::After(SignedDuration::from_millis(500)),
            stops_after: SignedDuration::from_millis(200),
            logs: None,
            serves: None,
            cpu_per_request: SignedDuration::ZERO,
        }
    }
}

/// Whether an image can be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Image {
    /// It can.
    #[default]
    Present,
    /// No registry has it.
    Missing,
}

/// How a container ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// After its start.
    pub after: SignedDuration,
    /// The exit code.
    pub code: i64,
}

/// When a container is ready.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Ready {
    /// So long after its start.
    After(SignedDuration),
    /// Never.
    Never,
    /// While a workload of the same namespace has a ready pod.
    While {
        /// The workload's resource: `deployments.apps`.
        resource: String,
        /// Its name.
        name: String,
    },
}

/// What a container answers over HTTP.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Serves {
    /// By path; any other path is 404.
    pub answers: Vec<HttpAnswer>,
    /// How many of the requests are answered with 500 instead, from 0 to 1.
    #[serde(default)]
    pub error_share: f64,
}

/// What is answered at a path.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAnswer {
    /// The path.
    pub path: String,
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: Value,
}

/// What a container writes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Logs {
    /// The time between two lines.
    pub every: SignedDuration,
    /// A line. `{latency}` stands for a time in milliseconds around `latency`, `{n}` for the line's number.
    pub text: String,
    /// A line that is written instead in a share of cases.
    #[serde(default)]
    pub error_text: String,
    /// How many of the lines are errors, from 0 to 1.
    #[serde(default)]
    pub error_share: f64,
    /// What `{latency}` is around.
    #[serde(default)]
    pub latency: SignedDuration,
}

impl Behaviours {
    /// Whether the readiness of any container hangs on another workload.
    pub(crate) fn hang_on_one_another(&self) -> bool {
        let rules = self.rules.iter().map(|rule| &rule.behaviour);
        rules
            .chain([&self.otherwise])
            .any(|behaviour| matches!(behaviour.ready, Ready::While { .. }))
    }

    /// Whether what any container does hangs on what ConfigMaps hold.
    pub(crate) fn hang_on_config(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| matches!(rule.when, When::EnvMissing(_)))
    }

    /// How a container of a pod behaves that has started in this environment.
    pub(crate) fn of(&self, pod: &Value, container: &Value, environment: &Environment) -> &Behaviour {
        let fits = |when: &When| match when {
            When::Image(image) => text(container, "image") == image,
            When::Annotation { name, value } => annotation(pod, name) == Some(value),
            When::Label { name, value } => label(pod, name) == Some(value),
            When::Env { name, value } => list(container, "env").iter().any(|variable| {
                text(variable, "name") == name
                    && get(variable, "value").and_then(Value::as_str) == Some(value)
            }),
            When::EnvMissing(name) => !environment.has(container, name),
        };
        self.rules
            .iter()
            .find(|rule| fits(&rule.when))
            .map_or(&self.otherwise, |rule| &rule.behaviour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_of_one_image_and_two_revisions_behave_as_their_revision() {
        let crashes = Behaviour {
            ready: Ready::Never,
            ..Behaviour::default()
        };
        let behaviours = Behaviours {
            rules: vec![BehaviourRule {
                when: When::Label {
                    name: "pod-template-hash".to_owned(),
                    value: "7m4t6".to_owned(),
                },
                behaviour: crashes.clone(),
            }],
            otherwise: Behaviour::default(),
        };
        let container = json!({"name": "api", "image": "api:v1"});
        let pod = |hash: &str| json!({"metadata": {"labels": {"pod-template-hash": hash}}});
        let of = |hash: &str| {
            behaviours
                .of(&pod(hash), &container, &Environment::default())
                .clone()
        };
        assert_eq!(of("7m4t6"), crashes);
        assert_eq!(of("5f2k8"), Behaviour::default());
    }
}
