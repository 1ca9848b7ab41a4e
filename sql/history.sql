-- What became of messages, newest first, without their texts: everything that the log holds, and what still waits.
-- Every condition that is NULL is no condition.
--
-- $1 id of the message in the outbox, $2 room, $3 person, $4 model and $5 id of the record, $6 not older than so many seconds,
-- $7 only failures, $8 at most so many rows
-- state: a word of matrix_log.status, held for a failure that will be tried again, or waiting
WITH logged AS (
    SELECT g.date AS at, g.outbox_id, g.backend_id, g.event_type, g.room_id, g.matrix_user_id, g.res_model, g.res_id,
        CASE WHEN g.status = 'failed' AND NOT g.is_final THEN 'held' ELSE g.status END AS state,
        g.attempts, g.duration_ms, g.queued_at, g.error_code, g.error_message, g.matrix_event_id, g.worker
    FROM matrix_log AS g
    WHERE ($1::bigint IS NULL OR g.outbox_id = $1) AND ($2::text IS NULL OR g.room_id = $2)
        AND ($3::text IS NULL OR g.matrix_user_id = $3) AND ($4::text IS NULL OR g.res_model = $4)
        AND ($5::integer IS NULL OR g.res_id = $5)
        AND ($6::double precision IS NULL OR g.date > now() AT TIME ZONE 'UTC' - $6 * interval '1 s')
        AND (NOT $7::boolean OR g.status = 'failed')
    ORDER BY g.date DESC, g.id DESC
    LIMIT $8::bigint
), waiting AS (
    SELECT o.queued_at AS at, o.id AS outbox_id, o.backend_id, o.event_type, o.room_id, o.matrix_user_id, o.res_model, o.res_id,
        'waiting' AS state, CASE WHEN l.head_id = o.id THEN l.attempts ELSE 0 END AS attempts, NULL::integer AS duration_ms,
        o.queued_at, NULL::varchar AS error_code, CASE WHEN l.head_id = o.id THEN l.last_error END AS error_message,
        NULL::varchar AS matrix_event_id, NULL::varchar AS worker
    FROM matrix_outbox AS o
    LEFT JOIN matrix_lane AS l ON l.lane = o.lane
    WHERE NOT $7::boolean AND ($1::bigint IS NULL OR o.id = $1) AND ($2::text IS NULL OR o.room_id = $2)
        AND ($3::text IS NULL OR o.matrix_user_id = $3) AND ($4::text IS NULL OR o.res_model = $4)
        AND ($5::integer IS NULL OR o.res_id = $5)
        AND ($6::double precision IS NULL OR o.queued_at > now() AT TIME ZONE 'UTC' - $6 * interval '1 s')
    ORDER BY o.id DESC
    LIMIT $8::bigint
)
SELECT to_char(every.at, 'YYYY-MM-DD HH24:MI:SS') AS at, every.outbox_id, every.backend_id, every.event_type, every.room_id,
    every.matrix_user_id, every.res_model, every.res_id, every.state, every.attempts, every.duration_ms,
    EXTRACT(EPOCH FROM every.at - every.queued_at)::double precision AS queued_seconds,
    every.error_code, every.error_message, every.matrix_event_id, every.worker
FROM (SELECT * FROM logged UNION ALL SELECT * FROM waiting) AS every
ORDER BY every.at DESC, every.outbox_id DESC
LIMIT $8::bigint
