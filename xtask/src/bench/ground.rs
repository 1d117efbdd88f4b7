//! A cluster to measure on, and releases that go wrong on it: good, then bad, as often as a measure needs it. Times
//! nothing.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{self, NodeKind, Wanted};
use crate::failure::{Failure, Outcome, doing};
use crate::{process, programs, workspace};

/// Who astern runs as: an admin of its own, so that the audit log tells its requests from all others.
pub(super) const USER: &str = "second@example.test";
/// Fifty Deployments on a machine with two cores, set up anew.
const SET_UP: Duration = Duration::from_secs(180);
/// A version is presumed good once it was the newest for a second: this is a little longer.
const GOOD_FOR: Duration = Duration::from_millis(1500);

/// A cluster of the bench's own.
pub(super) struct Ground {
    name: String,
    pub(super) kubeconfig: PathBuf,
    /// The same cluster as [`USER`].
    pub(super) astern_kubeconfig: PathBuf,
    pub(super) audit_log: PathBuf,
    pub(super) kubectl: PathBuf,
    pub(super) astern: PathBuf,
    folder: PathBuf,
    end: bool,
}

impl Ground {
    /// Brings up a kwok cluster of this name, with raised client limits when `fast`.
    pub(super) fn up(name: &str, fast: bool) -> Outcome<Self> {
        let mut wanted = Wanted::new(NodeKind::Kwok);
        name.clone_into(&mut wanted.name);
        wanted.fast = fast;
        let ready = cluster::up(&wanted)?;
        let cluster = ready.kubeconfig.parent().map(Path::to_owned).unwrap_or_default();
        let folder = workspace::target().join("bench").join(name);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).map_err(doing(format!("make {}", folder.display())))?;
        Ok(Self {
            name: name.to_owned(),
            astern_kubeconfig: cluster.join("other.kubeconfig"),
            audit_log: cluster.join("audit.log"),
            kubeconfig: ready.kubeconfig,
            kubectl: programs::kubectl()?,
            astern: workspace::target().join("release/astern"),
            folder,
            end: !ready.was_up,
        })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn kubectl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.args(words).env("KUBECONFIG", &self.kubeconfig);
        command
    }

    pub(super) fn json(&self, words: &[&str]) -> Outcome<Value> {
        let text = process::read(self.kubectl(words).args(["-o", "json"]))?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("kubectl {} gave no JSON: {error}", words.join(" "))))
    }

    /// astern as [`USER`], with the platform file of a namespace.
    pub(super) fn astern(&self, namespace: &str, words: &[&str]) -> Command {
        self.astern_with(&self.astern_kubeconfig, namespace, words)
    }

    pub(super) fn astern_with(&self, kubeconfig: &Path, namespace: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.astern);
        command
            .arg("--file")
            .arg(self.file(&format!("{namespace}.yaml")))
            .args(words)
            .env("KUBECONFIG", kubeconfig)
            .env("XDG_STATE_HOME", &self.folder)
            .stdin(Stdio::null());
        command
    }

    /// A namespace, and a platform file that names nothing else.
    pub(super) fn platform(&self, namespace: &str) -> Outcome {
        let file = self.file(&format!("{namespace}.yaml"));
        let platform = format!(
            "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {{name: bench}}\nspec: {{namespace: {namespace}}}\n"
        );
        fs::write(&file, platform).map_err(doing(format!("write {}", file.display())))?;
        self.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"
        ))
    }

    pub(super) fn apply(&self, manifest: &str) -> Outcome {
        process::feed(
            self.kubectl(&["apply", "--validate=false", "-f", "-"])
                .stdout(Stdio::null()),
            manifest,
        )
        .map(drop)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.end
            && let Err(failure) = cluster::down(&self.name)
        {
            drop(failure);
        }
    }
}

/// Services in a namespace of their own, and the release that breaks them.
pub(super) struct Release<'a> {
    pub(super) ground: &'a Ground,
    pub(super) namespace: String,
    pub(super) services: usize,
    /// Each service depends on all of the wave before; 1 makes them independent.
    pub(super) waves: usize,
    /// How long a good pod takes to be ready.
    pub(super) ready_after: Option<&'static str>,
    /// The only node that pods may go to.
    pub(super) node: Option<&'static str>,
    /// Good versions so far.
    pub(super) shipped: Cell<u32>,
}

impl<'a> Release<'a> {
    pub(super) fn independent(ground: &'a Ground, namespace: &str, services: usize) -> Self {
        Self {
            ground,
            namespace: namespace.to_owned(),
            services,
            waves: 1,
            ready_after: None,
            node: None,
            shipped: Cell::new(0),
        }
    }

    /// The namespace, its platform file, and a good version, serving.
    pub(super) fn ship_good(&self) -> Outcome {
        let file = self.ground.file(&format!("{}.yaml", self.namespace));
        fs::write(&file, self.platform()).map_err(doing(format!("write {}", file.display())))?;
        let namespace = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n",
            self.namespace
        );
        self.ground.apply(&namespace)?;
        self.shipped.set(self.shipped.get() + 1);
        self.ground.apply(&self.manifest(false))?;
        self.until("the good version serves", |deployment| {
            is_settled(deployment) && number(deployment, "/status/availableReplicas") == 1
        })?;
        std::thread::sleep(GOOD_FOR);
        Ok(())
    }

    /// Another good version, and upon it one that crashes: every good pod is gone and every bad one in its loop.
    /// Always a new version, because one that an undo brought back has no known time of service.
    pub(super) fn go_wrong(&self) -> Outcome {
        self.ship_good()?;
        self.ground.apply(&self.manifest(true))?;
        self.until("the bad version crashes", |deployment| {
            is_settled(deployment) && number(deployment, "/status/availableReplicas") == 0
        })?;
        self.pods_crash()
    }

    /// The image of the good version that was shipped last.
    pub(super) fn good_image(&self) -> String {
        format!("app:good-{}", self.shipped.get())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.services).map(|number| format!("service-{number:02}"))
    }

    /// Which wave a service belongs to.
    fn wave(&self, number: usize) -> usize {
        number * self.waves / self.services
    }

    fn until(&self, what: &str, done: impl Fn(&Value) -> bool) -> Outcome {
        process::wait_until(&format!("{what} in {}", self.namespace), SET_UP, || {
            let list = self.ground.json(&["get", "deployments", "-n", &self.namespace])?;
            let items = list.get("items").and_then(Value::as_array);
            Ok(items.is_some_and(|items| items.len() == self.services && items.iter().all(&done)))
        })
        .map(drop)
    }

    fn pods_crash(&self) -> Outcome {
        let what = format!("every bad pod crashes in {}", self.namespace);
        process::wait_until(&what, SET_UP, || {
            let list = self.ground.json(&["get", "pods", "-n", &self.namespace])?;
            let crashes = |pod: &Value| {
                let reason = pod.pointer("/status/containerStatuses/0/state/waiting/reason");
                reason.and_then(Value::as_str) == Some("CrashLoopBackOff")
            };
            let items = list.get("items").and_then(Value::as_array);
            Ok(items.is_some_and(|items| items.len() == self.services && items.iter().all(crashes)))
        })
        .map(drop)
    }

    fn platform(&self) -> String {
        let mut text = format!(
            "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {{name: bench}}\nspec:\n  namespace: {}\n  \
             validation: {{soak: 1s}}\n  policy: {{presumedGoodAfter: 1s}}\n  workloads:\n",
            self.namespace
        );
        for (number, name) in self.names().enumerate() {
            let before: Vec<String> = self
                .names()
                .enumerate()
                .filter(|(other, _)| self.wave(*other) + 1 == self.wave(number))
                .map(|(_, name)| name)
                .collect();
            text.push_str(&format!("    - name: {name}\n"));
            if !before.is_empty() {
                text.push_str(&format!("      dependsOn: [{}]\n", before.join(", ")));
            }
        }
        text
    }

    fn manifest(&self, bad: bool) -> String {
        let (image, label) = if bad {
            (
                format!("app:bad-{}", self.shipped.get()),
                ", kwok.astern.dev/crash-loop: \"yes\"",
            )
        } else {
            (self.good_image(), "")
        };
        let late = self.ready_after.map_or_else(String::new, |span| {
            format!(", annotations: {{kwok.astern.dev/ready-after: {span}}}")
        });
        let node = self.node.map_or_else(String::new, |node| {
            format!(
                "      nodeSelector: {{kubernetes.io/hostname: {node}}}\n      tolerations: [{{operator: Exists}}]\n"
            )
        });
        self.names()
            .map(|name| {
                format!(
                    "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {}}}\nspec:\n  \
                     replicas: 1\n  selector: {{matchLabels: {{app: {name}}}}}\n  \
                     strategy: {{rollingUpdate: {{maxSurge: 0, maxUnavailable: 1}}}}\n  template:\n    \
                     metadata: {{labels: {{app: {name}{label}}}{late}}}\n    spec:\n{node}      \
                     containers: [{{name: app, image: \"{image}\"}}]\n",
                    self.namespace
                )
            })
            .collect()
    }
}

/// Every pod is of the template that is asked for.
fn is_settled(deployment: &Value) -> bool {
    number(deployment, "/status/observedGeneration") == number(deployment, "/metadata/generation")
        && number(deployment, "/status/updatedReplicas") == 1
        && number(deployment, "/status/replicas") == 1
}

pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}
