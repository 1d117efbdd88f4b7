//! Carries a plan out on a twin: gate, lock, journal in memory, and a clock that follows tokio's paused time.

use super::plans::{Case, NAMESPACE, now};
use super::twin::Twin;
use astern_engine::{Phase, Run};
use astern_exec::book::Book;
use astern_exec::driver::{Driver, Ended, ExecError, Judge, Observer, Ports};
use astern_exec::perform::Providers;
use astern_gate::{ApprovedPlan, Progress};
use astern_journal::MemoryJournal;
use astern_model::approval::{Approval, How};
use astern_model::finding::Allowances;
use astern_model::id::{PlanHash, RunId, Seq};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::question::{Answer, Answers};
use astern_model::record::{Event, Holder, Record, Request};
use astern_model::verdict::Verdict;
use astern_port::clock::Clock;
use astern_port::journal::{AppendError, Author, Entry, Journal};
use astern_port::lock::{Holding, Lock, Taking};
use astern_port::releases::NoReleases;
use astern_port::sense::Saved;
use astern_port::{Failure, FailureClass};
use astern_wire::envelope;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// Everything behind one run.
pub(crate) struct Rig {
    pub(crate) case: Case,
    pub(crate) twin: Twin,
    pub(crate) journal: MemoryJournal,
    pub(crate) run: RunId,
    pub(crate) lock: Arc<OpenLock>,
    /// By how many seconds the clock of whoever comes next is ahead.
    pub(crate) ahead: AtomicI64,
    started: tokio::time::Instant,
}

impl Rig {
    pub(crate) fn new(case: Case) -> Self {
        let twin = Twin::new(case.inventory.clone());
        Self {
            case,
            twin,
            journal: MemoryJournal::default(),
            run: RunId::from("r1"),
            lock: Arc::default(),
            ahead: AtomicI64::new(0),
            started: tokio::time::Instant::now(),
        }
    }

    fn ports(&self) -> Ports {
        Ports {
            clock: Arc::new(PausedClock {
                started: self.started,
                ahead: SignedDuration::from_secs(self.ahead.load(Ordering::SeqCst)),
            }),
            journal: Arc::new(Watched {
                journal: self.journal.clone(),
                twin: self.twin.clone(),
            }),
            lock: self.lock.clone(),
            providers: Providers {
                workloads: Arc::new(self.twin.clone()),
                releases: Arc::new(NoReleases),
                contents: Arc::new(self.twin.clone()),
                owners: Arc::new(self.twin.clone()),
            },
            judge: Arc::new(Contented),
            observer: Arc::new(Unseen),
        }
    }

    /// Starts the run and carries it out until it rests.
    pub(crate) async fn start(&self) -> Result<Ended, ExecError> {
        let plan = self.case.plan.clone();
        let sealed = envelope::seal(&plan);
        let approval = Approval {
            plan: PlanHash::of(&sealed),
            by: "someone".to_owned(),
            how: How::Person,
            reason: "it crashes".to_owned(),
            at: now(),
            overrides: Vec::new(),
            warnings: Vec::new(),
            found: Vec::new(),
        };
        let answers = yes(&plan, &self.case.inventory);
        let checked = astern_gate::check(
            plan,
            sealed,
            &self.case.inventory,
            &answers,
            &Allowances::default(),
            now(),
        )
        .unwrap_or_else(|rejected| panic!("{}: {:?}", self.case.name, rejected.findings));
        let approved = astern_gate::approve(checked, approval, now()).expect("approved");
        Driver::start(
            self.ports(),
            approved,
            self.run.clone(),
            holder("first"),
            Saved::default(),
        )
        .await?
        .carry_out()
        .await
    }

    /// Another holder goes on with the run, or takes it back.
    pub(crate) async fn resume(&self, take_back: bool) -> Result<Ended, ExecError> {
        let admitted = self.read().await;
        self.resume_from(admitted, take_back).await
    }

    /// What a holder reads of the run, and the gate admits.
    pub(crate) async fn read(&self) -> (Book, ApprovedPlan) {
        let book = Book::open(&self.journal, &self.run).await.unwrap();
        let approved = self.admit(&book);
        (book, approved)
    }

    /// Goes on from what was read.
    pub(crate) async fn resume_from(
        &self,
        (book, approved): (Book, ApprovedPlan),
        take_back: bool,
    ) -> Result<Ended, ExecError> {
        let mut driver = Driver::resume(self.ports(), approved, book, holder("second")).await?;
        driver.answer(take_back, "somebody").await?;
        driver.carry_out().await
    }

    /// Somebody asks for something while the run is carried out, as soon as it has stumbled.
    pub(crate) async fn ask_once_stumbled(&self, request: Request) {
        self.twin.stumbled.notified().await;
        self.ask(request).await;
    }

    /// Somebody asks for something.
    pub(crate) async fn ask(&self, request: Request) {
        let by = "somebody".to_owned();
        loop {
            let mut book = Book::open(&self.journal, &self.run).await.unwrap();
            let event = Event::Requested {
                request,
                by: by.clone(),
            };
            match book.request(&self.journal, event, now()).await {
                Err(AppendError::Conflict { .. }) => {}
                asked => return asked.unwrap(),
            }
        }
    }

    fn admit(&self, book: &Book) -> ApprovedPlan {
        let inventory = self.twin.inventory();
        let answers = yes(&book.plan, &inventory);
        let approval = book.run.approval.clone().expect("approved");
        let progress = book
            .run
            .steps
            .iter()
            .map(|(step, status)| (step.clone(), progress(status)))
            .collect();
        astern_gate::readmit(
            book.plan.clone(),
            book.sealed.clone(),
            approval,
            &progress,
            &inventory,
            &answers,
            &Allowances::default(),
        )
        .unwrap_or_else(|rejected| panic!("{}: {:?}", self.case.name, rejected.findings))
    }

    /// Carries the run out, and dies where the twin's points say so. None: it died.
    pub(crate) async fn start_and_maybe_die(&self) -> Option<Result<Ended, ExecError>> {
        tokio::select! {
            biased;
            () = self.twin.points.reached.notified() => None,
            ended = self.start() => Some(ended),
        }
    }

    /// The same for going on.
    pub(crate) async fn resume_and_maybe_die(&self) -> Option<Result<Ended, ExecError>> {
        tokio::select! {
            biased;
            () = self.twin.points.reached.notified() => None,
            ended = self.resume(false) => Some(ended),
        }
    }

    /// The same for taking it back.
    pub(crate) async fn take_back_and_maybe_die(&self) -> Option<Result<Ended, ExecError>> {
        tokio::select! {
            biased;
            () = self.twin.points.reached.notified() => None,
            ended = self.resume(true) => Some(ended),
        }
    }

    /// Whether the run came into being and is not over: then somebody may go on with it.
    pub(crate) async fn is_open(&self) -> bool {
        if self.journal.read(&self.run, Seq(0)).await.unwrap().is_empty() {
            return false;
        }
        let book = Book::open(&self.journal, &self.run).await.unwrap();
        !matches!(book.run.phase, Phase::Finished(_))
    }

    /// Whether the run came into being.
    pub(crate) async fn begun(&self) -> bool {
        !self.journal.read(&self.run, Seq(0)).await.unwrap().is_empty()
    }
}

fn progress(status: &astern_engine::Status) -> Progress {
    use astern_engine::Status as S;
    match status {
        S::Pending | S::Failed(_) | S::Reversed => Progress::Pending,
        S::Done { .. } => Progress::Done,
        _ => Progress::Intended,
    }
}

fn yes(plan: &Plan, inventory: &Inventory) -> Answers {
    astern_gate::questions(plan, inventory)
        .into_iter()
        .map(|question| (question, Answer::Yes))
        .collect()
}

fn holder(id: &str) -> Holder {
    Holder {
        id: id.to_owned(),
        user: "someone".to_owned(),
        host: "here".to_owned(),
        pid: 1,
    }
}

struct PausedClock {
    started: tokio::time::Instant,
    ahead: SignedDuration,
}

#[async_trait]
impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        now() + SignedDuration::try_from(self.started.elapsed()).unwrap() + self.ahead
    }

    async fn sleep(&self, span: SignedDuration) {
        if let Ok(span) = Duration::try_from(span) {
            tokio::time::sleep(span).await;
        }
    }
}

/// The journal in memory, with a point before and after each append.
struct Watched {
    journal: MemoryJournal,
    twin: Twin,
}

#[async_trait]
impl Journal for Watched {
    async fn append(
        &self,
        run: &RunId,
        at: Seq,
        author: Author,
        batch: &[Vec<u8>],
    ) -> Result<Seq, AppendError> {
        self.twin.points.pass(&format!("before append {at}")).await;
        let head = self.journal.append(run, at, author, batch).await?;
        self.twin.points.pass(&format!("after append {at}")).await;
        Ok(head)
    }

    async fn read(&self, run: &RunId, from: Seq) -> Result<Vec<Entry>, Failure> {
        self.journal.read(run, from).await
    }

    async fn wait(&self, run: &RunId, from: Seq, within: SignedDuration) -> Result<(), Failure> {
        self.journal.wait(run, from, within).await
    }

    async fn runs(&self) -> Result<Vec<RunId>, Failure> {
        self.journal.runs().await
    }

    async fn settle(&self, run: &RunId, keep: usize) -> Result<(), Failure> {
        self.journal.settle(run, keep).await
    }

    fn place(&self) -> String {
        self.journal.place()
    }
}

/// Everybody may have the lock: the journal and the epochs must hold alone.
#[derive(Default)]
pub(crate) struct OpenLock {
    /// Whether no renewal comes through.
    pub(crate) away: AtomicBool,
}

#[async_trait]
impl Lock for OpenLock {
    async fn take(&self, namespaces: &[String], _: &RunId, _: &Holder, _: &str) -> Result<Taking, Failure> {
        assert_eq!(namespaces, [NAMESPACE]);
        Ok(Taking::Taken)
    }

    async fn renew(&self, _: &[String], _: &RunId, _: &Holder) -> Result<(), Failure> {
        if self.away.load(Ordering::SeqCst) {
            let away = FailureClass::Transient { retry_after_ms: None };
            return Err(Failure::new(away, "renew the run lock", "the API server is away"));
        }
        Ok(())
    }

    async fn release(&self, _: &[String], _: &RunId, _: &Holder) -> Result<(), Failure> {
        Ok(())
    }

    async fn holding(&self, _: &str) -> Result<Option<Holding>, Failure> {
        Ok(None)
    }

    async fn living(&self, _: &str) -> Result<Option<Holding>, Failure> {
        Ok(None)
    }

    fn renew_every(&self) -> SignedDuration {
        SignedDuration::from_secs(5)
    }
}

struct Contented;

#[async_trait]
impl Judge for Contented {
    async fn judge(&self, _: &Plan, since: Timestamp) -> Verdict {
        Verdict {
            from: since,
            to: since,
            held_for: SignedDuration::ZERO,
            items: Vec::new(),
        }
    }
}

struct Unseen;

impl Observer for Unseen {
    fn see(&self, _: &Record, _: &Run) {}
}
