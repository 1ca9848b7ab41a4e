-- Whether another message of the backend was tried and accepted while one was failing: then the failing one is at fault.
--
-- $1 backend, $2 seconds since its first failure, $3 seconds since its last try began
SELECT EXISTS (
    SELECT FROM matrix_log
    WHERE backend_id = $1 AND status = 'ok'
        AND date > now() AT TIME ZONE 'UTC' - $2::double precision * interval '1 s'
        AND date < now() AT TIME ZONE 'UTC' - $3::double precision * interval '1 s'
        -- Dates are late by the time that writing took: a row dated just after the failure may belong to a message sent before it.
        AND date - duration_ms * interval '1 ms'
            > now() AT TIME ZONE 'UTC' - $2::double precision * interval '1 s' + interval '100 ms'
)
