-- The copy of the booking engine's state: written by the mirror alone, read by whoever likes.
--
-- Tickets and bookings change twice or so in their lives. Room is left in their pages, and no index
-- covers a column that changes, so that such an update stays within its page and touches no index.

CREATE TABLE users (
    id          uuid PRIMARY KEY,
    email       text NOT NULL CHECK (email <> ''),
    name        text NOT NULL CHECK (name <> ''),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz
);
-- Not unique: two users may exchange their addresses within one batch.
CREATE INDEX users_email ON users (lower(email));
COMMENT ON COLUMN users.deleted_at IS 'when the user was deleted; the row stays for its bookings';

CREATE TABLE events (
    id           uuid PRIMARY KEY,
    name         text NOT NULL CHECK (name <> ''),
    artist       text NOT NULL CHECK (artist <> ''),
    venue        text NOT NULL CHECK (venue <> ''),
    date         text NOT NULL,
    starts_at    timestamptz,
    total_seats  integer NOT NULL CHECK (total_seats BETWEEN 1 AND 1000000),
    price        numeric(20, 4) NOT NULL CHECK (price >= 0),
    currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);
CREATE INDEX events_starts_at ON events (starts_at);
COMMENT ON COLUMN events.date IS 'as the organiser sent it';
COMMENT ON COLUMN events.starts_at IS 'the same instant; null if it lies outside the years 1 to 9999';

CREATE TABLE bookings (
    id            uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES users,
    event_id      uuid NOT NULL REFERENCES events,
    ticket_ids    uuid[] NOT NULL CHECK (cardinality(ticket_ids) BETWEEN 1 AND 100),
    status        text NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled', 'expired')),
    total_amount  numeric(20, 4) NOT NULL CHECK (total_amount >= 0),
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX bookings_user ON bookings (user_id, created_at);
CREATE INDEX bookings_event ON bookings (event_id, created_at);
COMMENT ON COLUMN bookings.expires_at IS 'until when the hold lasts unless it is confirmed';

CREATE TABLE tickets (
    id           uuid PRIMARY KEY,
    event_id     uuid NOT NULL REFERENCES events,
    seat_number  integer NOT NULL CHECK (seat_number >= 1),
    price        numeric(20, 4) NOT NULL CHECK (price >= 0),
    status       text NOT NULL CHECK (status IN ('available', 'reserved', 'sold', 'cancelled')),
    booking_id   uuid REFERENCES bookings,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    UNIQUE (event_id, seat_number),
    CHECK ((booking_id IS NOT NULL) = (status IN ('reserved', 'sold')))
) WITH (fillfactor = 50);
COMMENT ON COLUMN tickets.booking_id IS 'the live booking that has the ticket, if one has';

-- What the mirror needs to go on after a restart, when the record of an event is long gone.
CREATE TABLE booking_mirror_events (
    event_id    uuid PRIMARY KEY REFERENCES events,
    ticket_key  bytea NOT NULL CHECK (length(ticket_key) = 16)
);
COMMENT ON TABLE booking_mirror_events IS 'the secret that the ids of an event''s tickets are made with';

CREATE TABLE booking_mirror_checkpoint (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    log_uuid     uuid NOT NULL,
    lsn          bigint NOT NULL CHECK (lsn >= 0),
    records      bigint NOT NULL CHECK (records >= 0),
    mirrored_at  timestamptz NOT NULL
);
COMMENT ON TABLE booking_mirror_checkpoint IS
    'the tables hold exactly the first so many records of this log, which end at this position';
