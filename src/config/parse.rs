//! How each value is read: a function from text to a value within its bounds, or to what is
//! allowed instead. The bounds have names, so that the help text and the checks say the same.

use std::net::IpAddr;
use std::path::PathBuf;

use wal::Durability;

use super::{CorsOrigins, Environment, LogFormat, LogLevel, SslMode};

pub(super) const HTTP_THREADS_MAX: u64 = 256;
pub(super) const CONNECTIONS_MAX: u64 = 1_000_000;
pub(super) const BODY_BYTES_MIN: u64 = 1 << 10;
pub(super) const BODY_BYTES_MAX: u64 = 16 << 20;
pub(super) const REQUEST_TIMEOUT_SECONDS_MAX: u64 = 3_600;
pub(super) const DRAIN_TIMEOUT_SECONDS_MAX: u64 = 3_600;
/// Thirty days: longer is no hold any more.
pub(super) const HOLD_TTL_SECONDS_MAX: u64 = 30 * 24 * 3_600;
pub(super) const QUEUE_COUNT_MAX: u64 = 1_024;
pub(super) const QUEUE_CAPACITY_MAX: u64 = 1 << 20;
pub(super) const BOOKINGS_MAX_MAX: u64 = 1 << 32;
pub(super) const IDEMPOTENCY_KEYS_MAX_MAX: u64 = 1 << 30;
pub(super) const SNAPSHOT_LOG_BYTES_MIN: u64 = 1 << 20;
pub(super) const SNAPSHOT_AGE_SECONDS_MAX: u64 = 7 * 24 * 3_600;
pub(super) const RETAIN_HOURS_MAX: u64 = 10 * 366 * 24;
/// A position in the log is a signed 64-bit number elsewhere.
pub(super) const LOG_BYTES_MAX: u64 = i64::MAX as u64;
pub(super) const SEGMENT_BYTES_MIN: u64 = 1 << 20;
pub(super) const SEGMENT_BYTES_MAX: u64 = 1 << 30;
const CORS_ORIGINS_MAX: usize = 64;

/// A whole number from `MIN` to `MAX`, in the type that the setting has.
pub(super) fn whole<const MIN: u64, const MAX: u64, N: TryFrom<u64>>(
    text: &str,
) -> Result<N, String> {
    let number = if text.starts_with('+') { None } else { text.parse::<u64>().ok() };
    number
        .filter(|number| (MIN..=MAX).contains(number))
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
}

pub(super) fn segment_bytes(text: &str) -> Result<u64, String> {
    whole::<SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX, u64>(text)
        .ok()
        .filter(|bytes| bytes.is_power_of_two())
        .ok_or_else(|| {
            format!("must be a power of two from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}")
        })
}

pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let allowed = "must be an IPv4 or IPv6 address, such as 127.0.0.1 or ::";
    unbracketed.unwrap_or(text).parse().ok().ok_or_else(|| allowed.to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("must be a path without a zero byte".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn durability(text: &str) -> Result<Durability, String> {
    let allowed = "must be commit, interval:<milliseconds> (1 to 60000) or os";
    text.parse().ok().ok_or_else(|| allowed.to_owned())
}

/// The one of `all` that `text` names, in any case.
fn one_of<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, String> {
    let named = all.iter().copied().find(|&choice| name(choice).eq_ignore_ascii_case(text));
    named.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&choice| name(choice)).collect();
        format!("must be one of {}", names.join(", "))
    })
}

pub(super) fn environment(text: &str) -> Result<Environment, String> {
    use Environment::{Development, Production, Staging, Test};
    one_of(text, &[Development, Test, Staging, Production], Environment::name)
}

pub(super) fn log_level(text: &str) -> Result<LogLevel, String> {
    use LogLevel::{Debug, Error, Info, Trace, Warn};
    one_of(text, &[Error, Warn, Info, Debug, Trace], LogLevel::name)
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    one_of(text, &[LogFormat::Text, LogFormat::Json], LogFormat::name)
}

pub(super) fn ssl_mode(text: &str) -> Result<SslMode, String> {
    SslMode::from_name(text)
}

/// `*`, or origins with commas between them. An origin is compared byte by byte with what a browser
/// sends, so only the form that browsers send is taken: lower case, no path, no closing slash.
pub(super) fn origins(text: &str) -> Result<CorsOrigins, String> {
    if text.trim() == "*" {
        return Ok(CorsOrigins::Any);
    }
    let listed: Vec<String> = text.split(',').map(|origin| origin.trim().to_owned()).collect();
    if listed.len() <= CORS_ORIGINS_MAX && listed.iter().all(|origin| is_origin(origin)) {
        return Ok(CorsOrigins::Listed(listed));
    }
    Err(format!(
        "must be * or at most {CORS_ORIGINS_MAX} origins such as https://shop.example.org, in lower \
         case, without a path or a closing slash, with commas between them"
    ))
}

fn is_origin(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host_letter = |c: char| {
        c.is_ascii_lowercase()
            || c.is_ascii_digit()
            || "-.".contains(c)
            || (bracketed && "[:]".contains(c))
    };
    matches!(scheme, "http" | "https")
        && !host.is_empty()
        && host.chars().all(host_letter)
        && port.is_none_or(|port| whole::<1, 65_535, u16>(port).is_ok())
}
