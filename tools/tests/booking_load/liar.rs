//! A server in front of the real one, which changes some of its answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Given the request line and the body of the answer, another body if this answer is to be a lie.
type Lie = dyn Fn(&str, &str) -> Option<String> + Send + Sync;

/// Listens until the test's process ends; gives its URL.
pub(crate) fn lie(
    port: u16,
    lie: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let lie: Arc<Lie> = Arc::new(lie);
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, lie) = (client.unwrap(), Arc::clone(&lie));
            thread::spawn(move || relay(client, port, &*lie));
        }
    });
    url
}

/// Sends one request to a server that then closes the connection; gives the whole answer, if any.
pub(crate) fn ask(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// One connection: requests and answers in turns, until either side ends.
fn relay(mut client: TcpStream, port: u16, lie: &Lie) -> Option<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    loop {
        let (head, body) = message(&mut client, &mut asked)?;
        server.write_all(format!("{head}{body}").as_bytes()).ok()?;
        let line = head.lines().next().unwrap_or_default();
        let (head, body) = message(&mut server, &mut answered)?;
        let body = match lie(line, &body) {
            Some(other) => other,
            None => body,
        };
        client.write_all(format!("{}{body}", with_length(&head, body.len())).as_bytes()).ok()?;
    }
}

/// The next head and body of a stream; what came beyond stays in `rest`.
fn message(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<(String, String)> {
    let mut buffer = [0; 65_536];
    loop {
        let text = String::from_utf8_lossy(rest).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = content_length(head);
            if body.len() >= length {
                let (head, body) = (format!("{head}\r\n\r\n"), body[..length].to_owned());
                rest.drain(..head.len() + length);
                return Some((head, body));
            }
        }
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        rest.extend_from_slice(&buffer[..count]);
    }
}

fn content_length(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.map_or(0, |length| length.parse().unwrap())
}

fn with_length(head: &str, length: usize) -> String {
    head.replace(
        &format!("content-length: {}", content_length(head)),
        &format!("content-length: {length}"),
    )
}
