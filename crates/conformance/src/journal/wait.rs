//! Waiting for somebody's append.

use super::{Case, HOLDER, Store, append, failed, id, open_run, read};
use astern_model::id::Seq;
use jiff::SignedDuration;
use std::time::Duration;
use tokio::time::Instant;

pub(super) async fn waiting_ends_when_somebody_appends(store: &impl Store) -> Case {
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

pub(super) async fn waiting_ends_at_once_for_what_is_there(store: &impl Store) -> Case {
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

pub(super) async fn waiting_ends_after_its_time(store: &impl Store) -> Case {
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
