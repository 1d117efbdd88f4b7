//! Whether, and how, a step can be taken back.

use serde::{Deserialize, Serialize};

/// What taking a step back means. A silent "nothing to undo" is not among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Reversal {
    /// The recorded state from before restores the world.
    Exact,
    /// An inverse exists and leaves a trace.
    Compensate {
        /// What stays behind, as a sentence.
        trace: String,
    },
    /// From here on: forward, or stop for a person.
    PointOfNoReturn {
        /// What is lost, as a sentence.
        lost: String,
    },
    /// The step only reads.
    Nothing,
}
