//! AST0213: the revision to go back to is there, is the one that the plan names, and differs from what is live.

use super::{PLAN_AGAIN, refuse, warn};
use crate::context::{Context, Write};
use astern_model::finding::Finding;
use astern_model::workload::{Revision, RevisionKind, Workload};
use std::collections::BTreeSet;

pub(crate) const CODE: &str = "AST0213";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    context
        .written_ahead()
        .filter_map(|(write, workload)| same(&write, workload).or_else(|| there(&write)))
        .collect()
}

/// Going back to what is live changes nothing, and would hide whatever is really wrong.
fn same(write: &Write<'_>, workload: &Workload) -> Option<Finding> {
    let live = workload.template.hash();
    if live != write.to.template {
        return None;
    }
    let message = format!(
        "{} already has the template that it would go back to ({})",
        write.target, write.to.version
    );
    Some(refuse(
        CODE,
        Some(write.target),
        message,
        "look at what stands, `astern status`, and choose another: `--to`",
    ))
}

fn there(write: &Write<'_>) -> Option<Finding> {
    let (target, to) = (write.target, write.to);
    let object = match to.kind {
        RevisionKind::ReplicaSet | RevisionKind::ControllerRevision => {
            format!("{}/{}", to.kind.singular(), to.name)
        }
        RevisionKind::HelmRecord => return foretold(write),
    };
    let what = match write.object {
        Some(_) if write.revision.is_none() => {
            format!("{object}, which {target} would go back to, holds another template than the plan names")
        }
        Some(revision) => return mislabelled(write, revision, &object),
        None if write.kept => {
            let message = format!(
                "the cluster no longer keeps the template of {}: it lies in the vault only, so its references, its \
                 image and the dry run were not checked",
                write.label()
            );
            let hint = "look at the plan's diff before you say yes; the run waits for the pods and holds if they fail";
            return Some(warn(CODE, Some(target), message, hint));
        }
        None => format!("{object}, which {target} would go back to, is gone"),
    };
    Some(refuse(
        CODE,
        Some(target),
        what,
        format!("see what is left, `astern releases`, then {PLAN_AGAIN}"),
    ))
}

/// Whether Helm's record stands for the template of the plan still: what the API server makes of a manifest depends on what stands.
fn foretold(write: &Write<'_>) -> Option<Finding> {
    let (target, to) = (write.target, write.to);
    let object = to.label();
    let (message, hint) = match (write.revision, write.object) {
        (Some(revision), _) => return mislabelled(write, revision, &object),
        (None, Some(_)) => (
            format!(
                "{target} would ask for another template than the plan says once helm has gone back to {object}: somebody has \
                 changed it since"
            ),
            PLAN_AGAIN.to_owned(),
        ),
        (None, None) => (
            format!(
                "what {target} would ask for once helm has gone back to {object} could not be told again"
            ),
            format!("astern plan says why; {PLAN_AGAIN}"),
        ),
    };
    Some(refuse(CODE, Some(target), message, hint))
}

/// The version and the images that a reader is shown are the template's own.
fn mislabelled(write: &Write<'_>, revision: &Revision, object: &str) -> Option<Finding> {
    let images: BTreeSet<String> = revision
        .template
        .images()
        .into_iter()
        .map(|image| image.reference)
        .collect();
    let shown: BTreeSet<String> = write.to.images.iter().cloned().collect();
    let version = revision.version();
    if version == write.to.version && images == shown {
        return None;
    }
    let message = format!(
        "the plan calls {object} of {} {}, and its template is {version} ({})",
        write.target,
        write.to.version,
        images.into_iter().collect::<Vec<_>>().join(", ")
    );
    Some(refuse(CODE, Some(write.target), message, super::NOT_OURS))
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, kept, template};
    use astern_model::evidence::Known;
    use astern_model::helm::Status;
    use astern_model::step::Spec;
    use astern_model::step::helm::Spec as HelmSpec;
    use astern_model::template::Template;
    use astern_model::workload::{Foretold, RevisionKind};

    /// The plan goes back to Helm's revision 3 of which the cluster keeps nothing; now the API server says this of its manifest.
    fn foretold(now: Known<Template>) -> Fixture {
        let mut fixture = Fixture::through_release();
        let workload = fixture.workload();
        let mut revision = workload.revisions.pop().unwrap();
        revision.kind = RevisionKind::HelmRecord;
        revision.name = "sh.helm.release.v1.shop.v3".to_owned();
        revision.number = 3;
        let (kind, name, number) = (revision.kind, revision.name.clone(), revision.number);
        workload.foretold = vec![Foretold {
            release: "shop".to_owned(),
            revision: 3,
            status: Status::Superseded,
            in_force: None,
            template: match now {
                Known::Is(template) => {
                    revision.hash = template.hash();
                    revision.template = template;
                    Known::Is(revision)
                }
                Known::Unknown(why) => Known::Unknown(why),
            },
        }];
        let Spec::Helm(HelmSpec::Rollback { workloads, .. }) = &mut fixture.plan.steps[0].spec else {
            panic!("no rollback");
        };
        let to = &mut workloads[0].to;
        (to.kind, to.name, to.number) = (kind, name, number);
        fixture
    }

    #[test]
    fn what_helms_record_stands_for_is_still_what_the_plan_says() {
        let check = |now: Known<Template>, expected: &str| {
            assert_eq!(foretold(now).told(super::check), expected);
        };
        check(Known::Is(template("v1.2.3")), "");
        check(
            Known::Is(template("v1.2.2")),
            "deployment/api-gateway would ask for another template than the plan says once helm has gone back to Helm's revision 3: \
             somebody has changed it since",
        );
        check(
            Known::Unknown("you may not patch it".to_owned()),
            "what deployment/api-gateway would ask for once helm has gone back to Helm's revision 3 could not be told again",
        );
    }

    #[test]
    fn the_revision_to_go_back_to_is_there_and_is_what_the_plan_says() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(
            &|f| f.workload().template = template("v1.2.3"),
            "deployment/api-gateway already has the template that it would go back to (v1.2.3)",
        );
        let gone = "replicaset/api-gateway-v1.2.3, which deployment/api-gateway would go back to, is gone";
        check(&|f| drop(f.workload().revisions.pop()), gone);
        check(&|f| f.workload().revisions[1].uid = "uid-2".into(), gone);
        check(
            &|f| {
                f.workload().revisions.pop();
                f.keep(kept());
            },
            "the cluster no longer keeps the template of deployment/api-gateway at v1.2.3: it lies in the vault only, so \
             its references, its image and the dry run were not checked",
        );
        check(
            &|f| f.workload().revisions[1].template = template("v1.2.2"),
            "replicaset/api-gateway-v1.2.3, which deployment/api-gateway would go back to, holds another template than \
             the plan names",
        );
        check(
            &|f| f.to(0).version = "v1.2.0".to_owned(),
            "the plan calls replicaset/api-gateway-v1.2.3 of deployment/api-gateway v1.2.0, and its template is v1.2.3 \
             (registry.test/api:v1.2.3)",
        );
    }
}
