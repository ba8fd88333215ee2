//! Getting in: a connection whose settings are known, whatever the server's defaults are.
//!
//! A dead or hanging server is noticed: connecting has a limit, the kernel gives up on bytes that
//! nobody acknowledges, the server cancels what takes too long, and who waits for an answer does
//! so for [`ANSWER_LIMIT`] at most. A server that hangs as a whole, of which the kernel goes on to
//! acknowledge everything, is told from one that is busy by [`unless_silent`], and much sooner.

use std::io;
use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::config::SslMode as Negotiation;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{Fault, Obstacle, with_sources};
use super::target::{Secret, SslMode, Target};
use super::tls;

/// The oldest PostgreSQL that will do.
pub const SERVER_VERSION_MIN: i32 = 13;
/// How long connecting may take, TLS and password included.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long one statement may take: an event of a million seats is one.
pub const STATEMENT_LIMIT: Duration = Duration::from_secs(300);
/// How long is waited for an answer: the server should have given up by itself before.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(310);
/// How long a lock that somebody else holds is waited for.
pub const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// After how long without an answer it is first asked whether the server lives at all, and how far apart
/// such questions get.
pub const DOUBT_AFTER: Duration = Duration::from_secs(5);
const DOUBT_AFTER_MAX: Duration = Duration::from_secs(60);
/// How long that may take: less than it takes to learn that there is no way to the server, which the
/// connection that waits learns by itself.
pub const PROBE_LIMIT: Duration = Duration::from_secs(8);
const _: () = assert!(PROBE_LIMIT.as_secs() < CONNECT_LIMIT.as_secs());
/// How long bytes may stay unacknowledged.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(30);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
const _: () = assert!(LOCK_LIMIT.as_secs() < STATEMENT_LIMIT.as_secs());
const _: () = assert!(STATEMENT_LIMIT.as_secs() < ANSWER_LIMIT.as_secs());

/// Connects; what is not known then is only whether the tables are there. Must run within a tokio
/// runtime, which drives the connection as long as the client is used.
///
/// # Errors
/// PostgreSQL cannot be reached, does not let us in, or is too old.
pub async fn connect(target: &Target) -> Result<Client, Fault> {
    let client = limited(CONNECT_LIMIT, open(target)).await?;
    limited(ANSWER_LIMIT, prepare(&client)).await?;
    Ok(client)
}

/// Waits for an answer, as long as the server answers anybody.
///
/// # Errors
/// The answer is one, or there is none: neither here nor to others who ask.
pub async fn unless_silent<T>(
    target: &Target,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::select! {
        biased;
        done = work => done,
        fault = silence(target) => Err(fault),
    }
}

/// Ends when the server, asked again and again by new connections, does not answer those either: a
/// process that is stopped, or a machine. Whatever else it says, it lives.
async fn silence(target: &Target) -> Fault {
    let mut patience = DOUBT_AFTER;
    loop {
        sleep(patience).await;
        if let Err(Fault::Silent(limit)) = limited(PROBE_LIMIT, open(target)).await {
            return Fault::Silent(patience + limit);
        }
        patience = (patience * 2).min(DOUBT_AFTER_MAX);
    }
}

/// Waits so long at most.
pub(super) async fn limited<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Fault::Silent(limit)))
}

fn config(target: &Target) -> Config {
    let mut config = Config::new();
    match target.socket_directory() {
        Some(directory) => config.host_path(directory),
        None => config.host(&target.host),
    };
    config
        .port(target.port)
        .dbname(&target.database)
        .user(&target.user)
        .application_name("booking-manager mirror")
        .connect_timeout(CONNECT_LIMIT)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(UNACKNOWLEDGED_LIMIT);
    if let Some(password) = &target.password {
        config.password(Secret::reveal(password));
    }
    config
}

async fn open(target: &Target) -> Result<Client, Fault> {
    let mut config = config(target);
    let plain = target.ssl_mode == SslMode::Disable || target.socket_directory().is_some();
    if plain {
        return open_plain(&mut config).await;
    }
    let prefers = target.ssl_mode == SslMode::Prefer;
    config.ssl_mode(if prefers { Negotiation::Prefer } else { Negotiation::Require });
    match open_protected(&config, tls::connector(target)?).await {
        // As libpq: who merely prefers TLS does without where it cannot be had.
        Err(Fault::Obstacle(Obstacle::Tls(_))) if prefers => open_plain(&mut config).await,
        other => other,
    }
}

async fn open_plain(config: &mut Config) -> Result<Client, Fault> {
    config.ssl_mode(Negotiation::Disable);
    let (client, connection) = config.connect(NoTls).await?;
    // Its error reaches the client's next statement.
    drop(tokio::spawn(connection));
    Ok(client)
}

async fn open_protected(config: &Config, tls: MakeRustlsConnect) -> Result<Client, Fault> {
    let (client, connection) = config.connect(tls).await.map_err(protected_fault)?;
    drop(tokio::spawn(connection));
    Ok(client)
}

/// A handshake that failed is an obstacle; one that was cut off is a lost connection.
fn protected_fault(error: tokio_postgres::Error) -> Fault {
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let refused = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let refused = refused.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(refused) = refused {
            return Obstacle::Tls(refused.to_string()).into();
        }
        source = cause.source();
    }
    let text = with_sources(&error);
    if text.contains("server does not support TLS") {
        return Obstacle::Tls("the server does not offer it".to_owned()).into();
    }
    error.into()
}

async fn prepare(client: &Client) -> Result<(), Fault> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
            &[],
        )
        .await?;
    if row.get::<_, i32>(0) / 10_000 < SERVER_VERSION_MIN {
        let found = row.get(1);
        return Err(Obstacle::TooOld { found, needed: SERVER_VERSION_MIN }.into());
    }
    let (statement, lock) = (STATEMENT_LIMIT.as_millis(), LOCK_LIMIT.as_millis());
    client
        .batch_execute(&format!(
            "SET statement_timeout = {statement}; SET lock_timeout = {lock}; \
             SET idle_in_transaction_session_timeout = {statement}; \
             SET client_min_messages = warning; SET default_transaction_isolation = 'read committed'; \
             SET default_transaction_read_only = off; SET TimeZone = 'UTC'"
        ))
        .await?;
    // What PostgreSQL says it has must survive its crash: segments of the log go on the strength of it.
    client
        .execute(
            "SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'",
            &[],
        )
        .await?;
    // From PostgreSQL 14 on, and where its system can: whoever is killed in the middle of a statement
    // leaves the lock on the mirror to the next one soon.
    let _ = client.batch_execute("SET client_connection_check_interval = '1s'").await;
    let schema = client
        .query_one("SELECT set_config('search_path', quote_ident(current_schema()), false)", &[])
        .await?;
    schema.get::<_, Option<String>>(0).filter(|s| !s.is_empty()).ok_or(Obstacle::NoSchema)?;
    Ok(())
}
