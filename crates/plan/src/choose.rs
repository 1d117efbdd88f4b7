//! The choice of a revision to go back to: a known good one with its reason, every other one with the reason why it
//! was passed over. Owns what "good" means; there is no way here from a number to a revision that is less one.

use crate::errors;
use crate::foretold;
use crate::quarantine;
use crate::recalled;
use crate::selector::Selector;
use crate::signals;
use crate::timeline::Timeline;
use crate::world::{View, count, essence, reference};
use astern_model::choice::{Because, Choice, KnownGood, PassedOver, human};
use astern_model::evidence::Known;
use astern_model::id::{RunId, TemplateHash};
use astern_model::inventory::Inventory;
use astern_model::policy::Policy;
use astern_model::reconstruction::Period;
use astern_model::release::{self, ReleaseName};
use astern_model::target::Target;
use astern_model::workload::{Foretold, Recalled, Released, Revision, RevisionKind};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// The mark that a run leaves on the revision that it took back; its value is the run's id.
pub const MARK_ROLLED_BACK_BY: &str = "astern.dev/rolled-back-by";
/// The mark of a revision that a run went back to and validated; its value is the run's id.
pub const MARK_RESTORED_BY: &str = "astern.dev/restored-by";
/// The mark that a person leaves on a revision that must not be gone back to; its value says why.
pub const MARK_BAD: &str = "astern.dev/bad";

/// Chooses for one workload. Pods of an earlier revision that serve now outrank everything but a person's word that
/// the revision is bad, unless they crash again and again or a run took the revision back before. Then comes a revision
/// of a release that the ledger knows as good; then one that a run went back to and validated; then one that is presumed good, because it was the newest for
/// `policy.presumed_good_after` before its successor and no mark speaks against it. `selector` overrides, and must
/// name exactly one revision.
pub fn choose(
    inventory: &Inventory,
    policy: &Policy,
    target: &Target,
    selector: Option<&Selector>,
) -> Choice {
    match inventory.workloads.get(target) {
        Some(workload) => {
            let evidence = inventory.evidence.iter().filter(|of| &of.subject == target);
            let view = View::new(workload, evidence.collect());
            choose_in(&view, policy, selector, inventory.taken_at)
        }
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

/// How many revisions of a workload are believed good: the one that [`choose`] takes, and those that it outranks.
pub fn good_revisions(inventory: &Inventory, policy: &Policy, target: &Target) -> usize {
    let Some(workload) = inventory.workloads.get(target) else {
        return 0;
    };
    let evidence = inventory.evidence.iter().filter(|of| &of.subject == target);
    let view = View::new(workload, evidence.collect());
    let timeline = Timeline::of(&view);
    let is_good = |revision: &&Revision| {
        let standing = standing(&view, &timeline, policy, revision, inventory.taken_at);
        matches!(standing, Standing::Good(..))
    };
    candidates(&view).into_iter().filter(is_good).count()
}

/// The same for a workload that is already looked up, as it stood `at`.
pub(crate) fn choose_in(
    view: &View<'_>,
    policy: &Policy,
    selector: Option<&Selector>,
    at: Timestamp,
) -> Choice {
    match selector {
        Some(selector) => named(view, selector),
        None => best(view, policy, at),
    }
}

/// How a candidate stands, before it is compared with the others.
enum Standing {
    Good(Belief, Because),
    Out(String),
}

/// How strong a reason is, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Belief {
    /// Pods of it serve, and something speaks against it.
    Doubtful,
    /// Only its manifest in Git speaks for it.
    Recalled,
    /// Only Helm's record speaks for it.
    Deployed,
    Presumed,
    Restored,
    Released,
    Observed,
}

fn best(view: &View<'_>, policy: &Policy, at: Timestamp) -> Choice {
    let timeline = Timeline::of(view);
    let candidates: Vec<(&Revision, Standing)> = candidates(view)
        .into_iter()
        .map(|revision| (revision, standing(view, &timeline, policy, revision, at)))
        .collect();
    let chosen = candidates
        .iter()
        .enumerate()
        .filter_map(|(place, (revision, standing))| {
            preference(standing, revision, place)
                .map(|(belief, ready, newest)| (belief, ready, newest, place))
        })
        .max();
    let winner = chosen.map(|(belief, _, _, place)| (called(candidates[place].0), belief));
    let mut good = None;
    let mut passed_over = Vec::new();
    for (place, (revision, standing)) in candidates.into_iter().enumerate() {
        let why = match standing {
            Standing::Good(_, because) if chosen.is_some_and(|(.., chosen)| chosen == place) => {
                good = Some(KnownGood {
                    revision: reference(revision),
                    because,
                });
                continue;
            }
            Standing::Good(belief, because) => outranked(
                belief,
                &because,
                revision,
                winner.clone().unwrap_or_else(|| (called(revision), belief)),
            ),
            Standing::Out(why) => why,
        };
        passed_over.push(PassedOver {
            revision: reference(revision),
            why,
        });
    }
    Choice {
        target: view.workload.target.clone(),
        good,
        passed_over,
        notes: notes(view),
    }
}

/// A revision in a sentence about another one.
fn called(revision: &Revision) -> String {
    let label = reference(revision).label();
    if revision.is_remembered() || revision.kind == RevisionKind::HelmRecord {
        return label;
    }
    format!("{} ({label})", revision.version())
}

/// The strongest belief; then most pods; then the newest, which comes first in the list.
fn preference(
    standing: &Standing,
    revision: &Revision,
    place: usize,
) -> Option<(Belief, u32, std::cmp::Reverse<usize>)> {
    match standing {
        Standing::Good(belief, _) => Some((*belief, revision.ready, std::cmp::Reverse(place))),
        Standing::Out(_) => None,
    }
}

fn outranked(
    belief: Belief,
    because: &Because,
    revision: &Revision,
    (winner, by): (String, Belief),
) -> String {
    let serving = || format!("{} of it ready now", is_are(revision.ready));
    match (belief, because) {
        (
            Belief::Doubtful,
            Because::Observed {
                unwell: Some(unwell), ..
            },
        ) => {
            format!("{}, but {unwell}", serving())
        }
        (Belief::Doubtful, _) => format!("{}, but a run took it back before", serving()),
        (Belief::Observed, _) => {
            format!("{}, but {winner} serves with more, or is newer", serving())
        }
        (Belief::Released, Because::Released { release, .. }) => {
            if by == Belief::Observed {
                format!("it is in release {release}, which is good, but pods of {winner} serve now")
            } else {
                format!("it is in release {release}, which is good, but older than {winner}")
            }
        }
        (Belief::Released, _) => format!("it is older than {winner}"),
        (Belief::Deployed, _) => from_afar("Helm's record", by, &winner),
        (Belief::Recalled, _) => from_afar("its manifest", by, &winner),
        (Belief::Restored, _) if by == Belief::Released => {
            format!("a run went back to it before, but {winner} is of a good release")
        }
        (Belief::Restored, _) if by == Belief::Observed => {
            format!("a run went back to it before, but pods of {winner} serve now")
        }
        (Belief::Restored, _) => {
            format!("a run went back to it as well, but it is older than {winner}")
        }
        (Belief::Presumed, _) => match by {
            Belief::Observed => format!("presumed good at most, while pods of {winner} serve now"),
            Belief::Released => format!("presumed good at most, while {winner} is of a good release"),
            Belief::Restored => format!("presumed good at most, while a run validated {winner}"),
            Belief::Presumed | Belief::Deployed | Belief::Recalled | Belief::Doubtful => {
                format!("presumed good as well, but older than {winner}")
            }
        },
    }
}

/// What is known from a source of which no pod is left was outranked.
fn from_afar(source: &str, by: Belief, winner: &str) -> String {
    let than = match by {
        Belief::Observed => format!("pods of {winner} serve now"),
        Belief::Released => format!("{winner} is of a good release"),
        Belief::Restored => format!("a run validated {winner}"),
        Belief::Presumed => format!("the cluster remembers {winner}"),
        Belief::Deployed | Belief::Recalled | Belief::Doubtful => {
            return format!("known from {source} as well, but older than {winner}");
        }
    };
    format!("known from {source} at most, while {than}")
}

fn is_are(ready: u32) -> String {
    format!(
        "{} {}",
        count(ready, "pod"),
        if ready == 1 { "is" } else { "are" }
    )
}

fn standing(
    view: &View<'_>,
    timeline: &Timeline<'_>,
    policy: &Policy,
    revision: &Revision,
    at: Timestamp,
) -> Standing {
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
    if let Some(against) = quarantine::against(view.workload, revision) {
        return Standing::Out(against);
    }
    if revision.ready > 0 {
        return observed(view, policy, revision, at);
    }
    if let Some(run) = revision.marks.get(MARK_ROLLED_BACK_BY) {
        return Standing::Out(format!("it was taken back before, by run {run}"));
    }
    if let Some(because) = released(view, revision) {
        return Standing::Good(Belief::Released, because);
    }
    if let Some(run) = revision.marks.get(MARK_RESTORED_BY) {
        let run = RunId::from(run.as_str());
        return Standing::Good(Belief::Restored, Because::Restored { run });
    }
    if revision.kind == RevisionKind::HelmRecord {
        return deployed(view, policy, revision);
    }
    if !revision.is_remembered()
        && let Some(recalled) = recalled::of(view, &revision.hash)
    {
        return manifested(policy, recalled);
    }
    match timeline.stint(revision) {
        Err(why) => Standing::Out(why),
        Ok(stint) if stint.newest_for < policy.presumed_good_after => too_short(stint.newest_for, policy),
        Ok(stint) => Standing::Good(
            Belief::Presumed,
            Because::Presumed {
                newest_for: stint.newest_for,
                until: stint.until,
            },
        ),
    }
}

fn too_short(newest_for: SignedDuration, policy: &Policy) -> Standing {
    Standing::Out(format!(
        "it was the newest for {} only, less than the {} after which it is presumed good",
        human(newest_for),
        human(policy.presumed_good_after)
    ))
}

/// A revision that Helm's record alone keeps.
fn deployed(view: &View<'_>, policy: &Policy, revision: &Revision) -> Standing {
    let mut all = view.workload.foretold.iter();
    let of = |one: &&Foretold| one.template.value() == Some(revision);
    let Some(of_helm) = all.find(of) else {
        return Standing::Out("nothing is known of it".to_owned());
    };
    if !of_helm.was_deployed() {
        return Standing::Out(format!("Helm calls it {}", of_helm.status));
    }
    let period = match foretold::period(view, revision) {
        Ok(period) => period,
        Err(why) => return Standing::Out(why),
    };
    presumed(period, policy, Belief::Deployed, |newest_for| Because::Deployed {
        release: of_helm.release.clone(),
        revision: of_helm.revision,
        newest_for,
        until: period.until,
    })
}

/// What was deployed while this lasted, if that was long enough.
fn presumed(
    period: Period,
    policy: &Policy,
    belief: Belief,
    because: impl FnOnce(SignedDuration) -> Because,
) -> Standing {
    let newest_for = period.until.duration_since(period.since);
    if newest_for < policy.presumed_good_after {
        return too_short(newest_for, policy);
    }
    Standing::Good(belief, because(newest_for))
}

/// A template that a manifest of then alone tells.
fn manifested(policy: &Policy, recalled: &Recalled) -> Standing {
    let Some(period) = recalled.in_force else {
        return Standing::Out(format!(
            "it is unknown how long it served: what came after {}, is not known",
            recalled.provenance.phrase()
        ));
    };
    presumed(period, policy, Belief::Recalled, |newest_for| Because::Recalled {
        provenance: recalled.provenance.clone(),
        newest_for,
        until: period.until,
    })
}

/// The newest good release that has this template.
fn released(view: &View<'_>, revision: &Revision) -> Option<Because> {
    let of_template = |released: &&Released| released.template == revision.hash;
    view.workload
        .released
        .iter()
        .filter(of_template)
        .find_map(|released| match &released.standing {
            release::Standing::Good(word) => Some(Because::Released {
                release: released.release.clone(),
                reason: word.reason.clone(),
                by: word.by.clone(),
                at: Some(word.at),
            }),
            release::Standing::Candidate { .. } | release::Standing::Bad(_) => None,
        })
}

/// A revision whose pods serve. Restarts are its own pods'; error lines are known of earlier versions together, so they
/// are said and do not decide between two of them.
fn observed(view: &View<'_>, policy: &Policy, revision: &Revision, at: Timestamp) -> Standing {
    let pods = || {
        view.former_pods()
            .filter(|pod| pod.ready && pod.revision.as_ref() == Some(&revision.hash))
    };
    let restarting = signals::restarting(pods(), at);
    let none_steady = pods().next().is_some() && pods().all(|pod| signals::restarts_often(pod, at));
    let taken_back = revision.marks.contains_key(MARK_ROLLED_BACK_BY);
    let belief = if none_steady || taken_back {
        Belief::Doubtful
    } else {
        Belief::Observed
    };
    let unwell = restarting
        .map(|restarting| signals::restarted(view, &restarting, at))
        .or_else(|| errors::former(&view.evidence, signals::limits(policy), at));
    Standing::Good(
        belief,
        Because::Observed {
            ready: revision.ready,
            since: revision.serving_since,
            unwell,
        },
    )
}

/// Every remembered revision but the live one, newest first, after them those that the ledger alone keeps, those that only Helm's records
/// stand for, and last those that only a manifest of then tells.
fn candidates<'a>(view: &View<'a>) -> Vec<&'a Revision> {
    let live = view.live_revision().map(|revision| &revision.uid);
    let remembered = view.revisions.iter().copied();
    let others = view
        .kept()
        .into_iter()
        .chain(view.foretold())
        .chain(view.recalled());
    remembered
        .filter(|revision| Some(&revision.uid) != live)
        .chain(others.filter(|revision| revision.hash != view.live))
        .collect()
}

fn named(view: &View<'_>, selector: &Selector) -> Choice {
    let candidates = candidates(view);
    let live = view
        .live_revision()
        .filter(|revision| selector.selects(view.workload, revision));
    let matching = told_best(view, matching(view, selector, &candidates, live.is_some()));
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
        .filter(|revision| {
            found.is_none_or(|found| (&found.uid, &found.hash) != (&revision.uid, &revision.hash))
        })
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

/// Versions that a manifest alone tells have no number by which one of several could be named: where anything else is named they do not
/// count, and of themselves the one that was deployed last does.
fn told_best<'a>(view: &View<'a>, matching: Vec<&'a Revision>) -> Vec<&'a Revision> {
    let recalled = view.recalled();
    let (from_manifests, others): (Vec<&Revision>, Vec<&Revision>) = matching
        .into_iter()
        .partition(|revision| recalled.iter().any(|one| one.hash == revision.hash));
    if others.is_empty() {
        from_manifests.into_iter().take(1).collect()
    } else {
        others
    }
}

/// The candidates that the selector names. `kubectl rollout restart` makes more revisions of one version, of which an
/// image names the newest, or the live one; a number names each.
fn matching<'a>(
    view: &View<'a>,
    selector: &Selector,
    candidates: &[&'a Revision],
    live: bool,
) -> Vec<&'a Revision> {
    let selected = candidates
        .iter()
        .filter(|revision| selector.selects(view.workload, revision));
    if matches!(selector, Selector::Revision(_)) {
        return selected.copied().collect();
    }
    let mut versions: BTreeSet<TemplateHash> = live.then(|| view.essence.clone()).into_iter().collect();
    selected
        .filter(|revision| versions.insert(essence(&revision.template, &revision.hash)))
        .copied()
        .collect()
}

fn passed_by(selector: &Selector, found: Option<&Revision>) -> String {
    match found {
        Some(found) => format!("--to {selector} names {}", reference(found).label()),
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
    if let Selector::Release(name) = selector {
        return not_in_release(view, name);
    }
    format!("no remembered revision matches {selector}")
}

fn not_in_release(view: &View<'_>, name: &ReleaseName) -> String {
    let target = &view.workload.target;
    let Some(released) = view.workload.released.iter().find(|one| &one.release == name) else {
        return format!("release {name} does not hold {target}");
    };
    let why = match &released.kept {
        Some(Known::Unknown(why)) => format!(": {why}"),
        Some(Known::Is(_)) | None => String::new(),
    };
    let images: Vec<&str> = released
        .images
        .iter()
        .map(|running| running.image.reference.as_str())
        .collect();
    format!(
        "release {name} holds a template of {target} ({}) that the cluster no longer remembers, and its content {} cannot be had{why}",
        images.join(", "),
        released.content.name
    )
}

/// What makes the list shorter than it should be.
fn notes(view: &View<'_>) -> Vec<String> {
    let target = &view.workload.target;
    let mut notes = Vec::new();
    if view.workload.history_limit == 0 {
        notes.push(format!(
            "revisionHistoryLimit: 0: the cluster keeps no earlier revision of {target}"
        ));
    } else if candidates(view).iter().all(|revision| !revision.is_remembered()) {
        notes.push(format!(
            "the cluster remembers no earlier revision of {target} (revisionHistoryLimit: {})",
            view.workload.history_limit
        ));
    }
    for foretold in &view.workload.foretold {
        if let Known::Unknown(why) = &foretold.template {
            notes.push(format!(
                "what {target} would ask for after revision {} of helm/{} is not known: {why}",
                foretold.revision, foretold.release
            ));
        }
    }
    for recalled in &view.workload.recalled {
        if let Known::Unknown(why) = &recalled.template {
            notes.push(format!("what {target} asked for before is not known: {why}"));
        }
    }
    if view.live_revision().is_none() {
        notes.push(format!(
            "the template that {target} asks for now is not among its remembered revisions"
        ));
    }
    notes
}
