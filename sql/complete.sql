-- Write down what became of messages and settle their lanes, in one fenced statement: whoever lost a lease matches nothing.
-- May be repeated when the outcome of its COMMIT is unknown: a message that is gone is neither deleted nor logged again.
--
-- $1 owner, $2 name of the worker for the log
-- lanes:   $3 lane, $4 epoch, $5 release it, $6 do not lease it again for so many ms (NULL: at once), $7 the message that is held
--          (NULL: the one before, as long as it waits), $8 its attempts, $9 its error (NULL: as before), $10 the room found for
--          the lane (NULL: as before)
-- results: $11 message id, $12 lane, $13 epoch, $14 status, $15 is final, $16 error code, $17 error message, $18 attempts,
--          $19 duration in ms, $20 Matrix event id, $21 room it went to, $22 age of the answer in ms
-- Returns the lanes that were still ours.
WITH own AS MATERIALIZED (
    SELECT l.lane, l.epoch, l.head_id, l.first_failed_at, u.is_released, u.retry_ms, u.held_id, u.attempts, u.last_error, u.room_id
    FROM matrix_lane AS l
    JOIN unnest($3::text[], $4::bigint[], $5::boolean[], $6::bigint[], $7::bigint[], $8::integer[], $9::text[], $10::text[])
        AS u (lane, epoch, is_released, retry_ms, held_id, attempts, last_error, room_id)
        ON l.lane = u.lane AND l.epoch = u.epoch
    -- Named twice, so that no join can take the way over all lanes; and not by the index on owners, which knows all lanes that
    -- this one ever had.
    WHERE l.lane = ANY ($3::text[]) AND l.owner IS NOT DISTINCT FROM $1
    -- All writers lock lanes in this order, so two of them cannot block each other.
    ORDER BY l.lane
    FOR UPDATE OF l
), result AS MATERIALIZED (
    SELECT r.*, own.head_id, own.first_failed_at
    FROM unnest($11::bigint[], $12::text[], $13::bigint[], $14::text[], $15::boolean[], $16::text[], $17::text[], $18::integer[],
            $19::integer[], $20::text[], $21::text[], $22::bigint[])
        AS r (id, lane, epoch, status, is_final, error_code, error_message, attempts, duration_ms, event_id, room_id, age_ms)
    JOIN own USING (lane, epoch)
), done AS (
    DELETE FROM matrix_outbox AS o USING result AS r
    WHERE o.id = ANY ($11::bigint[]) AND o.id = r.id AND r.is_final
    RETURNING o.*
), held AS (
    SELECT o.*
    FROM result AS r
    JOIN matrix_outbox AS o ON o.id = r.id
    -- One failed row per message while it is held; the lane's head may wait for another reason, which left no row.
    WHERE o.id = ANY ($11::bigint[]) AND NOT r.is_final AND (r.head_id IS DISTINCT FROM r.id OR r.first_failed_at IS NULL)
), logged AS (
    INSERT INTO matrix_log (date, backend_id, outbox_id, event_type, res_model, res_id, room_id, matrix_user_id, matrix_type, payload,
        content, txn_id, attachment_id, status, is_final, error_code, error_message, attempts, duration_ms, matrix_event_id,
        queued_at, user_id, worker)
    SELECT now() AT TIME ZONE 'UTC' - r.age_ms * interval '1 ms', o.backend_id, o.id, o.event_type, o.res_model, o.res_id,
        COALESCE(r.room_id, o.room_id), o.matrix_user_id, o.matrix_type, o.content ->> 'body',
        CASE WHEN r.status = 'failed' THEN o.content END, o.txn_id, o.attachment_id, r.status, r.is_final, r.error_code,
        r.error_message, r.attempts, r.duration_ms, r.event_id, o.queued_at, o.user_id, $2
    FROM (SELECT * FROM done UNION ALL SELECT * FROM held) AS o
    JOIN result AS r ON r.id = o.id
    ORDER BY o.id
), next AS MATERIALIZED (
    SELECT own.*, COALESCE(own.held_id, still.id) AS next_id,
        own.head_id IS NOT DISTINCT FROM COALESCE(own.held_id, still.id) AS is_same,
        COALESCE(own.held_id, still.id) IN (SELECT r.id FROM result AS r WHERE NOT r.is_final) AS has_failed
    FROM own
    -- The message that the lane was held at stays its head as long as it waits, even behind one that was committed late.
    LEFT JOIN LATERAL (
        SELECT o.id FROM matrix_outbox AS o
        WHERE o.lane = own.lane AND o.id = own.head_id AND o.id <> ALL (ARRAY(SELECT r.id FROM result AS r WHERE r.is_final))
        OFFSET 0
    ) AS still ON true
), settled AS (
    UPDATE matrix_lane AS l
    SET lease_until = CASE WHEN next.is_released THEN NULL ELSE l.lease_until END,
        -- A rest that was set before is not cut short.
        retry_at = GREATEST(l.retry_at, now() AT TIME ZONE 'UTC' + next.retry_ms * interval '1 ms'),
        head_id = next.next_id,
        attempts = CASE WHEN next.held_id IS NOT NULL THEN next.attempts WHEN next.next_id IS NOT NULL THEN l.attempts ELSE 0 END,
        -- Since when its failed row stands in the log. One that was cut short, or whose result was refused, has none.
        first_failed_at = COALESCE(
            CASE WHEN next.is_same THEN next.first_failed_at END, CASE WHEN next.has_failed THEN now() AT TIME ZONE 'UTC' END),
        last_error = CASE WHEN next.next_id IS NOT NULL THEN COALESCE(next.last_error, CASE WHEN next.is_same THEN l.last_error END) END,
        room_id = COALESCE(next.room_id, l.room_id)
    FROM next
    WHERE l.lane = ANY ($3::text[]) AND l.lane = next.lane
        AND (next.is_released OR next.room_id IS NOT NULL OR NOT next.is_same OR (next.has_failed AND next.first_failed_at IS NULL))
)
SELECT own.lane, own.epoch FROM own
