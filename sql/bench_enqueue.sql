-- Queue messages for `bench`, the rooms in turns, all for the one backend that its schema has.
--
-- $1 messages, $2 rooms
INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
SELECT b.id, 'test', '!room' || n % $2::integer || ':bench.invalid',
    jsonb_build_object('msgtype', 'm.text', 'body', 'Message ' || n), 'bench-' || md5(random()::text || n)
FROM matrix_backend AS b, generate_series(1, $1::integer) AS n
ORDER BY n
