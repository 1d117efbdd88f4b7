//! The developer's commands (`cargo xtask …`): dispatch and help. Each command lives in a module of its own.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's tool talks to its terminal: data on stdout, progress on stderr"
)]

mod arguments;
mod bench;
mod cluster;
mod debian;
mod demo;
mod failure;
mod kills;
mod picture;
mod process;
mod programs;
mod recorded;
mod sim;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use arguments::Arguments;
use failure::Failure;

const HELP: &str = "\
What a developer of astern runs.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  demo      Show a bad release on a real cluster, and how it is taken back
  test      Run every suite, and end with the counts
  tidy      Check what no compiler checks about this repository
  bench     Measure the figures that astern must reach
  picture   Draw the demo into docs/run.svg, which the README shows
  sim       Play whole runs on a simulated cluster, with all that can go wrong
  kills     Kill astern again and again before a real API server, and judge what it wrote
  cluster   Bring a real Kubernetes up and down for tests

`cargo xtask COMMAND --help` says more. Whatever a command needs (Kubernetes, etcd, kwok, containerd) it installs or builds itself, once, and says so.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_environment();
    let outcome = match arguments.command().as_deref() {
        Some("bench") => bench::main(arguments),
        Some("cluster") => cluster::main(arguments),
        Some("demo") => demo::main(arguments),
        Some("kills") => kills::main(arguments),
        Some("picture") => picture::main(arguments),
        Some("sim") => sim::main(arguments),
        Some("test") => test::main(arguments),
        Some("tidy") => tidy::main(arguments),
        None | Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(Failure::usage(
            format!("`{other}` is no command of xtask"),
            "cargo xtask --help",
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.was_told() {
                eprintln!("{failure}");
            }
            failure.exit_code()
        }
    }
}
