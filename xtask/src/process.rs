//! Programs run to their end, and programs that stay: started, recognised again by pid and start time, ended. Knows no program by name.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::{Failure, Outcome, doing};

/// How often a condition is looked at again; short against a start of seconds, long against the cost of a look.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long a program may take to end by itself before it is killed.
const PATIENCE_AT_END: Duration = Duration::from_secs(5);

/// Runs to the end with the terminal as its output.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let line = command_line(command);
    let status = command.status().map_err(|error| cannot_start(&line, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("it ended with {status}")).command(line))
    }
}

/// Runs to the end with its output in a file, which a failure names and quotes.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Outcome {
    let line = command_line(command);
    let (out, err) = log_files(log)?;
    let status = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .status()
        .map_err(|error| cannot_start(&line, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("it ended with {status}"))
        .command(line)
        .log(log))
}

/// Runs to the end and gives what it printed on stdout.
pub(crate) fn read(command: &mut Command) -> Outcome<String> {
    let line = command_line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| cannot_start(&line, &error))?;
    text_of(output, line)
}

/// Like `read`, with `input` on stdin.
pub(crate) fn feed(command: &mut Command, input: &str) -> Outcome<String> {
    let line = command_line(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(&line, &error))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .map_err(doing(format!("write to `{line}`")))?;
    }
    let output = child
        .wait_with_output()
        .map_err(doing(format!("wait for `{line}`")))?;
    text_of(output, line)
}

/// Whether a program of this name can be found.
pub(crate) fn on_path(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// The program and its arguments as one would type them.
pub(crate) fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| OsStr::to_string_lossy(word).into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Looks again and again until `done` says so; otherwise fails at the deadline with what was waited for.
pub(crate) fn wait_until(
    what: &str,
    deadline: Duration,
    mut done: impl FnMut() -> Outcome<bool>,
) -> Outcome<Duration> {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > deadline {
            return Err(Failure::new(format!(
                "{what}: not within {} s",
                deadline.as_secs()
            )));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(start.elapsed())
}

/// A program that stays. The start time tells it from a later program under the same pid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) pid: u32,
    started: u64,
}

impl Running {
    /// Starts it in a session of its own, so that closing the terminal does not end it.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        folder: &Path,
        log: &Path,
    ) -> Outcome<Self> {
        let (out, err) = log_files(log)?;
        let mut command = Command::new("setsid");
        command
            .arg(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder);
        let line = command_line(&command);
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| cannot_start(&line, &error))?;
        let pid = child.id();
        let started = start_time(pid).ok_or_else(|| {
            Failure::new(format!("{name} ended at once"))
                .command(line)
                .log(log)
        })?;
        Ok(Self {
            name: name.to_owned(),
            pid,
            started,
        })
    }

    pub(crate) fn alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Asks it to end, waits, and kills it when it does not.
    pub(crate) fn end(&self) -> Outcome {
        if !self.alive() {
            return Ok(());
        }
        signal(self.pid, "TERM");
        if wait_until(&self.name, PATIENCE_AT_END, || Ok(!self.alive())).is_err() {
            signal(self.pid, "KILL");
            wait_until(
                &format!("the end of {} (pid {})", self.name, self.pid),
                PATIENCE_AT_END,
                || Ok(!self.alive()),
            )?;
        }
        Ok(())
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "name": self.name, "pid": self.pid, "started": self.started })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            name: value.get("name")?.as_str()?.to_owned(),
            pid: u32::try_from(value.get("pid")?.as_u64()?).ok()?,
            started: value.get("started")?.as_u64()?,
        })
    }
}

/// The pids of programs that have `word` among their arguments.
pub(crate) fn with_argument(word: &str) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            line.split(|byte| *byte == 0)
                .any(|argument| argument == word.as_bytes())
        })
    })
    .collect()
}

/// Kills a program and all that it started, the innermost first; what each of them was, as one would type it.
pub(crate) fn end_tree(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let mut ended: Vec<String> = children(pid).into_iter().flat_map(end_tree).collect();
    signal(pid, "KILL");
    ended.push(format!("{pid} {}", line.trim_end()));
    ended
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|child| stat_field(*child, PARENT) == Some(pid.into()))
        .collect()
}

pub(crate) fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: std can only signal its own children, and procps may be missing.
    let script = format!("kill -{name} {pid}");
    drop(
        Command::new("sh")
            .args(["-c", &script])
            .stderr(Stdio::null())
            .status(),
    );
}

fn text_of(output: Output, line: String) -> Outcome<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("it ended with {}: {}", output.status, said.trim())).command(line))
}

fn cannot_start(line: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot start it: {error}")).command(line)
}

fn log_files(log: &Path) -> Outcome<(File, File)> {
    let open = || OpenOptions::new().create(true).append(true).open(log);
    let out = open().map_err(doing(format!("write {}", log.display())))?;
    let err = out
        .try_clone()
        .map_err(doing(format!("write {}", log.display())))?;
    Ok((out, err))
}

/// proc(5): the fields are counted from behind the name, which may itself hold spaces and brackets.
const PARENT: usize = 1;
const START: usize = 19;

/// Clock ticks from boot to the start of a living process; none for one that ended, reaped or not.
fn start_time(pid: u32) -> Option<u64> {
    stat_field(pid, START)
}

/// A number that the kernel tells of a living process.
fn stat_field(pid: u32, field: usize) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
    if *fields.first()? == "Z" {
        return None;
    }
    fields.get(field)?.parse().ok()
}

#[cfg(test)]
mod tests_of_ending {
    use super::{end_tree, start_time};
    use std::process::Command;

    #[test]
    fn a_program_goes_with_all_that_it_started_and_each_is_told() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 600.25 & wait"])
            .spawn()
            .expect("a shell");
        let asleep = || super::children(shell.id());
        while asleep().is_empty() {
            std::thread::yield_now();
        }
        let inner = asleep()[0];
        let told = end_tree(shell.id());
        drop(shell.wait());
        assert!(
            told[0].ends_with("sleep 600.25") && told[1].contains("sh -c"),
            "{told:?}"
        );
        while start_time(inner).is_some() {
            std::thread::yield_now();
        }
    }
}
