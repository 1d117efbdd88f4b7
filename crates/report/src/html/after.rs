//! The sections that tell what came of it: the checklist, the evidence, what is left to do, the journal itself.

use super::part::{Row, cite, table, word as toned};
use crate::report::{PLAN, Report, Tone};
use crate::show::verdict::{summary, window};
use crate::text::{NOT_VALIDATED, NOTHING_SAVED, accepted_word, whole_evidence};
use crate::visible::visible;
use crate::word;
use astern_model::choice::human;
use maud::{Markup, html};

pub(super) fn checklist(report: &Report) -> Markup {
    let list = &report.checklist;
    let Some(judged) = &list.verdict else {
        return html! {
            p.note { (NOT_VALIDATED) }
            p { "It would count as recovered if this held for " (human(list.soak)) ": " (cite(PLAN)) }
            ul.plain { @for what in &list.criteria { li { (toned(Tone::Warn, "? not validated")) ": " (visible(what)) } } }
        };
    };
    let rows = judged.verdict.items.iter().map(|item| {
        Row::of(vec![
            html! { (visible(&item.check)) },
            toned(word::check_tone(item.result), word::check(item.result)),
            html! { (visible(&item.target.to_string())) },
            html! { (visible(&item.evidence)) },
        ])
    });
    let tone = if judged.verdict.passes() {
        Tone::Good
    } else {
        Tone::Bad
    };
    html! {
        p { (toned(tone, &summary(&judged.verdict))) ". " (window(&judged.verdict)) " " (cite(judged.seq)) }
        (table("The checklist", &["Check", "Result", "Workload", "Evidence"], 0, rows.collect()))
    }
}

pub(super) fn evidence(report: &Report) -> Markup {
    let evidence = &report.evidence;
    if !evidence.tried {
        return html! { p.note { (NOTHING_SAVED) } };
    }
    html! {
        p.lead {
            "Saved before the first change, because a rollback destroys it."
            @if !evidence.saved.is_empty() { " The whole of each: " code { (visible(&whole_evidence(report))) } }
        }
        @for (place, piece) in evidence.saved.iter().enumerate() {
            @let saved = &piece.what;
            @let kept = html! {
                (visible(&saved.what)) " "
                small { (word::bytes(saved.size())) " " (cite(piece.seq)) }
            };
            @if saved.tail.is_empty() {
                div.card { (kept) }
            } @else {
                details open[place == 0] {
                    summary { (kept) }
                    pre tabindex="0" { @for line in &saved.tail { (visible(line)) "\n" } }
                }
            }
        }
        @if !evidence.missed.is_empty() {
            h3 { "Not had in time" }
            ul.plain { @for what in &evidence.missed {
                li { (toned(Tone::Warn, "! missed")) ": " (visible(&what.what)) " " (cite(what.seq)) }
            } }
        }
    }
}

pub(super) fn unchanged(report: &Report) -> Option<Markup> {
    (!report.unchanged.is_empty()).then(|| {
        html! { ul.plain { @for what in &report.unchanged { li { (visible(what)) " " (cite(PLAN)) } } } }
    })
}

pub(super) fn accepted(report: &Report) -> Option<Markup> {
    (!report.accepted.is_empty()).then(|| {
        html! { ul.plain { @for accepted in &report.accepted {
            li {
                (toned(Tone::Warn, &format!("! {}", accepted_word(accepted.kind)))) ": " (visible(&accepted.what)) " "
                (cite(accepted.seq))
            }
        } } }
    })
}

pub(super) fn follow_ups(report: &Report) -> Option<Markup> {
    (!report.follow_ups.is_empty()).then(|| {
        html! { ul.todo { @for what in &report.follow_ups { li { span { (visible(&what.what)) " " (cite(what.seq)) } } } } }
    })
}

pub(super) fn journal(report: &Report) -> Markup {
    let rows = report.records.iter().map(|line| Row {
        id: Some(format!("j{}", line.seq)),
        cells: vec![
            html! { span.mono { "j" (line.seq) } },
            html! { (word::moment(line.at, report.origin())) },
            html! { @if let Some(epoch) = line.epoch { (epoch) } },
            html! { span.(super::part::class(line.tone)) { (visible(&line.what)) } },
        ],
    });
    let kept = format!("All records, from {}", visible(&report.journal));
    html! {
        details open {
            summary { (word::plural(report.records.len() as u64, "record")) }
            (table(&kept, &["Record", "At", "Epoch", "What it says"], 0, rows.collect()))
        }
    }
}
