//! Templates that nothing but a manifest of then tells: when they are gone back to, and what is said of them.

use crate::releases::{refused, steps};
use crate::support::{
    Build, at, crash_loop, deployment, inventory, plan, platform, request, template, workload,
};
use astern_model::content::ContentRef;
use astern_model::evidence::Known;
use astern_model::plan::Plan;
use astern_model::reconstruction::{Period, Provenance};
use astern_model::step::workload::Spec;
use astern_model::target::WorkloadKind;
use astern_model::template::Template;
use astern_model::workload::{Kept, Owner, OwnerKind, OwnerState, Recalled, Revision};
use astern_plan::{Request, Selector, unrecalled};
use std::collections::BTreeMap;

/// v1.2.4 crashes, and the cluster remembers nothing else.
fn forgetful() -> Build {
    workload("api")
        .revision(4, "v1.2.4", "14:02:00")
        .troubled(4, 3, "14:02:10", crash_loop())
}

/// What the owner had deployed then, until that time; none where nobody knows.
fn recalled(version: &str, since: &str, until: Option<&str>) -> Recalled {
    let template = Template::clean(template("api", version));
    let content = ContentRef {
        name: format!("saved-{version}"),
        keyed_hash: version.to_owned(),
        size: 1,
    };
    let revision = Revision::kept_as(&content.name, WorkloadKind::Deployment, at(since), template);
    Recalled {
        provenance: Provenance::Git {
            commit: "3f2a".repeat(10),
            file: "deploy/api.yaml".to_owned(),
            owner: "Argo CD application argocd/shop".to_owned(),
            at: at(since),
        },
        in_force: until.map(|until| Period {
            since: at(since),
            until: at(until),
        }),
        template: Known::Is(Kept { content, revision }),
    }
}

fn of(build: Build, recalled: Vec<Recalled>) -> Build {
    build.with(|workload| workload.recalled = recalled)
}

fn passed_over(plan: &Plan) -> String {
    let passed = plan.choices[0].passed_over.iter();
    let told = passed.map(|passed| {
        format!(
            "{} {}: {}",
            passed.revision.version,
            passed.revision.label(),
            passed.why
        )
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_was_deployed_last_and_long_enough_is_gone_back_to_out_of_the_vault_and_the_plan_says_whence() {
    let known = vec![
        recalled("v1.2.3", "14:01:00", Some("14:02:00")),
        recalled("v1.2.2", "12:00:00", Some("14:01:00")),
        recalled("v1.2.1", "11:00:00", Some("12:00:00")),
        recalled("v1.2.0", "10:00:00", None),
    ];
    let inventory = inventory(vec![of(forgetful(), known)]);
    let found = plan(&request(), &inventory, &platform()).unwrap();
    insta::assert_snapshot!(steps(&found), @r"
    template:deployment/api after []: put deployment/api back to v1.2.2 (kept in the vault)
    rollout:deployment/api after [template:deployment/api]: wait until deployment/api serves v1.2.2
    ");
    let because = &found.choices[0].good.as_ref().unwrap().because;
    assert!(because.is_presumed());
    insta::assert_snapshot!(because.sentence(), @"presumed from its manifest alone: Git commit 3f2a3f2a3f2a (deploy/api.yaml), which Argo CD application argocd/shop deployed 2026-11-23 12:00:00 UTC, said it for 2h 1m until 2026-11-23 14:01:00 UTC, and nothing tells how its pods fared");
    insta::assert_snapshot!(passed_over(&found), @r"
    v1.2.3 kept in the vault: it was the newest for 1m only, less than the 30m after which it is presumed good
    v1.2.1 kept in the vault: known from its manifest as well, but older than v1.2.2 (kept in the vault)
    v1.2.0 kept in the vault: it is unknown how long it served: what came after Git commit 3f2a3f2a3f2a (deploy/api.yaml), which Argo CD application argocd/shop deployed 2026-11-23 10:00:00 UTC, is not known
    ");
    let provenance = found.changes[0].provenance.as_ref().unwrap();
    assert!(matches!(provenance, Provenance::Git { .. }), "{provenance:?}");
    let Some(Spec::WriteTemplate { kept: Some(kept), .. }) = found.steps[0].spec.workload() else {
        panic!("{:?}", found.steps[0]);
    };
    assert_eq!(kept.name, "saved-v1.2.2");
}

#[test]
fn what_the_cluster_remembers_comes_first_and_a_named_version_is_found_all_the_same() {
    let remembering = workload("api")
        .revision(3, "v1.2.3", "12:00:00")
        .revision(4, "v1.2.4", "14:02:00")
        .troubled(4, 3, "14:02:10", crash_loop());
    let older = vec![recalled("v1.2.2", "11:00:00", Some("12:00:00"))];
    let inventory = inventory(vec![of(remembering, older)]);
    let found = plan(&request(), &inventory, &platform()).unwrap();
    insta::assert_snapshot!(passed_over(&found), @"v1.2.2 kept in the vault: known from its manifest at most, while the cluster remembers revision 3");
    let named = Request {
        to: BTreeMap::from([(deployment("api"), Selector::Image("v1.2.2".to_owned()))]),
        ..request()
    };
    let found = plan(&named, &inventory, &platform()).unwrap();
    assert_eq!(
        found.steps[0].spec.phrase(),
        "put deployment/api back to v1.2.2 (kept in the vault)"
    );
}

#[test]
fn of_two_versions_with_one_image_the_one_that_was_deployed_last_is_named() {
    let older = |template: &str| {
        let mut one = recalled("v1.2.2", "10:00:00", Some("11:00:00"));
        let Known::Is(kept) = &mut one.template else {
            unreachable!("it is known");
        };
        let mut json = kept.revision.template.json().clone();
        json["spec"]["containers"][0]["env"] = serde_json::json!([{"name": "MODE", "value": template}]);
        kept.revision.template = Template::clean(json);
        kept.revision.hash = kept.revision.template.hash();
        kept.revision.name = format!("saved-{template}");
        one
    };
    let known = vec![
        recalled("v1.2.2", "11:00:00", Some("14:02:00")),
        older("a"),
        older("b"),
    ];
    let inventory = inventory(vec![of(forgetful(), known)]);
    let named = Request {
        to: BTreeMap::from([(deployment("api"), Selector::Image("v1.2.2".to_owned()))]),
        ..request()
    };
    let found = plan(&named, &inventory, &platform()).unwrap();
    assert_eq!(
        found.choices[0].good.as_ref().unwrap().revision.name,
        "saved-v1.2.2"
    );
    assert_eq!(found.choices[0].passed_over.len(), 2);
}

#[test]
fn why_nothing_is_recalled_is_part_of_the_refusal() {
    let untold = Recalled {
        template: Known::Unknown("Argo CD application argocd/shop had deployed a chart".to_owned()),
        ..recalled("v1.2.3", "12:00:00", None)
    };
    let inventory = inventory(vec![of(forgetful(), vec![untold])]);
    insta::assert_snapshot!(refused(plan(&request(), &inventory, &platform())), @r"
    AST0101 no known good revision of deployment/api
    deployment/api: the cluster remembers no earlier revision of deployment/api (revisionHistoryLimit: 10)
    deployment/api: what deployment/api asked for before is not known: Argo CD application argocd/shop had deployed a chart
    ");
}

#[test]
fn only_who_is_deployed_from_git_and_has_nothing_good_is_asked_for_and_once() {
    let owned = |build: Build| {
        build.with(|workload| {
            workload.owners = vec![Owner {
                kind: OwnerKind::ArgoCd,
                name: "shop".to_owned(),
                known_by: "its tracking id".to_owned(),
                state: OwnerState::Passive {
                    because: "it syncs by hand".to_owned(),
                },
                object: None,
            }];
        })
    };
    let asked = |build: Build, lacking: bool| {
        let inventory = inventory(vec![build]);
        unrecalled(&inventory, &platform().policy, lacking).len()
    };
    assert_eq!(asked(forgetful(), true), 0);
    assert_eq!(asked(owned(forgetful()), true), 1);
    let known = vec![recalled("v1.2.3", "12:00:00", None)];
    assert_eq!(asked(of(owned(forgetful()), known), true), 0);
    let good = || {
        owned(
            workload("api")
                .revision(3, "v1.2.3", "12:00:00")
                .revision(4, "v1.2.4", "14:02:00"),
        )
    };
    assert_eq!((asked(good(), true), asked(good(), false)), (0, 1));
}
