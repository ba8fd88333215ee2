ALTER TABLE IF EXISTS booking_mirror_checkpoint DROP COLUMN IF EXISTS segment_salt;
