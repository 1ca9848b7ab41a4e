-- Write what must be kept for the device, all or nothing. May be repeated when it is unknown whether it was committed.
--
-- $1 backend, $2 owner, $3 epoch of the keys
-- $4 kinds, $5 keys and $6 sealed values, to be written; $7 kinds and $8 keys, to be removed. No item is named twice.
-- Returns no row if another worker has taken the keys: then nothing was written.
WITH fence AS MATERIALIZED (
    SELECT c.backend_id FROM matrix_crypto AS c WHERE c.backend_id = $1 AND c.owner = $2 AND c.epoch = $3 FOR SHARE
), removed AS (
    DELETE FROM matrix_crypto_item AS i
    -- A join may read all items of all accounts.
    WHERE i.id = ANY (ARRAY(
        SELECT item.id
        FROM fence CROSS JOIN unnest($7::text[], $8::text[]) AS gone (kind, key)
        CROSS JOIN LATERAL (
            SELECT i.id FROM matrix_crypto_item AS i
            WHERE i.backend_id = fence.backend_id AND i.kind = gone.kind AND i.key = gone.key
            OFFSET 0
        ) AS item
    ))
), written AS (
    INSERT INTO matrix_crypto_item (backend_id, kind, key, sealed)
    SELECT fence.backend_id, item.kind, item.key, item.sealed
    FROM fence CROSS JOIN unnest($4::text[], $5::text[], $6::text[]) AS item (kind, key, sealed)
    ON CONFLICT (backend_id, kind, key) DO UPDATE SET sealed = excluded.sealed
)
SELECT fence.backend_id FROM fence
