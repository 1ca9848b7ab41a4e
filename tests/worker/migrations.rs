//! The contract changes by migrations that are numbered, run once, only add, and say what they lock.

use std::{collections::BTreeSet, path::Path};

use odoo_matrix_worker::store::{MIGRATIONS, OLDEST, newest, schema};
use stack::{postgres::shared, world::World};
use tokio_postgres::Client;

use crate::BINARY;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/odoo_addon/mail_matrix/sql/migrations");

/// Each column, index, constraint, trigger, function and option of our tables, one line each.
const CATALOGUE: &str = "
    SELECT format('%s.%s %s not null %s default %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid IN (SELECT oid FROM pg_class WHERE relname LIKE 'matrix%' AND relkind = 'r') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'matrix%'
    UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid::regclass::text LIKE 'matrix%'
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'matrix%' AND NOT tgisinternal
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'matrix%'
    UNION ALL SELECT relname || ' ' || COALESCE(array_to_string(reloptions, ','), '') || ' ' || COALESCE(obj_description(oid, 'pg_class'), '')
        FROM pg_class WHERE relname LIKE 'matrix%'";

async fn catalogue(client: &Client) -> BTreeSet<String> {
    client.query(CATALOGUE, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Odoo and the worker are upgraded one after the other: the worker must do without the last migration.
#[test]
fn the_worker_needs_no_more_than_the_contract_before_the_newest() {
    const { assert!(OLDEST < newest()) };
}

/// A file that the list leaves out would be run by Odoo and be missing where there is no Odoo.
#[test]
fn every_migration_is_embedded_and_numbered_without_a_gap() {
    let mut files: Vec<_> = std::fs::read_dir(Path::new(FOLDER))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".sql").map(str::to_owned))
        .collect();
    files.sort();

    assert_eq!(files, MIGRATIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (number, name) in (1..).zip(&files) {
        assert!(name.starts_with(&format!("{number:04}_")), "{name} is number {number}");
    }
}

#[tokio::test]
async fn each_migration_locks_what_its_header_says_and_nothing_else() {
    let database = shared().await.database("locks").await;
    let mut client = database.connect().await.unwrap();
    client.batch_execute(&schema(0)).await.unwrap();

    for (name, text) in MIGRATIONS {
        let said = text.lines().find_map(|line| line.strip_prefix("-- Locks: ")).expect("a header says what it locks");
        let tables = "SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
        let before: Vec<u32> = client.query(tables, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();

        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute(text).await.unwrap();
        // These modes conflict with INSERT, UPDATE and DELETE; the last of them with SELECT too.
        let locks = "SELECT DISTINCT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid() AND relation = ANY ($1)
            AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') ORDER BY 1";
        let found: Vec<String> =
            transaction.query(locks, &[&before]).await.unwrap().iter().map(|row| row.get(0)).collect();
        transaction.commit().await.unwrap();

        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        assert_eq!(said, found, "{name}");
    }
}

/// What a statement of an earlier release may name: columns with their types, functions, and the unique indexes that `ON CONFLICT` needs.
const NAMED: &str = "
    SELECT format('column %s.%s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod)) FROM pg_attribute AS a
    WHERE a.attrelid IN (SELECT oid FROM pg_class WHERE relname LIKE 'matrix%' AND relkind = 'r') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT format('function %s returns %s', oid::regprocedure, prorettype::regtype) FROM pg_proc WHERE proname LIKE 'matrix%'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'matrix%' AND indexdef LIKE 'CREATE UNIQUE%'";

/// What may refuse a row that leaves out the columns in the last field: constraints, unique indexes, and columns that need a value.
const REFUSING: &str = "
    SELECT c.conrelid::regclass::text, pg_get_constraintdef(c.oid), ARRAY(
        SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey))
    FROM pg_constraint AS c WHERE c.conrelid::regclass::text LIKE 'matrix%'
    UNION ALL SELECT i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid), ARRAY(
        SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey))
    FROM pg_index AS i WHERE i.indisunique AND i.indrelid::regclass::text LIKE 'matrix%'
    UNION ALL SELECT a.attrelid::regclass::text, a.attname || ' needs a value', '{}' FROM pg_attribute AS a
    WHERE a.attrelid IN (SELECT oid FROM pg_class WHERE relname LIKE 'matrix%' AND relkind = 'r') AND a.attnum > 0 AND NOT a.attisdropped
        AND a.attnotnull AND NOT a.atthasdef";

/// No statement of the worker reads the number of a line in the log.
const WIDENED: &str = "column matrix_log.id integer";

/// Takes the place of a constraint that refused more.
const WIDER: &str = "CHECK ( CASE WHEN ((kind)::text = 'new_device'::text) THEN (secret_sealed IS NULL) WHEN (secret_sealed IS NULL) \
    THEN ((kind)::text = 'reset'::text) ELSE ((secret_sealed)::text ~~ 'fernet:%'::text) END)";

/// A worker of the release before keeps running while Odoo is upgraded: whatever its statements name is still there, and nothing new
/// refuses what it writes.
#[tokio::test]
async fn a_migration_takes_nothing_away_that_statements_of_earlier_releases_name() {
    let client = shared().await.database("kept").await.connect().await.unwrap();
    client.batch_execute(&schema(OLDEST)).await.unwrap();
    for number in OLDEST + 1..=newest() {
        let read = async |sql: &str| client.query(sql, &[]).await.unwrap();
        let named = async || read(NAMED).await.iter().map(|row| row.get::<_, String>(0)).collect::<BTreeSet<_>>();
        let refusing = async || {
            let rows = read(REFUSING).await;
            rows.iter()
                .map(|row| (row.get(0), row.get(1), row.get(2)))
                .collect::<BTreeSet<(String, String, Vec<String>)>>()
        };
        let (before, refused_before) = (named().await, refusing().await);

        client.batch_execute(&schema(number)).await.unwrap();

        let after = named().await;
        let gone: Vec<_> = before.difference(&after).filter(|line| *line != WIDENED).collect();
        assert_eq!(gone, [""; 0], "contract {number} takes away");
        let was_there =
            |table: &str, column: &str| before.iter().any(|line| line.starts_with(&format!("column {table}.{column}")));
        let refuses_now: Vec<_> = refusing()
            .await
            .difference(&refused_before)
            .filter(|(table, refuses, columns)| {
                refuses.split_whitespace().ne(WIDER.split_whitespace())
                    && was_there(table, "")
                    && (columns.is_empty() || columns.iter().any(|column| was_there(table, &format!("{column} "))))
            })
            .cloned()
            .collect();
        assert!(refuses_now.is_empty(), "contract {number} refuses {refuses_now:?}");
    }
}

/// From every earlier contract, and over a finished one whose number was lost with the comments of a dump.
#[tokio::test]
async fn an_upgraded_database_has_the_tables_of_a_fresh_one() {
    let fresh = shared().await.database("fresh").await.connect().await.unwrap();
    fresh.batch_execute(&schema(newest())).await.unwrap();
    let wanted = catalogue(&fresh).await;
    assert!(wanted.contains(&format!("matrix_outbox {} contract {}", options(&fresh).await, newest())));

    for number in 1..=newest() {
        let database = shared().await.database("upgraded").await;
        let client = database.connect().await.unwrap();
        client.batch_execute(&schema(number)).await.unwrap();
        if number == newest() {
            client.batch_execute("COMMENT ON TABLE matrix_outbox IS NULL").await.unwrap();
        }

        client.batch_execute(&schema(newest())).await.unwrap();

        assert_eq!(catalogue(&client).await, wanted, "from contract {number}");
    }
}

async fn options(client: &Client) -> String {
    let sql = "SELECT array_to_string(reloptions, ',') FROM pg_class WHERE oid = 'matrix_outbox'::regclass";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Odoo is upgraded first or the worker is, and both work meanwhile.
#[tokio::test]
async fn the_worker_delivers_on_the_contracts_before_and_after_its_own() {
    // What a later release may add: a table, a column with a default, an index, a number.
    let later = format!(
        "{}
        CREATE TABLE matrix_later (id serial PRIMARY KEY);
        ALTER TABLE matrix_outbox ADD COLUMN later integer NOT NULL DEFAULT 7;
        ALTER TABLE matrix_log ADD COLUMN later text;
        ALTER TABLE matrix_lane ADD COLUMN later text;
        ALTER TABLE matrix_backend ADD COLUMN later text;
        COMMENT ON TABLE matrix_outbox IS 'contract {}'",
        schema(newest()),
        newest() + 1
    );
    for sql in [schema(OLDEST), later] {
        let world = World::with_schema(shared().await, BINARY, &sql).await;
        world.homeserver.limit(20.0, 4);
        let mut ids = world.enqueue_many(&["!a:double.test", "!b:double.test"], "text", 5).await;
        ids.push(world.enqueue_direct("@jane:double.test", "hello").await);

        let drained = world.command(&["drain"]).await;

        assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
        world.assert_settled(&ids).await;
        for command in ["check", "status", "lanes"] {
            let output = world.command(&[command]).await;
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Odoo is upgraded without a thought of the worker's role, which needs rights on the new table.
#[tokio::test]
async fn an_upgrade_gives_the_role_of_a_worker_its_rights_on_new_tables() {
    let world = World::with_schema(shared().await, BINARY, &schema(6)).await;

    world.client.batch_execute(&schema(newest())).await.unwrap();

    let output = world.command(&["check"]).await;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("has the rights that the worker needs"), "{shown}");
}

#[tokio::test]
async fn a_contract_that_is_too_old_is_refused_with_what_to_upgrade() {
    let world = World::new(BINARY).await;
    world.client.batch_execute("COMMENT ON TABLE matrix_outbox IS 'contract 0'").await.unwrap();

    let output = world.command(&["check"]).await;

    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{error}");
    assert!(error.contains("«contract 0»") && error.contains("upgrade mail_matrix in Odoo"), "{error}");
}
