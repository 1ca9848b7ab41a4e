-- Odoo has accepted everything up to this position in the homeserver's stream. Changes nothing once a newer lease has taken over.
--
-- $1 backend, $2 owner, $3 epoch, $4 the account, $5 the position, NULL to keep none, $6 how many events Odoo has accepted since the previous position
UPDATE matrix_follower
SET matrix_user_id = $4, since = $5, synced_at = now() AT TIME ZONE 'UTC', state = 'following', reason = NULL,
    changed_at = CASE WHEN state = 'following' THEN changed_at ELSE now() AT TIME ZONE 'UTC' END,
    forwarded_at = CASE WHEN $6::bigint > 0 THEN now() AT TIME ZONE 'UTC' ELSE forwarded_at END,
    forwarded_total = forwarded_total + $6::bigint
WHERE backend_id = $1 AND owner = $2 AND epoch = $3
RETURNING backend_id
