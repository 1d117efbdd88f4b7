//! When a failed attempt is tried again: a function of attempt and seed, so that nothing about it is lost in a crash.

use astern_model::failure::{Failure, FailureClass};
use jiff::SignedDuration;

/// The first pause. Long enough for a lost race to be over, short enough not to be noticed.
pub const FIRST: SignedDuration = SignedDuration::from_millis(200);
/// The longest pause. An API server that comes back is noticed within this time.
pub const LONGEST: SignedDuration = SignedDuration::from_secs(8);
/// How long a step without effect is tried again after its first failure: an API server's upgrade takes minutes.
/// At ten times this, the on-call engineer has long acted by hand.
pub const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How often a lost race is run again. Each time somebody else has written the object; five in a row is a fight.
pub const LOST_RACES: u32 = 5;

/// The pause after `attempt` (1 for the first), between half and the whole of a doubling span, by `seed`. A server's
/// own wish is honoured when it is longer.
pub fn pause(attempt: u32, seed: &str, failure: &Failure) -> SignedDuration {
    let doubled = FIRST
        .as_millis()
        .saturating_mul(1_i128 << attempt.saturating_sub(1).min(16));
    let span = doubled.min(LONGEST.as_millis());
    let jittered = span / 2 + span * i128::from(fraction(seed, attempt)) / 512;
    let own = SignedDuration::from_millis(i64::try_from(jittered).unwrap_or(i64::MAX));
    match failure.class {
        FailureClass::Transient {
            retry_after_ms: Some(wish),
        } => own.max(SignedDuration::from_millis(i64::try_from(wish).unwrap_or(i64::MAX)).min(LONGEST * 4)),
        _ => own,
    }
}

/// The least pause before an outcome is looked at again that has been open for `open`: a quarter of that, at most
/// [`LONGEST`]. Each look that changes nothing is a record, and a journal is no place for a thousand of them.
pub fn slower(open: SignedDuration) -> SignedDuration {
    (open / 4).min(LONGEST)
}

/// 0..=255 from a seed: FNV-1a over its bytes and the attempt.
fn fraction(seed: &str, attempt: u32) -> u8 {
    let hash = seed
        .bytes()
        .chain(attempt.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash >> 32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transient(retry_after_ms: Option<u64>) -> Failure {
        Failure::new(FailureClass::Transient { retry_after_ms }, "read", "away")
    }

    #[test]
    fn a_pause_grows_stays_within_its_bounds_and_is_the_same_for_the_same_seed() {
        for attempt in 1..40 {
            let span = pause(attempt, "step", &transient(None));
            assert!(span >= FIRST / 2 && span <= LONGEST, "{attempt}: {span}");
            assert_eq!(span, pause(attempt, "step", &transient(None)));
        }
        assert!(pause(6, "step", &transient(None)) > pause(1, "step", &transient(None)));
    }

    #[test]
    fn a_servers_longer_wish_is_honoured() {
        assert_eq!(
            pause(1, "step", &transient(Some(3000))),
            SignedDuration::from_secs(3)
        );
    }
}
