//! Lists: read from the engine page by page, never held as a whole.
//!
//! Without `limit` a list is streamed: each chunk is one page of the engine's, asked for when the
//! connection has room for it, so a slow reader slows only itself; and the task gives up its thread
//! after every chunk, so a long list slows nobody else. Each page waits for the log by itself before
//! it is sent. If the log fails in the middle, the connection is cut, and the client sees that the
//! list is incomplete.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::body::Bytes;

use super::Shared;
use super::durability::{Wait, Waiters};
use super::json::Json;
use super::shape;
use crate::domain::PublicId;
use crate::engine::{
    BookingView, Engine, EventCursor, EventView, Position, TicketCursor, TicketView,
    UserBookingCursor,
};

/// How many tickets make a chunk, about 60 KiB of text.
const TICKETS_PER_CHUNK: usize = 256;
/// How many events make a chunk, about as much.
const EVENTS_PER_CHUNK: usize = 128;
/// How many bookings make a chunk: 250 KiB if each has as many tickets as it can.
const BOOKINGS_PER_CHUNK: usize = 64;
/// Bytes after which a page ends before it has as many items as it may: 10,000 bookings can have ten
/// times as many.
const PAGE_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// Bytes of all pages that are being made or read, from which on none gets longer than one chunk.
const PAGES_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// What is listed, and how far.
#[derive(Debug)]
pub(super) enum Source {
    Tickets {
        /// What the tickets have in common.
        of: Box<EventView>,
        cursor: TicketCursor,
        page: Vec<TicketView>,
    },
    Events {
        cursor: EventCursor,
        page: Vec<EventView>,
    },
    Bookings {
        cursor: UserBookingCursor,
        page: Vec<BookingView>,
    },
}

impl Source {
    /// Whether nothing is left.
    fn is_done(&self) -> bool {
        match self {
            Self::Tickets { cursor, .. } => cursor.is_done(),
            Self::Events { cursor, .. } => cursor.is_done(),
            Self::Bookings { cursor, .. } => cursor.is_done(),
        }
    }

    fn items_per_chunk(&self) -> usize {
        match self {
            Self::Tickets { .. } => TICKETS_PER_CHUNK,
            Self::Events { .. } => EVENTS_PER_CHUNK,
            Self::Bookings { .. } => BOOKINGS_PER_CHUNK,
        }
    }

    /// Writes up to `max` more items.
    fn write(&mut self, engine: &Engine, max: usize, items: &mut Items) -> Position {
        match self {
            Self::Tickets { of, cursor, page } => {
                let position = engine.next_tickets(cursor, max, page);
                for ticket in page.drain(..) {
                    shape::ticket(items.next(ticket.id.public()), &ticket, of);
                }
                position
            }
            Self::Events { cursor, page } => {
                let position = engine.next_events(cursor, max, page);
                for event in page.drain(..) {
                    shape::event(items.next(event.id.public()), &event);
                }
                position
            }
            Self::Bookings { cursor, page } => {
                let position = engine.next_user_bookings(cursor, max, page);
                for booking in page.drain(..) {
                    shape::booking(items.next(booking.id.public()), &booking);
                }
                position
            }
        }
    }
}

/// Items of an array as they are written.
#[derive(Debug, Default)]
struct Items {
    json: Json,
    count: usize,
    last: Option<PublicId>,
}

impl Items {
    /// Where the next item, which has this id, goes.
    fn next(&mut self, id: PublicId) -> &mut Json {
        self.json.raw(if self.count == 0 { "[" } else { "," });
        self.count += 1;
        self.last = Some(id);
        &mut self.json
    }

    fn end(&mut self) {
        self.json.raw(if self.count == 0 { "[]" } else { "]" });
    }
}

/// The bytes of all pages that are being made, or that clients are still reading.
#[derive(Debug, Default)]
pub(super) struct PageBytes(AtomicUsize);

/// A page's part of them, until it is dropped.
struct Part {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Part {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), bytes: 0 }
    }

    // Relaxed, as all of this counter: nothing is read on its strength.

    fn grow_to(&mut self, bytes: usize) {
        self.shared.page_bytes.0.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// Whether the page, or all of them together, are as long as they may be.
    fn is_full(&self) -> bool {
        self.bytes >= PAGE_BYTES_MAX
            || self.shared.page_bytes.0.load(Ordering::Relaxed) >= PAGES_BYTES_MAX
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.shared.page_bytes.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The text of a page, counted until its client has read it or is gone.
struct PageText {
    text: Vec<u8>,
    _part: Part,
}

impl AsRef<[u8]> for PageText {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// A bounded page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) text: Bytes,
    pub(super) position: Position,
    /// The last item, if there may be more after it.
    pub(super) goes_on_after: Option<PublicId>,
}

/// Reads up to `limit` items, or as much text as there is room for and what the last look finds.
/// Gives up the thread now and then, as that may take long looking.
pub(super) async fn page(
    mut source: Source,
    engine: &Engine,
    begun: Position,
    limit: usize,
    shared: &Arc<Shared>,
) -> Page {
    let mut items = Items::default();
    let mut position = begun;
    let mut part = Part::new(shared);
    while !source.is_done() {
        let max = source.items_per_chunk().min(limit - items.count);
        position = super::reply::both(position, source.write(engine, max, &mut items));
        part.grow_to(items.json.len());
        if items.count == limit || items.count > 0 && part.is_full() {
            break;
        }
        tokio::task::yield_now().await;
    }
    items.end();
    let goes_on_after = if source.is_done() { None } else { items.last };
    let text = Bytes::from_owner(PageText { text: items.json.into_bytes(), _part: part });
    Page { text, position, goes_on_after }
}

/// A whole list on its way out.
pub(super) struct Listing {
    engine: Arc<Engine>,
    waiters: Rc<Waiters>,
    source: Source,
    items: Items,
    /// What has to be durable before what was read can be sent.
    wait: Option<Wait>,
    /// Whether the thread was given up since the last chunk.
    rested: bool,
    ended: bool,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("count", &self.items.count)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// The log failed in the middle of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log failed before the list was complete")
    }
}

impl std::error::Error for Broken {}

impl Listing {
    /// Reads the first page; where that one stands is where the answer stands.
    pub(super) fn begin(
        source: Source,
        engine: &Arc<Engine>,
        waiters: &Rc<Waiters>,
        begun: Position,
    ) -> (Self, Position) {
        let mut listing = Self {
            engine: Arc::clone(engine),
            waiters: Rc::clone(waiters),
            source,
            items: Items::default(),
            wait: None,
            rested: true,
            ended: false,
        };
        let first = listing.read();
        (listing, super::reply::both(begun, first))
    }

    /// Whether there is nothing more to send.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.items.json.len() == 0
    }

    fn read(&mut self) -> Position {
        let max = self.source.items_per_chunk();
        let position = self.source.write(&self.engine, max, &mut self.items);
        if self.source.is_done() {
            self.items.end();
            self.ended = true;
        }
        position
    }

    /// The next chunk of text, once it may be told.
    pub(super) fn poll_chunk(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if self.is_over() {
            return Poll::Ready(None);
        }
        if !std::mem::replace(&mut self.rested, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.items.json.len() == 0 {
            let position = self.read();
            if self.items.json.len() == 0 {
                // Nothing was found so far; look on after a rest.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.wait = Some(Wait::new(&self.waiters, position.wait_for));
        }
        if let Some(wait) = &mut self.wait {
            match wait.poll(self.engine.log(), cx) {
                Poll::Ready(Ok(())) => self.wait = None,
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(Broken))),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.rested = false;
        let chunk = std::mem::take(&mut self.items.json).into_bytes();
        Poll::Ready(Some(Ok(chunk.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(ids: &[u128]) -> String {
        let mut items = Items::default();
        for id in ids {
            items.next(PublicId(*id)).number(7);
        }
        items.end();
        String::from_utf8(items.json.into_bytes()).unwrap()
    }

    #[test]
    fn pages_are_counted_while_they_are_made_and_until_they_are_read() {
        let shared = Shared::new(crate::stats::Stats::new(), crate::clock::Clock::system());
        let total = || shared.page_bytes.0.load(Ordering::Relaxed);
        let part = |bytes| {
            let mut part = Part::new(&shared);
            part.grow_to(1);
            part.grow_to(bytes);
            part
        };
        assert!(!part(PAGE_BYTES_MAX - 1).is_full() && part(PAGE_BYTES_MAX).is_full());
        let mut parts: Vec<_> = (0..PAGES_BYTES_MAX >> 20).map(|_| part(1 << 20)).collect();
        // One that has hardly begun goes no further, and does again when another one is read.
        assert!(part(1).is_full());
        parts.truncate(10);
        assert!(!part(1).is_full());
        // What is handed out in frames is held until the last of them is gone.
        let mut page = Bytes::from_owner(PageText { text: vec![0; 2], _part: part(2) });
        let first = page.split_to(1);
        drop((parts, page));
        assert_eq!(total(), 2);
        drop(first);
        assert_eq!(total(), 0);
    }

    #[test]
    fn items_make_an_array() {
        assert_eq!(array(&[]), "[]");
        assert_eq!(array(&[1]), "[7]");
        assert_eq!(array(&[1, 2, 3]), "[7,7,7]");
    }
}
