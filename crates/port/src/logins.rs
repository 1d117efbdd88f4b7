//! Login probes: whether a credential of then still works.

use astern_model::login::LoginProbe;
use async_trait::async_trait;
use serde_json::Value;
use std::fmt;

/// Why a probe proves nothing. Its text is a clause, and holds no value and nothing of what the program printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoLogin {
    /// The astern.yaml of this machine names no such probe: what a plan or a journal names is not run for that alone.
    NotNamed,
    /// The Secret held no such key.
    NoKey(String),
    /// What the Secret held under this key can be in no variable, since it has a zero byte.
    NoText(String),
    /// The program could not be started, and why.
    NotStarted(String),
    /// It ended with this exit code.
    Exited(i32),
    /// It was ended by this signal.
    Ended(i32),
    /// It took too long and was ended.
    TooLong,
}

impl fmt::Display for NoLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNamed => write!(f, "was not run, since the astern.yaml here does not name it"),
            Self::NoKey(key) => write!(f, "was not run, since the Secret held no key {key:?} then"),
            Self::NoText(key) => write!(
                f,
                "was not run, since key {key:?} held a zero byte, which no variable can"
            ),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Ended(signal) => write!(f, "was ended by signal {signal}"),
            Self::TooLong => write!(f, "did not end within its timeout, and was ended"),
        }
    }
}

/// Whoever tries credentials.
///
/// # Guarantees
/// - A value is in the environment of the program that tries it and nowhere else: in no argument, file, log or answer.
/// - What the program prints is read by nobody.
/// - It ends within its timeout, with whatever it has started.
#[async_trait]
pub trait Logins: Send + Sync {
    /// Runs a probe with what `secret` held: the whole object as the vault keeps it.
    async fn ask(&self, probe: &LoginProbe, secret: &Value) -> Result<(), NoLogin>;
}
