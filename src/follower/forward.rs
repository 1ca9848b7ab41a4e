//! Passes on to Odoo what an answer has, and first what it has left out.

use std::collections::HashSet;

use tracing::error;

use super::{account::Account, batch::Batch, post::Odoo, trouble::Halt};
use crate::{
    failpoint::{self, Point},
    matrix::{Heard, Homeserver, Names, RoomEvent, before},
    message::{Outcome, UserId},
};

impl Account {
    /// Passes on the events of these rooms, each room's in order. Returns how many Odoo has accepted.
    pub(super) async fn forward(
        &self,
        homeserver: &Homeserver,
        odoo: &Odoo<'_>,
        me: &UserId,
        since: &str,
        rooms: Vec<Heard>,
    ) -> Result<i64, Halt> {
        let mut batch = Batch::default();
        let mut accepted = 0;
        for heard in rooms {
            if heard.has_gap {
                accepted += self.close_gap(homeserver, odoo, (me, since), &heard, &mut batch).await?;
            }
            accepted += self.pass_on(odoo, &mut batch, heard.events, &heard.names).await;
        }
        accepted += self.post(odoo, &batch).await;
        #[cfg(feature = "encryption")]
        let accepted = accepted + self.forward_late(homeserver, odoo, me).await;
        Ok(accepted)
    }

    /// Adds events to the batch, which is posted whenever it is full. Returns how many Odoo has accepted.
    async fn pass_on(
        &self,
        odoo: &Odoo<'_>,
        batch: &mut Batch,
        events: impl IntoIterator<Item = RoomEvent>,
        names: &Names,
    ) -> i64 {
        let mut accepted = 0;
        for event in events {
            if let Some(full) = batch.add(event, names) {
                accepted += self.post(odoo, &full).await;
            }
        }
        accepted
    }

    /// Reads the events of a room that an answer has left out, page by page from the position up to which everything is known.
    async fn close_gap(
        &self,
        homeserver: &Homeserver,
        odoo: &Odoo<'_>,
        (me, since): (&UserId, &str),
        heard: &Heard,
        batch: &mut Batch,
    ) -> Result<i64, Halt> {
        let known: HashSet<_> = heard.events.iter().map(|event| event.id.clone()).collect();
        let mut from = since.to_owned();
        let (mut accepted, mut is_in) = (0, None);
        loop {
            let page = match homeserver.page(me, &heard.room, &from, is_in).await {
                Ok(page) => page,
                Err(error) if matches!(error.outcome(), Outcome::Forbidden(_) | Outcome::Rejected(_)) => {
                    error!(
                        room = %heard.room, failure = %error.failure(),
                        "The account may not read a part of a room's history, which is therefore not passed on to Odoo"
                    );
                    let known = heard.unless_read.iter().cloned();
                    return Ok(accepted + self.pass_on(odoo, batch, known, &heard.names).await);
                }
                Err(error) => return Err(error.into()),
            };
            failpoint::reach(Point::PageRead).await;
            is_in = page.is_in;
            let (events, is_closed) = before(page.events, &known);
            accepted += self.pass_on(odoo, batch, events, &page.names).await;
            match page.end {
                Some(end) if !is_closed => from = end,
                _ => {
                    self.context.metrics.inbound_gaps.inc();
                    return Ok(accepted);
                }
            }
        }
    }
}
