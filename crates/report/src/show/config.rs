//! What changes in ConfigMaps and Secrets, as lines and as items: from what to what, key by key, and how each reader comes to
//! read it. Values that may be secret are told as before and after.

use super::helm::changed;
use crate::line::{Line, LineKind};
use astern_model::plan::ConfigChanges;

/// The objects of a plan or of a run.
pub(crate) fn config_lines(config: &[ConfigChanges]) -> Vec<Line> {
    config.iter().flat_map(of_object).collect()
}

/// The same, an item each.
pub(crate) fn config_items(config: &[ConfigChanges]) -> Vec<String> {
    config_lines(config)
        .into_iter()
        .map(|line| line.text.trim_start().to_owned())
        .collect()
}

fn of_object(of: &ConfigChanges) -> Vec<Line> {
    let verb = if of.anew {
        "is made anew as of"
    } else {
        "goes back to"
    };
    let mut lines = vec![Line::new(
        LineKind::Text,
        format!("{} {verb} {}", of.object, of.to),
    )];
    let because = of.because.iter();
    lines.extend(because.map(|because| Line::new(LineKind::Text, format!("  because {because}"))));
    let changed = changed(&of.changes).into_iter();
    lines.extend(changed.map(|line| Line::new(line.kind, format!("  {}", line.text.trim_start()))));
    let proof = of.proof.iter();
    lines.extend(proof.map(|proof| Line::new(LineKind::Dim, format!("  {proof}"))));
    let readers = of.readers.iter();
    lines.extend(readers.map(|(target, how)| Line::new(LineKind::Dim, format!("  {target} {how}"))));
    lines
}
