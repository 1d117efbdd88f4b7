//! Owners, as a table: who writes the platform back, who is paused by which run, and whether its source says what runs.

use crate::line::{Line, LineKind};
use crate::table::Table;
use astern_model::choice::{clock, human};
use astern_model::owner::{InSync, OwnerSeen, PAUSED};
use astern_model::plan::Plan;
use astern_model::step::owner;
use astern_model::workload::OwnerState;
use jiff::Timestamp;

/// The owners as aligned lines, and below them what to do about those that are paused.
pub fn owners_lines(owners: &[OwnerSeen], now: Timestamp) -> Vec<Line> {
    let mut lines = table(owners, now).lines();
    let told = owners.iter().filter_map(|seen| paused_sentence(seen, now));
    lines.extend(told.map(|sentence| Line::new(LineKind::Warn, sentence)));
    lines
}

/// The same as Markdown.
pub fn owners_markdown(owners: &[OwnerSeen], now: Timestamp) -> String {
    let told = owners.iter().filter_map(|seen| paused_sentence(seen, now));
    let told: String = told.map(|sentence| format!("\n- {sentence}\n")).collect();
    table(owners, now).markdown() + &told
}

/// What stays paused after the run of a plan, and what that means until it goes on; empty where nobody is paused.
pub(crate) fn stays_paused(plan: &Plan) -> Vec<String> {
    let paused = plan.steps.iter().filter_map(|step| match step.spec.owner()? {
        // What only starts pods goes on in the same run.
        owner::Spec::Pause { owner, .. } if owner.kind.only_starts() => None,
        owner::Spec::Pause {
            owner, pin, guard, ..
        } => Some(format!(
            "{owner} ({} now), due within {}",
            owner.kind.describe(&pin.setting),
            human(*guard)
        )),
        owner::Spec::AwaitPaused { .. } | owner::Spec::Resume { .. } => None,
    });
    let mut told: Vec<String> = paused.collect();
    if !told.is_empty() {
        let until = "until they go on, nothing that anybody commits reaches the cluster through them: put the good version into \
                     their sources, then astern owners resume";
        told.push(until.to_owned());
    }
    told
}

fn table(owners: &[OwnerSeen], now: Timestamp) -> Table {
    let mut table = Table::new(&["OWNER", "STATE", "SOURCE", "ABOVE IT"]);
    for seen in owners {
        let paused = seen.paused.as_ref().filter(|_| seen.is_paused());
        let overdue = paused.is_some_and(|paused| paused.due < now);
        let kind = match (&seen.state, paused) {
            _ if overdue || seen.is_on_again() => LineKind::Bad,
            (_, Some(_)) => LineKind::Warn,
            _ => LineKind::Text,
        };
        let above: Vec<&str> = seen.parents.iter().map(|owner| owner.name.as_str()).collect();
        table.row(
            kind,
            [seen.name.to_string(), state(seen), source(seen), above.join(", ")],
        );
    }
    table
}

fn state(seen: &OwnerSeen) -> String {
    match &seen.state {
        OwnerState::WritesBack { because } => format!("writes: {because}"),
        OwnerState::Passive { because } if seen.paused.is_some() && seen.is_paused() => because.clone(),
        OwnerState::Passive { because } => format!("at rest: {because}"),
        OwnerState::Busy { operation } => operation.clone(),
        OwnerState::Unknown { why } => format!("not known: {why}"),
    }
}

fn source(seen: &OwnerSeen) -> String {
    match &seen.in_sync {
        Some(InSync::Yes { revision }) => format!("is what runs, at {}", short(revision)),
        Some(InSync::No { says }) => says.clone(),
        Some(InSync::Untold { why }) => format!("not told: {why}"),
        None => "not told".to_owned(),
    }
}

/// Enough of a commit to name it.
fn short(revision: &str) -> String {
    const DIGITS: usize = 12;
    revision.chars().take(DIGITS).collect()
}

/// That an owner is paused, since when, by which run, until when, and what to type; or that it is on again before that was said to be
/// safe. None of one that no run has paused.
pub fn paused_sentence(seen: &OwnerSeen, now: Timestamp) -> Option<String> {
    let paused = seen.paused.as_ref()?;
    if seen.is_on_again() {
        let name = &seen.name;
        return Some(format!(
            "{name} is on again ({}), which run {} had paused at {}, and nobody has let it go on by astern: what its source says may be \
             written back. See whether that is what runs: astern owners; or pause it again. Where all is well: kubectl annotate {}.{} {} -n \
             {} {PAUSED}-",
            name.kind.describe(&seen.setting),
            paused.run,
            clock(paused.at),
            name.kind.plural(),
            name.kind.group(),
            name.name,
            name.namespace
        ));
    }
    let left = paused.due.duration_since(now);
    let due = if left.is_negative() {
        format!("due since {}, {} ago", clock(paused.due), human(left.abs()))
    } else {
        format!("due by {}, in {}", clock(paused.due), human(left))
    };
    let next = match &seen.in_sync {
        Some(InSync::Yes { .. }) => "its source is what runs: ".to_owned(),
        Some(InSync::No { says }) => format!("its source is not what runs yet ({says}); once it is: "),
        Some(InSync::Untold { .. }) | None => "once its source is what runs: ".to_owned(),
    };
    Some(format!(
        "{} is paused by run {} since {}, {due}; {next}astern owners resume {}",
        seen.name,
        paused.run,
        clock(paused.at),
        seen.name.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::joined;
    use astern_model::owner::{OwnerName, PausableKind, Paused};
    use serde_json::{Value, json};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn seen(name: &str, setting: Value, paused: bool) -> OwnerSeen {
        OwnerSeen {
            name: OwnerName {
                kind: PausableKind::Application,
                namespace: "argocd".to_owned(),
                name: name.to_owned(),
            },
            uid: "u".into(),
            state: if paused {
                OwnerState::Passive {
                    because: "run r1 has paused it".to_owned(),
                }
            } else {
                OwnerState::WritesBack {
                    because: "automated.selfHeal: true".to_owned(),
                }
            },
            setting,
            scales: None,
            parents: Vec::new(),
            paused: paused.then(|| Paused {
                run: "r1".into(),
                namespace: "shop".to_owned(),
                at: at("2026-11-23T14:12:00Z"),
                due: at("2026-11-24T14:12:00Z"),
                was: json!({"selfHeal": true}),
            }),
            in_sync: Some(InSync::No {
                says: "OutOfSync at 3f2a".to_owned(),
            }),
        }
    }

    #[test]
    fn a_paused_owner_is_told_with_since_when_by_which_run_and_until_when() {
        let owners = [
            seen("root", json!({"selfHeal": true}), false),
            seen("shop", Value::Null, true),
        ];
        let lines = owners_lines(&owners, at("2026-11-23T15:12:00Z"));
        insta::assert_snapshot!(joined(&lines), @r"
        OWNER                             STATE                              SOURCE              ABOVE IT
        Argo CD application argocd/root   writes: automated.selfHeal: true   OutOfSync at 3f2a
        Argo CD application argocd/shop   run r1 has paused it               OutOfSync at 3f2a
        Argo CD application argocd/shop is paused by run r1 since 2026-11-23 14:12:00 UTC, due by 2026-11-24 14:12:00 UTC, in 23h; its source is not what runs yet (OutOfSync at 3f2a); once it is: astern owners resume shop
        ");
        let late = paused_sentence(&owners[1], at("2026-11-24T15:12:00Z")).unwrap();
        assert!(
            late.contains("due since 2026-11-24 14:12:00 UTC, 1h ago"),
            "{late}"
        );
        assert_eq!(paused_sentence(&owners[0], at("2026-11-24T15:12:00Z")), None);
    }

    #[test]
    fn an_owner_that_is_on_again_while_it_has_the_mark_of_a_pause_is_told() {
        let mut on_again = seen("shop", Value::Null, true);
        on_again.setting = json!({"selfHeal": true});
        on_again.state = OwnerState::WritesBack {
            because: "automated.selfHeal: true".to_owned(),
        };
        let lines = owners_lines(&[on_again], at("2026-11-23T15:12:00Z"));
        assert!(lines.iter().any(|line| line.kind == LineKind::Bad), "{lines:?}");
        insta::assert_snapshot!(joined(&lines), @r#"
        OWNER                             STATE                              SOURCE              ABOVE IT
        Argo CD application argocd/shop   writes: automated.selfHeal: true   OutOfSync at 3f2a
        Argo CD application argocd/shop is on again (automated: {"selfHeal":true}), which run r1 had paused at 2026-11-23 14:12:00 UTC, and nobody has let it go on by astern: what its source says may be written back. See whether that is what runs: astern owners; or pause it again. Where all is well: kubectl annotate applications.argoproj.io shop -n argocd astern.dev/paused-
        "#);
    }
}
