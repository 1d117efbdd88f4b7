//! AST0238: a Rollout that goes back to what Argo Rollouts does not call stable goes through its strategy like any new version, and
//! where that waits for a person, so does the run.

use super::warn;
use crate::context::{Context, Write};
use astern_model::finding::Finding;
use astern_model::id::TemplateHash;
use astern_model::workload::{Delivery, Workload};

pub(crate) const CODE: &str = "AST0238";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    context
        .written_ahead()
        .filter_map(|(write, workload)| judge(&write, workload))
        .collect()
}

fn judge(write: &Write<'_>, workload: &Workload) -> Option<Finding> {
    let delivery = workload.delivery.as_ref()?;
    let waits = workload.strategy.waits_for_a_person()?;
    if goes_at_once(workload, delivery, &write.to.template) {
        return None;
    }
    let target = write.target;
    let message = format!(
        "{target} goes through its strategy to come back to {}, since Argo Rollouts does not call that stable, and {waits}: \
         the run stops there and waits for a person",
        write.to.version
    );
    let hint = format!(
        "once it has paused, look at the new pods and type `kubectl argo rollouts promote {0} -n {1}`, then \
         `astern resume RUN`; `kubectl argo rollouts promote {0} -n {1} --full` skips all steps",
        target.name, target.namespace
    );
    Some(warn(CODE, Some(target), message, hint))
}

/// Argo Rollouts skips the steps on the way back to the stable revision, and to one that was made fewer than
/// `rollbackWindow.revisions` before it.
fn goes_at_once(workload: &Workload, delivery: &Delivery, to: &TemplateHash) -> bool {
    let Some(stable) = &delivery.stable else {
        return false;
    };
    if stable == to {
        return true;
    }
    let made = |hash: &TemplateHash| {
        let mut revisions = workload.revisions.iter();
        revisions
            .find(|revision| &revision.hash == hash)
            .map(|revision| revision.created_at)
    };
    let (Some(window), Some(to), Some(stable)) =
        (workload.strategy.rollback_window(), made(to), made(stable))
    else {
        return false;
    };
    let between = workload
        .revisions
        .iter()
        .filter(|revision| to < revision.created_at && revision.created_at < stable)
        .count();
    to < stable && u32::try_from(between).is_ok_and(|between| between < window)
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use astern_model::workload::{CanaryStep, Delivery, Strategy};
    use jiff::{SignedDuration, Timestamp};

    /// A canary of whose revisions the live one is stable, or the target.
    fn check(lasts: Option<i64>, target_is_stable: bool, window: Option<u32>, expected: &str) {
        let change = |fixture: &mut Fixture| {
            let workload = fixture.workload();
            let live = workload.template.hash();
            for revision in &mut workload.revisions {
                let hours = i64::try_from(revision.number).unwrap();
                revision.created_at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
            }
            let mut hashes = workload.revisions.iter().map(|revision| revision.hash.clone());
            let stable = hashes.find(|hash| (hash == &live) != target_is_stable);
            let lasts = lasts.map(SignedDuration::from_secs);
            workload.strategy = Strategy::Canary {
                max_surge: None,
                max_unavailable: None,
                steps: vec![CanaryStep::SetWeight { percent: 20 }, CanaryStep::Pause { lasts }],
                routed: false,
                rollback_window: window,
            };
            workload.delivery = Some(Delivery {
                stable,
                ..Delivery::default()
            });
        };
        assert_eq!(Fixture::messages(super::check, &change), expected);
    }

    #[test]
    fn a_pause_that_a_person_ends_is_said() {
        check(
            None,
            false,
            None,
            "deployment/api-gateway goes through its strategy to come back to v1.2.3, since Argo Rollouts does not call that stable, and step 2 of 2 is a pause without a duration: the run stops there and waits for a person",
        );
    }

    #[test]
    fn the_way_back_to_the_stable_version_waits_for_nobody() {
        check(None, true, None, "");
    }

    #[test]
    fn the_way_back_within_the_window_waits_for_nobody() {
        check(None, false, Some(3), "");
    }

    #[test]
    fn a_pause_that_ends_by_itself_is_nothing_to_say() {
        check(Some(10), false, None, "");
    }
}
