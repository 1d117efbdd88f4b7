//! The sections that tell what happened, up to the changes.

use super::part::{Row, cite, cites, class, table, word as toned};
use super::picture;
use crate::report::{PLAN, Report, Standing, Stands};
use crate::story::{StepLine, WorkloadLine};
use crate::text::stands;
use crate::visible::visible;
use crate::word;
use astern_model::choice::{Choice, clock, human};
use astern_model::diff::{Change, Shown};
use astern_model::evidence::Known;
use astern_model::id::Seq;
use maud::{Markup, html};

pub(super) fn standings(report: &Report) -> Markup {
    let rows = report.standings.iter().map(standing_row).collect();
    table(
        "As far as the journal tells",
        &["Workload", "Stands on", "State", "Running image"],
        0,
        rows,
    )
}

fn standing_row(standing: &Standing) -> Row {
    let (tone, version, how) = stands(standing);
    let running = match &standing.on {
        Stands::Serves { digests, .. } => html! {
            @for (image, digest) in digests {
                div { code { (visible(image)) } " " code.key title=(visible(digest)) { (word::digest(digest)) } }
            }
        },
        Stands::Asks { .. }
        | Stands::Fails { .. }
        | Stands::Untouched { .. }
        | Stands::TakenBack { .. }
        | Stands::NotKnown { .. } => html! { span.quiet { "not observed" } },
    };
    Row::of(vec![
        html! { (visible(&standing.target.to_string())) },
        html! { b { (visible(&version)) } },
        html! { span.(class(tone)) { (visible(&how)) } " " (cite(standing.seq)) },
        running,
    ])
}

pub(super) fn failure(report: &Report) -> Markup {
    let story = &report.failure;
    html! {
        p.lead { "Which version was the newest, since when, and what was seen of it when the plan was made." }
        figure {
            (picture::failure(report))
            @if let Some(more) = picture::not_drawn(story.lanes.len()) { figcaption { (more) } }
            ul.legend aria-hidden="true" {
                li { i.l-good {} "the version before" }
                li { i.l-suspect {} "the one that was taken back" }
            }
            ol.marks {
                @for mark in &story.marks {
                    li { span { (word::moment(mark.at, report.origin())) " " (visible(&mark.what)) " " (cite(mark.seq)) } }
                }
            }
        }
        (table(
            "When the plan was made",
            &["Workload", "Version", "Since", "Ready", "State", "Reason"],
            0,
            story.workloads.iter().map(|line| workload_row(line, report)).collect(),
        ))
    }
}

fn workload_row(line: &WorkloadLine, report: &Report) -> Row {
    Row::of(vec![
        html! { (visible(&line.target.to_string())) },
        html! { (visible(&line.version)) },
        html! { @match line.since {
            Some(at) => (word::moment(at, report.origin())),
            None => span.warn { "? unknown" },
        } },
        html! {
            (line.ready) " of " (line.desired)
            @if line.former_ready > 0 { span.quiet { ", " (line.former_ready) " of an earlier version" } }
        },
        toned(word::health_tone(line.state), &word::health(line.state)),
        html! { (visible(&line.reason)) },
    ])
}

pub(super) fn decision(report: &Report) -> Markup {
    let story = &report.decision;
    let tone = word::say_tone(story.say);
    let seen = story.evidence.iter().map(|seen| {
        Row::of(vec![
            html! { (visible(&seen.target.to_string())) },
            html! { (visible(&seen.what)) },
            html! { (word::side(seen.side)) },
            html! { (word::source(seen.source)) @if let Some(window) = seen.window { ", over " (human(window)) } },
            html! { (word::moment(seen.at, report.origin())) },
        ])
    });
    html! {
        div.hinge {
            p.(class(tone)) { (word::say(story.say)) " " (cite(PLAN)) }
            @if story.rows.is_empty() { p { "No row of the matrix fired." } }
            ul { @for row in &story.rows {
                li {
                    (toned(word::say_tone(row.say), word::say(row.say))) ": " (visible(&row.because)) " "
                    span.key { "row " code { (visible(&row.row)) } }
                    ul { @for (target, phrase) in &row.on { li { (visible(&target.to_string())) ": " (visible(phrase)) } } }
                }
            } }
        }
        @if !story.evidence.is_empty() {
            (table("What it rests on", &["About", "Observed", "Version", "Source", "At"], 0, seen.collect()))
        }
    }
}

pub(super) fn rollback(report: &Report) -> Markup {
    let story = &report.rollback;
    html! {
        p.lead {
            "From " (clock(story.start.at)) " " (cite(story.start.seq)) " on. If a step fails once a workload is restored, "
            (word::on_failure(story.on_failure)) "."
        }
        @if let Some(picture) = picture::rollback(report) {
            figure {
                (picture)
                @if let Some(more) = picture::not_drawn(report.standings.len()) { figcaption { (more) } }
                ul.legend aria-hidden="true" {
                    li { i.l-write {} "writes" }
                    li { i.l-wait {} "waits until it serves" }
                    li { i.l-forecast {} "forecast" }
                    li { i.l-bad {} "failed" }
                }
            }
        }
        (table(
            "The steps, in the plan's order",
            &["Step", "Wave", "Result", "Start", "Took", "Forecast", "Tries", "Records"],
            0,
            story.steps.iter().map(|step| step_row(step, report)).collect(),
        ))
        (went_wrong(report))
    }
}

fn step_row(step: &StepLine, report: &Report) -> Row {
    let records: Vec<Seq> = [step.started, step.ended]
        .iter()
        .flatten()
        .map(|moment| moment.seq)
        .collect();
    Row::of(vec![
        html! {
            (visible(&step.what))
            @if let Some(key) = &step.key { code.key.own title="the effect's key" { (visible(key.as_str())) } }
        },
        html! { (step.wave) },
        toned(word::state_tone(step.state), word::state(step.state)),
        html! { @if let Some(start) = step.started { "+" (human(start.at.duration_since(report.origin()))) } },
        html! { @if let Some(took) = step.took() { (human(took)) } },
        html! { (human(step.forecast.expected)) " " span.quiet { (word::basis(&step.forecast.basis)) } },
        html! { (step.attempts) },
        cites(&records),
    ])
}

fn went_wrong(report: &Report) -> Markup {
    let failures = || report.rollback.steps.iter().flat_map(|step| &step.failures);
    html! {
        @if failures().next().is_some() {
            h3 { "What went wrong on the way" }
            ul.plain { @for failure in failures() {
                li {
                    (visible(&word::failure(&failure.what))) " " (cite(failure.seq))
                    @for line in &failure.what.evidence { div { code { (visible(line)) } } }
                    @if let Some(hint) = &failure.what.hint { div.quiet { (visible(hint)) } }
                }
            } }
        }
    }
}

pub(super) fn impact(report: &Report) -> Markup {
    let rows = report.impact.iter().map(|figure| {
        Row::of(vec![
            html! { (visible(&figure.what)) },
            html! { @match &figure.value {
                Known::Is(value) => (visible(value)),
                Known::Unknown(why) => { (toned(crate::report::Tone::Warn, "? unknown")) ": " (visible(why)) }
            } },
            cites(&figure.seqs),
        ])
    });
    table(
        "Computed from the records; what they do not tell is unknown",
        &["What", "Value", "Records"],
        0,
        rows.collect(),
    )
}

pub(super) fn choices(report: &Report) -> Option<Markup> {
    if report.choices.is_empty() {
        return None;
    }
    Some(html! {
        p.lead { "Which revision was believed good and why, and why each other one was passed over. " (cite(PLAN)) }
        div.cards { @for choice in &report.choices { (choice_card(choice)) } }
    })
}

fn choice_card(choice: &Choice) -> Markup {
    html! {
        div.card {
            h3 { (visible(&choice.target.to_string())) }
            @match &choice.good {
                Some(good) => {
                    @let (tone, said) = word::because(&good.because);
                    p {
                        b { (visible(&good.revision.version)) } ", " (good.revision.label()) " "
                        code.key { (visible(&good.revision.name)) }
                    }
                    p.(class(tone)) { (visible(&said)) }
                }
                None => p { (toned(crate::report::Tone::Bad, "✗ none is known to be good")) },
            }
            ul {
                @for passed in &choice.passed_over {
                    li { "· " b { (visible(&passed.revision.version)) } ", " (passed.revision.label()) ", passed over: " (visible(&passed.why)) }
                }
                @for note in &choice.notes { li.warn { "! " (visible(note)) } }
            }
        }
    }
}

pub(super) fn changes(report: &Report) -> Option<Markup> {
    if report.changes.is_empty() {
        return None;
    }
    Some(html! {
        p.lead { "The pod templates, place by place. Values that may be secret are masked. " (cite(PLAN)) }
        div.cards { @for of in &report.changes {
            div.card {
                h3 { (visible(&of.target.to_string())) }
                p.quiet { (visible(&of.from_version)) " → " (visible(&of.to_version)) }
                @if let Some(source) = word::provenance(of) { p.quiet { (visible(&source)) } }
                dl.diff { @for change in &of.changes { (change_lines(change)) } }
                @if of.changes.is_empty() { p.quiet { "Nothing in the template." } }
            }
        } }
    })
}

pub(super) fn config(report: &Report) -> Option<Markup> {
    if report.config.is_empty() {
        return None;
    }
    Some(html! {
        p.lead { "What ConfigMaps and Secrets hold, key by key, and who reads it. Values that may be secret are masked. " (cite(PLAN)) }
        div.cards { @for of in &report.config {
            div.card {
                h3 { (visible(&of.object.to_string())) }
                p.quiet { @if of.anew { "made anew as of " } @else { "back to " } (visible(&of.to)) }
                @if let Some(because) = &of.because { p { "Because " (visible(because)) "." } }
                dl.diff { @for change in &of.changes { (change_lines(change)) } }
                ul { @for (target, how) in &of.readers { li { (visible(&format!("{target} {how}"))) } } }
            }
        } }
    })
}

fn change_lines(change: &Change) -> Markup {
    let value = |shown: &Shown| match shown {
        Shown::Value(value) => visible(value),
        Shown::Masked | Shown::Keyed(_) => word::masked(shown),
    };
    html! {
        dt { (visible(&change.path)) }
        @if let Some(from) = &change.from { dd.del { "− " del { (value(from)) } } }
        @if let Some(to) = &change.to { dd.ins { "+ " ins { (value(to)) } } }
    }
}
