//! What astern says: plans, assessments, verdicts and the report of a run, as data, text, Markdown and one HTML
//! page. Reads nothing from the world: every line comes from the plan (record 0 of the journal) or from a record.
//!
//! Text is made as [`line::Line`]s with a kind, so that whoever knows the terminal can colour them.

pub mod line;
pub mod rehearsal;
pub mod report;
pub mod story;

pub mod show;

mod html;
mod markdown;
mod table;
mod tell;
mod text;
mod visible;
mod word;

pub use html::html;
pub use line::{Line, LineKind, joined};
pub use markdown::markdown;
pub use rehearsal::Rehearsal;
pub use report::Report;
pub use show::assessment::{assessment_lines, assessment_markdown, assessment_text};
pub use show::audit::{audit_lines, audit_markdown};
pub use show::choice::{
    choices_lines, choices_markdown, choices_text, refusal_lines, refusal_markdown, refusal_text,
};
pub use show::drift::{drift_lines, drift_markdown, drift_stays_lines};
pub use show::finding::{findings_lines, findings_markdown, findings_text};
pub use show::helm_release::{
    helm_history_lines, helm_history_markdown, helm_lines, helm_markdown, helm_revision_lines,
    helm_revision_markdown,
};
pub use show::owners::{owners_lines, owners_markdown, paused_sentence};
pub use show::plan::{plan_lines, plan_text, title as plan_title};
pub use show::plan_markdown::plan_markdown;
pub use show::rehearsal::rehearsal_lines;
pub use show::rehearsal_markdown::rehearsal_markdown;
pub use show::release::{
    ReleaseRow, StandingRow, release_lines, release_markdown, releases_lines, releases_markdown,
    standing_lines, standing_markdown,
};
pub use show::revert::{place_lines, revert_markdown, revert_message};
pub use show::verdict::{verdict_lines, verdict_markdown, verdict_text};
pub use tell::report;
pub use text::{text, text_lines};
