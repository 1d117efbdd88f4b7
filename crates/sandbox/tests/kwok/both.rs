//! The sandbox and a real control plane side by side, each with a namespace of the same name. Owns how a request is sent to
//! both and when both have settled; what is sent is the suites'.

use crate::managers;
use crate::replay::{Real, compare, normal, post};
use crate::settle::nameless;
use astern_sandbox::{
    Answer, Autoscaling, Behaviour, BehaviourRule, Behaviours, Cluster, Crash, NodeSpec, Options, Request,
    When,
};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

/// How long the real control plane may take until it stands as the sandbox does, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How much time goes by in the sandbox meanwhile: more than any rollout takes, less than a deadline.
const MEANWHILE: SignedDuration = SignedDuration::from_secs(30);

/// What a request came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answered {
    pub(crate) code: u16,
    pub(crate) media: String,
    pub(crate) body: Value,
}

/// A request as it is sent.
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) media: String,
    pub(crate) accept: String,
    pub(crate) agent: String,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    /// A request without a body.
    pub(crate) fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            media: String::new(),
            accept: "application/json".to_owned(),
            agent: String::new(),
            body: Vec::new(),
        }
    }
}

/// How two answers differ: in code, or in what they hold once what is drawn or counted is left out.
pub(crate) fn differences(
    real: &Answered,
    here: &Answered,
    without: &[String],
    settling: bool,
    managed: bool,
) -> Vec<String> {
    if real.code != here.code {
        let told = |answer: &Answered| match &answer.body["message"] {
            Value::Null => format!("{} {}", answer.code, answer.body),
            message => format!("{} {message}", answer.code),
        };
        return vec![format!("code: real {}, sandbox {}", told(real), told(here))];
    }
    let mut found = Vec::new();
    if real.media != here.media {
        found.push(format!("type: real {}, sandbox {}", real.media, here.media));
    }
    let shown = |answer: &Answered| {
        let mut body = answer.body.clone();
        for field in without {
            remove(&mut body, field);
        }
        if managed {
            managers::shown(&mut body);
        }
        body = normal(body);
        if settling {
            one_progress(&mut body);
            nameless(&mut body);
        }
        body
    };
    compare("", &shown(real), &shown(here), &mut found);
    found
}

fn remove(value: &mut Value, field: &str) {
    match value {
        Value::Object(map) => {
            map.remove(field);
            map.values_mut().for_each(|value| remove(value, field));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove(item, field)),
        _ => {}
    }
}

/// The sandbox and the real control plane, each with a namespace of the same name.
pub(crate) struct Both {
    pub(crate) real: Real,
    pub(crate) sandbox: Cluster,
    pub(crate) now: Timestamp,
    pub(crate) namespace: String,
}

impl Both {
    pub(crate) async fn open(name: &str) -> Self {
        let now = Timestamp::now();
        let nodes = (1..=3)
            .map(|number| NodeSpec::named(format!("kwok-{number}")))
            .collect();
        // The real cluster's stand-ins for kubelets end the pods of a Job by themselves.
        let done = BehaviourRule {
            when: When::Image("job:v1".to_owned()),
            behaviour: Behaviour {
                crash: Some(Crash {
                    after: SignedDuration::from_secs(1),
                    code: 0,
                }),
                ..Behaviour::default()
            },
        };
        let options = Options {
            nodes,
            behaviours: Behaviours {
                rules: vec![done],
                ..Behaviours::default()
            },
            autoscaling: Autoscaling::ByTraffic,
            ..Options::default()
        };
        let mut both = Self {
            real: Real::connect().await,
            sandbox: Cluster::new(options, now),
            now,
            namespace: format!("t-same-{name}-{}", std::process::id()),
        };
        let made = post(
            "/api/v1/namespaces",
            json!({"metadata": {"name": both.namespace}}),
        );
        both.real.ask(&made, &both.namespace).await;
        crate::replay::ask(&mut both.sandbox, now, &made, &both.namespace);
        both.sandbox.advance(now);
        both.real.account(&both.namespace).await;
        both
    }

    pub(crate) async fn close(self) {
        let gone = crate::replay::delete("/api/v1/namespaces/{ns}", Value::Null);
        self.real.ask(&gone, &self.namespace).await;
    }

    /// What the sandbox answers; a stream to its end.
    pub(crate) fn here(&mut self, sent: &Sent) -> Answered {
        let (path, query) = sent.path.split_once('?').unwrap_or((&sent.path, ""));
        let request = Request {
            method: sent.method.clone(),
            path: path.to_owned(),
            query: query.to_owned(),
            content_type: sent.media.clone(),
            accept: sent.accept.clone(),
            user_agent: sent.agent.clone(),
            body: sent.body.clone().into(),
        };
        match self.sandbox.handle(self.now, &request) {
            Answer::Whole(response) => {
                Answered::of(response.code, response.content_type.to_owned(), &response.body)
            }
            Answer::Stream(mut stream) => {
                let mut told = self.sandbox.poll(self.now, &mut stream);
                self.now += SignedDuration::from_secs(2);
                told.extend(self.sandbox.poll(self.now, &mut stream));
                assert!(
                    stream.ended(),
                    "a watch of a case says when it ends: {}",
                    sent.path
                );
                Answered::of(200, stream.content_type().to_owned(), &told)
            }
        }
    }

    /// What the real API server answers.
    pub(crate) async fn there(&self, sent: &Sent) -> Answered {
        let (code, media, body) = self
            .real
            .send(
                &sent.method,
                &sent.path,
                &sent.media,
                &sent.accept,
                &sent.agent,
                sent.body.clone(),
            )
            .await;
        Answered::of(code, media, &body)
    }

    /// Lets both act until these lists look alike; how they differ when the real one does not get there.
    pub(crate) async fn settle(
        &mut self,
        lists: &[String],
        patience: Duration,
        managed: bool,
    ) -> Vec<String> {
        self.now += MEANWHILE;
        self.sandbox.advance(self.now);
        let begun = std::time::Instant::now();
        let mut alike = 0;
        loop {
            let mut found = Vec::new();
            for list in lists {
                let sent = Sent::new(Method::GET, path(list, &self.namespace));
                let (real, here) = (self.there(&sent).await.body, self.here(&sent).body);
                compare(list, &ordered(real, managed), &ordered(here, managed), &mut found);
            }
            alike = if found.is_empty() { alike + 1 } else { 0 };
            // Twice: what was asked for may not have begun to show at first.
            if alike == 2 || (!found.is_empty() && begun.elapsed() > patience) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
}

/// A list's items without what is drawn, in an order that does not depend on drawn names.
fn ordered(list: Value, managed: bool) -> Value {
    let mut items = list["items"].as_array().cloned().unwrap_or_default();
    for item in &mut items {
        if managed {
            managers::shown(item);
        }
        as_controllers_see(item);
        *item = normal(item.take());
        one_progress(item);
        nameless(item);
    }
    items.sort_by_key(Value::to_string);
    items.into()
}

/// Settled objects as they are compared. How many steps a Deployment's ReplicaSet took and which condition changed last
/// depends on how fast pods become ready. A pod's status is its kubelet's, and the real cluster's kubelets are stand-ins as
/// well: what controllers read of it is whether it runs, is ready and has a place.
fn as_controllers_see(item: &mut Value) {
    if !item["metadata"]["deletionTimestamp"].is_null() {
        item["metadata"]["terminating"] = true.into();
    }
    if item["status"]["lastScaleTime"].is_string() {
        item["status"]["lastScaleTime"] = "…".into();
    }
    let generation = item["metadata"]["generation"].clone();
    let of_deployment = item["metadata"]["ownerReferences"][0]["kind"] == "Deployment";
    let status = &mut item["status"];
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.sort_by_key(|condition| condition["type"].to_string());
    }
    if of_deployment {
        status["observedGeneration"] = (status["observedGeneration"] == generation).into();
        item["metadata"]["generation"] = Value::Null;
    }
    let status = &mut item["status"];
    if let Some(update) = status["updateRevision"].as_str() {
        // Names of revisions are drawn from hashes; whether both are one is not.
        status["rolledOut"] = (status["currentRevision"] == update).into();
    }
    if item["spec"]["containers"].is_null() {
        return;
    }
    let holds = |kind: &str| {
        let all = item["status"]["conditions"].as_array();
        let found = all.and_then(|all| all.iter().find(|each| each["type"] == kind));
        found.map(|found| found["status"].clone()).unwrap_or_default()
    };
    item["status"] = json!({
        "phase": item["status"]["phase"],
        "ready": holds("Ready"),
        "scheduled": holds("PodScheduled"),
    });
}

/// Which of two words a rollout has that began and is stuck depends on whether the controller saw its own ReplicaSet in
/// time, also among real ones.
fn one_progress(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let begun = ["NewReplicaSetCreated", "ReplicaSetUpdated"];
            if map
                .get("reason")
                .and_then(Value::as_str)
                .is_some_and(|reason| begun.contains(&reason))
            {
                map.insert("reason".to_owned(), "begun".into());
                map.insert("message".to_owned(), "begun".into());
            }
            map.values_mut().for_each(one_progress);
        }
        Value::Array(items) => items.iter_mut().for_each(one_progress),
        _ => {}
    }
}

impl Answered {
    fn of(code: u16, media: String, body: &[u8]) -> Self {
        let whole = serde_json::from_slice(body);
        let body = whole.unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(body).into_owned();
            let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
            lines.map_or_else(|_| text.into(), Value::from)
        });
        let media = media.split(';').next().unwrap_or_default().to_owned();
        Self { code, media, body }
    }
}

/// The path of a resource by its name alone.
pub(crate) fn path(short: &str, namespace: &str) -> String {
    const GROUPS: [(&str, &[&str]); 7] = [
        (
            "apps/v1",
            &[
                "deployments",
                "statefulsets",
                "daemonsets",
                "replicasets",
                "controllerrevisions",
            ],
        ),
        ("batch/v1", &["jobs", "cronjobs"]),
        ("autoscaling/v2", &["horizontalpodautoscalers"]),
        ("policy/v1", &["poddisruptionbudgets"]),
        ("coordination.k8s.io/v1", &["leases"]),
        ("networking.k8s.io/v1", &["ingresses", "networkpolicies"]),
        ("rbac.authorization.k8s.io/v1", &["roles", "rolebindings"]),
    ];
    let short = short.replace("{ns}", namespace);
    let whole = if short.starts_with('/') {
        short
    } else {
        let plural = short.split(['/', '?']).next().unwrap_or_default();
        match GROUPS.iter().find(|(_, plurals)| plurals.contains(&plural)) {
            Some((group, _)) => format!("/apis/{group}/namespaces/{namespace}/{short}"),
            None => format!("/api/v1/namespaces/{namespace}/{short}"),
        }
    };
    let Some((path, query)) = whole.split_once('?') else {
        return whole;
    };
    let encoded = query.chars().map(|letter| match letter {
        ' ' | '"' | '<' | '>' | '(' | ')' | '!' | '{' | '}' | '|' | '^' => {
            format!("%{:02X}", u32::from(letter))
        }
        letter => letter.to_string(),
    });
    format!("{path}?{}", encoded.collect::<String>())
}
