//! Images without a container engine: a static program, a `tar`, and containerd's own import. Pulls nothing from anywhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::kubectl::Kubectl;
use super::{NodeKind, Record, node};
use crate::failure::{Failure, Outcome, doing};
use crate::{process, workspace};

/// The image of each pod's first process.
pub(crate) const PAUSE: &str = "astern.test/pause:1";
const PAUSE_SOURCE: &str = include_str!("node/pause.c");

/// The package whose one program plays every service of the example platform.
const PLATFORM_PACKAGE: &str = "vcci-scope3-service";
const PLATFORM_SERVICES: [&str; 6] = [
    "api-gateway",
    "data-ingestion",
    "calculation-engine",
    "reporting-service",
    "ledger-store",
    "node-agent",
];
const PLATFORM_VERSIONS: [&str; 2] = ["v1.2.3", "v1.2.4"];
/// The same user as in the service's Dockerfile: nobody, by number, so that no user database is needed.
const PLATFORM_USER: &str = "65532";

/// An image with one static program in it.
pub(crate) struct Image {
    /// `NAME:TAG`; without a registry's name it is Docker Hub's, as everywhere.
    pub(crate) name: String,
    /// `KEY=VALUE`. Different values make a different digest.
    pub(crate) environment: Vec<String>,
    /// Empty for root.
    pub(crate) user: String,
}

pub(super) fn import_pause(record: &Record) -> Outcome {
    let source = record.write_file("pause.c", PAUSE_SOURCE)?;
    let program = record.folder().join("pause");
    let mut cc = Command::new("cc");
    cc.args(["-static", "-Os", "-s", "-o"]).arg(&program).arg(&source);
    process::run_logged(&mut cc, &record.log("pause"))
        .map_err(|failure| failure.next("apt-get install -y gcc libc6-dev"))?;
    let pause = Image {
        name: PAUSE.to_owned(),
        environment: Vec::new(),
        user: String::from("65535"),
    };
    import_program(record, &program, &[pause])
}

/// Makes images of one program and gives them to the node.
pub(crate) fn import_program(record: &Record, program: &Path, images: &[Image]) -> Outcome {
    let archive = archive(record, program, images)?;
    let outcome = import(record, &archive);
    drop(std::fs::remove_file(archive));
    outcome
}

/// Gives the images of an archive to the node, and each its digest as a second name, as if it had been pulled: the
/// kubelet reports a pod's digest only from such a name.
pub(crate) fn import(record: &Record, archive: &Path) -> Outcome {
    if record.kind != NodeKind::Real {
        return Err(
            Failure::new("this cluster has no containers, so it takes no images")
                .next("cargo xtask cluster up --node real"),
        );
    }
    process::read(node::ctr(record).args(["images", "import"]).arg(archive))?;
    let listed = process::read(node::ctr(record).args(["images", "list"]))?;
    for line in listed.lines() {
        let mut fields = line.split_whitespace();
        let (Some(name), Some(digest)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        let Some((repository, _)) = name.rsplit_once(':').filter(|_| !name.contains("sha256:")) else {
            continue;
        };
        if digest.starts_with("sha256:") {
            let pinned = format!("{repository}@{digest}");
            process::read(node::ctr(record).args(["images", "tag", "--force", name, &pinned]))?;
        }
    }
    Ok(())
}

/// Builds the example platform's program and gives the node its images, each version of each service its own.
pub(crate) fn import_platform(record: &Record) -> Outcome {
    let program = build_platform()?;
    let mut images = Vec::new();
    for version in PLATFORM_VERSIONS {
        images.extend(
            PLATFORM_SERVICES
                .iter()
                .map(|service| platform_image(service, version)),
        );
    }
    images.push(platform_image("tests", PLATFORM_VERSIONS[0]));
    eprintln!("importing {} images of the example platform", images.len());
    import_program(record, &program, &images)?;
    until_listed(record, &images)
}

/// The kubelet looks what images there are every half minute and tells the API server some seconds later.
const LISTED_WITHIN: Duration = Duration::from_secs(90);

/// Waits until the node lists the images: before that, whoever asks the API server is told that no node has them.
fn until_listed(record: &Record, images: &[Image]) -> Outcome {
    let kubectl = Kubectl::new(&record.kubeconfig())?;
    let names = [
        "get",
        "nodes",
        "-o",
        "jsonpath={.items[*].status.images[*].names[*]}",
    ];
    process::wait_until("the node to list its images", LISTED_WITHIN, || {
        let listed = kubectl.read(&names)?;
        let is_listed = |image: &Image| {
            let named = format!("/{}", image.name);
            listed.split(' ').any(|name| name.ends_with(&named))
        };
        Ok(images.iter().all(is_listed))
    })?;
    Ok(())
}

fn platform_image(service: &str, version: &str) -> Image {
    Image {
        name: format!("vcci-scope3-{service}:{version}"),
        environment: vec![format!("APP_NAME={service}"), format!("APP_VERSION={version}")],
        user: PLATFORM_USER.to_owned(),
    }
}

/// A static build: an image with nothing but the program has no libraries either.
fn build_platform() -> Outcome<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    eprintln!("building {PLATFORM_PACKAGE}, static, for {target}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .current_dir(workspace::root())
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .args([
            "build",
            "--quiet",
            "--release",
            "--target",
            &target,
            "--package",
            PLATFORM_PACKAGE,
        ]);
    process::run(&mut build)?;
    Ok(workspace::target()
        .join(target)
        .join("release")
        .join(PLATFORM_PACKAGE))
}

/// An archive in the form of `docker save`: one shared layer, and for each image a configuration.
fn archive(record: &Record, program: &Path, images: &[Image]) -> Outcome<PathBuf> {
    let work = record.folder().join("image");
    drop(std::fs::remove_dir_all(&work));
    let root = work.join("root");
    let written = |path: &Path| doing(format!("write {}", path.display()));
    std::fs::create_dir_all(&root).map_err(written(&root))?;
    let file = program.file_name().unwrap_or_default();
    std::fs::copy(program, root.join(file))
        .map_err(doing(format!("copy {} into an image", program.display())))?;
    tar(&root, &work.join("layer.tar"), &[&file.to_string_lossy()])?;
    let layer = sha256(&work.join("layer.tar"))?;
    let mut files = vec![String::from("layer.tar"), String::from("manifest.json")];
    let mut manifest = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let name = format!("image-{number}.json");
        let content = configuration(image, &format!("/{}", file.to_string_lossy()), &layer);
        std::fs::write(work.join(&name), content.to_string()).map_err(written(&work.join(&name)))?;
        manifest
            .push(json!({ "Config": name, "RepoTags": [full_name(&image.name)], "Layers": ["layer.tar"] }));
        files.push(name);
    }
    let path = work.join("manifest.json");
    std::fs::write(&path, Value::Array(manifest).to_string()).map_err(written(&path))?;
    let archive = record.folder().join("images.tar");
    tar(
        &work,
        &archive,
        &files.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    drop(std::fs::remove_dir_all(&work));
    Ok(archive)
}

fn configuration(image: &Image, program: &str, layer: &str) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let (_, version) = image.name.rsplit_once(':').unwrap_or((&image.name, ""));
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": [program],
            "Env": image.environment,
            "User": image.user,
            "Labels": { "org.opencontainers.image.version": version },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
    })
}

/// The same bytes from the same files on any day, so that the same program has the same digest.
fn tar(folder: &Path, archive: &Path, files: &[&str]) -> Outcome {
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    tar.arg("--file")
        .arg(archive)
        .arg("--directory")
        .arg(folder)
        .args(files);
    process::read(&mut tar).map(drop)
}

fn sha256(file: &Path) -> Outcome<String> {
    let said = process::read(Command::new("sha256sum").arg(file))?;
    Ok(said.split_whitespace().next().unwrap_or_default().to_owned())
}

/// `app:v1` is `docker.io/library/app:v1`; a first part with a dot or a colon is a registry already.
fn full_name(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((registry, _)) if registry.contains(['.', ':']) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}
