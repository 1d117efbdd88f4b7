//! The end of a run's journal and who may append there: the one rule that every store follows. Stores nothing.

use astern_model::id::{Epoch, RunId, Seq};
use astern_port::journal::{AppendError, Author};
use astern_port::{Failure, FailureClass};

/// Where a run's journal ends, and who holds the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The next free place.
    pub(crate) head: u64,
    /// The place of the newest takeover.
    pub(crate) epoch: Option<u64>,
}

impl Tip {
    /// Whether `author` may append at `at`. Being fenced is told before anything else: it is final.
    pub(crate) fn admit(self, at: Seq, author: Author) -> Result<(), AppendError> {
        if let (Author::Holder(held), Some(newest)) = (author, self.epoch)
            && held.0 < newest
        {
            return Err(AppendError::Fenced { by: Epoch(newest) });
        }
        if at.0 == self.head {
            Ok(())
        } else {
            Err(AppendError::Conflict { head: Seq(self.head) })
        }
    }

    /// The tip after one more record.
    pub(crate) fn then(self, author: Author) -> Self {
        let epoch = if author == Author::Takeover {
            Some(self.head)
        } else {
            self.epoch
        };
        Self {
            head: self.head + 1,
            epoch,
        }
    }

    /// The tip after a batch of `count` records.
    pub(crate) fn after(self, author: Author, count: usize) -> Self {
        (0..count).fold(self, |tip, _| tip.then(author))
    }
}

/// What appending nothing gives: a caller that does so has lost its records.
pub(crate) fn empty_batch(run: &RunId) -> AppendError {
    let operation = append_operation(run);
    AppendError::Store(Failure::new(
        FailureClass::Permanent,
        operation,
        "BUG: the batch is empty; nothing was stored",
    ))
}

/// How appending is called in a [`Failure`].
pub(crate) fn append_operation(run: &RunId) -> String {
    format!("append to the journal of run {run}")
}

/// How reading is called in a [`Failure`].
pub(crate) fn read_operation(run: &RunId) -> String {
    format!("read the journal of run {run}")
}

/// The author as text, as stores keep it.
pub(crate) fn author_text(author: Author) -> String {
    match author {
        Author::Opening => "opening".to_owned(),
        Author::Takeover => "takeover".to_owned(),
        Author::Request => "request".to_owned(),
        Author::Holder(Epoch(epoch)) => format!("holder-{epoch}"),
    }
}

/// The author behind a text of [`author_text`].
pub(crate) fn author_from(text: &str) -> Option<Author> {
    match text {
        "opening" => Some(Author::Opening),
        "takeover" => Some(Author::Takeover),
        "request" => Some(Author::Request),
        other => other
            .strip_prefix("holder-")?
            .parse()
            .ok()
            .map(|epoch| Author::Holder(Epoch(epoch))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_author_reads_back_from_its_text() {
        for author in [
            Author::Opening,
            Author::Takeover,
            Author::Request,
            Author::Holder(Epoch(u64::MAX)),
        ] {
            assert_eq!(author_from(&author_text(author)), Some(author));
        }
        assert_eq!(author_from("holder-"), None);
        assert_eq!(author_from("somebody"), None);
    }

    #[test]
    fn only_the_newest_holder_appends_and_only_at_the_head() {
        let tip = Tip {
            head: 7,
            epoch: Some(4),
        };
        let check = |at, author, wanted| assert_eq!(tip.admit(Seq(at), author), wanted, "{at} {author:?}");
        let conflict = || Err(AppendError::Conflict { head: Seq(7) });
        check(7, Author::Holder(Epoch(4)), Ok(()));
        check(7, Author::Request, Ok(()));
        check(7, Author::Takeover, Ok(()));
        check(6, Author::Request, conflict());
        check(8, Author::Holder(Epoch(4)), conflict());
        check(
            7,
            Author::Holder(Epoch(3)),
            Err(AppendError::Fenced { by: Epoch(4) }),
        );
        check(
            2,
            Author::Holder(Epoch(3)),
            Err(AppendError::Fenced { by: Epoch(4) }),
        );
        assert_eq!(
            tip.after(Author::Takeover, 1),
            Tip {
                head: 8,
                epoch: Some(7)
            }
        );
        assert_eq!(
            tip.after(Author::Request, 3),
            Tip {
                head: 10,
                epoch: Some(4)
            }
        );
    }
}
