//! What the binary does without a cluster: help, usage, policy, completions.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

use std::process::{Command, Output, Stdio};

/// In a folder and a home without anything in them.
fn astern(folder: &tempfile::TempDir, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_astern"))
        .args(words)
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env_remove("KUBECONFIG")
        .env_remove("ASTERN_ACCESSIBLE")
        .env_remove("ASTERN_LOG")
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn help(folder: &tempfile::TempDir, command: &[&str]) -> String {
    let output = astern(folder, &[command, &["--help"]].concat());
    assert_eq!(
        output.status.code(),
        Some(0),
        "{command:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<&str> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

/// The help of a command and of all below it.
fn reference(folder: &tempfile::TempDir, command: &[&str]) -> String {
    let own = help(folder, command);
    let below: String = listed(&own)
        .into_iter()
        .map(|name| reference(folder, &[command, &[name]].concat()))
        .collect();
    format!("# astern {}\n{own}\n{below}", command.join(" "))
}

#[test]
fn the_whole_help_is_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(reference(&folder, &[]));
}

#[test]
fn wrong_usage_exits_2_before_anything_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    // Without any kubeconfig: a command that looked for a cluster first would exit 1.
    for (words, says) in [
        (&["rolback"][..], "rollback"),
        (&["status", "-o", "nonsense"], "text, json, yaml or markdown"),
        (&["status", "-o", "status.json"], "text, json, yaml or markdown"),
        (&["rollback", "--yes"], "--reason"),
        (&["status", "--log", "astern=loud"], "info,astern_exec=trace"),
        (
            &["rollback", "--yes", "--reason", "r", "-o", "out.json"],
            "text, json, yaml or markdown",
        ),
        (&["rollback", "--yes", "--reason", "  "], "--reason"),
        (&["rollback", "--reason", "bad"], "--yes"),
        (&["run", "plan.json"], "--yes"),
        (&["run", "plan.json", "--yes"], "--reason"),
        (&["undo", "r1", "--yes"], "--reason"),
        (&["plan", "--to", "api"], "--to api-gateway=2"),
        (&["plan", "--to", "cronjob/api=2"], "kind"),
        (&["plan", "--to", "release:v1/2"], "no release name"),
        (&["plan", "--to", "v1", "--to", "v2"], "another release"),
        (&["releases", "record", "--version", "v1/2"], "no release name"),
        (&["releases", "record", "--version", "v1", "--good"], "--reason"),
        (
            &["releases", "mark", "good", "v1", "--reason", " "],
            "a reason is needed",
        ),
        (&["releases", "mark", "fine", "v1", "--reason", "r"], "good, bad"),
        (&["check"], "--image"),
        (&["rollback", "--to", "api=-1", "--yes", "--reason", "r"], "--to"),
        (&["plan", "--only", "cronjob/api"], "deployment/NAME"),
    ] {
        let output = astern(&folder, words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?} does not say `{says}`: {said}");
        assert!(output.stdout.is_empty(), "{words:?}: {}", text(&output.stdout));
    }
}

#[test]
fn the_default_policy_is_shown_without_overlap_or_contradiction() {
    let folder = tempfile::tempdir().unwrap();
    let output = astern(&folder, &["policy", "check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout), @r"
    ROW                 SAYS       WHEN
    pods-not-starting   roll back  pods of the new version do not start
    crash-loop          roll back  the new version crashes again and again
    not-ready           roll back  pods of the new version do not become ready
    error-lines         roll back  the new version logs far more errors
    probe-fails         roll back  a probe of the platform file fails
    former-fails-alike  do not     the old version fails in the same way: going back would not help
    former-unwell       ask        the old version is not well itself
    evidence-missing    ask        evidence is missing
    all-healthy         ask        nothing wrong can be seen; a person may know what no probe shows

    no row overlaps or contradicts another
    ");
}

#[test]
fn a_row_that_contradicts_another_is_named_by_policy_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("astern.yaml");
    let row = "{id: crash-is-fine, when: crashLoop, then: doNot, because: it heals}";
    let head =
        "apiVersion: astern.dev/v1alpha1\nkind: Platform\nmetadata: {name: shop}\nspec:\n  namespace: shop\n";
    std::fs::write(&file, format!("{head}  policy: {{matrix: [{row}]}}\n")).unwrap();
    let output = astern(&folder, &["policy", "check"]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(
        said.contains("crash-is-fine") && said.contains("crash-loop"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1), "{said}");
}

#[test]
fn completions_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let help = help(&folder, &[]);
    for shell in ["bash", "zsh", "fish"] {
        let output = astern(&folder, &["completions", shell]);
        let script = text(&output.stdout);
        for command in listed(&help) {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

/// What one command leads to when its standard output goes there.
fn printing_to(output: Stdio, words: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_astern"))
        .args(words)
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_full_disk_under_standard_output_is_an_error_and_a_closed_pipe_is_not() {
    for words in [&["policy", "check"][..], &["completions", "bash"], &["man"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = printing_to(full.into(), words);
        assert_eq!(code, Some(1), "{words:?}: {said}");
        assert!(said.contains("incomplete"), "{words:?}: {said}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, said) = printing_to(writer.into(), words);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn a_defect_of_astern_exits_255_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_astern"))
        .args(["policy", "check"])
        .current_dir(folder.path())
        .env("ASTERN_PLANT_DEFECT", "start")
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{said}");
    assert!(
        said.contains("astern runs") && said.contains("astern resume"),
        "{said}"
    );
}
