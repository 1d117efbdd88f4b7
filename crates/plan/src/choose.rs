//! The choice of a revision to go back to: a known good one with its reason, every other one with the reason why it
//! was passed over. Owns what "good" means; there is no way here from a number to a revision that is less one.

use crate::selector::Selector;
use crate::timeline::Timeline;
use crate::world::{View, count, essence, reference};
use astern_model::choice::{Because, Choice, KnownGood, PassedOver, human};
use astern_model::inventory::Inventory;
use astern_model::policy::Policy;
use astern_model::target::Target;
use astern_model::workload::Revision;

/// The mark that a run leaves on the revision that it took back; its value is the run's id.
pub const MARK_ROLLED_BACK_BY: &str = "astern.dev/rolled-back-by";
/// The mark that a person leaves on a revision that must not be gone back to; its value says why.
pub const MARK_BAD: &str = "astern.dev/bad";

/// Chooses for one workload. Pods of an earlier revision that serve now outrank everything but a person's word that
/// the revision is bad; without them a revision is presumed good when it was the newest for
/// `policy.presumed_good_after` before its successor and no mark speaks against it. `selector` overrides, and must
/// name exactly one revision.
pub fn choose(
    inventory: &Inventory,
    policy: &Policy,
    target: &Target,
    selector: Option<&Selector>,
) -> Choice {
    match inventory.workloads.get(target) {
        // Evidence is about health now; a choice rests on what revisions and pods keep.
        Some(workload) => choose_in(&View::new(workload, Vec::new()), policy, selector),
        None => Choice {
            target: target.clone(),
            good: None,
            passed_over: Vec::new(),
            notes: vec![format!(
                "{target} does not exist in namespace {}",
                inventory.namespace
            )],
        },
    }
}

/// The same for a workload that is already looked up.
pub(crate) fn choose_in(view: &View<'_>, policy: &Policy, selector: Option<&Selector>) -> Choice {
    match selector {
        Some(selector) => named(view, selector),
        None => best(view, policy),
    }
}

/// How a candidate stands, before it is compared with the others.
enum Standing {
    Observed(Because, u32),
    Presumed(Because),
    Out(String),
}

fn best(view: &View<'_>, policy: &Policy) -> Choice {
    let timeline = Timeline::of(view);
    let candidates: Vec<(&Revision, Standing)> = candidates(view)
        .into_iter()
        .map(|revision| (revision, standing(view, &timeline, policy, revision)))
        .collect();
    let chosen = candidates
        .iter()
        .enumerate()
        .filter_map(|(place, (revision, standing))| {
            preference(standing, revision, place).map(|key| (key, place))
        })
        .max()
        .map(|(_, place)| place);
    let mut good = None;
    let mut passed_over = Vec::new();
    let winner = chosen.map(|place| (candidates[place].0.number, is_observed(&candidates[place].1)));
    for (place, (revision, standing)) in candidates.into_iter().enumerate() {
        match (standing, winner) {
            (Standing::Observed(because, _) | Standing::Presumed(because), _) if chosen == Some(place) => {
                good = Some(KnownGood {
                    revision: reference(revision),
                    because,
                });
            }
            (Standing::Out(why), _) => passed_over.push(PassedOver {
                revision: reference(revision),
                why,
            }),
            (standing, winner) => {
                let why = outranked(&standing, revision, winner.unwrap_or((revision.number, false)));
                passed_over.push(PassedOver {
                    revision: reference(revision),
                    why,
                });
            }
        }
    }
    Choice {
        target: view.workload.target.clone(),
        good,
        passed_over,
        notes: notes(view),
    }
}

/// Observed before presumed; among observed the one that no run took back, then most pods; then the newest, which
/// comes first in the list.
fn preference(
    standing: &Standing,
    revision: &Revision,
    place: usize,
) -> Option<(u8, bool, u32, std::cmp::Reverse<usize>)> {
    let newest = std::cmp::Reverse(place);
    match standing {
        Standing::Observed(_, ready) => Some((
            1,
            !revision.marks.contains_key(MARK_ROLLED_BACK_BY),
            *ready,
            newest,
        )),
        Standing::Presumed(_) => Some((0, true, 0, newest)),
        Standing::Out(_) => None,
    }
}

fn is_observed(standing: &Standing) -> bool {
    matches!(standing, Standing::Observed(..))
}

fn outranked(standing: &Standing, revision: &Revision, (winner, observed): (u64, bool)) -> String {
    match (standing, observed) {
        (Standing::Observed(_, ready), _) if revision.marks.contains_key(MARK_ROLLED_BACK_BY) => {
            format!(
                "{} of it ready now, but a run took it back before",
                is_are(*ready)
            )
        }
        (Standing::Observed(_, ready), _) => {
            format!(
                "{} of it ready now, but revision {winner} serves with more, or is newer",
                is_are(*ready)
            )
        }
        (_, true) => format!("presumed good at most, while pods of revision {winner} serve now"),
        (_, false) => format!("presumed good as well, but older than revision {winner}"),
    }
}

fn is_are(ready: u32) -> String {
    format!(
        "{} {}",
        count(ready, "pod"),
        if ready == 1 { "is" } else { "are" }
    )
}

fn standing(view: &View<'_>, timeline: &Timeline<'_>, policy: &Policy, revision: &Revision) -> Standing {
    if revision.hash == view.live {
        return Standing::Out("same template as now".to_owned());
    }
    if essence(&revision.template, &revision.hash) == view.essence {
        return Standing::Out(
            "same template as now, but for the mark of `kubectl rollout restart`".to_owned(),
        );
    }
    if let Some(why) = revision.marks.get(MARK_BAD) {
        let why = if why.is_empty() || why == "true" {
            String::new()
        } else {
            format!(": {why}")
        };
        return Standing::Out(format!("marked bad{why}"));
    }
    if revision.ready > 0 {
        let because = Because::Observed {
            ready: revision.ready,
            since: revision.serving_since,
        };
        return Standing::Observed(because, revision.ready);
    }
    if let Some(run) = revision.marks.get(MARK_ROLLED_BACK_BY) {
        return Standing::Out(format!("it was taken back before, by run {run}"));
    }
    match timeline.stint(revision) {
        Err(why) => Standing::Out(why),
        Ok(stint) if stint.newest_for < policy.presumed_good_after => Standing::Out(format!(
            "it was the newest for {} only, less than the {} after which it is presumed good",
            human(stint.newest_for),
            human(policy.presumed_good_after)
        )),
        Ok(stint) => Standing::Presumed(Because::Presumed {
            newest_for: stint.newest_for,
            until: stint.until,
        }),
    }
}

/// Every remembered revision but the live one, newest first.
fn candidates<'a>(view: &View<'a>) -> Vec<&'a Revision> {
    let live = view.live_revision().map(|revision| &revision.uid);
    view.revisions
        .iter()
        .copied()
        .filter(|revision| Some(&revision.uid) != live)
        .collect()
}

fn named(view: &View<'_>, selector: &Selector) -> Choice {
    let candidates = candidates(view);
    let selects = |revision: &&&Revision| selector.selects(view.workload, revision);
    let matching: Vec<&Revision> = candidates.iter().filter(selects).copied().collect();
    let live = view
        .live_revision()
        .filter(|revision| selector.selects(view.workload, revision));
    let mut notes = notes(view);
    let because = || Because::Named {
        selector: selector.to_string(),
    };
    let found = match (matching.as_slice(), live) {
        ([one], _) => Some(*one),
        ([], Some(live)) => Some(live),
        ([], None) => {
            notes.insert(0, nothing_matches(view, selector));
            None
        }
        (many, _) => {
            let numbers: Vec<String> = many.iter().map(|revision| revision.number.to_string()).collect();
            notes.insert(
                0,
                format!(
                    "{selector} matches revisions {}: name one by its number",
                    numbers.join(", ")
                ),
            );
            None
        }
    };
    let passed_over = candidates
        .iter()
        .filter(|revision| found.is_none_or(|found| found.uid != revision.uid))
        .map(|revision| PassedOver {
            revision: reference(revision),
            why: passed_by(selector, found),
        })
        .collect();
    let good = found.map(|revision| KnownGood {
        revision: reference(revision),
        because: because(),
    });
    Choice {
        target: view.workload.target.clone(),
        good,
        passed_over,
        notes,
    }
}

fn passed_by(selector: &Selector, found: Option<&Revision>) -> String {
    match found {
        Some(found) => format!("--to {selector} names revision {}", found.number),
        None => format!("--to {selector} does not name it alone"),
    }
}

fn nothing_matches(view: &View<'_>, selector: &Selector) -> String {
    if let Selector::Revision(number) = selector
        && let Some(now) = view
            .revisions
            .iter()
            .find(|revision| revision.former_numbers.contains(number))
    {
        return format!(
            "revision {number} was brought back by an undo and is revision {} now",
            now.number
        );
    }
    format!("no remembered revision matches {selector}")
}

/// What makes the list shorter than it should be.
fn notes(view: &View<'_>) -> Vec<String> {
    let target = &view.workload.target;
    let mut notes = Vec::new();
    if view.workload.history_limit == 0 {
        notes.push(format!(
            "revisionHistoryLimit: 0: the cluster keeps no earlier revision of {target}"
        ));
    } else if candidates(view).is_empty() {
        notes.push(format!(
            "the cluster remembers no earlier revision of {target} (revisionHistoryLimit: {})",
            view.workload.history_limit
        ));
    }
    if view.live_revision().is_none() {
        notes.push(format!(
            "the template that {target} asks for now is not among its remembered revisions"
        ));
    }
    notes
}
