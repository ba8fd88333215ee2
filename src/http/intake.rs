//! Taking in the body of a request, within its bounds.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{EXPECT, HeaderMap};

use super::head::{self, content_length};
use super::problem::{Problem, Reason};
use super::wire::Peer;

/// How much of a body that nobody wants is read, rather than close the connection.
const DISCARDED_BYTES_MAX: u64 = 64 * 1_024;

/// Reads a body of at most `max` bytes.
///
/// One that declares to be longer is refused without being read. How long a body may take is
/// watched by its connection, which costs nothing as long as the body is there already.
pub(super) async fn read(
    body: &mut Incoming,
    headers: &HeaderMap,
    max: usize,
    peer: &Peer,
) -> Result<Bytes, Problem> {
    let declared = content_length(headers).unwrap_or(0);
    if declared > max as u64 {
        return Err(too_large(max));
    }
    let _awaited = peer.await_body();
    let mut whole = Whole::Nothing;
    while let Some(frame) = next_frame(body, peer).await? {
        // Trailers say nothing that is wanted here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > max {
            return Err(too_large(max));
        }
        whole.append(data, usize::try_from(declared).unwrap_or(max));
    }
    if peer.has_lost_track() {
        return Err(head::bare_line_feed());
    }
    Ok(whole.into_bytes())
}

/// Reads what nobody wanted of a body, so that the next request can be told from it, and says
/// whether all of it came.
///
/// hyper closes a connection with an unread rest of a body, and says so to nobody: whether that is
/// there with its head is the network's doing, and a client whose next request is cut off cannot
/// know whether it was done. Where this returns false, the answer has to say that it is the last.
pub(super) async fn discard(body: &mut Incoming, headers: &HeaderMap, peer: &Peer) -> bool {
    // Whoever asks whether to go on is not told to.
    let is_bounded = content_length(headers).unwrap_or(0) <= DISCARDED_BYTES_MAX;
    if !is_bounded || headers.contains_key(EXPECT) {
        return body.is_end_stream();
    }
    let _awaited = peer.await_body();
    let mut discarded = 0;
    while discarded <= DISCARDED_BYTES_MAX {
        match next_frame(body, peer).await {
            Ok(Some(frame)) => discarded += frame.data_ref().map_or(0, |data| data.len() as u64),
            Ok(None) => return !peer.has_lost_track(),
            Err(_) => return false,
        }
    }
    false
}

/// A body as far as it has arrived. Most arrive in one piece, which is not copied.
enum Whole {
    Nothing,
    Piece(Bytes),
    Pieces(Vec<u8>),
}

impl Whole {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Piece(piece) => piece.len(),
            Self::Pieces(pieces) => pieces.len(),
        }
    }

    /// Adds to a body that is declared to have so many bytes, or none if that is not known.
    fn append(&mut self, data: Bytes, declared: usize) {
        match self {
            Self::Nothing => *self = Self::Piece(data),
            Self::Piece(piece) => {
                // Room for all of it at once: a body that grows would take up to twice as much.
                let mut pieces = Vec::with_capacity(declared.max(piece.len() + data.len()));
                pieces.extend_from_slice(piece);
                pieces.extend_from_slice(&data);
                *self = Self::Pieces(pieces);
            }
            Self::Pieces(pieces) => pieces.extend_from_slice(&data),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::Piece(piece) => piece,
            Self::Pieces(pieces) => pieces.into(),
        }
    }
}

async fn next_frame(body: &mut Incoming, peer: &Peer) -> Result<Option<Frame<Bytes>>, Problem> {
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(None) => Poll::Ready(Ok(None)),
        Poll::Ready(Some(Ok(frame))) => Poll::Ready(Ok(Some(frame))),
        Poll::Ready(Some(Err(_))) => Poll::Ready(Err(Reason::MalformedRequest
            .because("The body ended early or is not framed as declared.")
            .closing())),
        Poll::Pending if peer.body_is_late() => {
            Poll::Ready(Err(Problem::from(Reason::RequestTimeout).closing()))
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

fn too_large(max: usize) -> Problem {
    let detail = format!("A body may have {max} bytes.");
    Reason::BodyTooLarge.because(detail).closing()
}
