//! What a write leaves on the object it wrote, and what such marks forbid: the effect's key, the epoch and the run.
//! Owns the annotations' names and the fence rule; sends nothing.

use astern_model::defect::{Defect, planted};
use astern_model::id::{Epoch, RunId};
use astern_model::step::workload::Stamp;
use astern_model::step::{config, workload};
use std::collections::BTreeMap;

pub(crate) use astern_model::id::EFFECT;
/// The epoch of whoever wrote it.
pub(crate) const EPOCH: &str = "astern.dev/epoch";
/// The run that wrote it.
pub(crate) const RUN: &str = "astern.dev/run";
/// The resourceVersion at which a look did not find an effect: a write made from it, or from an older one, is refused
/// from then on. It differs at each look, so that the API server stores it as a change.
pub(crate) const SETTLED: &str = "astern.dev/settled";
/// Why the template is what it is. `kubectl rollout history` prints it.
pub(crate) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// The annotations that every write of ours sets.
pub(crate) const MARKS: [&str; 3] = [EFFECT, EPOCH, RUN];
/// The annotations that writing a template overwrites, last-applied apart.
pub(crate) const OVERWRITTEN: [&str; 4] = [EFFECT, EPOCH, RUN, CHANGE_CAUSE];

/// What bears annotations: an object, or what was recorded of one.
pub(crate) trait Annotated: Sync {
    /// One of them.
    fn annotation(&self, name: &str) -> Option<&str>;
}

impl Annotated for workload::Before {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotation(name)
    }
}

impl Annotated for config::Before {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotation(name)
    }
}

/// A write that wants to be made: its stamp, beside what was there when its intent was recorded.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) stamp: &'a Stamp,
    pub(crate) before: &'a dyn Annotated,
}

impl Claim<'_> {
    /// Why it may not be made on the object as it is now, if it may not: a newer holder of the same run has been here,
    /// or another run has.
    pub(crate) fn refused(&self, now: &impl Annotated) -> Option<String> {
        let theirs = epoch_of(now, &self.stamp.run).filter(|_| !planted(Defect::IgnoreEpoch));
        fenced(theirs, self.stamp.epoch).or_else(|| strange(now, self.before, &self.stamp.run))
    }
}

/// Those of these annotations that are on the object.
pub(crate) fn found(object: &impl Annotated, names: &[&str]) -> BTreeMap<String, String> {
    let value = |name: &&str| Some(((*name).to_owned(), object.annotation(name)?.to_owned()));
    names.iter().filter_map(value).collect()
}

/// What speaks against a write by `run`, if anything does: marks of another run that were not there when its intent was
/// recorded. Whoever slept that long has lost its lock, and the run may be over.
pub(crate) fn strange(now: &impl Annotated, before: &dyn Annotated, run: &RunId) -> Option<String> {
    let another = now.annotation(RUN).filter(|theirs| *theirs != run.as_str())?;
    let moved = |name: &&str| now.annotation(name) != before.annotation(name);
    MARKS
        .iter()
        .any(moved)
        .then(|| format!("run {another} has written it since this step was begun"))
}

/// The annotations that every write of this stamp sets.
pub(crate) fn marks(stamp: &Stamp) -> BTreeMap<&'static str, Option<String>> {
    let key = (!planted(Defect::ForgetKey)).then(|| stamp.key.to_string());
    let epoch = (!planted(Defect::ForgetEpoch)).then(|| stamp.epoch.to_string());
    BTreeMap::from([(EFFECT, key), (EPOCH, epoch), (RUN, Some(stamp.run.to_string()))])
}

/// The text of `kubernetes.io/change-cause`.
pub(crate) fn change_cause(stamp: &Stamp) -> String {
    format!("{}: {}", stamp.run, stamp.reason)
}

/// Whether this stamp's effect was the last that wrote the object.
pub(crate) fn is_ours(object: &impl Annotated, stamp: &Stamp) -> bool {
    object.annotation(EFFECT) == Some(stamp.key.as_str())
}

/// The epoch that `run` left on the object, if it is the run that wrote it last.
pub(crate) fn epoch_of(object: &impl Annotated, run: &RunId) -> Option<Epoch> {
    epoch_in(object.annotation(RUN), object.annotation(EPOCH), run)
}

/// The same from the two annotations.
pub(crate) fn epoch_in(its_run: Option<&str>, its_epoch: Option<&str>, run: &RunId) -> Option<Epoch> {
    (its_run? == run.as_str()).then(|| its_epoch?.parse().ok().map(Epoch))?
}

/// Why a holder of `mine` may not write, if it may not: a newer holder of the same run has been here.
pub(crate) fn fenced(theirs: Option<Epoch>, mine: Epoch) -> Option<String> {
    let theirs = theirs.filter(|theirs| *theirs > mine)?;
    Some(format!(
        "this run was taken over: the object carries epoch {theirs}, and this process holds epoch {mine}"
    ))
}

/// Why a holder that took over may not stamp `to`, if it may not. `from` is the epoch of the newest write on the
/// object that the journal has a result of, 0 where it has none. A lower epoch, or none, is then a foreign write: a
/// person's `kubectl rollout undo`, for one, brings old annotations back.
pub(crate) fn unexpected(found: Option<Epoch>, from: Epoch, to: Epoch) -> Option<String> {
    match found {
        Some(found) if found > to => Some(format!(
            "this run was taken over again: the object carries epoch {found}, and this process holds epoch {to}"
        )),
        Some(found) if found < from => Some(format!(
            "somebody else wrote it: it carries epoch {found} of this run, and the journal knows of a write under epoch {from}"
        )),
        None if from > Epoch(0) => Some(format!(
            "somebody else wrote it: it carries no epoch of this run, and the journal knows of a write under epoch {from}"
        )),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_with_a_lower_epoch_may_not_write() {
        let check = |theirs: Option<u64>, mine: u64, allowed: bool| {
            assert_eq!(
                fenced(theirs.map(Epoch), Epoch(mine)).is_none(),
                allowed,
                "{theirs:?} {mine}"
            );
        };
        check(None, 2, true);
        check(Some(2), 2, true);
        check(Some(1), 2, true);
        check(Some(9), 2, false);
    }

    #[test]
    fn an_epoch_of_another_run_says_nothing() {
        let run = RunId::from("r1");
        assert_eq!(epoch_in(Some("r1"), Some("7"), &run), Some(Epoch(7)));
        assert_eq!(epoch_in(Some("r0"), Some("7"), &run), None);
        assert_eq!(epoch_in(Some("r1"), Some("seven"), &run), None);
        assert_eq!(epoch_in(Some("r1"), None, &run), None);
    }

    #[test]
    fn an_epoch_lower_than_the_journals_is_a_foreign_write() {
        let check = |found: Option<u64>, from: u64, allowed: bool| {
            let refused = unexpected(found.map(Epoch), Epoch(from), Epoch(9));
            assert_eq!(refused.is_none(), allowed, "{found:?} {from}: {refused:?}");
        };
        check(None, 0, true);
        check(None, 3, false);
        check(Some(2), 3, false);
        check(Some(3), 3, true);
        check(Some(9), 3, true);
        check(Some(10), 3, false);
    }
}
