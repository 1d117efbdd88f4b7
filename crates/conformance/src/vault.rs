//! What every vault must do.

use crate::report::{Broken, Report, equal, noise, same_bytes};
use crate::{Damage, Damaged};
use astern_model::content::ContentRef;
use astern_port::vault::Vault;
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use std::sync::Arc;

/// One vault's store.
#[async_trait]
pub trait Store: Send + Sync {
    /// A new handle on it, as another process would have.
    async fn open(&self) -> Arc<dyn Vault>;

    /// Damages what lies behind `reference`.
    async fn damage(&self, reference: &ContentRef, how: Damage) -> Damaged;
}

type Case = Result<(), Broken>;

macro_rules! cases {
    ($report:ident, $fresh:ident: $($case:ident)*) => {$(
        let store = $fresh(stringify!($case)).await;
        $report.add(stringify!($case), $case(&store)).await;
    )*};
}

/// Runs every case, each on a fresh store; `fresh` is told the case's name. Two fresh stores must have different keys.
pub async fn suite<S: Store>(fresh: impl AsyncFn(&'static str) -> S) -> Report {
    let mut report = Report::new("vault");
    cases! { report, fresh:
        content_comes_back_exactly
        the_same_bytes_give_the_same_reference
        a_second_handle_reads_what_the_first_kept
        many_handles_may_keep_the_same_bytes_at_once
        what_is_kept_at_the_same_time_comes_back_each_by_its_own_reference
        altered_content_that_was_kept_with_others_is_a_permanent_failure
        what_was_never_kept_is_a_permanent_failure
        altered_content_is_a_permanent_failure_and_never_returned
        lost_content_is_a_permanent_failure
    }
    let stores = (fresh("different_keys_a").await, fresh("different_keys_b").await);
    report
        .add(
            "two_vaults_give_the_same_bytes_different_hashes",
            two_keys(&stores.0, &stores.1),
        )
        .await;
    report
}

async fn content_comes_back_exactly(store: &impl Store) -> Case {
    let vault = store.open().await;
    let text = "kind: Deployment\n".repeat(100_000);
    let contents: [(&str, Vec<u8>); 6] = [
        ("nothing", Vec::new()),
        ("one zero byte", vec![0]),
        ("text that is not UTF-8", vec![0xff, 0xfe, b'\n', 0x80]),
        ("1.7 MB of text", text.into_bytes()),
        ("1 MiB of noise", noise(1, 1 << 20)),
        ("3 MiB of noise", noise(2, 3 << 20)),
    ];
    for (what, bytes) in &contents {
        let reference = put(&*vault, bytes).await?;
        equal(&format!("size of {what}"), &reference.size, &(bytes.len() as u64))?;
        same_bytes(what, &get(&*vault, &reference).await?, bytes)?;
    }
    Ok(())
}

async fn the_same_bytes_give_the_same_reference(store: &impl Store) -> Case {
    let vault = store.open().await;
    let first = put(&*vault, b"template").await?;
    equal(
        "the second reference",
        &vault.put("log", b"template").await.map_err(failed)?,
        &first,
    )?;
    equal(
        "another handle's reference",
        &put(&*store.open().await, b"template").await?,
        &first,
    )?;
    let other = put(&*vault, b"templatf").await?;
    if other == first || other.name == first.name || other.keyed_hash == first.keyed_hash {
        return Err("different bytes gave the same reference".into());
    }
    let digits = first.keyed_hash.strip_prefix("hmac-sha256:").unwrap_or_default();
    if digits.len() != 64
        || !digits
            .chars()
            .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    {
        return Err(format!(
            "{} is not hmac-sha256: and 64 hexadecimal digits",
            first.keyed_hash
        )
        .into());
    }
    same_bytes(
        "after it was kept three times",
        &get(&*vault, &first).await?,
        b"template",
    )
}

async fn a_second_handle_reads_what_the_first_kept(store: &impl Store) -> Case {
    let bytes = noise(3, 2 << 20);
    let reference = put(&*store.open().await, &bytes).await?;
    same_bytes(
        "by a second handle",
        &get(&*store.open().await, &reference).await?,
        &bytes,
    )
}

async fn many_handles_may_keep_the_same_bytes_at_once(store: &impl Store) -> Case {
    let mut handles = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let vault = store.open().await;
        handles.spawn(async move { vault.put("log", &noise(4, 1_500_000)).await });
    }
    let mut references = Vec::new();
    while let Some(joined) = handles.join_next().await {
        references.push(joined.map_err(|error| error.to_string())?.map_err(failed)?);
    }
    references.dedup();
    equal("different references", &references.len(), &1)?;
    same_bytes(
        "after eight kept it",
        &get(&*store.open().await, &references[0]).await?,
        &noise(4, 1_500_000),
    )
}

async fn what_is_kept_at_the_same_time_comes_back_each_by_its_own_reference(store: &impl Store) -> Case {
    let vault = store.open().await;
    // Of every size, so that more comes together than one piece of storage takes; one of them twice.
    let mut contents: Vec<Vec<u8>> = (0..60).map(|one| noise(100 + one, 1 << (one % 19))).collect();
    contents.push(Vec::new());
    contents.push(contents[7].clone());
    let puts = contents.iter().map(|bytes| put(&*vault, bytes));
    let references = futures::future::try_join_all(puts).await?;
    let hashes = |of: usize| references[of].keyed_hash.clone();
    equal("the hash of the same content", &hashes(61), &hashes(7))?;
    equal(
        "the hash that it has alone",
        &put(&*store.open().await, &contents[7]).await?.keyed_hash,
        &hashes(7),
    )?;
    let other = store.open().await;
    for (reference, bytes) in references.iter().zip(&contents) {
        equal("its size", &reference.size, &(bytes.len() as u64))?;
        same_bytes("by another handle", &get(&*other, reference).await?, bytes)?;
    }
    Ok(())
}

async fn altered_content_that_was_kept_with_others_is_a_permanent_failure(store: &impl Store) -> Case {
    let vault = store.open().await;
    let puts = [&b"first"[..], b"second", b"third"].map(|bytes| put(&*vault, bytes));
    let references = futures::future::try_join_all(puts).await?;
    possible(store.damage(&references[1], Damage::Alter).await)?;
    permanent(store.open().await.get(&references[1]).await)
}

async fn what_was_never_kept_is_a_permanent_failure(store: &impl Store) -> Case {
    let vault = store.open().await;
    let mut reference = put(&*vault, b"something").await?;
    let first = if reference.name.ends_with('0') { '1' } else { '0' };
    reference.name.pop();
    reference.name.push(first);
    permanent(vault.get(&reference).await)?;
    let mut reference = put(&*vault, b"something").await?;
    reference.keyed_hash = put(&*vault, b"something else").await?.keyed_hash;
    permanent(vault.get(&reference).await)
}

async fn altered_content_is_a_permanent_failure_and_never_returned(store: &impl Store) -> Case {
    for (what, bytes) in [
        ("short", b"LOG_LEVEL: debug".to_vec()),
        ("long", noise(5, 2 << 20)),
    ] {
        let reference = put(&*store.open().await, &bytes).await?;
        possible(store.damage(&reference, Damage::Alter).await)?;
        permanent(store.open().await.get(&reference).await).map_err(|broken| told(what, broken))?;
    }
    Ok(())
}

async fn lost_content_is_a_permanent_failure(store: &impl Store) -> Case {
    let reference = put(&*store.open().await, b"short").await?;
    possible(store.damage(&reference, Damage::Lose).await)?;
    permanent(store.open().await.get(&reference).await)
}

async fn two_keys(first: &impl Store, second: &impl Store) -> Case {
    let first = put(&*first.open().await, b"hunter2").await?;
    let second = put(&*second.open().await, b"hunter2").await?;
    if first.keyed_hash == second.keyed_hash {
        return Err("both gave the same hash, so a short secret could be guessed from it".into());
    }
    Ok(())
}

fn told(what: &str, broken: Broken) -> Broken {
    match broken {
        Broken::Promise(why) => Broken::Promise(format!("{what}: {why}")),
        Broken::Untestable(why) => Broken::Untestable(why),
    }
}

fn possible(damaged: Damaged) -> Case {
    match damaged {
        Damaged::Done => Ok(()),
        Damaged::NotPossible(why) => Err(Broken::Untestable(why)),
    }
}

fn permanent(got: Result<Vec<u8>, Failure>) -> Case {
    match got {
        Ok(bytes) => Err(format!("{} bytes came back", bytes.len()).into()),
        Err(failure) => equal("the class", &failure.class, &FailureClass::Permanent),
    }
}

fn failed(failure: Failure) -> Broken {
    Broken::Promise(failure.to_string())
}

async fn put(vault: &dyn Vault, bytes: &[u8]) -> Result<ContentRef, Broken> {
    vault.put("template", bytes).await.map_err(failed)
}

async fn get(vault: &dyn Vault, reference: &ContentRef) -> Result<Vec<u8>, Broken> {
    vault.get(reference).await.map_err(failed)
}
