//! AST0237: a template goes back to a release only where what its ConfigMaps and Secrets hold could be compared with what they held
//! then.

use super::refuse;
use crate::context::{Context, Write};
use astern_model::config::UnknownConfig;
use astern_model::finding::Finding;
use astern_model::workload::Workload;

pub(crate) const CODE: &str = "AST0237";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    // Helm brings what belongs to its release back with it.
    let by_themselves = context
        .written_ahead()
        .filter(|(write, _)| write.step.spec.helm().is_none());
    let judged = by_themselves.filter_map(|(write, workload)| judge(context, &write, workload));
    judged.collect()
}

fn judge(context: &Context<'_>, write: &Write<'_>, workload: &Workload) -> Option<Finding> {
    let of_release = |one: &&UnknownConfig| {
        let mut released = workload.released.iter();
        let has_it = released
            .any(|released| released.release == one.release && released.template == write.to.template);
        has_it && one.readers.contains(write.target)
    };
    let unknown: Vec<&UnknownConfig> = context
        .inventory
        .config
        .unknown
        .iter()
        .filter(of_release)
        .collect();
    let first = unknown.first()?;
    let names: Vec<String> = unknown.iter().map(|one| one.name.to_string()).collect();
    let message = format!(
        "{} goes back to what release {} has of it, which read {}, and that could not be compared with what stands ({}): old code \
         may start on new configuration",
        write.target,
        first.release,
        names.join(", "),
        first.why
    );
    let hint = "use a user who may list ConfigMaps and Secrets (docs/rbac.yaml); or plan with --leave-config once you know that what \
                they hold fits the old version: they are left as they are then";
    Some(refuse(CODE, Some(write.target), message, hint))
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use astern_model::config::{ConfigKind, ConfigName, UnknownConfig};
    use astern_model::release::{ReleaseName, Standing};
    use astern_model::workload::Released;

    /// Release r1 has what the plan goes back to, and an object of it could not be read.
    fn unread(fixture: &mut Fixture) {
        let release = ReleaseName::parse("r1").unwrap();
        let to = fixture.to(0).clone();
        let workload = fixture.workload();
        workload.released = vec![Released {
            release: release.clone(),
            standing: Standing::Candidate { failed: None },
            template: to.template,
            content: crate::fixture::kept(),
            images: Vec::new(),
            kept: None,
        }];
        let readers = [workload.target.clone()].into();
        fixture.inventory.config.unknown = vec![UnknownConfig {
            name: ConfigName {
                kind: ConfigKind::ConfigMap,
                name: "app-config".to_owned(),
            },
            release,
            readers,
            why: "list secrets is not permitted".to_owned(),
        }];
    }

    #[test]
    fn a_template_whose_release_held_content_that_was_not_compared_is_refused() {
        let told = |change: &dyn Fn(&mut Fixture)| Fixture::messages(super::check, change);
        assert_eq!(told(&|_| ()), "");
        assert_eq!(
            told(&unread),
            "deployment/api-gateway goes back to what release r1 has of it, which read configmap/app-config, and that could not be \
             compared with what stands (list secrets is not permitted): old code may start on new configuration"
        );
        let another_template = |f: &mut Fixture| {
            unread(f);
            f.workload().released[0].template = crate::fixture::hash('f');
        };
        assert_eq!(told(&another_template), "");
        let read_by_others = |f: &mut Fixture| {
            unread(f);
            f.inventory.config.unknown[0].readers.clear();
        };
        assert_eq!(told(&read_by_others), "");
    }
}
