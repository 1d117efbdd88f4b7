//! AST0212: each workload is still the object, with the template, strategy and pause, that the plan was made on, or
//! that the run itself has left. Status, generation, annotations and replicas are not looked at: they move by
//! themselves.

use super::{PLAN_AGAIN, refuse};
use crate::context::{Context, Progress};
use crate::course::Course;
use astern_model::choice::clock;
use astern_model::config::ConfigName;
use astern_model::finding::Finding;
use astern_model::id::TemplateHash;
use astern_model::step::Step;
use astern_model::step::config::Spec as ConfigSpec;
use astern_model::step::helm::{CarriedContent, Spec as HelmSpec};
use astern_model::step::owner::Spec as OwnerSpec;
use astern_model::target::Target;
use astern_model::workload::{FieldManager, Promotion, Strategy, Workload};

pub(crate) const CODE: &str = "AST0212";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (target, steps) in &context.by_target {
        if !steps
            .iter()
            .any(|step| context.progress(&step.id) == Progress::Pending)
        {
            continue;
        }
        let Some(course) = Course::of(context, steps) else {
            continue;
        };
        findings.extend(match context.inventory.workloads.get(target) {
            None => vec![moved(target, format!("{target} does not exist any more"))],
            Some(workload) => of_workload(target, &course, workload),
        });
    }
    findings.extend(
        context
            .config_ahead()
            .filter_map(|(_, spec)| of_config(context, spec)),
    );
    let carried = context.releases_ahead().flat_map(HelmSpec::contents);
    findings.extend(carried.filter_map(|one| of_carried(context, one)));
    let pending = context
        .owners()
        .filter(|(step, _)| context.progress(&step.id) == Progress::Pending);
    findings.extend(pending.filter_map(|(_, spec)| of_owner(context, spec)));
    findings
}

/// An owner is set to what the plan was made on.
fn of_owner(context: &Context<'_>, spec: &OwnerSpec) -> Option<Finding> {
    let (OwnerSpec::Pause { owner, pin, .. } | OwnerSpec::Resume { owner, pin, .. }) = spec else {
        return None;
    };
    // What the run itself pauses is still as it was before.
    let pauses = |(step, other): (&Step, &OwnerSpec)| {
        matches!(other, OwnerSpec::Pause { owner: named, .. } if named == owner)
            && context.progress(&step.id) != Progress::Done
    };
    if matches!(spec, OwnerSpec::Resume { .. }) && context.owners().any(pauses) {
        return None;
    }
    let message = match context.inventory.owner(owner) {
        None => format!("{owner} does not exist any more, or could not be read"),
        Some(seen) if seen.uid != pin.uid => {
            format!(
                "{owner} was made anew: its uid went from {} to {}",
                pin.uid, seen.uid
            )
        }
        Some(seen) if seen.setting != pin.setting => format!(
            "the setting of {owner} went from {} to {}",
            owner.kind.describe(&pin.setting),
            owner.kind.describe(&seen.setting)
        ),
        Some(_) => return None,
    };
    let hint = format!("somebody changed it meanwhile: find out who, then {PLAN_AGAIN}");
    Some(refuse(CODE, None, message, hint))
}

/// What a release changes holds what the plan was made on.
fn of_carried(context: &Context<'_>, one: &CarriedContent) -> Option<Finding> {
    let object = &one.object;
    let message = match (&one.pin, context.inventory.config.live(object)) {
        // Where it holds already what it is to hold, nobody looks further.
        (_, None) if one.pin.is_some() => format!("{object} is not what the plan was made on any more"),
        (None, Some(live)) => format!("{object} is there again{}", written_by(live.manager.as_ref())),
        (Some(pin), Some(live)) if pin.uid != live.uid || pin.content != live.content => format!(
            "what {object} holds is not what the plan was made on{}",
            written_by(live.manager.as_ref())
        ),
        (Some(_) | None, _) => return None,
    };
    let hint = format!("look what changed it, then {PLAN_AGAIN}");
    Some(refuse(CODE, None, message, hint))
}

/// A ConfigMap or Secret holds what the plan was made on. An object that is to be made is not there yet.
fn of_config(context: &Context<'_>, spec: &ConfigSpec) -> Option<Finding> {
    let object = spec.object();
    let live = context.inventory.config.live(object);
    let message = match (spec, live) {
        (ConfigSpec::AwaitDrawn { .. }, _) => return None,
        (ConfigSpec::Restore { .. } | ConfigSpec::Remove { .. } | ConfigSpec::Repin { .. }, None) => {
            format!("{object} does not exist any more, or could not be read")
        }
        (
            ConfigSpec::Restore { pin, .. } | ConfigSpec::Remove { pin, .. } | ConfigSpec::Repin { pin, .. },
            Some(live),
        ) if pin.uid != live.uid => {
            format!(
                "{object} was made anew: its uid went from {} to {}",
                pin.uid, live.uid
            )
        }
        (
            ConfigSpec::Restore { pin, .. } | ConfigSpec::Remove { pin, .. } | ConfigSpec::Repin { pin, .. },
            Some(live),
        ) if pin.content != live.content => {
            format!(
                "the content of {object} went from {} to {}{}",
                short_text(pin.content.as_str()),
                short_text(live.content.as_str()),
                written_by(live.manager.as_ref())
            )
        }
        // By the time that this one is made it is gone.
        (ConfigSpec::Create { .. }, Some(_)) if is_removed_first(context, object) => return None,
        (ConfigSpec::Create { .. }, Some(live)) => format!(
            "{object}, which the plan would make, is there{}",
            written_by(live.manager.as_ref())
        ),
        (ConfigSpec::Repin { source, from, .. }, Some(live)) => match &live.drawn {
            Some(drawn) if &drawn.source == source && drawn.versions().as_ref() == Some(from) => return None,
            Some(drawn) if drawn.source.uid == source.uid => {
                format!("{source} does not name the versions any more that the plan was made on")
            }
            Some(_) | None => {
                format!("{source} was made anew, does not exist any more, or could not be read")
            }
        },
        (ConfigSpec::Restore { .. } | ConfigSpec::Remove { .. }, Some(_))
        | (ConfigSpec::Create { .. }, None) => return None,
    };
    Some(refuse(
        CODE,
        None,
        message,
        format!("somebody changed it meanwhile: find out who, then {PLAN_AGAIN}"),
    ))
}

/// Whether a step that deletes the object is not done.
fn is_removed_first(context: &Context<'_>, object: &ConfigName) -> bool {
    let removes =
        |spec: &ConfigSpec| matches!(spec, ConfigSpec::Remove { object: removed, .. } if removed == object);
    context
        .config()
        .any(|(step, spec)| removes(spec) && context.progress(&step.id) != Progress::Done)
}

fn written_by(manager: Option<&FieldManager>) -> String {
    manager.map_or_else(String::new, |manager| match manager.at {
        Some(at) => format!(", last written by {} at {}", manager.name, clock(at)),
        None => format!(", last written by {}", manager.name),
    })
}

fn of_workload(target: &Target, course: &Course<'_>, workload: &Workload) -> Vec<Finding> {
    if course.uid != &workload.uid {
        let message = format!(
            "{target} was made anew: its uid went from {} to {}",
            course.uid, workload.uid
        );
        return vec![moved(target, message)];
    }
    let mut findings = Vec::new();
    let live = workload.template.hash();
    if !course.templates.contains(&live) {
        findings.push(moved(target, template_moved(target, course, workload, &live)));
    }
    if let Some(strategy) = course.strategy.filter(|strategy| strategy != &&workload.strategy) {
        let (from, to) = (phrase(strategy), phrase(&workload.strategy));
        findings.push(moved(
            target,
            format!("the strategy of {target} went from {from} to {to}"),
        ));
    }
    if !course.paused.is_empty() && !course.paused.contains(&workload.paused) {
        let (from, to) = (!workload.paused, workload.paused);
        findings.push(moved(
            target,
            format!("`paused` of {target} went from {from} to {to}"),
        ));
    }
    findings
}

fn moved(target: &Target, message: String) -> Finding {
    refuse(
        CODE,
        Some(target),
        message,
        format!("somebody changed it meanwhile: find out who, then {PLAN_AGAIN}"),
    )
}

fn template_moved(target: &Target, course: &Course<'_>, workload: &Workload, live: &TemplateHash) -> String {
    let from: Vec<String> = course
        .templates
        .iter()
        .map(|hash| labelled(hash, workload))
        .collect();
    let by = written_by(workload.template_manager.as_ref());
    format!(
        "the template of {target} went from {} to {}{by}",
        from.join(" or "),
        format_args!("{} ({})", short(live), workload.version())
    )
}

/// A template by its hash and, where the cluster remembers it, its version.
fn labelled(hash: &TemplateHash, workload: &Workload) -> String {
    match workload.revisions.iter().find(|revision| &revision.hash == hash) {
        Some(revision) => format!("{} ({})", short(hash), revision.version()),
        None => short(hash),
    }
}

/// Twelve digits tell two templates apart for a reader.
fn short(hash: &TemplateHash) -> String {
    short_text(hash.as_str())
}

/// The algorithm and the first digits of a hash.
fn short_text(hash: &str) -> String {
    let (algorithm, digits) = hash.split_once(':').unwrap_or(("", hash));
    format!("{algorithm}:{}", digits.chars().take(12).collect::<String>())
}

fn phrase(strategy: &Strategy) -> String {
    let Strategy::RollingUpdate {
        max_surge,
        max_unavailable,
        partition,
        ordered,
    } = strategy
    else {
        return match strategy {
            Strategy::Recreate => "Recreate".to_owned(),
            Strategy::Canary { steps, .. } => format!("canary ({} steps)", steps.len()),
            Strategy::BlueGreen { promotion, .. } => match promotion {
                Promotion::Person => "blueGreen (promoted by a person)".to_owned(),
                Promotion::Controller | Promotion::ControllerAfter { .. } => "blueGreen".to_owned(),
            },
            Strategy::OnDelete | Strategy::RollingUpdate { .. } => "OnDelete".to_owned(),
        };
    };
    let mut parts = Vec::new();
    parts.extend(max_surge.as_ref().map(|surge| format!("maxSurge {surge}")));
    parts.extend(
        max_unavailable
            .as_ref()
            .map(|unavailable| format!("maxUnavailable {unavailable}")),
    );
    if *partition > 0 {
        parts.push(format!("partition {partition}"));
    }
    if *ordered {
        parts.push("one by one".to_owned());
    }
    if parts.is_empty() {
        "RollingUpdate".to_owned()
    } else {
        format!("RollingUpdate ({})", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, template};
    use astern_model::step::Spec;
    use astern_model::step::config::Pin as ConfigPin;
    use std::collections::BTreeMap;

    fn check(change: &dyn Fn(&mut Fixture), expected: &str) {
        assert_eq!(Fixture::messages(super::check, change), expected);
    }

    #[test]
    fn what_a_release_carries_is_pinned_as_what_the_plan_writes_itself() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            let mut fixture = Fixture::through_release();
            change(&mut fixture);
            let told = fixture.told(super::check);
            assert!(
                told.starts_with(expected) && told.is_empty() == expected.is_empty(),
                "{told}"
            );
        };
        check(&|_| (), "");
        check(
            &|f| f.workload().template = template("v1.2.5"),
            "the template of deployment/api-gateway went from ",
        );
        check(
            &|f| f.workload().uid = "uid-2".into(),
            "deployment/api-gateway was made anew: its uid went from uid-api-gateway to uid-2",
        );
        let config = |f: &mut Fixture, held: &str| {
            let Fixture { plan, inventory, .. } = Fixture::with_config();
            let to = plan
                .steps
                .iter()
                .find_map(|step| step.spec.config())
                .unwrap()
                .to()
                .clone();
            let live = inventory.config.live[0].clone();
            let pin = ConfigPin {
                uid: live.uid.clone(),
                content: held.into(),
            };
            let Spec::Helm(HelmSpec::Rollback { contents, .. }) = &mut f.plan.steps[0].spec else {
                panic!("no rollback")
            };
            contents.push(CarriedContent {
                object: live.name.clone(),
                pin: Some(pin),
                to,
            });
            f.inventory.config.live = vec![live];
        };
        let now = Fixture::with_config().inventory.config.live[0].content.clone();
        check(&|f| config(f, now.as_str()), "");
        check(
            &|f| config(f, "another"),
            "what configmap/app-config holds is not what the plan was made on",
        );
    }

    #[test]
    fn content_that_somebody_changed_is_named_with_what_it_was_and_is() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            let mut fixture = Fixture::with_config();
            change(&mut fixture);
            assert_eq!(fixture.told(super::check), expected);
        };
        check(&|_| (), "");
        check(
            &|f| {
                f.live_config().content = "hmac-sha256:dddddddddddddddd".into();
                f.live_config().manager = Some(FieldManager {
                    name: "kubectl-edit".to_owned(),
                    operation: "Update".to_owned(),
                    at: Some("2026-11-23T14:13:00Z".parse().unwrap()),
                });
            },
            "the content of configmap/app-config went from hmac-sha256:aaaaaaaaaaaa to hmac-sha256:dddddddddddd, last written \
             by kubectl-edit at 2026-11-23 14:13:00 UTC",
        );
        check(
            &|f| f.live_config().uid = "uid-2".into(),
            "configmap/app-config was made anew: its uid went from uid-app-config to uid-2",
        );
        check(
            &|f| f.inventory.config.live.clear(),
            "configmap/app-config does not exist any more, or could not be read",
        );
        let make = |f: &mut Fixture| {
            let spec = f.config().clone();
            *f.config() = ConfigSpec::Create {
                object: spec.object().clone(),
                namespace: spec.namespace().to_owned(),
                to: spec.to().clone(),
            };
        };
        check(&make, "configmap/app-config, which the plan would make, is there");
        check(
            &|f| {
                make(f);
                f.inventory.config.live.clear();
            },
            "",
        );
    }

    #[test]
    fn a_workload_that_somebody_changed_is_named_with_what_it_was_and_is() {
        let [from, to] = ["v1.2.4", "v1.2.5"].map(|version| short(&template(version).hash()));
        let went = format!(
            "the template of deployment/api-gateway went from {from} (v1.2.4) to {to} (v1.2.5), last written by \
             kubectl-client-side-apply at 2026-11-23 14:13:00 UTC"
        );
        check(&|_| (), "");
        check(
            &|f| f.workload().uid = "uid-2".into(),
            "deployment/api-gateway was made anew: its uid went from uid-api-gateway to uid-2",
        );
        check(
            &|f| {
                f.workload().template = template("v1.2.5");
                f.workload().template_manager = Some(FieldManager {
                    name: "kubectl-client-side-apply".to_owned(),
                    operation: "Update".to_owned(),
                    at: Some("2026-11-23T14:13:00Z".parse().unwrap()),
                });
            },
            &went,
        );
        check(
            &|f| f.workload().strategy = Strategy::Recreate,
            "the strategy of deployment/api-gateway went from RollingUpdate (maxSurge 1, maxUnavailable 0) to Recreate",
        );
        check(
            &|f| f.workload().paused = true,
            "`paused` of deployment/api-gateway went from false to true",
        );
        check(
            &|f| f.inventory.workloads.clear(),
            "deployment/api-gateway does not exist any more",
        );
    }

    #[test]
    fn a_resumed_run_finds_its_own_effects_and_no_others() {
        let resumed = |steps: &'static [Progress], version: &'static str, fires: bool| {
            let mut fixture = Fixture::sound();
            fixture.workload().template = template(version);
            let ids = fixture.plan.steps.iter().map(|step| step.id.clone());
            fixture.progress = Some(ids.zip(steps.iter().copied()).collect::<BTreeMap<_, _>>());
            assert_eq!(
                !fixture.told(super::check).is_empty(),
                fires,
                "{steps:?} {version}"
            );
        };
        use Progress::{Done, Dropped, Intended, Pending};
        resumed(&[Pending, Pending], "v1.2.4", false);
        resumed(&[Pending, Pending], "v1.2.3", true);
        resumed(&[Intended, Pending], "v1.2.4", false);
        resumed(&[Intended, Pending], "v1.2.3", false);
        resumed(&[Intended, Pending], "v1.2.5", true);
        resumed(&[Done, Pending], "v1.2.3", false);
        resumed(&[Done, Pending], "v1.2.4", true);
        resumed(&[Done, Intended], "v1.2.4", false);
        resumed(&[Dropped, Dropped], "v1.2.5", false);
        resumed(&[Dropped, Pending], "v1.2.4", false);
        resumed(&[Dropped, Pending], "v1.2.3", true);
        resumed(&[], "v1.2.5", true);
    }
}
