//! AST0233: what a ConfigMap or Secret holds is back before anybody starts who reads it.

use super::{NOT_OURS, refuse};
use crate::context::{Context, Write};
use crate::reference::names;
use astern_model::finding::Finding;
use astern_model::id::StepId;
use astern_model::step::workload::Spec;
use astern_model::target::Target;
use astern_model::template::Template;

pub(crate) const CODE: &str = "AST0233";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let written = context.writes.iter().map(of_write);
    let restarted = context
        .plan
        .steps
        .iter()
        .filter_map(|step| match step.spec.workload() {
            Some(Spec::Restart { target, .. }) => {
                let workload = context.inventory.workloads.get(target)?;
                Some((&step.id, target, Some(&workload.template)))
            }
            _ => None,
        });
    let begun: Vec<(&StepId, &Target, Option<&Template>)> = written.chain(restarted).collect();
    let mut findings = Vec::new();
    for (config, spec) in context.config() {
        let object = spec.object();
        let early = begun
            .iter()
            .filter(|(_, _, template)| template.is_none_or(|template| names(template).contains(object)))
            .filter(|(step, _, _)| !context.order.follows(step, &config.id));
        findings.extend(early.map(|(step, target, _)| {
            let message = format!(
                "step {step} starts {target}, which reads {object}, and does not wait until its content is back"
            );
            refuse(CODE, Some(target), message, NOT_OURS)
        }));
    }
    findings
}

/// The template is none where the cluster does not keep it any more: then it may read any object.
fn of_write<'a>(write: &Write<'a>) -> (&'a StepId, &'a Target, Option<&'a Template>) {
    let template = write.revision.map(|revision| &revision.template);
    (&write.step.id, write.target, template)
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    #[test]
    fn nobody_starts_who_reads_an_object_before_its_content_is_back() {
        let check = |mut fixture: Fixture, change: &dyn Fn(&mut Fixture), expected: &str| {
            change(&mut fixture);
            assert_eq!(fixture.told(super::check), expected);
        };
        let early = "step template:deployment/api-gateway starts deployment/api-gateway, which reads configmap/app-config, \
                     and does not wait until its content is back";
        check(Fixture::with_config(), &|_| (), "");
        check(Fixture::with_config(), &|f| f.plan.steps[1].after.clear(), early);
        check(Fixture::restarted(), &|_| (), "");
        check(Fixture::restarted(), &|f| f.plan.steps[1].after.clear(), early);
        // Of a template that the cluster does not keep any more it is not known.
        let forgotten = |f: &mut Fixture| {
            f.plan.steps[1].after.clear();
            f.workload().revisions.clear();
            if let astern_model::step::config::Spec::Restore { object, .. } = f.config() {
                object.name = "others".to_owned();
            }
        };
        check(
            Fixture::with_config(),
            &forgotten,
            &early.replace("app-config", "others"),
        );
        // Somebody who does not read it may start when they like.
        let another = |f: &mut Fixture| {
            f.plan.steps[1].after.clear();
            if let astern_model::step::config::Spec::Restore { object, .. } = f.config() {
                object.name = "others".to_owned();
            }
        };
        check(Fixture::with_config(), &another, "");
    }
}
