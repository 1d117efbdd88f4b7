//! Which revision of a Helm release was in force while workloads had the templates to which a plan goes back. Owns that choice;
//! what the revision says is read elsewhere.

use crate::matching::{Matched, asked_for};
use crate::reconstruct::{LEAD, MOMENT};
use crate::world::{World, essence};
use astern_model::choice::clock;
use astern_model::helm::{Read, Record, Release, Revision, Status};
use astern_model::id::TemplateHash;
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::reconstruction::{Period, Sought};
use astern_model::target::Target;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A revision that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Its number.
    pub number: u64,
    /// When its record was made.
    pub at: Timestamp,
    /// What was passed over on the way, and why, a clause each.
    pub passed_over: Vec<String>,
}

/// For each object and release, the revision that was in force at the end of the object's period; none where no record of the
/// release that could be read has the object.
///
/// # Errors
/// For each: the records do not tell; a clause says why.
pub fn in_force(
    asked: &[(&Sought, &Release)],
    inventory: &Inventory,
    platform: &Platform,
) -> Vec<Option<Result<InForce, String>>> {
    let world = World::new(inventory, platform);
    let of = |(sought, release): &(&Sought, &Release)| {
        let key = sought.name.to_string();
        let has = |revision: &Revision| {
            let record = revision.content();
            record.is_some_and(|record| record.objects.contains_key(&key))
        };
        release.revisions.iter().any(has).then(|| {
            let period = sought.period.as_ref().map_err(Clone::clone)?;
            at_the_end(&key, &sought.readers, period, release, &world)
        })
    };
    asked.iter().map(of).collect()
}

/// The last successful revision of before the period's end whose manifest has the templates of then.
fn at_the_end(
    key: &str,
    readers: &BTreeMap<Target, TemplateHash>,
    period: &Period,
    release: &Release,
    world: &World<'_>,
) -> Result<InForce, String> {
    let name = &release.name;
    let mut passed_over = Vec::new();
    let mut unsure: Vec<(&Revision, &Record)> = Vec::new();
    for revision in &release.revisions {
        let number = revision.number;
        let Some(at) = revision.created_at else {
            return Err(format!("when revision {number} of {name} was made is not known"));
        };
        if at >= period.until {
            continue;
        }
        let record = match &revision.record {
            Read::Read(record) => record,
            Read::Unreadable { why } => return Err(format!("revision {number} of {name}: {why}")),
            Read::NotAsked => {
                return Err(format!(
                    "revision {number} of {name} is older than those that are read"
                ));
            }
        };
        let proven = match of_then(readers, release, revision, record, world) {
            Templates::Others => continue,
            Templates::Strange(target) => {
                return Err(format!(
                    "revision {number} of {name} has a template of {target} that the cluster does not remember"
                ));
            }
            Templates::Same => true,
            Templates::None => false,
        };
        // Without a template to know it by, it counts by its time: a release writes what it holds before its workloads.
        if !proven && came_with_the_next(at, period) {
            passed_over.push(format!(
                "revision {number} of {name} ({}) came so shortly before the version of {} that it counts as that one's",
                clock(at),
                clock(period.until)
            ));
            continue;
        }
        if !matches!(revision.status, Status::Deployed | Status::Superseded) {
            unsure.push((revision, record));
            continue;
        }
        let Some(held) = record.objects.get(key) else {
            return Err(format!(
                "revision {number} of {name}, which was in force then, does not have it"
            ));
        };
        let other = unsure
            .iter()
            .find(|(_, unsure)| unsure.objects.get(key) != Some(held));
        if let Some((other, _)) = other {
            return Err(format!(
                "revision {} of {name} ({}) may have written it after revision {number}, which was in force then",
                other.number, other.status
            ));
        }
        return Ok(InForce {
            number,
            at,
            passed_over,
        });
    }
    Err(format!(
        "no revision of {name} that succeeded is kept of before {}",
        clock(period.until)
    ))
}

fn came_with_the_next(at: Timestamp, period: &Period) -> bool {
    let with_it = period.since.saturating_add(MOMENT).unwrap_or(Timestamp::MAX);
    let long_before = period.until.saturating_sub(LEAD).unwrap_or(Timestamp::MIN);
    at > with_it.max(long_before)
}

/// What a manifest says of the readers' templates.
enum Templates<'a> {
    /// Those of then, of each reader that it has.
    Same,
    /// Another one of a reader.
    Others,
    /// One of this reader that is none of those that are remembered.
    Strange(&'a Target),
    /// None of any reader.
    None,
}

fn of_then<'a>(
    readers: &'a BTreeMap<Target, TemplateHash>,
    release: &Release,
    revision: &Revision,
    record: &Record,
    world: &World<'_>,
) -> Templates<'a> {
    let mut said = Templates::None;
    for (target, then) in readers {
        let (Some(manifest), Some(view)) = (record.templates.get(target), world.views.get(target)) else {
            continue;
        };
        let then = view
            .revision(then)
            .map(|revision| essence(&revision.template, &revision.hash));
        let found = match asked_for(view, release, revision, manifest) {
            Some(Matched::Live) => Some(view.essence.clone()),
            Some(Matched::Revision(then)) => Some(essence(&then.template, &then.hash)),
            None => return Templates::Strange(target),
        };
        if found != then {
            return Templates::Others;
        }
        said = Templates::Same;
    }
    said
}
