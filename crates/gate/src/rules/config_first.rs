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
