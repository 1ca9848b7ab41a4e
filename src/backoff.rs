//! From a streak of failures to the pause before the next try. Reads no clock.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// Pauses that double from the shortest to the longest and then stay there, each with up to its own length of jitter added,
/// so that many workers do not come back in one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff(ExponentialBuilder);

impl Backoff {
    /// # Panics
    /// When `shortest` is zero or longer than `longest`: a busy loop, or a pause that shrinks.
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Self {
        assert!(!shortest.is_zero() && shortest <= longest, "a backoff needs 0 < {shortest:?} <= {longest:?}");
        Self(
            ExponentialBuilder::new()
                .with_min_delay(shortest)
                .with_max_delay(longest)
                .without_max_times()
                .with_jitter(),
        )
    }

    pub(crate) fn start(&self) -> Streak {
        Streak { builder: self.0, pauses: self.0.build() }
    }
}

/// The pauses of one streak of failures.
#[derive(Debug)]
pub(crate) struct Streak {
    builder: ExponentialBuilder,
    pauses: ExponentialBackoff,
}

impl Streak {
    pub(crate) fn next_pause(&mut self) -> Duration {
        self.pauses.next().expect("an exponential backoff without a maximum number of times never ends")
    }

    /// Something worked: the next failure begins a new streak.
    pub(crate) fn reset(&mut self) {
        self.pauses = self.builder.build();
    }
}

/// `pause`, and up to a quarter of it on top.
pub(crate) fn with_jitter(pause: Duration) -> Duration {
    pause + pause.mul_f64(fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_a_reset_starts_over() {
        let mut streak = Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).start();

        let pauses: Vec<_> = (0..12).map(|_| streak.next_pause()).collect();
        streak.reset();

        assert!(pauses[0] >= Duration::from_millis(100) && pauses[0] <= Duration::from_millis(200), "{pauses:?}");
        assert!(pauses[11] >= Duration::from_secs(1) && pauses[11] <= Duration::from_secs(2), "{pauses:?}");
        assert!(streak.next_pause() <= Duration::from_millis(200));
    }
}
