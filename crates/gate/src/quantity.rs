//! Kubernetes quantities (`250m`, `1.5Gi`, `1e3`), exact to the nano. Owns their grammar and sums; knows no resource.
//! Source of the grammar: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.

/// Nanos in one whole: the finest step that a quantity has.
const NANO: i128 = 1_000_000_000;
/// No quantity is larger: the API server caps at this many wholes.
const LARGEST: i128 = i64::MAX as i128 * NANO;
/// Fraction digits that are read; one nano of the largest binary unit needs fewer. What stands behind rounds up.
const FRACTION_DIGITS: usize = 18;
/// Whole digits that fit the computation; a number with more is above [`LARGEST`], also in nanos.
const WHOLE_DIGITS: usize = 28;
/// Exponents beyond this are out of reach in either direction.
const EXPONENT: i32 = 60;

/// An amount, in nanos of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i128);

impl Quantity {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const ONE: Self = Self(NANO);

    /// Reads one; none when it is no quantity. What is finer than a nano is rounded away from zero, what is larger
    /// than the API's largest becomes that.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = digits
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(digits.len());
        let (number, suffix) = digits.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return None;
        }
        let nanos = magnitude(whole, fraction, Suffix::parse(suffix)?);
        Some(Self(if negative { -nanos } else { nanos }))
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other` away; below zero when more is used than there is.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(crate) fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(i128::from(count)))
    }

    /// As a person writes it: bytes in Mi, everything else in wholes or thousandths. Rounded up.
    pub(crate) fn text(self, bytes: bool) -> String {
        let (unit, suffix) = match bytes {
            true if self.0.abs() >= NANO << 20 => (NANO << 20, "Mi"),
            true => (NANO, ""),
            false if self.0 % NANO == 0 => (NANO, ""),
            false => (NANO / 1000, "m"),
        };
        format!("{}{suffix}", divide_up(self.0, unit))
    }
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Suffix {
    /// By 1024 to this power.
    Binary(u32),
    /// By 10 to this power.
    Decimal(i32),
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "Ki" => Self::Binary(1),
            "Mi" => Self::Binary(2),
            "Gi" => Self::Binary(3),
            "Ti" => Self::Binary(4),
            "Pi" => Self::Binary(5),
            "Ei" => Self::Binary(6),
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "" => Self::Decimal(0),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            _ => Self::Decimal(exponent(text.strip_prefix(['e', 'E'])?)?),
        })
    }
}

/// The digits behind an `e`, with a sign or without; beyond reach is clamped, since its size no longer matters.
fn exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i32>().unwrap_or(EXPONENT).min(EXPONENT);
    Some(if text.starts_with('-') { -size } else { size })
}

/// The nanos of `whole.fraction` times the suffix, at most [`LARGEST`].
fn magnitude(whole: &str, fraction: &str, suffix: Suffix) -> i128 {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let (binary, power) = match suffix {
        Suffix::Binary(power) => (1i128 << (10 * power), 0),
        Suffix::Decimal(power) => (1, power),
    };
    if whole.is_empty() && fraction.is_empty() {
        return 0;
    }
    if whole.len() > WHOLE_DIGITS {
        return LARGEST;
    }
    let kept = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let sticky = i128::from(kept.len() < fraction.len());
    let read = |digits: &str| {
        digits
            .bytes()
            .fold(0i128, |sum, b| sum * 10 + i128::from(b - b'0'))
    };
    // The whole part and the fraction are scaled apart, so that neither can leave the computation's range early.
    let part = |mantissa: i128, power: i32| scaled(mantissa.saturating_mul(binary), power);
    let wholes = part(read(whole), power + 9);
    let places = i32::try_from(kept.len()).unwrap_or_default();
    let fractions = part(read(kept) + sticky, power + 9 - places);
    wholes.saturating_add(fractions).min(LARGEST)
}

/// `mantissa` times 10 to `power`, rounded up.
fn scaled(mantissa: i128, power: i32) -> i128 {
    match 10i128.checked_pow(power.unsigned_abs()) {
        Some(ten) if power < 0 => divide_up(mantissa, ten),
        Some(ten) => mantissa.saturating_mul(ten),
        None if power < 0 => i128::from(mantissa != 0),
        None if mantissa == 0 => 0,
        None => LARGEST,
    }
}

/// The quotient, rounded away from zero.
fn divide_up(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by == 0 {
        quotient
    } else {
        quotient + value.signum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_suffix_of_the_grammar_is_read_exactly() {
        let check =
            |text: &str, nanos: i128| assert_eq!(Quantity::parse(text), Some(Quantity(nanos)), "{text}");
        for (power, suffix) in ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]
            .into_iter()
            .enumerate()
        {
            check(&format!("3{suffix}"), 3 * 1000i128.pow(power.try_into().unwrap()));
        }
        for (power, suffix) in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter().enumerate() {
            check(
                &format!("3{suffix}"),
                3 * NANO * 1024i128.pow(u32::try_from(power).unwrap() + 1),
            );
        }
        check("0", 0);
        check("-0", 0);
        check("00012", 12 * NANO);
        check("+1.5", NANO + NANO / 2);
        check("-250m", -NANO / 4);
        check(".5", NANO / 2);
        check("5.", 5 * NANO);
        check("1.5Gi", 1_610_612_736 * NANO);
        check("0.1Ki", 102_400_000_000);
        check("1e3", 1000 * NANO);
        check("1E3", 1000 * NANO);
        check("1E", NANO * 10i128.pow(18));
        check("2.5e-3", NANO / 400);
        check("1e+2", 100 * NANO);
        check("9223372036854775807", LARGEST);
    }

    #[test]
    fn what_is_finer_than_a_nano_is_rounded_away_from_zero_and_what_is_too_large_is_capped() {
        let check =
            |text: &str, nanos: i128| assert_eq!(Quantity::parse(text), Some(Quantity(nanos)), "{text}");
        check("0.1n", 1);
        check("-0.1n", -1);
        check("1.0000000001", NANO + 1);
        check("0.00000000000000000000000000001", 1);
        check("1e-99999999999", 1);
        check("0e99999999999", 0);
        check("1e99999999999", LARGEST);
        check("16Ei", LARGEST);
        check("99999999999999999999999999999999999999999999", LARGEST);
        check("1000000000000000000000000000n", 10i128.pow(27));
        check("-16Ei", -LARGEST);
    }

    #[test]
    fn what_is_no_quantity_is_not_read() {
        for text in [
            "", "-", "+", ".", "m", "Ki", "1 ", " 1", "1K", "1ki", "1mi", "1MI", "1.2.3", "1e", "1e+",
            "1e1.5", "1ee3", "1Kii", "1e3m", "--1", "+-1", "0x10", "1,5", "١", "1µ", "e3", "NaN",
        ] {
            assert_eq!(Quantity::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn quantities_are_told_as_people_write_them() {
        let check = |text: &str, bytes: bool, told: &str| {
            assert_eq!(Quantity::parse(text).unwrap().text(bytes), told)
        };
        check("250m", false, "250m");
        check("2000m", false, "2");
        check("1u", false, "1m");
        check("1Gi", true, "1024Mi");
        check("100", true, "100");
        check("1048577", true, "2Mi");
        check("-64Mi", true, "-64Mi");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[-+]?[0-9.]{0,50}[eEnumkMGTPEKi]{0,2}[-+0-9]{0,12}") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn a_decimal_and_its_thousandths_are_one_quantity(whole in 0u32.., thousandths in 0u32..1000) {
            let dotted = Quantity::parse(&format!("{whole}.{thousandths:03}"));
            let milli = Quantity::parse(&format!("{}m", u64::from(whole) * 1000 + u64::from(thousandths)));
            prop_assert_eq!(dotted, milli);
        }

        #[test]
        fn reading_keeps_the_order_of_numbers(a in 0u64.., b in 0u64.., suffix in "(m||k|Ki|Mi)") {
            let read = |n: u64| Quantity::parse(&format!("{n}{suffix}")).unwrap();
            prop_assert!(a <= b || read(a) >= read(b));
            prop_assert!(a > b || read(a) <= read(b));
        }
    }
}
