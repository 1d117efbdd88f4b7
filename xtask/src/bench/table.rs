//! The table that a bench ends with. Owns its columns and the words for a bar; measures nothing.

use std::fmt;

use super::sample::{Pairs, Sample};

/// What a figure must reach, and whether it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bar {
    /// At most so much.
    AtMost(f64),
    /// No bar: the figure is stated.
    Stated,
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Row {
    what: String,
    astern: String,
    compared: String,
    figure: String,
    value: f64,
    bar: Bar,
}

impl Row {
    /// A ratio of two times.
    pub(super) fn ratio(what: impl Into<String>, compared_with: &str, pairs: &Pairs, bar: Bar) -> Self {
        let (low, high) = pairs.ratio.spread();
        Self {
            what: what.into(),
            astern: seconds(&pairs.ours),
            compared: format!("{} {compared_with}", seconds(&pairs.theirs)),
            figure: format!("{:.2}× ({low:.2}–{high:.2})", pairs.ratio.median()),
            value: pairs.ratio.median(),
            bar,
        }
    }

    /// A number of its own; the worst of a sample counts.
    pub(super) fn count(what: impl Into<String>, unit: &str, sample: &Sample, bar: Bar) -> Self {
        let (low, high) = sample.spread();
        let figure = if (high - low).abs() < f64::EPSILON {
            format!("{high} {unit}")
        } else {
            format!("{high} {unit} ({low}–{high})")
        };
        Self {
            what: what.into(),
            astern: String::new(),
            compared: String::new(),
            figure,
            value: high,
            bar,
        }
    }

    /// One figure with its own words.
    pub(super) fn one(what: impl Into<String>, figure: String, value: f64, bar: Bar) -> Self {
        Self {
            what: what.into(),
            astern: String::new(),
            compared: String::new(),
            figure,
            value,
            bar,
        }
    }

    pub(super) fn missed(&self) -> bool {
        match self.bar {
            // A figure that is not a number reached nothing.
            Bar::AtMost(most) => self.value.is_nan() || self.value > most,
            Bar::Stated => false,
        }
    }

    fn cells(&self) -> [String; 6] {
        let bar = match self.bar {
            Bar::AtMost(most) => format!("≤ {most}"),
            Bar::Stated => String::new(),
        };
        let verdict = match self.bar {
            Bar::Stated => "stated",
            Bar::AtMost(_) if self.missed() => "MISSED",
            Bar::AtMost(_) => "met",
        };
        [
            self.what.clone(),
            self.astern.clone(),
            self.compared.clone(),
            self.figure.clone(),
            bar,
            verdict.to_owned(),
        ]
    }
}

const HEAD: [&str; 6] = ["what", "astern", "compared with", "figure", "bar", ""];

/// All rows, and a last line that counts them.
pub(super) struct Table(pub(super) Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![HEAD.map(str::to_owned)];
        lines.extend(self.0.iter().map(Row::cells));
        let mut widths = [0; 6];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in &lines {
            let cells: Vec<String> = line
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        let missed: Vec<&str> = self
            .0
            .iter()
            .filter(|row| row.missed())
            .map(|row| row.what.as_str())
            .collect();
        let bars = self.0.iter().filter(|row| row.bar != Bar::Stated).count();
        if bars == 0 {
            write!(out, "\nno bar hangs on these")
        } else if missed.is_empty() {
            write!(out, "\nall {bars} bars met")
        } else {
            write!(
                out,
                "\n{} of {bars} bars MISSED: {}",
                missed.len(),
                missed.join(" · ")
            )
        }
    }
}

fn seconds(sample: &Sample) -> String {
    let median = sample.median();
    if median < 1.0 {
        format!("{:.0} ms", median * 1000.0)
    } else {
        format!("{median:.2} s")
    }
}
