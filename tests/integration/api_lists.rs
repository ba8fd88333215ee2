//! Lists: whole, filtered, and page by page.

use serde_json::Value;

use crate::harness::{Client, Show, shared};

/// Follows the Links from `path` to the end; no page may be longer than `limit`.
#[track_caller]
fn all_pages(client: &Client, path: &str, limit: usize) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let reply = client.get(&path).expect(200);
        assert!(
            reply.array().len() <= limit,
            "{path}: {} entries for a limit of {limit}",
            reply.array().len()
        );
        all.extend(reply.array().iter().cloned());
        assert!(all.len() < 100_000, "the pages never end");
        next = reply.next_page();
    }
    all
}

/// A show of ten seats of which 1 to 3 are held, 4 and 5 sold.
fn half_sold_show(client: &Client) -> Show {
    let show = client.create_show(10);
    let user = client.create_user();
    client.hold(&user, &show.id, &show.tickets[..3]);
    let bought = client.hold(&user, &show.id, &show.tickets[3..5]);
    client.confirm(&bought, &user).expect(200);
    show
}

fn seats(tickets: &[Value]) -> Vec<u64> {
    let seats = tickets.iter().map(|ticket| ticket["seat_number"].as_u64());
    seats.map(|seat| seat.expect("a seat number")).collect()
}

#[test]
fn a_whole_list_comes_without_a_limit() {
    let client = shared();
    let show = client.create_show(300);
    let reply = client.get(&format!("/api/events/{}/tickets", show.id));
    assert_eq!(reply.array().len(), 300);
    assert!(reply.next_page().is_none(), "a whole list has no next page");
}

#[test]
fn tickets_come_page_by_page_in_seat_order() {
    let client = shared();
    let show = client.create_show(10);
    for limit in [1, 3, 5, 10, 11] {
        let path = format!("/api/events/{}/tickets?limit={limit}", show.id);
        let tickets = all_pages(client, &path, limit);
        let due: Vec<u64> = (1..=10).collect();
        assert_eq!(seats(&tickets), due, "pages of {limit}");
    }
}

#[test]
fn a_first_page_leads_on_and_a_last_page_does_not() {
    let client = shared();
    let show = client.create_show(4);
    let first = client.get(&format!("/api/events/{}/tickets?limit=3", show.id)).expect(200);
    assert_eq!(seats(first.array()), [1, 2, 3]);
    let next = first.next_page().expect("there is a fourth seat");
    let last = client.get(&next).expect(200);
    assert_eq!(seats(last.array()), [4]);
    assert!(last.next_page().is_none(), "nothing follows the last seat");
}

#[test]
fn tickets_are_listed_by_status() {
    let client = shared();
    let show = half_sold_show(client);
    let path = format!("/api/events/{}/tickets", show.id);
    let listed = |status: &str| {
        let tickets = client.get(&format!("{path}?status={status}")).expect(200);
        seats(tickets.array())
    };
    assert_eq!(listed("reserved"), [1, 2, 3]);
    assert_eq!(listed("sold"), [4, 5]);
    assert_eq!(listed("available"), [6, 7, 8, 9, 10]);
    assert_eq!(listed("cancelled"), [0; 0]);
    let paged = all_pages(client, &format!("{path}?status=reserved&limit=2"), 2);
    assert_eq!(seats(&paged), [1, 2, 3], "filtered and paged");
}

#[test]
fn available_tickets_have_a_list_of_their_own() {
    let client = shared();
    let show = half_sold_show(client);
    let path = format!("/api/events/{}/tickets/available", show.id);
    let whole = client.get(&path).expect(200);
    assert_eq!(seats(whole.array()), [6, 7, 8, 9, 10]);
    assert!(whole.array().iter().all(|t| t["status"] == "available"));
    let paged = all_pages(client, &format!("{path}?limit=2"), 2);
    assert_eq!(paged, *whole.array());
}

#[test]
fn a_users_bookings_come_newest_first() {
    let client = shared();
    let (show, other_show) = (client.create_show(4), client.create_show(2));
    let user = client.create_user();
    let mut made = vec![
        client.hold(&user, &show.id, &show.tickets[..1]),
        client.hold(&user, &other_show.id, &other_show.tickets[..1]),
        client.hold(&user, &show.id, &show.tickets[1..3]),
        client.hold(&user, &other_show.id, &other_show.tickets[1..]),
    ];
    made.reverse();
    let ids = |bookings: &[Value]| -> Vec<String> {
        let ids = bookings.iter().map(|b| b["id"].as_str());
        ids.map(|id| id.expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&client.bookings_of(&user)), made);
    let path = format!("/api/users/{user}/bookings?limit=3");
    assert_eq!(ids(&all_pages(client, &path, 3)), made, "page by page");
}

#[test]
fn a_users_bookings_are_listed_by_status() {
    let client = shared();
    let show = client.create_show(3);
    let user = client.create_user();
    let pending = client.hold(&user, &show.id, &show.tickets[..1]);
    let confirmed = client.hold(&user, &show.id, &show.tickets[1..2]);
    let cancelled = client.hold(&user, &show.id, &show.tickets[2..]);
    client.confirm(&confirmed, &user).expect(200);
    client.cancel(&cancelled, &user).expect(200);
    for (status, due) in [
        ("pending", Some(&pending)),
        ("confirmed", Some(&confirmed)),
        ("cancelled", Some(&cancelled)),
        ("expired", None),
    ] {
        let path = format!("/api/users/{user}/bookings?status={status}");
        let reply = client.get(&path).expect(200);
        let ids: Vec<&Value> = reply.array().iter().map(|b| &b["id"]).collect();
        let due: Vec<&String> = due.into_iter().collect();
        assert_eq!(ids, due, "the {status} bookings");
    }
}

#[test]
fn a_listed_booking_is_the_booking() {
    let client = shared();
    let show = client.create_show(1);
    let user = client.create_user();
    let id = client.hold(&user, &show.id, &show.tickets);
    let listed = client.bookings_of(&user);
    assert_eq!(listed, [client.booking(&id).expect(200).json]);
}

#[test]
fn a_user_without_bookings_has_an_empty_list() {
    let client = shared();
    let user = client.create_user();
    assert_eq!(client.bookings_of(&user), [Value::Null; 0]);
}

#[test]
fn a_listed_event_is_the_event() {
    let client = shared();
    let show = half_sold_show(client);
    let listed = client.get("/api/events").expect(200);
    let found = listed.array().iter().find(|e| e["id"] == show.id.as_str());
    assert_eq!(found, Some(&client.event(&show.id).expect(200).json));
}

#[test]
fn events_come_page_by_page_each_once() {
    let client = shared();
    let shows: Vec<Show> = (0..5).map(|_| client.create_show(1)).collect();
    let events = all_pages(client, "/api/events?limit=4", 4);
    let mut ids: Vec<&str> = events.iter().filter_map(|e| e["id"].as_str()).collect();
    ids.sort_unstable();
    let listed = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), listed, "an event stands on two pages");
    for show in &shows {
        assert!(ids.contains(&show.id.as_str()), "a new event is missing");
    }
}
