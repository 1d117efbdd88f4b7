//! The envelope of stored documents: `apiVersion`, `kind`, and the document beside them. Sealed bytes are kept as
//! they are; a plan's hash is over them, and they are never encoded again.

use astern_model::plan::Plan;
use astern_model::record::Record;
use astern_model::release::Release;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of every format in this release.
pub const API_VERSION: &str = "astern.dev/v1alpha1";

/// Why bytes are not the document that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not JSON, or not of this shape.
    #[error("{kind} cannot be read (line {line}, column {column})")]
    Malformed {
        /// The kind that was asked for.
        kind: &'static str,
        /// Where it went wrong.
        line: usize,
        /// Where it went wrong.
        column: usize,
        /// The parser's words.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, but another kind of document.
    #[error("this is a {found}, not a {kind}")]
    Kind {
        /// The kind that was asked for.
        kind: &'static str,
        /// The kind that it says it is.
        found: String,
    },
    /// A version that this release does not know.
    #[error("this {kind} is of version {found}; this astern reads {API_VERSION}")]
    Version {
        /// The kind that was asked for.
        kind: &'static str,
        /// The version that it says it is.
        found: String,
    },
    /// It holds something that this release does not know, and would have ignored.
    #[error("this {kind} holds `{path}`, which this astern does not know")]
    UnknownField {
        /// The kind that was asked for.
        kind: &'static str,
        /// Where, from the document's root: `steps[3].spec.sudo`.
        path: String,
    },
}

impl OpenError {
    /// The code of its page in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "AST0021",
            Self::Kind { .. } => "AST0022",
            Self::Version { .. } => "AST0023",
            Self::UnknownField { .. } => "AST0024",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Malformed { kind, .. } => {
                format!("the file was cut or edited; take the {kind} again from where it was made")
            }
            Self::Kind { kind, .. } => format!("name a file that holds a {kind}"),
            Self::Version { .. } | Self::UnknownField { .. } => {
                "use the astern that wrote it, or make a new one with this astern".to_owned()
            }
        }
    }
}

/// A document that is stored in an envelope of its own kind.
pub trait Document: Serialize + DeserializeOwned {
    /// The value of `kind`.
    const KIND: &'static str;
}

impl Document for Plan {
    const KIND: &'static str = "Plan";
}

impl Document for Record {
    const KIND: &'static str = "Record";
}

impl Document for Release {
    const KIND: &'static str = "Release";
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sealed<'a, T> {
    api_version: &'a str,
    kind: &'a str,
    #[serde(flatten)]
    document: &'a T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

/// The bytes of a document: compact JSON and a line end. The same document gives the same bytes.
pub fn seal<T: Document>(document: &T) -> Vec<u8> {
    let sealed = Sealed {
        api_version: API_VERSION,
        kind: T::KIND,
        document,
    };
    let mut bytes =
        serde_json::to_vec(&sealed).unwrap_or_else(|error| panic!("BUG: a {} has no JSON: {error}", T::KIND));
    bytes.push(b'\n');
    bytes
}

/// Reads a document back. Unknown versions and kinds are named, never guessed; a key that this release would ignore
/// is refused, since it may say something that changes what the rest means.
///
/// # Errors
/// [`OpenError`] says what the bytes are instead.
pub fn open<T: Document>(bytes: &[u8]) -> Result<T, OpenError> {
    let malformed = |source: serde_json::Error| OpenError::Malformed {
        kind: T::KIND,
        line: source.line(),
        column: source.column(),
        source,
    };
    let head: Head = serde_json::from_slice(bytes).map_err(malformed)?;
    if head.kind != T::KIND {
        let found = if head.kind.is_empty() {
            "document without a kind".to_owned()
        } else {
            printable(&head.kind)
        };
        return Err(OpenError::Kind { kind: T::KIND, found });
    }
    if head.api_version != API_VERSION {
        return Err(OpenError::Version {
            kind: T::KIND,
            found: printable(&head.api_version),
        });
    }
    let document: T = serde_json::from_slice(bytes).map_err(malformed)?;
    // What astern sealed seals to the same bytes again; only what others wrote is compared key by key.
    if seal(&document) == bytes {
        return Ok(document);
    }
    let given: Value = serde_json::from_slice(bytes).map_err(malformed)?;
    let sealed = Sealed {
        api_version: API_VERSION,
        kind: T::KIND,
        document: &document,
    };
    let kept = serde_json::to_value(&sealed)
        .unwrap_or_else(|error| panic!("BUG: a {} has no JSON: {error}", T::KIND));
    match lost(&given, &kept) {
        Some(path) => Err(OpenError::UnknownField {
            kind: T::KIND,
            path: printable(&path),
        }),
        None => Ok(document),
    }
}

/// Longer than any kind, version or place that astern writes.
const LONGEST_NAME: usize = 200;

/// The text without what a terminal would obey, and not without end: it comes from the file.
fn printable(text: &str) -> String {
    text.chars()
        .take(LONGEST_NAME)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The place of the first key or list entry of `given` that `kept` has not. What a document says is what it seals to:
/// `deny_unknown_fields` cannot see through flattened and tagged types, and this can.
fn lost(given: &Value, kept: &Value) -> Option<String> {
    let under = |place: String, rest: String| {
        if rest.is_empty() || rest.starts_with('[') {
            format!("{place}{rest}")
        } else {
            format!("{place}.{rest}")
        }
    };
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            given.iter().find_map(|(key, value)| match kept.get(key) {
                Some(kept) => lost(value, kept).map(|rest| under(key.clone(), rest)),
                None => Some(key.clone()),
            })
        }
        (Value::Array(given), Value::Array(kept)) => given.iter().enumerate().find_map(|(index, value)| {
            let place = format!("[{index}]");
            match kept.get(index) {
                Some(kept) => lost(value, kept).map(|rest| under(place, rest)),
                None => Some(place),
            }
        }),
        // One of serde's other notations for the same value: nothing of ours is written so.
        (Value::Object(_) | Value::Array(_), _) => Some(String::new()),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => None,
    }
}
