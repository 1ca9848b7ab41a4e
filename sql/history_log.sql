-- One step through the outcomes of messages, newest first and without their texts. The log has no index on messages, rooms and people,
-- and may have millions of rows: so it is read backwards, a fixed number of rows at a time. For failures and the rows of a record there
-- are indexes, so all of them come in one step. A parameter that is NULL is not a condition.
--
-- $1 id of the message in the outbox, $2 room, $3 person, $4 model and $5 id of the record, $6 not older than so many seconds,
-- $7 only failures, $8 rows of the log before this id, $9 read at most so many of them, $10 return at most so many rows
-- state: a value of matrix_log.status, or held for a failure that will be tried again
-- step_rows, step_id, step_at: how many rows were read, and the last of them; is_past: all of them are older than was asked for
-- Returns one row without an outcome (id is NULL) if nothing was found.
WITH walked AS MATERIALIZED (
    SELECT g.id, g.date, g.outbox_id, g.room_id, g.matrix_user_id
    FROM matrix_log AS g
    WHERE g.id < $8::bigint AND $4::text IS NULL AND NOT $7::boolean
    ORDER BY g.id DESC
    LIMIT $9::bigint
), found AS MATERIALIZED (
    SELECT candidate.id
    FROM (
        SELECT w.id, w.date, w.outbox_id, w.room_id, w.matrix_user_id FROM walked AS w
        UNION ALL
        SELECT g.id, g.date, g.outbox_id, g.room_id, g.matrix_user_id
        FROM matrix_log AS g
        WHERE g.res_model = $4 AND g.res_id = $5::integer AND (NOT $7 OR g.status = 'failed')
        UNION ALL
        SELECT g.id, g.date, g.outbox_id, g.room_id, g.matrix_user_id
        FROM matrix_log AS g
        WHERE g.status = 'failed' AND $4 IS NULL AND $7
            AND g.date > COALESCE(now() AT TIME ZONE 'UTC' - $6::double precision * interval '1 s', '-infinity')
    ) AS candidate
    WHERE ($1::bigint IS NULL OR candidate.outbox_id = $1) AND ($2::text IS NULL OR candidate.room_id = $2)
        AND ($3::text IS NULL OR candidate.matrix_user_id = $3)
        AND ($6 IS NULL OR candidate.date > now() AT TIME ZONE 'UTC' - $6 * interval '1 s')
    ORDER BY candidate.date DESC, candidate.id DESC
    LIMIT $10::bigint
)
SELECT step.rows AS step_rows, step.last_id AS step_id, to_char(step.last_at, 'YYYY-MM-DD HH24:MI:SS') AS step_at,
    COALESCE(step.newest_at < now() AT TIME ZONE 'UTC' - $6 * interval '1 s', false) AS is_past,
    g.id, to_char(g.date, 'YYYY-MM-DD HH24:MI:SS') AS at, g.outbox_id, g.backend_id, g.event_type, g.room_id, g.matrix_user_id,
    g.res_model, g.res_id, CASE WHEN g.status = 'failed' AND NOT g.is_final THEN 'held' ELSE g.status END AS state, g.attempts,
    g.duration_ms, EXTRACT(EPOCH FROM g.date - g.queued_at)::double precision AS queued_seconds,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - g.queued_at)::double precision AS queued_ago_seconds,
    g.error_code, g.error_message, g.matrix_event_id, g.worker
FROM (SELECT count(*) AS rows, min(w.id) AS last_id, min(w.date) AS last_at, max(w.date) AS newest_at FROM walked AS w) AS step
LEFT JOIN (
    found
    -- Each row through its index, whatever the planner assumes about the log.
    CROSS JOIN LATERAL (SELECT g.* FROM matrix_log AS g WHERE g.id = found.id LIMIT 1) AS g
) ON true
ORDER BY g.date DESC, g.id DESC
