//! Templates that nothing but Helm's records stands for: which are asked for, when they are gone back to, and what is said where they
//! cannot be told.

use crate::releases::{owned, refused, revision, shop, steps};
use crate::support::{Build, at, crash_loop, deployment, good, plan, platform, request, template, workload};
use astern_model::choice::Because;
use astern_model::evidence::Known;
use astern_model::helm::{Read, Recorded, Revision as HelmRevision};
use astern_model::inventory::Inventory;
use astern_model::reconstruction::Provenance;
use astern_model::release::ReleaseName;
use astern_model::template::Template;
use astern_model::workload::{Foretold, Revision, RevisionKind};
use astern_plan::{Request, Unremembered, forgotten, unremembered};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// v1.2.4 crashes, and the cluster remembers nothing else.
fn forgetful(name: &str) -> Build {
    owned(
        workload(name)
            .revision(4, "v1.2.4", "14:02:00")
            .troubled(4, 3, "14:02:10", crash_loop()),
    )
}

fn made(number: u64, status: &str, version: &str, created: &str) -> HelmRevision {
    HelmRevision {
        created_at: Some(at(created)),
        ..revision(number, status, &[("api", version)])
    }
}

/// Puts into the inventory what the API server says of each template that is asked for.
fn foretell(inventory: &mut Inventory, answer: impl Fn(&Unremembered) -> Known<Template>) {
    for one in unremembered(inventory) {
        let template = match answer(&one) {
            Known::Is(template) => {
                let name = one.release.record(one.revision);
                Known::Is(Revision {
                    number: one.revision,
                    kind: RevisionKind::HelmRecord,
                    uid: one.uid,
                    ..Revision::kept_as(&name, one.target.kind, one.created_at.unwrap(), template)
                })
            }
            Known::Unknown(why) => Known::Unknown(why),
        };
        let workload = inventory.workloads.get_mut(&one.target).unwrap();
        workload.foretold.push(Foretold {
            release: one.release.name,
            revision: one.revision,
            status: one.status,
            in_force: one.in_force,
            template,
        });
    }
}

/// The manifest with what the server adds.
fn with_defaults(one: &Unremembered) -> Known<Template> {
    let images = one.manifest.images();
    let version = images[0].reference.rsplit_once(':').unwrap().1.to_owned();
    Known::Is(Template::clean(template(&one.target.name, &version)))
}

fn named(revision: u64) -> Request {
    Request {
        releases: BTreeMap::from([("shop".to_owned(), revision)]),
        ..request()
    }
}

#[test]
fn only_templates_that_the_cluster_does_not_remember_are_asked_for_each_with_its_time_in_force() {
    let workload = owned(
        workload("api")
            .revision(3, "v1.2.3", "13:00:00")
            .revision(4, "v1.2.4", "14:02:00"),
    );
    let inventory = shop(
        vec![workload],
        vec![
            made(5, "deployed", "v1.2.4", "14:02:00"),
            made(4, "superseded", "v1.2.3", "13:00:00"),
            made(3, "superseded", "v1.2.2", "12:30:00"),
            made(2, "superseded", "v1.2.2", "12:00:00"),
            made(1, "failed", "v1.2.1", "11:00:00"),
        ],
    );
    let told = |one: &Unremembered| {
        let of = one.in_force.map(|of| (of.since, of.until));
        (one.revision, one.newest, of)
    };
    let asked: Vec<_> = unremembered(&inventory).iter().map(told).collect();
    let of = |since: &str, until: &str| Some((at(since), at(until)));
    assert_eq!(
        asked,
        [
            (3, 5, of("12:00:00", "13:00:00")),
            // The same template stayed until then.
            (2, 5, of("12:00:00", "13:00:00")),
            (1, 5, of("11:00:00", "12:00:00")),
        ]
    );
}

#[test]
fn the_newest_revision_that_helm_deployed_long_enough_is_gone_back_to_and_the_plan_says_whence() {
    let mut inventory = shop(
        vec![forgetful("api")],
        vec![
            made(4, "deployed", "v1.2.4", "14:02:00"),
            made(3, "failed", "v1.2.3", "14:01:00"),
            made(2, "superseded", "v1.2.2", "12:00:00"),
            made(1, "superseded", "v1.2.1", "11:00:00"),
        ],
    );
    insta::assert_snapshot!(refused(plan(&request(), &inventory, &platform())), @r"
    AST0101 no known good revision of deployment/api
    deployment/api: the cluster remembers no earlier revision of deployment/api (revisionHistoryLimit: 10)
    ");
    foretell(&mut inventory, with_defaults);
    let found = plan(&request(), &inventory, &platform()).unwrap();
    insta::assert_snapshot!(steps(&found), @r"
    release:helm/shop after []: roll helm/shop back from revision 4 to 2 with helm
    rollout:deployment/api after [release:helm/shop]: wait until deployment/api serves v1.2.2
    ");
    let choice = &found.choices[0];
    let because = &choice.good.as_ref().unwrap().because;
    assert!(because.is_presumed() && matches!(because, Because::Deployed { revision: 2, .. }));
    insta::assert_snapshot!(because.sentence(), @"presumed from Helm's record alone: helm/shop had it for 2h 1m until 2026-11-23 14:01:00 UTC (revision 2, which Helm deployed), and nothing tells how its pods fared");
    let passed: Vec<String> = choice
        .passed_over
        .iter()
        .map(|passed| format!("{}: {}", passed.revision.label(), passed.why))
        .collect();
    insta::assert_snapshot!(passed.join("\n"), @r"
    Helm's revision 3: Helm calls it failed
    Helm's revision 1: known from Helm's record as well, but older than Helm's revision 2
    ");
    let provenance = found.changes[0].provenance.as_ref().unwrap();
    assert!(
        matches!(provenance, Provenance::Helm { revision: 2, .. }),
        "{provenance:?}"
    );
    assert!(
        found
            .warnings
            .join("\n")
            .contains("nothing tells how its pods fared"),
        "{:?}",
        found.warnings
    );
}

#[test]
fn a_revision_that_the_cluster_remembers_comes_before_one_that_only_helm_knows() {
    let workload = owned(
        workload("api")
            .revision(3, "v1.2.2", "2026-11-19T10:00:00Z")
            .revision(4, "v1.2.4", "14:02:00")
            .troubled(4, 3, "14:02:10", crash_loop()),
    );
    let mut inventory = shop(
        vec![workload],
        vec![
            made(4, "deployed", "v1.2.4", "14:02:00"),
            made(2, "superseded", "v1.2.2", "12:00:00"),
            made(1, "superseded", "v1.2.1", "2026-11-18T10:00:00Z"),
        ],
    );
    foretell(&mut inventory, with_defaults);
    let found = plan(&request(), &inventory, &platform()).unwrap();
    assert!(
        steps(&found).contains("from revision 4 to 2"),
        "{}",
        steps(&found)
    );
    let good = found.choices[0].good.as_ref().unwrap();
    assert_eq!(good.revision.kind, RevisionKind::ReplicaSet);
    // The numbers of Helm's revisions are not those of the workload's.
    let by_number = Request {
        to: BTreeMap::from([(deployment("api"), astern_plan::Selector::parse("1").unwrap())]),
        ..request()
    };
    let refused = plan(&by_number, &inventory, &platform()).unwrap_err();
    assert_eq!(refused.code, "AST0106");
}

#[test]
fn a_named_revision_with_the_template_of_another_is_the_one_that_is_pinned() {
    let mut inventory = shop(
        vec![forgetful("api")],
        vec![
            made(4, "deployed", "v1.2.4", "14:02:00"),
            made(3, "superseded", "v1.2.3", "13:00:00"),
            made(2, "failed", "v1.2.3", "12:00:00"),
        ],
    );
    foretell(&mut inventory, with_defaults);
    let found = plan(&named(2), &inventory, &platform()).unwrap();
    assert!(
        steps(&found).contains("from revision 4 to 2"),
        "{}",
        steps(&found)
    );
    let carried = &found.steps[0].spec.helm().unwrap().workloads()[0];
    assert_eq!((carried.to.number, carried.to.uid.as_str()), (2, "uid-shop-2"));
    let because = &found.choices[0].good.as_ref().unwrap().because;
    assert_eq!(because.sentence(), "named by --to helm/shop=2");
}

#[test]
fn a_template_that_cannot_be_foretold_is_refused_with_the_reason() {
    let mut inventory = shop(
        vec![forgetful("api")],
        vec![
            made(4, "deployed", "v1.2.4", "14:02:00"),
            made(3, "superseded", "v1.2.3", "13:00:00"),
        ],
    );
    foretell(&mut inventory, |_| {
        Known::Unknown("the API server answered 403 Forbidden: you cannot patch it".to_owned())
    });
    insta::assert_snapshot!(refused(plan(&named(3), &inventory, &platform())), @r"
    AST0111 revision 3 of helm/shop writes a template for deployment/api that is none of the remembered ones
    a dry run of what helm would write does not tell what deployment/api would ask for then: the API server answered 403 Forbidden: you cannot patch it
    so nothing tells which pods will serve afterwards, and the wait for them could not be checked
    ");
    let by_evidence = plan(&request(), &inventory, &platform()).unwrap_err();
    insta::assert_snapshot!(by_evidence.choices[0].notes.join("\n"), @r"
    the cluster remembers no earlier revision of deployment/api (revisionHistoryLimit: 10)
    what deployment/api would ask for after revision 3 of helm/shop is not known: the API server answered 403 Forbidden: you cannot patch it
    ");
}

#[test]
fn a_release_of_the_ledger_goes_back_through_helm_to_a_template_that_is_foretold_as_the_ledger_kept_it() {
    let workload = forgetful("api")
        .released("r1", "v1.2.3", good(), None)
        .read_back("v1.2.3");
    let mut inventory = shop(
        vec![workload],
        vec![
            made(4, "deployed", "v1.2.4", "14:02:00"),
            made(3, "superseded", "v1.2.3", "13:59:00"),
            made(2, "superseded", "v1.2.3", "13:58:00"),
        ],
    );
    inventory.releases[0].recorded = Some(Recorded {
        by: ReleaseName::parse("r1").unwrap(),
        revision: 2,
        content: None,
    });
    let refusal = plan(&request(), &inventory, &platform()).unwrap_err();
    assert_eq!(refusal.code, "AST0111");
    foretell(&mut inventory, with_defaults);
    let found = plan(&request(), &inventory, &platform()).unwrap();
    assert!(
        steps(&found).contains("from revision 4 to 2"),
        "{}",
        steps(&found)
    );
    let because = &found.choices[0].good.as_ref().unwrap().because;
    assert!(matches!(because, Because::Released { .. }), "{because:?}");
}

/// The template with a probe that is too strict.
fn probed(name: &str, version: &str) -> Value {
    let mut template = template(name, version);
    template["spec"]["containers"][0]["livenessProbe"] =
        json!({"httpGet": {"path": "/health", "port": 8080}});
    template
}

/// Adds the probe to what a revision writes of a workload.
fn probing(mut revision: HelmRevision, name: &str, version: &str) -> HelmRevision {
    let Read::Read(record) = &mut revision.record else {
        unreachable!("the fixture's records are read")
    };
    let mut manifest = probed(name, version);
    let spec = manifest["spec"].as_object_mut().unwrap();
    spec.remove("terminationGracePeriodSeconds");
    record
        .templates
        .insert(deployment(name), Template::clean(manifest));
    revision
}

#[test]
fn a_version_that_only_added_is_not_the_one_before() {
    let live = |name: &str| {
        owned(
            workload(name)
                .revision_of(4, probed(name, "v1.2.3"), "14:02:00")
                .troubled(4, 3, "14:02:10", crash_loop()),
        )
    };
    let mut inventory = shop(
        vec![live("api")],
        vec![
            probing(made(2, "deployed", "v1.2.3", "14:02:00"), "api", "v1.2.3"),
            made(1, "superseded", "v1.2.3", "12:00:00"),
        ],
    );
    foretell(&mut inventory, with_defaults);
    let former = Template::clean(template("api", "v1.2.3")).hash();
    for request in [request(), named(1)] {
        let found = plan(&request, &inventory, &platform()).unwrap();
        let carried = &found.steps[0].spec.helm().unwrap().workloads()[0];
        assert_eq!(carried.to.template, former);
    }
}

#[test]
fn of_three_versions_that_only_added_the_oldest_is_told_from_the_remembered_one() {
    let mut newest = probed("api", "v1.2.3");
    newest["spec"]["containers"][0]["command"] = json!(["serve", "--strict"]);
    let workload = owned(
        workload("api")
            .revision_of(3, probed("api", "v1.2.3"), "13:00:00")
            .revision_of(4, newest.clone(), "14:02:00")
            .troubled(4, 3, "14:02:10", crash_loop()),
    );
    let mut strict = probing(made(3, "deployed", "v1.2.3", "14:02:00"), "api", "v1.2.3");
    if let Read::Read(record) = &mut strict.record {
        record
            .templates
            .insert(deployment("api"), Template::clean(newest));
    }
    let mut inventory = shop(
        vec![workload],
        vec![
            strict,
            probing(made(2, "superseded", "v1.2.3", "13:00:00"), "api", "v1.2.3"),
            made(1, "superseded", "v1.2.3", "12:00:00"),
        ],
    );
    foretell(&mut inventory, with_defaults);
    let to = |revision: u64| {
        let found = plan(&named(revision), &inventory, &platform()).unwrap();
        found.steps[0].spec.helm().unwrap().workloads()[0].to.clone()
    };
    assert_eq!(to(2).kind, RevisionKind::ReplicaSet);
    assert_eq!(to(2).template, Template::clean(probed("api", "v1.2.3")).hash());
    assert_eq!(to(1).template, Template::clean(template("api", "v1.2.3")).hash());
}

#[test]
fn a_workload_from_which_helm_takes_what_was_added_is_carried_along() {
    let worker = owned(workload("worker").revision_of(4, probed("worker", "v1.2.3"), "14:02:00"));
    let api = owned(
        workload("api")
            .revision(3, "v1.2.3", "2026-11-19T10:00:00Z")
            .revision(4, "v1.2.4", "14:02:00")
            .troubled(4, 3, "14:02:10", crash_loop()),
    );
    let both = |number: u64, status: &str, version: &str, created: &str| HelmRevision {
        created_at: Some(at(created)),
        ..revision(number, status, &[("api", version), ("worker", "v1.2.3")])
    };
    let mut inventory = shop(
        vec![api, worker],
        vec![
            probing(both(2, "deployed", "v1.2.4", "14:02:00"), "worker", "v1.2.3"),
            both(1, "superseded", "v1.2.3", "2026-11-19T10:00:00Z"),
        ],
    );
    let unasked = plan(&request(), &inventory, &platform()).unwrap_err();
    assert_eq!(unasked.code, "AST0111");
    foretell(&mut inventory, with_defaults);
    let found = plan(&request(), &inventory, &platform()).unwrap();
    let carried = found.steps[0].spec.helm().unwrap().workloads();
    let targets: Vec<String> = carried.iter().map(|one| one.target.to_string()).collect();
    assert_eq!(targets, ["deployment/api", "deployment/worker"]);
}

#[test]
fn a_platform_whose_cluster_remembers_an_earlier_version_of_what_changed_has_forgotten_nothing() {
    let records = || {
        vec![
            made(3, "deployed", "v1.2.4", "14:02:00"),
            made(2, "superseded", "v1.2.3", "13:00:00"),
            made(1, "superseded", "v1.2.2", "12:00:00"),
        ]
    };
    let remembers = owned(
        workload("api")
            .revision(3, "v1.2.3", "13:00:00")
            .revision(4, "v1.2.4", "14:02:00"),
    );
    let inventory = shop(vec![remembers], records());
    assert_eq!(unremembered(&inventory).len(), 1);
    assert!(!forgotten(&inventory));
    assert!(forgotten(&shop(vec![forgetful("api")], records())));
    let one = || made(1, "deployed", "v1.2.4", "14:02:00");
    assert!(!forgotten(&shop(vec![forgetful("api")], vec![one()])));
}
