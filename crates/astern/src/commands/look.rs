//! Commands that change nothing: status, audit, plan, runs, validate.

use crate::args::{Audit, Choose, Validate};
use crate::console::Console;
use crate::error::{CliError, Exit, no_plan};
use crate::output::{self, Format};
use crate::wiring::Wired;
use astern_app::history::{self, RunLine};
use astern_app::planning::{self, Asked, Evidence, Name, NoPlan};
use astern_app::{judging, survey};
use astern_model::choice::human;
use astern_model::finding::Allowances;
use astern_model::plan::Criteria;
use astern_model::policy::{Acceptor, OnFailure};
use astern_model::release::ReleaseName;
use astern_model::verdict::{CheckResult, Verdict};
use astern_port::lock::Holding;
use astern_report::{Line, LineKind};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

pub(crate) async fn status(wired: &Wired, format: &Format, console: &Console) -> Result<Exit, CliError> {
    let (standing, holding, open) = futures::join!(
        survey::status(&wired.world, &wired.platform),
        wired.world.lock.holding(&wired.platform.namespace),
        history::open_run(&wired.world, &wired.platform.namespace)
    );
    let (inventory, assessment) = standing?;
    match (holding, open) {
        (Ok(Some(holding)), _) => say_run(&holding, wired, console),
        (_, Ok(Some((run, phase)))) => {
            let stands = planning::stands(&phase);
            console.warn(&format!(
                "run {run} is not over, {stands}: astern resume {run} goes on, astern abort {run} takes back"
            ));
        }
        _ => {}
    }
    for unread in &inventory.unread {
        console.warn(unread);
    }
    let now = wired.world.clock.now();
    for paused in inventory
        .owners
        .iter()
        .filter_map(|seen| astern_report::paused_sentence(seen, now))
    {
        console.warn(&paused);
    }
    for target in survey::missing(&wired.platform, &inventory) {
        console.warn(&format!(
            "{target} stands in astern.yaml but not in namespace {}",
            inventory.namespace
        ));
    }
    if assessment.workloads.is_empty() {
        console.say(&format!("namespace {} has no workloads", inventory.namespace));
    }
    output::print(
        console,
        format,
        "Status",
        &assessment,
        || astern_report::assessment_lines(&assessment),
        || astern_report::assessment_markdown(&assessment),
    )?;
    Ok(Exit::Done)
}

/// A run that holds this namespace: whether somebody carries it out, and what to type where nobody does.
fn say_run(holding: &Holding, wired: &Wired, console: &Console) {
    let (run, holder) = (&holding.run, &holding.holder);
    let quiet = wired.world.clock.now().duration_since(holding.renewed_at);
    if quiet <= holding.duration {
        console.warn(&format!(
            "run {run} is under way, by {} on {}: astern attach {run}",
            holder.user, holder.host
        ));
    } else {
        console.warn(&format!(
            "the runner of run {run} ({} on {}) has not been heard of for {}: astern resume {run} goes on, astern abort {run} takes back",
            holder.user,
            holder.host,
            human(quiet)
        ));
    }
}

/// Exit 3 where a rollback would be refused: for a schedule, which nobody reads while all is well.
pub(crate) async fn audit(
    wired: &Wired,
    arguments: &Audit,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let only = names(&arguments.only)?;
    let allow = allowances(wired, &[]);
    let audit = astern_app::audit::audit(&wired.world, &wired.platform, &only, &allow)
        .await
        .map_err(no_plan)?;
    output::print(
        console,
        format,
        "Audit",
        &audit,
        || astern_report::audit_lines(&audit),
        || astern_report::audit_markdown(&audit),
    )?;
    Ok(if audit.ready { Exit::Done } else { Exit::Refused })
}

pub(crate) async fn plan(
    wired: &Wired,
    choose: &Choose,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let asked = asked(choose, Acceptor::Person)?;
    let result = planning::roll_back(
        &wired.world,
        &wired.platform,
        &asked,
        &allowances(wired, &choose.accept_revert),
        Evidence::Leave,
    )
    .await;
    let prepared = match result {
        Ok(prepared) => prepared,
        Err(NoPlan::Refused(refusal)) => {
            let error = no_plan(NoPlan::Refused(refusal.clone()));
            if matches!(format, Format::Json | Format::Yaml)
                && let Err(lost) = output::print(console, format, "Refusal", &*refusal, Vec::new, String::new)
            {
                console.error(&lost);
            }
            return Err(error);
        }
        Err(other) => return Err(no_plan(other)),
    };
    let checked = &prepared.checked;
    let (plan, findings, hash) = (checked.plan(), checked.findings(), checked.hash());
    match format {
        Format::File(file) => {
            write_private(file, checked.sealed())?;
            console.say_lines(&astern_report::plan_lines(plan, findings, hash));
            let file = file.display();
            console.say(&format!(
                "written to {file}; on a copy first: astern rehearse {file}; for real: astern run {file}"
            ));
            console.data(hash.as_str())?;
        }
        _ => output::print(
            console,
            format,
            "Plan",
            plan,
            || astern_report::plan_lines(plan, findings, hash),
            || astern_report::plan_markdown(plan, findings, hash),
        )?,
    }
    Ok(Exit::Done)
}

pub(crate) async fn runs(wired: &Wired, format: &Format, console: &Console) -> Result<Exit, CliError> {
    let runs = history::runs(&wired.world).await?;
    if runs.is_empty() {
        console.say(&format!("no runs in {}", wired.world.journal.place()));
    }
    output::print(
        console,
        format,
        "RunList",
        &runs,
        || plain(&runs_text(&runs)),
        || runs_markdown(&runs),
    )?;
    Ok(Exit::Done)
}

pub(crate) async fn validate(
    wired: &Wired,
    arguments: &Validate,
    format: &Format,
    console: &Console,
) -> Result<Exit, CliError> {
    let platform = &wired.platform;
    let inventory = wired.world.look.inventory(&platform.namespace).await?;
    let mut criteria = Criteria::of(platform, survey::scope(platform, &inventory));
    if let Some(soak) = &arguments.soak {
        criteria.soak = astern_wire::duration::parse(soak)
            .map_err(|error| CliError::new(Exit::Usage, format!("--soak {soak}: {error}")))?;
    }
    console.say(&format!(
        "watching {} workloads for {}",
        criteria.targets.len(),
        human(criteria.soak)
    ));
    let since = wired.world.clock.now();
    let verdict = judging::validate(
        &wired.world,
        platform,
        &criteria,
        since,
        std::collections::BTreeMap::new(),
        SignedDuration::ZERO,
    )
    .await;
    print_verdict(&verdict, format, console)?;
    Ok(if verdict.passes() {
        Exit::Done
    } else {
        Exit::NotValidated
    })
}

pub(crate) fn print_verdict(verdict: &Verdict, format: &Format, console: &Console) -> Result<(), CliError> {
    output::print(
        console,
        format,
        "Verdict",
        verdict,
        || astern_report::verdict_lines(verdict),
        || verdict_markdown(verdict),
    )
}

/// What `--only`, `--to` and the other flags of choosing say.
pub(crate) fn asked(choose: &Choose, acceptor: Acceptor) -> Result<Asked, CliError> {
    let mut to = Vec::new();
    let mut releases = BTreeMap::new();
    let mut release = None;
    for typed in &choose.to {
        let usage = |why: &str| {
            CliError::new(Exit::Usage, format!("--to {typed}: {why}"))
                .hint("--to api-gateway=2, --to api-gateway=image:v1.2.3, --to statefulset/db=sha256:…")
                .hint("--to v1.2.3 (a release of the ledger), --to helm/shop=3 (a Helm release)")
        };
        let Some((name, selector)) = typed.split_once('=') else {
            let name = release_typed(typed).ok_or_else(|| usage("there is no `=` in it"))?;
            let name = ReleaseName::parse(name).map_err(|error| usage(&error.to_string()))?;
            if release.replace(name).is_some() {
                return Err(usage("another release is named already"));
            }
            continue;
        };
        if let Some(helm) = name.strip_prefix("helm/") {
            let number = selector
                .parse()
                .map_err(|_| usage("a Helm revision is a number"))?;
            releases.insert(helm.to_owned(), number);
            continue;
        }
        let selector = astern_plan::Selector::parse(selector).map_err(|error| usage(&error.to_string()))?;
        to.push((
            Name::parse(name).ok_or_else(|| usage("the kind is not known"))?,
            selector,
        ));
    }
    Ok(Asked {
        only: names(&choose.only)?,
        to,
        releases,
        outside_helm: choose.outside_helm,
        abandoned: choose.abandoned.iter().cloned().collect(),
        stop: choose.stop,
        leave_config: choose.leave_config,
        release,
        overrides: choose.override_decision.iter().cloned().collect(),
        acceptor,
        on_failure: choose.on_failure.map(|on_failure| match on_failure {
            crate::args::OnFailure::Hold => OnFailure::Hold,
            crate::args::OnFailure::Unwind => OnFailure::Unwind,
        }),
    })
}

/// The release that stands after `--to` alone. A word without a digit is rather a workload with its revision forgotten;
/// `release:` before it says that it is none.
fn release_typed(typed: &str) -> Option<&str> {
    typed
        .strip_prefix("release:")
        .or_else(|| typed.contains(|c: char| c.is_ascii_digit()).then_some(typed))
}

pub(crate) fn names(typed: &[String]) -> Result<Vec<Name>, CliError> {
    typed
        .iter()
        .map(|text| {
            Name::parse(text).ok_or_else(|| {
                CliError::new(Exit::Usage, format!("`{text}` names no kind that is known"))
                    .hint("NAME, deployment/NAME, statefulset/NAME, daemonset/NAME or rollout/NAME")
            })
        })
        .collect()
}

/// What the flags and the platform's policy settle for the gate.
pub(crate) fn allowances(wired: &Wired, accept_revert: &[String]) -> Allowances {
    Allowances {
        accept_revert: accept_revert.iter().cloned().collect(),
        journal_in_file: wired.journal_in_file,
        ..Allowances::of(&wired.platform.policy)
    }
}

/// Writes a file that only its owner can read. An existing one is replaced whole, or not at all.
pub(crate) fn write_private(file: &Path, bytes: &[u8]) -> Result<(), CliError> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error: std::io::Error| {
        CliError::input(format!("{} cannot be written", file.display())).cause(error.to_string())
    };
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut open = std::fs::OpenOptions::new();
    let mut out = open
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    out.write_all(bytes)
        .and_then(|()| out.sync_all())
        .map_err(failed)?;
    std::fs::rename(&beside, file).map_err(failed)
}

/// Text as lines without a kind of their own.
pub(crate) fn plain(text: &str) -> Vec<Line> {
    text.lines()
        .map(|line| Line {
            kind: LineKind::Text,
            text: line.to_owned(),
        })
        .collect()
}

fn runs_text(runs: &[RunLine]) -> String {
    let mut rows = vec![["RUN", "WHEN", "STATE", "STEPS", "BY", "REASON"].map(str::to_owned)];
    rows.extend(runs.iter().map(cells));
    let width: Vec<usize> = (0..5)
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |row: &[String; 6]| {
        let padded: Vec<String> = (0..5)
            .map(|column| format!("{:1$}", row[column], width[column]))
            .collect();
        format!("{}  {}", padded.join("  "), row[5])
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn runs_markdown(runs: &[RunLine]) -> String {
    let mut lines = vec![
        "| run | when | state | steps | by | reason |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(runs.iter().map(|run| {
        format!(
            "| {} |",
            cells(run).map(|cell| cell.replace('|', "\\|")).join(" | ")
        )
    }));
    lines.join("\n")
}

fn cells(run: &RunLine) -> [String; 6] {
    let note = run
        .note
        .as_ref()
        .map(|note| format!(" ({note})"))
        .unwrap_or_default();
    [
        run.run.to_string(),
        run.at.map(astern_model::choice::clock).unwrap_or_default(),
        run.state.clone(),
        format!("{}/{}", run.steps.0, run.steps.1),
        run.by.clone(),
        format!("{}{note}", run.reason),
    ]
}

fn verdict_markdown(verdict: &Verdict) -> String {
    let mut lines = vec![
        "| workload | check | result | evidence |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    lines.extend(verdict.items.iter().map(|item| {
        let result = match item.result {
            CheckResult::Pass => "pass",
            CheckResult::Fail => "**fail**",
            CheckResult::Unknown => "unknown",
        };
        format!(
            "| {} | {} | {result} | {} |",
            item.target,
            item.check,
            item.evidence.replace('|', "\\|")
        )
    }));
    lines.join("\n")
}
