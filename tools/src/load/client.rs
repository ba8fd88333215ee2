//! One blocking connection, for what is asked before and after the load.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::wire::{self, Answer, Pen};

/// How long one answer may take; a server that recovers or has a slow disk needs some.
const PATIENCE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 256 << 10;

/// A client that asks one thing at a time.
#[derive(Debug)]
pub(super) struct Client {
    target: SocketAddr,
    pen: Pen,
    stream: Option<TcpStream>,
    input: Vec<u8>,
}

/// An answer of its own.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// To look into it.
    pub(super) fn answer(&self) -> Answer<'_> {
        Answer { status: self.status, body: &self.body }
    }

    /// Fails unless it has this status.
    pub(super) fn expect(self, status: u16, what: &str) -> anyhow::Result<Self> {
        if self.status != status {
            bail!("{what} was answered {}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(self)
    }
}

impl Client {
    pub(super) fn new(target: SocketAddr, pen: Pen) -> Self {
        Self { target, pen, stream: None, input: Vec::new() }
    }

    /// `GET` of a target; its answer must be 200.
    pub(super) fn get(&mut self, target: &str) -> anyhow::Result<Reply> {
        self.ask_get(target)?.expect(200, &format!("GET {target}"))
    }

    /// `GET` of a target, whatever its answer is.
    pub(super) fn ask_get(&mut self, target: &str) -> anyhow::Result<Reply> {
        let mut request = Vec::new();
        self.pen.get(&mut request, |out| out.extend_from_slice(target.as_bytes()));
        self.ask(&request).with_context(|| format!("no answer to GET {target}"))
    }

    /// `POST` of a body, whatever its answer is.
    pub(super) fn ask_post(&mut self, path: &str, body: &str) -> anyhow::Result<Reply> {
        let mut request = Vec::new();
        self.pen.post(&mut request, path, body.as_bytes());
        self.ask(&request).with_context(|| format!("no answer to POST {path}"))
    }

    /// As [`Client::ask_post`], with an idempotency key.
    pub(super) fn ask_keyed(&mut self, path: &str, key: &str, body: &str) -> anyhow::Result<Reply> {
        let mut request = Vec::new();
        self.pen.post_keyed(&mut request, path, key, body.as_bytes());
        self.ask(&request).with_context(|| format!("no answer to POST {path}"))
    }

    fn ask(&mut self, request: &[u8]) -> anyhow::Result<Reply> {
        // A server closes what was idle for long; that is noticed by an end before the first byte,
        // and then nothing was done.
        let idle = self.stream.is_some();
        match self.exchange(request) {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) if idle => {
                self.stream = None;
                self.exchange(request)?.context("the connection was closed")
            }
            Ok(None) => bail!("the connection was closed"),
            Err(error) => {
                self.stream = None;
                Err(error)
            }
        }
    }

    /// `None`: the connection had ended before.
    fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Option<Reply>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(connect(self.target)?),
        };
        if stream.write_all(request).is_err() {
            return Ok(None);
        }
        self.input.clear();
        let mut head = None;
        loop {
            let filled = self.input.len();
            self.input.resize(filled + READ_BYTES, 0);
            let count = match stream.read(&mut self.input[filled..]) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset && filled == 0 => 0,
                other => other.context("the answer did not come")?,
            };
            self.input.truncate(filled + count);
            match count {
                0 if filled == 0 => return Ok(None),
                0 => bail!("the answer broke off"),
                _ => {}
            }
            if head.is_none() {
                head = wire::head(&self.input)?;
            }
            if let Some(head) = head
                && self.input.len() >= head.bytes()
            {
                if head.closes {
                    self.stream = None;
                }
                let answer = head.answer(&self.input);
                return Ok(Some(Reply { status: answer.status, body: answer.body.to_vec() }));
            }
        }
    }
}

fn connect(target: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE)
        .with_context(|| format!("cannot connect to {target}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
