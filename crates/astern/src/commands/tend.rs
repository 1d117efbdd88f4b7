//! Commands about a run that exists: attach, resume, abort.

use super::look::{allowances, print_verdict};
use super::report;
use crate::args::{Global, OneRun, Resume};
use crate::console::{Console, Tone, paint};
use crate::error::{CliError, Exit};
use crate::output::Format;
use crate::progress::Progress;
use crate::runner::{self, Handover, Task, Waiting};
use crate::wiring::{Wired, holder};
use astern_app::history;
use astern_app::running::{self, Rest, RunError, Runner, Wish};
use astern_engine::{Phase, Status};
use astern_exec::book::{Book, BookError};
use astern_model::choice::human;
use astern_model::id::RunId;
use astern_model::record::{Outcome, Request};
use std::sync::Arc;

pub(crate) async fn attach(
    wired: &Wired,
    arguments: &OneRun,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let run = pick(wired, arguments.run.as_deref(), false).await?;
    let book = open(wired, &run).await?;
    let progress = Progress::new(console.clone(), book.plan.clone());
    watch(wired, &run, &progress, format, console).await
}

pub(crate) async fn resume(
    global: &Global,
    wired: &Wired,
    arguments: Resume,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let run = pick(wired, arguments.run.as_deref(), true).await?;
    let book = open(wired, &run).await?;
    over(&book)?;
    describe(&book, console);
    if !arguments.yes && !confirmed(console, &format!("Go on with {run}?"))? {
        return Ok(Exit::NeedsPerson);
    }
    go_on(global, wired, &book, arguments, Wish::GoOn, format, console).await
}

pub(crate) async fn abort(
    global: &Global,
    wired: &Wired,
    arguments: Resume,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let run = pick(wired, arguments.run.as_deref(), true).await?;
    let book = open(wired, &run).await?;
    over(&book)?;
    describe(&book, console);
    if !arguments.yes
        && !confirmed(
            console,
            &format!("Take back what {run} did, so that the bad release serves again?"),
        )?
    {
        return Ok(Exit::NeedsPerson);
    }
    let rests = matches!(book.run.phase, Phase::Held { .. });
    if !rests && lives(wired, &book, console).await? {
        let user = wired.world.look.identify(&book.plan.namespace).await?.user;
        running::request(&wired.world, &run, Request::Abort, &user).await?;
        let progress = Progress::new(console.clone(), book.plan.clone());
        return watch(wired, &run, &progress, format, console).await;
    }
    go_on(global, wired, &book, arguments, Wish::TakeBack, format, console).await
}

/// Opens a run. One that this journal does not have may lie in another, which its lock names.
async fn open(wired: &Wired, run: &RunId) -> Result<Book, CliError> {
    let error = match Book::open(&*wired.world.journal, run).await {
        Err(error @ BookError::NoSuchRun { .. }) => error,
        other => return Ok(other?),
    };
    let holding = wired.world.lock.holding(&wired.platform.namespace).await;
    let told = CliError::from(error);
    Err(match holding {
        Ok(Some(holding)) if &holding.run == run => told.hint(format!(
            "the lock of namespace {} says that its journal is {} on host {}: go on from there",
            wired.platform.namespace, holding.journal, holding.holder.host
        )),
        Ok(_) | Err(_) => told,
    })
}

/// Whether somebody carries the run out.
async fn lives(wired: &Wired, book: &Book, console: &Console) -> Result<bool, CliError> {
    if running::holding(&wired.world, book).await?.is_some() {
        console.say("its lock is held: looking for some seconds whether its runner lives");
    }
    Ok(running::alive(&wired.world, book).await?.is_some())
}

async fn go_on(
    global: &Global,
    wired: &Wired,
    book: &Book,
    arguments: Resume,
    wish: Wish,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let cluster = wired.world.look.identify(&book.plan.namespace).await?;
    let allow = allowances(wired, &arguments.accept_revert);
    let progress = Arc::new(Progress::new(console.clone(), book.plan.clone()));
    if let Some(holding) = running::holding(&wired.world, book).await? {
        console.say(&format!(
            "its lock is held ({} on {}): looking for up to half a minute whether that runner lives",
            holding.holder.user, holding.holder.host
        ));
    }
    if arguments.foreground {
        let who = Runner {
            holder: holder(&cluster.user),
            platform: wired.platform.clone(),
        };
        let work = running::resume(&wired.world, who, &book.id, wish, &allow, progress.clone());
        let ended = runner::in_foreground(work, &progress, &book.id).await?;
        return rest(wired, &ended.book, format, console);
    }
    let task = match wish {
        Wish::GoOn => Task::Resume { run: book.id.clone() },
        Wish::TakeBack => Task::Abort { run: book.id.clone() },
    };
    let handover = Handover::of(&book.id, task, wired.platform.clone(), cluster.user, allow)?;
    runner::hand_over(
        Waiting::later(global),
        wired,
        handover,
        &book.id,
        &progress,
        format,
        console,
    )
    .await
}

/// Watches until the run rests, then says how. Ctrl-C ends the watching, not the run.
pub(crate) async fn watch(
    wired: &Wired,
    run: &RunId,
    progress: &Progress,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let watching = running::attach(&wired.world, run, progress);
    tokio::pin!(watching);
    let mut every = tokio::time::interval(std::time::Duration::from_millis(500));
    loop {
        tokio::select! {
            book = &mut watching => {
                let book = book.map_err(|error| out_of_sight(run, error))?;
                return rest(wired, &book, format, console);
            }
            _ = every.tick() => progress.tick(),
            _ = tokio::signal::ctrl_c() => {
                if let Some(exit) = interrupted(wired, run, console).await? {
                    return Ok(exit);
                }
            }
        }
    }
}

/// A journal that cannot be read any more ends the watching, and says nothing of the run.
fn out_of_sight(run: &RunId, error: RunError) -> CliError {
    match &error {
        RunError::Book(BookError::Store { .. }) | RunError::Look(_) => CliError {
            exit: Exit::Interrupted,
            ..CliError::from(error)
        }
        .hint(format!(
            "astern attach {run}   shows whether it goes on, once the journal can be read"
        )),
        _ => error.into(),
    }
}

/// Ctrl-C while watching: detach, pause after this step, or take back what was done.
async fn interrupted(wired: &Wired, run: &RunId, console: &Console) -> Result<Option<Exit>, CliError> {
    let answer = tokio::task::block_in_place(|| {
        console.ask("\n[d]etach (the run goes on), [p]ause after this step, [u]ndo what was done, anything else: go on watching?")
    });
    let user = || async {
        wired
            .world
            .look
            .identify(&wired.platform.namespace)
            .await
            .map(|cluster| cluster.user)
    };
    match answer.as_deref() {
        None | Some("d" | "detach") => {
            console.say(&format!(
                "detached; the run goes on. Come back with: astern attach {run}"
            ));
            Ok(Some(Exit::Interrupted))
        }
        Some("p" | "pause") => {
            running::request(&wired.world, run, Request::Pause, &user().await?).await?;
            Ok(None)
        }
        Some("u" | "undo") => {
            running::request(&wired.world, run, Request::Abort, &user().await?).await?;
            Ok(None)
        }
        Some(_) => Ok(None),
    }
}

/// Says how a run came to rest, what stands where, and what to type next; leaves the report.
pub(crate) fn rest(wired: &Wired, book: &Book, format: &Format, console: &Console) -> Result<Exit, CliError> {
    let rest = running::rest(book);
    let printed = if matches!(format, Format::Json | Format::Yaml | Format::Markdown) {
        let report = report::make(wired, book);
        crate::output::print(console, format, "Report", &report, Vec::new, || {
            astern_report::markdown(&report)
        })
    } else if let Some(verdict) = &book.run.verdict {
        print_verdict(verdict, &Format::Text, console)
    } else {
        Ok(())
    };
    // How the run came to rest decides the exit code, whether or not it could be printed.
    if let Err(lost) = printed {
        console.error(&lost);
    }
    if let Err(error) = report::leave(wired, book, console) {
        console.warn(&error.text());
    }
    say_end(book, rest, console);
    Ok(match rest {
        Rest::Validated => Exit::Done,
        Rest::Unwound => Exit::Unwound,
        Rest::NotValidated => Exit::NotValidated,
        Rest::NeedsPerson => Exit::NeedsPerson,
    })
}

fn say_end(book: &Book, rest: Rest, console: &Console) {
    let run = &book.id;
    let took = match (book.run.started_at, book.run.restored_at) {
        (Some(from), Some(to)) => format!(" in {}", human(to.duration_since(from))),
        _ => String::new(),
    };
    match rest {
        Rest::Validated => console.say(&paint(
            Tone::Good,
            &format!("✔ restored{took} and validated: run {run}"),
        )),
        Rest::NotValidated => {
            console.say(&paint(
                Tone::Bad,
                &format!("✖ restored{took}, but not validated: run {run}"),
            ));
            console.say("hint: astern status   says how every workload stands");
            console.say("hint: astern validate   checks again");
        }
        Rest::Unwound => console.say(&paint(
            Tone::Warning,
            &format!("↩ unwound: the world is as before run {run}"),
        )),
        Rest::NeedsPerson => {
            describe(book, console);
            if let Phase::Finished(Outcome::Stuck { .. } | Outcome::Superseded { .. }) = &book.run.phase {
                console.say("hint: astern status   says how every workload stands");
                console.say(&format!(
                    "hint: astern undo {run}   plans taking back what the run left"
                ));
            } else {
                console.say(&format!("hint: astern resume {run}   goes on"));
                console.say(&format!("hint: astern abort {run}    takes back what was done"));
            }
        }
    }
}

/// Which step stands where, so that a person can decide.
fn describe(book: &Book, console: &Console) {
    let why = match &book.run.phase {
        Phase::Held { why, .. } => format!("held: {why}"),
        Phase::Unwinding { why } => format!("being taken back: {why}"),
        Phase::Finished(Outcome::Stuck { step, why }) => format!("stuck at {step}: {why}"),
        Phase::Finished(Outcome::Superseded { by }) => format!("superseded by {by}"),
        Phase::Running | Phase::Finished(_) => history::word(&book.run.phase).to_owned(),
    };
    console.say(&paint(Tone::Strong, &format!("run {} is {why}", book.id)));
    for step in &book.plan.steps {
        let status = book.run.status(&step.id);
        let tone = match status {
            Status::Done { .. } => Tone::Good,
            Status::Failed(_) | Status::ReverseFailed(..) => Tone::Bad,
            Status::Pending | Status::Reversed => Tone::Dim,
            _ => Tone::Warning,
        };
        console.say(&format!(
            "  {} {}",
            paint(tone, &format!("{:<12}", status.name())),
            step.spec.phrase()
        ));
        if let Status::Failed(failing) = status {
            for line in &failing.failure.evidence {
                console.say(&format!("               {line}"));
            }
        }
    }
}

fn over(book: &Book) -> Result<(), CliError> {
    match &book.run.phase {
        Phase::Finished(_) => Err(running::RunError::Over {
            run: book.id.clone(),
            how: history::word(&book.run.phase),
        }
        .into()),
        _ => Ok(()),
    }
}

fn confirmed(console: &Console, question: &str) -> Result<bool, CliError> {
    if console.can_ask() {
        return Ok(console.confirm(question));
    }
    Err(
        CliError::new(Exit::Usage, "nobody is there to be asked; nothing was changed")
            .hint("--yes goes on without asking"),
    )
}

/// The run that is meant: the one named, or the newest (that is not over, where `open` is asked for).
pub(crate) async fn pick(wired: &Wired, named: Option<&str>, open: bool) -> Result<RunId, CliError> {
    if let Some(run) = named {
        return Ok(RunId::from(run));
    }
    let runs = history::runs(&wired.world).await?;
    let found = runs
        .iter()
        .find(|run| !open || matches!(run.state.as_str(), "running" | "held" | "unwinding"));
    found.map(|line| line.run.clone()).ok_or_else(|| {
        let kind = if open { "run that is not over" } else { "run" };
        CliError::input(format!("there is no {kind} in {}", wired.world.journal.place()))
            .code("AST0401")
            .hint("astern runs   lists the runs that this journal knows")
    })
}
