//! References into the vault: how a plan, receipt or record names content without holding it.

use serde::{Deserialize, Serialize};

/// Where saved content lies. References with the same hash are of the same content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContentRef {
    /// The name under which the vault keeps it, maybe together with other content.
    pub name: String,
    /// `hmac-sha256:…`, keyed by the vault's own key, so that a short secret cannot be guessed from it.
    pub keyed_hash: String,
    /// Its length in bytes.
    pub size: u64,
}
