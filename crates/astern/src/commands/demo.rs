//! `demo`: a bad release in a cluster in memory, and how it is taken back. Tells the story; what it shows is what the
//! same commands show anywhere.

mod turns;

use super::{dispatch, sandbox};
use crate::args::{self, Cli, Color, Global};
use crate::console::{Console, Tone, paint};
use crate::error::{CliError, Exit};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::time::Duration;
use turns::Turn;

const DEFAULT: &str = "bad-release";
const NAMESPACE: &str = "vcci-scope3";
const REASON: &str = "v1.2.4 went out and service is worse";
/// The releases that the ledger gets in a story that has an end of its own.
const GOOD: &str = "v1.2.3";
const BAD: &str = "v1.2.4";
/// Pods start, fail and wait: that much of it is needed to see what is wrong.
const SHOWS_AFTER: Duration = Duration::from_secs(6);
/// The example's file as the demo uses it: nobody watches a demo for a soak window of minutes.
const SOAK: (&str, &str) = ("validation: {soak: 20s}", "validation: {soak: 5s}");

pub(crate) async fn demo(
    global: &Global,
    arguments: &args::Demo,
    console: &Console,
) -> Result<Exit, CliError> {
    if arguments.scenario.as_deref() == Some("") {
        return list(console);
    }
    if !arguments.yes && !console.can_ask() {
        return Err(
            CliError::new(Exit::Usage, "nobody is there to be asked; nothing was begun")
                .hint("astern demo --yes   asks nothing"),
        );
    }
    let scenario = arguments.scenario.as_deref().unwrap_or(DEFAULT);
    let own = turns::of(scenario);
    let told = sandbox::Story::open(scenario)?;
    let cluster = told.stage_until_then(arguments.seed)?;
    // Two demos at a time must not meet in one kubeconfig.
    let folder = Folder::new(crate::runner::state_folder()?.join(format!("demo-{}", std::process::id())))?;
    let folder = &folder.0;
    let platform = told.platform().replace(SOAK.0, SOAK.1);
    super::look::write_private(&folder.join("astern.yaml"), platform.as_bytes())?;
    let kubeconfig = folder.join("kubeconfig");
    let server = sandbox::serve(cluster, None, NAMESPACE, &kubeconfig).await?;

    let story = Story {
        global,
        folder,
        console,
    };
    story.heading(&format!(
        "{scenario}: a Kubernetes in memory, at http://{}",
        server.address
    ));
    console.say(&told.scenario.says);
    if let Some(then) = &told.scenario.then {
        story.heading(&format!(
            "{GOOD} serves, and the pipeline records it as a release"
        ));
        let words = ["releases", "record", "--version", GOOD, "--by", "ci"];
        let good = ["--good", "--reason", "it has served for three days"];
        story.recorded(&[&words[..], &good].concat()).await;
        story.heading(&then.says);
        told.happen(then, &server)?;
        let words = ["releases", "record", "--version", BAD, "--by", "ci"];
        story.recorded(&words).await;
        for next in then.each().skip(1) {
            story.heading(&next.says);
            told.happen(next, &server)?;
        }
        console.say("\nSome seconds go by.");
        tokio::time::sleep(SHOWS_AFTER + own.waits).await;
    }
    story.astern(&["status"]).await;
    story.heading("what the cluster remembers, and which revision would be chosen");
    story.astern(&["releases"]).await;
    story.go_through(own.before, arguments.yes).await;
    story.heading("production is taken back");
    let rollback = [&["rollback"], own.to, &["--reason", REASON]].concat();
    let exit = story.approved(&rollback, arguments.yes).await;
    story.heading("afterwards");
    story.astern(&["status"]).await;
    if told.scenario.then.is_some() {
        story.astern(&["releases"]).await;
    }
    let exit = match exit {
        Exit::Done => story.go_through(own.after, arguments.yes).await,
        other => other,
    };
    if exit == Exit::Refused {
        console.say("\nNothing was changed: a refusal that says why is what this scenario shows.");
    }
    if arguments.serve {
        console.say("\nThe cluster stays up for a look around; Ctrl-C ends it.");
        console.data(&format!("export KUBECONFIG={}", kubeconfig.display()))?;
        sandbox::interrupted().await;
    } else {
        console.say("\nLook around with kubectl: astern demo --serve. Other stories: astern demo --scenario");
    }
    Ok(match exit {
        Exit::Refused => Exit::Done,
        other => other,
    })
}

/// A folder that goes with the demo.
struct Folder(PathBuf);

impl Folder {
    fn new(path: PathBuf) -> Result<Self, CliError> {
        std::fs::create_dir_all(&path).map_err(|error| {
            CliError::input(format!("{} cannot be made", path.display())).cause(error.to_string())
        })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn list(console: &Console) -> Result<Exit, CliError> {
    let scenarios = sandbox::scenarios()?;
    let width = scenarios.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = scenarios
        .iter()
        .map(|(name, says)| format!("{name:width$}   {says}"))
        .collect();
    console.data(&lines.join("\n"))?;
    Ok(Exit::Done)
}

struct Story<'a> {
    global: &'a Global,
    folder: &'a Path,
    console: &'a Console,
}

impl Story<'_> {
    fn heading(&self, text: &str) {
        self.console
            .say(&format!("\n{}", paint(Tone::Strong, &format!("── {text} ──"))));
    }

    /// Runs a command of this program as if it had been typed; how it ended is told and returned.
    async fn astern(&self, words: &[&str]) -> Exit {
        self.typed(words, "", self.console).await
    }

    /// The same of one that asks for a yes, which `--yes` says beforehand.
    async fn approved(&self, words: &[&str], yes: bool) -> Exit {
        let yes: &[&str] = if yes { &["--yes"] } else { &[] };
        self.astern(&[words, yes].concat()).await
    }

    /// Goes through a story's own turns. How the first one that did not end well ended; done otherwise.
    async fn go_through(&self, turns: &[Turn], yes: bool) -> Exit {
        for turn in turns {
            let exit = match turn {
                Turn::Heading(text) => {
                    self.heading(text);
                    Exit::Done
                }
                Turn::Says(text) => {
                    self.console.say(&format!("\n{text}"));
                    Exit::Done
                }
                Turn::Types(words) => self.astern(words).await,
                Turn::Approves(words) => self.approved(words, yes).await,
            };
            if exit != Exit::Done {
                return exit;
            }
        }
        Exit::Done
    }

    /// A command as a pipeline runs it, which reads none of what is printed.
    async fn recorded(&self, words: &[&str]) -> Exit {
        self.typed(words, " > /dev/null", &self.console.without_data())
            .await
    }

    async fn typed(&self, words: &[&str], to: &str, console: &Console) -> Exit {
        let typed: Vec<String> = words
            .iter()
            .map(|word| {
                if word.contains(' ') {
                    format!("\"{word}\"")
                } else {
                    (*word).to_owned()
                }
            })
            .collect();
        self.console.say(&paint(
            Tone::Strong,
            &format!("\n$ astern {}{to}", typed.join(" ")),
        ));
        match self.run(words, console).await {
            Ok(exit) => exit,
            Err(error) => {
                self.console.error(&error);
                error.exit
            }
        }
    }

    async fn run(&self, words: &[&str], console: &Console) -> Result<Exit, CliError> {
        let (kubeconfig, platform) = (self.folder.join("kubeconfig"), self.folder.join("astern.yaml"));
        let mut line: Vec<std::ffi::OsString> = vec![
            "astern".into(),
            "--kubeconfig".into(),
            kubeconfig.into(),
            "--file".into(),
            platform.into(),
        ];
        line.extend(words.iter().map(Into::into));
        let mut cli = Cli::try_parse_from(line).map_err(|error| CliError::input(error.to_string()))?;
        cli.global.color = match self.global.color {
            Color::Auto => Color::Auto,
            Color::Always => Color::Always,
            Color::Never => Color::Never,
        };
        cli.global.accessible = self.global.accessible;
        Box::pin(dispatch(cli, console)).await
    }
}
