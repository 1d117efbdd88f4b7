//! `releases mark`: somebody's word on a release, what follows from it, and what to type where it was not taken.

use super::releases::{named, print_release, reason};
use crate::args::Mark;
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::Format;
use crate::wiring::Wired;
use astern_app::ledger::{self, LedgerError, StandsOn, Survey};
use astern_model::release::ReleaseName;
use astern_model::target::Target;

pub(crate) async fn mark(
    wired: &Wired,
    arguments: &Mark,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let name = named(&arguments.release)?;
    let mark = match arguments.standing.as_str() {
        "good" => ledger::Mark::Good,
        _ => ledger::Mark::Bad,
    };
    let by = arguments.by.as_deref();
    let reason = reason(arguments)?;
    let release = ledger::mark(&wired.world, &wired.platform, &name, mark, &reason, by).await;
    let release = release.map_err(|error| not_taken(arguments, error))?;
    console.say(&format!("release {name} is {} now", release.standing.word()));
    match ledger::survey(&wired.world, &wired.platform).await {
        Ok(survey) => {
            for line in what_follows(wired, &name, mark, &survey) {
                console.say(&line);
            }
        }
        Err(failure) => console.warn(&format!("what runs of it now is not known: {failure}")),
    }
    print_release(&release, format, console)
}

/// The command as it was typed, for `release` and for `reason`.
pub(crate) fn typed(arguments: &Mark, release: &str, reason: &str) -> String {
    let by = arguments.by.as_deref();
    let by = by.map(|by| format!(" --by {}", quoted(by))).unwrap_or_default();
    format!(
        "astern releases mark {} {} --reason {}{by}",
        arguments.standing,
        quoted(release),
        quoted(reason)
    )
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+=,%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A word that the ledger did not take, with the command that it takes.
fn not_taken(arguments: &Mark, error: LedgerError) -> CliError {
    let again = |release: &str| typed(arguments, release, &arguments.reason);
    match error {
        LedgerError::Unknown { name, known } => {
            let nearest = astern_plan::near_names(name.as_str(), known.iter().map(ReleaseName::as_str));
            let nearest: Vec<String> = nearest
                .into_iter()
                .map(|near| format!("{}   if that is the one you mean", again(near)))
                .collect();
            let record =
                format!("astern releases record --version {name}   records what runs now, if that is it");
            let mut error = CliError::from(LedgerError::Unknown { name, known });
            error.hints.extend(nearest);
            if !error
                .hints
                .iter()
                .any(|hint| hint.starts_with("astern releases record"))
            {
                error.hints.push(record);
            }
            error
        }
        LedgerError::Conflict { name } => {
            let show = format!("astern releases show {name}   shows what stands there now");
            let mut error = CliError::from(LedgerError::Conflict { name });
            error.hints = vec![show, format!("{}   says it again", again(&arguments.release))];
            error
        }
        error => error.into(),
    }
}

/// What a person does after the word.
fn what_follows(wired: &Wired, name: &ReleaseName, mark: ledger::Mark, survey: &Survey) -> Vec<String> {
    let standing = ledger::stands_on(&wired.platform, survey);
    // What a good release has as well is not what a bad one brought.
    let is_on = |one: &&StandsOn| {
        let mut releases = one.releases.iter();
        let also_good = releases.clone().any(|(_, standing)| standing.is_good());
        releases.any(|(release, _)| release == name) && !(mark == ledger::Mark::Bad && also_good)
    };
    let on: Vec<&Target> = standing.iter().filter(is_on).map(|one| &one.target).collect();
    match mark {
        ledger::Mark::Good if on.len() == standing.len() => Vec::new(),
        ledger::Mark::Good => vec![format!(
            "astern plan --to {name}   shows how what runs goes back to it"
        )],
        ledger::Mark::Bad => {
            let runs = match on.as_slice() {
                [] => "no workload runs what it brought now".to_owned(),
                on => format!(
                    "what it brought still runs in {} of {} workloads: {}   shows how they go back",
                    on.len(),
                    standing.len(),
                    plan_of(on, standing.len())
                ),
            };
            vec![
                runs,
                "nothing goes back to it any more, and astern check refuses what it brought".to_owned(),
                format!("astern releases mark good {name} --reason TEXT   takes this word back"),
            ]
        }
    }
}

/// The plan that takes these workloads back, where there are few; of all of them, or of many, the whole one.
fn plan_of(on: &[&Target], of: usize) -> String {
    const FLAGS: usize = 8;
    if on.len() == of || on.len() > FLAGS {
        return "astern plan".to_owned();
    }
    let flags: Vec<String> = on.iter().map(|target| format!("--only {target}")).collect();
    format!("astern plan {}", flags.join(" "))
}
