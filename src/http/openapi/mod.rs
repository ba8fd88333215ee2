//! The OpenAPI document that `GET /openapi.json` answers.
//!
//! **Invariant:** the document says what the code does. It is made from the table of routes, from the
//! members that request bodies are read into, from what [`super::shape`] writes of sample values, and
//! from the refusals as [`super::problem`] writes them; what has to be said in words stands beside a
//! `match` that the compiler keeps complete. The parts that make it are compiled for tests alone: what
//! is served is the copy in `openapi.json`, and a test fails if that is not what the code makes.
//!
//! ```sh
//! UPDATE_OPENAPI=1 cargo test --lib openapi    # writes the copy anew
//! ```
//!
//! What is not made from code (which headers, statuses and refusals an action has) is held by the
//! integration tests, which check every answer they get against the document.

#[cfg(test)]
mod actions;
#[cfg(test)]
mod answers;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use hyper::StatusCode;

use super::reply::{Content, Success};

/// As it is kept: with line breaks, so that changes can be read.
const KEPT: &str = include_str!("openapi.json");

/// As it is served, like all JSON here: without blanks.
static SERVED: LazyLock<Vec<u8>> = LazyLock::new(|| compact(KEPT));

/// `GET /openapi.json`
pub(super) fn document() -> Success {
    Success::new(StatusCode::OK, Content::Document(&SERVED))
}

/// A JSON text without the white space between its parts.
fn compact(text: &str) -> Vec<u8> {
    let mut compact = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string || !byte.is_ascii_whitespace() {
            compact.push(byte);
        }
        if byte == b'"' && !escaped {
            in_string = !in_string;
        }
        escaped = byte == b'\\' && !escaped;
    }
    compact
}
