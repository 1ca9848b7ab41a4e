-- Walk the lanes that have messages, as a ring: for each backend that may send, the next free lanes after its cursor.
-- Each lane costs one descent of matrix_outbox_lane_id_idx and one of matrix_lane_lane_key, whatever the backlog. For lanes seen for
-- the first time a row is inserted.
--
-- $1 backend ids, $2 the lane after which to continue (NULL: at the first) and $6 how many more free lanes to find than $3, one of each for
-- each backend; a backend that is not given starts at its first lane
-- $3 free lanes to find for each backend, at most, $4 lanes to look at, at most, $5 owner
-- Returns one row per free lane, and one with lane NULL per active backend: how far the walk got (NULL: no further), whether that was
-- the last of its lanes, how many of the lanes on the way are leased by others or resting, and what the backend may do:
--   open     may send
--   changed  was stopped, but its configuration is another one now: its state has to be reset
--   paced    is limited and may take one slot now
--   probe    is stopped and may be probed now
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
), ring (backend_id, lane, ends_before, most, passed, found, is_new, is_free, is_ours) AS (
    -- Where the walk begins; no lane yet.
    -- '0' follows '/' in byte order, so that the range is that of all lanes of the backend.
    SELECT b.id, COALESCE(cursor.lane, b.id || '/')::varchar COLLATE "C", b.id || '0', $3::integer + COALESCE(cursor.more, 0), 0, 0,
        false, false, false
    FROM backend AS b
    LEFT JOIN unnest($1::integer[], $2::text[], $6::integer[]) AS cursor (backend_id, lane, more) ON cursor.backend_id = b.id
    WHERE b.standing IN ('open', 'paced')
    UNION ALL
    SELECT ring.backend_id, next.lane, ring.ends_before, ring.most, ring.passed + 1, ring.found + state.is_free::integer,
        state.is_new, state.is_free, state.is_ours
    FROM ring
    CROSS JOIN LATERAL (
        SELECT o.lane FROM matrix_outbox AS o
        WHERE o.lane > ring.lane AND o.lane < ring.ends_before
        ORDER BY o.lane LIMIT 1
    ) AS next
    LEFT JOIN LATERAL (
        SELECT l.id, l.owner, l.lease_until >= now() AT TIME ZONE 'UTC' AS is_leased,
            l.retry_at > now() AT TIME ZONE 'UTC' AS is_resting
        FROM matrix_lane AS l WHERE l.lane = next.lane
        OFFSET 0
    ) AS l ON true
    CROSS JOIN LATERAL (
        SELECT l.id IS NULL AS is_new, l.is_leased IS NOT TRUE AND l.is_resting IS NOT TRUE AS is_free,
            l.is_leased IS TRUE AND l.owner IS NOT DISTINCT FROM $5 AS is_ours
    ) AS state
    WHERE ring.found < ring.most AND ring.passed < $4::integer
), missing AS (
    INSERT INTO matrix_lane (lane)
    SELECT ring.lane FROM ring WHERE ring.is_new
    -- All writers insert and lock lanes in this order, so two of them cannot block each other.
    ORDER BY ring.lane
    ON CONFLICT DO NOTHING
), walk AS (
    SELECT ring.backend_id, max(ring.lane) AS passed_until, bool_and(ring.found < ring.most) AND count(*) < $4::integer AS is_end,
        count(*) FILTER (WHERE NOT ring.is_free AND NOT ring.is_ours) AS busy_elsewhere
    FROM ring WHERE ring.passed > 0
    GROUP BY ring.backend_id
)
SELECT b.id AS backend_id, b.config_version, b.standing, b.wait_ms::bigint AS wait_ms, walk.passed_until,
    COALESCE(walk.is_end, true) AS is_end, COALESCE(walk.busy_elsewhere, 0) AS busy_elsewhere, NULL::text AS lane
FROM backend AS b LEFT JOIN walk ON walk.backend_id = b.id
UNION ALL
SELECT ring.backend_id, NULL, NULL, NULL, NULL, NULL, NULL, ring.lane FROM ring WHERE ring.is_free
