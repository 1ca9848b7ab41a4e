//! How many messages wait, counted up to a bound and never on the path that sends messages.

use std::time::Duration;

use super::{Store, StoreError, value};
use crate::message::{BackendId, State};

/// Counting stops here.
pub const COUNTED: i64 = 10_000;

/// The messages that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// [`COUNTED`] plus one if there are more.
    pub messages: i64,
    /// How long the oldest of the counted ones has been waiting; zero if nothing waits.
    pub oldest: Duration,
}

impl Store {
    /// What waits, the active backends with what each may do, and whether any of them is to be followed (unknown with
    /// an older contract). It is one statement, because it is repeated all the time.
    pub async fn survey(&self) -> Result<(Backlog, Vec<(BackendId, State)>, Option<bool>), StoreError> {
        let rows = self.query(include_str!("../../sql/survey.sql"), &[&(COUNTED + 1)]).await?;
        let mut backlog = Backlog::default();
        let mut states = Vec::new();
        let mut asks = None;
        for row in &rows {
            let oldest = seconds(value::<Option<f64>>(row, "oldest_seconds")?);
            backlog = Backlog { messages: value(row, "messages")?, oldest: oldest.unwrap_or_default() };
            let asks_too: Option<bool> = value(row, "asks")?;
            asks = asks.max(asks_too);
            if let Some(backend) = value(row, "backend")? {
                states.push((backend, state(value(row, "state")?)?));
            }
        }
        Ok((backlog, states, asks))
    }
}

/// A count for people: exact up to [`COUNTED`], then "10,000+".
pub fn counted(messages: i64) -> String {
    if messages > COUNTED { "10,000+".to_owned() } else { messages.to_string() }
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
        assert_eq!(
            (counted(0).as_str(), counted(10_000).as_str(), counted(10_001).as_str()),
            ("0", "10000", "10,000+")
        );
    }
}
