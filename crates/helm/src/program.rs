//! The helm program, 3 or 4: which flags it has, how it is called, what it said. Decides nothing about what happened.

use astern_model::failure::{Failure, FailureClass};
use astern_model::helm::{ReleaseName, Settings};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;

/// Variables that would lead helm to another cluster, user, namespace or store than astern reads.
const MISLEADING: [&str; 12] = [
    "HELM_DRIVER",
    "HELM_DRIVER_SQL_CONNECTION_STRING",
    "HELM_KUBEAPISERVER",
    "HELM_KUBEASGROUPS",
    "HELM_KUBEASUSER",
    "HELM_KUBECAFILE",
    "HELM_KUBECONTEXT",
    "HELM_KUBEINSECURE_SKIP_TLS_VERIFY",
    "HELM_KUBETLS_SERVER_NAME",
    "HELM_KUBETOKEN",
    "HELM_NAMESPACE",
    "HELM_DEBUG",
];
/// Lines of what it said that are passed on: the error comes last.
const LINES: usize = 3;
/// Characters of one line that are passed on.
const LINE_CHARS: usize = 300;

/// Which program, and which cluster it is told to go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name or path.
    pub path: PathBuf,
    /// `--kubeconfig`; none leaves it to `KUBECONFIG` and the default file.
    pub kubeconfig: Option<PathBuf>,
    /// `--kube-context`; none leaves it to the kubeconfig or the pod's own account.
    pub context: Option<String>,
    /// Whether it is told to be another user of the kubeconfig, which helm cannot.
    pub other_user: bool,
}

/// One rollback, as flags say it.
pub(crate) struct Rollback<'a> {
    pub(crate) release: &'a ReleaseName,
    pub(crate) to: u64,
    pub(crate) settings: Settings,
    pub(crate) description: String,
}

/// How the program ended.
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// The last lines of what it said.
    pub(crate) said: Vec<String>,
}

impl Program {
    /// Asks the program whether it is there and what a rollback may be told.
    pub(crate) async fn probe(&self, operation: &str) -> Result<Flags, Failure> {
        if self.other_user {
            return Err(Failure::new(
                FailureClass::Refused,
                operation,
                "helm has no flag for another user of the kubeconfig (`--user`)",
            )
            .hint("name a context with that user: `--context`"));
        }
        let help = self
            .command()
            .args(["rollback", "--help"])
            .output()
            .await
            .map_err(|error| self.absent(operation, &error))?;
        let text = String::from_utf8_lossy(&help.stdout);
        if !help.status.success() || !text.contains("--timeout") {
            return Err(Failure::new(
                FailureClass::Permanent,
                operation,
                format!("{} is no helm program that can roll back", self.path.display()),
            )
            .hint("name helm 3 or 4 with --helm FILE or ASTERN_HELM"));
        }
        Ok(Flags {
            description: text.contains("--description"),
            force_conflicts: text.contains("--force-conflicts"),
        })
    }

    /// Rolls back. Should the caller go away meanwhile, the program goes on to its own end: one that is ended half way
    /// leaves a release that is pending for ever.
    pub(crate) async fn roll_back(
        &self,
        flags: &Flags,
        rollback: &Rollback<'_>,
        operation: &str,
    ) -> Result<Ended, Failure> {
        let mut command = self.command();
        command
            .args(["rollback", &rollback.release.name, &rollback.to.to_string()])
            .args(["--namespace", &rollback.release.namespace])
            .args([
                "--timeout",
                &format!("{}s", rollback.settings.timeout.as_secs().max(1)),
            ]);
        if rollback.settings.wait {
            command.arg("--wait");
        }
        if rollback.settings.cleanup_on_fail {
            command.arg("--cleanup-on-fail");
        }
        if rollback.settings.force_conflicts && flags.force_conflicts {
            command.arg("--force-conflicts");
        }
        if flags.description {
            command.args(["--description", &rollback.description]);
        }
        let output = command
            .output()
            .await
            .map_err(|error| self.absent(operation, &error))?;
        Ok(Ended {
            success: output.status.success(),
            said: last_lines(&String::from_utf8_lossy(&output.stderr)),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        for name in MISLEADING {
            command.env_remove(name);
        }
        if let Some(file) = &self.kubeconfig {
            let mut flag = OsString::from("--kubeconfig=");
            flag.push(file);
            command.arg(flag);
        }
        if let Some(context) = &self.context {
            command.arg(format!("--kube-context={context}"));
        }
        command.stdin(Stdio::null()).kill_on_drop(false);
        command
    }

    fn absent(&self, operation: &str, error: &std::io::Error) -> Failure {
        Failure::new(
            FailureClass::Refused,
            operation,
            format!("{} cannot be started: {error}", self.path.display()),
        )
        .hint(
            "install helm 3 or 4, or name it with --helm FILE or ASTERN_HELM; with --outside-helm the workloads are \
             written themselves",
        )
    }
}

/// What this version may be told.
pub(crate) struct Flags {
    /// Helm 4 takes a description for the revision that it makes.
    description: bool,
    /// Helm 4 applies on the server, and may write over other field managers there.
    force_conflicts: bool,
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| format!("helm: {}", line.chars().take(LINE_CHARS).collect::<String>()))
        .collect()
}
