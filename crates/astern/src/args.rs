//! What can be typed. Records what was typed and resolves nothing.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Takes back a bad release on Kubernetes: one reviewed plan, carried out durably, proven, and reported.
#[derive(Debug, Parser)]
#[command(name = "astern", version, about, long_about = None, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = EXIT_CODES)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done and validated
  1    wrong input or configuration; nothing was changed
  2    wrong usage
  3    refused; nothing was changed
  4    unwound; the world is as before
  5    done, but the validation failed
  6    held or stuck; a person is needed
  7    drift found
  130  interrupted; resumable
  255  a defect of astern";

/// Flags that every command takes.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig file to use instead of KUBECONFIG
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace; default: astern.yaml's, else the context's
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The platform file; default: astern.yaml in this folder or above it
    #[arg(long, global = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Keep journal and saved content in this SQLite file instead of the cluster
    #[arg(long, global = true, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// The format of what is printed: text, json, yaml, markdown
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Never redraw, never animate: one line after another
    #[arg(long, global = true, env = "ASTERN_ACCESSIBLE", value_parser = clap::builder::FalseyValueParser::new())]
    pub accessible: bool,
}

/// When colour is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Discover a namespace and write a commented astern.yaml
    Init(Init),
    /// Say how every workload stands, and why
    Status,
    /// Show the revisions that the cluster remembers, and which one would be chosen
    Releases(Releases),
    /// Make a plan, have it checked, and show it; changes nothing
    Plan(Choose),
    /// Assess, plan, check, ask, carry out, validate, report
    Rollback(Rollback),
    /// Carry out a plan file
    Run(RunPlan),
    /// List the runs that the journal knows
    Runs,
    /// Show a run as it goes on, and come back to one that goes on without you
    Attach(OneRun),
    /// Go on with a run that is held, or whose runner is gone
    Resume(Resume),
    /// Take back what a run that is not over has done
    Abort(Resume),
    /// Take a finished run back
    Undo(Undo),
    /// Check whether service is back, over a soak window
    Validate(Validate),
    /// Write the report of a run
    Report(Report),
    /// Look at the decision matrix
    #[command(subcommand)]
    Policy(Policy),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
    /// Carry out what standard input hands over
    #[command(hide = true)]
    Runner(Runner),
}

/// `init`
#[derive(Args, Debug)]
pub struct Init {
    /// Write without asking; an existing file is still never overwritten
    #[arg(long)]
    pub yes: bool,
}

/// `releases`
#[derive(Args, Debug)]
pub struct Releases {
    /// Only these workloads: NAME or KIND/NAME
    #[arg(value_name = "WORKLOAD")]
    pub only: Vec<String>,
}

/// What to take back, and to where.
#[derive(Args, Clone, Debug, Default)]
pub struct Choose {
    /// Only these workloads: NAME or KIND/NAME; may be repeated
    #[arg(long, value_name = "WORKLOAD")]
    pub only: Vec<String>,
    /// Where a workload goes: WORKLOAD=REVISION, WORKLOAD=image:TAG or WORKLOAD=sha256:…; may be repeated
    #[arg(long, value_name = "WORKLOAD=REVISION")]
    pub to: Vec<String>,
    /// Go on although this row of the matrix says no; may be repeated
    #[arg(long, value_name = "ROW")]
    pub override_decision: Vec<String>,
    /// Accept that this owner will write the rollback back; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub accept_revert: Vec<String>,
    /// What a failed step leads to once a workload was restored
    #[arg(long, value_name = "WHAT")]
    pub on_failure: Option<OnFailure>,
}

/// `--on-failure`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// Completed steps stay; a person decides.
    Hold,
    /// Completed steps are taken back.
    Unwind,
}

/// How a run is approved and carried out.
#[derive(Args, Clone, Debug)]
pub struct Approve {
    /// Why. Asked once, shown everywhere
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Approve without asking
    #[arg(long)]
    pub yes: bool,
    /// Carry the run out in this process instead of a runner of its own
    #[arg(long)]
    pub foreground: bool,
}

/// `rollback`
#[derive(Args, Debug)]
pub struct Rollback {
    /// What, and to where.
    #[command(flatten)]
    pub choose: Choose,
    /// How.
    #[command(flatten)]
    pub approve: Approve,
    /// Stop after the checks; changes nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `run`
#[derive(Args, Debug)]
pub struct RunPlan {
    /// The plan file, as `plan -o FILE` wrote it
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Refuse any plan but the one with this hash
    #[arg(long, value_name = "sha256:…")]
    pub expect: Option<String>,
    /// Accept that this owner will write the rollback back; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub accept_revert: Vec<String>,
    /// How.
    #[command(flatten)]
    pub approve: Approve,
}

/// A command about one run.
#[derive(Args, Debug)]
pub struct OneRun {
    /// The run; default: the newest
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
}

/// `resume`, `abort`
#[derive(Args, Debug)]
pub struct Resume {
    /// The run; default: the newest that is not over
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Accept that this owner will write the rollback back; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub accept_revert: Vec<String>,
    /// Carry the run out in this process instead of a runner of its own
    #[arg(long)]
    pub foreground: bool,
}

/// `undo`
#[derive(Args, Debug)]
pub struct Undo {
    /// The run
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Accept that this owner will write it back; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub accept_revert: Vec<String>,
    /// How.
    #[command(flatten)]
    pub approve: Approve,
}

/// `validate`
#[derive(Args, Debug)]
pub struct Validate {
    /// The soak window, such as 30s or 5m; default: astern.yaml's, else 5m
    #[arg(long, value_name = "SPAN")]
    pub soak: Option<String>,
}

/// `report`
#[derive(Args, Debug)]
pub struct Report {
    /// The run; default: the newest
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Write the self-contained page to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `policy`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Print the matrix, and rows of it that overlap or contradict one another
    Check,
}

/// `runner`
#[derive(Args, Debug)]
pub struct Runner {
    /// Where its log goes
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}
