//! The structured difference of two templates. Values that may be secret are masked where the difference is made.

use serde::{Deserialize, Serialize};

/// One changed place of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Where, for a reader: `containers[api].env[LOG_LEVEL]`. List entries by name, not by position.
    pub path: String,
    /// What stands there now; none when the place is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Shown>,
    /// What will stand there; none when the place goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Shown>,
}

/// A value as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Shown {
    /// The value itself, as JSON text without quotes around plain text.
    Value(String),
    /// A literal env value: only that it is there.
    Masked,
}
