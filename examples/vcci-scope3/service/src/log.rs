//! The log: one line per event with time (RFC 3339), level and message. It knows nothing of what is logged.

use std::fmt;
use std::io::{self, Write};

use jiff::Timestamp;

/// How bad an event is.
#[derive(Clone, Copy)]
pub(crate) enum Level {
    /// Something happened, as expected.
    Info,
    /// Something is unusual; requests are still answered.
    Warn,
    /// One piece of work failed.
    Error,
    /// The process ends.
    Fatal,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        })
    }
}

/// Writes one line: a fatal one to stderr, any other to stdout. A log that nobody reads any more is no reason
/// to fail, so errors of the pipe are dropped.
pub(crate) fn line(level: Level, message: &str) {
    let now = Timestamp::now();
    let text = format!("{now:.3} {level} {message}\n");
    let _ = match level {
        Level::Fatal => io::stderr().lock().write_all(text.as_bytes()),
        Level::Info | Level::Warn | Level::Error => io::stdout().lock().write_all(text.as_bytes()),
    };
}
