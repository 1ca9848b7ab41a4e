-- Whether a record allows now that its messages are sent unencrypted to its encrypted room. The worker asks before it sends there: consent
-- may have been withdrawn since the message was queued. It learns this one answer and reads no table of Odoo for it.
-- Locks: none
DO $do$
BEGIN
    -- The records' tables are looked for where the contract's are, never in a schema of the caller's.
    EXECUTE format($create$
        CREATE OR REPLACE FUNCTION matrix_consents(model text, record integer, room text) RETURNS boolean
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, %I, pg_temp AS $body$
        DECLARE
            holder regclass := to_regclass(quote_ident(replace(model, '.', '_')));
            answer boolean;
        BEGIN
            -- A model that has lost its Matrix fields since consents to nothing.
            IF holder IS NULL OR 2 <> (
                SELECT count(*) FROM pg_attribute
                WHERE attrelid = holder AND attname IN ('matrix_send_unencrypted', 'matrix_room_id') AND NOT attisdropped
            ) THEN
                RETURN false;
            END IF;
            EXECUTE format('SELECT matrix_send_unencrypted FROM %%s WHERE id = $1 AND matrix_room_id = $2', holder)
                INTO answer USING record, room;
            RETURN COALESCE(answer, false);
        END $body$
    $create$, current_schema());
END $do$;
