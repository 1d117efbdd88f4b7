//! `cargo xtask demo`: a bad release on a real cluster, and how it is taken back. Tells the story; the cluster, the
//! platform and astern do the work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::cluster::{self, NodeKind, Wanted};
use crate::failure::{Failure, Outcome, doing};
use crate::{process, programs, workspace};

const HELP: &str = "\
A bad release on a real cluster, and how it is taken back.

Usage: cargo xtask demo [--yes] [--node real|kwok]

Options:
  --yes          Ask nothing
  --node KIND    `real` (default; containers, root) or `kwok` (pods without containers)

What an earlier demo left in the namespace vcci-scope3 of that cluster is deleted first: its revisions have a past.
The cluster stays up for a look around with kubectl; `cargo xtask cluster down --name KIND` ends it.";

const REASON: &str = "v1.2.4 crashes after start; the error rate is up";
const NAMESPACE: &str = "vcci-scope3";
/// v1.2.3 must have been the newest for this long before it is presumed good. Real platforms say 30 minutes; nobody
/// watches a demo for that long.
const DEMO_PRESUMED_GOOD_AFTER: &str = "10s";
/// How long v1.2.3 runs before the bad release: longer than the line above asks for.
const GOOD_FOR: Duration = Duration::from_secs(15);
/// Until the bad release shows: a crash loop is named so after its second restart, 10 to 30 s in.
const TROUBLE_WITHIN: Duration = Duration::from_secs(90);

pub(crate) fn main(mut arguments: Arguments) -> Outcome {
    if arguments.help() {
        println!("{HELP}");
        return Ok(());
    }
    let yes = arguments.flag("--yes");
    let kind = match arguments.value("--node")?.as_deref() {
        None | Some("real") => NodeKind::Real,
        Some("kwok") => NodeKind::Kwok,
        Some(other) => {
            return Err(Failure::usage(
                format!("`{other}` is no kind of node"),
                "cargo xtask demo --help",
            ));
        }
    };
    arguments.end()?;

    let demo = Demo::prepare(kind)?;
    demo.clear()?;
    demo.ship_good()?;
    demo.ship_bad()?;
    demo.take_back(yes)
}

struct Demo {
    kind: NodeKind,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    astern: PathBuf,
    /// Where this demo's astern.yaml lies, and its logs and reports.
    folder: PathBuf,
}

impl Demo {
    /// Cluster, images, astern itself, and the platform file.
    fn prepare(kind: NodeKind) -> Outcome<Self> {
        heading("astern is built");
        process::run(
            Command::new("cargo")
                .args(["build", "--release", "--package", "astern"])
                .current_dir(workspace::root()),
        )?;
        heading(&format!("a real Kubernetes comes up ({kind} node)"));
        let ready = cluster::up(&Wanted::new(kind))?;
        if kind == NodeKind::Real {
            heading("the example's images are built and handed to the node");
            cluster::import_platform(&kind.to_string())?;
        }
        let folder = workspace::target().join("demo");
        fs::create_dir_all(&folder).map_err(doing(format!("make {}", folder.display())))?;
        let platform = folder.join("astern.yaml");
        let example = example("astern.yaml");
        let text = fs::read_to_string(&example).map_err(doing(format!("read {}", example.display())))?;
        let short = text.replace(
            "presumedGoodAfter: 30m",
            &format!("presumedGoodAfter: {DEMO_PRESUMED_GOOD_AFTER}"),
        );
        let short = if kind == NodeKind::Kwok {
            without_probes(&short)
        } else {
            short
        };
        fs::write(&platform, short).map_err(doing(format!("write {}", platform.display())))?;
        Ok(Self {
            kind,
            kubeconfig: ready.kubeconfig,
            kubectl: programs::kubectl()?,
            astern: workspace::target().join("release/astern"),
            folder,
        })
    }

    /// Begins anew: a revision that was brought back once has no history that anything could be presumed from.
    fn clear(&self) -> Outcome {
        let found = process::read(
            Command::new(&self.kubectl)
                .args(["get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"])
                .env("KUBECONFIG", &self.kubeconfig),
        )?;
        if found.trim().is_empty() {
            return Ok(());
        }
        heading("what an earlier demo left is deleted");
        self.kubectl(&["delete", "namespace", NAMESPACE, "--wait=true", "--timeout=180s"])
    }

    fn ship_good(&self) -> Outcome {
        heading("v1.2.3 goes out, and is well");
        for file in [
            "namespace.yaml",
            "config.yaml",
            "secret.yaml",
            "workloads-v1.2.3.yaml",
        ] {
            self.apply(file)?;
        }
        for workload in [
            "deployment/api-gateway",
            "deployment/data-ingestion",
            "deployment/calculation-engine",
            "deployment/reporting-service",
            "statefulset/ledger-store",
            "daemonset/node-agent",
        ] {
            self.kubectl(&["rollout", "status", workload, "-n", NAMESPACE, "--timeout=180s"])?;
        }
        told("Six workloads, six healthy. It runs for a while, so that it may be presumed good.");
        std::thread::sleep(GOOD_FOR);
        self.astern(&["status"])
    }

    fn ship_bad(&self) -> Outcome {
        heading("v1.2.4 goes out, and is not");
        self.apply(match self.kind {
            NodeKind::Real => "workloads-v1.2.4.yaml",
            NodeKind::Kwok => "workloads-v1.2.4-kwok.yaml",
        })?;
        told(
            "One version, four faults: a crash, a readiness that never comes, errors in the log, slow answers.",
        );
        let since = Instant::now();
        while since.elapsed() < TROUBLE_WITHIN {
            std::thread::sleep(Duration::from_secs(3));
            let status = process::read(self.astern_command().args(["status", "-o", "json"]))?;
            if status.contains("CrashLoopBackOff") {
                break;
            }
        }
        self.astern(&["status"])
    }

    fn take_back(&self, yes: bool) -> Outcome {
        heading("what the cluster remembers, and which revision would be chosen");
        told(
            "Nobody named a revision: old pods that still serve are proof, the rest is presumed, with its reason.",
        );
        self.astern(&["releases"])?;
        heading("production is taken back");
        told(
            "The status asked the API alone; the plan reads logs too, and finds the service that fails while it is green.",
        );
        let mut command = self.astern_command();
        command.args(["rollback", "--reason", REASON]);
        if yes {
            command.arg("--yes");
        }
        println!("$ astern rollback --reason …{}", if yes { " --yes" } else { "" });
        let started = Instant::now();
        process::run(&mut command)?;
        println!(
            "\nfrom command to validated: {:.0} s, of which the soak window is 20 s",
            started.elapsed().as_secs_f64()
        );
        heading("afterwards");
        self.astern(&["status"])?;
        println!();
        if let Some(report) = self.report()? {
            println!("the report:   file://{}", report.display());
        }
        println!("look around:  export KUBECONFIG={}", self.kubeconfig.display());
        println!("end it:       cargo xtask cluster down --name {}", self.kind);
        Ok(())
    }

    /// The page of the newest run: their names begin with the time.
    fn report(&self) -> Outcome<Option<PathBuf>> {
        let folder = self.folder.join("astern");
        let entries = fs::read_dir(&folder).map_err(doing(format!("read {}", folder.display())))?;
        let pages = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|kind| kind == "html"));
        Ok(pages.max())
    }

    fn apply(&self, manifest: &str) -> Outcome {
        let file = example("manifests").join(manifest);
        self.kubectl(&["apply", "-f", &file.display().to_string()])
    }

    fn kubectl(&self, words: &[&str]) -> Outcome {
        process::run(
            Command::new(&self.kubectl)
                .args(words)
                .env("KUBECONFIG", &self.kubeconfig)
                .stdout(Stdio::null()),
        )
    }

    fn astern(&self, words: &[&str]) -> Outcome {
        println!("$ astern {}", words.join(" "));
        process::run(self.astern_command().args(words))
    }

    fn astern_command(&self) -> Command {
        let mut command = Command::new(&self.astern);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("XDG_STATE_HOME", &self.folder)
            .arg("--file")
            .arg(self.folder.join("astern.yaml"));
        command
    }
}

fn example(name: &str) -> PathBuf {
    workspace::root()
        .join("examples/vcci-scope3")
        .join(Path::new(name))
}

/// kwok has no applications behind its pods, so nothing can answer a probe.
fn without_probes(platform: &str) -> String {
    let mut kept = Vec::new();
    let mut probes_at = None;
    for line in platform.lines() {
        let indent = line.len() - line.trim_start().len();
        match probes_at {
            Some(at) if line.trim().is_empty() || indent > at => continue,
            _ => probes_at = None,
        }
        if line.trim_start().starts_with("probes:") {
            probes_at = Some(indent);
            continue;
        }
        kept.push(line);
    }
    kept.join("\n") + "\n"
}

fn told(text: &str) {
    println!("{text}\n");
}

fn heading(text: &str) {
    println!("\n── {text} ──");
}
