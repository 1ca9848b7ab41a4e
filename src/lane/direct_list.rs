//! Keeps the account's list of direct rooms, `m.direct`, by which its other clients recognise them.

use thiserror::Error;
use tracing::warn;

use super::{Delivery, route::Route};
use crate::{
    failpoint::{self, Point},
    matrix::{Homeserver, SendError},
    message::{RoomId, Target, UserId},
    rooms::direct,
    store::StoreError,
};

#[derive(Debug, Error)]
enum ListError {
    #[error(transparent)]
    Homeserver(#[from] SendError),
    #[error(transparent)]
    Database(#[from] StoreError),
    #[error("the account's m.direct is not a list of direct rooms; it is left as it is")]
    Unreadable,
}

impl Delivery<'_> {
    /// Adds the claim's direct room to the list if it is missing. Delivery does not need it: if it fails, the next claim of the
    /// lane tries again.
    pub(super) async fn list_direct_room(&self, route: &Route) {
        let Some(Target::Person(person)) = self.claim.messages.first().map(|message| &message.target) else { return };
        let (Some(room), Ok(homeserver)) = (route.ready_room(), &self.backend.homeserver) else { return };
        if self.backend.direct.lists(person, room) || !self.may_call() {
            return;
        }
        let (_turn, wanted) = self.backend.direct.turn(person, room).await;
        // Another task has written our entries together with its own.
        if wanted.is_empty() {
            return;
        }
        if let Err(error) = self.write(homeserver, &wanted).await {
            warn!(%error, rooms = wanted.len(), "Direct rooms could not be added to the account's m.direct");
        }
    }

    async fn write(&self, homeserver: &Homeserver, wanted: &[(UserId, RoomId)]) -> Result<(), ListError> {
        let me = self.backend.me(homeserver).await?;
        let lock = self.context.store.lock_account(&me).await?;
        let written = self.add(homeserver, &me, wanted).await;
        lock.release().await;
        written
    }

    async fn add(&self, homeserver: &Homeserver, me: &UserId, wanted: &[(UserId, RoomId)]) -> Result<(), ListError> {
        let mut list = homeserver.direct_list(me).await?.ok_or(ListError::Unreadable)?;
        failpoint::reach(Point::ListRead).await;
        let mut is_changed = false;
        for (person, room) in wanted {
            is_changed |= direct::add(&mut list, person, room);
        }
        if is_changed {
            homeserver.set_direct_list(me, &list).await?;
        }
        self.backend.direct.saw(list);
        Ok(())
    }
}
