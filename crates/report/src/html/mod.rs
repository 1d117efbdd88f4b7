//! The report as one page that stands by itself: its style and pictures are inside, it loads nothing and runs
//! nothing. Owns the frame: head, key figures, navigation; the sections are in [`section`].

mod after;
mod part;
mod picture;
mod section;

use crate::report::{Report, Stands, Tone};
use crate::visible::visible;
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::verdict::CheckResult;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use part::{cite, word as toned};

/// The page's whole style.
const STYLE: &str = include_str!("style.css");

/// The page may use its own style and nothing else: even if a value were to slip through the escaping, a browser
/// would neither run nor load anything.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The report as one self-contained HTML page. Every value is escaped; there is no script in it.
pub fn html(report: &Report) -> String {
    let sections = sections(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (visible(&report.title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the report" }
                (head(report))
                nav aria-label="Parts of the report" {
                    ul { @for (id, name, _) in &sections { li { a href={ "#" (id) } { (name) } } } }
                }
                main id="main" {
                    @for (id, name, body) in sections { (part::section(id, name, body)) }
                }
                (foot(report))
            }
        }
    };
    page.into_string()
}

/// The sections that have something to say, each with its anchor and its name.
fn sections(report: &Report) -> Vec<(&'static str, &'static str, Markup)> {
    let sections = [
        ("now", "Where things stand", Some(section::standings(report))),
        ("failure", "What failed", Some(section::failure(report))),
        ("decision", "The decision", Some(section::decision(report))),
        ("rollback", "What was done", Some(section::rollback(report))),
        ("checks", "Is it over?", Some(after::checklist(report))),
        ("impact", "Impact", Some(section::impact(report))),
        ("choices", "Back to what", section::choices(report)),
        ("changes", "What changed", section::changes(report)),
        (
            "config",
            "What changed in ConfigMaps and Secrets",
            section::config(report),
        ),
        ("evidence", "Evidence", Some(after::evidence(report))),
        ("unchanged", "What was not changed", after::unchanged(report)),
        ("accepted", "Accepted knowingly", after::accepted(report)),
        ("todo", "To do", after::follow_ups(report)),
        ("journal", "Journal", Some(after::journal(report))),
    ];
    sections
        .into_iter()
        .filter_map(|(id, name, body)| Some((id, name, body?)))
        .collect()
}

fn head(report: &Report) -> Markup {
    let (tone, status) = report.status();
    html! {
        header {
            p.eyebrow { "astern · " (visible(report.run.as_str())) " · " (clock(report.origin())) }
            h1 { (visible(&report.title)) }
            span.pill.(part::class(tone)) { (status) } " " (cite(report.ending.seq))
            @if let Some(why) = report.why() { p { (visible(&why)) } }
            @if let (true, Some(next)) = (tone == Tone::Bad, report.follow_ups.first()) {
                p.note { (visible(&next.what)) " " (cite(next.seq)) }
            }
            @if let Some(approval) = &report.head.approval {
                p.why { "“" (visible(&approval.what.reason)) "” " (cite(approval.seq)) }
            }
            (tiles(report))
            (facts(report))
        }
    }
}

/// The four figures that everybody asks for first. What is not known says so.
fn tiles(report: &Report) -> Markup {
    let story = &report.rollback;
    let serves = |on: &Stands| matches!(on, Stands::Serves { .. });
    let serving = report
        .standings
        .iter()
        .filter(|standing| serves(&standing.on))
        .count();
    let all = report.standings.len();
    html! {
        ul.tiles {
            li { @match story.restored {
                Some(restored) => {
                    b { (human(restored.at.duration_since(story.start.at))) }
                    span { "from approval to restored; forecast " (human(story.forecast)) ", RTO " (human(story.rto)) }
                }
                None => { b.warn { "? not restored" } span { "no record says that service is back; RTO " (human(story.rto)) } }
            } }
            li { (first_evidence(report)) }
            li {
                b.(part::class(if serving == all { Tone::Good } else { Tone::Bad })) { (serving) " of " (all) }
                span { "workloads seen to serve the version that they were put back to" }
            }
            li { (checks(report)) }
        }
    }
}

fn first_evidence(report: &Report) -> Markup {
    let figure = report
        .impact
        .iter()
        .find(|figure| figure.what == crate::tell::FROM_EVIDENCE);
    match figure.and_then(|figure| figure.value.value()) {
        Some(value) => html! { b { (value) } span { (crate::tell::FROM_EVIDENCE) } },
        None => html! { b.warn { "? unknown" } span { (crate::tell::FROM_EVIDENCE) } },
    }
}

fn checks(report: &Report) -> Markup {
    let Some(judged) = &report.checklist.verdict else {
        return html! { b.warn { "? none" } span { "checks: nobody has validated" } };
    };
    let items = &judged.verdict.items;
    let passed = items
        .iter()
        .filter(|item| item.result == CheckResult::Pass)
        .count();
    let tone = if judged.verdict.passes() {
        Tone::Good
    } else {
        Tone::Bad
    };
    html! {
        b.(part::class(tone)) { (passed) " of " (items.len()) }
        span { "checks passed, held for " (human(judged.verdict.held_for)) }
    }
}

fn facts(report: &Report) -> Markup {
    let head = &report.head;
    let cluster = &head.cluster;
    html! {
        dl.facts {
            dt { "Platform" } dd { (visible(&head.platform)) ", namespace " (visible(&head.namespace)) }
            dt { "Cluster" }
            dd { "context " (visible(&cluster.context)) ", " span.mono { (visible(&word::identity(&cluster.identity))) } ", " (visible(&cluster.version)) }
            dt { "Approved by" }
            @match &head.approval {
                Some(approval) => dd {
                    (visible(&approval.what.by)) " at " (clock(approval.at)) ": " (word::how(approval.what.how)) " " (cite(approval.seq))
                },
                None => dd { (toned(Tone::Warn, "? nobody")) ": the journal has no approval" },
            }
            dt { "Carried out by" }
            dd {
                @for (place, holder) in head.holders.iter().enumerate() {
                    @if place > 0 { ", then taken over by " }
                    (visible(&holder.what.user)) " on " (visible(&holder.what.host)) " " (cite(holder.seq))
                }
                @if head.holders.is_empty() { "nobody yet" }
            }
            dt { "Plan" } dd { code { (visible(head.plan.as_str())) } " " (cite(crate::report::PLAN)) }
        }
    }
}

fn foot(report: &Report) -> Markup {
    html! {
        footer {
            p {
                "Computed from the plan and " (word::plural(report.records.len().saturating_sub(1) as u64, "record"))
                " of the journal in " (visible(&report.journal)) ". "
                span.j { "jN" } " names record N; " span.j { "j0" } " is the plan. Times are UTC. Nothing here was typed in."
            }
        }
    }
}
