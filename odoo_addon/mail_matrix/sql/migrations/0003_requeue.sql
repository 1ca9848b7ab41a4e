-- Which failed rows of the log a manager has queued again. A row is queued once: if it fails again, the log gets another row.
-- Without it Retry would look for the transaction id in the whole log, which has no index on it.
-- Written and read by Odoo alone.
-- Locks: none

CREATE TABLE IF NOT EXISTS matrix_requeue (
    log_id bigint PRIMARY KEY
);
