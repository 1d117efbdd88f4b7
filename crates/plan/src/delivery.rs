//! What Argo Rollouts makes of a template that is written back: its rules for when the way back skips a canary's steps. Owns those
//! and the sentences about them; decides no plan. Source: `isRollbackWithinWindow` and `syncRolloutStatusCanary` of
//! Argo Rollouts 1.9.

use crate::steps::Move;
use astern_model::id::TemplateHash;
use astern_model::workload::{Strategy, Workload};

/// Whether the way back to the revision with this template goes at once: it is the stable one, or within the rollback window.
pub(crate) fn skips_steps(workload: &Workload, to: &TemplateHash) -> bool {
    let Some(delivery) = &workload.delivery else {
        return true;
    };
    let Some(stable) = &delivery.stable else {
        return false;
    };
    if stable == to {
        return true;
    }
    let made = |hash: &TemplateHash| {
        let revision = workload
            .revisions
            .iter()
            .find(|revision| &revision.hash == hash)?;
        Some(revision.created_at)
    };
    let (Some(window), Some(to), Some(stable)) =
        (workload.strategy.rollback_window(), made(to), made(stable))
    else {
        return false;
    };
    let between = workload
        .revisions
        .iter()
        .filter(|revision| to < revision.created_at && revision.created_at < stable);
    to < stable && between.count() < usize::try_from(window).unwrap_or(usize::MAX)
}

/// What a reader must know of the way that a Rollout goes back.
pub(crate) fn remarks(one: &Move<'_>) -> Vec<String> {
    let workload = one.view.workload;
    let target = one.target();
    let Some(delivery) = &workload.delivery else {
        return Vec::new();
    };
    let mut remarks = Vec::new();
    let is_stable = delivery.stable.as_ref() == Some(&one.to.template);
    if delivery.aborted {
        remarks.push(format!(
            "{target} is aborted: Argo Rollouts serves its stable version already, and its template is still that of {}; writing the template back clears the abort, and nothing else is promoted or retried",
            workload.version()
        ));
    }
    if is_stable {
        remarks.push(format!(
            "Argo Rollouts calls {} of {target} stable: it goes back to it at once, without the steps of its strategy",
            one.to.version
        ));
    } else if skips_steps(workload, &one.to.template) {
        remarks.push(format!(
            "{} of {target} is within its rollbackWindow: Argo Rollouts goes back to it without the steps of its strategy",
            one.to.version
        ));
    } else if let Strategy::Canary { steps, .. } = &workload.strategy
        && !steps.is_empty()
    {
        remarks.push(format!(
            "{} of {target} is not what Argo Rollouts calls stable: it goes through the {} steps of its canary like any new version",
            one.to.version,
            steps.len()
        ));
    }
    remarks
}
