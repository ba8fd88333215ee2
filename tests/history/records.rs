//! The log as the second source: what the server says has happened, in the order of cause.

use std::path::PathBuf;

use booking_manager::codec;
use booking_manager::domain::{
    BookingId, EventNumber, Fact, RequestStamp, RowNumber, SlotIndex, Subject, Transition,
    UserNumber,
};
use wal::Reader;

use super::history::KeyNumber;

/// A record of the log.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) lsn: u64,
    /// The clock value that it carries, in milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) key: Option<KeyNumber>,
    pub(crate) deed: Deed,
}

/// What a record says.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Event {
        event: EventNumber,
        seats: u32,
        /// In cents.
        price: i64,
    },
    Held {
        booking: BookingId,
        user: UserNumber,
        slots: Box<[SlotIndex]>,
        total: i64,
        deadline: u64,
    },
    Ended {
        event: EventNumber,
        row: RowNumber,
        how: How,
    },
    KeyBound(Subject),
    /// A user was created.
    User,
}

/// How a pending booking ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Confirmed,
    Cancelled,
    Expired,
}

/// Reads the log of a data directory, piece by piece.
#[derive(Debug)]
pub(crate) struct LogReader {
    directory: PathBuf,
    reader: Option<Reader>,
}

impl LogReader {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, reader: None }
    }

    /// What has come since the last time. The server must have been started again since it was
    /// killed: it is recovery that says where the log of the time before ends.
    pub(crate) fn read_on(&mut self) -> Vec<Record> {
        let reader = self.reader.get_or_insert_with(|| {
            Reader::open(self.directory.clone()).expect("the log can be read")
        });
        let mut records = Vec::new();
        while let Some(record) = reader.next_record().expect("the log is sound") {
            let fact = codec::decode_record(&record).expect("a record is a fact");
            let fact = fact.expect("a fact that this version knows");
            records.push(record_of(record.lsn.get(), &fact));
        }
        records
    }
}

fn record_of(lsn: u64, fact: &Fact<'_>) -> Record {
    let at = fact.at().millis();
    let (key, deed) = match fact {
        Fact::UserCreated(fact) => (fact.stamp, Deed::User),
        Fact::UserUpdated(_) | Fact::UserDeleted(_) => {
            panic!("a change of users that nobody asks for at {lsn}: {fact:?}")
        }
        Fact::EventCreated(fact) => {
            let event = fact.event.number;
            let (seats, price) = (fact.total_seats, fact.price.minor());
            (fact.stamp, Deed::Event { event, seats, price })
        }
        Fact::Held(fact) => {
            let booking = BookingId { event: fact.event, row: fact.row, tag: fact.tag };
            let held = Deed::Held {
                booking,
                user: fact.user,
                slots: fact.tickets.as_ref().into(),
                total: fact.total.minor(),
                deadline: fact.deadline.millis(),
            };
            (fact.stamp, held)
        }
        Fact::Confirmed(fact) => ended(fact, How::Confirmed),
        Fact::Cancelled(fact) => ended(fact, How::Cancelled),
        Fact::Expired(fact) => ended(fact, How::Expired),
        Fact::KeyBound(fact) => (Some(fact.stamp), Deed::KeyBound(fact.subject)),
    };
    Record { lsn, at, key: key.map(key_number), deed }
}

fn ended<'a>(fact: &Transition<'a>, how: How) -> (Option<RequestStamp<'a>>, Deed) {
    (fact.stamp, Deed::Ended { event: fact.event, row: fact.row, how })
}

fn key_number(stamp: RequestStamp<'_>) -> KeyNumber {
    let number = KeyNumber::parse(stamp.key);
    number.unwrap_or_else(|| panic!("a record carries the key {:?}, which nobody sent", stamp.key))
}
