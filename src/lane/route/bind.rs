//! Stores where a lane's messages go.

use tracing::warn;

use super::{SHORTEST_REST, Step};
use crate::{
    lane::Delivery,
    message::RoomId,
    store::{Batch, Settle},
};

/// Stores the lane's room.
pub(super) async fn keep(delivery: &Delivery<'_>, room: &RoomId) -> Result<(), Step> {
    let settle = Settle::Bind { lease: delivery.claim.lease(), room: room.clone() };
    match delivery.context.store.complete(&Batch { completions: Vec::new(), settles: vec![settle] }).await {
        Ok(owned) if owned.is_empty() => Err(Step::Fenced),
        Ok(_) => Ok(()),
        Err(error) => {
            warn!(%error, "The lane's room could not be stored");
            Err(Step::LaneLimited(SHORTEST_REST))
        }
    }
}
