-- Take an account's keys, as the worker that follows the account: this increments the epoch, which fences everything that is written later.
-- Keys that were last written in another database, or later than this row says, must not be used: the database is a copy, or was restored.
--
-- $1 backend, $2 owner, $3 epoch of the lease of the account, $4 the account, $5 its device
-- Returns no row if the lease is not ours. `doubt` is NULL if the keys are those that were written last.
WITH here AS MATERIALIZED (
    SELECT f.backend_id, matrix_database_identity() AS identity, control.timeline_id
    FROM matrix_follower AS f, pg_control_checkpoint() AS control
    WHERE f.backend_id = $1 AND f.owner = $2 AND f.epoch = $3 AND f.lease_until > now() AT TIME ZONE 'UTC'
    FOR SHARE OF f
), before AS MATERIALIZED (
    SELECT c.*, c.xmin::text::bigint AS written_really
    FROM matrix_crypto AS c JOIN here ON here.backend_id = c.backend_id
    FOR UPDATE OF c
), judged AS MATERIALIZED (
    SELECT CASE
        WHEN before.state = 'moved' THEN before.reason
        WHEN before.database_identity <> here.identity THEN 'the database is a copy of another one'
        -- A row from a restored dump was written by the transaction of the restore.
        WHEN before.written_really <> before.written_by % 4294967296 THEN 'the database was restored from a dump'
        WHEN before.timeline_id <> here.timeline_id THEN 'the database server was restored from a backup, or a standby took over'
    END AS doubt
    FROM before CROSS JOIN here
), taken AS (
    INSERT INTO matrix_crypto AS c
        (backend_id, matrix_user_id, device_id, epoch, owner, database_identity, timeline_id, written_by)
    SELECT here.backend_id, $4, $5, 1, $2, here.identity, here.timeline_id, txid_current() FROM here
    ON CONFLICT (backend_id) DO UPDATE SET epoch = c.epoch + 1, owner = excluded.owner, written_by = excluded.written_by,
        state = CASE WHEN (SELECT judged.doubt FROM judged) IS NULL THEN c.state ELSE 'moved' END,
        reason = COALESCE((SELECT judged.doubt FROM judged), c.reason),
        changed_at = CASE WHEN (SELECT judged.doubt FROM judged) IS NULL OR c.state = 'moved' THEN c.changed_at
            ELSE now() AT TIME ZONE 'UTC' END
    RETURNING c.epoch, c.matrix_user_id, c.device_id
)
SELECT taken.epoch, taken.matrix_user_id, taken.device_id, (SELECT judged.doubt FROM judged) AS doubt FROM taken
