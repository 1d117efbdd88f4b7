//! `cargo xtask picture`: the demo as a terminal shows it, as an SVG for the README. Text in the colours of its escapes,
//! cut to a width.

use std::fs;
use std::process::Command;

use crate::arguments::Arguments;
use crate::failure::{Outcome, doing};
use crate::{process, workspace};

const HELP: &str = "\
Draws what `cargo run --release -- demo` says into docs/run.svg, which the README shows.

Usage: cargo xtask picture

Nothing is installed and nothing is asked: the demo runs in memory.";

/// The demo, with both of its outputs in the order in which a terminal shows them.
const DEMO: &str = "exec ./target/release/astern --color always demo --seed 1 --yes 2>&1";

/// Columns of the picture; longer lines end in `…`.
const COLUMNS: usize = 118;
const CHAR_WIDTH: f64 = 7.8;
const LINE_HEIGHT: usize = 18;
const MARGIN: usize = 16;

/// How a piece of text looks.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    /// The class of its colour, none for the ordinary one.
    colour: Option<&'static str>,
    bold: bool,
    dim: bool,
}

pub(crate) fn main(mut arguments: Arguments) -> Outcome {
    if arguments.help() {
        println!("{HELP}");
        return Ok(());
    }
    arguments.end()?;
    let build = ["build", "--release", "--package", "astern"];
    process::run(Command::new("cargo").args(build).current_dir(workspace::root()))?;
    let shown = process::read(
        Command::new("sh")
            .args(["-c", DEMO])
            .current_dir(workspace::root()),
    )?;
    // Whose machine it was drawn on is nobody's business.
    let home = std::env::var("HOME").unwrap_or_default();
    let shown = if home.len() > 1 {
        shown.replace(&home, "~")
    } else {
        shown
    };
    let file = workspace::root().join("docs/run.svg");
    fs::write(&file, svg(&shortened(&shown))).map_err(doing(format!("write {}", file.display())))?;
    println!("{}", file.display());
    Ok(())
}

/// The whole picture of some output with ANSI colours.
fn svg(output: &str) -> String {
    let lines: Vec<String> = output
        .lines()
        .zip(1..)
        .map(|(line, number)| row(line, number))
        .collect();
    let width = (COLUMNS as f64 * CHAR_WIDTH) as usize + 2 * MARGIN;
    let height = lines.len() * LINE_HEIGHT + 2 * MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"A run of astern in a terminal\">\n\
         <style>text{{font:13px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#d8dee4;white-space:pre}}\
         .g{{fill:#6fcf8a}}.y{{fill:#e3b341}}.r{{fill:#ff8078}}.b{{font-weight:700}}.d{{fill:#8b949e}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#161b22\"/>\n{}</svg>\n",
        lines.concat()
    )
}

/// Parts of a plan, and of the story, that a picture has no room for, by how their first line begins. What the cluster
/// remembers goes with the parts after it, one a workload.
const LEFT_OUT: [&str; 10] = [
    "── what the cluster remembers",
    "$ astern releases",
    "deployment/",
    "statefulset/",
    "daemonset/",
    "What changes",
    "It does not change",
    "It counts as recovered",
    "Before you say yes",
    "Held for",
];

/// The output without the parts that a README has no room for, and with a mark where they were.
fn shortened(output: &str) -> String {
    let mut shown = String::new();
    for part in output.split_inclusive("\n\n") {
        let first: String = pieces(part.lines().next().unwrap_or_default())
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        if !LEFT_OUT.iter().any(|head| first.starts_with(head)) {
            shown.push_str(part);
        } else if !shown.ends_with("…\n\n") {
            shown.push_str("…\n\n");
        }
    }
    shown
}

fn row(line: &str, number: usize) -> String {
    let mut left = COLUMNS;
    let mut spans = String::new();
    for (look, text) in pieces(line) {
        let shown = cut(&text, &mut left);
        if !shown.is_empty() {
            spans.push_str(&span(look, &shown));
        }
    }
    if spans.is_empty() {
        return String::new();
    }
    let y = MARGIN + number * LINE_HEIGHT - 4;
    format!("<text x=\"{MARGIN}\" y=\"{y}\" xml:space=\"preserve\">{spans}</text>\n")
}

fn cut(text: &str, left: &mut usize) -> String {
    let length = text.chars().count();
    if *left == 0 {
        return String::new();
    }
    if length <= *left {
        *left -= length;
        return text.to_owned();
    }
    let kept: String = text.chars().take(*left - 1).collect();
    *left = 0;
    kept + "…"
}

fn span(look: Look, text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let classes: Vec<&str> = [look.colour, look.bold.then_some("b"), look.dim.then_some("d")]
        .into_iter()
        .flatten()
        .collect();
    if classes.is_empty() {
        text
    } else {
        format!("<tspan class=\"{}\">{text}</tspan>", classes.join(" "))
    }
}

/// The line in pieces of one look each. Of the escapes only colours mean something here.
fn pieces(line: &str) -> Vec<(Look, String)> {
    let mut look = Look::default();
    let mut pieces = Vec::new();
    let mut parts = line.split('\u{1b}');
    pieces.extend(parts.next().map(|text| (look, text.to_owned())));
    for part in parts {
        let Some((codes, text)) = part.strip_prefix('[').and_then(|part| part.split_once('m')) else {
            continue;
        };
        codes.split(';').for_each(|code| apply(&mut look, code));
        pieces.push((look, text.to_owned()));
    }
    pieces
}

fn apply(look: &mut Look, code: &str) {
    match code {
        "" | "0" => *look = Look::default(),
        "1" => look.bold = true,
        "2" => look.dim = true,
        "31" => look.colour = Some("r"),
        "32" => look.colour = Some("g"),
        "33" => look.colour = Some("y"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::svg;

    #[test]
    fn colours_become_classes_markup_is_escaped_and_long_lines_are_cut() {
        let picture = svg(&format!("\u{1b}[32m✓ done\u{1b}[0m a < b\n{}", "x".repeat(300)));
        assert!(
            picture.contains("<tspan class=\"g\">✓ done</tspan> a &lt; b</text>"),
            "{picture}"
        );
        assert!(
            picture.contains(&format!(">{}…</text>", "x".repeat(117))),
            "{picture}"
        );
    }
}
