//! The developer's commands (`cargo xtask …`): dispatch and help. Each command lives in a module of its own.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's tool talks to its terminal: data on stdout, progress on stderr"
)]

mod arguments;
mod cluster;
mod debian;
mod failure;
mod process;
mod programs;
mod workspace;

use std::process::ExitCode;

use arguments::Arguments;
use failure::Failure;

const HELP: &str = "\
What a developer of astern runs.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  cluster   Bring a real Kubernetes up and down for tests (`cargo xtask cluster --help`)

Whatever a command needs (Kubernetes, etcd, kwok, containerd) it installs or builds itself, once, and says so.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_environment();
    let outcome = match arguments.command().as_deref() {
        Some("cluster") => cluster::main(arguments),
        None | Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(Failure::usage(format!("`{other}` is no command of xtask"), "cargo xtask --help")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}
