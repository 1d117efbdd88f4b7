//! The series that the traffic gives: their names, labels, and how each counts.

use super::query::Labels;
use crate::traffic::{Asked, Count, Requests};

/// Answered requests by code.
const TOTAL: &str = "http_requests_total";
/// How long answers took.
const DURATION: &str = "http_request_duration_seconds";
/// The bounds of its buckets in seconds: Prometheus' own default ones.
const BOUNDS: [(&str, f64); 12] = [
    ("0.005", 0.005),
    ("0.01", 0.01),
    ("0.025", 0.025),
    ("0.05", 0.05),
    ("0.1", 0.1),
    ("0.25", 0.25),
    ("0.5", 0.5),
    ("1", 1.0),
    ("2.5", 2.5),
    ("5", 5.0),
    ("10", 10.0),
    ("+Inf", f64::INFINITY),
];

/// A counter: so much for each request.
pub(super) struct Series<'a> {
    pub(super) labels: Labels,
    pub(super) each: f64,
    pub(super) count: &'a Count,
}

/// All series.
pub(super) fn all(requests: &Requests) -> impl Iterator<Item = Series<'_>> {
    requests.iter().flat_map(|(asked, count)| of(asked, count))
}

fn of<'a>(asked: &Asked, count: &'a Count) -> Vec<Series<'a>> {
    let series = |name: &str, also: Option<(&str, &str)>, each: f64| {
        let mut labels = Labels::from([
            ("__name__".to_owned(), name.to_owned()),
            ("namespace".to_owned(), asked.namespace.to_string()),
            ("service".to_owned(), asked.service.to_string()),
        ]);
        if let Some(pod) = &asked.pod {
            labels.insert("pod".to_owned(), pod.to_string());
        }
        labels.extend(also.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Series { labels, each, count }
    };
    let failed = count.manner.error_share;
    if asked.pod.is_none() {
        return vec![series(TOTAL, Some(("code", "503")), failed)];
    }
    let mean = count.manner.latency.as_secs_f64();
    let mut all = vec![
        series(TOTAL, Some(("code", "200")), 1.0 - failed),
        series(TOTAL, Some(("code", "500")), failed),
        series(&format!("{DURATION}_count"), None, 1.0),
        series(&format!("{DURATION}_sum"), None, mean),
    ];
    // Times between answers of a busy server: few are long, and the mean is what was said.
    let within = |bound: f64| 1.0 - (-bound / mean).exp();
    let bucket = format!("{DURATION}_bucket");
    all.extend(
        BOUNDS
            .iter()
            .map(|(le, bound)| series(&bucket, Some(("le", le)), within(*bound))),
    );
    all
}
