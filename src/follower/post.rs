//! Posts what was read to Odoo, until Odoo has accepted it.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, error};

use super::{account::Account, batch::Batch};
#[cfg(feature = "encryption")]
use crate::crypto::Opened;
use crate::{
    backoff::Backoff,
    failpoint::{self, Point},
    matrix::RoomEvent,
    metrics::Side,
    store::Trouble,
    webhook::{Answer, Webhook},
};

/// Where events go.
pub(super) struct Odoo<'a> {
    pub(super) webhook: &'a Webhook,
    /// Decrypts them before.
    #[cfg(feature = "encryption")]
    pub(super) device: Option<&'a Opened>,
}

impl Account {
    /// Posts a batch until Odoo has accepted all of it. If Odoo does not accept so much at once, it is split into
    /// halves.
    pub(super) async fn post(&self, odoo: &Odoo<'_>, batch: &Batch) -> i64 {
        #[cfg(feature = "encryption")]
        let batch = &self.decrypted(odoo.device, batch).await;
        let mut accepted = 0;
        let mut waiting = vec![batch.events()];
        while let Some(events) = waiting.pop().filter(|events| !events.is_empty()) {
            if self.post_part(odoo.webhook, batch, events).await {
                accepted += events.len() as i64;
            } else if let [event] = events {
                error!(event.id = %event.id, "Odoo does not accept this event; it is left out");
                self.context.metrics.inbound_refused.inc();
            } else {
                let (first, second) = events.split_at(events.len() / 2);
                waiting.extend([second, first]);
            }
        }
        accepted
    }

    /// Calls Odoo without any event. Its answer does not matter: a problem is reported when there is an event to post.
    pub(super) async fn knock(&self, webhook: Option<&Webhook>) {
        if let Some(webhook) = webhook.filter(|_| self.deadline.leaves(self.context.call_needs)) {
            let answer = webhook.post(&Batch::default().body(&[])).await;
            debug!(?answer, "Called Odoo, which had not been called for a while");
        }
    }

    /// Posts some events of a batch until Odoo has accepted them; false if they must not be posted together again.
    async fn post_part(&self, webhook: &Webhook, batch: &Batch, events: &[RoomEvent]) -> bool {
        let body = batch.body(events);
        let metrics = &self.context.metrics;
        let mut streak = Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).start();
        loop {
            self.until_it_may_call().await;
            failpoint::reach(Point::BeforePost).await;
            let (pause, reason) = match webhook.post(&body).await {
                Answer::Accepted => {
                    metrics.inbound_events.inc_by(events.len() as u64);
                    return true;
                }
                Answer::TooMuch { status, .. } if events.len() > 1 || status == 422 => return false,
                Answer::TooMuch { reason, .. } => (None, reason),
                // The homeserver is just calling it, too.
                Answer::Busy { pause, .. } if self.asking.is_pushed => {
                    sleep(streak.next_pause().max(pause.unwrap_or_default())).await;
                    continue;
                }
                Answer::Busy { pause, reason } | Answer::Later { pause, reason } => (pause, reason),
            };
            metrics.inbound_failures.get_or_create(&Side { side: "odoo" }).inc();
            self.report(Trouble::Waiting, &reason).await;
            // Waits for nothing else: these events must reach Odoo before all others.
            sleep(streak.next_pause().max(pause.unwrap_or_default())).await;
        }
    }

    /// Waits until the lease outlasts a call: a worker that has lost it must not post.
    async fn until_it_may_call(&self) {
        while !self.deadline.leaves(self.context.call_needs) {
            sleep(Duration::from_millis(50)).await;
        }
    }
}
