//! What `/metrics` shows: a count and a duration histogram of requests, in Prometheus' text format 0.0.4.
//! Label values come from closed sets (methods, routes, statuses), so that no client can make series.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The upper bounds of the histogram, in seconds; the last bucket, `+Inf`, is the count itself.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The counters of one process.
#[derive(Default)]
pub(crate) struct Metrics {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: BTreeMap<(String, String, u16), u64>,
    durations: BTreeMap<(String, String), Histogram>,
}

#[derive(Default)]
struct Histogram {
    /// How many fell into each bucket itself; the text sums them up.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    /// Counts one answered request.
    pub(crate) fn observe(&self, method: &str, path: &str, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen
            .requests
            .entry((method.into(), path.into(), status))
            .or_default() += 1;
        let histogram = seen.durations.entry((method.into(), path.into())).or_default();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            histogram.buckets[bucket] += 1;
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }

    /// The whole page.
    pub(crate) fn page(&self, service: &str, version: &str) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut page, service, version);
        page
    }

    fn write(&self, page: &mut String, service: &str, version: &str) -> std::fmt::Result {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        head(
            page,
            "vcci_build_info",
            "gauge",
            "The service and its version; the value is always 1.",
        )?;
        writeln!(
            page,
            "vcci_build_info{{service=\"{}\",version=\"{}\"}} 1",
            label(service),
            label(version)
        )?;

        head(page, "http_requests_total", "counter", "Requests answered.")?;
        for ((method, path, status), count) in &seen.requests {
            let labels = format!("method=\"{method}\",path=\"{path}\",status=\"{status}\"");
            writeln!(page, "http_requests_total{{{labels}}} {count}")?;
        }

        let name = "http_request_duration_seconds";
        head(
            page,
            name,
            "histogram",
            "Time from a request's head to its answer.",
        )?;
        for ((method, path), histogram) in &seen.durations {
            let labels = format!("method=\"{method}\",path=\"{path}\"");
            let mut below = 0;
            for (bound, count) in BOUNDS.iter().zip(histogram.buckets) {
                below += count;
                writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}")?;
            }
            writeln!(page, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", histogram.count)?;
            writeln!(page, "{name}_sum{{{labels}}} {}", histogram.sum)?;
            writeln!(page, "{name}_count{{{labels}}} {}", histogram.count)?;
        }
        Ok(())
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn label(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
