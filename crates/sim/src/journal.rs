//! The journal on the simulated disk, as one process has it: with the faults that the disk gives to that process.

use crate::disk::{Disk, PLACE};
use crate::fault::{Fault, Phase, Point, Trouble};
use crate::life::{Life, sleep};
use crate::oracle::Oracle;
use crate::trace::Trace;
use astern_model::id::{RunId, Seq};
use astern_port::journal::{AppendError, Author, Entry, Journal};
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use jiff::SignedDuration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a disk of this age needs for a sync.
const SYNC: SignedDuration = SignedDuration::from_millis(2);

/// News of the journal come within this.
const NEWS_MILLIS: u32 = 300;

/// The disk that all processes write to. Cheap to clone.
#[derive(Clone, Default)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Mutex<Disk>,
    /// Held by whoever writes: one at a time, as a file's lock has it.
    writing: tokio::sync::Mutex<()>,
    full_until: Mutex<Option<Instant>>,
    /// Wakes those who wait in their order; a watch channel's is another one in each process.
    news: Notify,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            disk: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            full_until: Mutex::default(),
            news: Notify::new(),
        }
    }
}

impl SimDisk {
    /// The journal on it, to which nothing happens.
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(SimJournal {
            disk: self.clone(),
            faults: None,
        })
    }

    /// The journal on it, as a simulated process has it.
    pub(crate) fn of_process(
        &self,
        life: Arc<Life>,
        trace: Arc<Trace>,
        oracle: Arc<Oracle>,
    ) -> Arc<dyn Journal> {
        Arc::new(SimJournal {
            disk: self.clone(),
            faults: Some(Faults { life, trace, oracle }),
        })
    }

    /// Alters one byte of a record that is stored.
    pub fn alter(&self, run: &RunId, seq: Seq) {
        self.disk().alter(run, seq);
    }

    /// Loses a record that is stored.
    pub fn lose(&self, run: &RunId, seq: Seq) {
        self.disk().lose(run, seq);
    }

    /// What a process leaves behind that writes a batch and ends before it is sure: so many of 256 parts of it.
    pub fn torn(&self, run: &RunId, at: Seq, author: Author, batch: &[Vec<u8>], share: u8) {
        let mut disk = self.disk();
        disk.write(run, at, author, batch);
        disk.tear(share);
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self) -> bool {
        let until = *self
            .shared
            .full_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| until > Instant::now())
    }
}

struct Faults {
    life: Arc<Life>,
    trace: Arc<Trace>,
    oracle: Arc<Oracle>,
}

struct SimJournal {
    disk: SimDisk,
    faults: Option<Faults>,
}

/// A write that nobody has synced: should its process end now, some of it stays behind.
struct Unsynced<'a> {
    disk: &'a SimDisk,
    share: u8,
    done: bool,
}

impl Drop for Unsynced<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.disk.disk().tear(self.share);
            self.disk.shared.news.notify_waiters();
        }
    }
}

#[async_trait]
impl Journal for SimJournal {
    async fn append(
        &self,
        run: &RunId,
        at: Seq,
        author: Author,
        batch: &[Vec<u8>],
    ) -> Result<Seq, AppendError> {
        if batch.is_empty() {
            return Err(store(run, FailureClass::Permanent, "BUG: the batch is empty"));
        }
        let nth = self
            .faults
            .as_ref()
            .map_or(0, |faults| faults.life.count_append());
        let trouble = self.trouble(nth);
        self.pass(nth, Phase::Before).await;
        let written = {
            let _writing = self.disk.shared.writing.lock().await;
            if trouble == Some(Trouble::Away) {
                return Err(store(
                    run,
                    FailureClass::Transient { retry_after_ms: None },
                    "it is away",
                ));
            }
            if let Some(Trouble::Full(span)) = trouble {
                let mut full = self
                    .disk
                    .shared
                    .full_until
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *full = Some(Instant::now() + span.unsigned_abs());
            }
            self.disk.disk().admit(run, at, author)?;
            if self.disk.is_full() {
                // Half of it fits, and is taken back.
                self.disk.torn(run, at, author, batch, 128);
                return Err(store(
                    run,
                    FailureClass::Transient { retry_after_ms: None },
                    "there is no room",
                ));
            }
            self.disk.disk().write(run, at, author, batch);
            let mut unsynced = Unsynced {
                disk: &self.disk,
                share: share(run, at, nth),
                done: false,
            };
            self.pass(nth, Phase::Middle).await;
            if self.faults.is_some() {
                sleep(SYNC).await;
            }
            self.disk.disk().sync();
            unsynced.done = true;
            Seq(at.0 + batch.len() as u64)
        };
        if let Some(faults) = &self.faults {
            faults.oracle.recorded(run, &self.disk);
        }
        self.disk.shared.news.notify_waiters();
        self.pass(nth, Phase::After).await;
        match trouble {
            Some(Trouble::Slow(span)) => sleep(span).await,
            Some(Trouble::Unacknowledged) => {
                return Err(store(
                    run,
                    FailureClass::Unknown,
                    "it did not say whether it stored this",
                ));
            }
            _ => {}
        }
        self.awake().await;
        if let Some(faults) = &self.faults {
            faults.oracle.acknowledged(run, at, batch);
        }
        Ok(written)
    }

    async fn read(&self, run: &RunId, from: Seq) -> Result<Vec<Entry>, Failure> {
        self.awake().await;
        let read = self.disk.disk().read(run, from);
        self.awake().await;
        read
    }

    async fn wait(&self, run: &RunId, from: Seq, within: SignedDuration) -> Result<(), Failure> {
        let there = async {
            loop {
                let news = self.disk.shared.news.notified();
                if self.disk.disk().head(run) > from.0 {
                    return;
                }
                news.await;
            }
        };
        // Whether it came or the time is over, the caller reads.
        let _ = tokio::time::timeout(Duration::try_from(within).unwrap_or_default(), there).await;
        self.awake().await;
        if self.faults.is_some() {
            // Nobody hears of news at once: a file is polled, and a watch has its way to go.
            let late = crc32fast::hash(format!("{run} {from}").as_bytes()) % NEWS_MILLIS;
            sleep(SignedDuration::from_millis(i64::from(late))).await;
            self.awake().await;
        }
        Ok(())
    }

    async fn runs(&self) -> Result<Vec<RunId>, Failure> {
        self.awake().await;
        Ok(self.disk.disk().runs())
    }

    async fn settle(&self, run: &RunId, keep: usize) -> Result<(), Failure> {
        self.awake().await;
        let _writing = self.disk.shared.writing.lock().await;
        let mut disk = self.disk.disk();
        disk.write_settled(run, keep);
        disk.sync();
        Ok(())
    }

    fn place(&self) -> String {
        PLACE.to_owned()
    }
}

impl SimJournal {
    async fn pass(&self, nth: u32, phase: Phase) {
        if let Some(faults) = &self.faults {
            faults.life.pass(Point::Append(nth, phase)).await;
        }
    }

    async fn awake(&self) {
        if let Some(faults) = &self.faults {
            faults.life.awake().await;
        }
    }

    fn trouble(&self, append: u32) -> Option<Trouble> {
        let faults = self.faults.as_ref()?;
        let found = faults
            .trace
            .faults()
            .iter()
            .enumerate()
            .find_map(|(place, fault)| match fault {
                Fault::Storage { process, nth, how } if *process == faults.life.number && *nth == append => {
                    Some((place, *how))
                }
                _ => None,
            });
        let (place, how) = found?;
        faults.trace.met(place);
        Some(how)
    }
}

/// How much of an unsynced write stays behind: nothing, a part, or all of it.
fn share(run: &RunId, at: Seq, nth: u32) -> u8 {
    let hash = crc32fast::hash(format!("{run} {at} {nth}").as_bytes());
    match hash % 3 {
        0 => 0,
        1 => u8::MAX,
        _ => (hash >> 8) as u8,
    }
}

fn store(run: &RunId, class: FailureClass, why: &str) -> AppendError {
    AppendError::Store(Failure::new(
        class,
        format!("append to the journal of run {run}"),
        why,
    ))
}
