//! Who may append: takeovers, holders that were taken over, requests.

use super::{Case, HOLDER, Store, append, failed, open_run, read};
use crate::report::equal;
use astern_model::id::{Epoch, Seq};
use astern_port::journal::{AppendError, Author};

pub(super) async fn a_takeovers_own_place_is_the_epoch(store: &impl Store) -> Case {
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

pub(super) async fn a_holder_that_was_taken_over_is_fenced_at_every_place(store: &impl Store) -> Case {
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

pub(super) async fn a_fenced_holder_stays_fenced_after_the_run_is_settled(store: &impl Store) -> Case {
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

pub(super) async fn a_request_needs_no_epoch_and_conflicts_openly(store: &impl Store) -> Case {
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
