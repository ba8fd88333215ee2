//! A believable set of people, halls and shows, for demonstrations.

use anyhow::Context as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::Client;

/// A show that is on sale: name, artist, venue, date, seats, price in cents.
type Bill = (&'static str, &'static str, &'static str, &'static str, u32, u64);

const BILLS: [Bill; 6] = [
    (
        "Summer Night",
        "The Analytical Engines",
        "Royal Albert Hall, London",
        "2027-07-01T20:00:00+01:00",
        240,
        7_500,
    ),
    ("Winterreise", "Mezzo & Steinway", "Wigmore Hall, London", "2027-01-17T19:30:00Z", 120, 4_250),
    (
        "Le Sacre du printemps",
        "Orchestre de la Ville",
        "Philharmonie de Paris",
        "2027-05-29T20:30:00+02:00",
        360,
        6_800,
    ),
    (
        "Kind of Blue Revisited",
        "The Hopper Quintet",
        "Village Vanguard, New York",
        "2027-03-02T21:00:00-05:00",
        60,
        5_500,
    ),
    ("Tosca", "Teatro Itinerante", "Arena di Verona", "2027-08-14T21:15:00+02:00", 500, 11_900),
    (
        "Unplugged",
        "Null & The Pointers",
        "Paradiso, Amsterdam",
        "2027-04-09T20:00:00+02:00",
        180,
        3_300,
    ),
];

const PEOPLE: [&str; 16] = [
    "Ada Lovelace",
    "Grace Hopper",
    "Alan Turing",
    "Katherine Johnson",
    "Edsger Dijkstra",
    "Barbara Liskov",
    "Donald Knuth",
    "Frances Allen",
    "Tony Hoare",
    "Radia Perlman",
    "Niklaus Wirth",
    "Adele Goldberg",
    "John Backus",
    "Lynn Conway",
    "Leslie Lamport",
    "Margaret Hamilton",
];

/// Somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Person {
    pub(super) id: Uuid,
    pub(super) name: &'static str,
}

/// Something to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Show {
    pub(super) id: Uuid,
    pub(super) name: &'static str,
    pub(super) venue: &'static str,
}

/// Everything that was made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Town {
    pub(super) people: Vec<Person>,
    pub(super) shows: Vec<Show>,
    pub(super) confirmed: u32,
    pub(super) cancelled: u32,
    pub(super) pending: u32,
}

impl Town {
    /// Makes it; `run` sets its people's addresses apart from those of other runs.
    pub(super) fn make(client: &mut Client, run: &str) -> anyhow::Result<Self> {
        let mut town = Self::default();
        for name in PEOPLE {
            let local = name.to_lowercase().replace(' ', ".");
            let body = json!({"email": format!("{local}+{run}@example.com"), "name": name});
            let made = created(client, "/api/users", &body)?;
            town.people.push(Person { id: id(&made, "user_id")?, name });
        }
        for (name, artist, venue, date, seats, cents) in BILLS {
            // Money is written by hand: a float could not hold every amount.
            let body = format!(
                r#"{{"name":"{name}","artist":"{artist}","venue":"{venue}","date":"{date}","total_seats":{seats},"price":{}.{:02}}}"#,
                cents / 100,
                cents % 100
            );
            let made = client.ask_post("/api/events", &body)?.expect(201, "POST /api/events")?;
            let made: Value = serde_json::from_slice(&made.body)?;
            town.shows.push(Show { id: id(&made, "event_id")?, name, venue });
        }
        for show in 0..town.shows.len() {
            town.sell_some(client, show)?;
        }
        Ok(town)
    }

    /// Some people have been there before: parties of one to four, most of whom have paid.
    fn sell_some(&mut self, client: &mut Client, show: usize) -> anyhow::Result<()> {
        let event = self.shows[show].id;
        let tickets = client.get(&format!("/api/events/{event}/tickets/available?limit=60"))?;
        let tickets: Vec<Value> = serde_json::from_slice(&tickets.body)?;
        let mut tickets = tickets.iter().map(|ticket| ticket["id"].clone());
        for party in 0..PEOPLE.len() / 2 {
            let person = &self.people[(party * 2 + show) % PEOPLE.len()];
            let seats: Vec<Value> = tickets.by_ref().take(1 + party % 4).collect();
            let body = json!({"user_id": person.id, "event_id": event, "ticket_ids": seats});
            let booking = id(&created(client, "/api/bookings", &body)?, "booking_id")?;
            let (count, verb) = match party {
                0 => {
                    self.pending += 1;
                    continue;
                }
                1 => (&mut self.cancelled, "cancel"),
                _ => (&mut self.confirmed, "confirm"),
            };
            let path = format!("/api/bookings/{booking}/{verb}");
            let owner = json!({"user_id": person.id}).to_string();
            client.ask_post(&path, &owner)?.expect(200, &path)?;
            *count += 1;
        }
        Ok(())
    }
}

fn created(client: &mut Client, path: &str, body: &Value) -> anyhow::Result<Value> {
    let made = client.ask_post(path, &body.to_string())?.expect(201, path)?;
    Ok(serde_json::from_slice(&made.body)?)
}

/// An id among the members of an answer.
pub(super) fn id(answer: &Value, member: &str) -> anyhow::Result<Uuid> {
    let id = answer[member].as_str().and_then(|id| Uuid::try_parse(id).ok());
    id.with_context(|| format!("an answer has no {member}"))
}
