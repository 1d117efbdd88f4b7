//! AST0230: a revision that was itself rolled back is gone back to only when a person names it or pods of it serve
//! now, and one that somebody marked bad only when a person names it.

use super::{refuse, warn};
use crate::context::{Context, Write};
use astern_model::choice::Because;
use astern_model::finding::Finding;
use astern_model::plan::Intent;
use astern_model::workload::Revision;

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
    let said = marks
        .iter()
        .find_map(|(mark, says)| Some(format!("{says} {}", revision.marks.get(*mark)?)))?;
    let target = write.target;
    let message = format!("{}, to which {target} would go back, {said}", write.to.version);
    let named = matches!(context.because(target), Some(Because::Named { .. }));
    // Its pods serve now, and the planner knows nothing better: a person who reads this decides.
    let observed = matches!(context.because(target), Some(Because::Observed { .. }));
    let only_taken_back = !revision.marks.contains_key(BAD);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use astern_model::finding::Severity;

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
}
