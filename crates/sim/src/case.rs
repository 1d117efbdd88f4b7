//! The platforms that are simulated: each has run well for two days, and a bad release of it went out minutes ago. Owns
//! what they are made of; staged once a thread and cloned for every run.

pub(crate) mod configured;

use astern_model::login::Proof;
use astern_model::platform::{Member, Platform};
use astern_model::policy::OnFailure;
use astern_model::target::{Target, WorkloadKind};
use astern_sandbox::{
    Behaviour, BehaviourRule, Behaviours, Cluster, Crash, Moment, Named, Patched, Ready, Scenario, When,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use configured::Recorded;

/// Where all of it lives.
pub(crate) const NAMESPACE: &str = "shop";
/// Long enough for a verdict of two looks; the minutes of a real one would only cost time here.
const SOAK: SignedDuration = SignedDuration::from_secs(2);
/// A rollout that does not come on is known as stuck after this.
const PROGRESS_SECONDS: i64 = 60;
/// So long a version runs that was mended before it crashes: longer than a rollout and its soak.
pub(crate) const MENDED_FOR: SignedDuration = SignedDuration::from_secs(90);

/// Which platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaseId {
    /// Four services in two waves.
    Services,
    /// An ordered StatefulSet that waits for its broken pod, and a service.
    Ordered,
    /// A DaemonSet and a service.
    Daemon,
    /// A Deployment that somebody paused in the middle of the bad rollout, and another service.
    Paused,
    /// A StatefulSet that replaces pods only when they are deleted.
    OnDelete,
    /// Four services that read ConfigMaps and a Secret, which the release changed and pruned; one of them is of no new version.
    Configured,
}

impl CaseId {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Services,
        Self::Ordered,
        Self::Daemon,
        Self::Paused,
        Self::OnDelete,
        Self::Configured,
    ];
}

/// A platform after its bad release.
pub(crate) struct Case {
    pub(crate) cluster: Cluster,
    pub(crate) platform: Platform,
    /// Members first, then those that the release did not touch.
    pub(crate) workloads: Vec<Target>,
    /// The objects that are asked for, as they were at first, by path.
    pub(crate) at_first: BTreeMap<String, Arc<Value>>,
    /// How pods behave while the release is bad, and once that is mended as it seems.
    pub(crate) bad: Behaviours,
    pub(crate) mended: Behaviours,
    /// The release that a ledger holds; none where nobody recorded one.
    pub(crate) recorded: Option<Recorded>,
}

/// When every simulated run begins.
pub(crate) fn begin() -> Timestamp {
    Timestamp::from_second(1_767_268_800).unwrap_or_default()
}

/// The case, from this thread's shelf; it must be asked for outside of a runtime. `slow`: pods of the good version need some time to become ready.
pub(crate) fn case(id: CaseId, slow: bool) -> Rc<Case> {
    thread_local! {
        static SHELF: RefCell<BTreeMap<(CaseId, bool), Rc<Case>>> = RefCell::default();
    }
    SHELF.with_borrow_mut(|shelf| {
        shelf
            .entry((id, slow))
            .or_insert_with(|| Rc::new(staged(id, slow)))
            .clone()
    })
}

/// Stages the platform for this thread's runs, unless that is done.
pub fn stage(id: CaseId, slow: bool) {
    case(id, slow);
}

impl Case {
    /// The platform with this policy for failures.
    pub(crate) fn platform(&self, on_failure: OnFailure) -> Platform {
        let mut platform = self.platform.clone();
        platform.policy.on_failure = on_failure;
        platform
    }
}

fn staged(id: CaseId, slow: bool) -> Case {
    let members = members(id);
    let mut objects = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})];
    for (kind, name, _) in &members {
        objects.push(workload(*kind, name, id));
    }
    if id == CaseId::Configured {
        objects.extend(configured::first());
    }
    // Nobody releases these, and nobody may touch them.
    objects.push(workload(WorkloadKind::Deployment, "bystander", CaseId::Services));
    objects.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": NAMESPACE}, "data": {"region": "eu"},
    }));
    let past = |ago| Moment {
        ago,
        apply: Vec::new(),
        objects: Vec::new(),
        patch: Vec::new(),
        delete: Vec::new(),
        evict: Vec::new(),
    };
    let mut history = vec![Moment {
        objects,
        ..past(SignedDuration::from_hours(48))
    }];
    let named = |kind: WorkloadKind, name: &str| Named {
        api_version: "apps/v1".to_owned(),
        kind: kind.name().to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    };
    let patch = |(kind, name, _): &(WorkloadKind, &str, &[&str])| Patched {
        object: named(*kind, name),
        with: json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": format!("{name}:v2")}]}}}}),
    };
    let mut release = Moment {
        patch: members
            .iter()
            .filter(|(_, name, _)| *name != "worker")
            .map(patch)
            .collect(),
        ..past(SignedDuration::from_mins(5))
    };
    if id == CaseId::Configured {
        configured::released(&mut release);
    }
    history.push(release);
    if id == CaseId::Paused {
        history.push(Moment {
            patch: vec![Patched {
                object: named(WorkloadKind::Deployment, "web"),
                with: json!({"spec": {"paused": true}}),
            }],
            ..past(SignedDuration::from_mins(4))
        });
    }
    if id == CaseId::OnDelete {
        history.push(Moment {
            delete: vec![Named {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: NAMESPACE.to_owned(),
                name: "store-1".to_owned(),
            }],
            ..past(SignedDuration::from_mins(4))
        });
    }
    let crash = Behaviour {
        crash: Some(Crash {
            after: SignedDuration::from_secs(1),
            code: 1,
        }),
        ready: Ready::Never,
        ..Behaviour::default()
    };
    let mended = Behaviour {
        crash: Some(Crash {
            after: MENDED_FOR,
            code: 1,
        }),
        ..Behaviour::default()
    };
    let bad = behaviours(&members, slow, &crash);
    let stage = |now, history| {
        let scenario = Scenario {
            says: String::new(),
            base: None,
            nodes: Vec::new(),
            traffic: Vec::new(),
            behaviours: bad.clone(),
            history,
            then: None,
        };
        scenario
            .stage(1, now, &|file| Err(format!("{file} is no file of this case")))
            .unwrap_or_else(|error| panic!("BUG: case {id:?} cannot be staged: {error}"))
    };
    let good = history[..1].to_vec();
    let mut cluster = stage(begin(), history);
    // As after two days: what happened before the run can be watched no more, and no run copies it.
    cluster.compact(cluster.version());
    let target = |kind, name: &str| Target {
        kind,
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    };
    let of = |(kind, name, needs): &(WorkloadKind, &str, &[&str])| Member {
        reloads: false,
        stops: false,
        target: target(*kind, name),
        depends_on: needs
            .iter()
            .map(|name| target(WorkloadKind::Deployment, name))
            .collect(),
        probes: Vec::new(),
    };
    let mut workloads: Vec<Target> = members
        .iter()
        .map(|(kind, name, _)| target(*kind, name))
        .collect();
    workloads.push(target(WorkloadKind::Deployment, "bystander"));
    let mut platform = Platform {
        members: members.iter().map(of).collect(),
        soak: SOAK,
        ..Platform::of_namespace(NAMESPACE)
    };
    let recorded = (id == CaseId::Configured).then(|| {
        platform
            .restore_secrets
            .insert("token".to_owned(), Some(Proof::NeverRotates));
        // The same cluster, an hour before.
        let good = good.into_iter().map(|moment| Moment {
            ago: moment.ago - configured::RECORDED,
            ..moment
        });
        configured::recorded(stage(begin() - configured::RECORDED, good.collect()), &platform)
    });
    let at_first = at_first(&cluster, &workloads, recorded.as_ref());
    Case {
        cluster,
        platform,
        workloads,
        at_first,
        bad,
        mended: behaviours(&members, slow, &mended),
        recorded,
    }
}

fn at_first(
    cluster: &Cluster,
    workloads: &[Target],
    recorded: Option<&Recorded>,
) -> BTreeMap<String, Arc<Value>> {
    let mut paths: Vec<String> = workloads.iter().map(crate::oracle::path_of).collect();
    paths.extend(
        recorded
            .into_iter()
            .flat_map(|recorded| recorded.then.keys().cloned()),
    );
    paths.push(format!("/api/v1/namespaces/{NAMESPACE}/configmaps/settings"));
    let read = |path: String| {
        let object = cluster.stored(&path).unwrap_or_default();
        (path, object)
    };
    paths.into_iter().map(read).collect()
}

/// Kind, name, and the Deployments that must serve first.
fn members(id: CaseId) -> Vec<(WorkloadKind, &'static str, &'static [&'static str])> {
    use WorkloadKind::{DaemonSet, Deployment, StatefulSet};
    match id {
        CaseId::Services => vec![
            (Deployment, "engine", &[]),
            (Deployment, "ingest", &[]),
            (Deployment, "gateway", &["engine", "ingest"]),
            (Deployment, "reports", &["engine"]),
        ],
        CaseId::Ordered => vec![(StatefulSet, "store", &[]), (Deployment, "web", &[])],
        CaseId::Daemon => vec![(DaemonSet, "agent", &[]), (Deployment, "web", &[])],
        CaseId::Paused => vec![(Deployment, "web", &[]), (Deployment, "api", &[])],
        CaseId::OnDelete => vec![(StatefulSet, "store", &[]), (Deployment, "web", &[])],
        CaseId::Configured => vec![
            (Deployment, "engine", &[]),
            (Deployment, "gateway", &["engine"]),
            (Deployment, "reports", &[]),
            (Deployment, "worker", &[]),
        ],
    }
}

/// The bad version behaves as `bad`.
fn behaviours(members: &[(WorkloadKind, &str, &[&str])], slow: bool, bad: &Behaviour) -> Behaviours {
    let otherwise = Behaviour {
        ready: Ready::After(if slow {
            SignedDuration::from_secs(9)
        } else {
            SignedDuration::from_millis(500)
        }),
        ..Behaviour::default()
    };
    let rules = members.iter().map(|(_, name, _)| BehaviourRule {
        when: When::Image(format!("{name}:v2")),
        behaviour: bad.clone(),
    });
    Behaviours {
        rules: rules.collect(),
        otherwise,
    }
}

fn workload(kind: WorkloadKind, name: &str, id: CaseId) -> Value {
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": format!("{name}:v1")}]},
            },
        },
    });
    match kind {
        WorkloadKind::Deployment => {
            object["spec"]["replicas"] = json!(2);
            object["spec"]["progressDeadlineSeconds"] = json!(PROGRESS_SECONDS);
        }
        WorkloadKind::StatefulSet => {
            object["spec"]["replicas"] = json!(2);
            object["spec"]["serviceName"] = json!(name);
            if id == CaseId::OnDelete {
                object["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
            }
        }
        WorkloadKind::DaemonSet | WorkloadKind::Rollout => {}
    }
    if id == CaseId::Configured {
        return configured::reading(object);
    }
    object
}
