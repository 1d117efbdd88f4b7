//! AST0233: what a ConfigMap or Secret holds is back before anybody starts who reads it.

use super::{NOT_OURS, refuse};
use crate::context::{Context, Write};
use crate::reference::names;
use astern_model::config::ConfigName;
use astern_model::finding::Finding;
use astern_model::id::StepId;
use astern_model::step::workload::Spec;
use astern_model::target::Target;
use astern_model::template::Template;

pub(crate) const CODE: &str = "AST0233";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let written = context.writes.iter().filter_map(of_write);
    let restarted = context
        .plan
        .steps
        .iter()
        .filter_map(|step| match step.spec.workload() {
            Some(Spec::Restart { target, .. }) => {
                let workload = context.inventory.workloads.get(target)?;
                Some((&step.id, target, &workload.template))
            }
            _ => None,
        });
    let begun: Vec<(&StepId, &Target, &Template)> = written.chain(restarted).collect();
    let mut findings = Vec::new();
    for (config, spec) in context.config() {
        let object = spec.object();
        let early = begun
            .iter()
            .filter(|(_, _, template)| reads(template, object))
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

fn of_write<'a>(write: &Write<'a>) -> Option<(&'a StepId, &'a Target, &'a Template)> {
    Some((&write.step.id, write.target, &write.revision?.template))
}

fn reads(template: &Template, object: &ConfigName) -> bool {
    names(template).contains(object)
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
