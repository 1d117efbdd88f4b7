//! `report`: the account of a run, from its journal alone.

use super::look::write_private;
use super::tend::pick;
use crate::args;
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::{self, Format};
use crate::wiring::Wired;
use astern_exec::book::Book;
use astern_model::content::ContentRef;
use astern_report::Report;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) async fn report(
    wired: &Wired,
    arguments: &args::Report,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let run = pick(wired, arguments.run.as_deref(), false).await?;
    let book = Book::open(&*wired.world.journal, &run).await?;
    let report = make(wired, &book);
    if let Some(folder) = &arguments.evidence {
        write_evidence(wired, folder, &report, console).await?;
    }
    if let Some(file) = &arguments.html {
        write_page(file, &report)?;
        console.say(&format!("written to {}", file.display()));
    }
    let written = arguments.html.is_some() || arguments.evidence.is_some();
    if written && matches!(format, Format::Text) {
        return Ok(Exit::Done);
    }
    if let Format::File(file) = format {
        write_file(file, &report)?;
        console.say(&format!("written to {}", file.display()));
        return Ok(Exit::Done);
    }
    output::print(
        console,
        format,
        "Report",
        &report,
        || astern_report::text_lines(&report),
        || astern_report::markdown(&report),
    )?;
    Ok(Exit::Done)
}

/// The report of a run.
pub(crate) fn make(wired: &Wired, book: &Book) -> Report {
    astern_report::report(
        &book.id,
        &book.plan,
        &book.hash(),
        &book.records,
        &wired.world.journal.place(),
    )
}

/// Writes the page beside the runner's logs and says where, once a run has come to rest.
pub(crate) fn leave(wired: &Wired, book: &Book, console: &Console) -> Result<PathBuf, CliError> {
    let file = crate::runner::state_folder()?.join(format!("{}.html", book.id));
    write_page(&file, &make(wired, book))?;
    console.say(&format!(
        "report: {}   (again: astern report {})",
        file.display(),
        book.id
    ));
    Ok(file)
}

/// Each piece as a file of its own, named after what it is; the number keeps their order.
async fn write_evidence(
    wired: &Wired,
    folder: &Path,
    report: &Report,
    console: &Console,
) -> Result<(), CliError> {
    std::fs::create_dir_all(folder).map_err(|error| {
        CliError::input(format!("{} cannot be made", folder.display())).cause(error.to_string())
    })?;
    let mut read: BTreeMap<ContentRef, Vec<u8>> = BTreeMap::new();
    for (piece, number) in report.evidence.saved.iter().map(|piece| &piece.what).zip(1..) {
        if !read.contains_key(&piece.content) {
            let content = wired.vault.get(&piece.content).await?;
            read.insert(piece.content.clone(), content);
        }
        let content = &read[&piece.content];
        let from = piece.part.map_or(0, |part| part.from);
        let bounds = usize::try_from(from)
            .ok()
            .zip(usize::try_from(from.saturating_add(piece.size())).ok());
        let bytes = bounds
            .and_then(|(from, to)| content.get(from..to))
            .ok_or_else(|| {
                CliError::input(format!(
                    "{} is not in {}, which the journal says it is",
                    piece.what, piece.content.name
                ))
            })?;
        write_private(&folder.join(file_name(number, &piece.what)), bytes)?;
    }
    let count = report.evidence.saved.len();
    let pieces = if count == 1 { "piece" } else { "pieces" };
    console.say(&format!(
        "{count} {pieces} of evidence written to {}",
        folder.display()
    ));
    Ok(())
}

/// `log pod/web-1 container api (previous)` → `03-log-pod-web-1-container-api-previous.txt`.
fn file_name(number: usize, what: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let words: String = what.chars().map(plain).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    format!("{number:02}-{}.txt", words.join("-"))
}

fn write_page(file: &Path, report: &Report) -> Result<(), CliError> {
    write_private(file, astern_report::html(report).as_bytes())
}

/// By the file's name: `.html`, `.json`, and Markdown for anything else.
fn write_file(file: &Path, report: &Report) -> Result<(), CliError> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => write_page(file, report),
        Some("json") => {
            let document = astern_wire::output::document("Report", report);
            write_private(file, astern_wire::output::to_json_text(&document).as_bytes())
        }
        _ => write_private(file, astern_report::markdown(report).as_bytes()),
    }
}
