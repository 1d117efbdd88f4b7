//! Helm releases as their own records tell them: listed, shown, mended.

use super::roll::{allowed, carry_out, refused_as_data, waiting};
use crate::args::{Global, Helm, HelmCommand, RepairRelease};
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::{self, Format};
use crate::wiring::Wired;
use astern_app::planning;
use astern_model::helm::{Read, Release, Revision};
use astern_port::releases::Depth;

pub(crate) async fn helm(
    global: &Global,
    wired: &Wired,
    arguments: Helm,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    match (arguments.command, &arguments.release) {
        (Some(HelmCommand::Repair(repair)), _) => self::repair(global, wired, repair, format, console).await,
        (None, None) => list(wired, format, console).await,
        (None, Some(name)) => {
            let release = one(wired, name).await?;
            match arguments.revision {
                None => history(wired, &release, format, console),
                Some(number) => revision(&release, number, format, console),
            }
        }
    }
}

async fn list(wired: &Wired, format: &Format, console: &Console) -> Result<Exit, CliError> {
    let namespace = &wired.platform.namespace;
    let releases = wired.world.releases.list(namespace).await?;
    if releases.is_empty() {
        console.say(&format!("namespace {namespace} has no Helm release"));
    }
    let now = wired.world.clock.now();
    output::print(
        console,
        format,
        "HelmReleases",
        &releases,
        || astern_report::helm_lines(&releases, now),
        || astern_report::helm_markdown(&releases, now),
    )?;
    Ok(Exit::Done)
}

fn history(wired: &Wired, release: &Release, format: &Format, console: &Console) -> Result<Exit, CliError> {
    let now = wired.world.clock.now();
    output::print(
        console,
        format,
        "HelmRelease",
        release,
        || astern_report::helm_history_lines(release, now),
        || astern_report::helm_history_markdown(release, now),
    )?;
    Ok(Exit::Done)
}

fn revision(release: &Release, number: u64, format: &Format, console: &Console) -> Result<Exit, CliError> {
    let revision = release.revision(number).ok_or_else(|| {
        CliError::input(format!("{} has no revision {number}", release.name)).hint(format!(
            "astern helm {}   lists those that are kept",
            release.name.name
        ))
    })?;
    match &revision.record {
        Read::Read(_) => {}
        Read::Unreadable { why } => return Err(unread(release, revision, why)),
        Read::NotAsked => return Err(unread(release, revision, "it is older than those that are read")),
    }
    output::print(
        console,
        format,
        "HelmRevision",
        revision,
        || astern_report::helm_revision_lines(&release.name, revision),
        || astern_report::helm_revision_markdown(&release.name, revision),
    )?;
    Ok(Exit::Done)
}

fn unread(release: &Release, revision: &Revision, why: &str) -> CliError {
    let (name, number) = (&release.name, revision.number);
    CliError::input(format!(
        "what revision {number} of {name} holds is not known: {why}"
    ))
    .code(astern_plan::code::RELEASE)
    .hint(format!(
        "helm get all {} -n {} --revision {number}",
        name.name, name.namespace
    ))
}

async fn one(wired: &Wired, name: &str) -> Result<Release, CliError> {
    let namespace = &wired.platform.namespace;
    let names = [name.to_owned()];
    let found = wired.world.releases.read(namespace, &names, Depth::Few).await?;
    if let Some(release) = found.into_iter().next() {
        return Ok(release);
    }
    let all = wired.world.releases.list(namespace).await?;
    let names: Vec<String> = all.into_iter().map(|release| release.name.name).collect();
    let known = match names.as_slice() {
        [] => "it has none".to_owned(),
        names => format!("it has {}", names.join(", ")),
    };
    Err(CliError::input(format!(
        "namespace {namespace} has no Helm release {name}: {known}"
    ))
    .code(astern_plan::code::RELEASE)
    .hint("astern helm   lists them"))
}

async fn repair(
    global: &Global,
    wired: &Wired,
    arguments: RepairRelease,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let allow = allowed(wired, &[], &arguments.approve);
    let runner = waiting(global, &arguments.approve)?;
    let (world, platform) = (&wired.world, &wired.platform);
    let prepared =
        planning::repair_release(world, platform, &arguments.release, arguments.abandoned, &allow).await;
    let prepared = refused_as_data(prepared, format, console)?;
    carry_out(runner, wired, prepared, allow, arguments.approve, format, console).await
}
