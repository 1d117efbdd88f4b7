//! A cluster's folder and the record of what was started and made for it; all that `down` needs. Starts and ends nothing.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{NodeKind, Wanted};
use crate::failure::{Failure, Outcome, doing};
use crate::process::Running;
use crate::workspace;

const FILE: &str = "cluster.json";

/// What was started, written after each change, so that an interrupted `up` can be taken down.
pub(crate) struct Record {
    folder: PathBuf,
    pub(crate) kind: NodeKind,
    pub(crate) fast: bool,
    pub(crate) server: String,
    /// Where the Git server is, in a cluster with owners.
    pub(crate) git: Option<String>,
    /// Where Argo CD's API server is, in such a cluster.
    pub(crate) argo_cd: Option<String>,
    pub(crate) processes: Vec<Running>,
    /// Commands that take back what was changed on the machine itself, in the order of the changes.
    pub(crate) undo: Vec<Vec<String>>,
}

/// Where a cluster of this name keeps its state.
pub(crate) fn folder(name: &str) -> PathBuf {
    match std::env::var_os("ASTERN_CLUSTER_DIR") {
        Some(folder) => {
            let folder = std::path::absolute(&folder).unwrap_or_else(|_| PathBuf::from(folder));
            // The one that is beside another keeps its state beside that one's.
            if name == super::HUB {
                folder.with_extension(name)
            } else {
                folder
            }
        }
        None => workspace::target().join("cluster").join(name),
    }
}

/// Held while a cluster is brought up or down; a second one waits.
pub(crate) fn lock(folder: &Path) -> Outcome<File> {
    let path = folder.with_extension("lock");
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(doing(format!("create {}", parent.display())))?;
    }
    let file = File::create(&path).map_err(doing(format!("write {}", path.display())))?;
    if file.try_lock().is_err() {
        eprintln!("somebody else is bringing this cluster up or down; waiting");
        file.lock().map_err(doing(format!("lock {}", path.display())))?;
    }
    Ok(file)
}

impl Record {
    /// An empty folder and record; nothing is left of an earlier cluster.
    pub(crate) fn create(folder: &Path, wanted: &Wanted) -> Outcome<Self> {
        drop(std::fs::remove_dir_all(folder));
        let record = Self {
            folder: folder.to_owned(),
            kind: wanted.kind,
            fast: wanted.fast,
            server: String::new(),
            git: None,
            argo_cd: None,
            processes: Vec::new(),
            undo: Vec::new(),
        };
        let logs = record.logs();
        std::fs::create_dir_all(&logs).map_err(doing(format!("create {}", logs.display())))?;
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(folder, private).map_err(doing(format!("close {}", folder.display())))?;
        record.write()?;
        Ok(record)
    }

    /// The record of a cluster that was started and not taken down.
    pub(crate) fn read(folder: &Path) -> Outcome<Option<Self>> {
        let path = folder.join(FILE);
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(None);
        };
        let parsed = serde_json::from_str(&text)
            .ok()
            .and_then(|value: Value| Self::from_json(folder, &value));
        parsed.map(Some).ok_or_else(|| {
            Failure::new(format!("{} cannot be understood", path.display())).next(format!(
                "end what it lists by hand, then delete {}",
                folder.display()
            ))
        })
    }

    pub(crate) fn write(&self) -> Outcome {
        let content = json!({
            "kind": self.kind.to_string(),
            "fast": self.fast,
            "server": self.server,
            "git": self.git,
            "argoCd": self.argo_cd,
            "processes": self.processes.iter().map(Running::to_json).collect::<Vec<_>>(),
            "undo": self.undo,
        });
        self.write_file(FILE, &format!("{content:#}\n")).map(drop)
    }

    /// Starts a program and records it.
    pub(crate) fn start(&mut self, name: &str, program: &Path, arguments: &[String]) -> Outcome {
        self.start_with(&[], name, program, arguments)
    }

    /// The same with variables of its own.
    pub(crate) fn start_with(
        &mut self,
        environment: &[(&str, String)],
        name: &str,
        program: &Path,
        arguments: &[String],
    ) -> Outcome {
        self.processes.push(Running::start(
            name,
            program,
            arguments,
            environment,
            &self.folder,
            &self.log(name),
        )?);
        self.write()
    }

    /// Fails with the log of the first program that ended by itself.
    pub(crate) fn all_alive(&self) -> Outcome {
        match self.processes.iter().find(|process| !process.alive()) {
            None => Ok(()),
            Some(ended) => {
                Err(Failure::new(format!("{} ended by itself", ended.name)).log(&self.log(&ended.name)))
            }
        }
    }

    /// Remembers how a change to the machine is taken back; called before the change is made.
    pub(crate) fn will_undo(&mut self, command: &[&str]) -> Outcome {
        self.undo
            .push(command.iter().map(|word| (*word).to_owned()).collect());
        self.write()
    }

    /// Writes a file that only its owner may read: tokens and keys are among them.
    pub(crate) fn write_file(&self, name: &str, content: &str) -> Outcome<PathBuf> {
        let path = self.folder.join(name);
        let failed = || doing(format!("write {}", path.display()));
        // Written aside and moved: whoever reads while we write sees the old or the new, never half.
        let aside = self.folder.join(format!(".{name}"));
        std::fs::write(&aside, content).map_err(failed())?;
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600)).map_err(failed())?;
        std::fs::rename(&aside, &path).map_err(failed())?;
        Ok(path)
    }

    /// Removes all but the logs.
    pub(crate) fn remove(&self) -> std::io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path == self.logs() || path == self.audit_log() {
                continue;
            }
            if path.is_dir() {
                std::fs::remove_dir_all(path)?
            } else {
                std::fs::remove_file(path)?
            }
        }
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The context's and the cluster's name in every kubeconfig.
    pub(crate) fn context(&self) -> String {
        let name = self
            .folder
            .file_name()
            .map_or("test".into(), |name| name.to_string_lossy());
        format!("astern-{name}")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The bare repositories that the Git server serves.
    pub(crate) fn repositories(&self) -> PathBuf {
        self.folder.join("git")
    }

    /// The tokens for Argo CD's API server, each in a file named after its account.
    pub(crate) fn argo_cd_tokens(&self) -> PathBuf {
        self.folder.join("argocd-tokens")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    fn from_json(folder: &Path, value: &Value) -> Option<Self> {
        let words = |list: &Value| {
            list.as_array()?
                .iter()
                .map(|word| word.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        };
        Some(Self {
            folder: folder.to_owned(),
            kind: NodeKind::parse(value.get("kind")?.as_str()?)?,
            fast: value.get("fast")?.as_bool()?,
            server: value.get("server")?.as_str()?.to_owned(),
            git: value.get("git").and_then(Value::as_str).map(str::to_owned),
            argo_cd: value.get("argoCd").and_then(Value::as_str).map(str::to_owned),
            processes: value
                .get("processes")?
                .as_array()?
                .iter()
                .map(Running::from_json)
                .collect::<Option<_>>()?,
            undo: value
                .get("undo")?
                .as_array()?
                .iter()
                .map(words)
                .collect::<Option<_>>()?,
        })
    }
}
