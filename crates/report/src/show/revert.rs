//! A run's revert in a source repository: what its commit says, and what its pull request says.

use crate::line::{Line, LineKind};
use crate::visible::{code, prose, visible};
use astern_model::approval::Approval;
use astern_model::choice::clock;
use astern_model::id::RunId;
use astern_model::plan::{Intent, Plan};
use astern_model::source::Place;
use std::fmt::Write as _;

/// Longer first lines are cut by whoever lists commits.
const SUBJECT: usize = 72;

/// The first line and the rest of the commit's message.
pub fn revert_message(run: &RunId, plan: &Plan, approval: Option<&Approval>) -> (String, String) {
    let versions: Vec<String> = plan
        .changes
        .iter()
        .filter(|change| change.from_version != change.to_version)
        .map(|change| {
            format!(
                "{} {} to {}",
                change.target.name, change.from_version, change.to_version
            )
        })
        .collect();
    let verb = match plan.intent {
        // A run that lets owners go on wrote nothing that Git could say.
        Intent::RollBack | Intent::ResumeOwners | Intent::RepairRelease { .. } => "Take back",
        Intent::Undo { .. } => "Undo the rollback of",
    };
    let mut subject = if versions.is_empty() {
        format!("{verb} {}", plan.platform)
    } else {
        format!("{verb} {}", versions.join(", "))
    };
    if subject.chars().count() > SUBJECT {
        subject = format!("{verb} {} workloads of {}", versions.len(), plan.platform);
    }
    let mut body = String::new();
    if let Some(approval) = approval {
        let _ = writeln!(body, "{}\n", visible(&approval.reason));
    }
    let _ = writeln!(
        body,
        "This is what runs since run {run} in namespace {}",
        plan.namespace
    );
    let by = approval.map(|approval| format!("(approved by {}, {}).", approval.by, clock(approval.at)));
    let _ = write!(body, "{}", by.unwrap_or_else(|| ".".to_owned()));
    (visible(&subject), body)
}

/// The text of a pull request, in Markdown.
pub fn revert_markdown(run: &RunId, plan: &Plan, approval: Option<&Approval>, places: &[Place]) -> String {
    let mut text = format!(
        "Run {} of astern went back in namespace {}; this says the same in Git.\n\n",
        code(run.as_str()),
        code(&plan.namespace)
    );
    if let Some(approval) = approval {
        let _ = writeln!(text, "- why: {}", prose(&approval.reason));
        let _ = writeln!(
            text,
            "- approved by {} at {}",
            code(&approval.by),
            clock(approval.at)
        );
    }
    for change in &plan.changes {
        let _ = writeln!(
            text,
            "- {}: {} → {}",
            code(&change.target.to_string()),
            code(&change.from_version),
            code(&change.to_version)
        );
    }
    let _ = writeln!(text, "\n## What changes\n");
    for place in places {
        let _ = writeln!(
            text,
            "- {}, {}: {} → {}",
            code(&place.file),
            code(&place.at),
            code(&place.from),
            code(&place.to)
        );
    }
    let _ = write!(
        text,
        "\nUntil this is merged, whoever deploys from here would write back what the run replaced: whoever is paused stays paused. Once they \
         have seen the merged commit, they can go on. The whole account: `astern report {run}`.\n"
    );
    text
}

/// The places for a terminal, file by file.
pub fn place_lines(places: &[Place]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut file = "";
    for place in places {
        if place.file != file {
            file = &place.file;
            lines.push(Line::new(LineKind::Head, file));
        }
        let change = format!("  {}: {} → {}", place.at, place.from, place.to);
        lines.push(Line::new(LineKind::Text, change));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::place_lines;
    use crate::line::joined;
    use astern_model::source::Place;

    #[test]
    fn places_are_told_by_file_and_steer_no_terminal() {
        let place = |file: &str, at: &str, to: &str| Place {
            file: file.to_owned(),
            at: at.to_owned(),
            from: "api:v2".to_owned(),
            to: to.to_owned(),
        };
        let places = [
            place("a.yaml", "image", "api:v1"),
            place("a.yaml", "level", "\u{1b}[2Jinfo\nx"),
            place("b\u{202e}.yaml", "image", "api:v1"),
        ];
        assert_eq!(
            joined(&place_lines(&places)),
            "a.yaml\n  image: api:v2 → api:v1\n  level: api:v2 → info x\nb\u{fffd}.yaml\n  image: api:v2 → api:v1\n"
        );
    }
}
