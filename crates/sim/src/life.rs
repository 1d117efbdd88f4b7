//! A process's life: that it is killed or stands still, and at which point. Owns the counting of points; knows nothing
//! of what the process does.
//!
//! A process that stands still is one that nothing leaves and nothing reaches: every way in and out passes
//! [`Life::awake`]. What it computes meanwhile cannot be told from what it had computed before.

use crate::fault::{Class, Fate, Fault, Phase, Point};
use crate::trace::Trace;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// No run needs so many appends; whoever makes more goes round in a circle, in which time may not even pass.
const MOST_APPENDS: u32 = 5_000;

/// One process, as long as it lives.
pub(crate) struct Life {
    pub(crate) number: usize,
    began: Instant,
    dead: AtomicBool,
    killed: Notify,
    counts: Mutex<Counts>,
    ahead: AtomicI64,
    trace: Arc<Trace>,
}

#[derive(Default)]
struct Counts {
    requests: BTreeMap<Class, u32>,
    appends: u32,
    asleep_until: Option<Instant>,
}

impl Life {
    /// A process that begins now, in a run that began at `began`.
    pub(crate) fn new(number: usize, began: Instant, trace: Arc<Trace>) -> Arc<Self> {
        Arc::new(Self {
            number,
            began,
            dead: AtomicBool::new(false),
            killed: Notify::new(),
            counts: Mutex::default(),
            ahead: AtomicI64::new(0),
            trace,
        })
    }

    /// Lives `work` until it is done or the process is killed. None: it was killed, and everything that it owned is gone.
    pub(crate) async fn live<T>(self: &Arc<Self>, work: impl Future<Output = T> + Send) -> Option<T> {
        let fated = async {
            let timed: Vec<_> = self
                .trace
                .faults()
                .iter()
                .enumerate()
                .filter_map(|(place, fault)| match fault {
                    Fault::Process {
                        process,
                        point: Point::Time(at),
                        then,
                    } if *process == self.number => Some((place, *at, *then)),
                    _ => None,
                })
                .map(|(place, at, then)| async move {
                    tokio::time::sleep_until(self.began + at.unsigned_abs()).await;
                    self.suffer(place, then);
                })
                .collect();
            futures::future::join_all(timed).await;
            std::future::pending::<()>().await;
        };
        let counted = Counted {
            work: Box::pin(work),
            polls: 0,
            life: self,
        };
        tokio::select! {
            biased;
            () = self.killed.notified() => None,
            () = fated => None,
            done = counted => (!self.is_dead()).then_some(done),
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// The number of the next request of a class.
    pub(crate) fn count(&self, class: Class) -> u32 {
        let mut counts = self.counts();
        let count = counts.requests.entry(class).or_default();
        *count += 1;
        *count - 1
    }

    /// The number of the next append.
    pub(crate) fn count_append(&self) -> u32 {
        let mut counts = self.counts();
        counts.appends += 1;
        assert!(
            counts.appends < MOST_APPENDS,
            "process {} appends without end",
            self.number
        );
        counts.appends - 1
    }

    /// How far its clock is ahead.
    pub(crate) fn ahead(&self) -> SignedDuration {
        SignedDuration::from_millis(self.ahead.load(Ordering::SeqCst))
    }

    /// Moves its clock.
    pub(crate) fn move_clock(&self, by: SignedDuration) {
        let by = i64::try_from(by.as_millis()).unwrap_or_default();
        self.ahead.fetch_add(by, Ordering::SeqCst);
    }

    /// A place where it may be killed or fall asleep. Does not return to a process that was killed.
    pub(crate) async fn pass(&self, point: Point) {
        for (place, fault) in self.trace.faults().iter().enumerate() {
            if let Fault::Process {
                process,
                point: struck,
                then,
            } = fault
                && *process == self.number
                && *struck == point
            {
                self.suffer(place, *then);
            }
        }
        self.awake().await;
    }

    /// The same at a request.
    pub(crate) async fn pass_request(&self, class: Class, nth: u32, phase: Phase) {
        self.pass(Point::Request(class, nth, phase)).await;
    }

    /// Returns once it is awake; never to a process that was killed.
    pub(crate) async fn awake(&self) {
        loop {
            if self.is_dead() {
                std::future::pending::<()>().await;
            }
            let until = self.counts().asleep_until;
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Whether it stands still now.
    pub(crate) fn is_asleep(&self) -> bool {
        self.counts()
            .asleep_until
            .is_some_and(|until| until > Instant::now())
    }

    fn suffer(&self, place: usize, fate: Fate) {
        self.trace.met(place);
        match fate {
            Fate::Dies => {
                self.dead.store(true, Ordering::SeqCst);
                self.killed.notify_one();
            }
            Fate::Sleeps(span) => {
                let until = Instant::now() + span.unsigned_abs();
                let mut counts = self.counts();
                counts.asleep_until = counts.asleep_until.max(Some(until));
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts how often a process's main task is polled: between any two of these it may be killed.
struct Counted<'a, F: Future> {
    work: Pin<Box<F>>,
    polls: u32,
    life: &'a Life,
}

impl<F: Future> Future for Counted<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let polls = self.polls;
        self.polls += 1;
        for (place, fault) in self.life.trace.faults().iter().enumerate() {
            if let Fault::Process {
                process,
                point: Point::Polls(at),
                then,
            } = fault
                && *process == self.life.number
                && *at == polls
            {
                self.life.suffer(place, *then);
            }
        }
        if self.life.is_dead() {
            return Poll::Pending;
        }
        self.work.as_mut().poll(context)
    }
}

/// As tokio's sleep, for spans that may be negative.
pub(crate) async fn sleep(span: SignedDuration) {
    tokio::time::sleep(Duration::try_from(span).unwrap_or_default()).await;
}
