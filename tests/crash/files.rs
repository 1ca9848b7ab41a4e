//! kill -9 between the steps by which a file goes out: it is uploaded once, sent once, and in its place.

use std::time::Duration;

use serde_json::json;
use stack::{
    report,
    webhook::Webhook,
    world::{World, kill},
};

use crate::common::{Case, alone, cases, cluster, failpoints, side_by_side, until_reached};

const ROOM: &str = "!case:double.test";

/// After the address is given, after it is stored, after the upload, before and after the event.
const POINTS: [&str; 5] = ["AddressGiven", "AddressStored", "Uploaded", "BeforePut", "AnswerRead"];

/// Twenty-five seeds of each with SOAK=1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_the_steps_of_a_file_uploads_and_sends_it_once() {
    let _alone = alone().await;
    failpoints();
    let seeds = report::scale(2, 25);

    let files: usize = side_by_side(8, cases(&POINTS, seeds), play).await.iter().sum();

    report::record_form(
        "kill -9 between the steps of a file",
        &format!("{} points, {seeds} seeds each: each file uploaded once, sent once, in its place", POINTS.len()),
        &format!("{} kills, {files} files", seeds * POINTS.len() as u64),
    );
}

/// Returns how many files went out.
async fn play(case: Case) -> usize {
    let mut random = fastrand::Rng::with_seed(case.seed);
    let world = World::on(cluster().await, failpoints()).await;
    let odoo = Webhook::start().await.unwrap();
    world.client.execute("UPDATE matrix_backend SET files_url = $1", &[&odoo.files_url()]).await.unwrap();
    world.homeserver.delay(Duration::from_millis(random.u64(0..=20)));
    let mut ids = Vec::new();
    let count = random.usize(1..=3);
    for number in 0..count {
        ids.push(world.enqueue(ROOM, &format!("text {number}")).await);
        let name = format!("file {number}");
        odoo.give(&name, name.as_bytes());
        let content = json!({ "msgtype": "m.text", "body": name, "info": { "size": name.len() } });
        let sql = "INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id, attachment_id)
            VALUES ($1, 'chatter', $2, $3, $4, 7) RETURNING id";
        ids.push(world.client.query_one(sql, &[&world.backend, &ROOM, &content, &name]).await.unwrap().get(0));
    }
    let times = random.usize(1..=count);
    let victim = until_reached(&world, case.point, times).await;
    let other = random.bool().then(|| world.worker("other"));

    kill(&victim).await;
    let restarted = other.is_none().then(|| world.worker("victim"));
    world.assert_settled(&ids).await;

    let wanted: Vec<_> = (0..count).flat_map(|number| [format!("text {number}"), format!("file {number}")]).collect();
    assert_eq!(world.homeserver.bodies(ROOM), wanted);
    let mut files = world.homeserver.files();
    files.sort();
    assert_eq!(files, (0..count).map(|number| format!("file {number}").into_bytes()).collect::<Vec<_>>());
    for event in world.homeserver.events().iter().filter(|event| event.body().starts_with("file")) {
        let file = world.homeserver.file(event.content["url"].as_str().unwrap()).unwrap();
        assert_eq!(file, event.body().as_bytes());
    }
    drop((other, restarted));
    count
}
