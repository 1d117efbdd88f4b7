//! Numbers measured side by side: A B A B …, median and spread. Owns the arithmetic and the timing of children.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};
use crate::process::command_line;

/// Values of one measure, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample(Vec<f64>);

impl Sample {
    pub(super) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(super) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().copied().map(change).collect())
    }

    pub(super) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// The smallest and the largest.
    pub(super) fn spread(&self) -> (f64, f64) {
        let sorted = self.sorted();
        let at = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        (at(sorted.first()), at(sorted.last()))
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// Two programs measured in turns. The ratio is taken within each pair, so that a machine that is busy for a while
/// slows both sides of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    pub(super) ours: Sample,
    pub(super) theirs: Sample,
    pub(super) ratio: Sample,
}

impl Pairs {
    /// Measures both `count` times in turns; the values are seconds.
    pub(super) fn take(
        count: usize,
        mut ours: impl FnMut() -> Outcome<Duration>,
        mut theirs: impl FnMut() -> Outcome<Duration>,
    ) -> Outcome<Self> {
        let mut pairs = Self::default();
        for _ in 0..count {
            pairs.add(ours()?, theirs()?);
        }
        Ok(pairs)
    }

    pub(super) fn add(&mut self, ours: Duration, theirs: Duration) {
        self.ours.add(ours.as_secs_f64());
        self.theirs.add(theirs.as_secs_f64());
        self.ratio.add(ours.as_secs_f64() / theirs.as_secs_f64());
    }
}

/// How long a program runs, its output thrown away. It must succeed: a failure is often quick.
pub(super) fn timed(command: &mut Command) -> Outcome<Duration> {
    let line = command_line(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status();
    let took = start.elapsed();
    match status {
        Ok(status) if status.success() => Ok(took),
        Ok(status) => Err(Failure::new(format!("it ended with {status}")).command(line)),
        Err(error) => Err(Failure::new(format!("cannot start it: {error}")).command(line)),
    }
}
