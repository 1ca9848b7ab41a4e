-- Write the results of messages and settle their lanes, in one fenced statement: a worker that has lost a lease matches nothing.
-- May be repeated when the outcome of its COMMIT is unknown: a message that is gone is neither deleted nor logged again. The
-- planner assumes that each array has ten elements. So every join is written in a form for which only one plan is possible, whose
-- cost grows with the batch and not with its square: a lateral descent of an index, a join by ctid, a full join, an upsert.
--
-- $1 owner, $2 name of the worker for the log
-- lanes:   $3 lane, $4 epoch, $5 release it, $6 do not lease it again for so many ms (NULL: at once), $7 the message that is held
--          (NULL: the one before, as long as it waits), $8 its attempts, $9 its error (NULL: as before), $10 the room found for
--          the lane (NULL: as before), $23 the time for which the held message has failed begins anew: somebody else is at fault
-- results: $11 message id, $12 lane, $13 epoch, $14 status, $15 is final, $16 error code, $17 error message, $18 attempts,
--          $19 duration in ms, $20 Matrix event id, $21 room it went to, $22 age of the answer in ms
-- Returns the lanes that were still ours.
WITH own AS MATERIALIZED (
    SELECT u.*, l.id, l.lease_until, l.retry_at, l.head_id, l.first_failed_at, l.attempts AS attempts_before,
        l.last_error AS error_before, l.room_id AS room_before
    FROM (
        SELECT * FROM unnest($3::text[], $4::bigint[], $5::boolean[], $6::bigint[], $7::bigint[], $8::integer[], $9::text[],
                $10::text[], $23::boolean[])
            AS u (lane, epoch, is_released, retry_ms, held_id, attempts, last_error, room_id, begins_anew)
        -- All writers lock lanes in this order, so two of them cannot block each other.
        ORDER BY lane
    ) AS u
    CROSS JOIN LATERAL (
        SELECT l.id, l.lease_until, l.retry_at, l.head_id, l.first_failed_at, l.attempts, l.last_error, l.room_id
        FROM matrix_lane AS l
        -- Not through the index on owners, which contains every lane that this owner ever had.
        WHERE l.lane = u.lane AND l.epoch = u.epoch AND l.owner IS NOT DISTINCT FROM $1
        FOR UPDATE
    ) AS l
), result AS MATERIALIZED (
    SELECT r.*, own.id IS NOT NULL AS is_ours, own.head_id, own.first_failed_at, own.room_before
    FROM unnest($11::bigint[], $12::text[], $13::bigint[], $14::text[], $15::boolean[], $16::text[], $17::text[], $18::integer[],
            $19::integer[], $20::text[], $21::text[], $22::bigint[])
        AS r (id, lane, epoch, status, is_final, error_code, error_message, attempts, duration_ms, event_id, room_id, age_ms)
    -- A full join uses a hash or a merge; an inner join might compare every result with every lane.
    FULL JOIN own ON own.lane = r.lane AND own.epoch = r.epoch
), found AS MATERIALIZED (
    SELECT r.*, o.place
    FROM result AS r
    CROSS JOIN LATERAL (SELECT o.ctid AS place FROM matrix_outbox AS o WHERE o.id = r.id OFFSET 0) AS o
    WHERE r.is_ours
), done AS (
    -- Rows of the outbox never change, so their ctid stays valid for as long as this statement runs.
    DELETE FROM matrix_outbox AS o USING found AS r
    WHERE o.ctid = r.place AND r.is_final
    RETURNING o.*, r.status, r.is_final, r.error_code, r.error_message, r.attempts, r.duration_ms, r.event_id,
        r.room_id AS sent_room_id, r.age_ms, r.room_before
), held AS (
    SELECT o.*, r.status, r.is_final, r.error_code, r.error_message, r.attempts, r.duration_ms, r.event_id, r.room_id, r.age_ms,
        r.room_before
    FROM found AS r
    JOIN matrix_outbox AS o ON o.ctid = r.place
    -- Only one failed row per message while it is held. Usually it is the lane's head that has one; others may have one already.
    LEFT JOIN LATERAL (
        SELECT true AS is_logged FROM matrix_log AS g
        WHERE g.status = 'failed' AND g.date >= o.queued_at AND g.outbox_id = o.id AND NOT g.is_final
        LIMIT 1
    ) AS g ON true
    WHERE NOT r.is_final AND (r.head_id IS DISTINCT FROM r.id OR r.first_failed_at IS NULL) AND g.is_logged IS NULL
), logged AS (
    INSERT INTO matrix_log (date, backend_id, outbox_id, event_type, res_model, res_id, room_id, matrix_user_id, matrix_type, payload,
        content, txn_id, attachment_id, status, is_final, error_code, error_message, attempts, duration_ms, matrix_event_id,
        queued_at, user_id, worker)
    SELECT now() AT TIME ZONE 'UTC' - o.age_ms * interval '1 ms', o.backend_id, o.id, o.event_type, o.res_model, o.res_id,
        -- For a direct message that failed, the person's room is logged as well if there is one.
        COALESCE(o.sent_room_id, o.room_id, o.room_before), o.matrix_user_id, o.matrix_type, COALESCE(o.content ->> 'body', o.content ->> 'reason'),
        CASE WHEN o.status = 'failed' THEN o.content END, o.txn_id, o.attachment_id, o.status, o.is_final, o.error_code,
        o.error_message, o.attempts, o.duration_ms, o.event_id, o.queued_at, o.user_id, $2
    FROM (SELECT * FROM done UNION ALL SELECT * FROM held) AS o
    ORDER BY o.id
), next AS MATERIALIZED (
    SELECT own.*, head.next_id, own.head_id IS NOT DISTINCT FROM head.next_id AS is_same,
        head.next_id IN (SELECT r.id FROM result AS r WHERE NOT r.is_final) AS has_failed
    FROM own
    -- The message that held up the lane stays its head as long as it waits, even behind a message that was committed late.
    LEFT JOIN LATERAL (
        SELECT o.id FROM matrix_outbox AS o
        WHERE o.lane = own.lane AND o.id = own.head_id AND own.head_id NOT IN (SELECT r.id FROM result AS r WHERE r.is_final)
        OFFSET 0
    ) AS still ON true
    -- If it has a failed row, other messages that fail do not replace it either: the row shows since when the lane has been held up.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN own.first_failed_at IS NULL THEN COALESCE(own.held_id, still.id) ELSE COALESCE(still.id, own.held_id) END
            AS next_id
    ) AS head
), settled AS (
    -- Each of these lanes exists and is locked, so this never inserts; it takes one descent of the index for each.
    INSERT INTO matrix_lane AS l (id, lane, lease_until, retry_at, head_id, attempts, first_failed_at, last_error, room_id)
    SELECT next.id, next.lane, CASE WHEN next.is_released THEN NULL ELSE next.lease_until END,
        -- A rest that was set before is not shortened.
        GREATEST(next.retry_at, now() AT TIME ZONE 'UTC' + next.retry_ms * interval '1 ms'),
        next.next_id,
        CASE WHEN next.held_id = next.next_id THEN next.attempts WHEN next.next_id IS NOT NULL THEN next.attempts_before ELSE 0 END,
        -- Since when its failed row has been in the log. A message whose attempt was interrupted, or whose result the database
        -- refused, has none.
        COALESCE(
            CASE WHEN next.is_same AND next.begins_anew IS NOT TRUE THEN next.first_failed_at END,
            CASE WHEN next.has_failed OR (next.is_same AND next.begins_anew) THEN now() AT TIME ZONE 'UTC' END),
        CASE WHEN next.next_id IS NOT NULL THEN COALESCE(next.last_error, CASE WHEN next.is_same THEN next.error_before END) END,
        COALESCE(next.room_id, next.room_before)
    FROM next
    WHERE next.is_released OR next.room_id IS NOT NULL OR NOT next.is_same OR (next.has_failed AND next.first_failed_at IS NULL)
    ORDER BY next.lane
    ON CONFLICT (lane) DO UPDATE SET
        lease_until = excluded.lease_until, retry_at = excluded.retry_at, head_id = excluded.head_id, attempts = excluded.attempts,
        first_failed_at = excluded.first_failed_at, last_error = excluded.last_error, room_id = excluded.room_id
)
SELECT own.lane, own.epoch FROM own
