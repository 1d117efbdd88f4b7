//! What proves that a credential of then still works: a program that tries it. Owns no value: those are in the vault and
//! in the program's environment alone.

use crate::config::ConfigName;
use crate::id::ContentHash;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A program that tries a credential on the machine where astern runs. It is started without a shell, with nothing in its
/// environment but `PATH`, `HOME` and what [`Self::env`] names, and what it prints goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginProbe {
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// The Secret's key that each variable holds, by the variable's name: `PGPASSWORD: password`.
    pub env: BTreeMap<String, String>,
    /// How long it may take.
    pub timeout: SignedDuration,
}

impl LoginProbe {
    /// Nobody waits longer for a login.
    pub const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_secs(10);
    /// What takes longer is no login, and holds up a rollback.
    pub const LONGEST_TIMEOUT: SignedDuration = SignedDuration::from_mins(1);

    /// The program, for people. Arguments are not told: who wrote a credential there has made a mistake already.
    pub fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }
}

/// Why a Secret may go back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// Its owners say that nobody rotates what it holds (`rotates: false`).
    NeverRotates,
    /// A login with what it held then.
    Login(LoginProbe),
}

/// What a login probe said of what a Secret held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginSeen {
    /// The Secret.
    pub object: ConfigName,
    /// What it held.
    pub content: ContentHash,
    /// What was run.
    pub probe: LoginProbe,
    /// When it ended.
    pub at: Timestamp,
    /// Why it proves nothing, a clause; none where it let its user in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}
