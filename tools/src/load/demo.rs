//! One booking's life, told step by step: what is asked, what is answered, and what that means.

use std::io::Write;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::Status;
use crate::output::Output;

use super::client::{Client, Reply};
use super::run;
use super::server::Server;
use super::town::{self, Town};

/// How much of a long answer is shown.
const SHOWN: usize = 420;

/// Fills the server, then tells the story.
pub(super) fn demo(server: &Server, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    output.be_prompt();
    let mut client = server.client();
    let run = run::name();
    let town = Town::make(&mut client, &run)?;
    output.line(format_args!(
        "{} people and {} shows were made, and {} bookings: {} paid, {} cancelled, {} undecided.",
        town.people.len(),
        town.shows.len(),
        town.confirmed + town.cancelled + town.pending,
        town.confirmed,
        town.cancelled,
        town.pending
    ))?;
    for show in &town.shows {
        output.line(format_args!("  {} at {}: {}", show.name, show.venue, show.id))?;
    }
    let mut story = Story { client, output, run, step: 0, surprises: 0 };
    story.tell(&town)?;
    story.end()
}

/// A story while it is told.
struct Story<'o, W: Write> {
    client: Client,
    output: &'o mut Output<W>,
    run: String,
    step: u32,
    /// Answers that were not what they should have been.
    surprises: u32,
}

impl<W: Write> Story<'_, W> {
    fn tell(&mut self, town: &Town) -> anyhow::Result<()> {
        let show = &town.shows[0];
        let (ada, grace) = (&town.people[0], &town.people[1]);
        self.says(&format!("{} looks which seats of {} are free.", ada.name, show.name))?;
        let free = self.get(&format!("/api/events/{}/tickets/available?limit=3", show.id), 200)?;
        self.means(
            "Seats in seat order, three to a page. A Link header leads on to the next page.",
        )?;
        let seats: Vec<Uuid> =
            (0..3).map(|seat| town::id(&free[seat], "id")).collect::<anyhow::Result<_>>()?;
        let booking = self.hold(show.id, ada.id, grace.id, &seats)?;
        self.pay(booking, ada.id, grace.id)?;
        self.afterwards(show.id, booking, ada.id)
    }

    /// Ada holds two seats; Grace wants one of them.
    fn hold(
        &mut self,
        event: Uuid,
        ada: Uuid,
        grace: Uuid,
        seats: &[Uuid],
    ) -> anyhow::Result<Uuid> {
        self.says("She holds two of them.")?;
        let order =
            json!({"user_id": ada, "event_id": event, "ticket_ids": &seats[..2]}).to_string();
        let key = format!("{}-hold", self.run);
        let held = self.post_keyed("/api/bookings", &key, &order, 201)?;
        let booking = town::id(&held, "booking_id")?;
        self.means(
            "Both seats are hers until expires_at, and the log has that on disk: this answer was \
             not sent before. Had one of them been taken, she would have got neither.",
        )?;
        self.says("Her telephone lost the answer, so it asks again with the same key.")?;
        let again = self.post_keyed("/api/bookings", &key, &order, 201)?;
        self.check(again["booking_id"] == held["booking_id"], "this is another booking")?;
        self.means("The first answer again, not a second booking.")?;
        self.says("Grace wants one of Ada's seats, and the one beside it.")?;
        let wish = json!({"user_id": grace, "event_id": event, "ticket_ids": &seats[1..]});
        let refused = self.post("/api/bookings", &wish, 409)?;
        self.check(refused["code"] == "seats_unavailable", "another code was due")?;
        self.means(
            "All or nothing: she gets neither. conflicts names the seat that was in the way, so \
             that she can choose another; the free one stays free.",
        )?;
        Ok(booking)
    }

    /// Only Ada can pay, and paying is final.
    fn pay(&mut self, booking: Uuid, ada: Uuid, grace: Uuid) -> anyhow::Result<()> {
        let (confirm, cancel) =
            (format!("/api/bookings/{booking}/confirm"), format!("/api/bookings/{booking}/cancel"));
        self.says("Grace tries to confirm Ada's booking.")?;
        self.post(&confirm, &json!({"user_id": grace}), 403)?;
        self.means("A booking is its owner's alone.")?;
        self.says("Ada pays.")?;
        let paid = self.post(&confirm, &json!({"user_id": ada}), 200)?;
        self.check(paid["status"] == "confirmed", "it should be confirmed")?;
        self.means("The hold has become a sale. Its deadline means nothing any more.")?;
        self.says("She taps the button twice.")?;
        self.post(&confirm, &json!({"user_id": ada}), 200)?;
        self.means("Repeating what has happened is no error, and changes nothing.")?;
        self.says("She thinks better of it.")?;
        let refused = self.post(&cancel, &json!({"user_id": ada}), 409)?;
        self.check(refused["code"] == "already_confirmed", "another code was due")?;
        self.means("What is sold is sold.")
    }

    fn afterwards(&mut self, event: Uuid, booking: Uuid, ada: Uuid) -> anyhow::Result<()> {
        self.says("Anybody can read the booking,")?;
        let read = self.get(&format!("/api/bookings/{booking}"), 200)?;
        self.check(
            read["status"] == "confirmed" && read["user_id"] == ada.to_string(),
            "it was told otherwise",
        )?;
        self.means("also after a kill -9: start the server again and ask for it.")?;
        self.says("The event has counted along.")?;
        let event = self.get(&format!("/api/events/{event}"), 200)?;
        let count = |name: &str| event[name].as_u64().unwrap_or(0);
        let all = count("available") + count("reserved") + count("sold");
        self.check(all == count("total_seats"), "the counters do not add up")?;
        self.means("available, reserved and sold are of one instant: they always add up.")
    }

    /// A new step.
    fn says(&mut self, what: &str) -> anyhow::Result<()> {
        self.step += 1;
        self.output.line("")?;
        self.output.line(format_args!("{}. {what}", self.step))
    }

    fn means(&mut self, what: &str) -> anyhow::Result<()> {
        self.output.line(format_args!("   {what}"))
    }

    fn check(&mut self, right: bool, otherwise: &str) -> anyhow::Result<()> {
        if right {
            return Ok(());
        }
        self.surprises += 1;
        self.output.line(format_args!("   WRONG: {otherwise}."))
    }

    fn get(&mut self, target: &str, due: u16) -> anyhow::Result<Value> {
        self.output.line(format_args!("   > GET {target}"))?;
        let reply = self.client.ask_get(target)?;
        self.answered(&reply, due)
    }

    fn post(&mut self, path: &str, body: &Value, due: u16) -> anyhow::Result<Value> {
        self.output.line(format_args!("   > POST {path}"))?;
        self.output.line(format_args!("   > {body}"))?;
        let reply = self.client.ask_post(path, &body.to_string())?;
        self.answered(&reply, due)
    }

    fn post_keyed(&mut self, path: &str, key: &str, body: &str, due: u16) -> anyhow::Result<Value> {
        self.output.line(format_args!("   > POST {path}"))?;
        self.output.line(format_args!("   > Idempotency-Key: {key}"))?;
        self.output.line(format_args!("   > {body}"))?;
        let reply = self.client.ask_keyed(path, key, body)?;
        self.answered(&reply, due)
    }

    fn answered(&mut self, reply: &Reply, due: u16) -> anyhow::Result<Value> {
        let text = String::from_utf8_lossy(&reply.body);
        let mut shown: String = text.chars().take(SHOWN).collect();
        if shown.len() < text.len() {
            shown.push_str(" ...");
        }
        self.output.line(format_args!("   < {} {shown}", reply.status))?;
        self.check(reply.status == due, &format!("{due} was due"))?;
        Ok(serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    fn end(self) -> anyhow::Result<Status> {
        self.output.line("")?;
        if self.surprises > 0 {
            self.output.line(format_args!("{} answers were wrong.", self.surprises))?;
            return Ok(Status::Damaged);
        }
        self.output.line("All of it was as it should be.")?;
        Ok(Status::Sound)
    }
}
