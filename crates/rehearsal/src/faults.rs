//! The same run with faults, each on a snapshot of its own: every step failing for good, and a crash at every point. Owns
//! which are tried and how each is held against the run without faults.

use crate::points::{Failing, Mortal, Point, Points, what};
use crate::rehearse::{Contented, Plain, RehearsalError, Scene, Take};
use crate::standing::differs;
use astern_app::running::{RunError, Wish};
use astern_exec::book::{Book, BookError};
use astern_exec::driver::{Ended, ExecError};
use astern_model::id::StepId;
use astern_model::plan::Plan;
use astern_report::rehearsal::{Crash, FailedStep, Faults};
use astern_report::report::{Ending, Standing};
use jiff::SignedDuration;
use std::sync::Arc;

/// How often a dead holder's lock is tried again, and how long after one another: longer than a lease in all.
const TRIES: u32 = 8;
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// Every fault, one after the other.
pub(crate) async fn all(scene: &Scene, plain: &Plain) -> Result<Faults, RehearsalError> {
    let mut failures = Vec::new();
    for step in &scene.plan().steps {
        failures.push(failing(scene, plain, &step.id).await?);
    }
    let mut crashes = Vec::new();
    for (number, point) in plain.points.iter().enumerate() {
        crashes.push(crashing(scene, plain, number, point).await?);
    }
    Ok(Faults { failures, crashes })
}

/// The run with one step failing for good; where it is held, a person then aborts it.
async fn failing(scene: &Scene, plain: &Plain, step: &StepId) -> Result<FailedStep, RehearsalError> {
    let take = scene.take();
    let mut world = take.world.clone();
    world.workloads = Arc::new(Failing::at(world.workloads, &scene.run, step));
    world.contents = Arc::new(Failing::at(world.contents, &scene.run, step));
    world.owners = Arc::new(Failing::at(world.owners, &scene.run, step));
    let held = scene.start(&world, Arc::new(Contented)).await?;
    let (ending, standings) = told(&held.book);
    let mut lost = None;
    let aborted = match ending {
        Ending::Held { .. } => match scene.resume(&take.world, Wish::TakeBack).await {
            Ok(Ended { book }) => Some(told(&book).0),
            Err(error) => {
                lost = Some(format!("it could not be taken back: {}", because(&error)));
                None
            }
        },
        _ => None,
    };
    let unwound = matches!(aborted.as_ref().unwrap_or(&ending), Ending::Unwound { .. });
    let differs = if unwound {
        differs(&plain.before, &scene.standing(&take).await?)
    } else {
        lost.into_iter().collect()
    };
    Ok(FailedStep {
        step: step.clone(),
        what: what(scene.plan(), step),
        ending,
        standings,
        aborted,
        differs,
    })
}

/// The run whose holder dies at one point, and what another one makes of it.
async fn crashing(
    scene: &Scene,
    plain: &Plain,
    number: usize,
    point: &Point,
) -> Result<Crash, RehearsalError> {
    let take = scene.take();
    let points = Arc::new(Points::dying_at(number));
    let mut world = take.world.clone();
    world.journal = Arc::new(Mortal {
        journal: take.stage.journal.clone(),
        points: points.clone(),
    });
    let died = tokio::select! {
        biased;
        () = points.reached.notified() => true,
        ended = scene.start(&world, Arc::new(Contented)) => {
            ended?;
            false
        }
    };
    let mut differing = Vec::new();
    if !died {
        differing.push("it did not come to this point again".to_owned());
    }
    let ending = go_on(scene, &take).await.unwrap_or_else(|error| {
        differing.push(format!("another one could not go on: {}", because(&error)));
        None
    });
    let standing = scene.standing(&take).await?;
    match &ending {
        None => differing.extend(differs(&plain.before, &standing)),
        Some(ending) => {
            let usual = told(&plain.ended).0;
            if std::mem::discriminant(ending) != std::mem::discriminant(&usual) {
                differing.push("it ended otherwise than without a crash".to_owned());
            }
            differing.extend(differs(&plain.after, &standing));
        }
    }
    Ok(Crash {
        steps: point
            .steps
            .iter()
            .map(|step| (step.clone(), what(scene.plan(), step)))
            .collect(),
        at: point.at.clone(),
        ending,
        differs: differing,
    })
}

/// Another one goes on with a run whose holder is dead; none where there is no run.
async fn go_on(scene: &Scene, take: &Take) -> Result<Option<Ending>, RunError> {
    // Whoever resumes is another process, which remembers nothing of the first one.
    let world = scene.world(&take.stage);
    let mut tries = 0;
    loop {
        tries += 1;
        match scene.resume(&world, Wish::GoOn).await {
            Ok(Ended { book }) => return Ok(Some(told(&book).0)),
            Err(RunError::Book(BookError::NoSuchRun { .. })) => return Ok(None),
            Err(RunError::Over { .. }) => {
                let book = Book::open(&*world.journal, &scene.run).await;
                return Ok(Some(told(&book?).0));
            }
            Err(RunError::Alive { .. } | RunError::Exec(ExecError::Busy { .. })) if tries < TRIES => {
                world.clock.sleep(AGAIN_AFTER).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Why nobody could go on, in one line.
fn because(error: &RunError) -> String {
    match error {
        RunError::Rejected { rejected, .. } => {
            let refusals: Vec<&str> = rejected
                .refusals()
                .map(|finding| finding.message.as_str())
                .collect();
            format!("{error}: {}", refusals.join("; "))
        }
        error => error.to_string(),
    }
}

/// How a run ended, and on what each workload stands, as its journal tells.
fn told(book: &Book) -> (Ending, Vec<Standing>) {
    let plan: &Plan = &book.plan;
    let report = astern_report::report(&book.id, plan, &book.hash(), &book.records, "");
    (report.ending.what, report.standings)
}
