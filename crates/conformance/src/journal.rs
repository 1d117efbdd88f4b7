//! What every journal must do. Owns the list of cases and what they share; each case lies with its kind.

mod fence;
mod last;
mod order;
mod wait;

use crate::report::{Broken, Report};
use crate::{Damage, Damaged};
use astern_model::id::{Epoch, RunId, Seq};
use astern_port::Failure;
use astern_port::journal::{AppendError, Author, Entry, Journal};
use async_trait::async_trait;
use std::sync::Arc;

/// One journal's store.
#[async_trait]
pub trait Store: Send + Sync {
    /// A new handle on it, as another process would have.
    async fn open(&self) -> Arc<dyn Journal>;

    /// Damages the record at `seq` of `run`, and no other.
    async fn damage(&self, run: &RunId, seq: Seq, how: Damage) -> Damaged;
}

type Case = Result<(), Broken>;

macro_rules! cases {
    ($report:ident, $fresh:ident: $($kind:ident::$case:ident)*) => {$(
        let store = $fresh(stringify!($case)).await;
        $report.add(stringify!($case), $kind::$case(&store)).await;
    )*};
}

/// Runs every case, each on a fresh store without runs; `fresh` is told the case's name.
pub async fn suite<S: Store>(fresh: impl AsyncFn(&'static str) -> S) -> Report {
    let mut report = Report::new("journal");
    cases! { report, fresh:
        order::records_come_back_in_order_with_exact_bytes_and_authors
        order::an_unknown_run_reads_empty
        order::an_empty_batch_is_refused
        order::a_batch_at_a_place_that_is_not_the_head_conflicts_and_stores_nothing
        order::a_batch_that_overlaps_a_longer_one_conflicts
        order::a_reader_never_sees_half_a_batch
        order::of_twenty_appenders_at_one_place_exactly_one_wins
        fence::a_takeovers_own_place_is_the_epoch
        fence::a_holder_that_was_taken_over_is_fenced_at_every_place
        fence::a_fenced_holder_stays_fenced_after_the_run_is_settled
        fence::a_request_needs_no_epoch_and_conflicts_openly
        order::a_plan_of_many_megabytes_is_one_record
        order::a_second_handle_sees_everything
        order::runs_are_listed_newest_first
        wait::waiting_ends_when_somebody_appends
        wait::waiting_ends_at_once_for_what_is_there
        wait::waiting_ends_after_its_time
        last::a_settled_run_reads_the_same
        last::settling_keeps_the_newest_finished_runs_and_every_unfinished_one
        last::a_settled_run_can_go_on
        last::who_follows_a_run_reads_what_comes_also_once_it_was_settled_and_when_it_is_gone
        last::a_stale_append_to_a_settled_or_pruned_run_is_refused
        last::an_altered_record_is_a_permanent_failure_that_names_its_place
        last::a_lost_record_is_a_permanent_failure_that_names_its_place
    }
    report
}

/// The first holder of a run that [`open_run`] made.
const HOLDER: Author = Author::Holder(Epoch(2));

fn id(name: &str) -> RunId {
    RunId::from(name)
}

fn failed(failure: Failure) -> Broken {
    Broken::Promise(failure.to_string())
}

fn not_appended(error: AppendError) -> Broken {
    Broken::Promise(error.to_string())
}

/// A run with three records: plan, approval, and the takeover by the first holder, whose epoch is 2.
async fn open_run(journal: &dyn Journal, name: &str) -> Result<RunId, Broken> {
    let run = id(name);
    let batch = [format!("plan of {name}").into_bytes(), b"approved".to_vec()];
    append(journal, &run, Seq(0), Author::Opening, &batch).await?;
    append(journal, &run, Seq(2), Author::Takeover, &[b"taken".to_vec()]).await?;
    Ok(run)
}

async fn append(
    journal: &dyn Journal,
    run: &RunId,
    at: Seq,
    author: Author,
    batch: &[Vec<u8>],
) -> Result<Seq, Broken> {
    journal.append(run, at, author, batch).await.map_err(not_appended)
}

async fn read(journal: &dyn Journal, run: &RunId) -> Result<Vec<Entry>, Broken> {
    read_from(journal, run, Seq(0)).await
}

async fn read_from(journal: &dyn Journal, run: &RunId, from: Seq) -> Result<Vec<Entry>, Broken> {
    journal.read(run, from).await.map_err(failed)
}

async fn runs(journal: &dyn Journal) -> Result<Vec<String>, Broken> {
    Ok(journal
        .runs()
        .await
        .map_err(failed)?
        .into_iter()
        .map(|run| run.0)
        .collect())
}
