//! The slot protocol: how a booking takes, keeps and gives back tickets.
//!
//! # Invariants
//!
//! 1. A ticket has at most one live booking at any instant.
//! 2. A booking takes all its tickets at one instant or none, and confirmation, cancellation and
//!    expiry change all of them at one instant.
//! 3. The order of the log is the order of cause: whatever a record depends on stands before it.
//! 4. A thread that is stalled anywhere keeps no other thread from deciding any ticket.
//!
//! # Words
//!
//! A *slot* (one `AtomicU32` per ticket) names the row that last took it; 0 is none. A *row* has a
//! status word (see [`super::row`]). **The status word alone decides**: a ticket's status is a
//! function of its slot and of the word of the row that the slot names, so one compare-and-swap of
//! that word changes every ticket of the booking at once. Deadlines live in the word and nowhere
//! else. This is the multi-word compare-and-swap of Harris, Fraser and Pratt ("A practical
//! multi-word compare-and-swap operation", DISC 2002), made simpler by two facts: row numbers are
//! never used again within an event, and dead states are final. No word ever returns to an old
//! value, hence there is no ABA and no need for their double compare.
//!
//! ```text
//! Acquiring --> Pending --> Confirmed          live: Pending, Confirmed
//!     \-> Refused    \----> Cancelled          dead: Refused, Cancelled, Expired
//!                     \---> Expired
//! ```
//!
//! # Steps
//!
//! *Hold.* Scan the slots in ascending order; if any names a live row, refuse, with all of them:
//! no row and no log space was used. Otherwise make the row complete, link it to its user, and
//! *drive* it. Driving, for each slot in ascending order: read the slot, *then* read the own word,
//! and stop if it is decided; a slot that names the own row is taken; one that names a dead row (or
//! none) is taken by compare-and-swap from exactly what was read; one that names a live row refuses
//! the own row; one that names another acquiring row has that one driven first. When every slot has
//! been seen taken: reserve log space, *then* swap `Acquiring -> Pending`; the winner fills its
//! place with the record, a loser voids its own. Owner and helpers run the same code.
//!
//! *Confirm, cancel, expire.* Read the word (and have the time), *then* reserve, then swap exactly
//! the word read; the winner fills, the loser voids.
//!
//! A row that is pending at or past its deadline is dead only once somebody has expired it; whoever
//! meets it does so, and the record says at what time.
//!
//! # Why it holds
//!
//! *(1, 2)* A row becomes `Pending` only after every one of its slots has been seen to name it. A
//! slot that names row R leaves R only by a swap made by a thread that found R dead. R is
//! `Acquiring` until that moment and live afterwards, so at the swap to `Pending` all its slots
//! name R, and they do so until R is dead. A slot names one row, so no other row is live there.
//!
//! *A helper that comes late does no harm.* It swaps a slot from `seen` to R only if the slot still
//! holds `seen`, having read R's word as `Acquiring` *after* it read `seen`. Had R been in that slot
//! and died and somebody else taken it before `seen` was read, then that somebody saw R's death
//! (acquire), published it with the slot (release), and the helper's acquiring load of the slot
//! would make it see R decided. So at worst it puts a row that has meanwhile been refused into a
//! slot whose former row is dead: one dead row in place of another.
//!
//! *(3)* A place is reserved after the last read that the transition depends on and before the swap
//! that makes it visible; whatever depends on the transition begins after that swap, and so
//! reserves behind it.
//!
//! *(4)* Every loop is repeated only when another thread has changed the word that was read, which
//! is progress for the system. A driver that helps another row does so for a slot of its own, and
//! that row is only driven further for slots above the one contended: along a chain of helpers the
//! contended slot numbers rise, so the chain ends.
//!
//! # Orderings
//!
//! Every swap is `AcqRel` and every read of a slot or a word `Acquire`: a thread that reads a word
//! sees what its writer had done before, the reserved mark of the log above all, and reads of a slot
//! and of a word stay in program order. Nothing needs a single total order of all words: whatever
//! two threads must agree on is decided by one of them.
//!
//! This module knows nothing of users, of idempotency, of clocks (the time is given) or of what a
//! record looks like in bytes.

use wal::Urgency;

use super::ledger::{Ledger, NoRoom, Place, Position};
use super::row::{Row, State, Terms, Word};
use super::table::Table;
use super::tally::{Change, Tally};
use crate::domain::{
    EventNumber, Fact, Held, ROWS_PER_EVENT_MAX, RequestStamp, RowNumber, SlotIndex, Timestamp,
    Transition,
};
use crate::sync::{AtomicU32, Ordering, zeroed};
use std::borrow::Cow;

/// The seats of one event.
#[derive(Debug)]
pub(super) struct Seats {
    event: EventNumber,
    slots: Box<[AtomicU32]>,
    rows: Table<Row>,
    tally: Tally,
}

/// Where and when a step is taken.
#[derive(Debug)]
pub(super) struct Turn<'l, L> {
    pub(super) ledger: &'l L,
    /// The clock value, read before the first word that the step depends on is read.
    pub(super) now: Timestamp,
    /// How urgent it is to expire a lapsed hold on the way. When the disk is full, the room that is
    /// kept for ending bookings is for those who ask for that, not for what can wait.
    pub(super) urgency: Urgency,
}

impl<L> Clone for Turn<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Turn<'_, L> {}

/// A live row that was found in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    pub(super) slot: SlotIndex,
    pub(super) row: RowNumber,
    pub(super) word: Word,
}

/// How an attempt to hold came out.
#[derive(Debug)]
pub(super) enum HoldOutcome {
    /// The booking was made.
    Made {
        row: RowNumber,
        /// Where its record is, if this thread wrote it and not a helper.
        position: Option<Position>,
    },
    /// These slots were taken.
    Taken(Vec<Taken>),
    /// The user was deleted.
    UserGone,
    /// There may be no more bookings.
    OverBound,
    /// The table of rows is full: what was claimed is not used.
    TableFull,
}

/// What a user asks a pending booking to become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    Confirm,
    Cancel,
}

impl Seats {
    /// The free seats of a new event.
    pub(super) fn new(event: EventNumber, seats: u32) -> Self {
        Self {
            event,
            slots: zeroed(seats as usize),
            rows: Table::new(ROWS_PER_EVENT_MAX),
            tally: Tally::new(),
        }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (RowNumber, &Row)> {
        self.rows.iter().map(|(index, row)| (RowNumber::new(index + 1), row))
    }

    pub(super) fn row(&self, number: RowNumber) -> Option<&Row> {
        self.rows.get(number.get().checked_sub(1)?)
    }

    /// Takes the slots of `terms`, all or none. `claim` makes room for one more row, of which more
    /// than one may be needed; `link` ties the complete row to its user, unless the user is gone.
    pub(super) fn hold<L: Ledger>(
        &self,
        turn: Turn<'_, L>,
        terms: &Terms,
        claim: impl Fn() -> bool,
        link: impl Fn(RowNumber, &Row) -> bool,
    ) -> Result<HoldOutcome, NoRoom> {
        loop {
            let taken = self.scan(turn, terms.slots.as_slice())?;
            if !taken.is_empty() {
                return Ok(HoldOutcome::Taken(taken));
            }
            if !turn.ledger.has_room() {
                return Err(NoRoom);
            }
            if !claim() {
                return Ok(HoldOutcome::OverBound);
            }
            let Some(index) = self.rows.claim() else {
                return Ok(HoldOutcome::TableFull);
            };
            let number = RowNumber::new(index + 1);
            let row = self
                .rows
                .set(index, Row::acquiring(terms.clone()))
                .expect("a claimed number is set by its claimer alone");
            if !link(number, row) {
                // Nobody has seen the row: it is in no slot and no list.
                refuse(row, State::RefusedConflict);
                return Ok(HoldOutcome::UserGone);
            }
            let (word, position) = self.drive(turn, number, row);
            match word.state() {
                State::Acquiring => unreachable!("driving ends with a decision"),
                State::RefusedNoRoom => return Err(NoRoom),
                // Somebody took a slot after the scan: look again who, and try again if they gave
                // it back meanwhile.
                State::RefusedConflict => {}
                State::Pending | State::Confirmed | State::Cancelled | State::Expired => {
                    return Ok(HoldOutcome::Made { row: number, position });
                }
            }
        }
    }

    /// Confirms or cancels a booking if it is pending, and returns the word that stands then. The
    /// position is that of the record if this call wrote it.
    pub(super) fn end<L: Ledger>(
        &self,
        turn: Turn<'_, L>,
        number: RowNumber,
        row: &Row,
        ending: Ending,
        stamp: Option<RequestStamp<'_>>,
    ) -> Result<(Word, Option<Position>), NoRoom> {
        loop {
            let word = self.settle(turn, number, row)?;
            if word.state() != State::Pending {
                return Ok((word, None));
            }
            let state = match ending {
                Ending::Confirm => State::Confirmed,
                Ending::Cancel => State::Cancelled,
            };
            let (found, position) = self.transit(turn, number, row, word, state, stamp)?;
            if position.is_some() {
                return Ok((found, position));
            }
        }
    }

    /// The word of a row, after driving it if it was acquiring and expiring it if it had lapsed.
    pub(super) fn settle<L: Ledger>(
        &self,
        turn: Turn<'_, L>,
        number: RowNumber,
        row: &Row,
    ) -> Result<Word, NoRoom> {
        loop {
            let word = row.word();
            match word.state() {
                State::Acquiring => {
                    self.drive(turn, number, row);
                }
                State::Pending if turn.now >= word.time() => {
                    let (found, position) =
                        self.transit(turn, number, row, word, State::Expired, None)?;
                    if position.is_some() {
                        return Ok(found);
                    }
                }
                State::Pending
                | State::RefusedConflict
                | State::RefusedNoRoom
                | State::Confirmed
                | State::Cancelled
                | State::Expired => return Ok(word),
            }
        }
    }

    /// The row that a slot names, as it stands: it is to be settled before it is believed.
    pub(super) fn last_named(&self, slot: SlotIndex) -> Option<(RowNumber, &Row)> {
        self.named(self.slots[slot.index()].load(Ordering::Acquire))
    }

    /// All of these slots that are taken.
    fn scan<L: Ledger>(
        &self,
        turn: Turn<'_, L>,
        slots: &[SlotIndex],
    ) -> Result<Vec<Taken>, NoRoom> {
        let mut taken = Vec::new();
        for &slot in slots {
            let Some((row_number, row)) = self.last_named(slot) else {
                continue;
            };
            let word = self.settle(turn, row_number, row)?;
            if is_live(word) {
                taken.push(Taken { slot, row: row_number, word });
            }
        }
        Ok(taken)
    }

    /// Takes the slots of an acquiring row and decides it. Returns the word that stands then, and
    /// the position of the record if this call wrote it.
    fn drive<L: Ledger>(
        &self,
        turn: Turn<'_, L>,
        number: RowNumber,
        row: &Row,
    ) -> (Word, Option<Position>) {
        for &slot in row.terms.slots.as_slice() {
            if !self.take(turn, number, row, slot) {
                return (row.word(), None);
            }
        }
        self.admit(turn, number, row)
    }

    /// Takes one slot for an acquiring row; false if the row is decided.
    fn take<L: Ledger>(
        &self,
        turn: Turn<'_, L>,
        number: RowNumber,
        row: &Row,
        slot: SlotIndex,
    ) -> bool {
        let slot = &self.slots[slot.index()];
        loop {
            let seen = slot.load(Ordering::Acquire);
            if row.word() != Word::ACQUIRING {
                return false;
            }
            if seen == number.get() {
                return true;
            }
            if let Some((other, holder)) = self.named(seen) {
                match self.settle(turn, other, holder) {
                    Ok(word) if is_live(word) => {
                        refuse(row, State::RefusedConflict);
                        return false;
                    }
                    Ok(_dead) => {}
                    Err(NoRoom) => {
                        refuse(row, State::RefusedNoRoom);
                        return false;
                    }
                }
            }
            let own = number.get();
            if slot.compare_exchange(seen, own, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return true;
            }
        }
    }

    /// Makes a row whose slots are all taken pending, unless it is decided already.
    pub(super) fn admit<L: Ledger>(
        &self,
        turn: Turn<'_, L>,
        number: RowNumber,
        row: &Row,
    ) -> (Word, Option<Position>) {
        let terms = &row.terms;
        let fact = Fact::Held(Held {
            event: self.event,
            row: number,
            tag: terms.tag,
            user: terms.user,
            tickets: Cow::Borrowed(terms.slots.as_slice()),
            total: terms.total,
            at: terms.created_at,
            deadline: terms.deadline(),
            stamp: terms.stamp.as_ref().map(|stamp| stamp.borrow()),
        });
        let Ok(place) = turn.ledger.reserve(Urgency::Take, &fact) else {
            refuse(row, State::RefusedNoRoom);
            return (row.word(), None);
        };
        let lsn = place.lsn();
        let pending = Word::new(State::Pending, terms.deadline());
        let held = Change::Held(terms.slots.count());
        let (word, position) = self.decide(row, Word::ACQUIRING, pending, held, place);
        if position.is_some() {
            row.note_lsn(lsn);
        }
        (word, position)
    }

    /// Tries to bring a pending row from `word` to the final `state`.
    fn transit<L: Ledger>(
        &self,
        turn: Turn<'_, L>,
        number: RowNumber,
        row: &Row,
        word: Word,
        state: State,
        stamp: Option<RequestStamp<'_>>,
    ) -> Result<(Word, Option<Position>), NoRoom> {
        let count = row.terms.slots.count();
        let transition = Transition { event: self.event, row: number, at: turn.now, stamp };
        let (fact, change) = match state {
            State::Confirmed => (Fact::Confirmed(transition), Change::Sold(count)),
            State::Cancelled => (Fact::Cancelled(transition), Change::Released(count)),
            State::Expired => (Fact::Expired(transition), Change::Released(count)),
            State::Acquiring | State::RefusedConflict | State::RefusedNoRoom | State::Pending => {
                unreachable!("not where a pending booking goes")
            }
        };
        let place = turn.ledger.reserve(turn.urgency, &fact)?;
        Ok(self.decide(row, word, Word::new(state, turn.now), change, place))
    }

    /// The one swap that decides, and what surrounds it.
    fn decide<P: Place>(
        &self,
        row: &Row,
        from: Word,
        to: Word,
        change: Change,
        place: P,
    ) -> (Word, Option<Position>) {
        self.tally.begin();
        match row.decide(from, to) {
            Ok(()) => {
                self.tally.end(change);
                (to, Some(place.fill()))
            }
            Err(found) => {
                self.tally.end(Change::None);
                place.void();
                (found, None)
            }
        }
    }

    /// The row that a slot's word names.
    fn named(&self, word: u32) -> Option<(RowNumber, &Row)> {
        let index = word.checked_sub(1)?;
        let row = self.rows.get(index).expect("a slot names a row that was complete before");
        Some((RowNumber::new(word), row))
    }

    /// Puts a decided row where the log has it, before any other thread knows these seats.
    #[cfg(not(booking_loom))]
    pub(super) fn restore(&self, number: RowNumber, row: Row) {
        let (word, count) = (row.word(), row.terms.slots.count());
        if is_live(word) {
            self.tally.begin();
            self.tally.end(Change::Held(count));
        }
        if word.state() == State::Confirmed {
            self.tally.begin();
            self.tally.end(Change::Sold(count));
        }
        let restored = self.rows.set(number.get() - 1, row);
        restored.expect("an image has a row number once");
    }

    /// Names the rows that last took each slot, once they have been restored.
    #[cfg(not(booking_loom))]
    pub(super) fn restore_takers(&self, takers: &[u32]) {
        for (slot, &taker) in self.slots.iter().zip(takers) {
            // What is free as it came stays untouched, so that its page need not be there.
            if taker != 0 {
                slot.store(taker, Ordering::Relaxed);
            }
        }
    }
}

/// Whether a row with this word keeps its slots from others. (A lapsed row does, until somebody
/// expires it: settle it first.)
pub(super) fn is_live(word: Word) -> bool {
    match word.state() {
        State::Pending | State::Confirmed => true,
        State::Acquiring
        | State::RefusedConflict
        | State::RefusedNoRoom
        | State::Cancelled
        | State::Expired => false,
    }
}

/// Ends an acquiring row. If it has been decided meanwhile, that stands.
fn refuse(row: &Row, state: State) {
    let refused = Word::new(state, Timestamp::from_millis(0));
    // Either outcome is a decision, and the caller reads which.
    let _ = row.decide(Word::ACQUIRING, refused);
}
