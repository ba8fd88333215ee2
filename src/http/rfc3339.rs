//! Times as clients see them: RFC 3339.
//!
//! The server's own times are written in UTC with `Z` and milliseconds. The times that clients
//! send (an event's date) are checked for their form and kept as they are.

use super::digits::DECIMAL;
use crate::domain::{DATE_BYTES_MAX, Timestamp};

const TOO_LONG: &str = "must have at most 64 bytes";
/// The last instant that four digits of a year can show.
const LAST_SHOWN: u64 = 253_402_300_799_999;
const MILLIS_PER_DAY: u64 = 86_400_000;
const MINUTES_PER_DAY: u32 = 1_440;

/// A time as text: `2025-01-01T12:34:56.789Z`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written([u8; 24]);

impl Written {
    /// Writes `time`; one past the year 9999 is shown as the last instant of that year.
    pub(super) fn new(time: Timestamp) -> Self {
        let millis = time.millis().min(LAST_SHOWN);
        let [days, of_day] = [millis / MILLIS_PER_DAY, millis % MILLIS_PER_DAY]
            .map(|part| u32::try_from(part).expect("8,000 years have fewer days, a day fewer ms"));
        let (year, month, day) = civil(days);
        let (minute_of_day, milli_of_minute) = (of_day / 60_000, of_day % 60_000);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (at, number) in [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, minute_of_day / 60),
            (14, minute_of_day % 60),
            (17, milli_of_minute / 1_000),
            (20, milli_of_minute % 1_000 / 10),
        ] {
            text[at..at + 2].copy_from_slice(&DECIMAL[number as usize]);
        }
        text[22] = DECIMAL[(milli_of_minute % 10) as usize][1];
        Self(text)
    }

    /// The 24 ASCII characters.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Year, month and day of the day that is `days` after 1970-01-01, in the Gregorian calendar.
///
/// Counts in years that begin on 1 March, so that the leap day is the last day of a year, and in
/// eras of 400 years, which all have the same number of days (Howard Hinnant, "chrono-compatible
/// low-level date algorithms").
fn civil(days: u32) -> (u32, u32, u32) {
    const DAYS_PER_ERA: u32 = 146_097;
    const DAYS_FROM_YEAR_0_TO_1970: u32 = 719_468;
    let days = days + DAYS_FROM_YEAR_0_TO_1970;
    let era = days / DAYS_PER_ERA;
    let day_of_era = days % DAYS_PER_ERA;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    (year, month, day)
}

/// Checks that `text` is an RFC 3339 date and time with an offset; says what is wrong otherwise.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    const FORM: &str = "must be an RFC 3339 date and time, such as 2025-06-01T20:00:00Z";
    if text.len() > DATE_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let Some((local, rest)) = text.as_bytes().split_at_checked("2025-06-01T20:00:00".len()) else {
        return Err(FORM);
    };
    if !fits(local, b"dddd-dd-ddTdd:dd:dd") {
        return Err(FORM);
    }
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    let offset = match rest.split_at(fraction) {
        // One byte is a point without digits.
        (fraction, offset) if fraction.len() != 1 => offset,
        _ => return Err(FORM),
    };
    let ahead = match offset {
        [] => return Err("must have an offset from UTC, such as Z or +02:00"),
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), clock @ ..] if fits(clock, b"dd:dd") && is_time_of_day(clock) => {
            let minutes = number(&clock[..2]) * 60 + number(&clock[3..]);
            // West of UTC by so much is east of it by the rest of a day.
            if *sign == b'+' { minutes } else { MINUTES_PER_DAY - minutes }
        }
        _ => return Err(FORM),
    };
    match exists(local, ahead) {
        true => Ok(()),
        false => Err("must be a date and time that exists"),
    }
}

/// Whether there is such a day and such a time of day, so many minutes ahead of UTC.
///
/// A 61st second is only ever added at midnight UTC; on which days it was is not looked at.
fn exists(local: &[u8], ahead: u32) -> bool {
    let (year, month, day) = (number(&local[..4]), number(&local[5..7]), number(&local[8..10]));
    let minute = number(&local[11..13]) * 60 + number(&local[14..16]);
    let seconds = match (minute + MINUTES_PER_DAY - ahead) % MINUTES_PER_DAY {
        last if last == MINUTES_PER_DAY - 1 => 61,
        _ => 60,
    };
    (1..=days_in(year, month)).contains(&day)
        && is_time_of_day(&local[11..16])
        && number(&local[17..19]) < seconds
}

/// How many days a month has; none, if there is no such month.
fn days_in(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// The number that decimal digits show.
fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

/// Whether `text` follows `form`, where `d` stands for a digit and `T` for itself in either case.
fn fits(text: &[u8], form: &[u8]) -> bool {
    text.len() == form.len()
        && text.iter().zip(form).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            b'T' => byte.eq_ignore_ascii_case(&b'T'),
            mark => byte == mark,
        })
}

/// Whether `dd:dd` lies between 00:00 and 23:59.
fn is_time_of_day(clock: &[u8]) -> bool {
    clock[..2] <= b"23"[..] && clock[3..] <= b"59"[..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(millis: u64) -> String {
        let text = Written::new(Timestamp::from_millis(millis));
        String::from_utf8(text.as_bytes().to_vec()).unwrap()
    }

    fn by_jiff(millis: u64) -> String {
        let time = jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap()).unwrap();
        format!("{time:.3}")
    }

    #[test]
    fn every_day_of_eight_thousand_years_agrees_with_jiff() {
        let last_day = (LAST_SHOWN - 2 * MILLIS_PER_DAY) / MILLIS_PER_DAY;
        for day in 0..last_day {
            let millis = day * MILLIS_PER_DAY;
            if day % 7 == 0 || day < 20_000 {
                assert_eq!(written(millis), by_jiff(millis));
            }
        }
    }

    proptest! {
        #[test]
        fn any_instant_agrees_with_jiff(millis in 0..LAST_SHOWN - 2 * MILLIS_PER_DAY) {
            prop_assert_eq!(written(millis), by_jiff(millis));
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(written(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(written(LAST_SHOWN), "9999-12-31T23:59:59.999Z");
        assert_eq!(written(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn dates_are_checked_for_form_existence_and_offset() {
        for good in [
            "2025-06-01T20:00:00Z",
            "2025-06-01t20:00:00z",
            "2025-06-01T20:00:00.5+02:00",
            "2025-06-01T20:00:00.123456789-11:30",
            "2024-02-29T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2016-12-31T23:59:60Z",
            "2017-01-01T01:59:60+02:00",
            "2016-12-31T16:29:60.5-07:30",
            "2025-06-01T20:00:00-00:00",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-23:59",
            "0000-01-01T00:00:00+23:59",
            "2000-02-29T00:00:00Z",
            "2025-06-01T20:00:00.1234567890Z",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "2025-06-01",
            "2025-06-01T20:00Z",
            "2025-06-01 20:00:00Z",
            "2025-06-01T20:00:00",
            "2025-06-01T20:00:00.Z",
            "2025-02-30T20:00:00Z",
            "2025-02-29T20:00:00Z",
            "1900-02-29T20:00:00Z",
            "2025-00-01T20:00:00Z",
            "2025-13-01T20:00:00Z",
            "2025-04-31T20:00:00Z",
            "2025-06-00T20:00:00Z",
            "2025-06-01T24:00:00Z",
            "2025-06-01T20:60:00Z",
            "2025-06-01T20:00:60Z",
            "2025-06-01T23:59:60+02:00",
            "2025-06-01T23:59:61Z",
            "2025-06-01T20:00:00+02:60",
            "2025-06-01T20:00:00+24:00",
            "2025-06-01T20:00:00+0200",
            "2025-06-01T20:00:00Z[UTC]",
            "+2025-06-01T20:00:00Z",
            "2025-06-01T20:00:00Zé",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check("2025-06-01T20:00:00").unwrap_err().contains("offset"));
    }

    #[test]
    fn a_date_is_bounded() {
        assert!(TOO_LONG.contains(&DATE_BYTES_MAX.to_string()));
        let date = |digits: usize| format!("2025-06-01T20:00:00.{}Z", "5".repeat(digits));
        let digits = DATE_BYTES_MAX - date(0).len();
        assert_eq!(check(&date(digits)), Ok(()));
        assert_eq!(check(&date(digits + 1)), Err(TOO_LONG));
    }
}
