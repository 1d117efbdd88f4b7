//! One step's status and the one function that moves it, used live and in recovery.

use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Epoch;
use astern_model::record::Event;
use astern_model::step::{After, Before};
use jiff::{SignedDuration, Timestamp};

/// What the journal means for one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Nothing was tried.
    Pending,
    /// An intent is durable: the effect may be there.
    Intended(Attempt),
    /// The effect may be there, and the attempt is over: observe until it is known.
    Unsettled(Attempt, Failure),
    /// The effect is there.
    Done {
        /// What was there before, for the reversal.
        before: Before,
        /// What is there now.
        after: After,
        /// First intent.
        since: Timestamp,
        /// When it was known.
        at: Timestamp,
    },
    /// The effect is not there, nothing is left behind.
    Failed(Failing),
    /// The intent to take it back is durable.
    Reversing(Attempt),
    /// It may be taken back: observe until it is known.
    ReverseUnsettled(Attempt, Failure),
    /// Taking it back failed, and the effect is still there.
    ReverseFailed(Attempt, Failure),
    /// It is taken back.
    Reversed,
}

/// An attempt whose effect may be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// In which epoch it was intended: in an older one, whoever intended it may have died.
    pub epoch: Epoch,
    /// What was there before the step.
    pub before: Before,
    /// The first attempt's intent, moved on by the time that nobody held the run.
    pub since: Timestamp,
    /// The first failure of the attempts before it, if there were any.
    pub failing_since: Option<Timestamp>,
    /// How long its outcome had not been known when the last record about it was written, if it is not known.
    pub unknown_for: Option<SignedDuration>,
    /// When the last record about it was written.
    pub at: Timestamp,
}

/// A look and the pause before it take no longer than this. What a clock says beyond it is that somebody has set the clock, and
/// counts as no time that was spent observing.
const LOOK_AT_MOST: SignedDuration = SignedDuration::from_secs(40);

impl Attempt {
    /// The same after a look that could not tell.
    fn unknown(self, at: Timestamp) -> Self {
        let unknown_for = self.unknown_for.map(|_| self.open_for(at));
        Self {
            unknown_for: unknown_for.or(Some(SignedDuration::ZERO)),
            at,
            ..self
        }
    }

    /// How long its outcome has been open: since it became unknown, as far as it was observed, or since the first attempt.
    pub fn open_for(&self, now: Timestamp) -> SignedDuration {
        let Some(before) = self.unknown_for else {
            return now.duration_since(self.since);
        };
        let passed = now.duration_since(self.at);
        before + passed.clamp(SignedDuration::ZERO, LOOK_AT_MOST)
    }

    /// The same by the clock of a holder that took over after `gap`: what was waited for goes on from where it was.
    pub fn moved_on(&mut self, gap: SignedDuration) {
        self.since = later(self.since, gap);
        self.failing_since = self.failing_since.map(|since| later(since, gap));
        self.at = later(self.at, gap);
    }
}

/// A step whose effect is not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Failing {
    /// Attempts so far.
    pub attempts: u32,
    /// Whether an intent was durable when it failed: a lost race is only then worth another try.
    pub intended: bool,
    /// What the newest intent recorded: a write whose answer was lost may still arrive.
    pub before: Option<Before>,
    /// Why.
    pub failure: Failure,
    /// First try.
    pub since: Timestamp,
    /// First failure.
    pub failing_since: Timestamp,
    /// When it failed last.
    pub at: Timestamp,
}

impl Failing {
    /// As [`Attempt::moved_on`].
    pub fn moved_on(&mut self, gap: SignedDuration) {
        self.since = later(self.since, gap);
        self.failing_since = later(self.failing_since, gap);
        self.at = later(self.at, gap);
    }
}

fn later(at: Timestamp, gap: SignedDuration) -> Timestamp {
    at.saturating_add(gap).unwrap_or(Timestamp::MAX)
}

/// A record that cannot follow what came before: the journal is not ours, or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IllegalEvent {
    /// The status's name.
    pub at: &'static str,
    /// The event's name.
    pub event: &'static str,
}

impl Status {
    /// The status's name, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Intended(_) => "under way",
            Self::Unsettled(..) => "unsettled",
            Self::Done { .. } => "done",
            Self::Failed(_) => "failed",
            Self::Reversing(_) => "being taken back",
            Self::ReverseUnsettled(..) => "unsettled while taken back",
            Self::ReverseFailed(..) => "could not be taken back",
            Self::Reversed => "taken back",
        }
    }

    /// Whether the effect is there, or may be.
    pub fn may_have_effect(&self) -> bool {
        !matches!(self, Self::Pending | Self::Failed(_) | Self::Reversed)
    }

    /// The status after a step's event, written at `at` in `epoch`.
    ///
    /// # Errors
    /// [`IllegalEvent`] for every pair that no run of ours writes.
    pub fn after(self, event: &Event, epoch: Epoch, at: Timestamp) -> Result<Self, IllegalEvent> {
        use Status as S;
        let illegal = |status: &Self| IllegalEvent {
            at: status.name(),
            event: event_name(event),
        };
        Ok(match (self, event) {
            (S::Pending, Event::Intended { attempt, before, .. }) => S::Intended(Attempt {
                number: *attempt,
                epoch,
                before: before.clone(),
                since: at,
                failing_since: None,
                unknown_for: None,
                at,
            }),
            (S::Failed(failing), Event::Intended { attempt, before, .. }) => S::Intended(Attempt {
                number: *attempt,
                epoch,
                before: before.clone(),
                since: failing.since,
                failing_since: Some(failing.failing_since),
                unknown_for: None,
                at,
            }),
            (S::Intended(attempt) | S::Unsettled(attempt, _), Event::Applied { after, .. }) => S::Done {
                before: attempt.before,
                after: after.clone(),
                since: attempt.since,
                at,
            },
            (S::Intended(attempt) | S::Unsettled(attempt, _), Event::Unsettled { failure, .. }) => {
                S::Unsettled(attempt.unknown(at), failure.clone())
            }
            (S::Intended(attempt) | S::Unsettled(attempt, _), Event::Failed { failure, .. }) => {
                S::Failed(Failing {
                    attempts: attempt.number,
                    intended: true,
                    before: Some(attempt.before),
                    failure: failure.clone(),
                    since: attempt.since,
                    failing_since: attempt.failing_since.unwrap_or(at),
                    at,
                })
            }
            (S::Pending, Event::Failed { failure, .. }) => S::Failed(Failing {
                attempts: 1,
                intended: false,
                before: None,
                failure: failure.clone(),
                since: at,
                failing_since: at,
                at,
            }),
            (S::Failed(failing), Event::Failed { failure, .. }) => S::Failed(Failing {
                attempts: failing.attempts + 1,
                intended: false,
                before: failing.before,
                failure: failure.clone(),
                since: failing.since,
                failing_since: failing.failing_since,
                at,
            }),
            (S::Done { before, .. }, Event::ReverseIntended { attempt, .. }) => S::Reversing(Attempt {
                number: *attempt,
                epoch,
                before,
                since: at,
                failing_since: None,
                unknown_for: None,
                at,
            }),
            (S::ReverseFailed(last, _), Event::ReverseIntended { attempt, .. }) => S::Reversing(Attempt {
                number: *attempt,
                epoch,
                at,
                ..last
            }),
            (S::Reversing(_) | S::ReverseUnsettled(..), Event::Reversed { .. }) => S::Reversed,
            (S::Reversing(attempt) | S::ReverseUnsettled(attempt, _), Event::Unsettled { failure, .. }) => {
                S::ReverseUnsettled(attempt.unknown(at), failure.clone())
            }
            (
                S::Reversing(attempt) | S::ReverseUnsettled(attempt, _),
                Event::ReverseFailed { failure, .. },
            ) => S::ReverseFailed(
                Attempt {
                    unknown_for: None,
                    at,
                    ..attempt
                },
                failure.clone(),
            ),
            (status, _) => return Err(illegal(&status)),
        })
    }
}

/// Whether a failed attempt is worth another one: the class alone decides, and for a conflict whether the world was
/// still as pinned when the intent was written.
pub fn retryable(failure: &Failure, intended: bool) -> bool {
    match failure.class {
        FailureClass::Transient { .. } => true,
        FailureClass::Conflict => intended,
        FailureClass::Refused | FailureClass::Permanent | FailureClass::Unknown => false,
    }
}

/// An event's name, for errors.
pub fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Approved { .. } => "approved",
        Event::Taken { .. } => "taken",
        Event::Saved { .. } => "saved",
        Event::Intended { .. } => "intended",
        Event::Applied { .. } => "applied",
        Event::Failed { .. } => "failed",
        Event::Unsettled { .. } => "unsettled",
        Event::ReverseIntended { .. } => "reverse intended",
        Event::Reversed { .. } => "reversed",
        Event::ReverseFailed { .. } => "reverse failed",
        Event::Requested { .. } => "requested",
        Event::Held { .. } => "held",
        Event::Resumed { .. } => "resumed",
        Event::Unwinding { .. } => "unwinding",
        Event::Restored => "restored",
        Event::Judged { .. } => "judged",
        Event::Finished { .. } => "finished",
    }
}
