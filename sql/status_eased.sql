-- A limited backend accepted a message: send a little faster, until no pace is needed.
-- Faster by a thousandth only, because each step too far costs a 429; but if there was none for a hundred messages, the account's limit
-- has most likely been raised.
--
-- $1 backend
UPDATE matrix_backend_status AS s
SET interval_ms = faster.interval_ms,
    state = CASE WHEN faster.interval_ms < 40 THEN 'ok' ELSE s.state END,
    reason = CASE WHEN faster.interval_ms < 40 THEN NULL ELSE s.reason END,
    since = CASE WHEN faster.interval_ms < 40 THEN now() AT TIME ZONE 'UTC' ELSE s.since END
FROM matrix_backend_status AS before
CROSS JOIN LATERAL (
    -- Rounded up or down at random, in proportion to the fraction: rounding to the nearest would lose a thousandth of a short interval.
    SELECT floor(random() + before.interval_ms * CASE
        WHEN before.checked_at + before.interval_ms * interval '100 ms' < now() AT TIME ZONE 'UTC' THEN 0.97
        ELSE 0.999
    END)::integer AS interval_ms
) AS faster
WHERE s.backend_id = $1 AND before.id = s.id AND s.state = 'rate_limited' AND s.paused_until <= now() AT TIME ZONE 'UTC'
