//! `drift`: what runs, held against a release of the ledger.

use super::look;
use crate::args::{self, Choose};
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::{self, Format};
use crate::wiring::Wired;
use astern_model::release::ReleaseName;

pub(crate) async fn drift(
    wired: &Wired,
    arguments: &args::Drift,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let named = named(arguments)?;
    let drift = astern_app::drift::drift(&wired.world, &wired.platform, named.as_ref()).await?;
    let lines = || astern_report::drift_lines(&drift);
    if arguments.restore && drift.matters() {
        console.say_lines(&lines());
        console.say_lines(&astern_report::drift_stays_lines(&drift));
        let choose = Choose {
            to: vec![drift.release.to_string()],
            ..Choose::default()
        };
        return look::plan(wired, &choose, format, console).await;
    }
    output::print(console, format, "Drift", &drift, lines, || {
        astern_report::drift_markdown(&drift)
    })?;
    Ok(if drift.matters() { Exit::Drift } else { Exit::Done })
}

/// A name that is none is said before anything is asked of the cluster.
pub(crate) fn named(arguments: &args::Drift) -> Result<Option<ReleaseName>, CliError> {
    let named = arguments.release.as_deref().map(ReleaseName::parse);
    named
        .transpose()
        .map_err(|error| CliError::new(Exit::Usage, error.to_string()))
}
