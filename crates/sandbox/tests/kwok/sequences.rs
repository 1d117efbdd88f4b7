//! Sequences that nobody thought of: drawn from a seed, sent to the sandbox and to a real control plane, and compared after
//! each operation and once both have settled. Owns what is drawn and how a failing sequence is made shorter.

use crate::both::{Both, PATIENCE, Sent, differences, path};
use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// So many sequences are drawn unless `ASTERN_SEQUENCES` says otherwise.
const SEQUENCES: u64 = 40;
/// So many operations has each.
const OPERATIONS: usize = 12;
/// So many run at once.
const AT_ONCE: usize = 14;
/// A sequence that is made shorter is waited for no longer than this: it differs, or it does not.
const SHORT: Duration = Duration::from_secs(10);
/// What must look alike whenever both have settled.
const LISTS: [&str; 7] = [
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "controllerrevisions",
    "jobs",
    "pods",
];

/// How many are drawn.
const MANY: &str = "ASTERN_SEQUENCES";
/// The seed that is drawn from, or the first of as many.
const ONE: &str = "ASTERN_SEQUENCE";

/// One request, and whether its answer is compared beyond the code.
#[derive(Clone)]
struct Operation {
    verb: Method,
    path: String,
    media: &'static str,
    body: Value,
    whole: bool,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.path)?;
        if self.body.is_null() {
            return Ok(());
        }
        write!(f, " {}", self.body)
    }
}

/// Numbers from a seed: the steps of an odd constant, mixed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";

fn sequence(seed: u64) -> Vec<Operation> {
    let mut draw = Draw(seed);
    // A sequence keeps to two kinds, so that much happens to each.
    let kinds = [
        draw.of(&["deployments", "deployments", "statefulsets"]),
        draw.of(&["deployments", "statefulsets", "daemonsets", "jobs"]),
    ];
    let first = create(&mut draw, kinds[0]);
    let rest = (1..OPERATIONS).map(|_| {
        let kind = draw.of(&kinds);
        operation(&mut draw, kind)
    });
    std::iter::once(first).chain(rest).collect()
}

fn operation(draw: &mut Draw, kind: &'static str) -> Operation {
    if kind == "jobs" {
        return job(draw);
    }
    let web = format!("{kind}/web");
    let counted = kind != "daemonsets";
    let merge = |body: Value| patch(&web, MERGE, body);
    match draw.below(15) {
        0 | 1 => create(draw, kind),
        2..=4 => image(draw, &web),
        5 if counted => {
            let replicas = draw.below(4);
            patch(
                &format!("{web}/scale"),
                MERGE,
                json!({"spec": {"replicas": replicas}}),
            )
        }
        6 if counted => merge(json!({"spec": {"replicas": draw.below(4)}})),
        7 => {
            let at = draw.of(&["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]);
            let annotations = json!({"kubectl.kubernetes.io/restartedAt": at});
            patch(
                &web,
                STRATEGIC,
                json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}),
            )
        }
        8 => {
            let selector = draw.of(&[Some("true"), None]);
            merge(json!({"spec": {"template": {"spec": {"nodeSelector": {"nowhere": selector}}}}}))
        }
        9 => merge(strategy(draw, kind)),
        10 => {
            let policy = draw.of(&["Background", "Foreground", "Orphan"]);
            Operation {
                verb: Method::DELETE,
                path: web,
                media: "application/json",
                body: json!({"propagationPolicy": policy}),
                whole: true,
            }
        }
        11 => Operation {
            verb: Method::DELETE,
            path: format!("pods?labelSelector=app={kind}"),
            media: "",
            body: Value::Null,
            // Pods' names are drawn, and their status is the kubelets'.
            whole: false,
        },
        12 => merge(json!({"spec": {"revisionHistoryLimit": draw.below(3)}})),
        13 => {
            let note = draw.of(&["one", "two"]);
            merge(
                json!({"metadata": {"annotations": {"kubernetes.io/change-cause": note}, "labels": {"note": note}}}),
            )
        }
        _ => refused(draw, &web, kind),
    }
}

/// What is done to a Job. Its pods are left alone: how long it waits after a failure is counted in real seconds.
fn job(draw: &mut Draw) -> Operation {
    let merge = |body: Value| patch("jobs/web", MERGE, body);
    match draw.below(8) {
        0..=2 => {
            let nowhere = draw.of(&[Some("true"), None, None]);
            let mut spec =
                json!({"restartPolicy": "Never", "containers": [{"name": "app", "image": "job:v1"}]});
            if let Some(nowhere) = nowhere {
                spec["nodeSelector"] = json!({"nowhere": nowhere});
            }
            let (completions, parallelism) = (draw.below(3) + 1, draw.below(3) + 1);
            let mut body = json!({"metadata": {"name": "web"}, "spec": {
                "completions": completions,
                "parallelism": parallelism,
                "suspend": draw.of(&[true, false, false]),
            }});
            body["spec"]["template"]["spec"] = spec;
            Operation {
                verb: Method::POST,
                path: "jobs".to_owned(),
                media: "application/json",
                body,
                whole: true,
            }
        }
        3 => merge(json!({"spec": {"suspend": draw.of(&[true, false])}})),
        4 => merge(json!({"spec": {"parallelism": draw.below(4)}})),
        5 => merge(json!({"spec": {"completions": draw.below(3) + 1}})),
        6 => merge(json!({"metadata": {"labels": {"note": draw.of(&["one", "two"])}}})),
        _ => {
            let policy = draw.of(&["Background", "Foreground", "Orphan"]);
            Operation {
                verb: Method::DELETE,
                path: "jobs/web".to_owned(),
                media: "application/json",
                body: json!({"propagationPolicy": policy}),
                whole: true,
            }
        }
    }
}

fn create(draw: &mut Draw, kind: &'static str) -> Operation {
    let mut body = json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": kind}},
            "template": {
                "metadata": {"labels": {"app": kind}},
                "spec": {"containers": [{"name": "app", "image": "web:v1"}]},
            },
        },
    });
    json_patch::merge(&mut body, &strategy(draw, kind));
    if kind != "daemonsets" {
        body["spec"]["replicas"] = draw.below(4).into();
    }
    if kind == "statefulsets" {
        body["spec"]["podManagementPolicy"] = draw.of(&["OrderedReady", "Parallel"]).into();
    }
    Operation {
        verb: Method::POST,
        path: kind.to_owned(),
        media: "application/json",
        body,
        whole: true,
    }
}

/// How a kind rolls, or whether it does.
fn strategy(draw: &mut Draw, kind: &str) -> Value {
    match kind {
        "deployments" => match draw.below(5) {
            0 => json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
            1 => {
                json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}})
            }
            2 => {
                json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 0}}}})
            }
            3 => json!({"spec": {"paused": true}}),
            _ => json!({"spec": {"paused": null}}),
        },
        "statefulsets" => match draw.below(4) {
            0 => json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
            at => {
                json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": at - 1}}}})
            }
        },
        _ => match draw.below(3) {
            0 => json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
            most => {
                json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most}}}})
            }
        },
    }
}

fn image(draw: &mut Draw, web: &str) -> Operation {
    let image = draw.of(&["web:v1", "web:v2", "web:v3"]);
    let containers = json!([{"name": "app", "image": image}]);
    match draw.below(3) {
        0 => patch(
            web,
            MERGE,
            json!({"spec": {"template": {"spec": {"containers": containers}}}}),
        ),
        1 => patch(
            web,
            STRATEGIC,
            json!({"spec": {"template": {"spec": {"containers": containers}}}}),
        ),
        _ => {
            let place = "/spec/template/spec/containers/0/image";
            patch(
                web,
                JSON_PATCH,
                json!([{"op": "replace", "path": place, "value": image}]),
            )
        }
    }
}

/// What no server takes, or takes and keeps nothing of.
fn refused(draw: &mut Draw, web: &str, kind: &str) -> Operation {
    match draw.below(5) {
        0 => patch(
            web,
            MERGE,
            json!({"metadata": {"resourceVersion": "1"}, "spec": {"minReadySeconds": 5}}),
        ),
        1 => patch(
            web,
            MERGE,
            json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
        ),
        2 => patch(
            web,
            JSON_PATCH,
            json!([{"op": "test", "path": "/metadata/uid", "value": "other"}]),
        ),
        3 => patch(
            &format!("{web}?dryRun=All"),
            MERGE,
            json!({"spec": {"minReadySeconds": 7}}),
        ),
        _ => Operation {
            verb: Method::DELETE,
            path: format!("{kind}/web"),
            media: "application/json",
            body: json!({"preconditions": {"uid": "other"}}),
            whole: true,
        },
    }
}

fn patch(path: &str, media: &'static str, body: Value) -> Operation {
    Operation {
        verb: Method::PATCH,
        path: path.to_owned(),
        media,
        body,
        whole: true,
    }
}

/// Where two began to differ, and how.
struct Parting {
    /// So many operations were sent.
    after: usize,
    found: Vec<String>,
}

async fn run(name: &str, operations: &[Operation], patience: Duration) -> Option<Parting> {
    let lists = LISTS.map(str::to_owned);
    let mut both = Both::open(name).await;
    let mut parting = None;
    for (at, operation) in operations.iter().enumerate() {
        let body = match &operation.body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let sent = Sent {
            media: operation.media.to_owned(),
            body,
            ..Sent::new(operation.verb.clone(), path(&operation.path, &both.namespace))
        };
        let (mut real, mut here) = (both.there(&sent).await, both.here(&sent));
        if !operation.whole {
            (real.body, here.body) = (Value::Null, Value::Null);
        }
        let mut found = differences(&real, &here, &[], true, false);
        if found.is_empty() {
            found = both.settle(&lists, patience, false).await;
        }
        if !found.is_empty() {
            parting = Some(Parting { after: at + 1, found });
            break;
        }
    }
    both.close().await;
    parting
}

/// The shortest sequence that still differs, found by leaving out one operation after the other.
async fn shrunk(seed: u64, operations: Vec<Operation>, parting: Parting) -> (Vec<Operation>, Parting) {
    let mut shortest = (operations[..parting.after].to_vec(), parting);
    let mut at = 0;
    while at + 1 < shortest.0.len() {
        let mut shorter = shortest.0.clone();
        shorter.remove(at);
        let name = format!("seed-{seed}-{at}-of-{}", shorter.len());
        match run(&name, &shorter, SHORT).await {
            Some(parting) => {
                shorter.truncate(parting.after);
                shortest = (shorter, parting);
            }
            None => at += 1,
        }
    }
    shortest
}

fn told(seed: u64, operations: &[Operation], parting: &Parting) -> String {
    let mut told = format!("\nsequence {seed} differs after these operations:\n");
    for operation in operations {
        let _ = writeln!(told, "  {operation}");
    }
    for difference in parting.found.iter().take(20) {
        let _ = writeln!(told, "    {difference}");
    }
    let _ = write!(
        told,
        "  again: {ONE}={seed} cargo test -p astern-sandbox --test kwok -- sequences"
    );
    told
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text:?} is no number")),
    )
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "how many there are is asked for")]
async fn sequences_that_are_drawn_leave_both_alike() {
    let first = number(ONE);
    let many = number(MANY).unwrap_or(if first.is_some() { 1 } else { SEQUENCES });
    let first = first.unwrap_or(0);
    let seeds = first..first + many;
    let differing: Vec<(u64, Parting)> = futures::stream::iter(seeds)
        .map(|seed| async move {
            let parting = run(&format!("seed-{seed}"), &sequence(seed), PATIENCE).await;
            parting.map(|parting| (seed, parting))
        })
        .buffered(AT_ONCE)
        .filter_map(|found| async { found })
        .collect()
        .await;
    println!("{many} sequences of {OPERATIONS} operations compared");
    let mut words = String::new();
    for (at, (seed, parting)) in differing.into_iter().enumerate() {
        // One is made short: each try takes as long as the sequence.
        let (operations, parting) = if at == 0 {
            shrunk(seed, sequence(seed), parting).await
        } else {
            (sequence(seed)[..parting.after].to_vec(), parting)
        };
        words += &told(seed, &operations, &parting);
    }
    assert!(words.is_empty(), "{words}\n");
}

#[test]
fn a_seed_draws_the_same_sequence_each_time() {
    let shown = |seed| {
        sequence(seed)
            .iter()
            .map(Operation::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(7), shown(7));
    assert_ne!(shown(7), shown(8));
    assert_eq!(shown(7).len(), OPERATIONS);
}
