//! Deterministic simulation: whole runs of astern on the sandbox, on virtual time and one thread, with all that can go
//! wrong between and around the parts. A seed is a run; the same seed is the same run, byte for byte.
//!
//! # Flow
//! [`seed::drawn`] says what happens; [`play`] lets it happen, with an oracle beside the API server; a run that is not
//! as it must be is played again without one fault after the other ([`shrink`]), until each of those left is needed.

pub mod case;
pub mod fault;
pub mod seed;

mod disk;
mod journal;
mod life;
mod network;
mod operator;
mod oracle;
mod tally;
mod theatre;
mod trace;

pub use journal::SimDisk;
pub use operator::Rest;
pub use tally::Tally;

#[cfg(feature = "planted")]
pub use astern_model::defect::Defect;

use crate::case::Case;
use crate::fault::Fault;
use crate::seed::Drawn;
use crate::theatre::Theatre;
use crate::trace::Trace;
use astern_model::id::sha256;
use jiff::SignedDuration;
use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Half of a run is JSON, made of small pieces that live for moments: the system's allocator needs a third of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After everybody has come to rest, so long is waited for what is still on its way: longer than the latest request.
const AFTERWARDS: SignedDuration = SignedDuration::from_secs(75);
/// Virtual time in which it all must come to rest.
const LIMIT: SignedDuration = SignedDuration::from_hours(4);

/// How one run came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// The seed.
    pub seed: u64,
    /// How it came to rest.
    pub rest: Rest,
    /// What is not as it must be.
    pub violations: Vec<String>,
    /// The faults that struck, by their places.
    pub met: BTreeSet<usize>,
    /// Over the journal's bytes and every write that the API server took.
    pub digest: String,
    /// The pairs of a step's status and an event that came after it.
    pub transitions: BTreeSet<(&'static str, &'static str)>,
    /// How much virtual time went by.
    pub took: SignedDuration,
    /// Writes that the API server took.
    pub writes: usize,
    /// What happened, where it was asked for.
    pub log: Vec<String>,
}

/// Plays a seed without the faults at some places.
pub fn play(seed: u64, without: &BTreeSet<usize>, told: bool) -> Played {
    let mut drawn = seed::drawn(seed);
    let (kept, faults): (Vec<usize>, Vec<Fault>) = drawn
        .faults
        .into_iter()
        .enumerate()
        .filter(|(place, _)| !without.contains(place))
        .unzip();
    drawn.faults = faults;
    let mut played = play_drawn(seed, &drawn, told);
    played.met = played.met.iter().map(|place| kept[*place]).collect();
    played
}

/// Plays what was drawn.
pub fn play_drawn(seed: u64, drawn: &Drawn, told: bool) -> Played {
    let case = case::case(drawn.case, drawn.slow);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap_or_else(|error| panic!("BUG: a runtime without I/O cannot fail to start: {error}"));
    let played = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(whole(seed, drawn, &case, told))
    }));
    played.unwrap_or_else(|panic| Played::broken_off(seed, &*panic))
}

impl Played {
    /// A run in which astern panicked.
    fn broken_off(seed: u64, panic: &(dyn Any + Send)) -> Self {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let what = format!("it panicked: {}", words.unwrap_or("without a word"));
        Self {
            seed,
            rest: Rest::Never(what.clone()),
            digest: sha256(what.as_bytes()),
            violations: vec![what],
            met: BTreeSet::new(),
            transitions: BTreeSet::new(),
            took: SignedDuration::ZERO,
            writes: 0,
            log: Vec::new(),
        }
    }
}

/// Plays seed after seed with a defect planted until one is found: its number, how many were played, and what was wrong.
#[cfg(feature = "planted")]
pub fn found(defect: Defect, from: u64, most: u64) -> Option<(u64, u64, String)> {
    (from..from + most).find_map(|seed| {
        let first = violations_with(defect, seed).into_iter().next()?;
        Some((seed, seed - from + 1, first))
    })
}

/// What is not as it must be with a seed that is played with a defect planted.
#[cfg(feature = "planted")]
pub fn violations_with(defect: Defect, seed: u64) -> Vec<String> {
    astern_model::defect::plant(Some(defect));
    let played = play(seed, &BTreeSet::new(), false);
    astern_model::defect::plant(None);
    played.violations
}

async fn whole(seed: u64, drawn: &Drawn, case: &Case, told: bool) -> Played {
    let trace = Arc::new(Trace::new(drawn.faults.clone(), told));
    let theatre = Theatre::new(case, seed, trace.clone()).await;
    let platform = case.platform(drawn.on_failure);
    let mut acting = JoinSet::new();
    let going = theatre.service.clone();
    acting.spawn(async move { going.run().await });
    for (place, fault) in drawn.faults.iter().cloned().enumerate() {
        let (theatre, platform) = (theatre.clone(), platform.clone());
        acting.spawn(async move {
            match fault {
                Fault::Operator { .. } | Fault::Ask { .. } => {
                    operator::play(theatre, platform, place, fault).await;
                }
                _ => theatre.play(place, fault).await,
            }
        });
    }
    let mut on_call = operator::OnCall {
        theatre: theatre.clone(),
        platform,
        random: fastrand::Rng::with_seed(seed),
        undone: drawn.undone,
        again: false,
    };
    let began = tokio::time::Instant::now();
    let seen = tokio::time::timeout(LIMIT.unsigned_abs(), on_call.see_through()).await;
    let mut rest = seen.unwrap_or_else(|_| Rest::Never("it took too long".to_owned()));
    // Whoever stood still wakes, and what was late arrives.
    loop {
        life::sleep(AFTERWARDS).await;
        if !theatre.anyone_asleep() {
            break;
        }
    }
    // A second operator may have begun something of their own meanwhile.
    if matches!(rest, Rest::Over(_)) {
        rest = on_call.see_through().await;
    }
    theatre.oracle.conclude();
    judge_rest(&theatre, &rest);
    let took = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
    let writes = theatre.oracle.writes();
    let bytes: Vec<u8> = [theatre.disk.disk().sure(), writes.join("\n").as_bytes()].concat();
    Played {
        seed,
        rest,
        violations: theatre.oracle.violations(),
        met: trace.all_met(),
        digest: sha256(&bytes),
        transitions: theatre.oracle.transitions(),
        took,
        writes: writes.len(),
        log: trace.lines(),
    }
}

/// Whether it may rest so: where nobody interfered, every run comes to its end by itself.
fn judge_rest(theatre: &Theatre, rest: &Rest) {
    use astern_model::record::Outcome;
    let interfered = theatre.oracle.somebody_interfered();
    let what = match rest {
        Rest::Over(outcomes) => {
            let other = outcomes
                .iter()
                .find(|outcome| !matches!(outcome, Outcome::Restored | Outcome::Unwound { .. }));
            match other {
                Some(outcome) if !interfered => format!("nobody interfered, and it ended as {outcome:?}"),
                _ => return,
            }
        }
        Rest::Never(last) => format!("it does not come to rest: {last}"),
        Rest::Held(last) if !interfered => format!("nobody interfered, and it is held: {last}"),
        Rest::Refused(last) if !interfered => format!("nobody interfered, and it was refused: {last}"),
        Rest::Held(_) | Rest::Refused(_) => return,
    };
    theatre.oracle.violated(what);
}

/// The places of the faults that are not needed for the run to fail.
pub fn shrink(seed: u64) -> BTreeSet<usize> {
    let mut without = BTreeSet::new();
    for place in 0..seed::drawn(seed).faults.len() {
        without.insert(place);
        if play(seed, &without, false).violations.is_empty() {
            without.remove(&place);
        }
    }
    without
}
