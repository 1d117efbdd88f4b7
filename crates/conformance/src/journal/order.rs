//! Order, exact bytes, whole batches, and one winner at each place.

use super::{Case, HOLDER, Store, append, failed, id, not_appended, open_run, read, read_from, runs};
use crate::report::{equal, noise, same_bytes};
use astern_model::id::Seq;
use astern_port::FailureClass;
use astern_port::journal::{AppendError, Author, Entry};
use tokio::task::JoinSet;

pub(super) async fn records_come_back_in_order_with_exact_bytes_and_authors(store: &impl Store) -> Case {
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

pub(super) async fn an_unknown_run_reads_empty(store: &impl Store) -> Case {
    let journal = store.open().await;
    open_run(&*journal, "r2").await?;
    equal("entries", &read(&*journal, &id("r1")).await?, &Vec::new())?;
    journal.settle(&id("r1"), 1).await.map_err(failed)?;
    equal("runs", &runs(&*journal).await?, &vec!["r2".to_owned()])
}

pub(super) async fn an_empty_batch_is_refused(store: &impl Store) -> Case {
    let journal = store.open().await;
    let run = open_run(&*journal, "r1").await?;
    match journal.append(&run, Seq(3), HOLDER, &[]).await {
        Err(AppendError::Store(failure)) => equal("the class", &failure.class, &FailureClass::Permanent)?,
        other => return Err(format!("it gave {other:?}").into()),
    }
    equal("entries", &read(&*journal, &run).await?.len(), &3)
}

pub(super) async fn a_batch_at_a_place_that_is_not_the_head_conflicts_and_stores_nothing(
    store: &impl Store,
) -> Case {
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

pub(super) async fn a_batch_that_overlaps_a_longer_one_conflicts(store: &impl Store) -> Case {
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

pub(super) async fn a_reader_never_sees_half_a_batch(store: &impl Store) -> Case {
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
        // A store that never waits must not keep the writer from its turn.
        tokio::task::yield_now().await;
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

pub(super) async fn of_twenty_appenders_at_one_place_exactly_one_wins(store: &impl Store) -> Case {
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
                    handle
                        .append(&run, Seq(at), HOLDER, std::slice::from_ref(&record))
                        .await,
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

pub(super) async fn a_plan_of_many_megabytes_is_one_record(store: &impl Store) -> Case {
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

pub(super) async fn a_second_handle_sees_everything(store: &impl Store) -> Case {
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

pub(super) async fn runs_are_listed_newest_first(store: &impl Store) -> Case {
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
