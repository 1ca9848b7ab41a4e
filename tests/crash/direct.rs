//! kill -9 between the steps that make a direct room: one room is used, and at most one stays behind unused.

use std::time::Duration;

use serde_json::json;
use stack::{
    report,
    world::{World, kill},
};

use crate::common::{Case, alone, cases, cluster, failpoints, side_by_side, until_reached};

const PERSON: &str = "@client:double.test";

/// After the room is made, after it is stored, after the invitation, and before the account's list is written.
const POINTS: [&str; 4] = ["RoomMade", "RoomStored", "PersonInvited", "ListRead"];

/// Twenty-five seeds of each with SOAK=1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_the_steps_of_a_direct_room_leaves_one_room_in_use() {
    let _alone = alone().await;
    failpoints();
    let seeds = report::scale(4, 25);

    let unused = side_by_side(8, cases(&POINTS, seeds), play).await;

    let behind: usize = unused.iter().sum();
    report::record_form(
        "kill -9 between the steps of a direct room",
        &format!(
            "{} points, {seeds} seeds each: one room in use, all messages in order, the list of direct rooms complete",
            POINTS.len()
        ),
        &format!(
            "{} kills; {behind} empty rooms left behind, none where the homeserver repeats an answer",
            unused.len()
        ),
    );
}

/// Returns how many unused rooms were left behind.
async fn play(case: Case) -> usize {
    let mut random = fastrand::Rng::with_seed(case.seed);
    let world = World::on(cluster().await, failpoints()).await;
    world.homeserver.delay(Duration::from_millis(random.u64(0..=20)));
    let is_forgetful = case.seed % 2 == 1;
    if is_forgetful {
        world.homeserver.forget_creations();
    }
    world.homeserver.set_direct(json!({ "@other:double.test": null }));
    let mut ids = Vec::new();
    for _ in 0..random.usize(1..=3) {
        enqueue(&world, &mut ids).await;
    }
    let victim = until_reached(&world, case.point, 1).await;
    let other = random.bool().then(|| world.worker("other"));
    enqueue(&world, &mut ids).await;

    kill(&victim).await;
    let restarted = other.is_none().then(|| world.worker("victim"));
    world.assert_settled(&ids).await;
    // Brings a list up to date whose writer died when all messages were sent.
    enqueue(&world, &mut ids).await;
    world.assert_settled(&ids).await;

    let used = world.homeserver.rooms_of(PERSON);
    assert_eq!(used.len(), 1, "{used:?}");
    let wanted: Vec<_> = (1..=ids.len()).map(|number| format!("message {number}")).collect();
    assert_eq!(world.homeserver.bodies(&used[0]), wanted);
    let list = json!({ "@other:double.test": null, PERSON: used });
    assert_eq!(world.homeserver.direct().unwrap(), list);
    let unused = world.homeserver.rooms_made().len() - 1;
    let may_be_left = usize::from(is_forgetful && case.point == "RoomMade");
    assert!(unused <= may_be_left, "{unused} unused rooms");
    drop((other, restarted));
    unused
}

async fn enqueue(world: &World, ids: &mut Vec<i64>) {
    let body = format!("message {}", ids.len() + 1);
    ids.push(world.enqueue_direct(PERSON, &body).await);
}
