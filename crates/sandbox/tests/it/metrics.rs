//! What the metrics source tells of the traffic, in Prometheus' HTTP API.

use crate::support::{MERGE, Sandbox};
use astern_sandbox::{
    Behaviour, BehaviourRule, Behaviours, Cluster, Logs, Options, Ready, Request, Serves, Traffic, When,
};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments";
const ERRORS: &str = "sum by (service) (rate(http_requests_total{code=~\"5..\"}[1m])) \
    / sum by (service) (rate(http_requests_total[1m]))";

/// Two pods of v1 get 30 requests a second; v2 fails a tenth of them and is slow, v3 is never ready.
fn shop() -> Sandbox {
    let behaves = |image: &str, error_share: f64, latency: i64, ready: Ready| BehaviourRule {
        when: When::Image(image.to_owned()),
        behaviour: Behaviour {
            ready,
            serves: Some(Serves {
                answers: Vec::new(),
                error_share,
            }),
            logs: Some(Logs {
                every: SignedDuration::from_secs(1),
                text: "answered".to_owned(),
                error_text: String::new(),
                error_share: 0.0,
                latency: SignedDuration::from_millis(latency),
            }),
            ..Behaviour::default()
        },
    };
    let soon = Ready::After(SignedDuration::from_millis(500));
    let mut sandbox = Sandbox::with(Options {
        behaviours: Behaviours {
            rules: vec![
                behaves("web:v1", 0.0, 20, soon.clone()),
                behaves("web:v2", 0.1, 800, soon),
                behaves("web:v3", 0.0, 20, Ready::Never),
            ],
            otherwise: Behaviour::default(),
        },
        traffic: vec![Traffic {
            namespace: "shop".to_owned(),
            service: "web".to_owned(),
            requests_per_second: 30.0,
        }],
        ..Options::default()
    });
    sandbox.create(
        DEPLOYMENTS,
        json!({
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "Recreate"},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "app", "image": "web:v1"}]},
                },
            },
        }),
    );
    sandbox.pass(10);
    let service =
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    sandbox.create("/api/v1/namespaces/shop/services", service);
    sandbox.pass(120);
    sandbox
}

fn release(sandbox: &mut Sandbox, image: &str) {
    let template = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}});
    let (code, _) = sandbox.patch(&format!("{DEPLOYMENTS}/web"), MERGE, template);
    assert_eq!(code, 200);
    sandbox.pass(120);
}

/// As a form in a body, so that nothing is to be encoded but what forms need.
fn asked(cluster: &mut Cluster, now: Timestamp, path: &str, form: &str) -> (u16, Value) {
    let form = form.replace('%', "%25").replace('+', "%2B");
    let response = cluster.metrics(
        now,
        &Request {
            method: Method::POST,
            path: format!("/api/v1/{path}"),
            body: form.into_bytes().into(),
            ..Request::default()
        },
    );
    (response.code, serde_json::from_slice(&response.body).unwrap())
}

/// The values of an instant vector.
fn values(sandbox: &mut Sandbox, query: &str) -> Vec<f64> {
    let (code, told) = asked(
        &mut sandbox.cluster,
        sandbox.now,
        "query",
        &format!("query={query}"),
    );
    assert_eq!(code, 200, "{query}: {told}");
    let result = told["data"]["result"].as_array().unwrap();
    result
        .iter()
        .map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap())
        .collect()
}

fn near(values: &[f64], wanted: &[f64]) {
    let same = values.len() == wanted.len()
        && values
            .iter()
            .zip(wanted)
            .all(|(one, other)| (one - other).abs() < 1e-6);
    assert!(same, "{values:?} instead of {wanted:?}");
}

#[test]
fn requests_are_spread_evenly_over_the_ready_pods() {
    let mut sandbox = shop();
    near(
        &values(&mut sandbox, "sum(rate(http_requests_total[1m]))"),
        &[30.0],
    );
    near(
        &values(
            &mut sandbox,
            "sum by (pod) (rate(http_requests_total{service=\"web\"}[1m]))",
        ),
        &[15.0, 15.0],
    );
    near(
        &values(
            &mut sandbox,
            "sum(increase(http_requests_total{namespace=\"shop\"}[1m]))",
        ),
        &[1800.0],
    );
    near(
        &values(&mut sandbox, "sum(http_requests_total{code=\"200\"}) / 30"),
        &[120.0],
    );
    near(
        &values(&mut sandbox, "count(http_requests_total{pod!~\"web-.*\"})"),
        &[],
    );
}

#[test]
fn a_bad_version_shows_in_the_share_of_errors_and_in_the_slowest_answers() {
    let mut sandbox = shop();
    let slowest = "histogram_quantile(0.5, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))";
    near(&values(&mut sandbox, ERRORS), &[0.0]);
    let before = values(&mut sandbox, slowest);
    assert!(before[0] > 0.01 && before[0] < 0.025, "{before:?}");
    release(&mut sandbox, "web:v2");
    near(&values(&mut sandbox, ERRORS), &[0.1]);
    let after = values(&mut sandbox, slowest);
    assert!(after[0] > 0.5 && after[0] < 1.0, "{after:?}");
    let mean = "sum(rate(http_request_duration_seconds_sum[1m])) / sum(rate(http_request_duration_seconds_count[1m]))";
    near(&values(&mut sandbox, mean), &[0.8]);
}

#[test]
fn where_no_pod_is_ready_all_requests_fail() {
    let mut sandbox = shop();
    release(&mut sandbox, "web:v3");
    near(&values(&mut sandbox, ERRORS), &[1.0]);
    near(
        &values(&mut sandbox, "sum by (code) (rate(http_requests_total[1m]))"),
        &[30.0],
    );
}

#[test]
fn a_range_tells_a_point_for_each_step_and_a_snapshot_goes_its_own_way() {
    let mut sandbox = shop();
    let mut snapshot = sandbox.cluster.clone();
    let begun = sandbox.now;
    release(&mut sandbox, "web:v2");
    let form = format!(
        "query={ERRORS}&start={}&end={}&step=60s",
        begun.as_second(),
        sandbox.now.as_second()
    );
    let (code, told) = asked(&mut sandbox.cluster, sandbox.now, "query_range", &form);
    assert_eq!(code, 200, "{told}");
    let [series] = told["data"]["result"].as_array().unwrap().as_slice() else {
        panic!("{told}")
    };
    assert_eq!(told["data"]["resultType"], "matrix");
    assert_eq!(series["metric"], json!({"service": "web"}));
    let points = series["values"].as_array().unwrap();
    assert_eq!(points.len(), 3);
    assert_eq!(points[0], json!([begun.as_second() as f64, "0"]));
    let (_, there) = asked(&mut snapshot, sandbox.now, "query", &format!("query={ERRORS}"));
    assert_eq!(there["data"]["result"][0]["value"][1], "0", "{there}");
}

#[test]
fn what_is_not_answered_is_refused_in_the_words_of_the_api() {
    let mut sandbox = shop();
    let mut check = |path: &str, form: &str, code: u16, kind: &str, word: &str| {
        let (answered, told) = asked(&mut sandbox.cluster, sandbox.now, path, form);
        assert_eq!(
            (answered, &told["status"], &told["errorType"]),
            (code, &json!("error"), &json!(kind)),
            "{told}"
        );
        assert!(told["error"].as_str().unwrap().contains(word), "{form}: {told}");
    };
    check("query", "query=sum(", 400, "bad_data", "query");
    check(
        "query",
        "query=topk(1, http_requests_total)",
        400,
        "bad_data",
        "topk",
    );
    check(
        "query",
        "query=deriv(http_requests_total[5m])",
        400,
        "bad_data",
        "deriv",
    );
    check(
        "query",
        "query=http_requests_total offset 5m",
        400,
        "bad_data",
        "offset",
    );
    check("query", "query=http_requests_total > 5", 400, "bad_data", ">");
    check("query", "query=http_requests_total[5m]", 400, "bad_data", "range");
    check("query", "query=1&time=soon", 400, "bad_data", "soon");
    check(
        "query_range",
        "query=1&start=10&end=5&step=1",
        400,
        "bad_data",
        "end",
    );
    check(
        "query_range",
        "query=1&start=0&end=5&step=0",
        400,
        "bad_data",
        "zero",
    );
    check(
        "query_range",
        "query=1&start=0&end=900000&step=1",
        400,
        "bad_data",
        "11,000",
    );
    check("labels", "", 404, "not_found", "/api/v1/query");
}
