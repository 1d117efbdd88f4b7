//! What changes in a Helm release, as lines and as Markdown: from which revision to which and why, what differs beside the
//! pod templates, the hooks before they run, and what does not come back.

use crate::line::{Line, LineKind};
use crate::word;
use astern_model::diff::{Change, Shown};
use astern_model::helm::Hook;
use astern_model::plan::{Plan, ReleaseChanges};

/// Changed places that are listed for one object; the rest is counted.
const PLACES: usize = 8;

/// The releases of a plan.
pub(super) fn release_lines(plan: &Plan) -> Vec<Line> {
    plan.releases.iter().flat_map(of_release).collect()
}

/// The same, an item each.
pub(super) fn release_items(plan: &Plan) -> Vec<String> {
    release_lines(plan)
        .into_iter()
        .map(|line| line.text.trim_start().to_owned())
        .collect()
}

fn of_release(of: &ReleaseChanges) -> Vec<Line> {
    let text = |text: String| Line::new(LineKind::Text, text);
    let dim = |text: String| Line::new(LineKind::Dim, text);
    let mut lines = vec![
        text(format!("  {}: revision {} → {}", of.release, of.from, of.to)),
        dim(format!("    {}", of.because)),
    ];
    let passed = of.passed_over.iter();
    lines.extend(passed.map(|(number, why)| dim(format!("    not revision {number}: {why}"))));
    for (object, changes) in &of.objects {
        lines.push(text(format!("    {object}")));
        lines.extend(changed(changes));
        let mut readers = of.readers.iter();
        let readers = readers.find(|(name, _)| name.to_string() == *object);
        let readers = readers.into_iter().flat_map(|(_, readers)| readers);
        lines.extend(readers.map(|(target, how)| dim(format!("      {target} {how}"))));
    }
    lines.extend(of.proofs.iter().map(|sentence| text(format!("    {sentence}"))));
    lines.extend(of.edited.iter().map(|(object, places)| {
        let sentence = format!("    {object} was changed beside helm: {}", places.join(", "));
        Line::new(LineKind::Warn, sentence)
    }));
    let unread = of.unread.iter();
    lines.extend(unread.map(|clause| Line::new(LineKind::Warn, format!("    {clause}"))));
    if !of.values.is_empty() {
        lines.push(text("    values".to_owned()));
        lines.extend(changed(&of.values));
    }
    lines.extend(of.hooks.iter().map(|hook| text(format!("    {}", told(hook)))));
    let kept = of.not_restored.iter();
    lines.extend(kept.map(|sentence| Line::new(LineKind::Warn, format!("    not restored: {sentence}"))));
    lines
}

fn told(hook: &Hook) -> String {
    let database = if hook.migrates {
        "; it looks like one that changes a database"
    } else {
        ""
    };
    let events: Vec<&str> = hook
        .events
        .iter()
        .map(String::as_str)
        .filter(|event| event.ends_with("-rollback"))
        .collect();
    format!("hook {} runs ({}){database}", hook.object, events.join(", "))
}

pub(super) fn changed(changes: &[Change]) -> Vec<Line> {
    let value = |shown: &Option<Shown>| shown.as_ref().map_or_else(|| "(none)".to_owned(), word::shown);
    // Two hidden values that differ are told as before and after.
    let line = |change: &Change| match (&change.from, &change.to) {
        (Some(from @ (Shown::Masked | Shown::Keyed(_))), Some(to @ (Shown::Masked | Shown::Keyed(_)))) => {
            format!(
                "{}: {} (before) → {} (after)",
                change.path,
                word::masked(from),
                word::masked(to)
            )
        }
        (from, to) => format!("{}: {} → {}", change.path, value(from), value(to)),
    };
    let mut lines: Vec<Line> = changes
        .iter()
        .take(PLACES)
        .map(|change| Line::new(LineKind::Text, format!("      {}", line(change))))
        .collect();
    let more = changes.len().saturating_sub(PLACES);
    if more > 0 {
        lines.push(Line::new(
            LineKind::Dim,
            format!("      and {more} more; -o json lists all"),
        ));
    }
    lines
}
