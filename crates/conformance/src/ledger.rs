//! What every ledger must do.

use crate::report::{Broken, Report, equal, noise, same_bytes};
use crate::{Damage, Damaged};
use astern_model::release::ReleaseName;
use astern_port::ledger::{Entry, Ledger, Version, WriteError};
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use std::sync::Arc;

/// One ledger's store.
#[async_trait]
pub trait Store: Send + Sync {
    /// A new handle on it, as another process would have.
    async fn open(&self) -> Arc<dyn Ledger>;

    /// Damages the entry of this name.
    async fn damage(&self, name: &ReleaseName, how: Damage) -> Damaged;
}

type Case = Result<(), Broken>;

macro_rules! cases {
    ($report:ident, $fresh:ident: $($case:ident)*) => {$(
        let store = $fresh(stringify!($case)).await;
        $report.add(stringify!($case), $case(&store)).await;
    )*};
}

/// Runs every case, each on a fresh store; `fresh` is told the case's name.
pub async fn suite<S: Store>(fresh: impl AsyncFn(&'static str) -> S) -> Report {
    let mut report = Report::new("ledger");
    cases! { report, fresh:
        an_entry_comes_back_exactly_to_another_handle
        a_ledger_without_entries_is_empty
        names_that_differ_in_case_or_signs_are_different_releases
        a_second_entry_of_the_same_name_is_refused_and_changes_nothing
        of_many_that_add_the_same_name_at_once_one_does
        an_entry_is_written_anew_only_by_whoever_read_its_newest_version
        of_many_that_write_the_same_version_anew_one_does
        what_is_removed_is_gone_and_what_was_written_meanwhile_is_not_removed
        a_damaged_entry_is_told_and_hides_no_other
    }
    report
}

async fn an_entry_comes_back_exactly_to_another_handle(store: &impl Store) -> Case {
    let contents: [(&str, Vec<u8>); 4] = [
        ("v1.0.0", Vec::new()),
        ("v1.1.0", b"{\"kind\":\"Release\"}\n".to_vec()),
        ("v1.2.0", "digest: sha256\n".repeat(50_000).into_bytes()),
        ("v1.3.0", noise(1, 512 * 1024)),
    ];
    for (text, bytes) in &contents {
        add(&*store.open().await, &name(text)?, bytes).await?;
    }
    let other = store.open().await;
    for (text, bytes) in &contents {
        let entry = there(&*other, &name(text)?).await?;
        equal("its name", &entry.name, &name(text)?)?;
        same_bytes(text, &entry.bytes, bytes)?;
    }
    let all = other.entries().await.map_err(failed)?;
    equal("the entries", &all.entries.len(), &contents.len())?;
    equal("the unreadable ones", &all.unreadable.len(), &0)?;
    for (text, bytes) in &contents {
        let name = name(text)?;
        let entry = all.entries.iter().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| format!("{text} is not listed"))?;
        same_bytes(text, &entry.bytes, bytes)?;
        equal(
            "its version",
            &entry.version,
            &there(&*other, &name).await?.version,
        )?;
    }
    Ok(())
}

async fn a_ledger_without_entries_is_empty(store: &impl Store) -> Case {
    let ledger = store.open().await;
    equal(
        "the entries",
        &ledger.entries().await.map_err(failed)?.entries.len(),
        &0,
    )?;
    equal(
        "one entry",
        &ledger.read(&name("v1")?).await.map_err(failed)?.is_none(),
        &true,
    )
}

async fn names_that_differ_in_case_or_signs_are_different_releases(store: &impl Store) -> Case {
    let ledger = store.open().await;
    let names = ["v1.2", "V1.2", "v1-2", "v1_2", "v1+2", "v1..2"];
    for text in names {
        add(&*ledger, &name(text)?, text.as_bytes()).await?;
    }
    for text in names {
        let entry = there(&*ledger, &name(text)?).await?;
        same_bytes(text, &entry.bytes, text.as_bytes())?;
    }
    Ok(())
}

async fn a_second_entry_of_the_same_name_is_refused_and_changes_nothing(store: &impl Store) -> Case {
    let name = name("v1.2.4")?;
    let first = add(&*store.open().await, &name, b"first").await?;
    for bytes in [&b"second"[..], b"first"] {
        let second = store.open().await.add(&name, "candidate", bytes).await;
        equal("the second", &second, &Err(WriteError::Exists))?;
    }
    let entry = there(&*store.open().await, &name).await?;
    equal("its version", &entry.version, &first)?;
    same_bytes("the first", &entry.bytes, b"first")
}

async fn of_many_that_add_the_same_name_at_once_one_does(store: &impl Store) -> Case {
    let name = name("v1.2.4")?;
    let mut handles = tokio::task::JoinSet::new();
    for one in 0..8_u8 {
        let (ledger, name) = (store.open().await, name.clone());
        handles.spawn(async move { (one, ledger.add(&name, "candidate", &[one]).await) });
    }
    let mut won = Vec::new();
    while let Some(joined) = handles.join_next().await {
        match joined.map_err(|error| error.to_string())? {
            (one, Ok(_)) => won.push(one),
            (_, Err(WriteError::Exists)) => {}
            (_, Err(other)) => return Err(format!("{other:?}").into()),
        }
    }
    equal("those that added it", &won.len(), &1)?;
    same_bytes(
        "what is there",
        &there(&*store.open().await, &name).await?.bytes,
        &won,
    )
}

async fn an_entry_is_written_anew_only_by_whoever_read_its_newest_version(store: &impl Store) -> Case {
    let ledger = store.open().await;
    let name = name("v1.2.4")?;
    let first = add(&*ledger, &name, b"candidate").await?;
    let second = ledger
        .replace(&name, &first, "good", b"good")
        .await
        .map_err(not_written)?;
    let late = store.open().await.replace(&name, &first, "bad", b"bad").await;
    equal("whoever read the older one", &late, &Err(WriteError::Conflict))?;
    let entry = there(&*ledger, &name).await?;
    equal("its version", &entry.version, &second)?;
    same_bytes("what is there", &entry.bytes, b"good")?;
    let absent = ReleaseName::parse("v9").map_err(|error| error.to_string())?;
    let gone = ledger.replace(&absent, &second, "bad", b"bad").await;
    equal("one that is not there", &gone, &Err(WriteError::Conflict))
}

async fn of_many_that_write_the_same_version_anew_one_does(store: &impl Store) -> Case {
    let name = name("v1.2.4")?;
    let version = add(&*store.open().await, &name, b"candidate").await?;
    let mut handles = tokio::task::JoinSet::new();
    for one in 0..8_u8 {
        let (ledger, name, version) = (store.open().await, name.clone(), version.clone());
        handles.spawn(async move { (one, ledger.replace(&name, &version, "good", &[one]).await) });
    }
    let mut won = Vec::new();
    while let Some(joined) = handles.join_next().await {
        match joined.map_err(|error| error.to_string())? {
            (one, Ok(_)) => won.push(one),
            (_, Err(WriteError::Conflict)) => {}
            (_, Err(other)) => return Err(format!("{other:?}").into()),
        }
    }
    equal("those that wrote it", &won.len(), &1)?;
    same_bytes(
        "what is there",
        &there(&*store.open().await, &name).await?.bytes,
        &won,
    )
}

async fn what_is_removed_is_gone_and_what_was_written_meanwhile_is_not_removed(store: &impl Store) -> Case {
    let ledger = store.open().await;
    let name = name("v1.2.4")?;
    let first = add(&*ledger, &name, b"candidate").await?;
    let second = ledger
        .replace(&name, &first, "good", b"good")
        .await
        .map_err(not_written)?;
    equal(
        "removing the older one",
        &ledger.remove(&name, &first).await,
        &Err(WriteError::Conflict),
    )?;
    same_bytes("what is there", &there(&*ledger, &name).await?.bytes, b"good")?;
    ledger.remove(&name, &second).await.map_err(not_written)?;
    equal(
        "after it",
        &store.open().await.read(&name).await.map_err(failed)?.is_none(),
        &true,
    )?;
    equal("removing it again", &ledger.remove(&name, &second).await, &Ok(()))
}

async fn a_damaged_entry_is_told_and_hides_no_other(store: &impl Store) -> Case {
    let ledger = store.open().await;
    let (good, damaged) = (name("v1.2.3")?, name("v1.2.4")?);
    add(&*ledger, &good, b"sound").await?;
    add(&*ledger, &damaged, &b"replicas: 3\n".repeat(400)).await?;
    match store.damage(&damaged, Damage::Alter).await {
        Damaged::Done => {}
        Damaged::NotPossible(why) => return Err(Broken::Untestable(why)),
    }
    let all = store.open().await.entries().await.map_err(failed)?;
    let names: Vec<&ReleaseName> = all.entries.iter().map(|entry| &entry.name).collect();
    equal("the readable ones", &names, &vec![&good])?;
    equal("the unreadable ones", &all.unreadable.len(), &1)?;
    match store.open().await.read(&damaged).await {
        Ok(entry) => Err(format!("{entry:?} came back").into()),
        Err(failure) => equal("the class", &failure.class, &FailureClass::Permanent),
    }
}

fn name(text: &str) -> Result<ReleaseName, Broken> {
    ReleaseName::parse(text).map_err(|error| error.to_string().into())
}

fn failed(failure: Failure) -> Broken {
    Broken::Promise(failure.to_string())
}

fn not_written(error: WriteError) -> Broken {
    Broken::Promise(format!("{error:?}"))
}

async fn add(ledger: &dyn Ledger, name: &ReleaseName, bytes: &[u8]) -> Result<Version, Broken> {
    ledger.add(name, "candidate", bytes).await.map_err(not_written)
}

async fn there(ledger: &dyn Ledger, name: &ReleaseName) -> Result<Entry, Broken> {
    let entry = ledger.read(name).await.map_err(failed)?;
    entry.ok_or_else(|| Broken::Promise(format!("{name} is not there")))
}
