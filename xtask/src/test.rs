//! `cargo xtask test`: every suite, one lane after the other, and the counts at the end. What a suite tests is its own affair.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::AddAssign;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::arguments::Arguments;
use crate::cluster::{self, NodeKind, Wanted};
use crate::failure::{Failure, Outcome, doing};
use crate::{process, programs, sim, tidy, workspace};

/// The lanes in the order in which they run: what is cheap and says most comes first.
const LANES: [Lane; 8] = [
    Lane {
        name: "fmt",
        says: "the code is formatted",
        work: Work::Check("fmt", &["--all", "--", "--check"]),
    },
    Lane {
        name: "clippy",
        says: "clippy has nothing to say",
        work: Work::Check(
            "clippy",
            &["--workspace", "--all-targets", "--", "-D", "warnings"],
        ),
    },
    Lane {
        name: "tidy",
        says: "the repository keeps its own rules",
        work: Work::Tidy,
    },
    Lane {
        name: "unit",
        says: "all tests that need no cluster",
        work: Work::Unit,
    },
    Lane {
        name: "sim",
        says: "whole runs on a simulated cluster, from seeds, and planted defects",
        work: Work::Simulation,
    },
    Lane {
        name: "kwok",
        says: "tests/kwok.rs, against a real control plane",
        work: Work::Cluster(Ground::Kwok, "--test-threads=4"),
    },
    Lane {
        name: "owners",
        says: "tests/owners.rs, beside the real Argo CD, Flux, Argo Rollouts and KEDA",
        work: Work::Cluster(Ground::Owners, "--test-threads=4"),
    },
    Lane {
        name: "real",
        says: "tests/real.rs, with real containers (root)",
        // Probes and rollouts of one test must not starve those of another on a small machine.
        work: Work::Cluster(Ground::Real, "--test-threads=2"),
    },
];

/// Tests tell of each one that ends; a cold build before the first is the longest silence.
const SILENCE: Duration = Duration::from_secs(20 * 60);

/// Two to four minutes on two processors. A number and not a time: which runs are played must not hang on the machine.
const SIMULATED_SEEDS: u64 = 20_000;

struct Lane {
    name: &'static str,
    says: &'static str,
    work: Work,
}

enum Work {
    /// A cargo command that passes or fails as a whole.
    Check(&'static str, &'static [&'static str]),
    Tidy,
    Unit,
    /// [`SIMULATED_SEEDS`], and the simulation's own tests, which plant defects.
    Simulation,
    /// The test files named after the ground, in whichever crate they lie.
    Cluster(Ground, &'static str),
}

/// What the tests of a cluster stand on.
#[derive(Clone, Copy)]
enum Ground {
    Kwok,
    /// Fake nodes, and whoever writes workloads back.
    Owners,
    Real,
}

impl Ground {
    const ALL: [Self; 3] = [Self::Kwok, Self::Owners, Self::Real];

    /// Its cluster bears its name, and so do the test files.
    fn wanted(self) -> Wanted {
        let wanted = match self {
            Self::Kwok => Wanted::new(NodeKind::Kwok),
            Self::Owners => Wanted::with_owners(),
            Self::Real => Wanted::new(NodeKind::Real),
        };
        Wanted { fast: true, ..wanted }
    }
}

/// So many tests that fail on a cluster are run once more, alone: more of them have a cause that no repetition takes away.
const REPEATED: usize = 3;

/// How a lane ended.
enum Ending {
    Ran(Counts),
    /// These tests failed beside others and passed alone: they count as passed, and are named.
    Shaky(Counts, Vec<String>),
    /// It could not run at all, for this reason.
    CouldNot(String),
}

#[derive(Clone, Copy, Default)]
struct Counts {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

pub(crate) fn main(mut arguments: Arguments) -> Outcome {
    if arguments.help() {
        println!("{}", help());
        return Ok(());
    }
    let mut wanted = Vec::new();
    while let Some(name) = arguments.value("--lane")? {
        if !LANES.iter().any(|lane| lane.name == name) {
            return Err(Failure::usage(
                format!("`{name}` is no lane"),
                "cargo xtask test --help",
            ));
        }
        wanted.push(name);
    }
    arguments.end()?;
    let lanes = LANES
        .iter()
        .filter(|lane| wanted.is_empty() || wanted.iter().any(|name| name == lane.name));
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let ran: Vec<_> = lanes.map(|lane| run_and_time(lane, in_ci)).collect();
    closing_lines(&ran)
}

fn help() -> String {
    let lanes: String = LANES
        .iter()
        .map(|lane| format!("  {:<8}{}\n", lane.name, lane.says))
        .collect();
    format!(
        "Every suite, one lane after the other; builds and installs what it needs.\n\n\
         Usage: cargo xtask test [--lane NAME]…\n\nLanes:\n{lanes}\n\
         The last line is `N passed, N failed, N skipped`. With CI=true a lane that could not run is a failure.\n\
         Clusters that were up before stay up, and are used."
    )
}

struct Ran {
    name: &'static str,
    counts: Counts,
    reason: Option<String>,
    took: Duration,
}

fn run_and_time(lane: &Lane, in_ci: bool) -> Ran {
    eprintln!("\n=== {}: {}", lane.name, lane.says);
    let start = Instant::now();
    let (counts, reason) = match run(&lane.work) {
        Ok(Ending::Ran(counts)) => (counts, None),
        Ok(Ending::Shaky(counts, names)) => (
            counts,
            Some(format!(
                "passed only alone, the second time, which is a defect to look for: {}",
                names.join(", ")
            )),
        ),
        Ok(Ending::CouldNot(reason)) if in_ci => (
            Counts {
                failed: 1,
                ..Counts::default()
            },
            Some(format!("could not run: {reason}")),
        ),
        Ok(Ending::CouldNot(reason)) => (
            Counts {
                skipped: 1,
                ..Counts::default()
            },
            Some(format!("could not run: {reason}")),
        ),
        Err(failure) => {
            eprintln!("{failure}");
            (
                Counts {
                    failed: 1,
                    ..Counts::default()
                },
                Some(String::from("see above")),
            )
        }
    };
    Ran {
        name: lane.name,
        counts,
        reason,
        took: start.elapsed(),
    }
}

/// The counts come last, alone on their line: whoever reads them by program looks there.
fn closing_lines(ran: &[Ran]) -> Outcome {
    let mut sum = Counts::default();
    println!();
    for lane in ran {
        sum += lane.counts;
        let reason = lane
            .reason
            .as_ref()
            .map(|reason| format!(" ({reason})"))
            .unwrap_or_default();
        println!(
            "{:<8}{} in {} s{reason}",
            lane.name,
            lane.counts,
            lane.took.as_secs()
        );
    }
    if let Some(lane) = ran.iter().find(|lane| lane.counts.failed > 0) {
        println!("next: cargo xtask test --lane {}", lane.name);
    }
    println!("{sum}");
    if sum.failed == 0 {
        Ok(())
    } else {
        Err(Failure::told())
    }
}

fn run(work: &Work) -> Outcome<Ending> {
    match work {
        Work::Check(command, words) => check(command, words),
        Work::Tidy => tidy::check().map(|()| one_passed()),
        Work::Unit => unit(),
        Work::Simulation => simulation(),
        Work::Cluster(ground, threads) => on_cluster(&ground.wanted(), threads),
    }
}

fn check(command: &str, words: &[&str]) -> Outcome<Ending> {
    if process::read(cargo().args([command, "--version"])).is_err() {
        return Ok(Ending::CouldNot(format!(
            "cargo {command} is not installed (rustup component add)"
        )));
    }
    process::run(cargo().arg(command).args(words))?;
    Ok(one_passed())
}

/// All but the tests of clusters, of all crates at once: what a crate is built with hangs on which others are selected,
/// and each other selection would build most of what it stands on once more.
fn unit() -> Outcome<Ending> {
    let selected: BTreeSet<Vec<String>> = packages()?
        .iter()
        .flat_map(targets)
        .filter(|target| !target.of_cluster())
        .map(|target| target.selector())
        .collect();
    let all = ["test", "--no-fail-fast", "--workspace"].map(str::to_owned);
    // The sandbox has kubectl for a client.
    let path = programs::path_with_kubectl()?;
    let Told { mut counts, .. } = tests(
        cargo()
            .env("PATH", &path)
            .args(&all)
            .args(selected.into_iter().flatten()),
    )?;
    counts += tests(cargo().env("PATH", &path).args(&all).arg("--doc"))?.counts;
    Ok(Ending::Ran(counts))
}

fn simulation() -> Outcome<Ending> {
    let seeds = SIMULATED_SEEDS.to_string();
    let played = process::run(Command::new(sim::build()?).args(["--seeds", &seeds]));
    let Told { mut counts, .. } = tests(cargo().args([
        "test",
        "--release",
        "--package",
        "astern-sim",
        "--features",
        "planted",
    ]))?;
    match played {
        Ok(()) => counts.passed += 1,
        Err(failure) => {
            eprintln!("{failure}");
            counts.failed += 1;
        }
    }
    Ok(Ending::Ran(counts))
}

fn on_cluster(wanted: &Wanted, threads: &str) -> Outcome<Ending> {
    if !packages()?
        .iter()
        .flat_map(targets)
        .any(|target| target.is_for(wanted))
    {
        return Ok(Ending::CouldNot(format!(
            "no crate has a tests/{}.rs",
            wanted.name
        )));
    }
    if wanted.kind == NodeKind::Real && !cluster::can_have_real_nodes() {
        return Ok(Ending::CouldNot(String::from(
            "a node with containers needs root",
        )));
    }
    let ready = cluster::up(wanted)?;
    let outcome = beside_another(wanted, |other| tests_on(wanted, threads, &ready, other));
    if !ready.was_up {
        cluster::down(&wanted.name)?;
    }
    outcome
}

/// A second cluster, and the variable by which tests of two find it.
struct Other {
    ready: cluster::Ready,
    variable: &'static str,
}

/// With a second cluster, where the lane has tests of two: a hub in which nothing runs, or what Argo CD deploys to elsewhere.
fn beside_another(wanted: &Wanted, work: impl FnOnce(Option<&Other>) -> Outcome<Ending>) -> Outcome<Ending> {
    let (other, variable) = match wanted.kind {
        NodeKind::Real => return work(None),
        NodeKind::Kwok if wanted.owners => (Wanted::spoke(), "ASTERN_TEST_SPOKE"),
        NodeKind::Kwok => (Wanted::hub(), "ASTERN_TEST_HUB"),
    };
    let ready = cluster::up(&other)?;
    let was_up = ready.was_up;
    let outcome = work(Some(&Other { ready, variable }));
    if !was_up {
        cluster::down(&other.name)?;
    }
    outcome
}

fn tests_on(
    wanted: &Wanted,
    threads: &str,
    ready: &cluster::Ready,
    other: Option<&Other>,
) -> Outcome<Ending> {
    if wanted.kind == NodeKind::Real {
        cluster::import_platform(&wanted.name)?;
    }
    let Told {
        mut counts, failing, ..
    } = tests(command_on(wanted, ready, other)?.arg(threads))?;
    if failing.is_empty() || failing.len() > REPEATED {
        return Ok(Ending::Ran(counts));
    }
    eprintln!("once more, alone: {}", failing.join(", "));
    let mut alone = command_on(wanted, ready, other)?;
    alone.args(["--test-threads=1", "--exact"]).args(&failing);
    let shaky = tests(&mut alone)?.passing;
    if shaky.is_empty() {
        return Ok(Ending::Ran(counts));
    }
    for _ in &shaky {
        counts.failed = counts.failed.saturating_sub(1);
        counts.passed += 1;
    }
    Ok(Ending::Shaky(counts, shaky))
}

/// All crates are selected, as in the lane `unit`, and built by the same profile: what that lane has built serves here too.
fn command_on(wanted: &Wanted, ready: &cluster::Ready, other: Option<&Other>) -> Outcome<Command> {
    let mut command = cargo();
    command
        .env("ASTERN_TEST_KUBECONFIG", &ready.kubeconfig)
        .env("ASTERN_TEST_NODE", wanted.kind.to_string())
        .env("PATH", programs::path_with_kubectl()?)
        .env("ASTERN_TEST_HELMS", programs::helms()?)
        .args(["test", "--no-fail-fast", "--workspace", "--test", &wanted.name])
        .arg("--");
    command.envs(ready.environment());
    command.envs(other.map(|other| (other.variable, &other.ready.kubeconfig)));
    Ok(command)
}

/// What tests said.
#[derive(Default)]
struct Told {
    counts: Counts,
    /// The names of those that passed.
    passing: Vec<String>,
    /// The names of those that failed.
    failing: Vec<String>,
}

/// Runs tests with their output passed on, and reads the counts from it. Tests that say nothing for [`SILENCE`] hang:
/// they are ended, with what ran told, and count as failed.
fn tests(command: &mut Command) -> Outcome<Told> {
    eprintln!("{}", process::command_line(command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(doing("start cargo"))?;
    let mut told = Told::default();
    if let Some(out) = child.stdout.take() {
        let (send, lines) = mpsc::channel();
        // It ends with the pipe, or once nobody wants its lines any more.
        thread::spawn(move || pass_on(out, &send));
        loop {
            match lines.recv_timeout(SILENCE) {
                Ok(line) => {
                    // Whether or not somebody still reads: a closed pipe must not leave a cluster behind.
                    drop(std::io::stdout().write_all(&line));
                    let line = String::from_utf8_lossy(&line);
                    told.counts += counts_in(&line);
                    told.passing.extend(ended(&line, "ok"));
                    told.failing.extend(ended(&line, "FAILED"));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let minutes = SILENCE.as_secs() / 60;
                    eprintln!("nothing was heard for {minutes} minutes; ended with all that it had started:");
                    for line in process::end_tree(child.id()) {
                        eprintln!("  {line}");
                    }
                    break;
                }
            }
        }
    }
    let status = child.wait().map_err(doing("wait for cargo"))?;
    if !status.success() && told.counts.failed == 0 {
        // It did not compile, or a test took the whole program down with it.
        told.counts.failed = 1;
    }
    Ok(told)
}

fn pass_on(out: impl Read, lines: &mpsc::Sender<Vec<u8>>) {
    let mut out = BufReader::new(out);
    let mut line = Vec::new();
    while out.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if lines.send(std::mem::take(&mut line)).is_err() {
            return;
        }
    }
}

/// The counts of a line such as `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out`.
fn counts_in(line: &str) -> Counts {
    let Some((_, result)) = line.split_once("test result: ") else {
        return Counts::default();
    };
    let count = |word: &str| {
        let before = result.split_once(word).map_or("", |(before, _)| before);
        before
            .rsplit(' ')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_default()
    };
    Counts {
        passed: count(" passed"),
        failed: count(" failed"),
        skipped: count(" ignored"),
    }
}

/// The name in a line such as `test gate::a_missing_right_is_refused ... FAILED`, if it is how a test ended.
fn ended(line: &str, how: &str) -> Option<String> {
    let (name, told) = line.trim_end().strip_prefix("test ")?.split_once(" ... ")?;
    (told == how).then(|| name.to_owned())
}

/// What cargo can build of a package, as far as tests are concerned.
struct Target {
    kind: String,
    name: String,
}

impl Target {
    fn is_for(&self, wanted: &Wanted) -> bool {
        self.kind == "test" && self.name == wanted.name
    }

    fn of_cluster(&self) -> bool {
        Ground::ALL
            .into_iter()
            .any(|ground| self.is_for(&ground.wanted()))
    }

    fn selector(&self) -> Vec<String> {
        match self.kind.as_str() {
            "lib" => vec![String::from("--lib")],
            "bin" => vec![String::from("--bin"), self.name.clone()],
            "test" => vec![String::from("--test"), self.name.clone()],
            _ => Vec::new(),
        }
    }
}

fn packages() -> Outcome<Vec<Value>> {
    let text = process::read(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let told: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("cargo metadata gave no JSON: {error}")))?;
    Ok(told["packages"].as_array().cloned().unwrap_or_default())
}

fn targets(package: &Value) -> Vec<Target> {
    let told = package["targets"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    told.iter()
        .map(|target| Target {
            kind: text(&target["kind"][0]),
            name: text(&target["name"]),
        })
        .collect()
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root());
    command
}

fn one_passed() -> Ending {
    Ending::Ran(Counts {
        passed: 1,
        ..Counts::default()
    })
}

#[cfg(test)]
mod tests_of_counting {
    use super::{counts_in, ended};

    #[test]
    fn the_counts_are_those_of_the_result_line() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.1s";
        assert_eq!(counts_in(line).to_string(), "12 passed, 3 failed, 1 skipped");
        assert_eq!(
            counts_in("test a::b ... ok").to_string(),
            "0 passed, 0 failed, 0 skipped"
        );
    }

    #[test]
    fn a_test_is_known_by_its_name_and_by_how_it_ended() {
        let failed = "test gate::a_right_is_missing ... FAILED\n";
        assert_eq!(
            ended(failed, "FAILED").as_deref(),
            Some("gate::a_right_is_missing")
        );
        assert_eq!(ended(failed, "ok"), None);
        let result = "test result: FAILED. 12 passed; 3 failed; 1 ignored";
        assert_eq!(ended(result, "FAILED"), None);
    }
}
