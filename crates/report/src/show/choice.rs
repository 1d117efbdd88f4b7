//! What there is to go back to, what was chosen, and why each other one was not; and the refusal.

use crate::line::{Line, LineKind, joined, part, parts};
use crate::table::Table;
use crate::visible::{code, prose};
use crate::word;
use astern_model::choice::{Choice, KnownGood, PassedOver, RevisionRef};
use astern_model::decision::Refusal;

/// A table of revisions for each workload (`astern releases`).
pub fn choices_text(choices: &[Choice]) -> String {
    joined(&choices_lines(choices))
}

/// [`choices_text`] as lines.
pub fn choices_lines(choices: &[Choice]) -> Vec<Line> {
    if choices.is_empty() {
        return vec![Line::new(LineKind::Warn, NOTHING)];
    }
    parts(choices.iter().map(|choice| {
        let mut body = table(choice, str::to_owned, str::to_owned).lines();
        body.extend(
            choice
                .notes
                .iter()
                .map(|note| Line::new(LineKind::Warn, format!("! {}", note))),
        );
        if choice.good.is_none() {
            body.insert(0, Line::new(LineKind::Bad, format!("✗ {NONE_GOOD}")));
        }
        part(choice.target.to_string(), body)
    }))
}

/// The same in Markdown.
pub fn choices_markdown(choices: &[Choice]) -> String {
    let mut text = String::new();
    for choice in choices {
        text.push_str(&format!("### {}\n\n", code(&choice.target.to_string())));
        if choice.good.is_none() {
            text.push_str(&format!("**✗ {NONE_GOOD}**\n\n"));
        }
        text.push_str(&table(choice, code, prose).markdown());
        text.push('\n');
        for note in &choice.notes {
            text.push_str(&format!("- ! {}\n", prose(note)));
        }
        if !choice.notes.is_empty() {
            text.push('\n');
        }
    }
    if text.is_empty() {
        format!("{NOTHING}\n")
    } else {
        text
    }
}

/// A refusal: what, why, what there is, and the ways out.
pub fn refusal_text(refusal: &Refusal) -> String {
    joined(&refusal_lines(refusal))
}

/// [`refusal_text`] as lines.
pub fn refusal_lines(refusal: &Refusal) -> Vec<Line> {
    let mut head = vec![Line::new(
        LineKind::Bad,
        format!("✗ refused {}  {}", refusal.code, refusal.summary),
    )];
    head.push(Line::new(LineKind::Text, UNCHANGED));
    let sentences = |list: &[String]| list.iter().map(|text| Line::new(LineKind::Text, text)).collect();
    let choices = if refusal.choices.is_empty() {
        Vec::new()
    } else {
        choices_lines(&refusal.choices)
    };
    parts([
        head,
        part("Why", sentences(&refusal.details)),
        part("What there is", choices),
        part("What you can do", sentences(&refusal.ways_out)),
    ])
}

/// The same in Markdown.
pub fn refusal_markdown(refusal: &Refusal) -> String {
    let items = |list: &[String]| {
        list.iter()
            .map(|text| format!("- {}\n", prose(text)))
            .collect::<String>()
    };
    let mut text = format!(
        "# ✗ Refused {}: {}\n\n{UNCHANGED}\n",
        code(&refusal.code),
        prose(&refusal.summary)
    );
    for (head, list) in [("Why", &refusal.details), ("What you can do", &refusal.ways_out)] {
        if !list.is_empty() {
            text.push_str(&format!("\n## {head}\n\n{}", items(list)));
        }
    }
    if !refusal.choices.is_empty() {
        text.push_str(&format!(
            "\n## What there is\n\n{}",
            choices_markdown(&refusal.choices)
        ));
    }
    text
}

const NOTHING: &str = "The cluster remembers no revision.";
const NONE_GOOD: &str = "nothing to go back to: none of these is known to be good";
const UNCHANGED: &str = "Nothing was changed.";

fn table(choice: &Choice, name: fn(&str) -> String, sentence: fn(&str) -> String) -> Table {
    let mut table = Table::new(&["CHOICE", "VERSION", "REVISION", "KEPT BY", "WHY"]);
    if let Some(KnownGood { revision, because }) = &choice.good {
        let (tone, word) = word::believed(because);
        table.row(
            word::kind(tone),
            row(word, revision, &because.sentence(), name, sentence),
        );
    }
    for PassedOver { revision, why } in &choice.passed_over {
        table.row(LineKind::Dim, row("· passed over", revision, why, name, sentence));
    }
    table
}

fn row(
    word: &str,
    revision: &RevisionRef,
    why: &str,
    name: fn(&str) -> String,
    sentence: fn(&str) -> String,
) -> Vec<String> {
    vec![
        word.to_owned(),
        name(&revision.version),
        match revision.uid.as_str() {
            "" => "-".to_owned(),
            _ => revision.number.to_string(),
        },
        name(&revision.name),
        sentence(why),
    ]
}
