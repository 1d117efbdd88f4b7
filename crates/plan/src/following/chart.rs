//! A chart that would be installed, held against the revision of its release that is in force, and that against what stands.

use super::{ConfigSeen, some};
use crate::diff::differences;
use crate::manifest::holds;
use astern_model::config::{ConfigName, content, keys};
use astern_model::diff::Marks;
use astern_model::helm::Release;
use astern_model::inventory::Inventory;
use astern_model::owner::{InSync, OwnerSeen};
use astern_model::source::NextChart;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the record of the revision in force says. Without `Debug`: it has values.
pub struct InForceOf<'a> {
    /// The release.
    pub release: &'a Release,
    /// The values that were given for the revision, whole.
    pub values: &'a Value,
    /// What its manifest says that ConfigMaps and Secrets hold, or why that is not told, a clause.
    pub contents: &'a BTreeMap<ConfigName, Result<Value, String>>,
}

/// Whether a HelmRelease may go on: whether the chart and the values that it would install are those of the revision in force, and
/// what runs and is read is what that revision holds. Values are told by their places alone. `config` are the ConfigMaps and Secrets
/// that are there; none where they could not be read.
pub fn chart_in_sync(
    seen: &OwnerSeen,
    next: &NextChart,
    in_force: &InForceOf<'_>,
    config: Option<&[ConfigSeen<'_>]>,
    inventory: &Inventory,
) -> InSync {
    let InForceOf {
        release,
        values: given,
        contents,
    } = in_force;
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
    if let Some(why) = other_content(contents, config) {
        return untold(format!("revision {number} of {}: {why}", release.name));
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

/// The first of the ConfigMaps and Secrets that holds something else than the record says, or of which that is not known; a clause.
/// Keys of somebody else's count no more than they do for helm, and what the record leaves empty is filled by somebody else.
fn other_content(
    contents: &BTreeMap<ConfigName, Result<Value, String>>,
    config: Option<&[ConfigSeen<'_>]>,
) -> Option<String> {
    contents.iter().find_map(|(name, said)| {
        let said = match said {
            Ok(said) if keys(said).is_empty() => return None,
            Ok(said) => content(said),
            Err(why) => return Some(format!("{name}: {why}")),
        };
        let Some(config) = config else {
            return Some(format!("{name} could not be read"));
        };
        let Some(now) = config.iter().find(|seen| seen.name == name) else {
            return Some(format!("{name} is not there"));
        };
        let now = content(now.json);
        let other = ["data", "binaryData"].into_iter().any(|field| {
            let said = said.get(field).and_then(Value::as_object);
            said.into_iter()
                .flatten()
                .any(|(key, said)| now.get(field).and_then(|held| held.get(key)) != Some(said))
        });
        other.then(|| format!("{name} holds something else"))
    })
}
