//! From a seed to what happens: which platform, and which faults when. All randomness of a run is drawn here.

use crate::case::CaseId;
use crate::fault::{Class, ContentEdit, Edit, Fate, Fault, Loss, Phase, Point, Second, Trouble};
use astern_model::policy::OnFailure;
use fastrand::Rng;
use jiff::SignedDuration;

/// At most so many faults: more of them hide each other.
const MOST_FAULTS: usize = 9;

/// What a seed stands for.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The platform.
    pub case: CaseId,
    /// Whether its good version needs some time to become ready.
    pub slow: bool,
    /// What a failure leads to.
    pub on_failure: OnFailure,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Whether a person takes the run back once it has restored.
    pub undone: Option<Undone>,
}

/// What becomes of a release that is put back by undoing the rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// It is as bad as before, and its rollout fails.
    StillBad,
    /// It serves, and crashes after a while.
    Mended {
        /// Whether it is rolled back once more then.
        again: bool,
    },
}

/// Draws a run.
pub fn drawn(seed: u64) -> Drawn {
    // Neighbouring seeds must not begin alike.
    let mut random = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xA57E_2117);
    let case = match random.u8(0..10) {
        0..=3 => CaseId::Services,
        4..=5 => CaseId::Ordered,
        6 => CaseId::Daemon,
        7..=8 => CaseId::Paused,
        _ => CaseId::OnDelete,
    };
    let slow = random.u8(0..4) == 0;
    let on_failure = if random.bool() {
        OnFailure::Hold
    } else {
        OnFailure::Unwind
    };
    // One in sixteen has no fault at all.
    let count = if random.u8(0..16) == 0 {
        0
    } else {
        random.usize(1..=MOST_FAULTS)
    };
    let mut faults = Vec::new();
    while faults.len() < count {
        draw(&mut random, &mut faults);
    }
    let (case, others) = configured(seed).unwrap_or((case, Vec::new()));
    faults.extend(others);
    Drawn {
        case,
        slow,
        on_failure,
        faults,
        undone: undone(seed),
    }
}

/// One in six is of the platform whose ConfigMaps changed, with what happens to those. Drawn apart, so that what the others play
/// does not hang on it.
fn configured(seed: u64) -> Option<(CaseId, Vec<Fault>)> {
    let mut random = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xC0F1_63B2);
    if random.u8(0..6) != 0 {
        return None;
    }
    let count = [0, 0, 0, 1, 1, 2][random.usize(0..6)];
    let mut faults: Vec<Fault> = (0..count).map(|_| content(&mut random)).collect();
    if random.u8(0..4) == 0 {
        latecomer(&mut random, &mut faults);
    }
    Some((CaseId::Configured, faults))
}

/// A creation is long on its way, and whoever sent it asks for an abort or dies meanwhile: nothing can refuse it when it arrives.
fn latecomer(random: &mut Rng, faults: &mut Vec<Fault>) {
    faults.push(Fault::Request {
        process: 0,
        class: Class::Write,
        nth: random.u32(0..2),
        how: Loss::Late(seconds(random, 20..60)),
    });
    faults.push(if random.bool() {
        Fault::Ask {
            at: seconds(random, 2..50),
            abort: true,
        }
    } else {
        Fault::Process {
            process: 0,
            point: Point::Append(random.u32(4..14), Phase::After),
            then: Fate::Dies,
        }
    });
}

fn content(random: &mut Rng) -> Fault {
    if random.u8(0..4) == 0 {
        return Fault::Writer {
            object: random.usize(0..4),
            every: seconds(random, 1..6),
            times: random.u32(1..4),
        };
    }
    Fault::Content {
        at: moment(random),
        object: random.usize(0..5),
        what: match random.u8(0..8) {
            0 => ContentEdit::Annotate,
            1 => ContentEdit::Label,
            2 | 3 => ContentEdit::Delete,
            _ => ContentEdit::Edit,
        },
    }
}

/// Drawn apart, so that the faults of a seed do not hang on it.
fn undone(seed: u64) -> Option<Undone> {
    let mut random = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x07D0_1E55);
    match random.u8(0..24) {
        0 | 1 => Some(Undone::StillBad),
        2 => Some(Undone::Mended { again: false }),
        3 | 4 => Some(Undone::Mended { again: true }),
        _ => None,
    }
}

fn draw(random: &mut Rng, faults: &mut Vec<Fault>) {
    let at = moment(random);
    match random.u8(0..100) {
        0..=34 => faults.push(request(random)),
        35..=44 => faults.push(Fault::Storage {
            process: process(random),
            nth: random.u32(0..18),
            how: match random.u8(0..4) {
                0 => Trouble::Full(seconds(random, 1..40)),
                1 => Trouble::Away,
                2 => Trouble::Unacknowledged,
                _ => Trouble::Slow(seconds(random, 1..30)),
            },
        }),
        45..=62 => faults.push(Fault::Process {
            process: process(random),
            point: point(random, at),
            then: Fate::Dies,
        }),
        63..=66 => sleeper(random, faults),
        67..=72 => {
            let span = seconds(random, 3..120);
            faults.push(Fault::Process {
                process: process(random),
                point: point(random, at),
                then: Fate::Sleeps(span),
            });
            // Somebody will wonder.
            let soon = at + seconds(random, 1..40);
            let what = second(random);
            faults.push(Fault::Operator { at: soon, what });
        }
        73..=75 => faults.push(Fault::Clock {
            process: process(random),
            at,
            by: if random.bool() {
                seconds(random, 1..4000)
            } else {
                -seconds(random, 1..4000)
            },
        }),
        76..=80 => faults.push(Fault::Away {
            at,
            span: seconds(random, 1..200),
            hangs: random.bool(),
        }),
        81..=82 => faults.push(Fault::Compacted { at }),
        83..=86 => faults.push(Fault::Edit {
            at,
            workload: random.usize(0..5),
            what: match random.u8(0..9) {
                0 | 1 => Edit::Annotate,
                2 => Edit::Scale(random.u32(1..4)),
                3 => Edit::Image,
                4 => Edit::Pause,
                5 => Edit::Restart,
                6 => Edit::DeletePod,
                7 => Edit::Quota(seconds(random, 5..150)),
                _ => Edit::Delete,
            },
        }),
        87..=88 => faults.push(Fault::Owner {
            workload: random.usize(0..4),
            every: seconds(random, 1..6),
            times: random.u32(1..4),
        }),
        89..=92 => {
            let what = second(random);
            faults.push(Fault::Operator { at, what });
        }
        _ => faults.push(Fault::Ask {
            at,
            abort: random.bool(),
        }),
    }
}

/// A process falls asleep with its intent written; somebody takes the run over, and dies as soon as they have written
/// something; then the sleeper wakes.
fn sleeper(random: &mut Rng, faults: &mut Vec<Fault>) {
    faults.push(Fault::Process {
        process: 0,
        point: Point::Request(Class::Object, random.u32(0..12), Phase::Before),
        then: Fate::Sleeps(seconds(random, 28..70)),
    });
    faults.push(Fault::Operator {
        at: seconds(random, 1..12),
        what: Second::Resume,
    });
    faults.push(Fault::Process {
        process: 1,
        point: Point::Request(Class::Write, random.u32(0..2), Phase::After),
        then: Fate::Dies,
    });
}

fn request(random: &mut Rng) -> Fault {
    let (class, most) = match random.u8(0..10) {
        0..=4 => (Class::Write, if random.u8(0..4) == 0 { 12 } else { 5 }),
        5..=6 => (Class::Read, 60),
        7 => (Class::Lease, 8),
        8 => (Class::Watch, 8),
        _ => (Class::Ask, 8),
    };
    let how = match class {
        Class::Watch => match random.u8(0..5) {
            0 => Loss::Gone,
            1 => Loss::Lagging(seconds(random, 1..8)),
            2 => Loss::Rewound(random.u64(1..40)),
            _ => Loss::Dropped {
                frames: random.u32(0..12),
                breaks: random.bool(),
            },
        },
        _ => match random.u8(0..12) {
            0 => Loss::Lost,
            1 => Loss::Swallowed,
            2 | 3 => Loss::AnswerLost,
            4 => Loss::AnswerSwallowed,
            5 | 6 => Loss::Late(SignedDuration::from_millis(random.i64(5..60_000))),
            7 => Loss::Twice,
            8 => Loss::Status(if random.bool() { 500 } else { 503 }),
            9 => Loss::Status(429),
            10 => Loss::Status(409),
            _ => Loss::StatusAfter(if random.bool() { 500 } else { 504 }),
        },
    };
    Fault::Request {
        process: process(random),
        class,
        nth: random.u32(0..most),
        how,
    }
}

fn point(random: &mut Rng, at: SignedDuration) -> Point {
    let phase = |random: &mut Rng| {
        if random.bool() {
            Phase::Before
        } else {
            Phase::After
        }
    };
    match random.u8(0..10) {
        0..=3 => Point::Request(Class::Write, random.u32(0..6), phase(random)),
        4 => Point::Request(Class::Read, random.u32(0..60), phase(random)),
        5 => Point::Append(random.u32(0..18), Phase::Middle),
        6 | 7 => Point::Append(random.u32(0..18), phase(random)),
        8 => Point::Polls(random.u32(1..160)),
        _ => Point::Time(at),
    }
}

fn second(random: &mut Rng) -> Second {
    match random.u8(0..6) {
        0..=2 => Second::Resume,
        3 => Second::TakeBack,
        4 => Second::SamePlan,
        _ => Second::OlderPlan,
    }
}

/// Mostly the first process: the others come only when it went wrong.
fn process(random: &mut Rng) -> usize {
    match random.u8(0..10) {
        0..=6 => 0,
        7 | 8 => 1,
        _ => 2,
    }
}

/// A time at which something is going on.
fn moment(random: &mut Rng) -> SignedDuration {
    let most = [3_000, 12_000, 45_000][random.usize(0..3)];
    SignedDuration::from_millis(random.i64(0..most))
}

fn seconds(random: &mut Rng, range: std::ops::Range<i64>) -> SignedDuration {
    SignedDuration::from_millis(random.i64(range.start * 1000..range.end * 1000))
}
