//! Which tests run side by side. A test that measures time must not measure its neighbours.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

static TURNS: Mutex<Turns> = Mutex::new(Turns { kind: Kind::Alone, running: 0, waiting: Vec::new() });

static ENDED: Notify = Notify::const_new();

/// What a test takes of the machine, and whether it measures time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Beside,
    Quiet,
    Alone,
}

/// The tests of one kind have their turn, one after the other or together, until no more of them wait.
#[derive(Debug)]
struct Turns {
    kind: Kind,
    running: usize,
    waiting: Vec<Kind>,
}

/// A test's turn, which ends when this is dropped.
#[derive(Debug)]
pub struct Turn(());

/// For a test that measures nothing: it may wait for a lease or a connection to end while others do.
pub async fn beside() -> Turn {
    turn(Kind::Beside).await
}

/// For a test that measures time and itself takes next to nothing of the machine: it mostly waits, and others like it may wait meanwhile.
pub async fn quiet() -> Turn {
    turn(Kind::Quiet).await
}

/// For a test that measures time and takes more: it has the machine to itself.
pub async fn alone() -> Turn {
    turn(Kind::Alone).await
}

async fn turn(kind: Kind) -> Turn {
    turns().waiting.push(kind);
    let waiting = Waiting(kind);
    loop {
        let mut ended = pin!(ENDED.notified());
        // From here on no end is missed.
        ended.as_mut().enable();
        if turns().begins(kind) {
            std::mem::forget(waiting);
            return Turn(());
        }
        ended.await;
    }
}

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Turn {
    fn drop(&mut self) {
        turns().running -= 1;
        ENDED.notify_waiters();
    }
}

/// A test that waits for its turn. If this is dropped, it has given up.
struct Waiting(Kind);

impl Drop for Waiting {
    fn drop(&mut self) {
        turns().forget(self.0);
        ENDED.notify_waiters();
    }
}

impl Turns {
    /// Begins the turn of a test of this kind that waits, if it may.
    fn begins(&mut self, kind: Kind) -> bool {
        let may_begin = match self.running {
            0 => kind == self.next(),
            _ => kind == self.kind && kind != Kind::Alone,
        };
        if may_begin {
            self.forget(kind);
            (self.kind, self.running) = (kind, self.running + 1);
        }
        may_begin
    }

    /// One test of this kind waits no longer.
    fn forget(&mut self, kind: Kind) {
        if let Some(place) = self.waiting.iter().position(|waits| *waits == kind) {
            self.waiting.swap_remove(place);
        }
    }

    /// The same kind again if one of it waits, else the kind of which most wait.
    fn next(&self) -> Kind {
        let count = |kind: Kind| self.waiting.iter().filter(|waits| **waits == kind).count();
        if count(self.kind) > 0 {
            return self.kind;
        }
        [Kind::Alone, Kind::Quiet, Kind::Beside].into_iter().max_by_key(|kind| count(*kind)).unwrap_or(self.kind)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn who_gives_up_waiting_holds_nobody_up() {
        let now = Duration::ZERO;
        let first = alone().await;
        assert!(timeout(now, alone()).await.is_err());
        drop(first);

        assert!(timeout(now, beside()).await.is_ok());
    }

    #[test]
    fn tests_of_one_kind_have_their_turn_together_and_others_wait() {
        let waiting = vec![Kind::Beside, Kind::Alone, Kind::Quiet, Kind::Beside, Kind::Alone];
        let mut turns = Turns { kind: Kind::Alone, running: 0, waiting };

        assert!(!turns.begins(Kind::Beside) && turns.begins(Kind::Alone));
        assert!(!turns.begins(Kind::Alone), "while another one runs");
        turns.running = 0;
        assert!(!turns.begins(Kind::Quiet) && turns.begins(Kind::Alone));
        turns.running = 0;
        assert!(!turns.begins(Kind::Quiet) && turns.begins(Kind::Beside) && turns.begins(Kind::Beside));
        assert!(!turns.begins(Kind::Quiet));
        turns.running = 0;
        assert!(turns.begins(Kind::Quiet) && turns.waiting.is_empty());
    }
}
