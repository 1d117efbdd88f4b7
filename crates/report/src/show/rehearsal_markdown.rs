//! A rehearsal in Markdown: the same order as on a terminal, with every number of the pods over time.

use super::finding::findings_markdown;
use super::rehearsal::{
    WRITTEN, block_head, budget_sentence, by_step, copied, crash_told, failed_told, faults_sentence,
    known_from, lasting, lowest, outcome, span, time_sentence, when, why,
};
use crate::line::LineKind;
use crate::rehearsal::{Crash, Faults, PodLane, Rehearsal};
use crate::report::Ending;
use crate::table::Table;
use crate::text::stands;
use crate::visible::{code, prose};
use crate::word;
use astern_model::choice::human;
use std::fmt::Write as _;

/// The rehearsal as Markdown.
pub fn rehearsal_markdown(rehearsal: &Rehearsal) -> String {
    let mut text = format!("# Rehearsal: {}\n\n", prose(&rehearsal.title));
    head(rehearsal, &mut text);
    section(&mut text, "How pods behaved there", &paces(rehearsal));
    section(&mut text, "What happened", &steps(rehearsal));
    let lanes: String = rehearsal.lanes.iter().map(lane).collect();
    section(&mut text, "Pods over time", &lanes);
    section(&mut text, "What stood in the way", &obstacles(rehearsal));
    section(&mut text, "Where things stood then", &standings(rehearsal));
    if let Some(faults) = &rehearsal.faults {
        section(&mut text, "When a step fails for good", &failures(faults));
        section(&mut text, "When whoever carries it out dies", &crashes(faults));
    }
    if !rehearsal.findings.is_empty() {
        section(
            &mut text,
            "What the gate found",
            &findings_markdown(&rehearsal.findings),
        );
    }
    section(&mut text, "It does not prove", &items(&rehearsal.proves_not));
    text
}

fn head(rehearsal: &Rehearsal, text: &mut String) {
    let (_, word) = outcome(rehearsal);
    let _ = writeln!(text, "**{}**", prose(word));
    if let Some(why) = why(&rehearsal.ending) {
        let _ = writeln!(text, "\n{}", prose(&why));
    }
    if rehearsal.ending == Ending::Restored {
        let _ = writeln!(text, "\n{}", prose(&time_sentence(rehearsal)));
    }
    if let Some(faults) = &rehearsal.faults {
        let _ = writeln!(text, "\n{}", prose(&faults_sentence(faults)));
    }
    let identity = word::identity(&rehearsal.cluster.identity);
    let _ = write!(
        text,
        "\n- cluster {}\n- namespace {} in context {}\n- copied {}\n- written {WRITTEN}\n- plan {}\n",
        prose(&identity),
        code(&rehearsal.namespace),
        code(&rehearsal.cluster.context),
        prose(&copied(rehearsal)),
        code(rehearsal.plan.as_str())
    );
    for missing in &rehearsal.copy.missing {
        let _ = writeln!(text, "- **!** {}", prose(missing));
    }
}

fn section(text: &mut String, head: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(text, "\n## {head}\n\n{}\n", body.trim_end());
    }
}

fn items(list: &[String]) -> String {
    list.iter().map(|item| format!("- {}\n", prose(item))).collect()
}

fn paces(rehearsal: &Rehearsal) -> String {
    let mut table = Table::new(&[
        "Workload",
        "Version",
        "Starts after",
        "Ready after",
        "Stops within",
        "Known from",
    ]);
    for pace in &rehearsal.paces {
        let cells = [
            code(&pace.target.to_string()),
            prose(&pace.version),
            span(pace.starts_after),
            pace.ready_after.map_or_else(|| "never".to_owned(), span),
            human(pace.stops_within),
            prose(&known_from(&pace.known_from).1),
        ];
        table.row(LineKind::Text, cells);
    }
    table.markdown()
}

fn steps(rehearsal: &Rehearsal) -> String {
    let mut table = Table::new(&["When", "Result", "Step", "Forecast"]);
    for step in &rehearsal.steps {
        let cells = [
            when(step, rehearsal.began),
            word::state(step.state).to_owned(),
            prose(&step.what),
            prose(&word::forecast(&step.forecast)),
        ];
        table.row(LineKind::Step, cells);
    }
    let mut text = table.markdown();
    for failure in rehearsal.steps.iter().flat_map(|step| &step.failures) {
        let _ = write!(text, "\n- {}", prose(&word::failure(&failure.what)));
        for line in failure.what.evidence.iter().chain(&failure.what.hint) {
            let _ = write!(text, "\n  - {}", prose(line));
        }
    }
    text
}

fn lane(lane: &PodLane) -> String {
    let mut table = Table::new(&[
        "After",
        "Ready, back",
        "There, back",
        "Ready, before",
        "There, before",
    ]);
    for point in &lane.points {
        let cells = [
            human(point.after),
            point.to_ready.to_string(),
            point.to.to_string(),
            point.from_ready.to_string(),
            point.from.to_string(),
        ];
        table.row(LineKind::Text, cells);
    }
    let least = lowest(lane)
        .map(|(_, text)| format!("{text}.\n\n"))
        .unwrap_or_default();
    format!(
        "### {}: {} → {}\n\n{} asked for. {least}{}\n",
        code(&lane.target.to_string()),
        prose(&lane.from),
        prose(&lane.to),
        lane.desired,
        table.markdown()
    )
}

fn obstacles(rehearsal: &Rehearsal) -> String {
    let restored = rehearsal.ending == Ending::Restored;
    let mut told: Vec<String> = rehearsal
        .blocks
        .iter()
        .map(|block| format!("{}: {}", block_head(block, restored).1, block.what))
        .collect();
    told.extend(rehearsal.budgets.iter().map(budget_sentence));
    if told.is_empty() {
        return "Nothing: every pod was let in and placed at once.".to_owned();
    }
    items(&told)
}

fn standings(rehearsal: &Rehearsal) -> String {
    let mut table = Table::new(&["Workload", "Stands on", "As far as was seen"]);
    for standing in &rehearsal.standings {
        let (_, version, how) = stands(standing);
        table.row(
            LineKind::Text,
            [code(&standing.target.to_string()), prose(&version), prose(&how)],
        );
    }
    let lasting = lasting(rehearsal)
        .map(|(_, text)| format!("\n{}\n", prose(&text)))
        .unwrap_or_default();
    format!("{}{lasting}", table.markdown())
}

fn failures(faults: &Faults) -> String {
    let mut table = Table::new(&["Step", "Leads to"]);
    for failed in &faults.failures {
        let (_, told) = failed_told(failed);
        table.row(LineKind::Text, [prose(&failed.what), prose(&told.join(" "))]);
    }
    table.markdown()
}

fn crashes(faults: &Faults) -> String {
    let mut table = Table::new(&["Step", "Points", "Ended as without a crash", "Otherwise"]);
    for (what, crashes) in by_step(faults) {
        let lost: Vec<String> = crashes
            .iter()
            .filter(|crash| !crash.recovers())
            .map(|crash| crash_told(crash))
            .collect();
        let recovered = crashes.iter().filter(|crash| Crash::recovers(crash)).count();
        let cells = [
            prose(what),
            crashes.len().to_string(),
            recovered.to_string(),
            prose(&lost.join("; ")),
        ];
        table.row(LineKind::Text, cells);
    }
    table.markdown()
}
