//! AST0233: what a ConfigMap or Secret holds is back before anybody starts who reads it, on the way back too.

use super::{NOT_OURS, refuse};
use crate::context::{Context, Door, Write};
use crate::reference::names;
use astern_model::config::ConfigName;
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
    let left = context.writes.iter().filter_map(|write| left(context, write));
    let left: Vec<(&StepId, &Target, &Template)> = left.collect();
    let mut findings = Vec::new();
    for (config, spec) in context.config() {
        let object = spec.object();
        let early = begun
            .iter()
            .filter(|(_, _, template)| reads(*template, object))
            .filter(|(step, _, _)| !context.order.follows(step, &config.id));
        findings.extend(early.map(|(step, target, _)| {
            let message = format!(
                "step {step} starts {target}, which reads {object}, and does not wait until its content is back"
            );
            refuse(CODE, Some(target), message, NOT_OURS)
        }));
        let early_again = left
            .iter()
            .filter(|(_, _, template)| names(template).contains(object))
            .filter(|(step, _, _)| !context.order.follows(step, &config.id))
            .filter(|(step, _, _)| {
                !begun
                    .iter()
                    .any(|(other, _, of)| other == step && reads(*of, object))
            });
        findings.extend(early_again.map(|(step, target, _)| {
            let message = format!(
                "step {step} takes {target} off a version that reads {object} and would start that again when it is taken back, and \
                 does not wait until its content is back"
            );
            refuse(CODE, Some(target), message, NOT_OURS)
        }));
    }
    findings
}

/// Of a template that is not known it may be.
fn reads(template: Option<&Template>, object: &ConfigName) -> bool {
    template.is_none_or(|template| names(template).contains(object))
}

/// The template that a write leaves, while it stands: at a start. A plan of before, resumed, goes its old way.
fn left<'a>(context: &Context<'a>, write: &Write<'a>) -> Option<(&'a StepId, &'a Target, &'a Template)> {
    let Door::Start { .. } = context.door else {
        return None;
    };
    let workload = context.inventory.workloads.get(write.target)?;
    Some((&write.step.id, write.target, &workload.template))
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
        // What is left reads it, and starts again should the run be taken back.
        let leaves = |f: &mut Fixture| {
            f.plan.steps[1].after.clear();
            let mut json = f.workload().template.json().clone();
            json["spec"]["containers"][0]["envFrom"] =
                serde_json::json!([{"configMapRef": {"name": "others"}}]);
            f.workload().template = astern_model::template::Template::clean(json);
            if let astern_model::step::config::Spec::Restore { object, .. } = f.config() {
                object.name = "others".to_owned();
            }
        };
        let again = "step template:deployment/api-gateway takes deployment/api-gateway off a version that reads configmap/others and \
                     would start that again when it is taken back, and does not wait until its content is back";
        check(Fixture::with_config(), &leaves, again);
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
