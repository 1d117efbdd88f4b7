//! What planner and gate may ask about the world: a closed set, answered by `app` through the ports.

use crate::choice::RevisionRef;
use crate::target::Target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One question. All of a plan's questions are asked side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "ask")]
pub enum Question {
    /// May I do this? (SelfSubjectAccessReview)
    MayI {
        /// `get`, `update`, …
        verb: String,
        /// The API group, empty for core.
        group: String,
        /// The resource's plural.
        resource: String,
        /// The namespace.
        namespace: String,
    },
    /// Is this object there, with these keys? The values are never read into the answer.
    Exists {
        /// What kind of object.
        kind: ReferenceKind,
        /// The namespace; ignored for kinds without one.
        namespace: String,
        /// Its name.
        name: String,
        /// Keys that it must hold; empty asks for the object alone.
        keys: Vec<String>,
    },
    /// Does a node that the pods may go to list this image?
    ImageListed {
        /// The reference as the template names it.
        image: String,
        /// The workload.
        target: Target,
        /// The revision, whose template says where its pods may go.
        revision: RevisionKey,
        /// Whether a container with it is started only where a node has the image (`imagePullPolicy: Never`).
        never_pulled: bool,
    },
    /// Would the API server take the write of this revision's template? (dry run)
    WriteAccepted {
        /// The workload.
        target: Target,
        /// The revision, as the object that keeps it.
        revision: RevisionKey,
    },
    /// Would the API server take a pod made from this revision's template? (dry run)
    PodAccepted {
        /// The workload.
        target: Target,
        /// The revision.
        revision: RevisionKey,
    },
    /// Would the API server take this pausing or resuming of a Deployment? (dry run)
    PauseAccepted {
        /// The Deployment.
        target: Target,
        /// What is set.
        paused: bool,
        /// The revision whose template it asks for by then; none for the one that it asks for now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<RevisionKey>,
    },
    /// Would the API server take the mark of a restart? (dry run)
    RestartAccepted {
        /// The workload.
        target: Target,
        /// The mark.
        at: String,
    },
    /// Would the API server take this content of a ConfigMap or Secret? (dry run)
    ConfigAccepted {
        /// The object.
        object: crate::config::ConfigName,
        /// Its namespace.
        namespace: String,
        /// The whole object as it was once, in the vault.
        kept: crate::content::ContentRef,
    },
    /// Would the API server take the deletion of this pod? (dry run)
    DeleteAccepted {
        /// The namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The pod's uid.
        uid: crate::id::Uid,
    },
    /// Does somebody else hold the run lock of this namespace?
    LockFree {
        /// The namespace.
        namespace: String,
    },
}

/// A revision inside a question: enough to find its template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionKey {
    /// The object's name.
    pub name: String,
    /// The hash of its template.
    pub template: crate::id::TemplateHash,
}

impl From<&RevisionRef> for RevisionKey {
    fn from(revision: &RevisionRef) -> Self {
        Self {
            name: revision.name.clone(),
            template: revision.template.clone(),
        }
    }
}

/// The kinds that a pod template can refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReferenceKind {
    /// env, envFrom, volumes, projected volumes.
    ConfigMap,
    /// env, envFrom, volumes, projected volumes, imagePullSecrets.
    Secret,
    /// `serviceAccountName`.
    ServiceAccount,
    /// volumes.
    PersistentVolumeClaim,
    /// `priorityClassName`.
    PriorityClass,
    /// `runtimeClassName`.
    RuntimeClass,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "answer")]
pub enum Answer {
    /// Yes.
    Yes,
    /// No, and what the server said or what is missing.
    No {
        /// The reason.
        why: String,
    },
    /// No, by other rules than those of the cluster.
    Barred {
        /// Whose word that is.
        why: String,
        /// What would allow it, as a sentence without a full stop.
        remedy: String,
    },
    /// It could not be found out, and why.
    Unknown {
        /// The reason.
        why: String,
    },
}

/// The answers so far. A list in JSON, since questions are no text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<Question, Answer>);

impl Question {
    /// The workload that is asked about; none of a question about something else.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::ImageListed { target, .. }
            | Self::WriteAccepted { target, .. }
            | Self::PodAccepted { target, .. }
            | Self::PauseAccepted { target, .. }
            | Self::RestartAccepted { target, .. } => Some(target),
            Self::MayI { .. }
            | Self::Exists { .. }
            | Self::ConfigAccepted { .. }
            | Self::DeleteAccepted { .. }
            | Self::LockFree { .. } => None,
        }
    }
}

impl Answers {
    /// The same, with other words for what a server said.
    pub fn told(mut self, words: impl Fn(&Question, &str) -> String) -> Self {
        for (question, answer) in &mut self.0 {
            match answer {
                Answer::Yes => {}
                Answer::No { why } | Answer::Barred { why, .. } | Answer::Unknown { why } => {
                    *why = words(question, why);
                }
            }
        }
        self
    }

    /// Adds one answer.
    pub fn insert(&mut self, question: Question, answer: Answer) {
        self.0.insert(question, answer);
    }

    /// The answer; a question that nobody asked is unknown.
    pub fn get(&self, question: &Question) -> Answer {
        self.0.get(question).cloned().unwrap_or_else(|| Answer::Unknown {
            why: "it was not asked".to_owned(),
        })
    }

    /// Adds what another round of questions gave.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Whether the question was answered.
    pub fn has(&self, question: &Question) -> bool {
        self.0.contains_key(question)
    }
}

impl FromIterator<(Question, Answer)> for Answers {
    fn from_iter<I: IntoIterator<Item = (Question, Answer)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Serialize for Answers {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter())
    }
}

impl<'de> Deserialize<'de> for Answers {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(
            Vec::<(Question, Answer)>::deserialize(from)?
                .into_iter()
                .collect(),
        ))
    }
}
