//! Completions and the manual page.

use crate::args::Cli;
use crate::error::{CliError, Exit};
use clap::CommandFactory;

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<Exit, CliError> {
    clap_complete::generate(shell, &mut Cli::command(), "astern", &mut std::io::stdout());
    Ok(Exit::Done)
}

pub(crate) fn man() -> Result<Exit, CliError> {
    clap_mangen::Man::new(Cli::command())
        .render(&mut std::io::stdout())
        .map_err(|error| CliError::input("the manual page could not be written").cause(error.to_string()))?;
    Ok(Exit::Done)
}
