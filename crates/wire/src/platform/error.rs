//! What is wrong with an `astern.yaml`, told to a tired person: file, line, a caret, the cause, the nearest right word.
//! Owns how it is shown; what is wrong is found elsewhere.

use std::fmt;

/// A file with a hundred slips has one cause; more than these only hide it.
const SHOWN: usize = 10;

/// A source line that is longer is cut around the caret, so that it stays one line on a terminal.
const LINE_WIDTH: usize = 120;

/// Why an `astern.yaml` cannot be used. Its text names every place at once; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformError {
    file: String,
    problems: Vec<Shown>,
}

/// The kinds of what can be wrong. Each has a page in `docs/errors/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// Not YAML, more than one document, or beyond the limits.
    NotYaml,
    /// YAML, but not a platform of a version that this release reads.
    NotAPlatform,
    /// A key that does not exist.
    UnknownKey,
    /// A key that must be there is not.
    MissingKey,
    /// A value of another type, or none of the words or numbers that may stand there.
    WrongValue,
    /// A duration that cannot be read, or is zero.
    Duration,
    /// The same name twice where each may stand once.
    Twice,
    /// `dependsOn` names no workload of the file, or more than one.
    Dependency,
    /// The dependencies go round in a circle.
    Cycle,
    /// A probe that cannot be asked.
    Probe,
    /// A reference to a secret that is none.
    Bearer,
}

impl Code {
    /// The code as it is printed, and as its page is named.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotYaml => "AST0001",
            Self::NotAPlatform => "AST0002",
            Self::UnknownKey => "AST0003",
            Self::MissingKey => "AST0004",
            Self::WrongValue => "AST0005",
            Self::Duration => "AST0006",
            Self::Twice => "AST0007",
            Self::Dependency => "AST0008",
            Self::Cycle => "AST0009",
            Self::Probe => "AST0010",
            Self::Bearer => "AST0011",
        }
    }
}

/// One thing that is wrong, as it is found. Line and column count from 1; line 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// One thing that is wrong, with the source line as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    problem: Problem,
    source: Source,
}

/// What is shown of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// There is no such line: the file as a whole is meant.
    None,
    /// It may hold a secret, so it is not shown.
    Withheld,
    /// The line, and the caret's place and width in it.
    Line {
        text: String,
        before: usize,
        width: usize,
    },
}

impl PlatformError {
    /// Takes what was found; the lines are copied now, so that the text need not be kept.
    pub(crate) fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        let lines: Vec<&str> = text.lines().collect();
        let problems = problems.into_iter().map(|problem| Shown {
            source: source(&lines, &problem),
            problem: Problem {
                message: printable(&problem.message),
                hint: problem.hint.as_deref().map(printable),
                ..problem
            },
        });
        Self {
            file: file.to_owned(),
            problems: problems.collect(),
        }
    }

    /// The code of the first thing that is wrong.
    pub fn code(&self) -> &'static str {
        self.problems
            .first()
            .map_or(Code::NotYaml, |shown| shown.problem.code)
            .as_str()
    }

    /// The codes of everything that is wrong, in the order of the file.
    pub fn codes(&self) -> impl Iterator<Item = Code> + '_ {
        self.problems.iter().map(|shown| shown.problem.code)
    }
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shown in self.problems.iter().take(SHOWN) {
            shown.write(&self.file, f)?;
            writeln!(f)?;
        }
        if let Some(more) = self.problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            writeln!(f, "… and {more} more")?;
        }
        f.write_str("nothing was changed")
    }
}

impl std::error::Error for PlatformError {}

impl Shown {
    fn write(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            code,
            line,
            column,
            message,
            hint,
        } = &self.problem;
        let code = code.as_str();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        match &self.source {
            Source::None => writeln!(f, "{file}: {message} [{code}]")?,
            Source::Withheld => {
                writeln!(f, "{file}:{line}:{column}: {message} [{code}]")?;
                writeln!(f, " {number} | (not shown: the line may hold a secret)")?;
            }
            Source::Line { text, before, width } => {
                writeln!(f, "{file}:{line}:{column}: {message} [{code}]")?;
                writeln!(f, " {number} | {text}")?;
                writeln!(f, " {margin} | {}{}", " ".repeat(*before), "^".repeat(*width))?;
            }
        }
        match hint {
            Some(hint) => writeln!(f, " {margin} = {hint}"),
            None => Ok(()),
        }
    }
}

fn source(lines: &[&str], problem: &Problem) -> Source {
    let Some(index) = problem.line.checked_sub(1) else {
        return Source::None;
    };
    let Some(line) = lines.get(index) else {
        return Source::None;
    };
    if in_bearer(lines, index) {
        return Source::Withheld;
    }
    let mut text: Vec<char> = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let before = problem.column.saturating_sub(1).min(text.len());
    let width = token(&text[before..]).max(1);
    if problem.code == Code::UnknownKey {
        // Whatever stands under a key that astern does not know may be a secret: `token: …`.
        cut(&mut text, before + width);
    } else if let Some(rest) = credentials(&text) {
        cut(&mut text, rest);
    }
    let (text, before) = crop(&text, before.min(text.len()));
    let width = width.min(text.chars().count().saturating_sub(before)).max(1);
    Source::Line { text, before, width }
}

/// Longer sentences hold a name from the file that is no name.
const SENTENCE: usize = 300;

/// The text without what a terminal would obey, and not without end: names in it come from the file.
fn printable(text: &str) -> String {
    let mut printable: String = text
        .chars()
        .take(SENTENCE)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(SENTENCE).is_some() {
        printable.push('…');
    }
    printable
}

/// The keys under which a token may be written by mistake.
const SECRET: [&str; 3] = ["bearer", "token", "tokenfrom"];

/// Whether a line is, or stands under, one of these keys.
pub(crate) fn in_bearer(lines: &[&str], index: usize) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut depth = usize::MAX;
    for line in lines[..=index.min(lines.len().saturating_sub(1))].iter().rev() {
        if line.trim().is_empty() {
            continue;
        }
        // Only lines that stand further left than all between can be what this one stands under.
        if indent(line) < depth {
            let own = depth == usize::MAX;
            if has_bearer_key(line) || own && line.to_ascii_lowercase().contains("bearer ") {
                return true;
            }
            depth = indent(line);
        }
        if depth == 0 {
            break;
        }
    }
    false
}

fn has_bearer_key(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    SECRET.iter().any(|word| {
        line.match_indices(word).any(|(at, _)| {
            line[at + word.len()..]
                .trim_start_matches(['"', '\'', ' '])
                .starts_with(':')
        })
    })
}

/// Where the part of an address or path begins that may hold a password or a token.
fn credentials(text: &[char]) -> Option<usize> {
    let host = text
        .windows(3)
        .position(|three| three == [':', '/', '/'])
        .map(|at| at + 3);
    let question = text.iter().position(|c| *c == '?').map(|at| at + 1);
    match host {
        Some(start) if text[start..].contains(&'@') => Some(start),
        Some(_) | None => question,
    }
}

fn cut(text: &mut Vec<char>, at: usize) {
    if at < text.len() {
        text.truncate(at);
        text.push('…');
    }
}

/// The length of the key or value that begins here.
fn token(text: &[char]) -> usize {
    match text.first() {
        Some(quote @ ('"' | '\'')) => text
            .iter()
            .skip(1)
            .position(|c| c == quote)
            .map_or(text.len(), |end| end + 2),
        Some('[' | '{') | None => 1,
        Some(_) => text
            .iter()
            .position(|c| matches!(c, ' ' | ',' | ']' | '}' | '#') || *c == ':')
            .unwrap_or(text.len()),
    }
}

fn crop(text: &[char], before: usize) -> (String, usize) {
    let trimmed = text.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
    let text = &text[..trimmed];
    if text.len() <= LINE_WIDTH {
        return (text.iter().collect(), before);
    }
    let start = before.saturating_sub(LINE_WIDTH / 2).min(text.len() - LINE_WIDTH);
    let mut part: Vec<char> = text[start..start + LINE_WIDTH].to_vec();
    if start > 0 {
        part[0] = '…';
    }
    if start + LINE_WIDTH < text.len() {
        part[LINE_WIDTH - 1] = '…';
    }
    (part.iter().collect(), before - start)
}
