//! kubectl as a client: the same commands on the sandbox and on a real control plane, their output and exit codes
//! compared. Owns the commands' format and what of an output is drawn; the commands are in `commands.yaml`.

use crate::differences::{Difference, Known};
use crate::kubectl::{Port, Said};
use crate::replay::{compare, normal};
use crate::settle::{nameless, shortened};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// So many stories run at once: kubectl is what takes the time.
const AT_ONCE: usize = 3;

/// Commands in one namespace, in order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    story: String,
    manifests: BTreeMap<String, String>,
    commands: Vec<Command>,
}

/// One command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    run: String,
    /// The manifest on its input.
    #[serde(default)]
    input: String,
    /// Only the last line is compared: those before it tell of progress.
    #[serde(default)]
    last: bool,
    /// The lines are compared in no order: a real one's depends on chance or on names that are drawn.
    #[serde(default)]
    unordered: bool,
    /// Only the exit code is compared: what is said is about this cluster.
    #[serde(default)]
    code: bool,
}

/// kubectl with a kubeconfig.
struct Kubectl<'a> {
    kubeconfig: PathBuf,
    cache: PathBuf,
    namespace: &'a str,
}

impl Kubectl<'_> {
    fn run(&self, line: &str, input: &str) -> Said {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--namespace", self.namespace]);
        crate::kubectl::run(&self.kubeconfig, &self.cache, &words, input)
    }
}

/// What a command is called: `commands/STORY/COMMAND MANIFEST`.
fn title(story: &Story, at: usize) -> String {
    let command = &story.commands[at];
    let twins = story.commands[..at]
        .iter()
        .filter(|other| other.run == command.run && other.input == command.input);
    let again = twins.map(|_| " again").collect::<String>();
    let called = format!("{} {}", command.run, command.input);
    format!("commands/{}/{}{again}", story.story, called.trim_end())
}

/// What all commands are called.
pub(crate) fn titles() -> Vec<String> {
    let of_story = |story: &Story| {
        (0..story.commands.len())
            .map(|at| title(story, at))
            .collect::<Vec<_>>()
    };
    stories().iter().flat_map(of_story).collect()
}

fn stories() -> Vec<Story> {
    serde_saphyr::from_str(include_str!("commands.yaml"))
        .unwrap_or_else(|error| panic!("commands.yaml: {error}"))
}

fn tell(story: &Story, port: &Port) -> Vec<Difference> {
    let place: String = story
        .story
        .chars()
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect();
    let namespace = format!("t-same-{place}-{}", std::process::id());
    let real = std::env::var("ASTERN_TEST_KUBECONFIG")
        .expect("run `cargo xtask test --lane kwok`, which sets ASTERN_TEST_KUBECONFIG");
    let both = [real.into(), port.kubeconfig()].map(|kubeconfig: PathBuf| Kubectl {
        cache: port.cache(&kubeconfig),
        kubeconfig,
        namespace: &namespace,
    });
    for side in &both {
        let made = side.run(&format!("create namespace {namespace}"), "");
        assert_eq!(made.code, Some(0), "{}", made.err);
        side.run("wait serviceaccount/default --for=create --timeout=30s", "");
        side.run("wait configmap/kube-root-ca.crt --for=create --timeout=30s", "");
    }
    let mut found = Vec::new();
    for (at, command) in story.commands.iter().enumerate() {
        let input = story.manifests.get(&command.input).map_or("", String::as_str);
        let [real, here] = [0, 1].map(|side| both[side].run(&command.run, input));
        let title = title(story, at);
        let differences = differences(command, &real, &here);
        found.extend(differences.iter().map(|told| Difference::new(&title, told)));
    }
    both[0].run(&format!("delete namespace {namespace} --wait=false"), "");
    found
}

fn differences(command: &Command, real: &Said, here: &Said) -> Vec<String> {
    if real.code != here.code {
        return vec![format!(
            "code: real {:?} {}{}, sandbox {:?} {}{}",
            real.code, real.out, real.err, here.code, here.out, here.err
        )];
    }
    let mut found = Vec::new();
    if command.code {
        return found;
    }
    let json = |said: &Said| serde_json::from_str::<Value>(&said.out).ok();
    if let (Some(mut real), Some(mut here)) = (json(real), json(here)) {
        for side in [&mut real, &mut here] {
            nameless(side);
            timeless(side);
            *side = normal(side.take());
        }
        compare("", &real, &here, &mut found);
        return found;
    }
    for (stream, real, here) in [("out", &real.out, &here.out), ("err", &real.err, &here.err)] {
        let [mut real, mut here] = [real, here].map(|text| lines(text));
        if command.last {
            real = real.split_off(real.len().saturating_sub(1));
            here = here.split_off(here.len().saturating_sub(1));
        }
        if command.unordered {
            real.sort();
            here.sort();
        }
        for at in 0..real.len().max(here.len()) {
            let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "no line".to_owned());
            let (real, here) = (line(&real), line(&here));
            if real != here {
                found.push(format!("{stream}: real {real}, sandbox {here}"));
            }
        }
    }
    found
}

/// Without the moments at which this command or that was run, and with conditions in no order: the one that changed last
/// stands last.
fn timeless(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(conditions) = map.get_mut("conditions").and_then(Value::as_array_mut) {
                conditions.sort_by_key(|condition| condition["type"].to_string());
            }
            map.values_mut().for_each(timeless);
        }
        Value::Array(items) => items.iter_mut().for_each(timeless),
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => *text = "…".to_owned(),
        _ => {}
    }
}

/// The lines of an output without what is drawn, counted or measured. Events are left out: how many there are of which
/// depends on how fast each is, and the suite of settled states compares them.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .take_while(|line| !line.starts_with("Events:"))
        .map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" "))
        .map(|line| shortened(&line))
        .collect()
}

fn word(word: &str) -> String {
    let bare = word.trim_matches(|letter| "(),".contains(letter));
    let is_age = !bare.is_empty()
        && bare.starts_with(|letter: char| letter.is_ascii_digit())
        && bare.ends_with(['s', 'm', 'h', 'd'])
        && bare
            .chars()
            .all(|letter| letter.is_ascii_digit() || "smhd".contains(letter));
    let is_address = bare.split(['.', ':']).count() >= 4
        && bare
            .chars()
            .all(|letter| letter.is_ascii_digit() || ".:".contains(letter));
    let is_clock = bare.len() == 8 && bare.as_bytes()[2] == b':';
    if let Some((before, _)) = word.split_once("pod-template-hash=") {
        return format!("{before}pod-template-hash=…");
    }
    if bare.starts_with("kwok-") {
        return "kwok-…".to_owned();
    }
    if bare.parse::<jiff::Timestamp>().is_ok() || is_age || is_address || is_clock {
        word.replace(bare, "…")
    } else {
        word.to_owned()
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "how many there are is asked for")]
fn kubectl_says_the_same_of_both() {
    let stories = stories();
    let port = Port::open();
    let next = std::sync::Mutex::new(stories.iter());
    let take = || next.lock().unwrap().next();
    let found = std::thread::scope(|scope| {
        let telling = (0..AT_ONCE).map(|_| {
            scope.spawn(|| {
                let mut found = Vec::new();
                while let Some(story) = take() {
                    found.extend(tell(story, &port));
                }
                found
            })
        });
        let telling: Vec<_> = telling.collect();
        telling
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect::<Vec<Difference>>()
    });
    let commands: usize = stories.iter().map(|story| story.commands.len()).sum();
    println!("{commands} commands compared");
    if let Err(told) = Known::read().judge(&found, |case| case.starts_with("commands/")) {
        panic!("{told}");
    }
}
