//! What went wrong, told to a tired person: what, which command, where its log is, what to type next. Decides nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The last lines of a log that are shown with the failure; the cause of a failed start is nearly always among them.
const LOG_LINES_SHOWN: usize = 12;

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    usage: bool,
    told: bool,
    command: Option<String>,
    log: Option<PathBuf>,
    next: Option<String>,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            usage: false,
            told: false,
            command: None,
            log: None,
            next: None,
        }
    }

    /// The command line was wrong; exits with 2.
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            usage: true,
            ..Self::new(what)
        }
        .next(next)
    }

    /// All was said already; only the exit code is left.
    pub(crate) fn told() -> Self {
        Self {
            told: true,
            ..Self::new("")
        }
    }

    pub(crate) fn was_told(&self) -> bool {
        self.told
    }

    pub(crate) fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Where more is said; whoever was nearer to the failure knows the better log.
    pub(crate) fn log(mut self, log: &Path) -> Self {
        self.log.get_or_insert_with(|| log.to_owned());
        self
    }

    /// What to type next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.usage { 2 } else { 1 })
    }
}

/// For `map_err`: an I/O error together with what was being done.
pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Failure {
    let what = what.into();
    move |error| Failure::new(format!("cannot {what}: {error}"))
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error: {}", self.what)?;
        if let Some(command) = &self.command {
            write!(out, "\n  command: {command}")?;
        }
        if let Some(log) = &self.log {
            write!(out, "\n  log: {}", log.display())?;
            for line in last_lines(log) {
                write!(out, "\n    | {line}")?;
            }
        }
        if let Some(next) = &self.next {
            write!(out, "\n  next: {next}")?;
        }
        Ok(())
    }
}

fn last_lines(log: &Path) -> Vec<String> {
    let Ok(bytes) = std::fs::read(log) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(LOG_LINES_SHOWN);
    lines[first..]
        .iter()
        .map(|line| line.chars().take(300).collect())
        .collect()
}
