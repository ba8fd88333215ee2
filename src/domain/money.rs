//! Money: whole minor units of a currency, never a float.

use std::fmt;

/// An amount in minor units (cents, pence, yen): never negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Amount(i64);

/// Why a number was not accepted as an amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AmountFault {
    /// Not digits with at most one decimal point.
    NotPlain,
    /// Less than zero.
    Negative,
    /// More decimals than the currency has.
    TooPrecise(u32),
    /// Beyond what an amount can hold.
    TooLarge,
}

impl fmt::Display for AmountFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPlain => f.write_str("must be a plain decimal number, such as 75.00"),
            Self::Negative => f.write_str("must not be negative"),
            Self::TooPrecise(decimals) => {
                write!(f, "must have at most {decimals} decimals in this currency")
            }
            Self::TooLarge => write!(f, "must be at most {} minor units", Amount::MAX.0),
        }
    }
}

impl std::error::Error for AmountFault {}

impl Amount {
    /// The largest amount: up to here a JSON reader that uses doubles sees every minor unit
    /// (2^53 - 1).
    pub const MAX: Self = Self((1 << 53) - 1);

    /// An amount of `units` minor units; `None` outside 0 to [`Amount::MAX`].
    pub const fn from_minor(units: i64) -> Option<Self> {
        if units >= 0 && units <= Self::MAX.0 { Some(Self(units)) } else { None }
    }

    /// How many minor units.
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// `count` times this amount; `None` beyond [`Amount::MAX`].
    pub fn times(self, count: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(count)).and_then(Self::from_minor)
    }

    /// Reads the digits of a JSON number as an amount of a currency with `decimals` decimals.
    pub fn parse(text: &str, decimals: u32) -> Result<Self, AmountFault> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(fraction) {
            return Err(AmountFault::NotPlain);
        }
        let significant = fraction.trim_end_matches('0');
        if significant.len() > decimals as usize {
            return Err(AmountFault::TooPrecise(decimals));
        }
        let padding = std::iter::repeat_n(b'0', decimals as usize - significant.len());
        let mut units: i64 = 0;
        for digit in whole.bytes().chain(significant.bytes()).chain(padding) {
            units = units
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(i64::from(digit - b'0')))
                .ok_or(AmountFault::TooLarge)?;
        }
        if negative && units != 0 {
            return Err(AmountFault::Negative);
        }
        Self::from_minor(units).ok_or(AmountFault::TooLarge)
    }

    /// Shows the amount with exactly `decimals` decimals, as in `75.00`.
    pub fn display(self, decimals: u32) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            let unit = 10_i64.pow(decimals);
            if decimals == 0 {
                return write!(f, "{}", self.0);
            }
            write!(f, "{}.{:0width$}", self.0 / unit, self.0 % unit, width = decimals as usize)
        })
    }
}

/// A currency of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// What prices are in when nothing else is said.
    pub const DEFAULT: Self = Self(iso_currency::Currency::USD);

    /// The currency of this three-letter code; `None` where the code is unknown, or where it
    /// stands for something that has no minor unit (gold, say).
    pub fn from_code(code: &str) -> Option<Self> {
        let currency = iso_currency::Currency::from_code(code)?;
        currency.exponent().is_some().then_some(Self(currency))
    }

    /// The three-letter code.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals its amounts are written with.
    pub fn decimals(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_say_what_would_be_right() {
        let told = [
            (AmountFault::NotPlain, "must be a plain decimal number, such as 75.00"),
            (AmountFault::Negative, "must not be negative"),
            (AmountFault::TooPrecise(2), "must have at most 2 decimals in this currency"),
            (AmountFault::TooLarge, "must be at most 9007199254740991 minor units"),
        ];
        for (fault, text) in told {
            assert_eq!(fault.to_string(), text);
        }
    }

    #[test]
    fn amounts_are_exact() {
        let cases = [
            ("75.00", Ok(7500)),
            ("75", Ok(7500)),
            ("75.5", Ok(7550)),
            ("0", Ok(0)),
            ("-0.00", Ok(0)),
            ("19.99", Ok(1999)),
            ("1.000", Ok(100)),
            ("1.005", Err(AmountFault::TooPrecise(2))),
            ("-1", Err(AmountFault::Negative)),
            ("1e2", Err(AmountFault::NotPlain)),
            ("", Err(AmountFault::NotPlain)),
            (".5", Err(AmountFault::NotPlain)),
            ("5.", Err(AmountFault::NotPlain)),
            ("90071992547409.91", Ok(9_007_199_254_740_991)),
            ("90071992547409.92", Err(AmountFault::TooLarge)),
            ("99999999999999999999999", Err(AmountFault::TooLarge)),
        ];
        for (text, expected) in cases {
            assert_eq!(Amount::parse(text, 2).map(Amount::minor), expected, "{text:?}");
        }
    }

    #[test]
    fn amounts_are_shown_with_the_currencys_decimals() {
        let shown = |code: &str, text: &str| {
            let decimals = Currency::from_code(code).unwrap().decimals();
            Amount::parse(text, decimals).unwrap().display(decimals).to_string()
        };
        assert_eq!(shown("USD", "75"), "75.00");
        assert_eq!(shown("USD", "0.05"), "0.05");
        assert_eq!(shown("JPY", "7500"), "7500");
        assert_eq!(shown("KWD", "1.5"), "1.500");
    }

    #[test]
    fn sums_are_checked() {
        let price = Amount::parse("19.99", 2).unwrap();
        assert_eq!(price.times(3).unwrap().display(2).to_string(), "59.97");
        assert_eq!(Amount::MAX.times(2), None);
    }

    #[test]
    fn only_currencies_with_a_minor_unit_are_known() {
        assert_eq!(Currency::from_code("EUR").unwrap().code(), "EUR");
        for code in ["", "eur", "EURO", "ZZZ", "XAU"] {
            assert_eq!(Currency::from_code(code), None, "{code:?}");
        }
    }
}
