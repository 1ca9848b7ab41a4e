-- The state of every active backend. One that was seen with another configuration than the present one says nothing any more.
SELECT b.id, CASE WHEN s.state = 'paused' OR s.config_version = b.config_version THEN s.state ELSE 'ok' END AS state
FROM matrix_backend AS b
LEFT JOIN matrix_backend_status AS s ON s.backend_id = b.id
WHERE b.is_active
ORDER BY b.id
