//! The report in Markdown (GitHub's), for a repository or a ticket: everything but the picture.

use crate::line::LineKind;
use crate::report::{Report, Standing, Stands};
use crate::show::choice::choices_markdown;
use crate::show::config::config_items;
use crate::show::plan_markdown::changes_markdown;
use crate::show::verdict::verdict_markdown;
use crate::story::StepLine;
use crate::table::Table;
use crate::text::{NOT_VALIDATED, NOTHING_SAVED, accepted_word, places, stands, whole_evidence};
use crate::visible::{block, code, prose};
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::evidence::Known;
use astern_model::id::Seq;
use std::fmt::Write as _;

/// The report as Markdown. `jN` behind a line names the record of the journal that says it; `j0` is the plan.
pub fn markdown(report: &Report) -> String {
    let mut text = head(report);
    let sections = [
        ("Where things stand", standings(report)),
        ("Impact", impact(report)),
        ("What failed", failure(report)),
        ("Decision", decision(report)),
        ("What was done", steps(report)),
        ("Is it over?", checklist(report)),
        ("Back to what, and why", choices_markdown(&report.choices)),
        ("What changed", changes_markdown(&report.changes)),
        (
            "What changed in ConfigMaps and Secrets",
            items(config_items(&report.config).iter().map(|what| prose(what))),
        ),
        ("Evidence saved before the first change", evidence(report)),
        (
            "What was not changed",
            items(report.unchanged.iter().map(|what| prose(what))),
        ),
        ("Accepted knowingly", accepted(report)),
        ("To do", follow_ups(report)),
        ("Journal", journal(report)),
    ];
    for (name, body) in sections.iter().filter(|(_, body)| !body.is_empty()) {
        let _ = write!(text, "\n## {name}\n\n{}\n", body.trim_end());
    }
    text
}

fn head(report: &Report) -> String {
    let head = &report.head;
    let (_, status) = report.status();
    let why = report
        .why()
        .map(|why| format!(": {}", prose(&why)))
        .unwrap_or_default();
    let mut text = format!(
        "# {}\n\n**{status}**{why} {}\n\n",
        prose(&report.title),
        place(report.ending.seq)
    );
    let _ = writeln!(
        text,
        "- run {}, plan {}",
        code(report.run.as_str()),
        code(head.plan.as_str())
    );
    let _ = writeln!(
        text,
        "- platform {}, namespace {}, context {}, cluster {}",
        code(&head.platform),
        code(&head.namespace),
        code(&head.cluster.context),
        prose(&word::identity(&head.cluster.identity))
    );
    match &head.approval {
        Some(approval) => {
            let given = &approval.what;
            let _ = writeln!(text, "- why: {} {}", prose(&given.reason), place(approval.seq));
            let how = word::how(given.how);
            let _ = writeln!(
                text,
                "- approved by {} at {} ({how}) {}",
                code(&given.by),
                clock(approval.at),
                place(approval.seq)
            );
        }
        None => text.push_str("- approved by nobody: the journal has no approval\n"),
    }
    for holder in &head.holders {
        let who = &holder.what;
        let by = format!("{} on {}, process {}", code(&who.user), code(&who.host), who.pid);
        let _ = writeln!(
            text,
            "- carried out by {by}, from {} on {}",
            clock(holder.at),
            place(holder.seq)
        );
    }
    text
}

/// `(j12)`.
fn place(seq: Seq) -> String {
    format!("(j{seq})")
}

fn items(list: impl Iterator<Item = String>) -> String {
    list.map(|item| format!("- {item}\n")).collect()
}

fn standings(report: &Report) -> String {
    let mut table = Table::new(&[
        "Workload",
        "Stands on",
        "As far as is known",
        "Running image",
        "Record",
    ]);
    for standing in &report.standings {
        let (_, version, how) = stands(standing);
        let cells = vec![
            code(&standing.target.to_string()),
            prose(&version),
            prose(&how),
            running(standing),
            places(&[standing.seq]),
        ];
        table.row(LineKind::Text, cells);
    }
    table.markdown()
}

fn running(standing: &Standing) -> String {
    match &standing.on {
        Stands::Serves { digests, .. } => {
            let each = digests
                .iter()
                .map(|(image, digest)| code(&format!("{image}@{digest}")));
            each.collect::<Vec<_>>().join(", ")
        }
        Stands::Asks { .. }
        | Stands::Fails { .. }
        | Stands::Untouched { .. }
        | Stands::TakenBack { .. }
        | Stands::NotKnown { .. } => "not observed".to_owned(),
    }
}

fn impact(report: &Report) -> String {
    let mut table = Table::new(&["What", "Value", "Records"]);
    for figure in &report.impact {
        let value = match &figure.value {
            Known::Is(value) => prose(value),
            Known::Unknown(why) => format!("? unknown: {}", prose(why)),
        };
        table.row(
            LineKind::Text,
            vec![prose(&figure.what), value, places(&figure.seqs)],
        );
    }
    table.markdown()
}

fn failure(report: &Report) -> String {
    let mut table = Table::new(&["Workload", "Version", "Newest since", "Ready", "State", "Reason"]);
    for line in &report.failure.workloads {
        let former = match line.former_ready {
            0 => String::new(),
            count => format!(", {count} of them of an earlier version"),
        };
        let cells = vec![
            code(&line.target.to_string()),
            code(&line.version),
            line.since.map_or_else(|| "unknown".to_owned(), clock),
            format!("{} of {}{former}", line.ready, line.desired),
            prose(&word::health(line.state)),
            prose(&line.reason),
        ];
        table.row(LineKind::Text, cells);
    }
    let marks = report.failure.marks.iter();
    let marks = marks.map(|mark| format!("{}: {} {}", clock(mark.at), prose(&mark.what), place(mark.seq)));
    format!("{}\n{}", table.markdown(), items(marks))
}

fn decision(report: &Report) -> String {
    let decision = &report.decision;
    let mut text = format!("**{}** (j0)\n\n", word::say(decision.say));
    for row in &decision.rows {
        let _ = writeln!(
            text,
            "- {}: {} (row {})",
            word::say(row.say),
            prose(&row.because),
            code(&row.row)
        );
        for (target, phrase) in &row.on {
            let _ = writeln!(text, "  - {}: {}", code(&target.to_string()), prose(phrase));
        }
    }
    let mut table = Table::new(&["About", "Side", "Source", "Observed", "At"]);
    for seen in &decision.evidence {
        let window = seen
            .window
            .map(|window| format!(", over {}", human(window)))
            .unwrap_or_default();
        let cells = vec![
            code(&seen.target.to_string()),
            word::side(seen.side).to_owned(),
            format!("{}{window}", word::source(seen.source)),
            prose(&seen.what),
            clock(seen.at),
        ];
        table.row(LineKind::Text, cells);
    }
    let evidence = table.markdown();
    if evidence.is_empty() {
        text
    } else {
        format!("{text}\nWhat it rests on:\n\n{evidence}")
    }
}

fn steps(report: &Report) -> String {
    let story = &report.rollback;
    let mut table = Table::new(&[
        "Wave", "Step", "Result", "Start", "Took", "Forecast", "Tries", "Key", "Records",
    ]);
    for step in &story.steps {
        table.row(LineKind::Step, step_cells(step, report));
    }
    let mut text = format!(
        "Times in UTC, from {}.\n\n{}",
        clock(story.start.at),
        table.markdown()
    );
    for step in &story.steps {
        for failure in &step.failures {
            let hint = failure
                .what
                .hint
                .as_deref()
                .map(|hint| format!(" {}", prose(hint)))
                .unwrap_or_default();
            let _ = write!(
                text,
                "\n- ! {}.{hint} {}\n",
                prose(&word::failure(&failure.what)),
                place(failure.seq)
            );
            if !failure.what.evidence.is_empty() {
                let _ = write!(text, "\n{}", block("text", &failure.what.evidence));
            }
        }
    }
    text
}

fn step_cells(step: &StepLine, report: &Report) -> Vec<String> {
    let records: Vec<Seq> = [step.started, step.ended]
        .iter()
        .flatten()
        .map(|moment| moment.seq)
        .collect();
    vec![
        step.wave.to_string(),
        prose(&step.what),
        word::state(step.state).to_owned(),
        step.started
            .map_or_else(String::new, |start| word::moment(start.at, report.origin())),
        step.took().map_or_else(String::new, human),
        format!(
            "{} ({})",
            human(step.forecast.expected),
            word::basis(&step.forecast.basis)
        ),
        step.attempts.to_string(),
        step.key
            .as_ref()
            .map(|key| code(key.as_str()))
            .unwrap_or_default(),
        places(&records),
    ]
}

fn checklist(report: &Report) -> String {
    match &report.checklist.verdict {
        Some(judged) => format!(
            "{}\nSaid by record j{}.\n",
            verdict_markdown(&judged.verdict),
            judged.seq
        ),
        None => {
            let open = report
                .checklist
                .criteria
                .iter()
                .map(|what| format!("[ ] ? not validated: {}", prose(what)));
            format!("**{NOT_VALIDATED}**\n\n{}", items(open))
        }
    }
}

fn evidence(report: &Report) -> String {
    let evidence = &report.evidence;
    if !evidence.tried {
        return format!("{NOTHING_SAVED}\n");
    }
    let mut text = String::new();
    for piece in &evidence.saved {
        let saved = &piece.what;
        let size = word::bytes(saved.size());
        let _ = write!(
            text,
            "**{}** ({size}) {}\n\n",
            prose(&saved.what),
            place(piece.seq)
        );
        if !saved.tail.is_empty() {
            let _ = writeln!(text, "{}", block("text", &saved.tail));
        }
    }
    if !evidence.saved.is_empty() {
        let _ = writeln!(text, "The whole of each: {}\n", code(&whole_evidence(report)));
    }
    let missed = evidence.missed.iter();
    text.push_str(&items(
        missed.map(|what| format!("! missed: {} {}", prose(&what.what), place(what.seq))),
    ));
    text
}

fn accepted(report: &Report) -> String {
    items(report.accepted.iter().map(|accepted| {
        format!(
            "! {}: {} {}",
            accepted_word(accepted.kind),
            prose(&accepted.what),
            place(accepted.seq)
        )
    }))
}

fn follow_ups(report: &Report) -> String {
    let line = |what: &crate::report::FollowUp| format!("[ ] {} {}", prose(&what.what), place(what.seq));
    items(report.follow_ups.iter().map(line))
}

fn journal(report: &Report) -> String {
    let mut table = Table::new(&["Record", "At", "Epoch", "What it says"]);
    for line in &report.records {
        let epoch = line.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
        table.row(
            LineKind::Text,
            vec![format!("j{}", line.seq), clock(line.at), epoch, prose(&line.what)],
        );
    }
    format!(
        "{}, record 0 is the plan.\n\n{}",
        prose(&report.journal),
        table.markdown()
    )
}
