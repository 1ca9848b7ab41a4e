-- Like sql/clock_set_back.sql, for accounts that are followed.
--
-- $1 longest lease in ms
UPDATE matrix_follower AS f
SET lease_until = bound.lease
FROM (SELECT now() AT TIME ZONE 'UTC' + $1::bigint * interval '1 ms' AS lease) AS bound
WHERE f.lease_until > bound.lease
