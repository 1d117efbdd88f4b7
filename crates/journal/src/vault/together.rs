//! Contents that are kept at the same time, in one Secret: a run over fifty workloads keeps a hundred of them before its
//! first write. Owns who writes for whom, and how contents lie in a Secret.

use super::{CONTENT, HEAD, PIECE_BYTES, TOGETHER};
use crate::keyed::{Key, digest};
use crate::packed;
use astern_model::content::ContentRef;
use astern_model::id::hex;
use astern_port::Failure;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, oneshot};

/// Larger content is kept alone.
pub(super) const LARGEST: usize = PIECE_BYTES / 4;

/// Whoever writes waits so long for another that comes too, and again as long as another one did: next to nothing beside
/// the request.
const ANOTHER: Duration = Duration::from_millis(1);
const OTHERS: usize = 5;

/// Content on its way into the vault.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) label: &'a str,
    pub(super) bytes: &'a [u8],
}

/// Contents that wait for the write before theirs.
#[derive(Clone, Default)]
pub(super) struct Waiting {
    queue: Arc<Lock<Vec<Queued>>>,
    /// Held by whoever writes, for the others too.
    turn: Arc<Mutex<()>>,
}

struct Queued {
    label: String,
    bytes: Vec<u8>,
    answer: oneshot::Sender<Result<ContentRef, Failure>>,
}

/// One's own content among what waits.
pub(super) struct Ticket<'a> {
    waiting: &'a Waiting,
    label: &'a str,
    bytes: &'a [u8],
    answer: oneshot::Receiver<Result<ContentRef, Failure>>,
}

/// What whoever waits does next.
pub(super) enum Next<'a> {
    /// Its content was kept, or could not be.
    Answered(Result<ContentRef, Failure>),
    /// It is its turn to write, for others too.
    Write(Batch<'a>),
}

/// Contents that are to be written now. While it is held nobody else writes.
pub(super) struct Batch<'a> {
    queued: Vec<Queued>,
    _turn: MutexGuard<'a, ()>,
}

impl Waiting {
    /// Begins to wait.
    pub(super) fn join<'a>(&'a self, label: &'a str, bytes: &'a [u8]) -> Ticket<'a> {
        Ticket {
            waiting: self,
            label,
            bytes,
            answer: self.queue(label, bytes),
        }
    }

    fn queue(&self, label: &str, bytes: &[u8]) -> oneshot::Receiver<Result<ContentRef, Failure>> {
        let (answer, receiver) = oneshot::channel();
        let queued = Queued {
            label: label.to_owned(),
            bytes: bytes.to_owned(),
            answer,
        };
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(queued);
        receiver
    }

    async fn gather(&self) {
        let queued = || self.queue.lock().unwrap_or_else(PoisonError::into_inner).len();
        for _ in 0..OTHERS {
            let before = queued();
            tokio::time::sleep(ANOTHER).await;
            if queued() == before {
                break;
            }
        }
    }

    /// As much of what waits as one Secret takes.
    fn next_batch(&self) -> Vec<Queued> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.retain(|queued| !queued.answer.is_closed());
        let mut size = 0;
        let fitting = queue.iter().take_while(|queued| {
            size += queued.bytes.len();
            size <= PIECE_BYTES
        });
        let fitting = fitting.count();
        queue.drain(..fitting).collect()
    }
}

impl Ticket<'_> {
    /// Waits until there is an answer, or nobody else writes.
    pub(super) async fn next(&mut self) -> Next<'_> {
        loop {
            tokio::select! {
                biased;
                answered = &mut self.answer => match answered {
                    Ok(answered) => return Next::Answered(answered),
                    // Whoever wrote for this one was cut off; the same content twice does no harm.
                    Err(_) => self.answer = self.waiting.queue(self.label, self.bytes),
                },
                turn = self.waiting.turn.lock() => {
                    self.waiting.gather().await;
                    let queued = self.waiting.next_batch();
                    if !queued.is_empty() {
                        return Next::Write(Batch { queued, _turn: turn });
                    }
                }
            }
        }
    }
}

impl Batch<'_> {
    pub(super) fn contents(&self) -> Vec<Kept<'_>> {
        let contents = self.queued.iter().map(|queued| Kept {
            label: &queued.label,
            bytes: &queued.bytes,
        });
        contents.collect()
    }

    /// Answers everybody: a reference for each, in their order, or the same failure for all.
    pub(super) fn tell(self, written: Result<Vec<ContentRef>, Failure>) {
        match written {
            Ok(references) => {
                for (queued, reference) in self.queued.into_iter().zip(references) {
                    drop(queued.answer.send(Ok(reference)));
                }
            }
            Err(failure) => {
                for queued in self.queued {
                    drop(queued.answer.send(Err(failure.clone())));
                }
            }
        }
    }
}

/// What people are told that lies there: `last-applied, template`.
pub(super) fn labels(contents: &[Kept<'_>]) -> String {
    let labels: BTreeSet<&str> = contents.iter().map(|content| content.label).collect();
    labels.into_iter().collect::<Vec<_>>().join(", ")
}

/// The references of contents that lie in one Secret, in their order, and its data. The same content lies there once.
pub(super) fn bundle(key: &Key, contents: &[Kept<'_>]) -> (Vec<ContentRef>, [(&'static str, Vec<u8>); 2]) {
    let own: Vec<ContentRef> = contents
        .iter()
        .map(|content| key.reference(content.bytes))
        .collect();
    let mut whole = Vec::new();
    let mut places: BTreeMap<&str, Value> = BTreeMap::new();
    for (reference, content) in own.iter().zip(contents) {
        places.entry(&reference.keyed_hash).or_insert_with(|| {
            let from = whole.len();
            whole.extend_from_slice(content.bytes);
            json!({"keyedHash": reference.keyed_hash, "from": from, "size": reference.size})
        });
    }
    let all = key.reference(&whole);
    let head = json!({
        "format": TOGETHER,
        "size": whole.len(),
        "digest": hex(&digest(&whole)),
        "contents": places.into_values().collect::<Vec<_>>(),
    });
    let named = own.into_iter().map(|reference| ContentRef {
        name: all.name.clone(),
        ..reference
    });
    let data = [
        (HEAD, head.to_string().into_bytes()),
        (CONTENT, packed::pack(&whole)),
    ];
    (named.collect(), data)
}

/// One of the contents of a Secret.
///
/// # Errors
/// How it is damaged.
pub(super) fn find(
    reference: &ContentRef,
    head: &Value,
    packed: Option<&[u8]>,
) -> Result<Vec<u8>, &'static str> {
    let places = head["contents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let fits = |place: &&Value| place["keyedHash"] == reference.keyed_hash && place["size"] == reference.size;
    let place = places
        .iter()
        .find(fits)
        .ok_or("what lies there has another hash")?;
    let size = head["size"].as_u64().filter(|size| *size <= PIECE_BYTES as u64);
    let whole = size
        .and_then(|size| packed::unpack(packed?, size))
        .ok_or("its bytes cannot be unpacked")?;
    if head["digest"] != hex(&digest(&whole)) {
        return Err("its bytes do not match their hash");
    }
    let from = place["from"].as_u64().and_then(|from| usize::try_from(from).ok());
    let size = usize::try_from(reference.size).ok();
    from.zip(size)
        .and_then(|(from, size)| whole.get(from..from.checked_add(size)?))
        .map(<[u8]>::to_vec)
        .ok_or("its place in what lies there is beyond its end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn content_whose_writer_was_cut_off_is_written_by_whoever_waits_for_it() {
        let waiting = Waiting::default();
        let mut first = waiting.join("template", b"first");
        let mut second = waiting.join("log", b"second");
        let Next::Write(batch) = first.next().await else {
            panic!("nobody else writes");
        };
        assert_eq!(labels(&batch.contents()), "log, template");
        assert!(second.next().now_or_never().is_none(), "two write at a time");
        drop(batch);
        drop(first);
        let Next::Write(batch) = second.next().await else {
            panic!("nobody else writes");
        };
        let contents: Vec<&[u8]> = batch.contents().iter().map(|content| content.bytes).collect();
        assert_eq!(contents, [b"second"]);
    }
}
