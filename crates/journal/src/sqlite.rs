//! Journal and vault in one SQLite file (`--store FILE`): write-ahead log, every commit synced, one writer that
//! commits together what waits together. Only this machine can resume from it. Owns the handles and
//! reading; what comes before is [`opening`]'s, writing is [`writer`]'s, the tables and their hashes are [`rows`]'s,
//! what errors mean is [`fault`]'s.

mod fault;
mod opening;
mod rows;
mod writer;

use crate::keyed::{self, Key, digest};
use crate::packed;
use crate::tip::{append_operation, empty_batch, read_operation};
use astern_model::content::ContentRef;
use astern_model::id::{RunId, Seq};
use astern_port::journal::{AppendError, Author, Entry, Journal};
use astern_port::vault::Vault;
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use fault::Moment;
use jiff::SignedDuration;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions, Row};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::Instant;
use writer::{Answer, Job, Work, Writer};

/// How long SQLite waits for another process's transaction: each is one group, a sync long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Appends that may wait for the writer before callers wait to hand theirs over.
const QUEUE: usize = 1024;

/// How often another process's appends are looked for. SQLite tells nobody of them; a look is one indexed row.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits longer than any run takes are this long, so that no sum of times overflows.
const WAIT_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Opens a SQLite store.
#[derive(Debug)]
pub enum Sqlite {}

impl Sqlite {
    /// Opens the store in `path`, or makes it, readable and writable for its owner only. Both handles may be cloned.
    /// Must be called within a tokio runtime, which also carries the writer.
    ///
    /// # Errors
    /// The file cannot be made or written, is damaged, or belongs to another program. Nothing was changed then.
    pub async fn open(path: &Path) -> Result<(SqliteJournal, SqliteVault), Failure> {
        // Told to people in other folders and, in the Lease, on other machines.
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let operation = format!("open the store {}", path.display());
        opening::create_or_check(path, &operation)?;
        let identity = writer::identity(path)
            .await
            .ok_or_else(|| fault::moved(path, &operation))?;
        let opening = |error| fault::failure(path, &operation, &error, Moment::Open);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(opening)?;
        let key = opening::prepare(&mut connection, path, &operation).await?;
        opening::close_to_others(path, &operation)?;
        let (to_writer, jobs) = mpsc::channel(QUEUE);
        let commits = watch::Sender::new(0);
        let store = Arc::new(Store {
            path: path.to_owned(),
            options: options.clone(),
            writer: to_writer,
            commits: commits.subscribe(),
            reader: Mutex::new(None),
            key,
        });
        let connection = Some(connection);
        tokio::spawn(
            Writer {
                path: path.to_owned(),
                identity,
                options,
                connection,
                jobs,
                commits,
            }
            .serve(),
        );
        Ok((
            SqliteJournal {
                store: Arc::clone(&store),
            },
            SqliteVault { store },
        ))
    }
}

struct Store {
    path: PathBuf,
    options: SqliteConnectOptions,
    writer: mpsc::Sender<Job>,
    commits: watch::Receiver<u64>,
    /// Taken while a read goes on and put back after it: one that was given up takes its connection with it.
    reader: Mutex<Option<SqliteConnection>>,
    key: Key,
}

impl Store {
    async fn ask(&self, operation: String, work: Work) -> Answer {
        let (answer, answered) = oneshot::channel();
        let gone = |operation: &str| {
            let message = format!(
                "the writer of {} has ended; whether this was stored is not known",
                self.place()
            );
            let failure = Failure::new(FailureClass::Unknown, operation, message);
            AppendError::Store(failure.hint(format!(
                "`astern runs --store {}` says what is there",
                self.place()
            )))
        };
        let job = Job {
            operation: operation.clone(),
            work,
            answer,
        };
        self.writer.send(job).await.map_err(|_| gone(&operation))?;
        answered.await.map_err(|_| gone(&operation))?
    }

    async fn read<T>(
        &self,
        operation: &str,
        read: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failure> {
        let reading = |error| fault::failure(&self.path, operation, &error, Moment::Read);
        let mut place = self.reader.lock().await;
        let mut connection = match place.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(reading)?,
        };
        // One read transaction, so that a run and its records are of the same moment.
        sqlx::query("BEGIN")
            .execute(&mut connection)
            .await
            .map_err(reading)?;
        let result = read(&mut connection).await.map_err(reading)?;
        sqlx::query("COMMIT")
            .execute(&mut connection)
            .await
            .map_err(reading)?;
        *place = Some(connection);
        Ok(result)
    }

    async fn head(&self, run: &RunId) -> Result<u64, Failure> {
        let read = async |connection: &mut SqliteConnection| rows::run_row(connection, run).await;
        Ok(self
            .read(&read_operation(run), read)
            .await?
            .map_or(0, |row| row.tip.head))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// A journal in a SQLite file.
#[derive(Clone)]
pub struct SqliteJournal {
    store: Arc<Store>,
}

impl std::fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteJournal")
            .field("path", &self.store.path)
            .finish()
    }
}

impl SqliteJournal {
    /// Transactions committed through this handle and its clones since it was opened. Appends that waited together
    /// count once.
    pub fn transactions(&self) -> u64 {
        *self.store.commits.borrow()
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(
        &self,
        run: &RunId,
        at: Seq,
        author: Author,
        batch: &[Vec<u8>],
    ) -> Result<Seq, AppendError> {
        if batch.is_empty() {
            return Err(empty_batch(run));
        }
        let work = Work::Append {
            run: run.clone(),
            at,
            author,
            batch: batch.to_vec(),
        };
        self.store.ask(append_operation(run), work).await
    }

    async fn read(&self, run: &RunId, from: Seq) -> Result<Vec<Entry>, Failure> {
        let operation = read_operation(run);
        let read = async |connection: &mut SqliteConnection| {
            let Some(row) = rows::run_row(connection, run).await? else {
                return Ok(None);
            };
            let entries = rows::entry_rows(connection, &row, from).await?;
            Ok(Some((row, entries)))
        };
        let Some((row, entries)) = self.store.read(&operation, read).await? else {
            return Ok(Vec::new());
        };
        rows::verified(run, &row, from, entries).map_err(|torn| {
            let message = format!(
                "record {} {} in {}; nothing was changed",
                torn.seq,
                torn.how,
                self.place()
            );
            Failure::new(FailureClass::Permanent, operation, message).hint(fault::recover(&self.store.path))
        })
    }

    async fn wait(&self, run: &RunId, from: Seq, within: SignedDuration) -> Result<(), Failure> {
        let within = Duration::try_from(within).unwrap_or_default().min(WAIT_LIMIT);
        let deadline = Instant::now() + within;
        let mut commits = self.store.commits.clone();
        loop {
            if self.store.head(run).await? > from.0 || Instant::now() >= deadline {
                return Ok(());
            }
            let look = deadline.min(Instant::now() + LOOK_EVERY);
            // Our own commits wake us; another process's are found at the next look.
            if let Ok(Err(_)) = tokio::time::timeout_at(look, commits.changed()).await {
                tokio::time::sleep_until(look).await;
            }
        }
    }

    async fn runs(&self) -> Result<Vec<RunId>, Failure> {
        let read = async |connection: &mut SqliteConnection| {
            let rows = sqlx::query("SELECT run FROM runs ORDER BY run DESC")
                .fetch_all(connection)
                .await?;
            rows.iter().map(|row| row.try_get(0).map(RunId)).collect()
        };
        self.store.read("list the runs", read).await
    }

    async fn settle(&self, run: &RunId, keep: usize) -> Result<(), Failure> {
        let operation = format!("settle run {run}");
        stored(
            self.store
                .ask(
                    operation,
                    Work::Settle {
                        run: run.clone(),
                        keep,
                    },
                )
                .await,
        )
    }

    fn place(&self) -> String {
        self.store.place()
    }
}

/// Work that is not an append is never refused for its place or its author.
fn stored(answer: Answer) -> Result<(), Failure> {
    match answer {
        Ok(_) => Ok(()),
        Err(AppendError::Store(failure)) => Err(failure),
        Err(AppendError::Conflict { .. } | AppendError::Fenced { .. }) => {
            unreachable!("BUG: only an append has a place and an author")
        }
    }
}

/// A vault in a SQLite file.
#[derive(Clone)]
pub struct SqliteVault {
    store: Arc<Store>,
}

impl std::fmt::Debug for SqliteVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteVault")
            .field("path", &self.store.path)
            .finish()
    }
}

#[async_trait]
impl Vault for SqliteVault {
    async fn put(&self, label: &str, bytes: &[u8]) -> Result<ContentRef, Failure> {
        let reference = self.store.key.reference(bytes);
        let work = Work::Keep {
            label: label.to_owned(),
            reference: reference.clone(),
            bytes: bytes.to_vec(),
        };
        stored(self.store.ask(keyed::put_operation(label), work).await)?;
        Ok(reference)
    }

    async fn hash(&self, bytes: &[u8]) -> Result<String, Failure> {
        Ok(self.store.key.reference(bytes).keyed_hash)
    }

    async fn get(&self, reference: &ContentRef) -> Result<Vec<u8>, Failure> {
        let read = async |connection: &mut SqliteConnection| {
            let row = sqlx::query("SELECT keyed_hash, digest, packed FROM vault WHERE name = ?1")
                .bind(&reference.name)
                .fetch_optional(connection)
                .await?;
            let Some(row) = row else { return Ok(None) };
            let (hash, digest, packed): (String, Vec<u8>, Vec<u8>) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(Some((hash, digest, packed)))
        };
        let place = self.store.place();
        let found = self.store.read(&keyed::get_operation(reference), read).await?;
        let Some((hash, stored_digest, packed)) = found else {
            return Err(keyed::missing(reference, &place));
        };
        if hash != reference.keyed_hash {
            return Err(keyed::damaged(
                reference,
                &place,
                "what lies there has another hash",
            ));
        }
        packed::unpack(&packed, reference.size)
            .filter(|bytes| digest(bytes)[..] == stored_digest)
            .ok_or_else(|| keyed::damaged(reference, &place, "its bytes do not match their hash"))
    }
}
