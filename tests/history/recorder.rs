//! A client that records: every request with what became of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::answers;
use super::history::{Answer, Moment, Operation, Outcome, Said, Silence};
use super::requests::Request;
use super::stopwatch::Stopwatch;
use super::wire::{Connection, Letter, NoLetter, PATIENCE};
use super::world::World;

/// A client.
#[derive(Debug)]
pub(crate) struct Recorder {
    world: Arc<World>,
    stopwatch: Stopwatch,
    address: String,
    /// Kept from one request to the next.
    connection: Option<Connection>,
    operations: Vec<Operation>,
    /// Nobody listens any more.
    is_gone: bool,
}

impl Recorder {
    pub(crate) fn new(world: &Arc<World>, stopwatch: Stopwatch) -> Self {
        Self {
            world: Arc::clone(world),
            stopwatch,
            address: String::new(),
            connection: None,
            operations: Vec::new(),
            is_gone: true,
        }
    }

    /// Goes to a server that was started at this address.
    pub(crate) fn go_to(&mut self, address: &str) {
        self.address = address.to_owned();
        (self.connection, self.is_gone) = (None, false);
    }

    /// Whether the server is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    pub(crate) fn now(&self) -> Moment {
        self.stopwatch.now()
    }

    /// What was recorded since the last time.
    pub(crate) fn take_operations(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.operations)
    }

    /// Sends all requests at once and reads their answers in order. Returns what became of them;
    /// nothing if the server is gone.
    pub(crate) fn ask(&mut self, requests: &[Request]) -> &[Operation] {
        let Some(mut connection) = self.take_connection() else {
            return &[];
        };
        let bytes: Vec<u8> = requests.iter().flat_map(|r| r.bytes.iter().copied()).collect();
        let begun = self.now();
        connection.send(&bytes);
        let before = self.operations.len();
        let mut is_open = true;
        for request in requests {
            let received =
                if is_open { connection.receive(PATIENCE) } else { Err(NoLetter::Closed) };
            is_open = received.is_ok();
            let lost = Silence::Lost(self.now());
            self.record(request, begun, received, lost);
        }
        if is_open {
            self.connection = Some(connection);
        }
        &self.operations[before..]
    }

    /// Sends the same request on two connections before it reads an answer. Only one of them is
    /// kept: another one, which is seldom used, the server would close in between.
    pub(crate) fn ask_twice(&mut self, request: &Request) -> &[Operation] {
        let before = self.operations.len();
        let lines = [(); 2].map(|()| {
            let mut connection = self.take_connection()?;
            let begun = self.now();
            connection.send(&request.bytes);
            Some((connection, begun))
        });
        for (mut connection, begun) in lines.into_iter().flatten() {
            let received = connection.receive(PATIENCE);
            let is_open = received.is_ok();
            let lost = Silence::Lost(self.now());
            self.record(request, begun, received, lost);
            if is_open {
                self.connection = Some(connection);
            }
        }
        &self.operations[before..]
    }

    /// Waits for the answer only so long, and then closes the connection.
    pub(crate) fn ask_impatiently(
        &mut self,
        request: &Request,
        patience: Duration,
    ) -> &[Operation] {
        let Some(mut connection) = self.take_connection() else {
            return &[];
        };
        let begun = self.now();
        connection.send(&request.bytes);
        let received = connection.receive(patience);
        if received.is_ok() {
            self.connection = Some(connection);
        }
        self.record(request, begun, received, Silence::Impatient);
        self.operations.last().map(std::slice::from_ref).unwrap_or_default()
    }

    /// Closes the connection as soon as the request is sent.
    pub(crate) fn hang_up(&mut self, request: &Request) {
        if let Some(mut connection) = self.take_connection() {
            let begun = self.now();
            connection.send(&request.bytes);
            self.record(request, begun, Err(NoLetter::Late), Silence::HungUp);
        }
    }

    /// Closes the connection when a part of the request is sent.
    pub(crate) fn send_half(&mut self, request: &Request) {
        if let Some(mut connection) = self.take_connection() {
            let begun = self.now();
            connection.send(&request.bytes[..request.bytes.len() - 1]);
            self.push(Operation {
                begun,
                asked: request.asked.clone(),
                key: request.key,
                outcome: Outcome::NotSent,
            });
        }
    }

    /// The connection, made anew if there is none; `None` if nobody listens.
    fn take_connection(&mut self) -> Option<Connection> {
        let connection = self.connection.take().or_else(|| Connection::open(&self.address));
        self.is_gone = connection.is_none();
        connection
    }

    fn record(
        &mut self,
        request: &Request,
        begun: Moment,
        received: Result<Letter, NoLetter>,
        late: Silence,
    ) {
        let outcome = match received {
            Ok(letter) => self.outcome(request, &letter),
            Err(NoLetter::Late) => Outcome::Unknown(late),
            Err(NoLetter::Closed) => Outcome::Unknown(Silence::Lost(self.now())),
        };
        self.push(Operation { begun, asked: request.asked.clone(), key: request.key, outcome });
    }

    fn outcome(&self, request: &Request, letter: &Letter) -> Outcome {
        let at = self.now();
        let said = answers::read(&request.asked, letter);
        match (said, letter.position) {
            (None, _) => Outcome::Unknown(Silence::NotStored),
            (Some(said), Some(position)) => {
                let replayed = letter.replayed;
                Outcome::Answered(Answer { at, position, replayed, said })
            }
            (Some(said), None) => {
                let said = Said::Strange(format!("no X-Log-Position: {said:?}").into());
                Outcome::Answered(Answer { at, position: 0, replayed: false, said })
            }
        }
    }

    fn push(&mut self, operation: Operation) {
        self.world.recorded.fetch_add(1, Ordering::Relaxed);
        self.operations.push(operation);
    }
}
