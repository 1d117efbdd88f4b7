//! The envelope of stored documents: `apiVersion`, `kind`, and the document beside them. Sealed bytes are kept as
//! they are; a plan's hash is over them, and they are never encoded again.

use astern_model::plan::Plan;
use astern_model::record::Record;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
    let sealed = Sealed { api_version: API_VERSION, kind: T::KIND, document };
    let mut bytes = serde_json::to_vec(&sealed).unwrap_or_else(|error| panic!("BUG: a {} has no JSON: {error}", T::KIND));
    bytes.push(b'\n');
    bytes
}

/// Reads a document back. Unknown versions and kinds are named, never guessed.
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
        let found = if head.kind.is_empty() { "document without a kind".to_owned() } else { head.kind };
        return Err(OpenError::Kind { kind: T::KIND, found });
    }
    if head.api_version != API_VERSION {
        return Err(OpenError::Version { kind: T::KIND, found: head.api_version });
    }
    serde_json::from_slice(bytes).map_err(malformed)
}
