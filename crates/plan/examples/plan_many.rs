//! Plans the rollback of five thousand workloads that it builds in memory, and prints the seconds and the memory that
//! planning took beyond them. For `xtask bench`.
#![expect(clippy::print_stdout, reason = "the bench reads one line of JSON")]

use astern_model::evidence::{Evidence, Fact, Side, Source, Trouble};
use astern_model::id::Uid;
use astern_model::inventory::Inventory;
use astern_model::platform::{Member, Platform};
use astern_model::policy::Acceptor;
use astern_model::target::{Cluster, ClusterIdentity, Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::{Pod, Revision, RevisionKind, Status, Strategy, Workload};
use astern_plan::{History, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Instant;

const WORKLOADS: usize = 5_000;
const PODS: usize = 3;
const NAMESPACE: &str = "shop";
/// Workloads of a wave depend on one of the wave before: as deep as platforms of microservices are.
const WAVES: usize = 8;
/// 2026-11-23 14:12:00 UTC.
const NOW: i64 = 1_795_443_120;
const DAYS: i64 = 86_400;

fn main() -> Result<(), Box<dyn Error>> {
    let now = Timestamp::from_second(NOW)?;
    let inventory = inventory(now);
    let platform = platform();
    let request = Request {
        releases: Default::default(),
        outside_helm: false,
        abandoned: Default::default(),
        leave_config: false,
        only: Vec::new(),
        to: BTreeMap::new(),
        gone: Vec::new(),
        accept_revert: BTreeSet::new(),
        stop: false,
        overrides: BTreeSet::new(),
        acceptor: Acceptor::Yes,
        on_failure: None,
    };
    let before = memory("VmRSS:")?;
    let start = Instant::now();
    let plan = astern_plan::plan(&request, &inventory, &platform, &History::default(), now)
        .map_err(|refusal| format!("{refusal:?}"))?;
    let seconds = start.elapsed().as_secs_f64();
    // The peak of the whole process: whatever planning held at once and gave back is in it.
    let grew = memory("VmHWM:")?.saturating_sub(before) / 1024;
    if plan.targets().len() != WORKLOADS {
        return Err(format!("{} of {WORKLOADS} workloads are planned", plan.targets().len()).into());
    }
    println!(
        "{{\"seconds\": {seconds:.3}, \"mebibytes\": {grew}, \"steps\": {}}}",
        plan.steps.len()
    );
    Ok(())
}

/// A line of `/proc/self/status`, in KiB.
fn memory(name: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("the kernel tells no memory")?.parse()?)
}

fn target(number: usize) -> Target {
    Target {
        kind: WorkloadKind::Deployment,
        namespace: NAMESPACE.to_owned(),
        name: format!("service-{number:04}"),
    }
}

fn platform() -> Platform {
    let wave = WORKLOADS / WAVES;
    let members = (0..WORKLOADS).map(|number| Member {
        reloads: false,
        stops: false,
        target: target(number),
        depends_on: number.checked_sub(wave).map(target).into_iter().collect(),
        probes: Vec::new(),
    });
    Platform {
        members: members.collect(),
        ..Platform::of_namespace(NAMESPACE)
    }
}

fn inventory(now: Timestamp) -> Inventory {
    let workloads: BTreeMap<Target, Workload> = (0..WORKLOADS)
        .map(|number| (target(number), workload(number, now)))
        .collect();
    Inventory {
        releases: Vec::new(),
        owners: Vec::new(),
        hub: None,
        marks: Default::default(),
        cluster: Cluster {
            identity: ClusterIdentity::KubeSystem(Uid("kube-system".to_owned())),
            context: "bench".to_owned(),
            server: "https://192.0.2.1:6443".to_owned(),
            user: "oncall".to_owned(),
            version: "v1.34.4".to_owned(),
        },
        namespace: NAMESPACE.to_owned(),
        taken_at: now,
        evidence: workloads
            .values()
            .map(|workload| crashes(workload, now))
            .collect(),
        workloads,
        quotas: Vec::new(),
        config: astern_model::config::ConfigSeen::default(),
        cordoned_nodes: Vec::new(),
        unread: Vec::new(),
    }
}

/// Ten revisions, the newest of which crashes.
fn workload(number: usize, now: Timestamp) -> Workload {
    let target = target(number);
    let revisions: Vec<Revision> = (1..=10)
        .rev()
        .map(|revision| self::revision(&target, revision, now))
        .collect();
    let live = &revisions[0];
    Workload {
        uid: Uid(format!("uid-{}", target.name)),
        created_at: now - SignedDuration::from_secs(90 * DAYS),
        template: live.template.clone(),
        strategy: Strategy::RollingUpdate {
            max_surge: None,
            max_unavailable: None,
            partition: 0,
            ordered: false,
        },
        paused: false,
        desired: u32::try_from(PODS).unwrap_or(u32::MAX),
        status: Status {
            observed: true,
            ..Status::default()
        },
        progress_deadline: Some(SignedDuration::from_secs(600)),
        min_ready: SignedDuration::ZERO,
        delivery: None,
        history_limit: 10,
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
        has_last_applied: true,
        deletes_claims: false,
        pods: (0..PODS).map(|pod| self::pod(&target, live, pod)).collect(),
        revisions,
        autoscaler: None,
        owners: Vec::new(),
        template_manager: None,
        paused_manager: None,
        released: Vec::new(),
        foretold: Vec::new(),
        recalled: Vec::new(),
        target,
    }
}

fn revision(target: &Target, number: u32, now: Timestamp) -> Revision {
    let template = Template::clean(template(&target.name, number));
    let name = format!("{}-{number}", target.name);
    let age = if number == 10 {
        600
    } else {
        i64::from(10 - number) * 7 * DAYS
    };
    Revision {
        number: u64::from(number),
        former_numbers: Vec::new(),
        kind: RevisionKind::ReplicaSet,
        uid: Uid(format!("uid-{name}")),
        name,
        created_at: now - SignedDuration::from_secs(age),
        hash: template.hash(),
        template,
        change_cause: None,
        marks: BTreeMap::new(),
        pods: 0,
        ready: 0,
        serving_since: None,
    }
}

fn template(name: &str, version: u32) -> Value {
    let environment: Vec<Value> = (0..20)
        .map(|number| json!({"name": format!("SETTING_{number}"), "value": format!("value {number} of {name}")}))
        .collect();
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{
            "name": "app",
            "image": format!("shop/{name}:v{version}"),
            "env": environment,
            "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 5},
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        }]},
    })
}

fn pod(target: &Target, revision: &Revision, number: usize) -> Pod {
    let name = format!("{}-{number}", target.name);
    Pod {
        uid: Uid(format!("uid-pod-{name}")),
        name,
        revision: Some(revision.hash.clone()),
        node: Some(format!("node-{}", number + 1)),
        created_at: revision.created_at,
        ready: false,
        ready_since: None,
        restarts: 4,
        trouble: Some(crash_loop()),
        image_ids: BTreeMap::new(),
        containers: vec!["app".to_owned()],
        failing: vec!["app".to_owned()],
        terminating: false,
    }
}

fn crash_loop() -> Trouble {
    Trouble::CrashLoop {
        container: "app".to_owned(),
        exit_code: Some(1),
        restarts: 4,
        last_line: Some("panic: no DATABASE_URL".to_owned()),
    }
}

fn crashes(workload: &Workload, now: Timestamp) -> Evidence {
    Evidence {
        subject: workload.target.clone(),
        side: Side::Live,
        fact: Fact::Trouble {
            trouble: crash_loop(),
            pods: workload.desired,
            example: format!("{}-0", workload.target.name),
        },
        source: Source::Events,
        window: None,
        observed_at: now,
    }
}
