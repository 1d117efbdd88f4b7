//! One file a family of commands. Each builds what a use case needs, calls it, prints what it returns.

pub(crate) mod demo;
pub(crate) mod drift;
pub(crate) mod helm;
pub(crate) mod init;
pub(crate) mod look;
pub(crate) mod mark;
pub(crate) mod owners;
pub(crate) mod policy;
pub(crate) mod rehearse;
pub(crate) mod releases;
pub(crate) mod report;
pub(crate) mod roll;
pub(crate) mod sandbox;
pub(crate) mod shell;
pub(crate) mod tend;
pub(crate) mod watch;
pub(crate) mod writeback;

use crate::args::{self, Cli, Command};
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::{self, Format};
use crate::{runner, wiring};
use astern_model::policy::Acceptor;

/// Runs one command that needs a cluster.
pub(crate) async fn dispatch(cli: Cli, console: &Console) -> Result<Exit, CliError> {
    let global = cli.global;
    let format = Format::parse(global.output.as_deref())?;
    if matches!(cli.command, Command::Runner) {
        return runner::carry_out_handover(&global).await;
    }
    rightly_typed(&cli.command, &format, console)?;
    match &cli.command {
        Command::Demo(arguments) => return demo::demo(&global, arguments, console).await,
        Command::Sandbox(args::Sandbox::Serve(arguments)) => {
            return sandbox::stay(&global, arguments, console).await;
        }
        _ => {}
    }
    if let Command::Init(arguments) = &cli.command {
        let wired = wiring::wire_without_file(&global).await?;
        return init::init(&global, &wired, arguments, console).await;
    }
    let wired = wiring::wire(&global).await?;
    match cli.command {
        Command::Status(args::Status { release: true }) => releases::standing(&wired, &format, console).await,
        Command::Status(args::Status { release: false }) => look::status(&wired, &format, console).await,
        Command::Releases(arguments) => releases::releases(&wired, arguments, &format, console).await,
        Command::Check(arguments) => releases::check(&wired, &arguments, &format, console).await,
        Command::Watch(arguments) => watch::watch(&wired, &arguments, &format, console).await,
        Command::Drift(arguments) => drift::drift(&wired, &arguments, &format, console).await,
        Command::Audit(arguments) => look::audit(&wired, &arguments, &format, console).await,
        Command::Plan(choose) => look::plan(&wired, &choose, &format, console).await,
        Command::Rollback(arguments) => roll::rollback(&global, &wired, arguments, &format, console).await,
        Command::Run(arguments) => roll::run(&global, &wired, arguments, &format, console).await,
        Command::Rehearse(arguments) => rehearse::rehearse(&wired, &arguments, &format, console).await,
        Command::Undo(arguments) => roll::undo(&global, &wired, arguments, &format, console).await,
        Command::Owners(arguments) => owners::owners(&global, &wired, arguments, &format, console).await,
        Command::Helm(arguments) => helm::helm(&global, &wired, arguments, &format, console).await,
        Command::Runs => look::runs(&wired, &format, console).await,
        Command::Attach(arguments) => tend::attach(&wired, &arguments, &format, console).await,
        Command::Resume(arguments) => tend::resume(&global, &wired, arguments, &format, console).await,
        Command::Abort(arguments) => tend::abort(&global, &wired, arguments, &format, console).await,
        Command::Validate(arguments) => look::validate(&wired, &arguments, &format, console).await,
        Command::Report(arguments) => report::report(&wired, &arguments, &format, console).await,
        Command::WriteBack(arguments) => {
            writeback::writeback(&global, &wired, &arguments, &format, console).await
        }
        Command::Init(_)
        | Command::Policy(_)
        | Command::Completions { .. }
        | Command::Demo(_)
        | Command::Sandbox(_)
        | Command::Man
        | Command::Runner => {
            panic!("BUG: this command needs no platform and was dispatched before")
        }
    }
}

/// Whether what it prints may go into a file as a plan.
fn makes_a_plan(command: &Command) -> bool {
    matches!(
        command,
        Command::Plan(_) | Command::Drift(args::Drift { restore: true, .. })
    )
}

/// Wrong usage is said before anything is asked of the cluster, and above all before anything is changed there.
fn rightly_typed(command: &Command, format: &Format, console: &Console) -> Result<(), CliError> {
    if let (Format::File(file), false) = (format, makes_a_plan(command)) {
        return Err(output::no_file(file));
    }
    match command {
        Command::Plan(choose) => look::asked(choose, Acceptor::Person).map(drop),
        Command::Audit(audit) => look::names(&audit.only).map(drop),
        Command::Rollback(rollback) => {
            look::asked(&rollback.choose, Acceptor::Person)?;
            if rollback.dry_run {
                return Ok(());
            }
            roll::approvable(&rollback.approve, console)
        }
        Command::Run(run) => roll::approvable(&run.approve, console),
        Command::Undo(undo) => roll::approvable(&undo.approve, console),
        Command::Owners(args::Owners {
            command: Some(args::OwnersCommand::Resume(resume)),
        }) => roll::approvable(&resume.approve, console),
        Command::Helm(args::Helm {
            command: Some(args::HelmCommand::Repair(repair)),
            ..
        }) => roll::approvable(&repair.approve, console),
        Command::Releases(arguments) => releases::rightly_typed(arguments),
        Command::Watch(_) => watch::prints(format),
        Command::Drift(arguments) => drift::named(arguments).map(drop),
        _ => Ok(()),
    }
}
