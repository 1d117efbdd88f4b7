//! `init`: looks at a namespace and writes a commented astern.yaml.

use crate::args::{Global, Init};
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::platform::FILE_NAME;
use crate::wiring::Wired;
use std::path::PathBuf;

pub(crate) async fn init(
    global: &Global,
    wired: &Wired,
    arguments: &Init,
    console: &Console,
) -> Result<Exit, CliError> {
    let file = global.file.clone().unwrap_or_else(|| PathBuf::from(FILE_NAME));
    if file.exists() {
        return Err(
            CliError::input(format!("{} exists; nothing was written", file.display()))
                .hint("name another file with --file, or move this one away"),
        );
    }
    let namespace = &wired.platform.namespace;
    let inventory = wired.world.look.inventory(namespace).await?;
    if inventory.workloads.is_empty() {
        return Err(CliError::input(format!(
            "namespace {namespace} has no Deployment, StatefulSet, DaemonSet or Rollout; nothing was written"
        ))
        .hint("name the namespace with -n"));
    }
    for unread in &inventory.unread {
        console.warn(unread);
    }
    let found = astern_app::discover::discover(&inventory);
    let text = astern_wire::platform::write_platform(&found.platform, &found.remarks);
    console.data(&text)?;
    if !arguments.yes && !console.confirm(&format!("Write this to {}?", file.display())) {
        if console.can_ask() {
            console.say("nothing was written");
            return Ok(Exit::Done);
        }
        return Err(
            CliError::new(Exit::Usage, "nobody is there to be asked; nothing was written")
                .hint("astern init --yes writes without asking"),
        );
    }
    std::fs::write(&file, &text).map_err(|error| {
        CliError::input(format!("{} cannot be written", file.display())).cause(error.to_string())
    })?;
    console.say(&format!(
        "written to {} ({} workloads)",
        file.display(),
        found.platform.members.len()
    ));
    Ok(Exit::Done)
}
