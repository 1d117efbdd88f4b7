//! The structured difference of two templates. Values that may be secret are masked where the difference is made.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

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
    /// A value that is not shown, and has no mark: only that it is there.
    Masked,
    /// A value that is not shown, by its mark: of two, whether they are the same.
    Keyed(String),
}

/// Digits of a mark: two values that differ share one once in four thousand million times, and a line stays short.
const MARK_DIGITS: usize = 8;

/// The marks of values that are not shown: the first digits of the vault's keyed hash of each. Without the vault's key a mark
/// tells nothing of its value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<String, String>);

/// How many there are: it holds the values.
impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Marks({})", self.0.len())
    }
}

impl Marks {
    /// Of these values, each with its keyed hash as the vault gives it: `hmac-sha256:` and digits.
    pub fn of(hashed: impl IntoIterator<Item = (String, String)>) -> Self {
        let mark = |hash: String| {
            let (_, digits) = hash.rsplit_once(':').unwrap_or_default();
            digits.chars().take(MARK_DIGITS).collect()
        };
        Self(
            hashed
                .into_iter()
                .map(|(value, hash)| (value, mark(hash)))
                .collect(),
        )
    }

    /// The value as it may be shown: its mark, or that it is there where it has none.
    pub fn masked(&self, value: &str) -> Shown {
        self.0
            .get(value)
            .map_or(Shown::Masked, |mark| Shown::Keyed(mark.clone()))
    }
}
