//! The worker reads what people write, and passes it on to Odoo.

use std::time::{Duration, Instant};

use stack::{office::Office, process::Signal, story};

use crate::common::{bodies, follow, notes, open_office, record_times, timed};

const SOON: Duration = Duration::from_secs(90);

/// With nothing set up at the homeserver, and across a kill -9.
#[tokio::test]
async fn what_is_written_in_the_room_of_a_case_appears_in_its_chatter_soon_and_once() {
    let (mut office, case) = open_office().await;
    story::arrived(&office, &office.room, 1, Duration::from_secs(60)).await.unwrap();
    office.lawyer.send(&office.room, "Before it was turned on").await.unwrap();
    follow(&office).await;
    let caretaker = office.synapse.register("caretaker", "let me in", true).await.unwrap();
    office.synapse.exempt(&caretaker, &office.lawyer).await.unwrap();
    let (count, mut times) = (timed(), Vec::new());

    for number in 1..=count {
        let began = Instant::now();
        office.lawyer.send(&office.room, &format!("Answer {number}")).await.unwrap();
        let seen = notes(&office.admin, case, number, SOON).await;
        assert_eq!(seen.len(), number, "{}", office.worker.process().tail());
        times.push(began.elapsed());
    }
    office.worker.process().stop(Signal::KILL).await.unwrap();
    office.lawyer.send(&office.room, &format!("Answer {}", count + 1)).await.unwrap();
    office.worker = office.launch.start("office").await.unwrap();
    office.lawyer.send(&office.room, &format!("Answer {}", count + 2)).await.unwrap();

    let seen = notes(&office.admin, case, count + 2, SOON).await;
    let seen = bodies(&seen);
    assert_eq!(seen.len(), count + 2, "{seen:?}\n{}", office.worker.process().tail());
    for (body, number) in seen.iter().zip(1..) {
        assert!(body.contains(&format!("Answer {number}<")), "{seen:?}");
    }
    // What comes in goes out no second time.
    let room = office.lawyer.messages(&office.room).await.unwrap();
    assert_eq!(room.len(), count + 4, "{room:?}");
    // An Odoo that has just started takes seconds for the first request of a kind.
    let slowest = times[1..].iter().max().unwrap();
    assert!(*slowest < Duration::from_secs(2), "{times:?}\n{}", office.server.process().tail());
    record_times(&office, "the worker reads it", times);

    is_removed_and_invited_again(&mut office, case, count + 2).await;
}

/// What is written in a room while the account is not in it is not for Odoo. `before`: the notes so far.
async fn is_removed_and_invited_again(office: &mut Office, case: i64, before: usize) {
    let come = async |office: &Office, count: usize, word: &str| {
        let seen = notes(&office.admin, case, before + count, SOON).await;
        let seen = bodies(&seen);
        let tail = office.worker.process().tail();
        assert_eq!(seen.len(), before + count, "{seen:?}\n{tail}");
        assert!(seen[before + count - 1].contains(word), "{seen:?}\n{tail}");
    };

    // While nobody reads: the last words before the removal must not be lost with it.
    office.worker.process().stop(Signal::KILL).await.unwrap();
    office.lawyer.send(&office.room, "First").await.unwrap();
    office.lawyer.kick(&office.room, &office.bot).await.unwrap();
    office.lawyer.send(&office.room, "Between us").await.unwrap();
    office.worker = office.launch.start("office").await.unwrap();
    come(office, 1, "First").await;

    office.lawyer.invite(&office.room, &office.bot).await.unwrap();
    office.admin.press("legal.case", case, "action_matrix_check_room").await.unwrap();
    office.lawyer.send(&office.room, "Second").await.unwrap();
    come(office, 2, "Second").await;

    // All of that between two readings.
    office.worker.process().stop(Signal::KILL).await.unwrap();
    office.lawyer.send(&office.room, "Third").await.unwrap();
    office.lawyer.kick(&office.room, &office.bot).await.unwrap();
    office.lawyer.send(&office.room, "Between us again").await.unwrap();
    office.lawyer.invite(&office.room, &office.bot).await.unwrap();
    office.bot.join(&office.room).await.unwrap();
    office.lawyer.send(&office.room, "Fourth").await.unwrap();
    office.worker = office.launch.start("office").await.unwrap();
    come(office, 4, "Fourth").await;
    let seen = notes(&office.admin, case, before + 4, SOON).await;
    assert!(bodies(&seen)[before + 2].contains("Third"), "{seen:?}");
}
