//! When what failing workloads read is put back instead of their templates.

use crate::config::{held, live, map, reading, secret, standing, steps, told};
use crate::releases::{owned, refused, revision, shop};
use crate::support::{
    Build, at, crash_loop, crashing, deployment, errors, evidence, inventory, plan, platform, released,
    replaced, request,
};
use astern_model::config::{ConfigName, ConfigSeen, HeldBy, HeldConfig, LiveConfig};
use astern_model::evidence::{Known, Side};
use astern_model::helm::Recorded;
use astern_model::inventory::Inventory;
use astern_model::policy::Say;
use astern_model::release::{ReleaseName, Standing};
use astern_model::workload::FieldManager;
use astern_plan::{Request, Selector, content_they_should_read};
use serde_json::{Value, json};

/// It fails at its newest template, which good release r1 has; before that it ran another one for days.
fn failing(name: &str, objects: &[&ConfigName]) -> Build {
    let crashing = released(name).troubled(2, 3, "14:02:10", crash_loop());
    reading(crashing, objects, 2)
}

/// What good release r1 held of these objects, whose templates run.
fn seen(workloads: Vec<Build>, live: Vec<LiveConfig>, objects: Vec<HeldConfig>) -> Inventory {
    Inventory {
        config: ConfigSeen {
            live,
            last_good: Some(HeldBy {
                release: ReleaseName::parse("r1").unwrap(),
                recorded_at: Some(at("13:40:00")),
                objects,
            }),
            ..ConfigSeen::default()
        },
        ..inventory(workloads)
    }
}

fn written_by(live: LiveConfig, name: &str) -> LiveConfig {
    LiveConfig {
        manager: Some(FieldManager {
            name: name.to_owned(),
            operation: "Update".to_owned(),
            at: Some(at("14:01:30")),
        }),
        ..live
    }
}

/// Whether a plan writes content, and why; none where it goes back with templates, or there is none.
fn because(request: &Request, inventory: &Inventory) -> Option<String> {
    let plan = plan(request, inventory, &platform()).ok()?;
    plan.config.first()?.because.clone()
}

#[test]
fn failing_workloads_on_good_templates_get_the_content_of_then_and_nothing_else_goes_back() {
    let (app, flags) = (map("app"), map("flags"));
    let inventory = seen(
        vec![
            failing("api", &[&app, &flags]),
            failing("worker", &[&app]),
            standing("web", &[&app]),
            standing("idle", &[&flags]),
        ],
        vec![
            written_by(live(&app, "now"), "kubectl-patch"),
            live(&flags, "then"),
        ],
        vec![held(&app, "then"), held(&flags, "then")],
    );
    let plan = plan(&request(), &inventory, &platform()).unwrap();
    insta::assert_snapshot!(steps(&plan), @r"
    config:configmap/app after []: put the content of configmap/app back to release r1, recorded 2026-11-23 13:40:00 UTC
    restart:deployment/api after [config:configmap/app]: restart deployment/api
    rollout:deployment/api after [restart:deployment/api]: wait until deployment/api serves v1.2.4
    restart:deployment/web after [config:configmap/app]: restart deployment/web
    rollout:deployment/web after [restart:deployment/web]: wait until deployment/web serves v1.2.4
    restart:deployment/worker after [config:configmap/app]: restart deployment/worker
    rollout:deployment/worker after [restart:deployment/worker]: wait until deployment/worker serves v1.2.4
    ");
    insta::assert_snapshot!(told(&plan), @r"
    configmap/app: deployment/api is restarted
    configmap/app: deployment/web is restarted
    configmap/app: deployment/worker is restarted
    ");
    insta::assert_snapshot!(plan.config[0].because.as_deref().unwrap(), @"deployment/api, deployment/worker fail, read it and run their templates of release r1, which is good: what it holds is what changed since (written last by kubectl-patch at 2026-11-23 14:01:30 UTC)");
    assert_eq!((plan.decision.say, plan.choices.len()), (Say::RollBack, 0));
    assert_eq!(plan.decision.fired[0].row, "crash-loop");
    assert_eq!(plan.decision.fired[0].on.len(), 2);
}

#[test]
fn content_is_blamed_only_for_what_fails_on_the_templates_of_the_good_release_and_reads_what_differs() {
    let (app, others) = (map("app"), map("others"));
    let check = |workload: Build, request: &Request, now: &str, blamed: bool| {
        let target = workload.workload.target.clone();
        let inventory = seen(
            vec![workload, standing("web", &[&others])],
            vec![live(&app, now), live(&others, "then")],
            vec![held(&app, "then"), held(&others, "then")],
        );
        let why = because(request, &inventory);
        assert_eq!(why.is_some(), blamed, "{target} {now}: {why:?}");
    };
    check(failing("api", &[&app]), &request(), "now", true);
    check(failing("api", &[&app]), &request(), "then", false);
    // Healthy, whatever it reads.
    check(standing("api", &[&app]), &request(), "now", false);
    // It reads something else.
    check(failing("api", &[&others]), &request(), "now", false);
    // Its template is not that of the good release.
    check(reading(crashing("api"), &[&app], 1), &request(), "now", false);
    // Somebody has said what to do.
    let left = Request {
        leave_config: true,
        ..request()
    };
    check(failing("api", &[&app]), &left, "now", false);
    let named = Request {
        to: [(deployment("api"), Selector::Revision(1))].into(),
        ..request()
    };
    check(failing("api", &[&app]), &named, "now", false);
    let only = |name: &str| Request {
        only: vec![deployment(name)],
        ..request()
    };
    check(failing("api", &[&app]), &only("api"), "now", true);
    check(failing("api", &[&app]), &only("web"), "now", false);
}

#[test]
fn error_lines_are_evidence_enough_and_an_object_that_is_gone_is_made_anew() {
    let app = map("app");
    let mut inventory = seen(
        vec![standing("api", &[&app])],
        Vec::new(),
        vec![held(&app, "then")],
    );
    assert_eq!(because(&request(), &inventory), None);
    let many = evidence(&deployment("api"), Side::Live, errors(Known::Is(40.0)));
    inventory.evidence.push(many);
    let plan = plan(&request(), &inventory, &platform()).unwrap();
    assert!(plan.config[0].anew);
    let why = plan.config[0].because.as_deref().unwrap();
    assert!(why.ends_with("(it is not there any more)"), "{why}");
}

#[test]
fn a_secret_that_the_owners_do_not_name_is_told_with_its_setting_and_not_put_back() {
    let (app, keys) = (map("app"), secret("keys"));
    let inventory = seen(
        vec![failing("api", &[&app, &keys])],
        vec![
            live(&app, "now"),
            written_by(live(&keys, "now"), "vault-operator"),
        ],
        vec![held(&app, "then"), held(&keys, "then")],
    );
    let plan = plan(&request(), &inventory, &platform()).unwrap();
    assert_eq!(plan.config.len(), 1);
    let warned = plan.warnings.join("\n");
    for words in [
        "secret/keys differs from release r1 as well",
        "written last by vault-operator",
        "config: {restoreSecrets: [{name: keys, probe: …}]}",
    ] {
        assert!(warned.contains(words), "no {words:?}: {warned}");
    }
    let mut named = platform();
    named.restore_secrets.insert("keys".to_owned(), None);
    let plan = crate::support::plan(&request(), &inventory, &named).unwrap();
    assert_eq!(plan.config.len(), 2);
}

#[test]
fn beside_a_bad_template_content_goes_back_to_the_same_release_and_to_no_other_one() {
    let (app, flags) = (map("app"), map("flags"));
    let of = |version: u64| {
        seen(
            vec![
                reading(crashing("api"), &[&app], version),
                failing("worker", &[&flags]),
            ],
            vec![live(&app, "now"), live(&flags, "now")],
            vec![held(&app, "then"), held(&flags, "then")],
        )
    };
    let both = plan(&request(), &of(1), &platform()).unwrap();
    insta::assert_snapshot!(steps(&both), @r"
    config:configmap/app after []: put the content of configmap/app back to release r1, recorded 2026-11-23 13:40:00 UTC
    config:configmap/flags after []: put the content of configmap/flags back to release r1, recorded 2026-11-23 13:40:00 UTC
    template:deployment/api after [config:configmap/app]: put deployment/api back to v1.2.3 (revision 1), with all pods made anew
    rollout:deployment/api after [template:deployment/api]: wait until deployment/api serves v1.2.3
    restart:deployment/worker after [config:configmap/flags]: restart deployment/worker
    rollout:deployment/worker after [restart:deployment/worker]: wait until deployment/worker serves v1.2.4
    ");
    // Release r1 does not have what api goes back to.
    let mut apart = of(1);
    let api = apart.workloads.get_mut(&deployment("api")).unwrap();
    api.released[0].template = "sha256:other".into();
    let templates = plan(&request(), &apart, &platform()).unwrap();
    assert!(templates.config.is_empty());
    let stays = templates.unchanged.join("\n");
    assert!(stays.contains("astern plan --only worker"), "{stays}");
}

#[test]
fn content_that_stays_beside_templates_of_another_release_takes_no_helm_release_back_either() {
    let (app, flags) = (map("app"), map("flags"));
    let of_helm = |live: LiveConfig| {
        let owners = owned(released("any")).workload.owners;
        LiveConfig { owners, ..live }
    };
    let mut together = seen(
        vec![reading(crashing("api"), &[&app], 1), failing("worker", &[&flags])],
        vec![live(&app, "now"), of_helm(live(&flags, "now"))],
        vec![held(&app, "then"), held(&flags, "then")],
    );
    let revisions = vec![revision(2, "deployed", &[]), revision(1, "superseded", &[])];
    together.releases = shop(Vec::new(), revisions).releases;
    together.releases[0].recorded = Some(Recorded {
        by: ReleaseName::parse("r1").unwrap(),
        revision: 1,
        content: None,
    });
    let release = "roll helm/shop back from revision 2 to 1 with helm";
    let plan_of = |inventory: &Inventory| steps(&plan(&request(), inventory, &platform()).unwrap());
    assert!(plan_of(&together).contains(release), "{}", plan_of(&together));
    let mut apart = together;
    let api = apart.workloads.get_mut(&deployment("api")).unwrap();
    api.released[0].template = "sha256:other".into();
    assert!(!plan_of(&apart).contains("helm"), "{}", plan_of(&apart));
}

#[test]
fn content_whose_helm_release_brings_templates_of_a_third_release_is_refused_with_both_named() {
    let flags = map("flags");
    let candidate = || Standing::Candidate { failed: None };
    let of_helm = owned(released("any")).workload.owners;
    let mut inventory = seen(
        vec![
            failing("worker", &[&flags]),
            owned(replaced("web")).released("r0", "v1.2.3", candidate(), None),
        ],
        vec![LiveConfig {
            owners: of_helm,
            ..live(&flags, "now")
        }],
        vec![held(&flags, "then")],
    );
    let revisions = vec![
        revision(2, "deployed", &[("web", "v1.2.4")]),
        revision(1, "superseded", &[("web", "v1.2.3")]),
    ];
    inventory.releases = shop(Vec::new(), revisions).releases;
    inventory.releases[0].recorded = Some(Recorded {
        by: ReleaseName::parse("r1").unwrap(),
        revision: 1,
        content: None,
    });
    let refusal = plan(&request(), &inventory, &platform()).unwrap_err();
    let ways_out = refusal.ways_out.join("\n");
    insta::assert_snapshot!(format!("{}\n{ways_out}", refused(Err(refusal))), @r#"
    AST0111 helm/shop would bring back what deployment/worker should read as release r1 has it, and the templates of another release with it
    deployment/web would go to v1.2.3, which release r0 has: whether that gets on with what release r1 holds is not known
    astern plan --to helm/shop=1 takes it back whole, on your own word
    astern plan --only worker --outside-helm writes the content alone; the next upgrade of helm/shop writes over it
    "#);
}

#[test]
fn the_release_whose_content_should_be_read_is_the_newest_good_one_while_somebody_runs_its_templates() {
    let app = map("app");
    let inventory = inventory(vec![standing("api", &[&app])]);
    let runs = inventory.workloads[&deployment("api")].template.hash();
    let good = || json!({"is": "good", "reason": "it serves", "by": "ci", "at": "2026-11-23T14:00:00Z"});
    let release = |name: &str, template: &str, standing: Value| {
        let config = json!({"kind": "ConfigMap", "name": "app", "uid": "u", "version": "1", "immutable": false, "keys": [],
            "content": {"name": "c", "keyedHash": "h", "size": 1}, "consumers": []});
        json!({"name": name, "platform": "shop", "namespace": "shop", "by": "ci", "at": "2026-11-23T14:00:00Z",
            "standing": standing, "config": [config], "workloads": [{"target": deployment("api"), "template": template,
                "content": {"name": "t", "keyedHash": "h", "size": 1}, "images": [], "replicas": 1}]})
    };
    let check = |releases: Value, request: &Request, expected: Option<&str>| {
        let releases: Vec<astern_model::release::Release> = serde_json::from_value(releases).unwrap();
        let found = content_they_should_read(request, &inventory, &releases);
        assert_eq!(found.map(|release| release.name.as_str()), expected);
    };
    let candidate = json!({"is": "candidate"});
    let both = json!([
        release("r2", runs.as_str(), candidate),
        release("r1", runs.as_str(), good())
    ]);
    check(both.clone(), &request(), Some("r1"));
    // An older one that they run is not the last good one.
    let newer = json!([
        release("r2", "sha256:other", good()),
        release("r1", runs.as_str(), good())
    ]);
    check(newer, &request(), None);
    let named = Request {
        to: [(
            deployment("api"),
            Selector::Release(ReleaseName::parse("r1").unwrap()),
        )]
        .into(),
        ..request()
    };
    check(both, &named, None);
}
