//! The worker's statements walk indexes, whatever the planner knows: nothing, an empty table, or a big one.

mod statements;

use std::{collections::BTreeSet, process::Command};

use odoo_matrix_worker::store::PLANNER;
use serde_json::Value;
use stack::{
    postgres::{Database, shared},
    report::{self, scale},
    schedule,
};
use tokio_postgres::Client;

use self::statements::{STATEMENTS, Statement};
use crate::BINARY;

const LANES: &str = "ARRAY['1/!room1:x', '1/!room2:x', '1/!room3:x']";

/// The statistics that the planner has about the tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Statistics {
    None,
    OfEmptyTables,
    /// Of a moment at which a few messages waited, all of them in a few rooms. The planner then takes every room for a fifth of the outbox.
    OfFewRooms,
    Fresh,
}

impl Statistics {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::OfEmptyTables, Self::OfFewRooms, Self::Fresh];

    /// Collects them, except fresh ones, before the tables are filled.
    pub(crate) async fn begin(self, client: &Client) {
        let few = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
                SELECT 1, 'manual', '!few' || n % 5 || ':x', '{\"msgtype\": \"m.text\", \"body\": \"Case moved\"}', 'few ' || n
                FROM generate_series(1, 250) AS n;
            INSERT INTO matrix_lane (lane) SELECT DISTINCT lane FROM matrix_outbox;
            INSERT INTO matrix_encrypted_room (backend_id, room_id) SELECT DISTINCT 1, room_id FROM matrix_outbox;
            INSERT INTO matrix_upload (txn_id, backend_id, content_uri) SELECT txn_id, 1, 'mxc://x/1' FROM matrix_outbox;
            INSERT INTO matrix_crypto_item (backend_id, kind, key, sealed) SELECT 1, 'session', id, 'fernet:x' FROM matrix_outbox;
            VACUUM ANALYZE;
            DELETE FROM matrix_outbox;
            DELETE FROM matrix_lane;
            DELETE FROM matrix_encrypted_room;
            DELETE FROM matrix_upload;
            DELETE FROM matrix_crypto_item";
        match self {
            Self::None | Self::Fresh => {}
            Self::OfEmptyTables => client.batch_execute("VACUUM ANALYZE").await.unwrap(),
            Self::OfFewRooms => {
                for statement in few.split(';') {
                    client.batch_execute(statement).await.unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn every_statement_walks_its_indexes_only() {
    let _turn = schedule::beside().await;
    let sizes = [0, 1_000, scale(100_000, 1_000_000)];
    let mut plans = 0;
    let mut wrong = BTreeSet::new();
    for collation in ["of the server", "ICU"] {
        for statistics in Statistics::ALL {
            let database = match collation {
                "ICU" => shared().await.icu_database("plans").await,
                _ => shared().await.database("plans").await,
            };
            let client = prepare(&database).await;
            statistics.begin(&client).await;
            let mut filled = 0;
            for size in sizes {
                fill(&client, filled, size).await;
                filled = size;
                if statistics == Statistics::Fresh {
                    client.batch_execute("VACUUM ANALYZE").await.unwrap();
                }
                for statement in &STATEMENTS {
                    for mode in ["force_generic_plan", "force_custom_plan"] {
                        let plan = explain(&client, statement, mode).await;
                        let mut faults = Vec::new();
                        look(&plan, statement, &mut faults);
                        wrong.extend(faults.into_iter().map(|fault| {
                            format!(
                                "{} at {size} rows, collation {collation}, statistics {statistics:?}, {mode}: {fault}",
                                statement.name
                            )
                        }));
                        plans += 1;
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {plans} plans:\n{}",
        wrong.len(),
        wrong.into_iter().collect::<Vec<_>>().join("\n")
    );
    report::record(
        "plans by EXPLAIN",
        &format!(
            "{} statements at {sizes:?} rows, without statistics, with those of empty tables, of a few rooms and with fresh ones, \
             generic and custom, also under an ICU collation; expected index nodes only",
            STATEMENTS.len()
        ),
        &format!("{plans} of {plans} plans"),
    );
}

pub(crate) async fn prepare(database: &Database) -> Client {
    let client = database.connect().await.unwrap();
    let schema = Command::new(BINARY).arg("schema").output().unwrap();
    client.batch_execute(&String::from_utf8(schema.stdout).unwrap()).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO matrix_backend (name, homeserver_url) VALUES ('one', 'http://localhost');
             ALTER TABLE matrix_outbox SET (autovacuum_enabled = false);
             ALTER TABLE matrix_log SET (autovacuum_enabled = false);
             ALTER TABLE matrix_lane SET (autovacuum_enabled = false);
             ALTER TABLE matrix_encrypted_room SET (autovacuum_enabled = false);
             ALTER TABLE matrix_upload SET (autovacuum_enabled = false);
             ALTER TABLE matrix_crypto_item SET (autovacuum_enabled = false);
             ALTER TABLE matrix_outbox DISABLE TRIGGER USER;",
        )
        .await
        .unwrap();
    for (name, value) in PLANNER {
        client.batch_execute(&format!("SET {name} = {value}")).await.unwrap();
    }
    client
}

/// Adds rows up to `until`: half of them in one room, the others over many; as many in the log. Half of the many rooms are encrypted. Every
/// tenth message has a file, and two accounts have as many keys.
pub(crate) async fn fill(client: &Client, from: i32, until: i32) {
    let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
            SELECT 1, 'manual', CASE WHEN n % 2 = 0 THEN '!hot:x' ELSE '!room' || n % 10000 || ':x' END,
                '{\"msgtype\": \"m.text\", \"body\": \"Case moved\"}', 'txn ' || n
            FROM generate_series($1::integer + 1, $2::integer) AS n";
    client.execute(sql, &[&from, &until]).await.unwrap();
    let sql = "INSERT INTO matrix_lane (lane) SELECT DISTINCT lane FROM matrix_outbox ON CONFLICT DO NOTHING";
    client.execute(sql, &[]).await.unwrap();
    let sql = "INSERT INTO matrix_log (date, backend_id, outbox_id, status, payload)
            SELECT now() AT TIME ZONE 'UTC' - n * interval '1 s', 1, n, CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'ok' END, 'Case moved'
            FROM generate_series($1::integer + 1, $2::integer) AS n";
    client.execute(sql, &[&from, &until]).await.unwrap();
    let sql = "INSERT INTO matrix_encrypted_room (backend_id, room_id)
            SELECT DISTINCT 1, '!room' || n % 5000 || ':x' FROM generate_series($1::integer + 1, $2::integer) AS n ON CONFLICT DO NOTHING";
    client.execute(sql, &[&from, &until]).await.unwrap();
    let sql = "INSERT INTO matrix_upload (txn_id, backend_id, content_uri)
            SELECT 'txn ' || n, 1, 'mxc://x/' || n FROM generate_series($1::integer + 1, $2::integer) AS n WHERE n % 10 = 0";
    client.execute(sql, &[&from, &until]).await.unwrap();
    let sql = "INSERT INTO matrix_crypto_item (backend_id, kind, key, sealed)
            SELECT 1 + n % 20 / 10, 'session', n, 'fernet:x' FROM generate_series($1::integer + 1, $2::integer) AS n WHERE n % 10 = 0";
    client.execute(sql, &[&from, &until]).await.unwrap();
}

async fn explain(client: &Client, statement: &Statement, mode: &str) -> Value {
    let arguments = match statement.arguments {
        "" => String::new(),
        arguments => format!("({})", arguments.replace("{lanes}", LANES)),
    };
    client.batch_execute(&format!("SET plan_cache_mode = {mode}; PREPARE it AS {}", statement.sql)).await.unwrap();
    let row = client.query_one(&format!("EXPLAIN (FORMAT JSON) EXECUTE it {arguments}"), &[]).await.unwrap();
    client.batch_execute("DEALLOCATE it").await.unwrap();
    let plan: Value = row.get(0);
    plan[0]["Plan"].clone()
}

/// Whether the plan reaches the tables that grow by the expected indexes, and reads none of them to sort it.
fn look(node: &Value, statement: &Statement, faults: &mut Vec<String>) {
    let kind = node["Node Type"].as_str().unwrap();
    let relation = node["Relation Name"].as_str().unwrap_or_default();
    let index = node["Index Name"].as_str();
    let tables =
        ["matrix_outbox", "matrix_log", "matrix_lane", "matrix_encrypted_room", "matrix_upload", "matrix_crypto_item"];
    let grows = tables.contains(&relation);
    if grows
        && kind.ends_with("Scan")
        && kind != "Bitmap Heap Scan"
        // One row by its ctid, which an index has returned.
        && !(kind == "Tid Scan" && node["TID Cond"].is_string())
        && !index.is_some_and(|name| statement.indexes.contains(&name))
    {
        faults.push(format!("{kind} on {relation} by {}", index.unwrap_or("no index")));
    }
    if kind == "Bitmap Index Scan" && !index.is_some_and(|name| statement.indexes.contains(&name)) {
        faults.push(format!("{kind} of {}", index.unwrap_or_default()));
    }
    if grows && index.is_some() && node["Index Cond"].is_null() {
        faults.push(format!("{kind} on all of {relation}"));
    }
    let is_walk = ["ring.sql", "messages.sql", "sendable.sql"].contains(&statement.name);
    if is_walk && kind.contains("Sort") && node.to_string().contains("\"matrix_outbox\"") {
        faults.push(format!("{kind} above matrix_outbox"));
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        look(child, statement, faults);
    }
}
