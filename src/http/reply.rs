//! Answers between being decided and being sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::StatusCode;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::HeaderValue;
use wal::Lsn;

use super::json::Json;
use super::list::{Broken, Listing};
use super::problem::Problem;
use super::route::Methods;
use crate::engine::{Answer, Open, Position};
use crate::stats::Stats;

/// What a successful answer says.
#[derive(Debug)]
pub(super) enum Content {
    Empty,
    Json(Bytes),
    /// JSON that is always the same.
    Document(&'static [u8]),
    Text(String),
    /// Figures for Prometheus.
    Metrics(String),
    /// A list of unknown length, written as it is read.
    Listing(Box<Listing>),
}

/// A successful answer; also one of the health checks, which have their own form of failure.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) status: StatusCode,
    pub(super) content: Content,
    /// Where the thing that was made lives.
    pub(super) location: Option<HeaderValue>,
    /// Where the list goes on.
    pub(super) link: Option<HeaderValue>,
    /// The methods that there are.
    pub(super) allow: Option<Methods>,
    /// Whether this repeats an earlier answer.
    pub(super) replayed: bool,
}

impl Success {
    pub(super) fn new(status: StatusCode, content: Content) -> Self {
        Self { status, content, location: None, link: None, allow: None, replayed: false }
    }

    /// 200 with this JSON.
    pub(super) fn ok(json: Json) -> Self {
        Self::new(StatusCode::OK, Content::Json(json.into_bytes().into()))
    }

    /// 201 with this JSON, made at `location`.
    pub(super) fn created(json: Json, location: Json) -> Self {
        Self {
            location: HeaderValue::from_maybe_shared(Bytes::from(location.into_bytes())).ok(),
            ..Self::new(StatusCode::CREATED, Content::Json(json.into_bytes().into()))
        }
    }

    pub(super) fn empty() -> Self {
        Self::new(StatusCode::NO_CONTENT, Content::Empty)
    }

    pub(super) fn replayed(self, replayed: bool) -> Self {
        Self { replayed, ..self }
    }
}

/// What the engine decided, not to be told before its position is durable.
#[must_use]
#[derive(Debug)]
pub(super) struct Outcome<'e> {
    pub(super) result: Result<Success, Problem>,
    pub(super) position: Position,
    /// What the request occupies until it is answered.
    pub(super) open: Open<'e>,
    /// The count of a booking request.
    pub(super) admission: Option<Admission<'e>>,
}

impl<'e> Outcome<'e> {
    /// An answer of the engine, where `write` says what a success looks like.
    pub(super) fn of<T>(answer: Answer<'e, T>, write: impl FnOnce(T) -> Success) -> Self {
        Self {
            result: answer.result.map(write).map_err(Problem::from),
            position: answer.position,
            open: answer.open,
            admission: None,
        }
    }

    /// Something that was seen.
    pub(super) fn seen(success: Success, position: Position) -> Self {
        Self { result: Ok(success), position, open: Open::default(), admission: None }
    }
}

/// What must be durable before something that was seen in two looks can be told.
pub(super) fn both(first: Position, second: Position) -> Position {
    Position { lsn: second.lsn, wait_for: Lsn::max(first.wait_for, second.wait_for) }
}

/// Counts a booking request in when made, and out, as what it became, when dropped: also when its
/// client has gone before it was answered.
#[derive(Debug)]
pub(super) struct Admission<'e> {
    stats: &'e Stats,
    /// Whether a booking was made, as far as is known.
    pub(super) booked: bool,
}

impl<'e> Admission<'e> {
    pub(super) fn new(stats: &'e Stats) -> Self {
        stats.booking_admitted();
        Self { stats, booked: false }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.booked {
            self.stats.booking_succeeded();
        } else {
            self.stats.booking_failed();
        }
    }
}

/// How much hyper takes at a time; it takes more as long as it holds less than its own bound.
const FRAME_BYTES_MAX: usize = 16 * 1_024;

/// The body of an answer as hyper takes it.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// All of it that was not taken yet.
    Whole(Bytes),
    /// A list that is still being read.
    Listing(Box<Listing>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => {
                let frame = bytes.split_to(bytes.len().min(FRAME_BYTES_MAX));
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            Self::Listing(listing) => {
                listing.poll_chunk(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Listing(listing) => listing.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Listing(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_of_two_looks_waits_for_both() {
        let at = |lsn, wait_for| Position { lsn: Lsn::new(lsn), wait_for: Lsn::new(wait_for) };
        assert_eq!(both(at(1, 50), at(2, 40)), at(2, 50));
        assert_eq!(both(at(1, 30), at(2, 40)), at(2, 40));
    }
}
