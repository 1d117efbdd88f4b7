//! `rehearse`: a plan carried out on a copy of its namespace, in this process's memory. Reads the cluster and writes
//! nothing there.

use super::look::allowances;
use super::roll::{fits, plan_file, refused_as_data};
use crate::args;
use crate::console::Console;
use crate::error::{CliError, Exit};
use crate::output::{self, Format};
use crate::wiring::Wired;
use astern_app::planning::{self, Evidence};
use astern_kubernetes::look;
use astern_model::config::ConfigName;
use astern_model::policy::Acceptor;
use astern_rehearsal::{Kept, Piece};
use astern_report::Rehearsal;
use astern_report::rehearsal::{Crash, FailedStep};
use astern_report::report::Ending;
use std::collections::BTreeSet;

pub(crate) async fn rehearse(
    wired: &Wired,
    arguments: &args::Rehearse,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let (plan, sealed) = plan_file(&arguments.plan, arguments.expect.as_deref())?;
    fits(&plan, wired, Acceptor::Person)?;
    let allow = allowances(wired, &arguments.accept_revert);
    let namespace = plan.namespace.clone();
    // Side by side, so that the gate and the copy see the same moment.
    let written = plan.steps.iter().filter_map(|step| step.spec.config());
    let written: BTreeSet<ConfigName> = written.map(|spec| spec.object().clone()).collect();
    let (prepared, read, config) = futures::join!(
        planning::check(
            &wired.world,
            &wired.platform,
            plan,
            sealed,
            &allow,
            Evidence::Leave
        ),
        look::dump(&wired.connection, &namespace),
        look::contents(&wired.connection, &namespace, &written)
    );
    let prepared = refused_as_data(prepared, format, console)?;
    let now = wired.world.clock.now();
    let (mut read, config) = (read?, config?);
    let kept = Kept::read(
        &*wired.vault,
        &*wired.world.vault,
        prepared.checked.plan(),
        &config,
    )
    .await?;
    read.objects.extend(config);
    let copy =
        astern_rehearsal::copy(read, &namespace, &prepared.inventory.cluster, now).map_err(|error| {
            CliError::input("the namespace cannot be copied; nothing was changed").cause(error.to_string())
        })?;
    let hash = prepared.checked.hash().clone();
    let piece = Piece {
        kept,
        copy,
        checked: prepared.checked,
        inventory: prepared.inventory,
        answers: prepared.answers,
        platform: wired.platform.clone(),
        allow,
    };
    if arguments.faults {
        console.say("each fault is rehearsed on a copy of its own; that takes a while");
    }
    let rehearsal = astern_rehearsal::rehearse(piece, arguments.faults).await?;
    output::print(
        console,
        format,
        "Rehearsal",
        &rehearsal,
        || astern_report::rehearsal_lines(&rehearsal),
        || astern_report::rehearsal_markdown(&rehearsal),
    )?;
    let exit = exit(&rehearsal);
    if exit == Exit::Done {
        console.say(&format!(
            "\nNothing was changed. To carry it out: astern run {} --expect {hash}",
            arguments.plan.display()
        ));
    }
    Ok(exit)
}

/// What it means for a script: what the run's own exit code would have been; with faults also whether all of them ended as
/// they should.
fn exit(rehearsal: &Rehearsal) -> Exit {
    let safe = rehearsal.faults.as_ref().is_none_or(|faults| {
        faults.failures.iter().all(FailedStep::unwinds) && faults.crashes.iter().all(Crash::recovers)
    });
    match &rehearsal.ending {
        _ if !safe => Exit::NeedsPerson,
        Ending::Restored if rehearsal.restores() => Exit::Done,
        Ending::Restored => Exit::NotValidated,
        Ending::Unwound { .. } => Exit::Unwound,
        Ending::Held { .. }
        | Ending::Stuck { .. }
        | Ending::Superseded { .. }
        | Ending::UnderWay
        | Ending::Unwinding { .. } => Exit::NeedsPerson,
    }
}
