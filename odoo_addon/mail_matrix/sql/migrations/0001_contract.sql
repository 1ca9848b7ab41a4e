-- The contract between Odoo and the worker: outbox, log and the worker's own tables.
--
-- Locks: matrix_backend
-- Needs the table matrix_backend, which Odoo's ORM makes (without Odoo: sql/schema.sql of the worker).
-- Odoo INSERTs into matrix_outbox; the worker DELETEs there and INSERTs into matrix_log; all state that changes lives in
-- tables that no business transaction writes, so neither side can raise a serialization failure (40001) in the other.
-- Times are UTC by the database's clock. NULL means "not set": Odoo cannot read infinity.

-- A row in the outbox is pending. There is no state column: an UPDATE here would collide with Odoo's REPEATABLE READ.
CREATE TABLE IF NOT EXISTS matrix_outbox (
    id bigserial PRIMARY KEY,
    backend_id integer NOT NULL CONSTRAINT matrix_outbox_backend_id_fkey REFERENCES matrix_backend (id) ON DELETE RESTRICT,
    -- Messages of one lane go out in the order of their ids. The byte order lets one index walk serve a backend's whole range.
    lane varchar COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (backend_id::text || '/' || COALESCE(room_id, matrix_user_id)) STORED,
    event_type varchar NOT NULL,
    room_id varchar,
    matrix_user_id varchar,
    matrix_type varchar NOT NULL DEFAULT 'm.room.message',
    content jsonb NOT NULL,
    txn_id varchar NOT NULL,
    res_model varchar,
    res_id integer,
    attachment_id integer,
    expires_at timestamp,
    user_id integer,
    queued_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    CONSTRAINT matrix_outbox_one_target CHECK (num_nonnulls(room_id, matrix_user_id) = 1),
    CONSTRAINT matrix_outbox_room_id_sigil CHECK (room_id LIKE '!_%' AND octet_length(room_id) <= 255),
    CONSTRAINT matrix_outbox_matrix_user_id_sigil CHECK (matrix_user_id LIKE '@_%' AND octet_length(matrix_user_id) <= 255),
    CONSTRAINT matrix_outbox_txn_id_length CHECK (octet_length(txn_id) BETWEEN 1 AND 255),
    CONSTRAINT matrix_outbox_content_object CHECK (jsonb_typeof(content) = 'object')
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_vacuum_cost_delay = 0
);
-- An id is handed out when the row is inserted: with a cache, ids of two sessions would not follow the order of their inserts.
ALTER SEQUENCE matrix_outbox_id_seq CACHE 1;
CREATE UNIQUE INDEX IF NOT EXISTS matrix_outbox_txn_id_key ON matrix_outbox (txn_id);
-- Serves the ring walk over lanes and the read of a lane's first rows (sql/ring.sql, sql/claim.sql).
CREATE INDEX IF NOT EXISTS matrix_outbox_lane_id_idx ON matrix_outbox (lane, id);

-- One row per outcome; what managers read. No foreign keys: a dangling one would wedge the completion.
CREATE TABLE IF NOT EXISTS matrix_log (
    id serial PRIMARY KEY,
    date timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    backend_id integer,
    outbox_id bigint,
    event_type varchar,
    res_model varchar,
    res_id integer,
    room_id varchar,
    matrix_user_id varchar,
    matrix_type varchar,
    payload text,
    content jsonb,
    txn_id varchar,
    attachment_id integer,
    status varchar NOT NULL,
    is_final boolean NOT NULL DEFAULT true,
    error_code varchar,
    error_message varchar,
    attempts integer NOT NULL DEFAULT 0,
    duration_ms integer,
    matrix_event_id varchar,
    queued_at timestamp,
    user_id integer,
    worker varchar,
    CONSTRAINT matrix_log_status CHECK (status IN ('ok', 'failed')),
    CONSTRAINT matrix_log_ok_is_final CHECK (status = 'failed' OR is_final),
    CONSTRAINT matrix_log_error_message_length CHECK (octet_length(error_message) <= 1024)
);
CREATE INDEX IF NOT EXISTS matrix_log_date_idx ON matrix_log (date);
CREATE INDEX IF NOT EXISTS matrix_log_res_idx ON matrix_log (res_model, res_id);
-- Serves the filter Failed and the search for what a Retry would queue again.
CREATE INDEX IF NOT EXISTS matrix_log_failed_idx ON matrix_log (date) WHERE status = 'failed';

-- The lease of a lane. Half-filled pages keep its many updates on the same page.
CREATE TABLE IF NOT EXISTS matrix_lane (
    id serial PRIMARY KEY,
    lane varchar COLLATE "C" NOT NULL,
    lease_until timestamp,
    retry_at timestamp,
    -- Grows with each lease; a result that comes under an older one matches nothing.
    epoch bigint NOT NULL DEFAULT 0,
    owner varchar,
    -- The message that is held and what it has been through; another message never inherits it.
    head_id bigint,
    attempts integer NOT NULL DEFAULT 0,
    first_failed_at timestamp,
    last_error varchar,
    -- A direct message's room, or the room that replaced the lane's own.
    room_id varchar
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX IF NOT EXISTS matrix_lane_lane_key ON matrix_lane (lane);

CREATE TABLE IF NOT EXISTS matrix_backend_status (
    id serial PRIMARY KEY,
    backend_id integer NOT NULL,
    state varchar NOT NULL DEFAULT 'ok',
    reason varchar,
    paused_until timestamp,
    next_probe_at timestamp,
    probe_interval_ms integer,
    next_send_at timestamp,
    interval_ms integer,
    since timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    checked_at timestamp,
    -- The configuration that this state was seen with: another one in matrix_backend ends every pause but an operator's.
    config_version integer NOT NULL DEFAULT 0,
    matrix_user_id varchar,
    device_id varchar,
    server_version varchar,
    CONSTRAINT matrix_backend_status_state
        CHECK (state IN ('ok', 'rate_limited', 'down', 'unauthorized', 'misconfigured', 'paused'))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE UNIQUE INDEX IF NOT EXISTS matrix_backend_status_backend_id_key ON matrix_backend_status (backend_id);

CREATE TABLE IF NOT EXISTS matrix_worker (
    id serial PRIMARY KEY,
    name varchar NOT NULL,
    hostname varchar,
    pid integer,
    version varchar,
    started_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    last_seen timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    sent_total bigint NOT NULL DEFAULT 0,
    failed_total bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX IF NOT EXISTS matrix_worker_name_key ON matrix_worker (name);

-- The wake-up. NOTIFY locks the whole cluster at commit, so only one of the transactions that commit together notifies; the
-- others rely on the polling that follows every wake-up. The key (1836348024, 1) is 'mtrx' in ASCII and our first lock.
CREATE OR REPLACE FUNCTION matrix_outbox_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF pg_try_advisory_xact_lock(1836348024, 1) THEN
        PERFORM pg_notify('matrix_outbox', '');
    END IF;
    RETURN NULL;
END $$;

-- Another URL, token or state of a backend is another configuration: count it and wake the workers.
CREATE OR REPLACE FUNCTION matrix_backend_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    NEW.config_version := OLD.config_version + 1;
    PERFORM pg_notify('matrix_outbox', '');
    RETURN NEW;
END $$;

DO $$
BEGIN
    -- Deferred, so that the gate is held while committing only: earlier, one long transaction would silence all others.
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'matrix_outbox'::regclass AND tgname = 'matrix_outbox_notify') THEN
        CREATE CONSTRAINT TRIGGER matrix_outbox_notify AFTER INSERT ON matrix_outbox
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION matrix_outbox_notify();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'matrix_backend'::regclass AND tgname = 'matrix_backend_changed') THEN
        CREATE TRIGGER matrix_backend_changed BEFORE UPDATE ON matrix_backend FOR EACH ROW
            WHEN ((OLD.homeserver_url, OLD.token_sealed, OLD.verify_ssl, OLD.is_active, OLD.hold_on_outage)
                IS DISTINCT FROM (NEW.homeserver_url, NEW.token_sealed, NEW.verify_ssl, NEW.is_active, NEW.hold_on_outage))
            EXECUTE FUNCTION matrix_backend_changed();
    END IF;
END $$;
