//! What was seen of the sample's failure: the assessment, and the evidence that was saved.

use super::journal::piece;
use super::{at, live_since, target};
use astern_model::assessment::{Assessment, Health, WorkloadAssessment};
use astern_model::evidence::{Evidence, Fact, Known, Side, Source, Trouble};
use astern_model::id::sha256;
use astern_model::policy::When;
use astern_model::record::Event;
use jiff::SignedDuration;

pub(super) fn assessment() -> Assessment {
    Assessment {
        workloads: vec![gateway(), engine(), ingestion(), reporting()],
    }
}

fn entry(name: &str, ready: u32, desired: u32, state: Health, reason: &str) -> WorkloadAssessment {
    WorkloadAssessment {
        target: target(name),
        version: "v1.2.4".to_owned(),
        digest: Some(sha256(name.as_bytes())),
        revision: Some(7),
        ready,
        desired,
        former_ready: 0,
        live_since: Some(live_since(name)),
        age: Some(at("14:14:28").duration_since(live_since(name))),
        state,
        reason: reason.to_owned(),
        holds: Vec::new(),
        evidence: Vec::new(),
    }
}

fn seen(name: &str, side: Side, source: Source, fact: Fact) -> Evidence {
    let window = (source == Source::Logs).then(|| SignedDuration::from_mins(5));
    Evidence {
        subject: target(name),
        side,
        fact,
        source,
        window,
        observed_at: at("14:14:28"),
    }
}

fn gateway() -> WorkloadAssessment {
    let name = "api-gateway";
    let trouble = Trouble::CrashLoop {
        container: name.to_owned(),
        exit_code: Some(1),
        restarts: 7,
        last_line: Some("FATAL session backend \"redis-cluster\" is not configured".to_owned()),
    };
    let example = "api-gateway-6f7c9d5b8-x2vqk".to_owned();
    WorkloadAssessment {
        former_ready: 1,
        holds: vec![When::CrashLoop],
        evidence: vec![
            seen(
                name,
                Side::Live,
                Source::Pods,
                Fact::Trouble {
                    trouble,
                    pods: 2,
                    example,
                },
            ),
            seen(
                name,
                Side::Former,
                Source::Pods,
                Fact::Serving {
                    ready: 1,
                    pods: 1,
                    desired: 3,
                },
            ),
            seen(
                name,
                Side::Live,
                Source::Logs,
                Fact::ErrorLines {
                    per_minute: Known::Is(6.4),
                    pods: 2,
                    lines: 64,
                    example: None,
                },
            ),
        ],
        ..entry(
            name,
            1,
            3,
            Health::Failing,
            "CrashLoopBackOff, exit 1, 7 restarts",
        )
    }
}

fn engine() -> WorkloadAssessment {
    let name = "calculation-engine";
    let lines = Fact::ErrorLines {
        per_minute: Known::Is(14.2),
        pods: 4,
        lines: 284,
        example: Some("ERROR factor table v9 is missing".to_owned()),
    };
    WorkloadAssessment {
        holds: vec![When::ErrorLines],
        evidence: vec![
            seen(
                name,
                Side::Live,
                Source::Rollout,
                Fact::Serving {
                    ready: 4,
                    pods: 4,
                    desired: 4,
                },
            ),
            seen(name, Side::Live, Source::Logs, lines),
        ],
        ..entry(name, 4, 4, Health::Degraded, "14.2 error lines a minute and pod")
    }
}

fn ingestion() -> WorkloadAssessment {
    let name = "data-ingestion";
    let serving = Fact::Serving {
        ready: 2,
        pods: 2,
        desired: 2,
    };
    WorkloadAssessment {
        evidence: vec![seen(name, Side::Live, Source::Rollout, serving)],
        ..entry(name, 2, 2, Health::Healthy, "")
    }
}

fn reporting() -> WorkloadAssessment {
    let name = "reporting-service";
    let trouble = Trouble::NotReady {
        container: name.to_owned(),
        message: Some("HTTP probe failed with statuscode: 503".to_owned()),
    };
    let example = "reporting-service-5c8b7f9d4-9mzrt".to_owned();
    WorkloadAssessment {
        holds: vec![When::NotReady],
        evidence: vec![
            seen(
                name,
                Side::Live,
                Source::Pods,
                Fact::Trouble {
                    trouble,
                    pods: 1,
                    example,
                },
            ),
            seen(
                name,
                Side::Live,
                Source::Logs,
                Fact::ErrorLines {
                    per_minute: Known::Unknown("the logs were not had within 2s".to_owned()),
                    pods: 0,
                    lines: 0,
                    example: None,
                },
            ),
        ],
        ..entry(
            name,
            1,
            2,
            Health::Failing,
            "not ready: HTTP probe failed with statuscode: 503",
        )
    }
}

pub(super) fn saved() -> Event {
    Event::Saved {
        evidence: vec![
            piece(
                "log pod/api-gateway-6f7c9d5b8-x2vqk container api-gateway (previous)",
                18_934,
                &[
                    "2026-11-23T14:13:58Z INFO  api-gateway v1.2.4 starting",
                    "2026-11-23T14:13:58Z INFO  config: POOL_SIZE=32 API_KEY=‹masked›",
                    "2026-11-23T14:13:59Z ERROR session backend refused: unknown scheme \"redis-cluster\"",
                    "2026-11-23T14:13:59Z FATAL session backend \"redis-cluster\" is not configured",
                ],
            ),
            piece(
                "events of deployment/api-gateway",
                6_120,
                &["Warning BackOff back-off restarting failed container"],
            ),
            piece(
                "log pod/calculation-engine-7d4f8c6b9-hh2lm container calculation-engine",
                262_144,
                &[
                    "2026-11-23T14:14:21Z ERROR factor table v9 is missing, falling back",
                    "2026-11-23T14:14:25Z ERROR factor table v9 is missing, falling back",
                ],
            ),
            piece("status of the pods of namespace vcci-scope3", 41_377, &[]),
        ],
        missed: vec![
            "log pod/reporting-service-5c8b7f9d4-9mzrt container reporting-service: not had within 5s"
                .to_owned(),
        ],
    }
}
