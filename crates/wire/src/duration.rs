//! Durations as people write them in `astern.yaml`: `90s`, `15m`, `1h30m`. Owns the grammar, both ways; knows nothing
//! of what a duration is for.

use jiff::SignedDuration;

/// The units, largest first, with their length in milliseconds.
const UNITS: [(&str, i64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A year: whatever is longer is a slip of the keyboard, and sums of durations must never overflow.
const LONGEST_MS: i64 = 366 * 86_400_000;

/// What a pattern matcher (JSON Schema) can know of the grammar.
pub(crate) const PATTERN: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// There is nothing.
    #[error("a duration is missing here")]
    Empty,
    /// Digits, and nothing after them.
    #[error("`{number}` has no unit: seconds, minutes or hours?")]
    NoUnit {
        /// The digits.
        number: String,
    },
    /// Something that is no digit where a number must begin.
    #[error("`{text}` is not a duration")]
    NoNumber {
        /// The whole text.
        text: String,
    },
    /// A unit that is none of `d`, `h`, `m`, `s`, `ms`.
    #[error("`{unit}` is not a unit of time")]
    UnknownUnit {
        /// What stands where the unit should be.
        unit: String,
    },
    /// `30m1h`, or one unit twice.
    #[error("in `{text}` the units are not in the order d, h, m, s, ms, each at most once")]
    Order {
        /// The whole text.
        text: String,
    },
    /// More than a year.
    #[error("`{text}` is longer than a year")]
    TooLong {
        /// The whole text.
        text: String,
    },
}

impl DurationError {
    /// What a person can write instead.
    pub fn hint(&self) -> String {
        match self {
            Self::NoUnit { number } => format!("write {number}s, {number}m or {number}h"),
            Self::UnknownUnit { unit } => match nearest_unit(unit) {
                Some(near) => format!("did you mean `{near}`? The units are d, h, m, s and ms"),
                None => "the units are d, h, m, s and ms: 90s, 15m, 1h30m".to_owned(),
            },
            Self::Empty | Self::NoNumber { .. } | Self::Order { .. } | Self::TooLong { .. } => {
                "write it like 90s, 15m or 1h30m".to_owned()
            }
        }
    }
}

/// Reads a duration: whole numbers with a unit each, from the largest unit down. It may be zero, never negative.
///
/// # Errors
/// [`DurationError`] says what is wrong with the text, and what to write instead.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let whole = || text.to_owned();
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut units = UNITS.as_slice();
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        // A fraction (`1.5h`) would read as a unit named `.`.
        if number.is_empty() || tail.starts_with(['.', ',']) {
            return Err(DurationError::NoNumber { text: whole() });
        }
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() {
            return Err(DurationError::NoUnit {
                number: number.to_owned(),
            });
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
            });
        }
        let place = units
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| DurationError::Order { text: whole() })?;
        let span = number
            .parse::<i64>()
            .ok()
            .and_then(|number| number.checked_mul(units[place].1));
        total = span
            .and_then(|span| total.checked_add(span))
            .filter(|total| *total <= LONGEST_MS)
            .ok_or_else(|| DurationError::TooLong { text: whole() })?;
        units = &units[place + 1..];
        rest = tail;
    }
    Ok(SignedDuration::from_millis(total))
}

/// The text that [`parse`] reads back to the same duration, down to milliseconds; what is finer is dropped.
pub fn text(span: SignedDuration) -> String {
    let mut rest = i64::try_from(span.as_millis()).unwrap_or(i64::MAX).max(0);
    let mut text = String::new();
    for (unit, length) in UNITS {
        let count = rest / length;
        rest %= length;
        // Hours read better than days below two of them: 36h, not 1d12h.
        let days = unit == "d" && count < 2;
        if count > 0 && !days {
            text.push_str(&format!("{count}{unit}"));
        }
        if days {
            rest += count * length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn nearest_unit(unit: &str) -> Option<&'static str> {
    match unit.trim().to_ascii_lowercase().as_str() {
        "day" | "days" | "d" => Some("d"),
        "hour" | "hours" | "hr" | "hrs" | "h" => Some("h"),
        "minute" | "minutes" | "min" | "mins" | "m" => Some("m"),
        "second" | "seconds" | "sec" | "secs" | "s" => Some("s"),
        "millis" | "milliseconds" | "msec" | "ms" => Some("ms"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_is_numbers_with_units_from_the_largest_down() {
        let check = |text: &str, seconds: i64| {
            assert_eq!(parse(text), Ok(SignedDuration::from_secs(seconds)), "{text}")
        };
        check("90s", 90);
        check("15m", 900);
        check("1h30m", 5400);
        check("2d", 172_800);
        check("0s", 0);
        assert_eq!(parse("1s500ms"), Ok(SignedDuration::from_millis(1500)));
    }

    #[test]
    fn a_slip_in_a_duration_is_told_with_what_to_write_instead() {
        let check = |text: &str, told: &str| {
            let error = parse(text).expect_err(text);
            assert_eq!(format!("{error}; {}", error.hint()), told);
        };
        check("", "a duration is missing here; write it like 90s, 15m or 1h30m");
        check(
            "15",
            "`15` has no unit: seconds, minutes or hours?; write 15s, 15m or 15h",
        );
        check(
            "1h30",
            "`30` has no unit: seconds, minutes or hours?; write 30s, 30m or 30h",
        );
        check(
            "15min",
            "`min` is not a unit of time; did you mean `m`? The units are d, h, m, s and ms",
        );
        check(
            "1.5h",
            "`1.5h` is not a duration; write it like 90s, 15m or 1h30m",
        );
        check("-5m", "`-5m` is not a duration; write it like 90s, 15m or 1h30m");
        check(
            "30m1h",
            "in `30m1h` the units are not in the order d, h, m, s, ms, each at most once; write it like 90s, 15m or 1h30m",
        );
        check(
            "99999d",
            "`99999d` is longer than a year; write it like 90s, 15m or 1h30m",
        );
        check(
            "99999999999999999999h",
            "`99999999999999999999h` is longer than a year; write it like 90s, 15m or 1h30m",
        );
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back_the_same(millis in 0..=LONGEST_MS) {
            let span = SignedDuration::from_millis(millis);
            prop_assert_eq!(parse(&text(span)), Ok(span));
        }

        #[test]
        fn no_text_makes_the_parser_panic(any in ".*") {
            let _ = parse(&any).map_err(|error| error.hint());
        }
    }
}
