//! AST0230: a revision that was itself rolled back is gone back to only when a person names it or pods of it serve
//! now, and one that somebody marked bad, or that is of a bad release of the ledger alone, only when a person names it.

use super::{refuse, warn};
use crate::context::{Context, Write};
use astern_model::choice::Because;
use astern_model::finding::Finding;
use astern_model::plan::Intent;
use astern_model::workload::{Released, Revision};

pub(crate) const CODE: &str = "AST0230";

/// The run that rolled the revision back.
const ROLLED_BACK_BY: &str = "astern.dev/rolled-back-by";
/// Why somebody marked it bad.
const BAD: &str = "astern.dev/bad";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    context
        .writes_ahead()
        .filter_map(|write| Some((write, write.revision?)))
        .filter_map(|(write, revision)| judge(context, &write, revision))
        .collect()
}

fn judge(context: &Context<'_>, write: &Write<'_>, revision: &Revision) -> Option<Finding> {
    let marks = [
        (ROLLED_BACK_BY, "was rolled back by run"),
        (BAD, "was marked bad:"),
    ];
    let target = write.target;
    let of_release = bad_release(context, write);
    let only_taken_back = !revision.marks.contains_key(BAD) && of_release.is_none();
    let said = of_release.or_else(|| {
        marks
            .iter()
            .find_map(|(mark, says)| Some(format!("{says} {}", revision.marks.get(*mark)?)))
    })?;
    let message = format!("{}, to which {target} would go back, {said}", write.to.version);
    let named = matches!(context.because(target), Some(Because::Named { .. }));
    // Its pods serve now, and the planner knows nothing better: a person who reads this decides.
    let observed = matches!(context.because(target), Some(Because::Observed { .. }));
    Some(if named || matches!(context.plan.intent, Intent::Undo { .. }) {
        warn(
            CODE,
            Some(target),
            message,
            "it was named on purpose: say yes only if you know why it is good now",
        )
    } else if observed && only_taken_back {
        let hint = format!(
            "pods of it serve now, and nothing better is known: say yes only if you know why it is good now, or choose \
             another (`astern releases`): `--to {}=REVISION`",
            target.name
        );
        warn(CODE, Some(target), message, hint)
    } else {
        let hint = format!(
            "choose another (`astern releases`), or name it on purpose: `--to {}=REVISION`",
            target.name
        );
        refuse(CODE, Some(target), message, hint)
    })
}

/// What the ledger says of the template: the release that brought it, the oldest, is bad, and no good one has it.
fn bad_release(context: &Context<'_>, write: &Write<'_>) -> Option<String> {
    let workload = context.inventory.workloads.get(write.target)?;
    let released = workload.released.iter();
    let holding: Vec<&Released> = released
        .filter(|released| released.template == write.to.template)
        .collect();
    if holding.iter().any(|released| released.standing.is_good()) {
        return None;
    }
    let oldest = holding.last()?;
    let word = oldest.standing.against()?;
    let (release, reason) = (&oldest.release, &word.reason);
    Some(format!(
        "is of release {release}, which is bad: {reason} (by {})",
        word.by
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, kept};
    use astern_model::finding::Severity;
    use astern_model::release::{Reason, ReleaseName, Standing, Word};

    #[test]
    fn a_revision_that_was_rolled_back_before_is_gone_back_to_only_by_name_or_when_it_serves() {
        let check = |mark: &str, change: &dyn Fn(&mut Fixture), expected: &[(Severity, &str)]| {
            let mut fixture = Fixture::sound();
            fixture.workload().revisions[1]
                .marks
                .insert(mark.to_owned(), "r7".to_owned());
            change(&mut fixture);
            let findings = super::check(&fixture.context());
            let found: Vec<_> = findings
                .iter()
                .map(|f| (f.severity, f.message.as_str()))
                .collect();
            assert_eq!(found, expected);
        };
        let rolled_back = "v1.2.3, to which deployment/api-gateway would go back, was rolled back by run r7";
        let bad = "v1.2.3, to which deployment/api-gateway would go back, was marked bad: r7";
        let named = |f: &mut Fixture| {
            if let Some(good) = &mut f.plan.choices[0].good {
                good.because = Because::Named {
                    selector: "2".to_owned(),
                };
            }
        };
        let presumed = |f: &mut Fixture| {
            if let Some(good) = &mut f.plan.choices[0].good {
                good.because = Because::Presumed {
                    newest_for: jiff::SignedDuration::from_hours(1),
                    until: f.now,
                };
            }
        };
        check("astern.dev/run", &|_| (), &[]);
        check(ROLLED_BACK_BY, &presumed, &[(Severity::Refuse, rolled_back)]);
        // The fixture's choice was observed.
        check(ROLLED_BACK_BY, &|_| (), &[(Severity::Warn, rolled_back)]);
        check(BAD, &|_| (), &[(Severity::Refuse, bad)]);
        check(BAD, &named, &[(Severity::Warn, bad)]);
        check(
            ROLLED_BACK_BY,
            &|f| f.plan.intent = Intent::Undo { run: "r7".into() },
            &[(Severity::Warn, rolled_back)],
        );
    }

    #[test]
    fn what_a_bad_release_brought_is_gone_back_to_only_by_name() {
        let word = |reason: &str, at| Word {
            reason: Reason::new(reason).unwrap(),
            by: "eve".to_owned(),
            at,
        };
        let check = |standings: &[(&str, &str)], expected: &[(Severity, &str)]| {
            let mut fixture = Fixture::sound();
            let at = fixture.now;
            let template = fixture.workload().revisions[1].hash.clone();
            let released = |(name, standing): &(&str, &str)| Released {
                release: ReleaseName::parse(name).unwrap(),
                standing: match *standing {
                    "good" => Standing::Good(word("soaked", at)),
                    "bad" => Standing::Bad(word("loses orders", at)),
                    _ => Standing::Candidate { failed: None },
                },
                template: template.clone(),
                content: kept(),
                images: Vec::new(),
                kept: None,
            };
            fixture.workload().released = standings.iter().map(released).collect();
            let findings = super::check(&fixture.context());
            let found: Vec<_> = findings
                .iter()
                .map(|f| (f.severity, f.message.as_str()))
                .collect();
            assert_eq!(found, expected, "{standings:?}");
        };
        let bad = "v1.2.3, to which deployment/api-gateway would go back, is of release r2, which is bad: loses orders (by eve)";
        check(&[("r2", "candidate")], &[]);
        // The fixture's choice was observed, and a word outranks that.
        check(&[("r2", "bad")], &[(Severity::Refuse, bad)]);
        check(&[("r3", "candidate"), ("r2", "bad")], &[(Severity::Refuse, bad)]);
        check(&[("r3", "bad"), ("r2", "candidate")], &[]);
        check(&[("r2", "bad"), ("r1", "good")], &[]);
    }
}
