//! The tables filled from an image of the log, when the records that made it are gone.
//!
//! **Invariant:** what the tables hold afterwards is what all records before the image's position
//! would have left, and the checkpoint says so: one transaction, as for a batch.

use super::connect::{ANSWER_LIMIT, limited};
use super::fault::{Fault, Obstacle};
use super::rows::{BookingRow, EventRow, TicketState, UserRow, put_ticket};
use super::session::Session;
use super::write::{Checkpoint, Sending, Writer};
use crate::image::snapshot::Snapshot;
use crate::image::{Event, Image};

const EMPTY: &str = "TRUNCATE users, events, bookings, tickets, booking_mirror_events, \
                     booking_mirror_checkpoint";

impl UserRow {
    pub(super) fn of(user: &crate::image::User) -> Self {
        Self {
            id: user.id,
            email: user.email.as_str().into(),
            name: user.name.as_str().into(),
            created_at: user.created_at,
            updated_at: user.updated_at,
            deleted_at: user.deleted_at,
        }
    }
}

impl EventRow {
    pub(super) fn of(event: &Event) -> Self {
        let details = &event.details;
        Self {
            id: event.id,
            ticket_key: event.ticket_key,
            name: details.name.as_str().into(),
            artist: details.artist.as_str().into(),
            venue: details.venue.as_str().into(),
            date: details.date.clone(),
            total_seats: details.total_seats,
            price: details.price,
            currency: details.currency,
            created_at: event.created_at,
        }
    }
}

/// The bookings of an event, as their rows.
pub(super) fn bookings<'i>(
    image: &'i Image,
    event: &'i Event,
) -> impl Iterator<Item = BookingRow> + 'i {
    event.bookings().filter_map(|(row, booking)| {
        Some(BookingRow {
            id: event.booking_id(row, booking),
            // An image names no user who is not in it.
            user: image.user(booking.user)?.id,
            event: event.id,
            ticket_key: event.ticket_key,
            slots: booking.slots.as_slice().into(),
            status: booking.status,
            total: booking.total,
            currency: event.details.currency,
            created_at: booking.created_at,
            updated_at: booking.changed_at,
            expires_at: booking.deadline(),
        })
    })
}

impl Session {
    /// Replaces all rows by those of a snapshot of this log.
    ///
    /// # Errors
    /// Anything; the session is of no more use then, and the tables are as they were.
    pub async fn load(&mut self, snapshot: &Snapshot) -> Result<Checkpoint, Fault> {
        let (theirs, ours) = (self.log(), snapshot.log);
        if theirs != ours {
            return Err(Obstacle::OtherLog { theirs, ours }.into());
        }
        let checkpoint = Checkpoint { lsn: snapshot.lsn, records: snapshot.image.records() };
        let empty = self.checkpoint().is_none();
        let writer = self.writer().await?;
        if !empty {
            writer.run(EMPTY).await?;
        }
        writer.enter(ours, checkpoint).await?;
        writer.load(&snapshot.image).await?;
        writer.commit().await?;
        limited(ANSWER_LIMIT, self.learn(checkpoint)).await?;
        Ok(checkpoint)
    }
}

impl Writer<'_> {
    async fn load(&self, image: &Image) -> Result<(), Fault> {
        let statements = self.statements();
        let mut users = self.sending(&statements.copy_users).await?;
        for user in image.users() {
            UserRow::of(user).put(&mut users.copy);
            users.send_full().await?;
        }
        users.finish().await?;
        for (statement, put) in [
            (&statements.copy_events, EventRow::put as fn(&EventRow, &mut _)),
            (&statements.copy_keys, EventRow::put_key),
        ] {
            let mut events = self.sending(statement).await?;
            for event in image.events() {
                put(&EventRow::of(event), &mut events.copy);
                events.send_full().await?;
            }
            events.finish().await?;
        }
        let mut all = self.sending(&statements.copy_bookings).await?;
        for event in image.events() {
            for row in bookings(image, event) {
                row.put(&mut all.copy);
                all.send_full().await?;
            }
        }
        all.finish().await?;
        let mut tickets = self.sending(&statements.copy_tickets).await?;
        for event in image.events() {
            load_tickets(&mut tickets, event).await?;
        }
        tickets.finish().await
    }
}

async fn load_tickets(tickets: &mut Sending, event: &Event) -> Result<(), Fault> {
    let row = EventRow::of(event);
    for ticket in event.tickets() {
        let state = TicketState {
            status: ticket.status,
            holder: ticket.holder,
            updated_at: ticket.updated_at,
        };
        let holder = ticket.holder.and_then(|row| Some(event.booking_id(row, event.booking(row)?)));
        put_ticket(&mut tickets.copy, &row, ticket.id.slot, state, holder);
        tickets.send_full().await?;
    }
    Ok(())
}
