//! The only classification of what went wrong that a provider may return. The engine decides by it alone.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a provider did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What the engine may do about it.
    pub class: FailureClass,
    /// The operation and object: `write the template of deployment/api-gateway`.
    pub operation: String,
    /// What happened, in the words of the program or server that said it. Never a secret value.
    pub message: String,
    /// What a person can type or do next, if anything is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Lines that show it: an event, the last log lines of a failing container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// The five classes of design: what may be done next follows from the class alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FailureClass {
    /// Nothing happened; the same call may work later. Retried, bounded and jittered.
    Transient {
        /// The server's own wish, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// The world moved: a pin or the resourceVersion no longer holds. Nothing happened.
    Conflict,
    /// Not permitted, or rejected by admission. Nothing happened.
    Refused,
    /// It cannot succeed. Nothing is left behind.
    Permanent,
    /// It may or may not have happened: observe until it is known. Never retried blindly, never called failed.
    Unknown,
}

impl Failure {
    /// A failure without hint and evidence.
    pub fn new(class: FailureClass, operation: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            operation: operation.into(),
            message: message.into(),
            hint: None,
            evidence: Vec::new(),
        }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with lines that show it.
    #[must_use]
    pub fn evidence(mut self, lines: Vec<String>) -> Self {
        self.evidence = lines;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: {}", self.operation, self.message)
    }
}

impl std::error::Error for Failure {}
