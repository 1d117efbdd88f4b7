//! The Secrets of a run: their names, labels and content. A batch, or a whole settled run, is one head Secret; what
//! does not fit there lies in chunk Secrets that the head names and that are written before it. Talks to nobody.

use crate::api::SECRET_BYTES;
use crate::keyed::digest;
use crate::packed;
use crate::tip::{author_from, author_text};
use astern_model::id::{RunId, Seq, hex};
use astern_port::journal::{Author, Entry};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The type of every Secret of the journal.
pub(super) const TYPE: &str = "astern.dev/journal";

/// The label with the run's id.
pub(super) const RUN: &str = "astern.dev/run";
/// The label with what the Secret is: [`Kind`].
pub(super) const PART: &str = "astern.dev/part";
/// The label with the first record's place; of a settled run's chunk, the place after its last one.
pub(super) const SEQ: &str = "astern.dev/seq";
/// The label with how many records it holds.
const COUNT: &str = "astern.dev/count";
/// The label with the author of the last record, for people.
const AUTHOR: &str = "astern.dev/author";

const HEAD: &str = "head.json";
const RECORDS: &str = "records.gz";
const CHUNK: &str = "chunk";

/// The version of the head's format.
const FORMAT: u64 = 1;

/// Bytes of a head beside its records: two numbers and a word for each record, and the chunks' names.
const HEAD_BYTES: usize = 64 * 1024;

/// What a Secret of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// One appended batch.
    Batch,
    /// All records of a finished run.
    Settled,
    /// A piece of either.
    Chunk,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Settled => "settled",
            Self::Chunk => "chunk",
        }
    }
}

/// A Secret as its labels tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) run: RunId,
    pub(super) kind: Kind,
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Label {
    /// None when the labels are not ours.
    pub(super) fn of(metadata: &ObjectMeta) -> Option<Self> {
        let labels = metadata.labels.as_ref()?;
        let number = |label: &str| labels.get(label)?.parse().ok();
        let word = labels.get(PART)?;
        let kind = [Kind::Batch, Kind::Settled, Kind::Chunk]
            .into_iter()
            .find(|kind| kind.word() == word)?;
        Some(Self {
            name: metadata.name.clone()?,
            uid: metadata.uid.clone().unwrap_or_default(),
            run: RunId(labels.get(RUN)?.clone()),
            kind,
            first: number(SEQ)?,
            count: number(COUNT)?,
        })
    }

    /// The place after the last record.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// Whether the id can be part of a Secret's name and a label's value: a DNS label.
pub(super) fn is_nameable(run: &RunId) -> bool {
    let text = run.as_str();
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let outer = |c: Option<char>| c.is_some_and(|c| c != '-');
    text.len() <= 63 && text.chars().all(inner) && outer(text.chars().next()) && outer(text.chars().last())
}

/// The name of the batch that begins at `first`. Two appenders at one head want the same name, and one gets it.
pub(super) fn batch_name(run: &RunId, first: u64) -> String {
    format!("astern-run-{run}-{first:06}")
}

/// The name of a settled run of `count` records. A dot cannot be in a run's id, so no batch is called so.
pub(super) fn settled_name(run: &RunId, count: u64) -> String {
    format!("astern-run-{run}.settled-{count:06}")
}

/// Secrets to be created: the chunks, then the head, whose creation is the commit.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) chunks: Vec<Secret>,
    pub(super) head: Secret,
}

/// Makes the Secrets of `entries`, which begin at `entries[0].seq` and follow one another. `nonce` tells this attempt
/// from everybody else's, also from our own at the same place.
pub(super) fn seal(kind: Kind, run: &RunId, entries: &[Entry], nonce: &str) -> Sealed {
    let first = entries.first().map_or(0, |entry| entry.seq.0);
    let end = first + entries.len() as u64;
    let name = if kind == Kind::Settled {
        settled_name(run, end)
    } else {
        batch_name(run, first)
    };
    let bytes: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry.bytes.iter().copied())
        .collect();
    let records = packed::gzip(&bytes);
    let in_head = records.len() + HEAD_BYTES <= SECRET_BYTES;
    let pieces: Vec<&[u8]> = if in_head {
        Vec::new()
    } else {
        records.chunks(SECRET_BYTES).collect()
    };
    let chunk_name = |number: usize| format!("{name}.{nonce}-{number:03}");
    let head = json!({
        "format": FORMAT,
        "run": run.as_str(),
        "first": first,
        "nonce": nonce,
        "authors": entries.iter().map(|entry| author_text(entry.author)).collect::<Vec<_>>(),
        "lengths": entries.iter().map(|entry| entry.bytes.len()).collect::<Vec<_>>(),
        "digest": hex(&digest(&bytes)),
        "chunks": (0..pieces.len()).map(chunk_name).collect::<Vec<_>>(),
    });
    // A chunk of a settled run is labelled with its end: nothing that is covered by an earlier settling.
    let chunk_place = if kind == Kind::Settled { end } else { first };
    let author = entries
        .last()
        .map_or_else(String::new, |entry| author_text(entry.author));
    let chunk = |(number, piece): (usize, &&[u8])| {
        secret(
            chunk_name(number),
            labels(run, Kind::Chunk, chunk_place, 0, &author),
            [(CHUNK, piece.to_vec())],
        )
    };
    let chunks = pieces.iter().enumerate().map(chunk).collect();
    let head_bytes = head.to_string().into_bytes();
    let head_labels = labels(run, kind, first, entries.len() as u64, &author);
    let head = if in_head {
        secret(name, head_labels, [(HEAD, head_bytes), (RECORDS, records)])
    } else {
        secret(name, head_labels, [(HEAD, head_bytes)])
    };
    Sealed { chunks, head }
}

fn labels(run: &RunId, kind: Kind, first: u64, count: u64, author: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/managed-by", "astern".to_owned()),
        (RUN, run.0.clone()),
        (PART, kind.word().to_owned()),
        (SEQ, first.to_string()),
        (COUNT, count.to_string()),
        (AUTHOR, author.to_owned()),
    ]
    .into_iter()
    .map(|(label, value)| (label.to_owned(), value))
    .collect()
}

fn secret<const KEYS: usize>(
    name: String,
    labels: BTreeMap<String, String>,
    data: [(&str, Vec<u8>); KEYS],
) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE.to_owned()),
        immutable: Some(true),
        data: Some(
            data.into_iter()
                .map(|(key, bytes)| (key.to_owned(), ByteString(bytes)))
                .collect(),
        ),
        ..Secret::default()
    }
}

/// The attempt that made a head.
pub(super) fn nonce(head: &Secret) -> Option<String> {
    Some(parsed(head)?.get("nonce")?.as_str()?.to_owned())
}

fn parsed(head: &Secret) -> Option<Value> {
    serde_json::from_slice(&head.data.as_ref()?.get(HEAD)?.0).ok()
}

/// The entries of a head Secret, with its chunks by name.
///
/// # Errors
/// What is wrong with it, as the end of a sentence. Its content is never quoted.
pub(super) fn open(head: &Secret, chunks: &BTreeMap<&str, &Secret>) -> Result<Vec<Entry>, String> {
    let document = parsed(head).ok_or("its head is not JSON")?;
    if document["format"] != FORMAT {
        return Err("its format is of another version of astern".to_owned());
    }
    let first = document["first"]
        .as_u64()
        .ok_or("its head names no first record")?;
    let list = |field: &str| {
        document[field]
            .as_array()
            .ok_or(format!("its head has no {field}"))
    };
    let author = |author: &Value| author_from(author.as_str().unwrap_or_default());
    let authors: Option<Vec<Author>> = list("authors")?.iter().map(author).collect();
    let lengths: Option<Vec<u64>> = list("lengths")?.iter().map(Value::as_u64).collect();
    let (authors, lengths) = (
        authors.ok_or("an author is unknown")?,
        lengths.ok_or("a length is no number")?,
    );
    let mut records = Vec::new();
    for name in list("chunks")? {
        let name = name.as_str().unwrap_or_default();
        let chunk = chunks.get(name).and_then(|chunk| chunk.data.as_ref()?.get(CHUNK));
        records.extend_from_slice(&chunk.ok_or(format!("its chunk {name} is missing"))?.0);
    }
    if let Some(own) = head.data.as_ref().and_then(|data| data.get(RECORDS)) {
        records.extend_from_slice(&own.0);
    }
    let size = lengths
        .iter()
        .fold(0_u64, |sum, length| sum.saturating_add(*length));
    let bytes = packed::gunzip(&records, size).ok_or("its records cannot be unpacked")?;
    if document["digest"] != hex(&digest(&bytes)) || authors.len() != lengths.len() || authors.is_empty() {
        return Err("its records do not match their hash".to_owned());
    }
    let mut rest = bytes.as_slice();
    let mut entries = Vec::with_capacity(authors.len());
    for ((author, length), seq) in authors.into_iter().zip(lengths).zip(first..) {
        // The lengths' sum is the size, so the bytes suffice.
        let (record, after) = rest.split_at(usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()));
        rest = after;
        entries.push(Entry {
            seq: Seq(seq),
            author,
            bytes: record.to_vec(),
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use astern_model::id::Epoch;

    fn entries(first: u64, sizes: &[usize]) -> Vec<Entry> {
        let noise = |seq: u64, size: usize| {
            let mut state = seq + 88_172_645;
            (0..size)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[2]
                })
                .collect()
        };
        let author = |seq| {
            if seq == 0 {
                Author::Opening
            } else {
                Author::Holder(Epoch(seq - 1))
            }
        };
        let entry = |(seq, size): (u64, &usize)| Entry {
            seq: Seq(seq),
            author: author(seq),
            bytes: noise(seq, *size),
        };
        (first..).zip(sizes).map(entry).collect()
    }

    fn opened(sealed: &Sealed) -> Result<Vec<Entry>, String> {
        let chunks = sealed
            .chunks
            .iter()
            .map(|chunk| (chunk.metadata.name.as_deref().unwrap(), chunk))
            .collect();
        open(&sealed.head, &chunks)
    }

    fn size(secret: &Secret) -> usize {
        secret
            .data
            .as_ref()
            .unwrap()
            .values()
            .map(|value| value.0.len())
            .sum()
    }

    #[test]
    fn a_batch_of_any_size_comes_back_from_secrets_that_the_server_takes() {
        let check = |first, sizes: &[usize], chunks: usize| {
            let entries = entries(first, sizes);
            let sealed = seal(Kind::Batch, &RunId::from("r1"), &entries, "00ff");
            assert_eq!(sealed.chunks.len(), chunks);
            assert!(
                sealed
                    .chunks
                    .iter()
                    .chain([&sealed.head])
                    .all(|secret| size(secret) <= SECRET_BYTES)
            );
            assert_eq!(opened(&sealed).unwrap(), entries);
            assert_eq!(nonce(&sealed.head).unwrap(), "00ff");
            let label = Label::of(&sealed.head.metadata).unwrap();
            assert_eq!(
                (label.kind, label.first, label.count),
                (Kind::Batch, first, sizes.len() as u64)
            );
        };
        check(0, &[0], 0);
        check(7, &[10, 0, 3], 0);
        check(12, &[SECRET_BYTES - HEAD_BYTES - 1000], 0);
        check(0, &[SECRET_BYTES], 2);
        check(3, &[100, 3 << 20], 4);
        check(3, &[50; 1000], 0);
    }

    #[test]
    fn a_damaged_batch_does_not_come_back() {
        let whole = seal(
            Kind::Settled,
            &RunId::from("r1"),
            &entries(0, &[1 << 20, 5]),
            "00ff",
        );
        let check = |damage: &dyn Fn(&mut Sealed), wanted: &str| {
            let mut sealed = whole.clone();
            damage(&mut sealed);
            assert_eq!(opened(&sealed).map(|_| ()).unwrap_err(), wanted);
        };
        let lost = "its chunk astern-run-r1.settled-000002.00ff-001 is missing";
        check(&|sealed| drop(sealed.chunks.pop()), lost);
        check(&|sealed| sealed.head.data = None, "its head is not JSON");
        check(
            &|sealed| {
                sealed.chunks[0]
                    .data
                    .as_mut()
                    .unwrap()
                    .get_mut(CHUNK)
                    .unwrap()
                    .0
                    .truncate(9)
            },
            "its records cannot be unpacked",
        );
        let altered = |sealed: &mut Sealed| {
            let head = sealed.head.data.as_mut().unwrap().get_mut(HEAD).unwrap();
            let text = String::from_utf8(head.0.clone())
                .unwrap()
                .replace("\"digest\":\"", "\"digest\":\"0");
            head.0 = text.into_bytes();
        };
        check(&altered, "its records do not match their hash");
    }

    #[test]
    fn only_a_dns_label_names_a_run() {
        for good in ["r1", "r20261123-141503-7f3c", "a"] {
            assert!(is_nameable(&RunId::from(good)), "{good}");
        }
        for bad in ["", "-r", "r-", "R1", "r.1", "r/1", &"r".repeat(64)] {
            assert!(!is_nameable(&RunId::from(bad)), "{bad}");
        }
    }
}
