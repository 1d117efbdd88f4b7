//! `policy check`: the matrix, and what is wrong with it.

use crate::args::Global;
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::{self, Format};
use crate::platform;
use astern_model::policy::{Policy, Row};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    matrix: Vec<Row>,
    notes: Vec<String>,
}

pub(crate) fn check(global: &Global, console: &Console) -> Result<Exit, CliError> {
    let format = Format::parse(global.output.as_deref())?;
    let policy = match platform::locate(global)? {
        Some(file) => platform::read(&file)?.policy,
        None => Policy::default(),
    };
    let notes: Vec<String> = astern_wire::policy_check::check_policy(&policy)
        .into_iter()
        .map(|note| format!("{}: {} ({})", note.what.word(), note.message, note.hint))
        .collect();
    let checked = Checked {
        matrix: policy.matrix,
        notes,
    };
    output::print(
        console,
        &format,
        "PolicyCheck",
        &checked,
        || super::look::plain(&text(&checked)),
        || markdown(&checked),
    )?;
    Ok(if checked.notes.is_empty() {
        Exit::Done
    } else {
        Exit::Input
    })
}

fn text(checked: &Checked) -> String {
    let width = checked
        .matrix
        .iter()
        .map(|row| row.id.len())
        .max()
        .unwrap_or(3)
        .max(3);
    let mut lines = vec![format!("{:width$}  {:9}  WHEN", "ROW", "SAYS")];
    for row in &checked.matrix {
        lines.push(format!("{:width$}  {:9}  {}", row.id, say(row), row.because));
    }
    lines.push(String::new());
    if checked.notes.is_empty() {
        lines.push("no row overlaps or contradicts another".to_owned());
    }
    lines.extend(checked.notes.iter().map(|note| format!("! {note}")));
    lines.join("\n")
}

fn markdown(checked: &Checked) -> String {
    let mut lines = vec!["| row | says | when |".to_owned(), "|---|---|---|".to_owned()];
    lines.extend(
        checked
            .matrix
            .iter()
            .map(|row| format!("| `{}` | {} | {} |", row.id, say(row), row.because)),
    );
    lines.extend(checked.notes.iter().map(|note| format!("\n- {note}")));
    lines.join("\n")
}

fn say(row: &Row) -> &'static str {
    match row.then {
        astern_model::policy::Say::RollBack => "roll back",
        astern_model::policy::Say::Ask => "ask",
        astern_model::policy::Say::DoNot => "do not",
    }
}
