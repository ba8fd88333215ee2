//! One keep-alive connection without blocking: at most one request is on its way at a time.
//!
//! It is registered with epoll once, edge-triggered and for everything, so that the only system calls
//! of a request are one send and one receive. A receive that does not fill the buffer has drained
//! the socket (epoll(7)), and is not repeated only to be told so.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};

use super::operation::Asked;
use super::wire::{self, Head};

const BUFFER_BYTES: usize = 16 << 10;

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// There is none; try again at this time.
    Down(Instant),
    /// On its way, since this time.
    Connecting(Instant),
    /// Nothing is asked.
    Idle,
    /// This was asked, and was due at this time.
    Busy(Asked, Instant),
}

/// A connection and its buffers.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Option<TcpStream>,
    pub(super) state: State,
    /// The request, of which `sent` bytes are sent.
    out: Vec<u8>,
    sent: usize,
    /// What was received, of which `filled` bytes are there.
    input: Vec<u8>,
    filled: usize,
    head: Option<Head>,
}

/// What came of looking at a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// Not enough yet.
    Some,
    /// A whole answer.
    Answer(Head),
}

impl Connection {
    /// None yet, to be made at once.
    pub(super) fn down(now: Instant) -> Self {
        Self {
            stream: None,
            state: State::Down(now),
            out: Vec::with_capacity(1 << 10),
            sent: 0,
            input: vec![0; BUFFER_BYTES],
            filled: 0,
            head: None,
        }
    }

    /// Begins to connect.
    pub(super) fn connect(
        &mut self,
        target: SocketAddr,
        now: Instant,
    ) -> io::Result<BorrowedFd<'_>> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&target.into()) {
            Ok(()) => {}
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        self.state = State::Connecting(now);
        let stream = self.stream.insert(TcpStream::from(socket));
        Ok(TcpStream::as_fd(stream))
    }

    /// Whether it is connected by now; an error if it cannot be.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Closes it, to be made anew at `again`. What was asked is lost.
    pub(super) fn close(&mut self, again: Instant) {
        self.stream = None;
        self.state = State::Down(again);
        self.out.clear();
        self.sent = 0;
        self.filled = 0;
        self.head = None;
    }

    /// Where the next request is to be written.
    pub(super) fn request(&mut self) -> &mut Vec<u8> {
        self.out.clear();
        self.sent = 0;
        &mut self.out
    }

    /// Sends what the socket takes of the request.
    pub(super) fn send(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        while self.sent < self.out.len() {
            match stream.write(&self.out[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether some of the request could not be sent yet.
    pub(super) const fn is_held_up(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Reads what there is. An end of the connection is an error; so is what nobody asked for.
    pub(super) fn receive(&mut self) -> io::Result<Received> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        loop {
            if self.filled == self.input.len() {
                self.input.resize(2 * self.filled, 0);
            }
            let room = self.input.len() - self.filled;
            match stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.filled += count;
                    if count < room {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.parse()
    }

    fn parse(&mut self) -> io::Result<Received> {
        if self.filled == 0 {
            return Ok(Received::Some);
        }
        if !matches!(self.state, State::Busy(..)) {
            return Err(io::Error::new(ErrorKind::InvalidData, "an answer to nothing"));
        }
        if self.head.is_none() {
            self.head = wire::head(&self.input[..self.filled]).map_err(io::Error::other)?;
        }
        match self.head {
            Some(head) if self.filled == head.bytes() => Ok(Received::Answer(head)),
            Some(head) if self.filled > head.bytes() => {
                Err(io::Error::new(ErrorKind::InvalidData, "more than the answer"))
            }
            _ => Ok(Received::Some),
        }
    }

    /// The bytes received so far.
    pub(super) fn received(&self) -> &[u8] {
        &self.input[..self.filled]
    }

    /// Forgets the answer that was read: the connection is idle.
    pub(super) fn done(&mut self) {
        self.filled = 0;
        self.head = None;
        self.state = State::Idle;
    }
}
