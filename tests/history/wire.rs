//! A connection that is kept, takes several requests at once and reads their answers in order.
//!
//! It does as little as an HTTP client can, so that on a small machine most of the work is the
//! server's.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What a client is ready to wait for an answer unless it is in a hurry.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
    patience: Duration,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) status: u16,
    /// `X-Log-Position`.
    pub(crate) position: Option<u64>,
    /// `Idempotent-Replayed: true`.
    pub(crate) replayed: bool,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoLetter {
    /// Time was up.
    Late,
    /// The connection ended.
    Closed,
}

/// The head of an answer.
#[derive(Debug)]
struct Head {
    letter: Letter,
    /// `None` if the body comes in chunks.
    length: Option<usize>,
}

impl Connection {
    /// A connection, unless nobody listens.
    pub(crate) fn open(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(Self { stream, inbox: Vec::new(), patience: PATIENCE })
    }

    /// Sends bytes. That the server has gone is for the reader to find out.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _gone = self.stream.write_all(bytes);
    }

    /// The next answer.
    pub(crate) fn receive(&mut self, patience: Duration) -> Result<Letter, NoLetter> {
        if patience != self.patience {
            let set = self.stream.set_read_timeout(Some(patience));
            set.map_err(|_gone| NoLetter::Closed)?;
            self.patience = patience;
        }
        let head_end = loop {
            match self.inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(place) => break place + 4,
                None => self.fill()?,
            }
        };
        let Head { mut letter, length } = read_head(&self.inbox[..head_end]);
        self.inbox.drain(..head_end);
        letter.body = match length {
            Some(length) => self.take(length)?,
            None => self.chunks()?,
        };
        Ok(letter)
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, NoLetter> {
        while self.inbox.len() < length {
            self.fill()?;
        }
        let rest = self.inbox.split_off(length);
        Ok(std::mem::replace(&mut self.inbox, rest))
    }

    fn chunks(&mut self) -> Result<Vec<u8>, NoLetter> {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                match self.inbox.windows(2).position(|bytes| bytes == b"\r\n") {
                    Some(place) => break place + 2,
                    None => self.fill()?,
                }
            };
            let line = self.take(line_end)?;
            let size = std::str::from_utf8(&line).ok();
            let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.expect("a chunk begins with its size");
            let chunk = self.take(size + 2)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn fill(&mut self) -> Result<(), NoLetter> {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(NoLetter::Closed),
            Ok(count) => {
                self.inbox.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(NoLetter::Late)
            }
            Err(_) => Err(NoLetter::Closed),
        }
    }
}

fn read_head(head: &[u8]) -> Head {
    let text = std::str::from_utf8(head).expect("heads are ASCII");
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
    let status = status.unwrap_or_else(|| panic!("not a status line: {text:?}"));
    let mut letter = Letter { status, position: None, replayed: false, body: Vec::new() };
    let mut length = (status == 204).then_some(0);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok();
        } else if name.eq_ignore_ascii_case("x-log-position") {
            letter.position = value.parse().ok();
        } else if name.eq_ignore_ascii_case("idempotent-replayed") {
            letter.replayed = value == "true";
        }
    }
    Head { letter, length }
}

#[test]
fn a_head_is_read() {
    let head = b"HTTP/1.1 409 Conflict\r\ncontent-length: 12\r\nX-Log-Position: 4448\r\n\
                 Idempotent-Replayed: true\r\n\r\n";
    let Head { letter, length } = read_head(head);
    assert_eq!((letter.status, letter.position, letter.replayed), (409, Some(4_448), true));
    assert_eq!(length, Some(12));
    let chunked = read_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!((chunked.letter.status, chunked.length), (200, None));
}
