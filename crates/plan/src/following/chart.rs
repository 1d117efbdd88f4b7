//! A chart that would be installed, held against the revision of its release that is in force, and that against what stands.

use super::some;
use crate::diff::differences;
use crate::manifest::holds;
use astern_model::diff::Marks;
use astern_model::helm::Release;
use astern_model::inventory::Inventory;
use astern_model::owner::{InSync, OwnerSeen};
use astern_model::source::NextChart;
use serde_json::{Value, json};

/// Whether a HelmRelease may go on: whether the chart and the values that it would install are those of the revision in force, and
/// what runs is what that revision holds. `given` are the values of that revision, whole; they are told by their places alone.
pub fn chart_in_sync(
    seen: &OwnerSeen,
    next: &NextChart,
    (release, given): (&Release, &Value),
    inventory: &Inventory,
) -> InSync {
    let untold = |why: String| InSync::Untold { why };
    // Where the one above it is paused too, its object says what that one's source said before.
    let above = seen
        .parents
        .iter()
        .filter_map(|parent| inventory.owner(parent.object.as_ref()?));
    if let Some(above) = above.into_iter().find(|above| above.is_paused()) {
        return untold(format!(
            "{}, which writes its chart and values, is paused too",
            above.name
        ));
    }
    let record = release
        .live()
        .and_then(|revision| Some((revision.number, revision.content()?)));
    let Some((number, record)) = record else {
        return untold(format!("the record of {} could not be read", release.name));
    };
    let beside = record.templates.iter().find(|(target, template)| {
        let live = inventory.workloads.get(*target);
        live.is_none_or(|live| !holds(live.template.json(), template.json()))
    });
    if let Some((target, _)) = beside {
        return untold(format!(
            "{target} is not what revision {number} of {} holds",
            release.name
        ));
    }
    let mut differs = Vec::new();
    if record.chart != next.chart {
        differs.push(format!("chart {} → {}", record.chart, next.chart));
    }
    let plain = |values: &Value| {
        if values.is_null() {
            json!({})
        } else {
            values.clone()
        }
    };
    let values = differences("", &plain(given), &plain(&next.values), &Marks::default());
    differs.extend(
        values
            .into_iter()
            .map(|change| format!("value {}", change.path.trim_start_matches('.'))),
    );
    if differs.is_empty() {
        return InSync::Yes {
            revision: next.chart.clone(),
        };
    }
    InSync::No {
        says: format!(
            "it would install otherwise than revision {number}: {}",
            some(&differs)
        ),
    }
}
