//! A metrics source over the traffic, in the HTTP API of Prometheus. Owns what of that API is answered and in which form;
//! what an expression is worth is `query`'s.

mod query;
mod series;

use crate::api::route::Query;
use crate::api::{Request, Response};
use crate::cluster::Cluster;
use jiff::{SignedDuration, Timestamp};
use query::{Sample, Value};
use serde_json::json;

/// Points of one answer at most, as Prometheus has it.
const MOST: i64 = 11_000;

/// Why a question is not answered.
#[derive(Debug)]
struct Refusal {
    code: u16,
    kind: &'static str,
    why: String,
}

impl Refusal {
    fn bad_data(why: impl Into<String>) -> Self {
        Self {
            code: 400,
            kind: "bad_data",
            why: why.into(),
        }
    }
}

/// Answers `/api/v1/query` and `/api/v1/query_range`.
pub(crate) fn handle(cluster: &Cluster, request: &Request) -> Response {
    let mut words = request.query.clone();
    if request.method == http::Method::POST {
        words = format!("{words}&{}", String::from_utf8_lossy(&request.body));
    }
    let words = Query::parse(&words);
    let answered = match request.path.as_str() {
        _ if !matches!(request.method, http::Method::GET | http::Method::POST) => Err(Refusal {
            code: 405,
            kind: "bad_data",
            why: "ask with GET or POST".to_owned(),
        }),
        "/api/v1/query" => instant(cluster, &words),
        "/api/v1/query_range" => range(cluster, &words),
        path => Err(Refusal {
            code: 404,
            kind: "not_found",
            why: format!("the sandbox answers /api/v1/query and /api/v1/query_range, not {path}"),
        }),
    };
    let (code, body) = match answered {
        Ok(data) => (200, json!({"status": "success", "data": data})),
        Err(no) => (
            no.code,
            json!({"status": "error", "errorType": no.kind, "error": no.why}),
        ),
    };
    Response {
        code,
        content_type: "application/json",
        body: body.to_string().into_bytes(),
    }
}

fn instant(cluster: &Cluster, words: &Query) -> Result<serde_json::Value, Refusal> {
    let asked = query::parse(words.get("query").unwrap_or_default()).map_err(Refusal::bad_data)?;
    let at = match words.get("time") {
        Some(time) => moment("time", time)?,
        None => cluster.now,
    };
    let value = query::value(&asked, &cluster.requests, at).map_err(Refusal::bad_data)?;
    Ok(match value {
        Value::Scalar(number) => json!({"resultType": "scalar", "result": point(at, number)}),
        Value::Vector(samples) => {
            let told = |sample: &Sample| json!({"metric": sample.labels, "value": point(at, sample.value)});
            json!({"resultType": "vector", "result": samples.iter().map(told).collect::<Vec<_>>()})
        }
    })
}

fn range(cluster: &Cluster, words: &Query) -> Result<serde_json::Value, Refusal> {
    let asked = query::parse(words.get("query").unwrap_or_default()).map_err(Refusal::bad_data)?;
    let start = moment("start", words.get("start").unwrap_or_default())?;
    let end = moment("end", words.get("end").unwrap_or_default())?;
    let step = span("step", words.get("step").unwrap_or_default())?;
    if end < start {
        let why = "invalid parameter \"end\": end timestamp must not be before start time";
        return Err(Refusal::bad_data(why));
    }
    if end.duration_since(start).as_millis() / step.as_millis().max(1) >= i128::from(MOST) {
        return Err(Refusal::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let mut series: Vec<(query::Labels, Vec<serde_json::Value>)> = Vec::new();
    let mut at = start;
    while at <= end {
        let value = query::value(&asked, &cluster.requests, at).map_err(Refusal::bad_data)?;
        let samples = match value {
            Value::Vector(samples) => samples,
            Value::Scalar(value) => vec![Sample {
                labels: query::Labels::new(),
                value,
            }],
        };
        for sample in samples {
            let told = point(at, sample.value);
            match series.iter_mut().find(|(labels, _)| *labels == sample.labels) {
                Some((_, points)) => points.push(told),
                None => series.push((sample.labels, vec![told])),
            }
        }
        at += step;
    }
    series.sort_by(|one, other| one.0.cmp(&other.0));
    let told: Vec<_> = series
        .into_iter()
        .map(|(labels, points)| json!({"metric": labels, "values": points}))
        .collect();
    Ok(json!({"resultType": "matrix", "result": told}))
}

/// A time and a number as Prometheus writes them.
fn point(at: Timestamp, value: f64) -> serde_json::Value {
    let value = if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    };
    json!([at.as_millisecond() as f64 / 1000.0, value])
}

fn moment(name: &str, text: &str) -> Result<Timestamp, Refusal> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    seconds
        .and_then(|seconds| Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok())
        .or_else(|| text.parse().ok())
        .ok_or_else(|| {
            Refusal::bad_data(format!(
                "invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"
            ))
        })
}

fn span(name: &str, text: &str) -> Result<SignedDuration, Refusal> {
    let seconds = text.parse::<f64>().ok().map(|seconds| (seconds * 1000.0) as i64);
    let written = || promql_parser::util::parse_duration(text).ok();
    let millis = seconds.or_else(|| written().and_then(|span| i64::try_from(span.as_millis()).ok()));
    match millis {
        Some(millis) if millis > 0 => Ok(SignedDuration::from_millis(millis)),
        Some(_) => Err(Refusal::bad_data(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        )),
        None => Err(Refusal::bad_data(format!(
            "invalid parameter {name:?}: cannot parse {text:?} to a valid duration"
        ))),
    }
}
