//! What becomes of finished runs: all records in one Secret, and only so many runs kept. Decides which Secrets go, and
//! in which order; deleting is the journal's.

use super::part::{Kind, Label};
use std::collections::BTreeMap;

/// Secrets that go, in two waves: nothing of the second before all of the first is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Going {
    /// The batch at 0, whose absence tells a sleeper that its place is no place any more; then settled heads.
    pub(super) first: Vec<Label>,
    /// The rest.
    pub(super) then: Vec<Label>,
}

impl Going {
    fn add(&mut self, label: Label) {
        match label.kind {
            Kind::Batch if label.first == 0 => self.first.insert(0, label),
            Kind::Settled => self.first.push(label),
            Kind::Batch | Kind::Chunk => self.then.push(label),
        }
    }
}

/// What a settled Secret that was read back makes superfluous. Chunks of its own carry its end as their place; chunks
/// of an append or of a later settling that is under way carry that or more: they stay.
pub(super) fn covered(settled: &Label, labels: Vec<Label>) -> Going {
    let mut going = Going::default();
    for label in labels {
        let superfluous = match label.kind {
            Kind::Batch | Kind::Chunk => label.first < settled.count,
            Kind::Settled => label.count < settled.count,
        };
        if superfluous && label.run == settled.run {
            going.add(label);
        }
    }
    going
}

/// What goes so that the newest `keep` finished runs and every unfinished one remain; and what was left of older runs
/// by processes that died. What has no head yet may be a run that is being opened: unless it is older than a kept one.
pub(super) fn pruned(labels: Vec<Label>, keep: usize) -> Vec<Going> {
    let mut runs: BTreeMap<String, Vec<Label>> = BTreeMap::new();
    for label in labels {
        runs.entry(label.run.0.clone()).or_default().push(label);
    }
    let finished: Vec<&String> = runs
        .iter()
        .rev()
        .filter(|(_, labels)| is_finished(labels))
        .map(|(run, _)| run)
        .collect();
    let oldest_kept = finished.iter().take(keep).next_back().map(|run| (*run).clone());
    let goes: Vec<String> = finished.into_iter().skip(keep).cloned().collect();
    let mut all = Vec::new();
    for (run, labels) in runs {
        let abandoned = !has_head(&labels) && oldest_kept.as_ref().is_some_and(|oldest| run < *oldest);
        if abandoned || goes.contains(&run) {
            let mut going = Going::default();
            labels.into_iter().for_each(|label| going.add(label));
            all.push(going);
        }
    }
    all
}

fn has_head(labels: &[Label]) -> bool {
    labels
        .iter()
        .any(|label| label.kind != Kind::Chunk && label.first == 0)
}

/// Settled, and nothing was appended since.
fn is_finished(labels: &[Label]) -> bool {
    let end = |kind| {
        labels
            .iter()
            .filter(|label| label.kind == kind)
            .map(Label::end)
            .max()
    };
    end(Kind::Settled).is_some_and(|settled| end(Kind::Batch).is_none_or(|batches| batches <= settled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::id::RunId;

    fn label(text: &str) -> Label {
        let mut words = text.split(' ');
        let run = words.next().unwrap();
        let kind = match words.next().unwrap() {
            "batch" => Kind::Batch,
            "settled" => Kind::Settled,
            _ => Kind::Chunk,
        };
        let mut number = || words.next().unwrap().parse().unwrap();
        let (first, count) = (number(), number());
        Label {
            name: text.to_owned(),
            uid: String::new(),
            run: RunId::from(run),
            kind,
            first,
            count,
        }
    }

    fn names(labels: &[Label]) -> String {
        labels
            .iter()
            .map(|label| label.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn settling_removes_what_is_covered_beginning_with_the_first_batch() {
        let labels = [
            "r1 batch 2 1",
            "r1 chunk 0 0",
            "r1 batch 0 2",
            "r1 settled 0 2",
            "r1 settled 0 3",
            "r1 chunk 3 0",
            "r1 batch 3 1",
            "r2 batch 0 2",
        ];
        let going = covered(&label("r1 settled 0 3"), labels.map(label).to_vec());
        assert_eq!(names(&going.first), "r1 batch 0 2, r1 settled 0 2");
        assert_eq!(names(&going.then), "r1 batch 2 1, r1 chunk 0 0");
    }

    #[test]
    fn the_newest_finished_runs_and_all_unfinished_ones_stay() {
        let check = |labels: &[&str], keep, wanted: &str| {
            let going = pruned(labels.iter().map(|text| label(text)).collect(), keep);
            let told: Vec<String> = going
                .iter()
                .map(|going| format!("{}; {}", names(&going.first), names(&going.then)))
                .collect();
            assert_eq!(told.join(" | "), wanted, "{labels:?}");
        };
        check(
            &["r1 settled 0 5", "r2 settled 0 5", "r3 settled 0 5"],
            2,
            "r1 settled 0 5; ",
        );
        check(&["r1 settled 0 5", "r2 batch 0 5", "r3 settled 0 5"], 2, "");
        check(
            &["r1 settled 0 5", "r1 batch 5 1", "r2 settled 0 1"],
            0,
            "r2 settled 0 1; ",
        );
        check(
            &["r1 chunk 5 0", "r1 batch 3 2", "r1 settled 0 5", "r1 batch 0 3"],
            0,
            "r1 batch 0 3, r1 settled 0 5; r1 chunk 5 0, r1 batch 3 2",
        );
        // What died while it was opened goes once a newer run is finished and kept; what is being opened stays.
        check(
            &["r1 chunk 0 0", "r2 settled 0 5", "r3 chunk 0 0"],
            1,
            "; r1 chunk 0 0",
        );
        check(&["r1 batch 4 1", "r2 settled 0 5"], 1, "; r1 batch 4 1");
        check(&["r1 chunk 0 0", "r2 settled 0 5"], 0, "r2 settled 0 5; ");
    }
}
