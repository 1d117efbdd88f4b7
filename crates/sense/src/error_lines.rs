//! Error lines in the logs of workloads' pods, as a rate for each version, and the last words of containers that
//! crash. Owns which logs are read and over what time their lines are counted.

use crate::fetch::{Container, LogPart, NoLog, Way, log};
use crate::mask::Masker;
use crate::recent::{Reading, Recent};
use crate::words::{Count, count, last_line, shortened};
use astern_model::evidence::{Evidence, Fact, Known, Side, Source, Trouble};
use astern_model::inventory::Inventory;
use astern_model::policy::LogPolicy;
use astern_model::target::Target;
use astern_model::workload::{Pod, Workload};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;

/// Pods whose logs are read for each version of a workload. They answer the same requests, so that more of them
/// change a rate little and cost a request each; the evidence tells how many were read.
pub(crate) const PODS_PER_SIDE: usize = 5;
/// Bytes that are read of one container's window. Where that is not all of it, the rate is taken over the time that
/// was read.
const LOG_BYTES: i64 = 1024 * 1024;
/// A pod that existed for less than this in the window counts as if it had existed so long: a rate over a second or
/// two is noise.
const SHORTEST_SPAN: SignedDuration = SignedDuration::from_secs(10);
/// Enough lines to find the last that is not empty.
const LAST_WORDS: i64 = 20;
/// Twenty long lines.
const LAST_WORDS_BYTES: i64 = 256 * 1024;

/// One look at the logs of some workloads.
pub(crate) struct Look<'a> {
    way: &'a Way<'a>,
    inventory: &'a Inventory,
    masker: Masker<'a>,
    recent: &'a Recent,
}

/// The time over which lines are counted.
#[derive(Clone, Copy)]
struct Window {
    from: Timestamp,
    now: Timestamp,
}

/// What one pod's logs told.
struct Heard {
    /// Error lines that were read.
    lines: u64,
    /// The same over the whole span, where not all of it was read.
    in_span: f64,
    last: Option<String>,
    span: SignedDuration,
}

impl<'a> Look<'a> {
    /// A look at the workloads of `inventory`.
    pub(crate) fn new(way: &'a Way<'a>, inventory: &'a Inventory, recent: &'a Recent) -> Self {
        Self {
            way,
            inventory,
            masker: Masker::new(way, inventory),
            recent,
        }
    }

    /// All evidence about all targets, in the order of the targets, the live version first.
    pub(crate) async fn all(
        &self,
        targets: &[Target],
        policy: &LogPolicy,
        since: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<Evidence> {
        let start = now - policy.window;
        let window = Window {
            from: since.map_or(start, |since| since.max(start)).min(now),
            now,
        };
        let mut looks = Vec::new();
        for workload in targets
            .iter()
            .filter_map(|target| self.inventory.workloads.get(target))
        {
            for side in [Side::Live, Side::Former] {
                looks.push(self.side(workload, side, policy, window));
            }
        }
        let lines = futures::future::join_all(looks).await;
        let last_words = self.last_words(targets, now).await;
        lines.into_iter().flatten().chain(last_words).collect()
    }

    async fn side(
        &self,
        workload: &Workload,
        side: Side,
        policy: &LogPolicy,
        window: Window,
    ) -> Option<Evidence> {
        let pods: Vec<&Pod> = readable(workload, side);
        let reads: Vec<_> = pods
            .iter()
            .map(|pod| self.pod(workload, pod, policy, window))
            .collect();
        let read: Vec<_> = futures::future::join_all(reads).await;
        let mut heard = Vec::new();
        let mut why = None;
        for told in read {
            match told {
                Ok(told) => heard.extend(told),
                Err(unreadable) => why = Some(unreadable),
            }
        }
        // Where no container has run there are no lines to count, and nothing that one might have missed.
        if heard.is_empty() && why.is_none() {
            return None;
        }
        let lines = heard.iter().map(|heard| heard.lines).sum();
        let example = heard.iter().rev().find_map(|heard| heard.last.as_deref());
        let example = match example {
            Some(line) => Some(self.masked(workload, line).await),
            None => None,
        };
        let fact = Fact::ErrorLines {
            per_minute: match rate(&heard) {
                Some(rate) => Known::Is(rate),
                None => Known::Unknown(why.unwrap_or_else(|| "no log was read".to_owned())),
            },
            pods: u32::try_from(heard.len()).unwrap_or(u32::MAX),
            lines,
            example,
        };
        Some(self.evidence(
            workload,
            side,
            fact,
            Some(window.now.duration_since(window.from)),
            window.now,
        ))
    }

    /// One pod: every container, and the attempt before of those that fail. None when none of them ever ran.
    async fn pod(
        &self,
        workload: &Workload,
        pod: &Pod,
        policy: &LogPolicy,
        window: Window,
    ) -> Result<Option<Heard>, String> {
        let from = window.from.max(pod.created_at).min(window.now);
        // A pod younger than the window is read whole: its node's clock and ours need not agree then.
        let whole = pod.created_at >= window.from;
        let seconds = (!whole).then(|| window.now.duration_since(from).as_secs().max(1));
        let again = |container: &&String| pod.restarts > 0 && pod.failing.contains(container);
        let wanted = pod.containers.iter().map(|name| (name, false));
        let wanted = wanted.chain(pod.containers.iter().filter(again).map(|name| (name, true)));
        let wanted = wanted.filter(|(name, _)| may_have_run(pod, name));
        let wanted = wanted
            .map(|(container, previous)| (container, previous, self.kept(pod, container, previous, whole)));
        let reads = wanted.map(|(container, previous, kept)| async move {
            let part = LogPart {
                previous,
                since_seconds: seconds,
                tail_lines: None,
                limit_bytes: LOG_BYTES,
                timestamps: true,
            };
            let log = log(self.way, container_of(workload, pod, container), &part).await;
            match (&log, kept) {
                (Ok(log), Some(kept)) if !log.cut => kept.keep(Ok(log.text.clone())),
                (Err(none), Some(kept)) => kept.keep(Err(none.clone())),
                _ => {}
            }
            log
        });
        let mut counts: Vec<(Count, bool)> = Vec::new();
        for read in futures::future::join_all(reads).await {
            match read {
                Ok(log) => counts.push((count(&log.text, &policy.words), log.cut)),
                Err(NoLog::NeverRan) => {}
                Err(NoLog::Unreadable(why)) => return Err(format!("log of pod/{}: {why}", pod.name)),
            }
        }
        Ok((!counts.is_empty()).then(|| heard(counts, from, window.now)))
    }

    /// A failing container's log is kept for the saving of evidence, where the window holds all that it said.
    fn kept(&self, pod: &Pod, container: &str, previous: bool, whole: bool) -> Option<Reading<'a>> {
        let fails = pod.failing.iter().any(|name| name == container);
        (whole && fails).then(|| self.recent.reading(pod.uid.as_str(), container, previous))
    }

    /// The last line of each container that crashes, as the evidence of its crash loop once more.
    async fn last_words(&self, targets: &[Target], now: Timestamp) -> Vec<Evidence> {
        let crashes = self
            .inventory
            .evidence
            .iter()
            .filter(|evidence| targets.contains(&evidence.subject));
        let reads: Vec<_> = crashes
            .filter_map(|evidence| match &evidence.fact {
                Fact::Trouble {
                    trouble:
                        Trouble::CrashLoop {
                            container,
                            exit_code,
                            restarts,
                            ..
                        },
                    pods,
                    example,
                } => {
                    let workload = self.inventory.workloads.get(&evidence.subject)?;
                    Some(async move {
                        let last_line = self.last_line(workload, example, container).await;
                        let trouble = Trouble::CrashLoop {
                            container: container.clone(),
                            exit_code: *exit_code,
                            restarts: *restarts,
                            last_line,
                        };
                        let fact = Fact::Trouble {
                            trouble,
                            pods: *pods,
                            example: example.clone(),
                        };
                        self.evidence(workload, evidence.side, fact, None, now)
                    })
                }
                _ => None,
            })
            .collect();
        futures::future::join_all(reads).await
    }

    async fn last_line(&self, workload: &Workload, pod: &str, container: &str) -> Option<String> {
        let pod = workload.pods.iter().find(|one| one.name == pod)?;
        // The attempt before ended; the present one may only have begun.
        if let Some(line) = self.recent.last_line(pod.uid.as_str(), container, true) {
            return Some(self.masked(workload, &line).await);
        }
        for previous in [true, false] {
            let part = LogPart {
                previous,
                since_seconds: None,
                tail_lines: Some(LAST_WORDS),
                limit_bytes: LAST_WORDS_BYTES,
                timestamps: false,
            };
            let log = log(self.way, container_of(workload, pod, container), &part).await;
            if let Ok(log) = log
                && let Some(line) = last_line(&log.text)
            {
                return Some(self.masked(workload, line).await);
            }
        }
        None
    }

    /// The line without the values of Secrets that any version of the workload consumes, or why it is not shown.
    async fn masked(&self, workload: &Workload, line: &str) -> String {
        match self.masker.of_workload(workload, line).await {
            Ok(line) => shortened(&line),
            Err(why) => format!("(not shown: {why})"),
        }
    }

    fn evidence(
        &self,
        workload: &Workload,
        side: Side,
        fact: Fact,
        window: Option<SignedDuration>,
        now: Timestamp,
    ) -> Evidence {
        Evidence {
            subject: workload.target.clone(),
            side,
            fact,
            source: Source::Logs,
            window,
            observed_at: now,
        }
    }
}

fn container_of<'a>(workload: &'a Workload, pod: &'a Pod, name: &'a str) -> Container<'a> {
    Container {
        namespace: &workload.target.namespace,
        pod: &pod.name,
        name,
        node: pod.node.as_deref(),
    }
}

/// The pods of a side whose logs are read: those that fail first, the most restarted of them, then the youngest.
fn readable(workload: &Workload, side: Side) -> Vec<&Pod> {
    let live = workload.template.hash();
    let mut pods: Vec<&Pod> = workload
        .pods
        .iter()
        .filter(|pod| !pod.terminating && pod.node.is_some())
        .filter(|pod| (pod.revision.as_ref() == Some(&live)) == (side == Side::Live))
        .filter(|pod| !matches!(pod.trouble, Some(Trouble::NodeLost { .. })))
        .collect();
    pods.sort_by(|a, b| {
        let rank = |pod: &&Pod| {
            (
                pod.failing.is_empty(),
                Reverse(pod.restarts),
                Reverse(pod.created_at),
            )
        };
        rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name))
    });
    pods.truncate(PODS_PER_SIDE);
    pods
}

/// A container whose image cannot be had, or that cannot be made, has no log; asking for it costs a request.
fn may_have_run(pod: &Pod, container: &str) -> bool {
    match &pod.trouble {
        Some(Trouble::ImagePull { container: stuck, .. } | Trouble::CannotStart { container: stuck, .. }) => {
            stuck != container
        }
        _ => true,
    }
}

/// A pod's containers together. A log that was cut ends early, so its lines are spread over what was read alone.
fn heard(counts: Vec<(Count, bool)>, from: Timestamp, now: Timestamp) -> Heard {
    let whole = now.duration_since(from).max(SHORTEST_SPAN);
    let mut in_span = 0.0;
    for (count, cut) in &counts {
        let read = match count.until {
            Some(until) if *cut => until.duration_since(from).clamp(SHORTEST_SPAN, whole),
            _ => whole,
        };
        in_span += as_f64(count.lines) * whole.as_secs_f64() / read.as_secs_f64();
    }
    Heard {
        lines: counts.iter().map(|(count, _)| count.lines).sum(),
        in_span,
        last: counts.into_iter().filter_map(|(count, _)| count.last).next_back(),
        span: whole,
    }
}

/// Lines each minute, each pod: all lines over all the time that the pods existed.
fn rate(heard: &[Heard]) -> Option<f64> {
    if heard.is_empty() {
        return None;
    }
    let minutes: f64 = heard.iter().map(|heard| heard.span.as_secs_f64() / 60.0).sum();
    Some(heard.iter().map(|heard| heard.in_span).sum::<f64>() / minutes)
}

#[expect(clippy::cast_precision_loss, reason = "no log holds 2^52 lines")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn counted(lines: u64, until: i64, cut: bool) -> (Count, bool) {
        (
            Count {
                lines,
                last: None,
                until: Some(at(until)),
            },
            cut,
        )
    }

    #[test]
    fn a_rate_is_taken_over_the_time_that_each_pod_existed() {
        let old = heard(vec![counted(10, 300, false)], at(0), at(300));
        let young = heard(vec![counted(10, 300, false)], at(240), at(300));
        // Twenty lines in six minutes of pods.
        assert_eq!(rate(&[old, young]), Some(20.0 / 6.0));
        assert_eq!(rate(&[]), None);
    }

    #[test]
    fn a_log_that_was_cut_counts_over_what_was_read() {
        let cut = heard(vec![counted(60, 60, true)], at(0), at(300));
        assert_eq!((cut.lines, rate(&[cut])), (60, Some(60.0)));
    }

    #[test]
    fn a_pod_that_has_just_begun_does_not_make_a_rate_of_one_line_a_flood() {
        let young = heard(vec![counted(1, 300, false)], at(299), at(300));
        assert_eq!(rate(&[young]), Some(6.0));
    }
}
