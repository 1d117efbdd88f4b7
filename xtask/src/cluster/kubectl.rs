//! kubectl with one cluster's kubeconfig: xtask has no TLS of its own. Only what the cluster's own start needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::{process, programs};

/// Long against a healthy answer (milliseconds), short against a person's patience.
const REQUEST_TIMEOUT: &str = "--request-timeout=10s";

const APPLY: [&str; 5] = [
    "apply",
    "--server-side",
    "--force-conflicts",
    "--validate=false",
    "-f",
];

pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(kubeconfig: &Path) -> Outcome<Self> {
        Ok(Self {
            program: programs::kubectl()?,
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// The API server says of itself that it can serve.
    pub(crate) fn ready(&self) -> bool {
        self.read(&["get", "--raw", "/readyz"])
            .is_ok_and(|answer| answer.trim() == "ok")
    }

    pub(crate) fn read(&self, words: &[&str]) -> Outcome<String> {
        process::read(self.command().args(words))
    }

    pub(crate) fn json(&self, words: &[&str]) -> Outcome<Value> {
        let text = self.read(&[words, &["-o", "json"]].concat())?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("kubectl {} gave no JSON: {error}", words.join(" "))))
    }

    /// Creates or updates what the manifest says.
    pub(crate) fn apply(&self, manifest: &str) -> Outcome {
        process::feed(self.command().args(APPLY).arg("-"), manifest).map(drop)
    }

    pub(crate) fn apply_file(&self, manifest: &Path) -> Outcome {
        process::read(self.command().args(APPLY).arg(manifest)).map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", &self.kubeconfig).arg(REQUEST_TIMEOUT);
        command
    }
}
