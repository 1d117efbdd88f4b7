//! Commands that change the cluster: rollback, run, undo.

use super::look::{allowances, asked};
use super::tend;
use crate::args::{Approve, Global, Rollback, RunPlan, Undo};
use crate::console::Console;
use crate::error::{CliError, Exit, no_plan};
use crate::output::{self, Format};
use crate::progress::Progress;
use crate::runner::{self, Handover, Task, Waiting};
use crate::wiring::{Wired, holder, run_id};
use astern_app::history;
use astern_app::planning::{self, Evidence, NoPlan, Prepared};
use astern_app::running::{self, Runner};
use astern_exec::book::Book;
use astern_model::approval::{Approval, How};
use astern_model::finding::{Allowances, Finding, Severity};
use astern_model::id::{PlanHash, RunId};
use astern_model::plan::Plan;
use astern_model::policy::{Acceptor, Say};
use astern_model::step::helm;
use std::path::Path;
use std::sync::Arc;

/// The gate's word on what could not be read.
const UNREAD: &str = "AST0232";

pub(crate) async fn rollback(
    global: &Global,
    wired: &Wired,
    arguments: Rollback,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let asked = asked(&arguments.choose, acceptor(&arguments.approve))?;
    let allow = allowed(wired, &arguments.choose.accept_revert, &arguments.approve);
    let evidence = if arguments.dry_run {
        Evidence::Leave
    } else {
        Evidence::Save
    };
    let runner = if arguments.dry_run {
        Waiting::later(global)
    } else {
        waiting(global, &arguments.approve)?
    };
    let prepared = planning::roll_back(&wired.world, &wired.platform, &asked, &allow, evidence).await;
    let prepared = refused_as_data(prepared, format, console)?;
    if arguments.dry_run {
        let (plan, findings, hash) = (
            prepared.checked.plan(),
            prepared.checked.findings(),
            prepared.checked.hash(),
        );
        output::print(
            console,
            format,
            "Plan",
            plan,
            || astern_report::plan_lines(plan, findings, hash),
            || astern_report::plan_markdown(plan, findings, hash),
        )?;
        return Ok(Exit::Done);
    }
    carry_out(runner, wired, prepared, allow, arguments.approve, format, console).await
}

pub(crate) async fn run(
    global: &Global,
    wired: &Wired,
    arguments: RunPlan,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let (plan, sealed) = plan_file(&arguments.plan, arguments.expect.as_deref())?;
    fits(&plan, wired, acceptor(&arguments.approve))?;
    let allow = allowed(wired, &arguments.accept_revert, &arguments.approve);
    let runner = waiting(global, &arguments.approve)?;
    let prepared = planning::check(
        &wired.world,
        &wired.platform,
        plan,
        sealed,
        &allow,
        Evidence::Save,
    )
    .await;
    let prepared = refused_as_data(prepared, format, console)?;
    carry_out(runner, wired, prepared, allow, arguments.approve, format, console).await
}

/// The plan in a file, with its bytes as they stand there. With `expected` no other one than that of this hash.
pub(super) fn plan_file(file: &Path, expected: Option<&str>) -> Result<(Plan, Vec<u8>), CliError> {
    let sealed = std::fs::read(file).map_err(|error| {
        CliError::input(format!("{} cannot be read", file.display())).cause(error.to_string())
    })?;
    let hash = PlanHash::of(&sealed);
    if let Some(expected) = expected.filter(|expected| *expected != hash.as_str()) {
        return Err(CliError::new(
            Exit::Refused,
            format!(
                "{} is not the plan that was expected; nothing was changed",
                file.display()
            ),
        )
        .code("AST0413")
        .cause(format!("expected {expected}, found {hash}")));
    }
    let plan: Plan = astern_wire::envelope::open(&sealed).map_err(|error| {
        CliError::input(format!("{} is not a plan; nothing was changed", file.display()))
            .code(error.code())
            .cause(error.to_string())
            .chain(&error)
            .hint(error.hint())
            .hint("astern plan -o plan.json   writes one")
    })?;
    Ok((plan, sealed))
}

pub(crate) async fn undo(
    global: &Global,
    wired: &Wired,
    arguments: Undo,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let run = RunId::from(arguments.run.as_str());
    let book = Book::open(&*wired.world.journal, &run).await?;
    if let Some(helm::Spec::Rollback { release, from, .. }) = history::rolled_back(&book).next() {
        return Err(CliError::new(
            Exit::Refused,
            format!("run {run} went through {release}, and is taken back through it; nothing was changed"),
        )
        .code("AST0415")
        .hint(format!("astern rollback --to {release}={}", from.number)));
    }
    let taken = history::taken(&book);
    if taken.is_empty() {
        return Err(CliError::new(
            Exit::Refused,
            format!("run {run} left nothing that could be taken back; nothing was changed"),
        )
        .code("AST0415")
        .hint(format!("astern report {run}")));
    }
    let allow = allowed(wired, &arguments.accept_revert, &arguments.approve);
    let runner = waiting(global, &arguments.approve)?;
    let prepared = planning::undo(
        &wired.world,
        &wired.platform,
        &run,
        &book.plan.cluster.identity,
        &taken,
        &allow,
    )
    .await;
    let prepared = refused_as_data(prepared, format, console)?;
    carry_out(runner, wired, prepared, allow, arguments.approve, format, console).await
}

/// The runner; where nobody is asked, it starts and connects while the plan is made.
pub(super) fn waiting<'a>(global: &'a Global, approve: &Approve) -> Result<Waiting<'a>, CliError> {
    if approve.yes && !approve.foreground {
        Waiting::now(global)
    } else {
        Ok(Waiting::later(global))
    }
}

fn acceptor(approve: &Approve) -> Acceptor {
    if approve.yes {
        Acceptor::Yes
    } else {
        Acceptor::Person
    }
}

/// What the flags of a command that changes something allow.
pub(super) fn allowed(wired: &Wired, accept_revert: &[String], approve: &Approve) -> Allowances {
    Allowances {
        resume_paused: approve.resume_paused.iter().cloned().collect(),
        acceptor: acceptor(approve),
        ..allowances(wired, accept_revert)
    }
}

/// A plan file must be for the platform that is meant here, and for whoever approves it: journal, vault and probes are
/// the platform's, and its policy says who may go back to what is only presumed good.
pub(super) fn fits(plan: &Plan, wired: &Wired, acceptor: Acceptor) -> Result<(), CliError> {
    let platform = &wired.platform;
    if plan.namespace != platform.namespace {
        let message = format!(
            "this plan is for namespace {}, not for {}; nothing was changed",
            plan.namespace, platform.namespace
        );
        return Err(CliError::input(message).hint(format!("-n {}", plan.namespace)));
    }
    let presumed = plan.choices.iter().find(|choice| {
        choice
            .good
            .as_ref()
            .is_some_and(|good| good.because.is_presumed())
    });
    match presumed {
        Some(choice) if !platform.policy.accept_presumed.contains(&acceptor) => {
            let message = format!(
                "{} would go back to a revision that is only presumed good, which the policy does not let {} accept; nothing was changed",
                choice.target,
                match acceptor {
                    Acceptor::Yes => "--yes",
                    Acceptor::Person => "a person",
                }
            );
            Err(CliError::new(Exit::Refused, message)
                .code(astern_plan::code::PRESUMED)
                .hint("policy.acceptPresumed in astern.yaml says who may")
                .hint("astern plan --to WORKLOAD=REVISION   names the revision instead"))
        }
        _ => Ok(()),
    }
}

/// Without a terminal, both the yes and the reason must have been typed.
pub(crate) fn approvable(approve: &Approve, console: &Console) -> Result<(), CliError> {
    let usage = |message: &str, hint: &str| Err(CliError::new(Exit::Usage, message).hint(hint));
    let unsaid = approve
        .reason
        .as_ref()
        .is_none_or(|reason| reason.trim().is_empty());
    if approve.yes && unsaid {
        return usage(
            "--yes needs a reason: it appears in the journal, on the workloads and in the report",
            "--reason TEXT",
        );
    }
    if !approve.yes && !console.can_ask() {
        return usage(
            "nobody is there to be asked; nothing was changed",
            "--yes --reason TEXT approves without asking",
        );
    }
    Ok(())
}

pub(super) fn refused_as_data(
    prepared: Result<Prepared, NoPlan>,
    format: &Format,
    console: &Console,
) -> Result<Prepared, CliError> {
    prepared.map_err(|refused| {
        if let (NoPlan::Refused(refusal), Format::Json | Format::Yaml) = (&refused, format)
            && let Err(lost) = output::print(console, format, "Refusal", &**refusal, Vec::new, String::new)
        {
            console.error(&lost);
        }
        no_plan(refused)
    })
}

pub(super) async fn carry_out(
    runner: Waiting<'_>,
    wired: &Wired,
    prepared: Prepared,
    allow: Allowances,
    approve: Approve,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    crate::planted_defect("planned");
    let checked = &prepared.checked;
    console.say_lines(&astern_report::plan_lines(
        checked.plan(),
        checked.findings(),
        checked.hash(),
    ));
    let Some(approval) = approval(wired, &prepared, &approve, console)? else {
        console.say("not approved; nothing was changed");
        return Ok(Exit::Refused);
    };
    let run = run_id(approval.at);
    // Whoever made a plan file need not be whoever runs it.
    let user = prepared.inventory.cluster.user.clone();
    let progress = Arc::new(Progress::new(console.clone(), checked.plan().clone()));
    if approve.foreground {
        let who = Runner {
            holder: holder(&user),
            platform: wired.platform.clone(),
        };
        let work = running::start(
            &wired.world,
            who,
            run.clone(),
            prepared.checked,
            approval,
            prepared.saved,
            progress.clone(),
        );
        let ended = runner::in_foreground(work, &progress, &run).await?;
        return tend::rest(wired, &ended.book, format, console);
    }
    let sealed = String::from_utf8(checked.sealed().to_vec())
        .map_err(|_| CliError::input("the plan is not text; nothing was changed"))?;
    let task = Task::Start {
        run: run.clone(),
        sealed,
        inventory: Box::new(prepared.inventory),
        answers: prepared.answers,
        approval,
        saved: prepared.saved,
    };
    let handover = Handover::of(&run, task, wired.platform.clone(), user, allow)?;
    runner::hand_over(runner, wired, handover, &run, &progress, format, console).await
}

/// Who says yes, and why. None: they said no.
fn approval(
    wired: &Wired,
    prepared: &Prepared,
    approve: &Approve,
    console: &Console,
) -> Result<Option<Approval>, CliError> {
    let checked = &prepared.checked;
    let reason = match &approve.reason {
        Some(reason) => reason.clone(),
        None => console
            .ask("Reason (appears in journal, annotations and report):")
            .unwrap_or_default(),
    };
    if reason.trim().is_empty() {
        return Err(
            CliError::new(Exit::Usage, "a reason is needed; nothing was changed").hint("--reason TEXT"),
        );
    }
    if !approve.yes && !console.confirm("Carry this plan out?") {
        return Ok(None);
    }
    let plan = checked.plan();
    // Also where graver rows say roll back: whoever approves does so over what asks and over what is not known.
    let mut overrides: Vec<String> = plan
        .decision
        .fired
        .iter()
        .filter(|fired| fired.say != Say::RollBack)
        .map(|fired| format!("{}: {}", fired.row, fired.because))
        .collect();
    let is_unknown = |warning: &&String| warning.contains("unknown") || warning.contains("not known");
    overrides.extend(plan.warnings.iter().filter(is_unknown).cloned());
    let unread = |finding: &&Finding| finding.code == UNREAD;
    overrides.extend(
        checked
            .findings()
            .iter()
            .filter(unread)
            .map(|finding| finding.message.clone()),
    );
    let found: Vec<Finding> = checked
        .findings()
        .iter()
        .filter(|finding| finding.severity == Severity::Warn)
        .cloned()
        .collect();
    Ok(Some(Approval {
        plan: checked.hash().clone(),
        by: prepared.inventory.cluster.user.clone(),
        how: if approve.yes { How::Yes } else { How::Person },
        reason,
        at: wired.world.clock.now(),
        overrides,
        warnings: found.iter().map(|finding| finding.code.clone()).collect(),
        found,
    }))
}
