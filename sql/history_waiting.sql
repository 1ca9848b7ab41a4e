-- One step through the messages that wait, newest first and without their texts. For a message, a room and a person there are indexes,
-- so all rows come in one step; else the outbox is read backwards, a fixed number of rows at a time. A parameter that is NULL is not a
-- condition.
--
-- $1 id of the message, $2 room, $3 person, $4 model and $5 id of the record, $6 not older than so many seconds,
-- $7 messages before this id, $8 read at most so many of them, $9 return at most so many rows
-- step_rows, step_id: how many rows were read, and the last of them
-- Returns one row without a message (outbox_id is NULL) if nothing was found.
WITH walked AS MATERIALIZED (
    SELECT o.id, o.res_model, o.res_id
    FROM matrix_outbox AS o
    WHERE o.id < $7::bigint AND $1::bigint IS NULL AND $2::text IS NULL AND $3::text IS NULL
    ORDER BY o.id DESC
    LIMIT $8::bigint
), found AS MATERIALIZED (
    SELECT candidate.id
    FROM (
        SELECT w.id FROM walked AS w
        WHERE ($4::text IS NULL OR w.res_model = $4) AND ($5::integer IS NULL OR w.res_id = $5)
        UNION ALL
        SELECT o.id FROM matrix_outbox AS o WHERE o.id = $1
        UNION ALL
        SELECT o.id
        FROM matrix_backend AS b
        CROSS JOIN LATERAL (SELECT b.id || '/' || COALESCE($2, $3) AS name OFFSET 0) AS lane
        -- A range of the lane's index: for an equality the planner might instead read all of another index in the order of the ids.
        CROSS JOIN LATERAL (
            SELECT o.id FROM matrix_outbox AS o
            WHERE o.lane >= lane.name AND (o.lane, o.id) < (lane.name, $7) AND $1 IS NULL
            ORDER BY o.lane DESC, o.id DESC
            LIMIT $9::bigint
        ) AS o
    ) AS candidate
    ORDER BY candidate.id DESC
    LIMIT $9::bigint
)
SELECT step.rows AS step_rows, step.last_id AS step_id,
    to_char(o.queued_at, 'YYYY-MM-DD HH24:MI:SS') AS at, o.id AS outbox_id, o.backend_id, o.event_type, o.room_id, o.matrix_user_id,
    o.res_model, o.res_id, 'waiting' AS state, CASE WHEN l.head_id = o.id THEN l.attempts ELSE 0 END AS attempts,
    NULL::integer AS duration_ms, NULL::double precision AS queued_seconds,
    EXTRACT(EPOCH FROM now() AT TIME ZONE 'UTC' - o.queued_at)::double precision AS queued_ago_seconds,
    NULL::varchar AS error_code, CASE WHEN l.head_id = o.id THEN l.last_error END AS error_message,
    NULL::varchar AS matrix_event_id, NULL::varchar AS worker
FROM (SELECT count(*) AS rows, min(w.id) AS last_id FROM walked AS w) AS step
LEFT JOIN (
    found
    -- Each row through its index, whatever the planner assumes about the tables.
    CROSS JOIN LATERAL (
        SELECT o.* FROM matrix_outbox AS o
        WHERE o.id = found.id
            AND ($2 IS NULL OR o.room_id = $2) AND ($3 IS NULL OR o.matrix_user_id = $3)
            AND ($4 IS NULL OR o.res_model = $4) AND ($5 IS NULL OR o.res_id = $5)
            AND ($6::double precision IS NULL OR o.queued_at > now() AT TIME ZONE 'UTC' - $6 * interval '1 s')
        LIMIT 1
    ) AS o
    LEFT JOIN LATERAL (
        SELECT l.head_id, l.attempts, l.last_error FROM matrix_lane AS l WHERE l.lane = o.lane LIMIT 1
    ) AS l ON true
) ON true
ORDER BY o.id DESC
