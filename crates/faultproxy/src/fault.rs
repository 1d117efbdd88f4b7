//! What goes wrong, as data: which request it strikes, and what becomes of that.

use std::fmt;
use std::time::Duration;

/// One thing that goes wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which requests are counted.
    pub class: Class,
    /// Which of them it strikes, from 0.
    pub nth: u32,
    /// What becomes of it.
    pub how: How,
}

/// The requests that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Gets and lists.
    Read,
    /// Watches, and logs that are followed.
    Watch,
    /// What may change a Secret.
    Secret,
    /// What may change a Lease.
    Lease,
    /// What may change anything else.
    Write,
    /// Dry runs and reviews: they change nothing.
    Ask,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It arrives so much later, and its sender waits.
    Delayed(Duration),
    /// It never arrives; the connection breaks.
    Lost,
    /// It never arrives, and nobody says so.
    Swallowed,
    /// The connection breaks at once, and it arrives so much later.
    Late(Duration),
    /// It is carried out; the connection breaks before the answer.
    AnswerLost,
    /// It is carried out, and no answer comes.
    AnswerSwallowed,
    /// It is carried out, and the API server is away before the answer: no connection is taken any more.
    AnswerLostAndAway,
    /// It is answered with this status, and not carried out.
    Status(u16),
    /// It is carried out, and answered with this status.
    StatusAfter(u16),
    /// A watch comes through until so many pieces have: then it ends, or its connection breaks.
    Dropped {
        /// After so many.
        pieces: u32,
        /// Whether the connection breaks.
        breaks: bool,
    },
    /// Every piece of a watch comes so much later.
    Lagging(Duration),
    /// A watch is told that what it goes on from is gone.
    Gone,
    /// A watch comes through, and once so many pieces have, they come once more: it has gone back to an older state.
    Rewound {
        /// After so many.
        pieces: u32,
    },
    /// A read that permits it ([`Asked::permits_the_past`](crate::Asked::permits_the_past)) is answered as it was the first
    /// time: by an API server whose cache stands still. Any other comes through.
    Past,
}

impl How {
    /// The word under which faults of this kind are counted.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delayed(_) => "request delayed",
            Self::Lost | Self::Swallowed => "request lost",
            Self::Late(_) => "request late",
            Self::AnswerLost | Self::AnswerSwallowed => "answer lost",
            Self::AnswerLostAndAway => "API server away",
            Self::Status(409) => "answered 409",
            Self::Status(429) => "answered 429",
            Self::Status(_) => "answered 5xx, not carried out",
            Self::StatusAfter(_) => "answered 5xx, carried out",
            Self::Dropped { .. } => "watch dropped",
            Self::Lagging(_) => "watch lagging",
            Self::Gone => "watch answered 410",
            Self::Rewound { .. } => "watch rewound",
            Self::Past => "read answered from the past",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {:?}", self.class, self.nth, self.how)
    }
}
