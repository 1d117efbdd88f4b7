//! The sample's records: a run that ended well, one that nobody judged, one that holds.

use super::{at, hash, image, revision, run, seen, target, wait_id, write_id};
use astern_model::approval::{Approval, How};
use astern_model::content::ContentRef;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Direction, EffectKey, Epoch, Seq, StepId, sha256};
use astern_model::record::{Event, Holder, Outcome, Part, Record, SavedEvidence};
use astern_model::step::{After, Before, workload};
use astern_model::verdict::{CheckResult, Item, Verdict};
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// Writes records one after the other, as a holder would.
struct Journal {
    /// The records so far.
    records: Vec<Record>,
    epoch: Option<Epoch>,
}

impl Journal {
    /// A journal that holds approval, takeover and saved evidence.
    fn opened() -> Self {
        let mut journal = Self {
            records: Vec::new(),
            epoch: None,
        };
        journal.add(
            "14:15:03",
            Event::Approved {
                run: run(),
                approval: approval(),
            },
        );
        journal.epoch = Some(Epoch(2));
        journal.add(
            "14:15:03.1",
            Event::Taken {
                holder: holder("bastion-1", 4821),
            },
        );
        journal.add("14:15:05", seen::saved());
        journal
    }

    fn add(&mut self, time: &str, event: Event) {
        let seq = Seq(self.records.len() as u64 + 1);
        self.records.push(Record {
            seq,
            epoch: self.epoch,
            at: at(time),
            event,
        });
    }

    /// The intent of a write and its result.
    fn write(&mut self, name: &str, from: &str, to: &str, attempt: u32) {
        let before = workload::Before::Template {
            template: content("template"),
            hash: revision(name, 7, "v1.2.4").template,
            last_applied: None,
            annotations: BTreeMap::new(),
        };
        self.intend(&write_id(name), from, attempt, before);
        let after = workload::After::Written {
            template: revision(name, 6, "v1.2.3").template,
            generation: 9,
        };
        self.add(
            to,
            Event::Applied {
                step: write_id(name),
                after: After::Workload(after),
            },
        );
    }

    /// The beginning of a wait.
    fn wait(&mut self, name: &str, from: &str) {
        self.intend(
            &wait_id(name),
            from,
            1,
            workload::Before::Waiting { since: at(from) },
        );
    }

    /// The end of a wait: all pods serve.
    fn serves(&mut self, name: &str, to: &str, took: i64) {
        let count = match name {
            "api-gateway" => 3,
            "calculation-engine" => 4,
            _ => 2,
        };
        let digest = sha256(image(name, "v1.2.3").as_bytes());
        let after = workload::After::Serving {
            ready: count,
            desired: count,
            digests: BTreeMap::from([(image(name, "v1.2.3"), digest)]),
            took: SignedDuration::from_secs(took),
        };
        self.add(
            to,
            Event::Applied {
                step: wait_id(name),
                after: After::Workload(after),
            },
        );
    }

    fn intend(&mut self, step: &StepId, time: &str, attempt: u32, before: workload::Before) {
        let key = EffectKey::of(&run(), step, Direction::Forward);
        self.add(
            time,
            Event::Intended {
                step: step.clone(),
                key,
                attempt,
                before: Before::Workload(before),
            },
        );
    }

    /// The first wave, with one lost race against the API server's limits.
    fn first_wave(&mut self) {
        self.write("calculation-engine", "14:15:05.2", "14:15:05.5", 1);
        let failure = Failure::new(
            FailureClass::Transient {
                retry_after_ms: Some(1000),
            },
            "write the template of deployment/data-ingestion",
            "the server is currently unable to handle the request (429)",
        );
        let before = workload::Before::Template {
            template: content("template"),
            hash: revision("data-ingestion", 7, "v1.2.4").template,
            last_applied: None,
            annotations: BTreeMap::new(),
        };
        self.intend(&write_id("data-ingestion"), "14:15:05.2", 1, before);
        self.add(
            "14:15:05.4",
            Event::Failed {
                step: write_id("data-ingestion"),
                failure,
            },
        );
        self.wait("calculation-engine", "14:15:05.6");
        self.write("data-ingestion", "14:15:06.5", "14:15:06.8", 2);
        self.wait("data-ingestion", "14:15:06.9");
        self.serves("data-ingestion", "14:15:38", 31);
        self.serves("calculation-engine", "14:16:00", 54);
    }
}

fn approval() -> Approval {
    Approval {
        plan: hash(),
        by: "on-call".to_owned(),
        how: How::Person,
        reason: "api-gateway answers 8 % errors since v1.2.4".to_owned(),
        at: at("14:15:03"),
        overrides: vec![
            "the version of deployment/reporting-service was named with --to; nothing was observed about it"
                .to_owned(),
        ],
        warnings: vec!["AST0207".to_owned(), "AST0214".to_owned()],
        found: Vec::new(),
    }
}

pub(crate) fn holder(host: &str, pid: u32) -> Holder {
    Holder {
        id: format!("{host}-{pid}"),
        user: "on-call".to_owned(),
        host: host.to_owned(),
        pid,
    }
}

fn content(label: &str) -> ContentRef {
    let digest = sha256(label.as_bytes());
    ContentRef {
        name: format!("astern-saved-{}", &digest[7..19]),
        keyed_hash: format!("hmac-{digest}"),
        size: 4187,
    }
}

/// What was saved of one thing.
pub(crate) fn piece(what: &str, size: u64, tail: &[&str]) -> SavedEvidence {
    SavedEvidence {
        what: what.to_owned(),
        content: content("evidence"),
        part: Some(Part { from: 0, size }),
        tail: tail.iter().map(|line| (*line).to_owned()).collect(),
    }
}

/// A run that ended well, up to the last workload serving; nobody has judged it.
pub(crate) fn not_judged() -> Vec<Record> {
    let mut journal = Journal::opened();
    journal.first_wave();
    journal.write("api-gateway", "14:16:00.1", "14:16:00.4", 1);
    journal.write("reporting-service", "14:16:00.1", "14:16:00.5", 1);
    journal.wait("api-gateway", "14:16:00.5");
    journal.wait("reporting-service", "14:16:00.6");
    journal.serves("api-gateway", "14:16:37", 36);
    journal.serves("reporting-service", "14:16:52", 51);
    journal.add("14:16:52.1", Event::Restored);
    journal.records
}

/// The same, judged over the soak window, to its end.
pub(crate) fn restored() -> Vec<Record> {
    let mut journal = Journal {
        records: not_judged(),
        epoch: Some(Epoch(2)),
    };
    journal.add(
        "14:21:53",
        Event::Judged {
            verdict: verdict(CheckResult::Pass),
        },
    );
    journal.add(
        "14:21:53.2",
        Event::Finished {
            outcome: Outcome::Restored,
        },
    );
    journal.records
}

/// The second wave fails in one service: it cannot pull its image. The run holds.
pub(crate) fn held() -> Vec<Record> {
    let mut journal = Journal::opened();
    journal.first_wave();
    journal.write("api-gateway", "14:16:00.1", "14:16:00.4", 1);
    journal.wait("api-gateway", "14:16:00.5");
    let write = write_id("reporting-service");
    let before = workload::Before::Paused {
        paused: false,
        annotations: Default::default(),
    };
    journal.intend(&write, "14:16:00.6", 1, before);
    let lost = Failure::new(
        FailureClass::Unknown,
        "write the template of deployment/reporting-service",
        "the connection ended before the answer came",
    );
    journal.add(
        "14:16:10.6",
        Event::Unsettled {
            step: write,
            failure: lost,
        },
    );
    let failure = Failure::new(
        FailureClass::Permanent,
        "wait for the rollout of deployment/api-gateway",
        "its pods cannot start: ImagePullBackOff vcci-scope3/api-gateway:v1.2.3",
    )
    .hint("push the image again, then resume the run")
    .evidence(vec!["Failed to pull image: manifest unknown".to_owned()]);
    journal.add(
        "14:16:24",
        Event::Failed {
            step: wait_id("api-gateway"),
            failure,
        },
    );
    journal.add(
        "14:16:24.1",
        Event::Held {
            why: "deployment/api-gateway cannot start v1.2.3".to_owned(),
        },
    );
    journal.records
}

/// A verdict over the four services; `health` is how the probe came out.
pub(crate) fn verdict(health: CheckResult) -> Verdict {
    let item = |name: &str, check: &str, result, evidence: &str| Item {
        target: target(name),
        check: check.to_owned(),
        result,
        evidence: evidence.to_owned(),
    };
    let pass = CheckResult::Pass;
    Verdict {
        from: at("14:16:52"),
        to: at("14:21:53"),
        held_for: SignedDuration::from_secs(301),
        items: vec![
            item("api-gateway", "pods serving", pass, "3 of 3 ready, all of v1.2.3"),
            item("api-gateway", "restarts", pass, "0 since 14:15:05"),
            item(
                "api-gateway",
                "error lines",
                pass,
                "0.2 a minute and pod; allowed are 10",
            ),
            item(
                "api-gateway",
                "probe health",
                health,
                "200, /version is \"v1.2.3\"",
            ),
            item(
                "calculation-engine",
                "pods serving",
                pass,
                "4 of 4 ready, all of v1.2.3",
            ),
            item(
                "calculation-engine",
                "error lines",
                pass,
                "0.4 a minute and pod; allowed are 10",
            ),
            item(
                "data-ingestion",
                "pods serving",
                pass,
                "2 of 2 ready, all of v1.2.3",
            ),
            item(
                "reporting-service",
                "pods serving",
                pass,
                "2 of 2 ready, all of v1.2.3",
            ),
        ],
    }
}
