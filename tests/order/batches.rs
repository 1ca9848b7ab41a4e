//! What the worker's statements read grows with what they are asked for, not with its square and not with the backlog.

use serde_json::Value;
use stack::{postgres::shared, report, schedule};
use tokio_postgres::Client;

use crate::plans::{Statistics, fill, prepare};

const BATCHES: [usize; 4] = [1, 64, 500, 2000];

/// Rows that all nodes of a plan together may read or throw away for each lane and message that the statement is asked for. The
/// completion of one message passes it through some twenty nodes; a join that compares all with all would pass it 64 times in
/// the second smallest batch.
const ROWS_EACH: f64 = 40.0;

/// A statement, and the arguments for a batch of so many lanes.
struct Statement {
    name: &'static str,
    sql: &'static str,
    arguments: fn(&Lanes) -> String,
}

const STATEMENTS: [Statement; 6] = [
    Statement {
        name: "ring.sql",
        sql: include_str!("../../sql/ring.sql"),
        arguments: |lanes| format!("ARRAY[1], ARRAY['1/'], {}, 100000, 'w/1', ARRAY[0]", lanes.count),
    },
    Statement {
        name: "claim.sql",
        sql: include_str!("../../sql/claim.sql"),
        arguments: |lanes| format!("'w/1', {}, {}, 30000, 1, false", lanes.names, lanes.count),
    },
    Statement {
        name: "messages.sql",
        sql: include_str!("../../sql/messages.sql"),
        arguments: |lanes| format!("'w/1', {}, 1, 82800000, 131072", lanes.names),
    },
    Statement {
        name: "encrypted_lanes.sql",
        sql: include_str!("../../sql/encrypted_lanes.sql"),
        arguments: |lanes| format!("1, {}", lanes.names),
    },
    Statement {
        name: "renew.sql",
        sql: include_str!("../../sql/renew.sql"),
        arguments: |lanes| format!("'w/1', {}, {}, 30000", lanes.names, lanes.array("1::bigint")),
    },
    Statement {
        name: "complete.sql",
        sql: include_str!("../../sql/complete.sql"),
        arguments: |lanes| {
            let (names, one, ids) = (&lanes.names, lanes.array("1::bigint"), &lanes.heads);
            let (int, yes, text) = (lanes.array("1"), lanes.array("true"), lanes.array("'ok'::text"));
            let none = lanes.array("NULL::bigint");
            format!(
                "'w/1', 'w', {names}, {one}, {yes}, {none}, {none}, NULL, NULL, NULL, {ids}, {names}, {one}, {text}, {yes}, NULL, \
                 NULL, {int}, {int}, {text}, NULL, {one}, NULL"
            )
        },
    },
];

/// So many lanes and the first message of each, as SQL.
struct Lanes {
    count: usize,
    names: String,
    heads: String,
}

impl Lanes {
    async fn read(client: &Client, count: usize) -> Self {
        let sql = "SELECT lane, (SELECT min(o.id) FROM matrix_outbox AS o WHERE o.lane = l.lane) FROM matrix_lane AS l
            WHERE lane <> '1/!hot:x' ORDER BY lane LIMIT $1";
        let rows = client.query(sql, &[&i64::try_from(count).unwrap()]).await.unwrap();
        assert_eq!(rows.len(), count);
        let names: Vec<_> = rows.iter().map(|row| format!("'{}'", row.get::<_, &str>(0))).collect();
        let heads: Vec<_> = rows.iter().map(|row| row.get::<_, i64>(1).to_string()).collect();
        Self { count, names: format!("ARRAY[{}]", names.join(",")), heads: format!("ARRAY[{}]", heads.join(",")) }
    }

    fn array(&self, element: &str) -> String {
        format!("ARRAY[{}]", vec![element; self.count].join(","))
    }
}

/// The planner knows no batch's size, and mostly an empty table. Whatever it chooses, the statement's work is that of its batch.
#[tokio::test]
async fn no_statement_compares_the_rows_of_a_batch_with_one_another() {
    let _turn = schedule::beside().await;
    let mut plans = 0;
    let mut most: f64 = 0.0;
    let mut wrong = Vec::new();
    for statistics in Statistics::ALL {
        let database = shared().await.database("batches").await;
        let client = prepare(&database).await;
        statistics.begin(&client).await;
        fill(&client, 0, 20_000).await;
        // All lanes are ours, as they are for a completion.
        client
            .batch_execute("UPDATE matrix_lane SET owner = 'w/1', epoch = 1, lease_until = now() AT TIME ZONE 'UTC' - interval '1 h'")
            .await
            .unwrap();
        if statistics == Statistics::Fresh {
            client.batch_execute("VACUUM ANALYZE").await.unwrap();
        }
        for batch in BATCHES {
            let lanes = Lanes::read(&client, batch).await;
            for statement in &STATEMENTS {
                let each = rows_read(&client, statement, &lanes).await / batch as f64;
                most = most.max(each);
                plans += 1;
                // The least that one lane costs is more than its share of many.
                if each > if batch == 1 { 2.0 * ROWS_EACH } else { ROWS_EACH } {
                    wrong.push(format!(
                        "{}, batch of {batch}, statistics {statistics:?}: {each:.0} rows each",
                        statement.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {plans} plans:\n{}", wrong.len(), wrong.join("\n"));
    report::record(
        "work of a batch by EXPLAIN ANALYZE",
        &format!(
            "{} statements for batches of {BATCHES:?}, without statistics, with those of empty tables, of a few rooms and with fresh ones",
            STATEMENTS.len()
        ),
        &format!("at most {most:.0} rows read or thrown away for each lane and message"),
    );
}

/// What all nodes of the plan together have read and thrown away. The statement is rolled back.
async fn rows_read(client: &Client, statement: &Statement, lanes: &Lanes) -> f64 {
    let arguments = (statement.arguments)(lanes);
    client.batch_execute(&format!("PREPARE it AS {}; BEGIN", statement.sql)).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE it ({arguments})");
    let plan: Value = client.query_one(&explain, &[]).await.unwrap().get(0);
    client.batch_execute("ROLLBACK; DEALLOCATE it").await.unwrap();
    sum(&plan[0]["Plan"])
}

fn sum(node: &Value) -> f64 {
    let loops = node["Actual Loops"].as_f64().unwrap_or(1.0);
    let counted =
        ["Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck"];
    let here: f64 = counted.iter().filter_map(|key| node[key].as_f64()).sum();
    here * loops + node["Plans"].as_array().into_iter().flatten().map(sum).sum::<f64>()
}
