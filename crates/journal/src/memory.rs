//! Journal, vault and ledger in memory: for the sandbox, for harnesses and for tests. A clone is another handle on the same
//! store. Nothing outlives the process.

use crate::keyed::{self, Key};
use crate::tip::{Tip, empty_batch};
use astern_model::content::ContentRef;
use astern_model::id::{RunId, Seq};
use astern_model::release::ReleaseName;
use astern_port::Failure;
use astern_port::journal::{AppendError, Author, Entry, Journal};
use astern_port::ledger::{self, Entries, Ledger, Version, WriteError};
use astern_port::vault::Vault;
use async_trait::async_trait;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Where failures say that content is.
const PLACE: &str = "memory";

/// A journal in memory.
#[derive(Clone, Debug)]
pub struct MemoryJournal {
    state: Arc<watch::Sender<Runs>>,
}

#[derive(Debug, Default)]
struct Runs {
    runs: BTreeMap<RunId, Vec<Entry>>,
    settled: BTreeSet<RunId>,
}

impl Runs {
    fn tip(&self, run: &RunId) -> Tip {
        let entries = self.runs.get(run).map(Vec::as_slice).unwrap_or_default();
        entries
            .iter()
            .fold(Tip::default(), |tip, entry| tip.then(entry.author))
    }

    fn append(
        &mut self,
        run: &RunId,
        at: Seq,
        author: Author,
        batch: &[Vec<u8>],
    ) -> Result<Seq, AppendError> {
        self.tip(run).admit(at, author)?;
        let entries = self.runs.entry(run.clone()).or_default();
        let entry = |(seq, bytes): (u64, &Vec<u8>)| Entry {
            seq: Seq(seq),
            author,
            bytes: bytes.clone(),
        };
        entries.extend((at.0..).zip(batch).map(entry));
        self.settled.remove(run);
        Ok(Seq(at.0 + batch.len() as u64))
    }

    fn settle(&mut self, run: &RunId, keep: usize) {
        if self.runs.contains_key(run) {
            self.settled.insert(run.clone());
        }
        while self.settled.len() > keep {
            let Some(oldest) = self.settled.pop_first() else {
                return;
            };
            self.runs.remove(&oldest);
        }
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(Runs::default())),
        }
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(
        &self,
        run: &RunId,
        at: Seq,
        author: Author,
        batch: &[Vec<u8>],
    ) -> Result<Seq, AppendError> {
        if batch.is_empty() {
            return Err(empty_batch(run));
        }
        let mut result = Err(empty_batch(run));
        self.state.send_if_modified(|runs| {
            result = runs.append(run, at, author, batch);
            result.is_ok()
        });
        result
    }

    async fn read(&self, run: &RunId, from: Seq) -> Result<Vec<Entry>, Failure> {
        let state = self.state.borrow();
        let entries = state.runs.get(run).map(Vec::as_slice).unwrap_or_default();
        Ok(entries
            .iter()
            .filter(|entry| entry.seq >= from)
            .cloned()
            .collect())
    }

    async fn wait(&self, run: &RunId, from: Seq, within: SignedDuration) -> Result<(), Failure> {
        let mut changes = self.state.subscribe();
        let there = changes.wait_for(|runs| runs.tip(run).head > from.0);
        let within = Duration::try_from(within).unwrap_or_default();
        // Whether it came or the time is over, the caller reads.
        let _ = tokio::time::timeout(within, there).await;
        Ok(())
    }

    async fn runs(&self) -> Result<Vec<RunId>, Failure> {
        Ok(self.state.borrow().runs.keys().rev().cloned().collect())
    }

    async fn settle(&self, run: &RunId, keep: usize) -> Result<(), Failure> {
        self.state.send_modify(|runs| runs.settle(run, keep));
        Ok(())
    }

    fn place(&self) -> String {
        PLACE.to_owned()
    }
}

/// A vault in memory.
#[derive(Clone, Default)]
pub struct MemoryVault {
    state: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    key: Option<Key>,
    contents: BTreeMap<ContentRef, Vec<u8>>,
    /// What another vault calls some bytes.
    hashes: BTreeMap<Vec<u8>, String>,
}

impl Kept {
    fn key(&mut self) -> Result<Key, Failure> {
        match &self.key {
            Some(key) => Ok(key.clone()),
            None => Ok(self.key.insert(Key::random()?).clone()),
        }
    }
}

impl MemoryVault {
    /// A vault whose references are the same in every process, for simulations and snapshots. [`Self::default`] has
    /// a random key instead.
    pub fn with_key(key: [u8; 32]) -> Self {
        let kept = Kept {
            key: Key::stored(&key),
            contents: BTreeMap::new(),
            hashes: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(kept)),
        }
    }

    /// Takes in what another vault keeps, under that one's reference.
    pub fn hold(&self, reference: ContentRef, bytes: Vec<u8>) {
        self.state().contents.insert(reference, bytes);
    }

    /// Has these bytes go by the hash that another vault, whose key this one has not, gives them.
    pub fn call(&self, bytes: Vec<u8>, hash: String) {
        self.state().hashes.insert(bytes, hash);
    }

    fn state(&self) -> MutexGuard<'_, Kept> {
        // Nothing is half done under this lock, whatever another thread died of.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryVault")
            .field("contents", &self.state().contents.len())
            .finish()
    }
}

#[async_trait]
impl Vault for MemoryVault {
    async fn put(&self, _label: &str, bytes: &[u8]) -> Result<ContentRef, Failure> {
        let mut state = self.state();
        let reference = state.key()?.reference(bytes);
        let held = state.contents.entry(reference.clone());
        held.or_insert_with(|| bytes.to_vec());
        Ok(reference)
    }

    async fn hash(&self, bytes: &[u8]) -> Result<String, Failure> {
        let mut state = self.state();
        if let Some(hash) = state.hashes.get(bytes) {
            return Ok(hash.clone());
        }
        Ok(state.key()?.reference(bytes).keyed_hash)
    }

    async fn get(&self, reference: &ContentRef) -> Result<Vec<u8>, Failure> {
        let state = self.state();
        if let Some(bytes) = state.contents.get(reference) {
            return Ok(bytes.clone());
        }
        if state.contents.keys().any(|held| held.name == reference.name) {
            let how = "what lies there has another hash";
            return Err(keyed::damaged(reference, PLACE, how));
        }
        Err(keyed::missing(reference, PLACE))
    }
}

/// A ledger in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    state: Arc<Mutex<Releases>>,
}

#[derive(Debug, Default)]
struct Releases {
    entries: BTreeMap<ReleaseName, Entered>,
    writings: u64,
}

#[derive(Debug)]
struct Entered {
    writing: u64,
    bytes: Vec<u8>,
}

impl Releases {
    fn write(&mut self, name: &ReleaseName, bytes: &[u8]) -> Version {
        self.writings += 1;
        let entered = Entered {
            writing: self.writings,
            bytes: bytes.to_vec(),
        };
        let version = version(&entered);
        self.entries.insert(name.clone(), entered);
        version
    }

    /// Whether the newest writing of an entry is this one.
    fn is_at(&self, name: &ReleaseName, at: &Version) -> bool {
        self.entries
            .get(name)
            .is_some_and(|entered| &version(entered) == at)
    }
}

fn version(entered: &Entered) -> Version {
    Version(entered.writing.to_string())
}

fn entry(name: &ReleaseName, entered: &Entered) -> ledger::Entry {
    ledger::Entry {
        name: name.clone(),
        version: version(entered),
        bytes: entered.bytes.clone(),
    }
}

impl MemoryLedger {
    fn state(&self) -> MutexGuard<'_, Releases> {
        // Nothing is half done under this lock, whatever another thread died of.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn add(&self, name: &ReleaseName, _standing: &str, bytes: &[u8]) -> Result<Version, WriteError> {
        let mut state = self.state();
        if state.entries.contains_key(name) {
            return Err(WriteError::Exists);
        }
        Ok(state.write(name, bytes))
    }

    async fn replace(
        &self,
        name: &ReleaseName,
        version: &Version,
        _standing: &str,
        bytes: &[u8],
    ) -> Result<Version, WriteError> {
        let mut state = self.state();
        if !state.is_at(name, version) {
            return Err(WriteError::Conflict);
        }
        Ok(state.write(name, bytes))
    }

    async fn entries(&self) -> Result<Entries, Failure> {
        let state = self.state();
        let entries = state.entries.iter();
        Ok(Entries {
            entries: entries.map(|(name, entered)| entry(name, entered)).collect(),
            unreadable: Vec::new(),
        })
    }

    async fn read(&self, name: &ReleaseName) -> Result<Option<ledger::Entry>, Failure> {
        let state = self.state();
        Ok(state.entries.get(name).map(|entered| entry(name, entered)))
    }

    async fn remove(&self, name: &ReleaseName, version: &Version) -> Result<(), WriteError> {
        let mut state = self.state();
        if state.entries.contains_key(name) && !state.is_at(name, version) {
            return Err(WriteError::Conflict);
        }
        state.entries.remove(name);
        Ok(())
    }

    fn place(&self) -> String {
        PLACE.to_owned()
    }
}
