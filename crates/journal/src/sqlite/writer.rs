//! The only writer of a SQLite store: a task that takes what is waiting, does it in one transaction, and answers once
//! that is durable. Owns transactions and the writing connection; reads nothing for anybody.

use super::fault::{self, Moment};
use super::rows::{self, RunRow};
use crate::keyed::digest;
use crate::packed;
use crate::tip::{Tip, author_text};
use astern_model::content::ContentRef;
use astern_model::id::{RunId, Seq};
use astern_port::Failure;
use astern_port::journal::{AppendError, Author};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot, watch};

/// Jobs committed together at most. More only makes the first one wait longer: the cost of a commit is its sync.
const GROUP_LIMIT: usize = 256;

/// What the writer is asked to do.
pub(super) enum Work {
    Append {
        run: RunId,
        at: Seq,
        author: Author,
        batch: Vec<Vec<u8>>,
    },
    Keep {
        label: String,
        reference: ContentRef,
        bytes: Vec<u8>,
    },
    Settle {
        run: RunId,
        keep: usize,
    },
}

/// What it answers.
pub(super) type Answer = Result<Seq, AppendError>;

/// Work, how a failure calls it, and who waits for the answer.
pub(super) struct Job {
    pub(super) operation: String,
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The device and the inode of a file.
pub(super) type Identity = (u64, u64);

/// The writer.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) options: SqliteConnectOptions,
    /// None after a failure: the next group opens it anew, so that no half-done transaction is carried along.
    pub(super) connection: Option<SqliteConnection>,
    pub(super) jobs: mpsc::Receiver<Job>,
    /// Counts committed transactions, and wakes whoever waits for a record.
    pub(super) commits: watch::Sender<u64>,
}

/// Why a group was not committed.
enum Broken {
    Sql(Moment, sqlx::Error),
    Moved,
}

impl Writer {
    /// Serves until the last handle is gone.
    pub(super) async fn serve(mut self) {
        while let Some(first) = self.jobs.recv().await {
            let mut group = vec![first];
            while group.len() < GROUP_LIMIT
                && let Ok(next) = self.jobs.try_recv()
            {
                group.push(next);
            }
            self.carry_out(group).await;
        }
    }

    /// Carries a group out together; if there is no room for it, each alone, so that one large record does not take
    /// the others with it.
    async fn carry_out(&mut self, group: Vec<Job>) {
        match self.commit(&group).await {
            Ok(answers) => {
                for (job, answer) in group.into_iter().zip(answers) {
                    // Whoever does not wait any more reads.
                    let _ = job.answer.send(answer);
                }
            }
            Err(Broken::Sql(_, error)) if group.len() > 1 && fault::is_full(&error) => {
                for job in group {
                    Box::pin(self.carry_out(vec![job])).await;
                }
            }
            Err(broken) => {
                for job in group {
                    let failure = self.failure(&job.operation, &broken);
                    let _ = job.answer.send(Err(AppendError::Store(failure)));
                }
            }
        }
    }

    fn failure(&self, operation: &str, broken: &Broken) -> Failure {
        match broken {
            Broken::Sql(moment, error) => fault::failure(&self.path, operation, error, *moment),
            Broken::Moved => fault::moved(&self.path, operation),
        }
    }

    async fn commit(&mut self, group: &[Job]) -> Result<Vec<Answer>, Broken> {
        let writing = |error| Broken::Sql(Moment::Write, error);
        if identity(&self.path).await != Some(self.identity) {
            self.connection = None;
            return Err(Broken::Moved);
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(writing)?,
        };
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await
            .map_err(writing)?;
        let mut answers = Vec::with_capacity(group.len());
        let mut wrote = false;
        for job in group {
            let answer = perform(&mut connection, &job.work).await.map_err(writing)?;
            wrote |= answer.is_ok();
            answers.push(answer);
        }
        if wrote {
            let committing = |error| Broken::Sql(Moment::Commit, error);
            sqlx::query("COMMIT")
                .execute(&mut connection)
                .await
                .map_err(committing)?;
            self.commits.send_modify(|commits| *commits += 1);
        } else {
            sqlx::query("ROLLBACK")
                .execute(&mut connection)
                .await
                .map_err(writing)?;
        }
        self.connection = Some(connection);
        Ok(answers)
    }
}

/// The file that a path leads to now.
pub(super) async fn identity(path: &std::path::Path) -> Option<Identity> {
    tokio::fs::metadata(path)
        .await
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}

async fn perform(connection: &mut SqliteConnection, work: &Work) -> Result<Answer, sqlx::Error> {
    match work {
        Work::Append {
            run,
            at,
            author,
            batch,
        } => append(connection, run, *at, *author, batch).await,
        Work::Keep {
            label,
            reference,
            bytes,
        } => keep(connection, label, reference, bytes).await,
        Work::Settle { run, keep } => settle(connection, run, *keep).await,
    }
}

async fn append(
    connection: &mut SqliteConnection,
    run: &RunId,
    at: Seq,
    author: Author,
    batch: &[Vec<u8>],
) -> Result<Answer, sqlx::Error> {
    let row = rows::run_row(connection, run).await?;
    let tip = row.as_ref().map(|row| row.tip).unwrap_or_default();
    if let Err(refused) = tip.admit(at, author) {
        return Ok(Err(refused));
    }
    let row = match row {
        Some(row) => row,
        None => new_run(connection, run).await?,
    };
    let text = author_text(author);
    let mut chain = row.chain;
    for (seq, bytes) in (at.0..).zip(batch) {
        chain = rows::link(&chain, seq, &text, bytes).to_vec();
        sqlx::query("INSERT INTO entries (run_id, seq, author, bytes, chain) VALUES (?1, ?2, ?3, ?4, ?5)")
            .bind(row.id)
            .bind(seq.cast_signed())
            .bind(&text)
            .bind(bytes.as_slice())
            .bind(&chain)
            .execute(&mut *connection)
            .await?;
    }
    let tip = tip.after(author, batch.len());
    sqlx::query("UPDATE runs SET head = ?2, epoch = ?3, chain = ?4, settled = 0 WHERE id = ?1")
        .bind(row.id)
        .bind(tip.head.cast_signed())
        .bind(tip.epoch.map(u64::cast_signed))
        .bind(&chain)
        .execute(connection)
        .await?;
    Ok(Ok(Seq(tip.head)))
}

async fn new_run(connection: &mut SqliteConnection, run: &RunId) -> Result<RunRow, sqlx::Error> {
    let chain = rows::first_link(run).to_vec();
    let inserted = sqlx::query("INSERT INTO runs (run, head, chain) VALUES (?1, 0, ?2)")
        .bind(run.as_str())
        .bind(&chain)
        .execute(connection)
        .await?;
    Ok(RunRow {
        id: inserted.last_insert_rowid(),
        tip: Tip::default(),
        chain,
    })
}

/// Writes content that is not there yet, and writes it anew when what is there is not what it should be.
async fn keep(
    connection: &mut SqliteConnection,
    label: &str,
    reference: &ContentRef,
    bytes: &[u8],
) -> Result<Answer, sqlx::Error> {
    let there = sqlx::query("SELECT packed FROM vault WHERE name = ?1 AND keyed_hash = ?2")
        .bind(&reference.name)
        .bind(&reference.keyed_hash)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = there
        && packed::unpack(row.try_get(0)?, reference.size).as_deref() == Some(bytes)
    {
        return Ok(Ok(Seq(0)));
    }
    sqlx::query(
        "INSERT OR REPLACE INTO vault (name, label, keyed_hash, size, digest, packed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(&reference.name)
    .bind(label)
    .bind(&reference.keyed_hash)
    .bind(reference.size.cast_signed())
    .bind(digest(bytes).as_slice())
    .bind(packed::pack(bytes))
    .execute(connection)
    .await?;
    Ok(Ok(Seq(0)))
}

async fn settle(connection: &mut SqliteConnection, run: &RunId, keep: usize) -> Result<Answer, sqlx::Error> {
    sqlx::query("UPDATE runs SET settled = 1 WHERE run = ?1")
        .bind(run.as_str())
        .execute(&mut *connection)
        .await?;
    // Entries go with their run by the foreign key's cascade. An id sorts by time, so the first ones are the oldest.
    sqlx::query(
        "DELETE FROM runs WHERE settled = 1 AND id NOT IN
             (SELECT id FROM runs WHERE settled = 1 ORDER BY run DESC LIMIT ?1)",
    )
    .bind(i64::try_from(keep).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    Ok(Ok(Seq(0)))
}
