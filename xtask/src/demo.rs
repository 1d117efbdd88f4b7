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

Usage: cargo xtask demo [--yes] [--node real|kwok] [--fresh]

Options:
  --yes          Ask nothing
  --node KIND    `real` (default; containers, root) or `kwok` (pods without containers)
  --fresh        Delete the example's namespace first, where it is left from another demo

The cluster stays up for a look around with kubectl; `cargo xtask cluster down --name KIND` ends it.";

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
    let fresh = arguments.flag("--fresh");
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
    if fresh {
        demo.kubectl(&[
            "delete",
            "namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait=true",
        ])?;
    }
    demo.ship_good()?;
    demo.ship_bad()?;
    demo.take_back(yes)
}

struct Demo {
    kind: NodeKind,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    astern: PathBuf,
    platform: PathBuf,
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
            platform,
        })
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
        std::thread::sleep(GOOD_FOR);
        self.astern(&["status"])
    }

    fn ship_bad(&self) -> Outcome {
        heading("v1.2.4 goes out, and is not");
        self.apply(match self.kind {
            NodeKind::Real => "workloads-v1.2.4.yaml",
            NodeKind::Kwok => "workloads-v1.2.4-kwok.yaml",
        })?;
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
        self.astern(&["releases"])?;
        heading("production is taken back");
        let mut command = self.astern_command();
        command.args([
            "rollback",
            "--reason",
            "v1.2.4 crashes after start; the error rate is up",
        ]);
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
        println!("\nlook around:  export KUBECONFIG={}", self.kubeconfig.display());
        println!(
            "the cluster stays up; end it with: cargo xtask cluster down --name {}",
            self.kind
        );
        Ok(())
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
            .arg("--file")
            .arg(&self.platform);
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

fn heading(text: &str) {
    println!("\n── {text} ──");
}
