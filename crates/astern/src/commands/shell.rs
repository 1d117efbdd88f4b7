//! Completions and the manual page.

use crate::args::Cli;
use crate::console::Console;
use crate::error::{CliError, Exit};
use clap::CommandFactory;

pub(crate) fn completions(shell: clap_complete::Shell, console: &Console) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "astern", &mut script);
    print(&script, console)
}

pub(crate) fn man(console: &Console) -> Result<Exit, CliError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| CliError::input("the manual page could not be made").cause(error.to_string()))?;
    print(&page, console)
}

fn print(text: &[u8], console: &Console) -> Result<Exit, CliError> {
    console.data(&String::from_utf8_lossy(text))?;
    Ok(Exit::Done)
}
