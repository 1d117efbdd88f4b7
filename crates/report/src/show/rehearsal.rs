//! A rehearsal for a terminal of eighty columns: how it would end, how its pods are taken to behave, what would happen
//! when, what would stand in the way, where things would stand, and what all that does not prove.

use super::finding::findings_lines;
use crate::line::{Line, LineKind, part, parts};
use crate::rehearsal::{
    Block, Budget, Crash, FailedStep, Faults, KnownFrom, Pace, PodLane, PodPoint, Rehearsal,
};
use crate::report::{Ending, Stands, Tone};
use crate::story::{StepLine, StepState};
use crate::table::Table;
use crate::text::stands;
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::id::StepId;
use astern_model::verdict::CheckResult;
use jiff::{SignedDuration, Timestamp};

/// So many columns of time fit beside a version's name.
const COLUMNS: i64 = 40;
/// Spans of time that a column may stand for, in seconds: those that people count in.
const COLUMN_SECONDS: [i64; 11] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
/// Versions beside a lane are at most so long.
const VERSION_CHARS: usize = 20;

/// The rehearsal as lines.
pub fn rehearsal_lines(rehearsal: &Rehearsal) -> Vec<Line> {
    let mut sections = vec![
        head(rehearsal),
        part("How pods behaved there", paces(&rehearsal.paces)),
        part("What happened", steps(rehearsal)),
        part(lanes_head(rehearsal), lanes(rehearsal)),
        part("What stood in the way", obstacles(rehearsal)),
        part("Where things stood then", standings(rehearsal)),
    ];
    if let Some(faults) = &rehearsal.faults {
        sections.push(part("When a step fails for good", failures(faults)));
        sections.push(part("When whoever carries it out dies", crashes(faults)));
    }
    sections.push(part("What the gate found", findings(rehearsal)));
    sections.push(part("It does not prove", sentences(&rehearsal.proves_not)));
    sections.push(vec![Line::new(LineKind::Dim, format!("Plan {}", rehearsal.plan))]);
    parts(sections)
}

fn head(rehearsal: &Rehearsal) -> Vec<Line> {
    let (tone, word) = outcome(rehearsal);
    let mut lines = vec![
        Line::new(LineKind::Title, format!("Rehearsal: {}", rehearsal.title)),
        Line::new(word::kind(tone), word),
    ];
    lines.extend(why(&rehearsal.ending).map(|why| Line::new(word::kind(tone), format!("  {why}"))));
    if rehearsal.ending == Ending::Restored {
        lines.push(time(rehearsal));
    }
    if let Some(faults) = &rehearsal.faults {
        lines.push(faults_line(faults));
    }
    lines.push(Line::blank());
    let rows = [
        ("cluster", word::identity(&rehearsal.cluster.identity)),
        (
            "namespace",
            format!("{} in context {}", rehearsal.namespace, rehearsal.cluster.context),
        ),
        ("copied", copied(rehearsal)),
        ("written", WRITTEN.to_owned()),
    ];
    lines.extend(
        rows.iter()
            .map(|(name, value)| Line::new(LineKind::Text, format!("  {name:<11}{value}"))),
    );
    lines.extend(
        rehearsal
            .copy
            .missing
            .iter()
            .map(|missing| Line::new(LineKind::Warn, format!("  ! {missing}"))),
    );
    lines
}

/// How it would end, in a sentence.
pub(super) fn outcome(rehearsal: &Rehearsal) -> (Tone, &'static str) {
    match &rehearsal.ending {
        Ending::Restored if rehearsal.restores() => {
            (Tone::Good, "✓ restores service on a copy of the namespace")
        }
        Ending::Restored => (
            Tone::Bad,
            "✗ restores service on a copy of the namespace, and it does not last",
        ),
        Ending::Unwound { .. } => (
            Tone::Bad,
            "↩ fails on a copy of the namespace, and is taken back: as before",
        ),
        Ending::Held { .. } => (
            Tone::Bad,
            "! is held on a copy of the namespace: a person would be needed",
        ),
        Ending::Stuck { .. } => (
            Tone::Bad,
            "✗ gets stuck on a copy of the namespace: a person would be needed",
        ),
        Ending::Superseded { .. } | Ending::UnderWay | Ending::Unwinding { .. } => {
            (Tone::Bad, "✗ does not come to an end on a copy of the namespace")
        }
    }
}

pub(super) fn why(ending: &Ending) -> Option<String> {
    match ending {
        Ending::UnderWay | Ending::Restored => None,
        Ending::Held { why } | Ending::Unwinding { why } | Ending::Unwound { why } => Some(why.clone()),
        Ending::Stuck { step, why } => Some(format!("step {step}: {why}")),
        Ending::Superseded { by } => Some(format!("superseded by {by}")),
    }
}

fn time(rehearsal: &Rehearsal) -> Line {
    let over = rehearsal
        .restored_after
        .is_some_and(|after| after > rehearsal.rto);
    let kind = if over { LineKind::Bad } else { LineKind::Good };
    Line::new(kind, time_sentence(rehearsal))
}

/// How long it took, against forecast and budget.
pub(super) fn time_sentence(rehearsal: &Rehearsal) -> String {
    let (forecast, rto) = (human(rehearsal.forecast), human(rehearsal.rto));
    match rehearsal.restored_after {
        Some(after) if after > rehearsal.rto => format!(
            "✗ over budget: {} until the last workload serves; forecast {forecast}, RTO {rto}",
            human(after)
        ),
        Some(after) => format!(
            "✓ {} until the last workload serves; forecast {forecast}, RTO {rto}",
            human(after)
        ),
        None => format!("? no workload had to come back; forecast {forecast}, RTO {rto}"),
    }
}

fn faults_line(faults: &Faults) -> Line {
    let kind =
        if faults.failures.iter().all(FailedStep::unwinds) && faults.crashes.iter().all(Crash::recovers) {
            LineKind::Good
        } else {
            LineKind::Bad
        };
    Line::new(kind, faults_sentence(faults))
}

/// How the faults came out, in a sentence.
pub(super) fn faults_sentence(faults: &Faults) -> String {
    let failures = faults.failures.len() as u64;
    let crashes = faults.crashes.len() as u64;
    let lost = (failures - faults.failures.iter().filter(|step| step.unwinds()).count() as u64)
        + (crashes - faults.crashes.iter().filter(|crash| crash.recovers()).count() as u64);
    let tried = format!(
        "{} and {}",
        word::plural(failures, "failing step"),
        word::plural(crashes, "crash").replace("crashs", "crashes")
    );
    match lost {
        0 => format!("✓ with faults: {tried}, each taken back or brought to its end"),
        lost => format!("✗ with faults: of {tried}, {lost} did not end as they should"),
    }
}

/// What a rehearsal leaves on the cluster.
pub(super) const WRITTEN: &str = "nothing: all of it happened in memory";

/// `2026-11-23 14:02:11 UTC: 31 objects, 8 pods, 3 nodes`.
pub(super) fn copied(rehearsal: &Rehearsal) -> String {
    let copy = &rehearsal.copy;
    format!(
        "{}: {}, {}, {}",
        clock(copy.at),
        word::plural(copy.objects, "object"),
        word::plural(copy.pods, "pod"),
        word::plural(copy.nodes, "node")
    )
}

fn paces(paces: &[Pace]) -> Vec<Line> {
    let mut table = Table::new(&["KIND/NAME", "VERSION", "READY", "KNOWN FROM"]);
    for pace in paces {
        let (tone, known) = known_from(&pace.known_from);
        let ready = pace
            .ready_after
            .map_or_else(|| "never".to_owned(), |ready| span(pace.starts_after + ready));
        table.row(
            word::kind(tone),
            [pace.target.to_string(), pace.version.clone(), ready, known],
        );
    }
    let mut lines = table.lines();
    if let Some(longest) = paces.iter().map(|pace| pace.stops_within).max() {
        lines.push(Line::new(
            LineKind::Dim,
            "ready: so long after being placed on a node",
        ));
        let told = format!(
            "to stop, each took its whole grace period: at most {}",
            human(longest)
        );
        lines.push(Line::new(LineKind::Dim, told));
    }
    lines
}

/// A span that was taken from times in whole seconds.
pub(super) fn span(span: SignedDuration) -> String {
    if span.is_positive() && span.as_secs() == 0 {
        "< 1s".to_owned()
    } else {
        human(span)
    }
}

/// How a pace is known, in words.
pub(super) fn known_from(known_from: &KnownFrom) -> (Tone, String) {
    match known_from {
        KnownFrom::Measured { pods } => (
            Tone::Quiet,
            format!("measured on {}", word::plural(u64::from(*pods), "pod")),
        ),
        KnownFrom::Seen { what } => (Tone::Warn, format!("as now: {what}")),
        KnownFrom::Probes => (Tone::Quiet, "its probes' numbers".to_owned()),
        KnownFrom::NoProbes => (Tone::Warn, "assumed: it has no probes".to_owned()),
    }
}

fn steps(rehearsal: &Rehearsal) -> Vec<Line> {
    let mut table = Table::new(&["WHEN", "RESULT", "STEP"]);
    for step in &rehearsal.steps {
        let cells = [
            when(step, rehearsal.began),
            word::state(step.state).to_owned(),
            step.what.clone(),
        ];
        table.row(word::kind(word::state_tone(step.state)), cells);
    }
    let mut lines = table.lines();
    let told = why(&rehearsal.ending).unwrap_or_default();
    for step in rehearsal
        .steps
        .iter()
        .filter(|step| step.state != StepState::Done)
    {
        if let Some(failure) = step.failures.last() {
            let failure = &failure.what;
            // What the head has told already is not told again.
            if !told.contains(&failure.message) {
                lines.push(Line::new(LineKind::Bad, format!("! {}", word::failure(failure))));
            }
            let more = failure.evidence.iter().chain(&failure.hint);
            lines.extend(more.map(|text| Line::new(LineKind::Text, format!("    {text}"))));
        }
    }
    lines
}

/// `0s`, `1s → 34s`; nothing for what never began.
pub(super) fn when(step: &StepLine, began: Timestamp) -> String {
    let since = |at: Timestamp| human(at.duration_since(began));
    match (step.started, step.ended) {
        (None, _) => "-".to_owned(),
        (Some(start), None) => format!("{} →", since(start.at)),
        (Some(start), Some(end)) => {
            let (start, end) = (since(start.at), since(end.at));
            if start == end {
                start
            } else {
                format!("{start} → {end}")
            }
        }
    }
}

fn lanes_head(rehearsal: &Rehearsal) -> String {
    format!("Pods over time, a column each {}", human(column(rehearsal)))
}

/// When the last pod or step moved.
fn end(rehearsal: &Rehearsal) -> SignedDuration {
    let points = rehearsal.lanes.iter().filter_map(|lane| lane.points.last());
    let steps = rehearsal.steps.iter().filter_map(|step| step.ended);
    points
        .map(|point| point.after)
        .chain(steps.map(|ended| ended.at.duration_since(rehearsal.began)))
        .max()
        .unwrap_or_default()
}

/// How much time a column stands for, so that all that moved fits.
fn column(rehearsal: &Rehearsal) -> SignedDuration {
    let last = end(rehearsal).as_secs();
    let longest = COLUMN_SECONDS[COLUMN_SECONDS.len() - 1];
    let seconds = COLUMN_SECONDS
        .into_iter()
        .find(|seconds| last / seconds + 2 <= COLUMNS)
        .unwrap_or(longest);
    SignedDuration::from_secs(seconds)
}

fn lanes(rehearsal: &Rehearsal) -> Vec<Line> {
    let column = column(rehearsal);
    let columns = (end(rehearsal).as_secs() / column.as_secs().max(1) + 2).min(COLUMNS);
    let width = rehearsal
        .lanes
        .iter()
        .flat_map(|lane| [&lane.from, &lane.to])
        .map(|version| version.chars().count().min(VERSION_CHARS))
        .max()
        .unwrap_or_default();
    rehearsal
        .lanes
        .iter()
        .flat_map(|lane| self::lane(lane, column, columns, width))
        .collect()
}

fn lane(lane: &PodLane, column: SignedDuration, columns: i64, width: usize) -> Vec<Line> {
    let most = lane
        .points
        .iter()
        .flat_map(|point| [point.to, point.from])
        .chain([lane.desired])
        .max()
        .unwrap_or_default();
    let picture = |of: fn(&PodPoint) -> u32| -> String {
        (0..columns)
            .map(|at| {
                // A column shows how it stood when it began; a blink within one is told in words.
                let begins = SignedDuration::from_secs(column.as_secs() * at);
                let point = match at {
                    0 => lane.points.first(),
                    _ => lane.points.iter().rev().find(|point| point.after <= begins),
                };
                bar(point.map_or(0, of), most)
            })
            .collect()
    };
    let row = |version: &str, what: &str, of: fn(&PodPoint) -> u32| {
        let version = crate::visible::clipped(version, VERSION_CHARS);
        let (first, last) = (lane.points.first(), lane.points.last());
        let (first, last) = (first.map_or(0, of), last.map_or(0, of));
        format!("  {version:<width$} {what}  {}  {first} → {last}", picture(of))
    };
    let asks = format!("{}, {} asked for", lane.target, lane.desired);
    let mut lines = vec![
        Line::new(LineKind::Head, asks),
        Line::new(LineKind::Added, row(&lane.to, "ready", |point| point.to_ready)),
        Line::new(LineKind::Removed, row(&lane.from, "there", |point| point.from)),
    ];
    lines.extend(lowest(lane).map(|(kind, text)| Line::new(kind, format!("  {text}"))));
    lines
}

/// `2 of 3 ready at the least, after 12s`; nothing where no pod ever served.
pub(super) fn lowest(lane: &PodLane) -> Option<(LineKind, String)> {
    let least = lane
        .points
        .iter()
        .min_by_key(|point| (point.ready(), point.after))?;
    let first = lane.points.first()?;
    let most = lane.points.iter().map(PodPoint::ready).max()?;
    if most == 0 {
        return Some((LineKind::Bad, "no pod was ready at any time".to_owned()));
    }
    let ready = least.ready();
    let kind = if ready < first.ready() {
        LineKind::Warn
    } else {
        LineKind::Dim
    };
    let when = if least == first {
        "at the start".to_owned()
    } else {
        after(least.after)
    };
    Some((
        kind,
        format!("{ready} of {} ready at the least, {when}", lane.desired),
    ))
}

/// `at once`, `after 12s`.
fn after(span: SignedDuration) -> String {
    if span.as_secs() == 0 {
        "at once".to_owned()
    } else {
        format!("after {}", human(span))
    }
}

fn bar(count: u32, most: u32) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if count == 0 || most == 0 {
        return '·';
    }
    let eighths = (u64::from(count) * 8).div_ceil(u64::from(most)).clamp(1, 8);
    BARS[usize::try_from(eighths - 1).unwrap_or_default()]
}

fn obstacles(rehearsal: &Rehearsal) -> Vec<Line> {
    if rehearsal.blocks.is_empty() && rehearsal.budgets.is_empty() {
        return vec![Line::new(
            LineKind::Good,
            "✓ nothing: every pod was let in and placed at once",
        )];
    }
    let restored = rehearsal.ending == Ending::Restored;
    let blocks = rehearsal.blocks.iter().flat_map(|block| {
        let (tone, head) = block_head(block, restored);
        [
            Line::new(word::kind(tone), head),
            Line::new(LineKind::Text, format!("    {}", block.what)),
        ]
    });
    let budgets = rehearsal
        .budgets
        .iter()
        .map(|budget| Line::new(LineKind::Warn, format!("! {}", budget_sentence(budget))));
    blocks.chain(budgets).collect()
}

/// `✗ deployment/api: pods are not made (FailedCreate), from 1s on`.
pub(super) fn block_head(block: &Block, restored: bool) -> (Tone, String) {
    let (tone, icon) = if restored {
        (Tone::Warn, "!")
    } else {
        (Tone::Bad, "✗")
    };
    let what = match block.reason.as_str() {
        "FailedCreate" => "a pod was not let in",
        "FailedScheduling" => "a pod found no place",
        _ => "a pod was hindered",
    };
    let whose = block
        .target
        .as_ref()
        .map(|target| format!("{target}: "))
        .unwrap_or_default();
    let span = if block.first == block.last {
        after(block.first)
    } else {
        format!("from {} to {}", human(block.first), human(block.last))
    };
    let passed = if restored { ", then it passed" } else { "" };
    (
        tone,
        format!("{icon} {whose}{what} ({}), {span}{passed}", block.reason),
    )
}

/// `PodDisruptionBudget api demands 2 healthy pods of deployment/api; 1 was ready after 4s: …`.
pub(super) fn budget_sentence(budget: &Budget) -> String {
    format!(
        "poddisruptionbudget/{} demands {} ready pods of {}, and {} left {}; it binds evictions, not a rollout: a drain waits",
        budget.name,
        budget.demands,
        budget.target,
        if budget.lowest == 1 {
            "1 was".to_owned()
        } else {
            format!("{} were", budget.lowest)
        },
        after(budget.after)
    )
}

fn standings(rehearsal: &Rehearsal) -> Vec<Line> {
    let mut table = Table::new(&["KIND/NAME", "STANDS ON", "AS FAR AS WAS SEEN"]);
    for standing in &rehearsal.standings {
        let (tone, version, how) = stands(standing);
        // Why it does not serve is told where it happened.
        let how = match &standing.on {
            Stands::Fails { .. } => "✗ does not serve".to_owned(),
            _ => how,
        };
        table.row(word::kind(tone), [standing.target.to_string(), version, how]);
    }
    let mut lines = table.lines();
    lines.extend(lasting(rehearsal).map(|(tone, text)| Line::new(word::kind(tone), text)));
    for item in rehearsal
        .checks
        .iter()
        .filter(|item| item.result == CheckResult::Fail)
    {
        lines.push(Line::new(
            LineKind::Bad,
            format!("✗ {}, {}: {}", item.target, item.check, item.evidence),
        ));
    }
    lines
}

/// Whether it held over the window.
pub(super) fn lasting(rehearsal: &Rehearsal) -> Option<(Tone, String)> {
    if rehearsal.checks.is_empty() {
        return None;
    }
    let soak = human(rehearsal.soak);
    Some(if rehearsal.restores() {
        (Tone::Good, format!("✓ and it stayed so for {soak}"))
    } else {
        (Tone::Bad, format!("✗ it did not stay so for {soak}"))
    })
}

fn failures(faults: &Faults) -> Vec<Line> {
    faults
        .failures
        .iter()
        .flat_map(|failed| {
            let (tone, told) = failed_told(failed);
            let icon = if tone == Tone::Good { "✓" } else { "✗" };
            let head = Line::new(word::kind(tone), format!("{icon} {}", failed.what));
            let rest = told
                .into_iter()
                .map(|text| Line::new(LineKind::Text, format!("    {text}")));
            std::iter::once(head).chain(rest).collect::<Vec<_>>()
        })
        .collect()
}

/// What a failing step leads to, in sentences.
pub(super) fn failed_told(failed: &FailedStep) -> (Tone, Vec<String>) {
    let tone = if failed.unwinds() { Tone::Good } else { Tone::Bad };
    let as_before = |differs: &[String]| {
        if differs.is_empty() {
            "all as before".to_owned()
        } else {
            format!("not as before: {}", differs.join("; "))
        }
    };
    let told = match (&failed.ending, &failed.aborted) {
        (Ending::Unwound { .. }, _) => vec![format!("→ unwound, {}", as_before(&failed.differs))],
        (Ending::Held { .. }, Some(Ending::Unwound { .. })) => vec![format!(
            "→ held with {}; after an abort: unwound, {}",
            written_back(failed),
            as_before(&failed.differs)
        )],
        (Ending::Held { why }, aborted) => {
            let after = aborted.as_ref().map_or_else(|| failed.differs.join("; "), ended);
            vec![format!("→ held: {why}"), format!("→ after an abort: {after}")]
        }
        (ending, _) => vec![format!("→ {}", ended(ending))],
    };
    (tone, told)
}

/// Which workloads stood on the version that they go back to when the run was held.
fn written_back(failed: &FailedStep) -> String {
    let back: Vec<String> = failed
        .standings
        .iter()
        .filter(|standing| {
            matches!(
                standing.on,
                Stands::Serves { .. } | Stands::Asks { .. } | Stands::Fails { .. }
            )
        })
        .map(|standing| standing.target.to_string())
        .collect();
    let all = failed.standings.len();
    match back.len() {
        0 => "nothing written back".to_owned(),
        count if count == all => "all written back".to_owned(),
        1..=2 => format!("{} written back", word::list(&back)),
        count => format!("{count} of {all} workloads written back"),
    }
}

/// How a run ended, in a few words.
pub(super) fn ended(ending: &Ending) -> String {
    match ending {
        Ending::Restored => "restored".to_owned(),
        Ending::Unwound { .. } => "unwound".to_owned(),
        Ending::Held { why } => format!("held: {why}"),
        Ending::Stuck { step, why } => format!("stuck at step {step}: {why}"),
        Ending::Superseded { by } => format!("superseded by {by}"),
        Ending::UnderWay => "it did not come to an end".to_owned(),
        Ending::Unwinding { why } => format!("it was still being taken back: {why}"),
    }
}

fn crashes(faults: &Faults) -> Vec<Line> {
    let mut table = Table::new(&["POINTS", "RESULT", "WHILE IT WAS AT"]);
    let mut lost = Vec::new();
    for (what, crashes) in by_step(faults) {
        let recovered = crashes.iter().filter(|crash| crash.recovers()).count();
        let (kind, result) = if recovered == crashes.len() {
            (LineKind::Good, "✓ same end")
        } else {
            (LineKind::Bad, "✗ another end")
        };
        let points = format!("{recovered} of {}", crashes.len());
        table.row(kind, [points.as_str(), result, what]);
        lost.extend(crashes.into_iter().filter(|crash| !crash.recovers()));
    }
    let mut lines = table.lines();
    for crash in lost {
        lines.push(Line::new(LineKind::Bad, format!("✗ {}", crash_told(crash))));
    }
    if !lines.is_empty() {
        lines.push(Line::new(
            LineKind::Dim,
            "at each point another one went on with it; where nothing had begun, nothing was changed",
        ));
    }
    lines
}

/// What a crash that did not recover led to.
pub(super) fn crash_told(crash: &Crash) -> String {
    let ended = crash
        .ending
        .as_ref()
        .map_or_else(|| "it had not begun".to_owned(), ended);
    format!("{}: {ended}; {}", crash.at, crash.differs.join("; "))
}

/// The crashes by the steps that were being worked on, in the order in which they first occur; those of the run itself last.
pub(super) fn by_step(faults: &Faults) -> Vec<(&str, Vec<&Crash>)> {
    let mut groups: Vec<(&StepId, &str, Vec<&Crash>)> = Vec::new();
    for crash in &faults.crashes {
        for (step, what) in &crash.steps {
            match groups.iter_mut().find(|(of, ..)| *of == step) {
                Some((_, _, crashes)) => crashes.push(crash),
                None => groups.push((step, what, vec![crash])),
            }
        }
    }
    let itself: Vec<&Crash> = faults
        .crashes
        .iter()
        .filter(|crash| crash.steps.is_empty())
        .collect();
    let mut told: Vec<(&str, Vec<&Crash>)> = groups
        .into_iter()
        .map(|(_, what, crashes)| (what, crashes))
        .collect();
    if !itself.is_empty() {
        told.push(("the run itself: its approval, takeover, verdict and end", itself));
    }
    told
}

fn findings(rehearsal: &Rehearsal) -> Vec<Line> {
    if rehearsal.findings.is_empty() {
        return Vec::new();
    }
    findings_lines(&rehearsal.findings)
}

fn sentences(list: &[String]) -> Vec<Line> {
    list.iter()
        .map(|text| Line::new(LineKind::Text, format!("· {text}")))
        .collect()
}
