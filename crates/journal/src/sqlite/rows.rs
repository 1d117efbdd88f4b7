//! The tables of the store, and the chain of hashes over a run's records: each record's hash covers the one before,
//! so that an altered, lost or exchanged record is found when it is read. Knows no file and no transaction.

use crate::tip::{Tip, author_from};
use astern_model::id::{RunId, Seq};
use astern_port::journal::Entry;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// `ASTR`, in the file's header, so that no other program's file is taken for ours.
pub(super) const APPLICATION_ID: i32 = 0x4153_5452;

/// The version of the tables below.
pub(super) const SCHEMA_VERSION: i32 = 1;

/// The tables. `head`, `epoch` and `chain` of a run repeat what its records say, so that a lost last record shows.
pub(super) const SCHEMA: &str = "
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE,
    head INTEGER NOT NULL,
    epoch INTEGER,
    chain BLOB NOT NULL,
    settled INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE entries (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    author TEXT NOT NULL,
    bytes BLOB NOT NULL,
    chain BLOB NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT;
CREATE TABLE vault (
    name TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    keyed_hash TEXT NOT NULL,
    size INTEGER NOT NULL,
    digest BLOB NOT NULL,
    packed BLOB NOT NULL
) STRICT;
CREATE TABLE vault_key (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    key BLOB NOT NULL
) STRICT;
PRAGMA application_id = 1095980114;
PRAGMA user_version = 1;
";

/// One link: SHA-256 over the link before, and the record's place, author and bytes.
pub(super) type Link = [u8; 32];

/// What the first record's link continues.
pub(super) fn first_link(run: &RunId) -> Link {
    Sha256::digest(format!("astern.dev/run\n{run}\n")).into()
}

/// The link of the record at `seq`.
pub(super) fn link(before: &[u8], seq: u64, author: &str, bytes: &[u8]) -> Link {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(seq.to_be_bytes());
    hash.update((author.len() as u64).to_be_bytes());
    hash.update(author);
    hash.update(bytes);
    hash.finalize().into()
}

/// The row of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunRow {
    pub(super) id: i64,
    pub(super) tip: Tip,
    pub(super) chain: Vec<u8>,
}

/// Reads the row of a run.
pub(super) async fn run_row(
    connection: &mut SqliteConnection,
    run: &RunId,
) -> Result<Option<RunRow>, sqlx::Error> {
    let row = sqlx::query("SELECT id, head, epoch, chain FROM runs WHERE run = ?1")
        .bind(run.as_str())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (head, epoch): (i64, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
    let tip = Tip {
        head: head.cast_unsigned(),
        epoch: epoch.map(i64::cast_unsigned),
    };
    Ok(Some(RunRow {
        id: row.try_get(0)?,
        tip,
        chain: row.try_get(3)?,
    }))
}

/// A record as it lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryRow {
    pub(super) seq: u64,
    pub(super) author: Vec<u8>,
    pub(super) bytes: Vec<u8>,
    pub(super) chain: Vec<u8>,
}

/// Reads the records from `from` on, in order, and the one before them, whose link they continue.
pub(super) async fn entry_rows(
    connection: &mut SqliteConnection,
    row: &RunRow,
    from: Seq,
) -> Result<Vec<EntryRow>, sqlx::Error> {
    let first = i64::try_from(from.0).unwrap_or(i64::MAX).saturating_sub(1);
    sqlx::query(
        "SELECT seq, CAST(author AS BLOB), bytes, chain FROM entries WHERE run_id = ?1 AND seq >= ?2 ORDER BY seq",
    )
    .bind(row.id)
    .bind(first)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|row| {
        let seq: i64 = row.try_get(0)?;
        let (author, bytes, chain) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        Ok(EntryRow { seq: seq.cast_unsigned(), author, bytes, chain })
    })
    .collect()
}

/// Where a run's records do not hold together, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) seq: u64,
    pub(super) how: &'static str,
}

/// The entries from `from` on, if all of them are there and unaltered. `rows` begin with the one before `from`.
pub(super) fn verified(
    run: &RunId,
    row: &RunRow,
    from: Seq,
    rows: Vec<EntryRow>,
) -> Result<Vec<Entry>, Torn> {
    if from.0 >= row.tip.head {
        return Ok(Vec::new());
    }
    let mut rows = rows.into_iter();
    let mut before = match from.0.checked_sub(1) {
        None => first_link(run).to_vec(),
        Some(seq) => match rows.next() {
            Some(row) if row.seq == seq => row.chain,
            _ => {
                return Err(Torn {
                    seq,
                    how: "is missing",
                });
            }
        },
    };
    let mut entries = Vec::new();
    for seq in from.0..row.tip.head {
        let Some(row) = rows.next().filter(|row| row.seq == seq) else {
            return Err(Torn {
                seq,
                how: "is missing",
            });
        };
        let author = std::str::from_utf8(&row.author)
            .ok()
            .and_then(|text| author_from(text).map(|who| (text, who)));
        let Some((text, author)) = author else {
            return Err(Torn {
                seq,
                how: "has no known author",
            });
        };
        if link(&before, seq, text, &row.bytes)[..] != row.chain {
            return Err(Torn {
                seq,
                how: "was altered: its hash does not match",
            });
        }
        before = row.chain;
        entries.push(Entry {
            seq: Seq(seq),
            author,
            bytes: row.bytes,
        });
    }
    if before != row.chain {
        return Err(Torn {
            seq: row.tip.head.saturating_sub(1),
            how: "is not the one that was appended last",
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chained(bytes: &[&[u8]]) -> (RunRow, Vec<EntryRow>) {
        let run = RunId::from("r1");
        let mut chain = first_link(&run).to_vec();
        let mut rows = Vec::new();
        for (seq, bytes) in (0..).zip(bytes) {
            chain = link(&chain, seq, "request", bytes).to_vec();
            rows.push(EntryRow {
                seq,
                author: b"request".to_vec(),
                bytes: bytes.to_vec(),
                chain: chain.clone(),
            });
        }
        (
            RunRow {
                id: 1,
                tip: Tip {
                    head: bytes.len() as u64,
                    epoch: None,
                },
                chain,
            },
            rows,
        )
    }

    #[test]
    fn each_way_of_damaging_a_record_is_found_at_its_place() {
        let check = |damage: &dyn Fn(&mut RunRow, &mut Vec<EntryRow>), wanted: Option<u64>| {
            let (mut row, mut rows) = chained(&[b"a", b"b", b"c", b"d"]);
            damage(&mut row, &mut rows);
            let found = verified(&RunId::from("r1"), &row, Seq(0), rows)
                .err()
                .map(|torn| torn.seq);
            assert_eq!(found, wanted);
        };
        check(&|_, _| {}, None);
        check(&|_, rows| rows[2].bytes[0] ^= 1, Some(2));
        check(&|_, rows| rows[1].author = b"takeover".to_vec(), Some(1));
        check(&|_, rows| rows[1].author = vec![0xff], Some(1));
        check(&|_, rows| drop(rows.remove(1)), Some(1));
        check(&|_, rows| drop(rows.remove(3)), Some(3));
        check(&|_, rows| rows.clear(), Some(0));
        check(&|row, _| row.tip.head = 5, Some(4));
        check(&|row, _| row.tip.head = 3, Some(2));
        check(
            &|_, rows| {
                let taken = rows[1].bytes.clone();
                rows[1].bytes = rows[2].bytes.clone();
                rows[2].bytes = taken;
            },
            Some(1),
        );
    }

    #[test]
    fn reading_from_the_middle_checks_against_the_record_before() {
        let (row, rows) = chained(&[b"a", b"b", b"c", b"d"]);
        let run = RunId::from("r1");
        assert_eq!(verified(&run, &row, Seq(2), rows[1..].to_vec()).unwrap().len(), 2);
        let mut altered = rows[1..].to_vec();
        altered[0].chain[0] ^= 1;
        assert_eq!(verified(&run, &row, Seq(2), altered).unwrap_err().seq, 2);
        assert_eq!(
            verified(&RunId::from("r2"), &row, Seq(0), rows).unwrap_err().seq,
            0
        );
    }
}
