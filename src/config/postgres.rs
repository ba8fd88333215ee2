//! Where PostgreSQL is, from one URL or from its parts.

use std::fmt;

use super::Fault;
use super::flags::Flags;
use crate::mirror::{PORT_DEFAULT, Secret, SslMode, Target};

/// Which variables it was said with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Url,
    Parts,
}

/// Where PostgreSQL is and how to get in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Postgres {
    /// Where, and how.
    pub target: Target,
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
            ("DB_SSL_ROOT_CERT", flags.db_ssl_root_cert.is_some()),
        ];
        let first_part = parts.iter().find(|(_, set)| *set).map(|(name, _)| *name);
        match (&flags.database_url, first_part) {
            (None, None) => Ok(None),
            (Some(_), Some(part)) => Err(Fault::settings(format!(
                "DATABASE_URL and {part} are both set: use either DATABASE_URL alone or the DB_ variables"
            ))),
            (Some(url), None) => match Target::from_url(url.reveal()) {
                Ok(target) => Ok(Some(Self { target, form: Form::Url })),
                Err(allowed) => {
                    Err(Fault::settings(format!("DATABASE_URL (value not shown): {allowed}")))
                }
            },
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
        let target = Target {
            host: needed(&flags.db_host, "DB_HOST")?,
            port: flags.db_port.unwrap_or(PORT_DEFAULT),
            database: needed(&flags.db_name, "DB_NAME")?,
            user: needed(&flags.db_user, "DB_USER")?,
            password: flags.db_password.clone(),
            ssl_mode: flags.db_ssl_mode.unwrap_or(SslMode::Prefer),
            ssl_root_cert: flags.db_ssl_root_cert.clone(),
        };
        Ok(Self { target, form: Form::Parts })
    }
}

impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// The variables of the mirror as they are in effect, secrets masked.
pub(super) fn variables(postgres: Option<&Postgres>) -> [(&'static str, String); 8] {
    let url = postgres.filter(|postgres| postgres.form == Form::Url);
    let parts = postgres.filter(|postgres| postgres.form == Form::Parts);
    let part =
        |value: fn(&Target) -> String| parts.map(|parts| value(&parts.target)).unwrap_or_default();
    let root =
        |target: &Target| target.ssl_root_cert.as_deref().map(super::shown).unwrap_or_default();
    [
        ("DB_HOST", part(|target| target.host.clone())),
        ("DB_PORT", part(|target| target.port.to_string())),
        ("DB_NAME", part(|target| target.database.clone())),
        ("DB_USER", part(|target| target.user.clone())),
        (
            "DB_PASSWORD",
            part(|target| target.password.as_ref().map(Secret::to_string).unwrap_or_default()),
        ),
        ("DB_SSL_MODE", part(|target| target.ssl_mode.name().to_owned())),
        ("DB_SSL_ROOT_CERT", part(root)),
        ("DATABASE_URL", url.map(Postgres::to_string).unwrap_or_default()),
    ]
}
