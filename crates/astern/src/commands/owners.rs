//! Whoever would write the platform back: listed, and let go on.

use super::roll::{allowed, carry_out, refused_as_data, waiting};
use crate::args::{Global, Owners, OwnersCommand, ResumeOwners};
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::{self, Format};
use crate::wiring::Wired;
use astern_app::{planning, survey};
use astern_model::finding::Allowances;

pub(crate) async fn owners(
    global: &Global,
    wired: &Wired,
    arguments: Owners,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    match arguments.command {
        None => list(wired, format, console).await,
        Some(OwnersCommand::Resume(arguments)) => resume(global, wired, arguments, format, console).await,
    }
}

async fn list(wired: &Wired, format: &Format, console: &Console) -> Result<Exit, CliError> {
    let inventory = survey::owners(&wired.world, &wired.platform.namespace).await?;
    for unread in &inventory.unread {
        console.warn(unread);
    }
    let (owners, now) = (&inventory.owners, wired.world.clock.now());
    if owners.is_empty() {
        console.say("nobody would write this platform back that could be paused");
    }
    output::print(
        console,
        format,
        "Owners",
        owners,
        || astern_report::owners_lines(owners, now),
        || astern_report::owners_markdown(owners, now),
    )?;
    Ok(Exit::Done)
}

async fn resume(
    global: &Global,
    wired: &Wired,
    arguments: ResumeOwners,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let allow = Allowances {
        source_matches: arguments.source_matches.iter().cloned().collect(),
        ..allowed(wired, &[], &arguments.approve)
    };
    let runner = waiting(global, &arguments.approve)?;
    let prepared = planning::resume_owners(&wired.world, &wired.platform, &arguments.owners, &allow).await;
    let prepared = refused_as_data(prepared, format, console)?;
    carry_out(runner, wired, prepared, allow, arguments.approve, format, console).await
}
