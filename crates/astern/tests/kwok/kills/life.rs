//! One process of astern: what goes wrong on its way to the API server, the moment at which it is killed, and the
//! witness that kills it.

use super::judge::Judge;
use astern_faultproxy::{Asked, Class, Fault, How, Witness};
use async_trait::async_trait;
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is drawn for one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Drawn {
    /// Whether the process that was started carries the run out itself.
    pub(super) foreground: bool,
    /// When it is killed.
    pub(super) moment: Option<Moment>,
    /// What goes wrong before that.
    pub(super) faults: Vec<Fault>,
    /// Whether its successor waits until the lock has lapsed, instead of finding it freed by a person who knows.
    pub(super) lapses: bool,
}

/// When a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// When its n-th request of a class has left it, and is not carried out.
    Before(Class, u32),
    /// When that was carried out, and is not answered.
    After(Class, u32),
    /// So long after it took the lock.
    Held(Duration),
}

impl Moment {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Before(..) => "as a write left it",
            Self::After(..) => "as a write was carried out",
            Self::Held(_) => "at any time",
        }
    }
}

impl Drawn {
    /// A process that is killed, and on whose way up to three things go wrong.
    pub(super) fn doomed(random: &mut Rng) -> Self {
        let moment = moment(random);
        let mut faults: Vec<Fault> = (0..random.u32(0..=3)).map(|_| fault(random)).collect();
        if let Moment::Before(class, nth) = moment {
            // What its last request came to: it goes on, comes late, or is lost with it.
            let how = match random.u32(0..3) {
                0 => None,
                1 => Some(How::Delayed(Duration::from_millis(random.u64(100..4_000)))),
                _ => Some(How::Lost),
            };
            faults.retain(|fault| (fault.class, fault.nth) != (class, nth));
            faults.extend(how.map(|how| Fault { class, nth, how }));
        }
        Self {
            foreground: random.bool(),
            moment: Some(moment),
            faults,
            lapses: random.u32(0..6) == 0,
        }
    }

    /// A process to which nothing happens.
    pub(super) fn quiet(random: &mut Rng) -> Self {
        Self {
            foreground: random.bool(),
            ..Self::default()
        }
    }
}

fn moment(random: &mut Rng) -> Moment {
    let (class, nth) = match random.u32(0..10) {
        0..4 => (Class::Write, random.u32(0..2)),
        4..8 => (Class::Secret, random.u32(0..6)),
        8 => (Class::Lease, random.u32(0..2)),
        _ => return Moment::Held(Duration::from_millis(random.u64(0..1_500))),
    };
    if random.bool() {
        Moment::Before(class, nth)
    } else {
        Moment::After(class, nth)
    }
}

fn fault(random: &mut Rng) -> Fault {
    let millis = |random: &mut Rng, most: u64| Duration::from_millis(random.u64(10..most));
    let refusals = [409, 429, 500, 503];
    let (class, most) = match random.u32(0..10) {
        0..3 => (Class::Read, 30),
        3..5 => (Class::Watch, 4),
        5..7 => (Class::Secret, 10),
        7 => (Class::Lease, 3),
        _ => (Class::Write, 3),
    };
    let how = match (class, random.u32(0..6)) {
        (_, 0) => How::Delayed(millis(random, 800)),
        (_, 1) => How::Lost,
        (Class::Watch, 2) => How::Gone,
        (Class::Watch, 3) => How::Lagging(millis(random, 1_500)),
        (Class::Watch, 4) => How::Rewound {
            pieces: random.u32(1..4),
        },
        (Class::Watch, _) => How::Dropped {
            pieces: random.u32(0..3),
            breaks: random.bool(),
        },
        (Class::Read | Class::Ask, _) => How::Status(refusals[random.usize(1..4)]),
        (_, 2) => How::Status(refusals[random.usize(0..4)]),
        (_, 3) => How::StatusAfter(if random.bool() { 500 } else { 504 }),
        (_, 4) => How::Late(millis(random, 4_000)),
        _ => How::AnswerLost,
    };
    Fault {
        class,
        nth: random.u32(0..most),
        how,
    }
}

/// Sees what a process asks for, tells the judge, and kills the process when its moment has come.
pub(super) struct Watched {
    judge: Arc<Judge>,
    moment: Option<Moment>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    started: Option<Pid>,
    holder: Option<u32>,
    held_since: Option<Instant>,
    killed: bool,
}

impl Watched {
    pub(super) fn new(judge: Arc<Judge>, moment: Option<Moment>) -> Self {
        Self {
            judge,
            moment,
            state: Mutex::default(),
        }
    }

    /// The process is there.
    pub(super) fn started(&self, pid: u32) {
        self.state().started = Pid::from_raw(pid.cast_signed());
    }

    pub(super) fn killed(&self) -> bool {
        self.state().killed
    }

    /// Kills it when it has held the lock for long enough.
    pub(super) fn tick(&self) {
        let held = self.state().held_since;
        if let (Some(Moment::Held(span)), Some(since)) = (self.moment, held)
            && since.elapsed() >= span
        {
            self.kill();
        }
    }

    /// Kills the process that was started and the runner that it started, whichever carries the run out.
    pub(super) fn kill(&self) {
        let mut state = self.state();
        let Some(started) = state.started.filter(|_| !state.killed) else {
            return;
        };
        state.killed = true;
        // Stopped first, so that it starts no runner between the look and its end.
        let _ = kill_process(started, Signal::STOP);
        let children = format!("/proc/{0}/task/{0}/children", started.as_raw_nonzero());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        for pid in pids.filter_map(Pid::from_raw).chain([started]) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// A runner that goes on after the process that watched it has ended is killed too; it counts as killed at any time.
    pub(super) fn end_what_is_left(&self) {
        let mut state = self.state();
        let Some(pid) = state.holder.and_then(|pid| Pid::from_raw(pid.cast_signed())) else {
            return;
        };
        let program = std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()));
        if !state.killed && program.is_ok_and(|program| program == *env!("CARGO_BIN_EXE_astern")) {
            state.killed = kill_process(pid, Signal::KILL).is_ok();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process writes its id into the lock that it takes.
    fn note_holder(&self, asked: &Asked) {
        let body = asked.json();
        let holder = body.pointer("/metadata/annotations/astern.dev~1holder");
        let holder = holder.and_then(|holder| serde_json::from_str::<Value>(holder.as_str()?).ok());
        let pid = holder.and_then(|holder| u32::try_from(holder["pid"].as_u64()?).ok());
        if pid.is_some() {
            self.state().holder = pid;
        }
    }
}

#[async_trait]
impl Witness for Watched {
    async fn came(&self, asked: &Asked) {
        if asked.class == Class::Lease {
            self.note_holder(asked);
        }
        if asked.permits_the_past() {
            let read = format!("GET {} may be answered from the past", asked.uri);
            self.judge.violated(read);
        }
        if self.moment == Some(Moment::Before(asked.class, asked.nth)) {
            while self.state().started.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.kill();
        }
    }

    async fn done(&self, asked: &Asked, code: u16, before: &Value, after: &Value) {
        let taken = code < 300;
        if taken && asked.class == Class::Lease {
            self.state().held_since.get_or_insert_with(Instant::now);
        }
        if taken && asked.class == Class::Secret {
            self.judge.runs().await;
        }
        if taken && asked.class == Class::Write {
            let holder = self.state().holder;
            self.judge.written(holder, asked, before, after).await;
        }
        if self.moment == Some(Moment::After(asked.class, asked.nth)) {
            self.kill();
        }
    }
}
