//! The HTTP client: one way to send anything, and a word for each thing that is often sent.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use super::contract::assert_documented;
use super::reply::Reply;
use super::time::wait_until;

/// What a test is ready to wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// How long after its answer a request may still count as being in flight.
const SETTLING_LIMIT: Duration = Duration::from_secs(5);

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl Call {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).json(&body.to_string())
    }

    /// The request for tickets.
    pub(crate) fn book<T: AsRef<str>>(user: &str, event: &str, tickets: &[T]) -> Self {
        let tickets: Vec<&str> = tickets.iter().map(AsRef::as_ref).collect();
        let body = json!({"user_id": user, "event_id": event, "ticket_ids": tickets});
        Self::post("/api/bookings", &body)
    }

    /// With this text as the body, said to be JSON.
    pub(crate) fn json(self, text: &str) -> Self {
        self.body(text).header("content-type", "application/json")
    }

    /// With this text as the body, said to be nothing.
    pub(crate) fn body(mut self, text: &str) -> Self {
        self.body = Some(text.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With an idempotency key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }
}

/// What a test asks an event to be, and what it then is.
#[derive(Clone, Debug)]
pub(crate) struct Show {
    /// The event's id.
    pub(crate) id: String,
    /// Its tickets' ids in seat order.
    pub(crate) tickets: Vec<String>,
    /// What each costs, in cents.
    pub(crate) price: i64,
}

/// A client of one server; cloning it shares the connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    address: String,
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            .max_idle_age(Duration::from_secs(1))
            .build();
        Self { agent: config.into(), address: format!("127.0.0.1:{port}") }
    }

    /// `host:port` of the server.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends and reads the whole answer, or says why there was none.
    pub(crate) fn try_send(&self, call: &Call) -> Result<Reply, ureq::Error> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("http://{}{}", self.address, call.path));
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let response = match &call.body {
            Some(body) => self.agent.run(request.body(body)?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let reply = Reply::read(format!("{} {}", call.method, call.path), response)?;
        assert_documented(call.method, &call.path, &reply);
        Ok(reply)
    }

    /// Sends; an answer must come.
    #[track_caller]
    pub(crate) fn send(&self, call: &Call) -> Reply {
        match self.try_send(call) {
            Ok(reply) => reply,
            Err(error) => panic!("no answer to {} {}: {error}", call.method, call.path),
        }
    }

    /// Begins to read a list too long to be held in memory.
    #[track_caller]
    pub(crate) fn stream(&self, path: &str) -> impl Read + use<> {
        let response = self.agent.get(format!("http://{}{path}", self.address));
        let response = response.call().expect("an answer");
        assert_eq!(response.status().as_u16(), 200, "GET {path}");
        response.into_body().into_with_config().limit(u64::MAX).reader()
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send(&Call::get(path))
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(&Call::post(path, body))
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(&Call::new("PUT", path).json(&body.to_string()))
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.send(&Call::new("DELETE", path))
    }

    /// A new user's id.
    #[track_caller]
    pub(crate) fn create_user(&self) -> String {
        let body = json!({"email": fresh_email(), "name": "Ada Lovelace"});
        let reply = self.post("/api/users", &body).expect(201);
        reply.str("user_id").to_owned()
    }

    /// Several new users' ids.
    #[track_caller]
    pub(crate) fn create_users(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.create_user()).collect()
    }

    /// A new event of so many seats at 75.00, with its tickets listed.
    #[track_caller]
    pub(crate) fn create_show(&self, seats: usize) -> Show {
        self.create_show_at(seats, 7_500)
    }

    /// A new event of so many seats at so many cents, with its tickets listed.
    #[track_caller]
    pub(crate) fn create_show_at(&self, seats: usize, cents: i64) -> Show {
        let call = Call::new("POST", "/api/events").json(&event_body(seats, cents));
        let id = self.send(&call).expect(201).str("event_id").to_owned();
        let tickets = self.tickets(&id);
        assert_eq!(tickets.len(), seats, "the event lists another number of tickets");
        let tickets = tickets.iter().map(|ticket| text(ticket, "id")).collect();
        Show { id, tickets, price: cents }
    }

    /// All tickets of an event, in the order they are listed.
    #[track_caller]
    pub(crate) fn tickets(&self, event: &str) -> Vec<Value> {
        let reply = self.get(&format!("/api/events/{event}/tickets")).expect(200);
        reply.array().clone()
    }

    /// The status that the listing gives one ticket.
    #[track_caller]
    pub(crate) fn ticket_status(&self, event: &str, ticket: &str) -> String {
        let tickets = self.tickets(event);
        let found = tickets.iter().find(|t| t["id"] == ticket);
        text(found.unwrap_or_else(|| panic!("ticket {ticket} is not listed")), "status")
    }

    #[track_caller]
    pub(crate) fn event(&self, event: &str) -> Reply {
        self.get(&format!("/api/events/{event}"))
    }

    #[track_caller]
    pub(crate) fn book<T: AsRef<str>>(&self, user: &str, event: &str, tickets: &[T]) -> Reply {
        self.send(&Call::book(user, event, tickets))
    }

    /// Books and gives the booking's id.
    #[track_caller]
    pub(crate) fn hold<T: AsRef<str>>(&self, user: &str, event: &str, tickets: &[T]) -> String {
        let reply = self.book(user, event, tickets).expect(201);
        reply.str("booking_id").to_owned()
    }

    #[track_caller]
    pub(crate) fn booking(&self, booking: &str) -> Reply {
        self.get(&format!("/api/bookings/{booking}"))
    }

    #[track_caller]
    pub(crate) fn bookings_of(&self, user: &str) -> Vec<Value> {
        let reply = self.get(&format!("/api/users/{user}/bookings")).expect(200);
        reply.array().clone()
    }

    #[track_caller]
    pub(crate) fn confirm(&self, booking: &str, user: &str) -> Reply {
        self.post(&format!("/api/bookings/{booking}/confirm"), &json!({"user_id": user}))
    }

    #[track_caller]
    pub(crate) fn cancel(&self, booking: &str, user: &str) -> Reply {
        self.post(&format!("/api/bookings/{booking}/cancel"), &json!({"user_id": user}))
    }

    #[track_caller]
    pub(crate) fn stats(&self) -> Value {
        self.get("/api/bookings/stats").expect(200).json
    }

    /// How many connections the server has, this client's own among them.
    #[track_caller]
    pub(crate) fn open_connections(&self) -> u64 {
        self.stats()["connections"]["open"].as_u64().expect("a count")
    }

    /// The statistics once no booking request is in flight any more; then the totals must add up.
    #[track_caller]
    pub(crate) fn settled_stats(&self) -> Value {
        let mut stats = Value::Null;
        let count = |name: &str, stats: &Value| {
            let count = stats[name].as_u64();
            count.unwrap_or_else(|| panic!("no {name} in {stats}"))
        };
        wait_until(SETTLING_LIMIT, "the totals of the statistics add up", || {
            stats = self.stats();
            let done = count("successful_bookings", &stats) + count("failed_bookings", &stats);
            count("queue_length", &stats) == 0 && count("total_requests", &stats) == done
        });
        stats
    }
}

/// A valid event of so many seats at so many cents.
pub(crate) fn event_body(seats: usize, cents: i64) -> String {
    let (whole, cents) = (cents / 100, cents % 100);
    format!(
        r#"{{"name":"Summer Night","artist":"The Testers","venue":"City Hall","date":"2027-07-01T20:00:00Z","total_seats":{seats},"price":{whole}.{cents:02}}}"#
    )
}

/// A text member that must be there.
#[track_caller]
fn text(value: &Value, member: &str) -> String {
    let found = value[member].as_str();
    found.unwrap_or_else(|| panic!("no text `{member}` in {value}")).to_owned()
}

/// An e-mail address that no other test uses.
pub(crate) fn fresh_email() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("user-{}-{number}@example.com", std::process::id())
}

/// A UUID that names nothing.
pub(crate) fn fresh_uuid() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}
