//! How many messages wait, counted up to a bound and never on the path that sends messages.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{Store, StoreError, follower::CAN_ENCRYPT, value};
use crate::message::{BackendId, State};

/// Counting stops here.
pub(super) const COUNTED: i64 = 10_000;

/// A number of waiting messages, counted up to a bound. In JSON it is two fields of what it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    #[serde(rename = "waiting")]
    pub n: i64,
    /// There are more than `n`.
    #[serde(rename = "has_more")]
    pub is_capped: bool,
}

/// The messages that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    pub messages: Count,
    /// How long the oldest of the counted ones has been waiting; zero if nothing waits.
    pub oldest: Duration,
}

impl Store {
    /// What waits, the active backends with what each may do, and whether any of them is to be followed (unknown with
    /// an older contract). It is one statement, because it is repeated all the time.
    pub async fn survey(&self) -> Result<(Backlog, Vec<(BackendId, State)>, Option<bool>), StoreError> {
        let rows = self.query(include_str!("../../sql/survey.sql"), &[&(COUNTED + 1), &CAN_ENCRYPT]).await?;
        let mut backlog = Backlog::default();
        let mut states = Vec::new();
        let mut asks = None;
        for row in &rows {
            let oldest = seconds(value::<Option<f64>>(row, "oldest_seconds")?);
            let messages = Count::up_to(COUNTED, value(row, "messages")?);
            backlog = Backlog { messages, oldest: oldest.unwrap_or_default() };
            let asks_too: Option<bool> = value(row, "asks")?;
            asks = asks.max(asks_too);
            if let Some(backend) = value(row, "backend")? {
                states.push((backend, state(value(row, "state")?)?));
            }
        }
        Ok((backlog, states, asks))
    }
}

impl Count {
    /// From a statement that stops counting at `bound + 1`.
    pub(super) fn up_to(bound: i64, counted: i64) -> Self {
        Self { n: counted.min(bound), is_capped: counted > bound }
    }
}

impl fmt::Display for Count {
    /// Exact, or "10,000+".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_capped { write!(f, "{},{:03}+", self.n / 1000, self.n % 1000) } else { write!(f, "{}", self.n) }
    }
}

/// A time span of the database, which is negative if the clock was set back.
pub(super) fn seconds(seconds: Option<f64>) -> Option<Duration> {
    seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)))
}

/// An unknown state of a later contract may mean that nothing is to be sent: this worker does not guess.
fn state(word: &str) -> Result<State, StoreError> {
    State::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| {
        StoreError::Contract(format!(
            "a backend has the state «{word}», which this worker does not know; upgrade the worker"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_not_known_is_an_error() {
        assert_eq!(state("paused").unwrap(), State::Paused);
        assert!(state("asleep").unwrap_err().to_string().contains("«asleep»"));
    }

    #[test]
    fn a_count_beyond_the_bound_is_not_an_exact_number() {
        let shown = |counted| Count::up_to(COUNTED, counted).to_string();

        assert_eq!([shown(0), shown(10_000), shown(10_001)], ["0", "10000", "10,000+"]);
        assert_eq!(Count::up_to(1000, 1001).to_string(), "1,000+");
    }
}
