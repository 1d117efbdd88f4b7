//! One incident as plan and records: four services go from v1.2.4 back to v1.2.3. Shared by all tests;
//! owns no expectation.

mod journal;
mod seen;

pub(crate) use journal::{held, holder, not_judged, restored, verdict};

use astern_model::choice::{Because, Choice, KnownGood, PassedOver, RevisionRef};
use astern_model::decision::{Decision, Fired};
use astern_model::diff::{Change, Shown};
use astern_model::finding::{Finding, Severity};
use astern_model::id::{PlanHash, RunId, StepId, TemplateHash, Uid, sha256};
use astern_model::plan::{Criteria, Intent, Plan, TargetChanges};
use astern_model::platform::{HeaderExpectation, JsonExpectation, Probe, ProbeTarget, SecretRef};
use astern_model::policy::{OnFailure, Say};
use astern_model::record::Record;
use astern_model::reversal::Reversal;
use astern_model::step::{Basis, Forecast, Spec, Step, workload};
use astern_model::target::{Cluster, ClusterIdentity, Target, WorkloadKind};
use astern_model::workload::{RevisionKind, Strategy};
use astern_report::report;
use astern_report::report::Report;
use jiff::{SignedDuration, Timestamp};

/// The journal's own words for where it lies.
pub(crate) const PLACE: &str = "Secrets in namespace vcci-scope3";

const SERVICES: [&str; 4] = [
    "api-gateway",
    "calculation-engine",
    "data-ingestion",
    "reporting-service",
];

/// A moment of the day of the incident.
pub(crate) fn at(time: &str) -> Timestamp {
    format!("2026-11-23T{time}Z").parse().expect("a time of day")
}

pub(crate) fn target(name: &str) -> Target {
    Target {
        kind: WorkloadKind::Deployment,
        namespace: "vcci-scope3".to_owned(),
        name: name.to_owned(),
    }
}

pub(crate) fn run() -> RunId {
    RunId::from("r20261123-141503-7f3c")
}

pub(crate) fn hash() -> PlanHash {
    PlanHash::of(b"the sealed bytes of the sample plan")
}

/// The plan.
pub(crate) fn plan() -> Plan {
    Plan {
        config: Vec::new(),
        releases: Vec::new(),
        platform: "vcci-scope3".to_owned(),
        namespace: "vcci-scope3".to_owned(),
        cluster: Cluster {
            identity: ClusterIdentity::KubeSystem(Uid::from("8c1f6e0a-52d4-4a35-9a1e-0d6c1d7f2b90")),
            context: "prod-eu-1".to_owned(),
            server: "https://10.40.0.1:6443".to_owned(),
            user: "on-call".to_owned(),
            version: "v1.34.4".to_owned(),
        },
        made_at: at("14:14:31"),
        expires_at: at("15:14:31"),
        intent: Intent::RollBack,
        assessment: seen::assessment(),
        decision: decision(),
        choices: SERVICES.map(choice).to_vec(),
        changes: SERVICES.map(changes).to_vec(),
        steps: steps(),
        unchanged: vec![
            "ConfigMap app-config and Secret api-keys stay as they are; both versions read the same keys of them".to_owned(),
            "replicas, the HorizontalPodAutoscaler of deployment/api-gateway and everything outside the templates".to_owned(),
            "StatefulSet queue and DaemonSet node-agent, which v1.2.4 did not touch".to_owned(),
        ],
        warnings: vec![
            "Helm release vcci-scope3-platform owns deployment/reporting-service and writes v1.2.4 again at its next upgrade".to_owned(),
        ],
        recovered_when: criteria(),
        forecast: SignedDuration::from_secs(105),
        rto: SignedDuration::from_mins(15),
        on_failure: OnFailure::Hold,
    }
}

/// What the gate found.
pub(crate) fn findings() -> Vec<Finding> {
    let finding = |severity, code: &str, name: &str, message: &str, hint: &str| Finding {
        severity,
        code: code.to_owned(),
        target: Some(target(name)),
        message: message.to_owned(),
        hint: hint.to_owned(),
    };
    vec![
        finding(
            Severity::Warn,
            "AST0207",
            "data-ingestion",
            "whether image vcci-scope3/data-ingestion:v1.2.3 can be had is not known: no node lists it",
            "if it cannot be pulled, the wait fails early and the run holds",
        ),
        finding(
            Severity::Warn,
            "AST0214",
            "reporting-service",
            "Helm release vcci-scope3-platform writes it at its next upgrade",
            "roll the release back in its pipeline before the next upgrade",
        ),
    ]
}

fn criteria() -> Criteria {
    let probe = Probe {
        name: "health".to_owned(),
        to: ProbeTarget::Service {
            service: "api-gateway".to_owned(),
            port: 8080,
            path: "/health".to_owned(),
        },
        status: 200,
        json: Some(JsonExpectation {
            path: "/version".to_owned(),
            equals: "v1.2.3".into(),
        }),
        header: Some(HeaderExpectation {
            name: "content-type".to_owned(),
            equals: "application/json".to_owned(),
        }),
        bearer: Some(SecretRef::Env("API_TOKEN".to_owned())),
    };
    Criteria {
        owners: Vec::new(),
        targets: SERVICES.map(target).to_vec(),
        soak: SignedDuration::from_mins(5),
        error_lines_per_minute: 10.0,
        probes: vec![(target("api-gateway"), probe)],
        images: Vec::new(),
    }
}

fn decision() -> Decision {
    let fired = |row: &str, because: &str, on: &[(&str, &str)]| Fired {
        row: row.to_owned(),
        say: Say::RollBack,
        because: because.to_owned(),
        on: on
            .iter()
            .map(|(name, phrase)| (target(name), (*phrase).to_owned()))
            .collect(),
    };
    Decision {
        say: Say::RollBack,
        fired: vec![
            fired(
                "crash-loop",
                "the new version crashes again and again",
                &[("api-gateway", "2 pods: CrashLoopBackOff, exit 1, 7 restarts")],
            ),
            fired(
                "not-ready",
                "pods of the new version do not become ready",
                &[(
                    "reporting-service",
                    "1 pod: not ready: HTTP probe failed with statuscode: 503",
                )],
            ),
            fired(
                "error-lines",
                "the new version logs far more errors",
                &[(
                    "calculation-engine",
                    "14.2 error lines a minute and pod; allowed are 10",
                )],
            ),
        ],
    }
}

pub(crate) fn revision(name: &str, number: u64, version: &str) -> RevisionRef {
    RevisionRef {
        number,
        kind: RevisionKind::ReplicaSet,
        name: format!("{name}-{}", &sha256(format!("{name}{version}").as_bytes())[7..16]),
        uid: Uid(format!("uid-{name}-{version}")),
        template: TemplateHash(sha256(format!("{name}{version}").as_bytes())),
        version: version.to_owned(),
        images: vec![image(name, version)],
    }
}

fn image(name: &str, version: &str) -> String {
    format!("vcci-scope3/{name}:{version}")
}

fn choice(name: &str) -> Choice {
    let because = match name {
        "api-gateway" => Because::Observed {
            ready: 1,
            since: Some("2026-11-14T09:02:40Z".parse().expect("a time")),
            unwell: None,
        },
        "reporting-service" => Because::Named {
            selector: "reporting-service=image:v1.2.3".to_owned(),
        },
        _ => Because::Presumed {
            newest_for: SignedDuration::from_hours(9 * 24 + 5),
            until: live_since(name),
        },
    };
    let passed = |number, version: &str, why: &str| PassedOver {
        revision: revision(name, number, version),
        why: why.to_owned(),
    };
    Choice {
        target: target(name),
        good: Some(KnownGood {
            revision: revision(name, 6, "v1.2.3"),
            because,
        }),
        passed_over: vec![
            passed(7, "v1.2.4", "it is the suspect"),
            passed(
                5,
                "v1.2.3-rc1",
                "it was the newest for 11m only, less than the 30m that policy asks for",
            ),
            passed(4, "v1.2.2", "r20261109-221144-0b1d rolled it back"),
        ],
        notes: Vec::new(),
    }
}

/// Since when v1.2.4 of a service is the newest.
pub(crate) fn live_since(name: &str) -> Timestamp {
    match name {
        "api-gateway" => at("14:02:11"),
        "data-ingestion" => at("14:02:40"),
        "calculation-engine" => at("14:03:05"),
        _ => at("14:03:22"),
    }
}

fn changes(name: &str) -> TargetChanges {
    let value = |text: &str| Some(Shown::Value(text.to_owned()));
    let place = |path: &str, from, to| Change {
        path: path.to_owned(),
        from,
        to,
    };
    let mut changes = vec![place(
        &format!("containers[{name}].image"),
        value(&image(name, "v1.2.4")),
        value(&image(name, "v1.2.3")),
    )];
    if name == "api-gateway" {
        changes.push(place(
            "containers[api-gateway].env[SESSION_BACKEND]",
            Some(Shown::Masked),
            None,
        ));
        changes.push(place(
            "containers[api-gateway].env[POOL_SIZE]",
            Some(Shown::Masked),
            Some(Shown::Masked),
        ));
        changes.push(place(
            "containers[api-gateway].resources.limits.memory",
            value("256Mi"),
            value("512Mi"),
        ));
    }
    TargetChanges {
        target: target(name),
        from_version: "v1.2.4".to_owned(),
        to_version: "v1.2.3".to_owned(),
        provenance: None,
        changes,
    }
}

fn write_id(name: &str) -> StepId {
    StepId(format!("template:deployment/{name}"))
}

fn wait_id(name: &str) -> StepId {
    StepId(format!("rollout:deployment/{name}"))
}

fn steps() -> Vec<Step> {
    let first = ["calculation-engine", "data-ingestion"];
    let second = ["api-gateway", "reporting-service"];
    let after_first: Vec<StepId> = first.map(wait_id).to_vec();
    let mut steps: Vec<Step> = first.map(|name| write(name, Vec::new())).to_vec();
    steps.extend(first.map(wait));
    steps.extend(second.map(|name| write(name, after_first.clone())));
    steps.extend(second.map(wait));
    steps
}

fn write(name: &str, after: Vec<StepId>) -> Step {
    let pin = workload::Pin {
        uid: Uid(format!("uid-{name}")),
        template: revision(name, 7, "v1.2.4").template,
        strategy: Strategy::RollingUpdate {
            max_surge: Some("25%".to_owned()),
            max_unavailable: Some("25%".to_owned()),
            partition: 0,
            ordered: false,
        },
        paused: false,
    };
    let to = revision(name, 6, "v1.2.3");
    Step {
        id: write_id(name),
        after,
        spec: Spec::Workload(workload::Spec::WriteTemplate {
            target: target(name),
            pin,
            to,
            kept: None,
            mark: None,
        }),
        reversal: Reversal::Exact,
        deadline: SignedDuration::from_secs(30),
        forecast: Forecast {
            expected: SignedDuration::from_millis(300),
            basis: Basis::Request,
        },
    }
}

fn wait(name: &str) -> Step {
    let (seconds, basis) = match name {
        "calculation-engine" => (48, Basis::History { runs: 3 }),
        "data-ingestion" => (35, Basis::Probes),
        "api-gateway" => (40, Basis::History { runs: 3 }),
        _ => (55, Basis::Probes),
    };
    Step {
        id: wait_id(name),
        after: vec![write_id(name)],
        spec: Spec::Workload(workload::Spec::AwaitRollout {
            target: target(name),
            uid: Uid(format!("uid-{name}")),
            template: revision(name, 6, "v1.2.3").template,
            version: "v1.2.3".to_owned(),
        }),
        reversal: Reversal::Nothing,
        deadline: SignedDuration::from_mins(5),
        forecast: Forecast {
            expected: SignedDuration::from_secs(seconds),
            basis,
        },
    }
}

/// The report of the sample's plan and these records.
pub(crate) fn told(records: &[Record]) -> Report {
    report(&run(), &plan(), &hash(), records, PLACE)
}
