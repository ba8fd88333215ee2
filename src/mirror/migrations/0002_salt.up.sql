-- A log that was replaced by an older copy of itself, and went on, has other records at the same
-- positions. Segments are salted at random, so that this shows.
ALTER TABLE booking_mirror_checkpoint ADD COLUMN segment_salt bigint;
COMMENT ON COLUMN booking_mirror_checkpoint.segment_salt IS
    'of the segment of the log in which the last of the records stands; null if that is not known';
