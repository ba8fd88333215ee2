//! A bare connection, for what no proper client sends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{SockFilter, SockRef};

use super::time::now;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection of one's own.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct RawReply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl RawReply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Fails the test unless this is a problem with this status and code.
    #[track_caller]
    pub(crate) fn expect_refusal(&self, status: u16, code: &str) {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "another status: {body}");
        let kind = self.header("content-type").unwrap_or_default();
        assert!(
            kind.starts_with("application/problem+json"),
            "a refusal by the transport must be application/problem+json, not {kind:?}: {body}"
        );
        assert_eq!(self.json()["code"], code, "another code: {body}");
    }
}

impl Raw {
    pub(crate) fn connect(address: &str) -> Self {
        Self::try_connect(address).expect("the server listens")
    }

    /// A connection, unless nobody listens.
    pub(crate) fn try_connect(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.set_write_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        Some(Self { stream, unread: Vec::new() })
    }

    /// Waits until an answer has begun to come.
    #[track_caller]
    pub(crate) fn wait_for_first_byte(&mut self) {
        assert!(self.fill(), "the connection was closed without an answer");
    }

    /// Sends bytes; that the server has closed meanwhile is for the reader to find out.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _closed_meanwhile = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Sends a GET that keeps the connection.
    pub(crate) fn get(&mut self, path: &str) -> &mut Self {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        let _closed_meanwhile = self.stream.shutdown(Shutdown::Write);
    }

    /// Has the kernel keep little of what was not read, if nothing was sent yet.
    pub(crate) fn keep_little_unread(&self) {
        SockRef::from(&self.stream).set_recv_buffer_size(64 * 1_024).expect("not too small");
    }

    /// Waits for some more of an answer; how much of it has come and was not taken.
    #[track_caller]
    pub(crate) fn read_some(&mut self) -> usize {
        assert!(self.fill(), "the answer broke off");
        self.unread.len()
    }

    /// From now on nothing of what the server sends arrives, and nothing tells it so: no
    /// acknowledgement, no reset, and no end as long as this lives (nor later, if anything was
    /// sent in between: the end would have to wait for its acknowledgement). Such is a client
    /// whose machine lost its power.
    pub(crate) fn vanish(&self) {
        // The whole filter: keep 0 bytes of a segment, which is to drop it.
        const RETURN_CONSTANT: u16 = 0x06;
        let drop_all = [SockFilter::new(RETURN_CONSTANT, 0, 0, 0)];
        SockRef::from(&self.stream).attach_filter(&drop_all).expect("anybody may filter");
    }

    /// The next answer; `None` if the connection ends before its first byte. One that breaks off
    /// in the middle fails the test.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Option<RawReply> {
        let head_end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                let rest = String::from_utf8_lossy(&self.unread).into_owned();
                assert!(rest.is_empty(), "the answer broke off in its head: {rest}");
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..head_end).collect();
        let (status, headers) = parse_head(&String::from_utf8_lossy(&head));
        let mut reply = RawReply { status, headers, body: Vec::new() };
        reply.body = self.body_of(&reply);
        Some(reply)
    }

    /// The next answer, which must come.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> RawReply {
        self.read().unwrap_or_else(|| panic!("the connection was closed without an answer"))
    }

    /// All answers until the server closes the connection, which it must.
    #[track_caller]
    pub(crate) fn replies_until_closed(&mut self) -> Vec<RawReply> {
        std::iter::from_fn(|| self.read()).collect()
    }

    /// All answers up to that to a request which is sent now, and which the server must answer.
    #[track_caller]
    pub(crate) fn replies_while_open(&mut self) -> Vec<RawReply> {
        const LAST: &str = "the-last-of-all";
        self.send(format!("GET /livez HTTP/1.1\r\nHost: test\r\nX-Request-Id: {LAST}\r\n\r\n"));
        let mut replies = Vec::new();
        loop {
            let reply = self.reply();
            if reply.header("x-request-id") == Some(LAST) {
                return replies;
            }
            replies.push(reply);
        }
    }

    /// Whether the server closes the connection within `limit`, whatever it says before.
    pub(crate) fn is_closed_within(&mut self, limit: Duration) -> bool {
        let start = now();
        let mut buffer = [0; 4096];
        while start.elapsed() < limit {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                Err(error) if is_timeout(&error) => {}
                Err(_) => return true,
            }
        }
        false
    }

    #[track_caller]
    fn body_of(&mut self, reply: &RawReply) -> Vec<u8> {
        if reply.status / 100 == 1 || reply.status == 204 {
            return Vec::new();
        }
        if let Some(length) = reply.header("content-length") {
            return self.take(length.parse().expect("Content-Length is a number"));
        }
        let mut body = Vec::new();
        if reply.header("transfer-encoding").is_some() {
            loop {
                let line = self.take_line();
                let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
                body.extend(self.take(size));
                self.take_line();
                if size == 0 {
                    return body;
                }
            }
        }
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }

    #[track_caller]
    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.fill(), "the answer broke off in its body");
        }
        self.unread.drain(..count).collect()
    }

    #[track_caller]
    fn take_line(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.unread, b"\r\n") {
                let line = self.take(at + 2);
                return String::from_utf8_lossy(&line).into_owned();
            }
            assert!(self.fill(), "the answer broke off in a chunk");
        }
    }

    /// Reads some more; false at the end of the connection.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let start = now();
        let mut buffer = [0; 65_536];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    return true;
                }
                Err(error) if is_timeout(&error) => {
                    assert!(start.elapsed() < ANSWER_TIMEOUT, "no answer in time");
                }
                Err(_) => return false,
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

#[track_caller]
fn parse_head(head: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = head.lines();
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|digits| digits.parse().ok());
    let status = status.unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    (status, headers)
}
