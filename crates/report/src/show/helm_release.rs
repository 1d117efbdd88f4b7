//! Helm releases as tables: all of a namespace, the revisions of one, and what one revision holds.

use crate::line::{Line, LineKind, joined};
use crate::table::Table;
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::diff::Shown;
use astern_model::helm::{HIDDEN, Read, Release, ReleaseName, Revision, Status};
use jiff::Timestamp;
use serde_json::Value;

/// The releases of a namespace as aligned lines, and what to do about those that are pending.
pub fn helm_lines(releases: &[Release], now: Timestamp) -> Vec<Line> {
    let mut lines = all(releases, now).lines();
    lines.extend(releases.iter().filter_map(pending_sentence).map(warning));
    lines
}

/// The same as Markdown.
pub fn helm_markdown(releases: &[Release], now: Timestamp) -> String {
    let told = releases.iter().filter_map(pending_sentence);
    let told: String = told.map(|sentence| format!("\n- {sentence}\n")).collect();
    all(releases, now).markdown() + &told
}

/// The revisions of a release as aligned lines, newest first.
pub fn helm_history_lines(release: &Release, now: Timestamp) -> Vec<Line> {
    let mut lines = revisions(release, now).lines();
    lines.extend(pending_sentence(release).map(warning));
    lines
}

/// The same as Markdown.
pub fn helm_history_markdown(release: &Release, now: Timestamp) -> String {
    let told = pending_sentence(release).map(|sentence| format!("\n{sentence}\n"));
    revisions(release, now).markdown() + &told.unwrap_or_default()
}

/// What a revision holds: chart, values, objects, hooks. A hidden value is told as one.
pub fn helm_revision_lines(name: &ReleaseName, revision: &Revision) -> Vec<Line> {
    let Some(record) = revision.content() else {
        return Vec::new();
    };
    let (text, head) = (
        |text: String| Line::new(LineKind::Text, text),
        |text: &str| Line::new(LineKind::Head, text),
    );
    let mut lines = vec![
        Line::new(
            LineKind::Title,
            format!("{name}, revision {} ({})", revision.number, revision.status),
        ),
        text(format!("  chart       {}", record.chart)),
        text(format!(
            "  version     {}",
            record.app_version.as_deref().unwrap_or("not said")
        )),
        text(format!("  written     {}", clock(revision.changed_at))),
        text(format!("  helm says   {}", record.description)),
    ];
    lines.push(head("Values"));
    let mut values = Vec::new();
    leaves("", &record.values, &mut values);
    if values.is_empty() {
        values.push("none was given: the chart's own hold".to_owned());
    }
    lines.extend(values.into_iter().map(|value| text(format!("  {value}"))));
    lines.push(head("Objects"));
    lines.extend(record.objects.keys().map(|object| text(format!("  {object}"))));
    if !record.hooks.is_empty() {
        lines.push(head("Hooks"));
    }
    lines.extend(record.hooks.iter().map(|hook| {
        let database = match hook.migrates {
            true => "; it looks like one that changes a database",
            false => "",
        };
        text(format!(
            "  {} ({}){database}",
            hook.object,
            hook.events.join(", ")
        ))
    }));
    lines
}

/// The same as Markdown.
pub fn helm_revision_markdown(name: &ReleaseName, revision: &Revision) -> String {
    format!("```\n{}```\n", joined(&helm_revision_lines(name, revision)))
}

fn all(releases: &[Release], now: Timestamp) -> Table {
    let mut table = Table::new(&["RELEASE", "REVISION", "STATUS", "AGE", "LAST DEPLOYED"]);
    for release in releases {
        let Some(newest) = release.newest() else { continue };
        let served = |revision: &&Revision| {
            matches!(revision.status, Status::Deployed | Status::Superseded)
                && revision.number != newest.number
        };
        let served = release.revisions.iter().find(served);
        let served = match &newest.status {
            Status::Deployed => newest.number.to_string(),
            _ => served.map_or_else(|| "never".to_owned(), |revision| revision.number.to_string()),
        };
        table.row(
            kind(&newest.status),
            [
                release.name.name.clone(),
                newest.number.to_string(),
                newest.status.to_string(),
                human(now.duration_since(newest.changed_at)),
                served,
            ],
        );
    }
    table
}

fn revisions(release: &Release, now: Timestamp) -> Table {
    let mut table = Table::new(&["REVISION", "STATUS", "AGE", "CHART", "VERSION", "DESCRIPTION"]);
    for revision in &release.revisions {
        let (chart, version, said) = match &revision.record {
            Read::Read(record) => (
                record.chart.clone(),
                record.app_version.clone().unwrap_or_default(),
                record.description.clone(),
            ),
            Read::Unreadable { why } => (String::new(), String::new(), why.clone()),
            Read::NotAsked => (String::new(), String::new(), "not read: too old".to_owned()),
        };
        table.row(
            kind(&revision.status),
            [
                revision.number.to_string(),
                revision.status.to_string(),
                human(now.duration_since(revision.changed_at)),
                chart,
                version,
                word::shown(&Shown::Value(said)),
            ],
        );
    }
    table
}

fn kind(status: &Status) -> LineKind {
    match status {
        Status::Deployed => LineKind::Good,
        Status::Superseded => LineKind::Text,
        Status::Failed => LineKind::Bad,
        Status::Pending(_) | Status::Other(_) => LineKind::Warn,
    }
}

fn warning(sentence: String) -> Line {
    Line::new(LineKind::Warn, sentence)
}

/// What a pending release means, and what is typed about it.
fn pending_sentence(release: &Release) -> Option<String> {
    let newest = release.newest()?;
    let Status::Pending(status) = &newest.status else {
        return None;
    };
    let at_work = match release.at_work.as_slice() {
        [] => String::new(),
        at_work => format!(" ({})", at_work.join("; ")),
    };
    Some(format!(
        "{} is {status}{at_work}: helm is at work on it, or its client died and helm refuses every further operation; astern helm \
         repair {} says which, and mends it",
        release.name, release.name.name
    ))
}

/// `path: value`, a line each.
fn leaves(path: &str, value: &Value, told: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            leaves(&path, value, told);
        }),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(place, value)| leaves(&format!("{path}[{place}]"), value, told)),
        Value::String(text) if text.contains(HIDDEN) => {
            told.push(format!("{path}: {}", word::masked(&Shown::Masked)))
        }
        Value::String(text) => told.push(format!("{path}: {}", word::shown(&Shown::Value(text.clone())))),
        Value::Null if path.is_empty() => {}
        Value::Null | Value::Bool(_) | Value::Number(_) => told.push(format!("{path}: {value}")),
    }
}
