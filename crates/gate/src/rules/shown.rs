//! AST0209: what a reader of the plan is shown is what its steps do, and what they do is judged afterwards.

use super::{NOT_OURS, refuse};
use crate::context::{Context, Write};
use astern_model::choice::KnownGood;
use astern_model::config::ConfigName;
use astern_model::finding::Finding;
use astern_model::plan::Intent;
use astern_model::step::workload::Spec;
use astern_model::target::Target;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const CODE: &str = "AST0209";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let plan = context.plan;
    let chosen: BTreeMap<&Target, Option<&KnownGood>> = plan
        .choices
        .iter()
        .map(|choice| (&choice.target, choice.good.as_ref()))
        .collect();
    let judged: BTreeSet<&Target> = plan.recovered_when.targets.iter().collect();
    let mut findings = Vec::new();
    for write in &context.writes {
        if let Some(what) = unlike(write, chosen.get(write.target).copied(), &plan.intent) {
            findings.push(refuse(
                CODE,
                Some(write.target),
                format!("{} {what}", write.target),
                NOT_OURS,
            ));
        }
        if !judged.contains(write.target) {
            let message = format!(
                "{} is written, and is not among what must serve afterwards",
                write.target
            );
            findings.push(refuse(CODE, Some(write.target), message, NOT_OURS));
        }
    }
    let restarted = plan.steps.iter().filter_map(|step| match step.spec.workload() {
        Some(Spec::Restart { target, .. }) if !judged.contains(target) => Some(target),
        _ => None,
    });
    findings.extend(restarted.map(|target| {
        let message = format!("{target} is restarted, and is not among what must serve afterwards");
        refuse(CODE, Some(target), message, NOT_OURS)
    }));
    let is_shown = |object: &ConfigName| plan.config.iter().any(|changes| &changes.object == object);
    let hidden = context.config().filter(|(_, spec)| !is_shown(spec.object()));
    findings.extend(hidden.map(|(_, spec)| {
        let message = format!(
            "{} is written, and what changes in it is not shown",
            spec.object()
        );
        refuse(CODE, None, message, NOT_OURS)
    }));
    findings
}

/// How the write differs from the choice that is shown for its workload. A run is taken back without choosing.
fn unlike(write: &Write<'_>, choice: Option<Option<&KnownGood>>, intent: &Intent) -> Option<&'static str> {
    match (choice, intent) {
        (None, Intent::Undo { .. }) => None,
        (None, Intent::RollBack | Intent::ResumeOwners | Intent::RepairRelease { .. }) => {
            Some("is written, and no choice is shown for it")
        }
        (Some(None), _) => Some("is written, and the choice shown is that nothing is good"),
        (Some(Some(good)), _) => {
            let (shown, to) = (&good.revision, write.to);
            let same = (&shown.name, &shown.uid, &shown.template, &shown.version)
                == (&to.name, &to.uid, &to.template, &to.version);
            (!same).then_some("is written with another revision than the one shown as chosen")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn what_is_shown_is_what_is_done() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(
            &|f| f.to(0).version = "v9".to_owned(),
            "deployment/api-gateway is written with another revision than the one shown as chosen",
        );
        check(
            &|f| f.plan.choices.clear(),
            "deployment/api-gateway is written, and no choice is shown for it",
        );
        check(
            &|f| {
                f.plan.choices.clear();
                f.plan.intent = Intent::Undo { run: "r1".into() };
            },
            "",
        );
        check(
            &|f| f.plan.choices[0].good = None,
            "deployment/api-gateway is written, and the choice shown is that nothing is good",
        );
        check(
            &|f| f.plan.recovered_when.targets.clear(),
            "deployment/api-gateway is written, and is not among what must serve afterwards",
        );
    }

    #[test]
    fn content_that_is_written_is_shown_and_who_is_restarted_must_serve() {
        let mut fixture = Fixture::restarted();
        assert_eq!(fixture.told(super::check), "");
        fixture.plan.config.clear();
        fixture.plan.recovered_when.targets.clear();
        assert_eq!(
            fixture.told(super::check),
            "configmap/app-config is written, and what changes in it is not shown\n\
             deployment/api-gateway is restarted, and is not among what must serve afterwards"
        );
    }
}
