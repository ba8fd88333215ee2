//! Money: exact, in whole minor units, in and out.

use serde_json::json;

use crate::harness::{Call, Reply, shared};

fn event_at(price: &str, currency: Option<&str>) -> Call {
    let currency = currency.map_or(String::new(), |code| format!(r#","currency":"{code}""#));
    Call::new("POST", "/api/events").json(&format!(
        r#"{{"name":"N","artist":"A","venue":"V","date":"2027-01-01T00:00:00Z","total_seats":3,"price":{price}{currency}}}"#
    ))
}

/// Books the first `count` seats of an event with this price.
fn book_at(price: &str, currency: Option<&str>, count: usize) -> Reply {
    let client = shared();
    let made = client.send(&event_at(price, currency)).expect(201);
    let event = made.str("event_id");
    let tickets = client.tickets(event);
    let ids: Vec<&str> = tickets.iter().filter_map(|t| t["id"].as_str()).collect();
    client.book(&client.create_user(), event, &ids[..count])
}

/// The digits of a number in the text of the answer.
#[track_caller]
fn digits<'r>(reply: &'r Reply, member: &str) -> &'r str {
    let start = format!("\"{member}\":");
    let (_, rest) = reply.text.split_once(&start).expect("the member is there");
    rest.split([',', '}']).next().unwrap_or_default()
}

#[test]
fn totals_are_exact() {
    for (price, count, totals) in [
        ("19.99", 3, &["59.97"][..]),
        ("0.10", 3, &["0.30", "0.3"]),
        ("75.00", 2, &["150.00", "150", "150.0"]),
        ("33.33", 3, &["99.99"]),
        ("1.15", 3, &["3.45"]),
        ("1234567.89", 3, &["3703703.67"]),
    ] {
        let reply = book_at(price, None, count).expect(201);
        let total = digits(&reply, "total_amount");
        assert!(totals.contains(&total), "{count} times {price} is not {total}");
    }
}

#[test]
fn a_price_comes_back_digit_by_digit() {
    let client = shared();
    for price in ["75.25", "19.99", "0.01", "90071992547.41"] {
        let made = client.send(&event_at(price, None)).expect(201);
        let read = client.event(made.str("event_id")).expect(200);
        assert_eq!(digits(&made, "price"), price);
        assert_eq!(digits(&read, "price"), price);
    }
}

#[test]
fn more_decimals_than_the_currency_has_are_refused() {
    let client = shared();
    for (price, currency) in
        [("1.005", None), ("0.001", Some("EUR")), ("5000.5", Some("JPY")), ("1.0005", Some("KWD"))]
    {
        let reply =
            client.send(&event_at(price, currency)).expect_refusal(422, "validation_failed");
        assert!(reply.text.contains("price"), "{}", reply.text);
    }
}

#[test]
fn currencies_keep_their_own_decimals() {
    let reply = book_at("1.005", Some("KWD"), 3).expect(201);
    assert_eq!(digits(&reply, "total_amount"), "3.015");
    let reply = book_at("5000", Some("JPY"), 3).expect(201);
    assert_eq!(digits(&reply, "total_amount"), "15000");
    let id = reply.str("booking_id");
    assert_eq!(shared().booking(id).expect(200).str("currency"), "JPY");
}

#[test]
fn a_price_that_is_no_amount_is_refused() {
    let client = shared();
    for price in ["-0.01", "99999999999999999999", "1e300", "\"75.00\"", "null"] {
        let reply = client.send(&event_at(price, None));
        assert!(
            matches!(reply.status, 400 | 422),
            "a price of {price} was answered {}: {}",
            reply.status,
            reply.text
        );
        reply.assert_problem();
    }
}

#[test]
fn a_total_never_overflows() {
    let client = shared();
    let reply = client.send(&event_at("90000000000000.00", None));
    if reply.status == 201 {
        let event = reply.str("event_id");
        let tickets = client.tickets(event);
        let ids: Vec<&str> = tickets.iter().filter_map(|t| t["id"].as_str()).collect();
        let user = client.create_user();
        client.book(&user, event, &ids).expect_refusal(422, "validation_failed");
        let event = client.event(event).expect(200);
        assert_eq!(event.json["available"], 3, "refused, yet it took seats");
    } else {
        reply.expect_refusal(422, "validation_failed");
    }
}

#[test]
fn a_ticket_costs_what_its_event_says() {
    let client = shared();
    let show = client.create_show_at(2, 1_999);
    for ticket in client.tickets(&show.id) {
        assert_eq!(ticket["price"], json!(19.99));
    }
}
