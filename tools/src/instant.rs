//! Instants as people write them: RFC 3339, in UTC, to the millisecond.

use anyhow::Context as _;
use booking_manager::domain::Timestamp;

/// `2025-01-01T12:34:56.789Z`. What lies beyond the year 9999, which RFC 3339 cannot show, is
/// written as milliseconds since 1970.
pub fn show(time: Timestamp) -> String {
    let millis = i64::try_from(time.millis()).ok();
    let shown = millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    shown.map_or_else(|| format!("{}ms", time.millis()), |shown| format!("{shown:.3}"))
}

/// The time of day. For people, and for files that say when they were made; nothing is decided by it.
pub fn now() -> Timestamp {
    let millis = jiff::Timestamp::now().as_millisecond();
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Reads an RFC 3339 date and time with an offset. One before 1970 counts as its beginning, since
/// no record is older.
///
/// # Errors
/// A text of another form, or an instant that does not exist.
pub fn parse(text: &str) -> anyhow::Result<Timestamp> {
    let time: jiff::Timestamp = text.parse().context("expected, say, 2025-01-01T12:00:00Z")?;
    Ok(Timestamp::from_millis(u64::try_from(time.as_millisecond()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for millis in [0, 1, 1_700_000_000_123] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(parse(&show(time)).unwrap(), time);
        }
        assert_eq!(show(Timestamp::from_millis(1_700_000_000_000)), "2023-11-14T22:13:20.000Z");
        assert_eq!(show(Timestamp::MAX), "281474976710655ms");
    }

    #[test]
    fn offsets_count_and_other_forms_do_not() {
        let noon = parse("2025-01-01T12:00:00Z").unwrap();
        assert_eq!(parse("2025-01-01T14:00:00+02:00").unwrap(), noon);
        assert_eq!(parse("1969-01-01T00:00:00Z").unwrap(), Timestamp::from_millis(0));
        for bad in ["", "yesterday", "2025-01-01", "2025-02-30T00:00:00Z", "2025-01-01T12:00:00"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
