//! The tables filled from an image of the log, when the records that made it are gone.
//!
//! **Invariant:** what the tables hold afterwards is what all records before the image's position
//! would have left, and the checkpoint says so: one transaction, as for a batch.
//!
//! The image is in memory as a whole before anything is sent, so that its file may go meanwhile. The
//! log behind it may not: see [`super::watch`].

use super::fault::Fault;
use super::rows::{BookingRow, EventRow, Seats, TicketState, UserRow, put_ticket};
use super::session::{Doing, Session};
use super::write::{Checkpoint, Writer};
use crate::domain::{BookingId, SlotIndex};
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

/// A ticket on its way.
type LoadedTicket = (Seats, SlotIndex, TicketState, Option<BookingId>);

fn tickets(event: &Event) -> impl Iterator<Item = LoadedTicket> + '_ {
    let seats = EventRow::of(event).seats();
    event.tickets().map(move |ticket| {
        let state = TicketState {
            status: ticket.status,
            holder: ticket.holder,
            updated_at: ticket.updated_at,
        };
        let holder = ticket.holder.and_then(|row| Some(event.booking_id(row, event.booking(row)?)));
        (seats, ticket.id.slot, state, holder)
    })
}

impl Session {
    /// Replaces all rows by those of a snapshot of this log. `salt` is that of the segment in which
    /// its last record stands, if that is there.
    ///
    /// # Errors
    /// Anything; the session is of no more use then, and the tables are as they were.
    pub async fn load(
        &mut self,
        snapshot: &Snapshot,
        salt: Option<u64>,
    ) -> Result<Checkpoint, Fault> {
        snapshot.check_log(self.log())?;
        self.tell(Doing::Loading(snapshot.lsn));
        let records = snapshot.image.records();
        let checkpoint = Checkpoint { lsn: snapshot.lsn, records, salt };
        let empty = self.checkpoint().is_none();
        let writer = self.writer().await?;
        if !empty {
            writer.run(EMPTY).await?;
        }
        writer.enter(checkpoint).await?;
        writer.load(&snapshot.image).await?;
        writer.commit().await?;
        self.learn(checkpoint).await?;
        Ok(checkpoint)
    }
}

impl Writer<'_> {
    async fn load(&self, image: &Image) -> Result<(), Fault> {
        let statements = self.statements();
        let users = image.users().map(UserRow::of);
        self.copy(&statements.copy_users, users, |row, copy| row.put(copy)).await?;
        let events = || image.events().map(EventRow::of);
        self.copy(&statements.copy_events, events(), |row, copy| row.put(copy)).await?;
        self.copy(&statements.copy_keys, events(), |row, copy| row.put_key(copy)).await?;
        let all = image.events().flat_map(|event| bookings(image, event));
        self.copy(&statements.copy_bookings, all, |row, copy| row.put(copy)).await?;
        let all = image.events().flat_map(tickets);
        let put = |(seats, slot, state, holder), copy: &mut _| {
            put_ticket(copy, seats, slot, state, holder);
        };
        self.copy(&statements.copy_tickets, all, put).await
    }
}
