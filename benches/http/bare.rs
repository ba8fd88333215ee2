//! The baseline: hyper with nothing behind it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};

/// Environment variable that makes this program the bare server; its value is the file for the port.
pub(crate) const PORT_FILE: &str = "BARE_PORT_FILE";
/// Environment variable with the number of its runtimes.
pub(crate) const THREADS: &str = "BARE_THREADS";

/// As large as the answer to a booking of one ticket, headers and body.
const BODY: &[u8] = br#"{"booking_id":"c0000000-0000-8010-8000-000000000000","user_id":"00000000-0000-8000-8000-000000000000","event_id":"40000000-0000-8000-8000-000000000000","ticket_ids":["80000000-0000-8000-8000-000000000000"],"total_amount":75.00,"currency":"USD","status":"pending","created_at":"2026-01-01T00:00:00.000Z","expires_at":"2026-01-01T00:10:00.000Z","expires_in_ms":600000}"#;

fn listener(port: u16) -> std::net::TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    socket.listen(1_024).unwrap();
    socket.into()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _body = request.into_body().collect().await.map(|body| body.to_bytes());
    let mut response = Response::new(Full::new(Bytes::from_static(BODY)));
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let location = "/api/bookings/c0000000-0000-8010-8000-000000000000";
    headers.insert(LOCATION, HeaderValue::from_static(location));
    headers.insert("x-log-position", HeaderValue::from_static("1234567890"));
    headers.insert("x-request-id", HeaderValue::from_static("0123456789abcdef-00000001"));
    Ok(response)
}

async fn accept(listener: std::net::TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .pipeline_flush(true)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::task::spawn_local(connection);
    }
}

/// Serves for ever.
pub(crate) fn serve(port_file: &Path) -> ! {
    let first = listener(0);
    let port = first.local_addr().unwrap().port();
    let threads: usize = std::env::var(THREADS).unwrap().parse().unwrap();
    let listeners: Vec<_> =
        std::iter::once(first).chain((1..threads).map(|_| listener(port))).collect();
    let threads: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            std::thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                tokio::task::LocalSet::new().block_on(&runtime, accept(listener));
            })
        })
        .collect();
    let fresh = port_file.with_extension("new");
    std::fs::write(&fresh, port.to_string()).unwrap();
    std::fs::rename(fresh, port_file).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    unreachable!("the runtimes serve for ever")
}
