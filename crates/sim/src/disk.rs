//! A model of storage with a journal in it: what is written lies in the file at once, and is only sure after it was
//! synced. A process that ends in between leaves any part of it behind. Owns the file's format and its recovery; the
//! journal's rules are those of [`astern_port::journal`].

use astern_model::id::{Epoch, RunId, Seq};
use astern_port::journal::{AppendError, Author, Entry};
use astern_port::{Failure, FailureClass};
use std::collections::{BTreeMap, BTreeSet};

/// Where failures say that the records are.
pub(crate) const PLACE: &str = "simulated disk";
/// Length and checksum of what follows.
const HEAD: usize = 8;

/// The file, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    bytes: Vec<u8>,
    /// Up to here it survives whatever happens.
    synced: usize,
    index: Index,
}

/// What the synced part of a file holds.
#[derive(Clone, Debug, Default)]
struct Index {
    runs: BTreeMap<RunId, Vec<Slot>>,
    settled: BTreeSet<RunId>,
}

/// Where one record lies.
#[derive(Clone, Copy, Debug)]
struct Slot {
    seq: u64,
    author: Author,
    start: usize,
    length: usize,
    checksum: u32,
}

/// One write of the file.
enum Frame {
    Batch {
        run: RunId,
        at: u64,
        author: Author,
        /// Place, length and checksum of each record.
        records: Vec<(usize, usize, u32)>,
    },
    Settled {
        run: RunId,
        keep: u64,
    },
}

impl Disk {
    /// Whether a batch may be appended: the tip's rule, from what is synced.
    pub(crate) fn admit(&self, run: &RunId, at: Seq, author: Author) -> Result<(), AppendError> {
        let slots = self.index.runs.get(run).map(Vec::as_slice).unwrap_or_default();
        let takeover = slots.iter().rev().find(|slot| slot.author == Author::Takeover);
        if let (Author::Holder(held), Some(newest)) = (author, takeover)
            && held.0 < newest.seq
        {
            return Err(AppendError::Fenced {
                by: Epoch(newest.seq),
            });
        }
        let head = slots.last().map_or(0, |slot| slot.seq + 1);
        if at.0 == head {
            Ok(())
        } else {
            Err(AppendError::Conflict { head: Seq(head) })
        }
    }

    /// Writes a batch behind what is synced; not yet sure.
    pub(crate) fn write(&mut self, run: &RunId, at: Seq, author: Author, batch: &[Vec<u8>]) {
        let mut body = vec![0];
        put_text(&mut body, run.as_str());
        put_text(&mut body, &author_text(author));
        body.extend(at.0.to_le_bytes());
        body.extend((batch.len() as u32).to_le_bytes());
        for record in batch {
            body.extend((record.len() as u32).to_le_bytes());
            body.extend(crc32fast::hash(record).to_le_bytes());
            body.extend(record);
        }
        self.put(&body);
    }

    /// The same for the end of a run.
    pub(crate) fn write_settled(&mut self, run: &RunId, keep: usize) {
        let mut body = vec![1];
        put_text(&mut body, run.as_str());
        body.extend((keep as u64).to_le_bytes());
        self.put(&body);
    }

    /// Makes everything sure that was written.
    pub(crate) fn sync(&mut self) {
        while let Some((frame, end)) = frame(&self.bytes, self.synced) {
            self.index.take_in(frame);
            self.synced = end;
        }
    }

    /// Takes back what is not sure.
    pub(crate) fn take_back(&mut self) {
        self.bytes.truncate(self.synced);
    }

    /// The process that wrote ended before it was synced: `share` of 256 parts of it are there. Whoever opens the file
    /// next recovers it: a whole write stands, a torn one is cut off.
    pub(crate) fn tear(&mut self, share: u8) {
        let open = self.bytes.len() - self.synced;
        let left = if share == u8::MAX {
            open
        } else {
            open * usize::from(share) / 256
        };
        self.bytes.truncate(self.synced + left);
        self.recover();
    }

    /// The whole file is read anew.
    fn recover(&mut self) {
        self.index = Index::default();
        self.synced = 0;
        self.sync();
        self.take_back();
    }

    /// A run's records from a place on.
    pub(crate) fn read(&self, run: &RunId, from: Seq) -> Result<Vec<Entry>, Failure> {
        let slots = self.index.runs.get(run).map(Vec::as_slice).unwrap_or_default();
        let mut entries = Vec::new();
        for (seq, slot) in (0..).zip(slots) {
            let bytes = &self.bytes[slot.start..slot.start + slot.length];
            if slot.seq != seq {
                return Err(unreadable(run, seq, "it is missing"));
            }
            if crc32fast::hash(bytes) != slot.checksum {
                return Err(unreadable(run, seq, "its checksum is another"));
            }
            if slot.seq >= from.0 {
                entries.push(Entry {
                    seq: Seq(slot.seq),
                    author: slot.author,
                    bytes: bytes.to_vec(),
                });
            }
        }
        Ok(entries)
    }

    /// The next free place of a run.
    pub(crate) fn head(&self, run: &RunId) -> u64 {
        let slots = self.index.runs.get(run).map(Vec::as_slice).unwrap_or_default();
        slots.last().map_or(0, |slot| slot.seq + 1)
    }

    /// All runs, newest first.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        self.index.runs.keys().rev().cloned().collect()
    }

    /// The sure part of the file.
    pub(crate) fn sure(&self) -> &[u8] {
        &self.bytes[..self.synced]
    }

    /// Alters one byte of a record.
    pub(crate) fn alter(&mut self, run: &RunId, seq: Seq) {
        let slot = self.index.runs.get(run).into_iter().flatten();
        if let Some(slot) = slot.clone().find(|slot| slot.seq == seq.0) {
            self.bytes[slot.start] ^= 1;
        }
    }

    /// Loses a record.
    pub(crate) fn lose(&mut self, run: &RunId, seq: Seq) {
        if let Some(slots) = self.index.runs.get_mut(run) {
            slots.retain(|slot| slot.seq != seq.0);
        }
    }

    fn put(&mut self, body: &[u8]) {
        self.bytes.extend((body.len() as u32).to_le_bytes());
        self.bytes.extend(crc32fast::hash(body).to_le_bytes());
        self.bytes.extend(body);
    }
}

impl Index {
    fn take_in(&mut self, frame: Frame) {
        match frame {
            Frame::Batch {
                run,
                at,
                author,
                records,
            } => {
                self.settled.remove(&run);
                let slots = self.runs.entry(run).or_default();
                slots.extend((at..).zip(records).map(|(seq, (start, length, checksum))| Slot {
                    seq,
                    author,
                    start,
                    length,
                    checksum,
                }));
            }
            Frame::Settled { run, keep } => {
                if self.runs.contains_key(&run) {
                    self.settled.insert(run);
                }
                while self.settled.len() as u64 > keep {
                    let Some(oldest) = self.settled.pop_first() else {
                        return;
                    };
                    self.runs.remove(&oldest);
                }
            }
        }
    }
}

/// The whole frame that begins at a place, and where it ends; none where the file is torn there.
fn frame(bytes: &[u8], start: usize) -> Option<(Frame, usize)> {
    let mut head = Reader { bytes, at: start };
    let (length, checksum) = (head.number()? as usize, head.number()?);
    let begin = start + HEAD;
    let body = bytes.get(begin..begin + length)?;
    if crc32fast::hash(body) != checksum {
        return None;
    }
    let mut body = Reader {
        bytes: &bytes[..begin + length],
        at: begin,
    };
    let kind = body.take(1)?[0];
    let run = RunId(body.text()?);
    let frame = if kind == 0 {
        let author = author_of(&body.text()?)?;
        let at = body.long()?;
        let mut records = Vec::new();
        for _ in 0..body.number()? {
            let (length, checksum) = (body.number()? as usize, body.number()?);
            records.push((body.at, length, checksum));
            body.take(length)?;
        }
        Frame::Batch {
            run,
            at,
            author,
            records,
        }
    } else {
        let keep = body.long()?;
        Frame::Settled { run, keep }
    };
    Some((frame, begin + length))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + count)?;
        self.at += count;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()? as usize;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u32).to_le_bytes());
    body.extend(text.as_bytes());
}

fn author_text(author: Author) -> String {
    match author {
        Author::Opening => "opening".to_owned(),
        Author::Takeover => "takeover".to_owned(),
        Author::Request => "request".to_owned(),
        Author::Holder(Epoch(epoch)) => epoch.to_string(),
    }
}

fn author_of(text: &str) -> Option<Author> {
    match text {
        "opening" => Some(Author::Opening),
        "takeover" => Some(Author::Takeover),
        "request" => Some(Author::Request),
        epoch => epoch.parse().ok().map(|epoch| Author::Holder(Epoch(epoch))),
    }
}

fn unreadable(run: &RunId, seq: u64, why: &str) -> Failure {
    Failure::new(
        FailureClass::Permanent,
        format!("read the journal of run {run}"),
        format!("record {seq} is damaged: {why}"),
    )
    .hint("leave the run behind, and look at what stands: astern status")
}
