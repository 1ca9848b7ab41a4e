-- Walk the lanes that have messages, as a ring: for each backend that may send, the next lanes after its cursor.
-- Each lane costs one descent of matrix_outbox_lane_id_idx, whatever the backlog. Lanes seen for the first time get their row.
--
-- $1 backend ids and $2 the lane after which to go on, pairwise; a backend that is not named starts at its first lane
-- $3 lanes to look at for each backend, at most
-- One row per lane found; one with lane NULL per active backend, with what it may do:
--   open     may send
--   changed  was stopped, but its configuration is another one now: to be reset
--   paced    is limited and may take one slot now
--   probe    is stopped and may be asked now whether it is back
--   closed   may do nothing for another wait_ms (NULL: until somebody resumes it)
WITH RECURSIVE backend AS MATERIALIZED (
    SELECT b.id, b.config_version,
        CASE
            WHEN s.state IS NULL THEN 'open'
            WHEN s.state = 'paused' THEN 'closed'
            WHEN s.config_version <> b.config_version THEN 'changed'
            WHEN s.state = 'ok' THEN 'open'
            WHEN due.at > now() AT TIME ZONE 'UTC' THEN 'closed'
            WHEN s.state = 'rate_limited' THEN 'paced'
            ELSE 'probe'
        END AS standing,
        CASE WHEN s.state <> 'paused' THEN ceil(EXTRACT(EPOCH FROM due.at - (now() AT TIME ZONE 'UTC')) * 1000) END AS wait_ms
    FROM matrix_backend AS b
    LEFT JOIN matrix_backend_status AS s ON s.backend_id = b.id
    CROSS JOIN LATERAL (
        SELECT CASE s.state WHEN 'rate_limited' THEN GREATEST(s.paused_until, s.next_send_at) WHEN 'ok' THEN NULL
            ELSE s.next_probe_at END AS at
    ) AS due
    WHERE b.is_active
), ring (backend_id, lane, ends_before, n) AS (
    SELECT b.id, first.lane, b.id || '0', 1
    FROM backend AS b
    LEFT JOIN unnest($1::integer[], $2::text[]) AS cursor (backend_id, lane) ON cursor.backend_id = b.id
    CROSS JOIN LATERAL (
        SELECT o.lane FROM matrix_outbox AS o
        -- '0' follows '/' in byte order, so this is the range of all lanes of the backend.
        WHERE o.lane > COALESCE(cursor.lane, b.id || '/') AND o.lane < b.id || '0'
        ORDER BY o.lane LIMIT 1
    ) AS first
    WHERE b.standing IN ('open', 'paced')
    UNION ALL
    SELECT ring.backend_id, next.lane, ring.ends_before, ring.n + 1
    FROM ring
    CROSS JOIN LATERAL (
        SELECT o.lane FROM matrix_outbox AS o
        WHERE o.lane > ring.lane AND o.lane < ring.ends_before
        ORDER BY o.lane LIMIT 1
    ) AS next
    WHERE ring.n < $3::integer
), missing AS (
    INSERT INTO matrix_lane (lane)
    SELECT ring.lane FROM ring
    -- One descent of the index for each lane found. As NOT EXISTS it may become a join that reads all of matrix_lane.
    WHERE (SELECT l.id FROM matrix_lane AS l WHERE l.lane = ring.lane) IS NULL
    -- All writers make and lock lanes in this order, so two of them cannot block each other.
    ORDER BY ring.lane
    ON CONFLICT DO NOTHING
)
SELECT b.id AS backend_id, b.config_version, b.standing, b.wait_ms::bigint AS wait_ms, NULL::text AS lane FROM backend AS b
UNION ALL
SELECT ring.backend_id, NULL, NULL, NULL, ring.lane FROM ring
