//! Appends a run's batches once more, to a new SQLite file beside the one that holds them, and prints how long that
//! took: what the journal costs a run at most, since a driver appends one batch after the other. For `xtask bench`.
#![expect(clippy::print_stdout, reason = "the bench reads one line of JSON")]

use astern_journal::Sqlite;
use astern_model::id::Seq;
use astern_port::Failure;
use astern_port::journal::{AppendError, Author, Entry, Journal};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let store = PathBuf::from(std::env::args().nth(1).ok_or("usage: append_again STORE")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (batches, seconds) = runtime.block_on(again(&store))?;
    println!("{{\"batches\": {batches}, \"seconds\": {seconds}}}");
    Ok(())
}

async fn again(store: &Path) -> Result<(usize, f64), Box<dyn Error>> {
    let (from, _) = Sqlite::open(store).await.map_err(told)?;
    let run = from
        .runs()
        .await
        .map_err(told)?
        .into_iter()
        .next()
        .ok_or("the store holds no run")?;
    let batches = batches(from.read(&run, Seq(0)).await.map_err(told)?);
    let copy = store.with_extension("again");
    let (to, _) = Sqlite::open(&copy).await.map_err(told)?;
    let mut at = Seq(0);
    let start = Instant::now();
    for (author, batch) in &batches {
        at = to
            .append(&run, at, *author, batch)
            .await
            .map_err(|error: AppendError| error.to_string())?;
    }
    Ok((batches.len(), start.elapsed().as_secs_f64()))
}

/// Records of one append carry one author and one time; the plan itself carries none and belongs to the approval.
fn batches(entries: Vec<Entry>) -> Vec<(Author, Vec<Vec<u8>>)> {
    let mut batches: Vec<(Author, Vec<Vec<u8>>)> = Vec::new();
    let mut last = None;
    for entry in entries {
        let record: serde_json::Value = serde_json::from_slice(&entry.bytes).unwrap_or_default();
        let time = find_time(&record);
        let together = entry.author == Author::Opening || (time.is_some() && time == last);
        match batches.last_mut() {
            Some((author, batch)) if together && *author == entry.author => batch.push(entry.bytes),
            _ => batches.push((entry.author, vec![entry.bytes])),
        }
        last = time;
    }
    batches
}

/// A record's `at`, under the envelope or beside it.
fn find_time(record: &serde_json::Value) -> Option<String> {
    let fields = record.as_object()?;
    match fields.get("at").and_then(serde_json::Value::as_str) {
        Some(at) => Some(at.to_owned()),
        None => fields.values().find_map(|field| {
            field
                .get("at")
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned)
        }),
    }
}

fn told(failure: Failure) -> String {
    failure.to_string()
}
