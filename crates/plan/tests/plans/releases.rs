//! Helm releases: which revision they go back to, what moves with them, and when they are refused.

use crate::support::{
    Build, at, crashing, depending, inventory, plan, platform, released, replaced, request, template,
};
use astern_model::decision::Refusal;
use astern_model::helm::{Hook, Read, Record, Recorded, Release, ReleaseName, Revision, Standing, Status};
use astern_model::id::Uid;
use astern_model::inventory::Inventory;
use astern_model::owner::{OwnerName, OwnerSeen, PausableKind};
use astern_model::plan::Plan;
use astern_model::template::Template;
use astern_model::workload::{Owner, OwnerKind, OwnerState};
use astern_plan::Request;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A workload that says that it belongs to release `shop`.
pub(crate) fn owned(build: Build) -> Build {
    build.with(|workload| {
        workload.owners.push(Owner {
            kind: OwnerKind::Helm,
            name: "shop".to_owned(),
            known_by: "annotation meta.helm.sh/release-name".to_owned(),
            state: OwnerState::Passive {
                because: "it writes at the next upgrade".to_owned(),
            },
            object: None,
        });
    })
}

/// A revision of the chart with these versions of its workloads, as its manifest writes them.
pub(crate) fn revision(number: u64, status: &str, versions: &[(&str, &str)]) -> Revision {
    let templates = versions.iter().map(|(name, version)| {
        let mut manifest = template(name, version);
        // What the server adds by itself does not stand in a manifest.
        manifest["spec"]
            .as_object_mut()
            .unwrap()
            .remove("terminationGracePeriodSeconds");
        (crate::support::deployment(name), Template::clean(manifest))
    });
    let templates: BTreeMap<_, _> = templates.collect();
    let objects = templates
        .iter()
        .map(|(target, template)| (target.to_string(), json!({"spec": {"template": template}})))
        .chain([(
            "configmap/settings".to_owned(),
            json!({"data": {"revision": number}}),
        )]);
    Revision {
        number,
        status: Status::from(status.to_owned()),
        uid: Uid(format!("uid-shop-{number}")),
        created_at: None,
        changed_at: at("14:02:00"),
        record: Read::Read(Box::new(Record {
            chart: format!("shop-1.0.{number}"),
            app_version: None,
            server_side: false,
            description: format!("Upgrade \"shop\" {status}"),
            content: format!("sha256:{number:064}"),
            objects: objects.collect(),
            templates,
            values: json!({"number": number, "password": format!("(hidden {number})")}),
            hooks: vec![Hook {
                object: "job/migrate".to_owned(),
                events: vec!["pre-upgrade".to_owned()],
                weight: 0,
                migrates: true,
            }],
            kept: Vec::new(),
            crds: vec!["crds/carts.yaml".to_owned()],
        })),
    }
}

/// The release with these revisions, newest first.
pub(crate) fn shop(workloads: Vec<Build>, revisions: Vec<Revision>) -> Inventory {
    let name = ReleaseName {
        namespace: crate::support::NAMESPACE.to_owned(),
        name: "shop".to_owned(),
    };
    Inventory {
        releases: vec![Release {
            name,
            revisions,
            at_work: Vec::new(),
            standing: Standing::default(),
            recorded: None,
        }],
        ..inventory(workloads)
    }
}

pub(crate) fn steps(plan: &Plan) -> String {
    let line = |step: &astern_model::step::Step| {
        let after: Vec<&str> = step.after.iter().map(|id| id.as_str()).collect();
        format!("{} after [{}]: {}", step.id, after.join(", "), step.spec.phrase())
    };
    plan.steps.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) fn refused(result: Result<Plan, Refusal>) -> String {
    let refusal = result.unwrap_err();
    format!(
        "{} {}\n{}",
        refusal.code,
        refusal.summary,
        refusal.details.join("\n")
    )
}

const BOTH_GOOD: [(&str, &str); 2] = [("api", "v1.2.3"), ("worker", "v1.2.3")];
pub(crate) const BOTH_BAD: [(&str, &str); 2] = [("api", "v1.2.4"), ("worker", "v1.2.4")];

#[test]
fn a_release_goes_back_whole_to_the_newest_revision_that_has_what_was_chosen() {
    let inventory = shop(
        vec![owned(crashing("api")), owned(replaced("worker"))],
        vec![
            revision(4, "deployed", &BOTH_BAD),
            revision(3, "failed", &BOTH_GOOD),
            revision(2, "superseded", &BOTH_GOOD),
            revision(1, "superseded", &BOTH_GOOD),
        ],
    );
    let plan = plan(&request(), &inventory, &platform()).unwrap();
    insta::assert_snapshot!(steps(&plan), @r"
    release:helm/shop after []: roll helm/shop back from revision 4 to 2 with helm
    rollout:deployment/api after [release:helm/shop]: wait until deployment/api serves v1.2.3
    rollout:deployment/worker after [release:helm/shop]: wait until deployment/worker serves v1.2.3
    ");
    let changes = &plan.releases[0];
    assert_eq!(
        changes.passed_over,
        [(3, "it failed: Upgrade \"shop\" failed".to_owned())]
    );
    let objects: Vec<&str> = changes
        .objects
        .iter()
        .map(|(object, _)| object.as_str())
        .collect();
    assert_eq!(
        objects,
        [
            "configmap/settings",
            "deployment/api (template)",
            "deployment/worker (template)"
        ]
    );
    let text = serde_json::to_string(changes).unwrap();
    assert!(!text.contains("hidden"), "{text}");
    insta::assert_snapshot!(changes.not_restored.join("\n"), @r"
    resource definitions stay as they are: Helm installs crds/carts.yaml once and never changes them
    what hook job/migrate (pre-upgrade) did stays done: a database that it migrated stays migrated, and the earlier version meets it so
    ");
}

#[test]
fn a_release_s_claims_and_what_it_keeps_by_its_own_word_are_told_as_not_restored() {
    let mut inventory = shop(
        vec![owned(crashing("api")), owned(replaced("worker"))],
        vec![
            revision(2, "deployed", &BOTH_BAD),
            revision(1, "superseded", &BOTH_GOOD),
        ],
    );
    let Read::Read(newest) = &mut inventory.releases[0].revisions[0].record else {
        panic!("it is read")
    };
    for object in ["persistentvolumeclaim/ledger", "configmap/legacy"] {
        newest
            .objects
            .insert(object.to_owned(), json!({"kind": "of no matter"}));
    }
    newest.kept.push("configmap/legacy".to_owned());
    let plan = plan(&request(), &inventory, &platform()).unwrap();
    let told = plan.releases[0].not_restored.join("\n");
    for words in [
        "what persistentvolumeclaim/ledger holds stays as it is",
        "configmap/legacy stays, by its own word (helm.sh/resource-policy: keep)",
    ] {
        assert!(told.contains(words), "no {words:?}: {told}");
    }
}

/// The same under a HelmRelease of Flux, which reconciles.
pub(crate) fn under_flux(build: Build) -> Build {
    owned(build).with(|workload| {
        workload.owners.push(Owner {
            kind: OwnerKind::Flux,
            name: "shop".to_owned(),
            known_by: "label helm.toolkit.fluxcd.io/name".to_owned(),
            state: reconciles(),
            object: Some(helm_release()),
        });
    })
}

fn helm_release() -> OwnerName {
    OwnerName {
        kind: PausableKind::HelmRelease,
        namespace: "flux".to_owned(),
        name: "shop".to_owned(),
    }
}

fn reconciles() -> OwnerState {
    OwnerState::WritesBack {
        because: "spec.suspend is not true, and it reconciles every 10m".to_owned(),
    }
}

#[test]
fn flux_is_paused_before_the_helm_release_that_it_installed_is_repaired_or_goes_back() {
    let check = |newest: &str, abandoned: &[&str], expected: &str| {
        let mut inventory = shop(
            vec![under_flux(crashing("api")), under_flux(replaced("worker"))],
            vec![
                revision(2, newest, &BOTH_BAD),
                revision(1, "superseded", &BOTH_GOOD),
            ],
        );
        inventory.owners = vec![OwnerSeen {
            name: helm_release(),
            uid: Uid("uid-flux-shop".to_owned()),
            state: reconciles(),
            setting: Value::Null,
            parents: Vec::new(),
            paused: None,
            in_sync: None,
            scales: None,
        }];
        let request = Request {
            abandoned: abandoned.iter().map(|name| (*name).to_owned()).collect(),
            ..request()
        };
        let plan = plan(&request, &inventory, &platform()).unwrap();
        let told: Vec<String> = plan
            .steps
            .iter()
            .map(|step| {
                let after: Vec<&str> = step.after.iter().map(|id| id.as_str()).collect();
                format!("{} after [{}]", step.id, after.join(", "))
            })
            .collect();
        assert_eq!(told.join("\n"), expected);
    };
    let paused = "pause:helmreleases/flux/shop after []\npaused:helmreleases/flux/shop after [pause:helmreleases/flux/shop]\n";
    let waits = "rollout:deployment/api after [release:helm/shop]\nrollout:deployment/worker after [release:helm/shop]";
    check(
        "deployed",
        &[],
        &format!("{paused}release:helm/shop after [paused:helmreleases/flux/shop]\n{waits}"),
    );
    check(
        "pending-upgrade",
        &["shop"],
        &format!(
            "{paused}repair:helm/shop after [paused:helmreleases/flux/shop]\nrelease:helm/shop after [repair:helm/shop]\n{waits}"
        ),
    );
}

#[test]
fn what_one_workload_of_a_release_waits_for_the_release_waits_for() {
    let inventory = shop(
        vec![
            owned(crashing("api")),
            owned(replaced("worker")),
            replaced("ledger"),
        ],
        vec![
            revision(2, "deployed", &BOTH_BAD),
            revision(1, "superseded", &BOTH_GOOD),
        ],
    );
    let platform = depending(&[("api", &["worker"]), ("worker", &["ledger"]), ("ledger", &[])]);
    let plan = plan(&request(), &inventory, &platform).unwrap();
    insta::assert_snapshot!(steps(&plan), @r"
    template:deployment/ledger after []: put deployment/ledger back to v1.2.3 (revision 1)
    rollout:deployment/ledger after [template:deployment/ledger]: wait until deployment/ledger serves v1.2.3
    release:helm/shop after [rollout:deployment/ledger]: roll helm/shop back from revision 2 to 1 with helm
    rollout:deployment/api after [release:helm/shop]: wait until deployment/api serves v1.2.3
    rollout:deployment/worker after [release:helm/shop]: wait until deployment/worker serves v1.2.3
    ");
}

#[test]
fn a_release_without_what_was_chosen_is_refused_and_names_every_revision() {
    let inventory = shop(
        vec![owned(crashing("api"))],
        vec![
            revision(3, "deployed", &[("api", "v1.2.4")]),
            revision(2, "pending-upgrade", &[("api", "v1.2.3")]),
            revision(1, "superseded", &[("api", "v1.2.2")]),
        ],
    );
    insta::assert_snapshot!(refused(plan(&request(), &inventory, &platform())), @r"
    AST0111 no earlier revision of helm/shop has what was chosen for its workloads
    deployment/api was to go back to v1.2.3
    revision 2: it was left pending-upgrade
    revision 1: its deployment/api is not v1.2.3, which was chosen
    ");
    let beside = Request {
        outside_helm: true,
        ..request()
    };
    let plan = plan(&beside, &inventory, &platform()).unwrap();
    assert!(
        steps(&plan).starts_with("template:deployment/api"),
        "{}",
        steps(&plan)
    );
}

#[test]
fn a_named_revision_moves_the_workloads_that_it_changes_and_no_others() {
    let inventory = shop(
        vec![owned(replaced("api")), owned(replaced("worker"))],
        vec![
            revision(3, "deployed", &BOTH_BAD),
            revision(2, "superseded", &[("api", "v1.2.4"), ("worker", "v1.2.3")]),
        ],
    );
    let named = |number| Request {
        releases: BTreeMap::from([("shop".to_owned(), number)]),
        ..request()
    };
    let found = plan(&named(2), &inventory, &platform()).unwrap();
    insta::assert_snapshot!(steps(&found), @r"
    release:helm/shop after []: roll helm/shop back from revision 3 to 2 with helm
    rollout:deployment/worker after [release:helm/shop]: wait until deployment/worker serves v1.2.3
    ");
    insta::assert_snapshot!(refused(plan(&named(9), &inventory, &platform())), @r"
    AST0111 helm/shop has no revision 9
    revision 3: deployed
    revision 2: superseded
    ");
}

#[test]
fn a_pending_release_is_refused_until_it_is_abandoned_and_then_repaired_first() {
    let mut newest = revision(2, "pending-upgrade", &[("api", "v1.2.4")]);
    newest.changed_at = at("14:11:00");
    let old = revision(1, "deployed", &[("api", "v1.2.3")]);
    let young = shop(vec![owned(crashing("api"))], vec![newest.clone(), old.clone()]);
    insta::assert_snapshot!(refused(plan(&request(), &young, &platform())), @r"
    AST0112 revision 2 of helm/shop is pending-upgrade: a helm client may be at work on it
    its record was written 1m 5s ago (2026-11-23 14:11:00 UTC); one that nobody has written for 10m counts as left by a client that died
    ");
    let repaired = "repair:helm/shop after []: mark revision 2 of helm/shop, left pending-upgrade by a client that died, as failed\n\
                    release:helm/shop after [repair:helm/shop]: roll helm/shop back from revision 2 to 1 with helm\n\
                    rollout:deployment/api after [release:helm/shop]: wait until deployment/api serves v1.2.3";
    let by_word = Request {
        abandoned: BTreeSet::from(["shop".to_owned()]),
        ..request()
    };
    assert_eq!(steps(&plan(&by_word, &young, &platform()).unwrap()), repaired);
    newest.changed_at = at("14:02:05");
    let mut stale = shop(vec![owned(crashing("api"))], vec![newest, old]);
    assert_eq!(steps(&plan(&request(), &stale, &platform()).unwrap()), repaired);
    // However long the record has been still: its client waits for its hook.
    stale.releases[0].at_work = vec!["its hook job/migrate has not ended".to_owned()];
    insta::assert_snapshot!(refused(plan(&request(), &stale, &platform())), @r"
    AST0112 revision 2 of helm/shop is pending-upgrade: a helm client may be at work on it
    its record was written 10m ago (2026-11-23 14:02:05 UTC); one that nobody has written for 10m counts as left by a client that died
    its hook job/migrate has not ended
    ");
}

#[test]
fn a_pending_record_can_be_mended_alone_and_no_workload_is_touched() {
    let mend = |inventory: &Inventory, name: &str, abandoned: bool| {
        let dead = abandoned.then(|| name.to_owned()).into_iter().collect();
        astern_plan::repair_release(name, &dead, inventory, &platform(), at("14:12:05"))
    };
    let told = |plan: &Plan| {
        format!(
            "{}\n{}\n{}",
            steps(plan),
            plan.unchanged.join("\n"),
            plan.warnings.join("\n")
        )
    };
    let mut first = revision(1, "pending-install", &[("api", "v1.2.3")]);
    first.changed_at = at("14:02:05");
    let installing = shop(vec![owned(crashing("api"))], vec![first.clone()]);
    insta::assert_snapshot!(told(&mend(&installing, "shop", false).unwrap()), @r"
    repair:helm/shop after []: mark revision 1 of helm/shop, left pending-install by a client that died, as failed
    no workload is touched: whatever the operation had written until its client died stays as it is
    helm/shop has no revision that was ever deployed: install again with helm upgrade --install, or take it away with helm uninstall shop -n vcci-scope3
    ");
    let mut newest = revision(2, "pending-rollback", &[("api", "v1.2.4")]);
    newest.changed_at = at("14:11:00");
    first.status = Status::from("deployed".to_owned());
    let going_back = shop(vec![owned(crashing("api"))], vec![newest, first.clone()]);
    insta::assert_snapshot!(refused(mend(&going_back, "shop", false)), @r"
    AST0112 revision 2 of helm/shop is pending-rollback: a helm client may be at work on it
    its record was written 1m 5s ago (2026-11-23 14:11:00 UTC); one that nobody has written for 10m counts as left by a client that died
    ");
    insta::assert_snapshot!(told(&mend(&going_back, "shop", true).unwrap()), @r"
    repair:helm/shop after []: mark revision 2 of helm/shop, left pending-rollback by a client that died, as failed
    no workload is touched: whatever the operation had written until its client died stays as it is
    helm/shop is then mended, not finished: what runs may be half of revision 1 and half of revision 2; install the next one with helm upgrade, or go back with astern rollback
    ");
    let sound = shop(vec![owned(crashing("api"))], vec![first]);
    insta::assert_snapshot!(refused(mend(&sound, "shop", true)), @r"
    AST0105 nothing is pending in helm/shop
    revision 1, the newest, is deployed
    ");
    insta::assert_snapshot!(refused(mend(&sound, "shopp", true)), @r"
    AST0111 namespace vcci-scope3 has no Helm release shopp
    there is helm/shop
    ");
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_a_workload_that_no_manifest_lists_is_written_itself() {
    let mut newest = revision(2, "deployed", &[("api", "v1.2.4")]);
    let old = revision(1, "superseded", &[("api", "v1.2.3")]);
    let unlisted = shop(vec![owned(crashing("other"))], vec![newest.clone(), old.clone()]);
    let plan_of = |inventory: &Inventory| plan(&request(), inventory, &platform());
    assert!(steps(&plan_of(&unlisted).unwrap()).starts_with("template:deployment/other"));
    newest.record = Read::Unreadable {
        why: "its payload is cut short or damaged (gzip)".to_owned(),
    };
    insta::assert_snapshot!(refused(plan_of(&shop(vec![owned(crashing("api"))], vec![newest, old]))), @r"
    AST0111 the record of helm/shop's revision 2 cannot be read
    its payload is cut short or damaged (gzip)
    ");
}

#[test]
fn a_template_that_only_says_more_is_not_taken_for_the_one_that_says_less() {
    // v2 is v1 with one more annotation, so the manifest of v1 is found in both.
    let annotated = |json: Value| {
        let mut json = json;
        json["metadata"]["annotations"] = json!({"team": "shop"});
        json
    };
    let workload = owned(released("api").revision_of(3, annotated(template("api", "v1.2.3")), "14:05:00"))
        .serving(1, 2, "2026-11-19T10:00:20Z")
        .troubled(3, 2, "14:05:10", crate::support::crash_loop());
    let mut live = revision(2, "deployed", &[]);
    if let Read::Read(record) = &mut live.record {
        let manifest = annotated(template("api", "v1.2.3"));
        record.templates = BTreeMap::from([(crate::support::deployment("api"), Template::clean(manifest))]);
    }
    let inventory = shop(
        vec![workload],
        vec![live, revision(1, "superseded", &[("api", "v1.2.3")])],
    );
    let plan = plan(&request(), &inventory, &platform()).unwrap();
    assert!(steps(&plan).contains("from revision 2 to 1"), "{}", steps(&plan));
}

#[test]
fn what_the_release_itself_brings_back_of_config_is_left_to_helm() {
    let mut inventory = shop(
        vec![owned(crashing("api").released(
            "r1",
            "v1.2.3",
            crate::support::good(),
            None,
        ))],
        vec![
            revision(2, "deployed", &[("api", "v1.2.4")]),
            revision(1, "superseded", &[("api", "v1.2.3")]),
        ],
    );
    let kept = json!({"name": "saved-1", "keyedHash": "hmac-sha256:aa", "size": 9});
    inventory.config = serde_json::from_value(json!({
        "live": [{"kind": "ConfigMap", "name": "app-config", "uid": "u-1", "content": "now",
            "owners": inventory.workloads.values().next().unwrap().owners}],
        "held": {"release": "r1", "objects": [{"kind": "ConfigMap", "name": "app-config", "kept": kept, "content": "then",
            "keys": [], "changes": []}]},
    }))
    .unwrap();
    let whole = plan(&request(), &inventory, &platform()).unwrap();
    assert!(whole.config.is_empty());
    let stays = whole.unchanged.join("\n");
    assert!(
        stays.contains("configmap/app-config is left to Helm release shop"),
        "{stays}"
    );
    let beside = Request {
        outside_helm: true,
        ..request()
    };
    let beside = plan(&beside, &inventory, &platform()).unwrap();
    assert_eq!(beside.steps[0].id.as_str(), "config:configmap/app-config");
}

#[test]
fn the_revision_that_a_release_of_the_ledger_names_comes_first_while_its_record_is_as_it_was_then() {
    let check = |recorded: u64, content: Option<&str>, to: &str, told: &[(u64, &str)]| {
        let mut inventory = shop(
            vec![owned(crashing("api")), owned(replaced("worker"))],
            vec![
                revision(4, "deployed", &BOTH_BAD),
                revision(3, "superseded", &BOTH_GOOD),
                revision(2, "superseded", &BOTH_GOOD),
            ],
        );
        inventory.releases[0].recorded = Some(Recorded {
            by: astern_model::release::ReleaseName::parse("r1").unwrap(),
            revision: recorded,
            content: content.map(str::to_owned),
        });
        let plan = plan(&request(), &inventory, &platform()).unwrap();
        let changes = &plan.releases[0];
        assert!(changes.to.starts_with(to), "{} instead of {to}", changes.to);
        let passed: Vec<(u64, &str)> = changes
            .passed_over
            .iter()
            .map(|(number, why)| (*number, why.as_str()))
            .collect();
        assert_eq!(passed, told);
        assert_eq!(
            changes.because.contains("release r1 of the ledger"),
            told.is_empty()
        );
    };
    let then = format!("sha256:{:064}", 2);
    check(2, Some(&then), "2 ", &[]);
    check(2, None, "2 ", &[]);
    check(
        2,
        Some("sha256:other"),
        "3 ",
        &[(
            2,
            "release r1 of the ledger names it, and its record holds something else now than then",
        )],
    );
    check(
        1,
        Some(&then),
        "3 ",
        &[(
            1,
            "release r1 of the ledger names it, and its record does not exist any more",
        )],
    );
}
