//! The scope: which workloads are taken back together. Owns what "the same release" means; which revision each goes
//! back to is the choice's.

use crate::planner::Request;
use crate::refuse::{list, typed};
use astern_model::assessment::{Assessment, WorkloadAssessment};
use astern_model::choice::{Choice, clock, human};
use astern_model::target::Target;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Workloads whose newest versions came within this of each other are one release: longer than a pipeline needs for
/// its services one after the other, shorter than two releases are apart.
pub const RELEASE_WINDOW: SignedDuration = SignedDuration::from_mins(30);

/// What is taken back.
#[derive(Default)]
pub(crate) struct Scope<'a> {
    /// Workloads that fail, or that were named: each must have something good to go back to.
    pub(crate) base: BTreeSet<&'a Target>,
    /// Workloads that moved with them, each with the sentence that says so.
    pub(crate) joined: BTreeMap<&'a Target, String>,
    /// Workloads that fail since before the release that is taken back, and stay; each with the sentence that says so.
    pub(crate) left: BTreeMap<&'a Target, String>,
    /// What else a reader must know about how this came about.
    pub(crate) remarks: Vec<String>,
}

/// Everything that the scope is found from.
pub(crate) struct Sighting<'a, 's> {
    pub(crate) assessment: &'s Assessment,
    pub(crate) choices: &'s BTreeMap<&'a Target, Choice>,
    pub(crate) members: &'s BTreeSet<&'a Target>,
    /// Workloads against which a row of the matrix speaks.
    pub(crate) suspects: BTreeSet<&'a Target>,
    /// Workloads that were brought back to an older version already.
    pub(crate) brought_back: BTreeSet<&'a Target>,
}

/// When a workload came to its newest version, and which that is.
type Changes<'a, 's> = BTreeMap<&'a Target, (Timestamp, &'s str)>;

impl<'a, 's> Sighting<'a, 's> {
    /// Since when each workload is at its newest version, where that is known.
    fn changes(&self) -> impl Iterator<Item = (&'a Target, Timestamp, &'s WorkloadAssessment)> {
        self.assessment.workloads.iter().filter_map(|entry| {
            let (target, _) = self.choices.get_key_value(&entry.target)?;
            entry.live_since.map(|since| (*target, since, entry))
        })
    }

    /// A workload that was never at another version did not move; it came.
    fn moved(&self, target: &Target) -> bool {
        let choice = self.choices.get(target);
        choice.is_some_and(|choice| choice.good.is_some() || !choice.passed_over.is_empty())
    }

    /// The members that a release moved, and those that a rollback moved.
    fn released_and_back(&self) -> (Changes<'a, 's>, Changes<'a, 's>) {
        self.changes()
            .filter(|(target, _, _)| self.members.contains(target) && self.moved(target))
            .map(|(target, since, entry)| (target, (since, entry.version.as_str())))
            .partition(|(target, _)| !self.brought_back.contains(target))
    }
}

/// Finds the scope. Empty when nothing is suspect, nothing is named, and no release is newer than a rollback.
pub(crate) fn scope<'a>(request: &'a Request, sighting: &Sighting<'a, '_>) -> Scope<'a> {
    if !request.only.is_empty() {
        return limited(request, sighting);
    }
    let mut remarks = Vec::new();
    let (mut base, mut left) = newest_suspects(sighting);
    left.retain(|target, _| !request.to.contains_key(*target));
    base.extend(request.to.keys());
    let (released, back) = sighting.released_and_back();
    if base.is_empty() {
        match newest(&released, &back) {
            Newest::Release(target, at) => {
                remarks.push(format!(
                    "nothing that can be seen fails: this takes back the newest release, which reached {target} at {}",
                    clock(at)
                ));
                base.insert(target);
            }
            Newest::Rollback(target, at) => remarks.push(format!(
                "nothing that can be seen fails, and the newest change was itself a rollback: {target} was brought back at {}",
                clock(at)
            )),
            Newest::Nothing => {}
        }
    }
    let mut joined = BTreeMap::new();
    for (target, when) in companions(&base, &released, sighting) {
        joined.insert(target, format!("{when}: the same release, taken back with it"));
    }
    for (_, when) in companions(&base, &back, sighting) {
        remarks.push(format!("{when}, brought back to that version already: it stays"));
    }
    left.retain(|target, _| !joined.contains_key(*target));
    for (target, why) in &left {
        remarks.push(format!(
            "{target} stays: {why}; --to {}=REVISION takes it back as well",
            typed(target)
        ));
    }
    Scope {
        base,
        joined,
        left,
        remarks,
    }
}

/// The workloads that fail since the newest release among them; and those that came to their version long before,
/// which another release broke, or none. One whose change is not known may belong to it.
fn newest_suspects<'a>(sighting: &Sighting<'a, '_>) -> (BTreeSet<&'a Target>, BTreeMap<&'a Target, String>) {
    let mut base = sighting.suspects.clone();
    let changes: Vec<_> = sighting
        .changes()
        .filter(|(target, _, _)| base.contains(target))
        .collect();
    let Some((newest, at, _)) = changes
        .iter()
        .copied()
        .max_by_key(|(target, since, _)| (*since, std::cmp::Reverse(*target)))
    else {
        return (base, BTreeMap::new());
    };
    let mut left = BTreeMap::new();
    for (target, since, _) in changes {
        let before = at.duration_since(since);
        if before > RELEASE_WINDOW {
            base.remove(target);
            left.insert(
                target,
                format!(
                    "it fails too, and came to that version at {}, {} before {newest} changed: not the same release",
                    clock(since),
                    human(before)
                ),
            );
        }
    }
    (base, left)
}

enum Newest<'a> {
    Release(&'a Target, Timestamp),
    Rollback(&'a Target, Timestamp),
    Nothing,
}

/// What came last. A rollback that came last is not followed by the rollback of an older release.
fn newest<'a>(released: &Changes<'a, '_>, back: &Changes<'a, '_>) -> Newest<'a> {
    let last = |changes: &Changes<'a, '_>| {
        let newest = changes
            .iter()
            .max_by_key(|(target, (since, _))| (*since, std::cmp::Reverse(**target)));
        newest.map(|(target, (since, _))| (*target, *since))
    };
    match (last(released), last(back)) {
        (Some((_, released)), Some((target, back))) if back >= released => Newest::Rollback(target, back),
        (None, Some((target, back))) => Newest::Rollback(target, back),
        (Some((target, released)), _) => Newest::Release(target, released),
        (None, None) => Newest::Nothing,
    }
}

fn limited<'a>(request: &'a Request, sighting: &Sighting<'a, '_>) -> Scope<'a> {
    let base: BTreeSet<&Target> = request.only.iter().collect();
    let left: Vec<&Target> = sighting
        .suspects
        .iter()
        .copied()
        .filter(|target| !base.contains(target))
        .collect();
    let mut remarks = Vec::new();
    if !left.is_empty() {
        remarks.push(format!(
            "--only leaves out {}, against which the evidence speaks too",
            list(left)
        ));
    }
    Scope {
        base,
        joined: BTreeMap::new(),
        left: BTreeMap::new(),
        remarks,
    }
}

/// The workloads among `moved` whose change came within the window of a change of `base`, each with when that was.
fn companions<'a>(
    base: &BTreeSet<&'a Target>,
    moved: &Changes<'a, '_>,
    sighting: &Sighting<'a, '_>,
) -> Vec<(&'a Target, String)> {
    let of_base = sighting.changes().filter(|(target, _, _)| base.contains(target));
    let mut changes: Vec<(Timestamp, &Target)> = of_base.map(|(target, since, _)| (since, target)).collect();
    changes.sort();
    let mut found = Vec::new();
    for (target, (at, version)) in moved.iter().filter(|(target, _)| !base.contains(*target)) {
        let Some((other, apart)) = nearest(&changes, *at) else {
            continue;
        };
        if apart.abs() > RELEASE_WINDOW {
            continue;
        }
        let when = match apart.as_secs() {
            0 => "at the same time as".to_owned(),
            1.. => format!("{} after", human(apart)),
            _ => format!("{} before", human(apart.abs())),
        };
        found.push((
            *target,
            format!("{target} came to {version} at {}, {when} {other}", clock(*at)),
        ));
    }
    found
}

/// The change nearest in time, and how long after it `at` is; `changes` are in order.
fn nearest<'a>(changes: &[(Timestamp, &'a Target)], at: Timestamp) -> Option<(&'a Target, SignedDuration)> {
    let after = changes.partition_point(|(since, _)| *since < at);
    let around = changes[after.saturating_sub(1)..].iter().take(2);
    around
        .map(|(since, target)| (*target, at.duration_since(*since)))
        .min_by_key(|(_, apart)| apart.abs())
}
