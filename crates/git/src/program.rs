//! The git program: how it is called so that it asks nobody, runs nothing of a repository, and tells no secret.

use astern_model::failure::{Failure, FailureClass};
use astern_port::source::{SourceCode, SourceError};
use secrecy::{ExposeSecret, SecretString};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A shallow fetch of a large repository takes this long over a slow line; a remote that says nothing for longer is away.
const REMOTE_WITHIN: Duration = Duration::from_secs(120);
/// Nothing on the own disk takes longer.
const LOCAL_WITHIN: Duration = Duration::from_secs(30);
/// Lines of what it said that are passed on: the error comes last.
const LINES: usize = 6;
/// Characters of one line that are passed on.
const LINE_CHARS: usize = 300;

/// Settings that no repository and no configuration overrules: no hooks, no filters, no helpers that a file could name.
const SETTINGS: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=false",
    "core.alternateRefsCommand=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=no",
    "push.recurseSubmodules=no",
    "transfer.bundleURI=false",
    "http.followRedirects=false",
    "gc.auto=0",
    "advice.detachedHead=false",
];

/// Variables that would lead git to another repository, or have it say more than it should.
const MISLEADING: [&str; 14] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_TRACE_PACKET",
    "GIT_CURL_VERBOSE",
    "GIT_EXTERNAL_DIFF",
];

/// What git runs when it wants a name or a password: it prints what the environment has, and only for the host that is meant.
const ASKPASS: &str = r#"#!/bin/sh
case "$1" in
*"$ASTERN_GIT_HOST'"*) ;;
*) exit 1 ;;
esac
case "$1" in
Username*) printf '%s\n' x-access-token ;;
*) printf '%s\n' "$ASTERN_GIT_TOKEN" ;;
esac
"#;

/// A private bare repository, and the way to one remote.
pub(crate) struct Repository {
    program: PathBuf,
    /// It goes with this value.
    folder: tempfile::TempDir,
    remote: Remote,
    token: Option<SecretString>,
}

/// A remote's address, taken apart as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) address: String,
    protocol: &'static str,
    /// `HOST[:PORT]` of an HTTP address.
    host: Option<String>,
}

impl Remote {
    /// Reads an address. One that names a program, an option or a password is none.
    pub(crate) fn parse(address: &str) -> Result<Self, String> {
        if address.starts_with('-') || address.chars().any(|c| c.is_control() || c == ' ') {
            return Err("this is no address of a repository".to_owned());
        }
        let remote = |protocol, host| Self {
            address: address.to_owned(),
            protocol,
            host,
        };
        let Some((scheme, rest)) = address.split_once("://") else {
            // scp's form, `git@host:path`: a `::` would name a program of its own.
            let scp = address.split_once(':').is_some_and(|(host, path)| {
                !host.is_empty() && !host.contains('/') && !host.starts_with('-') && !path.starts_with(':')
            });
            return if scp {
                Ok(remote("ssh", None))
            } else {
                Err("an address begins with https://, ssh://, git@HOST:, git:// or file://".to_owned())
            };
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, host) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, host)| (Some(user), host));
        if user.is_some_and(|user| user.contains(':') || scheme.starts_with("http")) {
            return Err(
                "a password or token does not belong into an address: name it with `token`".to_owned(),
            );
        }
        if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
            return Err("this is no address of a repository".to_owned());
        }
        match scheme {
            "https" => Ok(remote("https", Some(host.to_owned()))),
            "http" => Ok(remote("http", Some(host.to_owned()))),
            "ssh" => Ok(remote("ssh", None)),
            "git" => Ok(remote("git", None)),
            "file" => Ok(remote("file", None)),
            _ => Err(format!(
                "{scheme}:// is not used: https, ssh, git, http and file are"
            )),
        }
    }

    /// What git may speak: a person's own configuration may lead one address of the network to another (`insteadOf`), never to
    /// a program or to this disk.
    fn allowed(&self) -> &'static str {
        if self.protocol == "file" {
            "file"
        } else {
            "https:ssh:http:git"
        }
    }

    /// Whether a token may be sent there: encrypted, or not off this machine.
    fn takes_token(&self) -> bool {
        let local = |host: &str| {
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
            matches!(host, "127.0.0.1" | "[::1]" | "localhost")
        };
        match &self.host {
            Some(host) => self.protocol == "https" || local(host),
            None => false,
        }
    }
}

impl Repository {
    /// An empty one in a folder that only its owner may enter.
    pub(crate) async fn new(
        program: &Path,
        remote: Remote,
        token: Option<SecretString>,
    ) -> Result<Self, SourceError> {
        let made = |error: std::io::Error| local("make a private folder", error.to_string());
        let folder = tempfile::Builder::new()
            .prefix("astern-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(made)?;
        let askpass = folder.path().join("askpass");
        tokio::fs::write(&askpass, ASKPASS).await.map_err(made)?;
        tokio::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o700))
            .await
            .map_err(made)?;
        let repository = Self {
            program: program.to_owned(),
            folder,
            remote,
            token,
        };
        repository.run(&["init", "--quiet", "--bare", "."]).await?;
        repository
            .run(&["remote", "add", "origin", "--", &repository.remote.address])
            .await?;
        Ok(repository)
    }

    /// Runs a command on the own disk; what it printed.
    pub(crate) async fn run(&self, words: &[&str]) -> Result<Vec<u8>, SourceError> {
        self.feed(words, &[], b"").await
    }

    /// The same with variables, and with something on its standard input.
    pub(crate) async fn feed(
        &self,
        words: &[&str],
        variables: &[(&str, &str)],
        input: &[u8],
    ) -> Result<Vec<u8>, SourceError> {
        let mut command = self.command(words);
        command.envs(variables.iter().copied());
        let output = within(LOCAL_WITHIN, command, input)
            .await
            .map_err(|why| local("run git", self.masked(&why)))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = self.lines(&output);
        Err(local(
            &format!("run git {}", words.first().unwrap_or(&"")),
            said.last().cloned().unwrap_or_else(|| "it failed".to_owned()),
        ))
    }

    /// Runs a command that speaks to the remote; what it printed, or the last lines of what it said.
    pub(crate) async fn reach(&self, words: &[&str]) -> Result<String, Vec<String>> {
        let output = within(REMOTE_WITHIN, self.command(words), b"")
            .await
            .map_err(|why| vec![self.masked(&why)])?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(self.lines(&output))
        }
    }

    fn command(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(&self.program);
        for name in MISLEADING {
            command.env_remove(name);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
            .args(words)
            .current_dir(self.folder.path())
            .env("GIT_DIR", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", self.remote.allowed())
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("SSH_ASKPASS_REQUIRE", "never")
            // What it says is read for words.
            .env("LC_ALL", "C");
        if let (Some(token), Some(host), true) = (&self.token, &self.remote.host, self.remote.takes_token()) {
            command
                .env("GIT_ASKPASS", self.folder.path().join("askpass"))
                .env("ASTERN_GIT_HOST", host)
                .env("ASTERN_GIT_TOKEN", token.expose_secret())
                // The token is meant, whatever a helper remembers.
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "credential.helper")
                .env("GIT_CONFIG_VALUE_0", "");
        }
        command.kill_on_drop(true);
        command
    }

    fn lines(&self, output: &Output) -> Vec<String> {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LINES)..]
            .iter()
            .map(|line| self.masked(line))
            .collect()
    }

    /// A line without the token, and without what a terminal would obey.
    fn masked(&self, line: &str) -> String {
        let line = match &self.token {
            Some(token) => line.replace(token.expose_secret(), "[masked]"),
            None => line.to_owned(),
        };
        line.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(LINE_CHARS)
            .collect()
    }
}

async fn within(limit: Duration, mut command: Command, input: &[u8]) -> Result<Output, String> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("git cannot be started: {error}"))?;
    let mut stdin = child.stdin.take();
    let work = async {
        let feed = async {
            if let Some(stdin) = stdin.as_mut() {
                // It may end before it has read everything; how it ended says why.
                let _ = stdin.write_all(input).await;
            }
            drop(stdin.take());
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        output.map_err(|error| error.to_string())
    };
    match tokio::time::timeout(limit, work).await {
        Ok(ended) => ended,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

fn local(operation: &str, why: String) -> SourceError {
    SourceError {
        code: SourceCode::Unreadable,
        failure: Failure::new(FailureClass::Permanent, operation, why)
            .hint("install git 2.25 or newer, or name it with ASTERN_GIT; nothing was pushed"),
    }
}

#[cfg(test)]
mod tests {
    use super::Remote;

    #[test]
    fn an_address_that_names_a_program_an_option_or_a_password_is_refused() {
        for address in [
            "ext::sh -c touch% x",
            "ext::sh",
            "--upload-pack=touch",
            "-oProxyCommand=x:y",
            "ssh://-oProxyCommand=x/y",
            "https://user:secret@host.test/x.git",
            "https://token@host.test/x.git",
            "ftp://host.test/x",
            "/etc",
            "relative/path",
        ] {
            assert!(Remote::parse(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_token_goes_over_https_or_not_off_the_machine() {
        let takes = |address: &str| Remote::parse(address).expect(address).takes_token();
        assert!(takes("https://git.example.test/x.git"));
        assert!(takes("http://127.0.0.1:8080/x.git"));
        assert!(!takes("http://git.example.test/x.git"));
        assert!(!takes("git@git.example.test:shop/x.git"));
        assert!(!takes("ssh://git@git.example.test/x.git"));
    }
}
