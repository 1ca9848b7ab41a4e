-- Notifies the channel on which `check` listens.
--
-- $1 the channel
SELECT pg_notify($1, '')::text
