//! The small parts that every section of the page is made of: tables, words with their tone, links to records.

use crate::report::Tone;
use astern_model::id::Seq;
use maud::{Markup, html};

/// A link to the record that says what stands before it.
pub(super) fn cite(seq: Seq) -> Markup {
    html! { a.j href={ "#j" (seq) } title={ "record " (seq) " of the journal" } { "j" (seq) } }
}

/// Links to several records.
pub(super) fn cites(seqs: &[Seq]) -> Markup {
    html! { @for (place, seq) in seqs.iter().enumerate() { @if place > 0 { " " } (cite(*seq)) } }
}

/// The class that colours a tone.
pub(super) fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
        Tone::Quiet => "quiet",
    }
}

/// An icon with its word, coloured.
pub(super) fn word(tone: Tone, word: &str) -> Markup {
    html! { span.word.(class(tone)) { (word) } }
}

/// A section with its heading; `id` is where the navigation leads.
pub(super) fn section(id: &str, head: &str, body: Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ "h-" (id) } {
            h2 id={ "h-" (id) } { (head) }
            (body)
        }
    }
}

/// One row of a table: its anchor, if anything leads to it, and its cells.
pub(super) struct Row {
    pub(super) id: Option<String>,
    pub(super) cells: Vec<Markup>,
}

impl Row {
    /// A row that nothing leads to.
    pub(super) fn of(cells: Vec<Markup>) -> Self {
        Self { id: None, cells }
    }
}

/// A table that becomes a stack of cards on a narrow screen. `main` is the column that then heads each card. The
/// roles are said again because a table that is not laid out as one loses them.
pub(super) fn table(caption: &str, header: &[&str], main: usize, rows: Vec<Row>) -> Markup {
    html! {
        div.table {
            table role="table" {
                caption { (caption) }
                thead role="rowgroup" {
                    tr role="row" { @for name in header { th role="columnheader" scope="col" { (name) } } }
                }
                tbody role="rowgroup" {
                    @for row in rows {
                        tr role="row" id=[row.id] {
                            @for (column, cell) in row.cells.into_iter().enumerate() {
                                (table_cell(header[column], column == main, cell))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn table_cell(name: &str, is_main: bool, cell: Markup) -> Markup {
    if cell.0.is_empty() {
        return html! { td role="cell" data-label=(name) {} };
    }
    html! { td class=[is_main.then_some("main")] role="cell" data-label=(name) { span { (cell) } } }
}
