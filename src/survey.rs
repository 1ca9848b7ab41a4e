//! Counts now and then what waits, for the metrics and for `systemctl status`. Never part of sending.

use std::{collections::HashSet, time::Duration};

use tokio::{sync::watch, time::sleep};
use tracing::debug;

use crate::{
    duration,
    message::{BackendId, State},
    metrics::{Metrics, OfBackend},
    store::{Backlog, Count, Store, StoreError},
    systemd,
};

/// Fresh enough for a scrape of Prometheus, and four statements a minute.
const PERIOD: Duration = Duration::from_secs(15);

/// Looks for ever. `asks` learns whether an account asks to be followed.
pub(crate) async fn watch(store: &Store, metrics: &Metrics, asks: watch::Sender<Option<bool>>) {
    let mut shown = HashSet::new();
    loop {
        match look(store, metrics, &mut shown).await {
            Ok((line, now)) => {
                systemd::status(&line);
                asks.send_if_modified(|before| std::mem::replace(before, now) != now);
            }
            // The tasks that send meet the same error and report it.
            Err(error) => {
                debug!(%error, "What waits could not be counted");
                systemd::status(&format!("Waiting: {error}"));
            }
        }
        sleep(PERIOD).await;
    }
}

/// Brings the gauges up to date and says it in one line. `shown` are the backends that have a gauge.
async fn look(
    store: &Store,
    metrics: &Metrics,
    shown: &mut HashSet<BackendId>,
) -> Result<(String, Option<bool>), StoreError> {
    let (backlog, states, asks) = store.survey().await?;
    metrics.pending.set(backlog.messages.n + i64::from(backlog.messages.is_capped));
    metrics.oldest_age_seconds.set(backlog.oldest.as_secs_f64());
    show(metrics, &states, shown);
    Ok((line(backlog, &states), asks))
}

fn show(metrics: &Metrics, states: &[(BackendId, State)], shown: &mut HashSet<BackendId>) {
    let active: HashSet<_> = states.iter().map(|(id, _)| *id).collect();
    for backend in shown.difference(&active) {
        metrics.backend_up.remove(&OfBackend { backend: *backend });
    }
    for (backend, state) in states {
        metrics.backend_up.get_or_create(&OfBackend { backend: *backend }).set(i64::from(state.may_send()));
    }
    *shown = active;
}

fn line(backlog: Backlog, states: &[(BackendId, State)]) -> String {
    let oldest = duration::words(backlog.oldest);
    let mut line = match backlog.messages {
        Count { n: 0, .. } => "Delivering: nothing waits".to_owned(),
        Count { n: 1, .. } => format!("Delivering: 1 message waits for {oldest}"),
        many => format!("Delivering: {many} messages wait, the oldest for {oldest}"),
    };
    for (backend, state) in states {
        if *state != State::Ok {
            line.push_str(&format!("; backend {backend} is {}", state.as_str().replace('_', " ")));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_waits_and_which_backend_is_stopped() {
        let backlog = Backlog { messages: Count { n: 10_000, is_capped: true }, oldest: Duration::from_secs(200) };

        assert_eq!(
            line(backlog, &[(1, State::Ok), (2, State::RateLimited), (3, State::Down)]),
            "Delivering: 10,000+ messages wait, the oldest for 3 min; backend 2 is rate limited; backend 3 is down"
        );
        assert_eq!(line(Backlog::default(), &[(1, State::Ok)]), "Delivering: nothing waits");
    }

    #[test]
    fn a_backend_that_is_no_longer_active_has_no_gauge() {
        let metrics = Metrics::default();
        let mut shown = HashSet::new();

        show(&metrics, &[(1, State::Ok), (2, State::Paused)], &mut shown);
        let before = metrics.encode();
        show(&metrics, &[(2, State::Ok)], &mut shown);
        let after = metrics.encode();

        assert!(before.contains("matrix_backend_up{backend=\"1\"} 1\n"), "{before}");
        assert!(before.contains("matrix_backend_up{backend=\"2\"} 0\n"), "{before}");
        assert!(!after.contains("backend=\"1\"") && after.contains("matrix_backend_up{backend=\"2\"} 1\n"), "{after}");
    }
}
