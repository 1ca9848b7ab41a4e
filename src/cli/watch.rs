//! `status --watch`: a screen that shows the state again and again.

use std::{
    io::{IsTerminal as _, stdout},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{CliError, lanes, open, print, screen::Screen, status};
use crate::{
    config::Config,
    store::{Store, StoreError},
    terminal::cut,
};

const PERIOD: Duration = Duration::from_secs(2);

/// A screen has no space for more.
const LANES_SHOWN: i32 = 10;

/// The names of most lanes fit, and so do the columns beside them.
const LANE_SHOWN: usize = 36;

/// How many messages the workers had sent, and when.
type Seen = Option<(Instant, i64)>;

/// Shows it until the user leaves. A database that does not answer is reported, and asked again.
pub(super) async fn watch(config: &Config) -> Result<(), CliError> {
    let store = open(config)?;
    if !stdout().is_terminal() {
        return print_on(&store).await;
    }
    let unheard = |error| CliError::Failed(format!("signals cannot be handled: {error}"));
    let mut resized = signal(SignalKind::window_change()).map_err(unheard)?;
    let mut ended = signal(SignalKind::terminate()).map_err(unheard)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(unheard)?;
    let screen = Screen::enter();
    let (mut ticks, mut seen, mut text) = (ticks(), None, String::new());
    let leave = async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = ended.recv() => {}
            _ = hung_up.recv() => {}
            () = screen.quit() => {}
        }
    };
    let draw = async {
        loop {
            // Waits for the next look, or a window of another size.
            tokio::select! {
                _ = ticks.tick() => text = look(&store, &mut seen).await,
                _ = resized.recv() => {}
            }
            screen.show(&format!("odoo-matrix-worker   q: leave\n\n{text}"));
        }
    };
    // The user must be able to leave even if the database does not answer.
    tokio::select! {
        () = leave => Ok(()),
        () = draw => Ok(()),
    }
}

/// For a file or another program: one block after the other.
async fn print_on(store: &Store) -> Result<(), CliError> {
    let (mut ticks, mut seen) = (ticks(), None);
    loop {
        // Waits for the next look, or Ctrl-C.
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        print(&format!("{}\n", look(store, &mut seen).await));
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The present state, or why it cannot be shown.
async fn look(store: &Store, seen: &mut Seen) -> String {
    match text(store, seen).await {
        Ok(text) => text,
        Err(error) => format!("{error}\n\nWhat to do: {}\nAsking again every {} s.", error.fix(), PERIOD.as_secs()),
    }
}

async fn text(store: &Store, seen: &mut Seen) -> Result<String, StoreError> {
    store.check_contract().await?;
    let report = status::look(store).await?;
    let mut troubled = store.report_lanes(None, LANES_SHOWN, true).await?;
    let sent = report.workers.iter().map(|worker| worker.sent_total).sum();
    let rate = rate(seen, Instant::now(), sent);
    let mut text = format!("{}\n", report.at());
    text.push_str(&status::text(&report));
    if let Some(rate) = rate {
        text.push_str(&format!("\nSent: {rate:.1} messages a second\n"));
    }
    for lane in &mut troubled {
        lane.lane = cut(&lane.lane, LANE_SHOWN);
    }
    if !troubled.is_empty() {
        text.push_str(&format!(
            "\nRooms in trouble (`lanes --blocked` shows all):\n{}\nWhat happened there: `history --room ID`. They are retried automatically.\n",
            lanes::table(&troubled)
        ));
    }
    if !report.needs_attention() && troubled.is_empty() {
        text.push_str("\nNothing to do.\n");
    }
    Ok(text)
}

/// Messages a second since the workers' rows were last written. A worker that was restarted counts from zero.
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
