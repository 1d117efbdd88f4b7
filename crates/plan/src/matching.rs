//! A manifest, which says no defaults, matched with the templates that are known of a workload, which have them: the one that it asks
//! for now, those that the cluster remembers, and those that were foretold.

use crate::manifest::holds;
use crate::world::View;
use astern_model::helm::{Release, Revision};
use astern_model::template::{RESTARTED_AT, Template};
use astern_model::workload::Revision as Remembered;
use serde_json::Value;

/// What a manifest's template is, among what is known of a workload.
pub(crate) enum Matched<'a> {
    /// The template that it asks for now.
    Live,
    /// An earlier one.
    Revision(&'a Remembered),
}

/// What a workload asks for once its release has gone back to a revision: a remembered template, or the one that was foretold.
pub(crate) fn asked_for<'a>(
    view: &View<'a>,
    release: &Release,
    revision: &Revision,
    manifest: &Template,
) -> Option<Matched<'a>> {
    matched(view, release, manifest).or_else(|| {
        let foretold = view.foretold_of(&release.name.name, revision.number)?;
        let foretold = foretold.template.value()?;
        let mut remembered = view.revisions.iter().copied();
        match foretold.hash == view.live {
            true => Some(Matched::Live),
            false => Some(Matched::Revision(
                remembered
                    .find(|revision| revision.hash == foretold.hash)
                    .unwrap_or(foretold),
            )),
        }
    })
}

/// The remembered template that holds the manifest's with the fewest additions: the server adds the same defaults to
/// each. The mark of a restart is none of them: helm leaves the one that stands. Of two alike the live one, then the newest.
/// A template that holds another manifest of the release with fewer additions is that one's: a version may only add.
pub(crate) fn matched<'a>(view: &View<'a>, release: &Release, manifest: &Template) -> Option<Matched<'a>> {
    let stands = mark(&view.workload.template);
    let says = leaves(manifest.json());
    let records = release.revisions.iter().filter_map(Revision::content);
    let others = records.filter_map(|record| record.templates.get(&view.workload.target));
    let fuller: Vec<&Template> = others.filter(|other| leaves(other.json()) > says).collect();
    let fits = |template: &Template, place: usize| {
        if fuller.iter().any(|other| holds(template.json(), other.json())) {
            return None;
        }
        let mark = mark(template);
        let additions = leaves(template.json()) - usize::from(mark.is_some());
        holds(template.json(), manifest.json()).then_some((additions, mark != stands, place))
    };
    let live = fits(&view.workload.template, 0).map(|key| (key, Matched::Live));
    let others = view
        .revisions
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, revision)| revision.hash != view.live);
    let others = others.filter_map(|(place, revision)| {
        let key = fits(&revision.template, place + 1)?;
        Some((key, Matched::Revision(revision)))
    });
    let all = live.into_iter().chain(others);
    all.min_by_key(|(key, _)| *key).map(|(_, matched)| matched)
}

/// When the template was restarted last, as kubectl writes it.
fn mark(template: &Template) -> Option<&str> {
    let annotations = template.json().pointer("/metadata/annotations")?;
    annotations.get(RESTARTED_AT)?.as_str()
}

/// How many values a JSON text holds.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.values().map(leaves).sum(),
        Value::Array(list) => list.iter().map(leaves).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}
