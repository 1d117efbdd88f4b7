//! One run's journal, opened: the plan's bytes, the records, and the run folded from them. Owns sealing, opening and
//! the order of records; knows nothing of effects.

use astern_engine::{Graph, IllegalRecord, Run};
use astern_model::approval::Approval;
use astern_model::defect::{Defect, planted};
use astern_model::id::{Epoch, PlanHash, RunId, Seq};
use astern_model::plan::Plan;
use astern_model::record::{Event, Holder, Record};
use astern_port::journal::{AppendError, Author, Entry, Journal};
use astern_port::{Failure, FailureClass};
use astern_wire::envelope::{self, OpenError};
use jiff::Timestamp;

/// A run as it was read.
#[derive(Clone, Debug)]
pub struct Book {
    /// The run's id.
    pub id: RunId,
    /// The plan.
    pub plan: Plan,
    /// Its sealed bytes, verbatim.
    pub sealed: Vec<u8>,
    /// The engine's view of it.
    pub graph: Graph,
    /// All records after the plan.
    pub records: Vec<Record>,
    /// What they mean.
    pub run: Run,
}

/// Why a run's journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// There is no such run.
    #[error("there is no run {run} in {place}")]
    NoSuchRun {
        /// The run that was asked for.
        run: RunId,
        /// Where it was looked for.
        place: String,
    },
    /// The store failed.
    #[error("the journal of {run} could not be read")]
    Store {
        /// The run.
        run: RunId,
        /// What the store said.
        #[source]
        source: Failure,
    },
    /// Record `seq` is not a document of ours.
    #[error("record {seq} of {run} is damaged")]
    Damaged {
        /// The run.
        run: RunId,
        /// The record.
        seq: Seq,
        /// What it is instead.
        #[source]
        source: OpenError,
    },
    /// The records do not follow one another.
    #[error("the journal of {run} does not hold together")]
    Illegal {
        /// The run.
        run: RunId,
        /// The first record that cannot follow.
        #[source]
        source: IllegalRecord,
    },
    /// The journal ends before the run was approved.
    #[error("the journal of {run} ends before the run was approved: nothing was changed by it")]
    NotApproved {
        /// The run.
        run: RunId,
    },
}

impl BookError {
    /// Whether the run's records are not what was written: found out here, or by the store, which then cannot read them
    /// however often it is asked. Nobody can go on with such a run.
    pub fn is_damaged(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Illegal { .. } => true,
            Self::Store { source, .. } => source.class == FailureClass::Permanent,
            Self::NoSuchRun { .. } | Self::NotApproved { .. } => false,
        }
    }
}

impl Book {
    /// The newest runs of a namespace, newest first, `most` of them. A store that several namespaces share is read on until
    /// they are found. A run whose journal is damaged is passed over here; `runs` names it.
    ///
    /// # Errors
    /// The store's: an open run must not be overlooked.
    pub async fn newest(journal: &dyn Journal, namespace: &str, most: usize) -> Result<Vec<Self>, Failure> {
        let runs = journal.runs().await?;
        let mut books = Vec::new();
        for some in runs.chunks(most) {
            for opened in futures::future::join_all(some.iter().map(|run| Self::open(journal, run))).await {
                match opened {
                    Ok(book) if book.plan.namespace == namespace => books.push(book),
                    Err(error) if error.is_damaged() => {}
                    Err(BookError::Store { source, .. }) => return Err(source),
                    Ok(_) | Err(_) => {}
                }
            }
            if books.len() >= most {
                break;
            }
        }
        books.truncate(most);
        Ok(books)
    }

    /// Opens a new run: the plan's bytes and the approval become durable, in one batch.
    ///
    /// # Errors
    /// The store's; nothing was changed in the cluster then.
    pub async fn create(
        journal: &dyn Journal,
        id: RunId,
        plan: &Plan,
        sealed: &[u8],
        approval: &Approval,
        now: Timestamp,
    ) -> Result<Self, AppendError> {
        let graph = Graph::of(plan);
        let event = Event::Approved {
            run: id.clone(),
            approval: approval.clone(),
        };
        let record = Record {
            seq: Seq(1),
            epoch: None,
            at: now,
            event,
        };
        let batch = vec![sealed.to_vec(), envelope::seal(&record)];
        journal.append(&id, Seq(0), Author::Opening, &batch).await?;
        let run = Run::opened(&graph)
            .then(&record)
            .unwrap_or_else(|illegal| panic!("BUG: a run cannot start with its approval: {illegal}"));
        Ok(Self {
            id,
            plan: plan.clone(),
            sealed: sealed.to_vec(),
            graph,
            records: vec![record],
            run,
        })
    }

    /// Reads a run, checks every record, and folds it.
    ///
    /// # Errors
    /// Names the first record that is missing, damaged or out of place.
    pub async fn open(journal: &dyn Journal, id: &RunId) -> Result<Self, BookError> {
        let store = |source| BookError::Store {
            run: id.clone(),
            source,
        };
        let entries = journal.read(id, Seq(0)).await.map_err(store)?;
        let mut entries = entries.into_iter();
        let Some(first) = entries.next() else {
            return Err(BookError::NoSuchRun {
                run: id.clone(),
                place: journal.place(),
            });
        };
        let damaged = |seq: Seq, source| BookError::Damaged {
            run: id.clone(),
            seq,
            source,
        };
        let plan: Plan = envelope::open(&first.bytes).map_err(|source| damaged(first.seq, source))?;
        let graph = Graph::of(&plan);
        let run = Run::opened(&graph);
        let mut book = Self {
            id: id.clone(),
            plan,
            sealed: first.bytes,
            graph,
            records: Vec::new(),
            run,
        };
        for entry in entries {
            book.take_in(&entry)?;
        }
        if book.run.approval.is_none() {
            return Err(BookError::NotApproved { run: id.clone() });
        }
        Ok(book)
    }

    /// Reads what was appended since, by anybody.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn catch_up(&mut self, journal: &dyn Journal) -> Result<usize, BookError> {
        let store = |source| BookError::Store {
            run: self.id.clone(),
            source,
        };
        let entries = journal.read(&self.id, self.run.head).await.map_err(store)?;
        for entry in &entries {
            self.take_in(entry)?;
        }
        Ok(entries.len())
    }

    /// Appends one takeover record; its sequence number is the new epoch.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] when somebody was first: catch up and try again.
    pub async fn take_over(
        &mut self,
        journal: &dyn Journal,
        holder: &Holder,
        now: Timestamp,
    ) -> Result<Epoch, AppendError> {
        let seq = self.run.head;
        let event = Event::Taken {
            holder: holder.clone(),
        };
        self.append(journal, Author::Takeover, Some(Epoch(seq.0)), vec![event], now)
            .await?;
        Ok(Epoch(seq.0))
    }

    /// Appends events as the holder of `epoch`, as one batch, and folds them once they are durable.
    ///
    /// # Errors
    /// Nothing was stored, except with [`AppendError::Store`] of class `Unknown`.
    pub async fn record(
        &mut self,
        journal: &dyn Journal,
        epoch: Epoch,
        events: Vec<Event>,
        now: Timestamp,
    ) -> Result<&[Record], AppendError> {
        let from = self.records.len();
        self.append(journal, Author::Holder(epoch), Some(epoch), events, now)
            .await?;
        Ok(&self.records[from..])
    }

    /// Appends a request or a resumption, which need no epoch.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn request(
        &mut self,
        journal: &dyn Journal,
        event: Event,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        self.append(journal, Author::Request, None, vec![event], now)
            .await
    }

    /// The plan's hash.
    pub fn hash(&self) -> PlanHash {
        PlanHash::of(&self.sealed)
    }

    async fn append(
        &mut self,
        journal: &dyn Journal,
        author: Author,
        epoch: Option<Epoch>,
        events: Vec<Event>,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        let head = self.run.head;
        let records: Vec<Record> = events
            .into_iter()
            .zip(head.0..)
            .map(|(event, seq)| Record {
                seq: Seq(seq),
                epoch,
                at: now,
                event,
            })
            .collect();
        let run = records
            .iter()
            .try_fold(self.run.clone(), Run::then)
            .unwrap_or_else(|illegal| panic!("BUG: the driver wanted to write what cannot be: {illegal}"));
        let batch: Vec<Vec<u8>> = records.iter().map(envelope::seal).collect();
        match journal.append(&self.id, head, author, &batch).await {
            Err(AppendError::Store(_)) if planted(Defect::TrustJournal) => {}
            appended => {
                appended?;
            }
        }
        self.run = run;
        self.records.extend(records);
        Ok(())
    }

    fn take_in(&mut self, entry: &Entry) -> Result<(), BookError> {
        let record: Record = envelope::open(&entry.bytes).map_err(|source| BookError::Damaged {
            run: self.id.clone(),
            seq: entry.seq,
            source,
        })?;
        let run = self
            .run
            .clone()
            .then(&record)
            .map_err(|source| BookError::Illegal {
                run: self.id.clone(),
                source,
            })?;
        self.run = run;
        self.records.push(record);
        Ok(())
    }
}
