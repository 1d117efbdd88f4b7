//! Shows a run as it goes: a tree that is redrawn on a terminal, one line an event elsewhere. Both come from the
//! same records, whether the run is carried out here or only watched.

use crate::console::{Console, Tone, paint};
use astern_engine::{Phase, Run, Status};
use astern_exec::driver::Observer;
use astern_model::choice::human;
use astern_model::id::StepId;
use astern_model::plan::Plan;
use astern_model::record::{Event, Outcome, Record};
use jiff::Timestamp;
use std::sync::Mutex;

/// An observer that prints.
pub(crate) struct Progress {
    console: Console,
    plan: Plan,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Lines of the tree that stand on the screen and are drawn over next time.
    drawn: usize,
    /// The newest run, for redrawing when only time has passed.
    run: Option<Run>,
    /// The highest record that was shown: attaching shows each once.
    shown: Option<u64>,
}

impl Progress {
    pub(crate) fn new(console: Console, plan: Plan) -> Self {
        Self {
            console,
            plan,
            state: Mutex::new(State::default()),
        }
    }

    /// Draws the tree again, so that times go on while nothing happens. Nothing where lines are not redrawn.
    pub(crate) fn tick(&self) {
        if !self.console.redraws {
            return;
        }
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(run) = state.run.take() {
            self.draw(&mut state, &run);
            state.run = Some(run);
        }
    }

    fn draw(&self, state: &mut State, run: &Run) {
        let (rows, columns) = size();
        let lines: Vec<String> = tree(&self.plan, run, Timestamp::now(), rows.saturating_sub(3))
            .iter()
            .map(|line| clipped(line, columns))
            .collect();
        let mut text = String::new();
        if state.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", state.drawn));
        }
        for line in &lines {
            text.push_str(&format!("\x1b[2K{line}\x1b[0m\n"));
        }
        let leftover = state.drawn.saturating_sub(lines.len());
        text.push_str(&"\x1b[2K\n".repeat(leftover));
        if leftover > 0 {
            text.push_str(&format!("\x1b[{leftover}A"));
        }
        state.drawn = lines.len();
        self.console.raw(&text);
    }
}

impl Observer for Progress {
    fn see(&self, record: &Record, run: &Run) {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.shown.is_some_and(|shown| record.seq.0 <= shown) {
            return;
        }
        state.shown = Some(record.seq.0);
        if self.console.redraws {
            self.draw(&mut state, run);
            state.run = Some(run.clone());
        } else if let Some((tone, line)) = line(&self.plan, record) {
            self.console.say(&format!(
                "{} {}",
                record.at.strftime("%H:%M:%S"),
                paint(tone, &line)
            ));
        }
    }
}

/// Rows and columns of the terminal; 24 by 80 where nothing tells.
fn size() -> (usize, usize) {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or((24, 80), |size| {
        (usize::from(size.ws_row.max(10)), usize::from(size.ws_col.max(40)))
    })
}

/// A line that fits one row, so that moving up by lines moves up by rows. Colour sequences take no room.
fn clipped(line: &str, columns: usize) -> String {
    let mut out = String::new();
    let (mut width, mut in_sequence) = (0, false);
    for c in line.chars() {
        match c {
            '\x1b' => in_sequence = true,
            'm' if in_sequence => in_sequence = false,
            _ if in_sequence => {}
            _ if width + 1 >= columns => {
                out.push('…');
                return out;
            }
            _ => width += 1,
        }
        out.push(c);
    }
    out
}

/// The tree: one line a step in plan order. When it does not fit, done and waiting steps are folded into counts;
/// what fails or is under way always stays.
fn tree(plan: &Plan, run: &Run, now: Timestamp, rows: usize) -> Vec<String> {
    let all: Vec<(u8, String)> = plan
        .steps
        .iter()
        .map(|step| {
            let status = run.status(&step.id);
            (weight(status), step_line(&step.spec.phrase(), status, now))
        })
        .collect();
    let mut lines = vec![head(run)];
    if all.len() < rows {
        lines.extend(all.into_iter().map(|(_, line)| line));
        return lines;
    }
    let mut busy: Vec<&(u8, String)> = all.iter().filter(|(weight, _)| *weight <= 1).collect();
    busy.sort_by_key(|(weight, _)| *weight);
    let done = all.iter().filter(|(weight, _)| *weight == 3).count();
    let waiting = all.iter().filter(|(weight, _)| *weight == 2).count();
    lines.push(paint(Tone::Good, &format!("  ✔ {done} done")));
    lines.extend(
        busy.iter()
            .take(rows.saturating_sub(4))
            .map(|(_, line)| line.clone()),
    );
    let hidden = busy.len().saturating_sub(rows.saturating_sub(4));
    if hidden > 0 {
        lines.push(format!("  … {hidden} more under way"));
    }
    lines.push(paint(Tone::Dim, &format!("  ◌ {waiting} waiting")));
    lines
}

/// What is shown first when not everything fits: 0 failed, 1 under way, 2 waiting, 3 done.
fn weight(status: &Status) -> u8 {
    match status {
        Status::Failed(_) | Status::ReverseFailed(..) => 0,
        Status::Intended(_) | Status::Unsettled(..) | Status::Reversing(_) | Status::ReverseUnsettled(..) => {
            1
        }
        Status::Pending => 2,
        Status::Done { .. } | Status::Reversed => 3,
    }
}

fn head(run: &Run) -> String {
    let id = run.id.as_ref().map(ToString::to_string).unwrap_or_default();
    let (tone, word) = match &run.phase {
        Phase::Running if run.restored_at.is_some() => (
            Tone::Good,
            "service restored; validating over the soak window".to_owned(),
        ),
        Phase::Running => (Tone::Strong, "under way".to_owned()),
        Phase::Held { why, .. } => (Tone::Warning, format!("held: {why}")),
        Phase::Unwinding { why } => (Tone::Warning, format!("taking back: {why}")),
        Phase::Finished(Outcome::Restored) => (Tone::Good, "restored".to_owned()),
        Phase::Finished(Outcome::Unwound { why }) => (Tone::Warning, format!("unwound: {why}")),
        Phase::Finished(Outcome::Stuck { why, .. }) => (Tone::Bad, format!("stuck: {why}")),
        Phase::Finished(Outcome::Superseded { by }) => (Tone::Warning, format!("superseded by {by}")),
    };
    format!("{} {}", paint(Tone::Strong, &id), paint(tone, &word))
}

fn step_line(phrase: &str, status: &Status, now: Timestamp) -> String {
    let since = |from: Timestamp, to: Timestamp| human(to.duration_since(from));
    match status {
        Status::Pending => paint(Tone::Dim, &format!("  ◌ waiting   {phrase}")),
        Status::Intended(attempt) => format!("  ▸ under way {phrase}  {}", since(attempt.since, now)),
        Status::Unsettled(attempt, _) => paint(
            Tone::Warning,
            &format!("  ? unknown   {phrase}  {}", since(attempt.since, now)),
        ),
        Status::Done { since: from, at, .. } => paint(
            Tone::Good,
            &format!("  ✔ done      {phrase}  {}", since(*from, *at)),
        ),
        Status::Failed(failing) => paint(
            Tone::Bad,
            &format!("  ✖ failed    {phrase}: {}", failing.failure.message),
        ),
        Status::Reversing(_) | Status::ReverseUnsettled(..) => {
            paint(Tone::Warning, &format!("  ↩ going back {phrase}"))
        }
        Status::ReverseFailed(_, failure) => paint(
            Tone::Bad,
            &format!("  ✖ not taken back {phrase}: {}", failure.message),
        ),
        Status::Reversed => paint(Tone::Dim, &format!("  ↩ taken back {phrase}")),
    }
}

/// One record as one line; none where it would say nothing to a person.
fn line(plan: &Plan, record: &Record) -> Option<(Tone, String)> {
    let phrase = |step: &StepId| {
        plan.step(step)
            .map_or_else(|| step.to_string(), |step| step.spec.phrase())
    };
    Some(match &record.event {
        Event::Approved { run, approval } => (
            Tone::Strong,
            format!("run {run} approved by {}: {}", approval.by, approval.reason),
        ),
        Event::Taken { holder } => (
            Tone::Dim,
            format!("carried out by {} on {}", holder.user, holder.host),
        ),
        Event::Saved { evidence, missed } => {
            let missed = if missed.is_empty() {
                String::new()
            } else {
                format!(", missed: {}", missed.join("; "))
            };
            (
                Tone::Plain,
                format!("evidence saved: {} pieces{missed}", evidence.len()),
            )
        }
        Event::Intended { step, attempt: 1, .. } => (Tone::Plain, format!("▸ start: {}", phrase(step))),
        Event::Intended { step, attempt, .. } => {
            (Tone::Warning, format!("▸ attempt {attempt}: {}", phrase(step)))
        }
        Event::Applied { step, .. } => (Tone::Good, format!("✔ done: {}", phrase(step))),
        Event::Failed { step, failure } => (
            Tone::Bad,
            format!(
                "✖ failed: {}: {}{}",
                phrase(step),
                failure.message,
                evidence(&failure.evidence)
            ),
        ),
        Event::Unsettled { step, failure } => (
            Tone::Warning,
            format!("? unknown: {}: {}", phrase(step), failure.message),
        ),
        Event::ReverseIntended { step, .. } => (Tone::Warning, format!("↩ taking back: {}", phrase(step))),
        Event::Reversed { step, .. } => (Tone::Good, format!("↩ taken back: {}", phrase(step))),
        Event::ReverseFailed { step, failure } => (
            Tone::Bad,
            format!("✖ not taken back: {}: {}", phrase(step), failure.message),
        ),
        Event::Requested { request, by } => (
            Tone::Warning,
            format!("{by} asks to {}", format!("{request:?}").to_lowercase()),
        ),
        Event::Held { why } => (Tone::Warning, format!("held: {why}")),
        Event::Resumed { by } => (Tone::Plain, format!("resumed by {by}")),
        Event::Unwinding { why } => (Tone::Warning, format!("taking back what was done: {why}")),
        Event::Restored => (
            Tone::Good,
            "✔ the last workload serves; validating over the soak window".to_owned(),
        ),
        Event::Judged { verdict } if verdict.passes() => (
            Tone::Good,
            format!("✔ validated: held for {}", human(verdict.held_for)),
        ),
        Event::Judged { .. } => (Tone::Bad, "✖ not validated".to_owned()),
        Event::Finished { outcome } => match outcome {
            Outcome::Restored => (Tone::Good, "finished: restored".to_owned()),
            Outcome::Unwound { why } => (
                Tone::Warning,
                format!("finished: unwound, the world is as before ({why})"),
            ),
            Outcome::Stuck { step, why } => (Tone::Bad, format!("stuck at {step}: {why}")),
            Outcome::Superseded { by } => (Tone::Warning, format!("superseded by {by}")),
        },
    })
}

fn evidence(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n         {line}")).collect()
}
