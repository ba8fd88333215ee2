//! The bytes of one connection, below hyper.
//!
//! hyper parses requests and writes answers, and this stands between it and the socket for the few
//! things that it has no hook for:
//!
//! - it answers a head that it cannot parse by a bare 400, 414 or 431; those leave as problem
//!   documents instead;
//! - it silently drops a Content-Length beside a Transfer-Encoding (and closes the connection
//!   afterwards, so nothing can be smuggled); what was really sent is kept to refuse that;
//! - it closes a connection at once, even where the client is still sending a body that nobody
//!   reads, which would reset the connection and take the answer with it; such a connection lingers
//!   until the client has read it;
//! - it times neither a body nor a slow reader; what is awaited is noted for the watchdog.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::StatusCode;
use hyper::header::{HeaderMap, TRANSFER_ENCODING};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::head;
use super::problem::Problem;

/// How much is kept of what a client sent last: no less than the longest head.
const HEARD_BYTES_MAX: usize = 16 * 1_024;
/// The longest bare answer of hyper's.
const BARE_BYTES_MAX: usize = 192;
/// How much of an unread body is thrown away for a lingering client.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// What is known of the client of one connection, shared by the layers above and below hyper.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// The last bytes that came, from the head that is being looked at on.
    heard: RefCell<Vec<u8>>,
    awaits_body: Cell<bool>,
    body_is_late: Cell<bool>,
    awaits_reader: Cell<bool>,
    written: Cell<u64>,
    lingers: Cell<bool>,
    closing: Cell<bool>,
}

/// What a connection is waiting for from its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Awaited {
    /// Nothing that the watchdog times.
    Nothing,
    /// The rest of a body.
    Body,
    /// Room for more of an answer; so many bytes were taken so far.
    Reader(u64),
    /// The end of what it still sends.
    End,
}

/// Notes that a body is awaited, until dropped.
#[derive(Debug)]
pub(super) struct AwaitedBody<'p>(&'p Peer);

impl Drop for AwaitedBody<'_> {
    fn drop(&mut self) {
        self.0.awaits_body.set(false);
    }
}

impl Peer {
    /// Refuses a request that was sent with two lengths, of which hyper shows one.
    pub(super) fn check_lengths(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut heard = self.heard.borrow_mut();
        let both = headers.contains_key(TRANSFER_ENCODING) && has_both_lengths(&heard);
        heard.clear();
        if both {
            return Err(head::both_lengths());
        }
        Ok(())
    }

    pub(super) fn await_body(&self) -> AwaitedBody<'_> {
        self.awaits_body.set(true);
        AwaitedBody(self)
    }

    /// The whole body is there: what comes now is another head.
    pub(super) fn body_arrived(&self) {
        self.heard.borrow_mut().clear();
    }

    /// Whether the time for the body is over.
    pub(super) fn body_is_late(&self) -> bool {
        self.body_is_late.get()
    }

    /// The watchdog's word that it is.
    pub(super) fn give_up_body(&self) {
        self.body_is_late.set(true);
    }

    /// When the connection is closed, let the client finish first.
    pub(super) fn linger(&self) {
        self.lingers.set(true);
    }

    /// What the connection is waiting for.
    pub(super) fn awaited(&self) -> Awaited {
        if self.closing.get() {
            Awaited::End
        } else if self.awaits_body.get() && !self.body_is_late.get() {
            Awaited::Body
        } else if self.awaits_reader.get() {
            Awaited::Reader(self.written.get())
        } else {
            Awaited::Nothing
        }
    }

    fn hear(&self, bytes: &[u8]) {
        let mut heard = self.heard.borrow_mut();
        let room = HEARD_BYTES_MAX.saturating_sub(heard.len());
        heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Whether one head among `bytes` has both headers that say how long its body is.
fn has_both_lengths(bytes: &[u8]) -> bool {
    let mut length = false;
    let mut coding = false;
    for line in bytes.split(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if line == b"\r" || line.is_empty() {
            (length, coding) = (false, false);
        }
        length |= name.eq_ignore_ascii_case(b"content-length");
        coding |= name.eq_ignore_ascii_case(b"transfer-encoding");
        if length && coding {
            return true;
        }
    }
    false
}

/// What stands in for one of hyper's bare answers, as bytes to be sent.
pub(super) type Substitute = Rc<dyn Fn(StatusCode) -> Vec<u8>>;

/// A client's socket, seen by hyper.
pub(super) struct Wire {
    stream: TcpStream,
    peer: Rc<Peer>,
    substitute: Substitute,
    /// What is still to be sent in place of a bare answer.
    substituted: Option<Vec<u8>>,
    /// How much was thrown away while lingering.
    discarded: usize,
    shut: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, peer: Rc<Peer>, substitute: Substitute) -> Self {
        Self {
            stream,
            peer,
            substitute,
            substituted: None,
            discarded: 0,
            shut: false,
        }
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>) {
        self.peer.awaits_reader.set(result.is_pending());
        if let Poll::Ready(Ok(count)) = result {
            let written = self.peer.written.get() + *count as u64;
            self.peer.written.set(written);
        }
    }

    /// Sends the substitute for a bare answer of `length` bytes, and says that those were sent.
    fn poll_substitute(
        &mut self,
        cx: &mut Context<'_>,
        status: StatusCode,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let substitute = &self.substitute;
        let rest = self.substituted.get_or_insert_with(|| substitute(status));
        while !rest.is_empty() {
            let sent = Pin::new(&mut self.stream).poll_write(cx, rest);
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => rest.drain(..count),
            };
        }
        self.peer.linger();
        Poll::Ready(Ok(length))
    }
}

/// Where in `bytes` a bare answer of hyper's begins, if they end with one.
///
/// Every answer of ours carries a request identifier, and no body of ours ends with an empty line,
/// so nothing else is ever taken for one.
fn bare_answer(bytes: &[u8]) -> Option<(usize, StatusCode)> {
    const START: &[u8] = b"HTTP/1.";
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let from = bytes.len().saturating_sub(BARE_BYTES_MAX);
    let window = &bytes[from..];
    let start = window
        .windows(START.len())
        .rposition(|part| part == START)?;
    let head = &window[start..];
    let ours = b"x-request-id:";
    if head.windows(ours.len()).any(|part| part == ours) {
        return None;
    }
    let status = StatusCode::from_bytes(head.get(9..12)?).ok()?;
    status.is_client_error().then_some((from + start, status))
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.peer.hear(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = match bare_answer(bytes) {
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
            Some((0, status)) => self.poll_substitute(cx, status, bytes.len()),
            // First what stands before it.
            Some((start, _)) => Pin::new(&mut self.stream).poll_write(cx, &bytes[..start]),
        };
        self.note_write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let last = parts.iter().rposition(|part| !part.is_empty());
        let bare = last.and_then(|last| Some((last, bare_answer(&parts[last])?)));
        let result = match bare {
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, parts),
            Some((last, (start, status))) => {
                let first = parts[..last].iter().find(|part| !part.is_empty());
                match first {
                    Some(first) => Pin::new(&mut self.stream).poll_write(cx, first),
                    None if start > 0 => {
                        Pin::new(&mut self.stream).poll_write(cx, &parts[last][..start])
                    }
                    None => self.poll_substitute(cx, status, parts[last].len()),
                }
            }
        };
        self.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        if !self.peer.lingers.get() {
            return Poll::Ready(Ok(()));
        }
        self.peer.closing.set(true);
        let mut waste = [0; 4_096];
        while self.discarded < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut waste);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            // The client's trouble is its own by now.
            if ready!(read).is_err() || buffer.filled().is_empty() {
                break;
            }
            self.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\
        date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";

    #[test]
    fn a_bare_answer_is_recognised_wherever_a_write_begins() {
        assert_eq!(bare_answer(BARE), Some((0, StatusCode::BAD_REQUEST)));
        let before = b"HTTP/1.1 200 OK\r\nx-request-id: 1\r\ncontent-length: 2\r\n\r\n{}";
        let both = [&before[..], BARE].concat();
        assert_eq!(
            bare_answer(&both),
            Some((before.len(), StatusCode::BAD_REQUEST))
        );
    }

    #[test]
    fn answers_of_ours_are_left_alone() {
        for ours in [
            &b"HTTP/1.1 404 Not Found\r\nx-request-id: 1\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nx-request-id: 1\r\ncontent-length: 2\r\n\r\n{}",
            b"{\"a\":\"HTTP/1.1 400 \\r\\n\\r\\n\"}",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"0\r\n\r\n",
            b"",
        ] {
            assert_eq!(bare_answer(ours), None);
        }
    }

    #[test]
    fn two_lengths_are_found_in_one_head_only() {
        let heads = |text: &str| has_both_lengths(text.as_bytes());
        assert!(heads(
            "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        assert!(heads(
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 4\r\n\r\n"
        ));
        assert!(!heads(
            "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}\
             POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        assert!(!heads("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n"));
    }
}
