-- Why an account is not followed at the moment. Changes nothing once a newer lease has taken over.
--
-- $1 backend, $2 owner, $3 epoch, $4 state, $5 reason
UPDATE matrix_follower
SET state = $4, reason = $5, changed_at = CASE WHEN state = $4 THEN changed_at ELSE now() AT TIME ZONE 'UTC' END
WHERE backend_id = $1 AND owner = $2 AND epoch = $3 AND (state, reason) IS DISTINCT FROM ($4::text, $5::text)
