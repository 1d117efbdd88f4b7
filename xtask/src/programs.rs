//! The programs of a Kubernetes and those that astern calls, built once from the Go module proxy into a cache keyed by version. Starts none of them.

mod replacing;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::failure::{Failure, Outcome, doing};
use crate::{process, workspace};

pub(crate) use replacing::{ARGO_CD, ARGO_ROLLOUTS, FLUX_HELM, FLUX_KUSTOMIZE, FLUX_SOURCE, KEDA};

const KUBERNETES: &str = "v1.34.4";
const ETCD: &str = "v3.6.16";
const KWOK: &str = "v0.7.0";
const COREDNS: &str = "v1.12.4";
const HELM_3: &str = "v3.22.0";
const HELM_4: &str = "v4.3.1";

pub(crate) const ETCD_SERVER: Program = Program {
    name: "etcd",
    version: ETCD,
    source: Source::Etcd,
};
pub(crate) const API_SERVER: Program = kubernetes("kube-apiserver");
pub(crate) const CONTROLLER_MANAGER: Program = kubernetes("kube-controller-manager");
pub(crate) const SCHEDULER: Program = kubernetes("kube-scheduler");
pub(crate) const KUBELET: Program = kubernetes("kubelet");
pub(crate) const PROXY: Program = kubernetes("kube-proxy");
pub(crate) const KWOK_CONTROLLER: Program = Program {
    name: "kwok",
    version: KWOK,
    source: Source::Package("sigs.k8s.io/kwok/cmd/kwok"),
};
pub(crate) const DNS: Program = Program {
    name: "coredns",
    version: COREDNS,
    source: Source::Package("github.com/coredns/coredns"),
};
/// Both that people have installed: their flags differ, their records hardly.
const HELMS: [Program; 2] = [
    Program {
        name: "helm",
        version: HELM_3,
        source: Source::Package("helm.sh/helm/v3/cmd/helm"),
    },
    Program {
        name: "helm",
        version: HELM_4,
        source: Source::Package("helm.sh/helm/v4/cmd/helm"),
    },
];
/// Git's own server program behind HTTP, the only way to a repository that Argo CD and Flux both take.
pub(crate) const GIT_SERVER: Program = Program {
    name: "git-http",
    version: "v1",
    source: Source::Standard(include_str!("cluster/owners/git-http.go")),
};
const KUBECTL: Program = kubernetes("kubectl");

/// One program, and how it is made.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    version: &'static str,
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    /// `cmd/NAME` of k8s.io/kubernetes, whose staging modules must be named one by one.
    Kubernetes,
    /// `go install` is refused because of its replace lines, so a main of our own calls it.
    Etcd,
    /// What `go install` takes as it is.
    Package(&'static str),
    /// A main package of modules whose replace lines are taken over.
    Replacing(&'static replacing::Modules, replacing::Main),
    /// A main of our own that needs nothing but Go's standard library.
    Standard(&'static str),
}

impl Program {
    pub(crate) fn path(&self) -> PathBuf {
        workspace::cache()
            .join("bin")
            .join(format!("{}-{}", self.name, self.version))
    }

    /// The resource definitions that its module brings, as one manifest; there once the program is.
    pub(crate) fn definitions(&self) -> PathBuf {
        self.path().with_added_extension("crds.yaml")
    }
}

/// Builds what is not in the cache yet. A first time takes minutes and says so.
pub(crate) fn ensure(programs: &[Program]) -> Outcome {
    if programs.iter().all(|program| program.path().exists()) {
        return Ok(());
    }
    if !process::on_path("go") {
        return Err(
            Failure::new("Go is not installed, and Kubernetes is built from its Go modules")
                .next("install Go 1.24 or newer (https://go.dev/dl), then the same command again"),
        );
    }
    let bin = workspace::cache().join("bin");
    std::fs::create_dir_all(&bin).map_err(doing(format!("create {}", bin.display())))?;
    let _one_build_at_a_time = lock(&bin.join(".lock"))?;
    for program in programs.iter().filter(|program| !program.path().exists()) {
        let start = Instant::now();
        eprintln!(
            "building {} {} from the Go module proxy (once; minutes)",
            program.name, program.version
        );
        build(program)?;
        eprintln!("built {} in {} s", program.name, start.elapsed().as_secs());
    }
    Ok(())
}

/// The installed kubectl, or one of our own when there is none.
pub(crate) fn kubectl() -> Outcome<PathBuf> {
    if process::on_path("kubectl") {
        return Ok(PathBuf::from("kubectl"));
    }
    ensure(&[KUBECTL])?;
    Ok(KUBECTL.path())
}

/// The helm programs for tests, as a PATH-like list, the older first.
pub(crate) fn helms() -> Outcome<OsString> {
    ensure(&HELMS)?;
    std::env::join_paths(HELMS.iter().map(Program::path))
        .map_err(|error| Failure::new(format!("the helm programs cannot be listed: {error}")))
}

/// PATH for tests that call `kubectl` by name: with our own where the machine has none.
pub(crate) fn path_with_kubectl() -> Outcome<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let kubectl = kubectl()?;
    if kubectl.is_relative() {
        return Ok(path);
    }
    let folder = workspace::cache().join("path");
    let link = folder.join("kubectl");
    std::fs::create_dir_all(&folder).map_err(doing(format!("create {}", folder.display())))?;
    drop(std::fs::remove_file(&link));
    std::os::unix::fs::symlink(&kubectl, &link).map_err(doing(format!("link {}", link.display())))?;
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).map_err(|error| Failure::new(format!("PATH cannot be extended: {error}")))
}

const fn kubernetes(name: &'static str) -> Program {
    Program {
        name,
        version: KUBERNETES,
        source: Source::Kubernetes,
    }
}

fn lock(path: &Path) -> Outcome<File> {
    let file = File::create(path).map_err(doing(format!("write {}", path.display())))?;
    if file.try_lock().is_err() {
        eprintln!("another build is going on; waiting for it");
        file.lock().map_err(doing(format!("lock {}", path.display())))?;
    }
    Ok(file)
}

/// Builds in a folder of its own and moves the finished program into place, so that a broken build leaves nothing that looks whole.
fn build(program: &Program) -> Outcome {
    let folder = workspace::cache().join("src").join(match program.source {
        Source::Kubernetes => format!("kubernetes-{KUBERNETES}"),
        Source::Etcd => format!("etcd-{ETCD}"),
        Source::Package(_) | Source::Standard(_) => format!("{}-{}", program.name, program.version),
        Source::Replacing(modules, _) => String::from(modules.folder),
    });
    std::fs::create_dir_all(&folder).map_err(doing(format!("create {}", folder.display())))?;
    let log = folder.join(format!("{}.log", program.name));
    drop(std::fs::remove_file(&log));
    let package = match program.source {
        Source::Kubernetes => {
            write_kubernetes_module(&folder, &log)?;
            format!("k8s.io/kubernetes/cmd/{}", program.name)
        }
        Source::Etcd => {
            write_etcd_module(&folder, &log)?;
            String::from(".")
        }
        Source::Package(path) => format!("{path}@{}", program.version),
        Source::Replacing(modules, main) => replacing::write(&folder, program, modules, main)?,
        Source::Standard(main) => {
            let manifest = format!("module astern.dev/build/{}\n\ngo 1.24\n", program.name);
            write_files(&folder, &[("go.mod", &manifest), ("main.go", main)])?;
            String::from(".")
        }
    };
    let made = folder.join(program.name);
    let mut go = go(&folder);
    match program.source {
        Source::Package(_) => go
            .args(["install", "-ldflags", &linker_flags(program)])
            .env("GOBIN", &folder),
        Source::Kubernetes | Source::Etcd | Source::Replacing(..) | Source::Standard(_) => go
            .args(["build", "-ldflags", &linker_flags(program), "-o"])
            .arg(&made),
    };
    process::run_logged(go.arg(package), &log).map_err(|failure| {
        failure.next(
            "check that the Go module proxy can be reached (`go env GOPROXY`), then the same command again",
        )
    })?;
    let place = program.path();
    std::fs::rename(&made, &place).map_err(doing(format!("move {} to {}", made.display(), place.display())))
}

/// Go behind everything else on the machine: a build of minutes must not starve the tests beside it.
fn go(folder: &Path) -> Command {
    let mut command = Command::new("nice");
    command
        .args(["-n", "5", "go"])
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=mod");
    command
}

/// Without a version baked in, `kubectl version` cannot parse what the server says.
fn linker_flags(program: &Program) -> String {
    let mut flags = String::from("-s -w");
    if matches!(program.source, Source::Kubernetes) {
        let mut numbers = program.version.trim_start_matches('v').split('.');
        let (major, minor) = (
            numbers.next().unwrap_or_default(),
            numbers.next().unwrap_or_default(),
        );
        for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
            flags += &format!(
                " -X {package}.gitVersion={} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}",
                program.version
            );
        }
    }
    flags
}

/// What a command of Go says in JSON.
fn told_as_json(folder: &Path, words: &[&str]) -> Outcome<Value> {
    serde_json::from_str(&process::read(go(folder).args(words))?)
        .map_err(|error| Failure::new(format!("what `go {}` says is no JSON: {error}", words.join(" "))))
}

fn write_files(folder: &Path, files: &[(&str, &str)]) -> Outcome {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(doing(format!("write {}", path.display())))?;
    }
    Ok(())
}

fn write_kubernetes_module(folder: &Path, log: &Path) -> Outcome {
    let told = told_as_json(
        folder,
        &[
            "mod",
            "download",
            "-json",
            &format!("k8s.io/kubernetes@{KUBERNETES}"),
        ],
    )?;
    let original = told["GoMod"].as_str().unwrap_or_default();
    let original = std::fs::read_to_string(original).map_err(doing(format!("read {original}")))?;
    let go_line = original
        .lines()
        .find(|line| line.starts_with("go "))
        .unwrap_or("go 1.24.0");
    let staged = KUBERNETES.replacen("v1.", "v0.", 1);
    let replaced: String = original
        .lines()
        .filter_map(|line| line.trim().split_once(" => ./staging/"))
        .map(|(name, _)| format!("\t{name} => {name} {staged}\n"))
        .collect();
    let manifest = format!(
        "module astern.dev/build/kubernetes\n\n{go_line}\n\nrequire k8s.io/kubernetes {KUBERNETES}\n\nreplace (\n{replaced})\n"
    );
    let commands = [API_SERVER, CONTROLLER_MANAGER, PROXY, SCHEDULER, KUBECTL, KUBELET];
    let imports: String = commands
        .iter()
        .map(|command| format!("\t_ \"k8s.io/kubernetes/cmd/{}\"\n", command.name))
        .collect();
    let tools = format!("//go:build tools\n\npackage tools\n\nimport (\n{imports})\n");
    write_module(folder, &manifest, "tools.go", &tools, log)
}

fn write_etcd_module(folder: &Path, log: &Path) -> Outcome {
    let manifest =
        format!("module astern.dev/build/etcd\n\ngo 1.24\n\nrequire go.etcd.io/etcd/server/v3 {ETCD}\n");
    let main = "package main\n\nimport (\n\t\"os\"\n\n\t\"go.etcd.io/etcd/server/v3/etcdmain\"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n";
    write_module(folder, &manifest, "main.go", main, log)
}

/// Writes a module's two files and lets Go complete it; a module written before is kept, because its sums are in it.
fn write_module(folder: &Path, manifest: &str, file: &str, content: &str, log: &Path) -> Outcome {
    if folder.join("go.sum").exists()
        && std::fs::read_to_string(folder.join(file)).is_ok_and(|old| old == content)
    {
        return Ok(());
    }
    write_files(folder, &[("go.mod", manifest), (file, content)])?;
    process::run_logged(go(folder).args(["mod", "tidy"]), log)
}
