//! Programs of modules with replace lines, which Go heeds in a main module only: a module of our own takes them over. Runs no build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Program, Source, told_as_json, write_files};
use crate::failure::{Failure, Outcome, doing};
use crate::process;

const ARGO_CD_MODULE: (&str, &str) = ("github.com/argoproj/argo-cd/v3", "v3.1.9");
/// The newest that goes with Kubernetes 1.34 and builds with the same Go as all others.
const ARGO_ROLLOUTS_MODULE: (&str, &str) = ("github.com/argoproj/argo-rollouts", "v1.9.2");
const KEDA_MODULE: (&str, &str) = ("github.com/kedacore/keda/v2", "v2.21.0");
const FLUX_SOURCE_MODULE: (&str, &str) = ("github.com/fluxcd/source-controller", "v1.7.3");
const FLUX_KUSTOMIZE_MODULE: (&str, &str) = ("github.com/fluxcd/kustomize-controller", "v1.7.3");
const FLUX_HELM_MODULE: (&str, &str) = ("github.com/fluxcd/helm-controller", "v1.4.0");

/// All parts of Argo CD are one program; a variable says which of them it is.
pub(crate) const ARGO_CD: Program = Program {
    name: "argocd",
    version: ARGO_CD_MODULE.1,
    source: Source::Replacing(
        &Modules {
            folder: "argocd-v3.1.9",
            needs: &[ARGO_CD_MODULE],
            // The one address that no flag gives: what a test starts listens on loopback only.
            change: Some(Change {
                file: "controller/appcontroller.go",
                from: "\"0.0.0.0:%d\"",
                to: "\"127.0.0.1:%d\"",
            }),
        },
        Main {
            module: ARGO_CD_MODULE.0,
            package: "/cmd",
            definitions: "manifests/crds",
        },
    ),
};
/// The controller of Rollouts.
pub(crate) const ARGO_ROLLOUTS: Program = Program {
    name: "argo-rollouts",
    version: ARGO_ROLLOUTS_MODULE.1,
    source: Source::Replacing(
        &Modules {
            folder: "argo-rollouts-v1.9.2",
            needs: &[ARGO_ROLLOUTS_MODULE],
            // It listens for its metrics and its health, and no flag gives the address.
            change: Some(Change {
                file: "controller/controller.go",
                from: "\"0.0.0.0:%d\"",
                to: "\"127.0.0.1:%d\"",
            }),
        },
        Main {
            module: ARGO_ROLLOUTS_MODULE.0,
            package: "/cmd/rollouts-controller",
            definitions: "manifests/crds",
        },
    ),
};
/// The operator of ScaledObjects. Its metrics server and its webhooks are programs of their own.
pub(crate) const KEDA: Program = Program {
    name: "keda-operator",
    version: KEDA_MODULE.1,
    source: Source::Replacing(
        &Modules {
            folder: "keda-v2.21.0",
            needs: &[KEDA_MODULE],
            change: None,
        },
        Main {
            module: KEDA_MODULE.0,
            package: "/cmd/operator",
            definitions: "config/crd/bases",
        },
    ),
};
pub(crate) const FLUX_SOURCE: Program = flux("source-controller", FLUX_SOURCE_MODULE);
pub(crate) const FLUX_KUSTOMIZE: Program = flux("kustomize-controller", FLUX_KUSTOMIZE_MODULE);
pub(crate) const FLUX_HELM: Program = flux("helm-controller", FLUX_HELM_MODULE);

/// Flux 2.7, which goes with Kubernetes 1.34. In one module, most of what they stand on is compiled once.
const FLUX: Modules = Modules {
    folder: "flux-v2.7",
    needs: &[FLUX_SOURCE_MODULE, FLUX_KUSTOMIZE_MODULE, FLUX_HELM_MODULE],
    change: None,
};

/// Modules that are built in one main module.
pub(super) struct Modules {
    /// Of the main module, in the cache.
    pub(super) folder: &'static str,
    /// Each with its version.
    needs: &'static [(&'static str, &'static str)],
    change: Option<Change>,
}

/// A program's place in its module.
#[derive(Clone, Copy)]
pub(super) struct Main {
    module: &'static str,
    /// What follows the module's path.
    package: &'static str,
    /// The folder of its resource definitions.
    definitions: &'static str,
}

/// Where the copy of a changed module lies.
const CHANGED: &str = "changed";

/// One text in one file of the only module that is built otherwise than it stands there.
struct Change {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn flux(name: &'static str, (module, version): (&'static str, &'static str)) -> Program {
    Program {
        name,
        version,
        source: Source::Replacing(
            &FLUX,
            Main {
                module,
                package: "",
                definitions: "config/crd/bases",
            },
        ),
    }
}

/// Writes the main module and the program's resource definitions; the package to build.
pub(super) fn write(folder: &Path, program: &Program, modules: &Modules, main: Main) -> Outcome<String> {
    let mut required = String::new();
    let mut replaced = BTreeMap::new();
    let mut go_line = String::new();
    for (module, version) in modules.needs {
        required += &format!("\t{module} {version}\n");
        let told = download(folder, module, version)?;
        let manifest = told_as_json(folder, &["mod", "edit", "-json", text(&told["GoMod"])])?;
        go_line = go_line.max(text(&manifest["Go"]).to_owned());
        for each in manifest["Replace"].as_array().into_iter().flatten() {
            // A folder of the module's own repository: what it holds is published under the version that is required.
            if each["New"]["Version"].is_string() {
                replaced.insert(of_module(&each["Old"]), of_module(&each["New"]));
            }
        }
        if let Some(change) = &modules.change {
            copy_changed(Path::new(text(&told["Dir"])), &folder.join(CHANGED), change)?;
            replaced.insert((*module).to_owned(), format!("./{CHANGED}"));
        }
    }
    let replaced: String = replaced
        .iter()
        .map(|(old, new)| format!("\t{old} => {new}\n"))
        .collect();
    let manifest = format!(
        "module astern.dev/build/owners\n\ngo {go_line}\n\nrequire (\n{required})\n\nreplace (\n{replaced})\n"
    );
    write_files(folder, &[("go.mod", &manifest)])?;
    let told = download(folder, main.module, program.version)?;
    write_definitions(
        &Path::new(text(&told["Dir"])).join(main.definitions),
        &program.definitions(),
    )?;
    Ok(format!("{}{}", main.module, main.package))
}

fn download(folder: &Path, module: &str, version: &str) -> Outcome<Value> {
    told_as_json(
        folder,
        &["mod", "download", "-json", &format!("{module}@{version}")],
    )
}

/// All resource definitions below a folder as one manifest.
fn write_definitions(folder: &Path, place: &Path) -> Outcome {
    let entries = std::fs::read_dir(folder).map_err(doing(format!("read {}", folder.display())))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let mut all = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(doing(format!("read {}", file.display())))?;
        if text.contains("\nkind: CustomResourceDefinition\n") {
            all += &format!("---\n{text}\n");
        }
    }
    std::fs::write(place, all).map_err(doing(format!("write {}", place.display())))
}

/// A copy of the module with the change made. Go builds no changed file beneath its own cache.
fn copy_changed(module: &Path, place: &Path, change: &Change) -> Outcome {
    if place.exists() {
        std::fs::remove_dir_all(place).map_err(doing(format!("remove {}", place.display())))?;
    }
    let mut copy = Command::new("cp");
    process::read(copy.args(["-r", "--no-preserve=mode"]).arg(module).arg(place))?;
    let file = place.join(change.file);
    let text = std::fs::read_to_string(&file).map_err(doing(format!("read {}", file.display())))?;
    if !text.contains(change.from) {
        return Err(
            Failure::new(format!("{} does not hold {}", file.display(), change.from)).next(
                "see what this version of it has instead, and say so in xtask/src/programs/replacing.rs",
            ),
        );
    }
    std::fs::write(&file, text.replace(change.from, change.to))
        .map_err(doing(format!("write {}", file.display())))
}

/// `PATH` or `PATH VERSION`, as a replace line has it.
fn of_module(value: &Value) -> String {
    [text(&value["Path"]), text(&value["Version"])]
        .join(" ")
        .trim_end()
        .to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
