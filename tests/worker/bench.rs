//! `bench` measures beside what is there, and leaves nothing.

use serde_json::Value;
use stack::world::World;

use crate::BINARY;

const SCHEMAS: &str = "SELECT count(*) FROM pg_namespace WHERE nspname = 'odoo_matrix_worker_bench'";

async fn bench(world: &World, url: &str, arguments: &[&str]) -> std::process::Output {
    let mut command = tokio::process::Command::from(world.launch.command(&["bench"]));
    command.args(arguments).env("DATABASE_URL", url).kill_on_drop(true).output().await.unwrap()
}

#[tokio::test]
async fn it_delivers_in_a_schema_of_its_own_and_touches_no_message() {
    let world = World::new(BINARY).await;
    world.enqueue("!case:double.test", "waits").await;
    let left = "CREATE SCHEMA odoo_matrix_worker_bench; CREATE TABLE odoo_matrix_worker_bench.matrix_outbox (id int)";
    world.client.batch_execute(left).await.unwrap();

    let arguments = ["--messages", "100", "--rooms", "7", "--answer-ms", "0", "--json"];
    let output = bench(&world, &world.database.url(), &arguments).await;

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["messages"].as_i64(), report["rooms"].as_i64()), (Some(100), Some(7)));
    assert!(report["messages_per_second"].as_f64().unwrap() > 0.0, "{report}");
    let latency = &report["commit_to_request_ms"];
    assert!(latency["median"].as_f64().unwrap() <= latency["p95"].as_f64().unwrap(), "{report}");
    world.until("SELECT (SELECT count(*) FROM matrix_outbox) = 1 AND NOT EXISTS (SELECT FROM matrix_log)").await;
    assert_eq!(world.homeserver.count(), 0);
    assert_eq!(world.client.query_one(SCHEMAS, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn the_role_of_the_worker_is_told_what_it_lacks() {
    let world = World::new(BINARY).await;

    let output = bench(&world, &world.launch.url(), &[]).await;

    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{told}");
    assert!(told.contains("CREATE on the database"), "{told}");
}
