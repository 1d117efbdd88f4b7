//! What becomes of finished runs, and of damaged ones.

use super::{Case, HOLDER, Store, append, failed, id, open_run, read, read_from, runs};
use crate::report::{Broken, equal, noise};
use crate::{Damage, Damaged};
use astern_model::id::Seq;
use astern_port::FailureClass;
use astern_port::journal::{AppendError, Author};

pub(super) async fn a_settled_run_reads_the_same(store: &impl Store) -> Case {
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

pub(super) async fn settling_keeps_the_newest_finished_runs_and_every_unfinished_one(
    store: &impl Store,
) -> Case {
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

pub(super) async fn a_settled_run_can_go_on(store: &impl Store) -> Case {
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

pub(super) async fn who_follows_a_run_reads_what_comes_also_once_it_was_settled_and_when_it_is_gone(
    store: &impl Store,
) -> Case {
    let (reader, writer) = (store.open().await, store.open().await);
    let run = open_run(&*writer, "r1").await?;
    let mut seen = read(&*reader, &run).await?;
    let batches = [vec![b"a".to_vec()], vec![b"b".to_vec(), b"c".to_vec()]];
    for settled in [false, true] {
        let what = if settled {
            "once it was settled"
        } else {
            "as it runs"
        };
        for batch in &batches {
            let head = Seq(seen.len() as u64);
            equal(what, &read_from(&*reader, &run, head).await?, &Vec::new())?;
            append(&*writer, &run, head, HOLDER, batch).await?;
            append(&*writer, &run, Seq(head.0 + batch.len() as u64), HOLDER, batch).await?;
            let came = read_from(&*reader, &run, head).await?;
            equal(what, &came.len(), &(2 * batch.len()))?;
            seen.extend(came);
            equal(what, &read(&*store.open().await, &run).await?, &seen)?;
        }
        writer.settle(&run, 50).await.map_err(failed)?;
    }
    open_run(&*writer, "r2").await?;
    writer.settle(&id("r2"), 0).await.map_err(failed)?;
    writer.settle(&run, 0).await.map_err(failed)?;
    let gone = read(&*store.open().await, &run).await?;
    let from = Seq(seen.len() as u64);
    equal(
        "what is there",
        &read_from(&*reader, &run, from).await?,
        &Vec::new(),
    )?;
    equal("as another one reads it", &read(&*reader, &run).await?, &gone)
}

pub(super) async fn a_stale_append_to_a_settled_or_pruned_run_is_refused(store: &impl Store) -> Case {
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

pub(super) async fn an_altered_record_is_a_permanent_failure_that_names_its_place(
    store: &impl Store,
) -> Case {
    damaged(store, Damage::Alter).await
}

pub(super) async fn a_lost_record_is_a_permanent_failure_that_names_its_place(store: &impl Store) -> Case {
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
