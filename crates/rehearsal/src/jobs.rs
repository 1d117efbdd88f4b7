//! How long the pods of Jobs run on a copy: as long as those that ended. Reads the copy's objects and nothing else.

use crate::pace::{between, controller, median, of_kind, time};
use astern_sandbox::{Behaviour, BehaviourRule, Crash, When};
use jiff::SignedDuration;
use serde_json::Value;

/// The label by which a Job knows its pods.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// What the pods of the Jobs do.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// For the sandbox.
    pub(crate) rules: Vec<BehaviourRule>,
    /// The Jobs of which it is not known when their pods end.
    pub(crate) unknown: Vec<String>,
}

/// What `objects` (each with kind and status) tell of the pods of each Job that is not over.
pub(crate) fn jobs(objects: &[Value]) -> Jobs {
    let mut jobs = Jobs::default();
    for job in of_kind(objects, "Job").filter(|job| !is_over(job)) {
        let Some(name) = job["metadata"]["name"].as_str() else {
            continue;
        };
        let alike = of_kind(objects, "Job").filter(|other| is_alike(job, other));
        let ended: Vec<Crash> = alike
            .flat_map(|job| of_kind(objects, "Pod").filter(|pod| made(job, pod)))
            .filter_map(ending)
            .collect();
        let Some(crash) = usual(&ended) else {
            jobs.unknown.push(name.to_owned());
            continue;
        };
        jobs.rules.push(BehaviourRule {
            when: When::Label {
                name: JOB_NAME.to_owned(),
                value: name.to_owned(),
            },
            behaviour: Behaviour {
                crash: Some(crash),
                ..Behaviour::default()
            },
        });
    }
    jobs
}

fn is_over(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let mut over = conditions.filter(|condition| condition["status"] == "True");
    over.any(|condition| matches!(condition["type"].as_str(), Some("Complete" | "Failed")))
}

/// Whether two Jobs are one, or of one CronJob.
fn is_alike(one: &Value, other: &Value) -> bool {
    let of = |job| controller(job).map(|owner| &owner["uid"]);
    one["metadata"]["uid"] == other["metadata"]["uid"] || of(one).is_some() && of(one) == of(other)
}

fn made(job: &Value, pod: &Value) -> bool {
    controller(pod).is_some_and(|owner| owner["uid"] == job["metadata"]["uid"])
}

/// How a pod's container ended that ran longest.
fn ending(pod: &Value) -> Option<Crash> {
    if !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let ended = statuses.iter().filter_map(|status| {
        let ended = &status["state"]["terminated"];
        Some(Crash {
            after: between(time(&ended["startedAt"])?, time(&ended["finishedAt"])?),
            code: ended["exitCode"].as_i64()?,
        })
    });
    ended.max_by_key(|ended| ended.after)
}

/// As those that succeeded, or, where none did, as those that failed.
fn usual(ended: &[Crash]) -> Option<Crash> {
    let succeeded: Vec<SignedDuration> = ended
        .iter()
        .filter(|ended| ended.code == 0)
        .map(|ended| ended.after)
        .collect();
    if !succeeded.is_empty() {
        return Some(Crash {
            after: median(succeeded.into_iter()),
            code: 0,
        });
    }
    let code = ended.last()?.code;
    let after = median(ended.iter().map(|ended| ended.after));
    Some(Crash { after, code })
}
