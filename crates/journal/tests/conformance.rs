//! The suites on the stores that need nothing but this machine.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and tells its runner on stdout"
)]

use astern_conformance::{Damage, Damaged, Report, journal, ledger, vault};
use astern_journal::{MemoryJournal, MemoryLedger, MemoryVault, Sqlite};
use astern_model::content::ContentRef;
use astern_model::id::{RunId, Seq};
use astern_model::release::ReleaseName;
use astern_port::Failure;
use astern_port::journal::{AppendError, Author, Entry, Journal};
use astern_port::ledger::{Entries, Ledger, Version, WriteError};
use astern_port::vault::Vault;
use async_trait::async_trait;
use jiff::SignedDuration;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_promises_of_a_journal() {
    holds(&journal::suite(async |_| Memory::default()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_promises_of_a_vault() {
    holds(&vault::suite(async |_| Memory::default()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_promises_of_a_ledger() {
    holds(&ledger::suite(async |_| Memory::default()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_promises_of_a_journal() {
    holds(&journal::suite(async |_| File::fresh()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_promises_of_a_vault() {
    holds(&vault::suite(async |_| File::fresh()).await);
}

/// Says how each case came out, and fails when one is broken.
fn holds(report: &Report) {
    print!("{report}");
    report.assert_holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_finds_each_broken_promise() {
    let faults = [
        (Fault::IgnoresTheFence, "a_takeovers_own_place_is_the_epoch"),
        (
            Fault::AppendsAnywhere,
            "a_batch_at_a_place_that_is_not_the_head_conflicts_and_stores_nothing",
        ),
        (Fault::SplitsBatches, "a_reader_never_sees_half_a_batch"),
        (
            Fault::TrimsRecords,
            "records_come_back_in_order_with_exact_bytes_and_authors",
        ),
        (Fault::ListsOldestFirst, "runs_are_listed_newest_first"),
        (Fault::NeverWaits, "waiting_ends_when_somebody_appends"),
        (
            Fault::NeverPrunes,
            "settling_keeps_the_newest_finished_runs_and_every_unfinished_one",
        ),
    ];
    let suites = faults.map(|(fault, case)| async move {
        let report = journal::suite(async |_| Faulty {
            inner: MemoryJournal::default(),
            fault,
        })
        .await;
        assert!(report.broken().contains(&case), "{fault:?}:\n{report}");
    });
    futures::future::join_all(suites).await;
    let report = vault::suite(async |_| Memory {
        vault: MemoryVault::with_key([7; 32]),
        ..Memory::default()
    })
    .await;
    assert_eq!(
        report.broken(),
        ["two_vaults_give_the_same_bytes_different_hashes"]
    );
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    IgnoresTheFence,
    AppendsAnywhere,
    SplitsBatches,
    TrimsRecords,
    ListsOldestFirst,
    NeverWaits,
    NeverPrunes,
}

/// A journal with one fault.
#[derive(Clone)]
struct Faulty {
    inner: MemoryJournal,
    fault: Fault,
}

#[async_trait]
impl Journal for Faulty {
    async fn append(
        &self,
        run: &RunId,
        at: Seq,
        author: Author,
        batch: &[Vec<u8>],
    ) -> Result<Seq, AppendError> {
        if self.fault == Fault::SplitsBatches && !batch.is_empty() {
            let mut head = at;
            for bytes in batch {
                head = self
                    .inner
                    .append(run, head, author, std::slice::from_ref(bytes))
                    .await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            return Ok(head);
        }
        match (self.inner.append(run, at, author, batch).await, self.fault) {
            (Err(AppendError::Fenced { by }), Fault::IgnoresTheFence) => {
                self.inner.append(run, at, Author::Holder(by), batch).await
            }
            (Err(AppendError::Conflict { head }), Fault::AppendsAnywhere) => {
                self.inner.append(run, head, author, batch).await
            }
            (result, _) => result,
        }
    }

    async fn read(&self, run: &RunId, from: Seq) -> Result<Vec<Entry>, Failure> {
        let mut entries = self.inner.read(run, from).await?;
        if self.fault == Fault::TrimsRecords {
            entries
                .iter_mut()
                .for_each(|entry| entry.bytes = entry.bytes.trim_ascii().to_vec());
        }
        Ok(entries)
    }

    async fn wait(&self, run: &RunId, from: Seq, within: SignedDuration) -> Result<(), Failure> {
        if self.fault == Fault::NeverWaits {
            Ok(())
        } else {
            self.inner.wait(run, from, within).await
        }
    }

    async fn runs(&self) -> Result<Vec<RunId>, Failure> {
        let mut runs = self.inner.runs().await?;
        if self.fault == Fault::ListsOldestFirst {
            runs.reverse();
        }
        Ok(runs)
    }

    async fn settle(&self, run: &RunId, keep: usize) -> Result<(), Failure> {
        self.inner
            .settle(
                run,
                if self.fault == Fault::NeverPrunes {
                    usize::MAX
                } else {
                    keep
                },
            )
            .await
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

#[async_trait]
impl journal::Store for Faulty {
    async fn open(&self) -> Arc<dyn Journal> {
        Arc::new(self.clone())
    }

    async fn damage(&self, _run: &RunId, _seq: Seq, _how: Damage) -> Damaged {
        Damaged::NotPossible("memory is not damaged".to_owned())
    }
}

#[derive(Default)]
struct Memory {
    journal: MemoryJournal,
    vault: MemoryVault,
    ledger: MemoryLedger,
}

#[async_trait]
impl ledger::Store for Memory {
    async fn open(&self) -> Arc<dyn Ledger> {
        Arc::new(self.ledger.clone())
    }

    async fn damage(&self, _name: &ReleaseName, _how: Damage) -> Damaged {
        Damaged::NotPossible("memory is not damaged".to_owned())
    }
}

#[async_trait]
impl journal::Store for Memory {
    async fn open(&self) -> Arc<dyn Journal> {
        Arc::new(self.journal.clone())
    }

    async fn damage(&self, _run: &RunId, _seq: Seq, _how: Damage) -> Damaged {
        Damaged::NotPossible("memory is not damaged".to_owned())
    }
}

#[async_trait]
impl vault::Store for Memory {
    async fn open(&self) -> Arc<dyn Vault> {
        Arc::new(self.vault.clone())
    }

    async fn damage(&self, _reference: &ContentRef, _how: Damage) -> Damaged {
        Damaged::NotPossible("memory is not damaged".to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_finds_each_broken_promise_of_a_ledger() {
    let faults = [
        (
            LedgerFault::Overwrites,
            "a_second_entry_of_the_same_name_is_refused_and_changes_nothing",
        ),
        (
            LedgerFault::IgnoresVersions,
            "an_entry_is_written_anew_only_by_whoever_read_its_newest_version",
        ),
        (
            LedgerFault::RemovesWhatever,
            "what_is_removed_is_gone_and_what_was_written_meanwhile_is_not_removed",
        ),
        (
            LedgerFault::FoldsCase,
            "names_that_differ_in_case_or_signs_are_different_releases",
        ),
    ];
    for (fault, case) in faults {
        let report = ledger::suite(async |_| FaultyLedger {
            inner: MemoryLedger::default(),
            fault,
        })
        .await;
        assert!(report.broken().contains(&case), "{fault:?}:\n{report}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LedgerFault {
    Overwrites,
    IgnoresVersions,
    RemovesWhatever,
    FoldsCase,
}

/// A ledger with one fault.
#[derive(Clone)]
struct FaultyLedger {
    inner: MemoryLedger,
    fault: LedgerFault,
}

impl FaultyLedger {
    fn name(&self, name: &ReleaseName) -> ReleaseName {
        match self.fault {
            LedgerFault::FoldsCase => ReleaseName::parse(&name.as_str().to_ascii_lowercase()).unwrap(),
            _ => name.clone(),
        }
    }

    async fn newest(&self, name: &ReleaseName) -> Option<Version> {
        self.inner.read(name).await.unwrap().map(|entry| entry.version)
    }
}

#[async_trait]
impl Ledger for FaultyLedger {
    async fn add(&self, name: &ReleaseName, standing: &str, bytes: &[u8]) -> Result<Version, WriteError> {
        let name = self.name(name);
        match (
            self.inner.add(&name, standing, bytes).await,
            self.newest(&name).await,
        ) {
            (Err(WriteError::Exists), Some(there)) if self.fault == LedgerFault::Overwrites => {
                self.inner.replace(&name, &there, standing, bytes).await
            }
            (result, _) => result,
        }
    }

    async fn replace(
        &self,
        name: &ReleaseName,
        version: &Version,
        standing: &str,
        bytes: &[u8],
    ) -> Result<Version, WriteError> {
        let newest = self
            .newest(name)
            .await
            .filter(|_| self.fault == LedgerFault::IgnoresVersions);
        let version = newest.unwrap_or_else(|| version.clone());
        self.inner.replace(name, &version, standing, bytes).await
    }

    async fn entries(&self) -> Result<Entries, Failure> {
        self.inner.entries().await
    }

    async fn read(&self, name: &ReleaseName) -> Result<Option<astern_port::ledger::Entry>, Failure> {
        self.inner.read(&self.name(name)).await
    }

    async fn remove(&self, name: &ReleaseName, version: &Version) -> Result<(), WriteError> {
        let newest = self
            .newest(name)
            .await
            .filter(|_| self.fault == LedgerFault::RemovesWhatever);
        let version = newest.unwrap_or_else(|| version.clone());
        self.inner.remove(name, &version).await
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

#[async_trait]
impl ledger::Store for FaultyLedger {
    async fn open(&self) -> Arc<dyn Ledger> {
        Arc::new(self.clone())
    }

    async fn damage(&self, _name: &ReleaseName, _how: Damage) -> Damaged {
        Damaged::NotPossible("memory is not damaged".to_owned())
    }
}

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        Self {
            _folder: folder,
            path,
        }
    }

    async fn execute(&self, sql: &'static str, name: &str, seq: i64) -> Damaged {
        let mut connection = SqliteConnectOptions::new()
            .filename(&self.path)
            .connect()
            .await
            .unwrap();
        let done = sqlx::query(sql)
            .bind(name)
            .bind(seq)
            .execute(&mut connection)
            .await
            .unwrap();
        assert_eq!(
            done.rows_affected(),
            1,
            "the test wanted to damage what is not there"
        );
        Damaged::Done
    }
}

#[async_trait]
impl journal::Store for File {
    async fn open(&self) -> Arc<dyn Journal> {
        Arc::new(Sqlite::open(&self.path).await.unwrap().0)
    }

    async fn damage(&self, run: &RunId, seq: Seq, how: Damage) -> Damaged {
        let sql = match how {
            Damage::Alter => {
                "UPDATE entries SET bytes = CAST(substr(bytes, 1, 100) || x'00' || substr(bytes, 102) AS BLOB)
                 WHERE run_id = (SELECT id FROM runs WHERE run = ?1) AND seq = ?2"
            }
            Damage::Lose => {
                "DELETE FROM entries WHERE run_id = (SELECT id FROM runs WHERE run = ?1) AND seq = ?2"
            }
        };
        self.execute(sql, run.as_str(), seq.0.cast_signed()).await
    }
}

#[async_trait]
impl vault::Store for File {
    async fn open(&self) -> Arc<dyn Vault> {
        Arc::new(Sqlite::open(&self.path).await.unwrap().1)
    }

    async fn damage(&self, reference: &ContentRef, how: Damage) -> Damaged {
        let sql = match how {
            Damage::Alter => {
                "UPDATE vault SET packed = CAST(substr(packed, 1, length(packed) - 1) || x'fe' AS BLOB)
                 WHERE name = ?1 AND ?2 = 0"
            }
            Damage::Lose => "DELETE FROM vault WHERE name = ?1 AND ?2 = 0",
        };
        self.execute(sql, &reference.name, 0).await
    }
}
