//! One container's life by its behaviour: starting, running, crashing, waiting for its image. Owns the states and how
//! they look in a pod's status; writes nothing.

use crate::behaviour::{Behaviour, Image};
use crate::events::Level;
use crate::object::{Name, int, list, text};
use crate::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The first pause before a restart or another pull; it doubles up to the longest.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// A container that ran so long starts with the first pause again.
const PAUSE_RESET: SignedDuration = SignedDuration::from_mins(10);
/// For so long a failed pull shows as such, before it shows as waited for.
const PULL_ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(2);
/// The first restart comes without a pause, but not in no time.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(1);

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i64,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Those before it have not ended yet.
    Waiting,
    Starting {
        until: Timestamp,
    },
    PullFailed {
        until: Timestamp,
    },
    PullPaused {
        until: Timestamp,
    },
    Running {
        since: Timestamp,
    },
    /// Ended, and started again in a moment.
    Restarting {
        until: Timestamp,
    },
    CrashPaused {
        until: Timestamp,
        pause: SignedDuration,
    },
    /// For good.
    Done,
}

/// A container as its kubelet knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) state: State,
    pub(crate) restarts: i64,
    pub(crate) last: Option<Ended>,
    crashes: u32,
    pulls: u32,
}

/// What a container is told about itself.
pub(super) struct About<'a> {
    pub(super) behaviour: &'a Behaviour,
    pub(super) spec: &'a Value,
    pub(super) pod: &'a Value,
    /// Whether it is to end by itself, before the others start.
    pub(super) init: bool,
}

/// Something that is worth an event.
pub(super) type Happened = (Level, &'static str, String);

impl Container {
    pub(super) fn new() -> Self {
        Self {
            state: State::Waiting,
            restarts: 0,
            last: None,
            crashes: 0,
            pulls: 0,
        }
    }

    /// As another kubelet left it in the pod's status.
    pub(super) fn found(status: &Value, now: Timestamp) -> Self {
        let at = |path: &str| time::parsed(text(status, path));
        let ended = |path: &str| {
            Some(Ended {
                code: int(status, &format!("{path}.exitCode"))?,
                started: at(&format!("{path}.startedAt")).unwrap_or(now),
                finished: at(&format!("{path}.finishedAt")).unwrap_or(now),
            })
        };
        let state = if let Some(since) = at("state.running.startedAt") {
            State::Running { since }
        } else if status["state"]["terminated"].is_object() {
            State::Done
        } else {
            let until = now + FIRST_PAUSE;
            match text(status, "state.waiting.reason") {
                "CrashLoopBackOff" => State::CrashPaused {
                    until,
                    pause: FIRST_PAUSE,
                },
                "ImagePullBackOff" | "ErrImagePull" => State::PullPaused { until },
                _ => State::Waiting,
            }
        };
        Self {
            state,
            restarts: int(status, "restartCount").unwrap_or(0),
            last: ended("state.terminated").or_else(|| ended("lastState.terminated")),
            crashes: 1,
            pulls: 0,
        }
    }

    /// Whether it ended for good with success.
    pub(super) fn succeeded(&self) -> bool {
        self.state == State::Done && self.last.as_ref().is_none_or(|ended| ended.code == 0)
    }

    pub(super) fn running_since(&self) -> Option<Timestamp> {
        match self.state {
            State::Running { since } => Some(since),
            _ => None,
        }
    }

    /// Begins its life.
    pub(super) fn begin(&mut self, about: &About<'_>, now: Timestamp) {
        if self.state == State::Waiting {
            self.state = State::Starting {
                until: now + about.behaviour.starts_after,
            };
        }
    }

    /// When it next changes by itself.
    pub(super) fn due(&self, about: &About<'_>) -> Option<Timestamp> {
        match self.state {
            State::Waiting | State::Done => None,
            State::Starting { until }
            | State::PullFailed { until }
            | State::PullPaused { until }
            | State::Restarting { until }
            | State::CrashPaused { until, .. } => Some(until),
            State::Running { since } => match &about.behaviour.crash {
                Some(crash) => Some(since + crash.after),
                None => about.init.then_some(since),
            },
        }
    }

    /// Does what is due; what happened is told.
    pub(super) fn step(&mut self, about: &About<'_>, now: Timestamp) -> Vec<Happened> {
        let mut happened = Vec::new();
        // Two changes in one moment are possible, endless ones are not: each crash but the first has a pause.
        while let Some(due) = self.due(about).filter(|due| *due <= now) {
            happened.extend(self.change(about, due));
        }
        happened
    }

    fn change(&mut self, about: &About<'_>, at: Timestamp) -> Vec<Happened> {
        match self.state {
            State::Waiting | State::Done => Vec::new(),
            State::Starting { .. } => self.start(about, at),
            State::PullPaused { .. } => self.pull_failed(about, at),
            State::PullFailed { .. } => {
                let pause = doubled(self.pulls.saturating_sub(1));
                self.state = State::PullPaused { until: at + pause };
                let image = text(about.spec, "image");
                vec![(
                    Level::Normal,
                    "BackOff",
                    format!("Back-off pulling image {image:?}"),
                )]
            }
            State::Restarting { .. } | State::CrashPaused { .. } => {
                self.restarts += 1;
                self.start(about, at)
            }
            State::Running { since } => self.end(about, since, at),
        }
    }

    fn start(&mut self, about: &About<'_>, at: Timestamp) -> Vec<Happened> {
        if about.behaviour.image == Image::Missing {
            return self.pull_failed(about, at);
        }
        let (image, name) = (text(about.spec, "image"), text(about.spec, "name"));
        self.state = State::Running { since: at };
        vec![
            (
                Level::Normal,
                "Pulled",
                format!("Container image {image:?} already present on machine"),
            ),
            (Level::Normal, "Created", format!("Created container: {name}")),
            (Level::Normal, "Started", format!("Started container {name}")),
        ]
    }

    fn pull_failed(&mut self, about: &About<'_>, at: Timestamp) -> Vec<Happened> {
        self.pulls += 1;
        self.state = State::PullFailed {
            until: at + PULL_ERROR_SHOWN,
        };
        let image = text(about.spec, "image");
        vec![
            (Level::Normal, "Pulling", format!("Pulling image {image:?}")),
            (
                Level::Warning,
                "Failed",
                format!("Failed to pull image {image:?}: {}", not_found(image)),
            ),
            (Level::Warning, "Failed", "Error: ErrImagePull".to_owned()),
        ]
    }

    fn end(&mut self, about: &About<'_>, since: Timestamp, at: Timestamp) -> Vec<Happened> {
        let code = about.behaviour.crash.as_ref().map_or(0, |crash| crash.code);
        self.last = Some(Ended {
            code,
            started: since,
            finished: at,
        });
        let policy = text(about.pod, "spec.restartPolicy");
        let again = match (about.init, policy) {
            (true, "Never") | (false, "Never") => false,
            (true, _) | (false, "OnFailure") => code != 0,
            _ => true,
        };
        if !again {
            self.state = State::Done;
            return Vec::new();
        }
        if at.duration_since(since) >= PAUSE_RESET {
            self.crashes = 0;
        }
        self.crashes += 1;
        if self.crashes == 1 {
            self.state = State::Restarting { until: at + AT_ONCE };
            return Vec::new();
        }
        let pause = doubled(self.crashes - 2);
        self.state = State::CrashPaused {
            until: at + pause,
            pause,
        };
        let message = format!(
            "Back-off restarting failed container {} in pod {}",
            text(about.spec, "name"),
            named(about.pod)
        );
        vec![(Level::Warning, "BackOff", message)]
    }

    /// How it looks in the pod's status.
    pub(super) fn status(&self, about: &About<'_>, ready: bool, uid: &Name) -> Value {
        let spec = about.spec;
        let (name, image) = (text(spec, "name"), text(spec, "image"));
        let id = |run: i64| format!("sandbox://{}-{name}-{run}", uid);
        let ended = |ended: &Ended, run: i64| {
            json!({"terminated": {
                "exitCode": ended.code,
                "reason": if ended.code == 0 { "Completed" } else { "Error" },
                "startedAt": time::seconds(ended.started),
                "finishedAt": time::seconds(ended.finished),
                "containerID": id(run),
            }})
        };
        let last = |run: i64| self.last.as_ref().map(|last| ended(last, run));
        let waiting = |reason: &str, message: Option<String>| match message {
            Some(message) => json!({"waiting": {"reason": reason, "message": message}}),
            None => json!({"waiting": {"reason": reason}}),
        };
        let state = match &self.state {
            State::Waiting if about.init || list(about.pod, "spec.initContainers").is_empty() => {
                waiting("ContainerCreating", None)
            }
            State::Waiting => waiting("PodInitializing", None),
            State::Starting { .. } => waiting(
                if about.init {
                    "PodInitializing"
                } else {
                    "ContainerCreating"
                },
                None,
            ),
            State::PullFailed { .. } => waiting("ErrImagePull", Some(not_found(image))),
            State::PullPaused { .. } => waiting(
                "ImagePullBackOff",
                Some(format!(
                    "Back-off pulling image {image:?}: ErrImagePull: {}",
                    not_found(image)
                )),
            ),
            State::Running { since } => json!({"running": {"startedAt": time::seconds(*since)}}),
            State::Restarting { .. } | State::Done => last(self.restarts).unwrap_or_default(),
            State::CrashPaused { pause, .. } => waiting(
                "CrashLoopBackOff",
                Some(format!(
                    "back-off {} restarting failed container={name} pod={}",
                    go_duration(*pause),
                    named(about.pod)
                )),
            ),
        };
        let shows_last = !matches!(self.state, State::Restarting { .. } | State::Done);
        let former_run = match self.state {
            State::CrashPaused { .. } => self.restarts,
            _ => self.restarts - 1,
        };
        let running = matches!(self.state, State::Running { .. });
        let mut status = json!({
            "name": name,
            "state": state,
            "lastState": last(former_run).filter(|_| shows_last).unwrap_or_else(|| json!({})),
            "ready": ready || (about.init && self.succeeded()),
            "restartCount": self.restarts,
            "image": image,
            "imageID": "",
            "started": running,
        });
        let ran = running || self.last.is_some();
        if ran && about.behaviour.image == Image::Present {
            status["imageID"] = digest(image).into();
            status["containerID"] = id(self.restarts).into();
        }
        status
    }
}

/// What an image is known by: the digest that it names, or one made of its name.
fn digest(image: &str) -> String {
    match image.split_once('@') {
        Some(_) => image.to_owned(),
        None => {
            let repository = match image.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => repository,
                _ => image,
            };
            let mut hash = String::new();
            for round in 0..8 {
                let number = crate::random::fnv(format!("{image}#{round}").as_bytes());
                hash.push_str(&format!("{number:08x}"));
            }
            format!("{repository}@sha256:{hash}")
        }
    }
}

fn not_found(image: &str) -> String {
    format!("failed to pull and unpack image {image:?}: {image}: not found")
}

fn named(pod: &Value) -> String {
    format!(
        "{}_{}({})",
        text(pod, "metadata.name"),
        text(pod, "metadata.namespace"),
        text(pod, "metadata.uid")
    )
}

fn doubled(times: u32) -> SignedDuration {
    let factor = 2_i32.saturating_pow(times.min(16));
    (FIRST_PAUSE * factor).min(LONGEST_PAUSE)
}

/// As Go writes a duration: `10s`, `1m20s`, `5m0s`.
fn go_duration(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m{}s", seconds / 60, seconds % 60)
    }
}
