//! Which resource a path names, and what a method does to it.
//!
//! There is one list of resources, [`RESOURCES`]: requests are routed by it, `Allow` is told from it,
//! and the OpenAPI document is made of it.
//!
//! Paths are matched exactly: a trailing slash makes another path, which nothing lives at.
//! Percent-encoded letters, digits, `-`, `.`, `_` and `~` are the same as the plain ones (RFC 3986,
//! section 6.2.2.2); any other encoded character is found nowhere.

use std::borrow::Cow;
use std::fmt;

use hyper::Method;

use super::problem::{Problem, Reason};

/// What a client wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action<'p> {
    /// `OPTIONS`: say which methods there are.
    Describe(Methods),
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
    /// The OpenAPI document.
    Document,
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

/// The methods that do something. `HEAD` is a `GET` whose answer is not sent, and `OPTIONS` is
/// answered everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    pub(super) const ALL: [Self; 4] = [Self::Get, Self::Put, Self::Post, Self::Delete];

    fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::PUT => Some(Self::Put),
            Method::POST => Some(Self::Post),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    /// The methods that go with it, as `Allow` names them.
    const fn names(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// The methods that a resource knows; shown as `Allow` has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Methods(u8);

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for verb in Verb::ALL.into_iter().filter(|verb| self.0 & (1 << *verb as u8) != 0) {
            write!(f, "{}, ", verb.names())?;
        }
        f.write_str("OPTIONS")
    }
}

/// What a verb does to a resource, told with the id in its path.
pub(super) type Deed = (Verb, fn(&str) -> Action<'_>);

/// Something that lives at a path.
pub(super) struct Resource {
    /// Its path, piece by piece; [`ID`] stands for an id.
    pub(super) path: &'static [&'static str],
    pub(super) deeds: &'static [Deed],
}

/// Stands for an id in a path. A path has one at most.
pub(super) const ID: &str = "{id}";

/// Everything there is. A literal path stands before one with an id that it would fit, and what is
/// asked for most stands first.
pub(super) static RESOURCES: [Resource; 17] = [
    Resource { path: &["api", "bookings"], deeds: &[(Verb::Post, |_| Action::Write(Write::Hold))] },
    Resource {
        path: &["api", "bookings", ID, "confirm"],
        deeds: &[(Verb::Post, |id| Action::Write(Write::Confirm(id)))],
    },
    Resource {
        path: &["api", "bookings", ID, "cancel"],
        deeds: &[(Verb::Post, |id| Action::Write(Write::Cancel(id)))],
    },
    Resource {
        path: &["api", "bookings", "stats"],
        deeds: &[(Verb::Get, |_| Action::Read(Read::Statistics))],
    },
    Resource {
        path: &["api", "bookings", ID],
        deeds: &[(Verb::Get, |id| Action::Read(Read::Booking(id)))],
    },
    Resource {
        path: &["api", "events"],
        deeds: &[
            (Verb::Get, |_| Action::Read(Read::Events)),
            (Verb::Post, |_| Action::Write(Write::CreateEvent)),
        ],
    },
    Resource {
        path: &["api", "events", ID],
        deeds: &[(Verb::Get, |id| Action::Read(Read::Event(id)))],
    },
    Resource {
        path: &["api", "events", ID, "tickets"],
        deeds: &[(Verb::Get, |id| Action::Read(Read::Tickets(id)))],
    },
    Resource {
        path: &["api", "events", ID, "tickets", "available"],
        deeds: &[(Verb::Get, |id| Action::Read(Read::AvailableTickets(id)))],
    },
    Resource {
        path: &["api", "users"],
        deeds: &[(Verb::Post, |_| Action::Write(Write::CreateUser))],
    },
    Resource {
        path: &["api", "users", ID],
        deeds: &[
            (Verb::Get, |id| Action::Read(Read::User(id))),
            (Verb::Put, |id| Action::Write(Write::UpdateUser(id))),
            (Verb::Delete, |id| Action::Write(Write::DeleteUser(id))),
        ],
    },
    Resource {
        path: &["api", "users", ID, "bookings"],
        deeds: &[(Verb::Get, |id| Action::Read(Read::UserBookings(id)))],
    },
    Resource { path: &["health"], deeds: &[(Verb::Get, |_| Action::Probe(Probe::Health))] },
    Resource { path: &["livez"], deeds: &[(Verb::Get, |_| Action::Probe(Probe::Liveness))] },
    Resource { path: &["readyz"], deeds: &[(Verb::Get, |_| Action::Probe(Probe::Readiness))] },
    Resource { path: &["metrics"], deeds: &[(Verb::Get, |_| Action::Probe(Probe::Metrics))] },
    Resource { path: &["openapi.json"], deeds: &[(Verb::Get, |_| Action::Probe(Probe::Document))] },
];

/// One segment more than the longest path has.
const SEGMENTS_MAX: usize = 6;

impl Resource {
    /// The id in a path that names this resource; empty if such a path has none.
    fn id_in<'p>(&self, path: &[&'p str]) -> Option<&'p str> {
        if path.len() != self.path.len() {
            return None;
        }
        let mut id = "";
        for (own, segment) in self.path.iter().zip(path) {
            match *own {
                ID if segment.is_empty() => return None,
                ID => id = segment,
                literal if literal == *segment => {}
                _ => return None,
            }
        }
        Some(id)
    }

    /// The methods that it knows.
    pub(super) fn methods(&self) -> Methods {
        Methods(self.deeds.iter().fold(0, |bits, (verb, _)| bits | 1 << *verb as u8))
    }
}

fn find(path: &str) -> Option<(&'static Resource, &str)> {
    let mut segments = [""; SEGMENTS_MAX];
    let mut count = 0;
    for segment in path.strip_prefix('/')?.split('/') {
        *segments.get_mut(count)? = segment;
        count += 1;
    }
    RESOURCES
        .iter()
        .find_map(|resource| resource.id_in(&segments[..count]).map(|id| (resource, id)))
}

/// What `method` does to what lives at `path`, or 404, or 405.
pub(super) fn resolve<'p>(method: &Method, path: &'p str) -> Result<Action<'p>, Problem> {
    let (resource, id) = find(path).ok_or(Reason::NotFound)?;
    let verb = Verb::of(method);
    match resource.deeds.iter().find(|(known, _)| Some(*known) == verb) {
        Some((_, action)) => Ok(action(id)),
        None if *method == Method::OPTIONS => Ok(Action::Describe(resource.methods())),
        None => Err(Reason::MethodNotAllowed(resource.methods()).into()),
    }
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
            ("GET", "/openapi.json", Action::Probe(Probe::Document)),
            ("OPTIONS", "/api/bookings", Action::Describe(Methods(1 << Verb::Post as u8))),
        ];
        for (method, path, expected) in cases {
            assert_eq!(action(method, path), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn other_methods_are_told_which_are_allowed() {
        const READ: &str = "GET, HEAD, OPTIONS";
        const CREATE: &str = "POST, OPTIONS";
        let cases = [
            ("DELETE", "/health", READ),
            ("GET", "/api/users", CREATE),
            ("PATCH", "/api/users/7", "GET, HEAD, PUT, DELETE, OPTIONS"),
            ("PUT", "/api/events", "GET, HEAD, POST, OPTIONS"),
            ("GET", "/api/bookings", CREATE),
            ("POST", "/api/bookings/stats", READ),
            ("GET", "/api/bookings/7/confirm", CREATE),
            ("BREW", "/api/events/7/tickets", READ),
        ];
        for (method, path, allowed) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let Reason::MethodNotAllowed(methods) = resolve(&method, path).unwrap_err().reason
            else {
                panic!("{method} {path} is refused otherwise");
            };
            assert_eq!(methods.to_string(), allowed, "{path}");
        }
    }

    #[test]
    fn every_resource_is_found_at_its_own_path() {
        for resource in &RESOURCES {
            let path = format!("/{}", resource.path.join("/")).replace(ID, "7");
            assert!(resource.path.len() < SEGMENTS_MAX, "{path}");
            let (found, _) = find(&path).unwrap();
            assert_eq!(found.path, resource.path, "hidden by another");
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
            "/api/users//bookings",
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
