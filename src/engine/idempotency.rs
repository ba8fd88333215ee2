//! Idempotency keys: the same key and request get the first success again.
//!
//! A key is in flight from the moment its request reaches the seats until the answer is durable (or
//! its client has gone); then it stands for that success, or is forgotten if there was none. The
//! record of the success itself carries key and fingerprint, so that what was done and what the key
//! stands for become durable together.
//!
//! In memory a key is its 128-bit SipHash under a secret of this process: of fixed size, and not to
//! be made to collide from outside. The map is lock-free; each entry is replaced whole.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use crate::domain::{KEY_RETENTION, Refusal, RequestStamp, Subject, Timestamp};
use crate::sync::HashMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    InFlight { fingerprint: u128 },
    Done { fingerprint: u128, subject: Subject, at: Timestamp },
}

impl Entry {
    fn fingerprint(self) -> u128 {
        match self {
            Self::InFlight { fingerprint } | Self::Done { fingerprint, .. } => fingerprint,
        }
    }
}

/// All keys.
#[derive(Debug)]
pub(super) struct Keys {
    entries: HashMap<u128, Entry>,
    secret: [u8; 16],
    /// How many are kept; over it, requests that carry a new one are refused.
    max: usize,
}

/// What a request's key, if it has one, turned out to be.
#[derive(Debug, Default)]
pub(super) enum Key<'e> {
    /// The request carries none.
    #[default]
    None,
    /// New: this request is the one in flight.
    New(KeyInFlight<'e>),
    /// The request was answered before.
    Seen(Subject, Timestamp),
}

/// A key whose request is being served; dropping it ends that.
#[derive(Debug)]
pub(super) struct KeyInFlight<'e> {
    keys: &'e Keys,
    hash: u128,
    fingerprint: u128,
    success: Option<(Subject, Timestamp)>,
}

impl Key<'_> {
    /// The success to give again.
    pub(super) fn replay(&self) -> Option<(Subject, Timestamp)> {
        match self {
            Self::Seen(subject, at) => Some((*subject, *at)),
            Self::None | Self::New(_) => None,
        }
    }

    /// From the end of this request on, the key stands for this.
    pub(super) fn succeeded(&mut self, subject: Subject, at: Timestamp) {
        match self {
            Self::New(key) => key.success = Some((subject, at)),
            Self::None | Self::Seen(..) => {}
        }
    }
}

impl Drop for KeyInFlight<'_> {
    fn drop(&mut self) {
        let entries = self.keys.entries.pin();
        match self.success {
            Some((subject, at)) => {
                let fingerprint = self.fingerprint;
                entries.insert(self.hash, Entry::Done { fingerprint, subject, at });
            }
            None => {
                entries.remove(&self.hash);
            }
        }
    }
}

impl Keys {
    pub(super) fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), secret: rand::random(), max }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn hash(&self, key: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        hasher.write(key.as_bytes());
        hasher.finish128().as_u128()
    }

    /// Begins a request with this key.
    pub(super) fn begin(&self, stamp: RequestStamp<'_>) -> Result<Key<'_>, Refusal> {
        let (hash, fingerprint) = (self.hash(stamp.key), stamp.fingerprint);
        let entries = self.entries.pin();
        if entries.len() >= self.max && entries.get(&hash).is_none() {
            return Err(Refusal::Overloaded);
        }
        let Err(occupied) = entries.try_insert(hash, Entry::InFlight { fingerprint }) else {
            return Ok(Key::New(KeyInFlight { keys: self, hash, fingerprint, success: None }));
        };
        match *occupied.current {
            entry if entry.fingerprint() != fingerprint => Err(Refusal::KeyReused),
            Entry::InFlight { .. } => Err(Refusal::RequestInFlight),
            Entry::Done { subject, at, .. } => Ok(Key::Seen(subject, at)),
        }
    }

    /// Restores what a key stood for.
    pub(super) fn restore(&self, key: &str, fingerprint: u128, subject: Subject, at: Timestamp) {
        self.entries.pin().insert(self.hash(key), Entry::Done { fingerprint, subject, at });
    }

    /// Forgets keys whose time is over.
    pub(super) fn purge(&self, now: Timestamp) {
        self.entries.pin().retain(|_, entry| match *entry {
            Entry::InFlight { .. } => true,
            Entry::Done { at, .. } => at + KEY_RETENTION > now,
        });
    }
}

#[cfg(all(test, not(booking_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::UserNumber;

    const STAMP: RequestStamp<'_> = RequestStamp { key: "k", fingerprint: 1 };
    const SUBJECT: Subject = Subject::UserCreated(UserNumber::new(7));

    fn now() -> Timestamp {
        Timestamp::from_millis(1_000)
    }

    #[test]
    fn a_success_is_given_again_and_a_refusal_is_forgotten() {
        let keys = Keys::new(8);
        drop(keys.begin(STAMP).unwrap());
        let mut key = keys.begin(STAMP).unwrap();
        assert!(key.replay().is_none(), "the first request came to nothing");
        assert_eq!(keys.begin(STAMP).unwrap_err(), Refusal::RequestInFlight);
        key.succeeded(SUBJECT, now());
        drop(key);
        assert_eq!(keys.begin(STAMP).unwrap().replay(), Some((SUBJECT, now())));
    }

    #[test]
    fn a_key_belongs_to_one_request() {
        let keys = Keys::new(8);
        keys.restore(STAMP.key, STAMP.fingerprint, SUBJECT, now());
        let other = RequestStamp { fingerprint: 2, ..STAMP };
        assert_eq!(keys.begin(other).unwrap_err(), Refusal::KeyReused);
        let in_flight = keys.begin(RequestStamp { key: "l", fingerprint: 1 }).unwrap();
        assert_eq!(
            keys.begin(RequestStamp { key: "l", fingerprint: 2 }).unwrap_err(),
            Refusal::KeyReused
        );
        drop(in_flight);
    }

    #[test]
    fn keys_are_kept_for_a_day() {
        let keys = Keys::new(8);
        keys.restore(STAMP.key, STAMP.fingerprint, SUBJECT, now());
        keys.purge(now() + (KEY_RETENTION - Duration::from_millis(1)));
        assert_eq!(keys.len(), 1);
        keys.purge(now() + KEY_RETENTION);
        assert_eq!(keys.len(), 0);
    }

    #[test]
    fn a_full_table_refuses_new_keys_and_knows_the_old_ones() {
        let keys = Keys::new(1);
        keys.restore(STAMP.key, STAMP.fingerprint, SUBJECT, now());
        let new = RequestStamp { key: "new", fingerprint: 1 };
        assert_eq!(keys.begin(new).unwrap_err(), Refusal::Overloaded);
        assert_eq!(keys.begin(STAMP).unwrap().replay(), Some((SUBJECT, now())));
    }
}
