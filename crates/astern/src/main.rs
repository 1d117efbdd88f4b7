//! The binary: parses what was typed, builds the adapters, runs one command, and exits with the code that scripts
//! branch on. The only crate that names adapters, the terminal and the environment.

mod args;
mod commands;
mod console;
mod error;
mod log;
mod output;
mod platform;
mod progress;
mod runner;
mod wiring;

use args::{Cli, Command};
use clap::Parser;
use console::Console;
use error::CliError;
use std::process::ExitCode;

// Nobody gets a binary in which the simulation could plant its defects.
const _: () = assert!(!astern_model::defect::CAN_BE_PLANTED);

/// The exit code of a defect of ours.
const DEFECT: u8 = 255;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::new(cli.global.color, cli.global.accessible);
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        console.warn("another TLS provider was installed first");
    }
    let work = std::panic::AssertUnwindSafe(|| {
        planted_defect("start");
        if let Some(filter) = &cli.global.log
            && let Err(error) = log::start(filter)
        {
            console.warn(&format!("nothing is logged: {error}"));
        }
        match offline(&cli, &console) {
            Some(result) => result,
            None => online(cli, &console),
        }
    });
    match std::panic::catch_unwind(work) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(error)) => {
            console.error(&error);
            error.exit.into()
        }
        Err(_) => {
            console.say("error: this is a defect of astern. No effect was begun without a durable intent: `astern runs` says");
            console.say("what stands where, and `astern resume` goes on.");
            DEFECT.into()
        }
    }
}

/// A defect on request, at this place, so that what a defect leads to can be tested. Never in a release build.
fn planted_defect(place: &str) {
    assert!(
        !(cfg!(debug_assertions)
            && std::env::var_os("ASTERN_PLANT_DEFECT").is_some_and(|named| named == place)),
        "BUG: planted for a test"
    );
}

/// Commands that need no cluster, and no runtime.
fn offline(cli: &Cli, console: &Console) -> Option<Result<error::Exit, CliError>> {
    match &cli.command {
        Command::Completions { shell } => Some(commands::shell::completions(*shell, console)),
        Command::Man => Some(commands::shell::man(console)),
        Command::Policy(args::Policy::Check) => Some(commands::policy::check(&cli.global, console)),
        _ => None,
    }
}

fn online(cli: Cli, console: &Console) -> Result<error::Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| {
            CliError::input("the program could not start its runtime").cause(error.to_string())
        })?;
    let result = runtime.block_on(commands::dispatch(cli, console));
    // A request that hangs must not keep the terminal: whatever matters is durable by now.
    runtime.shutdown_background();
    result
}
