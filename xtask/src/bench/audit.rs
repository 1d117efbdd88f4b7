//! The API server's audit log, read as who asked for what, when. Owns the reading and the counting; asks nothing.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::failure::{Outcome, doing};

/// One request that was answered.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// When it came in, in seconds since 1970.
    pub(super) at: f64,
    /// When it was answered.
    pub(super) answered: f64,
    pub(super) verb: String,
    pub(super) resource: String,
    dry_run: bool,
    whole_list: bool,
    log: bool,
}

impl Request {
    fn read(line: &str, user: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let ours = text("/user/username") == user && text("/stage") == "ResponseComplete";
        let uri = text("/requestURI");
        ours.then(|| {
            Some(Self {
                at: seconds(&text("/requestReceivedTimestamp"))?,
                answered: seconds(&text("/stageTimestamp"))?,
                verb: text("/verb"),
                resource: text("/objectRef/resource"),
                dry_run: uri.contains("dryRun=All"),
                whole_list: text("/verb") == "list"
                    && !uri.contains("labelSelector=")
                    && !uri.contains("metadata.name"),
                log: text("/objectRef/subresource") == "log",
            })
        })?
    }

    /// The first effect on a workload.
    pub(super) fn writes_deployment(&self) -> bool {
        self.resource == "deployments" && self.verb == "update" && !self.dry_run
    }

    /// Journal, vault and lock: what astern writes down, and not what it does.
    pub(super) fn keeps_record(&self) -> bool {
        matches!(self.resource.as_str(), "secrets" | "leases")
    }

    /// Part of a look at the whole namespace, and no part of an effect: the judge's begins as soon as service is back.
    pub(super) fn looks(&self) -> bool {
        let head = matches!(self.resource.as_str(), "" | "selfsubjectreviews" | "namespaces");
        head || self.whole_list || self.log
    }

    pub(super) fn watches(&self) -> bool {
        self.verb == "watch"
    }
}

/// What `user` asked from `since` on, in order.
pub(super) fn requests(log: &Path, user: &str, since: f64) -> Outcome<Vec<Request>> {
    let text = std::fs::read_to_string(log).map_err(doing(format!("read {}", log.display())))?;
    let mut requests: Vec<Request> = text
        .lines()
        .filter(|line| line.contains(user))
        .filter_map(|line| Request::read(line, user))
        .filter(|request| request.at >= since)
        .collect();
    requests.sort_by(|a, b| a.at.total_cmp(&b.at));
    Ok(requests)
}

/// How many times a request waited for an answer: requests that begin within half of the `delay` on the way from
/// one another were sent together.
pub(super) fn in_sequence<'a>(requests: impl Iterator<Item = &'a Request>, delay: f64) -> usize {
    let mut waves = 0;
    let mut last = f64::NEG_INFINITY;
    for request in requests {
        if request.at - last > delay / 2.0 {
            waves += 1;
        }
        last = request.at;
    }
    waves
}

/// The seconds in which at least one of these was being answered.
pub(super) fn busy<'a>(requests: impl Iterator<Item = &'a Request>) -> f64 {
    let mut total = 0.0;
    let mut until = f64::NEG_INFINITY;
    for request in requests {
        total += (request.answered - request.at.max(until)).max(0.0);
        until = until.max(request.answered);
    }
    total
}

/// Now, in seconds since 1970: the audit log's clock is this machine's.
pub(super) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|time| time.as_secs_f64())
        .unwrap_or_default()
}

/// `2026-11-23T11:20:33.123456Z` in seconds since 1970.
fn seconds(text: &str) -> Option<f64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers: Vec<i64> = date.split('-').filter_map(|part| part.parse().ok()).collect();
    let [year, month, day] = numbers[..] else {
        return None;
    };
    let mut clock = time.split(':');
    let (hour, minute) = (
        clock.next()?.parse::<f64>().ok()?,
        clock.next()?.parse::<f64>().ok()?,
    );
    let second: f64 = clock.next()?.parse().ok()?;
    // Days from 1970 in the proleptic Gregorian calendar, with years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    let days = f64::from(i32::try_from(days).ok()?);
    Some(days * 86_400.0 + hour * 3600.0 + minute * 60.0 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(at: f64, answered: f64) -> Request {
        Request {
            at,
            answered,
            verb: "get".to_owned(),
            resource: "pods".to_owned(),
            dry_run: false,
            whole_list: false,
            log: false,
        }
    }

    #[test]
    fn a_timestamp_is_read_as_the_clock_says_it() {
        assert_eq!(seconds("1970-01-01T00:00:00.000000Z"), Some(0.0));
        assert_eq!(seconds("2024-02-29T12:00:01.500000Z"), Some(1_709_208_001.5));
        assert_eq!(seconds("2026-11-23T11:20:33.000000Z"), Some(1_795_432_833.0));
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn requests_that_are_sent_together_count_as_one_round_trip() {
        let sent = [
            request(0.0, 0.1),
            request(0.02, 0.1),
            request(0.3, 0.4),
            request(0.6, 0.7),
        ];
        assert_eq!(in_sequence(sent.iter(), 0.2), 3);
        assert!((busy(sent.iter()) - 0.3).abs() < 1e-9);
    }
}
