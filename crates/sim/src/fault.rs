//! What goes wrong in a run: each fault as data, with the moment at which it strikes. Drawn from a seed; injected
//! elsewhere. A fault names its moment by counting, so that leaving another one out does not move it.

use jiff::SignedDuration;
use std::fmt;

/// One thing that goes wrong, or that somebody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A request of a process meets it on its way.
    Request {
        /// Which process, in the order of their beginning.
        process: usize,
        /// Which requests are counted.
        class: Class,
        /// Which of them, from 0.
        nth: u32,
        /// What happens to it.
        how: Loss,
    },
    /// The journal's storage fails a process.
    Storage {
        /// Which process.
        process: usize,
        /// Which of its appends, from 0.
        nth: u32,
        /// How.
        how: Trouble,
    },
    /// A process ends in the middle, or stands still for a while.
    Process {
        /// Which process.
        process: usize,
        /// Where.
        point: Point,
        /// What becomes of it.
        then: Fate,
    },
    /// A process's clock goes wrong.
    Clock {
        /// Which process.
        process: usize,
        /// So long after the beginning.
        at: SignedDuration,
        /// By so much; backwards when negative.
        by: SignedDuration,
    },
    /// Nothing reaches the API server, and its watches end.
    Away {
        /// From when.
        at: SignedDuration,
        /// For how long.
        span: SignedDuration,
        /// Whether requests hang instead of being refused at once.
        hangs: bool,
    },
    /// The API server forgets the history that watches go on from.
    Compacted {
        /// When.
        at: SignedDuration,
    },
    /// A person or a program changes something in the cluster.
    Edit {
        /// When.
        at: SignedDuration,
        /// Which workload of the case, by its place.
        workload: usize,
        /// What is done to it.
        what: Edit,
    },
    /// An owner writes the bad version back as often as it is taken away.
    Owner {
        /// Which workload of the case.
        workload: usize,
        /// How often it looks.
        every: SignedDuration,
        /// How often it writes before it is stopped.
        times: u32,
    },
    /// A person changes a ConfigMap or Secret.
    Content {
        /// When.
        at: SignedDuration,
        /// Which of the case's, by its place.
        object: usize,
        /// What is done to it.
        what: ContentEdit,
    },
    /// An owner has a ConfigMap or Secret as the bad release left it as often as somebody changes that.
    Writer {
        /// Which of the case's.
        object: usize,
        /// How often it looks.
        every: SignedDuration,
        /// How often it writes before it is stopped.
        times: u32,
    },
    /// Somebody else acts on the same platform.
    Operator {
        /// When.
        at: SignedDuration,
        /// What they do.
        what: Second,
    },
    /// Somebody asks the run for something.
    Ask {
        /// When.
        at: SignedDuration,
        /// Whether to take it back, instead of to pause.
        abort: bool,
    },
}

/// The requests that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Gets of one workload, ConfigMap or Secret: what a write stands on.
    Object,
    /// All other gets, and lists.
    Read,
    /// What may change a workload or a pod.
    Write,
    /// Reads and writes of Leases.
    Lease,
    /// Watches.
    Watch,
    /// Dry runs and reviews.
    Ask,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It never arrives; the connection breaks.
    Lost,
    /// It never arrives, and nobody says so: the client's own patience ends it.
    Swallowed,
    /// It is carried out, and the connection breaks before the answer.
    AnswerLost,
    /// It is carried out, and the answer never comes.
    AnswerSwallowed,
    /// The connection breaks, and it is carried out so much later.
    Late(SignedDuration),
    /// It arrives twice; the first answer is told.
    Twice,
    /// Answered with this code, and not carried out.
    Status(u16),
    /// Answered with this code by something on the way, and carried out.
    StatusAfter(u16),
    /// A watch ends after so many frames; with an error, or as if it were over.
    Dropped {
        /// Frames until then.
        frames: u32,
        /// Whether it breaks.
        breaks: bool,
    },
    /// A watch tells everything so much later.
    Lagging(SignedDuration),
    /// A watch is told that what it goes on from is gone.
    Gone,
    /// A watch goes on from so many versions before the one that was asked for: what was told is told again.
    Rewound(u64),
}

/// How the journal's storage fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room, for this long.
    Full(SignedDuration),
    /// It does not answer; nothing was stored.
    Away,
    /// It stored the batch, and does not say so.
    Unacknowledged,
    /// It answers so much later.
    Slow(SignedDuration),
}

/// A place in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// After so many polls of its main task.
    Polls(u32),
    /// At its nth request of a class.
    Request(Class, u32, Phase),
    /// At its nth append.
    Append(u32, Phase),
    /// At a time.
    Time(SignedDuration),
}

/// Where in a request or an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before anything is sent.
    Before,
    /// While it is being written: an append may be torn.
    Middle,
    /// After it took effect, before the process hears of it.
    After,
}

/// What becomes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is killed.
    Dies,
    /// It stands still, and goes on.
    Sleeps(SignedDuration),
}

/// A change by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `kubectl annotate`.
    Annotate,
    /// `kubectl scale`.
    Scale(u32),
    /// `kubectl set image`, to a third version.
    Image,
    /// `kubectl rollout pause`, or resume where it is paused.
    Pause,
    /// `kubectl rollout restart`.
    Restart,
    /// `kubectl delete pod`, the first of its pods.
    DeletePod,
    /// A quota that lets no pod be made, for this long.
    Quota(SignedDuration),
    /// The workload is deleted.
    Delete,
}

/// A change of a ConfigMap or Secret by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEdit {
    /// `kubectl annotate`.
    Annotate,
    /// `kubectl label`.
    Label,
    /// `kubectl edit`: it holds something third; where it is gone, it is made with that.
    Edit,
    /// It is deleted.
    Delete,
}

/// What a second operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// Goes on with the run.
    Resume,
    /// Takes the run back.
    TakeBack,
    /// Starts the same plan again.
    SamePlan,
    /// Makes a plan of their own at the beginning, and starts it then.
    OlderPlan,
}

impl Fault {
    /// The word under which faults of this kind are counted.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Request { how, .. } => match how {
                Loss::Lost | Loss::Swallowed => "request lost",
                Loss::AnswerLost | Loss::AnswerSwallowed => "answer lost",
                Loss::Late(_) => "request late",
                Loss::Twice => "request twice",
                Loss::Status(409) => "answered 409",
                Loss::Status(429) => "answered 429",
                Loss::Status(_) => "answered 5xx, not carried out",
                Loss::StatusAfter(_) => "answered 5xx, carried out",
                Loss::Dropped { .. } => "watch dropped",
                Loss::Lagging(_) => "watch lagging",
                Loss::Gone => "watch answered 410",
                Loss::Rewound(_) => "watch rewound",
            },
            Self::Storage { how, .. } => match how {
                Trouble::Full(_) => "journal full",
                Trouble::Away => "journal away",
                Trouble::Unacknowledged => "journal unacknowledged",
                Trouble::Slow(_) => "journal slow",
            },
            Self::Process { then: Fate::Dies, .. } => "process killed",
            Self::Process {
                then: Fate::Sleeps(_),
                ..
            } => "process asleep",
            Self::Clock { .. } => "clock jump",
            Self::Away { .. } => "API server away",
            Self::Compacted { .. } => "history compacted",
            Self::Edit { .. } => "edited by hand",
            Self::Owner { .. } => "owner reverts",
            Self::Content { .. } => "content edited by hand",
            Self::Writer { .. } => "owner writes content back",
            Self::Operator { .. } => "second operator",
            Self::Ask { .. } => "pause or abort",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request {
                process,
                class,
                nth,
                how,
            } => write!(f, "process {process}, {class:?} {nth}: {how:?}"),
            Self::Storage { process, nth, how } => write!(f, "process {process}, append {nth}: {how:?}"),
            Self::Process { process, point, then } => write!(f, "process {process} at {point:?}: {then:?}"),
            Self::Clock { process, at, by } => {
                write!(f, "after {at:#}, process {process}'s clock moves by {by:#}")
            }
            Self::Away { at, span, hangs } => {
                let how = if *hangs { "hangs" } else { "refuses" };
                write!(f, "after {at:#}, the API server {how} for {span:#}")
            }
            Self::Compacted { at } => write!(f, "after {at:#}, the API server forgets its history"),
            Self::Edit { at, workload, what } => write!(f, "after {at:#}, workload {workload}: {what:?}"),
            Self::Owner {
                workload,
                every,
                times,
            } => write!(
                f,
                "an owner of workload {workload} looks every {every:#} and reverts {times} times"
            ),
            Self::Content { at, object, what } => write!(f, "after {at:#}, object {object}: {what:?}"),
            Self::Writer { object, every, times } => write!(
                f,
                "an owner of object {object} looks every {every:#} and writes {times} times"
            ),
            Self::Operator { at, what } => write!(f, "after {at:#}, a second operator: {what:?}"),
            Self::Ask { at, abort } => {
                let what = if *abort { "abort" } else { "pause" };
                write!(f, "after {at:#}, somebody asks to {what}")
            }
        }
    }
}
