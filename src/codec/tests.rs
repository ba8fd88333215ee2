//! Payloads as they were written once and are read for ever, and bytes that nobody wrote.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test that fails may panic; the golden payloads belong together"
)]

use proptest::prelude::*;

use super::*;

const STAMP: RequestStamp<'_> = RequestStamp { key: "k-1", fingerprint: 0x0102 };
const AT: Timestamp = Timestamp::from_millis(0x0A0B_0C0D);

fn transition(stamp: Option<RequestStamp<'_>>) -> Transition<'_> {
    Transition { event: EventNumber::new(7), row: RowNumber::new(9), at: AT, stamp }
}

fn held() -> Held<'static> {
    Held {
        event: EventNumber::new(7),
        row: RowNumber::new(9),
        tag: Tag::new(0x1122),
        user: UserNumber::new(3),
        tickets: Cow::Owned(vec![SlotIndex::new(4), SlotIndex::new(260)]),
        total: Amount::from_minor(3_998).unwrap(),
        at: AT,
        deadline: Timestamp::from_millis(0x0A0B_0C0E),
        stamp: None,
    }
}

/// One fact of every kind, and its payload in version 1.
fn golden() -> Vec<(Fact<'static>, u16, &'static str)> {
    let user = UserId { number: UserNumber::new(3), tag: Tag::new(0x1122) };
    let (email, name) = ("a@b", "Ada");
    let bound = KeyBound {
        stamp: STAMP,
        subject: Subject::HeldAlready(EventNumber::new(7), RowNumber::new(9)),
        at: AT,
    };
    let event = EventCreated {
        event: EventId { number: EventNumber::new(7), tag: Tag::new(0x1122) },
        ticket_key: TicketKey::new(0x55),
        name: "N",
        artist: "A",
        venue: "V",
        date: "D",
        total_seats: 500,
        price: Amount::from_minor(1_999).unwrap(),
        currency: Currency::DEFAULT,
        at: AT,
        stamp: None,
    };
    vec![
        (
            Fact::UserCreated(UserCreated { user, email, name, at: AT, stamp: Some(STAMP) }),
            16,
            "0300000022110000000000000d0c0b0a0000000003000000000000006140620300000000000000416461\
             0103000000000000006b2d3102010000000000000000000000000000",
        ),
        (
            Fact::UserUpdated(UserUpdated { user: user.number, email, name, at: AT }),
            17,
            "030000000d0c0b0a0000000003000000000000006140620300000000000000416461",
        ),
        (
            Fact::UserDeleted(UserDeleted { user: user.number, at: AT }),
            18,
            "030000000d0c0b0a00000000",
        ),
        (
            Fact::EventCreated(event),
            19,
            "070000002211000000000000550000000000000000000000000000000d0c0b0a00000000f4010000\
             cf0700000000000055534401000000000000004e010000000000000041010000000000000056010000\
             00000000004400",
        ),
        (
            Fact::Held(held()),
            20,
            "07000000090000002211000000000000030000000d0c0b0a000000000e0c0b0a000000009e0f000000\
             00000002000000000000000400000004010000 00",
        ),
        (Fact::Confirmed(transition(None)), 21, "07000000090000000d0c0b0a0000000000"),
        (
            Fact::Cancelled(transition(Some(STAMP))),
            22,
            "07000000090000000d0c0b0a000000000103000000000000006b2d31020100000000000000000000000\
             00000",
        ),
        (Fact::Expired(transition(None)), 23, "07000000090000000d0c0b0a0000000000"),
        (
            Fact::KeyBound(bound),
            24,
            "03000000000000006b2d310201000000000000000000000000000003070000000900 00000d0c0b0a00\
             000000",
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_kind_has_the_bytes_of_version_1() {
    for (fact, kind, expected) in golden() {
        let encoded = encode(&fact);
        assert_eq!((encoded.record.kind.get(), encoded.record.version), (kind, 1));
        assert_eq!(hex(encoded.payload()), expected.replace(' ', ""), "{fact:?}");
        let decoded = decode(encoded.record.kind, 1, encoded.payload()).unwrap();
        assert_eq!(decoded, fact);
    }
}

#[test]
fn a_single_ticket_booking_fits_into_a_frame_of_96_bytes() {
    let single = Held { tickets: Cow::Owned(vec![SlotIndex::new(1)]), ..held() };
    let payload = encode(&Fact::Held(single)).payload().len();
    assert!(wal::FRAME_HEADER_BYTES + payload <= 96, "{payload}");
}

#[test]
fn what_is_longest_fits() {
    let text = "\u{10FFFF}".repeat(TITLE_CHARS_MAX);
    let key = "k".repeat(KEY_CHARS_MAX);
    let date = "9".repeat(DATE_BYTES_MAX);
    let event = EventCreated {
        event: EventId { number: EventNumber::new(1), tag: Tag::new(0) },
        ticket_key: TicketKey::new(u128::MAX),
        name: &text,
        artist: &text,
        venue: &text,
        date: &date,
        total_seats: SEATS_PER_EVENT_MAX,
        price: Amount::MAX,
        currency: Currency::DEFAULT,
        at: Timestamp::MAX,
        stamp: Some(RequestStamp { key: &key, fingerprint: u128::MAX }),
    };
    assert!(encode(&Fact::EventCreated(event)).payload().len() <= FACT_BYTES_MAX);
    let tickets = (0..100).map(SlotIndex::new).collect();
    let longest =
        Held { tickets, stamp: Some(RequestStamp { key: &key, fingerprint: 0 }), ..held() };
    let encoded = encode(&Fact::Held(longest.clone()));
    assert_eq!(decode(encoded.record.kind, 1, encoded.payload()).unwrap(), Fact::Held(longest));
}

#[test]
fn bytes_that_are_missing_or_left_over_are_refused() {
    for (fact, ..) in golden() {
        let encoded = encode(&fact);
        let (kind, payload) = (encoded.record.kind, encoded.payload());
        for length in 0..payload.len() {
            let cut = decode(kind, 1, &payload[..length]);
            assert!(matches!(cut, Err(CodecError::Malformed(_))), "{fact:?} cut to {length}");
        }
        let longer = [payload, &[0]].concat();
        assert!(matches!(decode(kind, 1, &longer), Err(CodecError::TooLong(1))), "{fact:?}");
        assert!(matches!(decode(kind, 2, payload), Err(CodecError::Unknown { .. })));
    }
    assert!(matches!(decode(Kind::new(99), 1, &[]), Err(CodecError::Unknown { kind: 99, .. })));
}

#[test]
fn an_unknown_record_is_skipped_only_if_it_says_so() {
    let record = |ignorable| wal::Record {
        lsn: wal::Lsn::ZERO,
        end: wal::Lsn::ZERO,
        kind: Kind::new(99),
        version: 1,
        ignorable,
        epoch: 1,
        payload: &[],
    };
    assert!(matches!(decode_record(&record(true)), Ok(None)));
    assert!(matches!(decode_record(&record(false)), Err(CodecError::Unknown { .. })));
}

#[test]
fn a_hostile_length_allocates_nothing() {
    let encoded = encode(&Fact::Held(held()));
    let mut payload = encoded.payload().to_vec();
    let count = payload.len() - 1 - 8 - 8;
    payload[count..count + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    let refused = decode(encoded.record.kind, 1, &payload);
    assert!(matches!(refused, Err(CodecError::Malformed(_))), "{refused:?}");
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in 14_u16..27, payload in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(fact) = decode(Kind::new(kind), 1, &payload) {
            let encoded = encode(&fact);
            prop_assert_eq!(encoded.payload(), &payload[..], "one encoding for each fact");
        }
    }

    #[test]
    fn no_flipped_bit_panics(which in 0_usize..9, bit in any::<prop::sample::Index>()) {
        let (fact, ..) = golden().swap_remove(which);
        let encoded = encode(&fact);
        let mut payload = encoded.payload().to_vec();
        let bit = bit.index(payload.len() * 8);
        payload[bit / 8] ^= 1 << (bit % 8);
        if let Ok(decoded) = decode(encoded.record.kind, 1, &payload) {
            prop_assert_ne!(decoded, fact);
        }
    }
}

/// Found by fuzzing: what a key of a user or an event stands for has no row.
#[test]
fn a_row_where_there_is_none_is_refused() {
    let key_bound = |subject| {
        let stamp = RequestStamp { key: "", fingerprint: 0 };
        encode(&Fact::KeyBound(KeyBound { stamp, subject, at: AT })).payload().to_vec()
    };
    for subject in
        [Subject::UserCreated(UserNumber::new(3)), Subject::EventCreated(EventNumber::new(3))]
    {
        let mut payload = key_bound(subject);
        assert!(decode(KEY_BOUND, 1, &payload).is_ok());
        let row = payload.len() - size_of::<u64>() - size_of::<u32>();
        payload[row] = 1;
        assert!(matches!(decode(KEY_BOUND, 1, &payload), Err(CodecError::OutOfRange(_))));
    }
}
