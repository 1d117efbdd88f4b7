//! What the environment may say. This table is the one place where it is documented; all of it is optional,
//! an empty value counts as unset, and a value that makes no sense ends the process at once with a clear line.
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `PORT` | `8080` | the port to listen on; `0` takes a free one, which the first log line names |
//! | `BIND_ADDRESS` | `0.0.0.0` | the address to listen on |
//! | `SERVICE_NAME` | `vcci-scope3-service` | the name in `/health`, metrics and log |
//! | `APP_VERSION` | the package's | the version in `/health`, metrics and log |
//! | `API_TOKEN_FILE` | | the file that holds the accepted bearer token; read once, at start |
//! | `API_TOKEN` | | the token itself, where there is no file; with neither, every `/api` request is refused |
//! | `REQUIRE_ENV` | | `NAME[,NAME]`: without one of these the process crashes at start and names it |
//! | `ERROR_SHARE` | `0` | the share (0 to 1) of calculations that fail with 500 and an ERROR line; in a fixed, even sequence |
//! | `ERROR_LOG_PER_MINUTE` | `0` | ERROR lines written without any traffic, evenly spaced |
//! | `LATENCY_MS` | `0` | added to every answer except `/metrics` |
//! | `CRASH_AFTER_MS` | never | the process writes a FATAL line to stderr and exits with 1 so long after its start |
//! | `READY_AFTER_MS` | `0` | `/ready` answers 503 until so long after the start |
//! | `NEVER_READY` | `false` | `true`: `/ready` answers 503 for ever, with a reason |

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

/// The parts that a share is counted in. Whole numbers keep the sequence of failures exact for ever.
pub(crate) const SHARE_PARTS: u64 = 1_000_000;

/// The environment, read once and found to make sense.
pub(crate) struct Settings {
    /// `BIND_ADDRESS`.
    pub(crate) bind: IpAddr,
    /// `PORT`.
    pub(crate) port: u16,
    /// `SERVICE_NAME`.
    pub(crate) service: String,
    /// `APP_VERSION`.
    pub(crate) version: String,
    /// `API_TOKEN_FILE`, or else `API_TOKEN`.
    pub(crate) token: Option<Token>,
    /// `ERROR_SHARE`, in parts of [`SHARE_PARTS`].
    pub(crate) error_parts: u64,
    /// `ERROR_LOG_PER_MINUTE`, as the time between two lines.
    pub(crate) error_interval: Option<Duration>,
    /// `LATENCY_MS`.
    pub(crate) latency: Duration,
    /// `CRASH_AFTER_MS`.
    pub(crate) crash_after: Option<Duration>,
    /// `READY_AFTER_MS`.
    pub(crate) ready_after: Duration,
    /// `NEVER_READY`.
    pub(crate) never_ready: bool,
}

impl Settings {
    /// Reads and checks everything. `lookup` gives the value of a variable, if it is set.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let env = Env { lookup };
        env.require_all()?;
        Ok(Self {
            bind: env
                .parsed("BIND_ADDRESS", "an IP address")?
                .unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            port: env.parsed("PORT", "a port number")?.unwrap_or(8080),
            service: env
                .text("SERVICE_NAME")
                .unwrap_or_else(|| env!("CARGO_PKG_NAME").into()),
            version: env
                .text("APP_VERSION")
                .unwrap_or_else(|| env!("CARGO_PKG_VERSION").into()),
            token: env.token()?,
            error_parts: env.share("ERROR_SHARE")?,
            error_interval: env.pace("ERROR_LOG_PER_MINUTE")?,
            latency: env.milliseconds("LATENCY_MS")?.unwrap_or_default(),
            crash_after: env.milliseconds("CRASH_AFTER_MS")?,
            ready_after: env.milliseconds("READY_AFTER_MS")?.unwrap_or_default(),
            never_ready: env.parsed("NEVER_READY", "true or false")?.unwrap_or(false),
        })
    }
}

/// The accepted bearer token. It has neither `Debug` nor `Display`: it cannot reach a log by accident.
pub(crate) struct Token(String);

impl Token {
    /// Whether `offered` is the token; the time it takes tells nothing about where the two differ.
    pub(crate) fn accepts(&self, offered: &str) -> bool {
        let (own, offered) = (self.0.as_bytes(), offered.as_bytes());
        own.len() == offered.len() && own.iter().zip(offered).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

/// Why the environment does not make sense.
pub(crate) enum SettingsError {
    /// A variable that `REQUIRE_ENV` names is not set.
    Missing(String),
    /// A value that cannot be read as what it stands for.
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        want: &'static str,
    },
    /// The token's file cannot be read, or holds nothing.
    TokenFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "config key {name} is missing"),
            Self::Invalid { name, value, want } => write!(f, "{name} is {value:?}, which is not {want}"),
            Self::TokenFile { path, cause } => write!(f, "API_TOKEN_FILE {path:?} gives no token: {cause}"),
        }
    }
}

/// The environment as this program reads it: an empty value is an unset one.
struct Env<L> {
    lookup: L,
}

impl<L: Fn(&str) -> Option<String>> Env<L> {
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn require_all(&self) -> Result<(), SettingsError> {
        let names = self.text("REQUIRE_ENV").unwrap_or_default();
        let missing = names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .find(|name| self.text(name).is_none());
        missing.map_or(Ok(()), |name| Err(SettingsError::Missing(name.to_owned())))
    }

    fn parsed<T: FromStr>(&self, name: &'static str, want: &'static str) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.text(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => Err(SettingsError::Invalid { name, value, want }),
        }
    }

    fn milliseconds(&self, name: &'static str) -> Result<Option<Duration>, SettingsError> {
        Ok(self
            .parsed(name, "a whole number of milliseconds")?
            .map(Duration::from_millis))
    }

    fn share(&self, name: &'static str) -> Result<u64, SettingsError> {
        let want = "a number from 0 to 1";
        let share: f64 = self.parsed(name, want)?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&share) {
            return Err(SettingsError::Invalid {
                name,
                value: share.to_string(),
                want,
            });
        }
        Ok((share * SHARE_PARTS as f64).round() as u64)
    }

    fn pace(&self, name: &'static str) -> Result<Option<Duration>, SettingsError> {
        let per_minute: u32 = self.parsed(name, "a whole number")?.unwrap_or(0);
        Ok((per_minute > 0).then(|| Duration::from_secs(60) / per_minute))
    }

    fn token(&self) -> Result<Option<Token>, SettingsError> {
        let Some(path) = self.text("API_TOKEN_FILE") else {
            return Ok(self.text("API_TOKEN").map(Token));
        };
        let refuse = |cause: String| SettingsError::TokenFile {
            path: path.clone(),
            cause,
        };
        let content = fs::read_to_string(&path).map_err(|error| refuse(error.to_string()))?;
        match content.trim() {
            "" => Err(refuse("it is empty".into())),
            token => Ok(Some(Token(token.to_owned()))),
        }
    }
}
