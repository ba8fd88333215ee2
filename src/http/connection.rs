//! One connection: hyper, watched.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::exchange::{self, Runtime};
use super::problem::{PROBLEM_JSON, Problem, RETRY_AFTER_SECONDS, Reason};
use super::wire::{Awaited, Peer, Wire};

/// The longest head accepted, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// How much hyper buffers for one connection: a whole head and the body of a usual request.
const BUFFER_BYTES_MAX: usize = 64 * 1_024;
/// How long a client may go on sending after it was told that nobody listens.
const LINGER: Duration = Duration::from_secs(1);
/// How much a client may go on sending for which there is no place.
const TURNED_AWAY_BYTES_MAX: u64 = 64 * 1_024;

/// How long, on the way down, a new client may take to say something.
const NEWCOMER_GRACE: Duration = Duration::from_millis(200);

const _: () = assert!(HEAD_BYTES_MAX <= BUFFER_BYTES_MAX, "a head fits");

/// One of the connections there may be; dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Place(Arc<super::Shared>);

impl Place {
    /// A place, unless there are `max` connections already.
    ///
    /// The count is one word and nothing else is read on the strength of it: relaxed is enough.
    pub(super) fn take(shared: &Arc<super::Shared>, max: usize) -> Option<Self> {
        let count: &AtomicUsize = &shared.connections;
        let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < max).then_some(open + 1)
        });
        if taken.is_err() {
            shared.stats.connection_refused();
            return None;
        }
        shared.stats.connection_opened();
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.stats.connection_closed();
    }
}

/// The word to all connections of a thread that each has answered enough.
#[derive(Debug, Default)]
pub(super) struct Stop {
    said: Cell<bool>,
    heard: Notify,
}

impl Stop {
    pub(super) fn stop(&self) {
        self.said.set(true);
        self.heard.notify_waiters();
    }

    async fn wait(&self) {
        // Created before the look, so a word in between is not missed.
        let heard = self.heard.notified();
        if !self.said.get() {
            heard.await;
        }
    }
}

/// How hyper serves every connection.
pub(super) fn protocol(request_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // Also ends idle connections.
        .header_read_timeout(request_timeout)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        // A client that has said all it has to say still wants its answer.
        .half_close(true);
    http
}

/// Serves one client until it leaves, or until `stop` and everything in flight is answered.
pub(super) async fn serve(
    runtime: Rc<Runtime>,
    http: Rc<http1::Builder>,
    stream: TcpStream,
    stop: Rc<Stop>,
) {
    let peer = Rc::new(Peer::new(stream));
    let substitute = {
        let (runtime, peer) = (Rc::clone(&runtime), Rc::clone(&peer));
        Rc::new(move |status| bare(&runtime, &reason_of(status, &peer)))
    };
    let mut watchdog = Watchdog::new(runtime.options.request_timeout);
    let wire = Wire::new(Rc::clone(&peer), substitute);
    let service = {
        let (runtime, peer) = (Rc::clone(&runtime), Rc::clone(&peer));
        service_fn(move |request| exchange::answer(Rc::clone(&runtime), Rc::clone(&peer), request))
    };
    let mut stopping = pin!(async {
        stop.wait().await;
        // hyper closes a connection that has not said anything yet at once.
        drop(timeout(NEWCOMER_GRACE, peer.has_spoken()).await);
    });
    let mut stopped = false;
    let mut connection = pin!(http.serve_connection(TokioIo::new(wire), service));
    let last_words = std::future::poll_fn(|cx| {
        loop {
            // What goes wrong on a connection is told to its client, where there still is one.
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                let untold = ended.err().and_then(|error| untold(&error, &peer));
                let untold = untold.map(|problem| bare(&runtime, &problem));
                // Where it was asked for another protocol, hyper leaves without closing.
                return Poll::Ready(untold.or(peer.has_unsent().then(Vec::new)));
            }
            if !stopped && stopping.as_mut().poll(cx).is_ready() {
                stopped = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            // A turn ends with sending what it wrote; what is left goes when there is room again.
            if let Poll::Ready(Err(_)) = peer.poll_send(cx) {
                return Poll::Ready(None);
            }
            match watchdog.poll(peer.awaited(), cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Awaited::Body) => peer.give_up_body(),
                Poll::Ready(Awaited::Nothing | Awaited::Reader(_) | Awaited::End) => {
                    return Poll::Ready(None);
                }
            }
        }
    })
    .await;
    if let Some(last_words) = last_words {
        let farewell = peer.say_last(last_words);
        // Whether it was told or not, it is gone.
        drop(timeout(LINGER, farewell).await);
    }
}

/// What is to be said about an error for which hyper closes a connection without a word.
fn untold(error: &hyper::Error, peer: &Peer) -> Option<Problem> {
    if error.is_timeout() && peer.has_begun_head() {
        return Some(Reason::RequestTimeout.because("The head did not arrive in time."));
    }
    // hyper tells every other bad head.
    let is_http2 = error.is_parse() && peer.has_asked_for_http2();
    is_http2.then(|| Reason::MalformedRequest.because("HTTP/2 is not spoken here, only HTTP/1."))
}

/// Times what a connection waits for from its client. As long as the client keeps up, which is
/// nearly always, no timer is ever set.
struct Watchdog {
    patience: Duration,
    awaited: Awaited,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    fn new(patience: Duration) -> Self {
        Self { patience, awaited: Awaited::Nothing, sleep: None }
    }

    /// Ready with what was waited for too long.
    fn poll(&mut self, awaited: Awaited, cx: &mut Context<'_>) -> Poll<Awaited> {
        if awaited == Awaited::Nothing {
            self.awaited = awaited;
            return Poll::Pending;
        }
        let patience = match awaited {
            Awaited::Nothing | Awaited::Body | Awaited::Reader(_) => self.patience,
            Awaited::End => LINGER,
        };
        let timer = self.sleep.get_or_insert_with(|| Box::pin(sleep(patience)));
        if self.awaited != awaited {
            self.awaited = awaited;
            timer.as_mut().reset(Instant::now() + patience);
        }
        timer.as_mut().poll(cx).map(|()| awaited)
    }
}

/// What hyper means by a bare answer.
fn reason_of(status: StatusCode, peer: &Peer) -> Problem {
    if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE && peer.has_endless_body() {
        Reason::BodyTooLarge.into()
    } else if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
        let detail = format!("A head may have {HEAD_BYTES_MAX} bytes and 100 fields.");
        Reason::HeadersTooLarge.because(detail)
    } else if status == StatusCode::URI_TOO_LONG {
        Reason::TargetTooLong.into()
    } else {
        Reason::MalformedRequest.because("The head of the request cannot be parsed.")
    }
}

/// A whole answer, for where there is no request that hyper would answer. It is the last one on its
/// connection.
fn bare(runtime: &Runtime, problem: &Problem) -> Vec<u8> {
    let id: HeaderValue = runtime.make_request_id();
    let id = id.to_str().unwrap_or_default();
    let status = problem.reason.status();
    tracing::debug!(request_id = id, code = problem.reason.code(), "refused");
    // No path is known: `*` stands for the server as a whole, as it does in OPTIONS.
    let body = problem.body("*", id);
    let mut answer = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n\
         connection: close\r\nx-request-id: {id}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.push_str(&format!("retry-after: {RETRY_AFTER_SECONDS}\r\n"));
    }
    if let Some(mark) = runtime.mark() {
        answer.push_str(&format!("x-log-position: {}\r\n", mark.get()));
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(&body);
    answer
}

/// Tells one client too many to come back later, with bounded effort.
pub(super) async fn turn_away(runtime: Rc<Runtime>, mut stream: TcpStream) {
    let answer = bare(&runtime, &Reason::TooManyConnections.into());
    let told = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        // Closing with something unread would reset the connection, and the answer with it.
        let mut rest = (&mut stream).take(TURNED_AWAY_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whether it was told or not, it is gone.
    drop(timeout(LINGER, told).await);
}
