//! `watch`: looks again and again until it is asked to end, and prints a line for each thing that it sees, records and judges.

use super::sandbox::interrupted;
use crate::args::Watch;
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::Format;
use crate::wiring::Wired;
use astern_app::ledger::LedgerError;
use astern_app::watching::{self, Judged, Look, Stands};
use astern_model::choice::clock;
use astern_model::id::RunId;
use astern_model::owner::{OwnerName, OwnerSeen};
use astern_model::release::Standing;
use astern_report::paused_sentence;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// Lines go on for as long as it runs, so there is no document to close.
pub(crate) fn prints(format: &Format) -> Result<(), CliError> {
    match format {
        Format::Text | Format::Json => Ok(()),
        Format::Yaml | Format::Markdown | Format::File(_) => Err(CliError::new(
            Exit::Usage,
            "watch prints line by line: -o takes text or json",
        )),
    }
}

/// Watches until a signal asks it to end, or once.
pub(crate) async fn watch(
    wired: &Wired,
    arguments: &Watch,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let mut told = Told {
        format,
        console,
        stands: None,
        held: BTreeSet::new(),
        unread: BTreeSet::new(),
        away: false,
    };
    if arguments.once {
        let look = watching::look(&wired.world, &wired.platform).await?;
        told.look(look)?;
        return Ok(Exit::Done);
    }
    tokio::select! {
        ended = again_and_again(wired, Duration::from_secs(arguments.every.into()), &mut told) => ended,
        () = interrupted() => Ok(Exit::Done),
    }
}

/// Returns only with an error that no waiting mends: another cluster, or at the first look whatever keeps it from looking at all.
async fn again_and_again(wired: &Wired, every: Duration, told: &mut Told<'_>) -> Result<Exit, CliError> {
    let mut looked = false;
    loop {
        match watching::look(&wired.world, &wired.platform).await {
            Ok(look) => {
                looked = true;
                told.look(look)?;
            }
            Err(error @ LedgerError::WrongCluster { .. }) => return Err(error.into()),
            Err(error) if !looked && !may_pass(&error) => return Err(error.into()),
            Err(error) => told.failed(&error)?,
        }
        tokio::time::sleep(every).await;
    }
}

/// Whether the same look may succeed later with nobody doing anything.
fn may_pass(error: &LedgerError) -> bool {
    use astern_model::failure::FailureClass;
    match error {
        LedgerError::Store(failure) => matches!(
            failure.class,
            FailureClass::Transient { .. } | FailureClass::Unknown | FailureClass::Conflict
        ),
        LedgerError::Conflict { .. } => true,
        LedgerError::Exists { .. }
        | LedgerError::Unknown { .. }
        | LedgerError::Empty { .. }
        | LedgerError::Partial { .. }
        | LedgerError::WrongCluster { .. } => false,
    }
}

/// One line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
enum Event<'a> {
    /// How the platform stands, where that is news.
    Stands {
        at: Timestamp,
        #[serde(flatten)]
        stands: &'a Stands,
    },
    /// Something else is believed of a release.
    Judged {
        at: Timestamp,
        #[serde(flatten)]
        judged: &'a Judged,
    },
    /// An owner is paused, its time is over, or it is on again.
    Held {
        at: Timestamp,
        owner: String,
        run: &'a RunId,
        due: Timestamp,
        is: Holding,
        what: &'a str,
    },
    /// Something could not be read or done.
    NotKnown { at: Timestamp, what: &'a str },
}

/// How an owner that a run has paused stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum Holding {
    Paused,
    Overdue,
    OnAgain,
}

impl Holding {
    fn of(seen: &OwnerSeen, due: Timestamp, now: Timestamp) -> Self {
        match seen.is_on_again() {
            true => Self::OnAgain,
            false if due < now => Self::Overdue,
            false => Self::Paused,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Overdue => "overdue",
            Self::OnAgain => "on again",
        }
    }
}

impl Event<'_> {
    fn text(&self) -> String {
        match self {
            Self::Stands { at, stands } => format!("{} {}", clock(*at), of_stands(stands)),
            Self::Judged { at, judged } => format!("{} judged: {}", clock(*at), of_judged(judged)),
            Self::Held { at, is, what, .. } => format!("{} {}: {what}", clock(*at), is.word()),
            Self::NotKnown { at, what } => format!("{} not known: {what}", clock(*at)),
        }
    }
}

fn of_stands(stands: &Stands) -> String {
    match stands {
        Stands::Moving { why } => format!("seen: {why}; nothing is recorded until that is over"),
        Stands::Known { release } => format!("seen: release {release} stands"),
        Stands::Recorded {
            release,
            changed,
            since,
        } => match since {
            Some(since) => format!(
                "recorded: release {release}, a candidate: {} changed since {since}",
                changed.join(", ")
            ),
            None => format!("recorded: release {release}, a candidate: the first one of this ledger"),
        },
    }
}

fn of_judged(judged: &Judged) -> String {
    let Judged { release, standing } = judged;
    match standing {
        Standing::Good(word) => format!("release {release} is good: {}", word.reason),
        Standing::Bad(word) => format!("release {release} is bad: {} (by {})", word.reason, word.by),
        Standing::Candidate { failed: Some(failed) } => format!(
            "release {release} fails, and becomes good on somebody's word alone: {}",
            failed.what
        ),
        Standing::Candidate { failed: None } => format!("release {release} is a candidate"),
    }
}

/// What was told already: a line is news.
struct Told<'a> {
    format: &'a Format,
    console: &'a Console,
    stands: Option<String>,
    held: BTreeSet<(OwnerName, Holding)>,
    unread: BTreeSet<String>,
    away: bool,
}

impl Told<'_> {
    fn look(&mut self, look: Look) -> Result<(), CliError> {
        let at = look.at;
        if std::mem::take(&mut self.away) {
            self.stands = None;
        }
        for what in look.unread.iter().filter(|what| !self.unread.contains(*what)) {
            self.print(&Event::NotKnown { at, what })?;
        }
        self.unread = look.unread.iter().cloned().collect();
        for judged in &look.judged {
            self.print(&Event::Judged { at, judged })?;
        }
        self.held(&look)?;
        let news = news(&look.stands);
        if self.stands.as_ref() != Some(&news) {
            self.print(&Event::Stands {
                at,
                stands: &look.stands,
            })?;
        }
        self.stands = Some(news);
        Ok(())
    }

    /// What is new of the owners that runs have paused. One that went on by astern is no news: whoever had it go on knows.
    fn held(&mut self, look: &Look) -> Result<(), CliError> {
        let mut held = BTreeSet::new();
        for seen in &look.held {
            let (Some(paused), Some(what)) = (&seen.paused, paused_sentence(seen, look.at)) else {
                continue;
            };
            let is = Holding::of(seen, paused.due, look.at);
            let news = (seen.name.clone(), is);
            if !self.held.contains(&news) {
                self.print(&Event::Held {
                    at: look.at,
                    owner: seen.name.to_string(),
                    run: &paused.run,
                    due: paused.due,
                    is,
                    what: &what,
                })?;
            }
            held.insert(news);
        }
        self.held = held;
        Ok(())
    }

    fn failed(&mut self, error: &LedgerError) -> Result<(), CliError> {
        let what = format!("{error}; the next look tries again");
        if std::mem::replace(&mut self.away, true) {
            return Ok(());
        }
        self.print(&Event::NotKnown {
            at: Timestamp::now(),
            what: &what,
        })
    }

    fn print(&self, event: &Event<'_>) -> Result<(), CliError> {
        match self.format {
            Format::Json => {
                let line = serde_json::to_string(event);
                self.console.data(
                    &line.unwrap_or_else(|error| panic!("BUG: a line of the watch has no JSON: {error}")),
                )
            }
            _ => self.console.data(&event.text()),
        }
    }
}

/// A release that was just recorded stands, which is no news at the next look.
fn news(stands: &Stands) -> String {
    match stands {
        Stands::Moving { why } => why.clone(),
        Stands::Known { release } | Stands::Recorded { release, .. } => format!("release {release}"),
    }
}
