//! The worker, Odoo and the homeserver are ended at random moments while people write.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::Value;
use stack::{
    office::{Office, send_to_odoo},
    process::Signal,
    report,
    synapse::User,
};

use crate::common::{bodies, follow, notes, open_office, text, until};

/// A homeserver asks an Odoo that was away after 2, 4, 8 … seconds.
const BACK_WITHIN: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Feed {
    Worker,
    AppService,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Worker,
    Odoo,
    Homeserver,
}

#[tokio::test]
#[ignore = "takes minutes: make reliability"]
async fn what_the_worker_reads_comes_in_once_and_in_order_whoever_is_restarted() {
    let (office, case) = open_office().await;
    follow(&office).await;

    play(office, case, Feed::Worker).await;
}

#[tokio::test]
async fn what_the_homeserver_sends_comes_in_once_whoever_is_restarted() {
    let (mut office, case) = open_office().await;
    let odoo = office.server.url().to_owned();
    send_to_odoo(&mut office.synapse, &office.admin, office.backend, &odoo).await.unwrap();
    // What the homeserver forgets before the worker reads along is not found.
    until(&office, "SELECT EXISTS (SELECT FROM matrix_follower WHERE since IS NOT NULL)").await;

    play(office, case, Feed::AppService).await;
}

/// Twenty-five rounds with SOAK=1, of another seed each time unless SEED names one.
async fn play(mut office: Office, case: i64, feed: Feed) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| report::scale(7, fastrand::u64(..10_000)));
    let rounds = report::scale(2, 25);
    eprintln!("{feed:?}: seed {seed}");
    let mut random = Rng::with_seed(seed);
    let caretaker = office.synapse.register("caretaker", "let me in", true).await.unwrap();
    office.synapse.exempt(&caretaker, &office.lawyer).await.unwrap();
    let mut bag = Vec::new();
    let mut ended = 0;
    let mut said = 0;
    let mut calm = Vec::new();

    for round in 1..=rounds {
        let mut victims = Vec::new();
        for _ in 0..=usize::from(random.u8(..4) == 0) {
            if bag.is_empty() {
                bag.extend([Part::Worker, Part::Odoo, Part::Homeserver]);
                random.shuffle(&mut bag);
            }
            victims.extend(bag.pop());
        }
        ended += victims.len();
        let (lawyer, room, first) = (office.lawyer.clone(), office.room.clone(), said + 1);
        said += random.usize(1..=5);
        let mut pauses = random.fork();
        tokio::join!(write(&lawyer, &room, first..=said, &mut pauses), end(&mut office, &victims, &mut random));
        check(&office, case, feed, said, &format!("seed {seed}, round {round}, {victims:?}")).await;

        said += 1;
        let began = Instant::now();
        write(&lawyer, &room, said..=said, &mut Rng::with_seed(0)).await;
        check(&office, case, feed, said, &format!("seed {seed}, after round {round}")).await;
        calm.push(began.elapsed());
    }

    // What comes in goes out no second time.
    let room = office.lawyer.messages(&office.room).await.unwrap();
    assert_eq!(room.len(), said + 1, "the case's own message and the texts: {room:?}");
    calm.sort();
    let (median, slowest) = (calm[calm.len() / 2], calm[calm.len() - 1]);
    // The homeserver rests for a while after Odoo was away, so a few rounds say little.
    let is_bound = rounds >= 10;
    assert!(!is_bound || median < Duration::from_secs(2), "{calm:?}");
    let seen = numbers(&notes(&office.admin, case, said, BACK_WITHIN).await);
    let late = (1..seen.len()).filter(|at| seen[..*at].iter().any(|before| *before > seen[*at])).count();
    let (by, order, late) = match feed {
        Feed::Worker => ("the worker reads them", ", in order", String::new()),
        Feed::AppService => ("the homeserver sends them", "", format!(", {late} after later ones")),
    };
    let bound = if is_bound { "; afterwards ≤ 2 s (median)" } else { "" };
    report::record_form(
        &format!("replies: {by} (Odoo {})", office.site.series()),
        &format!(
            "real Synapse; worker, Odoo and Synapse ended {ended} times at random moments in {rounds} rounds, seed {seed}; each text one note{order}{bound}"
        ),
        &format!(
            "{said} texts, {said} notes, 0 lost or doubled{late}; afterwards a note appears after {} ms (median), {} ms at most",
            median.as_millis(),
            slowest.as_millis()
        ),
    );
}

/// Writes the texts of these numbers as a client does: again, under the same transaction id, until the homeserver has each.
async fn write(lawyer: &User, room: &str, numbers: RangeInclusive<usize>, random: &mut Rng) {
    for number in numbers {
        let body = format!("Text {number:04}");
        let deadline = Instant::now() + BACK_WITHIN;
        while let Err(error) = lawyer.say_once(room, &format!("text-{number}"), &text(&body)).await {
            assert!(Instant::now() < deadline, "{error:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..600))).await;
    }
}

/// Ends each of these at a random moment, and starts it again.
async fn end(office: &mut Office, victims: &[Part], random: &mut Rng) {
    for victim in victims {
        tokio::time::sleep(Duration::from_millis(random.u64(..800))).await;
        let away = Duration::from_millis(random.u64(..1500));
        let signal = if random.bool() { Signal::KILL } else { Signal::TERM };
        match victim {
            Part::Worker => {
                office.worker.process().stop(Signal::KILL).await.unwrap();
                tokio::time::sleep(away).await;
                office.worker = office.launch.start("office").await.unwrap();
            }
            Part::Odoo => {
                office.server.process().stop(signal).await.unwrap();
                tokio::time::sleep(away).await;
                office.server = office.site.serve_again(&office.server).await.unwrap();
            }
            Part::Homeserver => office.synapse.restart(signal).await.unwrap(),
        }
    }
}

/// Everything that was said is a note, once, and in order if the worker reads it: what Synapse forgets to send when it is ended may come
/// after what is said then.
async fn check(office: &Office, case: i64, feed: Feed, said: usize, when: &str) {
    let mut seen = numbers(&notes(&office.admin, case, said, BACK_WITHIN).await);
    if feed == Feed::AppService {
        seen.sort_unstable();
    }
    assert!(
        seen.iter().copied().eq(1..=said),
        "{when}: {said} texts, and the notes of these: {seen:?}\n{}\n{}\n{}",
        office.worker.process().tail(),
        office.server.process().tail(),
        office.synapse.process().tail()
    );
}

/// The numbers of the texts in these notes.
fn numbers(notes: &[Value]) -> Vec<usize> {
    let number = |body: &str| body.split_once("Text ")?.1.get(..4)?.parse().ok();
    bodies(notes).into_iter().map(|body| number(body).unwrap_or_default()).collect()
}
