//! The front end of a comparison: hyper before nothing, before PostgreSQL or before Redis.
//!
//! **Invariant:** it answers a hold after its backend has, and as booking-manager does: the same
//! members, the same headers. What differs between contenders is what is behind it, and nothing else.
//!
//! It has booking-manager's shape (single-threaded runtimes, as many as that has by default, each with
//! a listener and connections of its own), and is a process of its own, so that its CPU time is not
//! the generator's. Of the API there is only what the generator needs ([`routes`]).

mod bodies;
mod ids;
pub(super) mod postgres;
pub(super) mod redis;
mod routes;
mod shows;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use anyhow::{Context as _, anyhow};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::load::arguments::{Backend, Front};

/// Connections that the kernel keeps for a listener until they are accepted.
const BACKLOG: i32 = 1_024;

/// What is behind one runtime of the front end.
#[derive(Debug)]
enum Behind {
    Nothing,
    Postgres(postgres::Pool),
    Redis(redis::Link),
}

impl Behind {
    /// Connects.
    async fn connect(front: &Front) -> anyhow::Result<Self> {
        Ok(match front.backend {
            Backend::Noop => Self::Nothing,
            Backend::PostgresForUpdate | Backend::PostgresOneStatement => {
                Self::Postgres(postgres::Pool::connect(socket(front)?, front.backend).await?)
            }
            Backend::Redis => Self::Redis(redis::Link::connect(socket(front)?).await?),
        })
    }
}

fn socket(front: &Front) -> anyhow::Result<&Path> {
    front.socket.as_deref().context("--socket is missing")
}

/// Serves until it is ended; says its port on standard output once it can answer.
pub(super) fn serve(front: &Front) -> anyhow::Result<()> {
    if let Backend::PostgresForUpdate | Backend::PostgresOneStatement = front.backend {
        runtime()?.block_on(postgres::make_tables(socket(front)?))?;
    }
    let first = listener(0)?;
    let port = first.local_addr()?.port();
    let (ready, connected) = mpsc::channel();
    let shows = Arc::new(shows::Shows::default());
    let mut threads = Vec::new();
    for number in 0..runtimes() {
        let listener = if number == 0 { first.try_clone()? } else { listener(port)? };
        let (front, shows, ready) = (front.clone(), Arc::clone(&shows), ready.clone());
        threads.push(thread::spawn(move || work(&front, listener, shows, &ready)));
    }
    drop((first, ready));
    for _ in &threads {
        connected.recv().context("a runtime did not start")?;
    }
    let mut stdout = io::stdout();
    writeln!(stdout, "{port}").and_then(|()| stdout.flush()).context("nobody asks for the port")?;
    for thread in threads {
        thread.join().map_err(|_panic| anyhow!("a runtime panicked"))??;
    }
    Ok(())
}

/// One per core but one, and at least one: how many runtimes there are.
fn runtimes() -> usize {
    static RUNTIMES: OnceLock<usize> = OnceLock::new();
    *RUNTIMES.get_or_init(|| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        cores.saturating_sub(1).max(1)
    })
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("no runtime")
}

/// A listener that shares its port with those of the other runtimes.
fn listener(port: u16) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One runtime: connects to what is behind it, then accepts for ever.
fn work(
    front: &Front,
    listener: TcpListener,
    shows: Arc<shows::Shows>,
    ready: &Sender<()>,
) -> anyhow::Result<()> {
    let runtime = runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let behind = Behind::connect(front).await?;
        let desk = Rc::new(routes::Desk::new(behind, shows));
        let listener = tokio::net::TcpListener::from_std(listener)?;
        // Whoever waits for it has gone if another runtime did not start.
        let _ = ready.send(());
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            // Without it answers are late, and nothing else is wrong.
            let _ = stream.set_nodelay(true);
            let desk = Rc::clone(&desk);
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .pipeline_flush(true)
                .serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| routes::answer(Rc::clone(&desk), request)),
                );
            tokio::task::spawn_local(connection);
        }
    })
}
