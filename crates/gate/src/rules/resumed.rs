//! AST0235: an owner is let go on only once its source says what runs, and only by the run that paused it.

use super::{NOT_OURS, refuse, warn};
use crate::context::{Context, Door, Progress};
use astern_model::finding::Finding;
use astern_model::id::RunId;
use astern_model::owner::{InSync, OwnerName, OwnerSeen, PausableKind};
use astern_model::plan::Intent;
use astern_model::step::Step;
use astern_model::step::owner::Spec;

pub(crate) const CODE: &str = "AST0235";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let pending = context
        .owners()
        .filter(|(step, _)| context.progress(&step.id) == Progress::Pending);
    let resumed = pending.filter_map(|(_, spec)| match spec {
        Spec::Resume {
            owner,
            paused_by: Some(run),
            if_in_sync,
            ..
        } => Some((owner, run, *if_in_sync)),
        // What this run has paused itself is [`super::stopped`]'s matter.
        Spec::Resume { paused_by: None, .. } => None,
        Spec::Pause { .. } | Spec::AwaitPaused { .. } => None,
    });
    let judged = resumed.flat_map(|(owner, by, if_in_sync)| {
        let seen = context.inventory.owner(owner);
        [
            seen.and_then(|seen| anothers(seen, by)),
            seen.and_then(|seen| source(context, owner, seen)),
            unasked(owner, if_in_sync),
        ]
    });
    judged.flatten().collect()
}

fn anothers(seen: &OwnerSeen, by: &RunId) -> Option<Finding> {
    let name = &seen.name;
    let message = match &seen.paused {
        Some(paused) if &paused.run == by => return None,
        Some(paused) => format!("{name} was paused by run {}, not by run {by}", paused.run),
        None => format!("{name} does not say any more that run {by} has paused it"),
    };
    Some(refuse(CODE, None, message, NOT_OURS))
}

/// What it said of its source when the plan was made may be of a moment before: it is asked again as it goes on.
fn unasked(owner: &OwnerName, if_in_sync: bool) -> Option<Finding> {
    let message = || format!("{owner} goes on without being asked once more whether its source is what runs");
    (!if_in_sync).then(|| refuse(CODE, None, message(), NOT_OURS))
}

/// After an undo the version that the owner's source says is what runs.
fn source(context: &Context<'_>, owner: &OwnerName, seen: &OwnerSeen) -> Option<Finding> {
    let starts = owner.kind.only_starts();
    if starts || matches!(context.plan.intent, Intent::Undo { .. }) {
        return None;
    }
    // Said at the start, it stands in the approval of a run that goes on. Argo CD's word is asked for once more by the step;
    // Flux says none, and what was looked at since counts.
    let looked_at = matches!(
        owner.kind,
        PausableKind::Kustomization | PausableKind::HelmRelease
    ) && matches!(seen.in_sync, Some(InSync::No { .. }));
    if matches!(context.door, Door::Resume { .. }) && !looked_at {
        return None;
    }
    // An application below it, which goes on first, may be what Argo CD says that differs: the step asks once more. What Flux would
    // write is held against what runs object by object, and those below are no difference.
    let named = |spec: &Spec| matches!(spec, Spec::Resume { .. });
    let below = |(_, spec): (&Step, &Spec)| {
        let parents = context
            .inventory
            .owner(spec.owner())
            .into_iter()
            .flat_map(|seen| &seen.parents);
        named(spec)
            && parents
                .into_iter()
                .any(|parent| parent.object.as_ref() == Some(owner))
    };
    let asked_again =
        owner.kind == PausableKind::Application && matches!(seen.in_sync, Some(InSync::No { .. }));
    if asked_again && context.owners().any(below) {
        return None;
    }
    let accepted = context.allow.source_matches.contains(&owner.name);
    let (what, hint) = match &seen.in_sync {
        Some(InSync::Yes { .. }) => return None,
        Some(InSync::No { says }) => (
            format!("the source of {owner} is not what runs: {says}; resumed, it writes its source again"),
            format!(
                "merge the revert first{}, and wait until the owner has seen it; then once more",
                seen.paused.as_ref().map_or_else(String::new, |paused| format!(
                    " (`astern writeback {} --push` makes it)",
                    paused.run
                ))
            ),
        ),
        Some(InSync::Untold { why }) => (
            format!("whether the source of {owner} is what runs cannot be told: {why}"),
            by_word(owner),
        ),
        None => (
            format!("whether the source of {owner} is what runs cannot be seen in the cluster"),
            by_word(owner),
        ),
    };
    Some(match (&seen.in_sync, accepted) {
        (Some(InSync::Untold { .. }) | None, true) => {
            warn(CODE, None, what, "said beforehand: its source is what runs")
        }
        (Some(_) | None, _) => refuse(CODE, None, what, hint),
    })
}

fn by_word(owner: &OwnerName) -> String {
    format!(
        "look at its source; if that says what runs, say so: `--source-matches {}`",
        owner.name
    )
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use astern_model::owner::{InSync, OwnerName, PausableKind};
    use astern_model::plan::Intent;
    use astern_model::step::{Spec, owner};

    fn check(change: &dyn Fn(&mut Fixture), expected: &str) {
        let mut fixture = Fixture::resuming();
        change(&mut fixture);
        assert_eq!(fixture.told(super::check), expected);
    }

    #[test]
    fn an_owner_goes_on_only_once_its_source_says_what_runs() {
        check(&|_| (), "");
        let differs = |f: &mut Fixture| {
            f.inventory.owners[0].in_sync = Some(InSync::No {
                says: "OutOfSync at 3f2a".to_owned(),
            });
        };
        let refused = "the source of Argo CD application argocd/shop is not what runs: OutOfSync at 3f2a; resumed, it writes \
                       its source again";
        check(&differs, refused);
        check(
            &|f| {
                differs(f);
                f.allow.source_matches.insert("shop".to_owned());
            },
            refused,
        );
        check(
            &|f| {
                differs(f);
                f.plan.intent = Intent::Undo { run: "r1".into() };
            },
            "",
        );
        let untold = |f: &mut Fixture| {
            f.inventory.owners[0].in_sync = Some(InSync::Untold {
                why: "it follows a Bucket".to_owned(),
            });
        };
        let not_told = "whether the source of Argo CD application argocd/shop is what runs cannot be told: it follows a Bucket";
        check(&untold, not_told);
        check(
            &|f| {
                untold(f);
                f.allow.source_matches.insert("shop".to_owned());
            },
            not_told,
        );
        check(
            &|f| f.inventory.owners[0].in_sync = None,
            "whether the source of Argo CD application argocd/shop is what runs cannot be seen in the cluster",
        );
    }

    /// The owner of the plan becomes one of this kind whose source differs; one below it goes on first.
    fn above_another(f: &mut Fixture, kind: PausableKind) {
        let (above, below) = (
            OwnerName {
                kind,
                ..f.inventory.owners[0].name.clone()
            },
            OwnerName {
                kind,
                name: "cache".to_owned(),
                ..f.inventory.owners[0].name.clone()
            },
        );
        let mut one = f.inventory.owners[0].clone();
        let mut parent = f.inventory.workloads.values().next().unwrap().owners[0].clone();
        parent.object = Some(above.clone());
        one.name = below.clone();
        one.parents = vec![parent];
        f.inventory.owners[0].name = above.clone();
        f.inventory.owners[0].parents.clear();
        f.inventory.owners[0].in_sync = Some(InSync::No {
            says: "deployment/api containers[api].image: api:v1 → api:v2".to_owned(),
        });
        f.inventory.owners.push(one);
        let mut first = f.plan.steps[0].clone();
        for (step, name) in [(&mut f.plan.steps[0], above), (&mut first, below)] {
            if let Spec::Owner(owner::Spec::Resume { owner, .. }) = &mut step.spec {
                *owner = name;
            }
        }
        first.id.0.push_str("-cache");
        f.plan.steps.insert(0, first);
    }

    #[test]
    fn an_owner_above_one_that_goes_on_first_is_let_go_on_though_it_differs_only_where_its_step_asks_once_more()
     {
        check(&|f| above_another(f, PausableKind::Application), "");
        check(
            &|f| above_another(f, PausableKind::Kustomization),
            "the source of Flux Kustomization argocd/shop is not what runs: deployment/api containers[api].image: api:v1 → \
             api:v2; resumed, it writes its source again",
        );
    }

    #[test]
    fn an_owner_that_another_run_has_paused_stays_paused() {
        check(
            &|f| {
                if let Some(paused) = &mut f.inventory.owners[0].paused {
                    paused.run = "r9".into();
                }
            },
            "Argo CD application argocd/shop was paused by run r9, not by run r1",
        );
        check(
            &|f| f.inventory.owners[0].paused = None,
            "Argo CD application argocd/shop does not say any more that run r1 has paused it",
        );
    }
}
