//! Random sequences of what producers and workers do, against the real SQL through the worker's own [`Store`], compared step by
//! step with a model that fits on a page.

mod model;
mod sending;
mod world;

use std::fmt::Write as _;

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestError, TestRunner},
};
use stack::{report, schedule};

use self::world::Setup;

const SEQUENCES: u32 = 2_000;
const LANES: usize = 3;
const WORKERS: usize = 3;
const PRODUCERS: usize = 3;

/// What happens next. A step that is not possible where it comes does nothing, so that any sequence can be shortened.
#[derive(Clone, Debug)]
enum Step {
    /// In the producer's open transaction, which begins with its first insert.
    Insert {
        producer: usize,
        lane: usize,
    },
    Commit {
        producer: usize,
    },
    Rollback {
        producer: usize,
    },
    /// Leases what is free and reads at most so many messages of each lane.
    Claim {
        worker: usize,
        most: usize,
        rows: usize,
    },
    /// The next message of the worker's claim meets this answer.
    Send {
        worker: usize,
        lane: usize,
        answer: Answer,
    },
    /// The next message behind the one at which the worker's claim is stuck meets this answer.
    Past {
        worker: usize,
        lane: usize,
        answer: Answer,
    },
    /// The rest of a lane whose room took nothing is over.
    Rested {
        lane: usize,
    },
    /// Writes down what is known and perhaps gives the lane back. `times`: as often, because the outcome was not known.
    Complete {
        worker: usize,
        lane: usize,
        is_released: bool,
        times: usize,
    },
    /// The lease runs out; the worker, if it lives, has stopped sending before.
    Expire {
        lane: usize,
    },
    /// The worker dies and comes back without its memory.
    Crash {
        worker: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Sent,
    /// The homeserver has it, the worker does not know.
    Lost,
    Rejected,
    /// The homeserver or this room is away, or the message is poison: it stays, and the lane rests.
    Away,
}

fn step() -> impl Strategy<Value = Step> {
    let (producer, worker, lane) = (0..PRODUCERS, 0..WORKERS, 0..LANES);
    let answer = prop_oneof![6 => Just(Answer::Sent), 1 => Just(Answer::Lost), 1 => Just(Answer::Rejected), 1 => Just(Answer::Away)];
    let past = prop_oneof![3 => Just(Answer::Sent), 1 => Just(Answer::Lost), 1 => Just(Answer::Away), 1 => Just(Answer::Rejected)];
    prop_oneof![
        6 => (producer.clone(), lane.clone()).prop_map(|(producer, lane)| Step::Insert { producer, lane }),
        3 => producer.clone().prop_map(|producer| Step::Commit { producer }),
        1 => producer.prop_map(|producer| Step::Rollback { producer }),
        4 => (worker.clone(), 1..=LANES, 1..4usize).prop_map(|(worker, most, rows)| Step::Claim { worker, most, rows }),
        8 => (worker.clone(), lane.clone(), answer).prop_map(|(worker, lane, answer)| Step::Send { worker, lane, answer }),
        3 => (worker.clone(), lane.clone(), past).prop_map(|(worker, lane, answer)| Step::Past { worker, lane, answer }),
        2 => lane.clone().prop_map(|lane| Step::Rested { lane }),
        5 => (worker.clone(), lane.clone(), any::<bool>(), 1..3usize)
            .prop_map(|(worker, lane, is_released, times)| Step::Complete { worker, lane, is_released, times }),
        2 => lane.prop_map(|lane| Step::Expire { lane }),
        1 => worker.prop_map(|worker| Step::Crash { worker }),
    ]
}

/// What chance rarely makes: one lane, one worker, and the answers in this order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_that_chance_rarely_makes() {
    let _turn = schedule::beside().await;
    let mut setup = Setup::new().await;
    let (worker, lane) = (0, 0);
    let [late, early] = [0, 1].map(|producer| (Step::Insert { producer, lane }, Step::Commit { producer }));
    let claim = Step::Claim { worker, most: 1, rows: 3 };
    let send = |answer| Step::Send { worker, lane, answer };
    let past = |answer| Step::Past { worker, lane, answer };
    let done = [Step::Complete { worker, lane, is_released: true, times: 2 }, Step::Rested { lane }];
    let is_stuck = [&[claim.clone(), send(Answer::Away)][..], &done].concat();
    let three = [&[early.0.clone(), early.0.clone(), early.0.clone(), early.1.clone()][..], &is_stuck].concat();
    let sequences = [
        // A lower id is committed behind a head that is held, fails as well, and goes; the head is reported once.
        [
            &[late.0, early.0.clone(), early.1.clone()][..],
            &is_stuck,
            &[late.1],
            &is_stuck,
            &[claim.clone(), send(Answer::Sent), send(Answer::Away)],
            &done,
        ]
        .concat(),
        // Two in a row are at fault; the third one passes, or its answer is lost.
        [&three[..], &[claim.clone(), send(Answer::Away), past(Answer::Away), past(Answer::Sent)], &done].concat(),
        [
            &three[..],
            &[claim.clone(), send(Answer::Away), past(Answer::Away), past(Answer::Lost)],
            &done,
            &[claim.clone(), send(Answer::Sent), Step::Complete { worker, lane, is_released: false, times: 1 }],
            &[Step::Expire { lane }, Step::Crash { worker }, claim, send(Answer::Sent)],
        ]
        .concat(),
    ];
    for (number, sequence) in sequences.iter().enumerate() {
        setup.play(sequence).await.unwrap_or_else(|reason| panic!("sequence {number}: {reason}"));
    }
}

#[test]
fn any_sequence_of_steps_delivers_what_was_committed_once_and_in_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _turn = runtime.block_on(schedule::beside());
    let mut setup = runtime.block_on(Setup::new());
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let config = Config {
        cases: SEQUENCES,
        max_shrink_iters: 1_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let setup = std::cell::RefCell::new(&mut setup);
    let steps = std::cell::Cell::new(0);
    let ended = TestRunner::new(config).run(&prop::collection::vec(step(), 1..40), |sequence| {
        steps.set(steps.get() + sequence.len());
        runtime.block_on(setup.borrow_mut().play(&sequence)).map_err(TestCaseError::fail)
    });
    match ended {
        Ok(()) => {}
        Err(TestError::Fail(reason, sequence)) => {
            let steps = sequence.iter().fold(String::new(), |mut text, step| {
                writeln!(text, "  {step:?}").unwrap();
                text
            });
            panic!("SEED={seed}: {reason}\n{steps}");
        }
        Err(TestError::Abort(reason)) => panic!("SEED={seed}: {reason}"),
    }
    report::record(
        "property test",
        "a model of insert, commit, rollback, claim, send, fail, rest, try past the head, give up, complete, expire, take over and \
         crash against the real SQL; ≥ 2,000 sequences, shrinking",
        &format!("{SEQUENCES} sequences, {} steps", steps.get()),
    );
}
