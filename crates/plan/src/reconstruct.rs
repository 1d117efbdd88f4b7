//! What ConfigMaps and Secrets go back to where no ledger says it: what is asked for, whose word counts for which time, and
//! what a plan does with the answers. Owns those choices and their words; sources are read elsewhere.

use crate::config::{self, Restoring, goes_back, readers};
use crate::consumers::consumers;
use crate::foretold;
use crate::recalled;
use crate::releases::Through;
use crate::steps::Moves;
use crate::timeline::{Timeline, live_since};
use crate::world::World;
use astern_model::choice::{Choice, clock};
use astern_model::config::ConfigName;
use astern_model::decision::Refusal;
use astern_model::id::TemplateHash;
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::reconstruction::{Period, Provenance, Rebuilt, Reconstruction, Sought};
use astern_model::source::{Deployed, Deployments};
use astern_model::target::Target;
use astern_model::workload::RevisionKind;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// So far the times of one release lie apart: a sync is said to have ended before the controller has made the ReplicaSet, and
/// both times are cut to seconds.
pub(crate) const MOMENT: SignedDuration = SignedDuration::from_secs(5);
/// A release writes its ConfigMaps before its workloads: what was written so shortly before a version came may belong to it.
pub(crate) const LEAD: SignedDuration = SignedDuration::from_mins(10);

/// The ConfigMaps and Secrets whose content of then matters to a plan: those that the templates read to which it goes back.
pub fn sought(draft: &Plan, inventory: &Inventory, platform: &Platform) -> Vec<Sought> {
    let world = World::new(inventory, platform);
    let mut found: BTreeMap<ConfigName, Sought> = BTreeMap::new();
    for choice in &draft.choices {
        let Some((template, names, period)) = of_choice(choice, &world) else {
            continue;
        };
        for name in names.into_iter().filter(|name| goes_back(name, platform)) {
            let sought = found.entry(name.clone()).or_insert_with(|| Sought {
                name,
                readers: BTreeMap::new(),
                period: period.clone(),
            });
            sought.period = both(sought.period.clone(), period.clone());
            sought.readers.insert(choice.target.clone(), template.clone());
        }
    }
    found.into_values().collect()
}

/// The template that was chosen, what it reads, and when it was the newest.
fn of_choice(
    choice: &Choice,
    world: &World<'_>,
) -> Option<(TemplateHash, Vec<ConfigName>, Result<Period, String>)> {
    let view = world.views.get(&choice.target)?;
    let template = &choice.good.as_ref()?.revision.template;
    let revision = view.revision(template)?;
    let names = consumers(&revision.template, &view.workload.annotations);
    let recalled = recalled::of(view, template).filter(|_| !revision.is_remembered());
    let period = match (recalled, revision.kind) {
        (Some(one), _) => one
            .in_force
            .ok_or_else(|| "it is unknown how long it was deployed".to_owned()),
        (None, RevisionKind::HelmRecord) => foretold::period(view, revision),
        (None, RevisionKind::ReplicaSet | RevisionKind::ControllerRevision) => {
            Timeline::of(view).stint(revision).map(|stint| Period {
                since: revision.created_at,
                until: stint.until,
            })
        }
    };
    let period = period.map_err(|why| format!("of {} {why}", choice.target));
    Some((template.clone(), names.into_keys().collect(), period))
}

/// While both were the newest.
fn both(one: Result<Period, String>, other: Result<Period, String>) -> Result<Period, String> {
    let (one, other) = (one?, other?);
    let both = Period {
        since: one.since.max(other.since),
        until: one.until.min(other.until),
    };
    if both.since < both.until {
        Ok(both)
    } else {
        Err("its readers go back to versions that never ran side by side".to_owned())
    }
}

/// What an owner had deployed while a period lasted, at its end.
///
/// # Errors
/// Its history does not tell; a clause says why.
pub fn deployed_in<'a>(deployments: &'a Deployments, period: &Period) -> Result<&'a Deployed, String> {
    let owner = &deployments.owner;
    let superseded = period.until.saturating_sub(MOMENT).unwrap_or(Timestamp::MIN);
    let came = period.since.saturating_sub(MOMENT).unwrap_or(Timestamp::MIN);
    let before = deployments.deployed.iter().filter(|one| one.at < superseded);
    match before.max_by_key(|one| one.at) {
        Some(last) if last.at >= came => Ok(last),
        Some(last) => Err(format!(
            "{owner} had deployed last {}, before that version came ({}): somebody else brought it",
            clock(last.at),
            clock(period.since)
        )),
        None if deployments.deployed.is_empty() => Err(format!("{owner} has no history of what it deployed")),
        None => Err(format!(
            "the history of {owner} does not reach back before {}",
            clock(period.until)
        )),
    }
}

/// What contradicts that a commit was deployed when these readers had these templates: an image that it says of one of them, and
/// which the template does not have, as a clause. A commit that says no images contradicts nothing.
pub fn other_image(
    said: &BTreeMap<Target, BTreeMap<String, String>>,
    readers: &BTreeMap<Target, TemplateHash>,
    inventory: &Inventory,
) -> Option<String> {
    readers.iter().find_map(|(target, template)| {
        let said = said.get(target)?;
        let workload = inventory.workloads.get(target)?;
        let revision = workload.all_revisions().find(|revision| &revision.hash == template)?;
        revision.template.containers().iter().find_map(|container| {
            let (said, has) = (said.get(container.name())?, container.image()?);
            let differs = !container.init && *said != has.reference;
            differs.then(|| {
                format!("it says image {said} of {target}, and what that goes back to has {has}: it is not what ran")
            })
        })
    })
}

/// Whether what was applied last is what was there in a period, and what stands now came after it.
///
/// # Errors
/// It is not, or it cannot be told; a clause says why.
pub fn applied_in(applied: Timestamp, changed: Option<Timestamp>, period: &Period) -> Result<(), String> {
    let with_it = period.since.saturating_add(MOMENT).unwrap_or(Timestamp::MAX);
    let long_before = period.until.saturating_sub(LEAD).unwrap_or(Timestamp::MIN);
    let older = with_it.max(long_before);
    let came = clock(period.until);
    if applied > older {
        return Err(format!(
            "what was applied last ({}) may have come with the version that was applied {came}",
            clock(applied)
        ));
    }
    match changed {
        Some(changed) if changed > older => Ok(()),
        Some(changed) => Err(format!(
            "somebody changed it by hand {}, before the version of {came} came: that version found it so",
            clock(changed)
        )),
        None => Err("when it was changed by hand is not known".to_owned()),
    }
}

/// Of all that say what an object held, the one that is trusted most.
pub fn most_trusted<T>(told: Vec<(Provenance, T)>) -> Option<(Provenance, T)> {
    told.into_iter().min_by_key(|(provenance, _)| provenance.trust())
}

/// What goes back of ConfigMaps and Secrets beside these moves. `about` says whether the plan is about a workload.
///
/// # Errors
/// An object cannot be written under its name, or is made from another one that writes it again.
pub(crate) fn restoring<'a>(
    known: &Reconstruction,
    moves: &Moves<'_>,
    world: &'a World<'a>,
    through: &[Through<'_>],
    about: impl Fn(&Target) -> bool,
    now: Timestamp,
) -> Result<Restoring<'a>, Refusal> {
    let mut restoring = Restoring::default();
    for rebuilt in &known.rebuilt {
        let name = &rebuilt.held.name;
        let mut readers = readers(name, moves, world, &about);
        if let Some(why) = unfit(rebuilt, moves) {
            restoring
                .stays
                .push(format!("{name} keeps its content of now: {why}"));
            continue;
        }
        let live = world.inventory.config.live(name);
        if let Some(why) = config::left(&rebuilt.held, live, world, through)? {
            restoring.stays.push(format!("{name} {why}"));
            continue;
        }
        let newer = readers.iter().find(|reader| {
            reader.keeps_its_template()
                && live_since(reader.view()).is_none_or(|since| since >= rebuilt.until)
        });
        if let Some(newer) = newer {
            let workload = newer.view().workload;
            let (target, version) = (&workload.target, workload.version());
            restoring.stays.push(format!(
                "{name} keeps its content of now: {target} reads it, stays on {version}, and what that needs there is not known; \
                 `--to {target}=REVISION` takes it back as well"
            ));
            continue;
        }
        if let Some(live) = live {
            restoring.renew(&mut readers, live, moves, through, now);
        }
        let unasked = rebuilt.unasked.iter();
        restoring.warnings.extend(
            unasked.map(|why| format!("{name} goes back to {}, since {why}", rebuilt.provenance.phrase())),
        );
        let to = config::wanted(&rebuilt.held, rebuilt.provenance.phrase(), world);
        restoring.warnings.extend(config::untried(&rebuilt.held, &to));
        restoring
            .warnings
            .extend(live.and_then(|live| config::gap(live, &rebuilt.held)));
        let (steps, change) = config::write(&rebuilt.held, live, to, world)?;
        restoring.write(steps, change, readers, now);
    }
    for (name, provenance) in &known.same {
        restoring
            .stays
            .push(format!("{name} stays: it holds {}", held_by(provenance)));
    }
    for untold in &known.untold {
        restoring.stays.push(format!(
            "{} keeps its content of now: what it held is not known ({})",
            untold.name,
            untold.why.join("; ")
        ));
    }
    Ok(restoring)
}

fn held_by(provenance: &Provenance) -> String {
    match provenance {
        Provenance::Named => "what it held, by the hash of it in its name".to_owned(),
        told => format!("what it held, by {}", told.phrase()),
    }
}

/// Why what was found is not for these moves: they were others when it was looked for.
fn unfit(rebuilt: &Rebuilt, moves: &Moves<'_>) -> Option<String> {
    let moved = |(target, template): &&(Target, TemplateHash)| {
        moves.get(target).is_none_or(|one| &one.to.template != template)
    };
    let (target, _) = rebuilt.readers.iter().find(moved)?;
    Some(format!("it was looked for beside another version of {target}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-27T{time}Z").parse().unwrap()
    }

    fn period() -> Period {
        Period {
            since: at("10:00:00"),
            until: at("14:02:00"),
        }
    }

    fn deployments(times: &[&str]) -> Deployments {
        let deployed = times.iter().map(|time| Deployed {
            at: at(time),
            from: Vec::new(),
        });
        Deployments {
            owner: "Argo CD application argocd/shop".to_owned(),
            deployed: deployed.collect(),
        }
    }

    #[test]
    fn the_commit_of_a_period_is_the_last_one_before_the_next_version_came() {
        let chosen = |times: &[&str]| {
            let deployments = deployments(times);
            let found = deployed_in(&deployments, &period());
            found.map(|one| one.at)
        };
        assert_eq!(chosen(&["09:00:00", "10:00:04", "14:02:03"]), Ok(at("10:00:04")));
        assert_eq!(
            chosen(&["10:00:04", "12:00:00", "14:02:03"]),
            Ok(at("12:00:00")),
            "a commit that changed ConfigMaps alone"
        );
        // The sync of the next version may be said to have ended just before its ReplicaSet is there.
        assert_eq!(chosen(&["10:00:04", "14:01:58"]), Ok(at("10:00:04")));
        // So may the sync of the version itself.
        assert_eq!(chosen(&["09:59:58", "14:02:03"]), Ok(at("09:59:58")));
        let told = |times: &[&str], words: &str| {
            let why = chosen(times).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        told(&["09:00:00", "14:02:03"], "somebody else brought it");
        told(
            &["14:02:03"],
            "does not reach back before 2026-11-27 14:02:00 UTC",
        );
        told(&[], "has no history");
    }

    #[test]
    fn what_was_applied_last_counts_where_it_is_older_than_the_next_version_and_the_change_is_not() {
        let fits = |applied: &str, changed: Option<&str>| applied_in(at(applied), changed.map(at), &period());
        assert_eq!(fits("09:59:59", Some("14:01:00")), Ok(()));
        assert_eq!(fits("12:00:00", Some("14:10:00")), Ok(()));
        let told = |applied: &str, changed: Option<&str>, words: &str| {
            let why = fits(applied, changed).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        told("14:01:58", Some("14:10:00"), "may have come with the version");
        told("14:05:00", Some("14:10:00"), "may have come with the version");
        told("09:59:59", Some("11:00:00"), "that version found it so");
        told("09:59:59", None, "is not known");
    }

    #[test]
    fn the_most_trusted_word_counts() {
        let git = || Provenance::Git {
            commit: "ab".to_owned(),
            file: "a.yaml".to_owned(),
            owner: "Argo CD application argocd/shop".to_owned(),
            at: at("10:00:04"),
        };
        let applied = Provenance::LastApplied {
            manager: "kubectl-client-side-apply".to_owned(),
            at: at("10:00:00"),
        };
        let told = vec![(applied.clone(), 1), (git(), 2)];
        assert_eq!(most_trusted(told), Some((git(), 2)));
        assert_eq!(most_trusted(vec![(applied.clone(), 1)]), Some((applied, 1)));
        assert_eq!(most_trusted::<u8>(Vec::new()), None);
    }
}
