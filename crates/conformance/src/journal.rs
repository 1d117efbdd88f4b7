//! What every journal must do.

use crate::report::{Broken, Report, equal, noise, same_bytes};
use crate::{Damage, Damaged};
use astern_model::id::{Epoch, RunId, Seq};
use astern_port::journal::{AppendError, Author, Entry, Journal};
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use jiff::SignedDuration;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

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
    ($report:ident, $fresh:ident: $($case:ident)*) => {$(
        let store = $fresh(stringify!($case)).await;
        $report.add(stringify!($case), $case(&store)).await;
    )*};
}

/// Runs every case, each on a fresh store without runs; `fresh` is told the case's name.
pub async fn suite<S: Store>(fresh: impl AsyncFn(&'static str) -> S) -> Report {
    let mut report = Report::new("journal");
    cases! { report, fresh:
        records_come_back_in_order_with_exact_bytes_and_authors
        an_unknown_run_reads_empty
        an_empty_batch_is_refused
        a_batch_at_a_place_that_is_not_the_head_conflicts_and_stores_nothing
        a_batch_that_overlaps_a_longer_one_conflicts
        a_reader_never_sees_half_a_batch
        of_twenty_appenders_at_one_place_exactly_one_wins
        a_takeovers_own_place_is_the_epoch
        a_holder_that_was_taken_over_is_fenced_at_every_place
        a_fenced_holder_stays_fenced_after_the_run_is_settled
        a_request_needs_no_epoch_and_conflicts_openly
        a_plan_of_many_megabytes_is_one_record
        a_second_handle_sees_everything
        runs_are_listed_newest_first
        waiting_ends_when_somebody_appends
        waiting_ends_at_once_for_what_is_there
        waiting_ends_after_its_time
        a_settled_run_reads_the_same
        settling_keeps_the_newest_finished_runs_and_every_unfinished_one
        a_settled_run_can_go_on
        a_stale_append_to_a_settled_or_pruned_run_is_refused
        an_altered_record_is_a_permanent_failure_that_names_its_place
        a_lost_record_is_a_permanent_failure_that_names_its_place
    }
    report
}

const HOLDER: Author = Author::Holder(Epoch(2));

async fn records_come_back_in_order_with_exact_bytes_and_authors(store: &impl Store) -> Case {
    let journal = store.open().await;
    let run = id("r20261123-141503-7f3c");
    let batches: [(Author, Vec<Vec<u8>>); 5] = [
        (
            Author::Opening,
            vec![b"{\"plan\":1}\n".to_vec(), b"approved".to_vec()],
        ),
        (Author::Takeover, vec![b"taken".to_vec()]),
        (
            HOLDER,
            vec![Vec::new(), vec![0, 0xff, b'\n', b'\r', 0], noise(1, 5000)],
        ),
        (Author::Request, vec![b"pause".to_vec()]),
        (HOLDER, vec!["\u{1F6A2} \"quoted\\\"\n\n".as_bytes().to_vec()]),
    ];
    let mut wanted = Vec::new();
    for (author, batch) in batches {
        let at = Seq(wanted.len() as u64);
        let head = append(&*journal, &run, at, author, &batch).await?;
        wanted.extend(batch.into_iter().map(|bytes| (author, bytes)));
        equal("the new head", &head, &Seq(wanted.len() as u64))?;
    }
    let entry = |(seq, (author, bytes))| Entry {
        seq: Seq(seq),
        author,
        bytes,
    };
    let wanted: Vec<Entry> = (0..).zip(wanted).map(entry).collect();
    for from in [0, 1, 4, 7] {
        let found = read_from(&*journal, &run, Seq(from)).await?;
        equal(&format!("from {from}"), &found, &wanted[from as usize..].to_vec())?;
    }
    equal(
        "from the head",
        &read_from(&*journal, &run, Seq(8)).await?,
        &Vec::new(),
    )?;
    equal(
        "from beyond the head",
        &read_from(&*journal, &run, Seq(99)).await?,
        &Vec::new(),
    )
}

async fn an_unknown_run_reads_empty(store: &impl Store) -> Case {
    let journal = store.open().await;
    open_run(&*journal, "r2").await?;
    equal("entries", &read(&*journal, &id("r1")).await?, &Vec::new())?;
    journal.settle(&id("r1"), 1).await.map_err(failed)?;
    equal("runs", &runs(&*journal).await?, &vec!["r2".to_owned()])
}

async fn an_empty_batch_is_refused(store: &impl Store) -> Case {
    let journal = store.open().await;
    let run = open_run(&*journal, "r1").await?;
    match journal.append(&run, Seq(3), HOLDER, &[]).await {
        Err(AppendError::Store(failure)) => equal("the class", &failure.class, &FailureClass::Permanent)?,
        other => return Err(format!("it gave {other:?}").into()),
    }
    equal("entries", &read(&*journal, &run).await?.len(), &3)
}

async fn a_batch_at_a_place_that_is_not_the_head_conflicts_and_stores_nothing(store: &impl Store) -> Case {
    for handle in ["the same handle", "a second handle"] {
        let journal = store.open().await;
        let run = open_run(&*journal, if handle == "the same handle" { "r1" } else { "r2" }).await?;
        let journal = if handle == "the same handle" {
            journal
        } else {
            store.open().await
        };
        for at in [0, 1, 2, 4, 5, 1000] {
            let got = journal
                .append(&run, Seq(at), HOLDER, &[b"a".to_vec(), b"b".to_vec()])
                .await;
            equal(
                &format!("{handle} at {at}"),
                &got,
                &Err(AppendError::Conflict { head: Seq(3) }),
            )?;
        }
        equal("entries", &read(&*journal, &run).await?.len(), &3)?;
        let unknown = journal.append(&id("r0"), Seq(1), HOLDER, &[b"a".to_vec()]).await;
        equal(
            "an unknown run",
            &unknown,
            &Err(AppendError::Conflict { head: Seq(0) }),
        )?;
        append(&*journal, &run, Seq(3), HOLDER, &[b"c".to_vec()]).await?;
    }
    Ok(())
}

async fn a_batch_that_overlaps_a_longer_one_conflicts(store: &impl Store) -> Case {
    let (first, second) = (store.open().await, store.open().await);
    let run = open_run(&*first, "r1").await?;
    equal("entries", &read(&*second, &run).await?.len(), &3)?;
    append(&*first, &run, Seq(3), HOLDER, &vec![b"x".to_vec(); 4]).await?;
    for at in 3..7 {
        let got = second.append(&run, Seq(at), HOLDER, &[b"y".to_vec()]).await;
        equal(
            &format!("at {at}"),
            &got,
            &Err(AppendError::Conflict { head: Seq(7) }),
        )?;
    }
    append(&*second, &run, Seq(7), HOLDER, &[b"y".to_vec()]).await?;
    equal("entries", &read(&*first, &run).await?.len(), &8)
}

async fn a_reader_never_sees_half_a_batch(store: &impl Store) -> Case {
    let (writer, reader) = (store.open().await, store.open().await);
    let run = open_run(&*writer, "r1").await?;
    let name = run.clone();
    let writing = tokio::spawn(async move {
        for batch in 0..12 {
            writer
                .append(&name, Seq(3 + batch * 3), HOLDER, &vec![noise(batch, 900); 3])
                .await?;
        }
        Ok::<(), AppendError>(())
    });
    loop {
        let done = writing.is_finished();
        let seen = read(&*reader, &run).await?.len();
        equal("records beyond whole batches", &(seen % 3), &0)?;
        if done {
            equal("records", &seen, &39)?;
            return writing
                .await
                .map_err(|error| error.to_string())?
                .map_err(not_appended);
        }
    }
}

async fn of_twenty_appenders_at_one_place_exactly_one_wins(store: &impl Store) -> Case {
    const APPENDERS: u64 = 20;
    let run = open_run(&*store.open().await, "r1").await?;
    let mut handles = Vec::new();
    for _ in 0..APPENDERS {
        handles.push(store.open().await);
    }
    for at in 3..7 {
        let mut appending = JoinSet::new();
        for (handle, number) in handles.iter().cloned().zip(0_u64..) {
            let run = run.clone();
            let record = format!("appender {number}").into_bytes();
            appending.spawn(async move {
                (
                    handle.append(&run, Seq(at), HOLDER, &[record.clone()]).await,
                    record,
                )
            });
        }
        let mut won = Vec::new();
        while let Some(joined) = appending.join_next().await {
            match joined.map_err(|error| error.to_string())? {
                (Ok(head), record) => {
                    equal("the winner's head", &head, &Seq(at + 1))?;
                    won.push(record);
                }
                (Err(AppendError::Conflict { head }), _) => equal("a loser's head", &head, &Seq(at + 1))?,
                (Err(other), _) => return Err(not_appended(other)),
            }
        }
        equal("winners", &won.len(), &1)?;
        let stored = read_from(&*handles[0], &run, Seq(at)).await?;
        equal(
            "what is stored",
            &stored.into_iter().map(|entry| entry.bytes).collect::<Vec<_>>(),
            &won,
        )?;
    }
    Ok(())
}

async fn a_takeovers_own_place_is_the_epoch(store: &impl Store) -> Case {
    let journal = store.open().await;
    let run = open_run(&*journal, "r1").await?;
    append(&*journal, &run, Seq(3), HOLDER, &[b"a".to_vec()]).await?;
    append(&*journal, &run, Seq(4), Author::Takeover, &[b"taken".to_vec()]).await?;
    let fenced = Err(AppendError::Fenced { by: Epoch(4) });
    equal(
        "the old holder",
        &journal.append(&run, Seq(5), HOLDER, &[b"b".to_vec()]).await,
        &fenced,
    )?;
    let lower = Author::Holder(Epoch(3));
    equal(
        "one below",
        &journal.append(&run, Seq(5), lower, &[b"b".to_vec()]).await,
        &fenced,
    )?;
    append(
        &*journal,
        &run,
        Seq(5),
        Author::Holder(Epoch(4)),
        &[b"b".to_vec()],
    )
    .await?;
    equal("entries", &read(&*journal, &run).await?.len(), &6)
}

async fn a_holder_that_was_taken_over_is_fenced_at_every_place(store: &impl Store) -> Case {
    let (first, second) = (store.open().await, store.open().await);
    let run = open_run(&*first, "r1").await?;
    append(&*first, &run, Seq(3), HOLDER, &[b"intent".to_vec()]).await?;
    equal("what the second sees", &read(&*second, &run).await?.len(), &4)?;
    append(&*second, &run, Seq(4), Author::Takeover, &[b"taken".to_vec()]).await?;
    append(
        &*second,
        &run,
        Seq(5),
        Author::Holder(Epoch(4)),
        &vec![b"more".to_vec(); 2],
    )
    .await?;
    let fenced = Err(AppendError::Fenced { by: Epoch(4) });
    for at in [4, 5, 6, 7, 3] {
        let got = first.append(&run, Seq(at), HOLDER, &[b"result".to_vec()]).await;
        equal(&format!("the predecessor at {at}"), &got, &fenced)?;
    }
    equal("entries", &read(&*first, &run).await?.len(), &7)?;
    append(&*first, &run, Seq(7), Author::Takeover, &[b"taken back".to_vec()]).await?;
    let got = second
        .append(&run, Seq(7), Author::Holder(Epoch(4)), &[b"x".to_vec()])
        .await;
    equal(
        "after the second takeover",
        &got,
        &Err(AppendError::Fenced { by: Epoch(7) }),
    )
}

async fn a_fenced_holder_stays_fenced_after_the_run_is_settled(store: &impl Store) -> Case {
    let (first, second) = (store.open().await, store.open().await);
    let run = open_run(&*first, "r1").await?;
    append(&*first, &run, Seq(3), HOLDER, &[b"intent".to_vec()]).await?;
    equal("what the second sees", &read(&*second, &run).await?.len(), &4)?;
    append(&*second, &run, Seq(4), Author::Takeover, &[b"taken".to_vec()]).await?;
    append(
        &*second,
        &run,
        Seq(5),
        Author::Holder(Epoch(4)),
        &[b"finished".to_vec()],
    )
    .await?;
    second.settle(&run, 50).await.map_err(failed)?;
    let before = read(&*second, &run).await?;
    for (who, handle) in [
        ("the handle that slept", first),
        ("a new handle", store.open().await),
    ] {
        let got = handle.append(&run, Seq(4), HOLDER, &[b"result".to_vec()]).await;
        equal(who, &got, &Err(AppendError::Fenced { by: Epoch(4) }))?;
    }
    equal(
        "what is stored",
        &read(&*store.open().await, &run).await?,
        &before,
    )
}

async fn a_request_needs_no_epoch_and_conflicts_openly(store: &impl Store) -> Case {
    let (holder, person) = (store.open().await, store.open().await);
    let run = open_run(&*holder, "r1").await?;
    append(&*person, &run, Seq(3), Author::Request, &[b"pause".to_vec()]).await?;
    let late = holder.append(&run, Seq(3), HOLDER, &[b"intent".to_vec()]).await;
    equal(
        "the holder that did not read",
        &late,
        &Err(AppendError::Conflict { head: Seq(4) }),
    )?;
    append(&*holder, &run, Seq(4), HOLDER, &[b"intent".to_vec()]).await?;
    let late = person
        .append(&run, Seq(4), Author::Request, &[b"abort".to_vec()])
        .await;
    equal(
        "the person who did not read",
        &late,
        &Err(AppendError::Conflict { head: Seq(5) }),
    )?;
    append(&*holder, &run, Seq(5), Author::Takeover, &[b"taken".to_vec()]).await?;
    append(&*person, &run, Seq(6), Author::Request, &[b"abort".to_vec()]).await?;
    equal("entries", &read(&*holder, &run).await?.len(), &7)
}

async fn a_plan_of_many_megabytes_is_one_record(store: &impl Store) -> Case {
    let journal = store.open().await;
    let cases = [
        ("r1", noise(1, 1 << 20)),
        ("r2", noise(2, 4 << 20)),
        ("r3", b"\"replicas\": 3,\n".repeat(400_000)),
    ];
    for (name, plan) in cases {
        let run = id(name);
        append(
            &*journal,
            &run,
            Seq(0),
            Author::Opening,
            &[plan.clone(), b"approved".to_vec()],
        )
        .await?;
        append(&*journal, &run, Seq(2), Author::Takeover, &[b"taken".to_vec()]).await?;
        let entries = read(&*store.open().await, &run).await?;
        equal("entries", &entries.len(), &3)?;
        same_bytes("the plan", &entries[0].bytes, &plan)?;
        journal.settle(&run, 50).await.map_err(failed)?;
        let settled = read(&*store.open().await, &run).await?;
        same_bytes("the plan, settled", &settled[0].bytes, &plan)?;
        equal("entries, settled", &settled.len(), &3)?;
    }
    Ok(())
}

async fn a_second_handle_sees_everything(store: &impl Store) -> Case {
    let journal = store.open().await;
    let run = open_run(&*journal, "r1").await?;
    append(&*journal, &run, Seq(3), HOLDER, &[noise(1, 10)]).await?;
    let wanted = read(&*journal, &run).await?;
    drop(journal);
    let again = store.open().await;
    equal("entries", &read(&*again, &run).await?, &wanted)?;
    equal("runs", &runs(&*again).await?, &vec!["r1".to_owned()])?;
    append(&*again, &run, Seq(4), HOLDER, &[b"next".to_vec()]).await?;
    if again.place().is_empty() {
        return Err("it does not say where it is".into());
    }
    Ok(())
}

async fn runs_are_listed_newest_first(store: &impl Store) -> Case {
    let journal = store.open().await;
    equal("at first", &runs(&*journal).await?, &Vec::new())?;
    for name in [
        "r20261123-141503-b",
        "r20261123-141503-a",
        "r20270101-000000-0",
        "r20251231-235959-f",
    ] {
        open_run(&*journal, name).await?;
    }
    let wanted = [
        "r20270101-000000-0",
        "r20261123-141503-b",
        "r20261123-141503-a",
        "r20251231-235959-f",
    ];
    equal(
        "runs",
        &runs(&*journal).await?,
        &wanted.map(str::to_owned).to_vec(),
    )
}

async fn waiting_ends_when_somebody_appends(store: &impl Store) -> Case {
    let (writer, waiter) = (store.open().await, store.open().await);
    let run = open_run(&*writer, "r1").await?;
    for same in [false, true] {
        let head = read(&*writer, &run).await?.len() as u64;
        let (name, waiter) = (run.clone(), if same { writer.clone() } else { waiter.clone() });
        let waiting = tokio::spawn(async move {
            let started = Instant::now();
            waiter
                .wait(&name, Seq(head), SignedDuration::from_secs(60))
                .await
                .map(|()| started.elapsed())
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        if waiting.is_finished() {
            return Err("it ended before anybody appended".into());
        }
        append(&*writer, &run, Seq(head), HOLDER, &[b"a".to_vec()]).await?;
        let took = waiting
            .await
            .map_err(|error| error.to_string())?
            .map_err(failed)?;
        if took > Duration::from_secs(20) {
            return Err(format!("it noticed after {took:?}").into());
        }
    }
    Ok(())
}

async fn waiting_ends_at_once_for_what_is_there(store: &impl Store) -> Case {
    let journal = store.open().await;
    let run = open_run(&*journal, "r1").await?;
    let started = Instant::now();
    for from in [0, 2] {
        journal
            .wait(&run, Seq(from), SignedDuration::from_secs(60))
            .await
            .map_err(failed)?;
    }
    journal.settle(&run, 5).await.map_err(failed)?;
    journal
        .wait(&run, Seq(2), SignedDuration::from_secs(60))
        .await
        .map_err(failed)?;
    if started.elapsed() > Duration::from_secs(30) {
        return Err(format!("it took {:?}", started.elapsed()).into());
    }
    Ok(())
}

async fn waiting_ends_after_its_time(store: &impl Store) -> Case {
    let journal = store.open().await;
    let run = open_run(&*journal, "r1").await?;
    for (name, from, millis) in [(&run, 3, 300), (&id("r0"), 0, 300), (&run, 3, 0), (&run, 3, -5)] {
        let started = Instant::now();
        journal
            .wait(name, Seq(from), SignedDuration::from_millis(millis))
            .await
            .map_err(failed)?;
        let least = Duration::from_millis(millis.max(0) as u64);
        if started.elapsed() < least || started.elapsed() > least + Duration::from_secs(20) {
            return Err(format!("{millis} ms took {:?}", started.elapsed()).into());
        }
    }
    Ok(())
}

async fn a_settled_run_reads_the_same(store: &impl Store) -> Case {
    let (journal, other) = (store.open().await, store.open().await);
    let run = open_run(&*journal, "r1").await?;
    for at in 3..12 {
        append(&*journal, &run, Seq(at), HOLDER, &[noise(at, 300)]).await?;
    }
    let before = read(&*journal, &run).await?;
    for round in ["once", "twice", "by another"] {
        let handle = if round == "by another" { &other } else { &journal };
        handle.settle(&run, 50).await.map_err(failed)?;
        equal(
            &format!("settled {round}"),
            &read(&*store.open().await, &run).await?,
            &before,
        )?;
        equal(
            "from 5",
            &read_from(&*journal, &run, Seq(5)).await?,
            &before[5..].to_vec(),
        )?;
    }
    equal("runs", &runs(&*journal).await?, &vec!["r1".to_owned()])
}

async fn settling_keeps_the_newest_finished_runs_and_every_unfinished_one(store: &impl Store) -> Case {
    let journal = store.open().await;
    for name in ["r1", "r2", "r3", "r4", "r5", "r6"] {
        open_run(&*journal, name).await?;
    }
    let kept = read(&*journal, &id("r4")).await?;
    for (name, keep, wanted) in [
        ("r5", 2, "r6 r5 r4 r3 r2 r1"),
        ("r1", 2, "r6 r5 r4 r3 r2 r1"),
        ("r4", 2, "r6 r5 r4 r3 r2"),
        ("r3", 2, "r6 r5 r4 r2"),
        ("r6", 2, "r6 r5 r2"),
        ("r6", 0, "r2"),
    ] {
        journal.settle(&id(name), keep).await.map_err(failed)?;
        let left = runs(&*store.open().await).await?.join(" ");
        equal(&format!("after {name} was settled"), &left, &wanted.to_owned())?;
        if left.contains("r4") {
            equal("r4's entries", &read(&*journal, &id("r4")).await?, &kept)?;
        }
    }
    equal(
        "a pruned run's entries",
        &read(&*journal, &id("r4")).await?,
        &Vec::new(),
    )
}

async fn a_settled_run_can_go_on(store: &impl Store) -> Case {
    let journal = store.open().await;
    let run = open_run(&*journal, "r1").await?;
    journal.settle(&run, 50).await.map_err(failed)?;
    append(&*journal, &run, Seq(3), HOLDER, &[b"later".to_vec()]).await?;
    append(
        &*store.open().await,
        &run,
        Seq(4),
        Author::Takeover,
        &[b"taken".to_vec()],
    )
    .await?;
    let before = read(&*store.open().await, &run).await?;
    equal("entries", &before.len(), &5)?;
    open_run(&*journal, "r2").await?;
    journal.settle(&id("r2"), 0).await.map_err(failed)?;
    equal(
        "it is not finished any more",
        &runs(&*journal).await?,
        &vec!["r1".to_owned()],
    )?;
    journal.settle(&run, 50).await.map_err(failed)?;
    equal("settled again", &read(&*store.open().await, &run).await?, &before)
}

async fn a_stale_append_to_a_settled_or_pruned_run_is_refused(store: &impl Store) -> Case {
    let (stale, journal) = (store.open().await, store.open().await);
    let run = open_run(&*stale, "r1").await?;
    append(&*journal, &run, Seq(3), Author::Request, &[b"abort".to_vec()]).await?;
    append(&*journal, &run, Seq(4), HOLDER, &[b"finished".to_vec()]).await?;
    journal.settle(&run, 50).await.map_err(failed)?;
    let before = read(&*journal, &run).await?;
    let got = stale.append(&run, Seq(3), HOLDER, &[b"intent".to_vec()]).await;
    equal("settled", &got, &Err(AppendError::Conflict { head: Seq(5) }))?;
    equal("entries", &read(&*store.open().await, &run).await?, &before)?;

    let second = open_run(&*stale, "r2").await?;
    journal.settle(&second, 0).await.map_err(failed)?;
    let got = stale.append(&second, Seq(3), HOLDER, &[b"intent".to_vec()]).await;
    equal("pruned", &got, &Err(AppendError::Conflict { head: Seq(0) }))?;
    equal(
        "a pruned run's entries",
        &read(&*store.open().await, &second).await?,
        &Vec::new(),
    )
}

async fn an_altered_record_is_a_permanent_failure_that_names_its_place(store: &impl Store) -> Case {
    damaged(store, Damage::Alter).await
}

async fn a_lost_record_is_a_permanent_failure_that_names_its_place(store: &impl Store) -> Case {
    damaged(store, Damage::Lose).await
}

async fn damaged(store: &impl Store, how: Damage) -> Case {
    let journal = store.open().await;
    let run = open_run(&*journal, "r1").await?;
    for at in 3..9 {
        append(&*journal, &run, Seq(at), HOLDER, &[noise(at, 300)]).await?;
    }
    let whole = open_run(&*journal, "r2").await?;
    drop(journal);
    match store.damage(&run, Seq(5), how).await {
        Damaged::Done => {}
        Damaged::NotPossible(why) => return Err(Broken::Untestable(why)),
    }
    let journal = store.open().await;
    match journal.read(&run, Seq(0)).await {
        Ok(entries) => return Err(format!("{} entries came back", entries.len()).into()),
        Err(failure) => {
            equal("the class", &failure.class, &FailureClass::Permanent)?;
            let text = failure.to_string();
            if !text.contains("record 5") || failure.hint.is_none() {
                return Err(format!("it does not name record 5 and what to do: {text}").into());
            }
        }
    }
    equal("another run's entries", &read(&*journal, &whole).await?.len(), &3)
}

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
