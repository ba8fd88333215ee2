//! The bytes of one connection, below hyper.
//!
//! hyper parses requests and writes answers, and this stands between it and the socket for the few
//! things that it has no hook for, or does not do well:
//!
//! - answers to pipelined requests are collected and sent together, once per turn of the connection.
//!   (hyper's own `pipeline_flush` loses answers in front of a head that cannot be parsed, and buffers
//!   without bound for a slow reader.) What is collected is bounded, and beyond that a slow reader
//!   holds up whoever writes;
//! - hyper answers a head that it cannot parse by a bare 400, 414 or 431; those leave as problem
//!   documents instead, and so does what it says nothing about (a head that is late, HTTP/2);
//! - it silently drops a Content-Length beside a Transfer-Encoding (and closes the connection
//!   afterwards, so nothing can be smuggled), and takes a bare line feed for the end of a line; what
//!   was really sent is kept to refuse both;
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
use memchr::memrchr;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::head;
use super::heard::{Heard, Skip, has_bare_line_feed, has_both_lengths, is_endless};
use super::problem::Problem;

/// How much is kept of heads that were not checked yet: twice what hyper buffers, and more than it
/// ever takes ahead.
pub(super) const HEARD_BYTES_MAX: usize = 128 * 1_024;
/// How much of an unread body is thrown away for a lingering client.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// How much is collected before it must be sent.
const COLLECTED_BYTES_MAX: usize = 64 * 1_024;

/// How much room a connection keeps when it has nothing to send.
pub(super) const IDLE_BYTES_MAX: usize = 8 * 1_024;

/// The client of one connection, shared by the layers above and below hyper.
///
/// A cell is never borrowed across a call to anything outside of this module.
#[derive(Debug)]
pub(super) struct Peer {
    stream: RefCell<TcpStream>,
    /// What was collected and not sent yet.
    collected: RefCell<Collected>,
    /// Whether anything came at all.
    has_spoken: Cell<bool>,
    /// What came, from the head that is to be checked next on.
    heard: RefCell<Heard>,
    awaits_body: Cell<bool>,
    body_is_late: Cell<bool>,
    awaits_reader: Cell<bool>,
    written: Cell<u64>,
    lingers: Cell<bool>,
    closing: Cell<bool>,
    /// Whether everything was said to the client.
    has_shut: Cell<bool>,
}

#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    /// How many of them have been sent.
    sent: usize,
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
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream: RefCell::new(stream),
            collected: RefCell::default(),
            has_spoken: Cell::new(false),
            heard: RefCell::default(),
            awaits_body: Cell::new(false),
            body_is_late: Cell::new(false),
            awaits_reader: Cell::new(false),
            written: Cell::new(0),
            lingers: Cell::new(false),
            closing: Cell::new(false),
            has_shut: Cell::new(false),
        }
    }

    /// Sends what was collected.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut collected = self.collected.borrow_mut();
        let mut stream = self.stream.borrow_mut();
        while collected.sent < collected.bytes.len() {
            let rest = &collected.bytes[collected.sent..];
            let sent = Pin::new(&mut *stream).poll_write(cx, rest);
            self.awaits_reader.set(sent.is_pending());
            let count = ready!(sent)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            collected.sent += count;
            self.written.set(self.written.get() + count as u64);
        }
        collected.sent = 0;
        collected.bytes.clear();
        // A connection that was sent a long list does not keep the room for it.
        collected.bytes.shrink_to(IDLE_BYTES_MAX);
        Poll::Ready(Ok(()))
    }

    /// Takes notice of a request, and refuses it for what hyper does not show: two lengths, of
    /// which it shows one, and lines that others would not end where it does. To be called for
    /// every request, in the order they came.
    pub(super) fn check_head(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let coded = headers.contains_key(TRANSFER_ENCODING);
        let body = if coded { Skip::ChunkSize(0) } else { Skip::of(head::content_length(headers)) };
        let look = |head: &[u8]| (coded && has_both_lengths(head), has_bare_line_feed(head));
        let seen = self.heard.borrow_mut().take_head(body, look);
        match seen {
            Some((true, _)) => Err(head::both_lengths()),
            Some((false, true)) => Err(head::bare_line_feed()),
            Some((false, false)) => Ok(()),
            // What was not kept cannot be told apart: better refused.
            None if coded => Err(head::both_lengths()),
            None => Err(head::bare_line_feed()),
        }
    }

    pub(super) fn await_body(&self) -> AwaitedBody<'_> {
        self.awaits_body.set(true);
        AwaitedBody(self)
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

    /// Ready once anything came. Looked at whenever the connection is, so nobody needs to be woken.
    pub(super) async fn has_spoken(&self) {
        std::future::poll_fn(|_| match self.has_spoken.get() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Whether some of a head came, but not enough to answer it.
    pub(super) fn has_begun_head(&self) -> bool {
        !self.heard.borrow().head().is_empty()
    }

    /// Whether the head that was refused is how a client of HTTP/2 begins.
    pub(super) fn has_asked_for_http2(&self) -> bool {
        !self.has_shut.get() && self.heard.borrow().head().starts_with(b"PRI * HTTP/2.0\r\n")
    }

    /// Whether the head that was refused announces more of a body than hyper can count.
    pub(super) fn has_endless_body(&self) -> bool {
        is_endless(self.heard.borrow().head())
    }

    /// Whether something was collected that has not been sent.
    pub(super) fn has_unsent(&self) -> bool {
        let collected = self.collected.borrow();
        collected.sent < collected.bytes.len()
    }

    /// Whether what came cannot be told apart any more, as a body has no end that all would see.
    pub(super) fn has_lost_track(&self) -> bool {
        self.heard.borrow().has_lost_track()
    }

    /// Sends `answer` after what was collected, and lets the client finish.
    pub(super) async fn say_last(self: &Rc<Self>, answer: Vec<u8>) -> io::Result<()> {
        self.collected.borrow_mut().bytes.extend_from_slice(&answer);
        self.linger();
        // It writes nothing that could be taken for hyper's.
        let mut wire = Wire::new(Rc::clone(self), Rc::new(|_| Vec::new()));
        wire.shutdown().await
    }

    fn hear(&self, bytes: &[u8]) {
        self.has_spoken.set(true);
        self.heard.borrow_mut().hear(bytes);
    }
}

/// What stands in for one of hyper's bare answers, as bytes to be sent.
pub(super) type Substitute = Rc<dyn Fn(StatusCode) -> Vec<u8>>;

/// A client's socket, seen by hyper.
pub(super) struct Wire {
    peer: Rc<Peer>,
    substitute: Substitute,
    /// How much was thrown away while lingering.
    discarded: usize,
}

impl Wire {
    pub(super) fn new(peer: Rc<Peer>, substitute: Substitute) -> Self {
        Self { peer, substitute, discarded: 0 }
    }

    /// Collects, as soon as there is room.
    fn poll_collect(
        &self,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.peer.collected.borrow().bytes.len() >= COLLECTED_BYTES_MAX {
            ready!(self.peer.poll_send(cx))?;
        }
        // Heads come first: a bare answer can only be at the end of what begins a write, even where
        // hyper still holds the body of the answer before it.
        let first = parts.first().map_or(&[][..], |part| part);
        let bare = bare_answer(first);
        let mut collected = self.peer.collected.borrow_mut();
        let bytes = &mut collected.bytes;
        bytes.extend_from_slice(bare.map_or(first, |(start, _)| &first[..start]));
        for part in parts.iter().skip(1) {
            bytes.extend_from_slice(part);
        }
        if let Some((_, status)) = bare {
            bytes.extend_from_slice(&(self.substitute)(status));
            self.peer.linger();
        }
        Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
    }
}

/// Where in `bytes` a bare answer of hyper's begins, if they end with one.
///
/// It begins where an answer can: with the bytes, or after an empty line. It has no header but
/// those below, while every answer of ours has a request identifier; and a body of ours (JSON or
/// lines of text) has no carriage return. Lines are looked at from the last one up, so that an answer
/// of ours is known by its second or third.
fn bare_answer(bytes: &[u8]) -> Option<(usize, StatusCode)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut rest = bytes.strip_suffix(END)?;
    loop {
        let start = memrchr(b'\n', rest).map_or(0, |line_feed| line_feed + 1);
        let (before, line) = rest.split_at(start);
        if is_bare_header(line) {
            rest = before.strip_suffix(b"\r\n")?;
            continue;
        }
        let status = bare_status(std::str::from_utf8(line).ok()?)?;
        return (before.is_empty() || before.ends_with(END)).then_some((start, status));
    }
}

fn is_bare_header(line: &[u8]) -> bool {
    line == b"content-length: 0" || line.starts_with(b"connection: ") || line.starts_with(b"date: ")
}

/// The status of a refusal's first line, `HTTP/1.1 400 Bad Request`.
fn bare_status(line: &str) -> Option<StatusCode> {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let (code, reason) = rest.split_once(' ')?;
    let status = StatusCode::from_bytes(code.as_bytes()).ok()?;
    (status.is_client_error() && status.canonical_reason() == Some(reason)).then_some(status)
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let mut stream = self.peer.stream.borrow_mut();
        ready!(Pin::new(&mut *stream).poll_read(cx, buffer))?;
        self.peer.hear(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_collect(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_collect(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Sending is left to the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.peer.has_shut.get() {
            ready!(self.peer.poll_send(cx))?;
            let mut stream = self.peer.stream.borrow_mut();
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            drop(stream);
            self.peer.has_shut.set(true);
        }
        if !self.peer.lingers.get() {
            return Poll::Ready(Ok(()));
        }
        self.peer.closing.set(true);
        let mut waste = [0; 4_096];
        while self.discarded < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut waste);
            let mut stream = self.peer.stream.borrow_mut();
            let read = Pin::new(&mut *stream).poll_read(cx, &mut buffer);
            drop(stream);
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
        assert_eq!(bare_answer(&both), None, "a body stands in a part of its own");
        let after_head = [b"HTTP/1.1 204 No Content\r\nx-request-id: 1\r\n\r\n", BARE].concat();
        let start = after_head.len() - BARE.len();
        assert_eq!(bare_answer(&after_head), Some((start, StatusCode::BAD_REQUEST)));
    }

    #[test]
    fn answers_of_ours_are_left_alone() {
        for ours in [
            &b"HTTP/1.1 404 Not Found\r\nx-request-id: 1\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nx-request-id: 1\r\ncontent-length: 2\r\n\r\n{}",
            b"{\"a\":\"HTTP/1.1 400 \\r\\n\\r\\n\"}",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nx-request-id: HTTP/1.1-400\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\nx-request-id: HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            b"x HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Fine\r\ncontent-length: 0\r\n\r\n",
            b"0\r\n\r\n",
            b"",
        ] {
            assert_eq!(bare_answer(ours), None);
        }
    }
}
