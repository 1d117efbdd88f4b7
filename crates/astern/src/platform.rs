//! Finds and reads `astern.yaml`: upward from the working directory, or where `--file` says.

use crate::args::Global;
use crate::error::CliError;
use astern_model::platform::Platform;
use astern_model::source::Source;
use astern_wire::platform::PlatformError;
use std::path::{Path, PathBuf};

/// The file's name.
pub(crate) const FILE_NAME: &str = "astern.yaml";

/// The platform that is meant. Without a file it is the namespace that `-n` or the context names.
///
/// # Errors
/// A file that cannot be read, or that does not hold together; a `-n` that contradicts it.
pub(crate) fn find(global: &Global, context_namespace: &str) -> Result<Platform, CliError> {
    match locate(global)? {
        Some(file) => {
            let platform = read(&file)?;
            if let Some(asked) = global
                .namespace
                .as_ref()
                .filter(|asked| **asked != platform.namespace)
            {
                // A file that was found, not named, must not get in the way of somebody who names a namespace.
                if global.file.is_none() {
                    return Ok(Platform::of_namespace(asked));
                }
                let message = format!(
                    "{} is for namespace {}, but -n says {asked}",
                    file.display(),
                    platform.namespace
                );
                return Err(CliError::input(message).hint("leave -n out, or name another file with --file"));
            }
            Ok(platform)
        }
        None => {
            let namespace = global.namespace.as_deref().unwrap_or(context_namespace);
            Ok(Platform::of_namespace(namespace))
        }
    }
}

/// The file that `--file` names, or the nearest one above the working directory.
pub(crate) fn locate(global: &Global) -> Result<Option<PathBuf>, CliError> {
    if let Some(file) = &global.file {
        return if file.is_file() {
            Ok(Some(file.clone()))
        } else {
            Err(CliError::input(format!("there is no file {}", file.display()))
                .hint("astern init -n NAMESPACE   writes one"))
        };
    }
    let here = std::env::current_dir()
        .map_err(|error| CliError::input("the working directory cannot be read").cause(error.to_string()))?;
    Ok(here
        .ancestors()
        .map(|folder| folder.join(FILE_NAME))
        .find(|file| file.is_file()))
}

/// Reads one file.
pub(crate) fn read(file: &Path) -> Result<Platform, CliError> {
    parsed(file, astern_wire::platform::parse_platform)
}

/// The sources that the file of this platform names; none where there is no file, or where it is for another namespace.
pub(crate) fn sources(global: &Global, platform: &Platform) -> Result<Vec<Source>, CliError> {
    match locate(global)? {
        Some(file) if read(&file)?.namespace == platform.namespace => {
            parsed(&file, astern_wire::platform::parse_sources)
        }
        Some(_) | None => Ok(Vec::new()),
    }
}

fn parsed<T>(file: &Path, parse: impl Fn(&str, &str) -> Result<T, PlatformError>) -> Result<T, CliError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        CliError::input(format!("{} cannot be read", file.display())).cause(error.to_string())
    })?;
    parse(&text, &file.display().to_string()).map_err(|error| {
        let mut shown = CliError::input(format!("{} cannot be used", file.display())).code(error.code());
        shown.shown = error.to_string().lines().map(str::to_owned).collect();
        shown
    })
}
