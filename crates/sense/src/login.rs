//! Login probes: a program that tries a credential, started so that the credential reaches it and nothing else.

use astern_model::login::{LoginProbe, Proof};
use astern_model::platform::Platform;
use astern_port::logins::{Logins, NoLogin};
use async_trait::async_trait;
use k8s_openapi::ByteString;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// What a program needs to be found and to find its own settings; nothing else of astern's environment reaches it.
const PASSED_ON: [&str; 2] = ["PATH", "HOME"];

/// The login probes that the astern.yaml of this machine names. A plan or a journal may come from elsewhere, so whatever
/// else it names is not run.
pub struct Programs {
    named: Vec<LoginProbe>,
}

impl Programs {
    /// Those of a platform.
    pub fn of(platform: &Platform) -> Self {
        let named = platform.restore_secrets.values().filter_map(|proof| match proof {
            Some(Proof::Login(probe)) => Some(probe.clone()),
            Some(Proof::NeverRotates) | None => None,
        });
        Self {
            named: named.collect(),
        }
    }
}

#[async_trait]
impl Logins for Programs {
    async fn ask(&self, probe: &LoginProbe, secret: &Value) -> Result<(), NoLogin> {
        if !self.named.contains(probe) {
            return Err(NoLogin::NotNamed);
        }
        let values = values(probe, secret)?;
        let timeout = Duration::try_from(probe.timeout).unwrap_or_default();
        run(probe, values, timeout).await
    }
}

/// What each variable holds.
fn values(probe: &LoginProbe, secret: &Value) -> Result<Vec<(String, OsString)>, NoLogin> {
    let value = |(variable, key): (&String, &String)| {
        let held = secret.get("data").and_then(|data| data.get(key));
        let held = held.and_then(|held| serde_json::from_value::<ByteString>(held.clone()).ok());
        let ByteString(bytes) = held.ok_or_else(|| NoLogin::NoKey(key.clone()))?;
        if bytes.contains(&0) {
            return Err(NoLogin::NoText(key.clone()));
        }
        Ok((variable.clone(), OsString::from_vec(bytes)))
    };
    probe.env.iter().map(value).collect()
}

async fn run(probe: &LoginProbe, values: Vec<(String, OsString)>, timeout: Duration) -> Result<(), NoLogin> {
    let not_started = |why: &str| NoLogin::NotStarted(why.to_owned());
    let (program, arguments) = probe
        .command
        .split_first()
        .ok_or_else(|| not_started("it names no program"))?;
    let passed_on = PASSED_ON
        .iter()
        .filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(passed_on)
        .envs(values)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => not_started("there is no such program"),
            kind => not_started(&kind.to_string()),
        })?;
    let _group = child.id().and_then(Group::of);
    match tokio::time::timeout(timeout, child.wait()).await {
        Ok(Ok(status)) => said(status),
        Ok(Err(error)) => Err(not_started(&error.kind().to_string())),
        Err(_) => Err(NoLogin::TooLong),
    }
}

fn said(status: ExitStatus) -> Result<(), NoLogin> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(NoLogin::Exited(code)),
        (None, signal) => Err(NoLogin::Ended(signal.unwrap_or_default())),
    }
}

/// A program with all that it has started. They end with this value: whoever waits may be told to stop.
struct Group(Pid);

impl Group {
    fn of(leader: u32) -> Option<Self> {
        Pid::from_raw(i32::try_from(leader).ok()?).map(Self)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // None of the group may be left: that is what was wanted.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}
