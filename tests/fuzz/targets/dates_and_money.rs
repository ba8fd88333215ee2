//! Dates and amounts: what is accepted comes back as it was.

use booking_manager::domain::{Amount, Currency};
use booking_manager::http::parsers;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if parsers::date(text).is_ok() {
        assert!(text.is_ascii() && (20..=64).contains(&text.len()), "{text:?} is a date");
    }
    if let Some(currency) = Currency::from_code(text) {
        assert_eq!(currency.code(), text);
        assert!(currency.decimals() <= 4);
    }
    for decimals in 0..=4 {
        let Ok(amount) = Amount::parse(text, decimals) else { continue };
        assert!((0..=Amount::MAX.minor()).contains(&amount.minor()), "{text}");
        let shown = amount.display(decimals).to_string();
        assert_eq!(Amount::parse(&shown, decimals), Ok(amount), "{text} is shown as {shown}");
        let finer = Amount::parse(&shown, decimals + 1);
        assert!(finer.is_err() || finer.map(Amount::minor) == Ok(amount.minor() * 10), "{shown}");
    }
}
