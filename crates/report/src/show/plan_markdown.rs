//! A plan in Markdown, for a review or a chat: the same order as on a terminal, nothing left out.

use super::choice::choices_markdown;
use super::finding::findings_markdown;
use super::owners::stays_paused;
use super::plan::{NO_LOSS, STAYS_PAUSED, count_line, forecast_sentence, losses, step_detail, title};
use crate::line::LineKind;
use crate::table::Table;
use crate::visible::{code, prose};
use crate::word;
use astern_model::choice::{clock, human};
use astern_model::diff::Shown;
use astern_model::finding::Finding;
use astern_model::id::PlanHash;
use astern_model::plan::{Plan, TargetChanges};
use std::fmt::Write as _;

/// The plan with the gate's findings as Markdown.
pub fn plan_markdown(plan: &Plan, findings: &[Finding], hash: &PlanHash) -> String {
    let mut text = format!("# {}\n\n", prose(&title(plan)));
    place(plan, &mut text);
    let _ = write!(text, "\n**{}**\n\n", prose(&count_line(plan, findings)));
    let losses = losses(plan);
    if losses.is_empty() {
        let _ = writeln!(text, "✓ {NO_LOSS}");
    }
    for loss in losses {
        let _ = writeln!(text, "- **! cannot be taken back**: {}", prose(&loss));
    }
    section(&mut text, "Decision", &decision(plan));
    section(&mut text, "Steps", &steps(plan));
    section(&mut text, STAYS_PAUSED, &items(&stays_paused(plan)));
    section(&mut text, "It does not change", &items(&plan.unchanged));
    let recovered = format!(
        "It counts as recovered when this holds for {}",
        human(plan.recovered_when.soak)
    );
    section(&mut text, &recovered, &items(&crate::tell::criteria(plan)));
    let failed = format!(
        "If a step fails once a workload is restored, {}.",
        word::on_failure(plan.on_failure)
    );
    section(
        &mut text,
        "Forecast",
        &format!("{}\n\n{failed}\n", prose(&forecast_sentence(plan))),
    );
    section(&mut text, "What changes", &changes_markdown(&plan.changes));
    section(
        &mut text,
        "What changes in Helm releases",
        &items(&super::helm::release_items(plan)),
    );
    section(
        &mut text,
        "What changes in ConfigMaps and Secrets",
        &items(&super::config::config_items(&plan.config)),
    );
    section(
        &mut text,
        "Back to what, and why",
        &choices_markdown(&plan.choices),
    );
    if !plan.warnings.is_empty() || !findings.is_empty() {
        let found = if findings.is_empty() {
            String::new()
        } else {
            findings_markdown(findings)
        };
        section(
            &mut text,
            "Before you say yes",
            &format!("{}{found}", items(&plan.warnings)),
        );
    }
    let expiry = format!(
        "made {}, to be started before {}",
        clock(plan.made_at),
        clock(plan.expires_at)
    );
    let _ = write!(text, "\nPlan {}, {expiry}.\n", code(hash.as_str()));
    text
}

fn section(text: &mut String, head: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(text, "\n## {head}\n\n{}\n", body.trim_end());
    }
}

fn items(list: &[String]) -> String {
    list.iter().map(|item| format!("- {}\n", prose(item))).collect()
}

fn place(plan: &Plan, text: &mut String) {
    let cluster = &plan.cluster;
    let identity = word::identity(&cluster.identity);
    let _ = writeln!(
        text,
        "- cluster {}, {} at {}",
        prose(&identity),
        prose(&cluster.version),
        code(&cluster.server)
    );
    for (name, value) in [
        ("context", &cluster.context),
        ("namespace", &plan.namespace),
        ("user", &cluster.user),
    ] {
        let _ = writeln!(text, "- {name} {}", code(value));
    }
}

fn decision(plan: &Plan) -> String {
    let mut text = format!("**{}**\n\n", word::say(plan.decision.say));
    for fired in &plan.decision.fired {
        let _ = writeln!(
            text,
            "- {}: {} (row {})",
            word::say(fired.say),
            prose(&fired.because),
            code(&fired.row)
        );
        for (target, phrase) in &fired.on {
            let _ = writeln!(text, "  - {}: {}", code(&target.to_string()), prose(phrase));
        }
    }
    text
}

fn steps(plan: &Plan) -> String {
    let mut table = Table::new(&["Wave", "Step", "Forecast, deadline, reversal"]);
    for (place, wave) in plan.waves().into_iter().enumerate() {
        for step in wave {
            let cells = vec![
                (place + 1).to_string(),
                prose(&step.spec.phrase()),
                prose(&step_detail(step)),
            ];
            table.row(LineKind::Step, cells);
        }
    }
    table.markdown()
}

/// The differences, a table for each workload, values whole. Used by the report too.
pub(crate) fn changes_markdown(changes: &[TargetChanges]) -> String {
    let mut text = String::new();
    for of in changes {
        let versions = format!("{} → {}", of.from_version, of.to_version);
        let _ = write!(
            text,
            "### {}: {}\n\n",
            code(&of.target.to_string()),
            prose(&versions)
        );
        if let Some(source) = word::provenance(of) {
            let _ = write!(text, "{}\n\n", prose(&source));
        }
        let mut table = Table::new(&["Where", "Before", "After"]);
        for change in &of.changes {
            let value = |shown: &Option<Shown>| match shown {
                Some(Shown::Value(value)) => code(value),
                Some(masked) => word::masked(masked),
                None => "(none)".to_owned(),
            };
            table.row(
                LineKind::Text,
                vec![code(&change.path), value(&change.from), value(&change.to)],
            );
        }
        let rows = table.markdown();
        let rows = if rows.is_empty() {
            "Nothing in the template.\n"
        } else {
            rows.as_str()
        };
        let _ = writeln!(text, "{rows}");
    }
    text
}
