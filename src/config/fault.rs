//! Why a configuration was refused: one line.

use std::fmt;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::flags::Given;

/// How much of a bad value is shown.
const VALUE_CHARS_SHOWN: usize = 100;

/// Why a configuration was refused, as one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// A setting whose value is not allowed.
    pub(super) fn value(given: &Given, value: &str, allowed: &str) -> Self {
        let Given { variable, source, .. } = given;
        if given.is_secret() {
            return Self::line(format!("{variable} (from {source}, value not shown): {allowed}"));
        }
        let mut shown: String = value.chars().take(VALUE_CHARS_SHOWN).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self::line(format!("{variable}={shown:?} (from {source}): {allowed}"))
    }

    /// A setting that is missing, or that contradicts another.
    pub(super) fn settings(text: impl Into<String>) -> Self {
        Self::line(text.into())
    }

    /// A file that could not be taken in.
    pub(super) fn file(path: &Path, what: &str) -> Self {
        Self::line(format!("{} {what}", path.display()))
    }

    /// A `.env` file with a line that is none. The line itself stays out of the message: it may
    /// hold a secret.
    pub(super) fn dotenv(path: &Path, text: &str, error: &dotenvy::Error) -> Self {
        let allowed = "must be NAME=value, with quotes around a value that has blanks, # or $";
        let dotenvy::Error::LineParse(bad, _) = error else {
            return Self::file(path, &format!("cannot be read: {error}"));
        };
        let first = bad.lines().next().unwrap_or_default();
        match text.lines().position(|line| line.trim_end() == first.trim_end()) {
            Some(place) => Self::file(path, &format!("line {}: {allowed}", place + 1)),
            None => Self::file(path, &format!("has a line that cannot be read: {allowed}")),
        }
    }

    /// What clap found, said in our words where it concerns one setting.
    pub(super) fn command_line(error: &clap::Error, find: impl Fn(&str) -> Option<Given>) -> Self {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            Some(_) | None => None,
        };
        // clap names an argument as `--long <VALUE>`.
        let flag = text(ContextKind::InvalidArg).and_then(|argument| argument.split(' ').next());
        let given = flag.and_then(find);
        let value = text(ContextKind::InvalidValue).unwrap_or_default();
        let reason = std::error::Error::source(error).map(ToString::to_string);
        match (error.kind(), given, reason) {
            (ErrorKind::ValueValidation, Some(given), Some(reason)) => {
                Self::value(&given, value, &reason)
            }
            (ErrorKind::InvalidValue, Some(given), _) => {
                Self::line(format!("{} (from {}): needs a value", given.variable, given.source))
            }
            (_, _, _) => {
                let rendered = error.render().to_string();
                let first = rendered.lines().next().unwrap_or("bad command line");
                let first = first.strip_prefix("error: ").unwrap_or(first);
                Self::line(format!("{first}; see --help"))
            }
        }
    }

    /// Keeps the promise of one line whatever the parts contain.
    fn line(text: String) -> Self {
        let escape = |c: char| if c.is_control() { ' ' } else { c };
        Self(text.chars().map(escape).collect())
    }
}
