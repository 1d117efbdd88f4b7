//! Tables: columns aligned for a terminal the way kubectl prints them, and the same rows as Markdown.

use crate::line::{Line, LineKind};
use crate::visible::visible;

/// Spaces between two columns, as kubectl has them.
const GAP: usize = 3;

/// Rows of cells under a header. Cells for Markdown are already escaped.
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<(LineKind, Vec<String>)>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Whatever a cell holds, it stays in its line.
    pub(crate) fn row(&mut self, kind: LineKind, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| visible(cell.as_ref())).collect();
        debug_assert_eq!(
            cells.len(),
            self.header.len(),
            "BUG: a row has another number of cells than the header"
        );
        self.rows.push((kind, cells));
    }

    /// The table as aligned lines; nothing without rows.
    pub(crate) fn lines(&self) -> Vec<Line> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let width = |column: usize| {
            let cells = self.rows.iter().map(|(_, cells)| cells[column].chars().count());
            cells.chain([self.header[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let header: Vec<String> = self.header.iter().map(|&name| name.to_owned()).collect();
        std::iter::once(Line::new(LineKind::Head, aligned(&header, &widths)))
            .chain(
                self.rows
                    .iter()
                    .map(|(kind, cells)| Line::new(*kind, aligned(cells, &widths))),
            )
            .collect()
    }

    /// The table as Markdown; nothing without rows.
    pub(crate) fn markdown(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let rule = "|---".repeat(self.header.len());
        let rows: String = self
            .rows
            .iter()
            .map(|(_, cells)| format!("| {} |\n", cells.join(" | ")))
            .collect();
        format!("| {} |\n{rule}|\n{rows}", self.header.join(" | "))
    }
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(cell);
        text.push_str(&" ".repeat(width + GAP - cell.chars().count().min(*width)));
    }
    text.truncate(text.trim_end().len());
    text
}
