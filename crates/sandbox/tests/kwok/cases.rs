//! Tables of requests that the sandbox and a real control plane must answer alike. Owns the tables' format, how a row is
//! sent to both and how answers are compared; the rows are in `cases/`, what may differ in `differences.yaml`.

use crate::differences::{Difference, Known};
use crate::replay::{Real, compare, normal, post};
use crate::settle::nameless;
use astern_sandbox::{Answer, Cluster, NodeSpec, Options, Request};
use futures::StreamExt as _;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Every table, by name.
const TABLES: [(&str, &str); 8] = [
    ("objects", include_str!("cases/objects.yaml")),
    ("workloads", include_str!("cases/workloads.yaml")),
    ("pods", include_str!("cases/pods.yaml")),
    ("patches", include_str!("cases/patches.yaml")),
    ("deletions", include_str!("cases/deletions.yaml")),
    ("reads", include_str!("cases/reads.yaml")),
    ("refusals", include_str!("cases/refusals.yaml")),
    ("states", include_str!("cases/states.yaml")),
];

/// So many stories run at once: most of their time is waiting for controllers.
const AT_ONCE: usize = 12;
/// How long the real control plane may take until it stands as the sandbox does.
const PATIENCE: Duration = Duration::from_secs(20);

/// Requests to one namespace, in order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    story: String,
    /// What `with` changes; some cases send it as it is.
    #[serde(default)]
    base: Value,
    /// Whether controllers act in between, so that what they draw and when is left out.
    #[serde(default)]
    settling: bool,
    cases: Vec<Case>,
}

/// One row.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows; the request itself where it says enough.
    #[serde(default)]
    case: String,
    /// `VERB PATH`, where a path that begins with a resource's name lies in the story's namespace. `{ns}` is that
    /// namespace and `{name:path}` a field of an answer that was kept.
    #[serde(default, rename = "do")]
    request: String,
    /// The media type of the body, or `merge`, `strategic`, `json`, `apply`.
    #[serde(default, rename = "as")]
    media: String,
    #[serde(default)]
    accept: String,
    #[serde(default)]
    body: Value,
    /// A merge patch that makes the body from the story's base.
    #[serde(default)]
    with: Option<Value>,
    /// A body that is no JSON.
    #[serde(default)]
    raw: Option<String>,
    /// Keeps the answer under this name.
    #[serde(default)]
    keep: String,
    /// Instead of a request: lists in which both must come to stand alike.
    #[serde(default)]
    until: Vec<String>,
    /// Fields that this case leaves out: where two clocks or counters of our own are asked.
    #[serde(default)]
    without: Vec<String>,
}

/// What a request came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answered {
    pub(crate) code: u16,
    media: String,
    pub(crate) body: Value,
}

/// A request as it is sent.
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) media: String,
    pub(crate) accept: String,
    pub(crate) body: Vec<u8>,
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
        let options = Options {
            nodes,
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
        both.real.certificate(&both.namespace).await;
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
                sent.body.clone(),
            )
            .await;
        Answered::of(code, media, &body)
    }

    /// Lets both act until these lists look alike; how they differ when the real one does not get there.
    pub(crate) async fn settle(&mut self, lists: &[String]) -> Vec<String> {
        self.now += SignedDuration::from_secs(60);
        self.sandbox.advance(self.now);
        let begun = std::time::Instant::now();
        loop {
            let mut found = Vec::new();
            for list in lists {
                let sent = Sent {
                    method: Method::GET,
                    path: path(list, &self.namespace),
                    media: String::new(),
                    accept: "application/json".to_owned(),
                    body: Vec::new(),
                };
                let (real, here) = (self.there(&sent).await.body, self.here(&sent).body);
                compare(list, &ordered(real), &ordered(here), &mut found);
            }
            if found.is_empty() || begun.elapsed() > PATIENCE {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
}

/// A list's items without what is drawn, in an order that does not depend on drawn names.
fn ordered(list: Value) -> Value {
    let mut items = list["items"].as_array().cloned().unwrap_or_default();
    for item in &mut items {
        as_controllers_see(item);
        nameless(item);
        *item = normal(item.take());
    }
    items.sort_by_key(Value::to_string);
    items.into()
}

/// A pod's status is its kubelet's, and the real cluster's kubelets are stand-ins as well: what controllers read of it is
/// whether it runs, is ready and has a place.
fn as_controllers_see(item: &mut Value) {
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

/// A whole story on both.
struct Telling<'a> {
    table: &'a str,
    story: &'a Story,
    both: Both,
    /// What was kept, of the real one and of the sandbox.
    kept: BTreeMap<&'a str, [Value; 2]>,
    found: Vec<Difference>,
}

impl Telling<'_> {
    fn title(&self, at: usize) -> String {
        let case = &self.story.cases[at];
        let shown = match (case.case.as_str(), case.until.as_slice()) {
            ("", []) => case.request.clone(),
            ("", lists) => format!("until {} stand alike", lists.join(", ")),
            (said, _) => said.to_owned(),
        };
        let twins = self.story.cases[..at]
            .iter()
            .filter(|other| {
                other.case == case.case && other.request == case.request && other.until == case.until
            })
            .count();
        let again = (0..twins).map(|_| " again").collect::<String>();
        format!("{}/{}/{shown}{again}", self.table, self.story.story)
    }
}

/// Fills in what was kept; `side` is 0 for the real one.
fn filled(text: &str, kept: &BTreeMap<&str, [Value; 2]>, side: usize) -> String {
    let mut text = text.to_owned();
    for (name, values) in kept {
        let start = format!("{{{name}:");
        while let Some(from) = text.find(&start) {
            let Some(length) = text[from..].find('}') else {
                break;
            };
            let field = &text[from + start.len()..from + length];
            let value = field.split('.').try_fold(&values[side], |value, part| {
                part.parse::<usize>()
                    .map_or_else(|_| value.get(part), |at| value.get(at))
            });
            let value = value.cloned().unwrap_or_default();
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.replace_range(from..=from + length, &value);
        }
    }
    text
}

async fn tell<'a>(table: &'a str, story: &'a Story) -> Vec<Difference> {
    let name = story
        .story
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .take(24)
        .collect::<String>()
        .to_lowercase();
    let name = format!("{}-{table}", name.trim_end_matches('-'));
    let mut telling = Telling {
        table,
        story,
        both: Both::open(&name).await,
        kept: BTreeMap::new(),
        found: Vec::new(),
    };
    for (at, case) in story.cases.iter().enumerate() {
        let title = telling.title(at);
        if !case.until.is_empty() {
            let found = telling.both.settle(&case.until).await;
            telling
                .found
                .extend(found.iter().map(|text| Difference::new(&title, text)));
            continue;
        }
        let sent = [0, 1].map(|side| request(story, case, &telling.both.namespace, &telling.kept, side));
        let real = telling.both.there(&sent[0]).await;
        let here = telling.both.here(&sent[1]);
        let found = differences(story, case, &real, &here);
        telling
            .found
            .extend(found.iter().map(|text| Difference::new(&title, text)));
        if !case.keep.is_empty() {
            telling.kept.insert(&case.keep, [real.body, here.body]);
        }
    }
    let found = telling.found;
    telling.both.close().await;
    found
}

fn request(
    story: &Story,
    case: &Case,
    namespace: &str,
    kept: &BTreeMap<&str, [Value; 2]>,
    side: usize,
) -> Sent {
    let (verb, short) = case
        .request
        .split_once(' ')
        .unwrap_or_else(|| panic!("{}: a request is VERB PATH: {:?}", story.story, case.request));
    let patch = verb == "PATCH";
    let media = match case.media.as_str() {
        "merge" => "application/merge-patch+json",
        "strategic" => "application/strategic-merge-patch+json",
        "json" => "application/json-patch+json",
        "apply" => "application/apply-patch+yaml",
        "" if patch => "application/merge-patch+json",
        "" => "application/json",
        other => other,
    };
    let body = match (&case.raw, &case.with, &case.body) {
        (Some(raw), ..) => raw.clone(),
        (None, Some(with), _) => {
            let mut body = story.base.clone();
            json_patch::merge(&mut body, with);
            body.to_string()
        }
        (None, None, Value::Null) if matches!(verb, "POST" | "PUT") => story.base.to_string(),
        (None, None, Value::Null) => String::new(),
        (None, None, body) => body.to_string(),
    };
    let accept = if case.accept.is_empty() {
        "application/json"
    } else {
        &case.accept
    };
    Sent {
        method: verb.parse().unwrap(),
        path: path(&filled(short, kept, side), namespace),
        media: media.to_owned(),
        accept: accept.to_owned(),
        body: filled(&body.replace("{ns}", namespace), kept, side).into_bytes(),
    }
}

fn differences(story: &Story, case: &Case, real: &Answered, here: &Answered) -> Vec<String> {
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
        for field in &case.without {
            remove(&mut body, field);
        }
        if story.settling {
            nameless(&mut body);
        }
        normal(body)
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

fn stories() -> Vec<(&'static str, Story)> {
    let read = |(name, text): &(&'static str, &str)| {
        let stories: Vec<Story> =
            serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("cases/{name}.yaml: {error}"));
        stories
            .into_iter()
            .map(|story| (*name, story))
            .collect::<Vec<_>>()
    };
    TABLES.iter().flat_map(read).collect()
}

/// A name, or a part of one, of the stories that run alone.
const ONLY: &str = "ASTERN_CONFORMANCE";

#[tokio::test]
#[expect(clippy::print_stdout, reason = "how many there are is asked for")]
async fn every_case_is_answered_alike_but_for_the_known_differences() {
    let only = std::env::var(ONLY).unwrap_or_default();
    let stories = stories();
    let chosen: Vec<_> = stories
        .iter()
        .filter(|(table, story)| format!("{table}/{}", story.story).contains(&only))
        .collect();
    let found: Vec<Difference> = futures::stream::iter(&chosen)
        .map(|(table, story)| tell(table, story))
        .buffered(AT_ONCE)
        .concat()
        .await;
    let cases: usize = chosen.iter().map(|(_, story)| story.cases.len()).sum();
    println!("{cases} cases in {} stories compared", chosen.len());
    let ran = |case: &str| {
        chosen
            .iter()
            .any(|(table, story)| case.starts_with(&format!("{table}/{}/", story.story)))
    };
    if let Err(told) = Known::read().judge(&found, ran) {
        panic!("{told}");
    }
}

#[test]
fn there_are_at_least_300_cases() {
    let cases: usize = stories().iter().map(|(_, story)| story.cases.len()).sum();
    assert!(cases >= 300, "{cases} cases");
}
