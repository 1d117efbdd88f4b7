//! Requests that Services get and how their pods answer: spread evenly over the ready ones, each by its behaviour. Owns
//! how many there were until when; nothing is sent.

use crate::behaviour::{Behaviour, Behaviours};
use crate::node::environment::Environment;
use crate::object::{Name, list, text};
use crate::store::Key;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long it is remembered how many requests there were when: more than any window that one asks about.
const KEPT: SignedDuration = SignedDuration::from_hours(6);
/// How long an answer takes where the behaviour does not say.
const LATENCY: SignedDuration = SignedDuration::from_millis(10);

/// The requests that a Service gets.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// How many come, from the Service's creation on.
    pub requests_per_second: f64,
}

/// Who was asked through which Service. A pod that is none stands for requests that nobody was there to take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) namespace: Name,
    pub(crate) service: Name,
    pub(crate) pod: Option<Name>,
}

/// How a pod answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Manner {
    /// How many of the requests fail, from 0 to 1.
    pub(crate) error_share: f64,
    /// How long an answer takes on average.
    pub(crate) latency: SignedDuration,
    /// The time that a cpu works on one.
    pub(crate) cpu: SignedDuration,
}

impl Manner {
    /// How the first container answers that says how it does.
    pub(crate) fn of(behaviours: &Behaviours, environment: &Environment, pod: &Value) -> Self {
        let containers = list(pod, "spec.containers");
        let of = |container| behaviours.of(pod, container, environment);
        let all = containers.iter().map(of);
        let says = |behaviour: &&Behaviour| behaviour.serves.is_some() || behaviour.logs.is_some();
        let behaviour = all.clone().find(says).unwrap_or(&behaviours.otherwise);
        let logs = behaviour.logs.as_ref();
        let logged = logs.map_or(0.0, |logs| logs.error_share);
        Self {
            error_share: behaviour
                .serves
                .as_ref()
                .map_or(logged, |serves| serves.error_share),
            latency: logs
                .map(|logs| logs.latency)
                .filter(|latency| !latency.is_zero())
                .unwrap_or(LATENCY),
            cpu: all
                .map(|behaviour| behaviour.cpu_per_request)
                .max()
                .unwrap_or_default(),
        }
    }
}

/// How many requests there were, as an exact function of time: from each step on, so many a second.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    pub(crate) manner: Manner,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    at: Timestamp,
    total: f64,
    rate: f64,
}

impl Step {
    fn total(&self, at: Timestamp) -> f64 {
        self.total + self.rate * at.duration_since(self.at).as_secs_f64()
    }
}

impl Count {
    /// When the first request could come.
    pub(crate) fn began(&self) -> Timestamp {
        self.steps[0].at
    }

    /// Since when none comes any more.
    pub(crate) fn ended(&self) -> Option<Timestamp> {
        self.steps
            .last()
            .filter(|last| last.rate == 0.0)
            .map(|last| last.at)
    }

    /// How many come a second at a time.
    pub(crate) fn rate(&self, at: Timestamp) -> f64 {
        let after = self.steps.partition_point(|step| step.at <= at);
        self.steps[..after].last().map_or(0.0, |step| step.rate)
    }

    /// How many there were until a time.
    pub(crate) fn total(&self, at: Timestamp) -> f64 {
        let after = self.steps.partition_point(|step| step.at <= at);
        self.steps[..after].last().map_or(0.0, |step| step.total(at))
    }

    fn go_on(&mut self, at: Timestamp, rate: f64) {
        let Some(last) = self.steps.last().copied().filter(|last| last.rate != rate) else {
            return;
        };
        let total = last.total(at);
        if last.at == at {
            self.steps.pop();
        }
        self.steps.push(Step { at, total, rate });
        let old = self.steps.partition_point(|step| step.at < at - KEPT);
        self.steps.drain(..old.saturating_sub(1));
    }
}

/// All requests there were. A clone shares them until one of the two gets more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<BTreeMap<Asked, Count>>);

impl Requests {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Asked, &Count)> {
        self.0.iter()
    }

    /// What a pod is asked, through any Service.
    pub(crate) fn of_pod(&self, namespace: &str, pod: &str) -> impl Iterator<Item = &Count> {
        let asked = self.0.iter();
        asked
            .filter(move |(asked, _)| &*asked.namespace == namespace && asked.pod.as_deref() == Some(pod))
            .map(|(_, count)| count)
    }

    /// From now on a Service's requests go to these pods; where there is none, to nobody.
    pub(crate) fn spread(
        &mut self,
        at: Timestamp,
        service: &Key,
        rate: f64,
        ready: &[&Arc<Value>],
        manner: &dyn Fn(&Value) -> Manner,
    ) {
        let requests = Arc::make_mut(&mut self.0);
        let asked = |pod: Option<Name>| Asked {
            namespace: service.namespace.clone(),
            service: service.name.clone(),
            pod,
        };
        let shared = rate / ready.len().max(1) as f64;
        let mut takers: BTreeMap<Asked, Manner> = ready
            .iter()
            .map(|pod| {
                let name = Name::from(text(pod, "metadata.name"));
                (asked(Some(name)), manner(pod))
            })
            .collect();
        if takers.is_empty() && rate > 0.0 {
            let failing = Manner {
                error_share: 1.0,
                latency: LATENCY,
                cpu: SignedDuration::ZERO,
            };
            takers.insert(asked(None), failing);
        }
        for (asked, count) in requests.iter_mut() {
            let ours = asked.namespace == service.namespace && asked.service == service.name;
            if ours && !takers.contains_key(asked) {
                count.go_on(at, 0.0);
            }
        }
        for (asked, manner) in takers {
            let begun = Count {
                manner,
                steps: vec![Step {
                    at,
                    total: 0.0,
                    rate: shared,
                }],
            };
            requests.entry(asked).or_insert(begun).go_on(at, shared);
        }
        requests.retain(|_, count| count.ended().is_none_or(|ended| ended >= at - KEPT));
    }
}
