//! Where PostgreSQL is and how to get in, from one URL.
//!
//! Nothing here quotes what it refuses: any piece of a URL may belong to the password.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The port unless one is given.
pub const PORT_DEFAULT: u16 = 5432;
const MASK: &str = "***";
const FORM: &str = "must be postgres://user:password@host:port/name?sslmode=prefer";

/// Text that must not appear in a log: neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// How the connection to PostgreSQL is protected, in PostgreSQL's words and with their meanings
/// there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server offers it.
    Prefer,
    /// TLS, whoever the server is; but with a root certificate given, as [`SslMode::VerifyCa`].
    Require,
    /// TLS, and the server's certificate is from a known authority.
    VerifyCa,
    /// TLS, and the certificate names the host besides.
    VerifyFull,
}

impl SslMode {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// The mode that `name` stands for, in any case.
    ///
    /// # Errors
    /// What is allowed.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|mode| mode.name().eq_ignore_ascii_case(name));
        named.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            format!("must be one of {}", names.join(", "))
        })
    }
}

/// Where PostgreSQL is and how to get in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// A host name or an address without brackets, or the directory of a Unix socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name of the database.
    pub database: String,
    /// The name of the role.
    pub user: String,
    /// The role's password, if it has one.
    pub password: Option<Secret>,
    /// How the connection is protected.
    pub ssl_mode: SslMode,
    /// A file with the certificates of trusted authorities, in PEM; those of the system if not set.
    pub ssl_root_cert: Option<PathBuf>,
}

impl Target {
    /// Reads `postgres://user[:password]@host[:port]/database[?sslmode=mode][&sslrootcert=path]`.
    /// A host that is the directory of a Unix socket is written with `%2F` for each slash.
    ///
    /// # Errors
    /// What is allowed; nothing of the URL is quoted.
    pub fn from_url(url: &str) -> Result<Self, String> {
        let form = || FORM.to_owned();
        let schemeless = url.strip_prefix("postgres://").or(url.strip_prefix("postgresql://"));
        let rest = schemeless.ok_or_else(form)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').ok_or_else(form)?;
        let (login, place) = authority.rsplit_once('@').ok_or_else(form)?;
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(Secret(decoded(password)?))),
            None => (login, None),
        };
        let (host, port) = host_and_port(place).ok_or_else(form)?;
        let port = port.map_or(Ok(PORT_DEFAULT), port_in)?;
        let (user, host, database) = (decoded(user)?, decoded(host)?, decoded(database)?);
        if user.is_empty() || host.is_empty() || database.is_empty() || database.contains('/') {
            return Err(form());
        }
        let (ssl_mode, ssl_root_cert) = parameters(query)?;
        Ok(Self { host, port, database, user, password, ssl_mode, ssl_root_cert })
    }

    /// The directory of the Unix socket, if that is where PostgreSQL is.
    pub fn socket_directory(&self) -> Option<&Path> {
        self.host.starts_with('/').then(|| Path::new(&self.host))
    }
}

fn port_in(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse::<u16>().ok().filter(|&port| digits && port > 0);
    port.ok_or_else(|| "its port must be a whole number from 1 to 65535".to_owned())
}

/// Splits `host:port`, of which an IPv6 host stands in brackets.
fn host_and_port(place: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match place.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((place, None)),
    }
}

fn parameters(query: &str) -> Result<(SslMode, Option<PathBuf>), String> {
    let (mut mode, mut root) = (SslMode::Prefer, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => {
                mode = SslMode::from_name(value)
                    .map_err(|allowed| format!("its sslmode {allowed}"))?;
            }
            Some(("sslrootcert", value)) if !value.is_empty() => {
                root = Some(PathBuf::from(decoded(value)?));
            }
            Some(_) | None => {
                return Err("may have no parameter but sslmode and sslrootcert".to_owned());
            }
        }
    }
    Ok((mode, root))
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Result<String, String> {
    let fault = || "has a % that is not followed by two hexadecimal digits of UTF-8".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or_else(fault)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(fault)?);
        rest = after;
    }
    let text = String::from_utf8(bytes).ok().ok_or_else(fault)?;
    if text.contains('\0') { Err("has a zero byte".to_owned()) } else { Ok(text) }
}

/// The URL, its password masked.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, database, user, ssl_mode, .. } = self;
        let password = self.password.as_ref().map_or("", |_| ":***");
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        let mode = ssl_mode.name();
        let host = host.replace('/', "%2F");
        write!(
            f,
            "postgres://{user}{password}@{open}{host}{close}:{port}/{database}?sslmode={mode}"
        )?;
        match &self.ssl_root_cert {
            Some(path) => write!(f, "&sslrootcert={}", path.display()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_without_its_password() {
        let url = "postgresql://bo%6Fker:p%40ss:w%2Ford@[::1]:6543/tickets?sslmode=verify-full&sslrootcert=/etc/ca.pem";
        let target = Target::from_url(url).unwrap();
        assert_eq!(target.host, "::1");
        assert_eq!(target.port, 6543);
        assert_eq!(target.database, "tickets");
        assert_eq!(target.user, "booker");
        assert_eq!(target.password.as_ref().unwrap().reveal(), "p@ss:w/ord");
        assert_eq!(target.ssl_mode, SslMode::VerifyFull);
        assert_eq!(target.ssl_root_cert.as_deref(), Some(Path::new("/etc/ca.pem")));
        let shown =
            "postgres://booker:***@[::1]:6543/tickets?sslmode=verify-full&sslrootcert=/etc/ca.pem";
        assert_eq!(target.to_string(), shown);
        assert!(!format!("{target:?}").contains("p@ss"));
    }

    #[test]
    fn a_short_url_has_defaults() {
        let target = Target::from_url("postgres://booker@db/tickets").unwrap();
        assert_eq!((target.port, target.ssl_mode), (PORT_DEFAULT, SslMode::Prefer));
        assert_eq!((target.password.as_ref(), target.socket_directory()), (None, None));
        assert_eq!(target.to_string(), "postgres://booker@db:5432/tickets?sslmode=prefer");
    }

    #[test]
    fn a_host_may_be_the_directory_of_a_socket() {
        let target = Target::from_url("postgres://booker@%2Frun%2Fpg:6000/tickets").unwrap();
        assert_eq!(target.socket_directory(), Some(Path::new("/run/pg")));
        assert_eq!(target.to_string(), "postgres://booker@%2Frun%2Fpg:6000/tickets?sslmode=prefer");
    }

    #[test]
    fn a_bad_url_is_refused_without_being_quoted() {
        for url in [
            "mysql://u:hunter2@h/d",
            "postgres://hunter2",
            "postgres://u:hunter2@h",
            "postgres://u:hunter2@/d",
            "postgres://:hunter2@h/d",
            "postgres://u:hunter2@h/",
            "postgres://u:hunter2@h/d/e",
            "postgres://u:hunter2@h:0/d",
            "postgres://u:hunter2@h:+1/d",
            "postgres://u:hunter2@h:70000/d",
            "postgres://u:hunter2@[::1/d",
            "postgres://u:hunter2@[::1]5/d",
            "postgres://u:hunter2%4@h/d",
            "postgres://u:hunter2%+4@h/d",
            "postgres://u:hunter2%ff@h/d",
            "postgres://u:hunter2%00@h/d",
            "postgres://u:hunter2@h/d?sslmode=maybe",
            "postgres://u:hunter2@h/d?sslrootcert=",
            "postgres://u:hunter2@h/d?connect_timeout=5",
        ] {
            let refusal = Target::from_url(url).expect_err(url);
            assert!(!refusal.contains("hunter2"), "{refusal}");
            assert!(!refusal.is_empty(), "{url}");
        }
    }
}
