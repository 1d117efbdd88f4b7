//! Tables of requests that the sandbox and a real control plane must answer alike. Owns the tables' format, how a row is
//! sent to both and how answers are compared; the rows are in `cases/`, what may differ in `differences.yaml`.

use crate::both::{Both, PATIENCE, Sent, differences, path};
use crate::differences::{Difference, Known};
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Every table, by name.
const TABLES: [(&str, &str); 12] = [
    ("objects", include_str!("cases/objects.yaml")),
    ("workloads", include_str!("cases/workloads.yaml")),
    ("pods", include_str!("cases/pods.yaml")),
    ("patches", include_str!("cases/patches.yaml")),
    ("deletions", include_str!("cases/deletions.yaml")),
    ("reads", include_str!("cases/reads.yaml")),
    ("refusals", include_str!("cases/refusals.yaml")),
    ("jobs", include_str!("cases/jobs.yaml")),
    ("rollback", include_str!("cases/rollback.yaml")),
    ("states", include_str!("cases/states.yaml")),
    ("autoscalers", include_str!("cases/autoscalers.yaml")),
    ("managers", include_str!("cases/managers.yaml")),
];

/// So many stories run at once: most of their time is waiting for controllers.
const AT_ONCE: usize = 12;

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
    /// Whether it is also compared who manages which fields.
    #[serde(default)]
    managers: bool,
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
    /// namespace and `{name:path}` a field of an answer that was kept; `{name:}` is all of it.
    #[serde(default, rename = "do")]
    request: String,
    /// The media type of the body, or `merge`, `strategic`, `json`, `apply`.
    #[serde(default, rename = "as")]
    media: String,
    #[serde(default)]
    accept: String,
    /// The User-Agent; none where it says none.
    #[serde(default)]
    agent: String,
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

/// A whole story on both.
struct Telling<'a> {
    both: Both,
    /// What was kept, of the real one and of the sandbox.
    kept: BTreeMap<&'a str, [Value; 2]>,
    found: Vec<Difference>,
}

/// What a case is called: `TABLE/STORY/CASE`.
fn title(table: &str, story: &Story, at: usize) -> String {
    let case = &story.cases[at];
    let shown = match (case.case.as_str(), case.until.as_slice()) {
        ("", []) => case.request.clone(),
        ("", lists) => format!("until {} stand alike", lists.join(", ")),
        (said, _) => said.to_owned(),
    };
    let twins = story.cases[..at].iter().filter(|other| {
        other.case == case.case && other.request == case.request && other.until == case.until
    });
    let again = twins.map(|_| " again").collect::<String>();
    format!("{table}/{}/{shown}{again}", story.story)
}

/// What all cases are called.
pub(crate) fn titles() -> Vec<String> {
    let of_story = |(table, story): &(&str, Story)| {
        let titles = (0..story.cases.len()).map(|at| title(table, story, at));
        titles.collect::<Vec<_>>()
    };
    stories().iter().flat_map(of_story).collect()
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
            let parts = field.split('.').filter(|part| !part.is_empty());
            let value = parts.into_iter().try_fold(&values[side], |value, part| {
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
        both: Both::open(&name).await,
        kept: BTreeMap::new(),
        found: Vec::new(),
    };
    for (at, case) in story.cases.iter().enumerate() {
        let title = title(table, story, at);
        if !case.until.is_empty() {
            let found = telling.both.settle(&case.until, PATIENCE, story.managers).await;
            telling
                .found
                .extend(found.iter().map(|text| Difference::new(&title, text)));
            continue;
        }
        let sent = [0, 1].map(|side| request(story, case, &telling.both.namespace, &telling.kept, side));
        let real = telling.both.there(&sent[0]).await;
        let here = telling.both.here(&sent[1]);
        let found = differences(&real, &here, &case.without, story.settling, story.managers);
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
        agent: case.agent.clone(),
        body: filled(&body.replace("{ns}", namespace), kept, side).into_bytes(),
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
