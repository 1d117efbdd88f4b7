//! The formats of printed data: text, JSON, YAML, Markdown.

use crate::console::Console;
use crate::error::{CliError, Exit};
use astern_report::Line;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What `-o` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    Yaml,
    Markdown,
    /// Any other word: a file, where a command writes one.
    File(PathBuf),
}

impl Format {
    /// What was typed. A word that is no format is a file only if it looks like one.
    pub(crate) fn parse(typed: Option<&str>) -> Result<Self, CliError> {
        Ok(match typed {
            None | Some("text") => Self::Text,
            Some("json") => Self::Json,
            Some("yaml") => Self::Yaml,
            Some("markdown" | "md") => Self::Markdown,
            Some(other) if other.contains(['.', '/']) => Self::File(PathBuf::from(other)),
            Some(other) => {
                let error = CliError::new(Exit::Usage, format!("`{other}` is no output format"));
                return Err(error
                    .hint("-o takes text, json, yaml or markdown; `plan` also takes a file: -o plan.json"));
            }
        })
    }
}

/// Prints one document in the format asked for. Text and Markdown are made only when they are wanted.
pub(crate) fn print<T: Serialize>(
    console: &Console,
    format: &Format,
    kind: &str,
    value: &T,
    text: impl FnOnce() -> Vec<Line>,
    markdown: impl FnOnce() -> String,
) -> Result<(), CliError> {
    match format {
        Format::Text => console.data_lines(&text()),
        Format::Markdown => console.data(&markdown()),
        Format::Json => console.data(&astern_wire::output::to_json_text(
            &astern_wire::output::document(kind, value),
        )),
        Format::Yaml => console.data(&astern_wire::output::to_yaml_text(
            &astern_wire::output::document(kind, value),
        )),
        Format::File(path) => Err(no_file(path)),
    }
}

/// A file was named where a command writes none.
pub(crate) fn no_file(path: &Path) -> CliError {
    let message = format!(
        "this command writes no file, and `{}` is no format",
        path.display()
    );
    CliError::new(Exit::Usage, message).hint("-o takes text, json, yaml or markdown")
}
