//! The server: threads, listeners, and the way down.
//!
//! Every thread is a current-thread runtime with a listener of its own on the same port
//! (`SO_REUSEPORT`), so the kernel spreads connections and nothing is shared between threads on the
//! way from socket to engine. Closing such a listener resets what it has not accepted, so on the way
//! down each accepts until nothing is left, and only then closes.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, LocalSet};

use super::connection::{self, Place, Stop};
use super::durability::Waiters;
use super::exchange::Runtime;
use super::{HttpOptions, Shared};

/// How many connections the kernel keeps for a listener that has not accepted them yet.
const BACKLOG: i32 = 1_024;
/// How much of its answers the kernel keeps for one connection (it takes twice this, for its own
/// bookkeeping). By itself it would grow that to megabytes, and a slow reader would seem to stand
/// still while it empties them.
const SEND_BUFFER_BYTES: usize = 128 * 1_024;
/// How many clients too many one thread turns away at the same time; any more are just closed.
pub(super) const TURNED_AWAY_MAX: usize = 64;
/// How long a thread that cannot accept (out of file descriptors) waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server that listens but does not answer yet.
#[derive(Debug)]
pub struct Server {
    options: Arc<HttpOptions>,
    listeners: Vec<StdListener>,
    address: SocketAddr,
}

impl Server {
    /// Listens.
    pub fn bind(options: HttpOptions) -> io::Result<Self> {
        let runtimes = options.runtimes.max(1);
        let wanted = SocketAddr::new(options.host, options.port);
        // A shared port would be shared with another server too, silently: see whether it is free.
        if runtimes > 1 && options.port != 0 {
            drop(listen(wanted, Sharing::Alone)?);
        }
        let sharing = match runtimes {
            1 => Sharing::Alone,
            _ => Sharing::Shared,
        };
        let first = listen(wanted, sharing)?;
        let address = first.local_addr()?;
        let mut listeners = vec![first];
        for _ in 1..runtimes {
            listeners.push(listen(address, sharing)?);
        }
        Ok(Self { options: Arc::new(options), listeners, address })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer, on threads of its own.
    ///
    /// # Panics
    ///
    /// If `shared` already belongs to a server.
    pub fn start(self, shared: Arc<Shared>) -> io::Result<Running> {
        let bells: Vec<Arc<Notify>> = self.listeners.iter().map(|_| Arc::default()).collect();
        shared.bells.hang(bells.clone().into());
        let (stop, stopping) = watch::channel(None);
        let mut threads = Vec::with_capacity(bells.len());
        for (number, (listener, bell)) in self.listeners.into_iter().zip(bells).enumerate() {
            let worker = Worker {
                shared: Arc::clone(&shared),
                options: Arc::clone(&self.options),
                listener,
                bell,
                stopping: stopping.clone(),
            };
            let thread = thread::Builder::new()
                .name(format!("http-{number}"))
                .spawn(move || worker.run())?;
            threads.push(thread);
        }
        Ok(Running { address: self.address, shared, stop, threads })
    }
}

/// Whether other listeners may have the same port.
#[derive(Clone, Copy)]
enum Sharing {
    Alone,
    Shared,
}

fn listen(address: SocketAddr, sharing: Sharing) -> io::Result<StdListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server before this one may linger in the kernel.
    socket.set_reuse_address(true)?;
    match sharing {
        Sharing::Alone => {}
        Sharing::Shared => socket.set_reuse_port(true)?,
    }
    socket.set_nonblocking(true)?;
    // Inherited by every connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A server that answers.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Once set: how long what is in flight may take.
    stop: watch::Sender<Option<Duration>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops: takes what has been connected so far, answers what is in flight, closes everything.
    /// What has not ended after `timeout` is cut off. An error is one of a runtime thread.
    pub fn drain(self, timeout: Duration) -> io::Result<()> {
        self.shared.announce_drain();
        self.stop.send_replace(Some(timeout));
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread.join();
            result = result.and(
                ended.unwrap_or_else(|_| Err(io::Error::other("an HTTP thread has panicked"))),
            );
        }
        result
    }
}

/// What one thread is given.
struct Worker {
    shared: Arc<Shared>,
    options: Arc<HttpOptions>,
    listener: StdListener,
    bell: Arc<Notify>,
    stopping: watch::Receiver<Option<Duration>>,
}

impl Worker {
    fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.serve())
    }

    async fn serve(self) -> io::Result<()> {
        let Self { shared, options, listener, bell, mut stopping } = self;
        let listener = TcpListener::from_std(listener)?;
        let waiters = Rc::new(Waiters::default());
        let ask = {
            let (shared, waiters) = (Arc::clone(&shared), Rc::clone(&waiters));
            tokio::task::spawn_local(async move { waiters.ask(&shared).await })
        };
        let release = {
            let (shared, waiters) = (Arc::clone(&shared), Rc::clone(&waiters));
            let patience = options.request_timeout;
            tokio::task::spawn_local(async move { waiters.run(&shared, &bell, patience).await })
        };
        let mut clients = Clients {
            http: Rc::new(connection::protocol(options.request_timeout)),
            runtime: Rc::new(Runtime {
                recorder: shared.stats.recorder(),
                shared,
                options,
                waiters,
                id_prefix: rand::random(),
                ids_made: Cell::new(0),
            }),
            stop: Rc::default(),
            served: JoinSet::new(),
            turned_away: JoinSet::new(),
        };
        let timeout = clients.accept_until(&listener, &mut stopping).await;
        clients.accept_rest(listener)?;
        clients.stop.stop();
        let ended = async { while clients.served.join_next().await.is_some() {} };
        if tokio::time::timeout(timeout, ended).await.is_err() {
            let cut_off = clients.served.len();
            tracing::warn!(cut_off, "connections did not end in time");
        }
        release.abort();
        ask.abort();
        Ok(())
    }
}

/// The clients of one thread.
struct Clients {
    runtime: Rc<Runtime>,
    http: Rc<http1::Builder>,
    stop: Rc<Stop>,
    served: JoinSet<()>,
    turned_away: JoinSet<()>,
}

impl Clients {
    /// Takes connections until told to stop; says how long the rest may take.
    async fn accept_until(
        &mut self,
        listener: &TcpListener,
        stopping: &mut watch::Receiver<Option<Duration>>,
    ) -> Duration {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                stop = stopping.wait_for(Option::is_some) => {
                    // Without its handle a server cannot be waited for: stop at once.
                    return stop.ok().and_then(|timeout| *timeout).unwrap_or_default();
                }
            };
            match accepted {
                Ok((stream, _)) => self.take(stream),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes what the kernel has connected and nobody has accepted yet, and closes the listener.
    /// No more than can have waited, since others may go on connecting.
    fn accept_rest(&mut self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        for _ in 0..BACKLOG {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    self.take(TcpStream::from_std(stream)?);
                }
                Err(error) if is_of_one_connection(&error) => {}
                // Nothing is left; or nothing can be had.
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, stream: TcpStream) {
        // What has ended since the last time is forgotten.
        while self.served.try_join_next().is_some() {}
        while self.turned_away.try_join_next().is_some() {}
        let runtime = Rc::clone(&self.runtime);
        let max = runtime.options.max_connections;
        if let Some(place) = Place::take(&runtime.shared, max) {
            let (http, stop) = (Rc::clone(&self.http), Rc::clone(&self.stop));
            self.served.spawn_local(async move {
                connection::serve(runtime, http, stream, stop).await;
                drop(place);
            });
        } else if self.turned_away.len() < TURNED_AWAY_MAX {
            self.turned_away.spawn_local(connection::turn_away(runtime, stream));
        }
    }
}

/// Whether an accept failed for the connection that it would have returned, and for no other.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream as StdStream};

    use socket2::SockRef;

    use super::*;

    #[test]
    fn connections_inherit_a_bounded_send_buffer() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), Sharing::Alone).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let bytes = SockRef::from(&stream).send_buffer_size().unwrap();
        assert!((SEND_BUFFER_BYTES..=2 * SEND_BUFFER_BYTES).contains(&bytes), "{bytes}");
    }
}
