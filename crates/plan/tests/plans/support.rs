//! Builders of inventories for tests. Everything happens on 2026-11-23; the inventory is taken at 14:12:00.

use astern_model::content::ContentRef;
use astern_model::evidence::{Evidence, Fact, Known, Side, Source, Trouble};
use astern_model::id::{TemplateHash, Uid};
use astern_model::inventory::Inventory;
use astern_model::platform::{Member, Platform, Probe, ProbeTarget};
use astern_model::policy::Acceptor;
use astern_model::release::{Reason, ReleaseName, Standing, Word};
use astern_model::target::{Cluster, ClusterIdentity, Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::{
    Condition, Pod, Released, Revision, RevisionKind, RunningImage, Status, Strategy, Workload,
};
use astern_plan::{History, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const NAMESPACE: &str = "vcci-scope3";
pub(crate) const NOW: &str = "14:12:00";

/// A time of the day, `14:02:00`, or a whole timestamp.
pub(crate) fn at(time: &str) -> Timestamp {
    if time.len() > 8 {
        time.parse().unwrap()
    } else {
        format!("2026-11-23T{time}Z").parse().unwrap()
    }
}

pub(crate) fn deployment(name: &str) -> Target {
    target(WorkloadKind::Deployment, name)
}

pub(crate) fn target(kind: WorkloadKind, name: &str) -> Target {
    Target {
        kind,
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

pub(crate) fn template(name: &str, version: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": name,
                "image": format!("registry.test/{name}:{version}"),
                "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 5, "periodSeconds": 5},
                "envFrom": [{"configMapRef": {"name": "app-config"}}],
                "env": [{"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "api-keys", "key": "api-token"}}}],
            }],
        }
    })
}

/// A workload under construction. Revisions come oldest first; the last one is live.
pub(crate) struct Build {
    pub(crate) workload: Workload,
}

pub(crate) fn workload(name: &str) -> Build {
    of_kind(deployment(name))
}

pub(crate) fn of_kind(target: Target) -> Build {
    let rolling = |ordered| Strategy::RollingUpdate {
        max_surge: None,
        max_unavailable: None,
        partition: 0,
        ordered,
    };
    let is_deployment = target.kind == WorkloadKind::Deployment;
    Build {
        workload: Workload {
            uid: Uid(format!("uid-{target}")),
            created_at: at("2026-10-01T08:00:00Z"),
            template: Template::clean(Value::Null),
            strategy: rolling(target.kind == WorkloadKind::StatefulSet),
            paused: false,
            desired: 3,
            status: Status {
                observed: true,
                ..Status::default()
            },
            progress_deadline: is_deployment.then(|| SignedDuration::from_secs(600)),
            min_ready: SignedDuration::ZERO,
            delivery: None,
            history_limit: 10,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            has_last_applied: true,
            deletes_claims: false,
            revisions: Vec::new(),
            pods: Vec::new(),
            autoscaler: None,
            owners: Vec::new(),
            template_manager: None,
            paused_manager: None,
            released: Vec::new(),
            foretold: Vec::new(),
            recalled: Vec::new(),
            target,
        },
    }
}

impl Build {
    /// Adds a revision; it is live until another one is added.
    pub(crate) fn revision(self, number: u64, version: &str, created: &str) -> Self {
        let json = template(&self.workload.target.name, version);
        self.revision_of(number, json, created)
    }

    pub(crate) fn revision_of(mut self, number: u64, json: Value, created: &str) -> Self {
        let template = Template::clean(json);
        let target = &self.workload.target;
        self.workload.revisions.insert(
            0,
            Revision {
                number,
                former_numbers: Vec::new(),
                kind: RevisionKind::of(target.kind),
                name: format!("{}-rs{number}", target.name),
                uid: Uid(format!("uid-{target}-rs{number}")),
                created_at: at(created),
                hash: template.hash(),
                template: template.clone(),
                change_cause: None,
                marks: BTreeMap::new(),
                pods: 0,
                ready: 0,
                serving_since: None,
            },
        );
        self.workload.template = template;
        self
    }

    /// A release of the ledger, newer than those added before, that holds the template of this version.
    pub(crate) fn released(
        mut self,
        name: &str,
        version: &str,
        standing: Standing,
        digest: Option<&str>,
    ) -> Self {
        let template = Template::clean(template(&self.workload.target.name, version));
        let images = template.images().into_iter();
        let released = Released {
            release: ReleaseName::parse(name).unwrap(),
            standing,
            template: template.hash(),
            content: ContentRef {
                name: format!("saved-{name}"),
                keyed_hash: "hmac-sha256:ab".to_owned(),
                size: 512,
            },
            images: images
                .map(|image| RunningImage {
                    image,
                    digest: digest.map(str::to_owned),
                })
                .collect(),
            kept: None,
        };
        self.workload.released.insert(0, released);
        self
    }

    /// The newest release's template was read back from the vault.
    pub(crate) fn read_back(mut self, version: &str) -> Self {
        let donor = workload(&self.workload.target.name).revision(0, version, "08:00:00");
        let mut revision = donor.workload.revisions[0].clone();
        let released = &mut self.workload.released[0];
        revision.name.clone_from(&released.content.name);
        revision.uid = Uid(String::new());
        released.kept = Some(Known::Is(revision));
        self
    }

    /// The revision that an undo brought back: it is live, whatever was added after it.
    pub(crate) fn brought_back(mut self, number: u64, now: u64) -> Self {
        let revision = self.of_number(number);
        revision.former_numbers.push(number);
        revision.number = now;
        self.workload.template = self.of_number(now).template.clone();
        self.workload
            .revisions
            .sort_by_key(|revision| std::cmp::Reverse(revision.number));
        self
    }

    pub(crate) fn mark(mut self, number: u64, mark: &str, value: &str) -> Self {
        self.of_number(number)
            .marks
            .insert(mark.to_owned(), value.to_owned());
        self
    }

    /// Pods of a revision that serve since `since`.
    pub(crate) fn serving(mut self, number: u64, pods: u32, since: &str) -> Self {
        let revision = self.of_number(number);
        revision.pods += pods;
        revision.ready += pods;
        revision.serving_since = Some(at(since));
        for _ in 0..pods {
            self.add_pod(number, since, None);
        }
        self
    }

    /// Pods of a revision that do not serve.
    pub(crate) fn troubled(mut self, number: u64, pods: u32, since: &str, trouble: Trouble) -> Self {
        self.of_number(number).pods += pods;
        for _ in 0..pods {
            self.add_pod(number, since, Some(trouble.clone()));
        }
        self
    }

    fn add_pod(&mut self, number: u64, since: &str, trouble: Option<Trouble>) {
        let hash = self.of_number(number).hash.clone();
        let index = self.workload.pods.len();
        let image = self.of_number(number).template.images()[0].reference.clone();
        let name = match self.workload.target.kind {
            WorkloadKind::StatefulSet => format!("{}-{index}", self.workload.target.name),
            _ => format!("{}-rs{number}-{index}", self.workload.target.name),
        };
        self.workload.pods.push(Pod {
            uid: Uid(format!("uid-{name}")),
            name,
            revision: Some(hash),
            node: Some("node-1".to_owned()),
            created_at: at(since),
            ready: trouble.is_none(),
            ready_since: trouble.is_none().then(|| at(since)),
            restarts: 0,
            trouble,
            image_ids: BTreeMap::from([(image, format!("registry.test/x@sha256:{number:064}"))]),
            containers: vec![self.workload.target.name.clone()],
            failing: Vec::new(),
            terminating: false,
        });
        self.workload.status.replicas += 1;
    }

    fn of_number(&mut self, number: u64) -> &mut Revision {
        self.workload
            .revisions
            .iter_mut()
            .find(|revision| revision.number == number)
            .unwrap()
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Workload)) -> Self {
        change(&mut self.workload);
        self
    }

    pub(crate) fn strategy(self, strategy: Strategy) -> Self {
        self.with(|workload| workload.strategy = strategy)
    }

    pub(crate) fn condition(self, kind: &str, status: &str, reason: &str, message: &str) -> Self {
        let condition = Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            since: None,
        };
        self.with(|workload| workload.status.conditions.push(condition))
    }
}

/// v1.2.3 for four days, then v1.2.4 from 14:02 on.
pub(crate) fn released(name: &str) -> Build {
    released_at(name, "14:02:00")
}

pub(crate) fn released_at(name: &str, created: &str) -> Build {
    workload(name)
        .revision(1, "v1.2.3", "2026-11-19T10:00:00Z")
        .revision(2, "v1.2.4", created)
}

/// The same with v1.2.4 in a crash loop, two pods of v1.2.3 still serving.
pub(crate) fn crashing(name: &str) -> Build {
    released(name)
        .serving(1, 2, "2026-11-19T10:00:20Z")
        .troubled(2, 2, "14:02:10", crash_loop())
}

/// v1.2.4 has replaced v1.2.3 and serves.
pub(crate) fn replaced(name: &str) -> Build {
    released(name).serving(2, 3, "14:02:20")
}

pub(crate) fn crash_loop() -> Trouble {
    Trouble::CrashLoop {
        container: "api".to_owned(),
        exit_code: Some(1),
        restarts: 4,
        last_line: Some("panic: no DATABASE_URL".to_owned()),
    }
}

pub(crate) fn not_ready() -> Trouble {
    Trouble::NotReady {
        container: "api".to_owned(),
        message: Some("Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned()),
    }
}

pub(crate) fn inventory(workloads: impl IntoIterator<Item = Build>) -> Inventory {
    Inventory {
        releases: Vec::new(),
        owners: Vec::new(),
        hub: None,
        marks: Default::default(),
        cluster: Cluster {
            identity: ClusterIdentity::KubeSystem(Uid("uid-kube-system".to_owned())),
            context: "prod".to_owned(),
            server: "https://192.0.2.1:6443".to_owned(),
            user: "oncall".to_owned(),
            version: "v1.34.4".to_owned(),
        },
        namespace: NAMESPACE.to_owned(),
        taken_at: at(NOW),
        workloads: workloads
            .into_iter()
            .map(|build| (build.workload.target.clone(), build.workload))
            .collect(),
        evidence: Vec::new(),
        quotas: Vec::new(),
        config: astern_model::config::ConfigSeen::default(),
        cordoned_nodes: Vec::new(),
        unread: Vec::new(),
    }
}

pub(crate) fn evidence(subject: &Target, side: Side, fact: Fact) -> Evidence {
    let source = match fact {
        Fact::ErrorLines { .. } => Source::Logs,
        Fact::Probe { .. } => Source::Probe,
        _ => Source::Events,
    };
    Evidence {
        subject: subject.clone(),
        side,
        fact,
        source,
        window: None,
        observed_at: at("14:11:58"),
    }
}

/// Error lines a minute and pod.
pub(crate) fn errors(per_minute: Known<f64>) -> Fact {
    Fact::ErrorLines {
        per_minute,
        pods: 3,
        lines: 42,
        example: Some("ERROR upstream gone".to_owned()),
    }
}

pub(crate) fn probed(name: &str, passed: Known<bool>, detail: &str) -> Fact {
    Fact::Probe {
        name: name.to_owned(),
        passed,
        detail: detail.to_owned(),
    }
}

pub(crate) fn platform() -> Platform {
    Platform::of_namespace(NAMESPACE)
}

/// A platform whose members depend on each other: `(workload, what it depends on)`.
pub(crate) fn depending(members: &[(&str, &[&str])]) -> Platform {
    let members = members.iter().map(|(name, on)| Member {
        reloads: false,
        stops: false,
        target: deployment(name),
        depends_on: on.iter().map(|name| deployment(name)).collect(),
        probes: Vec::new(),
    });
    Platform {
        members: members.collect(),
        ..platform()
    }
}

pub(crate) fn health_probe() -> Probe {
    Probe {
        name: "health".to_owned(),
        to: ProbeTarget::Url("https://192.0.2.2/health".to_owned()),
        status: 200,
        json: None,
        header: None,
        bearer: None,
    }
}

pub(crate) fn request() -> Request {
    Request {
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
        acceptor: Acceptor::Person,
        on_failure: None,
    }
}

pub(crate) fn plan(
    request: &Request,
    inventory: &Inventory,
    platform: &Platform,
) -> Result<astern_model::plan::Plan, astern_model::decision::Refusal> {
    astern_plan::plan(request, inventory, platform, &History::default(), at("14:12:05"))
}

/// The hash of a fixture's template.
pub(crate) fn hash(name: &str, version: &str) -> TemplateHash {
    Template::clean(template(name, version)).hash()
}

/// Good, on ci's word.
pub(crate) fn good() -> Standing {
    Standing::Good(word("soaked"))
}

/// Bad, on ci's word.
pub(crate) fn bad() -> Standing {
    Standing::Bad(word("loses orders"))
}

pub(crate) fn word(reason: &str) -> Word {
    Word {
        reason: Reason::new(reason).unwrap(),
        by: "ci".to_owned(),
        at: at("13:00:00"),
    }
}
