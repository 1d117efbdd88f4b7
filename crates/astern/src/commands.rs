//! One file a family of commands. Each builds what a use case needs, calls it, prints what it returns.

pub(crate) mod init;
pub(crate) mod look;
pub(crate) mod policy;
pub(crate) mod report;
pub(crate) mod roll;
pub(crate) mod shell;
pub(crate) mod tend;

use crate::args::{Cli, Command};
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::Format;
use crate::{runner, wiring};

/// Runs one command that needs a cluster.
pub(crate) async fn dispatch(cli: Cli, console: &Console) -> Result<Exit, CliError> {
    let global = cli.global;
    let format = Format::parse(global.output.as_deref())?;
    if let Command::Runner(arguments) = &cli.command {
        return runner::carry_out_handover(&global, arguments).await;
    }
    let wired = wiring::wire(&global).await?;
    match cli.command {
        Command::Init(arguments) => init::init(&global, &wired, &arguments, console).await,
        Command::Status => look::status(&wired, &format, console).await,
        Command::Releases(arguments) => look::releases(&wired, &arguments, &format, console).await,
        Command::Plan(choose) => look::plan(&wired, &choose, &format, console).await,
        Command::Rollback(arguments) => roll::rollback(&global, &wired, arguments, &format, console).await,
        Command::Run(arguments) => roll::run(&global, &wired, arguments, &format, console).await,
        Command::Undo(arguments) => roll::undo(&global, &wired, arguments, &format, console).await,
        Command::Runs => look::runs(&wired, &format, console).await,
        Command::Attach(arguments) => tend::attach(&wired, &arguments, &format, console).await,
        Command::Resume(arguments) => tend::resume(&global, &wired, arguments, &format, console).await,
        Command::Abort(arguments) => tend::abort(&global, &wired, arguments, &format, console).await,
        Command::Validate(arguments) => look::validate(&wired, &arguments, &format, console).await,
        Command::Report(arguments) => report::report(&wired, &arguments, &format, console).await,
        Command::Policy(_) | Command::Completions { .. } | Command::Man | Command::Runner(_) => {
            panic!("BUG: this command needs no cluster and was dispatched before")
        }
    }
}
