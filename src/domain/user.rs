//! Users: an e-mail address that nobody else has, and a name.

use std::fmt;

/// How many users there can be, deleted ones included.
pub const USERS_MAX: u32 = 1 << 30;
/// The longest e-mail address accepted, in characters (RFC 5321, section 4.5.3.1.3).
pub const EMAIL_CHARS_MAX: usize = 254;
/// The longest name of a person accepted, in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// Why a text was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextFault {
    /// Nothing in it, or white space only.
    Blank,
    /// More characters than this.
    TooLong(usize),
    /// A control character in it.
    Control,
    /// Not of the form `local@domain`.
    NotAnEmail,
}

impl fmt::Display for TextFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("must not be blank"),
            Self::TooLong(max) => write!(f, "must have at most {max} characters"),
            Self::Control => f.write_str("must not contain control characters"),
            Self::NotAnEmail => f.write_str("must be an e-mail address of the form local@domain"),
        }
    }
}

impl std::error::Error for TextFault {}

/// Checks what every text has in common.
pub(super) fn check_text(text: &str, chars_max: usize) -> Result<(), TextFault> {
    if text.trim().is_empty() {
        return Err(TextFault::Blank);
    }
    if text.chars().count() > chars_max {
        return Err(TextFault::TooLong(chars_max));
    }
    if text.chars().any(char::is_control) {
        return Err(TextFault::Control);
    }
    Ok(())
}

/// An e-mail address as its owner wrote it; two that differ in case alone are the same address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Email(Box<str>);

impl Email {
    /// Accepts `local@domain` with no white space. Whether mail arrives there is not ours to know.
    pub fn parse(text: &str) -> Result<Self, TextFault> {
        check_text(text, EMAIL_CHARS_MAX)?;
        let (local, domain) = text.rsplit_once('@').ok_or(TextFault::NotAnEmail)?;
        let labels_sound = domain.split('.').all(|label| !label.is_empty());
        if local.is_empty() || local.contains('@') || !labels_sound {
            return Err(TextFault::NotAnEmail);
        }
        if text.contains(char::is_whitespace) {
            return Err(TextFault::NotAnEmail);
        }
        Ok(Self(text.into()))
    }

    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What uniqueness is decided by: the address with its ASCII letters in lower case. Beyond
    /// ASCII, what counts as the same letter changes with every version of Unicode, and a log must
    /// mean the same for ever.
    pub fn key(&self) -> Box<str> {
        self.0.to_ascii_lowercase().into()
    }
}

/// A person's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersonName(Box<str>);

impl PersonName {
    /// Accepts any text that is not blank and has no control characters.
    pub fn parse(text: &str) -> Result<Self, TextFault> {
        check_text(text, NAME_CHARS_MAX)?;
        Ok(Self(text.into()))
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_checked_for_their_form() {
        for good in ["a@b", "ada.lovelace@example.com", "Ünï@exämple.org", "a+b@c.d"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "a", "@b", "a@", "a@b@c", "a b@c", "a@b c", "a@.b", "a@b.", "a\n@b"] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
        let long = format!("{}@b", "a".repeat(EMAIL_CHARS_MAX - 2));
        assert!(Email::parse(&long).is_ok());
        let too_long = Email::parse(&format!("a{long}")).unwrap_err();
        assert_eq!(too_long, TextFault::TooLong(EMAIL_CHARS_MAX));
        assert_eq!(too_long.to_string(), "must have at most 254 characters");
    }

    #[test]
    fn emails_that_differ_in_case_alone_share_a_key() {
        let key = |text| Email::parse(text).unwrap().key();
        assert_eq!(key("Ada@Example.COM"), key("ada@example.com"));
        assert_ne!(key("ada@example.com"), key("bob@example.com"));
    }
}
