//! The runner: a process of its own session that carries a run out while a terminal only watches. Closing the
//! terminal ends the watching, not the run. Where nobody is asked, it is started while the plan is still being made, and
//! waits for its task; without one it ends by itself.

use crate::args::Global;
use crate::commands::tend;
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::log;
use crate::output::Format;
use crate::progress::Progress;
use crate::wiring::{self, Wired, holder};
use astern_app::running::{self, Rest, RunError, Runner, Unobserved, Wish};
use astern_exec::driver::Ended;
use astern_model::approval::Approval;
use astern_model::finding::Allowances;
use astern_model::id::{RunId, Seq};
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::platform::Platform;
use astern_model::question::Answers;
use astern_port::sense::Saved;
use astern_port::{Failure, FailureClass};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// What the runner is told, through a pipe: it is never written to disk, since templates may hold literal secrets.
#[derive(Deserialize, Serialize)]
pub(crate) struct Handover {
    pub(crate) platform: Platform,
    pub(crate) user: String,
    pub(crate) allow: Allowances,
    pub(crate) task: Task,
    /// Where it writes from then on what nobody is there to read.
    log: PathBuf,
}

/// What the runner is to do. A new run is checked by the gate again there, from the same answers, without I/O.
#[derive(Deserialize, Serialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "one value a process, written once and read once"
)]
pub(crate) enum Task {
    Start {
        run: RunId,
        sealed: String,
        inventory: Box<Inventory>,
        answers: Answers,
        approval: Approval,
        saved: Saved,
    },
    Resume {
        run: RunId,
    },
    Abort {
        run: RunId,
    },
}

/// How long the runner may take from its start to its first record, and from the run's rest to its own end.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// Lines of the runner's log that are shown when it fails early.
const LOG_LINES: usize = 12;

impl Handover {
    /// What is told to the runner of `run`.
    ///
    /// # Errors
    /// When there is no folder for its log.
    pub(crate) fn of(
        run: &RunId,
        task: Task,
        platform: Platform,
        user: String,
        allow: Allowances,
    ) -> Result<Self, CliError> {
        let log = state_folder()?.join(format!("{run}.log"));
        Ok(Self {
            platform,
            user,
            allow,
            task,
            log,
        })
    }
}

/// A runner that has no task yet. Dropped, or left by a process that dies, it ends and has done nothing.
pub(crate) struct Waiting<'a> {
    global: &'a Global,
    child: Option<Child>,
}

impl<'a> Waiting<'a> {
    /// One that is started only when it has a task.
    pub(crate) fn later(global: &'a Global) -> Self {
        Self { global, child: None }
    }

    /// One that starts and connects now.
    ///
    /// # Errors
    /// When the system starts no process; nothing was changed.
    pub(crate) fn now(global: &'a Global) -> Result<Self, CliError> {
        let child = Some(spawn(global)?);
        Ok(Self { global, child })
    }

    async fn told(self, handover: &Handover) -> Result<Child, CliError> {
        let mut child = match self.child {
            Some(child) => child,
            None => spawn(self.global)?,
        };
        let bytes = serde_json::to_vec(handover)
            .map_err(|error| CliError::input("the runner cannot be told").cause(error.to_string()))?;
        let mut pipe = child
            .stdin
            .take()
            .ok_or_else(|| CliError::input("the runner has no standard input"))?;
        let told = async {
            pipe.write_all(&bytes).await?;
            pipe.shutdown().await
        };
        told.await
            .map_err(|error| early_end(&handover.log, None).cause(error.to_string()))?;
        Ok(child)
    }
}

/// Until it has a task, what goes wrong with it is told on this process's standard error.
fn spawn(global: &Global) -> Result<Child, CliError> {
    let failed = |what: &str, error: std::io::Error| {
        CliError::input(format!("the runner {what}; nothing was changed")).cause(error.to_string())
    };
    let program = std::env::current_exe().map_err(|error| failed("was not found", error))?;
    let mut command = Command::new(program);
    command
        .args(flags(global))
        .arg("runner")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(false);
    command
        .spawn()
        .map_err(|error| failed("could not be started", error))
}

/// Hands the task over, and watches what the runner does.
pub(crate) async fn hand_over(
    runner: Waiting<'_>,
    wired: &Wired,
    handover: Handover,
    run: &RunId,
    progress: &Progress,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let from = match &handover.task {
        Task::Start { .. } => Seq(0),
        Task::Resume { .. } | Task::Abort { .. } => {
            astern_exec::book::Book::open(&*wired.world.journal, run)
                .await?
                .run
                .head
        }
    };
    let mut child = runner.told(&handover).await?;
    first_record(wired, run, from, &mut child, &handover.log).await?;
    let exit = tend::watch(wired, run, progress, format, console).await?;
    if exit != Exit::Interrupted {
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), child.wait()).await;
    }
    Ok(exit)
}

/// Waits until the runner has written its first record. One that is slow is waited for, and ended if it stays silent:
/// a run that begins after its operator was told that nothing happened would be worse than none.
async fn first_record(
    wired: &Wired,
    run: &RunId,
    from: Seq,
    child: &mut Child,
    log: &Path,
) -> Result<(), CliError> {
    let journal = &wired.world.journal;
    let mut code = None;
    tokio::select! {
        biased;
        waited = journal.wait(run, from, PATIENCE) => {
            if let Err(failure) = waited {
                tracing::debug!(%failure, "the journal could not be watched");
            }
        }
        ended = child.wait() => code = ended.ok().and_then(|status| status.code()),
    }
    let written = |read: Result<Vec<_>, Failure>| read.map(|entries| !entries.is_empty());
    if written(journal.read(run, from).await).map_err(|failure| unseen(run, &failure))? {
        return Ok(());
    }
    if code.is_none() && child.kill().await.is_err() {
        return Err(unseen(
            run,
            &Failure::new(FailureClass::Unknown, "end the silent runner", "it does not end"),
        ));
    }
    // It may have written between the look and its end.
    if written(journal.read(run, from).await).map_err(|failure| unseen(run, &failure))? {
        return Ok(());
    }
    Err(early_end(log, code))
}

/// The watching failed, not the run.
fn unseen(run: &RunId, failure: &Failure) -> CliError {
    CliError::new(
        Exit::Interrupted,
        format!("run {run} was handed over, but cannot be watched from here"),
    )
    .cause(failure.to_string())
    .hint(format!("astern attach {run}   shows whether it goes on"))
}

/// The flags that say which cluster and which store; no secret is among them.
fn flags(global: &Global) -> Vec<std::ffi::OsString> {
    let mut flags: Vec<std::ffi::OsString> = Vec::new();
    let mut add = |flag: &str, value: Option<std::ffi::OsString>| {
        if let Some(value) = value {
            flags.push(flag.into());
            flags.push(value);
        }
    };
    add("--context", global.context.clone().map(Into::into));
    add("--user", global.user.clone().map(Into::into));
    add("--kubeconfig", global.kubeconfig.clone().map(Into::into));
    add("--namespace", global.namespace.clone().map(Into::into));
    add("--file", global.file.clone().map(Into::into));
    add("--helm", Some(global.helm.clone().into()));
    add("--store", global.store.clone().map(Into::into));
    add("--log", global.log.clone().map(Into::into));
    flags
}

fn early_end(log: &Path, code: Option<i32>) -> CliError {
    let exit = match code {
        Some(1) => Exit::Input,
        Some(3) => Exit::Refused,
        _ => Exit::NeedsPerson,
    };
    let mut error = CliError::new(
        exit,
        "the runner ended before it wrote anything; no workload was changed",
    );
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    error.shown = lines[lines.len().saturating_sub(LOG_LINES)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect();
    error.hint(format!("its log: {}", log.display()))
}

/// The runner's own side: a session of its own, deaf to hang-ups; then one run, to its rest. It connects while it waits
/// for its task.
pub(crate) async fn carry_out_handover(global: &Global) -> Result<Exit, CliError> {
    let unread =
        |error: std::io::Error| CliError::input("the handover cannot be read").cause(error.to_string());
    // Already leading a session means that somebody started it so; either way no terminal is attached.
    let _ = rustix::process::setsid();
    let _deaf = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).map_err(unread)?;
    let mut bytes = Vec::new();
    let mut input = tokio::io::stdin();
    let (wired, read) = futures::join!(wiring::wire(global), input.read_to_end(&mut bytes));
    if read.map_err(unread)? == 0 {
        return Ok(Exit::Done);
    }
    let handover: Handover = serde_json::from_slice(&bytes).map_err(|error| {
        CliError::input("this is no handover; `astern rollback` starts runners").cause(error.to_string())
    })?;
    speak_to(&handover.log)?;
    if global.log.is_none() {
        log::start(log::OF_A_RUNNER)
            .map_err(|error| CliError::input("the runner cannot log").cause(error.to_string()))?;
    }
    let mut wired = wired?;
    wired.platform = handover.platform.clone();
    let who = Runner {
        holder: holder(&handover.user),
        platform: handover.platform,
    };
    let ended = match handover.task {
        Task::Start {
            run,
            sealed,
            inventory,
            answers,
            approval,
            saved,
        } => {
            let sealed = sealed.into_bytes();
            let plan: Plan = astern_wire::envelope::open(&sealed).map_err(|error| {
                CliError::input("the handed plan cannot be read").cause(error.to_string())
            })?;
            let checked = astern_gate::check(
                plan,
                sealed,
                &inventory,
                &answers,
                &handover.allow,
                wired.world.clock.now(),
            )
            .map_err(|rejected| {
                crate::error::no_plan(astern_app::planning::NoPlan::Rejected(Box::new(rejected)))
            })?;
            running::start(
                &wired.world,
                who,
                run,
                checked,
                approval,
                saved,
                Arc::new(Unobserved),
            )
            .await?
        }
        Task::Resume { run } => {
            running::resume(
                &wired.world,
                who,
                &run,
                Wish::GoOn,
                &handover.allow,
                Arc::new(Unobserved),
            )
            .await?
        }
        Task::Abort { run } => {
            running::resume(
                &wired.world,
                who,
                &run,
                Wish::TakeBack,
                &handover.allow,
                Arc::new(Unobserved),
            )
            .await?
        }
    };
    crate::planted_defect("carried-out");
    Ok(match running::rest(&ended.book) {
        Rest::Validated => Exit::Done,
        Rest::Unwound => Exit::Unwound,
        Rest::NotValidated => Exit::NotValidated,
        Rest::NeedsPerson => Exit::NeedsPerson,
    })
}

/// From here on, what this process says is in its log.
fn speak_to(log: &Path) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        CliError::input("the runner has no log; nothing was changed").cause(error.to_string())
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log)
        .map_err(failed)?;
    rustix::stdio::dup2_stdout(&file).map_err(|error| failed(error.into()))?;
    rustix::stdio::dup2_stderr(&file).map_err(|error| failed(error.into()))
}

/// Carries a run out here. An interrupt stops it as a crash would: what had begun is settled on resume.
pub(crate) async fn in_foreground(
    work: impl Future<Output = Result<Ended, RunError>>,
    progress: &Progress,
    run: &RunId,
) -> Result<Ended, CliError> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| CliError::input("signals cannot be handled").cause(error.to_string()))?;
    let mut every = tokio::time::interval(std::time::Duration::from_millis(500));
    tokio::pin!(work);
    let stopped = || {
        CliError::new(
            Exit::Interrupted,
            format!("interrupted; run {run} can be resumed"),
        )
        .hint(format!("astern resume {run}   goes on"))
        .hint(format!("astern abort {run}    takes back what was done"))
    };
    loop {
        tokio::select! {
            ended = &mut work => return Ok(ended?),
            _ = every.tick() => progress.tick(),
            _ = tokio::signal::ctrl_c() => return Err(stopped()),
            _ = terminate.recv() => return Err(stopped()),
        }
    }
}

/// Where runners log and reports are left: `$XDG_STATE_HOME/astern`, else `~/.local/state/astern`; only its owner
/// can read it.
pub(crate) fn state_folder() -> Result<PathBuf, CliError> {
    use std::os::unix::fs::DirBuilderExt;
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state")))
        .unwrap_or_else(std::env::temp_dir);
    let folder = base.join("astern");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| {
            CliError::input(format!("{} cannot be made", folder.display())).cause(error.to_string())
        })?;
    Ok(folder)
}
