//! Which resource a path names, and what a method does to it.
//!
//! Paths are matched exactly: a trailing slash makes another path, which nothing lives at.
//! Percent-encoded letters, digits, `-`, `.`, `_` and `~` are the same as the plain ones (RFC 3986,
//! section 6.2.2.2); any other encoded character is found nowhere.

use std::borrow::Cow;

use hyper::Method;

use super::problem::{Problem, Reason};

/// What a client wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action<'p> {
    /// `OPTIONS`: say which methods there are.
    Describe(&'static str),
    Probe(Probe),
    Read(Read<'p>),
    Write(Write<'p>),
}

/// Looks at the process; answered without waiting for the log, and also when it has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Probe {
    Health,
    Liveness,
    Readiness,
    Metrics,
}

/// Looks at the engine. The ids are as they stand in the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read<'p> {
    Statistics,
    User(&'p str),
    UserBookings(&'p str),
    Events,
    Event(&'p str),
    Tickets(&'p str),
    AvailableTickets(&'p str),
    Booking(&'p str),
}

/// Changes something. The ids are as they stand in the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Write<'p> {
    CreateUser,
    UpdateUser(&'p str),
    DeleteUser(&'p str),
    CreateEvent,
    Hold,
    Confirm(&'p str),
    Cancel(&'p str),
}

/// Something that lives at a path.
#[derive(Clone, Copy, Debug)]
enum Resource<'p> {
    Health,
    Liveness,
    Readiness,
    Metrics,
    Statistics,
    Users,
    User(&'p str),
    UserBookings(&'p str),
    Events,
    Event(&'p str),
    Tickets(&'p str),
    AvailableTickets(&'p str),
    Bookings,
    Booking(&'p str),
    Confirmation(&'p str),
    Cancellation(&'p str),
}

const READ: &str = "GET, HEAD, OPTIONS";
const CREATE: &str = "POST, OPTIONS";
const READ_CREATE: &str = "GET, HEAD, POST, OPTIONS";
const READ_CHANGE: &str = "GET, HEAD, PUT, DELETE, OPTIONS";

/// One segment more than the longest path has.
const SEGMENTS_MAX: usize = 6;

fn find(path: &str) -> Option<Resource<'_>> {
    let mut segments = [""; SEGMENTS_MAX];
    let mut count = 0;
    for segment in path.strip_prefix('/')?.split('/') {
        *segments.get_mut(count)? = segment;
        count += 1;
    }
    Some(match segments[..count] {
        ["health"] => Resource::Health,
        ["livez"] => Resource::Liveness,
        ["readyz"] => Resource::Readiness,
        ["metrics"] => Resource::Metrics,
        ["api", "bookings"] => Resource::Bookings,
        ["api", "bookings", "stats"] => Resource::Statistics,
        ["api", "users"] => Resource::Users,
        ["api", "events"] => Resource::Events,
        ["api", _, ""] => return None,
        ["api", "bookings", id] => Resource::Booking(id),
        ["api", "bookings", id, "confirm"] => Resource::Confirmation(id),
        ["api", "bookings", id, "cancel"] => Resource::Cancellation(id),
        ["api", "users", id] => Resource::User(id),
        ["api", "users", id, "bookings"] => Resource::UserBookings(id),
        ["api", "events", id] => Resource::Event(id),
        ["api", "events", id, "tickets"] => Resource::Tickets(id),
        ["api", "events", id, "tickets", "available"] => Resource::AvailableTickets(id),
        _ => return None,
    })
}

/// What `method` does to what lives at `path`, or 404, or 405.
pub(super) fn resolve<'p>(method: &Method, path: &'p str) -> Result<Action<'p>, Problem> {
    let resource = find(path).ok_or(Reason::NotFound)?;
    // A HEAD is a GET whose answer is not sent.
    let method = match *method {
        Method::HEAD => &Method::GET,
        _ => method,
    };
    let post = *method == Method::POST;
    let (action, allowed) = match resource {
        Resource::Health => (probe(method, Probe::Health), READ),
        Resource::Liveness => (probe(method, Probe::Liveness), READ),
        Resource::Readiness => (probe(method, Probe::Readiness), READ),
        Resource::Metrics => (probe(method, Probe::Metrics), READ),
        Resource::Statistics => (read(method, Read::Statistics), READ),
        Resource::Users => (write(post, Write::CreateUser), CREATE),
        Resource::User(id) => {
            let action = match *method {
                Method::GET => Some(Action::Read(Read::User(id))),
                Method::PUT => Some(Action::Write(Write::UpdateUser(id))),
                Method::DELETE => Some(Action::Write(Write::DeleteUser(id))),
                _ => None,
            };
            (action, READ_CHANGE)
        }
        Resource::UserBookings(id) => (read(method, Read::UserBookings(id)), READ),
        Resource::Events => {
            let create = write(post, Write::CreateEvent);
            (create.or(read(method, Read::Events)), READ_CREATE)
        }
        Resource::Event(id) => (read(method, Read::Event(id)), READ),
        Resource::Tickets(id) => (read(method, Read::Tickets(id)), READ),
        Resource::AvailableTickets(id) => (read(method, Read::AvailableTickets(id)), READ),
        Resource::Bookings => (write(post, Write::Hold), CREATE),
        Resource::Booking(id) => (read(method, Read::Booking(id)), READ),
        Resource::Confirmation(id) => (write(post, Write::Confirm(id)), CREATE),
        Resource::Cancellation(id) => (write(post, Write::Cancel(id)), CREATE),
    };
    match action {
        Some(action) => Ok(action),
        None if *method == Method::OPTIONS => Ok(Action::Describe(allowed)),
        None => Err(Reason::MethodNotAllowed(allowed).into()),
    }
}

fn probe(method: &Method, probe: Probe) -> Option<Action<'static>> {
    (*method == Method::GET).then_some(Action::Probe(probe))
}

fn read<'p>(method: &Method, read: Read<'p>) -> Option<Action<'p>> {
    (*method == Method::GET).then_some(Action::Read(read))
}

fn write(post: bool, write: Write<'_>) -> Option<Action<'_>> {
    post.then_some(Action::Write(write))
}

/// The path with encoded plain characters decoded. `None`: an encoding that is none.
pub(super) fn plain(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, encoded)) = rest.split_once('%') {
        decoded.push_str(before);
        let (digits, after) = encoded.split_at_checked(2)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            decoded.push(char::from(byte));
        } else {
            // Kept as it is: not a slash, and in no path of ours.
            decoded.push('%');
            decoded.push_str(digits);
        }
        rest = after;
    }
    decoded.push_str(rest);
    Some(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action<'p>(method: &str, path: &'p str) -> Result<Action<'p>, u16> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        resolve(&method, path).map_err(|problem| problem.reason.status().as_u16())
    }

    #[test]
    fn every_path_of_the_contract_leads_to_its_action() {
        let cases = [
            ("GET", "/health", Action::Probe(Probe::Health)),
            ("HEAD", "/livez", Action::Probe(Probe::Liveness)),
            ("GET", "/readyz", Action::Probe(Probe::Readiness)),
            ("GET", "/metrics", Action::Probe(Probe::Metrics)),
            ("POST", "/api/users", Action::Write(Write::CreateUser)),
            ("GET", "/api/users/7", Action::Read(Read::User("7"))),
            ("PUT", "/api/users/7", Action::Write(Write::UpdateUser("7"))),
            ("DELETE", "/api/users/7", Action::Write(Write::DeleteUser("7"))),
            ("GET", "/api/users/7/bookings", Action::Read(Read::UserBookings("7"))),
            ("POST", "/api/events", Action::Write(Write::CreateEvent)),
            ("GET", "/api/events", Action::Read(Read::Events)),
            ("HEAD", "/api/events/7", Action::Read(Read::Event("7"))),
            ("GET", "/api/events/7/tickets", Action::Read(Read::Tickets("7"))),
            ("GET", "/api/events/7/tickets/available", Action::Read(Read::AvailableTickets("7"))),
            ("POST", "/api/bookings", Action::Write(Write::Hold)),
            ("GET", "/api/bookings/stats", Action::Read(Read::Statistics)),
            ("GET", "/api/bookings/7", Action::Read(Read::Booking("7"))),
            ("POST", "/api/bookings/7/confirm", Action::Write(Write::Confirm("7"))),
            ("POST", "/api/bookings/7/cancel", Action::Write(Write::Cancel("7"))),
            ("OPTIONS", "/api/bookings", Action::Describe(CREATE)),
        ];
        for (method, path, expected) in cases {
            assert_eq!(action(method, path), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn other_methods_are_told_which_are_allowed() {
        let cases = [
            ("DELETE", "/health", READ),
            ("GET", "/api/users", CREATE),
            ("PATCH", "/api/users/7", READ_CHANGE),
            ("PUT", "/api/events", READ_CREATE),
            ("GET", "/api/bookings", CREATE),
            ("POST", "/api/bookings/stats", READ),
            ("GET", "/api/bookings/7/confirm", CREATE),
            ("BREW", "/api/events/7/tickets", READ),
        ];
        for (method, path, allowed) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let problem = resolve(&method, path).unwrap_err();
            assert_eq!(problem.reason, Reason::MethodNotAllowed(allowed), "{path}");
        }
    }

    #[test]
    fn every_other_path_is_not_found() {
        for path in [
            "",
            "*",
            "/",
            "/api",
            "/api/",
            "/api/users/",
            "/api/users//bookings/",
            "/api/bookings/7/",
            "/api/bookings/7/confirm/now",
            "/api/events/7/tickets/available/x",
            "/health/",
            "/Health",
            "/a/b/c/d/e/f/g/h",
        ] {
            assert_eq!(action("GET", path), Err(404), "{path:?}");
        }
    }

    #[test]
    fn encoded_plain_characters_are_plain() {
        assert_eq!(plain("/api/%75sers").unwrap(), "/api/users");
        assert_eq!(plain("/api/us%2Fers").unwrap(), "/api/us%2Fers");
        assert_eq!(plain("/api/%C3%A9").unwrap(), "/api/%C3%A9");
        for bad in ["/%", "/%7", "/%zz", "/%+1", "/%é"] {
            assert_eq!(plain(bad), None, "{bad}");
        }
    }
}
