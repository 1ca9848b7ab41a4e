//! The migrations of the contract. The addon runs them in Odoo's database; the same files are used here for a database without Odoo, and
//! their numbers say which contract a database has. `README.md` in their folder says how to write one.

use super::StoreError;

/// The oldest contract with which every statement of this worker works. It is lower than [`newest`], so that Odoo and the worker
/// can be upgraded one after the other.
pub const OLDEST: usize = 2;

macro_rules! migrations {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../odoo_addon/mail_matrix/sql/migrations/", $name, ".sql")))),+]
    };
}

/// Name and text of each migration, in order: the first is number 1.
pub const MIGRATIONS: &[(&str, &str)] = &migrations![
    "0001_contract",
    "0002_database_identity",
    "0003_requeue",
    "0004_log_id_bigint",
    "0005_consent_now",
    "0006_configured_at",
    "0007_inbound",
    "0008_encryption",
    "0009_files",
    "0010_encryption_mode",
    "0011_threads",
    "0012_appservice",
    "0013_appservice_token",
    "0014_reset_without_secret",
];

/// The contract that a database has after the last migration.
pub const fn newest() -> usize {
    MIGRATIONS.len()
}

/// SQL that upgrades a database without Odoo to the contract `number`. It may be run again, and runs only what is missing.
pub fn schema(number: usize) -> String {
    let mut sql = include_str!("../../sql/schema.sql").to_owned();
    for (number, (name, text)) in (1..).zip(&MIGRATIONS[..number]) {
        sql += &format!(
            "
DO $run$
BEGIN
    IF COALESCE(substring(obj_description(to_regclass('matrix_outbox'), 'pg_class') FROM 'contract ([0-9]+)')::integer, 0) < {number} THEN
        EXECUTE $migration_{name}$
{text}
        $migration_{name}$;
        COMMENT ON TABLE matrix_outbox IS 'contract {number}';
    END IF;
END $run$;
"
        );
    }
    sql
}

/// Checks the comment on `matrix_outbox`. A contract newer than any that this worker knows is accepted too: migrations only add.
pub(super) fn judge(comment: Option<&str>) -> Result<(), StoreError> {
    let Some(comment) = comment else {
        return Err(StoreError::Contract(
            "the database has no table matrix_outbox with a contract; install mail_matrix in Odoo, or check that \
             DATABASE_URL names Odoo's database"
                .to_owned(),
        ));
    };
    match comment.strip_prefix("contract ").and_then(|number| number.parse::<usize>().ok()) {
        Some(number) if number >= OLDEST => Ok(()),
        Some(_) => Err(StoreError::Contract(format!(
            "the database holds «{comment}», this worker needs «contract {OLDEST}» or a later one; upgrade mail_matrix in Odoo"
        ))),
        None => Err(StoreError::Contract(format!(
            "the database holds «{comment}», this worker knows «contract {OLDEST}» to «contract {}»; upgrade the worker",
            newest()
        ))),
    }
}
