//! What goes back of ConfigMaps and Secrets with a release: which, before whom, and who is restarted for them.

use crate::support::{
    Build, at, crashing, depending, deployment, good, inventory, of_kind, plan, platform, released, request,
    target,
};
use astern_model::config::{ConfigKind, ConfigName, ConfigSeen, HeldBy, HeldConfig, LiveConfig};
use astern_model::content::ContentRef;
use astern_model::decision::Refusal;
use astern_model::diff::{Change, Marks};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::release::ReleaseName;
use astern_model::step::workload::Spec as WorkloadSpec;
use astern_model::target::WorkloadKind;
use astern_model::template::{RESTARTED_AT, Template};
use astern_model::workload::{FieldManager, Strategy};
use astern_plan::{Request, Selector, code, config_changes, config_release};
use serde_json::{Value, json};

fn name(kind: ConfigKind, name: &str) -> ConfigName {
    ConfigName {
        kind,
        name: name.to_owned(),
    }
}

pub(crate) fn map(object: &str) -> ConfigName {
    name(ConfigKind::ConfigMap, object)
}

pub(crate) fn secret(object: &str) -> ConfigName {
    name(ConfigKind::Secret, object)
}

pub(crate) fn live(name: &ConfigName, content: &str) -> LiveConfig {
    LiveConfig {
        name: name.clone(),
        uid: format!("uid-{}", name.name).as_str().into(),
        content: content.into(),
        immutable: false,
        secret_type: (name.kind == ConfigKind::Secret).then(|| "Opaque".to_owned()),
        source: None,
        drawn: None,
        owners: Vec::new(),
        manager: None,
    }
}

pub(crate) fn held(name: &ConfigName, content: &str) -> HeldConfig {
    HeldConfig {
        name: name.clone(),
        kept: ContentRef {
            name: format!("saved-{}", name.name),
            keyed_hash: content.to_owned(),
            size: 1,
        },
        content: content.into(),
        keys: vec!["MODE".to_owned()],
        secret_type: (name.kind == ConfigKind::Secret).then(|| "Opaque".to_owned()),
        drawn: None,
        changes: Vec::new(),
    }
}

/// The same workload, whose every template reads these objects, in good release r1 at `version`.
pub(crate) fn reading(build: Build, objects: &[&ConfigName], version: u64) -> Build {
    let from: Vec<Value> = objects
        .iter()
        .map(|object| match object.kind {
            ConfigKind::ConfigMap => json!({"configMapRef": {"name": object.name}}),
            ConfigKind::Secret => json!({"secretRef": {"name": object.name}}),
        })
        .collect();
    let reads = |json: &mut Value| json["spec"]["containers"][0]["envFrom"] = Value::Array(from.clone());
    changed(build, &reads, version)
}

/// The same workload with every template changed, in good release r1 at `version`.
pub(crate) fn changed(build: Build, change: &dyn Fn(&mut Value), version: u64) -> Build {
    let read = |template: &Template| {
        let mut json = template.json().clone();
        change(&mut json);
        Template::clean(json)
    };
    let build = build.with(|workload| {
        for revision in &mut workload.revisions {
            let read = read(&revision.template);
            let former = std::mem::replace(&mut revision.template, read).hash();
            revision.hash = revision.template.hash();
            let of_it = |pod: &&mut astern_model::workload::Pod| pod.revision.as_ref() == Some(&former);
            for pod in workload.pods.iter_mut().filter(of_it) {
                pod.revision = Some(revision.hash.clone());
            }
        }
        workload.template = read(&workload.template);
    });
    let build = build.released("r1", "v1.2.3", good(), None);
    build.with(|workload| {
        let of_number = |revision: &&astern_model::workload::Revision| revision.number == version;
        let revision = workload.revisions.iter().find(of_number).unwrap();
        workload.released[0].template = revision.hash.clone();
    })
}

/// One that stands where release r1 has it: at its newest template.
pub(crate) fn standing(name: &str, objects: &[&ConfigName]) -> Build {
    reading(released(name).serving(2, 3, "14:02:20"), objects, 2)
}

pub(crate) fn seen(workloads: Vec<Build>, live: Vec<LiveConfig>, objects: Vec<HeldConfig>) -> Inventory {
    let release = ReleaseName::parse("r1").unwrap();
    Inventory {
        config: ConfigSeen {
            live,
            held: Some(HeldBy {
                release,
                recorded_at: Some(at("13:40:00")),
                objects,
            }),
            ..ConfigSeen::default()
        },
        ..inventory(workloads)
    }
}

pub(crate) fn to_release(names: &[&str]) -> Request {
    let release = ReleaseName::parse("r1").unwrap();
    let to = names
        .iter()
        .map(|name| (deployment(name), Selector::Release(release.clone())));
    Request {
        only: names.iter().map(|name| deployment(name)).collect(),
        to: to.collect(),
        ..request()
    }
}

pub(crate) fn steps(plan: &Plan) -> String {
    let line = |step: &astern_model::step::Step| {
        let after: Vec<&str> = step.after.iter().map(|id| id.as_str()).collect();
        format!("{} after [{}]: {}", step.id, after.join(", "), step.spec.phrase())
    };
    plan.steps.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) fn told(plan: &Plan) -> String {
    let readers = plan.config.iter().flat_map(|of| {
        let object = &of.object;
        of.readers
            .iter()
            .map(move |(target, how)| format!("{object}: {target} {how}"))
    });
    readers.collect::<Vec<_>>().join("\n")
}

pub(crate) fn refused(result: Result<Plan, Refusal>) -> (String, String) {
    let refusal = result.unwrap_err();
    (
        refusal.code,
        [vec![refusal.summary], refusal.details, refusal.ways_out]
            .concat()
            .join("\n"),
    )
}

pub(crate) fn go(request: &Request, inventory: &Inventory, platform: &Platform) -> Result<Plan, Refusal> {
    plan(request, inventory, platform)
}

#[test]
fn content_comes_before_every_reader_and_the_readers_keep_the_order_of_what_they_depend_on() {
    let (app, other) = (map("app"), map("other"));
    let inventory = seen(
        vec![
            reading(crashing("api"), &[&app], 1),
            standing("web", &[&app]),
            standing("worker", &[&other]),
            standing("idle", &[]),
        ],
        vec![live(&app, "now"), live(&other, "then")],
        vec![held(&app, "then"), held(&other, "then")],
    );
    let platform = depending(&[("api", &[]), ("web", &["api"]), ("worker", &[]), ("idle", &[])]);
    let plan = go(
        &to_release(&["api", "web", "worker", "idle"]),
        &inventory,
        &platform,
    )
    .unwrap();
    insta::assert_snapshot!(steps(&plan), @r"
    config:configmap/app after []: put the content of configmap/app back to release r1, recorded 2026-11-23 13:40:00 UTC
    template:deployment/api after [config:configmap/app]: put deployment/api back to v1.2.3 (revision 1), with all pods made anew
    rollout:deployment/api after [template:deployment/api]: wait until deployment/api serves v1.2.3
    restart:deployment/web after [config:configmap/app, rollout:deployment/api]: restart deployment/web
    rollout:deployment/web after [restart:deployment/web]: wait until deployment/web serves v1.2.4
    ");
    insta::assert_snapshot!(told(&plan), @r"
    configmap/app: deployment/api starts with it, since its template goes back too; 2 of its pods run that already and may have read what is there now, so all of them are made anew
    configmap/app: deployment/web is restarted
    ");
    assert_eq!(
        plan.recovered_when.targets,
        [deployment("api"), deployment("web")]
    );
}

#[test]
fn the_same_templates_with_other_content_are_a_plan_of_content_and_restarts_alone() {
    let app = map("app");
    let request = to_release(&["api"]);
    let of = |content: &str| {
        let inventory = seen(
            vec![standing("api", &[&app])],
            vec![live(&app, content)],
            vec![held(&app, "then")],
        );
        go(&request, &inventory, &platform())
    };
    let plan = of("now").unwrap();
    insta::assert_snapshot!(steps(&plan), @r"
    config:configmap/app after []: put the content of configmap/app back to release r1, recorded 2026-11-23 13:40:00 UTC
    restart:deployment/api after [config:configmap/app]: restart deployment/api
    rollout:deployment/api after [restart:deployment/api]: wait until deployment/api serves v1.2.4
    ");
    let (code, said) = refused(of("then"));
    assert_eq!(code, code::NOTHING_TO_DO);
    assert!(said.contains("they hold what they held in release r1"), "{said}");
}

#[test]
fn an_object_that_is_gone_is_made_anew_and_one_that_nobody_of_the_plan_reads_is_left_alone() {
    let (app, others) = (map("app-5f7"), map("others"));
    let inventory = seen(
        vec![reading(crashing("api"), &[&app], 1), standing("web", &[&others])],
        vec![live(&others, "now")],
        vec![held(&app, "then"), held(&others, "then")],
    );
    let plan = go(&to_release(&["api"]), &inventory, &platform()).unwrap();
    insta::assert_snapshot!(steps(&plan), @r"
    config:configmap/app-5f7 after []: make configmap/app-5f7 anew as of release r1, recorded 2026-11-23 13:40:00 UTC
    template:deployment/api after [config:configmap/app-5f7]: put deployment/api back to v1.2.3 (revision 1)
    rollout:deployment/api after [template:deployment/api]: wait until deployment/api serves v1.2.3
    ");
}

#[test]
fn readers_that_need_no_restart_or_cannot_have_one_are_told_with_the_reason() {
    let app = map("app");
    let request = to_release(&["api", "annotated", "paused", "partitioned"]);
    let annotated = standing("annotated", &[&app]).with(|workload| {
        let annotation = ("reloader.stakater.com/auto".to_owned(), "true".to_owned());
        workload.annotations.extend([annotation]);
    });
    let mut platform = depending(&[
        ("api", &[]),
        ("annotated", &[]),
        ("paused", &[]),
        ("partitioned", &[]),
        ("reloading", &[]),
    ]);
    platform.members[4].reloads = true;
    let inventory = seen(
        vec![
            standing("api", &[&app]),
            annotated,
            standing("paused", &[&app]).with(|workload| workload.paused = true),
            standing("partitioned", &[&app]).strategy(Strategy::RollingUpdate {
                max_surge: None,
                max_unavailable: None,
                partition: 1,
                ordered: false,
            }),
            standing("reloading", &[&app]),
            standing("outside", &[&app]),
        ],
        vec![live(&app, "now")],
        vec![held(&app, "then")],
    );
    let plan = go(&request, &inventory, &platform).unwrap();
    insta::assert_snapshot!(steps(&plan), @r"
    config:configmap/app after []: put the content of configmap/app back to release r1, recorded 2026-11-23 13:40:00 UTC
    restart:deployment/api after [config:configmap/app]: restart deployment/api
    rollout:deployment/api after [restart:deployment/api]: wait until deployment/api serves v1.2.4
    ");
    insta::assert_snapshot!(told(&plan), @r"
    configmap/app: deployment/annotated is left to Reloader, whose annotation it has
    configmap/app: deployment/api is restarted
    configmap/app: deployment/outside is not part of this plan, and is not restarted
    configmap/app: deployment/partitioned is not restarted: it has a partition
    configmap/app: deployment/paused is not restarted: it is paused
    configmap/app: deployment/reloading takes it in by itself (`reloads` in astern.yaml)
    ");
    let warned = plan.warnings.join("\n");
    for name in ["paused", "partitioned", "outside"] {
        let words = format!("deployment/{name} reads configmap/app and is not restarted");
        assert!(warned.contains(&words), "{name}: {warned}");
    }
}

#[test]
fn content_that_a_workload_on_a_newer_template_reads_and_keeps_stays_with_it() {
    let app = map("app");
    // `web` reads the same object, is healthy, and runs a template that r1 does not have.
    let newer = standing("web", &[&app]).with(|workload| {
        let first = workload.revisions.iter().find(|revision| revision.number == 1);
        workload.released[0].template = first.unwrap().hash.clone();
    });
    let inventory = seen(
        vec![reading(crashing("api"), &[&app], 1), newer],
        vec![live(&app, "now")],
        vec![held(&app, "then")],
    );
    let platform = depending(&[("api", &[]), ("web", &[])]);
    let plan = go(&to_release(&["api"]), &inventory, &platform).unwrap();
    assert!(!steps(&plan).contains("config:"), "{}", steps(&plan));
    let why = "configmap/app keeps its content of now: deployment/web reads it, stays on v1.2.4";
    assert!(format!("{:?}", plan.unchanged).contains(why), "{plan:#?}");
    let both = go(&to_release(&["api", "web"]), &inventory, &platform).unwrap();
    assert!(steps(&both).contains("config:configmap/app"), "{}", steps(&both));
}

/// `app` holds something else than in r1, which was written then.
fn written_at(written: &str, build: Build) -> Inventory {
    let app = map("app");
    let mut now = live(&app, "now");
    now.manager = Some(FieldManager {
        name: "helm".to_owned(),
        operation: "Update".to_owned(),
        at: Some(at(written)),
    });
    seen(vec![build], vec![now], vec![held(&app, "then")])
}

#[test]
fn pods_of_the_good_template_that_may_have_started_with_the_bad_content_are_made_anew_with_the_write() {
    let app = map("app");
    let stuck = || reading(crashing("api"), &[&app], 1);
    let before = "2026-11-18T10:00:00Z";
    let plan =
        |written: &str, build| go(&to_release(&["api"]), &written_at(written, build), &platform()).unwrap();
    let whole = plan(before, stuck());
    insta::assert_snapshot!(steps(&whole), @r"
    config:configmap/app after []: put the content of configmap/app back to release r1, recorded 2026-11-23 13:40:00 UTC
    template:deployment/api after [config:configmap/app]: put deployment/api back to v1.2.3 (revision 1), with all pods made anew
    rollout:deployment/api after [template:deployment/api]: wait until deployment/api serves v1.2.3
    ");
    insta::assert_snapshot!(told(&whole), @"configmap/app: deployment/api starts with it, since its template goes back too; 2 of its pods run that already and may have read what is there now, so all of them are made anew");
    let mark = whole.changes[0].changes.iter().map(|change| change.path.as_str());
    assert!(
        mark.clone().any(|path| path.contains(RESTARTED_AT)),
        "{:?}",
        mark.collect::<Vec<_>>()
    );
    // The wait is for pods with the mark, and for no others.
    let WorkloadSpec::WriteTemplate {
        to, mark: Some(mark), ..
    } = whole.steps[1].spec.workload().unwrap()
    else {
        panic!("{:?}", whole.steps[1]);
    };
    let WorkloadSpec::AwaitRollout { template, .. } = whole.steps[2].spec.workload().unwrap() else {
        panic!("{:?}", whole.steps[2]);
    };
    assert_eq!(template, &mark.template);
    assert_ne!(template, &to.template);

    let as_it_was = plan("14:00:00", stuck());
    assert!(!steps(&as_it_was).contains("made anew"), "{}", steps(&as_it_was));
    let restarted = stuck().with(|workload| workload.pods.iter_mut().for_each(|pod| pod.restarts = 1));
    let restarted = plan("14:00:00", restarted);
    assert!(steps(&restarted).contains("made anew"), "{}", steps(&restarted));
}

#[test]
fn pods_of_the_good_template_stay_where_they_take_in_what_changes_by_themselves() {
    let before = "2026-11-18T10:00:00Z";
    let mut reloading = depending(&[("api", &[])]);
    reloading.members[0].reloads = true;
    let inventory = written_at(before, reading(crashing("api"), &[&map("app")], 1));
    let plan = go(&to_release(&["api"]), &inventory, &reloading).unwrap();
    assert!(!steps(&plan).contains("made anew"), "{}", steps(&plan));
    assert!(
        !plan.warnings.join("\n").contains("and stay"),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn pods_of_the_good_template_that_no_mark_reaches_are_told() {
    let app = map("app");
    let stuck = reading(crashing("api"), &[&app], 1).with(|workload| {
        workload
            .annotations
            .insert("reloader.stakater.com/auto".to_owned(), "true".to_owned());
    });
    let inventory = written_at("2026-11-18T10:00:00Z", stuck);
    let plan = go(&to_release(&["api"]), &inventory, &platform()).unwrap();
    let warned = plan.warnings.join("\n");
    let words = "2 of deployment/api's pods run what it goes back to already and stay";
    assert!(warned.contains(words), "{warned}");
    assert!(!steps(&plan).contains("made anew"), "{}", steps(&plan));
}

#[test]
fn a_workload_whose_version_of_now_reads_an_object_waits_for_it_too_should_the_run_be_taken_back() {
    let app = map("app");
    // The good version of `web` does not read what its bad one reads.
    let web = reading(crashing("web"), &[&app], 1).with(|workload| {
        let good = workload
            .revisions
            .iter_mut()
            .find(|revision| revision.number == 1)
            .unwrap();
        let mut json = good.template.json().clone();
        json["spec"]["containers"][0]
            .as_object_mut()
            .unwrap()
            .remove("envFrom");
        good.template = Template::clean(json);
        let former = std::mem::replace(&mut good.hash, good.template.hash());
        for pod in workload
            .pods
            .iter_mut()
            .filter(|pod| pod.revision.as_ref() == Some(&former))
        {
            pod.revision = Some(good.hash.clone());
        }
        workload.released[0].template = good.hash.clone();
    });
    let inventory = seen(
        vec![reading(crashing("api"), &[&app], 1), web],
        vec![live(&app, "now")],
        vec![held(&app, "then")],
    );
    let platform = depending(&[("api", &[]), ("web", &[])]);
    let plan = go(&to_release(&["api", "web"]), &inventory, &platform).unwrap();
    let told = told(&plan);
    assert!(
        told.contains("configmap/app: deployment/web waits for it, since what it leaves reads it"),
        "{told}"
    );
    let write = plan
        .steps
        .iter()
        .find(|step| step.id.as_str() == "template:deployment/web");
    assert_eq!(write.unwrap().after[0].as_str(), "config:configmap/app");
    // For it alone nothing is written.
    assert!(
        !plan.warnings.join("\n").contains("deployment/web's pods"),
        "{:?}",
        plan.warnings
    );
    let alone = go(&to_release(&["web"]), &inventory, &platform).unwrap();
    assert!(!steps(&alone).contains("config:"), "{}", steps(&alone));
}

#[test]
fn pods_that_only_a_deletion_replaces_are_deleted_one_after_the_other_for_what_they_read() {
    let app = map("app");
    let db = of_kind(target(WorkloadKind::StatefulSet, "db"))
        .revision(1, "v1.2.3", "2026-11-19T10:00:00Z")
        .revision(2, "v1.2.4", "14:02:00")
        .serving(2, 2, "14:02:20")
        .strategy(Strategy::OnDelete);
    let inventory = seen(
        vec![reading(db, &[&app], 2), standing("api", &[&app])],
        vec![live(&app, "now")],
        vec![held(&app, "then")],
    );
    let mut platform = depending(&[("api", &["db"]), ("db", &[])]);
    let db = target(WorkloadKind::StatefulSet, "db");
    platform.members[0].depends_on = vec![db.clone()];
    platform.members[1].target = db.clone();
    let mut request = to_release(&["api"]);
    let release = request.to.values().next().unwrap().clone();
    request.only.extend([db.clone()]);
    request.to.insert(db, release);
    let plan = go(&request, &inventory, &platform).unwrap();
    insta::assert_snapshot!(steps(&plan), @r"
    config:configmap/app after []: put the content of configmap/app back to release r1, recorded 2026-11-23 13:40:00 UTC
    restart:statefulset/db after [config:configmap/app]: restart statefulset/db
    delete:statefulset/db/db-1 after [restart:statefulset/db]: delete pod/db-1, so that it is made anew (OnDelete)
    delete:statefulset/db/db-0 after [delete:statefulset/db/db-1]: delete pod/db-0, so that it is made anew (OnDelete)
    rollout:statefulset/db after [delete:statefulset/db/db-0]: wait until statefulset/db serves v1.2.4
    restart:deployment/api after [config:configmap/app, rollout:statefulset/db]: restart deployment/api
    rollout:deployment/api after [restart:deployment/api]: wait until deployment/api serves v1.2.4
    ");
    let warned = plan.warnings.join("\n");
    assert!(
        warned.contains("statefulset/db is OnDelete: 2 pods are deleted one after the other"),
        "{warned}"
    );
    // Half-way through an upgrade by hand: those of the version before would come back as the newest.
    let mut half = inventory;
    let db = target(WorkloadKind::StatefulSet, "db");
    let workload = half.workloads.get_mut(&db).unwrap();
    let live = workload.pods[1].revision.clone();
    let other = workload
        .revisions
        .iter()
        .find(|revision| Some(&revision.hash) != live.as_ref());
    workload.pods[0].revision = other.map(|revision| revision.hash.clone());
    let plan = go(&request, &half, &platform).unwrap();
    assert!(!steps(&plan).contains("statefulset/db"), "{}", steps(&plan));
    let warned = plan.warnings.join("\n");
    assert!(
        warned.contains("pods of another version would come back as its newest"),
        "{warned}"
    );
}

#[test]
fn what_came_after_the_release_or_cannot_be_read_there_is_said_to_stay() {
    let (app, late) = (map("app"), map("late"));
    let mut inventory = seen(
        vec![reading(crashing("api"), &[&app, &late], 1)],
        vec![live(&app, "then"), live(&late, "now")],
        vec![held(&app, "then")],
    );
    inventory.config.newer.insert(late);
    let warning = "configmap/late came after release r1, and deployment/api reads it";
    let plan = |inventory: &Inventory| go(&to_release(&["api"]), inventory, &platform()).unwrap();
    let warned = plan(&inventory).warnings.join("\n");
    assert!(warned.contains(warning), "{warned}");
    inventory.config.unreadable.insert(map("lost"));
    let stays = plan(&inventory).unchanged.join("\n");
    assert!(
        stays.contains("configmap/lost keeps its content of now"),
        "{stays}"
    );
    assert!(!stays.contains("they hold what they held"), "{stays}");
}

#[test]
fn a_secret_goes_back_only_where_it_is_named() {
    let keys = secret("keys");
    let mut platform = platform();
    let inventory = seen(
        vec![reading(crashing("api"), &[&keys], 1)],
        vec![live(&keys, "now")],
        vec![held(&keys, "then")],
    );
    let request = to_release(&["api"]);
    let plan = go(&request, &inventory, &platform).unwrap();
    assert!(plan.config.is_empty());
    let stays = plan.unchanged.join("\n");
    for words in [
        "secret/keys keeps its content of now",
        "may have been rotated",
        "restoreSecrets: [{name: keys, probe: …}]",
    ] {
        assert!(stays.contains(words), "no {words:?}: {stays}");
    }
    platform.restore_secrets.insert("keys".to_owned(), None);
    let plan = go(&request, &inventory, &platform).unwrap();
    assert_eq!(plan.steps[0].id.as_str(), "config:secret/keys");
    // kustomize puts a hash of the content behind the name: the one of then is gone, and the owners name the stem.
    let hashed = secret("keys-5f7b2d9c8k");
    let inventory = seen(
        vec![reading(crashing("api"), &[&hashed], 1)],
        Vec::new(),
        vec![held(&hashed, "then")],
    );
    let plan = go(&request, &inventory, &platform).unwrap();
    assert_eq!(
        plan.steps[0].spec.phrase(),
        "make secret/keys-5f7b2d9c8k anew as of release r1, recorded 2026-11-23 13:40:00 UTC"
    );
}

#[test]
fn what_cannot_be_changed_under_its_name_is_deleted_and_made_anew_before_its_readers_start() {
    let (app, keys) = (map("app"), secret("keys"));
    let mut platform = platform();
    platform.restore_secrets.insert("keys".to_owned(), None);
    let check = |object: &ConfigName, change: &dyn Fn(&mut LiveConfig), why: &str| {
        let mut live = live(object, "now");
        change(&mut live);
        let inventory = seen(
            vec![reading(crashing("api"), &[object], 1)],
            vec![live],
            vec![held(object, "then")],
        );
        let plan = go(&to_release(&["api"]), &inventory, &platform).unwrap();
        let [remove, create, reader] = &plan.steps[..3] else {
            panic!("{:?}", plan.steps)
        };
        assert_eq!(remove.id.as_str(), format!("remove:{object}"));
        assert_eq!(create.after, std::slice::from_ref(&remove.id));
        assert!(reader.after.contains(&remove.id) && reader.after.contains(&create.id));
        assert!(plan.config[0].anew);
        let gap = format!(
            "{object} {why}: it is deleted, and made anew at once; a pod that starts between the two waits for it"
        );
        assert!(plan.warnings.contains(&gap), "{:?}", plan.warnings);
    };
    check(&app, &|live| live.immutable = true, "is immutable");
    check(
        &keys,
        &|live| live.secret_type = Some("kubernetes.io/tls".to_owned()),
        "has another type now",
    );
}

#[test]
fn what_another_object_writes_is_refused() {
    let keys = secret("keys");
    let mut platform = platform();
    platform.restore_secrets.insert("keys".to_owned(), None);
    let check = |object: &ConfigName, change: &dyn Fn(&mut LiveConfig), expected: &str| {
        let mut live = live(object, "now");
        change(&mut live);
        let inventory = seen(
            vec![reading(crashing("api"), &[object], 1)],
            vec![live],
            vec![held(object, "then")],
        );
        let (code, said) = refused(go(&to_release(&["api"]), &inventory, &platform));
        assert_eq!(code, expected, "{said}");
        assert!(said.contains(&object.to_string()), "{said}");
    };
    check(
        &keys,
        &|live| live.source = Some("externalsecret/keys".to_owned()),
        code::MADE_FROM,
    );
}

#[test]
fn without_a_release_that_holds_what_was_chosen_no_content_is_touched_and_that_is_said() {
    let app = map("app");
    let workloads = || vec![reading(crashing("api"), &[&app], 2)];
    let known = seen(workloads(), vec![live(&app, "now")], vec![held(&app, "then")]);
    let plan = go(&request(), &known, &platform()).unwrap();
    assert!(plan.config.is_empty());
    let stays = plan.unchanged.join("\n");
    assert!(
        stays.contains("release r1 does not hold v1.2.3 of deployment/api, so what that read is not known"),
        "{stays}"
    );
    let unknown = inventory(workloads());
    let plan = go(&request(), &unknown, &platform()).unwrap();
    let stays = plan.unchanged.join("\n");
    assert!(
        stays.contains("ConfigMaps and Secrets keep their content of now"),
        "{stays}"
    );
}

#[test]
fn the_release_that_says_what_was_held_is_the_named_one_or_the_newest_with_every_template_that_was_chosen() {
    let check = |json: Value, plan: Option<&Plan>, request: &Request, expected: Option<&str>| {
        let releases: Vec<astern_model::release::Release> = serde_json::from_value(json).unwrap();
        let found = config_release(request, plan, &releases).map(|release| release.name.as_str());
        assert_eq!(found, expected);
    };
    let app = map("app");
    let inventory = inventory(vec![reading(crashing("api"), &[&app], 1)]);
    let draft = go(&request(), &inventory, &platform()).unwrap();
    let chosen = &draft.choices[0].good.as_ref().unwrap().revision.template;
    let release = |name: &str, template: &str, standing: Value| {
        json!({"name": name, "platform": "shop", "namespace": "shop", "by": "ci", "at": "2026-11-23T14:00:00Z",
            "standing": standing, "config": [], "workloads": [{"target": deployment("api"), "template": template,
                "content": {"name": "t", "keyedHash": "h", "size": 1}, "images": [], "replicas": 1}]})
    };
    let candidate = || json!({"is": "candidate"});
    let bad = json!({"is": "bad", "reason": "loses orders", "by": "eve", "at": "2026-11-23T14:00:00Z"});
    let releases = json!([
        release("r4", "sha256:other", candidate()),
        release("r3", chosen.as_str(), bad),
        release("r2", chosen.as_str(), candidate()),
        release("r1", chosen.as_str(), candidate()),
    ]);
    check(releases.clone(), Some(&draft), &request(), Some("r2"));
    check(releases.clone(), Some(&draft), &to_release(&["api"]), Some("r1"));
    check(releases.clone(), None, &request(), None);
    let good = json!({"is": "good", "reason": "it serves", "by": "ci", "at": "2026-11-23T14:00:00Z"});
    // Of two with the same templates, what the proven one held is not what went wrong.
    let proven = json!([releases[2], release("r0", chosen.as_str(), good.clone())]);
    check(proven, Some(&draft), &request(), Some("r0"));
    let guess = json!([releases[0], release("r0", "sha256:any", good)]);
    check(guess, None, &request(), Some("r0"));
    check(json!([releases[0]]), Some(&draft), &request(), None);
}

#[test]
fn a_refusal_says_where_content_differs_from_the_release_whose_templates_run() {
    let app = map("app");
    let only = released("api").with(|workload| workload.revisions.retain(|revision| revision.number == 2));
    let failing = only.troubled(2, 3, "14:02:10", crate::support::crash_loop());
    let of = |live_content: &str| {
        let inventory = seen(
            vec![reading(failing_of(&failing), &[&app], 2)],
            vec![live(&app, live_content)],
            vec![held(&app, "then")],
        );
        go(&request(), &inventory, &platform()).unwrap_err()
    };
    let refusal = of("now");
    assert_eq!(refusal.code, code::NOTHING_GOOD, "{refusal:?}");
    let words =
        "astern rollback --to r1: configmap/app differs from what release r1 held, whose templates run";
    assert!(
        refusal.ways_out.contains(&words.to_owned()),
        "{:?}",
        refusal.ways_out
    );
    let same = of("then").ways_out.join("\n");
    assert!(!same.contains("configmap/app"), "{same}");
}

fn failing_of(build: &Build) -> Build {
    Build {
        workload: build.workload.clone(),
    }
}

#[test]
fn a_file_in_a_config_map_is_told_by_the_lines_that_differ_and_none_that_says_it_is_secret() {
    let object = |file: &str, mode: &str| json!({"data": {"app.yaml": file, "MODE": mode}});
    let now = object(
        "listen: 80\npassword: hunter2\nmode: storm\nnew: 1\nend: 1\n",
        "storm",
    );
    let then = object("listen: 80\npassword: hunter1\nmode: calm\nend: 1\n", "calm");
    let told = |changes: Vec<Change>| {
        let line = |change: &Change| format!("{}: {:?} {:?}", change.path, change.from, change.to);
        changes.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(told(config_changes(&map("app"), &now, &then, &Marks::default())), @r#"
    data[MODE]: Some(Value("storm")) Some(Value("calm"))
    data[app.yaml] line 2: Some(Masked) Some(Masked)
    data[app.yaml] line 3: Some(Value("mode: storm")) Some(Value("mode: calm"))
    data[app.yaml] line 4: Some(Value("new: 1")) None
    "#);
    // One that says on a line that the next ones are secret is not told at all.
    let block = object(
        "user: shop\npassword: |\n  hunter3\n",
        "DSN: host=db password=hunter4",
    );
    let hidden = told(config_changes(&map("app"), &then, &block, &Marks::default()));
    insta::assert_snapshot!(hidden, @r#"
    data[MODE]: Some(Value("calm")) Some(Masked)
    data[app.yaml]: Some(Masked) Some(Masked)
    "#);
    // A file that is new, or that goes, is told by its lines as well.
    let whole = told(config_changes(&map("app"), &json!({}), &then, &Marks::default()));
    insta::assert_snapshot!(whole, @r#"
    data[MODE]: None Some(Value("calm"))
    data[app.yaml] line 1: None Some(Value("listen: 80"))
    data[app.yaml] line 2: None Some(Masked)
    data[app.yaml] line 3: None Some(Value("mode: calm"))
    data[app.yaml] line 4: None Some(Value("end: 1"))
    "#);
    // A Secret is never told by its lines, but by the marks of what it holds.
    let marks = [
        ("storm", "hmac-sha256:0123456789abcdef"),
        ("calm", "hmac-sha256:fedcba9876543210"),
    ];
    let marks = Marks::of(marks.map(|(value, hash)| (value.to_owned(), hash.to_owned())));
    let of_secret = told(config_changes(&secret("keys"), &now, &then, &marks));
    assert!(
        of_secret.contains(r#"data[MODE]: Some(Keyed("01234567")) Some(Keyed("fedcba98"))"#),
        "{of_secret}"
    );
    assert!(
        !of_secret.contains("storm") && !of_secret.contains("line"),
        "{of_secret}"
    );
}
