DROP TABLE IF EXISTS
    booking_mirror_checkpoint, booking_mirror_events, tickets, bookings, events, users;
