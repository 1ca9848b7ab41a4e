//! `status --watch`: a screen for the night shift.

use std::{
    io::{IsTerminal as _, stdout},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{CliError, lanes, open, print, status};
use crate::{
    config::Config,
    store::{Store, StoreError},
};

const PERIOD: Duration = Duration::from_secs(2);

/// A screen has no place for more.
const LANES_SHOWN: i32 = 10;

/// To the upper left corner, and everything below it away.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// All that the workers have sent, and when that was seen.
type Seen = Option<(Instant, i64)>;

/// Shows it until Ctrl-C. A database that is away is said and asked again.
pub(super) async fn watch(config: &Config) -> Result<(), CliError> {
    let store = open(config)?;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        // Waits for the next look, or Ctrl-C.
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        let screen = match screen(&store, &mut seen).await {
            Ok(screen) => screen,
            Err(error) => format!("{error}\n\nWhat to do: {}\nAsking again every {} s.", error.fix(), PERIOD.as_secs()),
        };
        let clear = if stdout().is_terminal() { CLEAR } else { "" };
        print(&format!("{clear}{screen}\n"));
    }
}

async fn screen(store: &Store, seen: &mut Seen) -> Result<String, StoreError> {
    store.check_contract().await?;
    let report = status::look(store).await?;
    let troubled = store.report_lanes(None, LANES_SHOWN, true).await?;
    let sent = report.workers.iter().map(|worker| worker.sent_total).sum();
    let rate = rate(seen, Instant::now(), sent);
    let mut screen = status::text(&report);
    if let Some(rate) = rate {
        screen.push_str(&format!("\nSent: {rate:.1} messages a second\n"));
    }
    if !troubled.is_empty() {
        screen.push_str(&format!(
            "\nRooms in trouble; `lanes --blocked` shows all, `history --room ID` what happened there:\n{}",
            lanes::table(&troubled)
        ));
    }
    Ok(screen)
}

/// Messages a second since the workers' rows were last written. A worker that started anew counts from nothing.
fn rate(seen: &mut Seen, now: Instant, sent: i64) -> Option<f64> {
    let Some((since, before)) = *seen else {
        *seen = Some((now, sent));
        return None;
    };
    if sent < before {
        *seen = Some((now, sent));
        return None;
    }
    let elapsed = now.duration_since(since).as_secs_f64();
    // The rows are written every twenty seconds: a longer look is smoother than a shorter one.
    if elapsed >= 60.0 {
        *seen = Some((now, sent));
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = (sent - before) as f64 / elapsed.max(1.0);
    Some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_looks_and_survives_a_restart() {
        let began = Instant::now();
        let mut seen = None;

        assert_eq!(rate(&mut seen, began, 100), None);
        assert_eq!(rate(&mut seen, began + Duration::from_secs(10), 300), Some(20.0));
        assert_eq!(rate(&mut seen, began + Duration::from_secs(20), 5), None);
    }
}
