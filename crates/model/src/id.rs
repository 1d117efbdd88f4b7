//! Identifiers. Each is a newtype, so that a step can never be passed where a run is meant.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as text, as it is printed and stored.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id! {
    /// One run: a lower-case DNS label, sortable by time, for example `r20261123-141503-7f3c`.
    RunId
}
text_id! {
    /// One step inside one plan, unique there and readable: `template:deployment/api-gateway`.
    StepId
}
text_id! {
    /// The `metadata.uid` of a Kubernetes object.
    Uid
}
text_id! {
    /// `sha256:…` over a pod template without what controllers inject; see [`crate::template`].
    TemplateHash
}
text_id! {
    /// `hmac-sha256:…`, keyed by the cluster's vault, over what a ConfigMap or Secret holds; see [`crate::config::content`].
    ContentHash
}
text_id! {
    /// `sha256:…` over the sealed bytes of a plan as first written.
    PlanHash
}
text_id! {
    /// What a write leaves on the object it wrote (`astern.dev/effect`), the same at every attempt.
    EffectKey
}

/// The annotation that holds an [`EffectKey`] on the object that was written last by it.
pub const EFFECT: &str = "astern.dev/effect";

/// The sequence number of a journal record; the first is 0. Each run counts for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who may act on a run now: the sequence number of the journal's newest takeover record. A holder with a lower
/// epoch can neither append nor write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether an effect carries a step out or takes it back. The two leave different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Direction {
    /// Carry the step out.
    Forward,
    /// Take the step back.
    Back,
}

impl EffectKey {
    /// The key of one step's effect in one run. It has no attempt number: a retry writes the same key, so settling
    /// can tell our write from somebody's equal one.
    pub fn of(run: &RunId, step: &StepId, direction: Direction) -> Self {
        let way = match direction {
            Direction::Forward => "forward",
            Direction::Back => "back",
        };
        let digest = Sha256::digest(format!("{run}\n{step}\n{way}").as_bytes());
        Self(format!("{run}.{}", hex(&digest[..8])))
    }
}

impl PlanHash {
    /// The hash of a plan's sealed bytes.
    pub fn of(sealed: &[u8]) -> Self {
        Self(sha256(sealed))
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |half: u8| DIGITS[usize::from(half)];
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}
