//! Places at which a test stops the worker, to kill it exactly there.
//!
//! They exist with the feature `failpoints` only, which a release build refuses; without it each call is nothing.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for tests: a release build must not have it");

/// Between two steps that a crash may part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A lane is leased, and nothing of it is sent.
    AfterClaim,
    BeforePut,
    /// Keys of encryption are stored, and what they are for is not sent.
    KeysStored,
    /// A direct room is made, and nobody knows of it.
    RoomMade,
    /// The direct room is stored with its lane, and the person is not invited.
    RoomStored,
    /// The person is invited to their direct room.
    PersonInvited,
    /// The account's list of direct rooms is read, and the room that is missing in it is not added.
    ListRead,
    /// The homeserver has given an address for a file, and nobody knows of it.
    AddressGiven,
    /// The address is stored, and the file is not uploaded.
    AddressStored,
    /// The file is uploaded, and nobody has written that down.
    Uploaded,
    /// The homeserver has the message, its answer is not read.
    PutSent,
    AnswerRead,
    /// Results are collected, and none is written.
    BeforeFlush,
    /// The completion is on its way, whether it was committed is not known.
    InCommit,
    AfterCommit,
    /// The renewal is on its way.
    InRenewal,
    /// The homeserver has returned new events, and Odoo has none of them.
    Synced,
    /// A part of what an answer left out has been read, and Odoo does not have it.
    PageRead,
    BeforePost,
    /// Odoo has accepted everything, and the new place in the stream is not stored.
    Forwarded,
    /// The new place is on its way to the database.
    InSince,
}

pub use self::build::{in_flight, reach};

/// As [`reach`], where `is_there` says whether anything has happened.
#[inline]
pub async fn reach_if(is_there: bool, point: Point) {
    if is_there {
        reach(point).await;
    }
}

#[cfg(not(feature = "failpoints"))]
mod build {
    use super::Point;

    /// Stops here if a test asked for it.
    #[inline]
    pub async fn reach(_point: Point) {}

    /// Runs `statement`, and stops between its request and its answer if a test asked for it.
    #[inline]
    pub async fn in_flight<T>(_point: Option<Point>, statement: impl Future<Output = T>) -> T {
        statement.await
    }
}

#[cfg(feature = "failpoints")]
mod build {
    use std::{
        future::{pending, poll_fn},
        pin::pin,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
        task::Poll,
    };

    use super::Point;

    /// `FAILPOINT=name:k` stops at the k-th time that the point is reached; the file `FAILPOINT_REACHED` is created
    /// then.
    struct Armed {
        name: String,
        times_left: AtomicU32,
        reached: String,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let read = || {
            let text = std::env::var("FAILPOINT").ok()?;
            let (name, times) = text.split_once(':').expect("FAILPOINT is name:k");
            Some(Armed {
                name: name.to_owned(),
                times_left: times.parse::<u32>().expect("FAILPOINT is name:k, with k a number").into(),
                reached: std::env::var("FAILPOINT_REACHED").expect("FAILPOINT needs FAILPOINT_REACHED, a file to make"),
            })
        };
        ARMED.get_or_init(read).as_ref()
    }

    fn stops(point: Point) -> bool {
        let Some(armed) = armed().filter(|armed| armed.name == format!("{point:?}")) else { return false };
        let left = armed.times_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        left == Ok(1)
    }

    async fn stop() {
        if let Some(armed) = armed() {
            std::fs::write(&armed.reached, "").expect("the file FAILPOINT_REACHED can be made");
        }
        pending().await
    }

    /// Stops here if a test asked for it.
    pub async fn reach(point: Point) {
        if stops(point) {
            stop().await;
        }
    }

    /// Runs `statement`, and stops between its request and its answer if a test asked for it.
    pub async fn in_flight<T>(point: Option<Point>, statement: impl Future<Output = T>) -> T {
        let mut statement = pin!(statement);
        if point.is_some_and(stops) {
            // The first look hands the request to the connection, whose own task sends it.
            let first = poll_fn(|context| Poll::Ready(statement.as_mut().poll(context))).await;
            if let Poll::Ready(answer) = first {
                return answer;
            }
            stop().await;
        }
        statement.await
    }
}
