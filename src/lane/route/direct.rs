//! The room for a person's messages: the lane's own one, one that `m.direct` lists, or a new one.
//!
//! The room is created and stored first, and the person is invited afterwards: if the person's server does not answer, no second
//! room is created and nobody else waits.

use tracing::{debug, info};

use super::{Route, Step, keep, secrecy};
use crate::{
    failpoint::{self, Point},
    lane::Delivery,
    matrix::{Homeserver, Profile, SendError},
    message::{Failure, Message, Outcome, RoomId, UserId, code},
    rooms::direct::{self, Standing},
};

const ALWAYS_ENCRYPTED: &str = "the homeserver encrypts every new room, and nobody has allowed messages that are not encrypted; \
    turn off encryption by default for rooms on the homeserver";

const TURNED_OFF: &str = "messages to this person were encrypted, and encryption is turned off on the backend; set it up again, then send \
    the message again";

const NEVER_ENCRYPTED: &str =
    "messages to this person were encrypted, and the homeserver made a room for them that is not";

/// What a claim knows about the person's room.
#[derive(Clone)]
pub(super) struct Ready {
    room: RoomId,
    is_encrypted: bool,
}

impl Route {
    /// The room for `person`, who is in it or invited to it, and whether it is encrypted. Checked once per claim.
    pub(super) async fn direct_room(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        person: &UserId,
    ) -> Result<(RoomId, bool), Step> {
        let backend = delivery.backend;
        // Another room would not be encrypted, and would be this person's room from then on.
        if self.must_encrypt(delivery) && !backend.encrypts {
            return Err(Step::Answered(secrecy::refused(delivery, TURNED_OFF)));
        }
        let may_use = |is_encrypted: bool| message.may_be_unencrypted || !is_encrypted || backend.encrypts;
        if let Some(ready) = self.ready.as_ref().filter(|ready| may_use(ready.is_encrypted)) {
            return Ok((ready.room.clone(), ready.is_encrypted));
        }
        let Some(stored) = self.room.clone() else {
            return match self.search(delivery, homeserver, person).await? {
                Some(found) => self.adopt(delivery, found).await,
                None => self.make(delivery, homeserver, message, person).await,
            };
        };
        let (book, mark) = (delivery.book(), delivery.book().mark());
        let standing = match book.is_encrypted(&stored, Some(person)) {
            Some(is_encrypted) => Standing::Ready { is_encrypted },
            None => direct::look(homeserver, &stored, person).await?,
        };
        if let Standing::Ready { is_encrypted } = standing {
            book.saw(mark, &stored, Some(person), is_encrypted);
        }
        if backend.lacks_encryption && standing.is_encrypted() {
            return Err(Step::Answered(secrecy::refused(delivery, TURNED_OFF)));
        }
        match standing {
            Standing::Ready { is_encrypted } if may_use(is_encrypted) => {
                return Ok(self.is_ready(stored, is_encrypted));
            }
            Standing::Uninvited { is_encrypted } if may_use(is_encrypted) => {
                return self.invite(delivery, homeserver, person, stored, is_encrypted).await;
            }
            _ => {}
        }
        self.unusable = Some(stored.clone());
        if let Some(found) = self.search(delivery, homeserver, person).await? {
            return self.adopt(delivery, found).await;
        }
        match standing {
            // Nobody else was ever in it, so it has been encrypted from the start, and another one would be too.
            Standing::Uninvited { .. } => Err(refused(Failure::new(code::ENCRYPTED, ALWAYS_ENCRYPTED))),
            Standing::Left { is_encrypted } if may_use(is_encrypted) => {
                match self.invite(delivery, homeserver, person, stored, is_encrypted).await {
                    // It is somebody else's room, to which we may not invite.
                    Err(Step::Answered(Outcome::Rejected(_))) => self.make(delivery, homeserver, message, person).await,
                    other => other,
                }
            }
            Standing::Ready { .. } | Standing::Left { .. } | Standing::Closed => {
                self.make(delivery, homeserver, message, person).await
            }
        }
    }

    /// The direct room cannot be used: the next attempt looks for another one.
    pub(super) fn give_up_direct_room(&mut self) {
        self.unusable = self.room.take();
        self.ready = None;
    }

    /// The room that the account's list of direct rooms should have.
    pub(in crate::lane) fn ready_room(&self) -> Option<&RoomId> {
        self.ready.as_ref().map(|ready| &ready.room)
    }

    async fn search(
        &self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        person: &UserId,
    ) -> Result<Option<(RoomId, bool)>, Step> {
        let me = delivery.backend.me(homeserver).await?;
        let Some(list) = homeserver.direct_list(&me).await? else { return Ok(None) };
        let (backend, must_encrypt) = (delivery.backend, self.must_encrypt(delivery));
        // The room that a worker with encryption would choose.
        let may_use =
            |is_encrypted| if is_encrypted { backend.encrypts || backend.lacks_encryption } else { !must_encrypt };
        let found = direct::find(homeserver, &list, person, self.unusable.as_ref(), may_use).await;
        backend.direct.saw(list);
        match found? {
            Some((_, true)) if backend.lacks_encryption => Err(Step::Answered(secrecy::refused(delivery, TURNED_OFF))),
            found => Ok(found),
        }
    }

    async fn adopt(
        &mut self,
        delivery: &Delivery<'_>,
        (room, is_encrypted): (RoomId, bool),
    ) -> Result<(RoomId, bool), Step> {
        keep(delivery, &room).await?;
        self.room = Some(room.clone());
        Ok(self.is_ready(room, is_encrypted))
    }

    async fn make(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        message: &Message,
        person: &UserId,
    ) -> Result<(RoomId, bool), Step> {
        if delivery.backend.lacks_encryption && delivery.backend.encrypts_new_rooms {
            return Err(Step::Answered(secrecy::refused(delivery, TURNED_OFF)));
        }
        self.check_exists(delivery, homeserver, person).await?;
        // A worker whose lease may have ended must not create a room: its successor does.
        if !delivery.may_call() {
            return Err(Step::Fenced);
        }
        // The message's own id, so that a worker that takes over gets the same room. After an unusable room another id is needed.
        let key = message.txn_id.as_str();
        let must_encrypt = self.must_encrypt(delivery);
        let is_new_encrypted = delivery.backend.encrypts && (delivery.backend.encrypts_new_rooms || must_encrypt);
        let mut room = homeserver.create_direct_room(key, is_new_encrypted).await.map_err(not_made)?;
        if self.unusable.as_ref() == Some(&room) {
            let other = format!("{key}-{:08x}", fastrand::u32(..));
            room = homeserver.create_direct_room(&other, is_new_encrypted).await.map_err(not_made)?;
        }
        failpoint::reach(Point::RoomMade).await;
        // Before it is the lane's room, which decides whether messages have to be encrypted.
        if must_encrypt && !homeserver.is_encrypted(&room).await? {
            if let Err(error) = homeserver.leave(&room).await {
                debug!(%error, "The account could not leave a room in which nobody else is");
            }
            // The other messages would only make more such rooms.
            let failure = Failure::new(code::ENCRYPTED, NEVER_ENCRYPTED);
            self.closed = Some(failure.clone());
            return Err(refused(failure));
        }
        keep(delivery, &room).await?;
        self.room = Some(room.clone());
        failpoint::reach(Point::RoomStored).await;
        info!("Made a direct room");
        let is_encrypted = homeserver.is_encrypted(&room).await?;
        if is_encrypted && delivery.backend.lacks_encryption {
            return Err(Step::Answered(secrecy::refused(delivery, TURNED_OFF)));
        }
        if is_encrypted && !message.may_be_unencrypted && !delivery.backend.encrypts {
            return Err(refused(Failure::new(code::ENCRYPTED, ALWAYS_ENCRYPTED)));
        }
        self.invite(delivery, homeserver, person, room, is_encrypted).await
    }

    async fn invite(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        person: &UserId,
        room: RoomId,
        is_encrypted: bool,
    ) -> Result<(RoomId, bool), Step> {
        self.check_exists(delivery, homeserver, person).await?;
        if !delivery.may_call() {
            return Err(Step::Fenced);
        }
        homeserver.invite_directly(&room, person).await.map_err(|error| not_invited(person, error))?;
        failpoint::reach(Point::PersonInvited).await;
        Ok(self.is_ready(room, is_encrypted))
    }

    /// Homeservers accept invitations of local accounts that do not exist. Only an account's own server knows whether it exists.
    async fn check_exists(
        &mut self,
        delivery: &Delivery<'_>,
        homeserver: &Homeserver,
        person: &UserId,
    ) -> Result<(), Step> {
        let me = delivery.backend.me(homeserver).await?;
        if self.exists || me.server() != person.server() {
            return Ok(());
        }
        if homeserver.profile(person).await? == Profile::Missing {
            let text =
                format!("no such Matrix user: {} has no account {person}; correct the Matrix ID", person.server());
            let failure = Failure::new(code::NO_SUCH_USER, text);
            self.closed = Some(failure.clone());
            return Err(refused(failure));
        }
        self.exists = true;
        Ok(())
    }

    fn is_ready(&mut self, room: RoomId, is_encrypted: bool) -> (RoomId, bool) {
        self.ready = Some(Ready { room: room.clone(), is_encrypted });
        (room, is_encrypted)
    }
}

fn refused(failure: Failure) -> Step {
    Step::Answered(Outcome::Rejected(failure))
}

fn not_made(error: SendError) -> Step {
    match error.outcome() {
        Outcome::Forbidden(failure) | Outcome::Rejected(failure) => {
            let text = format!("the homeserver does not let this account make a room for the person: {}", failure.text);
            refused(Failure { code: failure.code, text })
        }
        _ => error.into(),
    }
}

fn not_invited(person: &UserId, error: SendError) -> Step {
    match error.outcome_elsewhere() {
        // The homeserver has just created or returned the room, so most likely the person's own server does not answer it.
        Outcome::Transient { failure, .. } => {
            let text = format!(
                "{person} could not be invited yet; the invitation is tried again until {} answers: {}",
                person.server(),
                failure.text
            );
            Step::Unreachable(Failure { code: failure.code, text })
        }
        Outcome::Forbidden(failure) | Outcome::Rejected(failure) => {
            let text = format!("{person} cannot be invited: {}", failure.text);
            refused(Failure { code: failure.code, text })
        }
        _ => error.into(),
    }
}
