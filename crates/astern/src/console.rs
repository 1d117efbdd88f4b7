//! The terminal: data to standard output, everything else to standard error, colour where it is wanted.

use crate::args::Color;
use crate::error::CliError;
use anstyle::{AnsiColor, Style};
use astern_report::{Line, LineKind};
use std::io::{ErrorKind, IsTerminal, Write};

/// How this process talks to a person.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    /// Whether lines may be redrawn.
    pub(crate) redraws: bool,
    color: anstream::ColorChoice,
    /// Whether data is printed.
    prints: bool,
}

/// What a piece of text is, for its colour. The word always says it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// A person should read this.
    Warning,
    /// Not as it should be.
    Bad,
    /// A heading.
    Strong,
    /// Beside the matter.
    Dim,
    /// Nothing special.
    Plain,
}

impl Console {
    pub(crate) fn new(color: Color, accessible: bool) -> Self {
        let color = match color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        };
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            redraws: std::io::stderr().is_terminal() && !accessible && !dumb,
            color,
            prints: true,
        }
    }

    /// The same terminal with standard output thrown away.
    pub(crate) fn without_data(&self) -> Self {
        Self {
            prints: false,
            ..self.clone()
        }
    }

    /// Whether a person can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Data. A closed pipe is a reader that has seen enough; any other failure is an error, for a script must not take
    /// half a document for a whole one.
    pub(crate) fn data(&self, text: &str) -> Result<(), CliError> {
        if !self.prints {
            return Ok(());
        }
        let mut out = anstream::AutoStream::new(std::io::stdout().lock(), self.color);
        let line_end = if text.ends_with('\n') { "" } else { "\n" };
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(line_end.as_bytes()))
            .and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::input(
                "standard output cannot be written; what was printed is incomplete",
            )
            .cause(error.to_string())),
            _ => Ok(()),
        }
    }

    /// Lines as data, in the colours of their kinds.
    pub(crate) fn data_lines(&self, lines: &[Line]) -> Result<(), CliError> {
        self.data(&painted(lines))
    }

    /// Lines for the person, in the colours of their kinds.
    pub(crate) fn say_lines(&self, lines: &[Line]) {
        self.say(&painted(lines));
    }

    /// A line for the person.
    pub(crate) fn say(&self, text: &str) {
        let mut err = anstream::AutoStream::new(std::io::stderr().lock(), self.color);
        let _ = writeln!(err, "{text}");
    }

    /// Text for the person without a line end; used for prompts and redrawing.
    pub(crate) fn raw(&self, text: &str) {
        let mut err = anstream::AutoStream::new(std::io::stderr().lock(), self.color);
        let _ = err.write_all(text.as_bytes());
        let _ = err.flush();
    }

    /// A warning.
    pub(crate) fn warn(&self, text: &str) {
        self.say(&format!("{} {text}", paint(Tone::Warning, "warning:")));
    }

    /// An error, with its causes and hints.
    pub(crate) fn error(&self, error: &CliError) {
        let text = error.text();
        let painted = text
            .lines()
            .map(|line| match line.split_once(": ") {
                Some((head @ "error", rest)) => format!("{} {rest}", paint(Tone::Bad, &format!("{head}:"))),
                Some((head @ "hint", rest)) => format!("{} {rest}", paint(Tone::Strong, &format!("{head}:"))),
                _ => line.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("\n");
        self.say(&painted);
    }

    /// Asks for a line; none when nobody is there.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        if !self.can_ask() {
            return None;
        }
        self.raw(&format!("{question} "));
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .ok()
            .filter(|read| *read > 0)
            .map(|_| line.trim().to_owned())
    }

    /// Asks yes or no, with No in focus: only `y` or `yes` is a yes.
    pub(crate) fn confirm(&self, question: &str) -> bool {
        self.ask(&format!("{question} [y/N]"))
            .is_some_and(|answer| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

fn painted(lines: &[Line]) -> String {
    let tone = |kind: LineKind| match kind {
        LineKind::Title | LineKind::Head => Tone::Strong,
        LineKind::Good | LineKind::Added => Tone::Good,
        LineKind::Warn => Tone::Warning,
        LineKind::Bad | LineKind::Destroys | LineKind::Removed => Tone::Bad,
        LineKind::Dim => Tone::Dim,
        LineKind::Text | LineKind::Step | LineKind::Blank => Tone::Plain,
    };
    lines
        .iter()
        .map(|line| paint(tone(line.kind), &line.text))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Text in the colour of its tone.
pub(crate) fn paint(tone: Tone, text: &str) -> String {
    let style = match tone {
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Warning => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
        Tone::Strong => Style::new().bold(),
        Tone::Dim => Style::new().dimmed(),
        Tone::Plain => return text.to_owned(),
    };
    format!("{style}{text}{style:#}")
}
