//! What can be typed. Records what was typed and resolves nothing.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Takes back a bad release on Kubernetes: one reviewed plan, carried out durably, proven, and reported.
#[derive(Debug, Parser)]
#[command(name = "astern", version, about, long_about = None, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
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
pub(crate) struct Global {
    /// The kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The kubeconfig user to use instead of the context's
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The kubeconfig file to use instead of KUBECONFIG
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The namespace; default: astern.yaml's, else the context's
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// The platform file; default: astern.yaml in this folder or above it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Keep journal and saved content in this SQLite file instead of the cluster
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,
    /// The helm program that rolls releases back, 3 or 4
    #[arg(
        long,
        global = true,
        env = "ASTERN_HELM",
        value_name = "FILE",
        default_value = "helm"
    )]
    pub(crate) helm: PathBuf,
    /// The git program that reads the repositories which astern.yaml names
    #[arg(
        long,
        global = true,
        env = "ASTERN_GIT",
        value_name = "FILE",
        default_value = "git"
    )]
    pub(crate) git: PathBuf,
    /// Log on standard error, and in a runner's log: a level, or targets with levels
    #[arg(long, global = true, env = "ASTERN_LOG", value_name = "FILTER", value_parser = crate::log::filter)]
    pub(crate) log: Option<String>,
    /// The format of what is printed: text, json, yaml, markdown
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<String>,
    /// Colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Never redraw, never animate: one line after another
    #[arg(long, global = true, env = "ASTERN_ACCESSIBLE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) accessible: bool,
}

/// When colour is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Discover a namespace and write a commented astern.yaml
    Init(Init),
    /// Say how every workload stands, and why
    Status(Status),
    /// Show the ledger, the revisions that the cluster remembers, and which one is chosen
    Releases(Releases),
    /// Refuse what a bad release brought: for a pipeline, before it deploys
    Check(Check),
    /// Record releases by itself, and judge them while they serve
    Watch(Watch),
    /// Say in what the platform differs from a release, and who wrote it
    Drift(Drift),
    /// Say whether a rollback would be possible now, and what would stop it
    Audit(Audit),
    /// Make a plan, have it checked, and show it; changes nothing
    Plan(Choose),
    /// Assess, plan, check, ask, carry out, validate, report
    Rollback(Rollback),
    /// Carry out a plan file on a copy of the namespace in memory; changes nothing
    Rehearse(Rehearse),
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
    /// Say who would write the platform back, and let those go on that a run has paused
    Owners(Owners),
    /// List Helm releases, show what one holds, mend one that is stuck
    #[command(args_conflicts_with_subcommands = true)]
    Helm(Helm),
    /// Check whether service is back, over a soak window
    Validate(Validate),
    /// Write the report of a run
    Report(Report),
    /// Say in Git what a run took back: as files, as a branch, as a pull request
    #[command(name = "writeback")]
    WriteBack(WriteBack),
    /// Show a bad release and how it is taken back, in a Kubernetes in memory
    Demo(Demo),
    /// A Kubernetes in memory, for kubectl and for tries
    #[command(subcommand)]
    Sandbox(Sandbox),
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
    Runner,
}

/// `init`
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Write without asking; an existing file is still never overwritten
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `status`
#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Say instead which workload stands on which release of the ledger
    #[arg(long)]
    pub(crate) release: bool,
}

/// `releases`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Releases {
    /// Only these workloads: NAME or KIND/NAME
    #[arg(value_name = "WORKLOAD")]
    pub(crate) only: Vec<String>,
    /// What to do with one release.
    #[command(subcommand)]
    pub(crate) command: Option<OneRelease>,
}

/// What to do with one release of the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum OneRelease {
    /// Record what runs now as a release, with the config that it reads
    Record(Record),
    /// Show what was recorded of a release; no value of a Secret
    Show {
        /// The release
        #[arg(value_name = "RELEASE")]
        release: String,
    },
    /// Say that a release is good, or bad
    Mark(Mark),
}

/// `releases record`
#[derive(Args, Debug)]
#[command(disable_version_flag = true)]
pub(crate) struct Record {
    /// What the release is called
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: String,
    /// The commit that it was built from
    #[arg(long, value_name = "SHA")]
    pub(crate) commit: Option<String>,
    /// Who records it; default: the cluster's user
    #[arg(long, value_name = "WHO")]
    pub(crate) by: Option<String>,
    /// It is good already: whoever records it has seen it serve
    #[arg(long, requires = "reason")]
    pub(crate) good: bool,
    /// With --good: why
    #[arg(long, value_name = "TEXT", requires = "good")]
    pub(crate) reason: Option<String>,
}

/// `releases mark`
#[derive(Args, Debug)]
pub(crate) struct Mark {
    /// What it is
    #[arg(value_name = "good|bad", value_parser = ["good", "bad"])]
    pub(crate) standing: String,
    /// The release
    #[arg(value_name = "RELEASE")]
    pub(crate) release: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Whose word it is; default: the cluster's user
    #[arg(long, value_name = "WHO")]
    pub(crate) by: Option<String>,
}

/// `drift`
#[derive(Args, Debug)]
pub(crate) struct Drift {
    /// The release; default: the newest that is known to be good
    #[arg(value_name = "RELEASE")]
    pub(crate) release: Option<String>,
    /// Make a plan that takes every workload back onto the release, and show it; changes nothing
    #[arg(long)]
    pub(crate) restore: bool,
}

/// `audit`
#[derive(Args, Debug)]
pub(crate) struct Audit {
    /// Only these workloads: NAME or KIND/NAME
    #[arg(value_name = "WORKLOAD")]
    pub(crate) only: Vec<String>,
}

/// `check`
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Check {
    /// An image, with its digest or its tag; may be repeated
    #[arg(long, value_name = "IMAGE", group = "what")]
    pub(crate) image: Vec<String>,
    /// Manifests in this file, whose images and ConfigMaps are meant; - is standard input; may be repeated
    #[arg(short = 'f', long = "manifests", value_name = "FILE", group = "what")]
    pub(crate) manifests: Vec<PathBuf>,
}

/// How to watch.
#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// Look once and end: for a CronJob
    #[arg(long, conflicts_with = "every")]
    pub(crate) once: bool,
    /// How long to wait between two looks, in seconds: 10 or more
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=3600))]
    pub(crate) every: u32,
}

/// What to take back, and to where.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Choose {
    /// Only these workloads: NAME or KIND/NAME; may be repeated
    #[arg(long, value_name = "WORKLOAD")]
    pub(crate) only: Vec<String>,
    /// Where a workload goes: WORKLOAD=REVISION, WORKLOAD=image:TAG, WORKLOAD=sha256:… or WORKLOAD=release:NAME; or a Helm
    /// release: helm/NAME=REVISION; may be repeated. RELEASE alone, with a digit or as release:NAME, takes all that a
    /// release of the ledger holds onto it
    #[arg(long, value_name = "WORKLOAD=REVISION|RELEASE")]
    pub(crate) to: Vec<String>,
    /// Write workloads of Helm releases themselves, beside their releases
    #[arg(long)]
    pub(crate) outside_helm: bool,
    /// The pending operation of this Helm release has no client any more; may be repeated
    #[arg(long, value_name = "RELEASE")]
    pub(crate) abandoned: Vec<String>,
    /// Stop every workload before it is written, and start it with the same count afterwards: for versions that must not run
    /// beside each other. CronJobs and KEDA pause meanwhile
    #[arg(long)]
    pub(crate) stop: bool,
    /// Leave what ConfigMaps and Secrets hold as it is, also where a release of the ledger holds something else
    #[arg(long)]
    pub(crate) leave_config: bool,
    /// Go on although this row of the matrix says no; may be repeated
    #[arg(long, value_name = "ROW")]
    pub(crate) override_decision: Vec<String>,
    /// Accept that this owner will write the rollback back; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub(crate) accept_revert: Vec<String>,
    /// What a failed step leads to once a workload was restored
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_failure: Option<OnFailure>,
}

/// `--on-failure`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailure {
    /// Completed steps stay; a person decides.
    Hold,
    /// Completed steps are taken back.
    Unwind,
}

/// How a run is approved and carried out.
#[derive(Args, Clone, Debug)]
pub(crate) struct Approve {
    /// Why. Asked once, shown everywhere
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Approve without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// With --yes: resume this paused workload, NAME or KIND/NAME; may be repeated
    #[arg(long, value_name = "WORKLOAD")]
    pub(crate) resume_paused: Vec<String>,
    /// Carry the run out in this process instead of a runner of its own
    #[arg(long)]
    pub(crate) foreground: bool,
}

/// `rollback`
#[derive(Args, Debug)]
pub(crate) struct Rollback {
    /// What, and to where.
    #[command(flatten)]
    pub(crate) choose: Choose,
    /// How.
    #[command(flatten)]
    pub(crate) approve: Approve,
    /// Stop after the checks; changes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `run`
#[derive(Args, Debug)]
pub(crate) struct RunPlan {
    /// The plan file, as `plan -o FILE` wrote it
    #[arg(value_name = "PLAN")]
    pub(crate) plan: PathBuf,
    /// Refuse any plan but the one with this hash
    #[arg(long, value_name = "sha256:…")]
    pub(crate) expect: Option<String>,
    /// Accept that this owner will write the rollback back; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub(crate) accept_revert: Vec<String>,
    /// How.
    #[command(flatten)]
    pub(crate) approve: Approve,
}

/// `rehearse`
#[derive(Args, Debug)]
pub(crate) struct Rehearse {
    /// The plan file, as `plan -o FILE` wrote it
    #[arg(value_name = "PLAN")]
    pub(crate) plan: PathBuf,
    /// Refuse any plan but the one with this hash
    #[arg(long, value_name = "sha256:…")]
    pub(crate) expect: Option<String>,
    /// Accept that this owner will write the rollback back; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub(crate) accept_revert: Vec<String>,
    /// Rehearse it also with each step failing, and with a crash at each point
    #[arg(long)]
    pub(crate) faults: bool,
}

/// A command about one run.
#[derive(Args, Debug)]
pub(crate) struct OneRun {
    /// The run; default: the newest
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
}

/// `resume`, `abort`
#[derive(Args, Debug)]
pub(crate) struct Resume {
    /// The run; default: the newest that is not over
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Accept that this owner will write the rollback back; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub(crate) accept_revert: Vec<String>,
    /// Carry the run out in this process instead of a runner of its own
    #[arg(long)]
    pub(crate) foreground: bool,
}

/// `undo`
#[derive(Args, Debug)]
pub(crate) struct Undo {
    /// The run
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Accept that this owner will write it back; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub(crate) accept_revert: Vec<String>,
    /// How.
    #[command(flatten)]
    pub(crate) approve: Approve,
}

/// `owners`
#[derive(Args, Debug)]
pub(crate) struct Owners {
    /// What to do; without it they are listed.
    #[command(subcommand)]
    pub(crate) command: Option<OwnersCommand>,
}

/// `owners …`
#[derive(Debug, Subcommand)]
pub(crate) enum OwnersCommand {
    /// Let owners go on that a run has paused, once their source says what runs
    Resume(ResumeOwners),
}

/// `owners resume`
#[derive(Args, Debug)]
pub(crate) struct ResumeOwners {
    /// Their names; default: all that runs have paused
    #[arg(value_name = "OWNER")]
    pub(crate) owners: Vec<String>,
    /// The source of this owner says what runs, by your word, where the cluster cannot tell; may be repeated
    #[arg(long, value_name = "OWNER")]
    pub(crate) source_matches: Vec<String>,
    /// How.
    #[command(flatten)]
    pub(crate) approve: Approve,
}

/// `helm`
#[derive(Args, Debug)]
pub(crate) struct Helm {
    /// A release, whose revisions are shown; without it all releases are listed
    #[arg(value_name = "RELEASE")]
    pub(crate) release: Option<String>,
    /// What this revision holds: its values, objects and hooks; nothing secret
    #[arg(long, value_name = "NUMBER", requires = "release")]
    pub(crate) revision: Option<u64>,
    /// What to do with a release; without it they are shown.
    #[command(subcommand)]
    pub(crate) command: Option<HelmCommand>,
}

/// `helm …`
#[derive(Debug, Subcommand)]
pub(crate) enum HelmCommand {
    /// Mark the record that a dead client left pending as failed; touches no workload
    Repair(RepairRelease),
}

/// `helm repair`
#[derive(Args, Debug)]
pub(crate) struct RepairRelease {
    /// The release
    #[arg(value_name = "RELEASE")]
    pub(crate) release: String,
    /// You know that its client is dead: do not wait until its record has been still for ten minutes
    #[arg(long)]
    pub(crate) abandoned: bool,
    /// How.
    #[command(flatten)]
    pub(crate) approve: Approve,
}

/// `validate`
#[derive(Args, Debug)]
pub(crate) struct Validate {
    /// The soak window, such as 30s or 5m; default: astern.yaml's, else 5m
    #[arg(long, value_name = "SPAN")]
    pub(crate) soak: Option<String>,
}

/// `report`
#[derive(Args, Debug)]
pub(crate) struct Report {
    /// The run; default: the newest
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Write the self-contained page to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the evidence that was saved before the first change into this folder, a file for each piece
    #[arg(long, value_name = "FOLDER")]
    pub(crate) evidence: Option<PathBuf>,
}

/// `writeback`
#[derive(Args, Debug)]
pub(crate) struct WriteBack {
    /// The run; default: the newest
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Push the branch astern/rollback-RUN; never the branch that is deployed
    #[arg(long)]
    pub(crate) push: bool,
    /// With --push: open a pull request too, through GitHub's API
    #[arg(long, requires = "push")]
    pub(crate) pull_request: bool,
    /// Where the patch and the text of the pull request are written; default: astern's state folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

/// `policy`
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Print the matrix, and rows of it that overlap or contradict one another
    Check,
}

/// `demo`
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Ask nothing
    #[arg(long)]
    pub(crate) yes: bool,
    /// Another scenario, by name or as a file; without a value, lists those there are
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub(crate) scenario: Option<String>,
    /// Leave the cluster up afterwards, and print the KUBECONFIG that leads there
    #[arg(long)]
    pub(crate) serve: bool,
    /// Names and uids in the cluster come from it: the same number makes the same cluster
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `sandbox`
#[derive(Debug, Subcommand)]
pub(crate) enum Sandbox {
    /// Listen on a loopback port until Ctrl-C; --kubeconfig names the file that is written
    Serve(Serve),
}

/// `sandbox serve`
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The port; default: a free one
    #[arg(long, value_name = "NUMBER")]
    pub(crate) port: Option<u16>,
    /// Begin with a scenario, by name or as a file; default: an empty cluster of three nodes
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Option<String>,
    /// Begin with a copy: the objects of this file, as `kubectl get -o json` writes them, with the nodes they name
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    pub(crate) load: Option<PathBuf>,
    /// Names and uids come from it
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
}
