//! Amounts of resources: `500m`, `1Gi`. Owns reading, adding and writing them; knows no resources.

use serde_json::Value;
use std::fmt;
use std::ops::{Add, AddAssign, SubAssign};

/// An amount in thousandths, and how it is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quantity {
    milli: i128,
    binary: bool,
}

const BINARY: [(&str, i128); 6] = [
    ("Ei", 1 << 60),
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
];
const DECIMAL: [(&str, i128); 6] = [
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl Quantity {
    pub(crate) const ZERO: Self = Self {
        milli: 0,
        binary: false,
    };

    /// How many thousandths it is.
    pub(crate) fn thousandths(self) -> f64 {
        self.milli as f64
    }

    pub(crate) fn whole(number: i64) -> Self {
        Self {
            milli: i128::from(number) * 1000,
            binary: false,
        }
    }

    /// As objects have it: a string or a number.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(number) = text.strip_suffix('m') {
            let milli = number.parse().ok()?;
            return Some(Self { milli, binary: false });
        }
        let suffixed = |table: &[(&str, i128)]| {
            table
                .iter()
                .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
        };
        if let Some((number, factor)) = suffixed(&BINARY) {
            let milli = scaled(number, factor)?;
            return Some(Self { milli, binary: true });
        }
        let (number, factor) = suffixed(&DECIMAL).unwrap_or((text, 1));
        let milli = scaled(number, factor)?;
        Some(Self { milli, binary: false })
    }
}

/// A decimal number times a factor, in thousandths.
fn scaled(number: &str, factor: i128) -> Option<i128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut milli = whole * 1000 * factor;
    let mut unit = 1000 * factor;
    for digit in part.chars() {
        unit /= 10;
        milli += i128::from(digit.to_digit(10)?) * unit;
    }
    Some(milli)
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.milli == other.milli
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.milli.cmp(&other.milli)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            milli: self.milli + other.milli,
            binary: self.binary || other.binary,
        }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        self.milli -= other.milli;
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milli % 1000 != 0 {
            return write!(f, "{}m", self.milli);
        }
        let whole = self.milli / 1000;
        let table = if self.binary { &BINARY } else { &DECIMAL };
        let largest = table.iter().find(|(_, factor)| whole != 0 && whole % factor == 0);
        match largest {
            Some((suffix, factor)) => write!(f, "{}{suffix}", whole / factor),
            None => write!(f, "{whole}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_added_and_written_as_the_api_does() {
        let sum = |one: &str, other: &str| {
            (Quantity::parse(one).unwrap() + Quantity::parse(other).unwrap()).to_string()
        };
        assert_eq!(sum("500m", "1.5"), "2");
        assert_eq!(sum("100m", "1"), "1100m");
        assert_eq!(sum("512Mi", "0.5Gi"), "1Gi");
        assert_eq!(sum("1Gi", "1Mi"), "1025Mi");
        assert_eq!(sum("1M", "500k"), "1500k");
        assert!(Quantity::parse("much").is_none());
    }
}
