//! From the Secrets of a run to its records: which of them count, where the journal ends, what is missing. Pure.

use super::part::{Kind, Label};
use crate::tip::Tip;
use astern_port::journal::Entry;

/// A head Secret, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) label: Label,
    /// Its entries, or what is wrong with it.
    pub(super) content: Result<Vec<Entry>, String>,
}

/// What a run's Secrets say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Folded {
    /// The records, from the first one to the last one before anything that is broken.
    pub(super) entries: Vec<Entry>,
    /// Where they end.
    pub(super) tip: Tip,
    /// The heads that they come from, in order.
    pub(super) used: Vec<Label>,
    /// Why there may be more than could be read.
    pub(super) broken: Option<Broken>,
}

/// A record that is missing or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) seq: u64,
    pub(super) how: String,
}

impl Folded {
    /// The uid of the batch at 0. It is the first to go when a run is settled or pruned: while it is there, every
    /// other batch is.
    pub(super) fn root(&self) -> Option<String> {
        self.used
            .first()
            .filter(|label| label.kind == Kind::Batch)
            .map(|label| label.uid.clone())
    }

    /// Whether the head of this name counts.
    pub(super) fn uses(&self, name: &str) -> bool {
        self.used.iter().any(|label| label.name == name)
    }
}

/// Follows the batches from 0. A settled Secret stands for every batch that it covers; a batch inside a settled or a
/// longer one was written by somebody who had slept, and never counted.
pub(super) fn fold(mut parts: Vec<Part>) -> Folded {
    // At one place the settled one first, the longest first.
    parts.sort_by_key(|part| {
        (
            part.label.first,
            part.label.kind != Kind::Settled,
            u64::MAX - part.label.count,
            part.label.name.clone(),
        )
    });
    let mut folded = Folded::default();
    loop {
        let at = folded.tip.head;
        let here = |part: &&Part| part.label.first == at && part.label.kind != Kind::Chunk;
        let whole = parts
            .iter()
            .filter(here)
            .find_map(|part| Some((&part.label, part.content.as_ref().ok()?)));
        let Some((label, entries)) = whole else {
            folded.broken = broken(&parts, at);
            return folded;
        };
        // What the content says counts; labels can be changed by anybody who may write the object's metadata.
        if entries.is_empty() || entries.iter().zip(at..).any(|(entry, seq)| entry.seq.0 != seq) {
            folded.broken = Some(Broken {
                seq: at,
                how: format!("in Secret {} is another one", label.name),
            });
            return folded;
        }
        folded.tip = entries
            .iter()
            .fold(folded.tip, |tip, entry| tip.then(entry.author));
        folded.entries.extend(entries.iter().cloned());
        folded.used.push(label.clone());
    }
}

/// What stands at the place after the last record that could be read, if there is more.
fn broken(parts: &[Part], at: u64) -> Option<Broken> {
    let damaged = parts.iter().find(|part| part.label.first == at).and_then(|part| {
        let why = part.content.as_ref().err()?;
        Some(Broken {
            seq: at,
            how: format!("in Secret {} is damaged: {why}", part.label.name),
        })
    });
    damaged.or_else(|| {
        let later = parts.iter().find(|part| part.label.first > at)?;
        Some(Broken {
            seq: at,
            how: format!("is missing, and Secret {} after it is there", later.label.name),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::part::{batch_name, settled_name};
    use super::*;
    use astern_model::id::{RunId, Seq};
    use astern_port::journal::Author;

    fn part(kind: Kind, first: u64, count: u64, word: &str) -> Part {
        let run = RunId::from("r1");
        let name = if kind == Kind::Settled {
            settled_name(&run, count)
        } else {
            batch_name(&run, first)
        };
        let author = |seq| {
            if seq == 2 {
                Author::Takeover
            } else {
                Author::Request
            }
        };
        let entry = |seq| Entry {
            seq: Seq(seq),
            author: author(seq),
            bytes: word.as_bytes().to_vec(),
        };
        let label = Label {
            name,
            uid: word.to_owned(),
            run,
            kind,
            first,
            count,
        };
        Part {
            label,
            content: Ok((first..first + count).map(entry).collect()),
        }
    }

    fn batch(first: u64, count: u64) -> Part {
        part(Kind::Batch, first, count, "batch")
    }

    fn torn(mut part: Part) -> Part {
        part.content = Err("its head is not JSON".to_owned());
        part
    }

    fn told(mut parts: Vec<Part>) -> String {
        parts.reverse();
        let folded = fold(parts);
        assert_eq!(folded.entries.len() as u64, folded.tip.head);
        let used: Vec<&str> = folded
            .used
            .iter()
            .map(|label| label.name.trim_start_matches("astern-run-r1"))
            .collect();
        let epoch = folded
            .tip
            .epoch
            .map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        let broken = folded.broken.map_or_else(String::new, |broken| {
            format!("; record {} {}", broken.seq, broken.how)
        });
        let used = if used.is_empty() {
            String::new()
        } else {
            format!(": {}", used.join(" "))
        };
        format!("head {} epoch {epoch}{used}{broken}", folded.tip.head)
    }

    #[test]
    fn the_records_are_those_that_follow_one_another_from_the_first() {
        let settled = |count| part(Kind::Settled, 0, count, "settled");
        let text = [
            told(vec![]),
            told(vec![batch(0, 2), batch(2, 1), batch(3, 4)]),
            told(vec![batch(0, 2), batch(2, 1), settled(3)]),
            told(vec![settled(3), batch(3, 2)]),
            told(vec![settled(3), settled(5), batch(3, 2), batch(5, 1)]),
            told(vec![settled(5), batch(2, 1), batch(4, 3)]),
            told(vec![batch(0, 2), batch(2, 1), torn(settled(3))]),
            told(vec![batch(0, 2), batch(3, 1)]),
            told(vec![batch(0, 2), torn(batch(2, 1)), batch(3, 1)]),
            told(vec![batch(7, 1)]),
        ];
        insta::assert_snapshot!(text.join("\n"), @r"
        head 0 epoch -
        head 7 epoch 2: -000000 -000002 -000003
        head 3 epoch 2: .settled-000003
        head 5 epoch 2: .settled-000003 -000003
        head 6 epoch 2: .settled-000005 -000005
        head 5 epoch 2: .settled-000005
        head 3 epoch 2: -000000 -000002
        head 2 epoch -: -000000; record 2 is missing, and Secret astern-run-r1-000003 after it is there
        head 2 epoch -: -000000; record 2 in Secret astern-run-r1-000002 is damaged: its head is not JSON
        head 0 epoch -; record 0 is missing, and Secret astern-run-r1-000007 after it is there
        ");
    }

    #[test]
    fn a_label_that_lies_about_the_content_is_found() {
        let mut liar = batch(2, 1);
        liar.label.first = 3;
        assert_eq!(
            told(vec![batch(0, 2), batch(2, 1), liar]),
            "head 3 epoch 2: -000000 -000002; record 3 in Secret astern-run-r1-000002 is another one"
        );
    }
}
