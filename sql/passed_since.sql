-- Whether another message of the backend got through within the last so many seconds: then it is the message that is at fault.
--
-- $1 backend, $2 seconds
SELECT EXISTS (
    SELECT FROM matrix_log
    WHERE date > now() AT TIME ZONE 'UTC' - $2::double precision * interval '1 s' AND backend_id = $1 AND status = 'ok'
)
