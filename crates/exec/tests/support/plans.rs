//! One inventory and plan for every kind of step: what the harnesses run over.

use astern_model::config::{ConfigKind, ConfigName, ConfigSeen, HeldBy, HeldConfig, LiveConfig};
use astern_model::content::ContentRef;
use astern_model::evidence::{Evidence, Fact, Known, Side, Source, Trouble};
use astern_model::id::Uid;
use astern_model::inventory::Inventory;
use astern_model::owner::{OwnerName, OwnerSeen, PausableKind};
use astern_model::plan::Plan;
use astern_model::platform::{Member, Platform};
use astern_model::policy::{Acceptor, OnFailure};
use astern_model::release::{ReleaseName, Standing};
use astern_model::target::{Cluster, ClusterIdentity, Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::{
    Owner, OwnerKind, OwnerState, Pod, Released, Revision, RevisionKind, Status, Strategy, Workload,
};
use astern_plan::{History, Request, Selector};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const NAMESPACE: &str = "shop";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

/// A plan and the inventory it was made from.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) inventory: Inventory,
    pub(crate) plan: Plan,
}

/// Every kind of plan that the workload layer has.
pub(crate) fn cases(on_failure: OnFailure) -> Vec<Case> {
    let deployment = || crashing(WorkloadKind::Deployment, "api");
    let mut paused = deployment();
    paused.paused = true;
    let mut stuck = crashing(WorkloadKind::StatefulSet, "db");
    stuck.strategy = Strategy::RollingUpdate {
        max_surge: None,
        max_unavailable: None,
        partition: 0,
        ordered: true,
    };
    let mut on_delete = crashing(WorkloadKind::DaemonSet, "agent");
    on_delete.strategy = Strategy::OnDelete;
    let mut many = on_delete.clone();
    many.pods = (0..3).map(|place| nth(&many.pods[0], place)).collect();
    let waves = vec![
        crashing(WorkloadKind::Deployment, "web"),
        deployment(),
        crashing(WorkloadKind::Deployment, "worker"),
    ];
    let all = [
        ("one Deployment", vec![deployment()], vec![]),
        ("a paused Deployment", vec![paused], vec![]),
        ("a stuck StatefulSet", vec![stuck], vec![]),
        ("a DaemonSet with OnDelete", vec![on_delete], vec![]),
        ("a DaemonSet with OnDelete and three pods", vec![many], vec![]),
        (
            "three Deployments in two waves",
            waves,
            vec![("web", "api"), ("web", "worker")],
        ),
    ];
    let plain = all
        .into_iter()
        .map(|(name, workloads, depends)| case(name, workloads, &depends, Held::default(), on_failure));
    let others = [owned_case(on_failure), stopped_case(on_failure)];
    plain.chain(config_cases(on_failure)).chain(others).collect()
}

/// Two Deployments that are stopped before either is written, and a CronJob that pauses meanwhile.
fn stopped_case(on_failure: OnFailure) -> Case {
    let count = |name: &str, desired: u32| {
        let mut workload = crashing(WorkloadKind::Deployment, name);
        workload.desired = desired;
        workload
    };
    let jobs = OwnerSeen {
        name: OwnerName {
            kind: PausableKind::CronJob,
            namespace: NAMESPACE.to_owned(),
            name: "nightly".to_owned(),
        },
        uid: "nightly-uid".into(),
        state: OwnerState::WritesBack {
            because: "schedule 0 1 * * *".to_owned(),
        },
        setting: json!(false),
        parents: Vec::new(),
        paused: None,
        in_sync: None,
        scales: None,
    };
    let held = Held {
        owners: vec![jobs],
        stop: true,
        ..Held::default()
    };
    let workloads = vec![count("api", 3), count("web", 2)];
    case(
        "two Deployments that are stopped",
        workloads,
        &[("web", "api")],
        held,
        on_failure,
    )
}

/// A Deployment whose application stands below another one: both are paused first.
fn owned_case(on_failure: OnFailure) -> Case {
    let named = |name: &str| OwnerName {
        kind: PausableKind::Application,
        namespace: "argocd".to_owned(),
        name: name.to_owned(),
    };
    let writes = || OwnerState::WritesBack {
        because: "it heals".to_owned(),
    };
    let by = |name: &str| Owner {
        kind: OwnerKind::ArgoCd,
        name: name.to_owned(),
        known_by: "a label".to_owned(),
        state: writes(),
        object: Some(named(name)),
    };
    let seen = |name: &str, parents: Vec<Owner>| OwnerSeen {
        name: named(name),
        uid: format!("{name}-uid").as_str().into(),
        state: writes(),
        setting: json!({"selfHeal": true}),
        parents,
        paused: None,
        in_sync: None,
        scales: None,
    };
    let mut workload = crashing(WorkloadKind::Deployment, "api");
    workload.owners = vec![by("shop")];
    let held = Held {
        owners: vec![seen("root", Vec::new()), seen("shop", vec![by("root")])],
        ..Held::default()
    };
    case(
        "a Deployment with two owners",
        vec![workload],
        &[],
        held,
        on_failure,
    )
}

/// What a release holds of ConfigMaps beside what stands; workloads go back to that release. And the owners.
#[derive(Default)]
struct Held {
    seen: ConfigSeen,
    to: BTreeMap<Target, Selector>,
    owners: Vec<OwnerSeen>,
    stop: bool,
}

/// Every kind of plan that the config layer has.
fn config_cases(on_failure: OnFailure) -> Vec<Case> {
    let release = ReleaseName::parse("r1").unwrap();
    let app = ConfigName {
        kind: ConfigKind::ConfigMap,
        name: "app".to_owned(),
    };
    let kept = |name: &str| ContentRef {
        name: name.to_owned(),
        keyed_hash: name.to_owned(),
        size: 1,
    };
    let live = LiveConfig {
        name: app.clone(),
        uid: "app-uid".into(),
        content: "now".into(),
        immutable: false,
        secret_type: None,
        source: None,
        drawn: None,
        owners: Vec::new(),
        manager: None,
    };
    let object = HeldConfig {
        name: app,
        kept: kept("app"),
        content: "then".into(),
        keys: Vec::new(),
        secret_type: None,
        drawn: None,
        changes: Vec::new(),
    };
    let held = |live: Vec<LiveConfig>, names: &[&str]| Held {
        seen: ConfigSeen {
            live,
            held: Some(HeldBy {
                release: release.clone(),
                recorded_at: None,
                objects: vec![object.clone()],
            }),
            ..ConfigSeen::default()
        },
        to: names
            .iter()
            .map(|name| {
                (
                    target(WorkloadKind::Deployment, name),
                    Selector::Release(release.clone()),
                )
            })
            .collect(),
        owners: Vec::new(),
        stop: false,
    };
    let of_release = |mut workload: Workload, place: usize| {
        let revision = &workload.revisions[place];
        workload.released = vec![Released {
            release: release.clone(),
            standing: Standing::Candidate { failed: None },
            template: revision.hash.clone(),
            content: kept(revision.hash.as_str()),
            images: Vec::new(),
            kept: None,
        }];
        workload
    };
    let reader = |name: &str| reading(crashing(WorkloadKind::Deployment, name), "app");
    let cases = [
        (
            "a ConfigMap, its reader restarted",
            vec![of_release(reader("api"), 0)],
            held(vec![live.clone()], &["api"]),
        ),
        (
            "an immutable ConfigMap, its reader restarted",
            vec![of_release(reader("api"), 0)],
            held(
                vec![LiveConfig {
                    immutable: true,
                    ..live.clone()
                }],
                &["api"],
            ),
        ),
        (
            "a ConfigMap that is made anew",
            vec![of_release(reader("api"), 1)],
            held(vec![], &["api"]),
        ),
        (
            "a ConfigMap, one reader that goes back and one restarted",
            vec![of_release(reader("api"), 1), of_release(reader("web"), 0)],
            held(vec![live], &["api", "web"]),
        ),
    ];
    cases
        .into_iter()
        .map(|(name, workloads, held)| case(name, workloads, &[("web", "api")], held, on_failure))
        .collect()
}

/// The same workload, whose every template reads this ConfigMap.
fn reading(mut workload: Workload, config_map: &str) -> Workload {
    let read = |template: &Template| {
        let mut json = template.json().clone();
        json["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": config_map}}]);
        Template::clean(json)
    };
    for revision in &mut workload.revisions {
        revision.template = read(&revision.template);
        revision.hash = revision.template.hash();
    }
    workload.template = read(&workload.template);
    for pod in &mut workload.pods {
        pod.revision = Some(workload.template.hash());
    }
    workload
}

fn case(
    name: &'static str,
    workloads: Vec<Workload>,
    depends: &[(&str, &str)],
    held: Held,
    on_failure: OnFailure,
) -> Case {
    let mut platform = Platform::of_namespace(NAMESPACE);
    let deployment = |name: &str| target(WorkloadKind::Deployment, name);
    platform.members = workloads
        .iter()
        .map(|workload| Member {
            reloads: false,
            stops: false,
            target: workload.target.clone(),
            depends_on: depends
                .iter()
                .filter(|(from, _)| *from == workload.target.name)
                .map(|(_, to)| deployment(to))
                .collect(),
            probes: Vec::new(),
        })
        .collect();
    let evidence = workloads.iter().flat_map(evidence).collect();
    let inventory = Inventory {
        owners: held.owners,
        hub: None,
        marks: Default::default(),
        releases: Vec::new(),
        cluster: Cluster {
            identity: ClusterIdentity::KubeSystem("cluster-uid".into()),
            context: "test".to_owned(),
            server: "https://127.0.0.1".to_owned(),
            user: "someone".to_owned(),
            version: "v1.34.4".to_owned(),
        },
        namespace: NAMESPACE.to_owned(),
        taken_at: now(),
        workloads: workloads
            .into_iter()
            .map(|workload| (workload.target.clone(), workload))
            .collect(),
        evidence,
        quotas: Vec::new(),
        config: held.seen,
        cordoned_nodes: Vec::new(),
        unread: Vec::new(),
    };
    let request = Request {
        releases: BTreeMap::new(),
        outside_helm: false,
        abandoned: BTreeSet::new(),
        leave_config: false,
        only: Vec::new(),
        to: held.to,
        gone: Vec::new(),
        accept_revert: BTreeSet::new(),
        stop: held.stop,
        overrides: BTreeSet::new(),
        acceptor: Acceptor::Person,
        on_failure: Some(on_failure),
    };
    let plan = astern_plan::plan(&request, &inventory, &platform, &History::default(), now())
        .unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
    Case {
        name,
        inventory,
        plan,
    }
}

fn target(kind: WorkloadKind, name: &str) -> Target {
    Target {
        kind,
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

fn template(name: &str, version: &str) -> Template {
    Template::clean(json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": name, "image": format!("{name}:{version}")}]},
    }))
}

/// Another pod like this one, on another node.
fn nth(pod: &Pod, place: usize) -> Pod {
    Pod {
        name: format!("{}{place}", pod.name),
        uid: Uid(format!("{}-{place}", pod.uid)),
        node: Some(format!("node-{place}")),
        ..pod.clone()
    }
}

/// A workload whose newest version crashes; the version before it served for hours.
fn crashing(kind: WorkloadKind, name: &str) -> Workload {
    let hours = |hours: i64| now() - SignedDuration::from_hours(hours);
    let kept = RevisionKind::of(kind);
    let (good, bad) = (template(name, "v1"), template(name, "v2"));
    let revision = |number: u64, template: &Template, created_at| Revision {
        number,
        former_numbers: Vec::new(),
        kind: kept,
        name: format!("{name}-{number}"),
        uid: Uid(format!("{name}-revision-{number}")),
        created_at,
        template: template.clone(),
        hash: template.hash(),
        change_cause: None,
        marks: BTreeMap::new(),
        pods: 0,
        ready: 0,
        serving_since: None,
    };
    let pod = Pod {
        name: format!("{name}-0"),
        uid: Uid(format!("{name}-pod-0")),
        revision: Some(bad.hash()),
        node: Some("node".to_owned()),
        created_at: now() - SignedDuration::from_mins(5),
        ready: false,
        ready_since: None,
        restarts: 5,
        trouble: Some(trouble(name)),
        image_ids: BTreeMap::new(),
        containers: vec![name.to_owned()],
        failing: vec![name.to_owned()],
        terminating: false,
    };
    let mut live = revision(2, &bad, now() - SignedDuration::from_mins(5));
    live.pods = 1;
    Workload {
        target: target(kind, name),
        uid: Uid(format!("{name}-uid")),
        created_at: hours(9),
        strategy: Strategy::RollingUpdate {
            max_surge: Some("1".to_owned()),
            max_unavailable: Some("1".to_owned()),
            partition: 0,
            ordered: false,
        },
        paused: false,
        desired: 1,
        status: Status {
            replicas: 1,
            updated: 1,
            observed: true,
            ..Status::default()
        },
        progress_deadline: Some(SignedDuration::from_secs(600)),
        min_ready: SignedDuration::ZERO,
        delivery: None,
        history_limit: 10,
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
        has_last_applied: false,
        deletes_claims: false,
        revisions: vec![live, revision(1, &good, hours(8))],
        pods: vec![pod],
        autoscaler: None,
        owners: Vec::new(),
        template_manager: None,
        paused_manager: None,
        released: Vec::new(),
        foretold: Vec::new(),
        recalled: Vec::new(),
        template: bad,
    }
}

fn trouble(name: &str) -> Trouble {
    Trouble::CrashLoop {
        container: name.to_owned(),
        exit_code: Some(1),
        restarts: 5,
        last_line: None,
    }
}

fn evidence(workload: &Workload) -> Vec<Evidence> {
    let about = |fact, source| Evidence {
        subject: workload.target.clone(),
        side: Side::Live,
        fact,
        source,
        window: None,
        observed_at: now(),
    };
    let name = &workload.target.name;
    vec![
        about(
            Fact::Serving {
                ready: 0,
                pods: 1,
                desired: 1,
            },
            Source::Rollout,
        ),
        about(
            Fact::Trouble {
                trouble: trouble(name),
                pods: 1,
                example: format!("{name}-0"),
            },
            Source::Pods,
        ),
        about(
            Fact::ErrorLines {
                per_minute: Known::Is(0.0),
                pods: 1,
                lines: 0,
                example: None,
            },
            Source::Logs,
        ),
    ]
}
