//! `report`: the account of a run, from its journal alone.

use super::look::write_private;
use super::tend::pick;
use crate::args;
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::{self, Format};
use crate::wiring::Wired;
use astern_exec::book::Book;
use astern_report::Report;
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
    if let Some(file) = &arguments.html {
        write_page(file, &report)?;
        console.say(&format!("written to {}", file.display()));
        if matches!(format, Format::Text) {
            return Ok(Exit::Done);
        }
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
