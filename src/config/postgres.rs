//! Where PostgreSQL is, from one URL or from its parts.

use std::fmt;
use std::str::FromStr;

use super::Fault;
use super::flags::Flags;
use super::parse::{ssl_mode, whole};

const PORT_DEFAULT: u16 = 5432;
const MASK: &str = "***";

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
    type Err = std::convert::Infallible;

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

/// How the connection to PostgreSQL is protected, in PostgreSQL's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server offers it.
    Prefer,
    /// TLS, whoever the server is.
    Require,
    /// TLS, and the server's certificate is from a known authority.
    VerifyCa,
    /// TLS, and the certificate names the host besides.
    VerifyFull,
}

impl SslMode {
    pub(super) const ALL: [Self; 5] =
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
}

/// Which variables it was said with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Url,
    Parts,
}

/// Where PostgreSQL is and how to get in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Postgres {
    /// A host name or an address, without brackets.
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
    form: Form,
}

impl Postgres {
    /// What the flags say of PostgreSQL: nothing, or all that is needed, in one of the two ways.
    pub(super) fn from_flags(flags: &Flags) -> Result<Option<Self>, Fault> {
        let parts = [
            ("DB_HOST", flags.db_host.is_some()),
            ("DB_PORT", flags.db_port.is_some()),
            ("DB_NAME", flags.db_name.is_some()),
            ("DB_USER", flags.db_user.is_some()),
            ("DB_PASSWORD", flags.db_password.is_some()),
            ("DB_SSL_MODE", flags.db_ssl_mode.is_some()),
        ];
        let first_part = parts.iter().find(|(_, set)| *set).map(|(name, _)| *name);
        match (&flags.database_url, first_part) {
            (None, None) => Ok(None),
            (Some(_), Some(part)) => Err(Fault::settings(format!(
                "DATABASE_URL and {part} are both set: use either DATABASE_URL alone or the DB_ variables"
            ))),
            (Some(url), None) => Self::from_url(url.reveal()).map(Some).map_err(|allowed| {
                Fault::settings(format!("DATABASE_URL (value not shown): {allowed}"))
            }),
            (None, Some(part)) => Self::from_parts(flags, part).map(Some),
        }
    }

    fn from_parts(flags: &Flags, part: &str) -> Result<Self, Fault> {
        let needed = |value: &Option<String>, name| {
            value.clone().ok_or_else(|| {
                let needs = "a mirror needs DB_HOST, DB_NAME and DB_USER";
                Fault::settings(format!("{name} is not set, but {part} is: {needs}"))
            })
        };
        Ok(Self {
            host: needed(&flags.db_host, "DB_HOST")?,
            port: flags.db_port.unwrap_or(PORT_DEFAULT),
            database: needed(&flags.db_name, "DB_NAME")?,
            user: needed(&flags.db_user, "DB_USER")?,
            password: flags.db_password.clone(),
            ssl_mode: flags.db_ssl_mode.unwrap_or(SslMode::Prefer),
            form: Form::Parts,
        })
    }

    /// Reads `postgres://user[:password]@host[:port]/database[?sslmode=mode]`. The refusals quote
    /// nothing: any piece of the text may belong to the password.
    fn from_url(url: &str) -> Result<Self, String> {
        const FORM: &str = "must be postgres://user:password@host:port/name?sslmode=prefer";
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
        let port = match port {
            Some(port) => {
                whole::<1, 65_535, u16>(port).map_err(|allowed| format!("its port {allowed}"))?
            }
            None => PORT_DEFAULT,
        };
        let (user, database) = (decoded(user)?, decoded(database)?);
        if user.is_empty() || host.is_empty() || database.is_empty() || database.contains('/') {
            return Err(form());
        }
        let ssl_mode = ssl_mode_of(query)?;
        let host = host.to_owned();
        Ok(Self { host, port, database, user, password, ssl_mode, form: Form::Url })
    }
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

fn ssl_mode_of(query: &str) -> Result<SslMode, String> {
    let mut mode = SslMode::Prefer;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => {
                mode = ssl_mode(value).map_err(|allowed| format!("its sslmode {allowed}"))?;
            }
            Some(_) | None => return Err("may have no parameter but sslmode".to_owned()),
        }
    }
    Ok(mode)
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
    String::from_utf8(bytes).ok().ok_or_else(fault)
}

impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, database, user, ssl_mode, .. } = self;
        let password = self.password.as_ref().map_or("", |_| ":***");
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        let mode = ssl_mode.name();
        write!(
            f,
            "postgres://{user}{password}@{open}{host}{close}:{port}/{database}?sslmode={mode}"
        )
    }
}

/// The variables of the mirror as they are in effect, secrets masked.
pub(super) fn variables(postgres: Option<&Postgres>) -> [(&'static str, String); 7] {
    let url = postgres.filter(|postgres| postgres.form == Form::Url);
    let parts = postgres.filter(|postgres| postgres.form == Form::Parts);
    let part = |value: fn(&Postgres) -> String| parts.map(value).unwrap_or_default();
    [
        ("DB_HOST", part(|p| p.host.clone())),
        ("DB_PORT", part(|p| p.port.to_string())),
        ("DB_NAME", part(|p| p.database.clone())),
        ("DB_USER", part(|p| p.user.clone())),
        ("DB_PASSWORD", part(|p| p.password.as_ref().map(Secret::to_string).unwrap_or_default())),
        ("DB_SSL_MODE", part(|p| p.ssl_mode.name().to_owned())),
        ("DATABASE_URL", url.map(Postgres::to_string).unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_without_its_password() {
        let url = "postgresql://bo%6Fker:p%40ss:w%2Ford@[::1]:6543/tickets?sslmode=verify-full";
        let postgres = Postgres::from_url(url).unwrap();
        assert_eq!(postgres.host, "::1");
        assert_eq!(postgres.port, 6543);
        assert_eq!(postgres.database, "tickets");
        assert_eq!(postgres.user, "booker");
        assert_eq!(postgres.password.as_ref().unwrap().reveal(), "p@ss:w/ord");
        assert_eq!(postgres.ssl_mode, SslMode::VerifyFull);
        let shown = "postgres://booker:***@[::1]:6543/tickets?sslmode=verify-full";
        assert_eq!(postgres.to_string(), shown);
        assert!(!format!("{postgres:?}").contains("p@ss"));
    }

    #[test]
    fn a_short_url_has_defaults() {
        let postgres = Postgres::from_url("postgres://booker@db/tickets").unwrap();
        assert_eq!((postgres.port, postgres.ssl_mode), (PORT_DEFAULT, SslMode::Prefer));
        assert_eq!(postgres.password, None);
        assert_eq!(postgres.to_string(), "postgres://booker@db:5432/tickets?sslmode=prefer");
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
            "postgres://u:hunter2@h:70000/d",
            "postgres://u:hunter2@[::1/d",
            "postgres://u:hunter2@[::1]5/d",
            "postgres://u:hunter2%4@h/d",
            "postgres://u:hunter2%+4@h/d",
            "postgres://u:hunter2%ff@h/d",
            "postgres://u:hunter2@h/d?sslmode=maybe",
            "postgres://u:hunter2@h/d?connect_timeout=5",
        ] {
            let refusal = Postgres::from_url(url).expect_err(url);
            assert!(!refusal.contains("hunter2"), "{refusal}");
            assert!(!refusal.is_empty(), "{url}");
        }
    }
}
