//! The ledger's commands: list, record, show; which workload stands on which release; and the pipeline's check.

use super::look::names;
use super::mark;
use crate::args::{Check, Mark, OneRelease, Record, Releases};
use crate::console::Console;
use crate::error::{CliError, Exit, no_plan};
use crate::output::{self, Format};
use crate::wiring::Wired;
use astern_app::ledger::{self, LedgerError, Recording, ReleaseLine};
use astern_app::planning;
use astern_model::choice::{Choice, clock};
use astern_model::config::ConfigName;
use astern_model::image::Image;
use astern_model::release::{Quarantined, QuarantinedContent, Reason, Release, ReleaseName};
use astern_report::{Line, LineKind, ReleaseRow, StandingRow};
use astern_wire::manifest::{self, ManifestError};
use serde::Serialize;
use std::io::Read;
use std::path::Path;

pub(crate) async fn releases(
    wired: &Wired,
    arguments: Releases,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    match arguments.command {
        None => list(wired, &arguments.only, format, console).await,
        Some(OneRelease::Record(arguments)) => record(wired, &arguments, format, console).await,
        Some(OneRelease::Show { release }) => show(wired, &release, format, console).await,
        Some(OneRelease::Mark(arguments)) => mark::mark(wired, &arguments, format, console).await,
    }
}

/// Names and reasons that are none are said before anything is asked of the cluster.
pub(crate) fn rightly_typed(arguments: &Releases) -> Result<(), CliError> {
    match &arguments.command {
        None => names(&arguments.only).map(drop),
        Some(OneRelease::Record(arguments)) => recording(arguments).map(drop),
        Some(OneRelease::Show { release }) => named(release).map(drop),
        Some(OneRelease::Mark(arguments)) => {
            reason(arguments)?;
            named(&arguments.release).map(drop)
        }
    }
}

pub(crate) fn named(text: &str) -> Result<ReleaseName, CliError> {
    ReleaseName::parse(text).map_err(|error| CliError::new(Exit::Usage, error.to_string()))
}

/// Why a release is good or bad, which must say something.
pub(crate) fn reason(arguments: &Mark) -> Result<Reason, CliError> {
    Reason::new(&arguments.reason)
        .ok_or_else(|| no_reason().hint(mark::typed(arguments, &arguments.release, "what was seen")))
}

fn no_reason() -> CliError {
    CliError::new(
        Exit::Usage,
        "a reason is needed: it is what a person reads at the next incident",
    )
}

fn recording(arguments: &Record) -> Result<Recording, CliError> {
    let good = arguments.reason.as_deref().filter(|_| arguments.good);
    Ok(Recording {
        name: named(&arguments.version)?,
        commit: arguments.commit.clone(),
        by: arguments.by.clone(),
        good: good
            .map(|text| Reason::new(text).ok_or_else(|| no_reason().hint("--reason TEXT")))
            .transpose()?,
    })
}

/// What `releases` prints as data: the choices as they always were, and the ledger where there is one.
#[derive(Serialize)]
struct Listed<'a> {
    items: &'a [Choice],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    releases: &'a [ReleaseLine],
}

async fn list(wired: &Wired, only: &[String], format: &Format, console: &Console) -> Result<Exit, CliError> {
    let (survey, mut choices) = astern_app::survey::releases(&wired.world, &wired.platform).await?;
    for unread in &survey.inventory.unread {
        console.warn(unread);
    }
    if !only.is_empty() {
        let only = planning::resolve(&names(only)?, &survey.inventory).map_err(no_plan)?;
        choices.retain(|choice| only.contains(&choice.target));
    }
    let lines = ledger::lines(&survey);
    let rows: Vec<ReleaseRow<'_>> = lines.iter().map(row).collect();
    output::print(
        console,
        format,
        "Releases",
        &Listed {
            items: &choices,
            releases: &lines,
        },
        || {
            let mut text = astern_report::releases_lines(&rows);
            if !text.is_empty() {
                text.push(Line::blank());
            }
            text.extend(astern_report::choices_lines(&choices));
            text
        },
        || {
            let releases = if rows.is_empty() {
                String::new()
            } else {
                astern_report::releases_markdown(&rows)
            };
            format!("{releases}{}", astern_report::choices_markdown(&choices))
        },
    )?;
    Ok(Exit::Done)
}

fn row(line: &ReleaseLine) -> ReleaseRow<'_> {
    ReleaseRow {
        name: &line.release,
        standing: &line.standing,
        by: &line.by,
        age: line.age,
        live: line.live,
        open: line.open.as_deref(),
    }
}

async fn record(
    wired: &Wired,
    arguments: &Record,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let recording = recording(arguments)?;
    let release = ledger::record(&wired.world, &wired.platform, &recording).await?;
    console.say(&format!(
        "recorded release {} as {}: {} workloads, {} ConfigMaps and Secrets, in {}",
        release.name,
        release.standing.word(),
        release.workloads.len(),
        release.config.len(),
        wired.world.ledger.place()
    ));
    print_release(&release, format, console)
}

async fn show(wired: &Wired, typed: &str, format: &Format, console: &Console) -> Result<Exit, CliError> {
    let name = named(typed)?;
    let survey = ledger::survey(&wired.world, &wired.platform).await?;
    for unread in &survey.inventory.unread {
        console.warn(unread);
    }
    match survey.shelf.find(&name) {
        Some(release) => {
            if let Some(open) = survey.open.get(&name) {
                console.say(&format!("not proven yet: {open}"));
            }
            print_release(release, format, console)
        }
        None => Err(LedgerError::Unknown {
            name,
            known: survey.shelf.names(),
        }
        .into()),
    }
}

pub(crate) fn print_release(release: &Release, format: &Format, console: &Console) -> Result<Exit, CliError> {
    output::print(
        console,
        format,
        "Release",
        release,
        || astern_report::release_lines(release),
        || astern_report::release_markdown(release),
    )?;
    Ok(Exit::Done)
}

/// `status --release`
pub(crate) async fn standing(wired: &Wired, format: &Format, console: &Console) -> Result<Exit, CliError> {
    let survey = ledger::survey(&wired.world, &wired.platform).await?;
    for unread in &survey.inventory.unread {
        console.warn(unread);
    }
    if survey.shelf.held.is_empty() {
        console.say(
            "the ledger holds no release: astern releases record --version VERSION   records what runs now",
        );
    }
    let standing = ledger::stands_on(&wired.platform, &survey);
    let rows: Vec<StandingRow<'_>> = standing
        .iter()
        .map(|one| StandingRow {
            target: &one.target,
            version: one.version.as_deref(),
            releases: &one.releases,
            but_for: one
                .but_for
                .as_ref()
                .map(|but| (&but.release, &but.standing, but.objects.as_slice())),
        })
        .collect();
    output::print(
        console,
        format,
        "ReleaseStatus",
        &standing,
        || astern_report::standing_lines(&rows),
        || astern_report::standing_markdown(&rows),
    )?;
    Ok(Exit::Done)
}

/// What `check` found out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked<'a> {
    images: Vec<&'a str>,
    quarantined: &'a [Quarantined],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    config_maps: Vec<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    quarantined_content: &'a [QuarantinedContent],
}

/// Whether a pipeline may deploy these images, and these ConfigMaps as they are.
pub(crate) async fn check(
    wired: &Wired,
    arguments: &Check,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let Deployed { images, config_maps } = deployed(arguments, &wired.platform.namespace)?;
    let (shelf, taken) = ledger::against_deploying(&wired.world, &wired.platform).await?;
    for unread in &shelf.unread {
        console.warn(unread);
    }
    let found = astern_plan::quarantined(&shelf.releases(), &taken, &images);
    let contents = ledger::quarantined_content(&wired.world, &wired.platform, &shelf, &config_maps).await?;
    let checked = Checked {
        images: images.iter().map(|image| image.reference.as_str()).collect(),
        quarantined: &found,
        config_maps: config_maps.iter().map(|(name, _)| name.to_string()).collect(),
        quarantined_content: &contents,
    };
    let lines = || {
        let bad = found
            .iter()
            .map(sentence)
            .chain(contents.iter().map(content_sentence))
            .map(|bad| Line::new(LineKind::Bad, format!("✗ {bad}")));
        let good_images = images
            .iter()
            .filter(|image| found.iter().all(|bad| bad.image != image.reference))
            .map(|image| format!("✓ {image}: no bad release brought it, and no run took it back"));
        let good_config = config_maps
            .iter()
            .filter(|(name, _)| contents.iter().all(|bad| &bad.object != name))
            .map(|(name, _)| format!("✓ {name}: nothing speaks against what it holds"));
        let good = good_images.chain(good_config);
        bad.chain(good.map(|good| Line::new(LineKind::Good, good)))
            .collect::<Vec<_>>()
    };
    let markdown = || {
        lines()
            .into_iter()
            .map(|line| format!("- {}\n", line.text))
            .collect()
    };
    output::print(console, format, "Check", &checked, lines, markdown)?;
    if let Some(first) = found.first() {
        return Err(bad_image(first, found.len(), images.len()));
    }
    match contents.first() {
        Some(first) => Err(bad_content(first)),
        None => Ok(Exit::Done),
    }
}

fn bad_image(first: &Quarantined, bad: usize, of: usize) -> CliError {
    let message = match bad {
        1 => format!("1 image of {of} must not be deployed; nothing was changed"),
        many => format!("{many} images of {of} must not be deployed; nothing was changed"),
    };
    let error = CliError::new(Exit::Refused, message)
        .code("AST0507")
        .cause(sentence(first))
        .hint("deploy an image that mends it, under another tag and digest");
    match &first.release {
        Some(release) => error
            .hint(format!("astern releases show {release}"))
            .hint(format!(
                "astern releases mark good {release} --reason TEXT   takes the word against it back"
            )),
        None => error.hint("astern undo RUN   puts it back, and takes the run's word against it back"),
    }
}

fn bad_content(first: &QuarantinedContent) -> CliError {
    let message = format!(
        "{} must not be given this content; nothing was changed",
        first.object
    );
    let error = CliError::new(Exit::Refused, message)
        .code("AST0509")
        .cause(content_sentence(first))
        .hint("mend what it holds, and check again");
    match &first.release {
        Some(release) => error.hint(format!(
            "astern releases mark good {release} --reason TEXT   takes the word against it back"
        )),
        None => error.hint("astern undo RUN   puts it back, and takes the run's word against it back"),
    }
}

fn content_sentence(bad: &QuarantinedContent) -> String {
    match &bad.release {
        Some(release) => format!(
            "{}: release {release} brought what it holds, and {}",
            bad.object, bad.why
        ),
        None => format!("{}: what it holds is bad: {}", bad.object, bad.why),
    }
}

fn sentence(bad: &Quarantined) -> String {
    let Quarantined { image, release, word } = bad;
    let brought = match release {
        Some(release) => format!("release {release} brought it, which is bad: "),
        None => String::new(),
    };
    format!(
        "{image}: {brought}{} (by {}, {})",
        word.reason,
        word.by,
        clock(word.at)
    )
}

/// What a pipeline is about to deploy.
struct Deployed {
    images: Vec<Image>,
    config_maps: Vec<(ConfigName, serde_json::Value)>,
}

/// The images that are meant, and the ConfigMaps of the namespace.
fn deployed(arguments: &Check, namespace: &str) -> Result<Deployed, CliError> {
    let mut deployed = Deployed {
        images: arguments.image.iter().map(|image| Image::parse(image)).collect(),
        config_maps: Vec::new(),
    };
    for file in &arguments.manifests {
        let text = text_of(file)?;
        let unreadable = |error: ManifestError| {
            CliError::input(format!("{} cannot be checked", file.display()))
                .code("AST0508")
                .cause(error.to_string())
                .hint("name a file with manifests, as they would be applied; or --image IMAGE")
        };
        let is_here = |object: &serde_json::Value| {
            let of = object
                .pointer("/metadata/namespace")
                .and_then(serde_json::Value::as_str);
            of.is_none_or(|of| of == namespace)
        };
        let found = manifest::config_maps(&text).map_err(unreadable)?.into_iter();
        let found: Vec<_> = found.filter(|(_, object)| is_here(object)).collect();
        let images = match manifest::images(&text) {
            Err(ManifestError::NoImages) if !found.is_empty() => Vec::new(),
            images => images.map_err(unreadable)?,
        };
        deployed.config_maps.extend(found);
        deployed.images.extend(
            images
                .into_iter()
                .filter(|image| !arguments.image.contains(&image.reference)),
        );
    }
    Ok(deployed)
}

fn text_of(file: &Path) -> Result<String, CliError> {
    let failed = |error: std::io::Error| {
        CliError::input(format!("{} cannot be read", file.display())).cause(error.to_string())
    };
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(failed)
}
