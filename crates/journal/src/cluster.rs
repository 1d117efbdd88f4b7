//! The journal in the cluster: immutable Secrets in the platform's namespace, so that anyone with access can resume
//! from any machine. The creation of a batch's head Secret is the compare-and-swap and the commit. Owns the order of
//! requests; what the Secrets hold is [`part`]'s, which of them count is [`fold`]'s, which go is [`settle`]'s.

mod fold;
mod follow;
mod part;
mod settle;

use crate::api::{self, Created, Intent};
use crate::keyed;
use crate::tip::{Tip, append_operation, empty_batch, read_operation};
use astern_model::id::{Epoch, RunId, Seq, hex};
use astern_port::journal::{AppendError, Author, Entry, Journal};
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use fold::{Folded, Part};
use follow::Followed;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use part::{Kind, Label, Sealed};
use settle::Going;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Deletions side by side; settling is never waited for by anybody in need.
const DELETIONS: usize = 8;

/// A journal in a namespace.
#[derive(Clone)]
pub struct ClusterJournal {
    api: Api<Secret>,
    namespace: String,
    /// What this process has last seen of each run: only a guess that saves a read, the API server decides.
    known: Arc<Mutex<BTreeMap<RunId, Known>>>,
    /// The watches of runs that were waited for. They outlive each wait, which is dropped whenever its caller has
    /// something else to do.
    followed: Followed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    tip: Tip,
    /// The uid of the batch at 0, unless the run is settled.
    root: Option<String>,
}

impl std::fmt::Debug for ClusterJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterJournal")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// A run as it was just read.
struct Loaded {
    folded: Folded,
    /// All its Secrets.
    labels: Vec<Label>,
}

impl ClusterJournal {
    /// A journal of the runs whose platform lies in `namespace`. Asks nothing yet.
    pub fn new(client: kube::Client, namespace: String) -> Self {
        Self {
            api: Api::namespaced(client, &namespace),
            namespace,
            known: Arc::default(),
            followed: Arc::default(),
        }
    }

    async fn load(&self, run: &RunId, operation: &str) -> Result<Loaded, Failure> {
        let params = ListParams::default()
            .fields(&of_type())
            .labels(&format!("{}={run}", part::RUN));
        let secrets = api::read(operation, || self.api.list(&params)).await?.items;
        let by_name: BTreeMap<&str, &Secret> = secrets
            .iter()
            .filter_map(|secret| Some((secret.metadata.name.as_deref()?, secret)))
            .collect();
        let labelled = |secret| Label::of(secret_metadata(secret)).map(|label| (secret, label));
        let (mut parts, mut labels) = (Vec::new(), Vec::new());
        for (secret, label) in secrets.iter().filter_map(labelled) {
            if label.kind != Kind::Chunk {
                parts.push(Part {
                    label: label.clone(),
                    content: part::open(secret, &by_name),
                });
            }
            labels.push(label);
        }
        Ok(Loaded {
            folded: fold::fold(parts),
            labels,
        })
    }

    /// As [`Self::load`], for whoever needs the whole run.
    async fn whole(&self, run: &RunId, operation: &str) -> Result<Loaded, Failure> {
        let loaded = self.load(run, operation).await?;
        match &loaded.folded.broken {
            None => {
                self.remember(
                    run,
                    Known {
                        tip: loaded.folded.tip,
                        root: loaded.folded.root(),
                    },
                );
                Ok(loaded)
            }
            Some(broken) => {
                let message = format!("record {} {}", broken.seq, broken.how);
                let hint = format!(
                    "look at `kubectl get secrets -n {} -l {}={run}`; restore the one that is missing from a backup \
                     of the cluster, or bring the workloads where you want them with `astern rollback`",
                    self.namespace,
                    part::RUN
                );
                Err(Failure::new(FailureClass::Permanent, operation, message).hint(hint))
            }
        }
    }

    fn remember(&self, run: &RunId, known: Known) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(run.clone(), known);
    }

    fn remembered(&self, run: &RunId) -> Option<Known> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(run)
            .cloned()
    }

    fn forget(&self, run: &RunId) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(run);
    }

    /// What is known of a run whose head is `at`; read if what this process remembers is another head. A run that
    /// begins is not looked for: the creation of its first batch, and what confirms it, tell whether it was there.
    async fn known_at(&self, run: &RunId, at: Seq, operation: &str) -> Result<Known, Failure> {
        match self.remembered(run) {
            Some(known) if known.tip.head == at.0 => Ok(known),
            None if at.0 == 0 => Ok(Known {
                tip: Tip::default(),
                root: None,
            }),
            _ => {
                let loaded = self.whole(run, operation).await?;
                Ok(Known {
                    tip: loaded.folded.tip,
                    root: loaded.folded.root(),
                })
            }
        }
    }

    /// Creates the chunks and then the head. `None` when the head's name was taken by somebody else.
    async fn commit(&self, sealed: &Sealed, nonce: &str, operation: &str) -> Result<Option<String>, Failure> {
        for chunk in &sealed.chunks {
            // Its name carries the nonce: one that exists is ours.
            api::create(&self.api, chunk, operation).await?;
        }
        let uid = match api::create(&self.api, &sealed.head, operation).await? {
            Created::New(uid) => Some(uid),
            Created::Exists => {
                let name = secret_name(&sealed.head);
                let there = api::read(operation, || self.api.get_opt(name)).await;
                // Whose it is cannot be told without reading it.
                let there = there.map_err(|failure| Failure {
                    class: FailureClass::Unknown,
                    ..failure
                })?;
                there
                    .filter(|secret| part::nonce(secret).as_deref() == Some(nonce))
                    .map(|secret| secret.metadata.uid.unwrap_or_default())
            }
        };
        if uid.is_none() {
            self.discard(&sealed.chunks).await;
        }
        Ok(uid)
    }

    /// Deletes chunks that no head will ever name. Those that stay behind are pruned with their run.
    async fn discard(&self, chunks: &[Secret]) {
        for chunk in chunks {
            if let Err(error) = self.api.delete(secret_name(chunk), &Default::default()).await {
                let failure = api::failure("delete a chunk", &error, Intent::Read);
                tracing::debug!(chunk = secret_name(chunk), %failure, "left behind");
            }
        }
    }

    /// Why an append found its place taken.
    async fn refusal(&self, run: &RunId, at: Seq, author: Author, operation: &str) -> AppendError {
        let tip = match self.whole(run, operation).await {
            Ok(loaded) => loaded.folded.tip,
            Err(failure) => return AppendError::Store(failure),
        };
        match tip.admit(at, author) {
            Err(refused) => refused,
            Ok(()) => {
                let name = part::batch_name(run, at.0);
                let message = format!(
                    "a Secret {name} is there that is not of this journal, or is being deleted; nothing was stored"
                );
                let hint = format!(
                    "look at `kubectl get secret {name} -n {} -o yaml`",
                    self.namespace
                );
                AppendError::Store(Failure::new(FailureClass::Permanent, operation, message).hint(hint))
            }
        }
    }

    /// Makes sure that a batch that was created counts. A run that was settled or pruned meanwhile has free names
    /// again, and a sleeper's batch under one of them does not count: it is deleted, and its author told.
    async fn confirm(
        &self,
        run: &RunId,
        (at, author): (Seq, Author),
        head: (&str, &str),
        root: Option<&str>,
    ) -> Result<(), AppendError> {
        let operation = append_operation(run);
        let (name, uid) = head;
        let unknown = |failure: Failure| {
            let message = format!(
                "{}; Secret {name} was made, whether it counts is not known",
                failure.message
            );
            AppendError::Store(Failure {
                class: FailureClass::Unknown,
                message,
                ..failure
            })
        };
        if let Some(root) = root
            && self.has_root(run, root, &operation).await.map_err(unknown)?
        {
            return Ok(());
        }
        let loaded = self.load(run, &operation).await.map_err(unknown)?;
        if loaded.folded.uses(name) {
            return Ok(());
        }
        self.forget(run);
        api::delete(&self.api, name, uid, &operation)
            .await
            .map_err(unknown)?;
        let tip = loaded.folded.tip;
        match (author, tip.epoch) {
            (Author::Holder(held), Some(epoch)) if held.0 < epoch => {
                Err(AppendError::Fenced { by: Epoch(epoch) })
            }
            _ => {
                tracing::debug!(%run, %at, head = tip.head, "appended to a run that was settled or pruned meanwhile");
                Err(AppendError::Conflict { head: Seq(tip.head) })
            }
        }
    }

    async fn settle_run(&self, run: &RunId, operation: &str) -> Result<(), Failure> {
        let before = self.whole(run, operation).await?;
        let entries = &before.folded.entries;
        if entries.is_empty() {
            return Ok(());
        }
        let settled_name = part::settled_name(run, before.folded.tip.head);
        if !before.folded.uses(&settled_name) {
            let nonce = nonce(operation)?;
            let sealed = part::seal(Kind::Settled, run, entries, &nonce);
            self.commit(&sealed, &nonce, operation).await?;
        }
        // Nothing is deleted before all of it was read back from its new place.
        let after = self.whole(run, operation).await?;
        let settled = after
            .folded
            .used
            .first()
            .filter(|label| label.kind == Kind::Settled);
        let same = after.folded.entries.get(..entries.len()) == Some(entries.as_slice());
        let Some(settled) = settled.filter(|settled| same && settled.count >= entries.len() as u64) else {
            let message =
                format!("Secret {settled_name} does not hold what was settled; nothing was deleted");
            let hint = format!(
                "`kubectl delete secret {settled_name} -n {}`, then settle again",
                self.namespace
            );
            return Err(Failure::new(FailureClass::Permanent, operation, message).hint(hint));
        };
        self.forget(run);
        let going = settle::covered(settled, after.labels);
        self.delete(going, operation).await
    }

    async fn prune(&self, keep: usize, operation: &str) -> Result<(), Failure> {
        let params = ListParams::default().fields(&of_type()).labels(part::RUN);
        let listed = api::read(operation, || self.api.list_metadata(&params)).await?;
        let labels = listed
            .items
            .iter()
            .filter_map(|object| Label::of(&object.metadata))
            .collect();
        for going in settle::pruned(labels, keep) {
            self.delete(going, operation).await?;
        }
        Ok(())
    }

    async fn delete(&self, going: Going, operation: &str) -> Result<(), Failure> {
        for label in going.first {
            api::delete(&self.api, &label.name, &label.uid, operation).await?;
        }
        let deletions = going.then.into_iter().map(|label| {
            let (api, operation) = (self.api.clone(), operation.to_owned());
            async move { api::delete(&api, &label.name, &label.uid, &operation).await }
        });
        stream::iter(deletions)
            .buffer_unordered(DELETIONS)
            .try_collect()
            .await
    }

    /// What was appended at `from` and after it, batch by batch: for whoever has read all that is before. `None` where
    /// only the whole run tells: this process remembers another head, the run was settled, or something is wrong.
    async fn newer(&self, run: &RunId, from: Seq, operation: &str) -> Result<Option<Vec<Entry>>, Failure> {
        let Some(Known {
            mut tip,
            root: Some(root),
        }) = self.remembered(run).filter(|known| known.tip.head == from.0)
        else {
            return Ok(None);
        };
        let mut entries = Vec::new();
        loop {
            let name = part::batch_name(run, tip.head);
            let Some(secret) = api::read(operation, || self.api.get_opt(&name)).await? else {
                break;
            };
            let batch = part::open(&secret, &BTreeMap::new()).unwrap_or_default();
            let follows = batch
                .iter()
                .zip(tip.head..)
                .all(|(entry, seq)| entry.seq.0 == seq);
            if batch.is_empty() || !follows {
                return Ok(None);
            }
            tip = batch.iter().fold(tip, |tip, entry| tip.then(entry.author));
            entries.extend(batch);
        }
        // Asked last: while the root is there, every batch that counts is.
        if !self.has_root(run, &root, operation).await? {
            return Ok(None);
        }
        self.remember(
            run,
            Known {
                tip,
                root: Some(root),
            },
        );
        Ok(Some(entries))
    }

    /// Whether the batch at 0 is still the one of this uid: then the run was neither settled nor pruned.
    async fn has_root(&self, run: &RunId, root: &str, operation: &str) -> Result<bool, Failure> {
        let name = part::batch_name(run, 0);
        let there = api::read(operation, || self.api.get_metadata_opt(&name)).await?;
        Ok(there.is_some_and(|there| there.metadata.uid.as_deref() == Some(root)))
    }
}

#[async_trait]
impl Journal for ClusterJournal {
    async fn append(
        &self,
        run: &RunId,
        at: Seq,
        author: Author,
        batch: &[Vec<u8>],
    ) -> Result<Seq, AppendError> {
        let operation = append_operation(run);
        if batch.is_empty() {
            return Err(empty_batch(run));
        }
        if !part::is_nameable(run) {
            let message = format!("BUG: `{run}` cannot be part of a Secret's name; nothing was stored");
            return Err(AppendError::Store(Failure::new(
                FailureClass::Permanent,
                operation,
                message,
            )));
        }
        let known = self.known_at(run, at, &operation).await.map_err(not_stored)?;
        known.tip.admit(at, author)?;
        let entry = |(seq, bytes): (u64, &Vec<u8>)| Entry {
            seq: Seq(seq),
            author,
            bytes: bytes.clone(),
        };
        let entries: Vec<Entry> = (at.0..).zip(batch).map(entry).collect();
        let nonce = nonce(&operation).map_err(AppendError::Store)?;
        let sealed = part::seal(Kind::Batch, run, &entries, &nonce);
        let Some(uid) = self
            .commit(&sealed, &nonce, &operation)
            .await
            .map_err(not_stored)?
        else {
            return Err(self.refusal(run, at, author, &operation).await);
        };
        let head = (secret_name(&sealed.head), uid.as_str());
        self.confirm(run, (at, author), head, known.root.as_deref())
            .await?;
        let tip = known.tip.after(author, batch.len());
        let root = if at.0 == 0 { Some(uid) } else { known.root };
        self.remember(run, Known { tip, root });
        Ok(Seq(tip.head))
    }

    async fn read(&self, run: &RunId, from: Seq) -> Result<Vec<Entry>, Failure> {
        let operation = read_operation(run);
        if let Some(entries) = self.newer(run, from, &operation).await? {
            return Ok(entries);
        }
        let loaded = self.whole(run, &operation).await?;
        Ok(loaded
            .folded
            .entries
            .into_iter()
            .filter(|entry| entry.seq >= from)
            .collect())
    }

    async fn wait(&self, run: &RunId, from: Seq, within: SignedDuration) -> Result<(), Failure> {
        let within = Duration::try_from(within).unwrap_or_default();
        // When the time is over, the caller reads and sees that nothing came.
        tokio::time::timeout(within, self.watch_for(run, from))
            .await
            .unwrap_or(Ok(()))
    }

    async fn runs(&self) -> Result<Vec<RunId>, Failure> {
        let heads = format!("{},{}=0,{}!=chunk", part::RUN, part::SEQ, part::PART);
        let params = ListParams::default().fields(&of_type()).labels(&heads);
        let listed = api::read("list the runs", || self.api.list_metadata(&params)).await?;
        let labels = listed
            .items
            .iter()
            .filter_map(|object| Label::of(&object.metadata));
        let runs: BTreeSet<RunId> = labels.map(|label| label.run).collect();
        Ok(runs.into_iter().rev().collect())
    }

    async fn settle(&self, run: &RunId, keep: usize) -> Result<(), Failure> {
        let operation = format!("settle run {run}");
        self.settle_run(run, &operation).await?;
        self.prune(keep, &operation).await
    }

    fn place(&self) -> String {
        format!("Secrets in namespace {}", self.namespace)
    }
}

/// The failure of an append, with what it left.
fn not_stored(failure: Failure) -> AppendError {
    let left = match failure.class {
        FailureClass::Unknown => "whether this was stored is not known",
        _ => "nothing was stored",
    };
    let message = format!("{}; {left}", failure.message);
    AppendError::Store(Failure { message, ..failure })
}

fn of_type() -> String {
    format!("type={}", part::TYPE)
}

/// 64 bits tell this attempt from every other at the same place.
fn nonce(operation: &str) -> Result<String, Failure> {
    keyed::random::<8>(operation).map(|bytes| hex(&bytes))
}

fn secret_metadata(secret: &Secret) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    &secret.metadata
}

fn secret_name(secret: &Secret) -> &str {
    secret.metadata.name.as_deref().unwrap_or_default()
}
