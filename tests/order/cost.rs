//! What a message costs the database, in statements and bytes of WAL. Neither depends on how busy the machine is, so a change that
//! makes messages dearer fails here and not only in `make bench`.

use stack::{
    postgres::{Options, Postgres},
    schedule,
    world::World,
};

use crate::BINARY;

const MESSAGES: i32 = 10_000;
const ROOMS: i32 = 200;

/// 36–62 were measured, fewer the busier the machine. A worker that asks once per message or per room needs more.
const STATEMENTS_PER_1000: f64 = 120.0;

/// 1,281–1,306 were measured with a body of 100 B; `docs/performance.md` says where they go.
const WAL_PER_MESSAGE: f64 = 1_400.0;

#[tokio::test]
async fn a_message_costs_few_statements_and_little_wal() {
    let _turn = schedule::alone().await;
    // Images of whole pages depend on when a checkpoint comes, and autovacuum writes WAL of its own.
    let settings = [
        ("shared_preload_libraries", "pg_stat_statements"),
        ("full_page_writes", "off"),
        ("checkpoint_timeout", "1h"),
        ("autovacuum", "off"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let postgres = Postgres::cluster(Options { settings, ..Options::default() }).await.unwrap();
    let world = World::on(&postgres, BINARY).await;
    world.client.batch_execute("CREATE EXTENSION pg_stat_statements").await.unwrap();

    let before = wal(&world).await;
    let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id)
        SELECT $1, 'manual', '!room' || n % $2 || ':double.test',
            jsonb_build_object('msgtype', 'm.text', 'body', left(repeat(md5(n::text), 4), 100)), gen_random_uuid()::text
        FROM generate_series(1, $3) AS n";
    world.client.execute(sql, &[&world.backend, &ROOMS, &MESSAGES]).await.unwrap();
    let _worker = world.worker_with("w1", &[("RUST_LOG", "warn")]);
    world.until_empty().await;
    let wal_per_message = (wal(&world).await - before) / f64::from(MESSAGES);

    let sql = "SELECT sum(calls)::double precision FROM pg_stat_statements AS s JOIN pg_roles AS r ON r.oid = s.userid
        WHERE r.rolname = $1";
    let calls: f64 = world.client.query_one(sql, &[&world.launch.role()]).await.unwrap().get(0);
    let statements = calls / f64::from(MESSAGES) * 1_000.0;
    let cost = format!("{statements:.0} statements per 1,000 messages, {wal_per_message:.0} B of WAL per message");
    assert!(statements <= STATEMENTS_PER_1000 && wal_per_message <= WAL_PER_MESSAGE, "{cost}");
}

async fn wal(world: &World) -> f64 {
    let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::double precision";
    world.client.query_one(sql, &[]).await.unwrap().get(0)
}
