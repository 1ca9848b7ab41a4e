-- What Odoo's ORM makes of matrix.backend, as far as the worker reads it, for a database without Odoo.
-- The migrations of the contract follow it and add the columns of later releases. A test compares all with what a real Odoo makes.
CREATE TABLE IF NOT EXISTS matrix_backend (
    id serial PRIMARY KEY,
    name varchar NOT NULL,
    homeserver_url varchar NOT NULL,
    token_sealed varchar,
    verify_ssl boolean DEFAULT true,
    is_active boolean DEFAULT true,
    hold_on_outage boolean DEFAULT true,
    config_version integer NOT NULL DEFAULT 1
);
