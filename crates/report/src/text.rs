//! The report for a terminal. Each line that states something ends with the record that says so: `j12` is record 12
//! of the journal, `j0` the plan.

use crate::line::{Line, LineKind, joined, part, parts};
use crate::report::{AcceptedKind, Moment, Report, Standing, Stands, Tone};
use crate::show::config::config_lines;
use crate::show::plan::{change, source};
use crate::show::verdict::verdict_lines;
use crate::story::{StepLine, StepState};
use crate::table::Table;
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::evidence::Known;
use astern_model::id::Seq;

/// The report as plain text. The whole journal and the evidence's last lines are in the other renderings.
pub fn text(report: &Report) -> String {
    joined(&text_lines(report))
}

/// [`text`] as lines.
pub fn text_lines(report: &Report) -> Vec<Line> {
    parts([
        head(report),
        part("Where things stand", standings(report)),
        part("Impact", impact(report)),
        part("What failed", failure(report)),
        part(
            format!("Decision: {}  j0", word::say(report.decision.say)),
            decision(report),
        ),
        part("What was done", steps(report)),
        part("Is it over?", checklist(report)),
        part("What changed", changes(report)),
        part("What was not changed  j0", sentences(&report.unchanged)),
        part("Evidence saved before the first change", evidence(report)),
        part("Accepted knowingly", accepted(report)),
        part("To do", follow_ups(report)),
        vec![Line::new(
            LineKind::Dim,
            format!(
                "Journal: {}. jN is its record N, j0 the plan {}.",
                report.journal, report.head.plan
            ),
        )],
    ])
}

/// A sentence and the record that says it.
fn cited(kind: LineKind, text: &str, seq: Seq) -> Line {
    Line::new(kind, format!("{}  j{seq}", text))
}

fn head(report: &Report) -> Vec<Line> {
    let (tone, status) = report.status();
    let head = &report.head;
    let mut lines = vec![
        Line::new(LineKind::Title, &report.title),
        cited(word::kind(tone), status, report.ending.seq),
    ];
    lines.extend(
        report
            .why()
            .map(|why| Line::new(word::kind(tone), format!("  {}", &why))),
    );
    lines.push(Line::blank());
    let mut rows = vec![
        ("run", report.run.to_string(), None),
        (
            "namespace",
            format!("{} in context {}", head.namespace, head.cluster.context),
            None,
        ),
        ("cluster", word::identity(&head.cluster.identity), None),
    ];
    match &head.approval {
        Some(approval) => {
            let given = &approval.what;
            rows.push(("why", given.reason.clone(), Some(approval.seq)));
            let how = format!("{} at {}, {}", given.by, clock(approval.at), word::how(given.how));
            rows.push(("approved by", how, Some(approval.seq)));
        }
        None => rows.push((
            "approved by",
            "nobody: the journal has no approval".to_owned(),
            None,
        )),
    }
    for holder in &head.holders {
        let by = format!(
            "{} on {}, process {}",
            holder.what.user, holder.what.host, holder.what.pid
        );
        rows.push(("carried out", by, Some(holder.seq)));
    }
    lines.extend(rows.into_iter().map(|(name, value, seq)| {
        let seq = seq.map(|seq| format!("  j{seq}")).unwrap_or_default();
        Line::new(LineKind::Text, format!("  {name:<13}{}{seq}", &value))
    }));
    lines
}

fn standings(report: &Report) -> Vec<Line> {
    let mut table = Table::new(&["KIND/NAME", "STANDS ON", "AS FAR AS IS KNOWN", "RECORD"]);
    for standing in &report.standings {
        let (tone, version, how) = stands(standing);
        let seq = format!("j{}", standing.seq);
        table.row(word::kind(tone), [standing.target.to_string(), version, how, seq]);
    }
    table.lines()
}

/// How a standing is said: tone, version, and in words.
pub(crate) fn stands(standing: &Standing) -> (Tone, String, String) {
    match &standing.on {
        Stands::Serves {
            version,
            ready,
            desired,
            ..
        } => (
            Tone::Good,
            version.clone(),
            format!("✓ serves, {ready} of {desired} ready"),
        ),
        Stands::Asks { version } => (
            Tone::Warn,
            version.clone(),
            "? template written, not seen to serve".to_owned(),
        ),
        Stands::Fails { version, why } => (Tone::Bad, version.clone(), format!("✗ does not serve: {why}")),
        Stands::Untouched { version } => (
            Tone::Warn,
            version.clone(),
            "· not changed by this run".to_owned(),
        ),
        Stands::TakenBack { version } => (Tone::Warn, version.clone(), "↩ changed, and put back".to_owned()),
        Stands::NotKnown { from, to } => (
            Tone::Bad,
            format!("{from} or {to}"),
            "? the write's outcome is not known".to_owned(),
        ),
    }
}

fn impact(report: &Report) -> Vec<Line> {
    let width = report
        .impact
        .iter()
        .map(|figure| figure.what.chars().count())
        .max()
        .unwrap_or_default();
    let line = |what: &str, kind, value: String| Line::new(kind, format!("{what:<width$}  {value}"));
    report
        .impact
        .iter()
        .map(|figure| match &figure.value {
            Known::Is(value) => line(
                &figure.what,
                LineKind::Text,
                format!("{value}  {}", places(&figure.seqs)),
            ),
            Known::Unknown(why) => line(&figure.what, LineKind::Warn, format!("? unknown: {why}")),
        })
        .collect()
}

/// `j0 j12`.
pub(crate) fn places(seqs: &[Seq]) -> String {
    seqs.iter()
        .map(|seq| format!("j{seq}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn failure(report: &Report) -> Vec<Line> {
    let mut table = Table::new(&["KIND/NAME", "VERSION", "SINCE", "READY", "STATE", "REASON"]);
    for line in &report.failure.workloads {
        let since = line
            .since
            .map_or_else(|| "unknown".to_owned(), |at| word::moment(at, report.origin()));
        let ready = format!("{}/{}", line.ready, line.desired);
        let state = word::health(line.state);
        let cells = [
            &line.target.to_string(),
            &line.version,
            &since,
            &ready,
            &state,
            &line.reason,
        ];
        table.row(word::kind(word::health_tone(line.state)), cells);
    }
    let mut lines = table.lines();
    lines.push(Line::blank());
    lines.extend(report.failure.marks.iter().map(|mark| {
        let when = word::moment(mark.at, report.origin());
        cited(LineKind::Text, &format!("{when}  {}", mark.what), mark.seq)
    }));
    lines
}

fn decision(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in &report.decision.rows {
        let what = format!("{}: {} (row {})", word::say(row.say), row.because, row.row);
        lines.push(Line::new(word::kind(word::say_tone(row.say)), &what));
        let on = row
            .on
            .iter()
            .map(|(target, phrase)| format!("  {target}: {phrase}"));
        lines.extend(on.map(|text| Line::new(LineKind::Text, text)));
    }
    if lines.is_empty() {
        lines.push(Line::new(LineKind::Dim, "no row of the matrix fired"));
    }
    lines
}

fn steps(report: &Report) -> Vec<Line> {
    let mut table = Table::new(&[
        "WAVE", "STEP", "RESULT", "START", "TOOK", "FORECAST", "TRIES", "RECORDS",
    ]);
    for step in &report.rollback.steps {
        let tone = word::state_tone(step.state);
        table.row(word::kind(tone), cells(step, report));
    }
    let mut lines = table.lines();
    for step in &report.rollback.steps {
        for failure in &step.failures {
            let kind = if step.state == StepState::Done {
                LineKind::Dim
            } else {
                LineKind::Bad
            };
            lines.push(cited(
                kind,
                &format!("! {}", word::failure(&failure.what)),
                failure.seq,
            ));
            let more = failure.what.evidence.iter().chain(&failure.what.hint);
            lines.extend(more.map(|text| Line::new(LineKind::Text, format!("    {}", text))));
        }
    }
    lines
}

fn cells(step: &StepLine, report: &Report) -> [String; 8] {
    let none = || "-".to_owned();
    let records: Vec<Seq> = [step.started, step.ended]
        .iter()
        .flatten()
        .map(|moment: &Moment| moment.seq)
        .collect();
    [
        step.wave.to_string(),
        step.what.clone(),
        word::state(step.state).to_owned(),
        step.started
            .map_or_else(none, |start| word::moment(start.at, report.origin())),
        step.took().map_or_else(none, human),
        human(step.forecast.expected),
        step.attempts.to_string(),
        places(&records),
    ]
}

fn checklist(report: &Report) -> Vec<Line> {
    match &report.checklist.verdict {
        Some(judged) => {
            let mut lines = verdict_lines(&judged.verdict);
            if let Some(first) = lines.first_mut() {
                first.text.push_str(&format!("  j{}", judged.seq));
            }
            lines
        }
        None => {
            let mut lines = vec![Line::new(LineKind::Warn, NOT_VALIDATED)];
            lines.extend(
                report
                    .checklist
                    .criteria
                    .iter()
                    .map(|text| Line::new(LineKind::Warn, format!("? not validated: {}", text))),
            );
            lines
        }
    }
}

/// What is said where the journal has no verdict.
pub(crate) const NOT_VALIDATED: &str =
    "? not validated: the journal has no verdict, so nothing here counts as passed";

fn changes(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    for of in &report.changes {
        let head = format!("{}: {} → {}", of.target, of.from_version, of.to_version);
        lines.push(Line::new(LineKind::Head, head));
        lines.extend(source(of));
        lines.extend(of.changes.iter().flat_map(change));
    }
    lines.extend(config_lines(&report.config));
    lines
}

fn evidence(report: &Report) -> Vec<Line> {
    let evidence = &report.evidence;
    if !evidence.tried {
        return vec![Line::new(LineKind::Warn, NOTHING_SAVED)];
    }
    let saved = evidence.saved.iter().map(|piece| {
        let what = format!("{} ({})", piece.what.what, word::bytes(piece.what.size()));
        cited(LineKind::Text, &format!("✓ {what}"), piece.seq)
    });
    let missed = evidence
        .missed
        .iter()
        .map(|what| cited(LineKind::Warn, &format!("! missed: {}", what.what), what.seq));
    let whole = (!evidence.saved.is_empty()).then(|| {
        Line::new(
            LineKind::Text,
            format!("the whole of each: {}", whole_evidence(report)),
        )
    });
    saved.chain(missed).chain(whole).collect()
}

/// How the whole of what was saved is read; a report shows last lines.
pub(crate) fn whole_evidence(report: &Report) -> String {
    format!("astern report {} --evidence FOLDER", report.run)
}

/// What is said where the journal does not tell of saving.
pub(crate) const NOTHING_SAVED: &str = "! the journal does not say that evidence was saved";

fn accepted(report: &Report) -> Vec<Line> {
    let line = |accepted: &crate::report::Accepted| {
        cited(
            LineKind::Warn,
            &format!("! {}: {}", accepted_word(accepted.kind), accepted.what),
            accepted.seq,
        )
    };
    report.accepted.iter().map(line).collect()
}

pub(crate) fn accepted_word(kind: AcceptedKind) -> &'static str {
    match kind {
        AcceptedKind::Override => "overridden",
        AcceptedKind::Warning => "warning of the plan",
        AcceptedKind::Finding => "warning of the gate",
    }
}

fn follow_ups(report: &Report) -> Vec<Line> {
    let line = |follow_up: &crate::report::FollowUp| {
        cited(LineKind::Text, &format!("[ ] {}", follow_up.what), follow_up.seq)
    };
    report.follow_ups.iter().map(line).collect()
}

fn sentences(list: &[String]) -> Vec<Line> {
    list.iter()
        .map(|text| Line::new(LineKind::Text, format!("· {}", text)))
        .collect()
}
