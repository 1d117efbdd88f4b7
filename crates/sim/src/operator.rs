//! The people who use astern: one on call, who starts the rollback and goes on with it until it is over, and others who
//! come in between. They see what the commands tell; what is true is the oracle's matter.

use crate::case::MENDED_FOR;
use crate::fault::{Fault, Second};
use crate::life::sleep;
use crate::seed::Undone;
use crate::theatre::{Process, Theatre};
use astern_app::history;
use astern_app::planning::{self, Asked, Evidence, Name, NoPlan, Prepared};
use astern_app::running::{self, RunError, Runner, Unobserved, Wish};
use astern_engine::Phase;
use astern_exec::Book;
use astern_exec::driver::{Ended, ExecError};
use astern_gate::Rejected;
use astern_model::approval::{Approval, How};
use astern_model::finding::{Allowances, Finding};
use astern_model::id::{RunId, Seq};
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::policy::Acceptor;
use astern_model::record::{Outcome, Request};
use astern_model::target::Target;
use astern_plan::Selector;
use astern_wire::envelope;
use jiff::SignedDuration;
use std::sync::Arc;

/// So often a person tries before it is called a run that does not end.
const TRIES: u32 = 40;
/// So often a held run is gone on with before it is taken back.
const PATIENCE: u32 = 3;

/// How it all came to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Every run is over.
    Over(Vec<Outcome>),
    /// There was nothing to be done, or it may not be done: no run is open.
    Refused(String),
    /// A run is held, and only a person can say more.
    Held(String),
    /// It did not come to rest.
    Never(String),
}

/// What a process of a person's came to.
enum Came {
    /// It was killed.
    Killed,
    /// The run rests.
    Rested(Box<Ended>),
    /// It was not planned.
    NoPlan(NoPlan),
    /// It was planned, and stopped.
    Stopped(RunError),
}

/// The person on call.
pub(crate) struct OnCall {
    pub(crate) theatre: Arc<Theatre>,
    pub(crate) platform: Platform,
    /// What their pauses come from.
    pub(crate) random: fastrand::Rng,
    /// Whether they take the run back once it has restored.
    pub(crate) undone: Option<Undone>,
    /// Whether they roll back once more after that.
    pub(crate) again: bool,
}

impl OnCall {
    /// Starts a rollback and sees it through, and what they do after it.
    pub(crate) async fn see_through(&mut self) -> Rest {
        loop {
            let rest = self.until_over().await;
            if !matches!(rest, Rest::Over(_)) {
                return rest;
            }
            match self.afterwards().await {
                Some(Err(no)) => return Rest::Refused(told(&Came::NoPlan(no))),
                Some(Ok(())) => {}
                None => return rest,
            }
        }
    }

    /// Once the last run has restored: takes it back, and, when the release that is back then has gone bad, begins anew.
    /// None: nothing more is to be done. An error: it may not be done.
    async fn afterwards(&mut self) -> Option<Result<(), NoPlan>> {
        let runs = self.theatre.oracle.runs();
        let (last, Some(Outcome::Restored)) = runs.last()? else {
            return None;
        };
        let undone = self.undone.take();
        match undone {
            Some(Undone::StillBad) => {}
            Some(Undone::Mended { again }) => {
                self.again = again;
                self.theatre.mend(true);
            }
            None if std::mem::take(&mut self.again) => {
                self.theatre.mend(false);
                sleep(MENDED_FOR).await;
            }
            None => return None,
        }
        for _ in 0..TRIES {
            self.pause().await;
            let (what, came) = match undone {
                Some(_) => ("undoes", self.undo(last).await),
                None => ("begins again", self.begin_again(last).await),
            };
            self.theatre
                .trace
                .say(|| format!("on call: {what}: {}", told(&came)));
            // Where somebody else was faster, theirs is seen through.
            if self.theatre.oracle.runs().len() > runs.len() {
                break;
            }
            if let Came::NoPlan(no) = came
                && is_final(&no)
            {
                return Some(Err(no));
            }
        }
        Some(Ok(()))
    }

    /// Goes on until every run is over; begins one where there is none.
    async fn until_over(&mut self) -> Rest {
        let mut held = 0;
        let mut wish = Wish::GoOn;
        let mut last = String::new();
        let mut named = None;
        let mut tries = 0;
        while tries < TRIES {
            tries += 1;
            match named.take().or_else(|| self.open_run()) {
                Some(run) => {
                    let came = self.go_on(&run, wish).await;
                    last = told(&came);
                    self.theatre
                        .trace
                        .say(|| format!("on call: {wish:?} {run}: {last}"));
                    match came {
                        Came::Rested(ended) if matches!(ended.book.run.phase, Phase::Held { .. }) => {
                            held += 1
                        }
                        // The one whose lock stands in the way comes first, as the message says.
                        Came::Stopped(RunError::Exec(ExecError::Busy { holding, .. })) => {
                            named = self.open(holding.run);
                        }
                        // Waiting for somebody else's process is no try: a rollout may take its ten minutes.
                        Came::Stopped(RunError::Alive { .. }) => tries -= 1,
                        Came::Stopped(RunError::Rejected { .. }) if wish == Wish::TakeBack => {
                            return Rest::Held(last);
                        }
                        Came::Stopped(RunError::Rejected { .. }) => held = PATIENCE,
                        _ => {}
                    }
                    if held >= 2 * PATIENCE {
                        return Rest::Held(last);
                    }
                    if held >= PATIENCE {
                        wish = Wish::TakeBack;
                    }
                }
                None if self.all_over().is_empty() => {
                    let came = self.begin().await;
                    last = told(&came);
                    self.theatre.trace.say(|| format!("on call: begins: {last}"));
                    match came {
                        // Where somebody else was faster, theirs is seen through.
                        Came::NoPlan(no) if is_final(&no) && self.theatre.oracle.runs().is_empty() => {
                            return Rest::Refused(last);
                        }
                        Came::Rested(ended) if matches!(ended.book.run.phase, Phase::Held { .. }) => {
                            held += 1
                        }
                        _ => {}
                    }
                }
                None => return Rest::Over(self.all_over()),
            }
            self.pause().await;
        }
        Rest::Never(last)
    }

    async fn pause(&mut self) {
        let pause = self.random.i64(2_000..25_000);
        sleep(SignedDuration::from_millis(pause)).await;
    }

    /// The newest run that is not over.
    fn open_run(&self) -> Option<RunId> {
        let runs = self.theatre.oracle.runs().into_iter().rev();
        runs.filter(|(_, outcome)| outcome.is_none())
            .map(|(run, _)| run)
            .next()
    }

    fn open(&self, run: RunId) -> Option<RunId> {
        let runs = self.theatre.oracle.runs();
        runs.contains(&(run.clone(), None)).then_some(run)
    }

    fn all_over(&self) -> Vec<Outcome> {
        let runs = self.theatre.oracle.runs().into_iter();
        runs.filter_map(|(_, outcome)| outcome).collect()
    }

    async fn begin(&self) -> Came {
        let process = self.theatre.process();
        let platform = &self.platform;
        let work = async {
            match plan(&process, platform, &[], Evidence::Save).await {
                Ok(prepared) => start(&process, platform, prepared).await,
                Err(no) => Came::NoPlan(no),
            }
        };
        process.life.live(work).await.unwrap_or(Came::Killed)
    }

    /// Rolls back what an undone run had rolled back. What served before is not known any more once it was undone, and
    /// the refusal says to name it.
    async fn begin_again(&self, undo: &RunId) -> Came {
        let process = self.theatre.process();
        let platform = &self.platform;
        let work = async {
            let book = match Book::open(&*process.world.journal, undo).await {
                Ok(book) => book,
                Err(error) => return Came::Stopped(RunError::Book(error)),
            };
            let good = |target: &Target| {
                let name = Name {
                    kind: Some(target.kind),
                    name: target.name.clone(),
                };
                (name, Selector::Image("v1".to_owned()))
            };
            let to: Vec<_> = book.plan.targets().into_iter().map(good).collect();
            match plan(&process, platform, &to, Evidence::Save).await {
                Ok(prepared) => start(&process, platform, prepared).await,
                Err(no) => Came::NoPlan(no),
            }
        };
        process.life.live(work).await.unwrap_or(Came::Killed)
    }

    async fn undo(&self, run: &RunId) -> Came {
        let process = self.theatre.process();
        let platform = &self.platform;
        let allow = Allowances::of(&platform.policy);
        let work = async {
            let book = match Book::open(&*process.world.journal, run).await {
                Ok(book) => book,
                Err(error) => return Came::Stopped(RunError::Book(error)),
            };
            let (taken, made_on) = (history::taken(&book), &book.plan.cluster.identity);
            match planning::undo(&process.world, platform, run, made_on, &taken, &allow).await {
                Ok(prepared) => start(&process, platform, prepared).await,
                Err(no) => Came::NoPlan(no),
            }
        };
        process.life.live(work).await.unwrap_or(Came::Killed)
    }

    async fn go_on(&self, run: &RunId, wish: Wish) -> Came {
        resume(&self.theatre, &self.platform, run, wish).await
    }
}

/// Plays the faults that are people: a second operator, and requests.
pub(crate) async fn play(theatre: Arc<Theatre>, platform: Platform, place: usize, fault: Fault) {
    match fault {
        Fault::Operator { at, what } => second(&theatre, &platform, place, at, what).await,
        Fault::Ask { at, abort } => {
            theatre.until(at).await;
            let Some(run) = newest(&theatre) else { return };
            theatre.trace.met(place);
            let process = theatre.process();
            let request = if abort { Request::Abort } else { Request::Pause };
            let asked = process
                .life
                .live(running::request(&process.world, &run, request, "bert"))
                .await;
            theatre
                .trace
                .say(|| format!("bert: asks {run} for {request:?}: {asked:?}"));
        }
        _ => {}
    }
}

async fn second(theatre: &Arc<Theatre>, platform: &Platform, place: usize, at: SignedDuration, what: Second) {
    let older = match what {
        Second::OlderPlan => {
            let process = theatre.process();
            let planned = process
                .life
                .live(plan(&process, platform, &[], Evidence::Leave))
                .await;
            let Some(Ok(prepared)) = planned else { return };
            Some((
                prepared.checked.plan().clone(),
                prepared.checked.sealed().to_vec(),
            ))
        }
        _ => None,
    };
    theatre.until(at).await;
    let came = match (what, older) {
        (Second::Resume | Second::TakeBack, _) => {
            let Some(run) = newest(theatre) else { return };
            theatre.trace.met(place);
            let wish = if what == Second::TakeBack {
                Wish::TakeBack
            } else {
                Wish::GoOn
            };
            resume(theatre, platform, &run, wish).await
        }
        (Second::OlderPlan, Some((plan, sealed))) => {
            theatre.trace.met(place);
            run_again(theatre, platform, plan, sealed).await
        }
        (Second::SamePlan | Second::OlderPlan, _) => {
            let Some(run) = newest(theatre) else { return };
            let first = theatre.disk.disk().read(&run, Seq(0)).unwrap_or_default();
            let Some(sealed) = first.into_iter().next().map(|entry| entry.bytes) else {
                return;
            };
            let Ok(plan) = envelope::open::<Plan>(&sealed) else {
                return;
            };
            theatre.trace.met(place);
            run_again(theatre, platform, plan, sealed).await
        }
    };
    theatre.trace.say(|| format!("bert: {what:?}: {}", told(&came)));
}

async fn run_again(theatre: &Arc<Theatre>, platform: &Platform, plan: Plan, sealed: Vec<u8>) -> Came {
    let process = theatre.process();
    let allow = Allowances::of(&platform.policy);
    let work = async {
        let checked = planning::check(&process.world, platform, plan, sealed, &allow, Evidence::Leave).await;
        match checked {
            Ok(prepared) => start(&process, platform, prepared).await,
            Err(no) => Came::NoPlan(no),
        }
    };
    process.life.live(work).await.unwrap_or(Came::Killed)
}

async fn plan(
    process: &Process,
    platform: &Platform,
    to: &[(Name, Selector)],
    evidence: Evidence,
) -> Result<Prepared, NoPlan> {
    let asked = Asked {
        to: to.to_vec(),
        ..Asked::everything(Acceptor::Person)
    };
    let allow = Allowances::of(&platform.policy);
    planning::roll_back(&process.world, platform, &asked, &allow, evidence).await
}

async fn start(process: &Process, platform: &Platform, prepared: Prepared) -> Came {
    let approval = Approval {
        plan: prepared.checked.hash().clone(),
        by: "anna".to_owned(),
        how: How::Person,
        reason: "it crashes".to_owned(),
        at: process.world.clock.now(),
        overrides: Vec::new(),
        warnings: Vec::new(),
        found: Vec::new(),
    };
    let runner = runner(process, platform);
    let run = RunId(format!("r{:03}", process.life.number));
    let started = running::start(
        &process.world,
        runner,
        run,
        prepared.checked,
        approval,
        prepared.saved,
        Arc::new(Unobserved),
    );
    rested(started.await)
}

async fn resume(theatre: &Arc<Theatre>, platform: &Platform, run: &RunId, wish: Wish) -> Came {
    let process = theatre.process();
    let allow = Allowances::of(&platform.policy);
    let runner = runner(&process, platform);
    let work = running::resume(&process.world, runner, run, wish, &allow, Arc::new(Unobserved));
    process.life.live(work).await.map_or(Came::Killed, rested)
}

fn runner(process: &Process, platform: &Platform) -> Runner {
    Runner {
        holder: process.holder.clone(),
        platform: platform.clone(),
    }
}

fn rested(result: Result<Ended, RunError>) -> Came {
    match result {
        Ok(ended) => Came::Rested(Box::new(ended)),
        Err(error) => Came::Stopped(error),
    }
}

fn newest(theatre: &Theatre) -> Option<RunId> {
    theatre.disk.disk().runs().into_iter().next()
}

/// Another run holds the namespace.
const LOCKED: &str = "AST0220";
/// What would go back of ConfigMaps and Secrets could not be compared just now.
const UNKNOWN_CONFIG: &str = "AST0237";

/// Whether it would be the same answer a moment later. It would not while somebody else's run goes on, nor where the plan left
/// something out because that could not be read just now.
fn is_final(no: &NoPlan) -> bool {
    let left_out = |finding: &Finding| {
        finding
            .message
            .contains("ConfigMaps and Secrets could not be read")
    };
    match no {
        NoPlan::Refused(_) | NoPlan::Unknown(_) => true,
        NoPlan::Rejected(rejected) => {
            let passes = |code: &str| [LOCKED, UNKNOWN_CONFIG].contains(&code);
            !rejected.refusals().all(|finding| passes(&finding.code))
                && !rejected.findings.iter().any(left_out)
        }
        _ => false,
    }
}

fn refusals(rejected: &Rejected) -> String {
    let refusals = rejected.refusals();
    let told = refusals.map(|finding| format!("{} {}", finding.code, finding.message));
    told.collect::<Vec<_>>().join("; ")
}

fn told(came: &Came) -> String {
    match came {
        Came::Killed => "killed".to_owned(),
        Came::Rested(ended) => match &ended.book.run.phase {
            Phase::Held { why, .. } => format!("held: {why}"),
            phase => format!("{phase:?}"),
        },
        Came::NoPlan(NoPlan::Rejected(rejected)) => format!("no plan: {}", refusals(rejected)),
        Came::NoPlan(no) => format!("no plan: {no:?}").chars().take(600).collect(),
        Came::Stopped(RunError::Rejected { rejected, .. }) => {
            format!("not admitted: {}", refusals(rejected))
        }
        Came::Stopped(error) => {
            let mut told = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                told = format!("{told}: {cause}");
                source = cause.source();
            }
            told
        }
    }
}
