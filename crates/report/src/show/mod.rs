//! How single nouns are shown before and after a run: one file a noun, each as lines and as Markdown.

pub mod assessment;
pub mod audit;
pub mod choice;
pub(crate) mod config;
pub mod drift;
pub mod finding;
mod helm;
pub mod helm_release;
mod likewise;
pub mod owners;
pub mod plan;
pub mod plan_markdown;
pub mod rehearsal;
pub mod rehearsal_markdown;
pub mod release;
pub mod revert;
pub mod verdict;
