//! Redis behind the front end.
//!
//! A hold is one call of a script that Redis has (`EVALSHA`), over one connection for each runtime on
//! which all requests are under way at once: Redis takes what has come in one go, writes its log once
//! for all of it and, with `appendfsync always`, syncs once, before it answers.
//!
//! A held seat is a key that lapses with the hold. Bookings are kept for good, as members of one hash.
//! Ids are keys as their 16 bytes.

use std::path::Path;

use anyhow::{Context as _, ensure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ToRedisArgs, cmd};
use uuid::Uuid;

use super::bodies::{Booking, HOLD_MILLIS};
use super::ids;

/// The hashes, each by id; every other key is a held seat.
const USERS: &str = "users";
const SEATS: &str = "seats";
const PRICES: &str = "prices";
const BOOKINGS: &str = "bookings";

/// The total in cents, or -1 if it is refused. Keys: the four hashes, then a held seat each.
/// Arguments: the booking, how long it lasts, what is to be kept of it, the user, the event, then
/// each seat's number.
const HOLD: &str = "
local seats = redis.call('HGET', KEYS[2], ARGV[5])
if not seats or redis.call('HEXISTS', KEYS[1], ARGV[4]) == 0 then return -1 end
seats = tonumber(seats)
for place = 6, #ARGV do
    local seat = tonumber(ARGV[place])
    if seat < 1 or seat > seats then return -1 end
end
if redis.call('EXISTS', unpack(KEYS, 5)) > 0 then return -1 end
for place = 5, #KEYS do
    redis.call('SET', KEYS[place], ARGV[1], 'PX', ARGV[2])
end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[3])
return (#KEYS - 4) * tonumber(redis.call('HGET', KEYS[3], ARGV[5]))
";

/// The connection of one runtime.
#[derive(Clone, Debug)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    /// What Redis calls the script.
    hold: String,
}

fn client(socket: &Path) -> anyhow::Result<Client> {
    Ok(Client::open(ConnectionAddr::Unix(socket.to_owned()))?)
}

fn number(command: &Cmd, client: &Client) -> anyhow::Result<u64> {
    Ok(command.query(&mut client.get_connection()?)?)
}

/// Whether it answers and has read its log.
pub(in crate::load::compare) fn is_ready(socket: &Path) -> bool {
    let ping = || -> anyhow::Result<String> {
        Ok(cmd("PING").query(&mut client(socket)?.get_connection()?)?)
    };
    ping().is_ok_and(|answer| answer == "PONG")
}

/// How many bookings are stored, and how many seats are held.
pub(in crate::load::compare) fn stored(socket: &Path) -> anyhow::Result<(u64, u64)> {
    let client = client(socket)?;
    let bookings = number(cmd("HLEN").arg(BOOKINGS), &client)?;
    let keys = number(&cmd("DBSIZE"), &client)?;
    let hashes = number(cmd("EXISTS").arg(&[USERS, SEATS, PRICES, BOOKINGS]), &client)?;
    ensure!(keys >= hashes, "Redis has {keys} keys, and {hashes} beside the held seats");
    Ok((bookings, keys - hashes))
}

impl Link {
    /// Connects, and gives Redis the script.
    pub(super) async fn connect(socket: &Path) -> anyhow::Result<Self> {
        // The generator knows how long it waits.
        let patient = AsyncConnectionConfig::new().set_response_timeout(None);
        let client = client(socket)?;
        let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
        let mut connection = connection.context("Redis is not there")?;
        let hold = cmd("SCRIPT").arg("LOAD").arg(HOLD).query_async(&mut connection).await?;
        Ok(Self { connection, hold })
    }

    /// The total in cents; `None` if it is refused.
    pub(super) async fn hold(&self, booking: &Booking) -> anyhow::Result<Option<i64>> {
        let wanted = &booking.wanted;
        let tickets = &wanted.ticket_ids;
        let mut hold = cmd("EVALSHA");
        hold.arg(&self.hold).arg(4 + tickets.len()).arg(&[USERS, SEATS, PRICES, BOOKINGS]);
        for ticket in tickets {
            hold.arg(ticket.as_bytes());
        }
        let mut kept = Vec::with_capacity(40 + 16 * tickets.len());
        kept.extend_from_slice(wanted.user_id.as_bytes());
        kept.extend_from_slice(wanted.event_id.as_bytes());
        kept.extend_from_slice(&booking.expires_millis().to_be_bytes());
        for ticket in tickets {
            kept.extend_from_slice(ticket.as_bytes());
        }
        hold.arg(booking.id.as_bytes()).arg(HOLD_MILLIS).arg(kept);
        hold.arg(wanted.user_id.as_bytes()).arg(wanted.event_id.as_bytes());
        for ticket in tickets {
            // 0 is no seat.
            hold.arg(ids::seat(wanted.event_id, *ticket).unwrap_or(0));
        }
        let total: i64 = hold.query_async(&mut self.connection.clone()).await?;
        Ok((total >= 0).then_some(total))
    }

    async fn set(&self, hash: &str, id: Uuid, value: impl ToRedisArgs) -> anyhow::Result<()> {
        let mut set = cmd("HSET");
        set.arg(hash).arg(id.as_bytes()).arg(value);
        Ok(set.query_async(&mut self.connection.clone()).await?)
    }

    /// A new user.
    pub(super) async fn register(&self, id: Uuid, facts: &str) -> anyhow::Result<()> {
        self.set(USERS, id, facts).await
    }

    /// A new event, whose tickets are known by their numbers.
    pub(super) async fn show(&self, id: Uuid, seats: u32, price: i64) -> anyhow::Result<()> {
        self.set(PRICES, id, price).await?;
        self.set(SEATS, id, seats).await
    }
}
