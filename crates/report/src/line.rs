//! Lines of plain text with a kind each. Owns what a line is for; knows no colour, no terminal and no width.

use crate::visible::visible;

/// One line for a terminal, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is for.
    pub kind: LineKind,
    /// The text. It says everything by itself: the kind only lets a terminal add colour.
    pub text: String,
}

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    /// The first line of a document.
    Title,
    /// The head of a part, or a table's header row.
    Head,
    /// Ordinary text.
    Text,
    /// A step of a plan.
    Step,
    /// Something that is as it should be.
    Good,
    /// Something to read before going on, or that is not known.
    Warn,
    /// Something that is not as it should be, or a refusal.
    Bad,
    /// Something that cannot be taken back, by name.
    Destroys,
    /// What a change brings.
    Added,
    /// What a change takes away.
    Removed,
    /// Detail that the eye may skip.
    Dim,
    /// An empty line.
    Blank,
}

impl Line {
    /// A line of this kind. Whatever the text holds, it stays one line and cannot steer a terminal.
    pub fn new(kind: LineKind, text: impl AsRef<str>) -> Self {
        Self {
            kind,
            text: visible(text.as_ref()),
        }
    }

    /// An empty line.
    pub fn blank() -> Self {
        Self::new(LineKind::Blank, "")
    }
}

/// The lines as one text; each ends with a line end.
pub fn joined(lines: &[Line]) -> String {
    lines
        .iter()
        .flat_map(|line| [line.text.trim_end(), "\n"])
        .collect()
}

/// The parts that have lines, with an empty line between them.
pub(crate) fn parts(parts: impl IntoIterator<Item = Vec<Line>>) -> Vec<Line> {
    let mut all: Vec<Line> = Vec::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if !all.is_empty() {
            all.push(Line::blank());
        }
        all.extend(part);
    }
    all
}

/// A part: its head, then its lines two columns further in. Without lines there is no part.
pub(crate) fn part(head: impl AsRef<str>, body: Vec<Line>) -> Vec<Line> {
    if body.is_empty() {
        return Vec::new();
    }
    let indented = body.into_iter().map(|line| Line {
        text: format!("  {}", line.text),
        ..line
    });
    std::iter::once(Line::new(LineKind::Head, head))
        .chain(indented)
        .collect()
}
